"""Frames back to back into the NIC while its ends do not take much, and the model beside it.

The model has no buffers. So it is told which frames the gateware had no room for, and whether there
can be such a loss at all; in all other things the two must be the same.
"""

from itertools import repeat

import cocotb

from spec.counters import Counter
from verif.cocotb.drivers import LAST, Bench, Driver, Frame, Pattern, none, pattern
from verif.cocotb.nic_frames import ETHERTYPE_LOCAL, NIC_MAC, ethernet
from verif.cocotb.nic_fuzz import act, clear_of_timers, whole
from verif.cocotb.nic_pair import LIMIT_CYCLES, STEP_CYCLES, NicPair
from verif.cocotb.nic_port import Registers
from verif.fuzz.coverage import BUFFERS
from verif.fuzz.generator import PING, Generator
from verif.fuzz.sealing import udp
from verif.model.classifier import (
    AnswerArp,
    AnswerNeighbour,
    Pass,
    TakeClear,
    TakeProtected,
    classify,
)
from verif.model.parser import parse

LEAST = 80
"""Octets of the shortest frame: so far apart are the verdicts."""
LOOK_CYCLES = 51
"""After a frame's last octet all counters know of it (`hw.host.counters`: one round), and not yet
of the next one."""
COUNT = 48
"""Frames of a flood."""
HOST_BUFFER = 4096
MARGIN_MS = 9000
"""Longer than a flood lasts."""
MAY_LOSE = {
    Counter.DROP_HOST_FULL: (Pass,),
    Counter.DROP_OVERLOAD: (AnswerArp, AnswerNeighbour, TakeClear, TakeProtected),
}
"""What the model must say of a frame that is lost to one of these."""
REFUSED = (Counter.DROP_REPLAY_OLD, Counter.DROP_REPLAY_DUPLICATE, Counter.DROP_ICV)
"""The gateware looks at the window before a packet is verified, and once more after that, while
others are under way. So of a packet that is refused it may say another one of these."""
KINDS = ("host", "taken", "mixed")
ENDS = ("stopped", "bursts", "random", "alternating", "none")


class LossWatch(Driver):
    """Tells of each frame whether, and to which of `BUFFERS`, it was lost."""

    def __init__(self, bench: Bench, registers: Registers) -> None:
        super().__init__(bench)
        self.active = False
        self.losses: list[Counter | None] = []
        self._registers = registers
        self._seen: dict[Counter, int] = {}
        self._ports = [getattr(bench.dut, f"wire_rx__{n}") for n in ("valid", "ready", "payload")]

    async def begin(self) -> None:
        """From here on: nothing is under way."""
        self.losses.clear()
        self._seen = {n: await self._registers.read("COUNTERS", n) for n in BUFFERS}
        self.active = True

    def sample(self) -> None:
        if not self.active:
            return
        valid, ready, payload = self._ports
        if valid.value == 1 and ready.value == 1 and int(payload.value) & LAST:
            cocotb.start_soon(self._look())

    async def _look(self) -> None:
        await self.bench.cycles(LOOK_CYCLES)
        lost = None
        for counter in BUFFERS:
            value = await self._registers.read("COUNTERS", counter)
            if value != self._seen[counter]:
                assert value == self._seen[counter] + 1, f"{counter.name} counted twice"
                assert lost is None, f"{counter.name} as well as {lost!r}"
                self._seen[counter] = value
                lost = counter
        self.losses.append(lost)


