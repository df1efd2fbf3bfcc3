"""How long no station was heard."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StationSilence"]

_MS_PER_S = 1000
_SECONDS_BITS = 16


class StationSilence(wiring.Component):
    """Counts the seconds since a packet was authenticated, from power-on too.

    Attributes
    ----------
    tick_ms : Signal, in
    heard_stb : Signal, in
        A packet was authenticated.
    after_s : Signal, in
        Seconds of silence that count; 0: none do.
    silent : Signal, out
        It has been silent so long. Two cycles late.
    """

    tick_ms: In(1)
    heard_stb: In(1)
    after_s: In(_SECONDS_BITS)
    silent: Out(1)

    def elaborate(self, platform):
        m = Module()
        left_ms = Signal(range(_MS_PER_S), init=_MS_PER_S - 1)
        is_last = Signal()  # of the second
        seconds = Signal(_SECONDS_BITS)
        is_full = Signal()
        m.d.sync += [is_last.eq(left_ms == 0), is_full.eq(seconds.all())]
        with m.If(self.tick_ms):
            m.d.sync += left_ms.eq(left_ms - 1)
            with m.If(is_last):
                m.d.sync += [left_ms.eq(_MS_PER_S - 1), is_last.eq(0)]
                m.d.sync += seconds.eq(seconds + ~is_full)
        with m.If(self.heard_stb):
            m.d.sync += [left_ms.eq(_MS_PER_S - 1), is_last.eq(0), seconds.eq(0)]
        m.d.sync += self.silent.eq((self.after_s != 0) & (seconds >= self.after_s))
        return m
