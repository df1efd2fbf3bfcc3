"""IKE_AUTH, and the first Child SA. Source: RFC 7296 1.2, 2.15, 2.21.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sw.ike.certificates import requests_for
from sw.ike.config import ChildPolicy, Identity
from sw.ike.constants import ExchangeType, NotifyType
from sw.ike.events import CloseReason, ExchangeFailed, ExchangeKind, FailureReason
from sw.ike.exchanges import child
from sw.ike.exchanges.base import Task
from sw.ike.exchanges.informational import DeleteChildTask
from sw.ike.exchanges.proof import (
    STRANGER_KEY_OCTETS,
    ProofError,
    check_proof,
    handshake_of,
    make_proof,
    named,
    refuse_stranger,
)
from sw.ike.payloads import (
    AuthPayload,
    NotifyPayload,
    Payload,
    SaPayload,
    find,
    find_error,
    find_id,
    find_notify,
    require_ts,
)
from sw.ike.secret import Secret

if TYPE_CHECKING:
    from sw.ike.connection import Connection
    from sw.ike.ike_sa import IkeSa


class AuthTask(Task):
    """The initiator's side, for one candidate IKE SA."""

    kind = ExchangeKind.CONNECT
    exchange = ExchangeType.IKE_AUTH
    reports = False

    def __init__(self) -> None:
        super().__init__()
        self._offered: ChildPolicy | None = None
        self._unable = False
        """We could not prove ourselves, and said so: nothing can come of this candidate."""

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """Order as in RFC 7296 appendix C.2.

        If there is no proof that this peer could check, it is told so in the place of one, so that
        it need not wait for what will not come.
        """
        peer = connection.known_peer
        id_i = peer.local_identity.payload(initiator=True)
        try:
            certificates, auth = make_proof(peer, sa, id_i)
        except ProofError as error:
            self._unable = True
            connection.why = str(error)
            return [id_i, NotifyPayload(NotifyType.AUTHENTICATION_FAILED)]
        payloads: list[Payload] = [id_i, *certificates]
        if connection.is_only_one():
            payloads.append(NotifyPayload(NotifyType.INITIAL_CONTACT))
        if peer.certificates is not None:
            payloads += requests_for([peer.certificates])
        payloads.append(peer.identity.payload(initiator=False))
        payloads.append(auth)
        self.reserved = connection.shared.new_child_spi()
        if self.reserved is not None:
            handshake = handshake_of(sa)
            nat = handshake.nat_local or handshake.nat_remote
            self._offered = child.policy_to_offer(peer.child, sa.address, nat=nat)
            payloads += child.offer(self._offered, self.reserved)
        return payloads

    def process(
        self, connection: Connection, sa: IkeSa, payloads: Sequence[Payload], now: float
    ) -> None:
        """Check who answers; then the IKE SA stands, with or without its Child SA."""
        peer = connection.known_peer
        id_r = find_id(payloads, initiator=False)
        auth = find(payloads, AuthPayload)
        error = find_error(payloads)
        if auth is None and error is not None:
            self.release(connection)
            denied = error.notify == NotifyType.AUTHENTICATION_FAILED
            if denied and not self._unable:
                connection.why = f"{named(peer.identity)} does not take our proof"
            reason = CloseReason.AUTHENTICATION if denied else CloseReason.REFUSED
            connection.candidate_failed(sa, reason, now, error.notify)
            return
        try:
            if self._unable:
                raise ProofError(connection.why)
            if auth is None or id_r is None:
                raise ProofError(f"{named(peer.identity)} sends no proof")
            check_proof(peer, sa, id_r, auth, payloads)
        except ProofError as failure:
            self.release(connection)
            connection.why = str(failure)
            connection.impostor(sa, now)
            return
        handshake = handshake_of(sa)
        connection.promote(sa)
        if self.reserved is not None:
            nonces = (handshake.nonce_i, handshake.nonce_r)
            self._take_child(connection, sa, payloads, nonces, error)

    def _take_child(
        self,
        connection: Connection,
        sa: IkeSa,
        payloads: Sequence[Payload],
        nonces: tuple[bytes, bytes],
        error: NotifyPayload | None,
    ) -> None:
        spi_in, policy = self.reserved, self._offered
        if spi_in is None or policy is None:
            return
        if error is not None or find(payloads, SaPayload) is None:
            self.release(connection)
            notify = error.notify if error is not None else None
            reason = FailureReason.REFUSED
        else:
            self.reserved = None
            agreed = child.check(connection, policy, spi_in, payloads, sa.keys, nonces)
            if agreed is not None:
                child.establish(connection, agreed, initiator=True)
                return
            connection.start(DeleteChildTask(spi_in, reports=False))
            reason, notify = FailureReason.UNACCEPTABLE, None
        failed = ExchangeFailed(
            connection.id, ExchangeKind.CREATE_CHILD, reason, spi=None, notify=notify
        )
        connection.shared.emit(failed)


def respond(
    connection: Connection, sa: IkeSa, payloads: Sequence[Payload]
) -> tuple[list[Payload], CloseReason | None]:
    """Answer: the payloads, and why the half-open IKE SA ends, if it does.

    Whatever does not fit gets the same answer; `connection.why` has it in words. An unknown
    identity costs the same work as a wrong pre-shared key.
    """
    shared, handshake = connection.shared, handshake_of(sa)
    refused: list[Payload] = [NotifyPayload(NotifyType.AUTHENTICATION_FAILED)]
    id_i, id_r = find_id(payloads, initiator=True), find_id(payloads, initiator=False)
    auth = find(payloads, AuthPayload)
    if id_i is None or auth is None:
        connection.why = "the peer sends no proof"
        return refused, CloseReason.AUTHENTICATION
    wants_child = find(payloads, SaPayload) is not None
    if wants_child:
        require_ts(payloads, initiator=True)
        require_ts(payloads, initiator=False)
    peer = shared.peers.get(Identity.from_payload(id_i))
    try:
        if peer is None:
            refuse_stranger(Secret(shared.rng(STRANGER_KEY_OCTETS)), sa, id_i, auth)
        check_proof(peer, sa, id_i, auth, payloads)
        if id_r is not None and Identity.from_payload(id_r) != peer.local_identity:
            raise ProofError(
                f"{named(peer.identity)} asks for {named(Identity.from_payload(id_r))}, which is "
                "not us"
            )
        mine = peer.local_identity.payload(initiator=False)
        certificates, proof = make_proof(peer, sa, mine)
    except ProofError as error:
        connection.why = str(error)
        return refused, CloseReason.AUTHENTICATION
    connection.authenticated(peer)
    if find_notify(payloads, NotifyType.INITIAL_CONTACT) is not None:
        connection.replace_older()
    response: list[Payload] = [mine, *certificates, proof]
    if wants_child:
        nonces = (handshake.nonce_i, handshake.nonce_r)
        try:
            more, agreed = child.answer(connection, peer.child, payloads, sa.keys, nonces)
            child.establish(connection, agreed, initiator=False)
        except child.ChildRefusedError as refusal:
            more = [refusal.payload]
        response += more
    return response, None
