"""What can go wrong in the data plane. No text holds a key, a salt or a packet's octets."""

from __future__ import annotations

from enum import Enum


class IpsecError(Exception):
    """Any failure of the data plane."""


class SequenceExhaustedError(IpsecError):
    """No sequence number is left under this SA: it must be replaced (RFC 4303 3.3.3)."""


class SequenceReuseError(IpsecError):
    """A reservation would repeat a number: the store went back in time. Replace the SA."""


class DataPlaneError(IpsecError):
    """A socket of the data plane cannot be had or used."""


class EspDropReason(Enum):
    """Why an inbound ESP packet was dropped, in the order of the checks."""

    UNKNOWN_SPI = "no inbound SA has this SPI"
    LENGTH = "too short, or not a multiple of four"
    REPLAY_OLD = "left of the anti-replay window"
    REPLAY_DUPLICATE = "seen before"
    ICV = "ICV wrong"
    PADDING = "padding wrong"
    NEXT_HEADER = "next header is not UDP"
    SELECTOR = "outside the SA's selectors, or with a wrong UDP length"


class EspDroppedError(IpsecError):
    """An inbound packet was dropped; `reason` says why."""

    def __init__(self, reason: EspDropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
