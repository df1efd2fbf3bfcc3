"""The benches' own station: scapy opens what it sends, and it opens what scapy sends."""

import hmac
import random
import struct
import warnings
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spec.registers import BY_NAME
from spec.suites import SUITES, Cipher, Hash, Protocol, Suite
from verif.bench.stations import FRAME_MAX, Half, NotOursError, Peer
from verif.cocotb.nic_frames import NIC_IP, NIC_MAC, STATION_IP, STATION_MAC, internet_checksum

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of ciphers that scapy names and nobody here uses
    from scapy.layers import ipsec
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

SEED = 5
MESSAGE = b"\x06\x00\xff\x06a message of some octets"
CRYPT = {Cipher.NULL: "NULL", Cipher.CBC: "AES-CBC", Cipher.GCM: "AES-GCM"}
AUTH = {Hash.SHA_256: "SHA2-256-128", Hash.SHA_1: "HMAC-SHA1-96"}
BY_SCAPY = [suite for suite, facts in SUITES.items() if facts.cipher is not Cipher.GMAC]
AH_GMAC = (Suite.AH_AES_GMAC_128, Suite.AH_AES_GMAC_256)
ESP_GMAC = (Suite.ESP_NULL_AES_GMAC_128, Suite.ESP_NULL_AES_GMAC_256)


def associations(peer: Peer, main: Half, outer: Half) -> list[Any]:
    """As scapy calls them, from the outermost."""
    facts = peer.facts
    made = []
    if facts.has_outer:
        made.append(
            ipsec.SecurityAssociation(
                ipsec.AH, spi=outer.spi, auth_algo="SHA2-256-128", auth_key=outer.auth
            )
        )
    if facts.protocol is Protocol.AH:
        made.append(
            ipsec.SecurityAssociation(
                ipsec.AH, spi=main.spi, auth_algo=AUTH[facts.hash], auth_key=main.auth
            )
        )
        return made
    options: dict[str, Any] = {"crypt_algo": CRYPT[facts.cipher]}
    if main.key:
        options["crypt_key"] = main.key + main.salt
    if main.auth:
        options |= {"auth_algo": AUTH[facts.hash], "auth_key": main.auth}
    made.append(ipsec.SecurityAssociation(ipsec.ESP, spi=main.spi, **options))
    return made


@pytest.mark.parametrize("suite", BY_SCAPY)
def test_scapy_opens_what_it_sends(suite: Suite) -> None:
    peer = Peer(suite, random.Random(SEED))
    frame = peer.protect(MESSAGE)
    assert frame[:14] == NIC_MAC + STATION_MAC + b"\x08\x00"
    packet = IP(bytes(Ether(frame)[IP]))
    for association in associations(peer, peer.main_in, peer.outer_in):
        packet = IP(bytes(association.decrypt(packet)))
    assert (packet.src, packet.dst) == ("192.0.2.10", "192.0.2.20")
    assert packet[UDP].dport == 664
    assert bytes(packet[UDP].payload) == MESSAGE


def answer(packet: Any) -> bytes:
    return STATION_MAC + NIC_MAC + b"\x08\x00" + bytes(packet)


@pytest.mark.parametrize("suite", BY_SCAPY)
def test_it_opens_what_scapy_sends_and_nothing_else(suite: Suite) -> None:
    peer = Peer(suite, random.Random(SEED))
    packet = IP(src="192.0.2.20", dst="192.0.2.10") / UDP(sport=664, dport=50664) / MESSAGE
    *outer, main = associations(peer, peer.main_out, peer.outer_out)
    packet = main.encrypt(packet)
    if outer:
        # By hand: where there is an ESP layer scapy would sign that instead of AH.
        esp = bytes(packet)[20:]
        ah = struct.pack(">BBHII", 50, 5, 0, peer.outer_out.spi, 1)
        addresses = NIC_IP + STATION_IP
        total = struct.pack(">H", 20 + 28 + len(esp))
        covered = b"\x45\0" + total + b"\0\x01\0\0\0\x33\0\0" + addresses + ah + bytes(16) + esp
        icv = hmac.digest(peer.outer_out.auth, covered, "sha256")[:16]
        packet = IP(src="192.0.2.20", dst="192.0.2.10", proto=51) / Raw(ah + icv + esp)
    frame = answer(packet)
    assert peer.open(frame) == MESSAGE
    for at in (26, 36, len(frame) - 1):
        spoiled = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        with pytest.raises(NotOursError):
            peer.open(spoiled)


