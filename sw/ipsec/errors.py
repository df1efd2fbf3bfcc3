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


class DropReason(Enum):
    """Why an inbound packet was dropped, in the order of the checks."""

    IP_HEADER = "no whole IP packet, or a fragment, or headers that lie"
    IP_OPTION = "an IPv4 option that AH does not know"
    PROTOCOL = "ESP without its AH, AH without its ESP, or neither"
    UNKNOWN_SPI = "no inbound SA has this SPI"
    LENGTH = "a length that the SA's packets cannot have"
    REPLAY_OLD = "left of the anti-replay window"
    REPLAY_DUPLICATE = "seen before"
    ICV = "ICV wrong"
    PADDING = "padding wrong"
    DUMMY = "a dummy packet, which holds nothing"
    NEXT_HEADER = "next header is not what the SA carries"
    SELECTOR = "outside the SA's selectors, or with a wrong length inside"


class PacketDroppedError(IpsecError):
    """An inbound packet was dropped; `reason` says why."""

    def __init__(self, reason: DropReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
