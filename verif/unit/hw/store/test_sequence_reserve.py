# amaranth: UnusedElaboratable=no
"""The reserve of sequence numbers, inbound too, beside a memory that is slow and fails."""

import random
from typing import Any

import pytest
from amaranth.sim import Simulator

from hw.store.sequence_reserve import SequenceReserve

BLOCK = 4096
BANK = 5
WORDS = {"RX": (7, 8), "TX": (9, 10), "AH_RX": (32, 33), "AH_TX": (34, 35)}
FLAGS_WORD = 3
LIMIT = 60


class Unit:
    """The reserve in simulation, of which bank BANK is used."""

    def __init__(self, ctx: Any, dut: SequenceReserve) -> None:
        self.ctx = ctx
        self.dut = dut

    async def stage(self, numbers: dict[str, int], *, esn: bool) -> None:
        """Stages the numbers and the flags."""
        words = {FLAGS_WORD: int(esn)}
        for name, number in numbers.items():
            words |= dict(zip(WORDS[name], divmod(number, 1 << 32), strict=True))
        for index, word in words.items():
            self.ctx.set(self.dut.stage_stb, 1)
            self.ctx.set(self.dut.stage_bank, BANK)
            self.ctx.set(self.dut.stage_index, index)
            self.ctx.set(self.dut.stage_data, word)
            await self.ctx.tick()
        self.ctx.set(self.dut.stage_stb, 0)

    async def asks(self, number: int, *, outer: bool = False) -> bool:
        """Whether an inbound number is taken within LIMIT cycles."""
        self.ctx.set(self.dut.ask_stb, 1)
        self.ctx.set(self.dut.ask_bank, BANK)
        self.ctx.set(self.dut.ask_outer, outer)
        self.ctx.set(self.dut.ask_number, number)
        taken = False
        for _ in range(LIMIT):
            await self.ctx.tick()
            if self.ctx.get(self.dut.ask_done):
                taken = True
                break
        self.ctx.set(self.dut.ask_stb, 0)
        await self.ctx.tick()
        return taken

    async def raises(self, *, good: bool = True) -> dict[str, int]:
        """A raise; returns the limits that it has written."""
        self.ctx.set(self.dut.begin_bank, BANK)
        self.ctx.set(self.dut.begin_stb, 1)
        await self.ctx.tick()
        self.ctx.set(self.dut.begin_stb, 0)
        for _ in range(LIMIT):
            await self.ctx.tick()
            if self.ctx.get(self.dut.ready):
                break
        else:
            raise AssertionError("new limits do not come")
        limits = {}
        for name, indices in WORDS.items():
            halves = []
            for index in indices:
                self.ctx.set(self.dut.word_index, index)
                await self.ctx.tick().repeat(2)
                assert self.ctx.get(self.dut.is_number)
                halves.append(self.ctx.get(self.dut.word))
            limits[name] = halves[0] << 32 | halves[1]
        self.ctx.set(self.dut.raised_stb if good else self.dut.dropped_stb, 1)
        await self.ctx.tick()
        self.ctx.set(self.dut.raised_stb if good else self.dut.dropped_stb, 0)
        await self.ctx.tick().repeat(LIMIT)
        assert not self.ctx.get(self.dut.busy), "a raise does not end"
        return limits

    async def wanted(self) -> bool:
        """Whether a raise is wanted."""
        await self.ctx.tick().repeat(3)
        return bool(self.ctx.get(self.dut.wanted) >> BANK & 1)

    def keep(self) -> None:
        """From now on a record of the bank may come back."""
        self.ctx.set(self.dut.kept, 1 << BANK)


def simulate(bench: Any) -> None:
    """Runs a bench on a reserve."""
    dut = SequenceReserve()

    async def drives(ctx: Any) -> None:
        await bench(Unit(ctx, dut))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drives)
    simulator.run()


@pytest.mark.parametrize("esn", [False, True])
@pytest.mark.parametrize("outer", [False, True])
def test_no_inbound_number_beyond_what_is_in_the_memory(esn: bool, outer: bool) -> None:
    rng = random.Random(esn * 2 + outer)
    which = "AH_RX" if outer else "RX"

    async def bench(unit: Unit) -> None:
        high = 3 << 32 if esn else 0
        number = high + 5
        await unit.stage(dict.fromkeys(WORDS, number), esn=esn)
        # Unkept, limits follow what is used, however far it jumps.
        for step in (1, 7000, 100):
            number += step
            assert await unit.asks(number, outer=outer)
        assert not await unit.wanted()
        unit.keep()
        assert await unit.wanted()
        durable = await unit.raises()
        assert durable[which] >= number
        assert durable[which] % BLOCK == BLOCK - 1
        for _ in range(40):
            number += rng.choice((1, 50, 2000, 4096, 9000))
            for _ in range(rng.randrange(2)):
                if await unit.wanted():
                    limits = await unit.raises(good=False)
                    assert limits[which] >= durable[which]
            taken = await unit.asks(number, outer=outer)
            assert taken == (number <= durable[which])
            if not taken:
                assert await unit.wanted()
                durable = await unit.raises()
                assert number // BLOCK < durable[which] // BLOCK, "no block is left behind it"
                assert await unit.asks(number, outer=outer)
            elif number // BLOCK == durable[which] // BLOCK:
                assert await unit.wanted()
                durable = await unit.raises()
                assert number // BLOCK + 1 == durable[which] // BLOCK
            assert not await unit.wanted()

    simulate(bench)


def test_no_limit_passes_the_last_number() -> None:
    async def bench(unit: Unit) -> None:
        for esn, last in ((False, (1 << 32) - 1), (True, (1 << 64) - 1)):
            unit.ctx.set(unit.dut.kept, 0)
            unit.ctx.set(unit.dut.wipe, 1 << BANK)
            await unit.ctx.tick()
            unit.ctx.set(unit.dut.wipe, 0)
            await unit.stage(dict.fromkeys(WORDS, last - 5), esn=esn)
            unit.keep()
            assert set((await unit.raises(good=False)).values()) == {last}
            await unit.stage(dict.fromkeys(WORDS, last - BLOCK - 10), esn=esn)
            assert (await unit.raises())["TX"] == last
            assert await unit.asks(last - BLOCK - 9)
            assert (await unit.raises())["RX"] == last
            assert await unit.asks(last)
            assert not await unit.wanted()
            assert set((await unit.raises()).values()) <= {last, last - BLOCK}

    simulate(bench)


def test_an_emptied_bank_ends_its_raise() -> None:
    async def bench(unit: Unit) -> None:
        for cycles in range(1, 20):
            await unit.stage(dict.fromkeys(WORDS, 1), esn=True)
            unit.keep()
            unit.ctx.set(unit.dut.begin_bank, BANK)
            unit.ctx.set(unit.dut.begin_stb, 1)
            await unit.ctx.tick()
            unit.ctx.set(unit.dut.begin_stb, 0)
            await unit.ctx.tick().repeat(cycles)
            unit.ctx.set(unit.dut.wipe, 1 << BANK)
            await unit.ctx.tick()
            unit.ctx.set(unit.dut.wipe, 0)
            assert not unit.ctx.get(unit.dut.busy)
            assert not unit.ctx.get(unit.dut.ready)
            # The next one is whole: the first raise moves both outbound limits.
            await unit.stage(dict.fromkeys(WORDS, 100 * BLOCK), esn=True)
            limits = await unit.raises(good=False)
            assert limits["TX"] == limits["AH_TX"] == 102 * BLOCK - 1
            assert limits["RX"] == limits["AH_RX"] == 101 * BLOCK - 1

    simulate(bench)
