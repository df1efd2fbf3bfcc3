"""Sources, sinks and bus drivers that all benches share.

One coroutine, `Bench`, runs the clock domain; a driver is not a coroutine but an object with two
plain methods that `Bench` calls in each cycle. So ten drivers cost hardly more than one.

A cycle, as every driver sees it
    *Rising edge*: the registers of the device change; then `drive()` of each driver writes the
    inputs. A signal read at the edge itself still shows its value from before.
    *Falling edge*: all is settled; `sample()` of each driver reads the outputs. A beat for which
    both `valid` and `ready` are 1 now moves at the next rising edge.

A bench in short::

    @cocotb.test()
    async def loops_back(dut):
        bench = Bench(dut)
        source = PacketSource(bench, "i", idle=random_pattern(bench.rng, 0.5))
        sink = PacketSink(bench, "o", backpressure=alternating())
        await bench.reset()
        source.send(b"octets")
        assert (await sink.receive()).data == b"octets"
        await bench.finish()

All randomness comes from `bench.rng`, which `SEED` sets. `finish()` fails if a driver still holds
something unsent, unread or half received.
"""

import json
import os
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Event, FallingEdge, RisingEdge, Timer

from hw.host.registers import READ_CYCLES
from verif.cocotb.runner import PARAMETERS_VARIABLE

__all__ = [
    "PATTERNS",
    "Bench",
    "ContractError",
    "Driver",
    "Frame",
    "OctetSink",
    "OctetSource",
    "PacketSink",
    "PacketSource",
    "Pattern",
    "RegisterBus",
    "StreamSink",
    "StreamSource",
    "alternating",
    "bench_parameters",
    "bursts",
    "none",
    "pattern",
    "random_pattern",
]

PERIOD_NS = 8
"""Clock period: 125 MHz, as on the board."""

FIRST, LAST, ERR = 1 << 8, 1 << 9, 1 << 10

Pattern = Iterator[bool]
"""Endless; True = pause in this cycle (an idle cycle of a source, backpressure of a sink)."""


class ContractError(AssertionError):
    """The device broke a rule of `hw/stream.py`."""


def bench_parameters() -> dict[str, Any]:
    """What the test gave `runner.run(parameters=...)`."""
    return dict(json.loads(os.environ.get(PARAMETERS_VARIABLE, "{}")))


def none() -> Pattern:
    """Never pauses."""
    return repeat(False)


def alternating() -> Pattern:
    """Pauses every other cycle."""
    while True:
        yield True
        yield False


def random_pattern(rng: random.Random, pause: float = 0.5) -> Pattern:
    """Pauses with probability `pause` in each cycle."""
    if not 0 <= pause < 1:
        raise ValueError(f"pause must be at least 0 and below 1, not {pause!r}")
    while True:
        yield rng.random() < pause


def bursts(rng: random.Random, go: int = 24, pause: int = 40) -> Pattern:
    """Runs for up to `go` cycles, then pauses for up to `pause` cycles."""
    if go < 1 or pause < 1:
        raise ValueError(f"go and pause must be at least 1, not {go!r} and {pause!r}")
    while True:
        yield from repeat(False, rng.randint(1, go))
        yield from repeat(True, rng.randint(1, pause))


PATTERNS: dict[str, Callable[[random.Random], Pattern]] = {
    "none": lambda rng: none(),
    "alternating": lambda rng: alternating(),
    "random": random_pattern,
    "bursts": bursts,
}
"""The patterns by name, to cross a bench over."""


def pattern(name: str, rng: random.Random) -> Pattern:
    """The pattern called `name` in `PATTERNS`."""
    return PATTERNS[name](rng)


class Driver:
    """What `Bench` steps. A driver registers itself by being made."""

    def __init__(self, bench: "Bench") -> None:
        self.bench = bench
        bench.drivers.append(self)

    def drive(self) -> None:
        """Writes inputs of the device, just after a rising edge."""

    def sample(self) -> None:
        """Reads the settled signals of this cycle, at its falling edge."""

    def clear(self) -> None:
        """Forgets all state: the device is being reset."""

    def leftovers(self) -> str:
        """Says what is unfinished, or nothing."""
        return ""


