"""The stream signatures of the NIC, and the handshake contract said once.

Every port that moves packets or octets in this project is one of the two streams made here. Both
are `amaranth.lib.stream.Signature`, so both follow the rules of that library; the rules below are
the ones that benches and proofs check on every port.

Handshake (all streams)
    A beat moves in each cycle in which `valid` and `ready` are both 1.

    1. *valid holds*: once `valid` is 1 it stays 1 until the beat has moved.
    2. *payload stable*: while `valid` is 1 and `ready` is 0, the payload does not change.
    3. *no waiting for ready*: a source raises `valid` without looking at `ready` (a sink may look
    at
       `valid`), so two conforming ends never wait for each other.

    `ready` may rise and fall at any time. A reset of the clock domain ends all beats under way.

Framing (packet streams)
    4. The first beat after reset, and the first after a beat with `last`, has `first` = 1; no other
       beat has it. A frame of one octet is one beat with both.
    5. `err` has a meaning only on the beat with `last`: 1 says that the whole frame is bad and must
       not be believed. On other beats sinks ignore it, and sources drive 0.
    6. A source that began a frame ends it: it cannot be abandoned, only ended with `err`.

Octet order
    One octet is one beat, in the order on the wire. In every wider field of the project lane 0
    (bits 7:0) is the first octet on the wire.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["OCTET_BITS", "OctetSignature", "PacketBeat", "PacketSignature", "SkidBuffer"]

OCTET_BITS = 8
"""Bits of one octet."""

PacketBeat = data.StructLayout({"data": 8, "first": 1, "last": 1, "err": 1})
"""Payload of a packet stream: `data` in bits 7:0, `first` in 8, `last` in 9, `err` in 10."""


def PacketSignature() -> stream.Signature:
    """Stream of frames or packets, one octet a beat, with `first`, `last` and `err`.

    Returns
    -------
    stream.Signature
        Of payload `PacketBeat`; flow is out, use `In(PacketSignature())` for a sink.
    """
    return stream.Signature(PacketBeat)


def OctetSignature() -> stream.Signature:
    """Stream of bare octets without frame marks, for a field whose length both ends know.

    Returns
    -------
    stream.Signature
        Of payload `unsigned(8)`; flow is out, use `In(OctetSignature())` for a sink.
    """
    return stream.Signature(OCTET_BITS)


class SkidBuffer(wiring.Component):
    """Cuts every path through a stream, `ready` included; a beat each cycle, one cycle late.

    Parameters
    ----------
    shape
        Of the payload.
    """

    def __init__(self, shape):
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @property
    def shape(self):
        """Shape of the payload."""
        return self._shape

    def elaborate(self, platform):
        m = Module()
        spare = Signal(self._shape)
        has_spare = Signal()
        m.d.comb += self.i.ready.eq(~has_spare)
        with m.If(~has_spare):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += self.o.valid.eq(self.i.valid | has_spare)
            with m.If(has_spare):
                m.d.sync += self.o.payload.eq(spare)
            with m.Else():
                m.d.sync += self.o.payload.eq(self.i.payload)
        m.d.sync += has_spare.eq(self.o.valid & ~self.o.ready & (self.i.valid | has_spare))
        return m
