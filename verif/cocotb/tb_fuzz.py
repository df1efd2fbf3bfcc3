"""Bench of the whole NIC beside the model: generated frames, right and wrong, one after another."""

from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb.drivers import bench_parameters
from verif.cocotb.nic_fuzz import act
from verif.cocotb.nic_pair import NicPair
from verif.fuzz import Frame, frames

BUFFERS = {Counter.DROP_HOST_FULL, Counter.DROP_OVERLOAD}
"""Reached only by a flood, which other benches make: a frame at a time fills no buffer."""


@cocotb.test()
async def gateware_and_model_agree(dut: Any) -> None:
    """As many frames as asked for; all that they cause is the same on both sides."""
    parameters = bench_parameters()
    pair = NicPair(dut)
    await pair.start()
    done = 0
    for action in frames(parameters["seed"], parameters["count"]):
        await act(pair, action)
        done += isinstance(action, Frame)
        if done and done % 1000 == 0 and isinstance(action, Frame):
            cocotb.log.info("RESULT fuzz: %d frames agree so far", done)
    counters = await pair.registers.counters()
    difference = await pair.differences()
    assert not difference, difference
    reached = [counter for counter in Counter if counters[counter]]
    cocotb.log.info("RESULT fuzz: %d frames, seed %d: all agree", done, parameters["seed"])
    for counter in Counter:
        cocotb.log.info("RESULT fuzz: %-22s %6d", counter.name, counters[counter])
    if done >= 3000:
        missing = set(Counter) - set(reached) - BUFFERS
        assert not missing, f"never reached: {sorted(missing)}"
    await pair.bench.finish()
