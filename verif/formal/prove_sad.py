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

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Value

from hw.ipsec.sad_context import SadContext
from spec.sa import BANKS, BankState
from verif.formal.harness import Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]


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
                    "PROVEN": ("READY", "ACTIVE"),
                    "RETIRING": ("PROVEN",),
                }
                for name, before in ways.items():
                    with m.If(_is(state, name)):
                        m.d.comb += Assert(_is(was, *before), "a way that there is not")
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
]
