"""Bench of the host's monitor and the log of events: every transition, and an event of each."""

from typing import Any

import cocotb

from spec.host import (
    BANK_EVENTS,
    EVENTS,
    HEARTBEAT_BOOT,
    HEARTBEAT_MAGIC,
    HEARTBEAT_STOP,
    TAMPER_FAILURES,
    TAMPER_MS,
    BootKind,
    HostEvent,
    HostState,
)
from spec.sa import ALL_BANKS
from verif.cocotb.drivers import Bench
from verif.model.host import EventLog, HostMonitor

COLD_BOOT, PRE_BOOT, OS_UP, OS_HUNG, SUSPEND, SOFT_OFF = HostState
WINDOW_MS = 100
STEPS, MAX_STEPS = 10_000, 200_000
"""Of the random walk: it goes on until every transition was seen."""
TRANSITIONS = {
    COLD_BOOT: {PRE_BOOT, OS_UP, OS_HUNG, SUSPEND, SOFT_OFF},
    PRE_BOOT: {COLD_BOOT, OS_UP, SUSPEND, SOFT_OFF},
    OS_UP: {COLD_BOOT, PRE_BOOT, OS_HUNG, SUSPEND, SOFT_OFF},
    OS_HUNG: {COLD_BOOT, PRE_BOOT, OS_UP, SUSPEND, SOFT_OFF},
    SUSPEND: {COLD_BOOT, PRE_BOOT, SOFT_OFF},
    SOFT_OFF: {COLD_BOOT, PRE_BOOT, SUSPEND},
}
"""As docs/host_state.md has them."""
INPUTS = (
    *("tick_ms", "reset_in", "sleep_in", "off_in", "alive_stb", "firmware_stb", "stop_stb"),
    *("told_stb", "told", "any_proven", "icv_stb", "zeroise", "bank_stbs", "bank", "select"),
)
HEARTBEATS = {
    "alive_stb": HEARTBEAT_MAGIC,
    "firmware_stb": HEARTBEAT_BOOT,
    "stop_stb": HEARTBEAT_STOP,
}


