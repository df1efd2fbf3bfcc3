"""A frame buffer that releases a frame only on a verdict: the commit FIFO."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream import PacketSignature

__all__ = ["PacketFifo"]

_QUEUE = 4
"""Beats in the queue behind the memory: two under way, one leaving, one in hand."""


class PacketFifo(wiring.Component):
    """Buffers frames; nothing of a frame reaches `o` before `commit`.

    One octet per cycle in and out at once; four cycles from `commit` (or from a beat of a frame
    already committed) to `o`. `i.ready` is always 1: the writer is never stalled.

    `commit` in a cycle after the first beat was taken and before the next frame's first beat
    releases what was written of the frame and all that follows of it (cut-through); `discard`
    takes back an uncommitted frame. A frame that finds no room is `lost`: if it was not committed
    its `commit` acts as `discard`; if it was, it is ended by a beat with `last` and `err`.

    Parameters
    ----------
    depth : int
        Octets, a power of two of at least 16.

    Attributes
    ----------
    lost : Signal, out
        The current (or, until the next first beat, the latest) frame did not fit.
    level : Signal, out
        Octets held, uncommitted ones included.
    """

    def __init__(self, *, depth: int):
        if depth < 16 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 16, not {depth}")
        self._depth = depth
        super().__init__(
            {
                "i": In(PacketSignature()),
                "o": Out(PacketSignature()),
                "commit": In(1),
                "discard": In(1),
                "lost": Out(1),
                "level": Out(range(depth + 1)),
            }
        )

    @property
    def depth(self) -> int:
        """Octets that the memory holds."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=10, depth=self._depth, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=())
        bits = (self._depth - 1).bit_length()

        write_at = Signal(bits + 1)
        commit_at = Signal(bits + 1)
        read_at = Signal(bits + 1)
        released = Signal()
        lost = Signal()

        payload = self.i.payload
        begins = Signal()
        room = Signal(init=1)
        was_lost = Signal()
        was_released = Signal()
        terminate = Signal()
        accept = Signal()
        used = Signal(bits + 1)
        m.d.comb += [
            self.i.ready.eq(1),
            begins.eq(self.i.valid & payload.first),
            used.eq(write_at - read_at),
            was_lost.eq(lost & ~begins),
            was_released.eq((released & ~begins) | (self.commit & ~was_lost)),
            accept.eq(self.i.valid & ~was_lost & room),
            terminate.eq(self.i.valid & ~was_lost & ~room & was_released & ~payload.first),
            write.en.eq(accept | terminate),
            write.addr.eq(write_at[:bits]),
            write.data.eq(Mux(terminate, 0x300, Cat(payload.data, payload.last, payload.err))),
            self.lost.eq(lost),
        ]
        # A cycle late, so with a slack of one beat, and one more for the beat that ends a frame.
        m.d.sync += [room.eq(used < self._depth - 3), self.level.eq(used)]
        write_next = Signal(bits + 1)
        m.d.comb += write_next.eq(write_at + (accept | terminate))
        m.d.sync += [
            released.eq(was_released),
            lost.eq(was_lost | (self.i.valid & ~room)),
        ]
        with m.If(self.discard | (self.commit & was_lost & ~released)):
            m.d.sync += write_at.eq(commit_at)
        with m.Else():
            m.d.sync += write_at.eq(write_next)
            with m.If(was_released):
                m.d.sync += commit_at.eq(write_next)

        # Behind the memory stands a short queue, so that what reads ahead looks at registers only,
        # and neither the memory's own output nor `o.ready` is late in a long path.
        fetched = Signal()
        fetch = Signal()
        arrives = Signal()
        in_queue = Signal(range(_QUEUE + 1))
        in_flight = Signal(range(_QUEUE + 2))
        queue = [Signal(10, name=f"queue_{n}") for n in range(_QUEUE)]
        leaves = Signal()
        m.d.comb += [
            in_flight.eq(in_queue + fetched),
            fetch.eq((in_flight < _QUEUE - 1) & (read_at != commit_at)),
            read.addr.eq(read_at[:bits]),
            read.en.eq(fetch),
            arrives.eq(fetched),
            leaves.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += [fetched.eq(fetch), read_at.eq(read_at + fetch)]
        m.d.sync += in_queue.eq(in_queue + arrives - leaves)
        for place in range(_QUEUE):
            behind = queue[place + 1] if place + 1 < _QUEUE else Const(0, 10)
            with m.If(arrives & (in_queue == place + leaves)):
                m.d.sync += queue[place].eq(read.data)
            with m.Elif(leaves):
                m.d.sync += queue[place].eq(behind)
        first = Signal(init=1)
        with m.If(leaves):
            m.d.sync += first.eq(self.o.payload.last)
        m.d.comb += [
            self.o.valid.eq(in_queue != 0),
            Cat(self.o.payload.data, self.o.payload.last).eq(queue[0]),
            self.o.payload.err.eq(queue[0][8] & queue[0][9]),
            self.o.payload.first.eq(first),
        ]
        return m
