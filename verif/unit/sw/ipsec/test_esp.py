"""Tests of sw.ipsec.esp: against scapy, against a Linux kernel's frames, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation
from scapy.packet import Raw

from spec.suites import Suite
from sw.ike.secret import Secret
from sw.ipsec import (
    AhMaterial,
    DropReason,
    EspInbound,
    EspMaterial,
    EspOutbound,
    EspPacket,
    InboundTable,
    PacketDroppedError,
    SequenceExhaustedError,
    SequenceReservation,
    UdpDatagram,
    UdpSelector,
    demultiplex,
)
from sw.ipsec.raw import strip_ipv4
from verif.unit.sw.ipsec.suites import refusal

VECTORS = Path(__file__).parents[3] / "vectors" / "linux61_xfrm.json"
A = IPv4Address("192.0.2.1")
B = IPv4Address("192.0.2.2")
SUITES = {16: Suite.ESP_AES_GCM_16_128, 32: Suite.ESP_AES_GCM_16_256}
KEYMATS = st.sampled_from([20, 36]).flatmap(
    lambda octets: st.binary(min_size=octets, max_size=octets)
)
SPI = 0xC0DE0101
KEYMAT = bytes(range(20))
PORTS = UdpSelector(664, 40664)


def material(keymat: bytes = KEYMAT, *, esn: bool = False, spi: int = SPI) -> EspMaterial:
    return EspMaterial.from_keymat(spi, SUITES[len(keymat) - 4], keymat, esn=esn)


def from_number(first: int, last: int = (1 << 32) - 1) -> SequenceReservation:
    return SequenceReservation(lambda _count: first, last=last, block=1 << 20)


def outbound(keymat: bytes = KEYMAT, *, first: int = 1, esn: bool = False) -> EspOutbound:
    keys = material(keymat, esn=esn)
    return EspOutbound(keys, from_number(first, keys.sequence_max))


def gcm_cases() -> list[dict[str, Any]]:
    cases = json.loads(VECTORS.read_text())["cases"]
    return [
        case
        for case in cases
        if case["order"] == ["esp"]
        and "gcm" in case["esp"]
        and case.get("ip") != 6
        and ":" not in case["src"]
        and case["sa"][0]["mode"] == "transport"
    ]


def test_the_kernel_cases_are_all_there() -> None:
    assert {case["name"] for case in gcm_cases()} == {
        "esp4_gcm128",
        "esp4_gcm256",
        "esp4_gcm128_esn_rollover",
        "esp4_udp_encap_gcm128",
        "esp4_gcm128_ipopts",
    }


@pytest.mark.parametrize("case", gcm_cases(), ids=lambda case: str(case["name"]))
def test_frames_of_a_linux_kernel(case: dict[str, Any]) -> None:
    sa = case["sa"][0]
    keys = material(bytes.fromhex(sa["keys"][0]), esn=sa["esn"], spi=int(sa["spi"], 16))
    inbound = EspInbound(
        keys,
        right_edge=sa["first_seq"] - 1,
        selector=UdpSelector(case["sport"], case["dport"]),
    )
    ours = EspOutbound(keys, from_number(sa["first_seq"], keys.sequence_max))
    for index, (frame, payload) in enumerate(
        zip(case["frames"], case["udp_payloads"], strict=True)
    ):
        octets = bytes.fromhex(frame)
        if case.get("udp"):
            carried = demultiplex(octets[14 + 20 + 8 :])
            assert isinstance(carried, EspPacket)
            packet = carried.packet
        else:
            stripped = strip_ipv4(octets[14:])
            assert stripped is not None
            packet = stripped
        opened = inbound.open(packet)
        assert opened.sequence == sa["first_seq"] + index
        assert opened.datagram == UdpDatagram(case["sport"], case["dport"], bytes.fromhex(payload))
        # Linux draws its IVs otherwise, all else must be octet for octet what it sends.
        sealed = ours.seal_udp(opened.datagram, IPv4Address(case["src"]), IPv4Address(case["dst"]))
        assert sealed[:8] == packet[:8]
        assert len(sealed) == len(packet)
        with pytest.raises(PacketDroppedError) as replayed:
            inbound.open(packet)
        assert replayed.value.reason is DropReason.REPLAY_DUPLICATE
    assert inbound.accepted == len(case["frames"])
    assert inbound.right_edge == sa["first_seq"] + len(case["frames"]) - 1


def scapy_sa(keymat: bytes, *, esn: bool, high: int = 0) -> SecurityAssociation:
    return SecurityAssociation(
        ESP, spi=SPI, crypt_algo="AES-GCM", crypt_key=keymat, esn_en=esn, esn=high
    )


@settings(deadline=None, max_examples=60)
@given(KEYMATS, st.binary(max_size=64), st.integers(1, (1 << 32) - 1))
def test_scapy_opens_what_we_seal(keymat: bytes, payload: bytes, number: int) -> None:
    packet = outbound(keymat, first=number).seal_udp(UdpDatagram(40664, 664, payload), A, B)
    plain = scapy_sa(keymat, esn=False).decrypt(
        IP(bytes(IP(src=str(A), dst=str(B), proto=50) / Raw(packet)))
    )
    assert (plain[UDP].sport, plain[UDP].dport) == (40664, 664)
    assert bytes(plain[UDP].payload) == payload
    assert packet[8:16] == number.to_bytes(8, "big")


@settings(deadline=None, max_examples=60)
@given(
    KEYMATS,
    st.binary(max_size=64),
    st.integers(1, (1 << 32) - 1),
    st.binary(min_size=8, max_size=8),
)
def test_we_open_what_scapy_seals(keymat: bytes, payload: bytes, number: int, iv: bytes) -> None:
    clear = IP(src=str(B), dst=str(A)) / UDP(sport=664, dport=40664) / Raw(payload)
    sealed = scapy_sa(keymat, esn=False).encrypt(clear, seq_num=number, iv=iv)
    opened = EspInbound(material(keymat), selector=PORTS).open(bytes(sealed)[20:])
    assert opened.sequence == number
    assert opened.datagram == UdpDatagram(664, 40664, payload)


@settings(deadline=None, max_examples=60)
@given(
    KEYMATS,
    st.binary(max_size=100),
    st.integers(0, 255),
    st.integers(1, (1 << 64) - 1),
    st.integers(0, 60),
)
def test_rfc4106_5_extended_numbers(
    keymat: bytes, payload: bytes, next_header: int, number: int, behind: int
) -> None:
    """What we seal with ESN, taken apart here by RFC 4106 alone."""
    packet = outbound(keymat, first=number, esn=True).seal(payload, next_header)
    assert packet[:8] == SPI.to_bytes(4, "big") + (number & 0xFFFF_FFFF).to_bytes(4, "big")
    aad = SPI.to_bytes(4, "big") + number.to_bytes(8, "big")
    plain = AESGCM(keymat[:-4]).decrypt(keymat[-4:] + packet[8:16], packet[16:], aad)
    pad = plain[-2]
    assert plain == payload + bytes(range(1, pad + 1)) + bytes((pad, next_header))
    assert len(plain) % 4 == 0
    assert pad < 4
    datagram = UdpDatagram(664, 40664, payload)
    packet = outbound(keymat, first=number, esn=True).seal_udp(datagram, A, B)
    inbound = EspInbound(material(keymat, esn=True), right_edge=max(0, number - 1 - behind))
    if number - inbound.right_edge < 1 << 31:
        opened = inbound.open(packet)
        assert (opened.sequence, opened.datagram) == (number, datagram)


def sealed_by_hand(plain: bytes, number: int = 1) -> bytes:
    iv = bytes(8)
    head = SPI.to_bytes(4, "big") + number.to_bytes(4, "big")
    return head + iv + AESGCM(KEYMAT[:16]).encrypt(KEYMAT[16:] + iv, plain, head)


UDP_OCTETS = bytes.fromhex("02989ed8 000a0000 abcd")


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        (UDP_OCTETS + b"\x00\x11", None),
        (UDP_OCTETS + b"\x01\x02\x03\x04\x04\x11", None),
        (UDP_OCTETS + b"\x01\x02\x03\x05\x04\x11", DropReason.PADDING),
        (UDP_OCTETS + b"\x00\x00\x00\x00\x04\x11", DropReason.PADDING),
        (UDP_OCTETS + b"\xff\x11", DropReason.PADDING),
        (b"\x01\x03\x02\x11", DropReason.PADDING),
        (b"\x01\x02\x02\x11", DropReason.SELECTOR),
        (UDP_OCTETS + b"\x00\x06", DropReason.NEXT_HEADER),
        (UDP_OCTETS + b"\x00\x3b", DropReason.DUMMY),
        (b"\x02\x99" + UDP_OCTETS[2:] + b"\x00\x11", DropReason.SELECTOR),
        (UDP_OCTETS[:2] + b"\x9e\xd9" + UDP_OCTETS[4:] + b"\x00\x11", DropReason.SELECTOR),
        (UDP_OCTETS[:5] + b"\x0b" + UDP_OCTETS[6:] + b"\x00\x11", DropReason.SELECTOR),
        (UDP_OCTETS[:5] + b"\x07" + UDP_OCTETS[6:] + b"\x00\x11", DropReason.SELECTOR),
    ],
)
def test_rfc4303_2_4_padding_next_header_and_selector(
    plain: bytes, reason: DropReason | None
) -> None:
    inbound = EspInbound(material(), selector=PORTS)
    packet = sealed_by_hand(plain)
    if reason is None:
        assert inbound.open(packet).datagram == UdpDatagram(664, 40664, b"\xab\xcd")
    else:
        assert refusal(inbound, packet) is reason
    # It was authentic: its number is used up in either case.
    assert inbound.right_edge == 1
    assert refusal(inbound, packet) is DropReason.REPLAY_DUPLICATE


def test_rfc4303_3_4_3_window_moves_after_icv() -> None:
    inbound = EspInbound(material(), selector=PORTS)
    good = sealed_by_hand(UDP_OCTETS + b"\x00\x11", 1000)
    for octet in (*range(4, 8), *range(8, len(good))):
        forged = good[:octet] + bytes((good[octet] ^ 1,)) + good[octet + 1 :]
        assert refusal(inbound, forged) is DropReason.ICV
        assert inbound.right_edge == 0
    assert inbound.open(good).sequence == 1000
    assert refusal(inbound, sealed_by_hand(UDP_OCTETS + b"\x00\x11", 936)) is DropReason.REPLAY_OLD
    assert inbound.open(sealed_by_hand(UDP_OCTETS + b"\x00\x11", 937)).sequence == 937


def test_every_truncation_is_dropped_and_the_next_good_packet_works() -> None:
    inbound = EspInbound(material(), selector=PORTS)
    good = sealed_by_hand(UDP_OCTETS + b"\x00\x11")
    for end in range(len(good)):
        expected = {DropReason.LENGTH, DropReason.ICV}
        assert refusal(inbound, good[:end]) in expected
    assert refusal(inbound, good + b"\0") is DropReason.LENGTH
    assert refusal(inbound, good + bytes(4)) is DropReason.ICV
    assert inbound.open(good).datagram.payload == b"\xab\xcd"


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_any_octets_are_dropped(octets: bytes) -> None:
    refusal(EspInbound(material()), octets)
    refusal(InboundTable(), octets)


def test_another_spi_is_not_opened() -> None:
    packet = outbound().seal_udp(UdpDatagram(1, 2, b""), A, B)
    inbound = EspInbound(material(spi=SPI + 1))
    assert refusal(inbound, packet) is DropReason.UNKNOWN_SPI


def test_table_finds_the_sa_and_keeps_counting() -> None:
    table = InboundTable()
    table.add(EspInbound(material()))
    packet = outbound().seal_udp(UdpDatagram(1, 2, b"x"), A, B)
    assert table.open(packet).spi == SPI
    assert refusal(table, packet) is DropReason.REPLAY_DUPLICATE
    with pytest.raises(ValueError, match="taken"):
        table.add(EspInbound(material()))
    assert SPI in table
    assert table.get(SPI) is not None
    table.remove(SPI)
    table.remove(SPI)
    assert table.get(SPI) is None
    assert refusal(table, packet) is DropReason.UNKNOWN_SPI
    assert refusal(table, packet[:7]) is DropReason.LENGTH
    assert table.drops == {
        DropReason.REPLAY_DUPLICATE: 1,
        DropReason.UNKNOWN_SPI: 1,
        DropReason.LENGTH: 1,
    }


@pytest.mark.parametrize(("esn", "last"), [(False, (1 << 32) - 1), (True, (1 << 64) - 1)])
def test_rfc4303_3_3_3_nothing_is_sealed_after_the_last_number(esn: bool, last: int) -> None:
    sender = outbound(first=last, esn=esn)
    assert sender.seal(b"")[8:16] == last.to_bytes(8, "big")
    with pytest.raises(SequenceExhaustedError):
        sender.seal(b"")


def test_reservation_beyond_the_sa_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond"):
        EspOutbound(material(), SequenceReservation(lambda _count: 1))


def test_nothing_is_sealed_when_the_store_fails() -> None:
    def fail(_count: int) -> int:
        raise OSError("disk full")

    sender = EspOutbound(material(), SequenceReservation(fail, last=(1 << 32) - 1))
    with pytest.raises(OSError, match="disk full"):
        sender.seal(b"")


def test_keys_show_nowhere() -> None:
    shown = repr(material(b"KEYKEYKEYKEYKEYKSALT"))
    assert "KEY" not in shown
    assert "SALT" not in shown
    assert hex(SPI)[2:] in shown or str(SPI) in shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: EspMaterial(SPI, Suite.NONE, Secret(bytes(16)), Secret(bytes(4))),
        lambda: EspMaterial(255, Suite.ESP_AES_GCM_16_128, Secret(bytes(16)), Secret(bytes(4))),
        lambda: EspMaterial(1 << 32, Suite.ESP_AES_GCM_16_128, Secret(bytes(16)), Secret(bytes(4))),
        lambda: EspMaterial(SPI, Suite.ESP_AES_GCM_16_128, Secret(bytes(32)), Secret(bytes(4))),
        lambda: EspMaterial(SPI, Suite.ESP_AES_GCM_16_256, Secret(bytes(16)), Secret(bytes(4))),
        lambda: EspMaterial(SPI, Suite.ESP_AES_GCM_16_128, Secret(bytes(16)), Secret(bytes(3))),
        lambda: EspMaterial.from_keymat(SPI, Suite.ESP_AES_GCM_16_128, bytes(21)),
        lambda: EspMaterial.from_keymat(SPI, Suite.AH_HMAC_SHA_256_128, bytes(32)),
        lambda: AhMaterial.from_keymat(SPI, Suite.ESP_NULL_HMAC_SHA_256_128, bytes(32)),
    ],
)
def test_material_that_does_not_fit_is_refused(make: Callable[[], EspMaterial]) -> None:
    with pytest.raises(ValueError, match=r"SPI|suite|octets"):
        make()
