"""Child SAs: offer, answer and check, in IKE_AUTH and CREATE_CHILD_SA alike, and the task.

Source: RFC 7296 1.3.1, 1.3.3, 2.8, 2.9, 2.17, 2.25.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sw.ike.address import Address
from sw.ike.child_sa import ChildSa, spi_octets
from sw.ike.config import ChildPolicy, suite_of
from sw.ike.constants import (
    ESN_YES,
    ESP_SPI_MIN,
    NONCE_OCTETS,
    ExchangeType,
    Group,
    NotifyType,
    Protocol,
    TransformType,
)
from sw.ike.errors import DropReason, IkeError
from sw.ike.events import ChildSaEstablished, ExchangeKind, FailureReason
from sw.ike.exchanges.base import Task
from sw.ike.exchanges.informational import DeleteChildTask
from sw.ike.exchanges.sa_init import group_transform
from sw.ike.groups import KeyExchange, answer_key_exchange, make_key_exchange
from sw.ike.keymat import IkeKeys, derive_child_keys
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    find,
    find_error,
    find_notify,
    require,
    require_ts,
)
from sw.ike.proposals import Proposal
from sw.ike.secret import Secret
from sw.ike.selectors import TrafficSelector, is_narrowing, narrow

if TYPE_CHECKING:
    from sw.ike.connection import Connection
    from sw.ike.ike_sa import IkeSa


class ChildRefusedError(Exception):
    """No Child SA comes of this offer; the notification says why."""

    def __init__(self, notify: NotifyType, data: bytes = b"") -> None:
        super().__init__(notify.name)
        self.payload = NotifyPayload(notify, data)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the keys of a Child SA come from. `shared` is None without PFS."""

    ike: IkeKeys
    nonce_i: bytes
    nonce_r: bytes
    shared: Secret | None = None


def offer(
    policy: ChildPolicy, spi_in: int, *, nonce: bytes = b"", ke: KeyExchange | None = None
) -> list[Payload]:
    """Payloads that ask for a Child SA, in the order of RFC 7296 appendix C.2 and C.4.

    With a nonce for CREATE_CHILD_SA, without for IKE_AUTH.
    """
    payloads: list[Payload] = []
    if policy.transport:
        payloads.append(NotifyPayload(NotifyType.USE_TRANSPORT_MODE))
    proposal = policy.proposals(in_auth=not nonce).offer(spi_octets(spi_in))
    payloads.append(SaPayload((proposal,)))
    if nonce:
        payloads.append(NoncePayload(nonce))
    if ke is not None:
        payloads.append(KePayload(ke.group, ke.public))
    payloads += [TsPayload(True, policy.local_ts), TsPayload(False, policy.remote_ts)]
    return payloads


def policy_to_offer(policy: ChildPolicy, address: Address, *, nat: bool) -> ChildPolicy:
    """The policy that goes into an offer to the peer at `address`.

    In transport mode through a NAT each selector names one address: ours as we know it, the peer's
    as we reach it. Peers refuse all others. Source: RFC 7296 2.23.1.
    """
    if not (policy.transport and nat and address.local_host):
        return policy
    return replace(
        policy,
        local_ts=_at(policy.local_ts, address.local_host),
        remote_ts=_at(policy.remote_ts, address.host),
    )


def _at(selectors: tuple[TrafficSelector, ...], host: str) -> tuple[TrafficSelector, ...]:
    """The selectors, narrowed to one address; as they are if they do not hold it."""
    return narrow(selectors, (TrafficSelector.host(host),)) or selectors


def _peer_spi(proposal: Proposal) -> int | None:
    spi = int.from_bytes(proposal.spi, "big")
    return spi if spi >= ESP_SPI_MIN else None


def _establish(
    connection: Connection,
    spi_in: int,
    chosen: Proposal,
    selectors: tuple[tuple[TrafficSelector, ...], tuple[TrafficSelector, ...]],
    secrets: Secrets,
    policy: ChildPolicy,
    rekeyed_spi: int | None,
    *,
    initiator: bool,
    announce: bool = True,
) -> None:
    """Derive the keys, remember the Child SA, hand both to the caller."""
    suite = suite_of(chosen, policy.suites)
    esn_transform = chosen.get(TransformType.ESN)
    child = ChildSa(
        spi_in=spi_in,
        spi_out=int.from_bytes(chosen.spi, "big"),
        suite=suite,
        esn=esn_transform is not None and esn_transform.ident == ESN_YES,
        transport=policy.transport,
        ts_local=selectors[0],
        ts_remote=selectors[1],
        rekeyed_spi=rekeyed_spi,
        announced=announce,
        deleting=not announce,
    )
    connection.children[spi_in] = child
    if not announce:
        return
    keys = derive_child_keys(
        secrets.ike.prf,
        secrets.ike.sk_d,
        secrets.nonce_i,
        secrets.nonce_r,
        secrets.shared,
        suite=suite,
    )
    sent, received = (keys.key_i, keys.salt_i), (keys.key_r, keys.salt_r)
    if not initiator:
        sent, received = received, sent
    connection.shared.emit(
        ChildSaEstablished(
            connection=connection.id,
            spi_in=spi_in,
            spi_out=child.spi_out,
            suite=suite,
            key_in=received[0],
            salt_in=received[1],
            key_out=sent[0],
            salt_out=sent[1],
            esn=child.esn,
            encap_udp=connection.encap_udp,
            transport=child.transport,
            ts_local=child.ts_local,
            ts_remote=child.ts_remote,
            rekeyed_spi=rekeyed_spi,
            initiator=initiator,
            address=connection.current.address,
        )
    )


