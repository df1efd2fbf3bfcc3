"""The SAD keeps the bank that worked, whatever bus, packets, timers and stores do.

Two proofs, which meet at the orders that the SAD gives to a context.

- `sad.inhibit`: one `SadContext` alone. Every input is free in each cycle but for
  `orders_are_lawful`, which is what the SAD promises of its orders to a context.
- `sad.keys_rest`: the SAD with all that is around its contexts; it gives such orders alone, and no
  order to the key stores and no write to registers or records reaches a bank in use. Its wrapper
  drives every input of `SecurityAssociationDatabase` freely in each cycle: bus writes and commands,
  packets that prove or commit, ticks, policy, the stores' busy lines, and the zeroise button.
  Nothing is assumed of them.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Signal, Value

from hw.ipsec.bank_records import WALK
from hw.ipsec.layouts import BANK_WORDS, BankWord
from hw.ipsec.lifetimes import LIFETIME_WORDS
from hw.ipsec.sad import SecurityAssociationDatabase
from hw.ipsec.sad_context import SadContext
from hw.ipsec.sad_stage import BankSpis, RecordWrite
from spec.registers import BY_NAME
from spec.sa import ALL_BANKS, BANKS, CONTEXTS, BankState, SadCommand
from spec.suites import SUITES, Suite
from verif.formal.harness import Inside, Platform, Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_SCALARS = tuple(
    f"STAGE_{name}"
    for name in (
        *("SPI_IN", "SPI_OUT", "PEER_IP", "SALT_IN", "SALT_OUT"),
        *(f"{way}_SEQ_{half}" for way in ("RX", "TX") for half in ("HI", "LO")),
    )
)
_CLEARED_CYCLES = 74
_READY_CYCLES = 280
"""Of the script until all is cleared after power-on, and until a bank is READY."""
_IN_USE = ("READY", "ACTIVE", "PROVEN", "RETIRING")
_REST_CYCLES = 8
"""As `verif.formal.prove_front` assumes."""
_SETTLED = 6
"""Cycles of an expansion after which no write of the bus is on its way."""
_WORD_BITS = (BANK_WORDS - 1).bit_length()
_NUMBERS = (
    BankWord.TX_SEQ_HI,
    BankWord.TX_SEQ_LO,
    BankWord.AH_TX_SEQ_HI,
    BankWord.AH_TX_SEQ_LO,
)
_LOADING = ("OWN", "OTHER", "PEER", "OCTETS", "EDGE_HIGH", "EDGE_LOW", "LOADED")
_READING = ("SEND", "OWN", "OTHER", "PEER", "EDGE_HIGH", "EDGE_LOW")
"""States of the walker on its way with a complete bank, and in which it waits for a word."""
_CLEARING = ("zeroise", "zeroise given", "zeroise started", "zeroising")


def staged(*, until: int, suite: Suite = Suite.ESP_AES_GCM_16_128) -> dict[int, dict[str, int]]:
    """A script of the bus: cleared after power-on, an SA is staged and made ready; then nothing.

    The stores are never busy. At its end the first bank has been READY for a few cycles.
    """
    words = [(name, 0, 0x1000 + n) for n, name in enumerate(_SCALARS)]
    words += [("STAGE_SUITE", 0, suite), ("STAGE_FLAGS", 0, 0)]
    words += [
        (name, n, n)
        for name in ("STAGE_KEY_IN", "STAGE_KEY_OUT")
        for n in range(SUITES[suite].key_octets // 4)
    ]
    script: dict[int, dict[str, int]] = {
        _CLEARED_CYCLES: {"command_stb": 1, "command": SadCommand.STAGE},
        **{
            _CLEARED_CYCLES + 12 + n: {
                "stage_stb": 1,
                "stage_address": BY_NAME[name].address + 4 * index,
                "stage_data": value,
            }
            for n, (name, index, value) in enumerate(words)
        },
        _CLEARED_CYCLES + 16 + len(words): {"command_stb": 1, "command": SadCommand.READY},
        until - 1: {},
    }
    return script


def _is(state: Value, *names: str) -> Value:
    among: Value = Const(0, 1)
    for name in names:
        among |= state == BankState[name]
    return among


def orders_are_lawful(context: Any) -> list[tuple[Value, str]]:
    """What the SAD promises of its orders to a context, and what each is called."""
    states = [context.states[n] for n in range(BANKS)]
    orders = Cat(context.stage_stb, context.unstage_stb, context.abort_stb)
    staged = Cat(_is(state, "STAGED") for state in states)
    chosen = [context.free == n for n in range(BANKS)]
    may = Cat(
        here & (_is(state, "STAGED") | (_is(state, "EMPTY") & ~staged.any()))
        for here, state in zip(chosen, states, strict=True)
    ).any()
    pending = Cat(_is(state, "READY", "ACTIVE") for state in states).any()
    return [
        ((orders & (orders - 1))[: len(orders)] == 0, "two orders at once"),
        (~orders.any() | ~context.by_packet, "an order in a packet's cycle"),
        (~context.stage_stb | (may & ~pending), "a bank is staged in the place of another"),
        (~context.stage_stb | ~context.ready_stb, "a bank is staged and made ready"),
    ]


def lawful(m: Module, states: list[Any]) -> None:
    """Which states of a context there may be at once."""
    for state in states:
        m.d.comb += Assert(state <= BankState.RETIRING)
    for names in (("STAGED", "READY", "ACTIVE", "RETIRING"), ("PROVEN",)):
        m.d.comb += Assert(~(_is(states[0], *names) & _is(states[1], *names)))
    # A bank retires because another is proven, which stays as long.
    for n, state in enumerate(states):
        m.d.comb += Assert(
            ~_is(state, "RETIRING") | _is(states[1 - n], "PROVEN"), "one retires beside no other"
        )


class InhibitWrapper(Wrapper):
    """A proven bank is there until another is proven or all is zeroised."""

    def body(self, m: Module, platform: Any) -> None:
        dut = SadContext(ack_ms=2, grace_ms=2)
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        m.d.comb += [Assume(so, text) for so, text in orders_are_lawful(dut)]
        states = [dut.states[n] for n in range(BANKS)]
        lawful(m, states)

        started = past(m, Const(1, 1), "started")
        zeroised = past(m, dut.zeroise_all, "zeroised")
        restored = past(m, dut.restored, "was_restored")
        m.d.comb += Assert(dut.by_packet | ~(inside["proving"] | inside["committing"]))
        for n, state in enumerate(states):
            other = states[1 - n]
            was = past(m, state, f"was_{n}")
            other_was = past(m, other, f"other_was_{n}")
            proves = dut.prove_stb & (dut.prove_bank == 1 - n)
            proved = past(m, proves, f"proved_{n}", cycles=2)
            m.d.comb += Assert(
                past(m, proves, f"proves_{n}") == (inside["proving"] & (inside["proved"] == 1 - n))
            )
            with m.If(started & _is(was, "PROVEN") & ~zeroised):
                m.d.comb += Assert(
                    _is(state, "PROVEN") | (_is(state, "RETIRING") & _is(other, "PROVEN")),
                    "a proven bank is gone",
                )
                with m.If(~_is(state, "PROVEN")):
                    m.d.comb += Assert(proved & _is(other_was, "READY", "ACTIVE"))
            # Nothing but its own way leads to a state.
            with m.If(started & (state != was)):
                ways = {
                    "EMPTY": tuple(s.name for s in BankState if s.name != "EMPTY"),
                    "STAGED": ("EMPTY",),
                    "READY": ("STAGED",),
                    "ACTIVE": ("READY",),
                    "PROVEN": ("STAGED", "READY", "ACTIVE"),
                    "RETIRING": ("PROVEN",),
                }
                for name, before in ways.items():
                    with m.If(_is(state, name)):
                        m.d.comb += Assert(_is(was, *before), "a way that there is not")
            with m.If(started & _is(state, "PROVEN") & _is(was, "STAGED")):
                m.d.comb += Assert(
                    restored & _is(other_was, "EMPTY"),
                    "a bank is proven by nobody",
                )
            # Keys and record of a bank are cleared only after it was emptied, and then always.
            with m.If(dut.wipe[n]):
                m.d.comb += [
                    Assert(zeroised | ~_is(was, "EMPTY", "PROVEN"), "the wipe of a bank in use"),
                    Assert(_is(state, "EMPTY", "STAGED")),
                    Assert(_is(state, "EMPTY") | _is(was, "STAGED")),
                ]
            with m.If(started & _is(state, "EMPTY") & ~_is(was, "EMPTY")):
                m.d.comb += Assert(dut.wipe[n], "an emptied bank is not wiped")
            # What the path sees: a cycle behind, and of another epoch once it stopped.
            received = past(m, dut.receives[n], f"received_{n}")
            epoch = past(m, dut.epoch[n], f"epoch_{n}")
            with m.If(started):
                m.d.comb += [
                    Assert(~dut.receives[n] | ~_is(was, "EMPTY", "STAGED")),
                    Assert(dut.receives[n] | ~_is(was, "ACTIVE", "PROVEN", "RETIRING")),
                    Assert(
                        dut.epoch[n] == (epoch + (received & ~dut.receives[n]))[: len(epoch)],
                        "an epoch goes on, or does not",
                    ),
                ]
        proven = Cat(_is(state, "PROVEN") for state in states)
        # A bank is proven, and another is staged beside it; a bank retires beside another.
        m.d.comb += [
            Cover((proven == 1) & _is(states[1], "STAGED")),
            Cover((proven == 2) & _is(states[0], "RETIRING") & ~inside["runs"]),
            Cover((proven == 2) & _is(states[0], "EMPTY") & ~zeroised & dut.wipe[0]),
        ]


class KeysRestWrapper(Wrapper):
    """Around the contexts: lawful orders, and no order or write that reaches a bank in use.

    Parameters
    ----------
    contexts : int
        Contexts built in; fewer than all of them for covers and mutant alone, which are sooner
        done so.
    """

    def __init__(self, *, contexts: int = CONTEXTS, **more: Any) -> None:
        self._contexts = contexts
        super().__init__(**more)

    def body(self, m: Module, platform: Any) -> None:
        self.dut = dut = SecurityAssociationDatabase(
            ack_ms=2, grace_ms=2, suites=tuple(SUITES), contexts=self._contexts
        )
        # Of what is in the records, and in the counts, nothing is known.
        memories = Platform({ALL_BANKS * words: [] for words in (BANK_WORDS, LIFETIME_WORDS)})
        self.inside = inside = self.hold(m, dut, platform=memories)
        self.free_inputs(m, dut)
        contexts = [inside.components[f"context_{n}"] for n in range(self._contexts)]
        self.states = [dut.states[n] for n in range(self._contexts * BANKS)]
        self.keeps = [_is(state, *_IN_USE) for state in self.states]
        for context in contexts:
            lawful(m, [context.states[n] for n in range(BANKS)])
            m.d.comb += [Assert(so, text) for so, text in orders_are_lawful(context)]
        self._rest(m, dut, inside)
        # All that is needed for a proven bank comes to pass.
        m.d.comb += Cover(_is(self.states[0], "PROVEN") & dut.banks[0].receives)
        self._invariants(m, dut, inside)

    def _rest(self, m: Module, dut: Any, inside: Inside) -> None:
        """What is claimed, of each bank in use."""
        orders = (
            (dut.key_write, 1),
            (dut.key_expand, 1),
            (dut.key_zeroise, 1),
            (dut.auth_write, 2),
            (dut.auth_expand, 2),
            (dut.auth_zeroise, 2),
        )
        started = past(m, Const(1, 1), "started")
        enable, address = inside["records.$signature__en"], inside["records.$signature__addr"]
        takes = inside.flag("records.walk", WALK, "TAKE")
        is_number = Cat(address[:_WORD_BITS] == which for which in _NUMBERS).any()
        # Since the last write that is not of an outbound number.
        which = self.constant(m, range(self._contexts * BANKS), "which")
        rests = Signal(range(_REST_CYCLES + 1), name="rests")
        changes = enable & (address[_WORD_BITS:] == which) & ~(takes & is_number)
        with m.If(changes):
            m.d.sync += rests.eq(0)
        with m.Elif(rests != _REST_CYCLES):
            m.d.sync += rests.eq(rests + 1)
        self.rests, self.which = rests, which
        for n, keeps in enumerate(self.keeps):
            with m.If(keeps):
                for order, low in orders:
                    m.d.comb += Assert(
                        ~(order.stb & (order.slot[low:] == n)),
                        "an order to the keys of a bank in use",
                    )
                m.d.comb += Assert(
                    ~(enable & (address[_WORD_BITS:] == n)) | (takes & is_number),
                    "a write to the record of a bank in use",
                )
            # And what is kept of it in registers stays.
            held = Cat(Value.cast(dut.banks[n][field]) for field in BankSpis.members)
            kept = past(m, held, f"kept_{n}")
            with m.If(started & past(m, keeps, f"kept_keys_{n}") & keeps):
                m.d.comb += Assert(held == kept, "a bank in use has changed")
            # What the front relies upon: nor was its record written just before it receives.
            with m.If((dut.banks[n].receives | keeps) & (which == n)):
                m.d.comb += Assert(
                    (rests == _REST_CYCLES) & ~changes, "a record changes as its bank receives"
                )

    def _invariants(self, m: Module, dut: Any, inside: Inside) -> None:
        """What makes it inductive."""
        built = range(self._contexts * BANKS)
        states, keeps = self.states, self.keeps
        is_staged = Cat(_is(state, "STAGED") for state in states)
        expanding, has_record = inside["expanding"], inside["has_record"]
        m.d.comb += [
            Assert((is_staged & (is_staged - 1))[: len(states)] == 0, "two banks are staged"),
            Assert(~expanding | is_staged.any()),
            Assert(inside["is_chosen"] == (1 << inside["chosen"])[:CONTEXTS]),
        ]
        since = Signal(range(_SETTLED + 1), name="since")
        with m.If(~expanding):
            m.d.sync += since.eq(0)
        with m.Elif(since != _SETTLED):
            m.d.sync += since.eq(since + 1)
        settled = expanding & (since == _SETTLED)
        wipe = Cat(inside.components[f"context_{n}"].wipe for n in range(self._contexts))
        dirty, late_wipe = inside["dirty"], inside["late_wipe"]
        wiping = inside["records.wiping"]
        soiled = Signal(len(states), name="soiled")
        m.d.comb += soiled.eq(wipe | dirty | late_wipe | wiping)
        m.d.comb += [
            Assert((late_wipe & ~dirty) == 0),
            Assert(~wiping.any() | inside["wiping"]),
            *(Assert(signal[len(states) :] == 0) for signal in (dirty, late_wipe, wiping)),
            *(Assert(~soiled[n] | _is(states[n], "EMPTY", "STAGED")) for n in built),
            Assert(~expanding | ((soiled & is_staged) == 0)),
        ]
        # The key stores: clearing for a dirty bank, expanding for the staged one.
        clearing = inside.state("work.work_state", *_CLEARING)
        idle = inside.state("work.work_state", "idle", "cleaned")
        at_work = ~clearing & ~idle
        works_on = inside["work.bank"]
        m.d.comb += [
            Assert(inside.state("work.work_state")),
            Assert(~clearing | dirty.bit_select(works_on, 1)),
            Assert(
                ~(inside.state("work.work_state", "idle") & inside["work.unclean"])
                | dirty.bit_select(inside["work.dirty_bank"], 1)
            ),
            Assert(~(settled & ~has_record) | ~at_work),
            Assert(~has_record | ~expanding | (since == _SETTLED)),
            Assert(~(at_work & expanding & has_record) | is_staged.bit_select(works_on, 1)),
        ]
        # An order comes a cycle late, and is of the bank that is worked on, which is not in use.
        for way, low in (("key", 1), ("auth", 2)):
            for what, given in (("zeroise", "zeroise given"), ("expand", "expand given")):
                order = getattr(dut, f"{way}_{what}")
                m.d.comb += Assert(
                    ~order.stb
                    | (inside.state("work.work_state", given) & (order.slot[low:] == works_on))
                )
                with m.If(order.stb):
                    m.d.comb += [Assert(~keep | (works_on != n)) for n, keep in enumerate(keeps)]
        # So long is a complete record left alone before its bank is READY.
        which, rests = self.which, self.rests
        left = Signal(range(_REST_CYCLES + 1), name="left_alone")
        with m.If(~(expanding & has_record)):
            m.d.sync += left.eq(0)
        with m.Elif(left != _REST_CYCLES):
            m.d.sync += left.eq(left + 1)
        m.d.comb += [
            Assert((rests <= _REST_CYCLES) & (left <= _REST_CYCLES)),
            Assert(~is_staged.bit_select(which, 1) | (rests >= left)),
        ]
        with m.If(at_work & expanding & has_record):
            for step, cycles in enumerate((0, 3, 6, _REST_CYCLES)):
                with m.If(inside["work.step"] == step):
                    m.d.comb += Assert(left >= cycles)
            with m.If(inside.state("work.work_state", "done")):
                m.d.comb += Assert(left == _REST_CYCLES)
        # The walker: at work for the staged bank, or it will go by an emptied bank first.
        walk = inside["records.walk"]

        def walks(*names: str) -> Value:
            return inside.flag("records.walk", WALK, *names)

        busy = walks(*_LOADING)
        sending = inside["records.sending"]
        compared = inside["records.compared"] & walks("OTHER")
        item, at = inside["records.item"], inside["records.at"]
        ways = (inside[f"records.{name}"] for name in ("asks", "on_its_way", "came"))
        steps = Cat(*ways, compared)
        starts = expanding & ~has_record
        m.d.comb += [
            *(Assert((flags & (flags - 1))[: len(flags)] == 0) for flags in (walk, steps, sending)),
            Assert(walk.any()),
            Assert(steps.any() == walks(*_READING)),
            Assert(sending.any() == walks("SEND")),
            Assert(inside["records.puts"] == walks("TAKE", "WIPE")),
            Assert(~walks("OWN", "OTHER") | (at < 3)),
            Assert(~busy | starts | wipe.any() | late_wipe.any() | wiping.any()),
            Assert(~(starts & (item[1:] != 0)) | settled),
            *(
                Assert((flags & (flags - 1))[: len(flags)] == 0)
                for flags in (item, inside["records.wanted"])
            ),
            Assert(
                ~(starts & walks("OTHER", "PEER", "OCTETS", "LOADED", "EDGE_HIGH"))
                | settled
                | wiping.any()
                | late_wipe.any()
            ),
            Assert(~walks("WIPE") | wiping.bit_select(inside["records.bank"], 1)),
            Assert(
                ~(walks("IDLE") & inside["records.wipes"])
                | wiping.bit_select(inside["records.wiped"], 1)
            ),
        ]
        # Words on their way go to the staged bank, and there are none once it is expanded.
        takes, writes = inside["stage.takes"], RecordWrite(inside["stage.record_write"])
        waiting = RecordWrite(inside["records.waiting"])
        in_use = Cat(keeps)
        m.d.comb += [
            Assert(~settled | ~(takes | dut.key_write.stb | dut.auth_write.stb | writes.stb)),
            Assert(~(expanding & has_record) | ~waiting.stb),
            *(
                Assert(
                    ~write.stb | ~in_use.bit_select(write.bank[: len(built).bit_length() - 1], 1)
                )
                for write in (writes, waiting)
            ),
            *(Assert(~write.stb | (write.bank < len(built))) for write in (writes, waiting)),
        ]


PROOFS = [
    Proof(
        name="sad.inhibit",
        claim="A proven bank stays until another bank is proven or all is zeroised",
        wrapper=InhibitWrapper,
        method=Method.INDUCTION,
        depth=4,
        mutant=Mutant(
            "hw.ipsec.sad_context",
            'with m.If(among(n, "STAGED", "READY", "ACTIVE")):\n'
            "                    m.d.sync += list(zeroise(n))",
            'with m.If(~among(n, "EMPTY")):\n                    m.d.sync += list(zeroise(n))',
            "ABORT empties a proven bank too",
        ),
        cover_depth=30,
        requirement="2",
    ),
    Proof(
        name="sad.keys_rest",
        claim="A context gets lawful orders alone; nothing but its own outbound numbers is written "
        "to a bank in use, in registers, record or key stores",
        wrapper=KeysRestWrapper,
        method=Method.INDUCTION,
        depth=12,
        mutant=Mutant(
            "hw.ipsec.sad",
            "stage.open.eq(opened),",
            "stage.open.eq(1),",
            "what is written while no bank is staged goes to one in use",
        ),
        scripted=lambda: KeysRestWrapper(contexts=2, script=staged(until=_READY_CYCLES)),
        skip=_READY_CYCLES,
        cover_depth=_READY_CYCLES + 14,
        mutant_depth=_READY_CYCLES + 10,
        requirement="2",
    ),
]
