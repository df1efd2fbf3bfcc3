"""Bench of the frame parser: fields, sums and marks, against scapy and the model's parser."""

import random
from typing import Any

import cocotb
from amaranth.lib import data
from scapy.layers.inet import IP, TCP, UDP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

from hw.net.parser import FrameFields
from spec.headers import ETHERNET, PORT_ESP_IN_UDP, PROTOCOL_ESP, PROTOCOL_UDP
from verif.cocotb.drivers import (
    PATTERNS,
    Bench,
    Driver,
    PacketSink,
    PacketSource,
    none,
    pattern,
)
from verif.model.parser import Parsed, ones_sum, parse

FRAMES = 60
HELD_MAX = 3
"""Cycles from `release` to `ready`."""


def members(layout: data.Layout, value: int, prefix: str = "") -> dict[str, int]:
    """Every leaf of a structure, from its bits."""
    leaves: dict[str, int] = {}
    for name, part in layout:
        bits = value >> part.offset & (1 << part.width) - 1
        if isinstance(part.shape, data.Layout):
            leaves |= members(part.shape, bits, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = bits
    return leaves


class Always(Driver):
    """Keeps the parser's outputs taken: it does not look at their `ready`."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        bench.dut.release.value = 0


def frame_of(rng: random.Random) -> bytes:
    """A frame of a random kind, built by scapy; now and then cut off or with octets flipped."""
    ip = IP(src="10.0.0.1", dst="10.0.0.2", id=rng.getrandbits(16))
    if rng.random() < 0.3:
        ip.options = [IPOption(b"\x94\x04\0\0")] * rng.randrange(1, 10)
    ip.frag = rng.choice((0, 0, 0, 0, 5))
    ip.flags = rng.choice(("", "DF", "MF"))
    body = Raw(rng.randbytes(rng.choice((0, 1, 4, 12, 40, 300))))
    packet = rng.choice(
        (
            ip / UDP(sport=rng.getrandbits(16), dport=rng.choice((53, 623, 664, 4500))) / body,
            ip / UDP(sport=4500, dport=4500) / Raw(rng.randbytes(rng.randrange(80))),
            ip / ESP(spi=rng.getrandbits(32), seq=7, data=rng.randbytes(rng.randrange(60))),
            ip / TCP(dport=664) / body,
            ARP(op=rng.randrange(1, 4), psrc="10.0.0.9", pdst="10.0.0.2"),
            IPv6() / UDP(dport=664) / body,
            Dot1Q(vlan=5) / ip / UDP(dport=664) / body,
            body,
        )
    )
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    frame = bytearray(bytes(ether / packet))
    if rng.random() < 0.3:
        frame = frame[: rng.randrange(1, len(frame) + 1)]
    if rng.random() < 0.2:
        frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
    return bytes(frame)


def compare(found: dict[str, int], frame: bytes) -> None:
    """Everything the parser says it has must be what the frame holds."""
    have = {name[5:] for name, value in found.items() if name.startswith("have.") and value}
    assert found["octets"] == len(frame)
    assert ("ethernet" in have) == (len(frame) >= ETHERNET.octets)
    if "ethernet" not in have:
        assert not have
        return
    parsed: Parsed = parse(frame)
    expected: dict[str, dict[str, int] | None] = {
        "ethernet": parsed.ethernet,
        "arp": parsed.arp,
    }
    if parsed.ipv4 is not None:
        expected["ipv4"] = parsed.ipv4
        header = frame[14 : parsed.l4]
        if len(header) == parsed.ip_header_octets:
            assert found["ipv4_sum"] == ones_sum(header)
        whole = parsed.ipv4["fragment_offset"] == 0
        is_udp = whole and parsed.ipv4["protocol"] == PROTOCOL_UDP
        expected["udp"] = parsed.udp if is_udp else None
        spi = None
        if whole and parsed.ipv4["protocol"] == PROTOCOL_ESP:
            spi = parsed.l4_octets(0, 4)
        elif is_udp and parsed.udp and parsed.udp["destination_port"] == PORT_ESP_IN_UDP:
            spi = parsed.l4_octets(8, 4)
        assert ("spi" in have) == (spi is not None)
        if spi is not None:
            assert found["esp.spi"] == int.from_bytes(spi, "big")
    for header_name, fields in expected.items():
        assert (header_name in have) == (fields is not None), f"{header_name} in {frame.hex()}"
        for name, value in found.items():
            if fields is not None and name.startswith(f"{header_name}."):
                key = name.split(".")[1]
                assert value == fields[key], f"{name} of {frame.hex()}: {value:#x}"


def body_of(frame: bytes) -> bytes | None:
    """What must go to `body`: from the ESP header, or from behind the UDP header."""
    parsed = parse(frame) if len(frame) >= ETHERNET.octets else None
    if parsed is None or parsed.ipv4 is None or parsed.ipv4["fragment_offset"]:
        return None
    protocol = parsed.ipv4["protocol"]
    start = {PROTOCOL_ESP: parsed.l4, PROTOCOL_UDP: parsed.l4 + 8}.get(protocol)
    return None if start is None else frame[start:] or None


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS))
async def captures_fields(dut: Any, idle: str) -> None:
    """Frames of all kinds, whole, cut and damaged; the next one is never hurt by the last."""
    bench = Bench(dut)
    rng = bench.rng
    source = PacketSource(bench, "i", idle=pattern(idle, rng))
    frames = PacketSink(bench, "frame", backpressure=none())
    bodies = PacketSink(bench, "body", backpressure=none())
    Always(bench)
    await bench.reset()
    seen = set()
    for _ in range(FRAMES):
        frame, err = frame_of(rng), rng.random() < 0.1
        source.send(frame, err=err)
        await bench.until(dut.ended, limit=20 * len(frame) + 100)
        assert dut.walked.value
        assert not dut.i__ready.value
        await bench.cycles(2)
        await bench.settled()
        found = members(FrameFields, int(dut.fields.value))
        assert found["err"] == err
        compare(found, frame)
        seen |= {name for name, value in found.items() if name.startswith("have.") and value}
        through = frames.take_all()
        assert [(item.data, item.err) for item in through] == [(frame, err)]
        assert [item.data for item in bodies.take_all()] == [b for b in [body_of(frame)] if b]
        await bench.cycles()
        dut.release.value = 1
        await bench.cycles()
        dut.release.value = 0
        assert await bench.until(dut.i__ready, limit=HELD_MAX) < HELD_MAX
    assert len(seen) == 5, seen
    await bench.finish()
