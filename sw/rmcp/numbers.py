"""The pair (sequence, tag) that makes a message unmistakable to the NIC."""

from __future__ import annotations

from dataclasses import dataclass

from sw.rmcp.messages import SEQUENCE_MAX, TAG_MAX

NUMBERS = (SEQUENCE_MAX + 1) * (TAG_MAX + 1)
"""How many pairs there are: each is used once before any is used again."""


@dataclass(frozen=True, slots=True)
class RmcpNumbers:
    """The numbers of one message; `advance` gives those of a later one.

    Both count through 0 to 254, 255 being special in each; the sequence takes one step more
    each time the tag wraps, so that all 65,025 pairs come before the first comes again, and a
    sequence number that comes again has another tag than before. The NIC acts once on a power
    command with a given pair, so a station stores a number above those used before it uses them.

    Parameters
    ----------
    sequence : int
        RMCP sequence number, 0 to 254.
    tag : int
        ASF message tag, 0 to 254.

    Source: DSP0136 3.2.2.2, 3.2.2.3.
    """

    sequence: int = 0
    tag: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.sequence <= SEQUENCE_MAX:
            raise ValueError(f"sequence {self.sequence} is not in 0 to {SEQUENCE_MAX}")
        if not 0 <= self.tag <= TAG_MAX:
            raise ValueError(f"tag {self.tag} is not in 0 to {TAG_MAX}")

    @property
    def ordinal(self) -> int:
        """The place of this pair in the cycle, 0 to 65,024."""
        turn = (self.sequence - self.tag) % (SEQUENCE_MAX + 1)
        return turn * (TAG_MAX + 1) + self.tag

    @classmethod
    def from_ordinal(cls, ordinal: int) -> RmcpNumbers:
        """The pair at a place of the cycle; any integer is taken modulo 65,025."""
        turn, tag = divmod(ordinal % NUMBERS, TAG_MAX + 1)
        return cls((turn + tag) % (SEQUENCE_MAX + 1), tag)

    def advance(self, count: int = 1) -> RmcpNumbers:
        """The numbers `count` messages later."""
        return self.from_ordinal(self.ordinal + count)
