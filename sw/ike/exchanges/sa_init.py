"""IKE_SA_INIT. Source: RFC 7296 1.2, 2.4, 2.6, 2.7, 2.14, 2.23."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sw.ike.config import DATAGRAM_OVERHEAD, ike_suite_of
from sw.ike.constants import (
    COOKIE_MAX,
    NONCE_OCTETS,
    ExchangeType,
    Group,
    NotifyType,
    TransformType,
)
from sw.ike.crypto import PRFS
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.events import ExchangeKind
from sw.ike.exchanges.base import Task
from sw.ike.groups import KeyExchange, answer_key_exchange, make_key_exchange
from sw.ike.ike_sa import Handshake, IkeSa, State
from sw.ike.keymat import IkeKeys, derive_ike_keys, skeyseed_initial, skeyseed_rekey
from sw.ike.message import NO_SPI, Header
from sw.ike.nat import detect, detection_notifies
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    VendorIdPayload,
    find_error,
    find_notify,
    require,
)
from sw.ike.proposals import Proposal, Transform
from sw.ike.secret import Secret
from sw.ike.shared import Shared
from sw.ike.signatures import hash_notify, hashes_of
from sw.ike.suites import IKE_SUITES

if TYPE_CHECKING:
    from sw.ike.address import Address
    from sw.ike.connection import Connection

VENDOR_ID = hashlib.sha256(b"Holdfast SA-ready notify 1").digest()[:16]
"""Tells a peer that we mean the private-use notification (RFC 7296 3.12)."""


_FRAGMENTS = NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
_INTERMEDIATE = NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)


def _message_octets(shared: Shared, payloads: Sequence[Payload]) -> int:
    """Above how many octets messages to this peer go in fragments; 0: never (RFC 7383 2.3)."""
    agreed = find_notify(payloads, NotifyType.IKEV2_FRAGMENTATION_SUPPORTED) is not None
    return shared.config.limits.datagram_octets - DATAGRAM_OVERHEAD if agreed else 0


def group_transform(group: int) -> Transform:
    """The transform that names a group."""
    return Transform(TransformType.DH, group)


@dataclass(frozen=True, slots=True, eq=False)
class KeySource:
    """What the keys of an IKE SA come from: nonces, SPIs, and SK_d of the one before, if any.

    `additional` is the secret of IKE_FOLLOWUP_KE, in a rekey.
    """

    nonces: tuple[bytes, bytes]
    spis: tuple[bytes, bytes]
    old: IkeKeys | None = None
    additional: Secret | None = None


def additional_of(proposal: Proposal) -> Group:
    """The additional key exchange that was chosen; NONE if there is none (RFC 9370 2.2.1)."""
    transform = proposal.get(TransformType.ADDKE1)
    return Group(transform.ident) if transform is not None else Group.NONE


def _takes_intermediate(payloads: Sequence[Payload]) -> bool:
    return find_notify(payloads, NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED) is not None


def keys_of(proposal: Proposal, shared_secret: Secret, source: KeySource) -> IkeKeys:
    """Keys of an IKE SA for the chosen proposal.

    `IkeError` if a nonce is shorter than half the key of its PRF. Source: RFC 7296 2.10, 2.14,
    2.18.
    """
    suite = ike_suite_of(proposal)
    prf = PRFS[IKE_SUITES[suite].prf]
    if 2 * min(map(len, source.nonces)) < prf.octets:
        raise malformed("nonce shorter than half the key of the PRF")
    if source.old is None:
        skeyseed = skeyseed_initial(prf, *source.nonces, shared_secret)
    else:
        # SKEYSEED is computed with the PRF of the old IKE SA, the rest with that of the new one.
        old, more = source.old, source.additional
        skeyseed = skeyseed_rekey(old.prf, old.sk_d, shared_secret, *source.nonces, more)
    return derive_ike_keys(suite, skeyseed, *source.nonces, *source.spis)


def _detection(shared: Shared, spi_i: bytes, spi_r: bytes, address: Address) -> list[Payload]:
    pretend = shared.rng(20) if shared.config.force_encap else None
    return detection_notifies(spi_i, spi_r, address, pretend=pretend)


def _handshake(
    shared: Shared,
    payloads: Sequence[Payload],
    request: bytes,
    response: bytes,
    nonces: tuple[bytes, bytes],
    nat: tuple[bool, bool],
) -> Handshake:
    return Handshake(
        request=request,
        response=response,
        nonce_i=nonces[0],
        nonce_r=nonces[1],
        nat_local=nat[0] or shared.config.force_encap,
        nat_remote=nat[1],
        peer_is_holdfast=VendorIdPayload(VENDOR_ID) in payloads,
        peer_hashes=hashes_of(payloads),
    )


class InitTask(Task):
    """The initiator's side. It goes on until one of the answers is followed by a genuine
    IKE_AUTH response: until then nobody has authenticated anything (RFC 7296 2.4).
    """

    kind = ExchangeKind.CONNECT
    exchange = ExchangeType.IKE_SA_INIT
    reports = False

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self._policy = shared.config.ike
        self._shared = shared
        self.nonce = shared.rng(NONCE_OCTETS)
        self.cookie = b""
        self.restarts = 0
        self.refusal: int | None = None
        """Error notification of an unauthenticated answer."""
        self._ke: KeyExchange = make_key_exchange(self._policy.groups[0], shared.rng)

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """Order as in RFC 7296 appendix C.1."""
        payloads: list[Payload] = []
        if self.cookie:
            payloads.append(NotifyPayload(NotifyType.COOKIE, self.cookie))
        payloads += [
            SaPayload(self._policy.proposals().offer(b"")),
            KePayload(self._ke.group, self._ke.public),
            NoncePayload(self.nonce),
            *_detection(self._shared, sa.spi_i, NO_SPI, sa.address),
            _FRAGMENTS,
            *([_INTERMEDIATE] if self._policy.offers_additional else []),
            *([hash_notify()] if connection.known_peer.certificates is not None else []),
            VendorIdPayload(VENDOR_ID),
        ]
        return payloads

    def check_address(self, sa: IkeSa) -> None:
        """`ValueError` if one of the hosts is not a numeric address."""
        detection_notifies(sa.spi_i, NO_SPI, sa.address)

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """Not used: the answer needs more than its payloads. See `process_init`."""
        raise IkeError(DropReason.NO_ROW, "IKE_SA_INIT is taken elsewhere")

    def process_init(
        self, sa: IkeSa, header: Header, data: bytes, payloads: Sequence[Payload], now: float
    ) -> IkeSa | None:
        """Take an answer: a candidate IKE SA to follow up, or None to send the request again.

        Nothing in it is authenticated. What cannot be used is an `IkeError`, and changes nothing.
        """
        out = sa.outstanding
        if out is None:
            raise IkeError(DropReason.MESSAGE_ID, "nothing is under way")
        if self._corrected(payloads):
            return None
        error = find_error(payloads)
        if error is not None:
            # Remembered, not obeyed: patience runs from the first one on (RFC 7296 2.21.1).
            if self.refusal is None:
                sa.expires = now + self._shared.config.timing.refusal_patience
            self.refusal = error.notify
            raise IkeError(DropReason.UNACCEPTABLE, f"refused with notify {error.notify}")
        chosen = self._policy.proposals().accepts(require(payloads, SaPayload).proposals)
        ke, nonce = require(payloads, KePayload), require(payloads, NoncePayload)
        if header.spi_r == NO_SPI:
            raise malformed("responder's SPI is zero")
        if chosen is None or group_transform(ke.group) not in chosen.transforms:
            raise IkeError(DropReason.UNACCEPTABLE, "the answer is none of our offer")
        if ke.group != self._ke.group:
            raise IkeError(DropReason.UNACCEPTABLE, "key exchange value of another group")
        if additional_of(chosen) is not Group.NONE and not _takes_intermediate(payloads):
            raise IkeError(DropReason.UNACCEPTABLE, "an additional key exchange with no exchange")
        shared_secret = self._ke.shared(ke.data)
        candidate = IkeSa(
            initiator=True,
            spi_i=sa.spi_i,
            spi_r=header.spi_r,
            state=State.AUTH_SENT,
            address=sa.address,
            timing=self._shared.config.timing,
        )
        nonces = (self.nonce, nonce.data)
        source = KeySource(nonces, (sa.spi_i, header.spi_r))
        candidate.install_keys(keys_of(chosen, shared_secret, source))
        nat = detect(payloads, sa.spi_i, header.spi_r, sa.address)
        candidate.handshake = _handshake(
            self._shared, payloads, out.datagrams[0], data, nonces, nat
        )
        candidate.message_octets = _message_octets(self._shared, payloads)
        candidate.additional = additional_of(chosen)
        candidate.request_id = 1
        if candidate.handshake.nat_local or candidate.handshake.nat_remote:
            port = self._shared.config.natt_port
            candidate.address = sa.address._replace(port=port, local_port=port)
        return candidate

    def _corrected(self, payloads: Sequence[Payload]) -> bool:
        """Do what COOKIE or INVALID_KE_PAYLOAD ask for; whether one of them did."""
        cookie = find_notify(payloads, NotifyType.COOKIE)
        wrong_group = find_notify(payloads, NotifyType.INVALID_KE_PAYLOAD)
        if cookie is None and wrong_group is None:
            return False
        if self.restarts >= self._shared.config.limits.init_restarts:
            raise IkeError(DropReason.UNACCEPTABLE, "asked too often to begin again")
        if cookie is not None:
            if not 1 <= len(cookie.data) <= COOKIE_MAX or cookie.data == self.cookie:
                raise IkeError(DropReason.UNACCEPTABLE, "no usable cookie")
            self.cookie = cookie.data
        else:
            self._ke = make_key_exchange(self._other_group(wrong_group), self._shared.rng)
        self.restarts += 1
        return True

    def _other_group(self, notify: NotifyPayload | None) -> Group:
        wanted = int.from_bytes(notify.data, "big") if notify is not None else 0
        for group in self._policy.groups:
            if group == wanted and group != self._ke.group:
                return group
        raise IkeError(DropReason.UNACCEPTABLE, f"group {wanted} is none we could change to")


@dataclass(frozen=True, slots=True)
class InitRequest:
    """The parts of a well-formed IKE_SA_INIT request."""

    payloads: tuple[Payload, ...]
    proposals: tuple[Proposal, ...]
    ke: KePayload
    nonce: bytes
    cookie: bytes


def read_request(payloads: tuple[Payload, ...]) -> InitRequest:
    """Find the parts; `IkeError` if one is missing."""
    cookie = find_notify(payloads, NotifyType.COOKIE)
    sa = require(payloads, SaPayload)
    ke, nonce = require(payloads, KePayload), require(payloads, NoncePayload)
    return InitRequest(payloads, sa.proposals, ke, nonce.data, cookie.data if cookie else b"")


def _choose(request: InitRequest, shared: Shared) -> Proposal | None:
    policy = shared.config.ike.proposals(additional=_takes_intermediate(request.payloads))
    return policy.choose(request.proposals, favourite=group_transform(request.ke.group))


def refusal(request: InitRequest, shared: Shared) -> NotifyPayload | None:
    """Why the request cannot be met, if so. Keeps no state (RFC 7296 2.7, 1.2)."""
    chosen = _choose(request, shared)
    if chosen is None:
        return NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)
    group = chosen.get(TransformType.DH)
    if group is not None and group.ident != request.ke.group:
        return NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, group.ident.to_bytes(2, "big"))
    return None


def respond(
    request: InitRequest, header: Header, data: bytes, address: Address, shared: Shared
) -> tuple[IkeSa, bytes]:
    """Answer a request that `refusal` has nothing against: the half-open IKE SA and the answer.

    `IkeError` if the key exchange value is invalid.
    """
    chosen = _choose(request, shared)
    if chosen is None:
        raise IkeError(DropReason.UNACCEPTABLE, "no proposal to choose")
    group = Group(request.ke.group)
    public, shared_secret = answer_key_exchange(group, request.ke.data, shared.rng)
    nonces = (request.nonce, shared.rng(NONCE_OCTETS))
    sa = IkeSa(
        initiator=False,
        spi_i=header.spi_i,
        spi_r=shared.new_ike_spi(),
        state=State.HALF_OPEN,
        address=address,
        timing=shared.config.timing,
    )
    sa.message_octets = _message_octets(shared, request.payloads)
    sa.additional = additional_of(chosen)
    payloads: list[Payload] = [
        SaPayload((chosen,)),
        KePayload(group, public),
        NoncePayload(nonces[1]),
        *_detection(shared, sa.spi_i, sa.spi_r, address),
        *([_FRAGMENTS] if sa.message_octets else []),
        *([_INTERMEDIATE] if sa.additional is not Group.NONE else []),
        *shared.certificate_requests(),
        VendorIdPayload(VENDOR_ID),
    ]
    (response,) = sa.answer(header, data, payloads)
    sa.install_keys(keys_of(chosen, shared_secret, KeySource(nonces, (sa.spi_i, sa.spi_r))))
    nat = detect(request.payloads, sa.spi_i, NO_SPI, address)
    sa.handshake = _handshake(shared, request.payloads, data, response, nonces, nat)
    return sa, response
