"""The gateware and the model of the whole NIC side by side: one input, every output compared."""

from collections.abc import Callable, Iterable
from typing import Any

from spec.counters import Counter
from spec.host import PIN_REST_MS
from spec.sa import SadCommand, SadResult
from verif.cocotb.drivers import Bench, Frame, PacketSink, PacketSource, none, pattern
from verif.cocotb.nic_frames import (
    ETHERTYPE_ARP,
    ETHERTYPE_LOCAL,
    NIC_IP,
    NIC_IP6,
    NIC_MAC,
    SaKeys,
    Station,
    oem,
)
from verif.cocotb.nic_port import PinWatch, Registers, Tap, WireSource
from verif.model import NicModel, ToHost, ToWire
from verif.model.events import Pin

CLOCK_HZ = 4000
"""Of the simulated NIC: four cycles to its millisecond, so that its timers run fast."""
CYCLES_PER_MS = CLOCK_HZ // 1000
LIMIT_CYCLES = 60_000
"""When what must come counts as never coming."""
STEP_CYCLES = 12
FRAME_MIN_OCTETS = 60
PULSE_TOLERANCE_MS = 2
ZEROISE_CYCLES = 1100
"""Within so many cycles the keys of all banks are gone."""
LEARN_CYCLES = 24
"""Within so many cycles an address that the host announced is known."""
INPUTS = {"reset": "pin_host_reset", "sleep": "pin_host_sleep", "off": "pin_host_off"}


def padded(frame: bytes) -> bytes:
    """As the MAC sends it: the model pads the NIC's own frames, the gateware leaves that to it."""
    return frame.ljust(FRAME_MIN_OCTETS, b"\0")


