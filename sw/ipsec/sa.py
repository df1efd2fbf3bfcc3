"""What one direction of an SA has, of whatever protocol: numbers, a window, and counts.

Source: RFC 4302 3.3.2, 3.4.3; RFC 4303 3.3.3, 3.4.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from sw.ipsec.errors import DropReason, PacketDroppedError, SequenceExhaustedError
from sw.ipsec.material import Material
from sw.ipsec.reservation import SequenceReservation
from sw.ipsec.window import ReplayWindow

M = TypeVar("M", bound=Material)


class _Directed(Generic[M]):
    """One direction of an SA."""

    def __init__(self, material: M) -> None:
        self._material = material

    @property
    def material(self) -> M:
        """The SA."""
        return self._material

    @property
    def spi(self) -> int:
        """The SPI that packets carry."""
        return self._material.spi


class OutboundSa(_Directed[M]):
    """An SA that sends, with its numbers.

    Parameters
    ----------
    material : Material
        The SA.
    sequences : SequenceReservation
        Where its numbers come from; its `last` must not be above the SA's.
    """

    def __init__(self, material: M, sequences: SequenceReservation) -> None:
        if sequences.last > material.sequence_max:
            raise ValueError("the reservation reaches beyond the SA's last sequence number")
        super().__init__(material)
        self._sequences = sequences

    @property
    def sequences(self) -> SequenceReservation:
        """Where the numbers come from."""
        return self._sequences

    def _next_number(self) -> int:
        """One that was never given before.

        Raises SequenceExhaustedError, SequenceReuseError, or what the store raises.
        """
        number = self._sequences.next()
        if not 1 <= number <= self._material.sequence_max:
            raise SequenceExhaustedError("every sequence number of this SA is used: replace the SA")
        return number


@dataclass(frozen=True, slots=True)
class Verified:
    """A packet whose ICV is right; its number is not marked as seen yet.

    Parameters
    ----------
    number : int
        Its whole number.
    """

    number: int


class InboundSa(_Directed[M]):
    """An SA that receives, with its window, which moves by `mark` alone.

    Parameters
    ----------
    material : Material
        The SA.
    right_edge : int
        Where the window stands: 0 for a fresh SA, else `right_edge` as it was last stored.
    window : int
        Width of the anti-replay window.
    """

    def __init__(self, material: M, *, right_edge: int, window: int) -> None:
        super().__init__(material)
        self._window = ReplayWindow(esn=material.esn, right_edge=right_edge, size=window)

    @property
    def right_edge(self) -> int:
        """Right edge of the window: highest number authenticated so far."""
        return self._window.right_edge

    def mark(self, verified: Verified) -> None:
        """Count the number of a packet whose ICV was right as seen."""
        self._window.mark(verified.number)

    def _number_of(self, low: int) -> int:
        """The whole number of a packet whose header has `low`; raises PacketDroppedError."""
        number = self._window.infer(low)
        self._window.check(number)
        return number


class PacketCounts:
    """Packets that passed every check, and those dropped, by reason."""

    def __init__(self) -> None:
        self._drops: Counter[DropReason] = Counter()
        self._accepted = 0

    @property
    def accepted(self) -> int:
        """Packets that passed every check."""
        return self._accepted

    @property
    def drops(self) -> dict[DropReason, int]:
        """Packets dropped, by reason; reasons that never occurred are missing."""
        return dict(self._drops)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Around the opening of one packet."""
        try:
            yield
        except PacketDroppedError as error:
            self._drops[error.reason] += 1
            raise
        self._accepted += 1
