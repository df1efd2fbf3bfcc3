"""Cocotb side of `python -m verif.bench datapath`: drives the NIC and writes what it measured.

It judges little: that passed frames come out bit for bit and in order, and that answers are right.
How many there are, and when, is the result.
"""

import json
from itertools import repeat
from pathlib import Path
from typing import Any

import cocotb

from spec.counters import Counter
from spec.sa import SadCommand, SadResult
from spec.suites import SUITES, Suite
from verif.bench.stations import NotOursError, Peer
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import (
    FIRST,
    LAST,
    Bench,
    Driver,
    PacketSink,
    PacketSource,
    Pattern,
    bench_parameters,
    none,
)
from verif.cocotb.nic_port import PinWatch, Registers, WireSource

GAP = 4 + 12 + 8
"""Octet times between two frames: FCS, gap, preamble (IEEE 802.3 4.2.3.2.2, 4.4.2)."""
POLL_CYCLES = 50
QUIET_POLLS = 100
"""So often without a change is the end: far longer than any suite takes for a packet."""
LIMIT_CYCLES = 400_000
COMMAND_EVERY = 8
"""Of the frames of a flood every so many is a legitimate command."""
BURST = 12
EMPTY_UDP = 8
"""Octets of a UDP header with nothing behind it."""


class Edges(Driver):
    """Cycles of the first and last octets of frames that moved on a stream."""

    def __init__(self, bench: Bench, name: str) -> None:
        super().__init__(bench)
        self.firsts: list[int] = []
        self.lasts: list[int] = []
        self._port = [getattr(bench.dut, f"{name}__{p}") for p in ("payload", "valid", "ready")]

    def sample(self) -> None:
        payload, valid, ready = self._port
        if valid.value == 1 and ready.value == 1:
            beat = int(payload.value)
            if beat & FIRST:
                self.firsts.append(self.bench.cycle)
            if beat & LAST:
                self.lasts.append(self.bench.cycle)

    def forget(self) -> None:
        """Begins anew."""
        self.firsts.clear()
        self.lasts.clear()


