"""IKE_AUTH with a pre-shared key, and the first Child SA. Source: RFC 7296 1.2, 2.15, 2.21.2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sw.ike.config import Identity
from sw.ike.constants import AUTH_SHARED_KEY, ExchangeType, NotifyType
from sw.ike.errors import DropReason, IkeError
from sw.ike.events import CloseReason, ExchangeFailed, ExchangeKind, FailureReason
from sw.ike.exchanges import child
from sw.ike.exchanges.base import Task
from sw.ike.exchanges.informational import DeleteChildTask
from sw.ike.keymat import auth_matches, auth_shared_key, signed_octets
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
    from sw.ike.ike_sa import Handshake, IkeSa

_STRANGER_KEY_OCTETS = 32


def _handshake(sa: IkeSa) -> Handshake:
    if sa.handshake is None:
        raise IkeError(DropReason.NO_ROW, "no IKE_SA_INIT went before")
    return sa.handshake


class AuthTask(Task):
    """The initiator's side, for one candidate IKE SA."""

    kind = ExchangeKind.CONNECT
    exchange = ExchangeType.IKE_AUTH
    reports = False

    def build(self, connection: Connection, sa: IkeSa) -> list[Payload]:
        """Order as in RFC 7296 appendix C.2."""
        peer, handshake = connection.known_peer, _handshake(sa)
        id_i = peer.local_identity.payload(initiator=True)
        payloads: list[Payload] = [id_i]
        if connection.is_only_one():
            payloads.append(NotifyPayload(NotifyType.INITIAL_CONTACT))
        payloads.append(peer.identity.payload(initiator=False))
        signed = signed_octets(
            sa.keys.prf,
            handshake.request,
            handshake.nonce_r,
            sa.keys.sk_pi,
            id_i.body(),
            sa.int_auth,
        )
        auth = auth_shared_key(sa.keys.prf, peer.psk, signed)
        payloads.append(AuthPayload(AUTH_SHARED_KEY, auth))
        self.reserved = connection.shared.new_child_spi()
        if self.reserved is not None:
            payloads += child.offer(peer.child, self.reserved)
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
            reason = CloseReason.AUTHENTICATION if denied else CloseReason.REFUSED
            connection.candidate_failed(sa, reason, now, error.notify)
            return
        if auth is None or id_r is None or not self._genuine(connection, sa, auth, id_r.body()):
            self.release(connection)
            connection.impostor(sa, now)
            return
        if Identity.from_payload(id_r) != peer.identity:
            self.release(connection)
            connection.impostor(sa, now)
            return
        handshake = _handshake(sa)
        connection.promote(sa)
        if self.reserved is not None:
            nonces = (handshake.nonce_i, handshake.nonce_r)
            self._take_child(connection, sa, payloads, nonces, error)

    @staticmethod
    def _genuine(connection: Connection, sa: IkeSa, auth: AuthPayload, id_body: bytes) -> bool:
        handshake = _handshake(sa)
        signed = signed_octets(
            sa.keys.prf,
            handshake.response,
            handshake.nonce_i,
            sa.keys.sk_pr,
            id_body,
            sa.int_auth,
        )
        expected = auth_shared_key(sa.keys.prf, connection.known_peer.psk, signed)
        return auth.method == AUTH_SHARED_KEY and auth_matches(expected, auth.data)

    def _take_child(
        self,
        connection: Connection,
        sa: IkeSa,
        payloads: Sequence[Payload],
        nonces: tuple[bytes, bytes],
        error: NotifyPayload | None,
    ) -> None:
        spi_in = self.reserved
        if spi_in is None:
            return
        if error is not None or find(payloads, SaPayload) is None:
            self.release(connection)
            notify = error.notify if error is not None else None
            reason = FailureReason.REFUSED
        else:
            self.reserved = None
            policy = connection.known_peer.child
            if child.accept(connection, policy, spi_in, payloads, sa.keys, nonces):
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

    An unknown identity costs the same work and gets the same answer as a wrong key.
    """
    shared, handshake = connection.shared, _handshake(sa)
    refused: list[Payload] = [NotifyPayload(NotifyType.AUTHENTICATION_FAILED)]
    id_i, id_r = find_id(payloads, initiator=True), find_id(payloads, initiator=False)
    auth = find(payloads, AuthPayload)
    if id_i is None or auth is None:
        return refused, CloseReason.AUTHENTICATION
    wants_child = find(payloads, SaPayload) is not None
    if wants_child:
        require_ts(payloads, initiator=True)
        require_ts(payloads, initiator=False)
    peer = shared.peers.get(Identity.from_payload(id_i))
    psk = peer.psk if peer is not None else Secret(shared.rng(_STRANGER_KEY_OCTETS))
    keys = sa.keys
    prf = keys.prf
    signed = signed_octets(
        prf, handshake.request, handshake.nonce_r, keys.sk_pi, id_i.body(), sa.int_auth
    )
    expected = auth_shared_key(prf, psk, signed)
    genuine = auth_matches(expected, auth.data) and auth.method == AUTH_SHARED_KEY
    if peer is None or not genuine:
        return refused, CloseReason.AUTHENTICATION
    if id_r is not None and Identity.from_payload(id_r) != peer.local_identity:
        return refused, CloseReason.AUTHENTICATION
    connection.authenticated(peer)
    if find_notify(payloads, NotifyType.INITIAL_CONTACT) is not None:
        connection.replace_older()
    mine = peer.local_identity.payload(initiator=False)
    signed = signed_octets(
        prf, handshake.response, handshake.nonce_i, keys.sk_pr, mine.body(), sa.int_auth
    )
    proof = auth_shared_key(prf, psk, signed)
    response: list[Payload] = [mine, AuthPayload(AUTH_SHARED_KEY, proof)]
    if wants_child:
        nonces = (handshake.nonce_i, handshake.nonce_r)
        try:
            agreed, _ = child.answer(connection, peer.child, payloads, keys, nonces)
        except child.ChildRefusedError as refusal:
            agreed = [refusal.payload]
        response += agreed
    return response, None
