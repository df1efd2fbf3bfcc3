"""Drives the reset and power button pins."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.mgmt.power import PowerAction
from spec.host import (
    PIN_REST_MS,
    POWER_CYCLE_OFF_MS,
    POWER_HOLD_MS,
    POWER_PRESS_MS,
    RESET_PULSE_MS,
)

__all__ = ["PowerPins"]


class PowerPins(wiring.Component):
    """Carries out one command at a time; one more may wait, and a newer one takes its place.

    Reset is a pulse of RESET_PULSE_MS. Power-up presses the button only if the host is off or
    asleep: a press would shut a running OS down. Power-down holds the button until the host is
    off, at most POWER_HOLD_MS. Power-cycle does that, waits POWER_CYCLE_OFF_MS and presses. After
    each of them the pins rest for PIN_REST_MS. The first edge comes two cycles after `stb` if the
    pins are idle; lengths are in milliseconds, counted by `tick_ms`, to within one.

    Source: DSP0136 3.2.4.1; ACPI 6.5, 4.8.2.2 (button override).
    """

    tick_ms: In(1)
    stb: In(1)
    action: In(PowerAction)
    off_in: In(1)
    sleep_in: In(1)
    reset: Out(1)
    power: Out(1)

    def elaborate(self, platform):
        m = Module()
        # A cycle late, so that the path from the message ends here.
        stb = Signal()
        asked = Signal(PowerAction)
        m.d.sync += [stb.eq(self.stb), asked.eq(self.action)]
        waiting = Signal()
        next_action = Signal(PowerAction)
        again = Signal()
        left = Signal(range(max(RESET_PULSE_MS, POWER_HOLD_MS, POWER_CYCLE_OFF_MS) + 2))
        none_left, is_last = Signal(init=1), Signal()
        done = Signal()
        m.d.comb += done.eq(self.tick_ms & none_left)
        with m.If(self.tick_ms):
            m.d.sync += [left.eq(left - 1), none_left.eq(is_last)]
        m.d.sync += is_last.eq(left == 1)

        action = Signal(PowerAction)
        chosen = Signal(PowerAction)
        begin = Signal()
        with m.If(waiting):
            m.d.comb += action.eq(next_action)
        with m.Else():
            m.d.comb += action.eq(asked)

        # A length is loaded in the first cycle of its state.
        begun = Signal()
        m.d.sync += begun.eq(0)

        def press(state):
            m.d.sync += [begun.eq(1), none_left.eq(0)]
            m.next = state

        def lasts(ms):
            with m.If(begun):
                m.d.sync += [left.eq(ms), none_left.eq(0)]

        with m.FSM():
            with m.State("idle"):
                m.d.comb += begin.eq(waiting | stb)
                m.d.sync += again.eq(0)
                m.d.sync += chosen.eq(action)
                with m.If(begin):
                    m.next = "chosen"
            with m.State("chosen"):
                m.next = "idle"
                with m.Switch(chosen):
                    with m.Case(PowerAction.RESET):
                        press("reset")
                    with m.Case(PowerAction.UP):
                        with m.If(self.off_in | self.sleep_in):
                            press("press")
                    with m.Case(PowerAction.DOWN):
                        with m.If(~self.off_in):
                            press("hold")
                    with m.Case(PowerAction.CYCLE):
                        with m.If(self.off_in):
                            press("press")
                        with m.Else():
                            m.d.sync += again.eq(1)
                            press("hold")
            with m.State("reset"):
                lasts(RESET_PULSE_MS)
                m.d.comb += self.reset.eq(1)
                with m.If(done):
                    press("rest")
            with m.State("press"):
                lasts(POWER_PRESS_MS)
                m.d.comb += self.power.eq(1)
                with m.If(done):
                    press("rest")
            with m.State("hold"):
                lasts(POWER_HOLD_MS)
                m.d.comb += self.power.eq(1)
                with m.If(self.off_in | done):
                    press("rest")
                    with m.If(again):
                        press("off")
            with m.State("off"):
                lasts(POWER_CYCLE_OFF_MS)
                with m.If(done):
                    press("press")
            with m.State("rest"):
                lasts(PIN_REST_MS)
                with m.If(done):
                    m.next = "idle"

        with m.If(begin & waiting):
            m.d.sync += waiting.eq(0)
        with m.If(stb & ~(begin & ~waiting)):
            m.d.sync += [waiting.eq(1), next_action.eq(asked)]
        return m
