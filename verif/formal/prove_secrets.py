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
from hw.ipsec.sad import SecurityAssociationDatabase
from hw.nic import Nic
from spec.registers import BY_NAME
from spec.sa import BANKS
from spec.suites import built_in
from verif.formal.harness import Platform, Wrapper, same_state
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_SECRETS = (
    *("STAGE_KEY_IN", "STAGE_KEY_OUT", "STAGE_SALT_IN", "STAGE_SALT_OUT"),
    *("STAGE_AUTH_IN", "STAGE_AUTH_OUT", "STAGE_AH_AUTH_IN", "STAGE_AH_AUTH_OUT"),
)
_SLOTS = 2
_CLEARED_CYCLES = 36
"""From power-on until the store has cleared them."""
_OTHERS = (
    *("prove_stb", "prove_bank", "commit_stb", "commit_spi", "commit_under"),
    *("tx_stb", "tx_bank", "keys_busy", "auth_busy"),
)
"""What the rest of the NIC tells the SAD."""


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
        return m


class BusWrapper(Wrapper):
    """Two host sides that differ in what is written to keys and salts."""

    def body(self, m: Module, platform: Any) -> None:
        sides = [_HostSide(), _HostSide()]
        insides = [
            self.hold(m, side, name, platform=Platform())
            for side, name in zip(sides, ("one", "other"), strict=True)
        ]
        bus = sides[0].nic.bus
        shared = [("addr", bus.addr), ("w_stb", bus.w_stb), ("r_stb", bus.r_stb)]
        address = self.free(m, len(bus.addr), "addr")
        word = self.free(m, 32, "w_data")
        other_word = self.free(m, 32, "other_w_data")
        values = {name: self.free(m, len(signal), name) for name, signal in shared[1:]}
        packet = {
            name: self.free(m, len(Value.cast(getattr(sides[0].sad, name))), name)
            for name in _OTHERS
        }
        pins = {name: self.free(m, 1, name) for name in (*sides[0].pins, "tick_ms")}
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
        salts = [name for name, _ in one.registers() if name.startswith("sad.stage.banks")]
        ways = (
            *("control.bank.data", "sad.stage.word", "sad.stage.late", "sad.stage.high"),
            *("control.alive", "control.stop", "sad.is_large"),
            *("sad.stage.key_write", "sad.stage.auth_write"),
        )
        same_state(m, one, other, but=(*ways, *salts))
        for port in ("key_write", "auth_write"):
            orders = [getattr(side.sad, port) for side in sides]
            for field in ("stb", "slot", "index"):
                m.d.comb += Assert(orders[0][field] == orders[1][field])
        for n in range(BANKS):
            pair = [side.sad.banks[n] for side in sides]
            for field, _ in pair[0].shape():
                if not field.startswith("salt_"):
                    m.d.comb += Assert(Value.cast(pair[0][field]) == Value.cast(pair[1][field]))
        m.d.comb += Cover(
            (sides[0].sad.key_write.data != sides[1].sad.key_write.data)
            & sides[0].sad.key_write.stb
            & (bus.r_data != 0)
        )


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
                *("expansion.substituted", "expansion.temp"),
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
            "r_data = Mux(is_counter, self.counter_value, 0)",
            "r_data = Mux(is_counter, self.counter_value, self.data)",
            "the last word written is read from where there is no register",
        ),
        cover_depth=30,
        mutant_depth=12,
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
            "self.busy.eq(self.zeroising | expansion.busy),",
            "self.busy.eq(self.zeroising | expansion.busy | self.h.word[0]),",
            "the store's busy line shows a bit of the word it reads",
        ),
        scripted=lambda: StoreWrapper(script={_CLEARED_CYCLES - 1: {}}),
        skip=_CLEARED_CYCLES,
        cover_depth=_CLEARED_CYCLES + 12,
        mutant_depth=_CLEARED_CYCLES + 10,
        requirement="4",
        memories="",
    ),
]
