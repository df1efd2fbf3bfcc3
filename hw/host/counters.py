"""The counters of `spec.counters`, in a small memory that one adder goes round."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spec.counters import COUNTER_COUNT

__all__ = ["CounterFile"]

_PENDING_BITS = 3


class CounterFile(wiring.Component):
    """Counts strobes, 32 bits each, wrapping; none is lost.

    Strobes are noted per counter, and added to its word when the adder comes by, once in `round`
    cycles; in so many, one counter takes up to seven strobes. All counters are zero from `round`
    cycles after reset on, and read as zero before.

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
        m.submodules.words = words = Memory(shape=32, depth=self._depth, init=[])
        write = words.write_port()
        read, look = words.read_port(domain="comb"), words.read_port(domain="comb")

        at = Signal(range(self._depth))
        clearing = Signal(init=1)
        m.d.sync += at.eq(at + 1)
        with m.If(at == self._depth - 1):
            m.d.sync += clearing.eq(0)

        # Noted in one cycle, summed up in the next.
        pending = data.ArrayLayout(_PENDING_BITS, self._depth)
        noted = Signal(pending)
        here = Signal(COUNTER_COUNT, init=1)  # where `at` is
        m.d.sync += here.eq(
            Cat(at == (number - 1) % self._depth for number in range(COUNTER_COUNT))
        )
        for number in range(COUNTER_COUNT):
            strobes = Signal(self._sources, name=f"strobes_{number}")
            m.d.sync += strobes.eq(Cat(source[number] for source in self.count))
            kept = Mux(here[number], 0, noted[number])
            m.d.sync += noted[number].eq(kept + sum(strobes))

        word = Signal(32)
        more = Signal(_PENDING_BITS)
        was_at = Signal.like(at)
        was_clearing = Signal(init=1)
        m.d.comb += read.addr.eq(at)
        m.d.sync += [
            word.eq(Mux(clearing, 0, read.data)),
            more.eq(noted[at]),
            was_at.eq(at),
            was_clearing.eq(clearing),
        ]
        m.d.comb += [
            write.addr.eq(was_at),
            write.data.eq(word + more),
            write.en.eq(was_clearing | (more != 0)),
            look.addr.eq(self.index),
        ]
        m.d.sync += self.value.eq(Mux(clearing, 0, look.data))
        return m
