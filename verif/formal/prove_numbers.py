"""Outbound numbers of one power-on: each is one more than the last, and none is given twice.

The wrapper drives every input of `BankRecords` freely in each cycle: stage writes, wipes, the
inbound path's reads, banks that begin, and questions of the builder. Nothing is assumed of them.

One bank is watched, whichever it is; of the memory its words that numbers hang on are kept, and
whatever else is read is a free value (`verif.formal.harness.Platform`). What ends a row of numbers
is a write to the record of that bank, or a wipe: then it is another SA's, with other keys. That
neither happens to a bank in use is `sad.keys_rest`.

What a loss of power does is the business of `reserve.strictly_increasing`.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Cat, Const, Cover, Module, Signal, Value

from hw.ipsec.bank_records import WALK, BankRecords
from hw.ipsec.layouts import BANK_WORDS, BankWord, OutboundSa, Protocol, SuiteView
from hw.ipsec.sad_stage import RecordWrite
from spec.sa import ALL_BANKS, SaFlag
from verif.formal.harness import Inside, Platform, Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_WORD_BITS = (BANK_WORDS - 1).bit_length()
_SENDS = ("SUITE", "FLAGS", "SPI_OUT", "AH_SPI_OUT", "SALT_OUT")
_NUMBERS = ("TX_SEQ_LO", "TX_SEQ_HI", "AH_TX_SEQ_LO", "AH_TX_SEQ_HI")
_BANK = 5
_SENT_CYCLES = 36
"""From one answer to the next, if it is asked for at once."""
_SCRIPT_CYCLES = 130


def sent() -> dict[int, dict[str, int]]:
    """A script: an SA with AH around ESP and ESN, close to the ends of its numbers, and replies."""
    suite = SuiteView.const({"protocol": Protocol.BOTH})
    record = {
        "SUITE": Value.cast(suite).value,
        "FLAGS": SaFlag.ESN,
        "TX_SEQ_LO": 0xFFFF_FFFE,
        "AH_TX_SEQ_HI": 0xFFFF_FFFF,
        "AH_TX_SEQ_LO": 0xFFFF_FFFD,
    }
    words = [
        RecordWrite.const({"stb": 1, "bank": _BANK, "word": getattr(BankWord, name), "data": value})
        for name, value in record.items()
    ]
    script = {n: {"write": Value.cast(word).value} for n, word in enumerate(words)}
    asks = {"send_stb": 1, "send_bank": _BANK, "send_takes": 1}
    return script | dict.fromkeys(range(len(words), _SCRIPT_CYCLES), asks)


_READING = ("SEND", "OWN", "OTHER", "PEER", "EDGE_HIGH", "EDGE_LOW")
"""States of the walker in which it waits for a word."""
_WATCHED = ("SUITE", "FLAGS", *_NUMBERS)


def _walks(inside: Inside, *states: str) -> Value:
    """Whether the walker is in one of these states."""
    return inside.flag("walk", WALK, *states)


class NumbersWrapper(Wrapper):
    """The records, and the last number that was given of one bank."""

    def body(self, m: Module, platform: Any) -> None:
        dut = BankRecords()
        which = self.constant(m, range(ALL_BANKS), "which")
        memories = Platform(
            {
                ALL_BANKS * BANK_WORDS: [
                    Cat(Const(getattr(BankWord, name), _WORD_BITS), which) for name in _WATCHED
                ]
            }
        )
        inside = self.hold(m, dut, platform=memories)
        self.free_inputs(m, dut)
        rows = dict(zip(_WATCHED, memories.rows[0], strict=True))
        numbers = [Cat(rows[low], rows[high]) for low, high in (_NUMBERS[:2], _NUMBERS[2:])]
        esn = (rows["FLAGS"] & SaFlag.ESN).any()
        both = SuiteView(rows["SUITE"][: SuiteView.size]).protocol == Protocol.BOTH

        # Another SA: what is written of it, now or as soon as there is a turn, and its wipe.
        waiting = RecordWrite(inside["waiting"])
        wiped = dut.wipe.bit_select(which, 1) | dut.wiping.bit_select(which, 1)
        disturbed = Signal(name="disturbed")
        m.d.comb += disturbed.eq(
            (dut.write.stb & (dut.write.bank == which))
            | (waiting.stb & (waiting.bank == which))
            | wiped
        )
        idle = _walks(inside, "IDLE")
        calm = Signal(name="calm")  # since this question began
        with m.If(disturbed):
            m.d.sync += calm.eq(0)
        with m.Elif(idle):
            m.d.sync += calm.eq(1)

        # A question, from its first cycle on, and its answer.
        asked = Signal(range(ALL_BANKS), name="asked")
        takes = Signal(name="was_to_take")
        with m.If(idle):
            m.d.sync += [asked.eq(dut.send_bank), takes.eq(dut.send_takes)]
        given = Signal(name="given")
        m.d.comb += given.eq(dut.send_done & takes & ~dut.send_exhausted & (asked == which))
        sends = OutboundSa(Value.cast(dut.sends))
        answers = [sends.tx_sequence, sends.ah_tx_sequence]
        has_last = Signal(name="has_last")
        last = [Signal(64, name=f"last_{n}") for n in range(2)]
        with m.If(given):
            m.d.sync += has_last.eq(calm & ~disturbed)
            m.d.sync += [one.eq(answer) for one, answer in zip(last, answers, strict=True)]
        with m.Elif(disturbed):
            m.d.sync += has_last.eq(0)

        for n, (one, answer, number) in enumerate(zip(last, answers, numbers, strict=True)):
            counts = both if n else Const(1, 1)
            with m.If(given & calm & ~disturbed):
                m.d.comb += Assert(number == answer, "a number is given before it is written")
                with m.If(has_last):
                    m.d.comb += Assert(answer == (one + 1)[:64], "a number is skipped or repeated")
                    with m.If(counts):
                        m.d.comb += [
                            Assert(~esn | ~one.all(), "a number behind the last of all"),
                            Assert(esn | ~one[:32].all(), "a number behind the last of 32 bits"),
                        ]
                        m.d.comb += Assert(
                            (answer > one) & (esn | (answer[:32] > one[:32])),
                            "a number is not greater than the one before",
                        )
        # What is told of a bank is its own.
        with m.If(given & calm & ~disturbed):
            m.d.comb += Assert(sends.esn == esn)
            m.d.comb += Assert((sends.suite.protocol == Protocol.BOTH) == both)
        # The high word counts; and behind the last number of AH there is none.
        m.d.comb += [
            Cover(given & has_last & (last[0] == 0xFFFF_FFFF)),
            Cover(dut.send_done & dut.send_exhausted & has_last & (asked == which) & both),
        ]

        # For the induction: where the walker is, and what it has read.
        self._walker(
            m, inside, rows, (which, asked, takes, calm, disturbed, sends, numbers, dut.start)
        )
        send = _walks(inside, "SEND")
        answers_now = _walks(inside, "TAKEN", "TAKE") | dut.send_done
        with m.If(has_last & ~disturbed & ~given):
            in_take = _walks(inside, "TAKE") & (asked == which)
            at = inside["at"]
            for n, (one, number) in enumerate(zip(last, numbers, strict=True)):
                fresh = [Cat(answers[n][:32], one[32:]), answers[n]]
                is_last = one[:32].all() & (one[32:].all() | ~esn) & (both if n else 1)
                with m.If(in_take):
                    m.d.comb += Assert((answers[n] == (one + 1)[:64]) & ~is_last)
                with m.If(~in_take | (at <= 2 * n)):
                    m.d.comb += Assert(number == one)
                with m.Elif(at == 2 * n + 1):
                    m.d.comb += Assert(number == fresh[0])
                with m.Else():
                    m.d.comb += Assert(number == fresh[1])
        m.d.comb += Assert(~dut.send_done | _walks(inside, "PAUSE"))
        m.d.comb += Assert(~has_last | calm)
        m.d.comb += Assert(~(send | answers_now) | (takes == inside["takes"]))

    def _walker(self, m: Module, inside: Any, rows: Any, of: Any) -> None:
        which, asked, takes, calm, disturbed, sends, numbers, start = of
        order = (*_SENDS, *_NUMBERS)
        send, sent = _walks(inside, "SEND"), inside["send_done"]
        taken, take = _walks(inside, "TAKEN"), _walks(inside, "TAKE")
        at, place = inside["at"], inside["place"]
        walk, sending, wiping = inside["walk"], inside["sending"], inside["wiping"]
        compared = inside["compared"] & _walks(inside, "OTHER")
        steps = Cat(inside["asks"], inside["on_its_way"], inside["came"], compared)
        step = Signal(range(len(order)), name="step")  # as a number, while `send`
        for n in range(len(order)):
            with m.If(sending[n]):
                m.d.comb += step.eq(n)
        exhausted, word = inside["exhausted"], inside["word"]
        m.d.comb += [
            *(Assert((flags & (flags - 1))[: len(flags)] == 0) for flags in (walk, steps, sending)),
            Assert(walk.any()),
            *(
                Assert((flags & (flags - 1))[: len(flags)] == 0)
                for flags in (inside["item"], inside["wanted"])
            ),
            Assert(~_walks(inside, "IDLE") | ~start | ((inside["wanted"] & ~inside["item"]) == 0)),
            Assert(sending.any() == send),
            Assert(inside["puts"] == _walks(inside, "TAKE", "WIPE")),
            Assert(~(send | taken | take | sent) | (inside["bank"] == asked)),
            Assert(steps.any() == _walks(inside, *_READING)),
            Assert(~(send | taken) | (at == 0)),
            Assert(~take | (takes & ~exhausted)),
            Assert(~_walks(inside, "WIPE") | wiping.bit_select(inside["bank"], 1)),
            Assert(
                ~(_walks(inside, "IDLE") & inside["wipes"]) | wiping.bit_select(inside["wiped"], 1)
            ),
        ]
        for n, name in enumerate(order):
            with m.If(send & (step == n)):
                m.d.comb += Assert(place == getattr(BankWord, name))
        for n, name in enumerate(_NUMBERS):
            with m.If((take | taken) & (at == n)):
                m.d.comb += Assert(place == getattr(BankWord, name))
        ours = Signal(name="ours")
        m.d.comb += ours.eq((asked == which) & calm & ~disturbed)
        suite = SuiteView(rows["SUITE"][: SuiteView.size])
        esn = (rows["FLAGS"] & SaFlag.ESN).any()
        both = suite.protocol == Protocol.BOTH
        with m.If(send & ours):
            for n, name in enumerate(order):
                if name in rows:
                    with m.If((step == n) & inside["came"]):
                        m.d.comb += Assert(word == rows[name])
                    with m.If((step == n) & inside["on_its_way"]):
                        m.d.comb += Assert(inside["latch"] == rows[name])
            self._read(m, step, order, inside, rows, sends, numbers, esn)
        with m.If(take & ours):
            for n, name in enumerate(_NUMBERS):
                answer = (sends.tx_sequence, sends.ah_tx_sequence)[n // 2]
                with m.If(at > n):
                    m.d.comb += Assert(rows[name] == (answer[32:] if n % 2 else answer[:32]))
        # All is read: the next numbers, unless one was the last.
        low, high = [number[:32].all() for number in numbers], [n[32:].all() for n in numbers]
        is_last = [low[n] & (high[n] | ~esn) & (both if n else 1) for n in range(2)]
        with m.If(taken & ours):
            m.d.comb += [
                Assert(exhausted == (is_last[0] | is_last[1])),
                Assert(sends.tx_sequence == (numbers[0] + 1)[:64]),
                Assert(sends.ah_tx_sequence == (numbers[1] + 1)[:64]),
            ]
        with m.If((taken | take | sent) & ours):
            m.d.comb += [
                Assert(sends.esn == esn),
                Assert(Value.cast(sends.suite) == Value.cast(suite)),
            ]

    def _read(self, m: Module, at: Any, order: Any, inside: Any, rows: Any, *of: Any) -> None:
        sends, numbers, esn = of
        exhausted, carry = inside["exhausted"], inside["carry"]
        first = len(_SENDS)
        with m.If(at > order.index("SUITE")):
            m.d.comb += Assert(Value.cast(sends.suite) == rows["SUITE"][: SuiteView.size])
        with m.If(at > order.index("FLAGS")):
            m.d.comb += Assert(sends.esn == esn)
        with m.If(at <= first):
            m.d.comb += Assert(carry & ~exhausted)
        for n, (number, answer) in enumerate(
            zip(numbers, (sends.tx_sequence, sends.ah_tx_sequence), strict=True)
        ):
            low = first + 2 * n
            next_number = (number + 1)[:64]
            is_last = number[:32].all() & (number[32:].all() | ~esn)
            with m.If(at > low):
                m.d.comb += Assert(answer[:32] == next_number[:32])
            with m.If(at == low + 1):
                m.d.comb += [
                    Assert(inside["low_is_last"] == number[:32].all()),
                    Assert(carry == number[:32].all()),
                ]
            with m.If(at > low + 1):
                m.d.comb += Assert(answer[32:] == next_number[32:])
            if n == 0:
                with m.If(at == low + 1):
                    m.d.comb += Assert(~exhausted)
                with m.If(at > low + 1):
                    m.d.comb += Assert(exhausted == is_last)
                with m.If(at == low + 2):
                    m.d.comb += Assert(carry)


PROOFS = [
    Proof(
        name="numbers.once",
        claim="Each outbound number given of a bank is in its record, and is one more than the one "
        "before; behind the last of all there is none",
        wrapper=NumbersWrapper,
        method=Method.INDUCTION,
        depth=4,
        mutant=Mutant(
            "hw.ipsec.bank_records",
            "m.d.sync += [carry.eq(is_last), low_is_last.eq(is_last)]",
            "m.d.sync += [carry.eq(0), low_is_last.eq(is_last)]",
            "nothing is carried from the low word to the high one",
        ),
        scripted=lambda: NumbersWrapper(script=sent()),
        skip=_SENT_CYCLES,
        cover_depth=_SCRIPT_CYCLES,
        mutant_depth=3 * _SENT_CYCLES,
        requirement="6",
    ),
]
