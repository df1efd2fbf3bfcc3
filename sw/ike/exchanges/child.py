"""Child SAs: offer, answer and check, in IKE_AUTH and CREATE_CHILD_SA alike.

Source: RFC 7296 1.3.1, 2.9, 2.17; RFC 9370 2.2.4.
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
    Group,
    NotifyType,
    TransformType,
)
from sw.ike.errors import IkeError
from sw.ike.events import ChildSaEstablished
from sw.ike.exchanges.sa_init import additional_of, group_transform
from sw.ike.groups import KeyExchange, answer_key_exchange
from sw.ike.keymat import IkeKeys, derive_child_keys
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    TsPayload,
    find,
    find_notify,
    require,
    require_ts,
)
from sw.ike.proposals import Proposal
from sw.ike.secret import Secret
from sw.ike.selectors import TrafficSelector, is_narrowing, narrow

if TYPE_CHECKING:
    from sw.ike.connection import Connection


class ChildRefusedError(Exception):
    """No Child SA comes of this offer; the notification says why."""

    def __init__(self, notify: NotifyType, data: bytes = b"") -> None:
        super().__init__(notify.name)
        self.payload = NotifyPayload(notify, data)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the keys of a Child SA come from. `shared` is None without PFS."""

    ike: IkeKeys
    nonces: tuple[bytes, bytes]
    shared: Secret | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """A Child SA that both sides have agreed on; `chosen` has the peer's SPI."""

    spi_in: int
    chosen: Proposal
    local: tuple[TrafficSelector, ...]
    remote: tuple[TrafficSelector, ...]
    secrets: Secrets
    policy: ChildPolicy
    rekeyed_spi: int | None

    @property
    def additional(self) -> Group:
        """The key exchange that has to follow first; NONE if the SA can be made at once."""
        return additional_of(self.chosen)


def offer(
    policy: ChildPolicy, spi_in: int, *, nonce: bytes = b"", ke: KeyExchange | None = None
) -> list[Payload]:
    """Payloads that ask for a Child SA, in the order of RFC 7296 appendix C.2 and C.4.

    With a nonce for CREATE_CHILD_SA, without for IKE_AUTH.
    """
    payloads: list[Payload] = []
    if policy.transport:
        payloads.append(NotifyPayload(NotifyType.USE_TRANSPORT_MODE))
    payloads.append(SaPayload(policy.proposals(in_auth=not nonce).offer(spi_octets(spi_in))))
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


def establish(
    connection: Connection,
    agreed: Agreed,
    additional: Secret | None = None,
    *,
    initiator: bool,
    announce: bool = True,
) -> None:
    """Derive the keys, remember the Child SA, hand both to the caller.

    `additional` is what the key exchange that had to follow gave.
    """
    suite = suite_of(agreed.chosen, agreed.policy.suites)
    esn_transform = agreed.chosen.get(TransformType.ESN)
    child = ChildSa(
        spi_in=agreed.spi_in,
        spi_out=int.from_bytes(agreed.chosen.spi, "big"),
        suite=suite,
        esn=esn_transform is not None and esn_transform.ident == ESN_YES,
        transport=agreed.policy.transport,
        ts_local=agreed.local,
        ts_remote=agreed.remote,
        rekeyed_spi=agreed.rekeyed_spi,
        announced=announce,
        deleting=not announce,
    )
    connection.children[child.spi_in] = child
    if not announce:
        return
    secrets = agreed.secrets
    keys = derive_child_keys(
        secrets.ike.prf,
        secrets.ike.sk_d,
        *secrets.nonces,
        secrets.shared,
        additional,
        suite=suite,
    )
    sent = (keys.key_i, keys.salt_i, keys.auth_i)
    received = (keys.key_r, keys.salt_r, keys.auth_r)
    if not initiator:
        sent, received = received, sent
    connection.shared.emit(
        ChildSaEstablished(
            connection=connection.id,
            spi_in=child.spi_in,
            spi_out=child.spi_out,
            suite=suite,
            key_in=received[0],
            salt_in=received[1],
            auth_in=received[2],
            key_out=sent[0],
            salt_out=sent[1],
            auth_out=sent[2],
            esn=child.esn,
            encap_udp=connection.encap_udp,
            transport=child.transport,
            ts_local=child.ts_local,
            ts_remote=child.ts_remote,
            rekeyed_spi=child.rekeyed_spi,
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
) -> tuple[list[Payload], Agreed]:
    """Answer a peer's offer: the payloads of the response, and what is to be established.

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
    secrets = Secrets(keys, nonces, secret)
    agreed = Agreed(spi_in, chosen, local, remote, secrets, policy, rekeyed_spi)
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
    return response, agreed


def check(
    connection: Connection,
    policy: ChildPolicy,
    spi_in: int,
    payloads: Sequence[Payload],
    keys: IkeKeys,
    nonces: tuple[bytes, bytes],
    ke: KeyExchange | None = None,
    rekeyed_spi: int | None = None,
) -> Agreed | None:
    """Check the response to our offer: what is to be established; None if it is not within it.

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
        return None
    secret: Secret | None = None
    if ke is not None:
        ke_in = find(payloads, KePayload)
        if ke_in is None or ke_in.group != ke.group:
            return None
        if group_transform(ke.group) not in chosen.transforms:
            return None
        try:
            secret = ke.shared(ke_in.data)
        except IkeError:
            return None
    secrets = Secrets(keys, nonces, secret)
    return Agreed(spi_in, chosen, local, remote, secrets, policy, rekeyed_spi)
