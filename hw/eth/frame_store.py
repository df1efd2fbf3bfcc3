"""A buffer that passes frames on when they are whole."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.eth.fifo import PacketFifo
from hw.stream import PacketSignature

__all__ = ["FrameStore"]

# The level is known some cycles late, and the buffer keeps a few places for itself.
SLACK_OCTETS = 8


class FrameStore(wiring.Component):
    """Stores each frame and releases it on its last octet; drops whole frames that are bad.

    One octet per cycle in and out at once; a frame leaves without a pause of this component's own.
    `i` pauses for `PAUSE_CYCLES` after each frame, far fewer than there are
    between two frames on the line. A frame that ends with `err` goes no further.

    What happens to a frame without room depends on `holds`: it is held up before its first octet
    until `frame_octets` are free, or it is taken and dropped. A frame longer than the room there
    is, is dropped either way.

    Parameters
    ----------
    depth : int
        Octets, a power of two.
    holds : bool
        Backpressure, instead of dropping, where a frame might not fit.
    frame_octets : int
        Octets of the longest frame for which `holds` makes room; at most `depth` - 8.

    Attributes
    ----------
    dropped_count : Signal(32), out
        Frames dropped for want of room; saturates.
    """

    PAUSE_CYCLES = 4

    def __init__(self, *, depth: int, holds: bool, frame_octets: int = 1536):
        longest = depth - SLACK_OCTETS
        if not 0 < frame_octets <= longest:
            raise ValueError(f"frame_octets must be 1 to {longest}, not {frame_octets}")
        self._depth = depth
        self._holds = holds
        self._frame_octets = frame_octets
        super().__init__(
            {"i": In(PacketSignature()), "o": Out(PacketSignature()), "dropped_count": Out(32)}
        )

    @property
    def depth(self) -> int:
        """Octets that the memory holds."""
        return self._depth

    @property
    def holds(self) -> bool:
        """Backpressure instead of dropping."""
        return self._holds

    @property
    def frame_octets(self) -> int:
        """Octets of the longest frame for which `holds` makes room."""
        return self._frame_octets

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = PacketFifo(depth=self._depth, carries_err=False)
        wiring.connect(m, wiring.flipped(self.o), fifo.o)

        room = Signal(init=1)
        inside = Signal()
        decide = Signal()
        pause = Signal(range(self.PAUSE_CYCLES + 1))
        is_open = Signal(init=1)
        bad = Signal()
        take = Signal()
        m.d.comb += [
            self.i.ready.eq(is_open & (room | inside)),
            take.eq(self.i.valid & self.i.ready),
            fifo.i.valid.eq(take),
            fifo.i.payload.eq(self.i.payload),
            fifo.commit.eq(decide & ~bad),
            fifo.discard.eq(decide & bad),
        ]
        if self._holds:
            m.d.sync += room.eq(fifo.level <= self._depth - SLACK_OCTETS - self._frame_octets)
        # Not in the cycle of a verdict, which `fifo` would take for the frame that begins there,
        # nor before `fifo` knows of the room that a frame taken back leaves.
        m.d.sync += decide.eq(take & self.i.payload.last)
        with m.If(take & self.i.payload.last):
            m.d.sync += [pause.eq(self.PAUSE_CYCLES), is_open.eq(0)]
        with m.Elif(~is_open):
            m.d.sync += [pause.eq(pause - 1), is_open.eq(pause == 1)]
        with m.If(take):
            m.d.sync += [inside.eq(~self.i.payload.last), bad.eq(self.i.payload.err)]
        decided = Signal()
        m.d.sync += decided.eq(decide & ~bad)
        with m.If(decided & fifo.lost & ~self.dropped_count.all()):
            m.d.sync += self.dropped_count.eq(self.dropped_count + 1)
        return m
