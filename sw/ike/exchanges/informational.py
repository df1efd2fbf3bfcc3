"""INFORMATIONAL: deletion, liveness, the ready notification. Source: RFC 7296 1.4, 2.4, 2.25."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sw.ike.child_sa import spi_octets
from sw.ike.constants import ESP_SPI_OCTETS, ExchangeType, NotifyType, Protocol
from sw.ike.events import (
    ChildSaDeleted,
    ChildSaReady,
    ChildSaReadyDelivered,
    CloseReason,
    ExchangeKind,
    FailureReason,
    PeerAlive,
)
from sw.ike.exchanges.base import Task
from sw.ike.ike_sa import IkeSa, State
from sw.ike.payloads import DeletePayload, NotifyPayload, Payload, find_notify

if TYPE_CHECKING:
    from sw.ike.connection import Connection


class DeleteChildTask(Task):
    """Delete a Child SA: announces our inbound SPI (RFC 7296 1.4.1).

    It also serves for a Child SA that only the peer holds, after an answer we cannot accept.
    """

    kind = ExchangeKind.DELETE_CHILD
    exchange = ExchangeType.INFORMATIONAL

    def __init__(self, spi: int, *, reports: bool = True) -> None:
        super().__init__(spi)
        self._spi = spi
        self.reports = reports
        if not reports:
            self.reserved = spi

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload] | None:
        """One Delete payload."""
        if self.reports and self._spi not in connection.children:
            self.fail(connection, FailureReason.NO_SUCH_SA)
            return None
        return [DeletePayload(Protocol.ESP, (spi_octets(self._spi),))]

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """The peer has deleted its half, or had done so before (RFC 7296 2.25.1)."""
        child = connection.forget_child(self._spi)
        if child is not None and self.reports:
            deleted = ChildSaDeleted(connection.id, child.spi_in, child.spi_out, by_peer=False)
            connection.shared.emit(deleted)


class DeleteIkeTask(Task):
    """Delete an IKE SA: the connection's with a reason, or one that was rekeyed without."""

    kind = ExchangeKind.CLOSE
    exchange = ExchangeType.INFORMATIONAL
    reports = False

    def __init__(self, reason: CloseReason | None, notify: int | None = None) -> None:
        super().__init__()
        self.reason = reason
        self.notify = notify

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """AUTHENTICATION_FAILED where that is why (RFC 7296 2.21.2), else one Delete payload."""
        sa.state = State.DELETING
        if self.reason is CloseReason.AUTHENTICATION:
            return [NotifyPayload(NotifyType.AUTHENTICATION_FAILED)]
        return [DeletePayload(Protocol.IKE)]

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """The IKE SA is gone on both sides."""
        connection.remove(sa)
        if self.reason is not None:
            connection.finish(self.reason, self.notify)


class LivenessTask(Task):
    """An empty request, to be answered (RFC 7296 1.4, 2.4)."""

    kind = ExchangeKind.LIVENESS
    exchange = ExchangeType.INFORMATIONAL

    def __init__(self, *, reports: bool = True) -> None:
        super().__init__()
        self.reports = reports

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """Nothing inside."""
        return []

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """It lives."""
        if self.reports:
            connection.shared.emit(PeerAlive(connection.id))


class ReadyTask(Task):
    """Tell the peer that our side of a Child SA is loaded ("SA is ready for use")."""

    kind = ExchangeKind.READY
    exchange = ExchangeType.INFORMATIONAL

    def __init__(self, spi: int) -> None:
        super().__init__(spi)
        self._spi = spi

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload] | None:
        """One private-use notification, with our inbound SPI."""
        if self._spi not in connection.children:
            self.fail(connection, FailureReason.NO_SUCH_SA)
            return None
        spi = spi_octets(self._spi)
        return [NotifyPayload(NotifyType.SA_READY, b"", Protocol.ESP, spi)]

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """The peer has it."""
        connection.shared.emit(ChildSaReadyDelivered(connection.id, self._spi))


def is_early(connection: Connection, payloads: Sequence[Payload]) -> bool:
    """Whether a request names a Child SA that we do not know, but may be about to.

    The peer knows a Child SA that we asked for from its answer on. If that answer is lost, a
    Delete or the ready notification for it can be here first. Left without an answer, such a
    request comes again, as every request does (RFC 7296 2.1).
    """
    making = (ExchangeType.CREATE_CHILD_SA, ExchangeType.IKE_FOLLOWUP_KE)
    under_way = (sa.outstanding for sa in connection.sas)
    if not any(out is not None and out.exchange in making for out in under_way):
        return False
    spis: list[bytes] = []
    for payload in payloads:
        if isinstance(payload, DeletePayload) and payload.protocol == Protocol.ESP:
            spis += payload.spis
        elif isinstance(payload, NotifyPayload) and payload.notify == NotifyType.SA_READY:
            spis.append(payload.spi)
    return any(connection.child_by_peer_spi(int.from_bytes(spi, "big")) is None for spi in spis)


def _delete_children(connection: Connection, payload: DeletePayload) -> list[bytes]:
    """Delete what the peer names; our SPIs of the pairs, where we were not at it ourselves."""
    ours = []
    for spi in payload.spis:
        child = connection.child_by_peer_spi(int.from_bytes(spi, "big"))
        if child is None:
            continue
        connection.forget_child(child.spi_in)
        if not child.deleting:
            ours.append(spi_octets(child.spi_in))
        if child.announced:
            event = ChildSaDeleted(connection.id, child.spi_in, child.spi_out, by_peer=True)
            connection.shared.emit(event)
    return ours


def respond(
    connection: Connection, payloads: Sequence[Payload]
) -> tuple[list[Payload], CloseReason | None]:
    """Answer: the payloads, and why the IKE SA ends once they are sent, if it does.

    Unknown SPIs and notifications are passed over (RFC 7296 1.4.1, 3.10.1).
    """
    ours: list[bytes] = []
    ends: CloseReason | None = None
    for payload in payloads:
        if isinstance(payload, DeletePayload) and payload.protocol == Protocol.IKE:
            ends = CloseReason.PEER
        elif isinstance(payload, DeletePayload) and payload.protocol == Protocol.ESP:
            ours += _delete_children(connection, payload)
        elif isinstance(payload, NotifyPayload) and payload.notify == NotifyType.SA_READY:
            _peer_ready(connection, payload)
    if find_notify(payloads, NotifyType.AUTHENTICATION_FAILED) is not None:
        ends = CloseReason.AUTHENTICATION
        connection.why = "the peer does not take our own proof"
    return ([DeletePayload(Protocol.ESP, tuple(ours))] if ours else []), ends


def _peer_ready(connection: Connection, payload: NotifyPayload) -> None:
    if payload.protocol != Protocol.ESP or len(payload.spi) != ESP_SPI_OCTETS:
        return
    child = connection.child_by_peer_spi(int.from_bytes(payload.spi, "big"))
    if child is not None:
        connection.shared.emit(ChildSaReady(connection.id, child.spi_in, child.spi_out))
