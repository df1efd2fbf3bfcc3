"""Each frame from the wire ends under exactly one counter, or is given to the inbound path.

All that the parser says of a frame is free, and so are the banks, the buffers and the settings. Of
the parser is assumed that a frame that has ended or was walked stays so until its release, and that
the next one begins after that.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Signal

from hw.net.classifier import FrameClassifier
from spec.counters import Counter
from verif.formal.harness import Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_RELEASE_CYCLES = 10
"""From the last octet to the release, at most."""
_HOST = (Counter.PASSED, Counter.DROP_HOST_FULL)


class OneCounterWrapper(Wrapper):
    """The classifier under a parser that may say anything."""

    def body(self, m: Module, platform: Any) -> None:
        dut = FrameClassifier()
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        released = past(m, dut.release, "released")
        for name in ("walked", "ended"):
            signal = getattr(dut, name)
            stays = past(m, signal & ~dut.release, f"{name}_before")
            m.d.comb += [Assume(~stays | signal), Assume(~released | ~signal)]
        m.d.comb += Assume(dut.walked | ~dut.ended)

        others = Cat(dut.count[which] for which in Counter if which is not Counter.FRAMES_IN)
        host = Cat(dut.count[which] for which in _HOST).any()
        total = sum(others) + dut.take_commit
        to_host = Signal(name="given_to_host")
        with m.If(dut.release):
            m.d.sync += to_host.eq(0)
        with m.Elif(dut.host_commit):
            m.d.sync += to_host.eq(1)
        late = Signal(range(_RELEASE_CYCLES + 2))
        with m.If(dut.ended & ~dut.release):
            m.d.sync += late.eq(late + 1)
        with m.Else():
            m.d.sync += late.eq(0)
        m.d.comb += [
            # Each frame is released once, counted once, and is one thing.
            Assert(dut.count[Counter.FRAMES_IN] == dut.release),
            Assert(total == dut.release, "none or two counters of one frame"),
            Assert(~dut.release | dut.ended),
            Assert(late <= _RELEASE_CYCLES, "the wire is held up"),
            # What the host is given is counted as passed, or as lost on the way; it is not taken.
            Assert(~(dut.take_commit & (to_host | dut.host_commit))),
            Assert(~dut.host_commit | ~to_host, "a frame is given to the host twice"),
            Assert(
                ~dut.release
                | (
                    (to_host | dut.host_commit)
                    == (host | (to_host & dut.count[Counter.DROP_FRAME]))
                )
            ),
            # And what is not given is taken back from both buffers.
            Assert(~dut.release | dut.take_commit | dut.take_discard),
            Assert(~dut.release | to_host | dut.host_commit | dut.host_discard),
            Assert(~(dut.take_commit & dut.take_discard) & ~(dut.host_commit & dut.host_discard)),
            Cover(dut.take_commit & ~dut.count[1:].any()),
            Cover(dut.count[Counter.PASSED] & to_host),
            Cover(dut.count[Counter.DROP_UNKNOWN_SPI]),
        ]
        # For the induction: its states, and how long it has been in them.
        wait, state = inside["wait"], inside.state
        m.d.comb += [
            Assert(state("fsm_state")),
            Assert(~state("fsm_state", "walking", "settle") | (wait < 6)),
            Assert(~state("fsm_state", "passed") | (wait < 2)),
            Assert(dut.release == (state("fsm_state", "verdict") | dut.release)),
            Assert(to_host == state("fsm_state", "passing", "passed")),
            Assert(~state("fsm_state", "settle", "verdict", "passed") | dut.ended),
            Assert(~state("fsm_state", "body", "passing") | dut.walked),
            Assert(~state("fsm_state", "settle") | (late <= wait + 1)),
            Assert(~state("fsm_state", "passed") | (late <= wait + 1)),
            Assert(~state("fsm_state", "walking", "body", "passing") | (late == 0)),
            Assert(~state("fsm_state", "verdict") | (late <= _RELEASE_CYCLES)),
            Assert(
                dut.release
                == (state("fsm_state", "verdict") | (state("fsm_state", "passed") & (wait == 1)))
            ),
        ]


PROOFS = [
    Proof(
        name="classifier.one_counter",
        claim="Each frame is released in time and once, and ends under exactly one counter or is "
        "taken; what the host is given is not taken",
        wrapper=OneCounterWrapper,
        method=Method.INDUCTION,
        depth=3,
        mutant=Mutant(
            "hw.net.classifier",
            "with m.If(self.host_lost):\n                        m.d.comb += "
            "count(Counter.DROP_HOST_FULL)\n                    with m.Else():\n"
            "                        m.d.comb += count(Counter.PASSED)\n"
            "                with m.Case(Counter.DELIVERED):",
            "with m.If(self.host_lost):\n                        m.d.comb += "
            "count(Counter.DROP_FRAME)\n                        m.d.comb += "
            "count(Counter.DROP_HOST_FULL)\n                    with m.Else():\n"
            "                        m.d.comb += count(Counter.PASSED)\n"
            "                with m.Case(Counter.DELIVERED):",
            "a frame without room is counted twice",
        ),
        cover_depth=24,
        mutant_depth=24,
        requirement="7",
    ),
]
