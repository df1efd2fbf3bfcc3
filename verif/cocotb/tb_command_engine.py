"""Bench of the command engine: messages in, replies, commits and pin commands out."""

import struct
from itertools import repeat
from typing import Any

import cocotb
from amaranth.hdl import Shape

from hw.ipsec.layouts import BootRequest, MessageMeta, Reply
from hw.mgmt.power import PowerAction
from spec.counters import Counter
from spec.rmcp import AsfType, OemType
from spec.sa import ALL_BANKS, BANKS, BankState
from verif.cocotb.drivers import (
    ERR,
    FIRST,
    LAST,
    PATTERNS,
    Bench,
    Driver,
    PacketSource,
    StreamSink,
    StreamSource,
    pattern,
)
from verif.model.engine import CommandEngine as Model
from verif.model.host import HostMonitor
from verif.model.pins import PinSequencer
from verif.model.sad import Sad

ENTERPRISE = 32473
SPIS = (0x11112222, 0x33334444)
EPOCHS = (2, 5)
ADMINISTRATORS = (0, 3, 4, 5)
"""Banks of an administrator's SA."""
KIND_PROTECTED, KIND_CLEAR = 0, 1
MESSAGES = 300
REMEMBERED: dict[tuple[int | None, int], int] = {}
"""Tags of commands by context and sequence. They outlive a reset: one test's are the next one's."""
ZEROISE_CYCLES = 1 << 15
"""As docs/rmcp.md says."""
PORTS = ("secured", "clear", "clear, everything")
CYCLES_MAX = 30
"""From the last octet of a message to its verdict."""


class Strobes(Driver):
    """Notes counters, power commands, commits, when to zeroise, and what is on the tap."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.counters: list[Counter] = []
        self.power: list[int] = []
        self.commits: list[tuple[int, int]] = []
        self.zeroised: list[int] = []
        self.boots: list[bytes | None] = []
        self.tapped: list[int] = []

    def sample(self) -> None:
        dut = self.bench.dut
        strobes = int(dut.count.value)
        self.counters += [counter for counter in Counter if strobes >> counter & 1]
        if dut.tap__valid.value:
            self.tapped.append(int(dut.tap__payload.value))
        if dut.power_stb.value:
            self.power.append(int(dut.power_action.value))
        if dut.boot_stb.value:
            value = BootRequest.from_bits(int(dut.boot.value))
            octets = struct.pack(
                ">IBHHH",
                *(value.enterprise, value.special_command, value.special_parameter),
                *(value.boot_options, value.oem_parameters),
            )
            self.boots.append(octets if dut.boot_valid.value else None)
        if dut.zeroise_stb.value:
            self.zeroised.append(self.bench.cycle)
        if dut.commit_stb.value:
            self.commits.append((int(dut.commit_spi.value), int(dut.asked_bank.value)))


class NotedPins(PinSequencer):
    """The model's pins, which also note what they were asked for."""

    def __init__(self, host: HostMonitor) -> None:
        super().__init__(host)
        self.asked: list[int] = []

    def command(self, kind: AsfType) -> None:
        self.asked.append(kind)


def on_tap(message: bytes) -> list[int]:
    """A message as the tap shows it; one without an octet is a single beat with an error."""
    if not message:
        return [FIRST | LAST | ERR]
    beats = list(message)
    beats[0] |= FIRST
    beats[-1] |= LAST
    return beats


def field(layout: Any, value: int, name: str) -> int:
    """A field of a structure, from its bits."""
    part = layout.members[name]
    start = layout[name].offset
    return value >> start & (1 << Shape.cast(part).width) - 1


def pack(layout: Any, **values: int) -> int:
    """A structure's bits."""
    return sum(value << layout[name].offset for name, value in values.items())


