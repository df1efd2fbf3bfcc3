"""What the NIC does to the world, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ToHost:
    """A frame for the host, bit for bit as it came from the wire."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class ToWire:
    """A frame for the wire; `err` only where the host's own frame had it.

    The NIC's own frames stand here as the MAC sends them, padded to the shortest frame (IEEE
    802.3-2022 3.2.8); the gateware leaves the padding to its MAC.
    """

    frame: bytes
    err: bool = False


@dataclass(frozen=True, slots=True)
class Pin:
    """An output pin changes.

    Parameters
    ----------
    name : str
        "reset" or "power".
    level : bool
        Asserted or not.
    at_ms : int
        Milliseconds since power-on.
    """

    name: str
    level: bool
    at_ms: int


Output = ToHost | ToWire | Pin
