"""Tests of sw.ipsec.udp, with scapy as the oracle of the checksum."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from sw.ipsec.checksum import checksum
from sw.ipsec.udp import UdpDatagram, UdpSelector, build_udp, parse_udp

PORT = st.integers(0, 0xFFFF)
ADDRESS = st.integers(0, 0xFFFF_FFFF).map(IPv4Address)


@settings(deadline=None)
@given(PORT, PORT, st.binary(max_size=80), ADDRESS, ADDRESS)
def test_rfc768_header_and_checksum_are_scapys(
    sport: int, dport: int, payload: bytes, source: IPv4Address, destination: IPv4Address
) -> None:
    ours = build_udp(UdpDatagram(sport, dport, payload), source, destination)
    theirs = IP(src=str(source), dst=str(destination)) / UDP(sport=sport, dport=dport)
    assert ours == bytes(theirs / Raw(payload))[20:]


@given(PORT, PORT, st.binary(max_size=80), ADDRESS, ADDRESS)
def test_round_trip(
    sport: int, dport: int, payload: bytes, source: IPv4Address, destination: IPv4Address
) -> None:
    datagram = UdpDatagram(sport, dport, payload)
    assert parse_udp(build_udp(datagram, source, destination)) == datagram


def test_rfc1071_example() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2


def test_rfc768_a_sum_of_zero_is_sent_as_ones() -> None:
    zero = IPv4Address(0)
    probe = build_udp(UdpDatagram(0, 0, b"\0\0"), zero, zero)
    payload = probe[6:8]
    assert build_udp(UdpDatagram(0, 0, payload), zero, zero)[6:8] == b"\xff\xff"


@pytest.mark.parametrize("octets", ["", "00" * 7, "0298029800090000", "02980298000700000000"])
def test_a_length_that_is_not_the_datagrams_is_refused(octets: str) -> None:
    with pytest.raises(ValueError, match=r"udp|UDP"):
        parse_udp(bytes.fromhex(octets))


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (UdpSelector(), True),
        (UdpSelector(664, None), True),
        (UdpSelector(None, 40664), True),
        (UdpSelector(664, 40664), True),
        (UdpSelector(665, None), False),
        (UdpSelector(664, 40665), False),
    ],
)
def test_selector(selector: UdpSelector, matches: bool) -> None:
    assert selector.matches(UdpDatagram(664, 40664, b"")) is matches
