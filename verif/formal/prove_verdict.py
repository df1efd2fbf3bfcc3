"""The verdict over an inbound packet, and that its time does not tell where an ICV is wrong.

All streams, the window's answers and the banks are free, but that a message in clear has no AH
around ESP. ICVs and tags are paired as the verdict's contract has it: octet by octet in the order
in which each came; of an ICV of 12 octets the last four of its tag must be zeros.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Mux, Signal, Value

from hw.ipsec.inbound.job import Pending
from hw.ipsec.inbound.verdict import InboundVerdict
from spec.counters import Counter
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Inside, Wrapper, past, same_state
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_STREAMS = ("pending", "icv", "cipher_tag", "main_tag", "outer_tag", "finding")
_STATES = ("idle", "compares_all", "rechecks", "waits", "updates", "looks", "decides")


class VerdictWrapper(Wrapper):
    """The verdict, and a reckoning of the wrapper's own of what each packet has passed."""

    def body(self, m: Module, platform: Any) -> None:
        dut = InboundVerdict()
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        for name in _STREAMS:
            assume_contract(m, getattr(dut, name), f"source_{name}", is_packet=False)
        m.submodules.contract = StreamContract(dut.decision, is_packet=False)
        # As the front has it (front.one_bank).
        m.d.comb += Assume(~(dut.pending.payload.clear & dut.pending.payload.both))

        packet = Signal(Pending, name="the_packet")
        begins = dut.pending.valid & dut.pending.ready
        life = Array(dut.banks)[packet.bank]

        # Octets of ICV and tag that have no partner yet, and how many tag octets there were.
        icv, icv_waits = Signal(8), Signal()
        tag, tag_waits = Signal(8), Signal()
        outer_octets, main_octets = (Signal(range(_TAG_OCTETS + 1)) for _ in range(2))
        differs = Signal(name="differs_somewhere")
        sources = (dut.outer_tag, dut.main_tag, dut.cipher_tag)
        moves = Cat(source.valid & source.ready for source in sources)
        of_outer, of_main, of_cipher = moves
        octet = Mux(of_outer, sources[0].payload, Mux(of_main, sources[1].payload, 0)) | Mux(
            of_cipher, sources[2].payload, 0
        )
        is_tail = ~of_outer & packet.sha_1 & (main_octets >= _SHA_1_OCTETS)
        icv_comes = dut.icv.valid & dut.icv.ready
        with m.If(icv_waits & tag_waits):
            m.d.sync += [icv_waits.eq(0), tag_waits.eq(0)]
        with m.If(icv_comes):
            m.d.sync += [icv.eq(dut.icv.payload), icv_waits.eq(1)]
            m.d.comb += Assert(~icv_waits | tag_waits, "an octet of the ICV is lost")
        with m.If(moves.any()):
            m.d.comb += [
                Assert(~tag_waits | icv_waits, "an octet of the tag is lost"),
                Assert(moves & (moves - 1) == 0),
                Assert(~of_outer | (packet.both & (main_octets == 0))),
                Assert(of_outer | ~packet.both | (outer_octets == _TAG_OCTETS)),
                Assert(of_outer | (of_cipher == packet.by_cipher)),
                Assert(~packet.clear),
            ]
            with m.If(of_outer):
                m.d.sync += outer_octets.eq(outer_octets + 1)
            with m.Else():
                m.d.sync += main_octets.eq(main_octets + 1)
            with m.If(~is_tail):
                m.d.sync += [tag.eq(octet), tag_waits.eq(1)]
        wrong_pair = icv_waits & tag_waits & (icv != tag)
        wrong_tail = moves.any() & is_tail & (octet != 0)
        m.d.sync += differs.eq(differs | wrong_pair | wrong_tail)
        # All octets were compared, and all were right.
        compared = Signal()
        m.d.comb += compared.eq(
            (main_octets == _TAG_OCTETS)
            & (~packet.both | (outer_octets == _TAG_OCTETS))
            & ~(tag_waits)
        )

        # Windows: main and outer.
        asks = dut.window_recheck & dut.window_taken
        moved = dut.window_update & dut.window_taken
        asked, asked_outer = Signal(), Signal()
        new, updated = Signal(2), Signal(2)
        wanted = Cat(1, packet.both)
        with m.If(asks):
            m.d.sync += [asked.eq(1), asked_outer.eq(dut.window_outer)]
        with m.If(asked & dut.window_done):
            m.d.sync += asked.eq(0)
            with m.If(~dut.window_old & ~dut.window_duplicate):
                m.d.sync += new.bit_select(asked_outer, 1).eq(1)
        with m.If(moved):
            m.d.sync += updated.bit_select(dut.window_outer, 1).eq(1)
        right = Signal()
        m.d.comb += right.eq(compared & ~differs & (new == wanted))
        with m.If(dut.window_recheck | dut.window_update):
            outer = dut.window_outer
            m.d.comb += [
                Assert(compared & ~packet.clear),
                Assert(~outer | packet.both),
                Assert(dut.window_bank == packet.bank),
                Assert(dut.window_esn == packet.esn),
                Assert(dut.window_sequence == Mux(outer, packet.outer_sequence, packet.sequence)),
                Assert(dut.window_high == Mux(outer, packet.outer_high, packet.high)),
            ]
        with m.If(dut.window_update):
            m.d.comb += Assert(right, "a window moves before all ICVs were right and new")
        held = past(m, life.receives & (life.epoch == packet.epoch), "held")
        with m.If(dut.prove_stb):
            m.d.comb += [
                Assert(right & moved & ((updated | Cat(1, 0)) == wanted)),
                Assert(dut.prove_bank == packet.bank),
                Assert(held, "a bank that went is proven"),
            ]
        proved = Signal()
        with m.If(dut.prove_stb):
            m.d.sync += proved.eq(1)

        found, decision = dut.finding.payload, dut.decision.payload
        passes = found.padding_ok & ~found.dummy & found.next_ok & found.selector_ok
        with m.If(dut.decision.valid):
            m.d.comb += [
                Assert(decision.meta.protected == ~packet.clear),
                Assert(decision.meta.bank == packet.bank),
                Assert(decision.meta.administrator == packet.administrator),
                Assert(decision.meta.epoch == packet.epoch),
                Assert(decision.meta.token == packet.token),
                Assert(dut.finding.valid & (dut.finding.ready == dut.decision.ready)),
                Assert(decision.meta.octets == found.octets),
            ]
            with m.If(decision.good & ~packet.clear):
                m.d.comb += Assert(
                    right & (updated == wanted) & proved & passes,
                    "a packet passes without all of its checks",
                )
        # Each packet ends in one decision and, if it does not pass, under one counter.
        reasons = Signal(range(4))
        counted = Cat(dut.count[which] for which in Counter)
        m.d.comb += Assert(counted & (counted - 1) == 0, "two counters at once")
        with m.If(begins):
            m.d.sync += [
                packet.eq(dut.pending.payload),
                *(s.eq(0) for s in (outer_octets, main_octets, differs, new, updated, proved)),
                asked.eq(0),
                reasons.eq(0),
            ]
        with m.Elif(counted.any()):
            m.d.sync += reasons.eq(reasons + 1)
            m.d.comb += Assert(reasons == 0, "a packet is counted twice")
        with m.If(dut.decision.valid):
            m.d.comb += Assert((reasons + counted.any() == 1) == ~decision.good)

        self._within(m, inside, locals())
        m.d.comb += [
            Cover(dut.decision.valid & decision.good & packet.sha_1 & ~packet.both & proved),
            Cover(dut.decision.valid & ~decision.good & dut.count[Counter.DROP_ICV]),
        ]

    @staticmethod
    def _within(m: Module, inside: Inside, own: dict[str, Any]) -> None:
        """How the verdict's registers and the reckoning agree, for the induction."""
        packet, wanted, right = own["packet"], own["wanted"], own["right"]
        new, updated = own["new"], own["updated"]
        state = {name: inside[name] for name in _STATES}
        idle, outer = inside["idle"], inside["outer"]
        tag_waits, zero = inside["tag_valid"], inside["zero"]
        asks_outer = inside["asks_outer"]
        asks_main = inside["asks_main"] | inside["asks_cipher"]
        at = inside["octet_at"]
        after = Cat(state[name] for name in _STATES[2:]).any()
        m.d.comb += [
            Assert(sum(state.values()) == 1),
            Assert(idle | (inside["packet"] == Value.cast(packet))),
            Assert(inside["icv_valid"] == own["icv_waits"]),
            Assert(~inside["icv_valid"] | (inside["icv"] == own["icv"])),
            Assert((tag_waits & ~zero) == own["tag_waits"]),
            Assert(~own["tag_waits"] | (inside["tag"] == own["tag"])),
            Assert(
                idle
                | (
                    own["differs"]
                    == (
                        inside["differs"]
                        | (inside["difference_stb"] & inside["difference"].any())
                        | (tag_waits & zero & inside["tag"].any())
                    )
                )
            ),
            Assert(sum(inside[n] for n in ("asks_outer", "asks_main", "asks_cipher")) <= 1),
            Assert(~idle | ~(asks_outer | asks_main | tag_waits)),
            Assert(~idle | ~inside["difference_stb"]),
            Assert(~after | ~(asks_outer | asks_main | tag_waits)),
            Assert(~(tag_waits & zero) | (packet.sha_1 & ~asks_outer & (at > _SHA_1_OCTETS))),
            Assert(at <= _TAG_OCTETS),
            Assert(~after | own["dut"].finding.valid),
            Assert(asks_outer | asks_main | (at == 0)),
            Assert(~asks_outer | (packet.both & ~packet.clear)),
            Assert(~asks_main | ~packet.clear),
            Assert(~inside["asks_main"] | ~packet.by_cipher),
            Assert(~inside["asks_cipher"] | packet.by_cipher),
        ]
        with m.If(~idle & ~packet.clear):
            with m.If(asks_outer):
                m.d.comb += Assert((own["outer_octets"] == at) & (own["main_octets"] == 0))
            with m.Else():
                m.d.comb += Assert(own["outer_octets"] == Mux(packet.both, _TAG_OCTETS, 0))
                m.d.comb += Assert(own["main_octets"] == Mux(asks_main, at, _TAG_OCTETS))
        with m.If(~idle & packet.clear):
            m.d.comb += Assert(~after | state["decides"])
            m.d.comb += Assert((own["outer_octets"] == 0) & (own["main_octets"] == 0))
            m.d.comb += Assert(~tag_waits)
        m.d.comb += Assert(own["asked"] == state["waits"])
        m.d.comb += Assert(~state["waits"] | (own["asked_outer"] == outer))
        with m.If(state["compares_all"]):
            m.d.comb += Assert((new == 0) & (updated == 0) & ~own["proved"] & inside["good"])
        with m.If(state["rechecks"] | state["waits"]):
            m.d.comb += [
                Assert((updated == 0) & ~own["proved"] & inside["good"]),
                Assert(Mux(outer, packet.both & (new == 0), (new | 1) == wanted)),
                Assert(outer | ~new[0]),
                Assert(outer | ~packet.both | new[1]),
            ]
        with m.If(state["updates"]):
            m.d.comb += [
                Assert(right & ~own["proved"] & inside["good"]),
                Assert(Mux(outer, packet.both & (updated == 0), (updated | 1) == wanted)),
                Assert(outer | ~updated[0]),
            ]
        with m.If(state["looks"]):
            m.d.comb += Assert(right & (updated == wanted) & own["proved"] & inside["good"])
        reasons, counted = own["reasons"], own["counted"]
        m.d.comb += Assert(~Cat(state[n] for n in _STATES[1:-1]).any() | (reasons == 0))
        m.d.comb += Assert(~Cat(state[n] for n in _STATES[1:-1]).any() | ~counted.any())
        m.d.comb += Assert(reasons <= 1)
        with m.If(state["decides"] & inside["good"] & ~packet.clear):
            m.d.comb += Assert(
                right & (updated == wanted) & own["proved"] & own["passes"] & (reasons == 0)
            )