class Pair:
    """The gateware and the model, given the same."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.bench = Bench(dut)
        self.monitor, self.log = HostMonitor(), EventLog()
        self.monitor.set_window(WINDOW_MS)
        self.proven = False

    async def start(self) -> None:
        for name in INPUTS:
            getattr(self.dut, name).value = 0
        self.dut.window_ms.value = WINDOW_MS
        await self.bench.reset()

    async def strobe(self, name: str) -> None:
        getattr(self.dut, name).value = 1
        await self.bench.cycles()
        getattr(self.dut, name).value = 0

    async def pins(self, **levels: bool) -> None:
        for name, level in levels.items():
            getattr(self.dut, f"{name}_in").value = level
        self.monitor.set_pins(**levels)
        await self.compare()

    async def heartbeat(self, which: str) -> None:
        await self.strobe(which)
        self.monitor.heartbeat(HEARTBEATS[which])
        await self.compare()

    async def tell(self, kind: int, code: int) -> None:
        self.dut.told.value = kind << 8 | code
        await self.strobe("told_stb")
        self.monitor.tell(kind, code)
        await self.compare()

    async def prove(self, proven: bool) -> None:
        self.dut.any_proven.value = proven
        self.proven = proven
        await self.compare()

    async def zeroise(self) -> None:
        """The button; banks and policy go a little later."""
        self.dut.zeroise.value = 1
        self.monitor.happened.append(HostEvent.ZEROISED)
        await self.bench.cycles(5)
        self.dut.any_proven.value = 0
        self.proven = False
        await self.bench.cycles(5)
        self.dut.zeroise.value = 0
        await self.compare()

    async def pass_ms(self, count: int) -> None:
        for _ in range(count):
            await self.strobe("tick_ms")
            await self.bench.cycles()
            self.monitor.tick()
            self.log.tick()
        await self.compare()

    async def wrong_icv(self) -> None:
        await self.strobe("icv_stb")
        self.log.wrong_icv(self.monitor.progress[1])
        await self.compare()

    async def of_a_bank(self, kinds: int, bank: int) -> None:
        """Events of a bank, any number of them at once."""
        self.dut.bank_stbs.value, self.dut.bank.value = kinds, bank
        await self.bench.cycles()
        self.dut.bank_stbs.value = 0
        for n, kind in enumerate(BANK_EVENTS):
            if kinds >> n & 1:
                self.log.note(kind, bank)
        await self.compare()

    async def compare(self) -> None:
        """States, flags and the newest event of both."""
        await self.bench.cycles(5)
        code = self.monitor.progress[1]
        for kind in self.monitor.happened:
            self.log.note(kind, code)
        self.monitor.happened.clear()
        self.log.observe(self.monitor.state(self.proven), code)
        dut = self.dut
        assert HostState(int(dut.state.value)) is self.log.state
        assert bool(dut.watchdog_expired.value) == self.monitor.watchdog_expired
        boot_kind, code = self.monitor.progress
        assert int(dut.progress.value) == boot_kind << 8 | code
        assert int(dut.number.value) == self.log.next % 256

    async def compare_log(self) -> None:
        """All events in the ring."""
        for place in range(EVENTS):
            self.dut.select.value = place
            await self.bench.cycles()
            await self.bench.settled()
            word = int(self.dut.selected.value)
            event = self.log.at(place)
            if event is None:
                assert word == 0
                continue
            assert word == (
                event.number % 256 << 24
                | event.code << 16
                | event.before << 8
                | event.state << 4
                | event.kind
            ), f"{word:#010x}, not {event}"
        await self.bench.cycles()


@cocotb.test()
async def every_transition(dut: Any) -> None:
    """A random walk sees every transition of the table and no other, and an event of each."""
    pair = Pair(dut)
    rng = pair.bench.rng
    await pair.start()
    await pair.compare_log()
    every = {(before, after) for before, all_ in TRANSITIONS.items() for after in all_}
    seen: set[tuple[HostState, HostState]] = set()
    kinds: set[HostEvent] = set()
    step = 0
    while step < STEPS or (seen != every and step < MAX_STEPS):
        step += 1
        already = pair.log.next
        match rng.randrange(10):
            case 0 | 1:
                name = rng.choice(["reset", "sleep", "off"])
                await pair.pins(**{name: rng.random() < 0.4})
            case 2 | 3:
                await pair.heartbeat(rng.choice(list(HEARTBEATS)))
            case 4:
                await pair.tell(rng.randrange(4), rng.randrange(256))
            case 5:
                await pair.prove(rng.random() < 0.7)
            case 6:
                await pair.pins(reset=False, sleep=False, off=False)
            case 7:
                await pair.pass_ms(rng.choice([1, WINDOW_MS - 1, WINDOW_MS]))
            case 8 if rng.random() < 0.1:
                await pair.zeroise()
            case 9:
                kinds_at_once = rng.randrange(1 << len(BANK_EVENTS))
                await pair.of_a_bank(kinds_at_once, rng.randrange(ALL_BANKS))
        for number in range(already, pair.log.next):
            event = pair.log.at(number % EVENTS)
            assert event is not None
            kinds.add(event.kind)
            if event.kind is HostEvent.STATE:
                seen.add((event.before, event.state))
        if pair.log.next - already > 0 and rng.random() < 0.1:
            await pair.compare_log()
    await pair.compare_log()
    assert pair.log.next > 256, "the numbers have not gone round"
    assert seen == every, f"after {step} steps"
    assert kinds == set(HostEvent) - {HostEvent.TAMPER, HostEvent.PRESENT}
    await pair.bench.finish()


@cocotb.test()
async def watchdog_of_firmware(dut: Any) -> None:
    """It hangs in PRE_BOOT, with the last code; a stop, a pin or the OS ends it."""
    pair = Pair(dut)
    await pair.start()
    await pair.prove(True)
    for end in ("stop_stb", "alive_stb", None):
        await pair.heartbeat("firmware_stb")
        await pair.tell(BootKind.PROGRESS, 0x13)
        assert pair.log.state is PRE_BOOT
        await pair.pass_ms(WINDOW_MS - 1)
        assert not pair.monitor.watchdog_expired
        if end is not None:
            await pair.heartbeat(end)
            assert pair.log.state is (OS_UP if end == "alive_stb" else PRE_BOOT)
            await pair.heartbeat("stop_stb")
        await pair.pass_ms(2 * WINDOW_MS)
    newest = pair.log.at((pair.log.next - 1) % EVENTS)
    assert newest is not None
    assert (newest.kind, newest.state, newest.code) == (HostEvent.BOOT_HANG, PRE_BOOT, 0x13)
    assert pair.monitor.watchdog_expired
    await pair.pins(reset=True)
    await pair.tell(BootKind.ERROR, 1)
    assert pair.monitor.progress == (0, 0)
    await pair.compare_log()
    await pair.bench.finish()


@cocotb.test()
async def tamper_once_a_period(dut: Any) -> None:
    """TAMPER_FAILURES wrong ICVs are one event, more of them within the period no other."""
    pair = Pair(dut)
    await pair.start()

    def tampers() -> int:
        events = (pair.log.at(place) for place in range(EVENTS))
        return sum(event is not None and event.kind is HostEvent.TAMPER for event in events)

    for _ in range(TAMPER_FAILURES - 1):
        await pair.wrong_icv()
    await pair.pass_ms(TAMPER_MS - 1)
    assert tampers() == 0
    await pair.wrong_icv()
    assert tampers() == 1
    for _ in range(2 * TAMPER_FAILURES):
        await pair.wrong_icv()
    assert tampers() == 1
    await pair.pass_ms(1)
    for _ in range(TAMPER_FAILURES):
        assert tampers() == 1
        await pair.wrong_icv()
    assert tampers() == 2
    await pair.compare_log()
    await pair.bench.finish()
