"""The MAC's sending half: frames to octets for the PHY."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.eth.fcs import FCS_OCTETS, Fcs
from hw.eth.gmii import GmiiBeat
from hw.eth.mac_rx import MIN_FRAME_OCTETS, PREAMBLE, SFD
from hw.stream import PacketSignature

__all__ = ["GAP_OCTETS", "PREAMBLE_OCTETS", "MacTx"]

PREAMBLE_OCTETS = 7
"""Octets of the preamble; the start frame delimiter follows."""
GAP_OCTETS = 12
"""Least octet times from the end of a frame to the preamble of the next."""


class MacTx(wiring.Component):
    """Sends frames: preamble, padding to the least length, FCS, and the gap between frames.

    One octet per cycle; frames that wait leave with exactly `GAP_OCTETS` between them. `i` is ready
    but while the preamble, padding, FCS and gap of a frame go out, and a buffer of 16 octets is
    full; the preamble of a frame starts 4 cycles after its first beat came.

    Within a frame `i` may be late by 8 beats in all, which lie in the buffer by the end of the
    preamble. If it is late by more, the frame is spoilt: it ends there with TX_ER and a wrong FCS,
    its rest is thrown away, and `underrun_stb` tells of it. A frame that ends with `err` is sent
    with all its octets and a wrong FCS (each bit of it inverted), so that its receiver drops it.

    Attributes
    ----------
    i : PacketSignature, in
        Frames without preamble and FCS.
    o : GmiiBeat, out
        One octet time a cycle, to the PHY.
    underrun_stb : Signal, out
        A frame was spoilt.

    Source: IEEE 802.3 3.1.1, 3.2.8 and 4.2.3.3 (padding), 3.2.9 (FCS), 4.4.2 (interpacket gap of 96
    bits), 35.2.2.5 (TX_ER).
    """

    BUFFER_OCTETS = 16

    i: In(PacketSignature())
    o: Out(GmiiBeat)
    underrun_stb: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.fcs = fcs = Fcs()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=10, depth=self.BUFFER_OCTETS)
        m.d.comb += [
            fifo.w_data.eq(Cat(self.i.payload.data, self.i.payload.last, self.i.payload.err)),
            fifo.w_en.eq(self.i.valid),
            self.i.ready.eq(fifo.w_rdy),
        ]
        octet, last, err = fifo.r_data[:8], fifo.r_data[8], fifo.r_data[9]

        index = Signal(range(GAP_OCTETS))
        ends_preamble, ends_fcs, ends_gap = Signal(), Signal(), Signal()  # by `index`
        shorter = Signal()  # than MIN_FRAME_OCTETS without its FCS, the octet under way included
        count = Signal(range(MIN_FRAME_OCTETS))
        spoilt = Signal()
        flush = Signal()
        # What is sent is chosen in one cycle; in the next it goes through the FCS and out.
        sent = Signal(8)
        starts, sends, covered, ends, spoils = (Signal() for _ in range(5))
        place = Signal(range(FCS_OCTETS))
        m.d.sync += [
            starts.eq(0),
            sends.eq(0),
            covered.eq(0),
            ends.eq(0),
            spoils.eq(0),
            place.eq(index),
            self.underrun_stb.eq(0),
            index.eq(index + 1),
            ends_preamble.eq(index == PREAMBLE_OCTETS - 1),
            ends_fcs.eq(index == FCS_OCTETS - 2),
            ends_gap.eq(index == GAP_OCTETS - 2),
        ]
        m.d.comb += [fcs.start.eq(starts), fcs.data.eq(sent), fcs.valid.eq(covered)]
        m.d.sync += [
            self.o.data.eq(
                Mux(ends, fcs.crc.word_select(place, 8) ^ spoilt.replicate(8), sent)
                & sends.replicate(8)
            ),
            self.o.en.eq(sends),
            self.o.er.eq(spoils),
        ]

        def goto(state):
            m.d.sync += index.eq(0)
            m.next = state

        def grow():
            m.d.sync += count.eq(count + 1)
            m.d.sync += shorter.eq(count < MIN_FRAME_OCTETS - FCS_OCTETS - 2)

        def send(octet):
            m.d.sync += [sent.eq(octet), sends.eq(1)]

        # The rest of a frame that broke off is thrown away while its end is sent.
        reads = Signal()
        m.d.comb += fifo.r_en.eq(reads | flush)
        with m.If(flush & fifo.r_rdy & last):
            m.d.sync += flush.eq(0)
        with m.FSM(name="mac_tx"):
            with m.State("IDLE"):
                m.d.sync += [starts.eq(1), index.eq(0), count.eq(0), spoilt.eq(0)]
                m.d.sync += shorter.eq(1)
                with m.If(fifo.r_rdy & ~flush):
                    send(PREAMBLE)
                    m.d.sync += index.eq(1)
                    m.next = "PREAMBLE"
            with m.State("PREAMBLE"):
                send(PREAMBLE)
                with m.If(ends_preamble):
                    send(SFD)
                    m.d.sync += reads.eq(1)
                    goto("DATA")
            with m.State("DATA"):
                send(octet)
                m.d.sync += [covered.eq(1), index.eq(0)]
                with m.If(~fifo.r_rdy | last):
                    m.d.sync += reads.eq(0)
                with m.If(shorter):
                    grow()
                with m.If(~fifo.r_rdy):
                    m.d.sync += [
                        spoils.eq(1),
                        self.underrun_stb.eq(1),
                        spoilt.eq(1),
                        flush.eq(1),
                    ]
                    goto("FCS")
                with m.Elif(last):
                    m.d.sync += spoilt.eq(err)
                    with m.If(shorter):
                        m.next = "PAD"
                    with m.Else():
                        goto("FCS")
            with m.State("PAD"):
                send(0)
                m.d.sync += [covered.eq(1), index.eq(0)]
                grow()
                with m.If(~shorter):
                    goto("FCS")
            with m.State("FCS"):
                m.d.sync += [sends.eq(1), ends.eq(1)]
                with m.If(ends_fcs):
                    goto("GAP")
            with m.State("GAP"):
                with m.If(ends_gap):
                    m.next = "IDLE"
        return m
