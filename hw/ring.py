"""A short queue in distributed memory, with few gates around it."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Ring"]


class Ring(wiring.Component):
    """First in, first out; who writes sees to it that there is room.

    An entry is at `o` in the cycle after it was written, if none is before it. At most `depth` - 1
    entries may be in it.

    Parameters
    ----------
    shape : ShapeLike
        Of an entry.
    depth : int
        A power of two of at least 8.
    slack : int
        Entries that must still fit for `room`.

    Attributes
    ----------
    stb, entry : Signal, in
        Written in each cycle with `stb`.
    room : Signal, out
        Up: so many entries as `slack` may be written even if it falls, one less if one was written
        in the cycle before.
    o : stream of `shape`
    """

    def __init__(self, shape: ShapeLike, *, depth: int, slack: int = 4):
        if depth < 8 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 8, not {depth}")
        if not 1 < slack < depth:
            raise ValueError(f"slack must be from 2 to {depth - 1}, not {slack}")
        self._depth = depth
        self._slack = slack
        super().__init__(
            {
                "stb": In(1),
                "entry": In(shape),
                "room": Out(1, init=1),
                "o": Out(stream.Signature(shape)),
            }
        )

    @property
    def depth(self) -> int:
        """Places, one of them always free."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self.o.payload.shape(),
            depth=self._depth,
            init=[],
            attrs={"ram_style": "distributed"},
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        write_at = Signal(range(self._depth))
        read_at = Signal(range(self._depth))
        held = Signal(range(self._depth))
        m.d.comb += [
            write.addr.eq(write_at),
            write.data.eq(self.entry),
            write.en.eq(self.stb),
            read.addr.eq(read_at),
            self.o.payload.eq(read.data),
            self.o.valid.eq(write_at != read_at),
            held.eq(write_at - read_at),
        ]
        with m.If(self.stb):
            m.d.sync += write_at.eq(write_at + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += read_at.eq(read_at + 1)
        m.d.sync += self.room.eq(held < self._depth - self._slack)
        return m
