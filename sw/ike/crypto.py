"""PRF and encryption in the form IKEv2 wants them. No key schedule, no key exchange.

`cryptography` does the work; randomness comes from the caller.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from sw.ike.constants import Encr, Integ, PrfId
from sw.ike.errors import DropReason, IkeError

Rng = Callable[[int], bytes]
"""Source of randomness: number of octets wanted -> that many octets."""

AEAD_IV_OCTETS = 8
AEAD_ICV_OCTETS = 16
BLOCK_OCTETS = 16


class Prf:
    """A pseudorandom function built as HMAC (RFC 7296 2.13, RFC 4868)."""

    def __init__(self, digest: str = "sha256") -> None:
        self._digest = digest
        self.octets = hmac.new(b"", b"", digest).digest_size
        """Length of output and of preferred key."""

    def __call__(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self._digest)


PRFS = {
    PrfId.HMAC_SHA2_256: Prf("sha256"),
    PrfId.HMAC_SHA2_384: Prf("sha384"),
    PrfId.HMAC_SHA2_512: Prf("sha512"),
}
_INTEG_DIGESTS = {
    Integ.HMAC_SHA2_256_128: "sha256",
    Integ.HMAC_SHA2_384_192: "sha384",
    Integ.HMAC_SHA2_512_256: "sha512",
}


class Sealer(Protocol):
    """One direction of an IKE SA, for sending."""

    @property
    def overhead(self) -> int:
        """How many octets sealing adds at most."""

    def seal(self, plain: bytes, clear: Callable[[int], bytes]) -> bytes:
        """Pad, encrypt and protect: IV | ciphertext | ICV.

        `clear` gives all that precedes those octets in the message, from their number.
        """


class Opener(Protocol):
    """One direction of an IKE SA, for receiving."""

    def open(self, body: bytes, clear: bytes) -> bytes:
        """Check, then decrypt IV | ciphertext | ICV; the padding and its length are left on.

        `IkeError` (BAD_ICV) if it is not genuine.
        """


def _aead(encr: Encr, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return ChaCha20Poly1305(key) if encr is Encr.CHACHA20_POLY1305 else AESGCM(key)


class AeadSealer:
    """AES-GCM-16 or ChaCha20-Poly1305. IVs count up, so none comes twice.

    There is no need of alignment, so the padding is the pad length octet alone.
    Source: RFC 5282 3 and 4, RFC 7634 2 and 3 (nonce = salt | IV).
    """

    def __init__(self, encr: Encr, key: bytes, salt: bytes) -> None:
        self._aead = _aead(encr, key)
        self._salt = salt
        self._count = 0
        self.overhead = AEAD_IV_OCTETS + 1 + AEAD_ICV_OCTETS

    def seal(self, plain: bytes, clear: Callable[[int], bytes]) -> bytes:
        """Give IV | ciphertext | ICV; see `Sealer`."""
        iv = self._count.to_bytes(AEAD_IV_OCTETS, "big")
        self._count += 1
        plain += b"\0"
        octets = AEAD_IV_OCTETS + len(plain) + AEAD_ICV_OCTETS
        return iv + self._aead.encrypt(self._salt + iv, plain, clear(octets))


class AeadOpener:
    """AES-GCM-16 or ChaCha20-Poly1305."""

    def __init__(self, encr: Encr, key: bytes, salt: bytes) -> None:
        self._aead = _aead(encr, key)
        self._salt = salt

    def open(self, body: bytes, clear: bytes) -> bytes:
        """Give the plaintext; see `Opener`."""
        if len(body) < AEAD_IV_OCTETS + AEAD_ICV_OCTETS:
            raise IkeError(DropReason.BAD_ICV, "encrypted payload shorter than IV and ICV")
        iv = body[:AEAD_IV_OCTETS]
        try:
            return self._aead.decrypt(self._salt + iv, body[AEAD_IV_OCTETS:], clear)
        except InvalidTag:
            raise IkeError(DropReason.BAD_ICV, "the ICV does not fit") from None


class CbcSealer:
    """AES-CBC and an HMAC over the whole message. Source: RFC 7296 3.14, RFC 3602, RFC 4868.

    The IV is the encrypted number of the message: unpredictable, and needs no randomness
    (SP 800-38A appendix C, first method).
    """

    def __init__(self, key: bytes, integ: Integ, auth_key: bytes, icv_octets: int) -> None:
        self._key = key
        self._digest = _INTEG_DIGESTS[integ]
        self._auth_key = auth_key
        self._icv_octets = icv_octets
        self._count = 0
        self.overhead = 2 * BLOCK_OCTETS + icv_octets

    def _next_iv(self) -> bytes:
        block = self._count.to_bytes(BLOCK_OCTETS, "big")
        self._count += 1
        # One block under a chaining value of zero is the block cipher itself.
        encryptor = Cipher(algorithms.AES(self._key), modes.CBC(bytes(BLOCK_OCTETS))).encryptor()
        return encryptor.update(block) + encryptor.finalize()

    def seal(self, plain: bytes, clear: Callable[[int], bytes]) -> bytes:
        """Give IV | ciphertext | ICV; see `Sealer`."""
        pad = -(len(plain) + 1) % BLOCK_OCTETS
        plain += bytes(pad) + bytes([pad])
        iv = self._next_iv()
        encryptor = Cipher(algorithms.AES(self._key), modes.CBC(iv)).encryptor()
        body = iv + encryptor.update(plain) + encryptor.finalize()
        mac = hmac.digest(self._auth_key, clear(len(body) + self._icv_octets) + body, self._digest)
        return body + mac[: self._icv_octets]


class CbcOpener:
    """AES-CBC and an HMAC over the whole message. Nothing is decrypted before the ICV is right."""

    def __init__(self, key: bytes, integ: Integ, auth_key: bytes, icv_octets: int) -> None:
        self._key = key
        self._digest = _INTEG_DIGESTS[integ]
        self._auth_key = auth_key
        self._icv_octets = icv_octets

    def open(self, body: bytes, clear: bytes) -> bytes:
        """Give the plaintext; see `Opener`."""
        blocks = len(body) - self._icv_octets
        if blocks < 2 * BLOCK_OCTETS or blocks % BLOCK_OCTETS:
            raise IkeError(DropReason.BAD_ICV, "encrypted payload of no whole number of blocks")
        body, icv = body[:blocks], body[blocks:]
        mac = hmac.digest(self._auth_key, clear + body, self._digest)
        if not hmac.compare_digest(mac[: self._icv_octets], icv):
            raise IkeError(DropReason.BAD_ICV, "the ICV does not fit")
        decryptor = Cipher(algorithms.AES(self._key), modes.CBC(body[:BLOCK_OCTETS])).decryptor()
        return decryptor.update(body[BLOCK_OCTETS:]) + decryptor.finalize()
