"""Once the settings are locked, neither the bus nor what the host announces changes the addresses.

The bus is free, and so is the learner. A word that comes back from the store is not looked at: that
happens at power-on.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Cat, Cover, Module, Value

from hw.host.control import ControlRegisters
from spec.suites import built_in
from verif.formal.harness import Wrapper, past
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]


class LockWrapper(Wrapper):
    """The registers under any bus and any learner."""

    def body(self, m: Module, platform: Any) -> None:
        dut = ControlRegisters(suites=built_in(), ack_ms=1, grace_ms=1, replay_window=64)
        inside = self.hold(m, dut)
        self.free_inputs(m, dut)
        locked = inside["policy"][2]
        settings = Cat(
            *(dut.host_mac, dut.host_ip, dut.host_ip6, dut.enterprise),
            Value.cast(inside["learn"]),
        )
        was_locked = past(m, locked & ~dut.config_stb, "was_locked")
        before = past(m, settings, "before")
        learnt = past(m, dut.learnt_stb, "was_learnt")
        m.d.comb += [
            Assert(~was_locked | (settings == before), "a locked setting changes"),
            Assert(~locked | ~(dut.learns_arp | dut.learns_neighbour), "locked, and it learns"),
            Cover(was_locked & learnt),
            Cover(~was_locked & learnt & (settings != before)),
        ]


PROOFS = [
    Proof(
        name="settings.lock",
        claim="While the settings are locked no bus write and no announcement of the host changes "
        "its addresses, HOST_LEARN or ENTERPRISE",
        wrapper=LockWrapper,
        method=Method.INDUCTION,
        depth=2,
        mutant=Mutant(
            "hw.host.control",
            "with m.If(learns[name, n] & ~locked):",
            "with m.If(learns[name, n]):",
            "what is learnt is written though the settings are locked",
        ),
    ),
]
