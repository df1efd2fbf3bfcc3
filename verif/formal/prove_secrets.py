"""No bus read depends on a key: two copies with other keys, told apart by nobody.

Two proofs that meet at the ports between the SAD and the key stores.

- `secrets.bus`: registers, SAD, monitor and pins, joined by the NIC's own glue, twice. Bus writes
  are the same but for the data of those to keys and salts; packets, pins and the stores' busy lines
  are the same. Every bus read is the same, in every cycle.
- `secrets.store`: the AES key store twice, with other words, other answers of the AES core and
  other contents of its memory. What goes back to the SAD is the same in every cycle, and so is when
  it asks the AES core for what.

That what packets do is the same is assumed: whether a packet is authentic depends on its key, and
the counters tell that to the host, as they must.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Assert, Cat, Const, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import wiring

from hw.crypto.key_store import KeyStore
from hw.host.control import ControlRegisters
from hw.host.monitor import HostMonitor
from hw.host.power_pins import PowerPins
from hw.host.registers import BusSignature
from hw.ipsec.bank_records import WALK
from hw.ipsec.layouts import BANK_WORDS, BankWord, OutboundSa
from hw.ipsec.sad import SecurityAssociationDatabase
from hw.ipsec.sad_stage import RecordWrite
from hw.nic import Nic
from spec.registers import BY_NAME
from spec.sa import ALL_BANKS, SadCommand
from spec.suites import built_in
from verif.formal.harness import Inside, Platform, Wrapper, past, same_state
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_SECRETS = (
    *("STAGE_KEY_IN", "STAGE_KEY_OUT", "STAGE_SALT_IN", "STAGE_SALT_OUT"),
    *("STAGE_AUTH_IN", "STAGE_AUTH_OUT", "STAGE_AH_AUTH_IN", "STAGE_AH_AUTH_OUT"),
)
_STAGED_CYCLES = 160
"""From power-on until the SAD has cleared all, and staged a bank."""
_SALTS = (BankWord.SALT_IN, BankWord.SALT_OUT)
_WORD_BITS = (BANK_WORDS - 1).bit_length()
_CHECKING = ("OWN", "OTHER")
_READING = ("SEND", *_CHECKING, "PEER", "EDGE_HIGH", "EDGE_LOW")
"""States of the walker of the records in which it waits for a word."""
_SLOTS = 2
_CLEARED_CYCLES = 40
"""From power-on until the store has cleared them."""
_OTHERS = (
    *("prove_stb", "prove_bank", "asked_bank", "commit_stb", "commit_spi"),
    *("prove_octets", "sent_stb", "sent_bank", "sent_octets"),
    *("read_stb", "read_address", "send_stb", "send_bank", "send_takes"),
    *("keys_busy", "auth_busy"),
)
"""What the rest of the NIC tells the SAD."""


def _is_salt(place: Value) -> Value:
    """A word of a record, or the place of one in the memory."""
    among: Value = Const(0, 1)
    for which in _SALTS:
        among |= place[:_WORD_BITS] == which
    return among


def _is_secret(address: Value) -> Value:
    """An octet address of a register that holds a part of a key."""
    among: Value = Const(0, 1)
    for name in _SECRETS:
        register = BY_NAME[name]
        for index in range(register.count):
            among |= address[2:] == (register.address + 4 * index) >> 2
    return among


class _HostSide(Elaboratable):
    """What the host's bus reaches, with the glue of the NIC."""

    def __init__(self) -> None:
        # What `Nic._host_side` takes of a NIC.
        self.nic: Any = SimpleNamespace(
            bus=BusSignature().flip().create(path=("bus",)),
            pin_reset=Signal(name="pin_reset"),
            pin_power=Signal(name="pin_power"),
        )
        suites = built_in(hmac_sha_1=True)
        self.control = ControlRegisters(suites=suites, ack_ms=2, grace_ms=2, replay_window=64)
        self.sad = SecurityAssociationDatabase(ack_ms=2, grace_ms=2, suites=suites)
        self.monitor, self.power = HostMonitor(), PowerPins()
        names = ("host_reset", "host_sleep", "host_off", "zeroise")
        self.pins = {name: Signal(name=name) for name in names}
        self.tick_ms = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.control = self.control
        m.submodules.sad = self.sad
        m.submodules.monitor = self.monitor
        m.submodules.power = self.power
        parts = (self.control, self.sad, self.monitor, self.power)
        Nic._host_side(self.nic, m, *parts, self.pins, self.tick_ms)
        Nic._bus_to_sad(m, self.control, self.sad)
        return m


