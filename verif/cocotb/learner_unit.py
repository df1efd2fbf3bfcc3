"""The part of the NIC that learns the host's addresses, as `hw.nic` puts it together."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.host.control import ControlRegisters
from hw.host.learner import AddressLearner
from hw.host.registers import BusSignature
from hw.stream import PacketSignature
from spec.suites import built_in

__all__ = ["LearnerUnit"]


class LearnerUnit(wiring.Component):
    """`AddressLearner` beside a stream of the host, and `ControlRegisters`.

    Attributes
    ----------
    host : packet stream, in; wire : packet stream, out
        The same frames.
    bus : BusSignature, in
    zeroise : Signal, in
    """

    host: In(PacketSignature())
    wire: Out(PacketSignature())
    bus: In(BusSignature())
    zeroise: In(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.learner = learner = AddressLearner()
        m.submodules.control = control = ControlRegisters(
            suites=built_in(), ack_ms=1, grace_ms=1, replay_window=64
        )
        wiring.connect(m, wiring.flipped(self.host), wiring.flipped(self.wire))
        wiring.connect(m, wiring.flipped(self.bus), control.bus)
        m.d.comb += [
            control.zeroise.eq(self.zeroise),
            learner.stb.eq(self.host.valid & self.host.ready),
            learner.beat.eq(self.host.payload),
            learner.arp.eq(control.learns_arp),
            learner.neighbour.eq(control.learns_neighbour),
            learner.host_mac.eq(control.host_mac),
            control.learnt_stb.eq(learner.w_stb),
            control.learnt_v6.eq(learner.w_v6),
            control.learnt_number.eq(learner.w_number),
            control.learnt.eq(learner.w_data),
        ]
        return m
