"""Bench of the counters: no strobe is lost, whenever and from wherever it comes."""

from typing import Any

import cocotb

from verif.cocotb.drivers import Bench, bench_parameters

COUNTERS = 26
ROUND = 32


async def values(bench: Bench) -> list[int]:
    """All counters, once the adder has been everywhere."""
    await bench.cycles(ROUND + 4)
    result = []
    for index in range(COUNTERS):
        bench.dut.index.value = index
        await bench.cycles(2)
        await bench.settled()
        result.append(int(bench.dut.value.value))
        await bench.cycles()
    return result


@cocotb.test()
async def counts_every_strobe(dut: Any) -> None:
    """Random strobes of all sources, up to seven a round and counter; then from zero again."""
    sources = bench_parameters()["sources"]
    bench = Bench(dut)
    rng = bench.rng
    dut.count.value = dut.index.value = 0
    for _ in range(2):
        await bench.reset()
        await bench.cycles(ROUND)
        wanted = [0] * COUNTERS
        assert await values(bench) == wanted
        for _ in range(60):
            left = [7] * COUNTERS
            busy = rng.random()
            for _ in range(ROUND):
                strobes = 0
                for source in range(sources):
                    for number in range(COUNTERS):
                        if left[number] and rng.random() < busy:
                            left[number] -= 1
                            wanted[number] += 1
                            strobes |= 1 << source * COUNTERS + number
                dut.count.value = strobes
                await bench.cycles()
            dut.count.value = 0
            await bench.cycles(ROUND)  # seven in any round, not in any two halves
        assert await values(bench) == wanted
        assert min(wanted) > 100
    await bench.finish()


@cocotb.test()
async def strobes_during_reset_sweep_count(dut: Any) -> None:
    """A frame that ends at once after reset is counted."""
    bench = Bench(dut)
    dut.count.value = dut.index.value = 0
    await bench.reset()
    for _ in range(5):
        dut.count.value = (1 << COUNTERS) - 1
        await bench.cycles()
        dut.count.value = 0
        await bench.cycles(5)
    assert await values(bench) == [5] * COUNTERS
    await bench.finish()
