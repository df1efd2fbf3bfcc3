"""CAs and certificates for both ends, made with nothing of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sw.ike.certificates import Certificates
from verif.interop.strongswan import StrongSwan
from verif.unit.sw.pki.ca import END, Made, crl, key_of, make, names

__all__ = ["OUR_NAME", "THEIR_NAME", "Credentials", "authority"]

OUR_NAME, THEIR_NAME = "ours.example.com", "theirs.example.com"
DAY = timedelta(days=1)


@cache
def authority(name: str = "Interop CA") -> Made:
    """A CA that is good for this day."""
    now = datetime.now(UTC)
    return make(name, None, key=key_of("p256"), since=now - DAY, until=now + DAY)


def _certificate(kind: str, name: str, ca: Made, *, expired: bool, big: bool) -> Made:
    now = datetime.now(UTC)
    until = now - timedelta(hours=1) if expired else now + DAY
    others = [f"name-{number:03}.of.a.long.list.example.com" for number in range(100 * big)]
    extensions = (*END, names(name, *others))
    return make(name, ca, extensions, key=key_of(kind, len(name)), since=now - 2 * DAY, until=until)


@dataclass(frozen=True)
class Credentials:
    """Both ends' certificates, and what is wrong with them.

    Parameters
    ----------
    kind : str
        Of the keys: those that `verif.unit.sw.pki.ca` makes.
    our_ca, their_ca : str
        The CA that has issued each one's certificate. Both trust "Interop CA" alone.
    our_expired, their_expired, their_revoked : bool
    big : bool
        With a hundred names in each certificate.
    pss : bool
        RSA keys sign with PSS.
    """

    kind: str = "p256"
    our_ca: str = "Interop CA"
    their_ca: str = "Interop CA"
    our_expired: bool = False
    their_expired: bool = False
    their_revoked: bool = False
    big: bool = False
    pss: bool = True

    def ours(self) -> Certificates:
        """For our end."""
        made = _certificate(
            self.kind, OUR_NAME, authority(self.our_ca), expired=self.our_expired, big=self.big
        )
        anchor = authority()
        crls = None
        if self.their_revoked:
            now = datetime.now(UTC)
            revoked = [self._theirs().certificate]
            crls = (crl(anchor, revoked, since=now - DAY, until=now + DAY),)
        return Certificates(
            key=made.key,
            chain=(made.certificate,),
            anchors=(anchor.certificate,),
            crls=lambda: crls,
            clock=lambda: datetime.now(UTC),
            pss=self.pss,
        )

    def _theirs(self) -> Made:
        return _made(self)

    def theirs(self) -> Callable[[StrongSwan], dict[str, Any]]:
        """For their end: what loads them, and gives what their `local` section needs."""

        def load(strongswan: StrongSwan) -> dict[str, Any]:
            made = self._theirs()
            strongswan.trust(authority().certificate.public_bytes(Encoding.DER))
            strongswan.private_key(
                made.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            )
            words: dict[str, Any] = {"certs": [made.certificate.public_bytes(Encoding.DER)]}
            if self.kind == "rsa" and self.pss:
                words["auth"] = "ike:rsa/pss-sha256"
            return words

        return load


@cache
def _made(credentials: Credentials) -> Made:
    """Their certificate: one and the same each time, so that a CRL may name it."""
    return _certificate(
        credentials.kind,
        THEIR_NAME,
        authority(credentials.their_ca),
        expired=credentials.their_expired,
        big=credentials.big,
    )