class Flood:
    """Floods of generated frames.

    Parameters
    ----------
    pair
        The NIC and its model.
    generator
        Of the frames.
    """

    def __init__(self, pair: NicPair, generator: Generator) -> None:
        self.pair = pair
        self.generator = generator
        self.rng = generator.rng
        self.watch = LossWatch(pair.bench, pair.registers)
        self.frames = 0
        self.lost = dict.fromkeys(BUFFERS, 0)
        self.shifted = 0

    async def prepare(self) -> None:
        """Another SA, or none; it is proven, so that no frame of the flood changes a bank."""
        pair, generator = self.pair, self.generator
        for action in generator.begin():
            await act(pair, action)
        while generator.sas and not pair.model.sad.proven:
            sa = generator.sas[-1]
            await pair.wire(generator.wrap(sa, *generator.inside(sa, udp(PING))))
        await clear_of_timers(pair, MARGIN_MS)

    def draw(self, kind: str) -> tuple[bytes, bool]:
        """A frame, mostly of a kind, and whether it ends with `err`."""
        rng = self.rng
        if kind == "host" and rng.random() < 0.7:
            frame = ethernet(0x9000, rng.randbytes(rng.choice((66, 300, 1500))))
            return frame, rng.random() < 0.1
        if kind == "taken" and rng.random() < 0.2:
            return self.generator.arp().ljust(LEAST, b"\0"), False
        if kind == "taken" and rng.random() < 0.7:
            return self.generator.good().ljust(LEAST, b"\0"), False
        made = self.generator.frame()
        return made.octets.ljust(LEAST, b"\0"), made.err

    def end(self, name: str) -> Pattern:
        """When a sink takes nothing."""
        return repeat(True) if name == "stopped" else pattern(name, self.pair.rng)

    async def run(self, kind: str, host_end: str, wire_end: str) -> None:
        """Sends a flood, then lets everything out, and compares."""
        pair, rng = self.pair, self.rng
        frames = [self.draw(kind) for _ in range(COUNT)]
        before = await pair.registers.ended()
        await self.watch.begin()
        pair.host_tx.backpressure, pair.wire_tx.backpressure = (
            self.end(host_end),
            self.end(wire_end),
        )
        for frame, err in frames:
            pair.wire_rx.send(frame, err=err)
            if rng.random() < 0.2:
                local = rng.randbytes(rng.choice((46, 300)))
                pair.host(ethernet(ETHERTYPE_LOCAL, local, source=NIC_MAC))
        await pair.wire_rx.drained()
        await pair.bench.cycles(2 * LOOK_CYCLES)
        self.watch.active = False
        assert len(self.watch.losses) == COUNT
        pair.host_tx.backpressure = pair.wire_tx.backpressure = none()
        for _ in range(LIMIT_CYCLES // STEP_CYCLES):
            if await pair.registers.ended() == before + COUNT:
                break
            await pair.bench.cycles(STEP_CYCLES)
        broken = [
            self.tell(*frame, lost) for frame, lost in zip(frames, self.watch.losses, strict=True)
        ]
        pair.sync()
        await self.shift()
        await self.compare([frame for frame in broken if frame])
        self.frames += COUNT

    def tell(self, frame: bytes, err: bool, lost: Counter | None) -> bytes:
        """Tells the model of a frame, or that it was lost; the frame if it may have left broken."""
        model = self.pair.model
        if lost is None:
            self.pair.learn(frame, err)
            return frame if err else b""
        decision = classify(parse(frame), model._view())
        may = isinstance(decision, MAY_LOSE[lost]) and not err
        assert may, f"lost to {lost.name}, but {type(decision).__name__}, err {err}: {frame.hex()}"
        model.counters[Counter.FRAMES_IN] += 1
        model.counters[lost] += 1
        self.lost[lost] += 1
        return frame if lost is Counter.DROP_HOST_FULL else b""

    async def shift(self) -> None:
        """Lets the model refuse for the gateware's reasons, as many packets as it did refuse."""
        model = self.pair.model.counters
        reasons = {n: await self.pair.registers.read("COUNTERS", n) for n in REFUSED}
        if sum(reasons.values()) == sum(model[n] for n in REFUSED):
            self.shifted += sum(max(0, reasons[n] - model[n]) for n in REFUSED)
            model.update(reasons)

    async def compare(self, broken: list[bytes]) -> None:
        """All outputs are the model's, in their order; those with `err` are of `broken`."""
        pair = self.pair
        came: list[Frame] = []
        for _ in range(LIMIT_CYCLES // STEP_CYCLES):
            came += pair.host_tx.take_all()
            if sum(not frame.err for frame in came) >= len(pair.to_host):
                break
            await pair.bench.cycles(STEP_CYCLES)
        await pair.bench.cycles(HOST_BUFFER)  # what it held was broken, at most
        came += pair.host_tx.take_all()
        pair.compare_host([frame for frame in came if not frame.err])
        left = iter(broken)
        for frame in came:
            begins = frame.data[:-1]  # the last octet may stand for all that had no room
            assert not frame.err or any(f.startswith(begins) for f in left), frame
        await pair.outputs()
        await whole(pair)
