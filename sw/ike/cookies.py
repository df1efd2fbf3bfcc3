"""Cookies that a responder under load demands before it keeps any state. Source: RFC 7296 2.6."""

from __future__ import annotations

import hmac

from sw.ike.crypto import Rng
from sw.ike.secret import Secret

_SECRET_OCTETS = 32


class CookieJar:
    """Makes and checks cookies: version | HMAC(secret, Ni | address | SPIi).

    The secret is renewed after `rotation` seconds of use; the one before is still honoured for
    as long.
    """

    def __init__(self, rng: Rng, rotation: float) -> None:
        self._rng = rng
        self._rotation = rotation
        self._secrets: dict[int, Secret] = {}
        self._version = 0
        self._since = 0.0

    def _renew(self, now: float) -> None:
        if self._secrets and now - self._since < self._rotation:
            return
        keep_last = bool(self._secrets) and now - self._since < 2 * self._rotation
        last = self._secrets.get(self._version)
        old = self._version
        self._version = (old + 1) % 256
        self._secrets = {self._version: Secret(self._rng(_SECRET_OCTETS))}
        if keep_last and last is not None:
            self._secrets[old] = last
        self._since = now

    @staticmethod
    def _cookie(version: int, secret: Secret, nonce: bytes, host: str, spi_i: bytes) -> bytes:
        data = nonce + host.encode() + spi_i
        return bytes([version]) + hmac.digest(secret.reveal(), data, "sha256")

    def make(self, nonce: bytes, host: str, spi_i: bytes, now: float) -> bytes:
        """Cookie for the sender of an IKE_SA_INIT request."""
        self._renew(now)
        return self._cookie(self._version, self._secrets[self._version], nonce, host, spi_i)

    def check(self, cookie: bytes, nonce: bytes, host: str, spi_i: bytes, now: float) -> bool:
        """Whether the cookie was made for just this sender, not too long ago."""
        self._renew(now)
        secret = self._secrets.get(cookie[0]) if cookie else None
        if secret is None:
            return False
        expected = self._cookie(cookie[0], secret, nonce, host, spi_i)
        return hmac.compare_digest(expected, cookie)
