"""Sequence numbers of an SA, and how they are counted anew.

Only the order of numbers matters, and gaps wider than a window. So in each state the numbers that
can still occur are renamed 1, 2, 3, ...: then any number of polls and retransmissions leads to
finitely many states.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from spec.sa import REPLAY_WINDOW

ALL_SEEN = (1 << REPLAY_WINDOW) - 1
WIDE = 100
"""Stands for every gap that is wider than the window."""


class Numbers(NamedTuple):
    """Numbers of one SA, at both ends and on the wire.

    Parameters
    ----------
    sa : int
        The SA.
    left, reserved, edge, right, bitmap
        At the station; see `verif.modelcheck.station.SaNumbers`.
    used : int
        Highest number that the station put on the wire.
    nic_right, nic_bitmap, nic_sent
        At the NIC; -1, 0 and -1 where no bank has its keys.
    nic_used : int
        Highest number that the NIC put on the wire.
    """

    sa: int
    left: int = 0
    reserved: int = -1
    edge: int = -1
    right: int = -1
    bitmap: int = 0
    used: int = 0
    nic_right: int = -1
    nic_bitmap: int = 0
    nic_sent: int = -1
    nic_used: int = 0


def _ranks(numbers: set[int]) -> dict[int, int]:
    names, last, name = {0: 0, -1: -1}, 0, 0
    for number in sorted(numbers):
        if number > 0:
            name += WIDE if number - last > REPLAY_WINDOW else 1
            names[number] = name
            last = number
    return names


def _bits(right: int, bitmap: int, names: dict[int, int]) -> int:
    """The same window under other names; what cannot come any more counts as seen."""
    if right < 0:
        return 0
    bits = ALL_SEEN
    for number, name in names.items():
        behind = right - number
        if 0 < number <= right and behind < REPLAY_WINDOW and not bitmap >> behind & 1:
            place = names[right] - name
            if place < REPLAY_WINDOW:
                bits &= ~(1 << place)
    return bits


@lru_cache(maxsize=1 << 20)
def renamed(
    n: Numbers, to_nic: tuple[int, ...], to_station: tuple[int, ...]
) -> tuple[Numbers, tuple[int, ...], tuple[int, ...]]:
    """Numbers of an SA, and those of its packets on the wire, counted anew."""
    base = max(n.reserved, 0)
    names = _ranks({*to_nic, n.nic_right})
    top = max(names.values())
    if n.used <= base - n.left:
        # What was reserved or sent, and is on the wire no more, cannot come again.
        first = max(top, 1) if base - n.left > 0 else 0
        used = first if n.used else 0
        reserved = -1 if n.reserved < 0 else first + n.left
    else:
        names = _ranks({*to_nic, n.nic_right, base, n.used})
        used, reserved = names[n.used], names[n.reserved]
    back = _ranks({*to_station, n.right})
    last = max(back.values())
    sent, nic_used = (-1 if n.nic_sent < 0 else last), last
    if n.nic_used > n.nic_sent >= 0:
        back = _ranks({*to_station, n.right, n.nic_sent, n.nic_used})
        sent, nic_used = back[n.nic_sent], back[n.nic_used]
    after = Numbers(
        n.sa,
        n.left,
        reserved,
        # How far the disk lags behind makes no difference: see docs/model_check.md.
        -1 if n.edge < 0 else back[max(n.right, 0)],
        back[n.right],
        _bits(n.right, n.bitmap, back),
        used,
        names[n.nic_right],
        _bits(n.nic_right, n.nic_bitmap, names),
        sent,
        nic_used,
    )
    return (
        after,
        tuple(names[one] for one in to_nic),
        tuple(back[one] for one in to_station),
    )
