"""A short queue in distributed RAM."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["ShortQueue"]


class ShortQueue(wiring.Component):
    """First in, first out. Whether there is an entry stands in a register.

    Parameters
    ----------
    width : int
        Bits of an entry.
    depth : int
        Entries, a power of two.

    Attributes
    ----------
    w_en, w_data : Signal, in
        Never `w_en` while `level` is `depth`.
    r_rdy, r_data : Signal, out; r_en : Signal, in
        The first entry. Never `r_en` without `r_rdy`.
    level : Signal, out
        Entries.
    """

    def __init__(self, *, width: int, depth: int):
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two, not {depth!r}")
        self._width = width
        self._depth = depth
        super().__init__(
            {
                "w_en": In(1),
                "w_data": In(width),
                "r_rdy": Out(1),
                "r_data": Out(width),
                "r_en": In(1),
                "level": Out(range(depth + 1)),
            }
        )

    @property
    def width(self) -> int:
        """Bits of an entry."""
        return self._width

    @property
    def depth(self) -> int:
        """Entries that fit."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = Memory(shape=self._width, depth=self._depth, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        put_at, take_at = Signal(range(self._depth)), Signal(range(self._depth))
        m.d.comb += [
            write.en.eq(self.w_en),
            write.addr.eq(put_at),
            write.data.eq(self.w_data),
            read.addr.eq(take_at),
            self.r_data.eq(read.data),
        ]
        with m.If(self.w_en):
            m.d.sync += put_at.eq(put_at + 1)
        with m.If(self.r_en):
            m.d.sync += take_at.eq(take_at + 1)
        with m.If(self.w_en & ~self.r_en):
            m.d.sync += self.level.eq(self.level + 1)
        with m.Elif(~self.w_en & self.r_en):
            m.d.sync += self.level.eq(self.level - 1)
        m.d.sync += self.r_rdy.eq(self.w_en | (self.r_rdy & ~(self.r_en & (self.level == 1))))
        return m
