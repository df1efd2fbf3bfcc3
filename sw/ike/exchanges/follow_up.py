"""IKE_FOLLOWUP_KE: an additional key exchange behind CREATE_CHILD_SA.

The SA that CREATE_CHILD_SA agreed on is made only once this exchange is over. Source: RFC 9370
2.2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from sw.ike.constants import ExchangeType, Group, NotifyType
from sw.ike.errors import IkeError, malformed
from sw.ike.events import FailureReason
from sw.ike.exchanges.base import Task
from sw.ike.groups import KeyExchange, answer_key_exchange, make_key_exchange
from sw.ike.payloads import KePayload, NotifyPayload, Payload, find_notify, require
from sw.ike.secret import Secret

if TYPE_CHECKING:
    from sw.ike.connection import Connection
    from sw.ike.ike_sa import IkeSa

A = TypeVar("A")
"""What CREATE_CHILD_SA has agreed on."""


@dataclass(slots=True, eq=False)
class Pending:
    """What the responder holds until the exchange is followed up. One for an IKE SA, at most.

    Parameters
    ----------
    link : bytes
        Names it; nobody but us has to understand it.
    group : Group
        The key exchange that is to come.
    nonces : tuple of bytes
        Of the CREATE_CHILD_SA exchange.
    expires : float
    complete : callable
        Makes the SA, from the secret of that exchange, and the time.
    release : callable
        Gives back what was reserved, if nothing comes of it.
    """

    link: bytes
    group: Group
    nonces: tuple[bytes, bytes]
    expires: float
    complete: Callable[[Secret, float], None] = field(repr=False)
    release: Callable[[], None] = field(repr=False)
    spi: int | None = None
    """The Child SA that is rekeyed, by our inbound SPI; None for an IKE SA, or where none is."""
    rekeys_ike: bool = False
    instead_of: Task | None = None
    """Ours that gave way to it, to be tried again if nothing comes of this one."""


class FollowedUpTask(Task, Generic[A]):
    """Ask for an SA by CREATE_CHILD_SA, and follow it up where that was agreed on.

    Parameters
    ----------
    groups : tuple of Group
        Of the first key exchange: one is offered, another only where the peer wants it.
    spi : int, optional
        As of `Task`.
    """

    exchange = ExchangeType.CREATE_CHILD_SA

    def __init__(self, groups: tuple[Group, ...], spi: int | None = None) -> None:
        super().__init__(spi)
        self._groups = groups
        self._group: Group | None = groups[0] if groups else None
        self._regrouped = False
        self._nonce = b""
        self._ke: KeyExchange | None = None
        self._agreed: A | None = None
        self._link = b""

    @property
    def is_following_up(self) -> bool:
        """Whether CREATE_CHILD_SA is over, and IKE_FOLLOWUP_KE is not."""
        return self._agreed is not None

    def release(self, connection: Connection) -> None:
        """What was reserved goes back, and what was agreed on is forgotten."""
        super().release(connection)
        self._agreed = None
        self.exchange = ExchangeType.CREATE_CHILD_SA

    def _following_up(self) -> list[Payload] | None:
        """KEi(1) and the link; None while CREATE_CHILD_SA has to be asked."""
        if self._agreed is None or self._ke is None:
            return None
        return [KePayload(self._ke.group, self._ke.public), link_notify(self._link)]

    def _follow_up(
        self, connection: Connection, sa: IkeSa, agreed: A, link: bytes, group: Group
    ) -> None:
        self._agreed = agreed
        self._link = link
        self._ke = make_key_exchange(group, connection.shared.rng)
        self.exchange = ExchangeType.IKE_FOLLOWUP_KE
        connection.requeue(self, sa)

    def _additional(self, payloads: Sequence[Payload]) -> Secret:
        """What the exchange behind gave; raises IkeError."""
        ke = require(payloads, KePayload)
        if self._ke is None or ke.group != self._ke.group:
            raise malformed("key exchange value of another method")
        return self._ke.shared(ke.data)

    def _regroup(self, connection: Connection, sa: IkeSa, error: NotifyPayload) -> bool:
        """Ask again with the group that the peer wants, once, if it is one of ours."""
        if error.notify != NotifyType.INVALID_KE_PAYLOAD or self._regrouped:
            return False
        wanted = int.from_bytes(error.data, "big")
        for group in self._groups:
            if group == wanted and group != self._group:
                self._group = group
                self._regrouped = True
                self.release(connection)
                connection.requeue(self, sa)
                return True
        return False


def link_notify(link: bytes) -> NotifyPayload:
    """What links the exchanges."""
    return NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, link)


def drop(sa: IkeSa) -> list[Task]:
    """Nothing comes of what was to be followed up: our own task that gave way to it, if any."""
    pending, sa.pending = sa.pending, None
    if pending is None:
        return []
    pending.release()
    return [pending.instead_of] if pending.instead_of is not None else []


def forget(connection: Connection, sa: IkeSa) -> None:
    """The peer will not follow up: what gave way to it is tried again."""
    for task in drop(sa):
        connection.requeue(task, sa)


def respond(
    connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
) -> list[Payload]:
    """Answer with KEr(1), and make the SA. STATE_NOT_FOUND if there is nothing to follow up."""
    pending, link = sa.pending, find_notify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
    if pending is None or link is None or link.data != pending.link:
        return [NotifyPayload(NotifyType.STATE_NOT_FOUND)]
    ke = require(payloads, KePayload)
    if ke.group != pending.group:
        raise malformed("key exchange value of another method")
    try:
        public, secret = answer_key_exchange(pending.group, ke.data, connection.shared.rng)
    except IkeError:
        forget(connection, sa)
        return [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)]
    sa.pending = None
    try:
        pending.complete(secret, now)
    except IkeError:
        pending.release()
        raise
    if pending.spi is not None and pending.instead_of is not None:
        pending.instead_of.fail(connection, FailureReason.REDUNDANT)
    return [KePayload(ke.group, public)]
