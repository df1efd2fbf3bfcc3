"""Nothing that breaks a rule of RFC 4861 7.1.1 is taken for a right neighbour solicitation.

Octets are free, and so is when they come and when a frame ends; the wrapper counts them, as the
parser does. One octet is watched, whichever it is, and options are walked through by their lengths.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Cover, Module, Mux, Signal

from hw.net.classifier import FrameClassifier
from hw.net.solicitation import SolicitationWalk
from spec.counters import Counter
from verif.formal.harness import Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_IP, _HEADER, _MOST = 40, 24, 64
"""Octets of the IPv6 header, of a solicitation without options, and of the longest one."""
_HIGH, _LOW, _HOPS, _SOURCE = 4, 5, 7, 8
_TYPE, _CODE, _TARGET = _IP, _IP + 1, _IP + 8


class RulesWrapper(Wrapper):
    """The walk over free octets, one of them watched."""

    def body(self, m: Module, platform: Any) -> None:
        dut = SolicitationWalk()
        inside = self.hold(m, dut)
        which = self.constant(m, range(_TARGET + 1), "which")
        octet, stb, clear = self.free(m, 8, "an_octet"), self.free(m, 1, "comes"), dut.clear
        m.d.comb += dut.clear.eq(self.free(m, 1, "next_frame"))

        # Octets that have passed, of the header and then of the message.
        at = Signal(7, name="octets_of_header")
        message = Signal(range(_MOST + 2), name="octets_of_message")
        in_message = at == _IP
        count = Signal(8, name="octets_told")
        with m.If(stb & ~in_message):
            m.d.sync += at.eq(at + 1)
        with m.If(stb & in_message & (message <= _MOST)):
            m.d.sync += message.eq(message + 1)
        place = Mux(in_message, at + message, at)
        watched, passed = Signal(8), Signal()
        with m.If(stb & (place == which)):
            m.d.sync += [watched.eq(octet), passed.eq(1)]
        with m.If(stb & (at == _LOW)):
            m.d.sync += count.eq(octet)
        # Options, each as long as it says.
        following = Signal(12, init=_HEADER)
        breaks_rule = Signal()
        with m.If(stb & in_message & (message < count)):
            with m.If((message == following) & (octet == 1) & dut.probe):
                m.d.sync += breaks_rule.eq(1)
            with m.If(message == following + 1):
                m.d.sync += following.eq(following + (octet << 3))
                with m.If(octet == 0):
                    m.d.sync += breaks_rule.eq(1)
        with m.If(clear):
            m.d.sync += [at.eq(0), message.eq(0), passed.eq(0), breaks_rule.eq(0)]
            m.d.sync += following.eq(_HEADER)
        m.d.comb += [
            dut.stb.eq(stb),
            dut.octet.eq(octet),
            dut.is_zero.eq(octet == 0),
            dut.is_ones.eq(octet == 0xFF),
            dut.in_ip.eq(~in_message),
            dut.in_message.eq(in_message),
            dut.at.eq(Mux(in_message, Mux(message > 63, 63, message), at)),
            dut.is_at.eq(1 << Mux(in_message, message, at)),
        ]

        def rule(number: int, holds: Any) -> Any:
            return Assert(dut.bad | ~passed | (which != number) | holds, f"octet {number}")

        whole = dut.whole
        m.d.comb += [
            rule(_HIGH, watched == 0),
            rule(_LOW, (watched >= _HEADER) & (watched <= _MOST) & (watched[:3] == 0)),
            rule(_HOPS, watched == 255),
            rule(_SOURCE, watched != 255),
            rule(_TYPE, watched == 135),
            rule(_CODE, watched == 0),
            rule(_TARGET, watched != 255),
            Assert(~passed | (which < _SOURCE) | (which >= 24) | ~dut.probe | (watched == 0)),
            Assert(~whole | ~dut.bad),
            Assert(~whole | (in_message & (message >= count)), "more is to come"),
            Assert(~whole | (following == count), "the options do not fit"),
            Assert(~whole | ~breaks_rule, "an option breaks a rule"),
            Assert(~dut.asks | (in_message & (message >= _HEADER))),
            Assert(dut.bad | (dut.covered == Mux(in_message, message < count, at >= 4))),
            Cover(whole & dut.probe),
            Cover(dut.bad & dut.asks),
        ]
        # For the induction.
        units, rest = inside["units"], inside["rest"]
        fine = in_message & ~dut.bad
        unit = message >> 3
        m.d.comb += [
            Assert(at <= _IP),
            Assert(message <= _MOST + 1),
            Assert(in_message | (message == 0)),
            Assert(in_message | ((rest == 0) & (following == _HEADER) & ~breaks_rule)),
            Assert(passed == (place > which)),
            Assert(dut.bad | ~breaks_rule),
            Assert(dut.bad | (at <= _LOW) | ((count >= _HEADER) & (count <= _MOST))),
            Assert(dut.bad | (at <= _LOW) | (count[:3] == 0)),
            Assert(dut.bad | (at <= _LOW) | in_message | (units == count >> 3)),
        ]
        with m.If(fine):
            m.d.comb += Assert(units == Mux(message < count, (count >> 3) - unit, 0))
            with m.If(message < _HEADER):
                m.d.comb += Assert((rest == 0) & (following == _HEADER))
            with m.Elif(message < count):
                m.d.comb += Assert(
                    following == ((unit + rest + Mux(message[:3] >= 2, 1, 0)) << 3),
                )
            with m.Else():
                m.d.comb += Assert(following == count + (rest << 3))


class AskedWrapper(Wrapper):
    """The classifier under a parser that may say anything."""

    def body(self, m: Module, platform: Any) -> None:
        dut = FrameClassifier()
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        neighbour = dut.fields.neighbour
        right = neighbour.whole & (dut.fields.ones_sum == 0x3AC5)
        # As the parser does it: what has ended stays until its release.
        released, ended = past(m, dut.release, "released"), past(m, dut.ended, "had_ended")
        before = past(m, dut.fields, "fields_before")
        stays = ended & ~past(m, dut.release, "was_released")
        m.d.comb += [
            Assume(~stays | dut.ended),
            Assume(~released | ~dut.ended),
            Assume(~stays | (before == dut.fields.as_value())),
            Assume(dut.walked | ~dut.ended),
        ]
        m.d.comb += [
            Assert(~dut.asked_stb | dut.asked_room, "no room for another"),
            Assert(~dut.asked_stb | dut.count[Counter.DELIVERED]),
            Assert(~dut.asked_stb | ~past(m, dut.host_up, "was_up", cycles=2), "the OS is up"),
            Assert(~dut.asked_to_all | dut.asked_v6),
            Assert(
                ~(dut.asked_stb & dut.asked_v6) | past(m, right, "was_right", cycles=2),
                "a wrong solicitation",
            ),
            Cover(dut.asked_stb & dut.asked_v6 & ~dut.asked_to_all),
            Cover(dut.asked_stb & ~dut.asked_v6),
        ]
        # For the induction: only what has ended is decided on.
        m.d.comb += [
            Assert(inside.state("fsm_state")),
            Assert(~inside.state("fsm_state", "settle", "verdict") | dut.ended),
            Assert(dut.release | ~dut.asked_stb),
        ]


PROOFS = [
    Proof(
        name="solicitation.rules",
        claim="A neighbour solicitation that is taken for a right one breaks no rule: hop limit, "
        "type, code, length, addresses, and the lengths of its options",
        wrapper=RulesWrapper,
        method=Method.INDUCTION,
        depth=2,
        mutant=Mutant(
            "hw.net.solicitation",
            "(self.is_zero | (octet[3:] != 0))",
            "(octet[3:] != 0)",
            "an option of length 0 is taken for one of 64 octets",
        ),
        cover_depth=72,
        mutant_depth=72,
    ),
    Proof(
        name="classifier.asked",
        claim="Who asks for the host's MAC address is answered only while the OS is not up and no "
        "other waits; a neighbour solicitation only if it was whole, with a right checksum",
        wrapper=AskedWrapper,
        method=Method.INDUCTION,
        depth=6,
        mutant=Mutant(
            "hw.net.classifier",
            "mac_is_ours & match.to_host & asks_for_host & asks_rightly & ~self.host_up",
            "mac_is_ours & match.to_host & asks_for_host & ~self.host_up",
            "the checksum of a solicitation is not looked at",
        ),
        cover_depth=24,
        mutant_depth=24,
    ),
]
