"""Bench of the plaintext path: what it finds, and that only good messages leave.

What a finding must be is told here from literal numbers of the RFCs, not from `spec`.
"""

import random
from dataclasses import dataclass
from typing import Any

import cocotb
from amaranth.hdl import Shape
from amaranth.lib import data

from hw.ipsec.inbound.plain import Begin, Decision, Finding
from hw.ipsec.layouts import MessageMeta
from verif.cocotb.drivers import (
    PATTERNS,
    Bench,
    Driver,
    OctetSource,
    PacketSink,
    StreamSink,
    StreamSource,
    pattern,
)

HOST_IP = bytes.fromhex("0a630002")
HOST_IP6 = bytes.fromhex("fd990000000000000000000000000002")
PACKETS = 60


@dataclass
class Case:
    """A plaintext, how it is begun, and what must be found."""

    begin: dict[str, int]
    text: bytes
    found: dict[str, int]
    message: bytes
    inner: dict[int, int]


def udp(rng: random.Random, payload: bytes) -> tuple[bytes, bool]:
    """A datagram, and whether its port and length are those that pass."""
    port, lie = 664, 0
    if rng.random() < 0.15:
        port = rng.choice((623, 665, 664 ^ 0x8000, 0))
    if rng.random() < 0.15:
        lie = rng.choice((1, -1, 8, 256, -8))
    octets = (8 + len(payload) + lie) & 0xFFFF
    header = rng.randbytes(2) + port.to_bytes(2, "big") + octets.to_bytes(2, "big") + bytes(2)
    return header + payload, port == 664 and lie == 0


