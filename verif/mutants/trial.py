"""Tries a bench on mutants: the real test of the bench, over a simulator that holds them all."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from amaranth.hdl import UnusedElaboratable
from amaranth.lib import wiring

from verif.cocotb import runner
from verif.mutants.benches import Bench
from verif.mutants.netlist import processor_time
from verif.mutants.simulator import STOPPED

__all__ = ["Design", "Trial", "build_simulator", "design_of", "tried"]

SECONDS_MORE = 20
TIMES_MORE = 4
"""A mutant has this many times the processor time of the unmutated design, and those seconds."""
SEED = 1


class _Found(BaseException):
    """Carries the component of a bench out of its test."""

    def __init__(self, component: wiring.Component, expose: bool | Sequence[str]) -> None:
        self.component = component
        self.expose = expose
        super().__init__()


@dataclass(frozen=True, slots=True)
class Design:
    """What a bench is a bench of."""

    component: wiring.Component
    expose: bool | Sequence[str]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one mutant under one bench."""

    caught: bool
    seconds: float
    """Of processor time."""
    text: str
    """How it was caught."""


def design_of(bench: Bench) -> Design:
    """The component that the bench's test builds; nothing is built."""

    def build(component, name, *, expose=False, waves=None):
        raise _Found(component, expose)

    with mock.patch.object(runner, "build", build), contextlib.redirect_stdout(io.StringIO()):
        try:
            bench.test()
        except _Found as found:
            return Design(found.component, found.expose)
    raise ValueError(f"{bench.name} builds nothing")


def build_simulator(verilog: str, directory: Path, expose: bool | Sequence[str]) -> None:
    """Compiles the Verilog of all mutants; `top` is then simulator.py for that simulator."""
    runner.compile_verilog(verilog, directory, expose=expose)
    simulator = directory / "top.simulator"
    (directory / "top").rename(simulator)
    launcher = Path(__file__).with_name("simulator.py")
    text = f'#!/bin/sh\nexec "{sys.executable}" "{launcher}" "{simulator}" "$@"\n'
    (directory / "top").write_text(text, encoding="utf-8")
    (directory / "top").chmod(0o755)


@contextlib.contextmanager
def _in_place(directory: Path, number: int, seconds: int) -> Iterator[None]:
    """While this lasts, `runner.run` takes the simulator in `directory` with that mutant."""
    variables = {
        "HOLDFAST_MUTANT": str(number),
        "HOLDFAST_MUTANT_SECONDS": str(seconds),
        "SEED": str(SEED),
        "WAVES": "0",
    }

    def build(component, name, *, expose=False, waves=None):
        return directory

    with (
        mock.patch.dict(os.environ, variables),
        mock.patch.object(runner, "build", build),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # The test makes its component, and nobody elaborates it.
        warnings.simplefilter("ignore", UnusedElaboratable)
        yield
        gc.collect()


def tried(bench: Bench, directory: Path, number: int, seconds: float) -> Trial:
    """Runs the bench's test on mutant `number`; 0 is the unmutated design.

    `seconds` is the processor time that the unmutated design took, or 0 if that is not known yet.
    Raises `SimulationError` if somebody ended the simulator.
    """
    limit = int(seconds * TIMES_MORE) + SECONDS_MORE if seconds else 3600
    begun = processor_time()
    text = ""
    with _in_place(directory, number, limit):
        try:
            bench.test()
        except Exception as error:
            if STOPPED in str(error):
                raise
            text = _first_fault(error)
    for run in (directory / "runs").glob(f"*-{SEED}-{os.getpid()}"):
        shutil.rmtree(run, ignore_errors=True)
    return Trial(bool(text), round(processor_time() - begun, 2), text)


def _first_fault(error: Exception) -> str:
    """One line of what a test says; of a log, the line with the fault."""
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if "Error:" in line or line.startswith("mutant:")]
    return (telling or [line for line in lines if line] or [repr(error)])[0][:200]
