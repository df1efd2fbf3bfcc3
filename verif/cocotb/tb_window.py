"""Bench of the anti-replay windows: against sets of numbers, and never a number accepted twice."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import cocotb

from verif.cocotb.drivers import Bench, bench_parameters

STEPS = 1500
SPARE_CYCLES = 5
"""An update and a load may take so long beyond an answer and the blocks of the ring."""


class Verdict(Enum):
    NEW = "new"
    OLD = "old"
    DUPLICATE = "duplicate"


@dataclass
class Numbers:
    """A window as RFC 4303 tells of it: the numbers accepted, and the highest of them."""

    right: int
    esn: bool
    size: int
    half: int
    accepted: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.accepted.add(self.right)

    def judge(self, number: int) -> Verdict:
        """Of a whole number."""
        last = self.half**2 if self.esn else self.half
        if not self.right - self.size < number < last or number < 0:
            return Verdict.OLD
        return Verdict.DUPLICATE if number == 0 or number in self.accepted else Verdict.NEW

    def meant(self, low: int) -> int:
        """The lowest number with that low half which is not left of the window, if ESN."""
        if not self.esn:
            return low
        number = (self.right // self.half - 2) * self.half + low
        while number <= self.right - self.size:
            number += self.half
        return number

    def accept(self, number: int) -> None:
        assert self.judge(number) is Verdict.NEW
        self.accepted.add(number)
        self.right = max(self.right, number)


class Port:
    """The component's ports, an operation at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.dut = bench.dut
        facts = bench_parameters()
        self.half = 1 << facts["half_bits"]
        self.size = facts["window"]
        self.windows = facts["windows"]
        self.limit = facts["done_cycles"] + facts["blocks"] + SPARE_CYCLES
        self.done_cycles = facts["done_cycles"]
        for name in ("index", "esn", "sequence", "given_high", "load_index", "load_edge"):
            getattr(self.dut, name).value = 0
        for name in ("check_stb", "recheck_stb", "update_stb", "load_stb"):
            getattr(self.dut, name).value = 0

    async def idle(self, loads: int = 2) -> None:
        """Waits until nothing is under way, no longer than it may take."""
        for _ in range(loads * self.limit):
            await self.bench.settled()
            if not self.dut.busy.value:
                return
            await self.bench.cycles()
        raise AssertionError(f"busy for more than {loads} times {self.limit} cycles")

    async def load(self, index: int, edge: int) -> None:
        """Raises the strobe, and does not wait."""
        self.dut.load_index.value = index
        self.dut.load_edge.value = edge
        self.dut.load_stb.value = 1
        await self.bench.cycles()
        self.dut.load_stb.value = 0

    async def begin(
        self, name: str, index: int, esn: bool, sequence: int, given_high: int = 0
    ) -> None:
        dut = self.dut
        assert not dut.busy.value
        dut.index.value = index
        dut.esn.value = esn
        dut.sequence.value = sequence
        dut.given_high.value = given_high
        strobe = getattr(dut, f"{name}_stb")
        strobe.value = 1
        await self.bench.cycles()
        strobe.value = 0
        # The rest of the operation does not depend on the ports.
        for port in (dut.index, dut.esn, dut.sequence, dut.given_high):
            port.value = self.bench.rng.getrandbits(32) & ((1 << len(port)) - 1)

    async def ask(
        self, name: str, index: int, esn: bool, sequence: int, given_high: int = 0
    ) -> tuple[Verdict, int]:
        """A check or recheck, of which the answer comes in the cycle that was promised."""
        await self.idle(loads=3)  # an update, a load that met it, and one more
        await self.bench.cycles()
        await self.begin(name, index, esn, sequence, given_high)
        for cycle in range(1, self.done_cycles + 1):
            await self.bench.settled()
            assert bool(self.dut.done.value) == (cycle == self.done_cycles), f"cycle {cycle}"
            assert self.dut.busy.value
            if cycle < self.done_cycles:
                await self.bench.cycles()
        flags = bool(self.dut.old.value), bool(self.dut.duplicate.value)
        verdict = {
            (False, False): Verdict.NEW,
            (True, False): Verdict.OLD,
            (False, True): Verdict.DUPLICATE,
        }[flags]
        high = int(self.dut.high.value)
        await self.bench.cycles()
        return verdict, high

    async def update(self, index: int, esn: bool, number: int) -> None:
        """Takes an update, and does not wait for its end."""
        await self.idle()
        await self.bench.cycles()
        await self.begin("update", index, esn, number % self.half, number // self.half)

    async def agrees(self, index: int, numbers: Numbers, low: int) -> tuple[Verdict, int]:
        """Checks `low` against both; the verdict, and the number meant."""
        number = numbers.meant(low)
        expected = numbers.judge(number)
        verdict, high = await self.ask("check", index, numbers.esn, low)
        where = f"{low:#x} at {numbers.right:#x}"
        assert verdict is expected, f"{where}: {verdict}, not {expected}"
        if verdict is not Verdict.OLD:
            assert high == number // self.half, f"{where}: high {high:#x}"
        return verdict, number


@cocotb.test()
async def every_number_at_every_edge(dut: Any) -> None:
    """All edges and all low halves, each after a few numbers that moved the window there."""
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    rng, half = bench.rng, port.half
    seen = dict.fromkeys(Verdict, 0)
    for esn, edges in ((True, half * half), (False, half)):
        for edge in range(edges):
            index = edge % port.windows
            start = max(0, edge - rng.randrange(3 * port.size))
            numbers = Numbers(start, esn, port.size, half)
            await port.load(index, start)
            for number in sorted({rng.randint(start, edge) for _ in range(rng.randrange(5))}):
                if numbers.judge(number) is Verdict.NEW:
                    numbers.accept(number)
                    await port.update(index, esn, number)
            for low in range(half):
                verdict, _ = await port.agrees(index, numbers, low)
                seen[verdict] += 1
    assert all(seen.values())
    cocotb.log.info("RESULT %s", {verdict.value: count for verdict, count in seen.items()})


def near(rng: Any, right: int, size: int) -> int:
    """A number around the right edge, at the edges of window and blocks more often."""
    near_by = (0, 1, 2, 31, 32, 33, size - 33, size - 32, size - 31, size - 1, size, size + 1)
    far = (2 * size - 1, 2 * size, 2 * size + 1, rng.randrange(4 * size))
    return max(0, right + rng.choice((-1, -1, 1)) * abs(rng.choice(near_by + far)))


@cocotb.test()
async def agrees_with_sets(dut: Any) -> None:
    """Random numbers around the edges of windows and halves, with and without ESN; some numbers
    are proven only after others have moved the window, and some while a load comes."""
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    rng, half, size = bench.rng, port.half, port.size
    sets: list[Numbers] = []
    seen: dict[str, int] = {}
    waiting: list[tuple[int, Numbers, int]] = []

    def count(what: str) -> None:
        seen[what] = seen.get(what, 0) + 1

    def drawn() -> Numbers:
        esn = bool(rng.randrange(2))
        edges = (0, 1, size - 1, half - 2, half - 1, half, half + size, 3 * half - 5, half**2 - 9)
        edge = rng.choice(edges)
        return Numbers(edge if esn else edge % half, esn, size, half)

    for index in range(port.windows):  # one cycle after the other
        sets.append(drawn())
        await port.load(index, sets[index].right)
    await port.idle(loads=port.windows)
    for step in range(STEPS):
        index = rng.randrange(port.windows)
        numbers = sets[index]
        low = near(rng, numbers.right, size) % half
        if rng.random() < 0.05:
            low = rng.randrange(half)
        verdict, number = await port.agrees(index, numbers, low)
        count(verdict.value)
        if verdict is Verdict.NEW and rng.random() < 0.9:  # the others had a wrong ICV
            waiting.append((index, numbers, number))
        while waiting and rng.random() < 0.6:
            index, numbers, number = waiting.pop(rng.randrange(len(waiting)))
            if sets[index] is not numbers:
                continue  # of an SA that is gone: nobody asks for it any more
            expected = numbers.judge(number)
            verdict, high = await port.ask(
                "recheck", index, numbers.esn, number % half, number // half
            )
            assert verdict is expected, f"{number:#x} again, at {numbers.right:#x}: {verdict}"
            count(f"{verdict.value} by now")
            if verdict is Verdict.NEW:
                assert high == number // half
                await port.update(index, numbers.esn, number)
                if rng.random() < 0.05:
                    await bench.cycles(rng.randrange(port.limit))
                    sets[index] = drawn()
                    await port.load(index, sets[index].right)
                    count("loaded during an update")
                else:
                    numbers.accept(number)
            elif verdict is Verdict.OLD:
                await port.update(index, numbers.esn, number)  # changes nothing
        if step % 100 == 99:
            # A strobe that meets an operation waits for nothing.
            index = rng.randrange(port.windows)
            sets[index] = drawn()
            await port.load(index, sets[index].right)
    for what in (
        *(verdict.value for verdict in Verdict),
        *(f"{verdict.value} by now" for verdict in Verdict if verdict.value != "duplicate"),
        "loaded during an update",
    ):
        assert seen.get(what), f"never {what}: {seen}"
    cocotb.log.info("RESULT window=%d: %s", size, seen)


@cocotb.test()
async def numbers_without_esn_end(dut: Any) -> None:
    """The last number is accepted once, and nothing after it; the same with ESN."""
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    for esn, last in ((False, port.half - 1), (True, port.half**2 - 1)):
        numbers = Numbers(last - 1, esn, port.size, port.half)
        await port.load(0, last - 1)
        verdict, number = await port.agrees(0, numbers, last % port.half)
        assert (verdict, number) == (Verdict.NEW, last)
        numbers.accept(last)
        await port.update(0, esn, last)
        for low in (*range(2 * port.size), *range(port.half - 2 * port.size, port.half)):
            await port.agrees(0, numbers, low % port.half)
        verdict, _ = await port.agrees(0, numbers, 0)
        assert verdict is Verdict.OLD


@cocotb.test()
async def strobe_waits(dut: Any) -> None:
    """A strobe that meets `busy` is taken as soon as that falls, and only once."""
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    dut.index.value = 1
    dut.esn.value = 1
    dut.sequence.value = 5
    dut.load_index.value = 1
    dut.load_edge.value = 0
    dut.load_stb.value = 1
    await bench.cycles()
    dut.load_stb.value = 0
    dut.check_stb.value = 1
    waited = 0
    while True:
        await bench.settled()
        if not dut.busy.value:
            break
        assert not dut.done.value
        waited += 1
        await bench.cycles()
    assert waited > 1
    await bench.cycles()
    dut.check_stb.value = 0
    answers = 0
    for _ in range(3 * port.done_cycles):
        await bench.settled()
        answers += bool(dut.done.value)
        await bench.cycles()
    assert answers == 1


@cocotb.test()
async def load_in_every_cycle_of_an_update(dut: Any) -> None:
    """Of the same window: the load wins. Of another one: both are done."""
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    number = 3 * port.size + 5
    for loaded in (0, 1):
        for wait in range(port.limit):
            numbers = [Numbers(port.size, True, port.size, port.half) for _ in range(2)]
            for index in range(2):
                await port.load(index, port.size)
            await port.update(0, True, number)
            await bench.cycles(wait)
            await port.load(loaded, 2 * port.size)
            numbers[0].accept(number)
            numbers[loaded] = Numbers(2 * port.size, True, port.size, port.half)
            for index in range(2):
                for low in (2 * port.size + 6, 2 * port.size, port.size + 1, number, number + 1):
                    await port.agrees(index, numbers[index], low)
