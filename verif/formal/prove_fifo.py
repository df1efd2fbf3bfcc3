"""The commit FIFO: nothing leaves before its commit, and what leaves is what came, in order."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Signal, Value

from hw.eth.fifo import PacketFifo
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Platform, Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]


class FifoWrapper(Wrapper):
    """A FIFO of 16 octets, whose frames are committed or taken back as its contract allows.

    Whether it has room is for the subclasses.
    """

    depth = 16

    def body(self, m: Module, platform: Any) -> None:
        self.dut = dut = PacketFifo(depth=self.depth)
        self.memories = Platform()
        self.inside = self.hold(m, dut, platform=self.memories)
        self.free_inputs(m, dut)
        m.d.comb += Assert(dut.i.ready, "the writer is stalled")
        assume_contract(m, dut.i, "source", err_only_last=False)
        m.submodules.contract = self.contract = StreamContract(dut.o)
        comes = dut.i.valid
        begins = comes & dut.i.payload.first

        # The verdicts: in a cycle after the first beat, and before the first of the next frame.
        open_, ended = Signal(name="has_frame"), Signal(name="frame_ended")
        committed = Signal(name="frame_committed")
        with m.If(begins):
            m.d.sync += [open_.eq(1), committed.eq(0), ended.eq(dut.i.payload.last)]
            m.d.comb += Assume(~open_ | (ended & committed))
        with m.Elif(comes):
            m.d.sync += ended.eq(ended | dut.i.payload.last)
        m.d.comb += [
            Assume(~dut.commit | (open_ & ~begins)),
            Assume(~dut.discard | (open_ & ~begins & ~comes & ended & ~committed & ~dut.commit)),
        ]
        with m.If(dut.commit):
            m.d.sync += committed.eq(1)
        with m.If(dut.discard):
            m.d.sync += open_.eq(0)
        self.open, self.ended, self.committed = open_, ended, committed
        self.state(m)

    def state(self, m: Module) -> None:
        """What is stated."""
        raise NotImplementedError


class OrderWrapper(FifoWrapper):
    """While there is room: the octets that leave are those of committed frames, in their order."""

    def state(self, m: Module) -> None:
        dut, bits = self.dut, 6
        m.d.comb += Assume(~dut.lost)
        watch = self.constant(m, bits, "watch")
        written, released, left = (Signal(bits, name=n) for n in ("written", "released", "left"))
        stored = Signal(10)
        next_written = Signal(bits)
        m.d.comb += next_written.eq(written + dut.i.valid)
        beat = dut.i.payload
        with m.If(dut.i.valid & (written == watch)):
            m.d.sync += stored.eq(Cat(beat.data, beat.last, beat.err & beat.last))
        with m.If(dut.discard):
            m.d.sync += written.eq(released)
        with m.Else():
            m.d.sync += written.eq(next_written)
        # A commit is for what was written before and with it, and for all that follows.
        with m.If(dut.commit | (self.committed & ~(dut.i.valid & beat.first))):
            m.d.sync += released.eq(next_written)
        with m.If(dut.o.valid):
            m.d.comb += Assert(left != released, "an octet leaves before its commit")
        out = dut.o.payload
        with m.If(dut.o.valid & (left == watch)):
            m.d.comb += Assert(Cat(out.data, out.last, out.err) == stored, "another octet")
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += left.eq(left + 1)
        # Nothing is kept back either: what was committed leaves, if it is taken, in 8 cycles.
        quiet = Signal(range(9))
        with m.If(dut.i.valid | dut.commit | ~dut.o.ready | (left == released) | dut.o.valid):
            m.d.sync += quiet.eq(0)
        with m.Else():
            m.d.sync += quiet.eq(quiet + 1)
        m.d.comb += [
            Assert(quiet < 8, "a committed octet does not leave"),
            Cover(dut.o.valid & dut.o.payload.last & (left == 5) & (written > 9)),
            Cover(dut.discard & (written > 3) & (released == 2)),
        ]
        self._within(m, watch, written, released, left, stored)

    def _within(
        self, m: Module, watch: Value, written: Value, released: Value, left: Value, stored: Value
    ) -> None:
        """Where each octet is, for the induction. The FIFO takes all a cycle late."""
        inside = self.inside
        rows = Array(self.memories.rows[0])
        write_at, read_at, commit_at = (inside[n] for n in ("write_at", "read_at", "commit_at"))
        held, in_queue, under_way = (inside[n] for n in ("held", "in_queue", "under_way"))
        queue = Array(inside[f"queue_{n}"] for n in range(4))
        bits = len(write_at)
        was_written, was_released = past(m, written, "was_written"), past(m, released, "was_rel")
        place, in_fifo = Signal.like(watch, name="place"), Signal.like(watch, name="in_fifo")
        m.d.comb += [place.eq(watch - left), in_fifo.eq(was_written - left)]
        first_in = Cat(stored[:9], stored[9])
        in_flight = (place - in_queue)[: len(watch)]

        def is_stored(word: Value) -> Value:
            """The octet, its mark, and `err` where it counts."""
            return Cat(word[:9], word[8] & word[9]) == first_in

        m.d.comb += [
            Assert(held == in_queue + under_way[0] + under_way[1]),
            Assert(held <= 4),
            Assert((inside["put_at"] - inside["take_at"])[:2] == in_queue[:2]),
            Assert(write_at == was_written[:bits]),
            Assert(commit_at == was_released[:bits]),
            Assert(read_at == (left + held)[:bits]),
            Assert(in_fifo <= self.depth + 4),
            Assert(held <= in_fifo),
            Assert((write_at - read_at)[:bits] <= self.depth),
            Assert((was_released - left)[: len(watch)] <= in_fifo),
            Assert((was_released - left)[: len(watch)] >= held),
            Assert((released - left)[: len(watch)] >= (was_released - left)[: len(watch)]),
            Assert(inside["first"] == ~self.contract.inside),
            Assert(inside["released"] == past(m, self.committed, "was_committed")),
        ]
        with m.If(place < in_queue):
            m.d.comb += Assert(is_stored(queue[(inside["take_at"] + place)[:2]]))
        with m.Elif(place < held):
            with m.If(under_way[1] & (in_flight == 0)):
                m.d.comb += Assert(is_stored(inside["word"]))
            with m.Else():
                m.d.comb += Assert(is_stored(inside["frame_memory_0.$signature__data"]))
        with m.Elif(place < in_fifo):
            m.d.comb += Assert(is_stored(rows[(left + place)[:4]]))
        came = inside["begins"] | inside["follows"]
        with m.If(came & (watch == was_written) & (place < (written - left)[: len(watch)])):
            beat = inside["beat"]
            m.d.comb += Assert(Cat(beat[:8], beat[9], beat[10] & beat[9]) == first_in)


class RoomWrapper(FifoWrapper):
    """With and without room: what is held is not written over, and no frame is lost in vain."""

    def state(self, m: Module) -> None:
        dut, inside = self.dut, self.inside
        # It says that it lost a frame only when it was nearly full.
        full = Signal(8)
        m.d.sync += full.eq(Cat(dut.level >= self.depth - 6, full))
        was_lost = past(m, dut.lost, "was_lost")
        write_at, read_at, commit_at = (inside[n] for n in ("write_at", "read_at", "commit_at"))
        in_queue, under_way = inside["in_queue"], inside["under_way"]
        used = Signal.like(write_at, name="used")
        m.d.comb += [
            used.eq(write_at - read_at),
            Assert(used <= self.depth, "an octet is written over another"),
            Assert((commit_at - read_at)[: len(used)] <= used),
            Assert(dut.level <= self.depth),
            Assert(~(dut.lost & ~was_lost) | full.any(), "a frame is lost though there is room"),
            Cover(dut.lost & dut.o.valid & (used == self.depth - 2)),
            Cover(dut.o.valid & dut.o.payload.last & dut.o.payload.err & dut.lost),
            # For the induction.
            Assert(dut.lost | (used <= self.depth - 2)),
            Assert(used <= self.depth - 1),
            Assert(inside["held"] == in_queue + under_way[0] + under_way[1]),
            Assert(inside["held"] <= 4),
            Assert((inside["put_at"] - inside["take_at"])[:2] == in_queue[:2]),
            Assert(inside["first"] == ~self.contract.inside),
        ]


PROOFS = [
    Proof(
        name="fifo.order",
        claim="Out of the commit FIFO come the octets of committed frames, unchanged and in order, "
        "none before its commit, and the writer never waits",
        wrapper=OrderWrapper,
        method=Method.INDUCTION,
        depth=6,
        mutant=Mutant(
            "hw.eth.fifo",
            "fetch.eq((held != _QUEUE) & (read_at != commit_at)),",
            "fetch.eq((held != _QUEUE) & (read_at != write_at)),",
            "octets leave as soon as they are written",
        ),
        cover_depth=24,
        mutant_depth=16,
        requirement="1, 7, 9",
    ),
    Proof(
        name="fifo.room",
        claim="The commit FIFO writes over nothing that it holds, loses a frame only when nearly "
        "full, and frames what leaves, whatever is lost",
        wrapper=RoomWrapper,
        method=Method.INDUCTION,
        depth=8,
        mutant=Mutant(
            "hw.eth.fifo",
            "room.eq(self.level < self._depth - 4)",
            "room.eq(self.level < self._depth)",
            "it takes octets until it is full, and two more",
        ),
        cover_depth=32,
        mutant_depth=26,
        requirement="7, 9",
    ),
]
