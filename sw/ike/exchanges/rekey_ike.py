"""CREATE_CHILD_SA that replaces the IKE SA, and IKE_FOLLOWUP_KE behind it where agreed on.

Source: RFC 7296 1.3.2, 2.8.2, 2.18, 2.25.2; RFC 9370 2.2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sw.ike.constants import (
    NONCE_OCTETS,
    Group,
    NotifyType,
    Protocol,
    TransformType,
)
from sw.ike.errors import IkeError
from sw.ike.events import ExchangeKind, FailureReason
from sw.ike.exchanges.follow_up import FollowedUpTask, Pending, drop, link_notify
from sw.ike.exchanges.sa_init import KeySource, additional_of, group_transform, keys_of
from sw.ike.groups import answer_key_exchange, make_key_exchange
from sw.ike.ike_sa import IkeSa, State
from sw.ike.keymat import IkeKeys
from sw.ike.message import NO_SPI
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    find,
    find_error,
    find_notify,
    require,
)
from sw.ike.proposals import Proposal
from sw.ike.secret import Secret

if TYPE_CHECKING:
    from sw.ike.connection import Connection

_CHILD_KINDS = (
    ExchangeKind.CREATE_CHILD,
    ExchangeKind.REKEY_CHILD,
    ExchangeKind.DELETE_CHILD,
)


@dataclass(frozen=True, slots=True)
class Collision:
    """The peer rekeyed the same IKE SA meanwhile: its new one, and its nonces (2.8.2).

    There is no new one until it has been followed up.
    """

    sa: IkeSa | None
    nonces: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """What CREATE_CHILD_SA has agreed on."""

    chosen: Proposal
    nonces: tuple[bytes, bytes]
    shared: Secret

    def keys(self, old: IkeSa, spis: tuple[bytes, bytes], additional: Secret | None) -> IkeKeys:
        """Keys of the new IKE SA; `additional` is what IKE_FOLLOWUP_KE gave."""
        return keys_of(self.chosen, self.shared, KeySource(self.nonces, spis, old.keys, additional))


class RekeyIkeTask(FollowedUpTask[Agreed]):
    """Ask for an IKE SA that replaces this one, and follow it up where that was agreed on."""

    kind = ExchangeKind.REKEY_IKE
    _group: Group

    def __init__(self, groups: tuple[Group, ...]) -> None:
        super().__init__(groups)
        self.collision: Collision | None = None
        self._spi = b""

    @property
    def successor(self) -> IkeSa | None:
        """The IKE SA that the peer's simultaneous rekey has made."""
        return self.collision.sa if self.collision is not None else None

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """Order as in RFC 7296 appendix C.5; to follow up, KEi(1) and the link."""
        following = self._following_up()
        if following is not None:
            return following
        shared = connection.shared
        pending = _pending(sa)
        # The peer has begun before us, and not followed up yet.
        self.collision = Collision(None, pending.nonces) if pending is not None else None
        self._spi = shared.new_ike_spi()
        connection.route(self._spi)
        self._nonce = shared.rng(NONCE_OCTETS)
        self._ke = make_key_exchange(self._group, shared.rng)
        return [
            SaPayload(shared.config.ike.proposals(rekey=True).offer(self._spi)),
            NoncePayload(self._nonce),
            KePayload(self._ke.group, self._ke.public),
        ]

    def release(self, connection: Connection) -> None:
        """The SPI goes back, and what was agreed on is forgotten."""
        super().release(connection)
        connection.unroute(self._spi)

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """Take the new IKE SA over, follow up, try again, or fail."""
        error = find_error(payloads)
        if error is not None:
            self._refused(connection, sa, error, now)
            return
        if self._agreed is not None:
            new = self._followed_up(connection, sa, self._agreed, payloads)
            self._take(connection, sa, new, now, redundant=False)
            return
        policy = connection.shared.config.ike.proposals(rekey=True)
        chosen = policy.accepts(require(payloads, SaPayload).proposals)
        ke, nonce = require(payloads, KePayload), require(payloads, NoncePayload)
        link = find_notify(payloads, NotifyType.ADDITIONAL_KEY_EXCHANGE)
        additional = additional_of(chosen) if chosen is not None else Group.NONE
        if (
            chosen is None
            or chosen.spi == NO_SPI
            or self._ke is None
            or ke.group != self._ke.group
            or group_transform(ke.group) not in chosen.transforms
            or (additional is not Group.NONE and link is None)
        ):
            self.fail(connection, FailureReason.UNACCEPTABLE)
            return
        nonces = (self._nonce, nonce.data)
        agreed = Agreed(chosen, nonces, self._ke.shared(ke.data))
        redundant = self.collision is not None and min(nonces) < min(self.collision.nonces)
        if link is None or additional is Group.NONE:
            self._take(connection, sa, self._make(connection, sa, agreed), now, redundant=redundant)
        elif redundant:
            # There is nothing to delete yet: we just stop (RFC 9370 2.2.4).
            self._give_way(connection, sa, now)
        else:
            if self.successor is not None:
                connection.outlive(self.successor, now)
            if _pending(sa) is not None:
                drop(sa)
            self._follow_up(connection, sa, agreed, link.data, additional)

    def _followed_up(
        self, connection: Connection, sa: IkeSa, agreed: Agreed, payloads: Sequence[Payload]
    ) -> IkeSa:
        return self._make(connection, sa, agreed, self._additional(payloads))

    def _make(
        self, connection: Connection, sa: IkeSa, agreed: Agreed, additional: Secret | None = None
    ) -> IkeSa:
        spis = (self._spi, agreed.chosen.spi)
        new = _successor(connection, sa, spis, initiator=True)
        new.install_keys(agreed.keys(sa, spis, additional))
        connection.sas.append(new)
        return new

    def _take(
        self, connection: Connection, sa: IkeSa, new: IkeSa, now: float, *, redundant: bool
    ) -> None:
        if redundant:
            # Its creator deletes it; the peer deletes the old one.
            connection.delete_ike(new)
            self._give_way(connection, sa, now)
            return
        if self.successor is not None:
            connection.outlive(self.successor, now)
        connection.adopt(new, sa, now, initiator=True)
        connection.delete_ike(sa)

    def _give_way(self, connection: Connection, sa: IkeSa, now: float) -> None:
        """The peer's new IKE SA takes over; if it comes to nothing, we try again."""
        successor, pending = self.successor, _pending(sa)
        self.release(connection)
        if successor is not None:
            connection.adopt(successor, sa, now, initiator=False)
        elif pending is not None:
            pending.instead_of = self
        else:
            self.wait(connection, sa, NotifyType.TEMPORARY_FAILURE, now)

    def _refused(self, connection: Connection, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        if self.collision is not None and not self.is_following_up:
            self._give_way(connection, sa, now)
            return
        if error.notify in (NotifyType.TEMPORARY_FAILURE, NotifyType.STATE_NOT_FOUND):
            self.wait(connection, sa, error.notify, now)
            return
        if not self._regroup(connection, sa, error):
            self.fail(connection, FailureReason.REFUSED, error.notify)


def _pending(sa: IkeSa) -> Pending | None:
    """The peer's rekey of the IKE SA, if it has still to be followed up."""
    return sa.pending if sa.pending is not None and sa.pending.rekeys_ike else None


def _successor(
    connection: Connection, sa: IkeSa, spis: tuple[bytes, bytes], *, initiator: bool
) -> IkeSa:
    new = IkeSa(
        initiator=initiator,
        spi_i=spis[0],
        spi_r=spis[1],
        state=State.ESTABLISHED,
        address=sa.address,
        timing=connection.shared.config.timing,
    )
    new.message_octets = sa.message_octets
    return new


def is_rekey(payloads: Sequence[Payload]) -> bool:
    """Whether a CREATE_CHILD_SA request is for an IKE SA."""
    sa = find(payloads, SaPayload)
    return sa is not None and sa.proposals[0].protocol == Protocol.IKE


def respond(
    connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
) -> list[Payload]:
    """Answer a request to replace the IKE SA. `IkeError` if it is ill-formed."""
    shared, under_way = connection.shared, sa.under_way
    if under_way is not None and under_way.kind in _CHILD_KINDS:
        return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
    if isinstance(under_way, RekeyIkeTask) and (
        under_way.successor is not None or under_way.is_following_up
    ):
        return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
    ke_in, nonce_in = require(payloads, KePayload), require(payloads, NoncePayload)
    policy = shared.config.ike.proposals(rekey=True)
    favourite = group_transform(ke_in.group)
    chosen = policy.choose(require(payloads, SaPayload).proposals, favourite=favourite)
    if chosen is None or chosen.spi == NO_SPI:
        return [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)]
    dh = chosen.get(TransformType.DH)
    if dh is None or dh.ident != ke_in.group:
        wanted = dh.ident if dh is not None else Group.NONE
        return [NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, wanted.to_bytes(2, "big"))]
    try:
        public, shared_secret = answer_key_exchange(Group(dh.ident), ke_in.data, shared.rng)
    except IkeError:
        return [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)]
    agreed = Agreed(chosen, (nonce_in.data, shared.rng(NONCE_OCTETS)), shared_secret)
    spis = (chosen.spi, shared.new_ike_spi())
    answer = Proposal(chosen.number, chosen.protocol, spis[1], chosen.transforms)
    response: list[Payload] = [
        SaPayload((answer,)),
        NoncePayload(agreed.nonces[1]),
        KePayload(dh.ident, public),
    ]
    additional = additional_of(chosen)
    if additional is Group.NONE:
        _replace(connection, sa, agreed, spis, None, now)
        return response
    connection.route(spis[1])
    sa.pending = Pending(
        link=spis[1],
        group=additional,
        nonces=agreed.nonces,
        expires=now + shared.config.timing.follow_up,
        complete=partial(_replace, connection, sa, agreed, spis),
        release=partial(connection.unroute, spis[1]),
        rekeys_ike=True,
    )
    if isinstance(under_way, RekeyIkeTask):
        under_way.collision = Collision(None, agreed.nonces)
    return [*response, link_notify(spis[1])]


def _replace(
    connection: Connection,
    sa: IkeSa,
    agreed: Agreed,
    spis: tuple[bytes, bytes],
    additional: Secret | None,
    now: float,
) -> None:
    """The responder's new IKE SA stands. If we are about to replace it too, the nonces decide."""
    new = _successor(connection, sa, spis, initiator=False)
    new.install_keys(agreed.keys(sa, spis, additional))
    connection.route(new.spi_r)
    connection.sas.append(new)
    under_way = sa.under_way
    if isinstance(under_way, RekeyIkeTask):
        under_way.collision = Collision(new, agreed.nonces)
    else:
        connection.adopt(new, sa, now, initiator=False)
