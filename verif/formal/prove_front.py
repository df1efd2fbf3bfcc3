"""A packet is looked at under one bank's record, while that bank received in one epoch.

One bank is watched, whichever it is. What its record says and whether it receives is free in every
cycle, but for what the SAD promises: a record changes neither while its bank receives nor in the
`_REST_CYCLES` before it begins to, and the epoch goes on as the bank stops to receive. Of the other
banks nothing is promised.

The look is when the last word asked for has come. What the front makes of the packet afterwards
must be of the record and the epoch of that one cycle, whatever the banks do later.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Mux, Signal, Value
from amaranth.lib import data

from hw.ipsec.inbound.front import InboundFront
from hw.ipsec.layouts import (
    BANK_WORDS,
    EPOCH_BITS,
    BankWord,
    InboundSa,
    Protocol,
    SuiteView,
    TakenKind,
    TakenMeta,
)
from spec.counters import Counter
from spec.headers import PROTOCOL_ESP
from spec.sa import ALL_BANKS, SaFlag
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_OF_CLEAR = ("text_octets", "header_octets", "encapsulated", "v6", "tags", "tunnel", "both")
_COPIED = ("cipher", "aes256", "sha_1")
_REST_CYCLES = 8
_WORD_BITS = (BANK_WORDS - 1).bit_length()
_WORDS = ("SPI_IN", "AH_SPI_IN", "SUITE", "FLAGS", "SALT_IN")
_Record = data.StructLayout(dict.fromkeys(map(str.lower, _WORDS), 32))


class OneBankWrapper(Wrapper):
    """The front over free banks, and what one of them was when the packet was looked at."""

    def body(self, m: Module, platform: Any) -> None:
        dut = InboundFront()
        inside = self.hold(m, dut)
        self.free_inputs(m, dut, "receives", "epoch", "read_data")
        assume_contract(m, dut.meta, "source", is_packet=False)
        job = dut.job.payload
        # Of a refused packet and of one in clear few fields mean anything; others do move for some
        # cycles while the job is offered.
        protected = ~job.refused & ~job.clear
        of_clear = Cat(Value.cast(job[name]) for name in _OF_CLEAR)
        m.submodules.contract = StreamContract(
            dut.job,
            is_packet=False,
            meaning=Cat(
                *(job.refused, job.clear, job.token),
                Mux(job.refused, 0, of_clear),
                Mux(protected, Value.cast(job), 0),
            ),
        )
        used = dut.job.valid & protected
        which = self.constant(m, range(ALL_BANKS), "which")
        record = self._banks(m, dut, which)

        # The look: all that was asked for is there, two cycles after the last word was.
        looked = past(m, dut.read_stb, "looked", cycles=2)
        looked_bank = past(m, dut.read_address[_WORD_BITS:], "looked_bank", cycles=2)
        seen, fresh = Signal(_Record, name="seen"), Signal(name="fresh")
        seen_bank = Signal(range(ALL_BANKS))
        seen_receives, seen_epoch = Signal(name="seen_receives"), Signal(EPOCH_BITS)
        begins = dut.meta.valid & dut.meta.ready
        meta = Signal(TakenMeta, name="the_meta")
        with m.If(looked):
            m.d.sync += [
                fresh.eq(1),
                seen.eq(record),
                seen_bank.eq(looked_bank),
                seen_receives.eq(dut.receives.bit_select(looked_bank, 1)),
                seen_epoch.eq(dut.epoch[looked_bank]),
            ]
        with m.If(begins):
            m.d.sync += [meta.eq(dut.meta.payload), fresh.eq(0)]
        suite = SuiteView(seen.suite[: SuiteView.size])
        seen_esn = (seen.flags & SaFlag.ESN).any()
        seen_tunnel = (seen.flags & SaFlag.TUNNEL).any()
        seen_administrator = (seen.flags & SaFlag.ADMINISTRATOR).any()

        is_ah = meta.kind == TakenKind.AH
        both = suite.protocol == Protocol.BOTH
        with m.If(dut.job.valid):
            m.d.comb += [
                Assert(job.clear == (meta.kind == TakenKind.CLEAR)),
                Assert(~job.clear | ~job.both),
                Assert(job.token == meta.token),
                Assert(~job.clear | ~job.tunnel),
                Assert(~job.clear | ~job.administrator, "an administrator in clear"),
            ]
        with m.If(used):
            m.d.comb += [
                Assert(fresh & (seen_bank == meta.bank), "a look for another packet"),
                Assert(seen_receives, "a bank that does not receive"),
                Assert(job.bank == meta.bank, "another bank's number"),
                Assert(job.epoch == seen_epoch, "another epoch"),
            ]
        spi_is_right = Mux(
            both & is_ah,
            meta.spi == seen.ah_spi_in,
            (is_ah == (suite.protocol == Protocol.AH)) & (meta.spi == seen.spi_in),
        )
        with m.If(used & (job.bank == which)):
            m.d.comb += [
                *(
                    Assert(Value.cast(job[name]) == Value.cast(suite[name]), f"{name} of another")
                    for name in _COPIED
                ),
                Assert(job.esn == seen_esn),
                Assert(job.tunnel == seen_tunnel),
                Assert(job.administrator == seen_administrator, "another SA's role"),
                Assert(job.spi == seen.spi_in),
                Assert(job.salt == seen.salt_in),
                Assert(job.both == both),
                Assert(job.ah == is_ah),
                # The SPI is that of the packet, in the place where the protocol has it.
                Assert(spi_is_right),
                Assert(is_ah | ~both, "a suite of AH and ESP without AH"),
                Assert(~both | ((meta.esp_spi == seen.spi_in) & (meta.ah_next == PROTOCOL_ESP))),
            ]
        # The window that was asked is the job's bank's.
        asked_bank, asked_esn = Signal(range(ALL_BANKS)), Signal()
        with m.If(dut.window_stb):
            m.d.sync += [asked_bank.eq(dut.window_bank), asked_esn.eq(dut.window_esn)]
        with m.If(used):
            m.d.comb += Assert((asked_bank == job.bank) & (asked_esn == job.esn))
        counted = Cat(dut.count[reason] for reason in Counter)
        m.d.comb += Assert(counted & (counted - 1) == 0)
        was_of_another = Signal()  # since the look
        with m.If(looked):
            m.d.sync += was_of_another.eq(0)
        with m.Elif(dut.receives.bit_select(which, 1) & (record != seen)):
            m.d.sync += was_of_another.eq(1)
        m.d.comb += [
            Cover(used & (job.bank == which) & job.both),
            Cover(used & (job.bank == which) & ~job.both & ~job.ah & was_of_another),
            Cover(dut.job.valid & job.refused),
        ]

        # For the induction: where the front is, and what it holds then.
        view = InboundSa(inside["view"])
        has_looked = Cat(
            *(inside[name] for name in ("matches", "knows", "settles", "shapes")),
            *(inside[name] for name in ("asks", "waits", "gives")),
        ).any()
        is_known = Cat(inside[name] for name in ("settles", "shapes", "asks", "waits")).any() | (
            inside["gives"] & ~inside["refused"] & ~inside["clear"]
        )
        asked = (inside["waits"]) | (inside["gives"] & ~inside["refused"] & ~inside["clear"])
        shaped = Cat(inside["asks"], asked).any()
        steps = Cat(
            *(inside[name] for name in ("idle", "clears", "reads", "matches", "knows", "settles")),
            *(inside[name] for name in ("shapes", "asks", "waits", "gives")),
        )
        m.d.comb += [
            Assert(steps.any() & ((steps & (steps - 1)) == 0)),
            Assert(inside["idle"] | (inside["meta"] == Value.cast(meta))),
            Assert(inside["idle"] | (inside["bank"] == meta.bank)),
            Assert(inside["idle"] | (inside["clear"] == (meta.kind == TakenKind.CLEAR))),
            Assert(~(is_known & ~inside["gives"]) | ~inside["refused"]),
            Assert(~(has_looked & ~inside["gives"]) | ~inside["clear"]),
        ]
        with m.If(has_looked & ~inside["clear"]):
            m.d.comb += [
                Assert(fresh & (seen_bank == meta.bank)),
                Assert(inside["receives"] == seen_receives),
                Assert(inside["epoch"] == seen_epoch),
            ]
            with m.If(seen_receives & (seen_bank == which)):
                m.d.comb += [
                    Assert(view.suite == suite),
                    Assert(view.spi_in == seen.spi_in),
                    Assert(view.ah_spi_in == seen.ah_spi_in),
                    Assert(view.salt_in == seen.salt_in),
                    Assert((view.esn == seen_esn) & (view.tunnel == seen_tunnel)),
                    Assert(view.administrator == seen_administrator),
                ]
        with m.If(is_known):
            m.d.comb += Assert(seen_receives)
            with m.If(seen_bank == which):
                m.d.comb += Assert(spi_is_right)
        with m.If(shaped & (seen_bank == which)):
            m.d.comb += Assert(
                ~both | (is_ah & (meta.esp_spi == seen.spi_in) & (meta.ah_next == PROTOCOL_ESP))
            )
        with m.If(asked):
            m.d.comb += Assert((asked_bank == meta.bank) & (asked_esn == view.esn))

    def _banks(self, m: Module, dut: Any, which: Value) -> Any:
        """The banks, of which one keeps what the SAD promises; returns its record."""
        record = Signal(_Record, name="record")
        changes = self.free(m, 1, "changes")
        new = self.free(m, _Record.size, "new_record")
        rests = Signal(range(_REST_CYCLES + 1))
        receives = self.free(m, ALL_BANKS, "all_receive")
        epochs = [self.free(m, EPOCH_BITS, f"epoch_{n}") for n in range(ALL_BANKS)]
        here = receives.bit_select(which, 1)
        with m.If(changes):
            m.d.sync += [Value.cast(record).eq(new), rests.eq(0)]
        with m.Elif(rests != _REST_CYCLES):
            m.d.sync += rests.eq(rests + 1)
        m.d.comb += Assume(~here | ((rests == _REST_CYCLES) & ~changes))
        epoch = Array(epochs)[which]
        started = past(m, 1, "started")
        ended = past(m, here, "received") & ~here
        m.d.comb += Assume(~started | (epoch == (past(m, epoch, "old_epoch") + ended)[:EPOCH_BITS]))
        m.d.comb += [
            dut.receives.eq(receives),
            *(dut.epoch[n].eq(epoch) for n, epoch in enumerate(epochs)),
        ]
        word = Signal(32, name="read_word")
        m.d.comb += word.eq(self.free(m, 32, "other_word"))
        with m.If(dut.read_address[_WORD_BITS:] == which):
            with m.Switch(dut.read_address[:_WORD_BITS]):
                for name in _WORDS:
                    with m.Case(getattr(BankWord, name)):
                        m.d.comb += word.eq(record[name.lower()])
        m.d.comb += dut.read_data.eq(past(m, word, "read_late", cycles=2))
        return record


PROOFS = [
    Proof(
        name="front.one_bank",
        claim="SPI, suite, flags, salt, epoch and window of a packet are those of one bank's "
        "record while it received in that epoch, whatever happens to the banks",
        wrapper=OneBankWrapper,
        method=Method.INDUCTION,
        depth=14,
        mutant=Mutant(
            "hw.ipsec.inbound.front",
            "job.epoch.eq(epoch),",
            "job.epoch.eq(self.epoch[bank]),",
            "the epoch is looked up once more, later",
        ),
        cover_depth=45,
        mutant_depth=30,
        requirement="3",
    ),
]
