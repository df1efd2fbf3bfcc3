"""The counters of `spec.counters`, in a small memory that one adder goes round."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spec.counters import COUNTER_COUNT

__all__ = ["CounterFile"]

_PENDING_BITS = 3
_WORD = data.StructLayout({"word": 32, "seen": _PENDING_BITS})


class CounterFile(wiring.Component):
    """Counts strobes, 32 bits each, wrapping; none is lost.

    Strobes are noted per counter, and added to its word when the adder comes by, once in `round`
    cycles; in so many, one counter takes up to seven strobes. All counters are zero from `round`
    and four cycles after reset on, and read as zero before.

    Parameters
    ----------
    sources : int
        How many may strobe one counter in the same cycle.

    Attributes
    ----------
    count : array of Signal, in
        For each source a bit for each counter.
    index : Signal, in
    value : Signal, out
        The counter `index`, a cycle later.
    """

    def __init__(self, *, sources: int):
        if not 1 <= sources <= 4:
            raise ValueError(f"sources must be from 1 to 4, not {sources}")
        self._sources = sources
        self._depth = 1 << (COUNTER_COUNT - 1).bit_length()
        super().__init__(
            {
                "count": In(data.ArrayLayout(COUNTER_COUNT, sources)),
                "index": In(range(self._depth)),
                "value": Out(32),
            }
        )

    @property
    def sources(self) -> int:
        """How many may strobe one counter in the same cycle."""
        return self._sources

    @property
    def round(self) -> int:
        """Cycles from one visit of a counter to the next."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        # With what the adder had seen of `noted`.
        m.submodules.words = words = Memory(
            shape=_WORD, depth=self._depth, init=[], attrs={"ram_style": "distributed"}
        )
        write = words.write_port()
        read, look = words.read_port(domain="comb"), words.read_port(domain="comb")

        # Strobes are counted without end; the adder adds what has come since its last visit.
        noted = Signal(data.ArrayLayout(_PENDING_BITS, self._depth))
        for number in range(COUNTER_COUNT):
            strobes = Signal(self._sources, name=f"strobes_{number}")
            m.d.sync += [
                strobes.eq(Cat(source[number] for source in self.count)),
                noted[number].eq(noted[number] + sum(strobes)),
            ]

        # The visits follow each other, four cycles long.
        at = Signal(range(self._depth))
        ats = [Signal.like(at, name=f"at_{n}") for n in range(1, 5)]
        clearing = Signal(5, init=0b11111)
        m.d.sync += [
            at.eq(at + 1),
            Cat(ats).eq(Cat(at, *ats)),
            clearing[1:].eq(clearing),
        ]
        with m.If(at == self._depth - 1):
            m.d.sync += clearing[0].eq(0)

        part = Signal(data.ArrayLayout(_PENDING_BITS, self._depth // 4))
        either = Const(0, _PENDING_BITS)
        for n in range(self._depth // 4):
            m.d.sync += part[n].eq(Array(noted[4 * n + k] for k in range(4))[at[:2]])
            with m.If(at[2:] != n):
                m.d.sync += part[n].eq(0)
            either = either | part[n]
        latch, found = Signal(_WORD), Signal(_WORD)
        now, before, seen, more = (Signal(_PENDING_BITS) for _ in range(4))
        word, total = Signal(32), Signal(32)
        m.d.comb += read.addr.eq(at)
        m.d.sync += [
            latch.eq(read.data),
            found.eq(latch),
            now.eq(either),
            word.eq(found.word),
            more.eq(now - Mux(clearing[2], 0, found.seen)),
            total.eq(word + more),
            before.eq(now),
            seen.eq(before),
        ]
        with m.If(clearing[2]):
            m.d.sync += word.eq(0)
        m.d.comb += [
            write.en.eq(1),
            write.addr.eq(ats[3]),
            write.data.word.eq(total),
            write.data.seen.eq(seen),
            look.addr.eq(self.index),
        ]
        m.d.sync += self.value.eq(look.data.word)
        with m.If(clearing[4]):
            m.d.sync += self.value.eq(0)
        return m
