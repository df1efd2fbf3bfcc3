"""Bench of parser and classifier: generated frames of each kind, beside the model of both.

Crossed over when the wire pauses and when the host and the inbound path take nothing.
"""

from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import cocotb
from amaranth.lib import data

from hw.ipsec.layouts import BankView, RecordOffset, TakenKind, TakenMeta
from spec.counters import Counter
from spec.headers import AH, ESP, PROTOCOL_AH, PROTOCOL_ESP, UDP
from spec.sa import BankState
from verif.cocotb.drivers import PATTERNS, Bench, Driver, PacketSink, pattern
from verif.cocotb.nic_port import WireSource
from verif.cocotb.parser_unit import DEPTH, VerdictBits
from verif.fuzz import BusWrite, Frame
from verif.fuzz.generator import BUILT_IN, Generator
from verif.fuzz.run import apply
from verif.model import NicModel
from verif.model.classifier import (
    AnswerArp,
    AnswerNeighbour,
    Drop,
    Pass,
    TakeClear,
    TakeProtected,
    View,
    classify,
)
from verif.model.parser import Parsed, parse
from verif.model.sad import Bank

KINDS = {
    "right": ("good", "replayed", "old", "jump"),
    "ipsec": ("flipped", "unknown_spi", "wrong_protocol", "ah_length", "esp_length", "next_header"),
    "headers": ("mutated", "fragment", "ip_header", "options", "udp_length"),
    "clear": ("clear", "clear_secured", "ike", "arp"),
    "neighbours": ("neighbour", "neighbour", "not_neighbour", "arp", "others"),
    "others": ("vlans", "runt", "others"),
}
"""Recipes of the generator."""
BACKPRESSURE = (*PATTERNS, "stopped")
"""The last one takes nothing before the last frame has come."""
RUNS, MAX_RUNS, FRAMES = 3, 50, 24
"""SAs, and frames under each."""
SETTLE_CYCLES = 60
STROBES = tuple(name for name, _ in VerdictBits)
IV_OCTETS = 8
IV_IN_AH = 7
"""AH's length field from which on there is an IV before its ICV."""


@dataclass
class Seen:
    """What the classifier did with a frame."""

    counters: list[Counter] = field(default_factory=list)
    strobes: dict[str, int] = field(default_factory=dict)
    lost: dict[str, bool] = field(default_factory=dict)
    meta: Any = None
    record: dict[int, int] = field(default_factory=dict)


