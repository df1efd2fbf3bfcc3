"""The host's addresses, learnt from what scapy announces in the host's name."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from verif.model import NicModel, ToWire

MAC, OTHER_MAC = "02:00:00:00:00:02", "02:00:00:00:00:09"
IP, IP_NUMBER = "10.99.0.2", 0x0A630002
IP6, IP6_NUMBER = "fd99::12:3456", 0xFD990000_00000000_00000000_00123456
ARP_BIT, NEIGHBOUR_BIT = 1, 2


def arp(source: str = MAC, **fields: Any) -> bytes:
    """An ARP frame of the host."""
    right: dict[str, Any] = {"op": 1, "hwsrc": MAC, "psrc": IP, "pdst": "10.99.0.1"}
    return bytes(Ether(src=source, dst="ff:ff:ff:ff:ff:ff") / ARP(**(right | fields)))


def advertisement(
    source: str = IP6, mac: str = MAC, hops: int = 255, message: Any = ICMPv6ND_NA
) -> bytes:
    """Neighbour discovery of the host."""
    packet = IPv6(src=source, dst="ff02::1", hlim=hops) / message(tgt=IP6)
    return bytes(
        Ether(src=mac, dst="33:33:00:00:00:01") / packet / ICMPv6NDOptDstLLAddr(lladdr=MAC)
    )


def learns(bits: int = ARP_BIT | NEIGHBOUR_BIT) -> NicModel:
    """A NIC that knows no address, and takes them."""
    model = NicModel()
    model.bus_write("HOST_LEARN", bits)
    return model


def known(model: NicModel) -> tuple[int, int, int]:
    """All addresses of the host."""
    return model.host_mac, model.host_ip, model.host_ip6


def says(model: NicModel, *frames: bytes) -> None:
    """The host sends frames, which leave as they are."""
    for frame in frames:
        assert model.host_receive(frame) == [ToWire(frame)]


def test_arp_tells_mac_and_ipv4_address() -> None:
    model = learns()
    for operation in (1, 2):
        model = learns()
        says(model, arp(op=operation))
        assert known(model) == (0x020000000002, IP_NUMBER, 0)
    says(model, arp(psrc="10.99.0.77"))
    assert model.host_ip == IP_NUMBER - 2 + 77


def test_neighbour_discovery_tells_the_ipv6_address_once() -> None:
    for message in (ICMPv6ND_NA, ICMPv6ND_NS):
        model = learns()
        says(model, arp(), advertisement("fe80::1"), advertisement(message=message))
        assert known(model) == (0x020000000002, IP_NUMBER, IP6_NUMBER)
        assert model.bus_read("HOST_LEARN") == ARP_BIT
        says(model, advertisement("fd99::9"))
        assert model.host_ip6 == IP6_NUMBER
        model.bus_write("HOST_LEARN", NEIGHBOUR_BIT)
        says(model, advertisement("fd99::9"))
        assert model.host_ip6 == IP6_NUMBER - 0x123456 + 9


def test_nothing_is_learnt_unasked() -> None:
    model = learns(0)
    says(model, arp(), advertisement())
    assert known(model) == (0, 0, 0)
    model = learns(NEIGHBOUR_BIT)
    says(model, arp(), advertisement())
    assert known(model) == (0, 0, 0)
    model = NicModel(learns=False)
    model.bus_write("HOST_LEARN", 3)
    assert model.bus_read("HOST_LEARN") == 0


def test_the_wire_tells_nothing() -> None:
    model = learns()
    model.wire_receive(arp())
    model.wire_receive(advertisement())
    assert known(model) == (0, 0, 0)


def test_others_behind_the_host_are_not_the_host() -> None:
    """A bridge in the host passes frames of guests, with their own MAC addresses."""
    model = learns()
    says(model, arp())
    says(model, arp(OTHER_MAC, hwsrc=OTHER_MAC, psrc="10.99.0.9"))
    says(model, advertisement("fd99::9", mac=OTHER_MAC))
    assert known(model) == (0x020000000002, IP_NUMBER, 0)


def test_locked_settings_are_not_learnt() -> None:
    model = learns()
    model.bus_write("POLICY", 4)
    says(model, arp(), advertisement())
    assert known(model) == (0, 0, 0)
    model.bus_write("HOST_LEARN", 0)
    assert model.bus_read("HOST_LEARN") == 3


WRONG = {
    "short": arp()[:41],
    "tagged": bytes(Ether(src=MAC) / Dot1Q(vlan=5) / ARP(hwsrc=MAC, psrc=IP)),
    "another's": arp(hwsrc=OTHER_MAC),
    "from another": arp(OTHER_MAC),
    "of a group": arp("03:00:00:00:00:02", hwsrc="03:00:00:00:00:02"),
    "of nobody": arp("00:00:00:00:00:00", hwsrc="00:00:00:00:00:00"),
    "a probe": arp()[:28] + bytes(4) + arp()[32:],
    "operation": arp(op=3),
    "operation of two octets": arp(op=0x101),
    "hardware": arp(hwtype=6),
    "protocol": arp(ptype=0x86DD),
    "lengths": arp(hwlen=5),
}
WRONG_6 = {
    "short": advertisement()[:77],
    "hop limit": advertisement(hops=254),
    "type": advertisement(message=lambda tgt: IPv6(dst=tgt)),
    "no address": advertisement("::"),
    "the link's": advertisement("fe80::2"),
    "a group": advertisement("ff02::2"),
    "version": advertisement()[:14] + b"\x50" + advertisement()[15:],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_announcement_of_arp_is_ignored(name: str) -> None:
    model = learns()
    says(model, WRONG[name])
    assert known(model) == (0, 0, 0)


@pytest.mark.parametrize("name", WRONG_6)
def test_what_is_no_announcement_of_ipv6_is_ignored(name: str) -> None:
    model = learns()
    says(model, arp(), WRONG_6[name])
    assert model.host_ip6 == 0


def test_a_broken_frame_tells_nothing() -> None:
    model = learns()
    model.host_receive(arp(), err=True)
    assert known(model) == (0, 0, 0)