def _staged() -> dict[int, dict[str, int]]:
    """A script of the bus: once all is cleared after power-on, a bank is staged."""
    command = {"addr": BY_NAME["SA_COMMAND"].address, "w_data": SadCommand.STAGE, "w_stb": 1}
    return {_STAGED_CYCLES - 14: command, _STAGED_CYCLES - 1: {}}


class BusWrapper(Wrapper):
    """Two host sides that differ in what is written to keys and salts."""

    def body(self, m: Module, platform: Any) -> None:
        sides = [_HostSide(), _HostSide()]
        memories = [Platform(), Platform()]
        insides = [
            self.hold(m, side, name, platform=memory)
            for side, name, memory in zip(sides, ("one", "other"), memories, strict=True)
        ]
        bus = sides[0].nic.bus
        shared = [("addr", bus.addr), ("w_stb", bus.w_stb), ("r_stb", bus.r_stb)]
        address = self.given(m, len(bus.addr), "addr")
        word = self.given(m, 32, "w_data")
        other_word = self.free(m, 32, "other_w_data")
        values = {name: self.given(m, len(signal), name) for name, signal in shared[1:]}
        packet = {
            name: self.given(m, len(Value.cast(getattr(sides[0].sad, name))), name)
            for name in _OTHERS
        }
        pins = {name: self.given(m, 1, name) for name in (*sides[0].pins, "tick_ms")}
        counter = self.free(m, 32, "counter_value")
        power = self.free(m, 3, "power_order")
        for side, data in zip(
            sides, (word, Mux(_is_secret(address), other_word, word)), strict=True
        ):
            own = side.nic.bus
            m.d.comb += [
                own.addr.eq(address),
                own.w_data.eq(data),
                own.w_stb.eq(values["w_stb"]),
                own.r_stb.eq(values["r_stb"]),
                side.tick_ms.eq(pins["tick_ms"]),
                side.control.counter_value.eq(counter),
                Cat(side.power.stb, Value.cast(side.power.action)).eq(power),
                *(signal.eq(pins[name]) for name, signal in side.pins.items()),
                *(Value.cast(getattr(side.sad, name)).eq(packet[name]) for name in _OTHERS),
            ]
        m.d.comb += Assert(bus.r_data == sides[1].nic.bus.r_data, "the bus tells a key")
        one, other = insides
        # Where the word of a key is on its way, and where it lies; all else is equal.
        m.d.comb += [
            Assert((one[name] == other[name]) | _is_secret(one[at]))
            for name, at in (
                ("control.bank.data", "control.bank.address"),
                ("sad.stage.word", "sad.stage.address"),
            )
        ]
        records = self._records(m, insides, memories)
        ways = (
            *("control.bank.data", "sad.stage.word", "sad.stage.late", "sad.stage.high"),
            *("control.alive", "control.begins", "control.stop", "control.taken"),
            *("control.saves", "control.given", "control.is_below", "control.is_above"),
            *("sad.is_large",),
            *("sad.stage.key_write", "sad.stage.auth_write", "sad.stage.limit_write"),
        )
        limits = [inside.components["sad.stage"].limit_write for inside in insides]
        m.d.comb += [
            *(Assert(limits[0][name] == limits[1][name]) for name in ("stb", "bank", "index")),
            Assert(~limits[0].stb | (limits[0].data == limits[1].data)),
        ]
        same_state(m, one, other, but=(*ways, *records))
        for port in ("key_write", "auth_write"):
            orders = [getattr(side.sad, port) for side in sides]
            for field in ("stb", "slot", "index"):
                m.d.comb += Assert(orders[0][field] == orders[1][field])
        for n in range(ALL_BANKS):
            pair = [Value.cast(side.sad.banks[n]) for side in sides]
            m.d.comb += Assert(pair[0] == pair[1])
        words = [side.sad.key_write for side in sides]
        differs = words[0].stb & (words[0].data != words[1].data)
        # Behind the word of a key the next address is read.
        m.d.comb += Cover(past(m, differs, "differed") & (bus.r_data != 0))

    def _records(self, m: Module, insides: list[Inside], memories: list[Platform]) -> list[str]:
        """Words of records are equal but for salts; returns the registers that say so here."""
        one = insides[0]
        place = "sad.records."

        def pair(name: str, layout: Any = None) -> list[Any]:
            both = [inside[f"{place}{name}"] for inside in insides]
            return both if layout is None else [layout(value) for value in both]

        rows = [
            next(rows for rows in memory.rows if len(rows) == ALL_BANKS * BANK_WORDS)
            for memory in memories
        ]
        for n, (row, twin) in enumerate(zip(*rows, strict=True)):
            if n % BANK_WORDS not in _SALTS:
                m.d.comb += Assert(row == twin, "a record's word differs")
        # On their way there.
        writes = [RecordWrite(inside["sad.stage.record_write"]) for inside in insides]
        for a, b in (writes, pair("waiting", RecordWrite)):
            m.d.comb += [
                *(Assert(a[name] == b[name]) for name in ("stb", "bank", "word")),
                Assert((a.data == b.data) | ~a.stb | _is_salt(a.word)),
            ]
        # And back: what is read, by where it was read.
        address = one[f"{place}read__addr"]
        at_1 = past(m, address, "read_at")
        at_2 = past(m, at_1, "word_at")
        at_3 = past(m, at_2, "compared_at")
        word, data = pair("word"), pair("latch")
        compares = ("is_spi", "is_ah_spi", "protocol")
        m.d.comb += [
            Assert((data[0] == data[1]) | _is_salt(at_1)),
            Assert((word[0] == word[1]) | _is_salt(at_2)),
            *(Assert((a == b) | _is_salt(at_3)) for a, b in map(pair, compares)),
        ]
        sends = pair("sends", OutboundSa)
        for name, _ in OutboundSa:
            if name != "salt_out":
                m.d.comb += Assert(Value.cast(sends[0][name]) == Value.cast(sends[1][name]))
        # The walker: what it waits for is what it asked for, and no salt where it uses it.
        walk = one[f"{place}walk"]

        def state(*names: str) -> Value:
            return one.flag(f"{place}walk", WALK, *names)

        compared, sending = one[f"{place}compared"] & state("OTHER"), one[f"{place}sending"]
        start = one["sad.expanding"] & ~one["sad.has_record"]
        item, wanted_item = one[f"{place}item"], one[f"{place}wanted"]
        at, wanted, bank = (one[place + name] for name in ("at", "place", "bank"))
        steps = Cat(*(one[place + name] for name in ("asks", "on_its_way", "came")), compared)
        m.d.comb += [
            *(Assert((flags & (flags - 1))[: len(flags)] == 0) for flags in (walk, steps, sending)),
            Assert(walk.any()),
            *(Assert((flags & (flags - 1))[: len(flags)] == 0) for flags in (item, wanted_item)),
            Assert(~state("IDLE") | ~start | ((wanted_item & ~item) == 0)),
            Assert(steps.any() == state(*_READING)),
            Assert(sending.any() == state("SEND")),
            Assert(one[f"{place}puts"] == state("TAKE", "WIPE")),
            Assert(~compared | ~_is_salt(at_3)),
            Assert(~one[f"{place}on_its_way"] | (at_1 == Cat(wanted, bank))),
            Assert(~one[f"{place}came"] | (at_2 == Cat(wanted, bank))),
            Assert(~state(*_CHECKING) | (at < 3)),
            Assert(
                ~state("PEER", "OCTETS")
                | (wanted == BankWord.PEER_IP + at)
                | (wanted == BankWord.PEER_IP6 + at)
            ),
            Assert(~state("EDGE_HIGH", "EDGE_LOW") | (wanted[3:] == BankWord.RX_SEQ_HI >> 3)),
            Assert(~state("EDGE_HIGH") | ~wanted[0]),
        ]
        order = (
            *("SUITE", "FLAGS", "SPI_OUT", "AH_SPI_OUT", "SALT_OUT"),
            *("TX_SEQ_LO", "TX_SEQ_HI", "AH_TX_SEQ_LO", "AH_TX_SEQ_HI"),
        )
        for n, name in enumerate(order):
            m.d.comb += Assert(~sending[n] | (wanted == getattr(BankWord, name)))
        for n, name in enumerate(("SUITE", "SPI_IN", "AH_SPI_IN")):
            with m.If(state(*_CHECKING) & ~compared & (at == n)):
                m.d.comb += Assert(wanted == getattr(BankWord, name))
        salts = [
            name
            for name, register in one.registers()
            for n in range(len(rows[0]))
            if n % BANK_WORDS in _SALTS and register is rows[0][n]
        ]
        ways = ("word", "latch", *compares, "waiting", "sends")
        return [*salts, "sad.stage.record_write", *(place + name for name in ways)]


