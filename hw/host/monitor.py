"""Tells the host's state from its pins and the agent's heartbeat."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spec.host import HostState

__all__ = ["HOST_STATE_BITS", "HostMonitor"]

HOST_STATE_BITS = 4


class HostMonitor(wiring.Component):
    """The watchdog over the heartbeat, and the state that follows from it, the pins and the SAD.

    Attributes
    ----------
    reset_in, sleep_in, off_in : Signal, in
        The host's inputs, synchronised.
    alive_stb, stop_stb : Signal, in
        A heartbeat; the agent's orderly stop.
    window_ms : Signal, in
        Longest time from one heartbeat to the next, in milliseconds.
    any_proven : Signal, in
        Some bank is PROVEN; without one, a host whose OS is not up is in cold boot.
    state : Signal, out
        A `spec.host.HostState`.
    watchdog_expired : Signal, out

    Source: docs/host_state.md; DSP0136 4 (watchdog), seed figure 6.
    """

    tick_ms: In(1)
    reset_in: In(1)
    sleep_in: In(1)
    off_in: In(1)
    alive_stb: In(1)
    stop_stb: In(1)
    window_ms: In(20)
    any_proven: In(1)
    state: Out(HOST_STATE_BITS)
    watchdog_expired: Out(1)

    def elaborate(self, platform):
        m = Module()
        alive = Signal()
        left = Signal(20)
        is_last = Signal()
        down = self.reset_in | self.sleep_in | self.off_in

        m.d.sync += is_last.eq(left <= 1)
        with m.If(self.tick_ms & alive):
            m.d.sync += left.eq(left - 1)
            with m.If(is_last):
                m.d.sync += [alive.eq(0), self.watchdog_expired.eq(1)]
        with m.If(self.stop_stb):
            m.d.sync += [alive.eq(0), self.watchdog_expired.eq(0)]
        with m.If(self.alive_stb):
            m.d.sync += [alive.eq(1), left.eq(self.window_ms), self.watchdog_expired.eq(0)]
            m.d.sync += is_last.eq(0)  # the window is never that short
        with m.If(down):
            m.d.sync += [alive.eq(0), self.watchdog_expired.eq(0)]

        state = Signal(HOST_STATE_BITS)
        with m.If(self.off_in):
            m.d.comb += state.eq(HostState.SOFT_OFF)
        with m.Elif(self.sleep_in):
            m.d.comb += state.eq(HostState.SUSPEND)
        with m.Elif(self.reset_in):
            m.d.comb += state.eq(HostState.PRE_BOOT)
        with m.Elif(alive):
            m.d.comb += state.eq(HostState.OS_UP)
        with m.Elif(self.watchdog_expired):
            m.d.comb += state.eq(HostState.OS_HUNG)
        with m.Else():
            m.d.comb += state.eq(HostState.PRE_BOOT)
        with m.If(~self.any_proven & (state != HostState.OS_UP)):
            m.d.sync += self.state.eq(HostState.COLD_BOOT)
        with m.Else():
            m.d.sync += self.state.eq(state)
        return m
