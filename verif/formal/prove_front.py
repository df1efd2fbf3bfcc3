"""A packet is looked at under one bank, as that bank was in one cycle.

The banks are free in every cycle: any field may change at any time, as if the SAD staged, emptied
and moved its banks without rest. What the front makes of one of them must still be of one bank and
one cycle. To see which, the salt of each bank in each cycle is a number of its own; elsewhere the
salt is copied and nothing else.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cat, Const, Cover, Module, Mux, Signal, Value

from hw.ipsec.inbound.front import InboundFront
from hw.ipsec.layouts import Protocol, SaView, TakenKind, TakenMeta
from spec.counters import Counter
from spec.sa import BANKS
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_TIME_BITS = 8
_OF_CLEAR = ("text_octets", "header_octets", "encapsulated", "v6", "tags", "tunnel", "both")
_COPIED = ("epoch", "cipher", "aes256", "sha_1", "esn")


class OneBankWrapper(Wrapper):
    """The front over free banks, and a memory of one bank in one cycle, whichever that is."""

    def body(self, m: Module, platform: Any) -> None:
        dut = InboundFront()
        self.hold(m, dut)
        self.free_inputs(m, dut, "banks")
        assume_contract(m, dut.meta, "source", is_packet=False)
        job = dut.job.payload
        # Of a refused packet and of one in clear few fields mean anything; others do move for some
        # cycles while the job is offered.
        used = ~job.refused & ~job.clear
        of_clear = Cat(Value.cast(job[name]) for name in _OF_CLEAR)
        m.submodules.contract = StreamContract(
            dut.job,
            is_packet=False,
            meaning=Cat(
                *(job.refused, job.clear, job.token),
                Mux(job.refused, 0, of_clear),
                Mux(used, Value.cast(job), 0),
            ),
        )

        time = Signal(_TIME_BITS, name="time")
        m.d.sync += time.eq(time + 1)
        banks = [self.free(m, SaView, f"bank_{n}") for n in range(BANKS)]
        for n, bank in enumerate(banks):
            m.d.comb += Value.cast(dut.banks[n]).eq(Value.cast(bank))
            m.d.comb += Assume(bank.salt_in == Cat(time, Const(n, 8)))
        at = self.constant(m, _TIME_BITS, "kept_time")
        which = self.constant(m, range(BANKS), "kept_bank")
        kept = Signal(SaView)
        with m.If(time == at):
            m.d.sync += kept.eq(Array(banks)[which])

        # The packet, and since when it is here.
        meta = Signal(TakenMeta, name="the_meta")
        since = Signal(_TIME_BITS)
        begins = dut.meta.valid & dut.meta.ready
        with m.If(begins):
            m.d.sync += [meta.eq(dut.meta.payload), since.eq(time)]
        is_clear = meta.kind == TakenKind.CLEAR
        is_ah = meta.kind == TakenKind.AH
        both = kept.protocol == Protocol.BOTH
        used = dut.job.valid & used
        is_kept = (job.salt[:_TIME_BITS] == at) & (job.salt[_TIME_BITS:] == which)
        with m.If(dut.job.valid):
            m.d.comb += [
                Assert(job.clear == is_clear),
                Assert(~job.clear | ~job.both),
                Assert(job.token == meta.token),
                Assert(~job.clear | ~job.tunnel),
            ]
        with m.If(used):
            # The look was while the packet was here.
            age = Signal(_TIME_BITS, name="age")
            m.d.comb += [
                age.eq(time - job.salt[:_TIME_BITS]),
                Assert(age < (time - since)[:_TIME_BITS], "a bank of another packet's time"),
            ]
        with m.If(used & is_kept):
            m.d.comb += [
                Assert(kept.receives, "a bank that does not receive"),
                Assert(job.bank == which, "another bank's number"),
                *(
                    Assert(Value.cast(job[name]) == Value.cast(kept[name]), f"{name} of another")
                    for name in _COPIED
                ),
                Assert(job.tunnel == kept.tunnel),
                Assert(job.spi == kept.spi_in),
                Assert(job.both == both),
                Assert(job.ah == is_ah),
                # The SPI is that of the packet, in the place where the protocol has it.
                Assert(is_ah | ~both, "a suite of AH and ESP without AH"),
                Assert(both | (is_ah == (kept.protocol == Protocol.AH))),
                Assert(both | (meta.spi == kept.spi_in)),
                Assert(~both | ((meta.esp_spi == kept.spi_in) & (meta.spi == kept.ah_spi_in))),
                Assert(~both | (meta.ah_next == 50)),
            ]
        # The window that was asked is the job's bank's.
        asked_bank, asked_esn = Signal(range(BANKS)), Signal()
        with m.If(dut.window_stb):
            m.d.sync += [asked_bank.eq(dut.window_bank), asked_esn.eq(dut.window_esn)]
        with m.If(used):
            m.d.comb += Assert((asked_bank == job.bank) & (asked_esn == job.esn))
        counted = Cat(dut.count[reason] for reason in Counter)
        m.d.comb += Assert(counted & (counted - 1) == 0)
        m.d.comb += [
            Cover(used & is_kept & (which == BANKS - 1) & job.both),
            Cover(used & is_kept & ~job.both & ~job.ah),
            Cover(dut.job.valid & job.refused),
        ]


PROOFS = [
    Proof(
        name="front.one_bank",
        claim="SPI, suite, salt, epoch and window of a packet are those of one receiving bank in "
        "one cycle, whatever happens to the banks",
        wrapper=OneBankWrapper,
        method=Method.BOUNDED,
        depth=22,
        mutant=Mutant(
            "hw.ipsec.inbound.front",
            "job.salt.eq(view.salt_in),",
            "job.salt.eq(self.banks[bank].salt_in),",
            "the salt is looked up once more, later",
        ),
        cover_depth=40,
        mutant_depth=40,
        requirement="3",
    ),
]
