"""CREATE_CHILD_SA for a Child SA, and IKE_FOLLOWUP_KE behind it where agreed on.

Source: RFC 7296 1.3.1, 1.3.3, 2.8, 2.25.1; RFC 9370 2.2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sw.ike.child_sa import spi_octets
from sw.ike.config import ChildPolicy
from sw.ike.constants import NONCE_OCTETS, Group, NotifyType, Protocol
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.events import ExchangeKind, FailureReason
from sw.ike.exchanges.child import (
    Agreed,
    ChildRefusedError,
    answer,
    check,
    establish,
    offer,
    policy_to_offer,
)
from sw.ike.exchanges.follow_up import FollowedUpTask, Pending, drop, link_notify
from sw.ike.exchanges.informational import DeleteChildTask
from sw.ike.groups import make_key_exchange
from sw.ike.payloads import (
    NoncePayload,
    NotifyPayload,
    Payload,
    find_error,
    find_notify,
    require,
)
from sw.ike.secret import Secret

if TYPE_CHECKING:
    from sw.ike.connection import Connection
    from sw.ike.ike_sa import IkeSa


@dataclass(slots=True)
class Collision:
    """The peer rekeyed the same Child SA meanwhile: its nonces (RFC 7296 2.8.1), and whether the
    new one is there; it is not until it was followed up.
    """

    nonces: tuple[bytes, bytes]
    made: bool


class CreateChildTask(FollowedUpTask[Agreed]):
    """Ask for a new Child SA, or with `spi` for one that replaces that one (REKEY_SA).

    The replaced Child SA is left as it is, whatever comes of the exchange: it is the last one
    that worked until the new one has. The caller deletes it.
    """

    def __init__(self, policy: ChildPolicy, spi: int | None = None) -> None:
        super().__init__(policy.groups, spi)
        self.kind = ExchangeKind.CREATE_CHILD if spi is None else ExchangeKind.REKEY_CHILD
        self.collision: Collision | None = None
        self._policy = policy
        self._offered = policy

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload] | None:
        """Order as in RFC 7296 appendix C.4; to follow up, KEi(1) and the link."""
        following = self._following_up()
        if following is not None:
            return following
        shared = connection.shared
        payloads: list[Payload] = []
        self.collision = None
        if self.spi is not None:
            child = connection.children.get(self.spi)
            if child is None or child.deleting:
                self.fail(connection, FailureReason.NO_SUCH_SA)
                return None
            # The SPI is the one we expect in inbound packets (RFC 7296 1.3.3).
            spi = spi_octets(self.spi)
            payloads.append(NotifyPayload(NotifyType.REKEY_SA, b"", Protocol.ESP, spi))
        pending = self._pending(sa)
        if pending is not None:
            # The peer has begun before us, and not followed up yet.
            self.collision = Collision(pending.nonces, made=False)
        self.reserved = shared.new_child_spi()
        if self.reserved is None:
            self.fail(connection, FailureReason.NO_SPI)
            return None
        self._nonce = shared.rng(NONCE_OCTETS)
        self._ke = make_key_exchange(self._group, shared.rng) if self._group else None
        self._offered = policy_to_offer(self._policy, sa.address, nat=connection.encap_udp)
        payloads += offer(self._offered, self.reserved, nonce=self._nonce, ke=self._ke)
        return payloads

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """Establish, follow up, try again, or fail."""
        error = find_error(payloads)
        if error is not None:
            self._refused(connection, sa, error, now)
            return
        if self._agreed is not None:
            self._followed_up(connection, self._agreed, payloads)
            return
        nonces = (self._nonce, require(payloads, NoncePayload).data)
        spi_in = self.reserved
        if spi_in is None:
            raise IkeError(DropReason.NO_ROW, "no SPI was offered")
        link = find_notify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
        redundant = self.collision is not None and min(nonces) < min(self.collision.nonces)
        agreed = check(
            connection, self._offered, spi_in, payloads, sa.keys, nonces, self._ke, self.spi
        )
        if agreed is None or (agreed.additional is not Group.NONE and link is None):
            # The peer may hold a Child SA now that we do not want.
            self.reserved = None
            connection.start(DeleteChildTask(spi_in, reports=False))
            self.fail(connection, FailureReason.UNACCEPTABLE)
        elif link is None or agreed.additional is Group.NONE:
            self.reserved = None
            establish(connection, agreed, initiator=True, announce=not redundant)
            if redundant:
                connection.start(DeleteChildTask(spi_in, reports=False))
                self._give_way(connection, sa, now)
        elif redundant:
            # There is nothing to delete yet: we just stop (RFC 9370 2.2.4).
            self._give_way(connection, sa, now)
        else:
            if self._pending(sa) is not None:
                drop(sa)
            self._follow_up(connection, sa, agreed, link.data, agreed.additional)

    def _followed_up(
        self, connection: Connection, agreed: Agreed, payloads: Sequence[Payload]
    ) -> None:
        secret = self._additional(payloads)
        self.reserved = None
        _establish(connection, agreed, secret, initiator=True)

    def _pending(self, sa: IkeSa) -> Pending | None:
        """The peer's rekey of the same Child SA, if it has still to be followed up."""
        pending = sa.pending
        same = pending is not None and self.spi is not None and pending.spi == self.spi
        return pending if same else None

    def _give_way(self, connection: Connection, sa: IkeSa, now: float) -> None:
        """The peer's new Child SA stays; if it comes to nothing, we try again."""
        pending = self._pending(sa)
        if self.collision is not None and self.collision.made:
            self.fail(connection, FailureReason.REDUNDANT)
        elif pending is not None:
            self.release(connection)
            pending.instead_of = self
        else:
            self.wait(connection, sa, NotifyType.TEMPORARY_FAILURE, now)

    def _refused(self, connection: Connection, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        if error.notify == NotifyType.TEMPORARY_FAILURE and self.collision is not None:
            self._give_way(connection, sa, now)
            return
        if error.notify in (NotifyType.TEMPORARY_FAILURE, NotifyType.STATE_NOT_FOUND):
            self.wait(connection, sa, error.notify, now)
            return
        if not self._regroup(connection, sa, error):
            self.fail(connection, FailureReason.REFUSED, error.notify)


def respond(
    connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
) -> list[Payload]:
    """Answer a CREATE_CHILD_SA request for a Child SA. `IkeError` if it is ill-formed."""
    rekey = find_notify(payloads, NotifyType.REKEY_SA)
    rekeyed_spi: int | None = None
    policy = connection.child_policy
    ours: CreateChildTask | None = None
    if rekey is not None:
        child = connection.child_by_peer_spi(int.from_bytes(rekey.spi, "big"))
        if child is None or rekey.protocol != Protocol.ESP:
            return [NotifyPayload(NotifyType.CHILD_SA_NOT_FOUND, b"", rekey.protocol, rekey.spi)]
        ours = _rekey_under_way(sa, child.spi_in)
        if child.deleting or (ours is not None and ours.is_following_up):
            return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
        rekeyed_spi = child.spi_in
    try:
        response, agreed = answer(connection, policy, payloads, sa.keys, rekeyed_spi=rekeyed_spi)
    except ChildRefusedError as refused:
        return [refused.payload]
    nonces = agreed.secrets.nonces
    if ours is not None:
        ours.collision = Collision(nonces, made=agreed.additional is Group.NONE)
    if agreed.additional is Group.NONE:
        establish(connection, agreed, initiator=False)
        return response
    link = spi_octets(agreed.spi_in)
    sa.pending = Pending(
        link=link,
        group=agreed.additional,
        nonces=nonces,
        expires=now + connection.shared.config.timing.follow_up,
        complete=partial(_complete, connection, sa, agreed),
        release=partial(connection.shared.child_spis.discard, agreed.spi_in),
        spi=rekeyed_spi,
    )
    return [*response, link_notify(link)]


def _rekey_under_way(sa: IkeSa, spi: int) -> CreateChildTask | None:
    """Our own rekey of a Child SA, if it is under way."""
    task = sa.under_way
    return task if isinstance(task, CreateChildTask) and task.spi == spi else None


def _establish(
    connection: Connection, agreed: Agreed, additional: Secret, *, initiator: bool
) -> None:
    if connection.child_by_peer_spi(int.from_bytes(agreed.chosen.spi, "big")) is not None:
        raise malformed("an SPI of the peer twice")
    establish(connection, agreed, additional, initiator=initiator)


def _complete(
    connection: Connection, sa: IkeSa, agreed: Agreed, additional: Secret, now: float
) -> None:
    """The responder's Child SA stands."""
    _establish(connection, agreed, additional, initiator=False)
    ours = _rekey_under_way(sa, agreed.rekeyed_spi) if agreed.rekeyed_spi is not None else None
    if ours is not None and ours.collision is not None:
        ours.collision.made = True
