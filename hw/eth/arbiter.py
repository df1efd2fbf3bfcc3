"""Whole frames of two streams onto one."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.stream import PacketSignature

__all__ = ["FrameArbiter"]


class FrameArbiter(wiring.Component):
    """Passes whole frames of `urgent` and `normal` to `o`; `urgent` first.

    One octet per cycle, no latency; a frame once begun is never interrupted. The stream that
    waits is held by backpressure, nothing is lost here.
    """

    urgent: In(PacketSignature())
    normal: In(PacketSignature())
    o: Out(PacketSignature())

    def elaborate(self, platform):
        m = Module()
        holds_urgent = Signal()
        holds_normal = Signal()
        takes_urgent = Signal()
        m.d.comb += takes_urgent.eq(holds_urgent | (self.urgent.valid & ~holds_normal))
        for chosen, source in ((takes_urgent, self.urgent), (~takes_urgent, self.normal)):
            with m.If(chosen):
                m.d.comb += [
                    self.o.payload.eq(source.payload),
                    self.o.valid.eq(source.valid),
                    source.ready.eq(self.o.ready),
                ]
        # A valid beat belongs to its source until the frame ends, moved or not (stable payload).
        with m.If(self.o.valid):
            ends = self.o.ready & self.o.payload.last
            m.d.sync += [
                holds_urgent.eq(takes_urgent & ~ends),
                holds_normal.eq(~takes_urgent & ~ends),
            ]
        return m