def sad_model() -> Sad:
    """All contexts as the constant inputs of the device tell them: B newer, not yet proven."""
    sad = Sad(1000, 1000)
    for number, bank in enumerate(sad.banks):
        bank.state = (BankState.PROVEN, BankState.READY)[number % BANKS]
        bank.staged["STAGE_SPI_IN", 0] = SPIS[number % BANKS]
        bank.staged["STAGE_FLAGS", 0] = 8 * (number in ADMINISTRATORS)
    return sad


def message_of(rng: Any) -> bytes:
    """A message: mostly well formed, each field wrong now and then."""
    kinds = [*((4542, kind) for kind in AsfType), *((ENTERPRISE, kind) for kind in OemType)]
    enterprise, kind = rng.choice(kinds)
    if rng.random() < 0.4:  # with data an administrator's, or in any case
        booting = ((4542, AsfType.RESET), (4542, AsfType.POWER_CYCLE))
        enterprise, kind = rng.choice((*booting, (ENTERPRISE, OemType.ZEROISE)))
    if rng.random() < 0.1:
        kind = rng.randrange(256)
    if rng.random() < 0.05:
        enterprise = rng.getrandbits(32)
    data = rng.randbytes(rng.choice((0, 0, 0, 4, 4, 11, 11, 12)))
    if enterprise == 4542 and kind in (0x10, 0x11, 0x13) and rng.random() < 0.9:
        data = rng.randbytes(rng.choice((0, 11)))
    if enterprise == ENTERPRISE and kind == OemType.ZEROISE and rng.random() < 0.8:
        data = b""
    if enterprise == ENTERPRISE and kind == OemType.COMMIT and rng.random() < 0.8:
        data = rng.choice((*SPIS, 0x55)).to_bytes(4, "big")
    length = len(data) if rng.random() < 0.9 else rng.randrange(256)
    version = 6 if rng.random() < 0.95 else rng.randrange(256)
    cls = 6 if rng.random() < 0.9 else rng.randrange(256)
    sequence = rng.choice((0, 1, 7, 254, 255))
    tag = rng.choice((0, 1, 255, rng.randrange(256)))
    message = bytes([version, 0, sequence, cls]) + enterprise.to_bytes(4, "big")
    message += bytes([kind, tag, 0, length]) + data
    if rng.random() < 0.1:
        message = message[: rng.randrange(len(message) + 1)]
    if rng.random() < 0.05:
        return b""
    return message + rng.randbytes(rng.choice((0, 0, 0, 3)))


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def agrees_with_model(dut: Any, idle: str, backpressure: str) -> None:
    """The same messages to engine and model; all that they do is the same."""
    bench = Bench(dut)
    rng = bench.rng
    metas = StreamSource(bench, "meta", idle=pattern(idle, rng))
    source = PacketSource(bench, "i", idle=pattern(idle, rng))
    sink = StreamSink(bench, "reply", backpressure=pattern(backpressure, rng))
    strobes = Strobes(bench)
    dut.enterprise.value = ENTERPRISE
    dut.bank_states.value = int(BankState.PROVEN) | int(BankState.READY) << 3
    dut.bank_spis.value = SPIS[0] | SPIS[1] << 32
    host = HostMonitor()
    host.set_pins(None, True, None)
    dut.host_sleep.value, dut.host_off.value, dut.watchdog_expired.value = 1, 0, 0
    dut.commit_result.value, dut.commit_bank.value = 0, 0
    await bench.reset()
    pins = NotedPins(host)
    sad = sad_model()
    dut.host_state.value = int(host.state(sad.proven))
    model = Model(sad, host, pins)
    model._tags = REMEMBERED
    seen: set[Counter] = set()
    zeroised = asked = 0
    lengths: set[int] = set()
    boots: list[bytes | None] = []
    for _ in range(MESSAGES):
        message = message_of(rng)
        clear, bank = rng.random() < 0.3, rng.randrange(ALL_BANKS)
        model.clear_everything = rng.random() < 0.5
        dut.clear_everything.value = model.clear_everything
        way = {"token": 6, "encapsulated": 1, "v6": 1, "tags": 2, "inner_v6": 1}
        way = {name: rng.getrandbits(bits) for name, bits in way.items()}
        spi = int.from_bytes(message[12:16].ljust(4, b"\0"), "big")
        result, answering = sad_model().commit(spi, bank)
        dut.commit_result.value, dut.commit_bank.value = int(result), answering
        dut.commit_epoch.value = EPOCHS[answering % BANKS]
        sad.banks = sad_model().banks
        verdict, answers = model.handle(message, None if clear else bank)
        if len(pins.asked) > asked and pins.asked[-1] != AsfType.POWER_DOWN:
            boots.append(model.boot)
        asked = len(pins.asked)
        zeroised += model.zeroises
        model.zeroises = False
        values = {"protected": not clear, "bank": bank, "octets": len(message)}
        values["administrator"] = not clear and bank in ADMINISTRATORS
        metas.put(pack(MessageMeta, **values, epoch=EPOCHS[bank % BANKS], **way))
        source.send(message + rng.randbytes(rng.randrange(1, 5)))
        await metas.drained()
        await source.drained()
        await bench.cycles(CYCLES_MAX)
        assert strobes.counters == [verdict], f"{message.hex()}: {strobes.counters}, {verdict!r}"
        strobes.counters.clear()
        assert strobes.tapped == on_tap(message), message.hex()
        strobes.tapped.clear()
        lengths.add(len(message))
        seen.add(verdict)
        for answer in answers:
            reply = await sink.receive()
            payload = field(Reply, reply, "payload").to_bytes(28, "little")
            octets = field(Reply, reply, "octets")
            assert payload[:octets] == answer.message, f"{message.hex()}: {payload.hex()}"
            assert not any(payload[octets:])
            kind = KIND_CLEAR if clear else KIND_PROTECTED
            assert field(Reply, reply, "kind") == kind
            assert {name: field(Reply, reply, name) for name in way} == way
            if not clear:
                assert field(Reply, reply, "bank") == answer.bank
                assert field(Reply, reply, "epoch") == EPOCHS[answer.bank % BANKS]
        await bench.cycles(4)
        assert not sink.count
        assert len(strobes.zeroised) == zeroised
    actions = [PowerAction(kind & 3) for kind in pins.asked]
    assert [PowerAction(value) for value in strobes.power] == actions
    assert actions
    assert strobes.boots == boots
    assert min(lengths) == 0
    assert None in boots
    assert set(boots) > {None}
    assert {
        Counter.DELIVERED,
        Counter.DROP_RMCP_UNKNOWN,
        Counter.DROP_RMCP_MALFORMED,
        Counter.DROP_RMCP_ROLE,
    } <= seen
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(port=list(PORTS))
async def only_four_types_move_a_pin(dut: Any, port: str) -> None:
    """Every type from 00h to FFh, under both enterprise numbers and a third one."""
    bench = Bench(dut)
    metas, source = StreamSource(bench, "meta"), PacketSource(bench, "i")
    sink, strobes = StreamSink(bench, "reply"), Strobes(bench)
    dut.enterprise.value = ENTERPRISE
    for name in (
        "bank_states",
        "bank_spis",
        "commit_epoch",
        "host_state",
        "host_off",
        "host_sleep",
    ):
        getattr(dut, name).value = 0
    dut.watchdog_expired.value = dut.commit_result.value = dut.commit_bank.value = 0
    dut.clear_everything.value = port == "clear, everything"
    await bench.reset()
    moved, answered = [], []
    for enterprise in (4542, ENTERPRISE, 9):
        for kind in range(256):
            message = bytes([6, 0, 255, 6]) + enterprise.to_bytes(4, "big")
            message += bytes([kind, kind, 0, 0])
            # No message has had the numbers before.
            message = message[:2] + bytes([PORTS.index(port)]) + message[3:]
            protected = int(port == "secured")
            metas.put(pack(MessageMeta, protected=protected, octets=len(message)))
            source.send(message)
            await source.drained()
            await bench.cycles(CYCLES_MAX)
            if sink.take_all():
                answered.append((enterprise, kind))
            if strobes.power:
                moved.append((enterprise, kind, strobes.power[:]))
                strobes.power.clear()
    assert not strobes.zeroised  # an administrator's
    four = [(4542, 0x10, [0]), (4542, 0x11, [1]), (4542, 0x12, [2]), (4542, 0x13, [3])]
    assert moved == (four if port != "clear" else [])
    power = [(4542, kind) for kind in range(0x10, 0x14)]
    discovery = [(4542, 0x80), (4542, 0x81)]
    assert (
        answered
        == {
            "secured": [*power, *discovery, (4542, 0x82), (ENTERPRISE, 0x81)],
            "clear": discovery,
            "clear, everything": [*power, *discovery, (4542, 0x82)],
        }[port]
    )
    await bench.finish()


