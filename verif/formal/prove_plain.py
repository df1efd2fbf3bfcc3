"""The gate behind the plaintext: not one octet of a packet without a decision that says good.

Packets are of 4 to 7 octets here, the buffer of 32, and the queues of 8 packets; octets, streams,
decisions and takers are free. Octets of one packet, whichever that is, have bit 7 set, and those of
all others do not: so it is seen whose octet leaves. Decisions come as the verdict gives them, each
with the finding of its packet.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from amaranth.hdl import Assert, Assume, Cover, Module, Signal

from hw.ipsec.inbound.plain import PlainPath
from verif.formal.contract import StreamContract, assume_contract
from verif.formal.harness import Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_SMALL = {"PLAIN_OCTETS": 32, "PACKETS": 7}
_BITS = 3


class GateWrapper(Wrapper):
    """The plaintext path, with one packet marked."""

    def body(self, m: Module, platform: Any) -> None:
        with mock.patch.dict(PlainPath.elaborate.__globals__, _SMALL):
            dut = PlainPath()
            inside = self.hold(m, dut)
        self.free_inputs(m, dut, "finding")
        for name in ("begin", "direct", "cipher", "decision"):
            assume_contract(m, getattr(dut, name), f"source_{name}", is_packet=False)
        # Of what is told with a packet: the ring it comes from has a proof of its own.
        m.submodules.message_contract = StreamContract(
            dut.message, is_packet=False, meaning=dut.message.payload.token
        )
        m.submodules.contract = StreamContract(dut.o)
        octets = dut.begin.payload.octets
        m.d.comb += [
            Assume(~dut.begin.valid | ((octets >= 4) & (octets < 8))),
            # The verdict takes a finding as it gives the decision.
            dut.finding.ready.eq(dut.decision.valid),
            Assume(~dut.decision.valid | dut.finding.valid),
            Assert(dut.decision.ready, "the verdict waits"),
        ]
        marked = self.constant(m, _BITS, "marked")
        current, decided = (Signal(_BITS, name=n) for n in ("current", "decided"))
        with m.If(inside["begins"]):
            m.d.sync += current.eq(current + 1)
        for port in (dut.direct, dut.cipher):
            with m.If(port.valid & port.ready):
                m.d.comb += Assume(port.payload[7] == (current == marked + 1)[0])
        decision = dut.decision.payload
        m.d.comb += Assume(~dut.decision.valid | (decision.meta.token == decided))
        good, has_decision = Signal(name="marked_is_good"), Signal()
        with m.If(dut.decision.valid):
            m.d.sync += decided.eq(decided + 1)
            with m.If(decided == marked):
                m.d.sync += [good.eq(decision.good), has_decision.eq(1)]
        # What is told with a packet, and its octets, are of one packet, a good one.
        told = Signal(_BITS, name="told")
        with m.If(dut.message.valid & dut.message.ready):
            m.d.sync += told.eq(dut.message.payload.token)
        with m.If(dut.message.valid & (dut.message.payload.token == marked)):
            m.d.comb += Assert(has_decision & good, "a message without a good decision")
        with m.If(dut.o.valid):
            is_marked = dut.o.payload.data[7]
            m.d.comb += [
                Assert(~is_marked | (has_decision & good), "an octet without a good decision"),
                Assert(is_marked == (told == marked), "an octet of another packet"),
            ]
        # Eight packets, so that numbers do not come again.
        m.d.comb += Assume(~inside["begins"] | (current != (1 << _BITS) - 1))
        m.d.comb += [
            Cover(dut.o.valid & dut.o.payload.data[7] & dut.o.payload.last & (marked == 1)),
            Cover((decided == 2) & ~good & (marked == 0) & dut.o.valid),
        ]


PROOFS = [
    Proof(
        name="plain.gate",
        claim="Not one octet of a packet, nor word of it, reaches the command engine unless its "
        "own decision said good",
        wrapper=GateWrapper,
        method=Method.BOUNDED,
        depth=30,
        mutant=Mutant(
            "hw.ipsec.inbound.plain",
            'with m.If(~decision.good):\n                        m.next = "drain"',
            'with m.If(~decision.good):\n                        m.next = "open"',
            "bad packets are let out, not drained",
        ),
        cover_depth=40,
        mutant_depth=30,
        requirement="1",
    ),
]
