"""Neighbour solicitations in the host's place, asked and read by scapy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from spec.counters import Counter
from verif.model import NicModel, ToHost, ToWire
from verif.unit.model.support import HOST_MAC, STATION_MAC, nic

HOST, STATION = "fd99::12:3456", "fd99::1"
GROUP, GROUP_MAC = "ff02::1:ff12:3456", "33:33:ff:12:34:56"
NONCE = bytes.fromhex("0e01112233445566")
"""RFC 3971 5.3.2."""


def host_down(address: int = 0xFD990000_00000000_00000000_00123456) -> NicModel:
    """A NIC whose host has an IPv6 address, and whose OS is not up."""
    model = nic()
    for index in range(4):
        model.bus_write("HOST_IP6", address >> 32 * (3 - index) & 0xFFFFFFFF, index)
    return model


def asks(
    source: str = STATION,
    to: str = GROUP,
    mac: str = GROUP_MAC,
    options: Any = None,
    tags: Any = None,
    hops: int = 255,
    **fields: Any,
) -> bytes:
    """A solicitation; scapy fills in lengths and checksum."""
    if options is None:
        options = ICMPv6NDOptSrcLLAddr(lladdr=STATION_MAC)
    ether = Ether(src=STATION_MAC, dst=mac)
    if tags is not None:
        ether /= tags
    packet = ether / IPv6(src=source, dst=to, hlim=hops)
    return bytes(packet / ICMPv6ND_NS(**{"tgt": HOST} | fields) / options)


def answer(model: NicModel, request: bytes) -> Packet:
    """The one frame that comes of it, whose lengths and checksums are as scapy makes them."""
    (output,) = model.wire_receive(request)
    assert isinstance(output, ToWire)
    assert model.verdict is Counter.DELIVERED
    frame = Ether(output.frame)
    fresh = frame.copy()
    del fresh[IPv6].plen
    del fresh[ICMPv6ND_NA].cksum
    assert bytes(fresh) == output.frame
    assert frame.src == HOST_MAC
    assert (frame[IPv6].src, frame[IPv6].hlim) == (HOST, 255)
    advertisement = frame[ICMPv6ND_NA]
    assert (advertisement.R, advertisement.O, advertisement.res) == (0, 1, 0)
    assert advertisement.tgt == HOST
    assert frame[ICMPv6NDOptDstLLAddr].lladdr == HOST_MAC
    return frame


def test_rfc4861_7_2_4_answer_while_the_os_is_down() -> None:
    model = host_down()
    for request in (
        asks(),
        asks() + bytes(9),
        asks(mac=HOST_MAC),
        asks(to=HOST, mac=HOST_MAC),
        asks(options=Raw(b"")),
        asks(options=Raw(NONCE)),
        asks(options=Raw(NONCE * 5)),
        asks(options=Raw(bytes.fromhex("fe05") + bytes(38))),
        asks(res=1),
    ):
        frame = answer(model, request)
        assert frame.dst == STATION_MAC
        assert frame[IPv6].dst == STATION
        assert frame[ICMPv6ND_NA].S == 1


def test_vlan_tags_are_kept() -> None:
    model = host_down()
    tags = Dot1Q(vlan=7, prio=5) / Dot1Q(vlan=9)
    frame = answer(model, asks(tags=tags))
    assert bytes(frame)[12:20] == asks(tags=tags)[12:20]


def test_rfc4862_5_4_3_a_probe_is_answered_to_all() -> None:
    model = host_down()
    for options in (Raw(b""), Raw(NONCE)):
        frame = answer(model, asks(source="::", options=options))
        assert frame.dst == "33:33:00:00:00:01"
        assert frame[IPv6].dst == "ff02::1"
        assert frame[ICMPv6ND_NA].S == 0


def test_the_os_answers_itself_once_it_is_up() -> None:
    model = host_down()
    model.bus_write("HEARTBEAT", 0x48425421)
    assert model.wire_receive(asks()) == [ToHost(asks())]
    assert model.verdict is Counter.PASSED


def wrong() -> Iterator[tuple[str, bytes]]:
    """Solicitations that break one rule each; all checksums but one are right."""
    right = asks()
    for octets in range(14, len(right)):
        yield f"cut to {octets}", right[:octets]
    yield "hop limit", asks(hops=254)
    yield "code", asks(code=1)
    yield "type", asks(type=136)
    yield "checksum", asks(cksum=0x1234)
    yield "target", asks(tgt="fd99::12:3457")
    yield "another group", asks(to="ff02::1:ff12:3457")
    yield "all nodes", asks(to="ff02::1")
    yield "not this network", asks(to="ff02::2:ff12:3456")
    yield "another host's MAC", asks(to=HOST, mac="02:00:00:00:00:03")
    yield "from a group", asks(source="ff02::1")
    yield "probe to the address itself", asks(source="::", to=HOST, options=Raw(b""))
    yield "probe with a source", asks(source="::")
    yield "option of length 0", asks(options=Raw(bytes.fromhex("0e00") + bytes(6)))
    yield "option too long", asks(options=Raw(bytes.fromhex("0e02") + bytes(6)))
    yield "option far too long", asks(options=Raw(bytes.fromhex("0eff") + bytes(6)))
    yield "half an option", asks(options=Raw(NONCE[:4]))
    yield "octets behind an option", asks(options=Raw(NONCE + bytes(2)))
    yield "longer than it need be", asks(options=Raw(NONCE * 6))
    yield "IP length", bytes([*right[:18], 0, 24, *right[20:]])
    yield "IP length above the frame", bytes([*right[:18], 0, 40, *right[20:]])
    behind = bytes.fromhex("3a00 050200000100")
    header = bytes.fromhex("60000000 0028 00 ff")
    yield "behind a header of options", right[:14] + header + right[22:54] + behind + right[54:]


WRONG = dict(wrong())


@pytest.mark.parametrize("name", WRONG)
def test_rfc4861_7_1_1_what_is_not_right_passes(name: str) -> None:
    model = host_down()
    frame = WRONG[name]
    assert model.wire_receive(frame) == [ToHost(frame)]
    assert model.verdict is Counter.PASSED


def test_no_address_is_asked_for() -> None:
    model = host_down(0)
    request = asks(to="ff02::1:ff00:0", tgt="::")
    assert model.wire_receive(request) == [ToHost(request)]
    model = host_down(0xFF02 << 112 | 1)
    request = asks(to="ff02::1", tgt="ff02::1")
    assert model.wire_receive(request) == [ToHost(request)]
