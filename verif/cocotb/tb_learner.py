"""Bench of what is learnt from the host: frames of each kind, beside the model.

Crossed over when the host pauses and when the wire takes nothing. Between two announcements there
is a pause, for one that comes while an address is written tells nothing; other frames come at once.
"""

from typing import Any

import cocotb

from verif.cocotb.drivers import PATTERNS, Bench, PacketSink, PacketSource, pattern
from verif.cocotb.nic_port import Registers
from verif.fuzz.announcements import Announcements
from verif.fuzz.sealing import HOST_MAC
from verif.model import NicModel

KINDS = {
    "arp": ("arp", "arp", "odd_arp"),
    "discovery": ("discovery", "arp", "odd_discovery"),
    "spoiled": ("spoiled",),
    "mixed": ("arp", "odd_arp", "discovery", "odd_discovery", "spoiled", "other"),
}
"""Recipes of announcements."""
RUNS, FRAMES = 6, 25
WRITE_CYCLES = 24
"""In so many cycles an address is written."""
LOCKED = 4
ADDRESSES = (
    *(("HOST_MAC_HI", 0), ("HOST_MAC_LO", 0), ("HOST_IP", 0), ("HOST_LEARN", 0)),
    *(("HOST_IP6", n) for n in range(4)),
)


class Unit:
    """The device and the model."""

    def __init__(self, dut: Any, idle: str, backpressure: str) -> None:
        self.dut = dut
        self.bench = bench = Bench(dut)
        self.host = PacketSource(bench, "host", idle=pattern(idle, bench.rng))
        self.wire = PacketSink(bench, "wire", backpressure=pattern(backpressure, bench.rng))
        self.registers = Registers(bench)
        self.model = NicModel()
        self.learnt = 0

    async def write(self, name: str, value: int) -> None:
        """To both."""
        await self.registers.write(name, 0, value)
        self.model.bus_write(name, value)

    async def frame(self, frame: bytes, err: bool) -> None:
        """From the host; both know the same afterwards."""
        before = dict(self.model.bus.stored)
        others = [b"\x02" * self.bench.rng.randrange(14, 80) for _ in range(2)]
        for one, is_bad in ((frame, err), *((other, False) for other in others)):
            self.host.send(one, err=is_bad)
            self.model.host_receive(one, is_bad)
        await self.host.drained()
        await self.bench.cycles(WRITE_CYCLES)
        self.learnt += before != self.model.bus.stored
        await self.compare(frame)
        sent = [(beat.data, beat.err) for beat in self.wire.take_all()]
        assert sent == [(frame, err), *((other, False) for other in others)]

    async def compare(self, frame: bytes) -> None:
        """Both know the same."""
        for name, index in ADDRESSES:
            value = await self.registers.read(name, index)
            due = self.model.bus_read(name, index)
            assert value == due, f"{name}[{index}] {value:#x}, not {due:#x}: {frame.hex()}"


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS), idle=list(PATTERNS), backpressure=list(PATTERNS))
async def as_the_model_says(dut: Any, kind: str, idle: str, backpressure: str) -> None:
    """Every setting of HOST_LEARN, with and without a MAC address, at last locked."""
    dut.zeroise.value = 0
    unit = Unit(dut, idle, backpressure)
    rng = unit.bench.rng
    await unit.bench.reset()
    makes = Announcements(rng)
    for run in range(RUNS):
        mac = rng.choice((bytes(6), HOST_MAC)) if run else bytes(6)
        await unit.write("HOST_MAC_HI", int.from_bytes(mac[:2], "big"))
        await unit.write("HOST_MAC_LO", int.from_bytes(mac[2:], "big"))
        for _ in range(FRAMES):
            if not run or rng.random() < 0.2:
                await unit.write("HOST_LEARN", rng.randrange(4) if run else 3)
            frame = getattr(makes, rng.choice(KINDS[kind]))()
            await unit.frame(frame, rng.random() < 0.1)
    assert unit.learnt
    await unit.write("POLICY", LOCKED)
    before = unit.learnt
    for _ in range(FRAMES // 5):
        await unit.write("HOST_LEARN", rng.randrange(4))
        await unit.frame(getattr(makes, rng.choice(KINDS[kind]))(), False)
    assert unit.learnt == before
    cocotb.log.info(
        "RESULT learner %s: %d of %d frames told something", kind, unit.learnt, RUNS * FRAMES
    )
    await unit.bench.finish()


@cocotb.test()
async def one_after_another(dut: Any) -> None:
    """Of two announcements without a pause the first counts, or the second if it told nothing."""
    dut.zeroise.value = 0
    unit = Unit(dut, "none", "none")
    await unit.bench.reset()
    makes = Announcements(unit.bench.rng)
    for _ in range(FRAMES):
        await unit.write("HOST_MAC_HI", 0)
        await unit.write("HOST_MAC_LO", 0)
        await unit.write("HOST_LEARN", 3)
        first = unit.bench.rng.choice((makes.arp, makes.odd_arp, makes.spoiled))()
        before = dict(unit.model.bus.stored)
        unit.model.host_receive(first)
        second = makes.arp()
        if before == unit.model.bus.stored:
            unit.model.host_receive(second)
        for frame in (first, second):
            unit.host.send(frame)
        await unit.host.drained()
        await unit.bench.cycles(WRITE_CYCLES)
        await unit.compare(first)
        unit.wire.take_all()
    await unit.bench.finish()
