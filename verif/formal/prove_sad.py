"""The SAD keeps the bank that worked, whatever bus, packets, timers and stores do.

The wrapper drives every input of `SecurityAssociationDatabase` freely in each cycle: bus writes and
commands, packets that prove or commit, ticks, policy, the stores' busy lines, and the zeroise
button. Nothing is assumed of them.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Cat, Const, Cover, Module, Value

from hw.ipsec.sad import SecurityAssociationDatabase
from hw.ipsec.sad_stage import BankScalars
from spec.registers import BY_NAME
from spec.sa import BANKS, BankState, SadCommand
from spec.suites import SUITES, Suite
from verif.formal.harness import Inside, Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_SCALARS = tuple(
    f"STAGE_{name}"
    for name in (
        *("SPI_IN", "SPI_OUT", "PEER_IP", "SALT_IN", "SALT_OUT"),
        *(f"{way}_SEQ_{half}" for way in ("RX", "TX") for half in ("HI", "LO")),
    )
)
_READY_CYCLES = 125
"""Of the script until a bank is READY."""


def staged(*, until: int, suite: Suite = Suite.ESP_AES_GCM_16_128) -> dict[int, dict[str, int]]:
    """A script of the bus: cleared after power-on, an SA is staged and made ready; then nothing.

    The stores are never busy. At its end the bank A has been READY for a few cycles.
    """
    facts = SUITES[suite]
    words = [(name, 0, 0x1000 + n) for n, name in enumerate(_SCALARS)]
    words += [("STAGE_SUITE", 0, suite), ("STAGE_FLAGS", 0, 0)]
    words += [
        (name, n, n) for name in ("STAGE_KEY_IN", "STAGE_KEY_OUT")
        for n in range(facts.key_octets // 4)
    ]  # fmt: skip
    script: dict[int, dict[str, int]] = {
        40: {"command_stb": 1, "command": SadCommand.STAGE},
        **{
            52 + n: {
                "stage_stb": 1,
                "stage_address": BY_NAME[name].address + 4 * index,
                "stage_data": value,
            }
            for n, (name, index, value) in enumerate(words)
        },
        56 + len(words): {"command_stb": 1, "command": SadCommand.READY},
        until - 1: {},
    }
    return script


def _is(state: Value, *names: str) -> Value:
    among: Value = Const(0, 1)
    for name in names:
        among |= state == BankState[name]
    return among


class SadWrapper(Wrapper):
    """The SAD with free inputs, and what its states may be, which every proof here rests on."""

    def body(self, m: Module, platform: Any) -> None:
        self.dut = dut = SecurityAssociationDatabase(ack_ms=2, grace_ms=2, suites=tuple(SUITES))
        self.inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        self.states = [dut.states[n] for n in range(BANKS)]
        self.state(m, dut, self.inside)

    def state(self, m: Module, dut: Any, inside: Inside) -> None:
        """What is stated."""
        raise NotImplementedError

    def lawful(self, m: Module) -> None:
        """Which states there may be at once, and what the registers around them say then."""
        inside, states = self.inside, self.states
        for state in states:
            m.d.comb += Assert(state <= BankState.RETIRING)
        for one in range(BANKS):
            for other in range(one):
                pair = (states[one], states[other])
                for names in (("STAGED", "READY", "ACTIVE", "RETIRING"), ("PROVEN",)):
                    m.d.comb += Assert(~(_is(pair[0], *names) & _is(pair[1], *names)))
        # A bank retires because another is proven, which stays as long.
        for n, state in enumerate(states):
            m.d.comb += Assert(~_is(state, "RETIRING") | _is(states[1 - n], "PROVEN"))
        expanding = inside["expanding"]
        m.d.comb += Assert(~expanding | Cat(_is(state, "STAGED") for state in states).any())
        for n, state in enumerate(states):
            # A bank whose slots are to be cleared has no keys yet, or no more.
            m.d.comb += Assert(~inside[f"dirty_{n}"] | _is(state, "EMPTY", "STAGED"))
            m.d.comb += Assert(~inside[f"wipe_{n}"] | inside[f"dirty_{n}"])
        # A staged bank is expanded only once nothing is dirty, and nothing is cleared meanwhile.
        m.d.comb += Assert(~expanding | ~(inside["dirty_0"] | inside["dirty_1"]))
        m.d.comb += Assert(inside.state("work.work_state"))
        m.d.comb += Assert(inside.state("numbers.numbers_state"))


class InhibitWrapper(SadWrapper):
    """A proven bank is there until another is proven or all is zeroised, and so are its keys."""

    def state(self, m: Module, dut: Any, inside: Inside) -> None:
        self.lawful(m)
        clearing = inside.state("work.work_state", "zeroise", "zeroise started", "zeroising")
        for n in range(BANKS):
            with m.If(clearing & (inside["work.bank"] == n)):
                m.d.comb += Assert(inside[f"dirty_{n}"])
            with m.If(inside["expanding"] & ~clearing & ~inside.state("work.work_state", "idle")):
                m.d.comb += Assert((inside["work.bank"] != n) | _is(self.states[n], "STAGED"))

        started = past(m, Const(1, 1), "started")
        zeroised = past(m, dut.zeroise_all, "zeroised")
        for n, state in enumerate(self.states):
            other = self.states[1 - n]
            was_proven = past(m, _is(state, "PROVEN"), f"was_proven_{n}")
            other_was = past(m, other, f"other_was_{n}")
            proved = past(
                m, past(m, dut.prove_stb & (dut.prove_bank == 1 - n), f"proves_{n}"), f"proved_{n}"
            )
            with m.If(started & was_proven & ~zeroised):
                m.d.comb += Assert(
                    _is(state, "PROVEN") | (_is(state, "RETIRING") & _is(other, "PROVEN")),
                    "a proven bank is gone",
                )
                with m.If(~_is(state, "PROVEN")):
                    m.d.comb += Assert(proved & _is(other_was, "READY", "ACTIVE"))
            # Its keys: no word, no expansion and no clearing goes to its slots.
            keeps = _is(state, "PROVEN", "RETIRING", "ACTIVE", "READY")
            self._keys_rest(m, dut, n, keeps)
            # And what is kept of it here stays.
            held = Cat(Value.cast(dut.banks[n][field]) for field in BankScalars.members)
            kept = past(m, held, f"kept_{n}")
            with m.If(started & past(m, keeps, f"kept_keys_{n}") & keeps):
                m.d.comb += Assert(held == kept, "a bank in use has changed")
        proven = Cat(_is(state, "PROVEN") for state in self.states)
        # A bank is proven, and another is staged beside it.
        m.d.comb += [
            Cover(proven == 1),
            Cover((proven == 1) & _is(self.states[1], "STAGED")),
        ]

    @staticmethod
    def _keys_rest(m: Module, dut: Any, n: int, keeps: Value) -> None:
        orders = (
            (dut.key_write, 1),
            (dut.key_expand, 1),
            (dut.key_zeroise, 1),
            (dut.auth_write, 2),
            (dut.auth_expand, 2),
            (dut.auth_zeroise, 2),
        )
        for order, low in orders:
            with m.If(keeps):
                m.d.comb += Assert(
                    ~(order.stb & (order.slot[low:] == n)), "an order to the keys of a bank in use"
                )


PROOFS = [
    Proof(
        name="sad.inhibit",
        claim="A proven bank and its keys stay until another bank is proven or all is zeroised",
        wrapper=InhibitWrapper,
        method=Method.INDUCTION,
        depth=12,
        mutant=Mutant(
            "hw.ipsec.sad",
            'with m.If(among(n, "STAGED", "READY", "ACTIVE")):\n'
            "                    m.d.sync += list(zeroise(n))",
            'with m.If(~among(n, "EMPTY")):\n                    m.d.sync += list(zeroise(n))',
            "ABORT empties a proven bank too",
        ),
        scripted=lambda: InhibitWrapper(script=staged(until=_READY_CYCLES)),
        skip=_READY_CYCLES,
        cover_depth=_READY_CYCLES + 20,
        mutant_depth=_READY_CYCLES + 25,
        requirement="2",
    ),
]
