"""Drivers of the whole NIC's ports: registers by name, the tap, the wire, the pins."""

from dataclasses import dataclass
from itertools import repeat

from spec.counters import COUNTER_COUNT, Counter
from spec.registers import BY_NAME
from spec.sa import SadResult
from verif.cocotb.drivers import (
    ERR,
    FIRST,
    LAST,
    Bench,
    ContractError,
    Driver,
    PacketSource,
    Pattern,
    RegisterBus,
)

POLLS = 100
"""How often a result is asked for before it counts as never coming."""
POLL_CYCLES = 64
STALL_CYCLES = 12
"""How long `wire_rx` may be held between frames."""
INPUT_PINS = ("pin_host_reset", "pin_host_sleep", "pin_host_off", "pin_zeroise")
OUTPUT_PINS = ("pin_reset", "pin_power")


class Tap(Driver):
    """Listens to `tap`, where UDP payloads enter the command engine after their verdict."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.messages: list[bytes] = []
        self._message = bytearray()
        self._inside = False
        self._payload, self._valid = bench.dut.tap__payload, bench.dut.tap__valid

    def sample(self) -> None:
        if self._valid.value != 1:
            return
        beat = int(self._payload.value)
        if bool(beat & FIRST) == self._inside:
            raise ContractError(f"tap: first is {bool(beat & FIRST):d} inside={self._inside}")
        empty = beat & FIRST and beat & LAST and beat & ERR
        if not empty:
            self._message.append(beat & 0xFF)
        self._inside = not beat & LAST
        if beat & LAST:
            self.messages.append(bytes(self._message))
            self._message.clear()

    def clear(self) -> None:
        self.messages.clear()
        self._message.clear()
        self._inside = False


class Registers:
    """The register map by name."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.bus = RegisterBus(bench)

    async def write(self, name: str, index: int, value: int) -> None:
        """Writes, and after a command waits for its result, which must be OK."""
        if name == "SA_COMMAND":
            result = await self.command(value)
            assert result == SadResult.OK, f"SA_COMMAND {value} gave {result.name}"
        else:
            await self.bus.write(BY_NAME[name].address + 4 * index, value)

    async def command(self, value: int) -> SadResult:
        """Writes SA_COMMAND and waits for its result."""
        await self.bus.write(BY_NAME["SA_COMMAND"].address, value)
        for _ in range(POLLS):
            await self.bench.cycles(POLL_CYCLES)
            result = SadResult(await self.read("SA_RESULT"))
            if result is not SadResult.PENDING:
                return result
        return SadResult.PENDING

    async def ready(self) -> None:
        """Waits until the key stores are empty, as after reset."""
        for _ in range(POLLS):
            if not await self.read("SA_STATUS"):
                return
            await self.bench.cycles(POLL_CYCLES)
        raise AssertionError("the key stores are still being zeroised")

    async def read(self, name: str, index: int = 0) -> int:
        """Reads."""
        return await self.bus.read(BY_NAME[name].address + 4 * index)

    async def counters(self) -> dict[Counter, int]:
        """All counters."""
        return {counter: await self.read("COUNTERS", counter) for counter in Counter}

    async def ended(self) -> int:
        """How many frames have ended under some counter."""
        return sum(
            [
                await self.read("COUNTERS", index)
                for index in range(COUNTER_COUNT)
                if index != Counter.FRAMES_IN
            ]
        )


class WireSource(PacketSource):
    """Sends frames into `wire_rx`, and checks that it is held between frames only, and not long."""

    def __init__(self, bench: Bench, *, idle: Pattern | None = None) -> None:
        super().__init__(bench, "wire_rx", idle=idle)
        self.longest_stall = 0
        self._stall = 0
        self._inside = False

    def sample(self) -> None:
        offered = self._offering
        super().sample()
        if not offered:
            return
        if self._offering:
            if self._inside:
                raise ContractError("wire_rx: held inside a frame")
            self._stall += 1
            self.longest_stall = max(self.longest_stall, self._stall)
            if self._stall > STALL_CYCLES:
                raise ContractError(f"wire_rx: held for more than {STALL_CYCLES} cycles")
            return
        self._stall = 0
        self._inside = not int(self._payload.value) & LAST

    def gaps(self, cycles: int) -> Pattern:
        """Pauses for so long before each frame, and never inside one."""
        while True:
            if not self._inside:
                yield from repeat(True, cycles)
            yield False

    def clear(self) -> None:
        super().clear()
        self._stall = 0
        self._inside = False


@dataclass(frozen=True, slots=True)
class PinEdge:
    """An output pin changed, as it shows in `cycle`."""

    name: str
    level: bool
    cycle: int


class PinWatch(Driver):
    """Drives the input pins, and keeps the edges of the output pins."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.edges: list[PinEdge] = []
        self._outputs = [(name, getattr(bench.dut, name)) for name in OUTPUT_PINS]
        self._levels = dict.fromkeys(OUTPUT_PINS, False)
        for name in INPUT_PINS:
            self.drive_pin(name, False)

    def drive_pin(self, name: str, level: bool) -> None:
        """Drives an input."""
        getattr(self.bench.dut, name).value = int(level)

    @property
    def quiet(self) -> bool:
        """No output is asserted."""
        return not any(self._levels.values())

    def sample(self) -> None:
        for name, signal in self._outputs:
            level = signal.value == 1
            if level != self._levels[name]:
                self._levels[name] = level
                self.edges.append(PinEdge(name, level, self.bench.cycle))

    def clear(self) -> None:
        self.edges.clear()
        self._levels = dict.fromkeys(OUTPUT_PINS, False)
