"""Generated actions through the model."""

from __future__ import annotations

from spec.counters import Counter
from spec.suites import Suite
from verif.fuzz.coverage import BUFFERS
from verif.fuzz.generator import Action, Advance, BusWrite, Frame, ZeroiseInput, frames
from verif.model import NicModel

UNREACHABLE = BUFFERS
"""The model has no buffers that fill up."""


def apply(model: NicModel, action: Action) -> None:
    """Does an action to the model."""
    match action:
        case BusWrite(name, index, value):
            model.bus_write(name, value, index)
        case Frame(octets, err):
            model.wire_receive(octets, err)
        case ZeroiseInput(level):
            model.set_pins(zeroise=level)
        case Advance(ms):
            model.advance(ms)


def run_model(seed: int, count: int, suites: tuple[int, ...]) -> dict[Counter, int]:
    """The model's counters after that many frames."""
    model = NicModel(suites=tuple(Suite(number) for number in suites))
    for action in frames(seed, count, suites):
        apply(model, action)
    return model.counters
