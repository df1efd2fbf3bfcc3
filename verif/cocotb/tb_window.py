"""Bench of the anti-replay window: against the model, and never a number accepted twice."""

from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb.drivers import Bench, bench_parameters
from verif.model.window import ReplayWindow as Model

BANKS = 2
STEPS = 1500


class Port:
    """The component's ports, an operation at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.dut = bench.dut
        for name in ("bank", "esn", "sequence", "load_bank", "load_edge"):
            getattr(self.dut, name).value = 0
        for name in ("check_stb", "update_stb", "load_stb"):
            getattr(self.dut, name).value = 0

    async def strobe(self, name: str) -> None:
        getattr(self.dut, name).value = 1
        await self.bench.cycles()
        getattr(self.dut, name).value = 0

    async def load(self, bank: int, edge: int) -> None:
        self.dut.load_bank.value = bank
        self.dut.load_edge.value = edge
        await self.strobe("load_stb")
        await self.bench.cycles()

    async def check(self, bank: int, esn: bool, sequence: int) -> tuple[int, bool, bool]:
        self.dut.bank.value = bank
        self.dut.esn.value = esn
        self.dut.sequence.value = sequence
        await self.strobe("check_stb")
        await self.bench.cycles(3)
        await self.bench.settled()
        dut = self.dut
        return int(dut.high.value), bool(dut.old.value), bool(dut.duplicate.value)

    async def update(self, limit: int) -> None:
        await self.strobe("update_stb")
        for _ in range(limit + 1):
            await self.bench.settled()
            if not self.dut.busy.value:
                return
            await self.bench.cycles()
        raise AssertionError(f"busy for more than {limit} cycles")


def near(rng: Any, right: int, size: int) -> int:
    """A number around the right edge, at the edges of the window more often than elsewhere."""
    distance = rng.choice((0, 1, 2, 7, 8, 9, size - 1, size, size + 1, rng.randrange(3 * size)))
    return max(0, right + rng.choice((-1, -1, 1)) * distance)


@cocotb.test()
async def agrees_with_model(dut: Any) -> None:
    """Random numbers around the edges of window and half, in both banks, with and without ESN."""
    size = bench_parameters()["window"]
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    rng = bench.rng
    seen: set[tuple[int, int]] = set()
    models: list[Model] = []
    verdicts: dict[Counter | None, int] = {}
    esn = [True, False]
    for bank in range(BANKS):
        models.append(Model(0, esn[bank], size))
        await port.load(bank, 0)
    for step in range(STEPS):
        bank = rng.randrange(BANKS)
        if step % 100 == 99:
            esn[bank] = bool(rng.randrange(2))
            half = 1 << 32
            edges = (0, 1, size - 1, half - 2, half, half + size, 3 * half - 5, half * half - 9)
            edge = rng.choice(edges) if esn[bank] else rng.choice(edges) % half
            models[bank] = Model(edge, esn[bank], size)
            seen = {entry for entry in seen if entry[0] != bank}
            await port.load(bank, edge)
        model = models[bank]
        low = (
            near(rng, model.right, size) % (1 << 32) if rng.random() < 0.95 else rng.getrandbits(32)
        )
        number, verdict = model.check(low)
        high, old, duplicate = await port.check(bank, esn[bank], low)
        expected = (verdict is Counter.DROP_REPLAY_OLD, verdict is Counter.DROP_REPLAY_DUPLICATE)
        assert old == expected[0], f"{low:#x} at {model.right:#x}: old {old}, {verdict}"
        if not old:
            assert duplicate == expected[1], f"{low:#x} at {model.right:#x}: {duplicate}, {verdict}"
            assert high == number >> 32, f"{low:#x} at {model.right:#x}: high {high:#x}"
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
        if verdict is None and rng.random() < 0.8:  # the others had a wrong ICV
            assert (bank, number) not in seen
            seen.add((bank, number))
            model.accept(number)
            await port.update(limit=size // 8 + 8)
    assert len(verdicts) == 3, verdicts
    cocotb.log.info("RESULT window=%d: %s", size, {str(k): v for k, v in verdicts.items()})