class NicPair:
    """Drivers on all ports of `hw.nic.Nic(clock_hz=CLOCK_HZ)`, and a `NicModel`.

    Parameters
    ----------
    dut
        As cocotb hands it to the test.
    idle, backpressure
        Names of patterns, of both sources and of both sinks.
    model
        A new one, which is built as the NIC is.
    """

    def __init__(
        self,
        dut: Any,
        *,
        idle: str = "none",
        backpressure: str = "none",
        model: Callable[[], NicModel] = NicModel,
    ) -> None:
        self.dut = dut
        self._new_model = model
        self.bench = bench = Bench(dut)
        self.rng = bench.rng
        self.wire_rx = WireSource(bench, idle=none())
        self.host_rx = PacketSource(bench, "host_rx")
        self.wire_tx = PacketSink(bench, "wire_tx")
        self.host_tx = PacketSink(bench, "host_tx")
        self.tap = Tap(bench)
        self.registers = Registers(bench)
        self.pins = PinWatch(bench)
        self.set_patterns(idle, backpressure)
        self._forget()

    def set_patterns(self, idle: str, backpressure: str) -> None:
        """Chooses when the sources and sinks pause."""
        for source in (self.wire_rx, self.host_rx):
            source.idle = pattern(idle, self.rng)
        for sink in (self.wire_tx, self.host_tx):
            sink.backpressure = pattern(backpressure, self.rng)

    def _forget(self) -> None:
        self.model = self._new_model()
        self.to_wire: list[ToWire] = []
        self.to_host: list[bytes] = []
        self.messages: list[bytes] = []
        self.model_pins: list[Pin] = []
        self.answers: list[bytes] = []
        self._spoiled: list[bytes] = []
        self._began = self.bench.cycle

    # --- bus, pins, time ------------------------------------------------------------------------

    async def start(self, *, policy: int = 0) -> None:
        """Resets the gateware, begins with a new model, and gives both their addresses."""
        for name in (*INPUTS.values(), "pin_zeroise"):
            self.pins.drive_pin(name, False)
        await self.bench.reset()
        released = self.bench.cycle
        await self.registers.ready()
        self._forget()
        self._began = released
        await self.write("HOST_MAC_HI", int.from_bytes(NIC_MAC[:2], "big"))
        await self.write("HOST_MAC_LO", int.from_bytes(NIC_MAC[2:], "big"))
        await self.write("HOST_IP", int.from_bytes(NIC_IP, "big"))
        for index in range(4):
            word = int.from_bytes(NIC_IP6[4 * index : 4 * index + 4], "big")
            await self.write("HOST_IP6", word, index)
        if policy:
            await self.write("POLICY", policy)

    def sync(self) -> None:
        """Lets the model's clock catch up with the gateware's."""
        late = (self.bench.cycle - self._began) // CYCLES_PER_MS - self.model.now_ms
        self._keep(self.model.advance(max(late, 0)))

    async def pass_ms(self, milliseconds: int) -> None:
        """Lets time pass on both."""
        await self.bench.cycles(milliseconds * CYCLES_PER_MS)
        self.sync()

    async def write(self, name: str, value: int, index: int = 0) -> None:
        """Writes a register; commands by `command`."""
        await self.registers.bus.write(self.address(name, index), value)
        self.sync()
        self.model.bus_write(name, value, index)

    @staticmethod
    def address(name: str, index: int = 0) -> int:
        """Octet address of a register."""
        return NicModel._address(name, index)

    async def read(self, name: str, index: int = 0) -> int:
        """Reads a register of both, which must agree."""
        value = await self.registers.read(name, index)
        self.sync()
        wanted = self.model.bus_read(name, index)
        assert value == wanted, f"{name}[{index}] is {value:#x}, the model says {wanted:#x}"
        return value

    async def command(self, command: SadCommand | int, wanted: SadResult = SadResult.OK) -> None:
        """Writes SA_COMMAND; `wanted` must come of it."""
        result = await self.registers.command(command)
        self.sync()
        self.model.bus_write("SA_COMMAND", command)
        said = self.model.bus_read("SA_RESULT")
        assert result == said == wanted, f"command {command}: {result!r}, model {said!r}"

    async def stage(self, sa: SaKeys, *, ready: bool = True) -> None:
        """Stages an SA, and makes it READY."""
        await self.command(SadCommand.STAGE)
        for name, index, value in sa.staging():
            await self.write(name, value, index)
        if ready:
            await self.command(SadCommand.READY)

    async def proven(self, *, policy: int = 0, **options: Any) -> Station:
        """Starts with one PROVEN SA; `options` are those of `SaKeys.draw`."""
        await self.start(policy=policy)
        station = Station(SaKeys.draw(self.rng, **options))
        await self.stage(station.sa)
        await self.works(station)
        return station

    async def states(self) -> tuple[int, int]:
        """States of the banks, of both sides."""
        value = await self.read("SA_STATUS")
        return value & 15, value >> 4 & 15

    async def inputs(self, **levels: bool) -> None:
        """Drives the host's pins: `reset`, `sleep`, `off`."""
        for name, level in levels.items():
            self.pins.drive_pin(INPUTS[name], level)
        self.sync()
        self.model.set_pins(**levels)
        await self.bench.cycles(8)

    async def zeroise(self) -> None:
        """Presses the board's button."""
        self.sync()
        self.pins.drive_pin("pin_zeroise", True)
        self.model.set_pins(zeroise=True)
        await self.bench.cycles(16)
        self.pins.drive_pin("pin_zeroise", False)
        self.model.set_pins(zeroise=False)
        status = await self.registers.read("SA_STATUS")
        assert status & 0xFF == 0, f"banks are not empty: {status:#x}"
        for _ in range(ZEROISE_CYCLES // STEP_CYCLES):
            await self.bench.cycles(STEP_CYCLES)
            if not await self.registers.read("SA_STATUS"):
                return
        raise AssertionError(f"keys are still being zeroised after {ZEROISE_CYCLES} cycles")

    # --- frames ---------------------------------------------------------------------------------

    async def wire(
        self, frame: bytes, verdict: Counter | None = None, *, err: bool = False
    ) -> list[bytes]:
        """Sends one frame and waits for all that it causes.

        Parameters
        ----------
        frame, err
            From the wire.
        verdict
            The counter that must move, and no other; None: as the model says.

        Returns
        -------
        list of bytes
            The frames that the NIC sent in answer.
        """
        self.begin(frame, err)
        if verdict is not None:
            said = self.model.verdict
            assert said is verdict, f"the model says {said!r}, not {verdict!r}: {frame.hex()}"
        counter = self.model.verdict
        assert counter is not None
        for _ in range(LIMIT_CYCLES // STEP_CYCLES):
            await self.bench.cycles(STEP_CYCLES)
            if await self.registers.read("COUNTERS", counter) == self.model.counters[counter]:
                break
        else:
            raise AssertionError(f"{await self.differences()} after {frame.hex()}")
        already = len(self.answers)
        await self.outputs()
        return self.answers[already:]

    def begin(self, frame: bytes, err: bool = False) -> None:
        """Gives a frame to the model, and to the gateware's queue."""
        self.sync()
        self.learn(frame, err)
        self.wire_rx.send(frame, err=err)

    def learn(self, frame: bytes, err: bool = False) -> None:
        """Gives a frame to the model alone."""
        self._keep(self.model.wire_receive(frame, err))
        message = self.model.message
        if message is not None:
            self.messages.append(message)
        if err:
            self._spoiled.append(frame)

    def host(self, frame: bytes, *, err: bool = False) -> None:
        """A frame from the host; of ETHERTYPE_LOCAL, so that it is known again on the wire."""
        assert self._kind(frame) == ETHERTYPE_LOCAL
        self._keep(self.model.host_receive(frame, err))
        self.host_rx.send(frame, err=err)

    async def announce(self, frame: bytes, *, err: bool = False) -> None:
        """The host tells its addresses, with a frame of whatever kind; waits until it left."""
        self._keep(self.model.host_receive(frame, err))
        self.host_rx.send(frame, err=err)
        await self.host_rx.drained()
        await self.bench.cycles(LEARN_CYCLES)
        await self.outputs()

    async def flow(
        self, frames: Iterable[tuple[bytes, bool]], *, may_lose: Iterable[Counter] = ()
    ) -> int:
        """Sends frames as fast as the pattern allows; waits for all they cause, and compares.

        Parameters
        ----------
        frames
            From the wire, with or without error.
        may_lose
            Frames due to one of these may end as DROP_OVERLOAD: the model has room for all.

        Returns
        -------
        int
            How many did.
        """
        for frame, err in frames:
            self.begin(frame, err)
        await self.wire_rx.drained()
        for _ in range(LIMIT_CYCLES // STEP_CYCLES):
            if await self.registers.ended() == self.model.counters[Counter.FRAMES_IN]:
                break
            await self.bench.cycles(STEP_CYCLES)
        lost = await self._lose(may_lose) if may_lose else 0
        difference = await self.differences()
        assert not difference, difference
        await self.host_rx.drained()
        await self.outputs()
        return lost

    async def _lose(self, counters: Iterable[Counter]) -> int:
        """Lets the model lose to overload what the gateware lost."""
        model = self.model.counters
        lost = 0
        for counter in counters:
            fewer = model[counter] - await self.registers.read("COUNTERS", counter)
            assert fewer >= 0, f"{-fewer} too many under {counter.name}"
            model[counter] -= fewer
            lost += fewer
        model[Counter.DROP_OVERLOAD] += lost
        return lost

    async def outputs(self) -> None:
        """Waits for the frames that the model sent, and compares them."""
        frames: list[Frame] = []
        to_wire: list[Frame] = []
        for _ in range(LIMIT_CYCLES // STEP_CYCLES):
            frames += self.host_tx.take_all()
            to_wire += self.wire_tx.take_all()
            good = sum(not frame.err for frame in frames)
            if len(to_wire) >= len(self.to_wire) and good >= len(self.to_host):
                break
            await self.bench.cycles(STEP_CYCLES)
        sent = [(padded(f.data), f.err) for f in to_wire]
        wanted = [(padded(f.frame), f.err) for f in self.to_wire]
        for kind in (ETHERTYPE_LOCAL, ETHERTYPE_ARP, None):
            got, due = self._of(kind, sent), self._of(kind, wanted)
            assert got == due, f"to the wire: {self._first_difference(got, due)}"
        self.answers += [frame for frame, _ in sent if self._kind(frame) != ETHERTYPE_LOCAL]
        self.to_wire.clear()
        self.compare_host(frames)
        heard = self.tap.messages
        assert heard == self.messages, f"at the tap: {self._first_difference(heard, self.messages)}"
        heard.clear()
        self.messages.clear()

    def compare_host(self, frames: list[Frame]) -> None:
        """Compares what went to the host with what the model sent there."""
        good = [frame.data for frame in frames if not frame.err]
        for frame in frames:
            if frame.err:  # began to pass, then turned out bad
                self._spoiled.remove(frame.data)
        difference = self._first_difference(good, self.to_host)
        assert good == self.to_host, f"to the host: {difference}"
        self.to_host.clear()

    @staticmethod
    def _kind(frame: bytes) -> int:
        """The EtherType; ETHERTYPE_ARP of neighbour discovery too, which leaves in its turn."""
        at = 12
        while frame[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
            at += 4
        if frame[at : at + 2] == b"\x86\xdd" and frame[at + 8 : at + 10] == b"\x3a\xff":
            return ETHERTYPE_ARP
        return int.from_bytes(frame[at : at + 2], "big")

    def _of(self, kind: int | None, frames: list[tuple[bytes, bool]]) -> list[tuple[bytes, bool]]:
        if kind is not None:
            return [f for f in frames if self._kind(f[0]) == kind]
        return [f for f in frames if self._kind(f[0]) not in (ETHERTYPE_LOCAL, ETHERTYPE_ARP)]

    @staticmethod
    def _first_difference(got: list[Any], due: list[Any]) -> str:
        for index, (one, other) in enumerate(zip(got, due, strict=False)):
            if one != other:
                return f"item {index} of {len(got)} is {one!r}, not {other!r}"
        return f"{len(got)} items, not {len(due)}: {(got + due)[min(len(got), len(due)) :]!r}"

    def _keep(self, outputs: list[Any]) -> None:
        for output in outputs:
            match output:
                case ToWire():
                    self.to_wire.append(output)
                case ToHost(frame):
                    self.to_host.append(frame)
                case Pin():
                    self.model_pins.append(output)

    # --- comparisons ----------------------------------------------------------------------------

    async def differences(self) -> str:
        """In which counters the two differ; nothing if in none."""
        model = self.model.counters
        return ", ".join(
            f"{counter.name} {value} instead of {model[counter]}"
            for counter, value in (await self.registers.counters()).items()
            if value != model[counter]
        )

    async def check(self) -> None:
        """All counters agree, every frame ended under one, and nothing is under way."""
        await self.bench.cycles(2000)
        difference = await self.differences()
        assert not difference, difference
        counters = await self.registers.counters()
        assert counters[Counter.FRAMES_IN] == sum(counters.values()) - counters[Counter.FRAMES_IN]
        await self.outputs()

    def no_pin_moved(self) -> None:
        """Neither pin has moved since the last look."""
        self.sync()
        assert not self.pins.edges, f"pins moved: {self.pins.edges}"
        assert not self.model_pins, f"the model moved pins: {self.model_pins}"

    async def pulses(self, *, still_ms: int = PIN_REST_MS + 12) -> list[str]:
        """Waits until the pins rest for `still_ms`, compares pulses and pauses, tells the names."""
        still = 0
        for _ in range(LIMIT_CYCLES):
            await self.pass_ms(4)
            still = still + 4 if self.pins.quiet else 0
            if still > still_ms:
                break
        began = self._began
        rtl = [(e.name.removeprefix("pin_"), e.level, e.cycle - began) for e in self.pins.edges]
        model = [(e.name, e.level, e.at_ms * CYCLES_PER_MS) for e in self.model_pins]
        assert [e[:2] for e in rtl] == [e[:2] for e in model], f"pins: {rtl}, model {model}"
        for edge, last, due, due_last in zip(rtl[1:], rtl, model[1:], model, strict=False):
            longer = (edge[2] - last[2]) - (due[2] - due_last[2])
            later = edge[2] - due[2]  # where an input made it, on both at once
            off = min(abs(longer), abs(later))
            assert off <= PULSE_TOLERANCE_MS * CYCLES_PER_MS, f"pins: {rtl}, model {model}"
        names = [e[0] for e in rtl[::2]]
        self.pins.edges.clear()
        self.model_pins.clear()
        return names

    async def works(self, station: Station) -> None:
        """The next good packet is answered, under this SA, and the answer is right."""
        (answer,) = await self.wire(station.protect(oem(0x81, tag=0x77)), Counter.DELIVERED)
        message = station.open(answer)
        assert message[:4] == bytes([6, 0, 0xFF, 6])
        assert message[8:12] == bytes([0x41, 0x77, 0, 12])

    async def finish(self) -> None:
        """The end of a test."""
        await self.check()
        await self.bench.finish()
