"""sw.ipsec before others that know IPsec: scapy, and RFC 4543 read by hand (verif.judges.gmac)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert, IPOption_RR, IPOption_Timestamp
from scapy.layers.inet6 import (
    HBHOptUnknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.ipsec import AH, ESP, SecurityAssociation
from scapy.packet import Packet

from spec.suites import SUITES, Cipher, Hash, Protocol, Suite
from sw.ipsec import AddressPair, AhInbound, AhOutbound, DropReason, PacketDroppedError, UdpDatagram
from sw.ipsec.ip import parse_ip
from sw.ipsec.udp import parse_udp
from verif.judges.gmac import ah_is_right, esp_is_right
from verif.judges.sent import Association
from verif.unit.sw.ipsec.suites import AH_SPI, SPI, V4, V6, Form, keymat, numbers

DATAGRAM = UdpDatagram(40664, 664, b"a reset, please")
CIPHERS = {
    Cipher.GCM: "AES-GCM",
    Cipher.CBC: "AES-CBC",
    Cipher.NULL: "NULL",
    Cipher.GMAC: "AES-NULL-GMAC",
}
HASHES = {Hash.NONE: "NULL", Hash.SHA_256: "SHA2-256-128", Hash.SHA_1: "HMAC-SHA1-96"}
FAMILIES = pytest.mark.parametrize("outer", [V4, V6], ids=["v4", "v6"])


def by_scapy(suite: Suite) -> SecurityAssociation:
    facts, octets = SUITES[suite], keymat(suite)
    esp = facts.protocol is Protocol.ESP
    at = facts.key_octets + facts.salt_octets
    arguments: dict[str, Any] = {"auth_algo": HASHES[facts.hash], "auth_key": octets[at:]}
    if esp:
        arguments |= {"crypt_algo": CIPHERS[facts.cipher], "crypt_key": octets[:at]}
    return SecurityAssociation(ESP if esp else AH, spi=SPI if esp else AH_SPI, **arguments)


def known_to_scapy() -> list[Suite]:
    """All that is not two SAs, and not AES-GMAC in AH."""
    return [
        suite
        for suite, facts in SUITES.items()
        if facts.protocol is Protocol.ESP
        or (facts.protocol is Protocol.AH and facts.cipher is not Cipher.GMAC)
    ]


def ip_of(outer: AddressPair, octets: bytes = b"", **fields: Any) -> Packet:
    if octets:
        return IP(octets) if outer is V4 else IPv6(octets)
    ends: dict[str, Any] = {"src": str(outer.source), "dst": str(outer.destination)}
    return (IP if outer is V4 else IPv6)(**ends, **fields)


@FAMILIES
@pytest.mark.parametrize("suite", known_to_scapy())
def test_scapy_opens_what_we_seal(suite: Suite, outer: AddressPair) -> None:
    sealed = Form(suite, esn=False, outer=outer).outbound(7).seal_udp(DATAGRAM)
    opened = by_scapy(suite).decrypt(ip_of(outer, sealed))
    assert parse_udp(bytes(opened.payload)) == DATAGRAM


@FAMILIES
@pytest.mark.parametrize("suite", known_to_scapy())
def test_we_open_what_scapy_seals(suite: Suite, outer: AddressPair) -> None:
    clear = ip_of(outer) / UDP(sport=40664, dport=664) / DATAGRAM.payload
    sealed = by_scapy(suite).encrypt(clear, seq_num=9)
    opened = Form(suite, esn=False, outer=outer).inbound().open(bytes(sealed))
    assert (opened.sequence, opened.datagram) == (9, DATAGRAM)


@FAMILIES
@pytest.mark.parametrize("esn", [True, False])
@pytest.mark.parametrize(
    "suite", [suite for suite, facts in SUITES.items() if facts.cipher is Cipher.GMAC]
)
def test_rfc4543_gmac_read_by_hand(suite: Suite, outer: AddressPair, esn: bool) -> None:
    number = (5 << 32) + 7 if esn else 7
    packet = Form(suite, esn=esn, outer=outer).outbound(number).seal_udp(DATAGRAM)
    facts, octets = SUITES[suite], keymat(suite)
    esp = facts.protocol is Protocol.ESP
    sa = Association(
        suite=int(suite),
        name=suite.name,
        tunnel=False,
        v6=outer is V6,
        esn=esn,
        spi=SPI if esp else AH_SPI,
        ah_spi=0,
        high=number >> 32,
        key=octets[: facts.key_octets].hex(),
        salt=octets[facts.key_octets :].hex(),
        auth="",
        ah_auth="",
    )
    if esp:
        assert esp_is_right(sa, packet[20 if outer is V4 else 40 :])
    else:
        assert ah_is_right(sa, packet)


# --- options and extension headers under AH -------------------------------------------------------

SUITE = Suite.AH_HMAC_SHA_256_128
HEADERS = {
    "router_alert": (V4, lambda: ip_of(V4, options=[IPOption_Router_Alert()])),
    "record_route": (V4, lambda: ip_of(V4, options=[IPOption_RR(routers=["192.0.2.9"])])),
    "timestamp": (V4, lambda: ip_of(V4, tos=0xB8, ttl=9, options=[IPOption_Timestamp()])),
    "hop_by_hop": (V6, lambda: ip_of(V6, tc=3, fl=77) / IPv6ExtHdrHopByHop(options=RouterAlert())),
    "changing": (
        V6,
        lambda: (
            ip_of(V6) / IPv6ExtHdrHopByHop(options=[HBHOptUnknown(otype=0x3E, optdata=b"abcdef")])
        ),
    ),
    "destination": (
        V6,
        lambda: (
            ip_of(V6)
            / IPv6ExtHdrHopByHop(options=RouterAlert())
            / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optdata=b"abcd")])
        ),
    ),
}
CHANGING = {"record_route": 20, "timestamp": 20, "changing": 42}
"""Where an option begins whose data a router may change."""


def with_ah(name: str) -> bytes:
    _, make = HEADERS[name]
    clear = bytes(make() / UDP(sport=40664, dport=664) / DATAGRAM.payload)
    material = Form(SUITE, esn=False).materials()[1]
    assert material is not None
    return AhOutbound(material, numbers(1, esn=False)).seal(parse_ip(clear)).pack()


def check(octets: bytes) -> bytes:
    material = Form(SUITE, esn=False).materials()[1]
    assert material is not None
    return AhInbound(material).verify(parse_ip(octets)).payload


@pytest.mark.parametrize("name", list(HEADERS))
def test_rfc4302_a_scapy_covers_the_same_octets(name: str) -> None:
    outer = HEADERS[name][0]
    sealed = with_ah(name)
    by_scapy(SUITE).decrypt(ip_of(outer, sealed))  # raises if its ICV is another
    assert parse_udp(check(sealed)) == DATAGRAM


@pytest.mark.parametrize("name", list(HEADERS))
def test_rfc4302_a_what_may_change_may_and_nothing_else(name: str) -> None:
    sealed = with_ah(name)
    headers = len(parse_ip(sealed).headers)
    may_change = range(0)
    if name in CHANGING:
        at = CHANGING[name]
        # The length of an IPv4 option counts its first two octets, that of an IPv6 option does not.
        may_change = range(at + 2, at + sealed[at + 1] + (0 if at == 20 else 2))
    for octet in range(20 if HEADERS[name][0] is V4 else 40, headers):
        forged = bytearray(sealed)
        forged[octet] ^= 0x40
        if octet in may_change:
            assert parse_udp(check(bytes(forged))) == DATAGRAM
        else:
            with pytest.raises(PacketDroppedError):
                check(bytes(forged))


@pytest.mark.parametrize("options", ["01010144", "83000000", "19040000", "94444444", "94010000"])
def test_an_option_that_lies_or_that_nobody_knows_is_refused(options: str) -> None:
    octets = bytearray(with_ah("router_alert"))
    octets[20:24] = bytes.fromhex(options)
    with pytest.raises(PacketDroppedError) as error:
        check(bytes(octets))
    assert error.value.reason is DropReason.IP_OPTION


@pytest.mark.parametrize(
    ("protocol", "extension"),
    [
        (0, "1101000000000000"),  # longer than the packet
        (43, "1100000100000000"),  # a router still has to change it
        (60, "110000000000"),  # cut
    ],
)
def test_rfc8200_4_extension_headers_that_cannot_be_are_refused(
    protocol: int, extension: str
) -> None:
    octets = bytearray(bytes(ip_of(V6, nh=protocol)) + bytes.fromhex(extension))
    octets[4:6] = (len(octets) - 40).to_bytes(2, "big")
    with pytest.raises(PacketDroppedError) as error:
        parse_ip(bytes(octets))
    assert error.value.reason is DropReason.IP_HEADER


@pytest.mark.parametrize("outer", [V4, V6], ids=["v4", "v6"])
@pytest.mark.parametrize("field", ["reserved", "length"])
def test_rfc4302_2_a_header_that_cannot_be_is_refused_before_its_icv(
    outer: AddressPair, field: str
) -> None:
    octets = bytearray(Form(SUITE, esn=False, outer=outer).outbound().seal_udp(DATAGRAM))
    at = 20 if outer is V4 else 40
    if field == "reserved":
        octets[at + 3] = 1
    else:
        # 28 octets where IPv6 wants 32, and 36 in IPv4, to which nobody pads.
        octets[at + 1] = 5 if outer is V6 else 7
    with pytest.raises(PacketDroppedError) as error:
        check(bytes(octets))
    assert error.value.reason is DropReason.LENGTH
