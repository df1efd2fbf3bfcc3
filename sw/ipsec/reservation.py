"""Outbound sequence numbers that survive a crash without ever being used twice."""

from __future__ import annotations

from collections.abc import Callable

from sw.ipsec.errors import SequenceExhaustedError, SequenceReuseError

_RESTORED = (
    "the store reserved sequence numbers that were reserved before: it was restored from an old "
    "copy. Replace the SA"
)
BLOCK = 256
"""Numbers reserved at once: one commit of the store for so many packets."""


class SequenceReservation:
    """Hands out the numbers of one outbound SA, only from blocks that were made durable before.

    `reserve(count)` shall add `count` to the SA's "reserved up to" in the store, commit, and
    return the first number of the new block: 1 at first, one more than the last block's last
    number afterwards, after a restart too. What it raises passes through, and no number is lost
    or handed out by that. After a crash the rest of the block is skipped.

    The nonce of a packet is made of its number, so a number used twice would break AES-GCM.

    Parameters
    ----------
    reserve : callable
        The store's side, as above.
    last : int
        Last number that the SA allows: 2^64 - 1 with ESN, 2^32 - 1 without.
    block : int
        How many numbers to reserve at once.

    Source: RFC 4303 3.3.3, RFC 4106 2 and 3.1.
    """

    def __init__(
        self, reserve: Callable[[int], int], *, last: int = (1 << 64) - 1, block: int = BLOCK
    ) -> None:
        if block < 1:
            raise ValueError(f"block of {block} numbers")
        self._reserve = reserve
        self._last = last
        self._block = block
        self._next = 1
        self._end = 1
        """One above the last number that is reserved for us."""

    @property
    def remaining(self) -> int:
        """Numbers at hand before the store is asked again."""
        return max(0, min(self._end - 1, self._last) - self._next + 1)

    @property
    def last(self) -> int:
        """Last number that may be handed out."""
        return self._last

    def refill(self) -> None:
        """Reserve a block now, if none is at hand, so that the next packet need not wait for it.

        Raises
        ------
        SequenceExhaustedError
            All numbers of the SA are used or given up.
        SequenceReuseError
            The store's answer lies at or below numbers had before.
        """
        if self.remaining:
            return
        if self._next > self._last:
            raise SequenceExhaustedError("every sequence number of this SA is used: replace the SA")
        first = self._reserve(self._block)
        if first < self._end:
            raise SequenceReuseError(_RESTORED)
        self._next = first
        self._end = first + self._block
        if first > self._last:
            raise SequenceExhaustedError("every sequence number of this SA is used: replace the SA")

    def leap(self, count: int) -> bool:
        """Give up the next `count` numbers; what is behind them is reserved when this returns.

        False, and nothing happens, where the SA has not so many numbers left. Raises as `refill`.
        """
        if self._next + count > self._last:
            return False
        beyond = self._next + count - self._end
        if beyond < 0:
            self._next += count
            return True
        first = self._reserve(beyond + self._block)
        if first < self._end:
            raise SequenceReuseError(_RESTORED)
        self._next = first + beyond
        self._end = self._next + self._block
        return True

    def next(self) -> int:
        """A number never given before; raises as `refill`, and whatever the store raises."""
        self.refill()
        number = self._next
        self._next += 1
        return number
