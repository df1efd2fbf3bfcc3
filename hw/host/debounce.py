"""A button without its bouncing."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["Debouncer"]


class Debouncer(wiring.Component):
    """Follows a button once that has been at its new level for `cycles` cycles without a break.

    What is shorter, bouncing or a disturbance on the line, does not show. `o` follows two cycles of
    synchronisation and one later. At power-on it is 0.

    Parameters
    ----------
    cycles : int
        At least 1.

    Attributes
    ----------
    i : Signal, in
        Of another clock domain, or none.
    o : Signal, out
    """

    i: In(1)
    o: Out(1)

    def __init__(self, *, cycles: int):
        if cycles < 1:
            raise ValueError(f"cycles must be at least 1, not {cycles}")
        self._cycles = cycles
        super().__init__()

    @property
    def cycles(self) -> int:
        """How long a level must last."""
        return self._cycles

    def elaborate(self, platform):
        m = Module()
        level = Signal()
        m.submodules.synchronise = FFSynchronizer(self.i, level)
        left = Signal(range(self._cycles), init=self._cycles - 1)
        with m.If(level == self.o):
            m.d.sync += left.eq(self._cycles - 1)
        with m.Elif(left == 0):
            m.d.sync += [self.o.eq(level), left.eq(self._cycles - 1)]
        with m.Else():
            m.d.sync += left.eq(left - 1)
        return m
