"""A frame buffer that releases a frame only on a verdict: the commit FIFO."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.stream import PacketSignature

__all__ = ["COLLISION_FREE_MEMORY", "PacketFifo"]

COLLISION_FREE_MEMORY = "frame_memory"
"""Name of the memory within each buffer. No address of it is ever asked for while it is written, so
a board need not spend logic on what would be read then."""

_PART_OCTETS = 2048
"""What one block RAM holds of nine bits each."""

_QUEUE = 4
"""Beats in the queue behind the memory and on the way to it: three, at a beat each cycle."""


class PacketFifo(wiring.Component):
    """Buffers frames; nothing of a frame reaches `o` before `commit`.

    One octet per cycle in and out at once; six cycles from `commit` (or from a beat of a frame
    already committed) to `o`. `i.ready` is always 1: the writer is never stalled.

    `commit` in a cycle after the first beat was taken and before the next frame's first beat
    releases what was written of the frame and all that follows of it (cut-through); `discard`
    takes back an uncommitted frame. A frame that finds no room is `lost`: if it was not committed
    its `commit` acts as `discard`; if it was, it is ended by a beat with `last` and `err`.

    Parameters
    ----------
    depth : int
        Octets, a power of two of at least 16.
    carries_err : bool
        Without, `i.payload.err` is not looked at, and no frame that was committed before its end
        may be lost. The memory then has nine bits for an octet, and not ten, as block RAM likes.

    Attributes
    ----------
    lost : Signal, out
        The current (or, until the next first beat, the latest) frame did not fit; two cycles after
        its beat.
    level : Signal, out
        Octets held, uncommitted ones included.
    """

    def __init__(self, *, depth: int, carries_err: bool = True):
        if depth < 16 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two of at least 16, not {depth}")
        self._depth = depth
        self._carries_err = carries_err
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

    @property
    def carries_err(self) -> bool:
        """Frames may end with `err`."""
        return self._carries_err

    def elaborate(self, platform):
        m = Module()
        width = 10 if self._carries_err else 9
        bits = (self._depth - 1).bit_length()
        # Parts as deep as block RAM, so that the choice among them comes behind its register.
        depth = self._depth if self._carries_err else min(self._depth, _PART_OCTETS)
        part_bits = (depth - 1).bit_length()
        writes, reads = [], []
        for n in range(self._depth // depth):
            memory = Memory(shape=width, depth=depth, init=[])
            m.submodules[f"{COLLISION_FREE_MEMORY}_{n}"] = memory
            writes.append(memory.write_port())
            reads.append(memory.read_port(transparent_for=()))

        write_at = Signal(bits + 1)
        commit_at = Signal(bits + 1)
        read_at = Signal(bits + 1)
        released = Signal()
        lost = Signal()

        # Everything that comes in is taken a cycle later, so that no path goes on from outside.
        beat = Signal.like(self.i.payload)
        begins, follows = Signal(), Signal()
        commit, discard = Signal(), Signal()
        m.d.sync += [
            beat.eq(self.i.payload),
            begins.eq(self.i.valid & self.i.payload.first),
            follows.eq(self.i.valid & ~self.i.payload.first),
            commit.eq(self.commit),
            discard.eq(self.discard),
        ]

        room = Signal(init=1)
        was_lost = Signal()
        was_released = Signal()
        puts = Signal()
        m.d.comb += [
            self.i.ready.eq(1),
            was_lost.eq(lost & ~begins),
            was_released.eq((released & ~begins) | (commit & ~was_lost)),
            # Without room the beat that ends a released frame, and then it is lost.
            puts.eq((begins & room) | (follows & ~lost & (room | released | commit))),
            self.lost.eq(lost),
        ]
        for n, write in enumerate(writes):
            m.d.comb += [
                write.en.eq(puts & (write_at[part_bits:bits] == n)),
                write.addr.eq(write_at[:part_bits]),
                write.data.eq(Mux(room, Cat(beat.data, beat.last, beat.err), 0x300)),
            ]
        # Two cycles late, so a slack of two beats, and one more for the beat that ends a frame.
        m.d.sync += [self.level.eq(write_at - read_at), room.eq(self.level < self._depth - 4)]
        write_next = Signal(bits + 1)
        m.d.comb += write_next.eq(Mux(puts, write_at + 1, write_at))
        m.d.sync += [
            released.eq(was_released),
            lost.eq(was_lost | ((begins | follows) & ~room)),
        ]
        with m.If(discard | (commit & was_lost & ~released)):
            m.d.sync += write_at.eq(commit_at)
        with m.Else():
            m.d.sync += write_at.eq(write_next)
            with m.If(was_released):
                m.d.sync += commit_at.eq(write_next)

        # Behind the memory stands a short queue, so that `o.ready` moves no more than the place to
        # read from. What was asked of the memory comes out of its output register two cycles later.
        fetch = Signal()
        under_way = Signal(2)
        part, part_of_word = (Signal(range(len(reads))) for _ in range(2))
        words = []
        for n, read in enumerate(reads):
            word = Signal(width, name=f"word_{n}", reset_less=True)  # as that of block RAM is
            m.d.comb += read.addr.eq(read_at[:part_bits])
            m.d.sync += word.eq(read.data)
            words.append(word)
        in_queue = Signal(range(_QUEUE + 1))
        held = Signal(range(_QUEUE + 1))  # in the queue, or on the way to it
        queue = Array(Signal(width, name=f"queue_{n}") for n in range(_QUEUE))
        put_at = Signal(range(_QUEUE))
        take_at = Signal(range(_QUEUE))
        leaves = Signal()
        arrives = under_way[1]
        m.d.comb += [
            fetch.eq((held != _QUEUE) & (read_at != commit_at)),
            leaves.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += [
            under_way.eq(Cat(fetch, under_way)),
            part.eq(read_at[part_bits:bits]),
            part_of_word.eq(part),
            read_at.eq(read_at + fetch),
            put_at.eq(put_at + arrives),
            take_at.eq(take_at + leaves),
            in_queue.eq(in_queue + arrives - leaves),
            held.eq(held + fetch - leaves),
        ]
        with m.If(arrives):
            m.d.sync += queue[put_at].eq(Array(words)[part_of_word])
        first = Signal(init=1)
        head = Signal(width)
        with m.If(leaves):
            m.d.sync += first.eq(self.o.payload.last)
        m.d.comb += [
            head.eq(queue[take_at]),
            self.o.valid.eq(in_queue != 0),
            Cat(self.o.payload.data, self.o.payload.last).eq(head),
            self.o.payload.err.eq(head[8] & head[9] if self._carries_err else 0),
            self.o.payload.first.eq(first),
        ]
        return m