class TimeWrapper(Wrapper):
    """Two verdicts over the same packets, whose ICVs and tags have other octets.

    All else is the same, and so is whether there is any difference, once all octets are compared.
    Then all that can be seen is the same in every cycle: nothing depends on where they differ.
    """

    def body(self, m: Module, platform: Any) -> None:
        one, other = InboundVerdict(), InboundVerdict()
        insides = [self.hold(m, dut, name) for dut, name in ((one, "one"), (other, "other"))]
        self.free_inputs(m, one)
        secret = ("icv", "cipher_tag", "main_tag", "outer_tag")
        for (path, member, value), (_, _, twin) in zip(
            one.signature.flatten(one), other.signature.flatten(other), strict=True
        ):
            if member.flow.name == "In":
                if path[0] in secret and path[-1] == "payload":
                    free = self.free(m, len(Value.cast(twin)), "_".join(map(str, ("other", *path))))
                    m.d.comb += Value.cast(twin).eq(free)
                else:
                    m.d.comb += Value.cast(twin).eq(Value.cast(value))
            else:
                m.d.comb += Assert(Value.cast(value) == Value.cast(twin), f"{path} tells")
        for name in _STREAMS:
            assume_contract(m, getattr(one, name), f"source_{name}", is_packet=False)
        same_state(m, *insides, but=("tag", "icv", "difference", "differs"))
        # The window answers only long after the last octet; by then `differs` is whether any did.
        with m.If(one.window_done):
            m.d.comb += Assume(insides[0]["differs"] == insides[1]["differs"])
        m.d.comb += [
            Cover(
                insides[0]["differs"]
                & insides[1]["differs"]
                & one.count[Counter.DROP_ICV]
                & past(m, one.icv.payload != other.icv.payload, cycles=10)
            )
        ]


