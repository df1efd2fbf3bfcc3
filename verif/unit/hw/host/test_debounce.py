# amaranth: UnusedElaboratable=no
"""Tests of hw.host.debounce."""

import random

import pytest
from amaranth.sim import Simulator

from hw.host.debounce import Debouncer

LATENCY = 3
"""Two cycles of synchronisation, and one to the output."""


def played(cycles: int, levels: list[int]) -> list[int]:
    """The output in each cycle, for an input in each cycle."""
    dut = Debouncer(cycles=cycles)
    outputs = []

    async def bench(ctx):
        for level in levels:
            ctx.set(dut.i, level)
            await ctx.tick()
            outputs.append(ctx.get(dut.o))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return outputs


@pytest.mark.parametrize("cycles", [1, 2, 5, 16])
def test_a_level_shows_once_it_has_lasted(cycles: int) -> None:
    outputs = played(cycles, [1] * 40 + [0] * 40)
    assert outputs.index(1) == LATENCY - 1 + cycles - 1
    assert outputs[40:].index(0) == LATENCY - 1 + cycles - 1


def test_what_is_shorter_never_shows() -> None:
    rng = random.Random(1)
    levels: list[int] = []
    while len(levels) < 3000:
        levels += [1] * rng.randrange(1, 16) + [0] * rng.randrange(1, 40)
    assert not any(played(16, levels))


def test_bouncing_at_both_ends_is_one_press() -> None:
    rng = random.Random(2)
    bouncing = [rng.randrange(2) for _ in range(12)]
    levels = [*bouncing, *[1] * 50, *bouncing, *[1] * 7, *bouncing, *[0] * 50]
    outputs = played(16, levels)
    edges = [n for n in range(1, len(outputs)) if outputs[n] != outputs[n - 1]]
    assert len(edges) == 2


def test_parameters() -> None:
    assert Debouncer(cycles=3).cycles == 3
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Debouncer(cycles=0)