class StoreWrapper(Wrapper):
    """Two AES key stores that hold other keys."""

    def body(self, m: Module, platform: Any) -> None:
        one, other = KeyStore(slots=_SLOTS), KeyStore(slots=_SLOTS)
        insides = [self.hold(m, dut, name) for dut, name in ((one, "one"), (other, "other"))]
        self.free_inputs(m, one)
        for (path, member, port), (_, _, twin_port) in zip(
            one.signature.flatten(one), other.signature.flatten(other), strict=True
        ):
            value, twin = Value.cast(port), Value.cast(twin_port)
            if member.flow is wiring.In:
                if path == ("write",):
                    m.d.comb += twin.eq(value)
                    m.d.comb += other.write.data.eq(self.free(m, 32, "other_word"))
                elif path == ("result", "payload"):
                    m.d.comb += twin.eq(self.free(m, len(twin), "other_result"))
                else:
                    m.d.comb += twin.eq(value)
            elif path == ("request", "payload"):
                for field in ("slot", "aes256", "tag"):
                    m.d.comb += Assert(one.request.payload[field] == other.request.payload[field])
            elif path[-1] != "word":
                m.d.comb += Assert(value == twin, f"{path} tells a key")
        same_state(
            m,
            *insides,
            but=(
                *("aes_latch", "aes_word", "side_latch", "side_word"),
                *("expansion.substituted", "expansion.chosen", "expansion.temp"),
            ),
        )
        m.d.comb += Cover(
            (insides[0]["expansion.temp"] != insides[1]["expansion.temp"])
            & one.busy
            & ~one.zeroising
        )


