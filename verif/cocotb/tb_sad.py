"""Bench of the SAD: random commands, packets and time, against the model, and the one rule."""

import random
from typing import Any

import cocotb

from spec.registers import BY_NAME
from spec.rmcp import CommitResult
from spec.sa import BANKS, BankState, SadCommand, SadResult, SaFlag
from spec.suites import SUITES, Suite
from verif.cocotb.drivers import Bench, Driver, bench_parameters
from verif.model.sad import SINGLE_REGISTERS, Sad

STEPS = 1200
TICK_CYCLES = 37
PENDING_LIMIT = 200
ACTIONS = ["stage", "stage", "command", "write", "prove", "commit", "tick", "tick", "policy"]
ACTIONS += ["zero"]


class KeyStore(Driver):
    """Stands where the key store does: busy for a while after each order, and notes the orders."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.dut = bench.dut
        self.rng = bench.rng
        self.left = 0
        self.words: dict[tuple[int, int], int] = {}
        self.zeroised: list[int] = []
        self.expanded: list[tuple[int, bool]] = []
        self.dut.keys_busy.value = 0

    def drive(self) -> None:
        self.dut.keys_busy.value = self.left > 0
        self.left = max(0, self.left - 1)

    def sample(self) -> None:
        dut = self.dut
        if dut.expand_stb.value:
            self.expanded.append((int(dut.expand_slot.value), bool(dut.expand_aes256.value)))
            self.left = self.rng.randrange(1, 20)
        if dut.zeroise_stb.value:
            slot = int(dut.zeroise_slot.value)
            self.zeroised.append(slot)
            self.words = {key: value for key, value in self.words.items() if key[0] != slot}
            self.left = self.rng.randrange(1, 20)
        if dut.key_write_stb.value:
            where = int(dut.key_write_slot.value), int(dut.key_write_index.value)
            self.words[where] = int(dut.key_write_data.value)


class Port:
    """The ports, an operation at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.dut = bench.dut
        inputs = "tick_ms stage_stb stage_address stage_data command_stb command zeroise_all"
        inputs += " station_authorised prove_stb prove_bank commit_stb commit_spi commit_under"
        for name in (inputs + " tx_stb tx_bank").split():
            getattr(self.dut, name).value = 0

    async def pulse(self, name: str, **values: int) -> None:
        for port, value in values.items():
            getattr(self.dut, port).value = value
        getattr(self.dut, name).value = 1
        await self.bench.cycles()
        getattr(self.dut, name).value = 0

    async def write(self, name: str, index: int, value: int) -> None:
        address = BY_NAME[name].address + 4 * index
        await self.pulse("stage_stb", stage_address=address, stage_data=value)

    async def command(self, value: int) -> SadResult:
        await self.pulse("command_stb", command=value)
        for _ in range(PENDING_LIMIT):
            await self.bench.settled()
            result = SadResult(int(self.dut.result.value))
            if result is not SadResult.PENDING:
                return result
            await self.bench.cycles()
        raise AssertionError("PENDING for ever")

    async def idle(self) -> None:
        for _ in range(PENDING_LIMIT):
            await self.bench.settled()
            if not self.dut.busy.value:
                return
            await self.bench.cycles()
        raise AssertionError("busy for ever")

    def states(self) -> list[BankState]:
        value = int(self.dut.states.value)
        return [BankState(value >> 3 * n & 7) for n in range(BANKS)]


