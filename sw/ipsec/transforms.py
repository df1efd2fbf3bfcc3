"""The algorithms of the suites: what makes and checks the protected part of a packet.

Source: RFC 4106 (GCM), RFC 3602 (CBC), RFC 2410 (NULL), RFC 4543 (GMAC), RFC 4868 and RFC 2404
(HMAC).
"""

from __future__ import annotations

from typing import Protocol as Interface

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time, hashes
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hmac import HMAC

from spec.headers import ESP
from spec.suites import Cipher, Hash
from sw.ipsec.material import AhMaterial, EspMaterial

_LOW = 0xFFFF_FFFF
_BLOCK = 16


class EspTransform(Interface):
    """What stands behind the header of an ESP packet: IV, payload and ICV."""

    def seal(self, number: int, plain: bytes) -> bytes:
        """Protect `plain`, padded already, under a number that was never used before."""

    def open(self, number: int, body: bytes) -> bytes | None:
        """The plaintext, or None if the ICV is wrong. `body` must be as long as IV and ICV."""


def esp_transform(material: EspMaterial) -> EspTransform:
    """The transform of an ESP SA, or of the ESP half of AH around ESP."""
    match material.facts.cipher:
        case Cipher.GCM:
            return _Gcm(material)
        case Cipher.GMAC:
            return _Gmac(material)
        case Cipher.CBC:
            return _CbcHmac(material)
    return _NullHmac(material)


def high_half(number: int, esn: bool) -> bytes:
    """The half of a number that an HMAC covers last, and that is not sent (RFC 4303 2.2.1)."""
    return (number >> 32).to_bytes(4, "big") if esn else b""


class _Aead:
    """AES-GCM; its IV is the number, so that no nonce comes twice (RFC 4106 3.1)."""

    def __init__(self, material: EspMaterial) -> None:
        self._aead = AESGCM(material.key.reveal())
        self._salt = material.salt.reveal()
        self._spi = material.spi.to_bytes(4, "big")
        self._number_octets = 8 if material.esn else 4
        self._iv_octets = material.facts.iv_octets
        self._icv_octets = material.facts.icv_octets

    def _associated(self, number: int) -> bytes:
        # RFC 4106 5: the high half takes part, though it is not sent.
        return self._spi + number.to_bytes(self._number_octets, "big")


class _Gcm(_Aead):
    def seal(self, number: int, plain: bytes) -> bytes:
        iv = number.to_bytes(self._iv_octets, "big")
        return iv + self._aead.encrypt(self._salt + iv, plain, self._associated(number))

    def open(self, number: int, body: bytes) -> bytes | None:
        iv, sealed = body[: self._iv_octets], body[self._iv_octets :]
        try:
            return self._aead.decrypt(self._salt + iv, sealed, self._associated(number))
        except InvalidTag:
            return None


class _Gmac(_Aead):
    """The payload stays in clear and is covered, with its IV before it (RFC 4543 3.3)."""

    def seal(self, number: int, plain: bytes) -> bytes:
        iv = number.to_bytes(self._iv_octets, "big")
        covered = self._associated(number) + iv + plain
        return iv + plain + self._aead.encrypt(self._salt + iv, b"", covered)

    def open(self, number: int, body: bytes) -> bytes | None:
        shown, icv = body[: -self._icv_octets], body[-self._icv_octets :]
        try:
            self._aead.decrypt(
                self._salt + shown[: self._iv_octets], icv, self._associated(number) + shown
            )
        except InvalidTag:
            return None
        return shown[self._iv_octets :]


class _Mac:
    """An HMAC of which the first octets are the ICV."""

    def __init__(self, hash_: Hash, key: bytes, octets: int) -> None:
        self._keyed = HMAC(key, hashes.SHA1() if hash_ is Hash.SHA_1 else hashes.SHA256())
        self._octets = octets

    def icv(self, *parts: bytes) -> bytes:
        mac = self._keyed.copy()
        for part in parts:
            mac.update(part)
        return mac.finalize()[: self._octets]

    def fits(self, icv: bytes, *parts: bytes) -> bool:
        return constant_time.bytes_eq(self.icv(*parts), icv)


