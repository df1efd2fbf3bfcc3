"""Bench of the whole NIC beside the model: generated frames, right and wrong.

First one after another, then in floods against ends that take little, and last, one after another
again, what leads to the counters that chance has not reached.
"""

from itertools import islice
from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb.drivers import bench_parameters
from verif.cocotb.nic_flood import ENDS, KINDS, Flood
from verif.cocotb.nic_fuzz import act, report, whole
from verif.cocotb.nic_pair import NicPair
from verif.fuzz import Frame, frames
from verif.fuzz.coverage import BUFFERS, seek
from verif.fuzz.generator import BUILT_IN, Generator

FLOODS_MIN = 6
FLOODS_MAX = 500
FRAMES_A_FLOOD = 200
"""So many frames one after another, for each flood."""
SEEK_MAX = 600
"""Actions that one counter is sought with."""
COVERED_FROM = 300
"""Frames from which on a run must reach every counter."""


async def floods(pair: NicPair, seed: int, count: int) -> Flood:
    """Floods of every kind, and more until there were losses of every kind."""
    flood = Flood(pair, Generator(seed ^ 1, BUILT_IN))
    for number in range(FLOODS_MAX):
        full = all(flood.lost.values())
        if full and number >= count:
            break
        ends = flood.rng.choices(ENDS, k=2) if full else ("stopped", "stopped")
        await flood.prepare()
        await flood.run(KINDS[number % len(KINDS)], *ends)
    return flood


@cocotb.test()
async def gateware_and_model_agree(dut: Any) -> None:
    """As many frames as asked for; all that they cause is the same on both sides."""
    parameters = bench_parameters()
    seed, count = parameters["seed"], parameters["count"]
    pair = NicPair(dut)
    await pair.start()
    done = 0
    for action in frames(seed, count):
        await act(pair, action)
        done += isinstance(action, Frame)
        if done and done % 1000 == 0 and isinstance(action, Frame):
            cocotb.log.info("RESULT fuzz: %d frames agree so far", done)
    report(f"fuzz, seed {seed}, one after another", await whole(pair))
    if done >= COVERED_FROM:
        flood = await floods(pair, seed, max(FLOODS_MIN, done // FRAMES_A_FLOOD))
        lost = ", ".join(f"{n} to {counter.name}" for counter, n in flood.lost.items())
        text = "RESULT fuzz: %d frames in floods, lost: %s; refused for another reason: %d"
        cocotb.log.info(text, flood.frames, lost, flood.shifted)
        for counter in set(Counter) - set(BUFFERS):
            for action in islice(seek(counter, seed), SEEK_MAX):
                if pair.model.counters[counter]:
                    break
                await act(pair, action)
                done += isinstance(action, Frame)
    counters = await whole(pair)
    for counter in Counter:
        cocotb.log.info("RESULT fuzz: %-22s %6d", counter.name, counters[counter])
    missing = [counter.name for counter in Counter if not counters[counter]]
    cocotb.log.info("RESULT fuzz: all agree; never reached: %s", ", ".join(missing) or "none")
    assert done < COVERED_FROM or not missing, f"never reached: {missing}"
    await pair.bench.finish()
