"""Tests of sw.ipsec.encap and sw.ipsec.raw."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.packet import Raw

from sw.ipsec import (
    EspPacket,
    IkeMessage,
    Keepalive,
    demultiplex,
    encapsulate_esp,
    encapsulate_ike,
)
from sw.ipsec.raw import strip_ipv4


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        ("", None),
        ("ff", Keepalive()),
        ("fe", None),
        ("ffff", None),
        ("000000", None),
        ("00000000", IkeMessage(b"")),
        ("0000000001", IkeMessage(b"\x01")),
        ("00000001", None),
        ("0000000100000001", EspPacket(bytes.fromhex("0000000100000001"))),
        ("ff000000000001", None),
        ("c0de010100000001aa", EspPacket(bytes.fromhex("c0de010100000001aa"))),
    ],
)
def test_rfc3948_2_what_stands_on_port_4500(octets: str, what: object) -> None:
    assert demultiplex(bytes.fromhex(octets)) == what


@given(st.binary(max_size=60))
def test_any_datagram_is_something(octets: bytes) -> None:
    match demultiplex(octets):
        case EspPacket(packet):
            assert encapsulate_esp(packet) == octets
        case IkeMessage(payload):
            assert encapsulate_ike(payload) == octets
        case Keepalive():
            assert octets == b"\xff"


@pytest.mark.parametrize("packet", [b"", b"\1\2\3\4\5\6\7", bytes(30)])
def test_what_would_look_like_ike_is_not_sent_as_esp(packet: bytes) -> None:
    with pytest.raises(ValueError, match="no ESP packet"):
        encapsulate_esp(packet)


@given(st.binary(max_size=60), st.binary(max_size=10), st.integers(0, 10))
def test_raw_packet_is_stripped_of_header_options_and_surplus(
    packet: bytes, surplus: bytes, words: int
) -> None:
    header = IP(src="192.0.2.1", dst="192.0.2.2", proto=50, options=[])
    octets = bytearray(bytes(header / Raw(packet)))
    octets[0] = 0x45 + words
    octets[20:20] = b"\x01" * (4 * words)
    octets[2:4] = (20 + 4 * words + len(packet)).to_bytes(2, "big")
    assert strip_ipv4(bytes(octets) + surplus) == packet


@given(st.binary(max_size=60))
def test_any_octets_from_a_raw_socket(octets: bytes) -> None:
    esp = strip_ipv4(octets)
    assert esp is None or esp in octets


@pytest.mark.parametrize(
    "changes",
    [
        {"proto": 17},
        {"flags": "MF"},
        {"frag": 1},
        {"version": 6},
        {"ihl": 4},
        {"len": 200},
        {"len": 19},
    ],
)
def test_what_is_no_whole_esp_packet_is_refused(changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"src": "192.0.2.1", "dst": "192.0.2.2", "proto": 50}
    packet = bytes(IP(**(fields | changes)) / Raw(bytes(40)))
    assert strip_ipv4(packet) is None
    assert strip_ipv4(packet[:19]) is None
