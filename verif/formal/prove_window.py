"""The anti-replay windows against what RFC 4303 3.4.3 and appendix A2 say, in numbers and sets.

Updates are free: any number, whether it was asked for before or not. What is assumed is that of two
strobes one is up at most, that a window is of one kind (ESN or not), and how near to each other
loads are: as the SAD makes them, two in a row at most and then none for a while.
"""

from __future__ import annotations

from typing import Any, ClassVar

from amaranth.hdl import (
    Array,
    Assert,
    Assume,
    Cat,
    Const,
    Cover,
    Module,
    Mux,
    Signal,
    Value,
)

from hw.ipsec.window import ReplayWindow
from verif.formal.harness import Inside, Platform, Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_PAIR_CYCLES = 12
"""Between the loads of the two windows of a bank, at least (SequenceNumbers takes 13)."""


class WindowWrapper(Wrapper):
    """Windows with free operations and loads, and what holds of every one's machine."""

    parameters: ClassVar[dict[str, int]]
    rest_cycles: int
    """Between one pair of loads and the next."""

    def body(self, m: Module, platform: Any) -> None:
        self.dut = dut = ReplayWindow(**self.parameters)
        self.memories = Platform()
        self.inside = inside = self.hold(m, dut, platform=self.memories)
        self.free_inputs(m, dut, "load_full")
        self.half = len(dut.sequence)
        strobes = (dut.check_stb, dut.recheck_stb, dut.update_stb)
        for n, one in enumerate(strobes):
            m.d.comb += [Assume(~(one & other)) for other in strobes[:n]]
        self.taken = Signal(3)
        m.d.comb += self.taken.eq(Mux(dut.busy, 0, Cat(strobes)))
        # Loads, as the SAD makes them.
        since, second = Signal(range(self.rest_cycles + 1), init=self.rest_cycles), Signal()
        with m.If(since != self.rest_cycles):
            m.d.sync += since.eq(since + 1)
        with m.If(dut.load_stb):
            m.d.sync += [since.eq(0), second.eq(since != self.rest_cycles)]
            m.d.comb += Assume(
                (since == self.rest_cycles) | (~second & (since >= _PAIR_CYCLES)),
            )
        self._machine(m, inside)
        self.state(m)

    @staticmethod
    def _machine(m: Module, inside: Inside) -> None:
        """What the states of its machine have to do with each other."""
        steps, free, loads = inside["steps"], inside["free"], inside["loads"]
        pending = inside["pending"]
        finds = inside.state("operation_state", "FIND")
        idles = inside.state("operation_state", "IDLE")
        one_hot = sum((steps == 1 << n) for n in range(len(steps)))
        m.d.comb += [
            Assert(inside.state("operation_state")),
            Assert(Mux(finds, one_hot == 1, steps == 0)),
            Assert(~free | idles),
            Assert(~idles | (free == ~loads)),
            Assert(inside.state("operation_state", "LOAD") | (loads == pending.any())),
            Assert(~pending.any() | loads),
        ]

    def state(self, m: Module) -> None:
        """What is stated."""
        raise NotImplementedError

    def bit(self, window: Value, number: Value) -> Value:
        """What the ring of a window says of a number."""
        blocks = self.memories.rows[1]
        block = len(blocks[0])
        ring = Array(
            Cat(*blocks[n * self.dut.blocks : (n + 1) * self.dut.blocks])
            for n in range(self.dut.windows)
        )
        size = (block * self.dut.blocks - 1).bit_length()
        return Cat(ring[window]).bit_select(number[:size], 1)