def answer(
    connection: Connection,
    policy: ChildPolicy,
    payloads: Sequence[Payload],
    keys: IkeKeys,
    nonces: tuple[bytes, bytes] | None = None,
    rekeyed_spi: int | None = None,
) -> tuple[list[Payload], int]:
    """Answer a peer's offer: the payloads of the response, and our inbound SPI.

    `nonces` are those of IKE_SA_INIT for IKE_AUTH, None for CREATE_CHILD_SA, which brings its
    own. Raises `ChildRefusedError`, or `IkeError` if the offer is ill-formed.
    """
    shared = connection.shared
    in_auth = nonces is not None
    offered = require(payloads, SaPayload).proposals
    ts_i, ts_r = require_ts(payloads, initiator=True), require_ts(payloads, initiator=False)
    ke_in = find(payloads, KePayload)
    if len(connection.children) >= shared.config.limits.children:
        raise ChildRefusedError(NotifyType.NO_ADDITIONAL_SAS)
    favourite = group_transform(ke_in.group) if ke_in is not None else None
    chosen = policy.proposals(in_auth=in_auth).choose(offered, favourite=favourite)
    transport = find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    if chosen is None or _peer_spi(chosen) is None or (policy.transport and not transport):
        raise ChildRefusedError(NotifyType.NO_PROPOSAL_CHOSEN)
    if connection.child_by_peer_spi(int.from_bytes(chosen.spi, "big")) is not None:
        raise ChildRefusedError(NotifyType.NO_PROPOSAL_CHOSEN)
    remote, local = (
        narrow(ts_i.selectors, policy.remote_ts),
        narrow(ts_r.selectors, policy.local_ts),
    )
    if not remote or not local:
        raise ChildRefusedError(NotifyType.TS_UNACCEPTABLE)
    ke: KePayload | None = None
    secret: Secret | None = None
    dh = chosen.get(TransformType.DH)
    if not in_auth and dh is not None and dh.ident != Group.NONE:
        if ke_in is None or ke_in.group != dh.ident:
            raise ChildRefusedError(NotifyType.INVALID_KE_PAYLOAD, dh.ident.to_bytes(2, "big"))
        try:
            public, secret = answer_key_exchange(Group(dh.ident), ke_in.data, shared.rng)
        except IkeError:
            raise ChildRefusedError(NotifyType.NO_PROPOSAL_CHOSEN) from None
        ke = KePayload(dh.ident, public)
    nonce = b""
    if nonces is None:
        nonce = shared.rng(NONCE_OCTETS)
        nonces = (require(payloads, NoncePayload).data, nonce)
    spi_in = shared.new_child_spi()
    if spi_in is None:
        raise ChildRefusedError(NotifyType.NO_ADDITIONAL_SAS)
    _establish(
        connection,
        spi_in,
        chosen,
        (local, remote),
        Secrets(keys, *nonces, secret),
        policy,
        rekeyed_spi,
        initiator=False,
    )
    response: list[Payload] = []
    if policy.transport:
        response.append(NotifyPayload(NotifyType.USE_TRANSPORT_MODE))
    response.append(
        SaPayload(
            (Proposal(chosen.number, chosen.protocol, spi_octets(spi_in), chosen.transforms),)
        )
    )
    if nonce:
        response.append(NoncePayload(nonce))
    if ke is not None:
        response.append(ke)
    response += [TsPayload(True, remote), TsPayload(False, local)]
    return response, spi_in