class Bench:
    """Runs the clock and the drivers of one clock domain.

    Parameters
    ----------
    dut
        The device, as cocotb hands it to the test; needs a port `clk`, and `rst` for `reset()`.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.drivers: list[Driver] = []
        self.cycle = 0
        self._in_reset = False
        Clock(dut.clk, PERIOD_NS, unit="ns").start()
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        rising, falling = RisingEdge(self.dut.clk), FallingEdge(self.dut.clk)
        drivers = self.drivers
        while True:
            await rising
            self.cycle += 1
            for driver in drivers:
                driver.drive()
            await falling
            if not self._in_reset:
                for driver in drivers:
                    driver.sample()

    async def cycles(self, count: int = 1) -> None:
        """Waits until just after the `count`-th rising edge from here.

        A write before and one after `await bench.cycles()` make a pulse of exactly one cycle.
        """
        if count > 3:
            await Timer(count * PERIOD_NS - PERIOD_NS * 3 // 4, unit="ns")
            count = 1
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    async def settled(self) -> None:
        """Waits for the next falling edge, where the outputs of the cycle can be read."""
        await FallingEdge(self.dut.clk)

    async def until(self, signal: Any, value: int = 1, limit: int = 10_000) -> int:
        """Waits until `signal` has `value` at a falling edge, and returns how many cycles it took.

        Raises
        ------
        TimeoutError
            After `limit` cycles.
        """
        for count in range(limit):
            await FallingEdge(self.dut.clk)
            if int(signal.value) == value:
                return count
        raise TimeoutError(f"{signal._name} was not {value} within {limit} cycles")

    async def reset(self, cycles: int = 2) -> None:
        """Holds `rst` for `cycles` cycles; the drivers forget what was under way."""
        await RisingEdge(self.dut.clk)
        self._in_reset = True
        self.dut.rst.value = 1
        for driver in self.drivers:
            driver.clear()
        await self.cycles(cycles)
        self.dut.rst.value = 0
        self._in_reset = False

    async def finish(self, cycles: int = 20) -> None:
        """Runs `cycles` more, and fails if a driver holds something unfinished."""
        await self.cycles(cycles)
        remains = [text for text in (driver.leftovers() for driver in self.drivers) if text]
        if remains:
            raise AssertionError("unfinished at the end of the bench: " + "; ".join(remains))


class StreamSource(Driver):
    """Sends integers into a stream port of the device.

    Parameters
    ----------
    bench
        The clock domain.
    name
        Prefix of the port: `i` for `i__payload`, `i__valid`, `i__ready`.
    idle
        When to pause between beats; it never takes back a beat that is already `valid`.
    """

    def __init__(self, bench: Bench, name: str, *, idle: Pattern | None = None) -> None:
        super().__init__(bench)
        self.name = name
        self.idle = idle or none()
        self.sent_beats = 0
        dut = bench.dut
        self._payload = getattr(dut, f"{name}__payload")
        self._valid = getattr(dut, f"{name}__valid")
        self._ready = getattr(dut, f"{name}__ready", None)  # a constant 1 may have no port
        self._queue: deque[int] = deque()
        self._offering = False
        self._driven = False
        self._empty = Event()
        self._empty.set()
        self._valid.value = 0
        self._payload.value = 0

    def put(self, value: int) -> None:
        """Queues one beat."""
        self._queue.append(value)
        self._empty.clear()

    async def drained(self) -> None:
        """Waits until all that was queued has been taken by the device."""
        await self._empty.wait()

    @property
    def pending(self) -> int:
        """Beats not yet taken by the device."""
        return len(self._queue) + self._offering

    def drive(self) -> None:
        if self._offering:
            return
        if self._queue and not next(self.idle):
            self._payload.value = self._queue.popleft()
            self._offering = True
            if not self._driven:
                self._valid.value = 1
                self._driven = True
        elif self._driven:
            self._valid.value = 0
            self._driven = False

    def sample(self) -> None:
        if self._offering and (self._ready is None or self._ready.value == 1):
            self._offering = False
            self.sent_beats += 1
            if not self._queue:
                self._empty.set()

    def clear(self) -> None:
        self._queue.clear()
        self._offering = self._driven = False
        self._valid.value = 0
        self._empty.set()

    def leftovers(self) -> str:
        return f"{self.name}: {self.pending} beats not taken" if self.pending else ""


class StreamSink(Driver):
    """Takes integers from a stream port of the device, and checks that it keeps the contract.

    Parameters
    ----------
    bench, name
        As for `StreamSource`.
    backpressure
        When not to be ready.
    """

    def __init__(self, bench: Bench, name: str, *, backpressure: Pattern | None = None) -> None:
        super().__init__(bench)
        self.name = name
        self.backpressure = backpressure or none()
        self.cycles_of_beats: deque[int] = deque()
        dut = bench.dut
        self._payload = getattr(dut, f"{name}__payload")
        self._valid = getattr(dut, f"{name}__valid")
        self._ready = getattr(dut, f"{name}__ready", None)
        self._taken: deque[Any] = deque()
        self._arrived = Event()
        self._is_ready = False
        self._stalled: int | None = None
        if self._ready is not None:
            self._ready.value = 0

    def drive(self) -> None:
        go = not next(self.backpressure)
        if go != self._is_ready and self._ready is not None:
            self._ready.value = int(go)
        self._is_ready = go

    def sample(self) -> None:
        if self._valid.value != 1:
            if self._stalled is not None:
                raise ContractError(f"{self.name}: valid fell before the beat was taken")
            return
        if not self._is_ready:
            value = int(self._payload.value)
            if self._stalled is not None and value != self._stalled:
                raise ContractError(
                    f"{self.name}: payload changed from {self._stalled:#x} to {value:#x} in a stall"
                )
            self._stalled = value
            return
        value = int(self._payload.value)
        if self._stalled is not None and value != self._stalled:
            raise ContractError(
                f"{self.name}: payload changed from {self._stalled:#x} to {value:#x} in a stall"
            )
        self._stalled = None
        self.cycles_of_beats.append(self.bench.cycle)
        self.beat(value)

    def beat(self, value: int) -> None:
        """Called for each beat taken."""
        self.deliver(value)

    def deliver(self, item: Any) -> None:
        """Makes `item` what `receive()` returns next."""
        self._taken.append(item)
        self._arrived.set()

    @property
    def count(self) -> int:
        """Items that wait for `receive()`."""
        return len(self._taken)

    async def receive(self) -> Any:
        """Waits for the next item and returns it."""
        while not self._taken:
            self._arrived.clear()
            await self._arrived.wait()
        return self._taken.popleft()

    def take_all(self) -> list[Any]:
        """Returns what has arrived by now, without waiting."""
        items = list(self._taken)
        self._taken.clear()
        return items

    def clear(self) -> None:
        self._taken.clear()
        self._stalled = None

    def leftovers(self) -> str:
        return f"{self.name}: {self.count} items not received" if self._taken else ""


class OctetSource(StreamSource):
    """Sends octets into a port of `OctetSignature`."""

    def send(self, octets: bytes) -> None:
        """Queues `octets`."""
        if octets:
            self._queue.extend(octets)
            self._empty.clear()


class OctetSink(StreamSink):
    """Takes octets from a port of `OctetSignature`."""

    async def receive_octets(self, count: int) -> bytes:
        """Waits for `count` octets."""
        return bytes([await self.receive() for _ in range(count)])


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it left the device."""

    data: bytes
    err: bool
    first_cycle: int
    last_cycle: int