class HostSource(PacketSource):
    """Frames from the host, as far apart as a MAC sends them."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench, "host_rx")
        self._inside = False
        self.idle = self._gaps()

    def sample(self) -> None:
        offered = self._offering
        super().sample()
        if offered and not self._offering:
            self._inside = not int(self._payload.value) & LAST

    def _gaps(self) -> Pattern:
        while True:
            if not self._inside:
                yield from repeat(True, GAP)
            yield False

    def clear(self) -> None:
        super().clear()
        self._inside = False


class Nic:
    """The NIC's ports."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.bench = bench = Bench(dut)
        self.rng = bench.rng
        self.wire_rx = WireSource(bench, idle=none())
        self.host_rx = HostSource(bench)
        self.wire_tx, self.host_tx = PacketSink(bench, "wire_tx"), PacketSink(bench, "host_tx")
        self.edges = {
            name: Edges(bench, name) for name in ("wire_rx", "wire_tx", "host_rx", "host_tx")
        }
        self.registers = Registers(bench)
        self.pins = PinWatch(bench)
        for name in ("pin_host_reset", "pin_host_sleep", "pin_host_off", "pin_zeroise"):
            self.pins.drive_pin(name, False)

    async def start(self, gap: int = GAP) -> None:
        """Resets the NIC and gives it its addresses."""
        await self.bench.reset()
        await self.registers.ready()
        self.wire_rx.idle = self.wire_rx.gaps(gap)
        for name, value in (
            ("HOST_MAC_HI", int.from_bytes(nf.NIC_MAC[:2], "big")),
            ("HOST_MAC_LO", int.from_bytes(nf.NIC_MAC[2:], "big")),
            ("HOST_IP", int.from_bytes(nf.NIC_IP, "big")),
        ):
            await self.registers.write(name, 0, value)
        self.forget()

    def forget(self) -> None:
        """Forgets what moved so far."""
        for edges in self.edges.values():
            edges.forget()
        self.wire_tx.take_all()
        self.host_tx.take_all()

    async def stage(self, peer: Peer) -> None:
        """Stages an SA and proves it by a first command."""
        for command in (SadCommand.STAGE, None, SadCommand.READY):
            if command is None:
                for name, index, value in peer.staging():
                    await self.registers.write(name, index, value)
                continue
            result = await self.registers.command(command)
            name = peer.facts.suite.name
            assert result is SadResult.OK, f"{name}: {command.name} gave {result.name}"
        self.wire_rx.send(peer.protect(nf.asf(nf.PING)))
        await self.quiet()
        assert len(self.answers(peer)) == 1, f"{peer.facts.suite.name}: no answer to a first Ping"
        self.forget()

    async def counters(self) -> dict[Counter, int]:
        return await self.registers.counters()

    async def quiet(self) -> int:
        """Waits until all is sent, every frame has ended, and nothing leaves any more.

        Returns
        -------
        int
            The cycle of the last change, at most POLL_CYCLES late.
        """
        await self.wire_rx.drained()
        await self.host_rx.drained()
        before, polls, changed = (-1, -1, -1), 0, self.bench.cycle
        for _ in range(LIMIT_CYCLES // POLL_CYCLES):
            await self.bench.cycles(POLL_CYCLES)
            now = (
                len(self.edges["wire_tx"].lasts),
                len(self.edges["host_tx"].lasts),
                await self.registers.ended(),
            )
            polls = polls + 1 if now == before else 0
            if now != before:
                changed = self.bench.cycle
            before = now
            if polls == QUIET_POLLS:
                return changed
        raise AssertionError("the NIC does not come to rest")

    def answers(self, peer: Peer) -> list[bytes]:
        """The right answers under an SA that left since the last call; any other is an error."""
        found = []
        for frame in self.wire_tx.take_all():
            if frame.data[12:14] == nf.ETHERTYPE_LOCAL.to_bytes(2, "big"):
                continue
            try:
                found.append(peer.open(frame.data))
            except NotOursError as error:
                name = peer.facts.suite.name
                raise AssertionError(f"{name}: {error}: {frame.data.hex()}") from error
        return found


def moved(before: dict[Counter, int], after: dict[Counter, int]) -> dict[str, int]:
    """Counters that moved, by name."""
    return {c.name: after[c] - before[c] for c in Counter if after[c] != before[c]}


async def passed(nic: Nic, octets: int, count: int) -> dict[str, Any]:
    """Frames of a length in both directions at once, as fast as the wire brings them."""
    await nic.start()
    before = await nic.counters()
    body = octets - 14 - 20
    in_frames = [
        nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.TCP, nic.rng.randbytes(body)))
        for _ in range(count)
    ]
    out_frames = [
        nf.ethernet(nf.ETHERTYPE_LOCAL, nic.rng.randbytes(octets - 14), source=nf.NIC_MAC)
        for _ in range(count)
    ]
    for frame in in_frames:
        nic.wire_rx.send(frame)
    for frame in out_frames:
        nic.host_rx.send(frame)
    await nic.quiet()
    row: dict[str, Any] = {"octets": octets, "frames": count}
    for name, source, sink, sent in (
        ("wire_to_host", "wire_rx", nic.host_tx, in_frames),
        ("host_to_wire", "host_rx", nic.wire_tx, out_frames),
    ):
        target = "host_tx" if source == "wire_rx" else "wire_tx"
        got = [frame.data for frame in sink.take_all() if not frame.err]
        lost = len(sent) - len(got)
        assert lost or got == sent, f"{name}: frames of {octets} octets changed"
        delays = (
            [
                out - into
                for into, out in zip(
                    nic.edges[source].firsts, nic.edges[target].firsts, strict=True
                )
            ]
            if not lost
            else []
        )
        row[name] = {
            "lost": lost,
            "delay_min": min(delays, default=None),
            "delay_max": max(delays, default=None),
        }
    row["counters"] = moved(before, await nic.counters())
    return row


async def flood(nic: Nic, suite: Suite, inner: int, count: int) -> dict[str, Any]:
    """Forged packets with the live SPI and numbers in the window; among them right commands."""
    await nic.start()
    peer = Peer(suite, nic.rng)
    await nic.stage(peer)
    before = await nic.counters()
    commands = 0
    octets = 0
    for index in range(count):
        if index % COMMAND_EVERY == COMMAND_EVERY - 1:
            nic.wire_rx.send(peer.protect(nf.asf(nf.PING)))
            commands += 1
        else:
            frame = peer.forged(inner, nic.rng.randint(1, 30))
            octets = len(frame)
            nic.wire_rx.send(frame)
    await nic.wire_rx.drained()
    arrived = nic.edges["wire_rx"].lasts[-1] - nic.edges["wire_rx"].firsts[0] + 1 + GAP
    done = await nic.quiet() - nic.edges["wire_rx"].firsts[0]
    answered = len(nic.answers(peer))
    seen = moved(before, await nic.counters())
    return {
        "suite": suite.name,
        "inner_octets": inner,
        "frame_octets": octets,
        "frames": count,
        "arrival_cycles": arrived,
        "cycles": max(arrived, done),
        "forged": count - commands,
        "refused_by_icv": seen.get("DROP_ICV", 0),
        "overload": seen.get("DROP_OVERLOAD", 0),
        "commands": commands,
        "answered": answered,
        "counters": seen,
    }


