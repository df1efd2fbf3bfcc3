"""Octets as they pass between MAC and PHY, and their way out of the PHY's receive clock."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import AsyncFIFOBuffered
from amaranth.lib.wiring import In, Out

__all__ = ["GmiiBeat", "GmiiSignature", "RxCrossing"]

GmiiBeat = data.StructLayout({"data": 8, "en": 1, "er": 1})
"""One octet time: TXD, TX_EN, TX_ER in the direction to the PHY, RXD, RX_DV, RX_ER in the other."""


def GmiiSignature() -> stream.Signature:
    """Stream of received octets: those with `en`, and a beat without `en` after each burst of them.

    Idle octet times are left out, so that the stream has room for what it was held up. `er` counts
    with and without `en`.
    """
    return stream.Signature(GmiiBeat)


class RxCrossing(wiring.Component):
    """Brings what a PHY receives into `sync`.

    One octet per cycle of either clock; 5 cycles of latency. `o` may be held for a dozen cycles
    between two frames without loss. If more is held, or `sync` is slower by more than the idle
    octets make up for, octets are lost, and the next beat has `er`, so that the frame that misses
    them, or that ran into the next, is a bad one.

    Parameters
    ----------
    domain : str
        Clock domain of the PHY's receive clock, which `i` is synchronous to.
    depth : int
        Beats held, a power of two of at least 8.

    Attributes
    ----------
    i : GmiiBeat, in
        Each octet time as received.
    o : stream of GmiiBeat, out
        As `GmiiSignature` says.

    Source: IEEE 802.3 35.2.2 (signals), 35.2.2.6 and 35.2.2.8 (RX_DV, RX_ER).
    """

    def __init__(self, *, domain: str, depth: int = 16):
        if depth < 8 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 8, not {depth}")
        self._domain = domain
        self._depth = depth
        super().__init__({"i": In(GmiiBeat), "o": Out(GmiiSignature())})

    @property
    def domain(self) -> str:
        """Clock domain of `i`."""
        return self._domain

    @property
    def depth(self) -> int:
        """Beats held."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        # The output register of the FIFO counts as one of its entries.
        m.submodules.fifo = fifo = AsyncFIFOBuffered(
            width=GmiiBeat.size, depth=self._depth + 1, w_domain=self._domain, r_domain="sync"
        )
        beat = Signal(GmiiBeat)
        is_open = Signal()  # octets went in, and the beat that ends them has not
        lost = Signal()
        octet = Signal(GmiiBeat)
        m.d.comb += [
            octet.data.eq(beat.data),
            octet.en.eq(beat.en),
            # Without `en` RX_ER tells of the medium (35.2.2.8), which is nothing to a frame.
            octet.er.eq(lost | (beat.en & beat.er)),
            fifo.w_data.eq(octet),
            fifo.w_en.eq(beat.en | is_open),
        ]
        m.d[self._domain] += [
            beat.eq(self.i),
            is_open.eq(beat.en | (is_open & ~fifo.w_rdy)),
        ]
        with m.If(fifo.w_en):
            m.d[self._domain] += lost.eq(Mux(fifo.w_rdy, 0, lost | beat.en))
        m.d.comb += [
            self.o.payload.eq(fifo.r_data),
            self.o.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(self.o.ready),
        ]
        return m