class PacketSource(StreamSource):
    """Sends frames into a port of `PacketSignature`."""

    def send(self, octets: bytes, *, err: bool = False) -> None:
        """Queues a frame of at least one octet; `err` is set on its last beat."""
        if not octets:
            raise ValueError("a frame has at least one octet")
        beats = list(octets)
        beats[0] |= FIRST
        beats[-1] |= LAST | (ERR if err else 0)
        self._queue.extend(beats)
        self._empty.clear()

    def send_beats(self, beats: list[int]) -> None:
        """Queues raw beats, for what a frame cannot say (one cut short by a reset, say)."""
        self._queue.extend(beats)
        if beats:
            self._empty.clear()


class PacketSink(StreamSink):
    """Takes frames from a port of `PacketSignature`, and checks their framing; yields `Frame`."""

    def __init__(self, bench: Bench, name: str, *, backpressure: Pattern | None = None) -> None:
        super().__init__(bench, name, backpressure=backpressure)
        self._frame = bytearray()
        self._first_cycle = 0

    def beat(self, value: int) -> None:
        if bool(value & FIRST) != (not self._frame):
            where = f"octet {len(self._frame)} of a frame"
            raise ContractError(f"{self.name}: first is {bool(value & FIRST):d} on {where}")
        if not self._frame:
            self._first_cycle = self.bench.cycle
        self._frame.append(value & 0xFF)
        if value & LAST:
            self.deliver(
                Frame(bytes(self._frame), bool(value & ERR), self._first_cycle, self.bench.cycle)
            )
            self._frame.clear()

    @property
    def in_frame(self) -> bool:
        """True while a frame is half received."""
        return bool(self._frame)

    def clear(self) -> None:
        super().clear()
        self._frame.clear()

    def leftovers(self) -> str:
        half = f"{self.name}: {len(self._frame)} octets of a frame that has not ended"
        return half if self._frame else super().leftovers()