async def spacing(nic: Nic, suite: Suite, inner: int) -> dict[str, Any]:
    """How many cycles a packet takes: a burst without gaps, and when each of it is refused.

    Where the packets are done faster than they come, the cycles are those of the wire.
    """
    await nic.start(gap=0)
    peer = Peer(suite, nic.rng)
    await nic.stage(peer)
    before = await nic.registers.read("COUNTERS", Counter.DROP_ICV)
    frames = [peer.forged(inner, n + 1) for n in range(BURST)]
    for frame in frames:
        nic.wire_rx.send(frame)
    ended: list[int] = []
    known, idle = before, 0
    while idle < 3000:
        value = await nic.registers.read("COUNTERS", Counter.DROP_ICV)
        ended += [nic.bench.cycle] * (value - known)
        idle = 0 if value != known or nic.wire_rx.pending else idle + 1
        known = value
    overload = await nic.registers.read("COUNTERS", Counter.DROP_OVERLOAD)
    # The first few come while nothing is before them.
    steady = ended[2:]
    cycles = (steady[-1] - steady[0]) / (len(steady) - 1) if len(steady) > 2 else None
    return {
        "suite": suite.name,
        "inner_octets": inner,
        "frame_octets": len(frames[0]),
        "wire_cycles": len(frames[0]) + GAP,
        "refused": len(ended),
        "overload": overload,
        "cycles": cycles,
    }


async def latency(nic: Nic, suite: Suite) -> dict[str, Any]:
    """A Presence Ping to its answer, a reset to its pin: cycles from the command's last octet."""
    await nic.start()
    peer = Peer(suite, nic.rng)
    await nic.stage(peer)
    nic.wire_rx.send(peer.protect(nf.asf(nf.PING)))
    await nic.quiet()
    assert len(nic.answers(peer)) == 1
    last = nic.edges["wire_rx"].lasts[-1]
    row: dict[str, Any] = {
        "suite": suite.name,
        "answer_first": nic.edges["wire_tx"].firsts[-1] - last,
        "answer_last": nic.edges["wire_tx"].lasts[-1] - last,
    }
    nic.forget()
    nic.pins.edges.clear()
    # The NIC remembers the last command over its reset: a tag is never used twice.
    frame = peer.protect(nf.asf(nf.RESET, tag=1 + suite))
    nic.wire_rx.send(frame)
    await nic.quiet()
    edge = next((edge for edge in nic.pins.edges if edge.level), None)
    assert edge is not None, f"{suite.name}: a reset moved no pin"
    row["frame_octets"] = len(frame)
    row["pin"] = edge.cycle - nic.edges["wire_rx"].lasts[-1]
    return row


async def measured(nic: Nic, suite: Suite) -> dict[str, Any]:
    """All rows of a suite."""
    chosen = bench_parameters()
    peer = Peer(suite, nic.rng)
    low, high = peer.shortest(), peer.longest()
    last = max(1, chosen["parts"] - 1)
    return {
        "latency": await latency(nic, suite),
        "flood": [
            await flood(nic, suite, inner, max(COMMAND_EVERY, chosen["flood"] // shorter))
            for inner, shorter in {low: 1, EMPTY_UDP: 1, high: 2}.items()
        ],
        "spacing": [
            await spacing(nic, suite, low + (high - low) * part // last)
            for part in range(chosen["parts"])
        ],
    }


def write_report(report: dict[str, Any]) -> None:
    """Writes the file that the caller named."""
    Path(bench_parameters()["out"]).write_text(json.dumps(report))


@cocotb.test()
async def datapath(dut: Any) -> None:
    """All measurements; parameters as `verif.bench.datapath` gives them."""
    chosen = bench_parameters()
    nic = Nic(dut)
    await nic.start()
    suites = await nic.registers.read("SUITES")
    report: dict[str, Any] = {
        "passed": [await passed(nic, octets, chosen["frames"]) for octets in chosen["octets"]],
        "suites": {},
    }
    for suite in SUITES:
        if not suites >> suite & 1:
            report["suites"][suite.name] = None
            continue
        if chosen["suites"] and suite.name not in chosen["suites"]:
            continue
        try:
            report["suites"][suite.name] = await measured(nic, suite)
        except AssertionError as error:  # the other suites shall have their rows all the same
            report["suites"][suite.name] = {"error": str(error).partition("\n")[0]}
        cocotb.log.info("RESULT %s: done", suite.name)
    write_report(report)