class _NullHmac:
    """In clear; the HMAC covers the packet, then the half of the number that is not sent."""

    def __init__(self, material: EspMaterial) -> None:
        facts = material.facts
        self._mac = _Mac(facts.hash, material.auth.reveal(), facts.icv_octets)
        self._spi = material.spi
        self._esn = material.esn
        self._icv_octets = facts.icv_octets

    def seal(self, number: int, plain: bytes) -> bytes:
        shown = self._conceal(number, plain)
        return shown + self._mac.icv(self._header(number), shown, high_half(number, self._esn))

    def open(self, number: int, body: bytes) -> bytes | None:
        shown, icv = body[: -self._icv_octets], body[-self._icv_octets :]
        if not self._mac.fits(icv, self._header(number), shown, high_half(number, self._esn)):
            return None
        return self._reveal(shown)

    def _header(self, number: int) -> bytes:
        return ESP.pack(spi=self._spi, sequence=number & _LOW)

    def _conceal(self, _number: int, plain: bytes) -> bytes:
        return plain

    def _reveal(self, shown: bytes) -> bytes:
        return shown


class _CbcHmac(_NullHmac):
    """The IV is the encrypted number, which nobody can predict (SP 800-38A appendix C)."""

    def __init__(self, material: EspMaterial) -> None:
        super().__init__(material)
        self._aes = AES(material.key.reveal())

    def _conceal(self, number: int, plain: bytes) -> bytes:
        # A first block that is chained to zeros comes out as the IV of those behind it.
        encryptor = BlockCipher(self._aes, CBC(bytes(_BLOCK))).encryptor()
        return encryptor.update(number.to_bytes(_BLOCK, "big") + plain) + encryptor.finalize()

    def _reveal(self, shown: bytes) -> bytes:
        decryptor = BlockCipher(self._aes, CBC(shown[:_BLOCK])).decryptor()
        return decryptor.update(shown[_BLOCK:]) + decryptor.finalize()


class AhIntegrity:
    """The ICV field of AH, which for GMAC begins with an IV.

    Source: RFC 4302 3.3.3, RFC 4543 4, 5.
    """

    def __init__(self, material: AhMaterial) -> None:
        facts = material.facts
        self._esn = material.esn
        self._iv_octets = facts.iv_octets
        self._icv_octets = facts.icv_octets
        self._salt = material.salt.reveal()
        self._aead = AESGCM(material.key.reveal()) if facts.cipher is Cipher.GMAC else None
        self._mac = _Mac(facts.hash, material.auth.reveal(), facts.icv_octets)

    @property
    def octets(self) -> int:
        """Length of IV and ICV together."""
        return self._iv_octets + self._icv_octets

    def seal(self, number: int, before: bytes, behind: bytes) -> bytes:
        """IV and ICV of a packet: `before` and `behind` are what stands around them."""
        iv = number.to_bytes(self._iv_octets, "big") if self._iv_octets else b""
        parts = self._covered(number, before, iv, behind)
        if self._aead is None:
            return self._mac.icv(*parts)
        return iv + self._aead.encrypt(self._salt + iv, b"", b"".join(parts))

    def fits(self, number: int, before: bytes, field: bytes, behind: bytes) -> bool:
        """Whether IV and ICV in `field` are right."""
        iv, icv = field[: self._iv_octets], field[self._iv_octets :]
        parts = self._covered(number, before, iv, behind)
        if self._aead is None:
            return self._mac.fits(icv, *parts)
        try:
            self._aead.decrypt(self._salt + iv, icv, b"".join(parts))
        except InvalidTag:
            return False
        return True

    def _covered(
        self, number: int, before: bytes, iv: bytes, behind: bytes
    ) -> tuple[bytes, bytes, bytes, bytes, bytes]:
        return before, iv, bytes(self._icv_octets), behind, high_half(number, self._esn)
