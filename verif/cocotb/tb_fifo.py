"""Bench of the commit FIFO: only committed frames come out, whole, in order."""

from typing import Any

import cocotb

from verif.cocotb.drivers import PATTERNS, Bench, PacketSink, bench_parameters, pattern


class Writer:
    """Writes frames a beat at a time, as the parser does: never stalled, never stalling."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.dut = bench.dut
        self.dut.i__valid.value = 0
        self.dut.i__payload.value = 0
        self.dut.commit.value = 0
        self.dut.discard.value = 0

    async def beats(self, octets: bytes, first: int, last: int, *, idle: float, err: bool) -> None:
        """Octets `first` to `last` - 1 of a frame."""
        for number in range(first, last):
            while self.bench.rng.random() < idle:
                await self.bench.cycles()
            is_last = number == len(octets) - 1
            self.dut.i__valid.value = 1
            self.dut.i__payload.value = (
                octets[number] | (number == 0) << 8 | is_last << 9 | (is_last and err) << 10
            )
            await self.bench.cycles()
            self.dut.i__valid.value = 0

    async def strobe(self, name: str) -> None:
        getattr(self.dut, name).value = 1
        await self.bench.cycles()
        getattr(self.dut, name).value = 0

    async def lost(self) -> bool:
        await self.bench.cycles()  # told two cycles after the beat
        await self.bench.settled()
        return bool(self.dut.lost.value)


@cocotb.test()
@cocotb.parametrize(backpressure=list(PATTERNS), idle=[0.0, 0.4])
async def releases_only_committed(dut: Any, backpressure: str, idle: float) -> None:
    """Commit early, late or never, at random; lengths from one octet to more than fits.

    Without err in the memory a frame is committed only when it is whole, and comes without.
    """
    depth, carries_err = bench_parameters()["depth"], bench_parameters()["carries_err"]
    bench = Bench(dut)
    rng = bench.rng
    writer = Writer(bench)
    sink = PacketSink(bench, "o", backpressure=pattern(backpressure, rng))
    await bench.reset()
    expected: list[tuple[bytes, bool]] = []
    cut = []
    kinds = dict.fromkeys(("early", "late", "discard", "lost", "cut"), 0)
    for _ in range(150):
        octets = rng.randbytes(rng.choice((1, 2, 3, 14, 60, depth // 2, depth - 1, depth + 40)))
        err = rng.random() < 0.1
        action = rng.choice(("early", "late", "discard"))
        is_early = action == "early" and carries_err
        at = rng.randrange(1, len(octets) + 1) if is_early else len(octets)
        await writer.beats(octets, 0, at, idle=idle, err=err)
        was_lost = await writer.lost()
        await bench.cycles()
        await writer.strobe("discard" if action == "discard" else "commit")
        await writer.beats(octets, at, len(octets), idle=idle, err=err)
        is_lost = await writer.lost()
        await bench.cycles()
        if action == "discard":
            kinds["discard"] += 1
        elif was_lost:
            kinds["lost"] += 1
        elif is_lost:  # ran out of room after its release: ended by a beat with err
            kinds["cut"] += 1
            cut.append(len(expected))
            expected.append((octets, True))
        else:
            kinds[action] += 1
            expected.append((octets, err and carries_err))
        if rng.random() < 0.7:  # let it drain, or fill up
            await bench.cycles(rng.randrange(2 * depth))
    await bench.cycles(8 * depth)
    frames = sink.take_all()
    assert len(frames) == len(expected)
    for number, (frame, want) in enumerate(zip(frames, expected, strict=True)):
        assert frame.err == want[1]
        if number in cut:
            assert want[0].startswith(frame.data[:-1])
            assert len(frame.data) <= len(want[0])
        else:
            assert frame.data == want[0]
    assert int(dut.level.value) == 0
    for kind in ("early", "late", "discard", "lost"):
        assert kinds[kind], kinds
    cocotb.log.info("RESULT fifo %s idle=%s: %s", backpressure, idle, kinds)
    await bench.finish()
