"""The contract of streams (`hw.stream`), as something that watches a port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Assert, Assume, Elaboratable, Module, Signal, Value

__all__ = ["StreamContract", "assume_contract"]


class StreamContract(Elaboratable):
    """States rules 1, 2, 4 and 5 of `hw.stream` of a port.

    Rule 3, that a source does not wait for `ready`, is no statement about one trace; see
    `verif.formal.prove_streams`.

    Parameters
    ----------
    port : stream interface
        Of packets if its payload has `first`, `last` and `err`.
    state : callable
        `Assert` for what a component gives, `Assume` for what it is given.
    err_only_last : bool
        State rule 5 as well: `err` is 0 on all but the last beat.
    is_packet : bool
        State the rules of frames or do not, whatever the payload is.
    meaning : Value
        What of the payload must be stable; all of it if not given.

    Attributes
    ----------
    inside : Signal
        A frame has begun and not ended.
    """

    def __init__(
        self,
        port: Any,
        *,
        state: Callable[[Any], Any] = Assert,
        err_only_last: bool = True,
        is_packet: bool | None = None,
        meaning: Value | None = None,
    ) -> None:
        self._port = port
        self._meaning = Value.cast(port.payload) if meaning is None else meaning
        self._state = state
        self._err_only_last = err_only_last
        members = getattr(getattr(port.payload, "shape", lambda: None)(), "members", {})
        self._is_packet = {"first", "last", "err"} <= set(members)
        if is_packet is not None:
            self._is_packet = is_packet
        self.inside = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        port = self._port
        payload = self._meaning
        waits = Signal()
        held = Signal(len(payload))
        m.d.sync += [waits.eq(port.valid & ~port.ready), held.eq(payload)]
        with m.If(waits):
            m.d.comb += [self._state(port.valid), self._state(payload == held)]
        if self._is_packet:
            with m.If(port.valid & port.ready):
                m.d.sync += self.inside.eq(~port.payload.last)
            with m.If(port.valid):
                m.d.comb += self._state(port.payload.first == ~self.inside)
                if self._err_only_last:
                    m.d.comb += self._state(~port.payload.err | port.payload.last)
        return m


def assume_contract(m: Module, port: Any, name: str, **more: Any) -> StreamContract:
    """The other end of an input of a component keeps the contract."""
    checker = StreamContract(port, state=Assume, **more)
    m.submodules[name] = checker
    return checker
