"""Bench of the whole NIC: the host's addresses, learnt from the host, and used on the wire."""

import struct
from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import PATTERNS
from verif.cocotb.nic_pair import NicPair
from verif.fuzz.announcements import Announcements

LOCKED = 4
BOTH = 3
GUEST_MAC = bytes.fromhex("02486f6c6409")
RANDOM_FRAMES = 12


def announces_v4(address: bytes, mac: bytes = nf.NIC_MAC) -> bytes:
    """A gratuitous ARP of the host (RFC 826, RFC 5227 3)."""
    packet = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + mac + address + bytes(6) + address
    return nf.ethernet(nf.ETHERTYPE_ARP, packet, to=b"\xff" * 6, source=mac)


def announces_v6(address: bytes, mac: bytes = nf.NIC_MAC) -> bytes:
    """An unsolicited advertisement of the host (RFC 4861 7.2.6)."""
    everybody = bytes.fromhex("ff020000000000000000000000000001")
    option = b"\2\1" + mac
    packet = nf.neighbour(136, 0x20, address, source=address, to=everybody, options=option)
    to = bytes.fromhex("333300000001")
    return nf.ethernet(nf.ETHERTYPE_IPV6, packet, to=to, source=mac)


async def answers_as(pair: NicPair, address: bytes | None) -> None:
    """Who asks for this IPv4 address is answered, and of no other; None: of none at all."""
    for asked in (nf.NIC_IP, nf.OTHER_IP):
        request = nf.ethernet(nf.ETHERTYPE_ARP, nf.arp(1, asked), to=b"\xff" * 6)
        mine = asked == address
        answers = await pair.wire(request, Counter.DELIVERED if mine else Counter.PASSED)
        assert [answer[22:32] for answer in answers] == [nf.NIC_MAC + asked] * mine


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def announced_is_answered(dut: Any, idle: str, backpressure: str) -> None:
    """From the first announcement on; a change is followed; nobody else has a say."""
    pair = NicPair(dut, idle=idle, backpressure=backpressure)
    await pair.start()
    for name in ("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP"):
        await pair.write(name, 0)
    for index in range(4):
        await pair.write("HOST_IP6", 0, index)
    await pair.announce(announces_v4(nf.NIC_IP))
    await answers_as(pair, None)
    await pair.write("HOST_LEARN", BOTH)
    await pair.announce(announces_v4(nf.NIC_IP), err=True)
    await pair.wire(announces_v4(nf.NIC_IP), Counter.PASSED)
    await pair.wire(announces_v6(nf.NIC_IP6), Counter.PASSED)
    await answers_as(pair, None)
    await pair.announce(announces_v4(nf.NIC_IP))
    await answers_as(pair, nf.NIC_IP)
    await pair.announce(announces_v6(bytes.fromhex("fe80") + nf.NIC_IP6[2:]))
    await pair.announce(announces_v6(nf.STATION_IP6, GUEST_MAC))
    assert await pair.wire(nf.solicitation(), Counter.PASSED) == []
    await pair.announce(announces_v6(nf.NIC_IP6))
    assert await pair.read("HOST_LEARN") == 1
    assert await pair.wire(nf.solicitation(), Counter.DELIVERED) == [nf.advertisement()]
    await pair.announce(announces_v4(nf.OTHER_IP, GUEST_MAC))
    await answers_as(pair, nf.NIC_IP)
    await pair.announce(announces_v4(nf.OTHER_IP))
    await answers_as(pair, nf.OTHER_IP)
    await pair.write("POLICY", LOCKED)
    await pair.announce(announces_v4(nf.NIC_IP))
    await answers_as(pair, nf.OTHER_IP)
    await pair.zeroise()
    await pair.write("HOST_MAC_HI", 0)
    await pair.write("HOST_MAC_LO", 0)
    await pair.write("HOST_LEARN", BOTH)
    makes = Announcements(pair.rng)
    for _ in range(RANDOM_FRAMES):
        make = pair.rng.choice((makes.arp, makes.odd_arp, makes.discovery, makes.spoiled))
        await pair.announce(make(), err=pair.rng.random() < 0.2)
        for name in ("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP", "HOST_LEARN"):
            await pair.read(name)
    await pair.finish()
