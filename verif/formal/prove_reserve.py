"""Outbound numbers strictly increase over resets and losses of power.

The wrapper joins the reserve (`hw.store.sequence_reserve`) with what stands around it: a counter
that gives the numbers of one bank as `BankRecords` does (`numbers.once`), a keeper that carries
raises out in any order it likes, and a non-volatile memory of which no more is assumed than this:

- a write that was said to be good is what is found from then on, until the next one is good;
- of a write that failed, or that a loss of power met, it is found at any later power-on that it was
  made or that it was not, anew each time.

Power is lost in any cycle. Then all of the reserve is as after power-on, but its memories, which
hold anything. What is found is staged again, and the counter goes on from there. What is asked of
other banks and of inbound numbers is free.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Mux, ResetInserter, Signal

from hw.store.sequence_reserve import SequenceReserve
from spec.sa import ALL_BANKS
from spec.store import BLOCK_BITS, NUMBER_WORDS
from verif.formal.harness import Inside, Platform, Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_TX = 1  # Cat(outbound, outer)
_TX_HI, _TX_LO = NUMBER_WORDS[2:4]
_FLAGS = 3
_BLOCK = (1 << BLOCK_BITS) - 1


class ReserveWrapper(Wrapper):
    """The reserve, the counter of one bank, and the memory, with power that goes."""

    def body(self, m: Module, platform: Any) -> None:
        dut = SequenceReserve()
        which = self.constant(m, range(ALL_BANKS), "which")
        esn = self.constant(m, 1, "esn")
        memories = Platform({ALL_BANKS * 4: [Cat(Const(_TX, 2), which)]})
        inside = Inside(dut, memories)
        cut = self.given(m, 1, "cut")
        m.submodules.dut = ResetInserter(cut)(inside.fragment)
        limit, new_limit = memories.rows[0][0], memories.rows[1][_TX]
        self.free_inputs(
            m,
            dut,
            *("stage_stb", "stage_bank", "stage_index", "stage_data", "wipe", "kept"),
            *("sent_stb", "sent_number", "word_index", "raised_stb", "dropped_stb", "begin_stb"),
        )

        # The memory. `first` and `maybe` are what may be found.
        exists, durable = Signal(name="exists"), Signal(64, name="durable")
        maybe, maybe_number = Signal(name="maybe"), Signal(64, name="maybe_number")
        found, finds_maybe = Signal(64, name="found"), self.given(m, 1, "finds_maybe")
        m.d.comb += found.eq(Mux(maybe & (finds_maybe | ~exists), maybe_number, durable))

        # An SA comes to be, unkept, or comes back from the memory, kept.
        step = Signal(3, name="step")
        up, born, kept = Signal(name="up"), Signal(name="born"), Signal(name="kept")
        staged, tx = Signal(64, name="staged"), Signal(64, name="tx")
        top, given_any = Signal(64, name="top"), Signal(name="given_any")
        other = {
            name: self.given(m, len(getattr(dut, name)), f"other_{name}")
            for name in ("stage_stb", "stage_bank", "stage_index", "stage_data")
        }
        m.d.comb += [
            dut.stage_stb.eq(other["stage_stb"]),
            dut.stage_bank.eq(other["stage_bank"]),
            dut.stage_index.eq(other["stage_index"]),
            dut.stage_data.eq(other["stage_data"]),
            Assume(~other["stage_stb"] | (other["stage_bank"] != which)),
            dut.wipe.eq(self.given(m, ALL_BANKS, "wipe") & ~(1 << which)),
            dut.kept.eq(
                Mux(kept, 1 << which, 0) | (self.given(m, ALL_BANKS, "kept_others") & ~(1 << which))
            ),
        ]
        goes, begins_at = self.given(m, 1, "goes"), self.given(m, 64, "begins_at")
        with m.If(~up & (step == 0) & goes & (exists | maybe | ~born)):
            m.d.sync += [step.eq(1), staged.eq(Mux(born, found, begins_at))]
        for n, (index, data) in enumerate(
            ((_FLAGS, esn), (_TX_HI, staged[32:]), (_TX_LO, staged[:32])), 1
        ):
            with m.If(step == n):
                m.d.comb += [
                    dut.stage_stb.eq(1),
                    dut.stage_bank.eq(which),
                    dut.stage_index.eq(index),
                    dut.stage_data.eq(data),
                ]
                m.d.sync += step.eq(n + 1)
        with m.If(step == 4):
            m.d.sync += [step.eq(0), up.eq(1), kept.eq(born), born.eq(1), tx.eq(staged)]

        # The counter: takes a number some time after it was asked, and gives it in the next cycle.
        sends, prepared = Signal(64, name="sends"), Signal(name="prepared")
        asked = Signal.like(dut.send_bank, name="asked")
        answers = self.given(m, 1, "answers")
        other_number = self.given(m, 64, "other_number")
        exhausted = tx[:32].all() & (tx[32:].all() | ~esn)
        ours = Signal(name="ours")
        m.d.comb += ours.eq(dut.send_bank == which)
        with m.If(dut.send_go & ~prepared & answers):
            m.d.sync += [prepared.eq(1), asked.eq(dut.send_bank)]
            with m.If(~ours):
                m.d.sync += sends.eq(other_number)
            with m.Elif(~exhausted):
                m.d.sync += [sends.eq(tx + 1), tx.eq(tx + 1)]
        taken = Signal(name="taken")
        with m.If(dut.send_go & ~prepared & answers):
            m.d.sync += taken.eq(Mux(ours, ~exhausted, self.given(m, 1, "other_taken")))
        with m.If(prepared):
            m.d.sync += prepared.eq(0)
        waiting, was_bank = Signal(name="waiting"), Signal.like(dut.send_bank, name="was_bank")
        m.d.sync += [
            waiting.eq(dut.send_stb & ~dut.sent_stb & ~dut.send_refused),
            was_bank.eq(dut.send_bank),
        ]
        m.d.comb += [
            dut.sent_stb.eq(prepared),
            dut.sent_number.eq(sends),
            Assume(dut.sent_taken == taken),
            # Who asks goes on asking until it is answered; of a bank that is not there nobody asks.
            Assume(~waiting | (dut.send_stb & (dut.send_bank == was_bank))),
            Assume(up | ~ours | ~dut.send_stb),
        ]

        # What is claimed.
        given = Signal(name="given")
        m.d.comb += given.eq(prepared & taken & (asked == which) & ~cut)
        with m.If(given):
            m.d.sync += [top.eq(sends), given_any.eq(1)]
            m.d.comb += [
                Assert(~given_any | (sends > top), "a number is not greater than one before"),
                Assert(~exists | (sends <= durable), "a number is used before it is reserved"),
                Assert(~maybe | (sends <= maybe_number), "a number may be found again"),
            ]

        # The keeper: raises of any bank; of ours the words are read, and written.
        is_open, of_ours = Signal(name="is_open"), Signal(name="of_ours")
        reads, pending = Signal(3, name="reads"), Signal(64, name="pending")
        writing = Signal(name="writing")
        begins = (
            self.given(m, 1, "begins") & ~is_open & ~dut.busy & (up | (dut.begin_bank != which))
        )
        ends, is_good = self.given(m, 1, "ends"), self.given(m, 1, "is_good")
        lenient = self.given(m, 1, "lenient") & ~exists & ~maybe
        m.d.comb += dut.begin_stb.eq(begins)
        with m.If(up & self.given(m, 1, "keeps")):
            m.d.sync += kept.eq(1)
        with m.If(begins):
            m.d.sync += [is_open.eq(1), of_ours.eq(dut.begin_bank == which), reads.eq(0)]
            with m.If(dut.begin_bank == which):
                m.d.sync += kept.eq(1)
        with m.If(is_open & of_ours & dut.ready & (reads != 7)):
            m.d.sync += reads.eq(reads + 1)
        m.d.comb += dut.word_index.eq(Mux(reads < 3, _TX_HI, _TX_LO))
        with m.If(reads == 2):
            m.d.sync += pending[32:].eq(dut.word)
        with m.If(reads == 6):
            m.d.sync += pending[:32].eq(dut.word)
        m.d.comb += writing.eq(is_open & of_ours & (reads == 7))
        ended = Signal(name="ended")
        m.d.comb += ended.eq(is_open & ends & (~of_ours | writing))
        m.d.comb += [
            dut.raised_stb.eq(ended & (is_good | (of_ours & lenient))),
            dut.dropped_stb.eq(ended & ~dut.raised_stb),
        ]
        with m.If(ended):
            m.d.sync += is_open.eq(0)
        with m.If(ended & of_ours & is_good):
            m.d.sync += [exists.eq(1), durable.eq(pending), maybe.eq(0)]
        with m.Elif((ended & of_ours) | (writing & cut)):
            with m.If(~maybe):
                m.d.sync += [maybe.eq(1), maybe_number.eq(pending)]

        with m.If(cut):
            m.d.sync += [
                *(flag.eq(0) for flag in (up, kept, step, prepared, is_open, waiting, reads)),
            ]
        after_cut = Signal(name="after_cut")
        with m.If(cut & given_any):
            m.d.sync += after_cut.eq(1)
        m.d.comb += Cover(given & after_cut)

        # For the induction: where the reserve is with the bank, and that nothing is between.
        state = inside.state

        def is_in(*names: str) -> Any:
            return state("reserve_state", *names)

        esn_bit = inside["esn"].bit_select(which, 1)
        fresh = inside["fresh"].bit_select(which, 1)
        spent = Cat(inside[f"spent_{n}"][_TX] for n in range(ALL_BANKS)).bit_select(which, 1)
        in_flight, sending_bank = inside["in_flight"], inside["sending_bank"]
        sent, sent_outer = inside["sent"], inside["sent_outer"]
        begun, begin, raises = inside["begun"], inside["begins"], inside["raises"]
        at, where, number, bank = (inside[n] for n in ("at", "where", "number", "bank"))
        read_limit, base, moving = inside["limit"], inside["base"], inside["moving"]
        ours_sent, handled, raising, top_limit = (
            Signal(name=n) for n in ("ours_sent", "handled", "raising", "top_limit")
        )
        row = Cat(Const(_TX, 2), which)
        holds = up & kept & ~fresh
        moved = raises & is_in("move") & (at >= 2)
        made = is_in("base", "add", "put") & (at >= 2) | dut.ready | raises
        m.d.comb += [
            ours_sent.eq(sent & ~sent_outer & (sending_bank == which)),
            handled.eq(~(ours_sent | (prepared & taken & (asked == which)))),
            raising.eq(begun & (inside["raise_bank"] == which)),
            top_limit.eq(limit[:32].all() & (limit[32:].all() | ~esn)),
        ]

        def may_be_found(value: Any) -> Any:
            """No smaller number than this is found."""
            return (~exists | (value <= durable)) & (~maybe | (value <= maybe_number))

        m.d.comb += [
            Assert(is_in()),
            # The wrapper.
            Assert(step <= 4),
            Assert(~up | ((step == 0) & born)),
            Assert(~kept | up),
            Assert(~(given_any | exists | maybe) | born),
            Assert(~up | kept | ~(exists | maybe)),
            Assert(~prepared | (in_flight & (asked == sending_bank))),
            Assert(~in_flight | (waiting & (was_bank == sending_bank) & ~sent)),
            Assert(up | ~((in_flight | sent) & (sending_bank == which))),
            Assert(up | ~raising),
            Assert(~given_any | may_be_found(top)),
            Assert(~(given_any & up) | (top <= tx)),
            Assert(~(given_any & prepared & taken & (asked == which)) | (top < tx)),
            Assert(~(prepared & taken & (asked == which)) | (sends == tx)),
            Assert(~ours_sent | (sends == tx)),
            Assert((step == 0) | ~born | ~given_any | (top <= staged)),
            Assert(up | (fresh & ~spent)),
            # What is staged.
            Assert(~(up | (step >= 2)) | (esn_bit == esn)),
            Assert((step < 3) | (limit[32:] == staged[32:])),
            Assert((step < 4) | (limit[:32] == staged[:32] | _BLOCK)),
            Assert(~up | ((limit & _BLOCK) == _BLOCK)),
            # Limits hold.
            Assert(~up | fresh | kept),
            Assert(~(up & handled) | (tx <= limit)),
            Assert(~holds | (tx <= limit)),
            Assert(~holds | may_be_found(limit)),
            Assert(~holds | ~handled | (tx != limit) | spent | top_limit),
            Assert(~holds | ~in_flight | (sending_bank != which) | prepared | ~spent),
            Assert(~(up & spent) | ~top_limit | (raising & moved & moving[_TX])),
            Assert(
                ~(up & spent)
                | (kept & (~fresh | (handled & ~(in_flight & (sending_bank == which)))))
            ),
            # Of one that came back nothing is sent before its first raise.
            Assert(
                ~(up & kept & fresh & (exists | maybe))
                | (handled & ~(in_flight & (sending_bank == which)))
            ),
            # A raise.
            Assert(~raising | kept),
            Assert(~(begin | dut.ready | raises) | begun),
            Assert((begin + dut.ready + raises) <= 1),
            Assert(~is_in("move") | begin | dut.ready | raises | ~begun),
            Assert(~(is_open & raises)),
            Assert(~(is_open & of_ours) | raising),
            Assert(~(is_open & ~of_ours) | ~raising),
            Assert(is_open | ~raising | raises),
            Assert(~(is_open & of_ours & (reads != 0)) | dut.ready),
        ]
        with m.If(raising & fresh & (is_in("base", "add", "put") & begin | dut.ready | raises)):
            m.d.comb += Assert(handled & ~(in_flight & (sending_bank == which)))
        with m.If(raising & is_in("base", "add", "put") & begin):
            m.d.comb += Assert(where == Cat(at, which))
        with m.If(raising & begin & (at == _TX)):
            with m.If(is_in("add")):
                m.d.comb += Assert(read_limit == limit)
            with m.If(is_in("put")):
                m.d.comb += Assert(base == limit)
        with m.If(raises & is_in("move")):
            m.d.comb += Assert(where == Cat(at, inside["raise_bank"]))
        with m.If(raising & made & ~(is_in("base", "add", "put") & ~begin)):
            with m.If(moved):
                m.d.comb += Assert(limit == new_limit)
                # While limits move, one more number may be given, and waits to be looked at.
                few = (tx + _BLOCK + 1)[:64] <= (limit + ~handled)[:64]
                m.d.comb += Assert(~moving[_TX] | top_limit | (few & ((limit - tx)[:64] > 1)))
            with m.Else():
                adds = moving[_TX] & ~top_limit
                m.d.comb += Assert(new_limit == (limit + Mux(adds, _BLOCK + 1, 0))[:64])
        with m.If(raising & fresh & made & ~(is_in("base", "add", "put") & ~begin)):
            m.d.comb += Assert(moving[_TX])
        with m.If(raises & raising):
            m.d.comb += Assert(may_be_found(new_limit))
        with m.If(is_open & of_ours):
            hi, lo = new_limit[32:], new_limit[:32]
            m.d.comb += [
                Assert(~((reads >= 1) & (reads <= 3)) | (dut.word == hi)),
                Assert((reads < 4) | (dut.word == lo)),
                Assert((reads < 3) | (pending[32:] == hi)),
                Assert((reads < 7) | (pending[:32] == lo)),
            ]
        # A number beside its limit.
        of_sent = is_in("read", "compare", "decide") & inside["outbound"]
        with m.If(of_sent):
            m.d.comb += [
                Assert(sent),
                Assert(bank == sending_bank),
                Assert(inside["outer"] == sent_outer),
                Assert(where == Cat(Const(1, 1), sent_outer, bank)),
                Assert(sent_outer | (number == sends)),
            ]
        with m.If(is_in("read", "compare", "decide") & ~inside["outbound"]):
            m.d.comb += Assert(~where[0])
        with m.If(of_sent & ours_sent):
            with m.If(is_in("compare", "decide")):
                m.d.comb += [
                    Assert(~holds | inside["of_kept"]),
                    Assert(kept | ~inside["of_kept"]),
                ]
            with m.If(is_in("compare")):
                m.d.comb += Assert(read_limit == limit)
            with m.If(is_in("decide")):
                m.d.comb += [
                    Assert(inside["beyond"] == (tx[BLOCK_BITS:] > limit[BLOCK_BITS:])),
                    Assert(inside["is_last_block"] == (tx[BLOCK_BITS:] == limit[BLOCK_BITS:])),
                    Assert(inside["is_end"] == tx[:BLOCK_BITS].all()),
                    Assert(inside["is_top"] == top_limit),
                ]
        del row


PROOFS = [
    Proof(
        name="reserve.strictly_increasing",
        claim="Outbound numbers of an SA are strictly increasing over every reset and loss of "
        "power, whatever the memory lost that was not said to be in it",
        wrapper=ReserveWrapper,
        method=Method.INDUCTION,
        depth=3,
        mutant=Mutant(
            "hw.store.sequence_reserve",
            "may_send.eq(~self.kept | ~(fresh | Cat(spent[n].any() for n in _BANK))),",
            "may_send.eq(~self.kept | ~Cat(spent[n].any() for n in _BANK)),",
            "a bank that came back sends before it has reserved numbers",
        ),
        cover_depth=76,
        mutant_depth=40,
        requirement="6",
    ),
]
