# amaranth: UnusedElaboratable=no
"""The short queue beside a list."""

import random
from collections import deque
from typing import Any

import pytest
from amaranth.sim import Simulator

from hw.short_queue import ShortQueue

DEPTH = 4
CYCLES = 2000


def test_first_in_first_out() -> None:
    queue = ShortQueue(width=8, depth=DEPTH)
    rng = random.Random(1)
    model: deque[int] = deque()
    fills = set()

    async def drives(ctx: Any) -> None:
        for _ in range(CYCLES):
            assert ctx.get(queue.level) == len(model)
            assert ctx.get(queue.r_rdy) == bool(model)
            if model:
                assert ctx.get(queue.r_data) == model[0]
            fills.add(len(model))
            puts = len(model) < DEPTH and rng.random() < 0.6
            takes = bool(model) and rng.random() < 0.5
            octet = rng.randrange(256)
            ctx.set(queue.w_en, puts)
            ctx.set(queue.w_data, octet)
            ctx.set(queue.r_en, takes)
            await ctx.tick()
            if takes:
                model.popleft()
            if puts:
                model.append(octet)

    simulator = Simulator(queue)
    simulator.add_clock(8e-9)
    simulator.add_testbench(drives)
    simulator.run()
    assert fills == set(range(DEPTH + 1))


@pytest.mark.parametrize("depth", [0, 1, 3, 6])
def test_depth_is_a_power_of_two(depth: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        ShortQueue(width=8, depth=depth)