PROOFS = [
    Proof(
        name="secrets.bus",
        claim="No bus read depends on a word written to a key or a salt",
        wrapper=BusWrapper,
        method=Method.INDUCTION,
        depth=3,
        mutant=Mutant(
            "hw.host.registers",
            "r_data = Const(0, 32)",
            "r_data = Value.cast(self.data)",
            "the last word written shows in what is read",
        ),
        scripted=lambda: BusWrapper(script=_staged()),
        skip=_STAGED_CYCLES,
        cover_depth=_STAGED_CYCLES + 12,
        mutant_depth=_STAGED_CYCLES + 10,
        requirement="4",
    ),
    Proof(
        name="secrets.store",
        claim="Nothing but words and blocks that leave the AES key store depends on a key, in "
        "value or in time",
        wrapper=StoreWrapper,
        method=Method.INDUCTION,
        depth=3,
        mutant=Mutant(
            "hw.crypto.key_store",
            "self.done.eq(expansion.done & ~abort),",
            "self.done.eq((expansion.done & ~abort) | self.aes.word[0]),",
            "the store's done line shows a bit of the word it reads",
        ),
        scripted=lambda: StoreWrapper(script={_CLEARED_CYCLES - 1: {}}),
        skip=_CLEARED_CYCLES,
        cover_depth=_CLEARED_CYCLES + 12,
        mutant_depth=_CLEARED_CYCLES + 10,
        requirement="4",
        memories="",
    ),
]
