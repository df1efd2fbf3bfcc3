"""Whole frames of two streams onto one."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.stream import PacketSignature

__all__ = ["FrameArbiter"]


class FrameArbiter(wiring.Component):
    """Passes whole frames of `urgent` and `normal` to `o`; `urgent` first.

    One octet per cycle, no latency for `normal`, whose turn it is while nothing is sent; a cycle
    for `urgent`, and for `normal` behind it. A frame once begun is never interrupted. The stream
    that waits is held by backpressure, nothing is lost here.
    """

    urgent: In(PacketSignature())
    normal: In(PacketSignature())
    o: Out(PacketSignature())

    def elaborate(self, platform):
        m = Module()
        # Whose turn it is stands in a register: streams wait for it, it never waits for a stream.
        turn_urgent = Signal()
        between = Signal(init=1)  # no frame has begun
        for turn, source in ((turn_urgent, self.urgent), (~turn_urgent, self.normal)):
            with m.If(turn):
                m.d.comb += [
                    self.o.payload.eq(source.payload),
                    self.o.valid.eq(source.valid),
                    source.ready.eq(self.o.ready),
                ]
        # A valid beat belongs to its source until the frame ends, moved or not (stable payload).
        with m.If(self.o.valid):
            m.d.sync += between.eq(self.o.ready & self.o.payload.last)
        with m.If(turn_urgent):
            with m.If(between & ~self.urgent.valid):
                m.d.sync += turn_urgent.eq(0)
        with m.Elif(Mux(self.normal.valid, self.o.ready & self.normal.payload.last, between)):
            m.d.sync += turn_urgent.eq(self.urgent.valid)
        return m