def in_ip(rng: random.Random, datagram: bytes) -> tuple[bytes, int, bool, int]:
    """A packet around it: octets, next header that fits, whether it passes, header's length."""
    fault = rng.choice(("",) * 6 + ("total", "protocol", "destination", "fragment", "words"))
    v6 = rng.random() < 0.5
    options = 0
    protocol = 17 if fault != "protocol" else rng.choice((6, 0, 60, 16))
    total = rng.choice((1, -1, 256)) if fault == "total" else 0
    if v6:
        to = bytearray(HOST_IP6)
        header = bytearray(b"\x60" + rng.randbytes(3))
        header += (len(datagram) + total).to_bytes(2, "big", signed=False)
        header += bytes([protocol, 64]) + rng.randbytes(16)
    else:
        to = bytearray(HOST_IP)
        options = rng.choice((0, 0, 4, 40))
        header = bytearray([0x45 + options // 4, rng.randrange(256)])
        header += (20 + options + len(datagram) + total).to_bytes(2, "big") + rng.randbytes(2)
        fragment = rng.choice((0x2000, 1, 0x1FFF)) if fault == "fragment" else 0x4000
        header += fragment.to_bytes(2, "big") + bytes([64, protocol, 0, 0]) + rng.randbytes(4)
    if fault == "destination":
        to[rng.randrange(len(to))] ^= 1 << rng.randrange(8)
    header += to
    if not v6:
        header += rng.randbytes(options)
        if fault == "words":
            header[0] = 0x40 | rng.randrange(5)
    good = fault in ("", "words" if v6 else "", "fragment" if v6 else "")
    return bytes(header) + datagram, 41 if v6 else 4, good, len(header)


def draw(rng: random.Random, token: int) -> Case:
    """A packet of any kind."""
    payload = rng.randbytes(rng.choice((0, 1, 4, 12, 13, 28, 60, 200)))
    begin = dict.fromkeys(("direct", "octets", "esp", "tunnel", "clear", "next_header"), 0)
    begin["token"] = token
    begin["direct"] = rng.randrange(2)
    found = {"padding_ok": 1, "dummy": 0, "next_ok": 1, "selector_ok": 1, "inner_v6": 0}
    if rng.random() < 0.15:
        text = payload + bytes(4)
        begin |= {"clear": 1, "direct": 1, "octets": len(text)}
        return Case(begin, text, found | {"octets": len(text)}, text, {})
    text, good = udp(rng, payload)
    next_header, inner, before = 17, {16: text[0], 17: text[1]}, 8
    if rng.random() < 0.5:
        begin["tunnel"] = 1
        source_at, source_octets = 0, 0
        text, next_header, right, header_octets = in_ip(rng, text)
        good &= right
        before += header_octets
        found["inner_v6"] = int(next_header == 41)
        source_at, source_octets = (8, 16) if next_header == 41 else (12, 4)
        inner |= {n: text[source_at + n] for n in range(source_octets)}
        if rng.random() < 0.1:  # the other family
            next_header ^= 41 ^ 4
            good = False
    if rng.random() < 0.1:
        next_header = rng.choice((6, 59, 50, 0, 4 if not begin["tunnel"] else 17))
        if next_header not in ((4, 41) if begin["tunnel"] else (17,)):
            found["next_ok"] = 0
    if rng.random() < 0.7:
        begin["esp"] = 1
        pad = -(len(text) + 2) % rng.choice((4, 16))
        pad += rng.choice((0, 0, 16, 96))
        padding = bytearray(range(1, pad + 1))
        if rng.random() < 0.1:
            pad = rng.choice((pad + 1, 255))  # claims more than stands there
            found["padding_ok"] = 0
        elif padding and rng.random() < 0.15:
            padding[rng.randrange(len(padding))] ^= 1 << rng.randrange(8)
            found["padding_ok"] = 0
        text += bytes(padding) + bytes([pad, next_header])
        found["dummy"] = int(next_header == 59)
    else:
        begin["next_header"] = next_header
    begin["octets"] = len(text)
    found["selector_ok"] = int(good)
    return Case(begin, text, found | {"octets": len(payload)}, text[before:], inner)


class Records(Driver):
    """The records of what was inside."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.of: dict[int, dict[int, int]] = {}

    def sample(self) -> None:
        dut = self.bench.dut
        if dut.inner_stb.value == 1:
            record = self.of.setdefault(int(dut.inner_token.value), {})
            record[int(dut.inner_offset.value)] = int(dut.inner_data.value)


@cocotb.test()
@cocotb.parametrize(backpressure=list(PATTERNS), idle=list(PATTERNS))
async def finds_and_keeps(dut: Any, backpressure: str, idle: str) -> None:
    """Plaintexts of every kind one behind the other; decisions late and at random."""
    bench = Bench(dut)
    rng = bench.rng
    dut.host_ip.value = int.from_bytes(HOST_IP, "big")
    dut.host_ip6.value = int.from_bytes(HOST_IP6, "big")
    begin = StreamSource(bench, "begin")
    sources = {n: OctetSource(bench, n, idle=pattern(idle, rng)) for n in ("direct", "cipher")}
    findings = StreamSink(bench, "finding", backpressure=pattern(backpressure, rng))
    decisions = StreamSource(bench, "decision")
    messages = StreamSink(bench, "message", backpressure=pattern(backpressure, rng))
    sink = PacketSink(bench, "o", backpressure=pattern(backpressure, rng))
    records = Records(bench)
    await bench.reset()

    cases = [draw(rng, token) for token in range(PACKETS)]
    for case in cases:
        begin.put(data_bits(Begin, case.begin))
        sources["direct" if case.begin["direct"] else "cipher"].send(case.text)
    good: list[tuple[Case, int]] = []
    for number, case in enumerate(cases):
        found = Finding.from_bits(int(await findings.receive()))
        for name in ("padding_ok", "dummy", "next_ok"):
            assert int(getattr(found, name)) == case.found[name], (number, name, case)
        passes = case.found["padding_ok"] and case.found["next_ok"]
        if passes:  # else nobody looks at the rest
            assert int(found.selector_ok) == case.found["selector_ok"], (number, case)
        if passes and case.found["selector_ok"]:
            assert int(found.octets) == case.found["octets"], (number, case)
            assert int(found.inner_v6) == case.found["inner_v6"], (number, case)
            assert records.of.get(number, {}) == case.inner, (number, case)
        lets_out = bool(passes and case.found["selector_ok"]) and rng.random() < 0.8
        meta = rng.getrandbits(Shape.cast(MessageMeta).width)
        if lets_out:
            good.append((case, meta))
        await bench.cycles(rng.choice((0, 0, 3, 300)))
        decisions.put(data_bits(Decision, {"good": lets_out, "meta": meta}))
    for case, meta in good:
        assert int(await messages.receive()) == meta
        frame = await sink.receive()
        expected = case.message or case.text[-1:]  # never without an octet
        assert frame.data == expected, (frame, case)
        assert not frame.err
    await bench.finish(4000)
    assert len(good) > 5
    cocotb.log.info(
        "RESULT plain %s idle=%s: %d of %d left", backpressure, idle, len(good), PACKETS
    )


@cocotb.test()
async def keeps_an_octet_a_cycle(dut: Any) -> None:
    """Nothing of a packet leaves before its decision, and packets follow each other closely."""
    bench = Bench(dut)
    begin = StreamSource(bench, "begin")
    direct = OctetSource(bench, "direct")
    findings = StreamSink(bench, "finding")
    decisions = StreamSource(bench, "decision")
    messages = StreamSink(bench, "message")
    sink = PacketSink(bench, "o")
    await bench.reset()
    text, count = bytes(1400), 2
    fields = {"direct": 1, "octets": len(text), "clear": 1, "esp": 0, "tunnel": 0}
    for token in range(count + 1):
        begin.put(data_bits(Begin, fields | {"next_header": 0, "token": token}))
        direct.send(text)
    start = bench.cycle
    for _ in range(count):
        await findings.receive()
    assert bench.cycle - start <= count * (len(text) + 10)
    await bench.cycles(2000)
    assert sink.count == 0
    assert not sink.in_frame
    # The third waits until there is room: 3 x 1400 octets are more than it holds.
    assert findings.count == 0
    for _ in range(count):
        decisions.put(data_bits(Decision, {"good": 0, "meta": 0}))
    await findings.receive()
    decisions.put(data_bits(Decision, {"good": 1, "meta": 1}))
    assert await messages.receive() == 1
    assert (await sink.receive()).data == text
    await bench.finish()


def data_bits(layout: data.StructLayout, fields: dict[str, Any]) -> int:
    """A struct as a number."""
    value = 0
    for name, field in fields.items():
        value |= int(field) << layout[name].offset
    return value
