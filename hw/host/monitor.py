"""Tells the host's state from its pins and the heartbeat of firmware and agent."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spec.host import BootKind, HostState
from spec.registers import BY_NAME

__all__ = ["HOST_STATE_BITS", "BootWord", "HostMonitor"]

HOST_STATE_BITS = 4

BootWord = data.StructLayout({field.name: field.width for field in BY_NAME["BOOT_PROGRESS"].fields})
"""What firmware tells, as BOOT_PROGRESS has it."""


class HostMonitor(wiring.Component):
    """The watchdog over the heartbeat, and the state that follows from it, the pins and the SAD.

    There is one watchdog, as in ASF: firmware starts it for the time of the boot, the agent takes
    it over; whoever started it last is the one that hangs when its window passes.

    Attributes
    ----------
    reset_in, sleep_in, off_in : Signal, in
        The host's inputs, synchronised.
    alive_stb, firmware_stb, stop_stb : Signal, in
        A heartbeat of the OS; the start of the window by firmware; the orderly end of either.
    window_ms : Signal, in
        Longest time from one heartbeat to the next, in milliseconds.
    told_stb, told : in
        Firmware tells a BootWord. Of an unknown kind it is ignored, as while a pin is asserted.
    any_proven : Signal, in
        Some bank is PROVEN; without one, a host whose OS is not up is in cold boot.
    state : Signal, out
        A `spec.host.HostState`.
    watchdog_expired : Signal, out
        The window passed, of the OS or of firmware.
    progress : BootWord, out
        What firmware told last; 0 from each assertion of a pin on.
    hung_stb, hang_stb : Signal, out
        The window of the OS, or of firmware, passes: two cycles ahead of what `state` becomes.
    boot_stbs : Signal, out
        Firmware tells something: a bit for each BootKind, a cycle ahead of `progress`.

    Source: docs/host_state.md; DSP0136 4 (watchdog), seed figure 6.
    """

    tick_ms: In(1)
    reset_in: In(1)
    sleep_in: In(1)
    off_in: In(1)
    alive_stb: In(1)
    firmware_stb: In(1)
    stop_stb: In(1)
    window_ms: In(20)
    told_stb: In(1)
    told: In(BootWord)
    any_proven: In(1)
    state: Out(HOST_STATE_BITS)
    watchdog_expired: Out(1)
    progress: Out(BootWord)
    hung_stb: Out(1)
    hang_stb: Out(1)
    boot_stbs: Out(len(BootKind))

    def elaborate(self, platform):
        m = Module()
        runs, by_firmware = Signal(), Signal()
        left = Signal(20)
        is_last = Signal()
        passes = Signal()
        down = self.reset_in | self.sleep_in | self.off_in

        m.d.sync += is_last.eq(left <= 1)
        m.d.comb += passes.eq(
            self.tick_ms
            & runs
            & is_last
            & ~(self.stop_stb | self.alive_stb | self.firmware_stb | down)
        )
        m.d.comb += [
            self.hung_stb.eq(passes & ~by_firmware),
            self.hang_stb.eq(passes & by_firmware),
        ]
        with m.If(self.tick_ms & runs):
            m.d.sync += left.eq(left - 1)
        with m.If(passes):
            m.d.sync += [runs.eq(0), self.watchdog_expired.eq(1)]
        with m.If(self.stop_stb):
            m.d.sync += [runs.eq(0), self.watchdog_expired.eq(0)]
        with m.If(self.alive_stb | self.firmware_stb):
            m.d.sync += [runs.eq(1), left.eq(self.window_ms), self.watchdog_expired.eq(0)]
            m.d.sync += by_firmware.eq(self.firmware_stb)
            m.d.sync += is_last.eq(0)  # the window is never that short
        with m.If(down):
            m.d.sync += [runs.eq(0), self.watchdog_expired.eq(0)]

        m.d.comb += self.boot_stbs.eq(
            Cat(self.told_stb & ~down & (self.told.kind == kind) for kind in BootKind)
        )
        with m.If(self.boot_stbs.any()):
            m.d.sync += self.progress.eq(self.told)
        with m.If(down):
            m.d.sync += self.progress.eq(0)

        state = Signal(HOST_STATE_BITS)
        with m.If(self.off_in):
            m.d.comb += state.eq(HostState.SOFT_OFF)
        with m.Elif(self.sleep_in):
            m.d.comb += state.eq(HostState.SUSPEND)
        with m.Elif(self.reset_in | by_firmware):
            m.d.comb += state.eq(HostState.PRE_BOOT)
        with m.Elif(runs):
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