def layout(rng: random.Random, spis: list[int]) -> list[tuple[str, int, int]]:
    """A staged SA, now and then with something wrong, missing or double in it."""
    suite = rng.choice([*SUITES, *SUITES, *SUITES, *SUITES, Suite.NONE, 7])
    values = {name: rng.getrandbits(32) for name in SINGLE_REGISTERS}
    values["STAGE_SUITE"] = int(suite)
    values["STAGE_FLAGS"] = rng.choice((0, 0, 0, int(SaFlag.ESN), int(SaFlag.ESN), 2))
    if rng.random() < 0.2:
        values["STAGE_SPI_IN"] = rng.choice((*spis, 255))
    words = 8 if suite not in SUITES else SUITES[Suite(suite)].key_octets // 4
    writes = [(name, 0, value) for name, value in values.items()]
    for key in ("STAGE_KEY_IN", "STAGE_KEY_OUT"):
        writes += [(key, index, rng.getrandbits(32)) for index in range(words)]
    rng.shuffle(writes)
    if rng.random() < 0.15:
        writes.pop()
    return writes


@cocotb.test()
async def agrees_with_model(dut: Any) -> None:
    """Every operation in every state; after each, states and results equal the model's."""
    parameters = bench_parameters()
    bench = Bench(dut)
    keys = KeyStore(bench)
    port = Port(bench)
    await bench.reset()
    rng = bench.rng
    model = Sad(parameters["ack_ms"], parameters["grace_ms"])
    results: dict[str, int] = {}
    visited: set[tuple[BankState, ...]] = set()
    spis: list[int] = []

    async def stage_whole() -> None:
        await command(SadCommand.STAGE)
        for write in layout(rng, spis):
            model.write(*write)
            await port.write(*write)
        await command(SadCommand.READY)

    async def command(value: int) -> None:
        model.command(value)
        result = await port.command(value)
        await port.idle()
        assert result == model.result, f"command {value}: {result.name}, not {model.result.name}"
        results[result.name] = results.get(result.name, 0) + 1

    for _ in range(STEPS):
        proven_before = [n for n, bank in enumerate(model.banks) if bank.state is BankState.PROVEN]
        spis[:] = [bank.spi_in for bank in model.banks if bank.spi_in]
        action = rng.choice(ACTIONS)
        if action == "stage":
            await stage_whole()
        elif action == "command":
            await command(rng.choice((1, 2, 3, 0, 9)))
        elif action == "write":
            write = rng.choice(layout(rng, spis))
            model.write(*write)
            await port.write(*write)
        elif action == "prove":
            number = rng.randrange(BANKS)
            if model.receiving(number):
                model.prove(number)
                await port.pulse("prove_stb", prove_bank=number)
        elif action == "commit":
            under, spi = rng.randrange(BANKS), rng.choice([*spis, 300])
            dut.commit_spi.value, dut.commit_under.value = spi, under
            await bench.cycles()
            await bench.settled()
            seen = CommitResult(int(dut.commit_result.value)), int(dut.commit_bank.value)
            assert seen == model.commit(spi, under)
            await port.pulse("commit_stb")
        elif action == "tick":
            for _ in range(rng.choice((1, 1, 2, parameters["grace_ms"], parameters["ack_ms"]))):
                model.tick()
                await port.pulse("tick_ms")
                await bench.cycles(rng.randrange(3))
        elif action == "policy" and rng.random() < 0.3:
            model.station_authorised = not model.station_authorised
            dut.station_authorised.value = model.station_authorised
        elif action == "zero" and rng.random() < 0.2:
            model.zeroise_all()
            await port.pulse("zeroise_all")
        await bench.cycles(2)
        await port.idle()
        states = [bank.state for bank in model.banks]
        assert port.states() == states, f"{action}: {port.states()}, not {states}"
        visited.add(tuple(states))
        views = int(dut.views.value)
        for number, bank in enumerate(model.banks):
            view = views >> 66 * number
            assert view & 1 == model.receiving(number)
            assert view >> 1 & 0xFFFFFFFF == bank.spi_in
            held = {where[1] for where in keys.words if where[0] >> 1 == number}
            assert held or bank.state in (BankState.EMPTY, BankState.STAGED)
            assert not held or bank.state is not BankState.EMPTY, "keys outlive their bank"
        if proven_before and action != "zero":
            assert BankState.PROVEN in states, f"{action} took the last proven bank"
    assert {"OK", "BUSY", "INCOMPLETE", "UNSUPPORTED", "BAD_SPI", "UNKNOWN"} <= set(results)
    assert {state for pair in visited for state in pair} == set(BankState)
    cocotb.log.info("RESULT sad: %d state pairs, %s", len(visited), results)