@pytest.mark.parametrize("suite", ESP_GMAC)
def test_rfc4543_4_esp_gmac(suite: Suite) -> None:
    peer = Peer(suite, random.Random(SEED))
    esp = peer.protect(MESSAGE)[34:]
    head, iv, rest, icv = esp[:8], esp[8:16], esp[16:-16], esp[-16:]
    assert head == struct.pack(">II", peer.main_in.spi, 1)
    worker = AESGCM(peer.main_in.key)
    assert worker.encrypt(peer.main_in.salt + iv, b"", head + iv + rest) == icv
    assert rest[8:].startswith(MESSAGE)


@pytest.mark.parametrize("suite", AH_GMAC)
def test_rfc4543_5_ah_gmac(suite: Suite) -> None:
    peer = Peer(suite, random.Random(SEED))
    packet = peer.protect(MESSAGE)[14:]
    assert internet_checksum(packet[:20]) == 0
    assert packet[20:28] == struct.pack(">BBHI", 17, 36 // 4 - 2, 0, peer.main_in.spi)
    iv, icv = packet[32:40], packet[40:56]
    covered = b"\x45\x00" + packet[2:6] + bytes(3) + packet[9:10] + bytes(2) + packet[12:40]
    covered += bytes(16) + packet[56:]
    assert AESGCM(peer.main_in.key).encrypt(peer.main_in.salt + iv, b"", covered) == icv


@pytest.mark.parametrize("suite", SUITES)
def test_staging_writes_registers_that_there_are(suite: Suite) -> None:
    peer = Peer(suite, random.Random(SEED))
    writes = peer.staging()
    assert len({(name, index) for name, index, _ in writes}) == len(writes)
    for name, index, value in writes:
        assert index < BY_NAME[name].count
        assert 0 <= value < 1 << 32
    words = sum(name.startswith("STAGE_AH_AUTH") for name, _, _ in writes)
    assert words == (16 if peer.facts.has_outer else 0)


@pytest.mark.parametrize("suite", SUITES)
def test_forged_packets_differ_from_right_ones_in_one_bit_of_the_icv(suite: Suite) -> None:
    forged = Peer(suite, random.Random(SEED)).forged(64, 1)
    peer = Peer(suite, random.Random(SEED))
    inner = peer._rng.randbytes(64)
    right = peer._frame(inner, 1)
    differing = [
        at for at, (one, other) in enumerate(zip(forged, right, strict=True)) if one != other
    ]
    bits = [forged[at] ^ right[at] for at in differing]
    if peer.facts.has_outer:  # the outer ICV is right over the forged packet
        assert len(differing) > 1
        assert (differing[-1], bits[-1]) == (len(right) - 1, 1)
    else:
        assert bits == [1]


@pytest.mark.parametrize("suite", SUITES)
def test_longest_is_the_longest_that_fits(suite: Suite) -> None:
    peer = Peer(suite, random.Random(SEED))
    assert len(peer.forged(peer.longest(), 1)) <= FRAME_MAX
    assert len(peer.forged(peer.longest() + 1, 1)) > FRAME_MAX


def test_frames_of_others_are_not_ours() -> None:
    peer = Peer(Suite.ESP_AES_GCM_16_128, random.Random(SEED))
    head = STATION_MAC + NIC_MAC + b"\x08\x00"
    plain = bytes(IP(src="192.0.2.20", dst="192.0.2.10", proto=17) / b"12345678")
    with pytest.raises(NotOursError, match="protocol 17"):
        peer.open(head + plain)
    with pytest.raises(NotOursError, match="not from the NIC"):
        peer.open(head + plain[:12] + STATION_IP + NIC_IP)
