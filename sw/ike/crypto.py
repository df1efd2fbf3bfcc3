"""Primitives in the form IKEv2 wants them: PRF, Diffie-Hellman groups, AES-GCM. No key schedule.

`cryptography` does the work; randomness comes from the caller.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sw.ike.constants import Group
from sw.ike.errors import DropReason, IkeError
from sw.ike.secret import Secret

Rng = Callable[[int], bytes]
"""Source of randomness: number of octets wanted -> that many octets."""

GCM_SALT_OCTETS = 4
GCM_IV_OCTETS = 8
GCM_ICV_OCTETS = 16
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Prf:
    """A pseudorandom function built as HMAC (RFC 7296 2.13). Negotiated is only SHA-256."""

    def __init__(self, digest: str = "sha256") -> None:
        self._digest = digest
        self.octets = hmac.new(b"", b"", digest).digest_size
        """Length of output and of preferred key."""

    def __call__(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self._digest)


class KeyExchange(Protocol):
    """One private value of a group."""

    @property
    def group(self) -> Group:
        """The group it belongs to."""

    @property
    def public(self) -> bytes:
        """Key exchange data for the wire."""

    def shared(self, peer: bytes) -> Secret:
        """Shared secret g^ir with the peer's data; `IkeError` if that is no valid value."""


def _bad_public(group: Group) -> IkeError:
    return IkeError(DropReason.UNACCEPTABLE, f"invalid key exchange value for {group.name}")


class X25519Exchange:
    """Group 31. Key exchange data is the 32-octet u coordinate. Source: RFC 8031 2."""

    group = Group.X25519

    def __init__(self, rng: Rng) -> None:
        self._private = x25519.X25519PrivateKey.from_private_bytes(rng(32))
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def shared(self, peer: bytes) -> Secret:
        """RFC 8031 2.2: an all-zero result is refused (the library raises)."""
        try:
            return Secret(self._private.exchange(x25519.X25519PublicKey.from_public_bytes(peer)))
        except ValueError:
            raise _bad_public(self.group) from None


class P256Exchange:
    """Group 19. Data is x | y, 64 octets; the secret is x alone. Source: RFC 5903 7, 8.1."""

    group = Group.P256

    def __init__(self, rng: Rng) -> None:
        # 64 bits more than the order has, so that the reduction shows no bias (FIPS 186-5 A.2.1).
        scalar = int.from_bytes(rng(40), "big") % (P256_ORDER - 1) + 1
        self._private = ec.derive_private_key(scalar, ec.SECP256R1())
        self.public = self._private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )[1:]

    def shared(self, peer: bytes) -> Secret:
        """The library refuses a point that is not on the curve."""
        if len(peer) != 64:
            raise _bad_public(self.group)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + peer)
            return Secret(self._private.exchange(ec.ECDH(), point))
        except ValueError:
            raise _bad_public(self.group) from None


_EXCHANGES: dict[Group, Callable[[Rng], KeyExchange]] = {
    Group.X25519: X25519Exchange,
    Group.P256: P256Exchange,
}


def make_key_exchange(group: Group, rng: Rng) -> KeyExchange:
    """Make a fresh private value of a group that can be negotiated."""
    return _EXCHANGES[group](rng)


class AeadSealer:
    """One direction of an IKE SA's AES-GCM-16 for sending: IVs count up, so none comes twice.

    Source: RFC 5282 3 and 4 (nonce = salt | IV).
    """

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead = AESGCM(key)
        self._salt = salt
        self._count = 0

    def seal(self, plain: bytes, aad: Callable[[int], bytes]) -> bytes:
        """Give IV | ciphertext | ICV. `aad` is asked for with the length of just that."""
        iv = self._count.to_bytes(GCM_IV_OCTETS, "big")
        self._count += 1
        body_octets = GCM_IV_OCTETS + len(plain) + GCM_ICV_OCTETS
        return iv + self._aead.encrypt(self._salt + iv, plain, aad(body_octets))


class AeadOpener:
    """One direction of an IKE SA's AES-GCM-16 for receiving."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        self._aead = AESGCM(key)
        self._salt = salt

    def open(self, body: bytes, aad: bytes) -> bytes:
        """Check and decrypt IV | ciphertext | ICV; `IkeError` (BAD_ICV) if it is not genuine."""
        if len(body) < GCM_IV_OCTETS + GCM_ICV_OCTETS:
            raise IkeError(DropReason.BAD_ICV, "encrypted payload shorter than IV and ICV")
        iv = body[:GCM_IV_OCTETS]
        try:
            return self._aead.decrypt(self._salt + iv, body[GCM_IV_OCTETS:], aad)
        except InvalidTag:
            raise IkeError(DropReason.BAD_ICV, "the ICV does not fit") from None
