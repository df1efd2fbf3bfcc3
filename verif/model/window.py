"""The anti-replay window of one inbound SA, with extended sequence numbers."""

from __future__ import annotations

from spec.counters import Counter
from spec.sa import REPLAY_WINDOW


class ReplayWindow:
    """A window of `size` numbers ending at `right`; the number `right` itself counts as seen.

    Parameters
    ----------
    right : int
        Right edge T: the highest number authenticated so far. 0 for a fresh SA. Without ESN only
        its low half counts.
    esn : bool
        Numbers have a high half that is not sent.
    size : int
        Numbers in the window.
    half_bits : int
        Bits of each half, 32 but in tests that try every number.

    Source: RFC 4303 3.4.3, A2.
    """

    def __init__(
        self, right: int, esn: bool, size: int = REPLAY_WINDOW, half_bits: int = 32
    ) -> None:
        self.esn = esn
        self.size = size
        self.half = 1 << half_bits
        self.right = right if esn else right % self.half
        self.bitmap = 1
        """Bit n set: number right - n was seen."""

    def infer(self, low: int) -> int | None:
        """The whole number that the sent half `low` stands for, None where there is none.

        Source: RFC 4303 A2.2.
        """
        if not self.esn:
            return low
        right_high, right_low = divmod(self.right, self.half)
        left = (right_low - self.size + 1) % self.half
        if right_low >= self.size - 1:  # the window lies within one high half
            high = right_high if low >= left else right_high + 1
        else:  # the window began in the high half before
            high = right_high - 1 if low >= left else right_high
        if not 0 <= high < self.half:
            return None
        return high * self.half + low

    def check(self, low: int) -> tuple[int, Counter | None]:
        """The number of a packet, and why it must be dropped if it must. Changes nothing."""
        number = self.infer(low)
        if number is None:
            return 0, Counter.DROP_REPLAY_OLD
        behind = self.right - number
        if behind >= self.size:
            return number, Counter.DROP_REPLAY_OLD
        if number == 0:  # no sender ever uses it (RFC 4303 3.3.3)
            return number, Counter.DROP_REPLAY_DUPLICATE
        if behind >= 0 and self.bitmap >> behind & 1:
            return number, Counter.DROP_REPLAY_DUPLICATE
        return number, None

    def accept(self, number: int) -> None:
        """Marks `number` as seen. Only after its ICV was right (RFC 4303 3.4.3)."""
        ahead = number - self.right
        if ahead >= self.size:
            self.bitmap = 1
            self.right = number
        elif ahead > 0:
            self.bitmap = (self.bitmap << ahead | 1) & ((1 << self.size) - 1)
            self.right = number
        else:
            self.bitmap |= 1 << -ahead