def accept(
    connection: Connection,
    policy: ChildPolicy,
    spi_in: int,
    payloads: Sequence[Payload],
    keys: IkeKeys,
    nonces: tuple[bytes, bytes],
    ke: KeyExchange | None = None,
    rekeyed_spi: int | None = None,
    *,
    announce: bool = True,
) -> bool:
    """Check the response to our offer and establish the Child SA; False if it is not within it.

    `IkeError` if a payload is missing.
    """
    in_auth = ke is None and find(payloads, NoncePayload) is None
    chosen = policy.proposals(in_auth=in_auth).accepts(require(payloads, SaPayload).proposals)
    local = require_ts(payloads, initiator=True).selectors
    remote = require_ts(payloads, initiator=False).selectors
    transport = find_notify(payloads, NotifyType.USE_TRANSPORT_MODE) is not None
    if (
        chosen is None
        or _peer_spi(chosen) is None
        or connection.child_by_peer_spi(int.from_bytes(chosen.spi, "big")) is not None
        or transport is not policy.transport
        or not is_narrowing(local, policy.local_ts)
        or not is_narrowing(remote, policy.remote_ts)
    ):
        return False
    secret: Secret | None = None
    if ke is not None:
        ke_in = find(payloads, KePayload)
        if ke_in is None or ke_in.group != ke.group:
            return False
        if group_transform(ke.group) not in chosen.transforms:
            return False
        try:
            secret = ke.shared(ke_in.data)
        except IkeError:
            return False
    _establish(
        connection,
        spi_in,
        chosen,
        (local, remote),
        Secrets(keys, *nonces, secret),
        policy,
        rekeyed_spi,
        initiator=True,
        announce=announce,
    )
    return True


@dataclass(frozen=True, slots=True)
class Collision:
    """The peer rekeyed the same Child SA meanwhile: its nonces (RFC 7296 2.8.1)."""

    nonces: tuple[bytes, bytes]


class CreateChildTask(Task):
    """Ask for a new Child SA, or with `spi` for one that replaces that one (REKEY_SA).

    The replaced Child SA is left as it is, whatever comes of the exchange: it is the last one
    that worked until the new one has. The caller deletes it.
    """

    exchange = ExchangeType.CREATE_CHILD_SA

    def __init__(self, policy: ChildPolicy, spi: int | None = None) -> None:
        super().__init__(spi)
        self.kind = ExchangeKind.CREATE_CHILD if spi is None else ExchangeKind.REKEY_CHILD
        self.collision: Collision | None = None
        self._policy = policy
        self._offered = policy
        self._group: Group | None = policy.groups[0] if policy.groups else None
        self._nonce = b""
        self._ke: KeyExchange | None = None
        self._regrouped = False

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload] | None:
        """Order as in RFC 7296 appendix C.4."""
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
        """Establish, try again, or fail."""
        error = find_error(payloads)
        if error is not None:
            self._refused(connection, sa, error, now)
            return
        nonce_r = require(payloads, NoncePayload).data
        spi_in, self.reserved = self.reserved, None
        if spi_in is None:
            raise IkeError(DropReason.NO_ROW, "no SPI was offered")
        redundant = self.collision is not None and (
            min(self._nonce, nonce_r) < min(self.collision.nonces)
        )
        accepted = accept(
            connection,
            self._offered,
            spi_in,
            payloads,
            sa.keys,
            (self._nonce, nonce_r),
            self._ke,
            self.spi,
            announce=not redundant,
        )
        if accepted and not redundant:
            return
        # The peer holds a Child SA now that we do not want.
        connection.start(DeleteChildTask(spi_in, reports=False))
        why = FailureReason.REDUNDANT if accepted else FailureReason.UNACCEPTABLE
        self.fail(connection, why)

    def _refused(self, connection: Connection, sa: IkeSa, error: NotifyPayload, now: float) -> None:
        if error.notify == NotifyType.TEMPORARY_FAILURE:
            self.wait(connection, sa, error.notify, now)
            return
        if error.notify == NotifyType.INVALID_KE_PAYLOAD and not self._regrouped:
            wanted = int.from_bytes(error.data, "big")
            for group in self._policy.groups:
                if group == wanted and group != self._group:
                    self._group = group
                    self._regrouped = True
                    self.release(connection)
                    connection.requeue(self, sa)
                    return
        self.fail(connection, FailureReason.REFUSED, error.notify)


def respond(connection: Connection, sa: IkeSa, payloads: Sequence[Payload]) -> list[Payload]:
    """Answer a CREATE_CHILD_SA request for a Child SA. `IkeError` if it is ill-formed."""
    rekey = find_notify(payloads, NotifyType.REKEY_SA)
    rekeyed_spi: int | None = None
    policy = connection.child_policy
    if rekey is not None:
        child = connection.child_by_peer_spi(int.from_bytes(rekey.spi, "big"))
        if child is None or rekey.protocol != Protocol.ESP:
            return [NotifyPayload(NotifyType.CHILD_SA_NOT_FOUND, b"", rekey.protocol, rekey.spi)]
        if child.deleting:
            return [NotifyPayload(NotifyType.TEMPORARY_FAILURE)]
        rekeyed_spi = child.spi_in
    try:
        response, _ = answer(connection, policy, payloads, sa.keys, rekeyed_spi=rekeyed_spi)
    except ChildRefusedError as refused:
        return [refused.payload]
    out = sa.outstanding
    if (
        rekeyed_spi is not None
        and out is not None
        and isinstance(out.task, CreateChildTask)
        and out.task.spi == rekeyed_spi
    ):
        nonces = (require(payloads, NoncePayload).data, require(response, NoncePayload).data)
        out.task.collision = Collision(nonces)
    return response
