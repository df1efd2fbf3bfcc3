"""Small parts on the streams' way: the contract holds, and beats keep their order."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cover, Module, Signal, Value
from amaranth.lib import data

from hw.eth.arbiter import FrameArbiter
from hw.ring import Ring
from hw.stream import PacketBeat, SkidBuffer
from hw.word_queue import WordQueue
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Platform, Wrapper, past
from verif.formal.runner import Method, Mutant, Proof
from verif.formal.scoreboard import Scoreboard

__all__ = ["PROOFS"]


class SkidWrapper(Wrapper):
    """A skid buffer of packets."""

    def body(self, m: Module, platform: Any) -> None:
        dut = SkidBuffer(PacketBeat)
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        source = assume_contract(m, dut.i, "source")
        m.submodules.contract = contract = StreamContract(dut.o)
        board = Scoreboard(
            m,
            self,
            given=dut.i.valid & dut.i.ready,
            given_payload=dut.i.payload,
            taken=dut.o.valid & dut.o.ready,
            taken_payload=dut.o.payload,
        )
        has_spare = inside["has_spare"]
        spare = data.View(PacketBeat, inside["spare"])
        payload = Value.cast(dut.o.payload)
        ends_at_o = dut.o.valid & dut.o.payload.last
        m.d.comb += [
            # What makes it inductive: what is within, and that frames follow each other there.
            Assert(board.held == dut.o.valid + has_spare),
            Assert(~has_spare | dut.o.valid),
            Assert((board.place != 0) | ~dut.o.valid | (payload == board.stored)),
            Assert((board.place != 1) | ~has_spare | (Value.cast(spare) == board.stored)),
            Assert(~has_spare | (spare.first == ends_at_o) | ~dut.o.valid),
            Assert(~has_spare | ~spare.err | spare.last),
        ]
        with m.If(has_spare):
            m.d.comb += Assert(source.inside == ~spare.last)
        with m.Elif(dut.o.valid):
            m.d.comb += Assert(source.inside == ~dut.o.payload.last)
        with m.Else():
            m.d.comb += Assert(source.inside == contract.inside)
        m.d.comb += Cover(has_spare & dut.o.ready & (board.came_out == 5))


class RingWrapper(Wrapper):
    """A ring whose writer keeps to its rule: never more than `depth` - 1 entries."""

    def body(self, m: Module, platform: Any) -> None:
        dut = Ring(4, depth=8, slack=3)
        memories = Platform()
        inside = self.hold(m, dut, platform=memories)
        self.free_inputs(m, dut)
        m.submodules.contract = StreamContract(dut.o)
        board = Scoreboard(
            m,
            self,
            given=dut.stb,
            given_payload=dut.entry,
            taken=dut.o.valid & dut.o.ready,
            taken_payload=dut.o.payload,
        )
        wrote = Signal()
        m.d.sync += wrote.eq(dut.stb)
        rows = Array(memories.rows[0])
        place = (inside["read_at"] + board.place)[:3]
        m.d.comb += [
            Assume(~dut.stb | (board.held != dut.depth - 1)),
            Assert(board.held < dut.depth),
            Assert((inside["write_at"] - inside["read_at"])[:3] == board.held[:3]),
            Assert((board.place >= board.held) | (rows[place] == board.stored)),
            # So many may follow.
            Assert(~dut.room | (board.held + 3 - wrote <= dut.depth - 1)),
            Cover((board.held == dut.depth - 1) & (board.came_out == 4)),
        ]


class WordQueueWrapper(Wrapper):
    """A queue of entries of two words, two places."""

    def body(self, m: Module, platform: Any) -> None:
        dut = WordQueue(data.StructLayout({"entry": 40}), depth=2)
        self.hold(m, dut)
        self.free_inputs(m, dut)
        assume_contract(m, dut.i, "source")
        m.submodules.contract = StreamContract(dut.o)
        board = Scoreboard(
            m,
            self,
            given=dut.i.valid & dut.i.ready,
            given_payload=dut.i.payload,
            taken=dut.o.valid & dut.o.ready,
            taken_payload=dut.o.payload,
            bits=4,
        )
        # An entry that is offered where there is room is taken with its last word.
        since = Signal(range(4))
        begun = Signal()
        with m.If(dut.i.valid & ~dut.i.ready):
            m.d.sync += [begun.eq(begun | dut.room), since.eq(0)]
            with m.If(begun | dut.room):
                m.d.sync += since.eq(since + 1)
        with m.Else():
            m.d.sync += [begun.eq(0), since.eq(0)]
        m.d.comb += [
            Assert(since < dut.words),
            Assert(board.held <= dut.depth),
            Cover((board.came_out == 2) & (board.held == dut.depth)),
        ]


class ArbiterWrapper(Wrapper):
    """The arbiter between two sources that keep the contract, and whoever takes."""

    def body(self, m: Module, platform: Any) -> None:
        dut = FrameArbiter()
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        sources = [
            assume_contract(m, dut.urgent, "urgent_source"),
            assume_contract(m, dut.normal, "normal_source"),
        ]
        m.submodules.contract = contract = StreamContract(dut.o)
        moves = Signal(2)
        ports = (dut.urgent, dut.normal)
        m.d.comb += moves.eq(sum((port.valid & port.ready) << n for n, port in enumerate(ports)))
        # Each beat that leaves is the beat that one source gives, and none is given in vain.
        m.d.comb += [
            Assert((dut.o.valid & dut.o.ready) == moves.any()),
            Assert(~moves.all()),
        ]
        for n, port in enumerate(ports):
            with m.If(moves[n]):
                m.d.comb += Assert(Value.cast(dut.o.payload) == Value.cast(port.payload))
        # A frame once begun is never interrupted, and one that is urgent waits for no other.
        owner, owned = Signal(), Signal()
        with m.If(moves.any()):
            m.d.sync += [owner.eq(moves[1]), owned.eq(~dut.o.payload.last)]
            with m.If(owned):
                m.d.comb += Assert(moves[1] == owner)
        shown = Signal()  # a beat of `normal` is at `o`, and must stay
        m.d.sync += shown.eq(dut.o.valid & ~dut.o.ready)
        waited = past(m, dut.urgent.valid & ~dut.urgent.ready, "waited")
        with m.If(~owned & ~shown & waited & dut.o.ready):
            m.d.comb += Assert(moves[0])
        # Nobody waits for a source that has nothing to give, but within its frame and a cycle.
        free = ~owned & ~dut.urgent.valid
        with m.If(dut.o.ready & free & past(m, free, "was_free") & dut.normal.valid):
            m.d.comb += Assert(moves[1])
        is_urgent, begun = inside["turn_urgent"], ~inside["between"]
        holds = is_urgent & begun, ~is_urgent & begun
        m.d.comb += [
            Assert(~(holds[0] & holds[1])),
            Assert(~owned | (holds[0] == ~owner) & (holds[1] == owner)),
            Assert(owned == contract.inside),
            Assert(owned | shown | ~(holds[0] | holds[1])),
            Assert(~shown | (holds[0] | holds[1])),
            Cover(moves[1] & dut.urgent.valid & owned & dut.o.payload.last),
        ]
        for n, source in enumerate(sources):
            m.d.comb += Assert(source.inside == (owned & (owner == n)))
        waits = Signal(2)
        m.d.sync += waits.eq(sum((p.valid & ~p.ready) << n for n, p in enumerate(ports)))
        m.d.comb += [Assert(~shown | owned | ~holds[n] | waits[n]) for n in range(2)]


PROOFS = [
    Proof(
        name="streams.skid",
        claim="SkidBuffer keeps the contract and the order of beats, and loses none",
        wrapper=SkidWrapper,
        method=Method.INDUCTION,
        depth=2,
        mutant=Mutant(
            "hw.stream",
            "with m.If(~has_spare):",
            "with m.If(self.i.valid):",
            "the spare place is written twice",
        ),
        requirement="9",
    ),
    Proof(
        name="streams.ring",
        claim="Ring keeps the contract and the order of entries; `room` is right",
        wrapper=RingWrapper,
        method=Method.INDUCTION,
        depth=3,
        mutant=Mutant(
            "hw.ring",
            "held < self._depth - self._slack",
            "held <= self._depth - self._slack",
            "room for one entry more than there is",
        ),
        requirement="9",
    ),
    Proof(
        name="streams.word_queue",
        claim="WordQueue keeps the contract and the order of entries; `room` is right",
        wrapper=WordQueueWrapper,
        method=Method.BOUNDED,
        depth=28,
        mutant=Mutant(
            "hw.word_queue",
            "level < Mux(pushed, self._depth - 2, self._depth - 1)",
            "level < self._depth - 1",
            "room does not know of the entry just written",
        ),
        cover_depth=28,
        mutant_depth=28,
        requirement="9",
    ),
    Proof(
        name="streams.arbiter",
        claim="FrameArbiter passes whole frames, each beat once, and keeps the contract",
        wrapper=ArbiterWrapper,
        method=Method.INDUCTION,
        depth=3,
        mutant=Mutant(
            "hw.eth.arbiter",
            "Mux(self.normal.valid, self.o.ready & self.normal.payload.last, between)",
            "Mux(self.normal.valid, self.o.ready, between)",
            "an urgent frame breaks into another",
        ),
        requirement="7, 9",
    ),
]
