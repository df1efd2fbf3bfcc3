"""A queue of wide entries in one block RAM, word by word."""

from amaranth.hdl import Cat, Module, Mux, Shape, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["WordQueue"]

_WORD_BITS = 36


class WordQueue(wiring.Component):
    """First in, first out, for entries far wider than they are frequent.

    An entry is written in as many cycles as it has words of 36 bits, and read ahead in as many and
    two, into the register that `o` shows: at best an entry every `words` + 4 cycles. `i` is taken
    with its last word; its payload must be stable until then, as that of every stream.

    Parameters
    ----------
    shape : ShapeLike
        Of an entry, of two words at least.
    depth : int
        Places in the memory, a power of two, of which one is always free; one more entry may stand
        at `o`.

    Attributes
    ----------
    i, o : stream of `shape`
    room : Signal, out
        An entry that is offered now will be taken without waiting.
    """

    def __init__(self, shape: ShapeLike, *, depth: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 2, not {depth}")
        if Shape.cast(shape).width <= _WORD_BITS:
            raise ValueError(f"an entry must have more than {_WORD_BITS} bits, not {shape!r}")
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "room": Out(1, init=1),
            }
        )

    @property
    def depth(self) -> int:
        """Entries in the memory."""
        return self._depth

    @property
    def words(self) -> int:
        """Words of an entry."""
        return -(-len(self.i.payload.as_value()) // _WORD_BITS)

    def elaborate(self, platform):
        m = Module()
        words = self.words
        word_bits = (words - 1).bit_length()
        entry = range(self._depth)
        m.submodules.memory = memory = Memory(
            shape=_WORD_BITS,
            depth=self._depth << word_bits,
            init=[],
            # No word is read in the cycle in which it is written.
            attrs={"ram_style": "block", "no_rw_check": 1},
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        level = Signal(range(self._depth))
        pushed, popped = Signal(), Signal()
        m.d.sync += [
            level.eq(level + pushed - popped),
            self.room.eq(level < Mux(pushed, self._depth - 2, self._depth - 1)),
        ]

        w_word, w_entry = Signal(word_bits), Signal(entry)
        begun, is_last = Signal(), Signal()
        given = self.i.payload.as_value()
        m.d.comb += [
            write.addr.eq(Cat(w_word, w_entry)),
            write.data.eq(given.word_select(w_word, _WORD_BITS)),
            write.en.eq(self.i.valid & (self.room | begun)),
            pushed.eq(self.i.valid & is_last),
            self.i.ready.eq(pushed),
        ]
        with m.If(write.en):
            m.d.sync += [w_word.eq(w_word + 1), begun.eq(1), is_last.eq(w_word == words - 2)]
        with m.If(pushed):
            m.d.sync += [w_word.eq(0), w_entry.eq(w_entry + 1), begun.eq(0), is_last.eq(0)]

        # Words follow each other into the register: the first one goes on as the others come.
        r_word, r_entry = Signal(word_bits), Signal(entry)
        reads, fetched, comes = Signal(), Signal(), Signal()
        last_fetched, last_comes = Signal(), Signal()
        latch = Signal(_WORD_BITS, reset_less=True)
        word = Signal(_WORD_BITS, reset_less=True)  # as the output register of block RAM is
        shown = Signal(words * _WORD_BITS)
        m.d.comb += [
            read.addr.eq(Cat(r_word, r_entry)),
            self.o.payload.eq(shown[: len(given)]),
        ]
        m.d.sync += [
            fetched.eq(reads),
            comes.eq(fetched),
            last_fetched.eq(popped),
            last_comes.eq(last_fetched),
            latch.eq(read.data),
            word.eq(latch),
        ]
        waits = Signal()  # an entry is on its way, or at `o`
        with m.If(~waits & (level != 0)):
            m.d.sync += [reads.eq(1), waits.eq(1)]
        m.d.comb += popped.eq(reads & (r_word == words - 1))
        with m.If(reads):
            m.d.sync += r_word.eq(r_word + 1)
        with m.If(popped):
            m.d.sync += [r_word.eq(0), r_entry.eq(r_entry + 1), reads.eq(0)]
        with m.If(comes):
            m.d.sync += shown.eq(Cat(shown, word)[_WORD_BITS:])
        with m.If(last_comes):
            m.d.sync += self.o.valid.eq(1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [self.o.valid.eq(0), waits.eq(0)]
        return m