class RegisterBus(Driver):
    """Master of the NIC's register bus.

    A write is one cycle of `w_stb` with `addr` and `w_data`; a read is one cycle of `r_stb` with
    `addr`, and `r_data` is valid READ_CYCLES after it. `addr` counts octets.

    Parameters
    ----------
    bench
        The clock domain.
    name
        Prefix of the port: `bus` for `bus__addr` and so on.
    """

    def __init__(self, bench: Bench, name: str = "bus") -> None:
        super().__init__(bench)
        self.name = name
        dut = bench.dut
        self._addr = getattr(dut, f"{name}__addr")
        self._w_data = getattr(dut, f"{name}__w_data")
        self._w_stb = getattr(dut, f"{name}__w_stb")
        self._r_stb = getattr(dut, f"{name}__r_stb")
        self._r_data = getattr(dut, f"{name}__r_data")
        self._jobs: deque[tuple[int, int | None, Event]] = deque()
        self._under_way: tuple[int, int | None, Event] | None = None
        self._answers: dict[int, int] = {}
        self._reading: list[Event | None] = [None] * READ_CYCLES
        self._strobes = 0
        for signal in (self._addr, self._w_data, self._w_stb, self._r_stb):
            signal.value = 0

    async def write(self, addr: int, data: int) -> None:
        """Writes the 32-bit word at octet address `addr`; returns in the cycle of the strobe."""
        await self._do(addr, data)

    async def read(self, addr: int) -> int:
        """Reads the 32-bit word at octet address `addr`."""
        done = await self._do(addr, None)
        return self._answers.pop(id(done))

    async def _do(self, addr: int, data: int | None) -> Event:
        if addr % 4 or not 0 <= addr < 4096:
            raise ValueError(f"addr must be a multiple of 4 below 4096, not {addr!r}")
        done = Event()
        self._jobs.append((addr, data, done))
        await done.wait()
        return done

    def drive(self) -> None:
        strobes = 0
        self._under_way = None
        if self._jobs:
            self._under_way = self._jobs.popleft()
            addr, data, _ = self._under_way
            self._addr.value = addr
            if data is None:
                strobes = 2
            else:
                self._w_data.value = data
                strobes = 1
        if strobes != self._strobes:
            self._w_stb.value = strobes & 1
            self._r_stb.value = strobes >> 1
            self._strobes = strobes

    def sample(self) -> None:
        asked, *self._reading = self._reading
        if asked is not None:
            self._answers[id(asked)] = int(self._r_data.value)
            asked.set()
        reading = None
        if self._under_way is not None:
            _, data, done = self._under_way
            if data is None:
                reading = done
            else:
                done.set()
        self._reading.append(reading)

    def clear(self) -> None:
        self._jobs.clear()
        self._reading = [None] * READ_CYCLES

    def leftovers(self) -> str:
        return f"{self.name}: {len(self._jobs)} accesses not made" if self._jobs else ""