@cocotb.test()
async def outbound_numbers_rise(dut: Any) -> None:
    """STAGE_TX_SEQ is the last number used; without ESN 2^32 - 1 is the last of all."""
    bench = Bench(dut)
    KeyStore(bench)
    port = Port(bench)
    await bench.reset()
    for flags, used, last in ((0, 0xFFFFFFFD, 0xFFFFFFFF), (1, (1 << 64) - 3, (1 << 64) - 1)):
        await port.pulse("zeroise_all")
        await port.idle()
        assert await port.command(SadCommand.STAGE) is SadResult.OK
        values = dict.fromkeys(SINGLE_REGISTERS, 0x1000)
        values |= {"STAGE_SUITE": 1, "STAGE_FLAGS": flags}
        values |= {"STAGE_TX_SEQ_HI": used >> 32, "STAGE_TX_SEQ_LO": used & 0xFFFFFFFF}
        for name, value in values.items():
            await port.write(name, 0, value)
        for name in ("STAGE_KEY_IN", "STAGE_KEY_OUT"):
            for index in range(4):
                await port.write(name, index, index)
        assert await port.command(SadCommand.READY) is SadResult.OK
        for number in range(used + 1, last + 1):
            await bench.cycles(2)
            await bench.settled()
            keys = int(dut.keys.value)
            assert keys >> 131 & (1 << 64) - 1 == number
            assert not keys >> 195 & 1
            await port.pulse("tx_stb", tx_bank=0)
        await bench.cycles(2)
        await bench.settled()
        assert int(dut.keys.value) >> 195 & 1


class Ticks(Driver):
    """A tick each TICK_CYCLES, and how many there were."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.phase = 0
        self.count = 0

    def drive(self) -> None:
        self.phase = (self.phase + 1) % TICK_CYCLES
        self.bench.dut.tick_ms.value = self.phase == 0

    def sample(self) -> None:
        self.count += int(self.bench.dut.tick_ms.value)


@cocotb.test()
async def acknowledge_time_is_whole(dut: Any) -> None:
    """Whenever a bank gets READY, and whatever a bank given up before has left of its time."""
    ack_ms = bench_parameters()["ack_ms"]
    bench = Bench(dut)
    KeyStore(bench)
    port = Port(bench)
    await bench.reset()
    ticks = Ticks(bench)
    values = dict.fromkeys(SINGLE_REGISTERS, 0x1000) | {"STAGE_SUITE": 1, "STAGE_FLAGS": 0}

    async def ready() -> None:
        assert await port.command(SadCommand.STAGE) is SadResult.OK
        for name, value in values.items():
            await port.write(name, 0, value)
        for name in ("STAGE_KEY_IN", "STAGE_KEY_OUT"):
            for index in range(4):
                await port.write(name, index, index)
        assert await port.command(SadCommand.READY) is SadResult.OK
        assert BankState.READY in port.states()

    async def expired() -> int:
        before = ticks.count
        for _ in range(4 * ack_ms * TICK_CYCLES):
            await bench.cycles()
            await bench.settled()
            if BankState.READY not in port.states():
                return ticks.count - before
        raise AssertionError("READY for ever")

    for wait in range(0, 2 * TICK_CYCLES * ack_ms, 3):
        await ready()
        await bench.cycles(wait % (TICK_CYCLES * (ack_ms - 1)))
        assert await port.command(SadCommand.ABORT) is SadResult.OK
        await port.idle()
        await bench.cycles(bench.rng.randrange(TICK_CYCLES))
        await ready()
        # A tick with the READY itself may count or not.
        assert await expired() in (ack_ms, ack_ms + 1)
        await port.idle()
    await bench.finish()