@cocotb.test()
async def zeroise_waits_for_its_answer(dut: Any) -> None:
    """As long as it may, and in no other message's place; without an answer it is done all the
    same, and the answer is still offered as it was."""
    bench = Bench(dut)
    metas, source = StreamSource(bench, "meta"), PacketSource(bench, "i")
    strobes = Strobes(bench)
    sink = StreamSink(bench, "reply")
    dut.enterprise.value = ENTERPRISE
    for name in ("bank_states", "bank_spis", "commit_epoch", "host_state", "host_off"):
        getattr(dut, name).value = 0
    dut.host_sleep.value = dut.watchdog_expired.value = 0
    dut.commit_result.value = dut.commit_bank.value = dut.clear_everything.value = 0
    await bench.reset()

    async def asks(kind: int, *, administrator: bool, sequence: int = 3) -> int:
        message = bytes([6, 0, sequence, 6]) + ENTERPRISE.to_bytes(4, "big")
        message += bytes([kind, 9, 0, 0])
        values = {"protected": 1, "administrator": int(administrator), "octets": len(message)}
        metas.put(pack(MessageMeta, **values))
        source.send(message)
        await source.drained()
        return bench.cycle

    await asks(0x82, administrator=False)
    await bench.cycles(CYCLES_MAX)
    assert strobes.counters == [Counter.DROP_RMCP_ROLE]
    assert not sink.count
    for sequence in (3, 255):
        strobes.zeroised.clear()
        began = await asks(0x82, administrator=True, sequence=sequence)
        await bench.cycles(CYCLES_MAX)
        payloads = [field(Reply, value, "payload") for value in sink.take_all()]
        answers = [payload.to_bytes(28, "little") for payload in payloads]
        whole = bytes([6, 0, 255, 6]) + ENTERPRISE.to_bytes(4, "big") + bytes([0x42, 9, 0, 0])
        acks = [bytes([6, 0, 3, 0x86])] if sequence == 3 else []
        assert [answer.rstrip(b"\0") for answer in answers] == [*acks, whole.rstrip(b"\0")]
        (at,) = strobes.zeroised
        assert at - began < CYCLES_MAX
    strobes.zeroised.clear()
    sink.backpressure = repeat(True)
    began = await asks(0x82, administrator=True)
    await bench.cycles(ZEROISE_CYCLES + 20)
    (at,) = strobes.zeroised
    assert ZEROISE_CYCLES <= at - began <= ZEROISE_CYCLES + 12
    assert not sink.count
    sink.backpressure = repeat(False)
    await bench.cycles(CYCLES_MAX)
    assert len(sink.take_all()) == 2
    await asks(0x81, administrator=True)
    await bench.cycles(CYCLES_MAX)
    assert len(strobes.zeroised) == 1
    assert len(sink.take_all()) == 2
    await bench.finish()
