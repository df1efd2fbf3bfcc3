"""What every task has: it builds a request, and takes the response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sw.ike.constants import ExchangeType
from sw.ike.events import ExchangeFailed, ExchangeKind, FailureReason
from sw.ike.payloads import Payload

if TYPE_CHECKING:
    from sw.ike.connection import Connection
    from sw.ike.ike_sa import IkeSa


class Task(ABC):
    """One exchange that this side begins.

    `reports`: whether the caller hears of its failure. `spi`: our inbound SPI of the Child SA it
    is about. `not_before`: time before which it does not start. `reserved`: inbound SPI taken for a
    Child SA that does not exist yet.
    """

    kind: ExchangeKind
    exchange: ExchangeType
    reports = True

    def __init__(self, spi: int | None = None) -> None:
        self.spi = spi
        self.not_before = 0.0
        self.busy_count = 0
        self.reserved: int | None = None

    @abstractmethod
    def build(self, connection: Connection, sa: IkeSa) -> list[Payload] | None:
        """Payloads of the request; None if there is nothing left to do."""

    @abstractmethod
    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """Take the (genuine) response. `IkeError` ends the connection."""

    def release(self, connection: Connection) -> None:
        """Give back the SPI that `build` reserved; called when the task ends without success."""
        if self.reserved is not None:
            connection.shared.child_spis.discard(self.reserved)
            self.reserved = None

    def fail(
        self, connection: Connection, reason: FailureReason, notify: int | None = None
    ) -> None:
        """End without success, and say so."""
        self.release(connection)
        if self.reports:
            failed = ExchangeFailed(connection.id, self.kind, reason, self.spi, notify)
            connection.shared.emit(failed)

    def wait(self, connection: Connection, sa: IkeSa, notify: int, now: float) -> None:
        """Try again later, after TEMPORARY_FAILURE; fail after too many tries (RFC 7296 2.25)."""
        timing = connection.shared.config.timing
        self.busy_count += 1
        if self.busy_count >= timing.busy_tries:
            self.fail(connection, FailureReason.REFUSED, notify)
            return
        self.release(connection)
        # Both sides may have been busy with each other: they must not meet again and again.
        spread = 1 + int.from_bytes(connection.shared.rng(2), "big") / 0x10000
        self.not_before = now + timing.busy_retry * 2 ** (self.busy_count - 1) * spread
        connection.requeue(self, sa)
