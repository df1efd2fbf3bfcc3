"""What the wrappers around components are made of: free inputs, what went before, a look inside.

A wrapper is an Amaranth elaboratable that holds a component, drives its inputs freely, and states
what must be so. Nothing of it is in the component.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from amaranth.hdl import (
    Assert,
    Cat,
    ClockDomain,
    Const,
    Fragment,
    Module,
    Shape,
    Signal,
    Value,
    ValueCastable,
)
from amaranth.hdl._ast import AnyConst, AnySeq
from amaranth.lib import data, wiring

__all__ = ["Inside", "Platform", "Wrapper", "past", "same_state"]


class Platform:
    """Makes memories of registers, so that a wrapper sees their rows.

    Parameters
    ----------
    watched : dict
        By depth of a memory: row numbers, Values that never change. Such a memory keeps those
        rows alone, and whatever else is read from it is a free value: less than is known of the
        real one, so what is proved holds for that as well.
    """

    def __init__(self, watched: dict[int, Sequence[Value]] | None = None) -> None:
        self.watched = watched or {}
        self.rows: list[list[Signal]] = []

    def get_memory(self, memory: Any) -> Module:
        """The hook of `amaranth.lib.memory.Memory.elaborate`."""
        m = Module()
        width = Shape.cast(memory.shape).width
        only = self.watched.get(memory.depth)
        numbers = range(memory.depth) if only is None else only
        if only is not None and any(memory.data.init._raw):
            raise ValueError("a watched memory must begin with zeros")
        rows = [
            Signal(width, name=f"row_{n}", init=memory.data.init._raw[n], reset_less=True)
            for n in range(len(numbers))
        ]
        self.rows.append(rows)
        for port in memory._write_ports:
            data, bits = Value.cast(port.data), width // max(1, len(port.en))
            for number, row in zip(numbers, rows, strict=True):
                here = port.addr == number
                for part in range(len(port.en)):
                    with m.If(here & port.en[part]):
                        where = slice(part * bits, (part + 1) * bits)
                        m.d[port.domain] += row[where].eq(data[where])
        for port in memory._read_ports:
            if port.transparent_for:
                raise NotImplementedError("transparent read ports")
            found = Signal(width, name="found")
            if only is None:
                with m.Switch(port.addr):
                    for n, row in enumerate(rows):
                        with m.Case(n):
                            m.d.comb += found.eq(row)
            else:
                m.d.comb += found.eq(AnySeq(width))
                for number, row in zip(only, rows, strict=True):
                    with m.If(port.addr == number):
                        m.d.comb += found.eq(row)
            target = Value.cast(port.data)
            if port.domain == "comb":
                m.d.comb += target.eq(found)
            else:
                with m.If(port.en):
                    m.d[port.domain] += target.eq(found)
        return m


class Inside:
    """Signals inside of an elaborated component, by name, for the invariants of an induction.

    What a proof states is stated of ports; a look inside is for what makes it inductive, and a
    component that changes its names gets a proof that says which one it misses.

    Attributes
    ----------
    components : dict
        By name, the components within, for what their ports say.
    """

    def __init__(self, component: Any, platform: Platform | None = None) -> None:
        self.components: dict[str, Any] = {}
        self._signals: dict[str, Signal] = {}
        self._registers: dict[str, Signal] = {}
        self._locals: dict[int, dict[str, Signal]] = {}
        profiler = sys.getprofile()
        sys.setprofile(self._note)
        try:
            self.fragment = Fragment.get(component, platform)
        finally:
            sys.setprofile(profiler)
        self._collect(self.fragment, "")

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        """Of each method that returns, the local variables that are signals."""
        owner = frame.f_locals.get("self") if event == "return" else None
        if not isinstance(owner, wiring.Component):
            return
        names = self._locals.setdefault(id(owner), {})
        for name, value in frame.f_locals.items():
            signal = Value.cast(value) if isinstance(value, ValueCastable) else value
            if isinstance(signal, Signal):
                names[name] = signal

    def _collect(self, fragment: Fragment, path: str) -> None:
        for domain, statements in fragment.statements.items():
            for statement in statements:
                for signal in statement._lhs_signals():
                    name = key = path + signal.name
                    count = 0
                    while self._signals.setdefault(key, signal) is not signal:
                        count += 1
                        key = f"{name}#{count}"
                    if domain != "comb":
                        self._registers[key] = signal
        # A variable's name where the signal has none, as where several are made in one line.
        for origin in fragment.origins or ():
            if isinstance(origin, wiring.Component):
                self.components[path.rstrip(".")] = origin
            for name, signal in self._locals.get(id(origin), {}).items():
                self._signals.setdefault(path + name, signal)
        for number, (part, name, _) in enumerate(fragment.subfragments):
            self._collect(part, f"{path}{name or number}.")

    def __getitem__(self, name: str) -> Signal:
        if name not in self._signals:
            raise KeyError(f"no signal {name!r}; there are {', '.join(sorted(self._signals))}")
        return self._signals[name]

    def registers(self) -> Iterator[tuple[str, Signal]]:
        """All that holds a state, rows of memories included."""
        yield from self._registers.items()

    def state(self, name: str, *states: str) -> Value:
        """Whether the FSM whose state is the signal `name` is in one of `states`."""
        signal = self[name]
        codes = {}
        for code in range(1 << len(signal)):
            try:
                codes[signal.decoder(code).split("/")[0]] = code
            except KeyError:
                continue
        is_so: Value = Const(0, 1)
        for state in states or tuple(codes):
            is_so |= signal == codes[state]
        return is_so

    def flag(self, name: str, layout: data.StructLayout, *flags: str) -> Value:
        """Whether one of `flags` is set of the signal `name`, a struct of one bit each."""
        signal = self[name]
        return Cat(signal[layout[which].offset] for which in flags).any()


class Wrapper(wiring.Elaboratable):
    """Base of the wrappers: one clock domain that is never reset after power-on.

    A subclass has `body(m, platform)`, which adds the component by `self.hold` and states.

    Parameters
    ----------
    script : mapping
        By cycle from power-on, what `free_inputs` and `given` say until the last cycle that it
        names. For covers and mutants alone: it saves the search for a long way in.
    """

    def __init__(self, *, script: Mapping[int, Mapping[str, int]] | None = None) -> None:
        self.domain = ClockDomain("sync", reset_less=True)
        self._script = script or {}
        self._step: Signal | None = None

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = self.domain
        self.body(m, platform)
        return m

    def body(self, m: Module, platform: Any) -> None:
        """Adds the component and what is stated of it."""
        raise NotImplementedError

    def hold(
        self, m: Module, component: Any, name: str = "dut", platform: Platform | None = None
    ) -> Inside:
        """Adds a component; returns a look inside."""
        inside = Inside(component, platform)
        m.submodules[name] = inside.fragment
        return inside

    def free(self, m: Module, shape: Any, name: str) -> Any:
        """Another value in each cycle, whatever it may be."""
        signal = Signal(shape, name=name)
        value = Value.cast(signal)
        m.d.comb += value.eq(AnySeq(len(value)))
        return signal

    def constant(self, m: Module, shape: Any, name: str) -> Any:
        """One value for ever, whatever it may be."""
        signal = Signal(shape, name=name)
        value = Value.cast(signal)
        m.d.comb += value.eq(AnyConst(len(value)))
        return signal

    def free_inputs(self, m: Module, component: Any, *but: str) -> None:
        """Drives every input of a component freely, except the members `but`.

        With a script they have its values first, and 0 where it names none.
        """
        for path, member, value in component.signature.flatten(component):
            if member.flow is wiring.In and path[0] not in but:
                target = Value.cast(value)
                m.d.comb += target.eq(self.given(m, len(target), "_".join(map(str, path))))

    def given(self, m: Module, width: int, name: str) -> Value:
        """A free value, after that of the script; an input of a component or like one."""
        value = Value.cast(self.free(m, width, name))
        if not self._script:
            return value
        length = max(self._script) + 1
        if self._step is None:
            self._step = Signal(range(length + 1), name="script_step")
            with m.If(self._step != length):
                m.d.sync += self._step.eq(self._step + 1)
        given = Signal(width, name=f"{name}_given")
        m.d.comb += given.eq(value)
        with m.If(self._step != length):
            m.d.comb += given.eq(0)
            with m.Switch(self._step):
                for cycle, values in self._script.items():
                    if name in values:
                        with m.Case(cycle):
                            m.d.comb += given.eq(values[name])
        return given


def past(m: Module, value: Any, name: str | None = None, *, cycles: int = 1, init: int = 0) -> Any:
    """The value some cycles ago; `init` before there was one."""
    value = Value.cast(value)
    for _ in range(cycles):
        register = Signal(len(value), name=name or "past", init=init)
        m.d.sync += register.eq(value)
        value = register
    return value


def same_state(m: Module, one: Inside, other: Inside, *, but: Sequence[str] = ()) -> None:
    """All registers of two copies of a component are equal, but those named; for an induction.

    Raises KeyError for a name that the component does not have.
    """
    twins = dict(other.registers())
    secret = {id(one[name]) for name in but}
    for name, register in one.registers():
        if id(register) not in secret:
            m.d.comb += Assert(register == twins[name], f"{name} differs")
