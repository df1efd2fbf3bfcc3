"""Certificates in IKE_AUTH: what is sent, what is asked for, and whose key the peer signs with.

SEC: IKE.CERTIFICATE. A peer's key counts only if a path from its certificate leads to a configured
CA and the certificate is for the identity that the peer was configured with.

Source: RFC 7296 3.6, 3.7; RFC 4945 3.1, 3.2.7, 3.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sw.ike.constants import CertEncoding, IdType
from sw.ike.payloads import CertPayload, CertRequestPayload, Payload
from sw.ike.signatures import PrivateKey, PublicKey
from sw.pki.names import X509_ERRORS, alternative_names, canonical, quiet
from sw.pki.path import (
    PATH_MAX,
    CertificateError,
    Trust,
    check_end_entity,
    shown,
    supported_key,
    verify_path,
)

CERTIFICATE_OCTETS_MAX = 16384
"""One certificate of a peer's. `sw.ike.fragments.REASSEMBLED_MAX` bounds them all."""
CHAIN_OCTETS_MAX = 24576
"""Certificates of ours: with the rest of IKE_AUTH, what a peer of our kind puts together again."""
ANCHORS_MAX = 64
"""CAs that a request names, 20 octets each."""


@dataclass(frozen=True, slots=True, eq=False)
class Certificates:
    """How we prove ourselves to a peer by certificate, and what the peer has to show.

    Parameters
    ----------
    key : PrivateKey
        Ours. It appears in no repr.
    chain : tuple of Certificate
        Our certificate, and those between it and the CA.
    anchors : tuple of Certificate
        The CAs that the peer's certificate may come from.
    crls : callable
        Gives the CRLs as they are now, or None where none are kept (see `sw.pki.path.Trust`).
        Raises CertificateError if they cannot be had.
    clock : callable
        Gives the time, with a time zone.
    pss : bool
        Whether an RSA key signs with PSS, else with PKCS #1 v1.5 (RFC 7427 A.1, A.4).
    """

    key: PrivateKey = field(repr=False)
    chain: tuple[x509.Certificate, ...]
    anchors: tuple[x509.Certificate, ...]
    crls: Callable[[], tuple[x509.CertificateRevocationList, ...] | None]
    clock: Callable[[], datetime]
    pss: bool = True

    def __post_init__(self) -> None:
        if not self.chain or not self.anchors:
            raise ValueError("certificates need a chain of ours, and a CA for the peer's")
        if not 1 <= len(self.chain) <= PATH_MAX or len(self.anchors) > ANCHORS_MAX:
            raise ValueError(f"at most {PATH_MAX} certificates, and {ANCHORS_MAX} CAs")
        try:
            check_chain(self.chain)
        except CertificateError as error:
            raise ValueError(str(error)) from error
        if self.key.public_key() != self.chain[0].public_key():
            raise ValueError("the private key is not that of the certificate")

    def payloads(self) -> list[Payload]:
        """CERT payloads, our own first (RFC 7296 3.6)."""
        return [CertPayload(CertEncoding.X509_SIGNATURE, one) for one in _der(self.chain)]

    def peer_key(self, payloads: Sequence[Payload], id_type: int, data: bytes) -> PublicKey:
        """The key with which the peer of this identity has to sign; raises CertificateError."""
        trust = Trust(self.anchors, self.crls())
        with quiet():
            certificate, *others = received(payloads)
            check_end_entity(certificate)
            check_identity(certificate, id_type, data)
            verify_path(certificate, others, trust, self.clock())
            return supported_key(certificate)


def _der(chain: Sequence[x509.Certificate]) -> list[bytes]:
    return [one.public_bytes(Encoding.DER) for one in chain]


def check_chain(chain: Sequence[x509.Certificate]) -> None:
    """Raises CertificateError if our own certificates are longer than any peer need take."""
    lengths = [len(one) for one in _der(chain)]
    if max(lengths) > CERTIFICATE_OCTETS_MAX or sum(lengths) > CHAIN_OCTETS_MAX:
        raise CertificateError(
            f"the certificates have {sum(lengths)} octets, one of them {max(lengths)}; peers take "
            f"{CHAIN_OCTETS_MAX} in all, {CERTIFICATE_OCTETS_MAX} of one"
        )


def requests_for(all_certificates: Iterable[Certificates]) -> list[Payload]:
    """One CERTREQ for the CAs of all of them, or none. Source: RFC 7296 3.7."""
    digests: dict[bytes, None] = {}
    for certificates in all_certificates:
        for anchor in certificates.anchors:
            spki = anchor.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            # SHA-1 is the name of a key here, nothing hangs on its strength.
            digests[hashlib.sha1(spki, usedforsecurity=False).digest()] = None
    if not digests:
        return []
    return [CertRequestPayload(CertEncoding.X509_SIGNATURE, b"".join(list(digests)[:ANCHORS_MAX]))]


def received(payloads: Sequence[Payload]) -> list[x509.Certificate]:
    """The certificates in a message, the peer's own first; raises CertificateError.

    Other encodings are passed over.
    """
    octets = [
        payload.data
        for payload in payloads
        if isinstance(payload, CertPayload) and payload.encoding == CertEncoding.X509_SIGNATURE
    ]
    if not octets:
        raise CertificateError("the peer sent no certificate")
    if len(octets) > PATH_MAX:
        raise CertificateError(f"the peer sent {len(octets)} certificates; {PATH_MAX} are enough")
    if any(len(one) > CERTIFICATE_OCTETS_MAX for one in octets):
        raise CertificateError(
            f"the peer sent a certificate of more than {CERTIFICATE_OCTETS_MAX} octets"
        )
    try:
        certificates = [x509.load_der_x509_certificate(one) for one in octets]
        for one in certificates:
            # Read once here, whatever it holds: what is ill-formed is found now.
            _ = (one.extensions, one.subject, one.issuer)
    except X509_ERRORS as error:
        raise CertificateError("the peer sent a certificate that is ill-formed") from error
    return certificates


def check_identity(certificate: x509.Certificate, id_type: int, data: bytes) -> None:
    """Look for an identity in subjectAltName, for a distinguished name in the subject.

    Wildcards stand for nothing (RFC 4945 3.1.2). Raises CertificateError if it is not there.
    """
    names = alternative_names(certificate)
    wanted = data.decode("ascii", "replace")
    match id_type:
        case IdType.FQDN:
            found = any(
                isinstance(name, x509.DNSName) and name.value.lower() == wanted.lower()
                for name in names
            )
        case IdType.RFC822_ADDR:
            found = any(
                isinstance(name, x509.RFC822Name) and _mail(name.value) == _mail(wanted)
                for name in names
            )
        case IdType.IPV4_ADDR | IdType.IPV6_ADDR:
            octets = 4 if id_type == IdType.IPV4_ADDR else 16
            found = len(data) == octets and any(
                isinstance(name, x509.IPAddress) and name.value == ip_address(data)
                for name in names
            )
        case IdType.DER_ASN1_DN:
            found = _same_name(certificate.subject, data)
        case _:
            raise CertificateError("an identity of this kind stands in no certificate")
    if not data or not found:
        raise CertificateError(
            f"the certificate of {shown(certificate.subject)} is not for the identity it is used by"
        )


def _same_name(subject: x509.Name, data: bytes) -> bool:
    try:
        name = x509.Name.from_bytes(data)
    except X509_ERRORS:
        return False
    return bool(name.rdns) and canonical(name) == canonical(subject)


def _mail(address: str) -> str:
    """An address with its domain, where case does not count, in lower case."""
    local, at, domain = address.rpartition("@")
    return local + at + domain.lower()