class Verdicts(Driver):
    """Keeps what was seen of each frame."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.frames: list[Seen] = []
        self._now = Seen()

    def sample(self) -> None:
        dut, now = self.bench.dut, self._now
        strobes = int(dut.verdict.value)
        record = int(dut.record.value)
        if record & 1:
            now.record[record >> 1 & 31] = record >> 6
        if not strobes:
            return
        bits = {name: strobes >> bit & 1 for bit, name in enumerate(STROBES)}
        for name in STROBES:
            now.strobes[name] = now.strobes.get(name, 0) + bits[name]
        if bits["take_commit"] or bits["asked_stb"]:
            now.meta = TakenMeta.from_bits(int(dut.meta.value))
        if bits["ended"]:
            count = int(dut.count.value)
            now.counters = [counter for counter in Counter if count >> counter & 1]
            now.lost = {way: bool(bits[f"{way}_lost"]) for way in ("host", "take")}
            self.frames.append(now)
            self._now = Seen()
        else:
            assert not int(dut.count.value), "a frame was counted before its end"


def bits_of(layout: data.StructLayout, fields: dict[str, int]) -> int:
    """A struct as a number."""
    return sum(int(value) << layout[name].offset for name, value in fields.items())


class Unit:
    """The device, driven as the model's SAD says."""

    def __init__(self, dut: Any, idle: str, backpressure: str) -> None:
        self.dut = dut
        self.bench = bench = Bench(dut)
        self.rng = rng = bench.rng
        self.wire = WireSource(bench, idle=pattern(idle, rng))
        self.host = PacketSink(bench, "host")
        self.taken = PacketSink(bench, "taken")
        self.backpressure = backpressure
        self.take(backpressure)
        self.verdicts = Verdicts(bench)
        self.model = NicModel()
        self.passed: list[bytes] = []
        self.bodies: list[tuple[int, bytes]] = []
        self.counts = dict.fromkeys(Counter, 0)
        self.asked = [0, 0]
        """Requests for the host's MAC address that were answered, by ARP and else."""

    def take(self, name: str) -> None:
        """Chooses when the sinks pause."""
        for sink in (self.host, self.taken):
            stopped = name == "stopped"
            sink.backpressure = repeat(True) if stopped else pattern(name, self.rng)

    async def configure(self, os_up: bool, clear_open: bool, asked_room: bool) -> View:
        """Shows the model's state to the device."""
        dut, model = self.dut, self.model
        banks = 0
        for number, bank in enumerate(model.sad.banks):
            facts = bank.facts
            fields = {
                "receives": model.sad.receiving(number),
                "protocol": 0 if facts is None else facts.protocol,
                "spi_in": bank.spi_in,
                "ah_spi_in": bank.word("STAGE_AH_SPI_IN"),
                "peered": bank.state not in (BankState.EMPTY, BankState.STAGED),
            }
            banks |= bits_of(BankView, fields) << number * BankView.size
            if fields["peered"]:
                await self.write_peer(number, bank)
        dut.banks.value = banks
        dut.host_mac.value = model.host_mac
        dut.host_ip.value = model.host_ip
        dut.host_ip6.value = model.host_ip6
        dut.host_up.value = os_up
        dut.clear_allowed.value = clear_open
        dut.asked_room.value = self.asked_room = asked_room
        dut.token.value = self.token = self.rng.randrange(64)
        return View(model.host_mac, model.host_ip, model.host_ip6, os_up, clear_open, model.sad)

    async def write_peer(self, number: int, bank: Bank) -> None:
        """What the records do once a bank is complete."""
        dut = self.dut
        octets = bank.peer_ip.to_bytes(16 if bank.v6 else 4, "big")
        for index, octet in enumerate(octets, start=16 - len(octets)):
            dut.peer_bank.value, dut.peer_v6.value = number, int(bank.v6)
            dut.peer_index.value, dut.peer_octet.value = index, octet
            dut.peer_stb.value = 1
            await self.bench.cycles()
        dut.peer_stb.value = 0

    def check(self, frame: Frame, view: View, seen: Seen) -> None:
        """One frame: counter, strobes, meta and record; keeps what must leave the buffers."""
        octets = frame.octets
        parsed = parse(octets) if len(octets) >= 14 else None
        decision = Pass() if parsed is None else classify(parsed, view)
        counter: Counter | None = None
        match decision:
            case Pass():
                counter = Counter.DROP_HOST_FULL if seen.lost["host"] else Counter.PASSED
            case Drop(reason):
                counter = reason
            case AnswerArp() | AnswerNeighbour():
                counter = Counter.DELIVERED if self.asked_room else Counter.DROP_OVERLOAD
            case TakeClear() | TakeProtected():
                counter = Counter.DROP_OVERLOAD if seen.lost["take"] else None
        if frame.err or parsed is None:
            counter = Counter.DROP_FRAME
        wanted = [Counter.FRAMES_IN, *([] if counter is None else [counter])]
        assert seen.counters == wanted, f"{seen.counters}, not {wanted}"
        for counted in wanted:
            self.counts[counted] += 1
        strobes = seen.strobes
        assert strobes["host_commit"] + strobes["host_discard"] == 1, strobes
        assert strobes["take_commit"] + strobes["take_discard"] == 1, strobes
        assert strobes["take_commit"] == (counter is None), strobes
        assert strobes["asked_stb"] == (counter is Counter.DELIVERED), strobes
        if not isinstance(decision, Pass):
            assert strobes["host_commit"] == 0, "one of ours was let out"
        if counter is not Counter.DROP_FRAME:
            assert strobes["host_commit"] == isinstance(decision, Pass), strobes
        if self.backpressure == "none":
            assert not any(seen.lost.values()), "lost without need"
        if counter is Counter.PASSED:
            self.passed.append(octets)
        if counter is None:
            assert parsed is not None
            self.check_taken(parsed, decision, seen)
        if counter is Counter.DELIVERED:
            assert parsed is not None
            assert int(seen.meta.tags) == len(parsed.tags) // 4
            asked_v6 = isinstance(decision, AnswerNeighbour)
            assert strobes["asked_v6"] == asked_v6, strobes
            if asked_v6:
                assert parsed.ip is not None
                assert strobes["asked_to_all"] == (parsed.ip.source == 0), strobes
                mac, ip = parsed.ethernet["source"], parsed.ip.source.to_bytes(16, "big")
            else:
                assert parsed.arp is not None
                mac, ip = parsed.arp["sender_mac"], parsed.arp["sender_ip"].to_bytes(4, "big")
            self.check_record(seen, mac.to_bytes(6, "big"), parsed.tags, ip)
            self.asked[asked_v6] += 1

    def check_taken(self, parsed: Parsed, decision: Any, seen: Seen) -> None:
        """`TakenMeta`, record and body of a packet that was taken."""
        ip, sender = parsed.ip, decision.sender
        assert ip is not None
        in_udp = sender.port is not None
        before = UDP.octets if in_udp else 0
        wanted: dict[str, int] = {
            "token": self.token,
            "v6": ip.v6,
            "tags": len(parsed.tags) // 4,
            "header_octets": ip.header_octets + before,
        }
        if isinstance(decision, TakeClear):
            wanted |= {"octets": len(decision.message)}
            kind = TakenKind.CLEAR
        else:
            is_ah = decision.protocol == PROTOCOL_AH
            kind = TakenKind.AH if is_ah else TakenKind.ESP
            wanted |= {"octets": len(decision.packet), "spi": decision.spi, "encapsulated": in_udp}
            wanted["bank"] = self.model.sad.find(decision.protocol, decision.spi) or 0
            wanted |= ah_fields(parsed) if is_ah else esp_fields(parsed, before, "")
        assert seen.meta.kind == kind, seen.meta
        for name, value in wanted.items():
            assert int(getattr(seen.meta, name)) == value, f"{name} of {seen.meta}, not {value:#x}"
        port = None if sender.port is None else sender.port.to_bytes(2, "big")
        source = sender.ip.to_bytes(16 if ip.v6 else 4, "big")
        self.check_record(seen, sender.mac.to_bytes(6, "big"), parsed.tags, source, port)
        # Of options that are not acceptable, and do not matter, nobody asks what AH would cover.
        covered = bytes(ip.header_octets) if ip.fault else ip.covered
        skip = ip.header_octets if ip.fault else 0
        self.bodies.append((skip, covered + parsed.frame[parsed.l4 :]))

    @staticmethod
    def check_record(
        seen: Seen, mac: bytes, tags: bytes, ip: bytes, port: bytes | None = None
    ) -> None:
        """What an answer needs."""
        parts: list[tuple[int, bytes]] = [
            (RecordOffset.MAC, mac),
            (RecordOffset.TAGS, tags),
            (RecordOffset.IP, ip),
            (RecordOffset.PORT, port or b""),
        ]
        for at, part in parts:
            got = bytes(seen.record.get(at + n, 0) for n in range(len(part)))
            assert got == part, f"record from {at} on is {got.hex()}, not {part.hex()}"

    async def run(self, frames: list[Frame], view: View) -> None:
        """Sends frames, and checks each."""
        self.take(self.backpressure)
        for frame in frames:
            self.wire.send(frame.octets, err=frame.err)
        await self.wire.drained()
        await self.bench.cycles(SETTLE_CYCLES)
        seen = self.verdicts.frames
        assert len(seen) == len(frames), f"{len(seen)} verdicts over {len(frames)} frames"
        for frame, one in zip(frames, seen, strict=True):
            try:
                self.check(frame, view, one)
            except AssertionError as error:
                raise AssertionError(f"{frame.what}: {error}: {frame.octets.hex()}") from error
        seen.clear()
        if self.backpressure == "stopped":
            self.take("none")
            await self.bench.cycles(DEPTH + SETTLE_CYCLES)

    async def finish(self) -> None:
        """All that was released has left, and nothing else."""
        for _ in range(200):
            await self.bench.cycles(50)
            if self.host.count >= len(self.passed) and self.taken.count >= len(self.bodies):
                break
        # Frames that broke off were counted as well, so there may be more.
        self.take("none")
        await self.bench.cycles(DEPTH + SETTLE_CYCLES)
        came = [frame.data for frame in self.host.take_all() if not frame.err]
        assert came == self.passed, f"{len(came)} frames to the host, not {len(self.passed)}"
        bodies = self.taken.take_all()
        assert len(bodies) == len(self.bodies), f"{len(bodies)} bodies, not {len(self.bodies)}"
        for body, (skip, wanted) in zip(bodies, self.bodies, strict=True):
            assert not body.err
            assert body.data[skip:] == wanted[skip:], f"{body.data.hex()}, not {wanted.hex()}"
        await self.bench.finish()


