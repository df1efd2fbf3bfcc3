"""What goes in comes out, in its order: one beat of all is watched, whichever that is."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Module, Signal, Value

from verif.formal.harness import Wrapper

__all__ = ["Scoreboard"]


class Scoreboard:
    """Follows the beat number `watch` (of each 2 ** `bits`) from in to out.

    Parameters
    ----------
    given, taken : Value
        Strobes: a beat goes in, one comes out.
    given_payload, taken_payload : Value

    Attributes
    ----------
    held : Value
        Beats that went in and did not come out.
    place : Signal
        How many come out before the watched one; it is within if that is below `held`.
    stored : Signal
        Its payload.
    """

    def __init__(
        self,
        m: Module,
        wrapper: Wrapper,
        *,
        given: Any,
        given_payload: Any,
        taken: Any,
        taken_payload: Any,
        bits: int = 6,
    ) -> None:
        given_payload = Value.cast(given_payload)
        watch = wrapper.constant(m, bits, "watch")
        self.went_in, self.came_out = Signal(bits), Signal(bits)
        self.held, self.place = Signal(bits), Signal(bits)
        self.stored = Signal(len(given_payload))
        with m.If(given):
            m.d.sync += self.went_in.eq(self.went_in + 1)
            with m.If(self.went_in == watch):
                m.d.sync += self.stored.eq(given_payload)
        with m.If(taken):
            m.d.sync += self.came_out.eq(self.came_out + 1)
            m.d.comb += Assert(self.held != 0, "out of nothing")
            with m.If(self.came_out == watch):
                m.d.comb += Assert(Value.cast(taken_payload) == self.stored, "another beat")
        m.d.comb += [
            self.held.eq(self.went_in - self.came_out),
            self.place.eq(watch - self.came_out),
        ]