PROOFS = [
    Proof(
        name="verdict.right",
        claim="No packet passes, no window moves and no bank is proven unless every octet of every "
        "ICV was right, the windows said new, the bank is the one it came under and, to "
        "pass, padding, next header and selectors were right; one counter for each that does not",
        wrapper=VerdictWrapper,
        method=Method.INDUCTION,
        depth=4,
        mutant=Mutant(
            "hw.ipsec.inbound.verdict",
            "differs.eq(differs | (difference_stb & difference.any())),",
            "differs.eq(difference_stb & difference.any()),",
            "only the last octet of an ICV counts",
        ),
        cover_depth=36,
        mutant_depth=36,
        requirement="1, 5",
    ),
    Proof(
        name="verdict.time",
        claim="What the verdict does, and when, does not depend on where an ICV differs",
        wrapper=TimeWrapper,
        method=Method.INDUCTION,
        depth=2,
        mutant=Mutant(
            "hw.ipsec.inbound.verdict",
            "place.eq(~is_whole & (~tag_valid | icv_valid | zero)),",
            "place.eq(~is_whole & (~tag_valid | icv_valid | zero) & ~(differs & octet_at[0])),",
            "the comparison halts once an octet differs",
        ),
        cover_depth=30,
        mutant_depth=20,
        requirement="4",
    ),
]
