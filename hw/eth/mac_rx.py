"""The MAC's receiving half: octets of the PHY to frames."""

from itertools import pairwise

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.eth.fcs import FCS_OCTETS, Fcs
from hw.eth.gmii import GmiiSignature
from hw.stream import PacketBeat, PacketSignature, SkidBuffer

__all__ = ["MIN_FRAME_OCTETS", "PREAMBLE", "SFD", "MacRx"]

PREAMBLE = 0x55
"""Each octet of the preamble."""
SFD = 0xD5
"""Start frame delimiter, the octet before a frame."""
MIN_FRAME_OCTETS = 64
"""Octets of the shortest frame, FCS included."""


class MacRx(wiring.Component):
    """Finds frames in what the PHY receives, checks their FCS and takes it off.

    One octet per cycle; an octet leaves a cycle after the fifth octet behind it came. A frame
    may have any number of preamble octets, none included. It ends with `err` if its FCS is wrong,
    if the PHY told of an error, if it has fewer than 64 octets, or if nothing more of it came for
    `STALL_CYCLES` (the receive clock stopped). Of a burst with fewer than five octets behind the
    delimiter, or with none, nothing comes out. There is no longest frame here.

    Backpressure on `o` holds `i`.

    Attributes
    ----------
    i : GmiiSignature, in
        What the PHY received, of `RxCrossing`.
    o : PacketSignature, out
        Frames without preamble and FCS.
    bad_stb : Signal, out
        A frame ended with `err`, or was too short to come out at all.

    Source: IEEE 802.3 3.1.1 (frame), 3.2.9 (FCS), 4.2.4.1 and 4.2.9 (reception), 35.2.3 (GMII).
    """

    STALL_CYCLES = 256

    i: In(GmiiSignature())
    o: Out(PacketSignature())
    bad_stb: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fcs = fcs = Fcs()
        m.submodules.out = out = SkidBuffer(PacketBeat)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        held = [Signal(8, name=f"held{n}") for n in range(FCS_OCTETS + 1)]
        count = Signal(range(MIN_FRAME_OCTETS + 1))
        first = Signal()
        error = Signal()
        silent = Signal(range(self.STALL_CYCLES))
        beat = self.i.payload

        take = Signal()
        full = Signal()
        emits = Signal()
        is_silent = Signal()
        m.d.comb += [
            self.i.ready.eq(out.i.ready & ~is_silent),
            take.eq(self.i.valid & self.i.ready),
            fcs.data.eq(beat.data),
            out.i.valid.eq(emits & full),
            out.i.payload.data.eq(held[-1]),
            out.i.payload.first.eq(first),
        ]
        with m.If(out.i.valid & out.i.ready):
            m.d.sync += first.eq(0)
        m.d.sync += self.bad_stb.eq(0)

        with m.FSM(name="mac_rx"):
            with m.State("PREAMBLE"):
                m.d.comb += fcs.start.eq(1)
                m.d.sync += [count.eq(0), full.eq(0), first.eq(1), error.eq(0)]
                m.d.sync += [silent.eq(0), is_silent.eq(0)]
                with m.If(take & beat.en):
                    with m.If(~beat.er & (beat.data == SFD)):
                        m.next = "FRAME"
                    with m.Elif(beat.er | (beat.data != PREAMBLE)):
                        m.next = "SKIP"
            with m.State("FRAME"):
                m.d.comb += [
                    fcs.valid.eq(take & beat.en),
                    emits.eq(self.i.valid | is_silent),
                    out.i.payload.last.eq(~beat.en | is_silent),
                    out.i.payload.err.eq(
                        is_silent
                        | (
                            ~beat.en
                            & (error | beat.er | ~fcs.match_detected | (count != MIN_FRAME_OCTETS))
                        )
                    ),
                ]
                with m.If(self.i.valid):
                    m.d.sync += silent.eq(0)
                with m.Else():
                    m.d.sync += silent.eq(silent + 1)
                    with m.If(silent == self.STALL_CYCLES - 2):
                        m.d.sync += is_silent.eq(1)
                with m.If(take):
                    m.d.sync += error.eq(error | beat.er)
                with m.If(take & beat.en):
                    m.d.sync += [
                        held[0].eq(beat.data),
                        *(after.eq(before) for before, after in pairwise(held)),
                        full.eq(count >= FCS_OCTETS),
                    ]
                    with m.If(count != MIN_FRAME_OCTETS):
                        m.d.sync += count.eq(count + 1)
                with m.If(out.i.ready & (is_silent | (self.i.valid & ~beat.en))):
                    m.d.sync += self.bad_stb.eq(out.i.payload.err)
                    m.next = "PREAMBLE"
                    with m.If(is_silent):
                        m.next = "SKIP"
            with m.State("SKIP"):
                m.d.sync += is_silent.eq(0)
                with m.If(take & ~beat.en):
                    m.next = "PREAMBLE"
        return m
