"""The two proofs of IKE_AUTH: ours, and the peer's.

Source: RFC 7296 2.15, RFC 7427 3; RFC 9242 3.3.2 (they cover IKE_INTERMEDIATE too).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from sw.ike.config import Identity, Peer
from sw.ike.constants import AUTH_SHARED_KEY
from sw.ike.errors import DropReason, IkeError
from sw.ike.keymat import auth_matches, auth_shared_key, signed_octets
from sw.ike.payloads import AuthPayload, IdPayload, Payload
from sw.ike.secret import Secret
from sw.ike.signatures import SignatureError, sign, verify
from sw.pki.path import CertificateError

if TYPE_CHECKING:
    from sw.ike.ike_sa import Handshake, IkeSa

STRANGER_KEY_OCTETS = 32
"""Octets of the random key that stands for a stranger's."""
_NAME_MAX = 120


class ProofError(Exception):
    """Authentication failed; the text says what does not fit, for the log alone."""


def handshake_of(sa: IkeSa) -> Handshake:
    """What IKE_SA_INIT left behind; `IkeError` if there was none."""
    if sa.handshake is None:
        raise IkeError(DropReason.NO_ROW, "no IKE_SA_INIT went before")
    return sa.handshake


def named(identity: Identity) -> str:
    """An identity for the log: bounded, without control characters, whoever claims it."""
    text = str(identity)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _NAME_MAX else text[:_NAME_MAX] + "..."


def _signed_octets(sa: IkeSa, payload: IdPayload) -> bytes:
    """What the side of this identity proves, whatever it proves it with."""
    handshake, keys = handshake_of(sa), sa.keys
    if payload.initiator:
        message, nonce, sk_p = handshake.request, handshake.nonce_r, keys.sk_pi
    else:
        message, nonce, sk_p = handshake.response, handshake.nonce_i, keys.sk_pr
    return signed_octets(keys.prf, message, nonce, sk_p, payload.body(), sa.int_auth)


def _shared_key_auth(sa: IkeSa, psk: Secret, payload: IdPayload) -> bytes:
    return auth_shared_key(sa.keys.prf, psk, _signed_octets(sa, payload))


def make_proof(peer: Peer, sa: IkeSa, mine: IdPayload) -> tuple[list[Payload], AuthPayload]:
    """Our CERT payloads, none with a pre-shared key, and AUTH; raises ProofError."""
    if peer.psk is not None:
        auth = _shared_key_auth(sa, peer.psk, mine)
        return [], AuthPayload(AUTH_SHARED_KEY, auth)
    certificates = peer.certificates
    if certificates is None:
        raise ProofError("no key of ours is configured for this peer")
    octets = _signed_octets(sa, mine)
    try:
        proof = sign(certificates.key, octets, handshake_of(sa).peer_hashes, pss=certificates.pss)
    except SignatureError as error:
        raise ProofError(str(error)) from error
    return certificates.payloads(), proof


def check_proof(
    peer: Peer, sa: IkeSa, theirs: IdPayload, auth: AuthPayload, payloads: Sequence[Payload]
) -> None:
    """Whether the peer is who it says, by the means configured for it; raises ProofError."""
    if Identity.from_payload(theirs) != peer.identity:
        raise ProofError(
            f"the peer is {named(Identity.from_payload(theirs))}, not {named(peer.identity)}"
        )
    if peer.psk is not None:
        expected = _shared_key_auth(sa, peer.psk, theirs)
        genuine = auth_matches(expected, auth.data)
        if auth.method != AUTH_SHARED_KEY:
            raise ProofError(f"{named(peer.identity)} does not prove itself by pre-shared key")
        if not genuine:
            raise ProofError(f"{named(peer.identity)} has another pre-shared key")
        return
    certificates = peer.certificates
    if certificates is None or auth.method == AUTH_SHARED_KEY:
        raise ProofError(f"{named(peer.identity)} does not prove itself by certificate")
    try:
        key = certificates.peer_key(payloads, theirs.id_type, theirs.data)
        verify(key, auth, _signed_octets(sa, theirs))
    except (CertificateError, SignatureError) as error:
        raise ProofError(f"{named(peer.identity)}: {error}") from error


def refuse_stranger(
    shared_key: Secret, sa: IkeSa, theirs: IdPayload, auth: AuthPayload
) -> NoReturn:
    """Take as long over an unknown identity as over a wrong pre-shared key; raises ProofError."""
    auth_matches(_shared_key_auth(sa, shared_key, theirs), auth.data)
    raise ProofError(f"no peer {named(Identity.from_payload(theirs))} is configured")