def numbers(parsed: Parsed, fields: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Big-endian fields behind the IP headers by start and octets, where the frame has them."""
    found = {name: parsed.number_at(*place) for name, place in fields.items()}
    return {name: value for name, value in found.items() if value is not None}


def iv_at(parsed: Parsed, start: int) -> dict[str, int]:
    """The IV, its first octet lowest."""
    octets = parsed.l4_octets(start, IV_OCTETS)
    return {} if octets is None else {"iv": int.from_bytes(octets, "little")}


def esp_fields(parsed: Parsed, start: int, prefix: str) -> dict[str, int]:
    """Of an ESP header."""
    places = {f"{prefix}spi": (start, 4), f"{prefix}sequence": (start + 4, 4)}
    return numbers(parsed, places) | iv_at(parsed, start + ESP.octets)


def ah_fields(parsed: Parsed) -> dict[str, int]:
    """Of an AH header, and of ESP in it."""
    found = numbers(parsed, {"ah_next": (0, 1), "ah_words": (1, 1), "sequence": (8, 4)})
    found["ah_reserved"] = int(parsed.number_at(2, 2) != 0)
    octets = 4 * (found["ah_words"] + 2)
    has_iv = octets >= AH.octets + IV_OCTETS
    if found["ah_next"] == PROTOCOL_ESP and octets > AH.octets:
        inside = esp_fields(parsed, octets, "esp_")
        if found["ah_words"] < IV_IN_AH:
            return found | inside
        inside.pop("iv", None)
        found |= inside
    return found | (iv_at(parsed, AH.octets) if has_iv else {})


@cocotb.test()
@cocotb.parametrize(kind=list(KINDS), idle=list(PATTERNS), backpressure=list(BACKPRESSURE))
async def as_the_model_says(dut: Any, kind: str, idle: str, backpressure: str) -> None:
    """Frames of a kind, under one SA and two."""
    unit = Unit(dut, idle, backpressure)
    rng = unit.rng
    await unit.bench.reset()
    generator = Generator(rng.getrandbits(32), BUILT_IN)
    run = 0
    while run < RUNS or (kind == "neighbours" and not all(unit.asked) and run < MAX_RUNS):
        for action in generator.begin():
            apply(unit.model, action)
        if run and generator.sas:
            unit.model.sad.prove(0)
            for action in generator.load(rng.choice(BUILT_IN)):
                assert isinstance(action, BusWrite)
                apply(unit.model, action)
        view = await unit.configure(
            os_up=run > 0 and rng.random() < 0.3,
            clear_open=rng.random() < 0.5,
            asked_room=run == 0 or rng.random() < 0.7,
        )
        names = [rng.choice(KINDS[kind]) for _ in range(FRAMES)]
        await unit.run([generator.made(getattr(generator, name)) for name in names], view)
        run += 1
    await unit.finish()
    assert kind != "neighbours" or all(unit.asked), unit.asked
    ended = ", ".join(f"{c.name} {n}" for c, n in unit.counts.items() if n and c)
    taken = len(unit.bodies)
    text = "RESULT parser %s idle=%s backpressure=%s: %d frames, %d taken: %s"
    cocotb.log.info(text, kind, idle, backpressure, unit.counts[Counter.FRAMES_IN], taken, ended)
