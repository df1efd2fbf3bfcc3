"""One GCM engine for both directions, a whole packet at a time."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto import gcm_job_layout
from hw.stream import OctetSignature, SkidBuffer
from spec.sa import BANKS

__all__ = ["GcmShare"]


class GcmShare(wiring.Component):
    """Gives the engine to `outbound` or `inbound` from its job until its tag; in turns if both ask.

    A packet holds the engine only while it is under way, and both users have their whole packet
    before they ask, so neither can stop the other. Two cycles from a request to the job.
    """

    def __init__(self):
        job = stream.Signature(gcm_job_layout(slots=2 * BANKS))
        tag = stream.Signature(128)
        user: dict[str, wiring.Member] = {}
        for name in ("inbound", "outbound"):
            user |= {
                f"{name}_job": In(job),
                f"{name}_i": In(OctetSignature()),
                f"{name}_o": Out(OctetSignature()),
                f"{name}_tag": Out(tag),
            }
        super().__init__(
            {
                **user,
                "job": Out(job),
                "i": Out(OctetSignature()),
                "o": In(OctetSignature()),
                "tag": In(tag),
            }
        )

    def elaborate(self, platform):
        m = Module()
        held = Signal()
        outbound = Signal()
        begun = Signal()
        with m.If(~held):
            with m.If(self.inbound_job.valid | self.outbound_job.valid):
                m.d.sync += held.eq(1)
                with m.If(outbound):
                    m.d.sync += outbound.eq(~self.inbound_job.valid)
                with m.Else():
                    m.d.sync += outbound.eq(self.outbound_job.valid)
        # Before the engine stands a buffer: its cipher and hash begin with a fresh cycle, and no
        # `ready` goes on from it to whoever reads the packet.
        m.submodules.buffer = buffer = SkidBuffer(8)
        wiring.connect(m, buffer.o, wiring.flipped(self.i))
        for is_mine, name in ((~outbound, "inbound"), (outbound, "outbound")):
            job, i, o, tag = (getattr(self, f"{name}_{port}") for port in ("job", "i", "o", "tag"))
            m.d.comb += [o.payload.eq(self.o.payload), tag.payload.eq(self.tag.payload)]
            with m.If(held & is_mine):
                m.d.sync += [
                    self.job.payload.eq(job.payload),
                    self.job.valid.eq(job.valid & ~begun & ~job.ready),
                ]
                m.d.comb += [
                    job.ready.eq(self.job.valid & self.job.ready),
                    buffer.i.payload.eq(i.payload),
                    buffer.i.valid.eq(i.valid),
                    i.ready.eq(buffer.i.ready),
                    o.valid.eq(self.o.valid),
                    self.o.ready.eq(o.ready),
                    tag.valid.eq(self.tag.valid),
                    self.tag.ready.eq(tag.ready),
                ]
        with m.If(self.job.valid & self.job.ready):
            m.d.sync += begun.eq(1)
        with m.If(self.tag.valid & self.tag.ready):
            m.d.sync += [held.eq(0), begun.eq(0)]
        return m
