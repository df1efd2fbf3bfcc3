"""The anti-replay window of an inbound SA."""

from __future__ import annotations

from spec.sa import REPLAY_WINDOW
from sw.ipsec.errors import DropReason, PacketDroppedError

WINDOW_MIN = 32
"""Narrowest window that an SA may have (RFC 4303 3.4.3)."""
WINDOW_MAX = 1024
"""Widest window."""
_LOW = 0xFFFF_FFFF


class ReplayWindow:
    """64-bit numbers seen, of the last `size` up to the right edge.

    Parameters
    ----------
    esn : bool
        Packets carry the low half of a 64-bit number.
    right_edge : int
        Highest number that counts as seen already; 0 for a fresh SA.
    size : int
        Width in packets, WINDOW_MIN to WINDOW_MAX.

    Source: RFC 4303 3.4.3, A2.
    """

    def __init__(self, *, esn: bool, right_edge: int = 0, size: int = REPLAY_WINDOW) -> None:
        if not 0 <= right_edge < 1 << (64 if esn else 32):
            raise ValueError(f"right edge {right_edge} is out of range")
        if not WINDOW_MIN <= size <= WINDOW_MAX:
            raise ValueError(f"window of {size} packets: {WINDOW_MIN} to {WINDOW_MAX} can be had")
        self._esn = esn
        self._size = size
        self._edge = right_edge
        self._seen = 1
        """Bit n: number edge - n was seen."""

    @property
    def right_edge(self) -> int:
        """Highest number seen."""
        return self._edge

    def infer(self, low: int) -> int:
        """The 64-bit number of a packet whose header has `low`; below 0 if none can be meant.

        Source: RFC 4303 A2.2.
        """
        if not self._esn:
            return low
        high, edge_low = self._edge >> 32, self._edge & _LOW
        left = edge_low - self._size + 1
        if left >= 0:
            # The window lies within one run of the low half.
            return ((high if low >= left else high + 1) << 32) | low
        return ((high - 1 if low >= left + (1 << 32) else high) << 32) | low

    def check(self, number: int) -> None:
        """Raises PacketDroppedError for a number that is too old, seen, or no number at all."""
        if number < 0 or number <= self._edge - self._size or number >= 1 << 64:
            raise PacketDroppedError(DropReason.REPLAY_OLD)
        if number == 0:
            raise PacketDroppedError(DropReason.REPLAY_DUPLICATE)
        if number <= self._edge and self._seen >> (self._edge - number) & 1:
            raise PacketDroppedError(DropReason.REPLAY_DUPLICATE)

    def mark(self, number: int) -> None:
        """Count a number as seen: only one that `check` let pass and whose ICV was right."""
        if number > self._edge:
            shift = min(number - self._edge, self._size)
            self._seen = (self._seen << shift) & ((1 << self._size) - 1)
            self._edge = number
        self._seen |= 1 << (self._edge - number)
