"""CREATE_CHILD_SA that replaces the IKE SA. Source: RFC 7296 1.3.2, 2.8.2, 2.18, 2.25.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sw.ike.constants import (
    NONCE_OCTETS,
    ExchangeType,
    Group,
    NotifyType,
    Protocol,
    TransformType,
)
from sw.ike.errors import IkeError
from sw.ike.events import ExchangeKind, FailureReason
from sw.ike.exchanges.base import Task
from sw.ike.exchanges.sa_init import KeySource, group_transform, keys_of
from sw.ike.groups import KeyExchange, answer_key_exchange, make_key_exchange
from sw.ike.ike_sa import IkeSa, State
from sw.ike.message import NO_SPI
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    find,
    find_error,
    require,
)
from sw.ike.proposals import Proposal

if TYPE_CHECKING:
    from sw.ike.connection import Connection

_CHILD_KINDS = (
    ExchangeKind.CREATE_CHILD,
    ExchangeKind.REKEY_CHILD,
    ExchangeKind.DELETE_CHILD,
)


@dataclass(frozen=True, slots=True)
class Collision:
    """The peer rekeyed the same IKE SA meanwhile: its new one, and its nonces (2.8.2)."""

    sa: IkeSa
    nonces: tuple[bytes, bytes]


class RekeyIkeTask(Task):
    """Ask for an IKE SA that replaces this one."""

    kind = ExchangeKind.REKEY_IKE
    exchange = ExchangeType.CREATE_CHILD_SA

    def __init__(self, groups: tuple[Group, ...]) -> None:
        super().__init__()
        self.collision: Collision | None = None
        self._groups = groups
        self._group = groups[0]
        self._regrouped = False
        self._spi = b""
        self._nonce = b""
        self._ke: KeyExchange | None = None

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """Order as in RFC 7296 appendix C.5."""
        shared = connection.shared
        self.collision = None
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
        """The SPI goes back; if the peer rekeyed at the same time, its new IKE SA takes over."""
        super().release(connection)
        connection.unroute(self._spi)

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """Take the new IKE SA over, try again, or fail."""
        error = find_error(payloads)
        if error is not None:
            self._refused(connection, sa, error, now)
            return
        policy = connection.shared.config.ike.proposals(rekey=True)
        chosen = policy.accepts(require(payloads, SaPayload).proposals)
        ke, nonce = require(payloads, KePayload), require(payloads, NoncePayload)
        if (
            chosen is None
            or chosen.spi == NO_SPI
            or self._ke is None
            or ke.group != self._ke.group
            or group_transform(ke.group) not in chosen.transforms
        ):
            self.fail(connection, FailureReason.UNACCEPTABLE)
            return
        nonces = (self._nonce, nonce.data)
        shared_secret = self._ke.shared(ke.data)
        new = IkeSa(
            initiator=True,
            spi_i=self._spi,
            spi_r=chosen.spi,
            state=State.ESTABLISHED,
            address=sa.address,
            timing=connection.shared.config.timing,
        )
        source = KeySource(nonces, (new.spi_i, new.spi_r), sa.keys)
        new.message_octets = sa.message_octets
        new.install_keys(keys_of(chosen, shared_secret, source))
        connection.sas.append(new)
        if self.collision is not None and min(nonces) < min(self.collision.nonces):
            # Ours is the redundant one: its creator deletes it; the peer deletes the old one.
            connection.adopt(self.collision.sa, sa, now, initiator=False)
            connection.delete_ike(new)
            return
        if self.collision is not None:
            connection.outlive(self.collision.sa, now)
        connection.adopt(new, sa, now, initiator=True)
        connection.delete_ike(sa)

    def _refused(self, connection: Connection, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        if self.collision is not None:
            self.release(connection)
            connection.adopt(self.collision.sa, sa, now, initiator=False)
            return
        if error.notify == NotifyType.TEMPORARY_FAILURE:
            self.wait(connection, sa, error.notify, now)
            return
        if error.notify == NotifyType.INVALID_KE_PAYLOAD and not self._regrouped:
            wanted = int.from_bytes(error.data, "big")
            for group in self._groups:
                if group == wanted and group != self._group:
                    self._group = group
                    self._regrouped = True
                    self.release(connection)
                    connection.requeue(self, sa)
                    return
        self.fail(connection, FailureReason.REFUSED, error.notify)


def is_rekey(payloads: Sequence[Payload]) -> bool:
    """Whether a CREATE_CHILD_SA request is for an IKE SA."""
    sa = find(payloads, SaPayload)
    return sa is not None and sa.proposals[0].protocol == Protocol.IKE


def respond(
    connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
) -> list[Payload]:
    """Answer a request to replace the IKE SA. `IkeError` if it is ill-formed."""
    shared = connection.shared
    under_way = sa.outstanding.task if sa.outstanding is not None else None
    if under_way is not None and under_way.kind in _CHILD_KINDS:
        return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
    if isinstance(under_way, RekeyIkeTask) and under_way.collision is not None:
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
    nonces = (nonce_in.data, shared.rng(NONCE_OCTETS))
    new = IkeSa(
        initiator=False,
        spi_i=chosen.spi,
        spi_r=shared.new_ike_spi(),
        state=State.ESTABLISHED,
        address=sa.address,
        timing=shared.config.timing,
    )
    source = KeySource(nonces, (new.spi_i, new.spi_r), sa.keys)
    new.message_octets = sa.message_octets
    new.install_keys(keys_of(chosen, shared_secret, source))
    connection.route(new.spi_r)
    connection.sas.append(new)
    if isinstance(under_way, RekeyIkeTask):
        under_way.collision = Collision(new, nonces)
    else:
        connection.adopt(new, sa, now, initiator=False)
    answer = Proposal(chosen.number, chosen.protocol, new.spi_r, chosen.transforms)
    return [SaPayload((answer,)), NoncePayload(nonces[1]), KePayload(dh.ident, public)]