class SetWrapper(WindowWrapper):
    """One small window, all numbers: it is the set of the numbers that it was told.

    `seen` has a bit for each number there is, set by updates and cleared by loads alone; `edge` is
    the greatest of them. From these alone follows what a check, a recheck and an update do.
    """

    parameters: ClassVar = {"windows": 1, "window": 4, "half_bits": 3, "block": 2}
    rest_cycles = 24

    def state(self, m: Module) -> None:
        dut, half, width = self.dut, self.half, self.dut.window
        numbers = 1 << 2 * half
        esn = self.constant(m, 1, "is_esn")
        m.d.comb += Assume(dut.esn == esn)
        edge = Signal(2 * half)
        seen = Signal(numbers)

        def meaning(low: Value) -> tuple[Value, Value, Value]:
            """The number meant by its low half, and whether it is old, or seen."""
            span = Signal(range(-width, 3 * numbers), name="span")
            first = edge - width + 1
            number = Signal(range(-width, 3 * numbers), name="number")
            m.d.comb += [
                span.eq((low - first)[:half]),
                number.eq(Mux(esn, first + span, low)),
            ]
            old = (number < first) | (number < 0) | (number >= numbers)
            known = ~old & (number <= edge)
            had = known & (seen.bit_select(number[: 2 * half], 1) | (number == 0))
            return number, old, had

        # The last operation taken, and whether a load has come between.
        low, given, asks_given = Signal(half), Signal(half), Signal()
        clean = Signal()
        with m.If(self.taken.any()):
            m.d.sync += [
                low.eq(dut.sequence),
                given.eq(dut.given_high),
                asks_given.eq(~dut.check_stb),
                clean.eq(~dut.load_stb),
            ]
        with m.Elif(dut.load_stb):
            m.d.sync += clean.eq(0)
        number, old, had = meaning(low)
        wrong = asks_given & (number[half : 2 * half] != given)
        with m.If(dut.done & clean):
            m.d.comb += [
                Assert(dut.high == Mux(esn, number[half : 2 * half], 0)),
                Assert(dut.old == (old | wrong)),
                Assert(dut.duplicate == (had & ~old & ~wrong)),
            ]
        # What updates and loads do to the set.
        told, told_old, _ = meaning(dut.sequence)
        with m.If(self.taken[2]):
            with m.If(~told_old & (told[half : 2 * half] == dut.given_high)):
                m.d.sync += seen.eq(seen | (1 << told[: 2 * half]))
                with m.If(told > edge):
                    m.d.sync += edge.eq(told)
        with m.If(dut.load_stb):
            loaded = dut.load_edge & Mux(esn, numbers - 1, (1 << half) - 1)
            m.d.sync += [edge.eq(loaded), seen.eq((1 << loaded)[:numbers])]

        m.d.comb += Assert((seen >> edge)[1:] == 0, "the edge is the greatest number seen")
        # What makes it inductive: at rest the memories say the same.
        row = self.memories.rows[0][0]
        block = len(self.memories.rows[1][0])
        with m.If(~dut.busy):
            m.d.comb += Assert(edge == Mux(esn, row, row[:half]))
            for back in range(width):
                place = (edge - back)[: 2 * half]
                with m.If(edge >= back):
                    m.d.comb += Assert(self.bit(Const(0, 1), place) == seen.bit_select(place, 1))
            for ahead in range(1, block):
                place = (edge + ahead)[: 2 * half]
                with m.If((edge + ahead) // block == edge // block):
                    m.d.comb += Assert(~self.bit(Const(0, 1), place))
        m.d.comb += [
            Cover(dut.done & clean & esn & dut.duplicate & (number > width)),
            Cover(dut.done & clean & esn & dut.old & (number > 0) & ~wrong),
            Cover(dut.done & clean & esn & ~dut.old & ~dut.duplicate & (number[half:] == 2)),
        ]


PROOFS = [
    Proof(
        name="window.set",
        claim="A window of 4 over all numbers of 6 bits is the set of the numbers it was told",
        wrapper=SetWrapper,
        method=Method.INDUCTION,
        depth=32,
        mutant=Mutant(
            "hw.ipsec.window",
            "is_near.eq(~behind[within:].any()),",
            "is_near.eq(~behind[within + 1 :].any()),",
            "the window is twice as wide as it is told",
        ),
        cover_depth=22,
        mutant_depth=22,
        requirement="5",
    ),
]
