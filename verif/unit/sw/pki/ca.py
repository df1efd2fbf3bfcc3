"""Certificates to test with, good and bad ones, made with nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

WHEN = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""When the tests take place."""
DAY = timedelta(days=1)
KEYS: dict[str, Callable[[], Any]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@cache
def key_of(kind: str, number: int = 0) -> Any:
    """A key of a kind; the same for the same number."""
    return KEYS[kind]()


def name(text: str) -> x509.Name:
    """`CN=text,O=Test`."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
            x509.NameAttribute(NameOID.COMMON_NAME, text),
        ]
    )


def usage(**which: bool) -> x509.KeyUsage:
    """A key usage with these bits alone."""
    bits = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**(bits | which))


CA_USAGE = usage(key_cert_sign=True, crl_sign=True)
CA = (x509.BasicConstraints(ca=True, path_length=None), CA_USAGE)
END = (x509.BasicConstraints(ca=False, path_length=None), usage(digital_signature=True))


@dataclass(frozen=True)
class Made:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any


def make(
    subject: str,
    issuer: Made | None,
    extensions: Sequence[x509.ExtensionType] = CA,
    *,
    key: Any = None,
    since: datetime = WHEN - 30 * DAY,
    until: datetime = WHEN + 30 * DAY,
    signer: Any = None,
    digest: Any = None,
    pss: bool = False,
    serial: int | None = None,
) -> Made:
    """A certificate of `issuer`, or signed by itself. `signer` signs in the issuer's place."""
    key = key or KEYS["p256"]()
    with_key = signer or (issuer.key if issuer else key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(issuer.certificate.subject if issuer else name(subject))
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )
    for extension in extensions:
        critical = isinstance(
            extension, x509.BasicConstraints | x509.KeyUsage | x509.NameConstraints
        )
        critical = critical or isinstance(extension, x509.UnrecognizedExtension)
        builder = builder.add_extension(extension, critical)
    algorithm = None if isinstance(with_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    how = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else None
    certificate = builder.sign(with_key, digest or algorithm, rsa_padding=how)
    return Made(certificate, key)


def names(*texts: str) -> x509.SubjectAlternativeName:
    """SubjectAltName with host names."""
    return x509.SubjectAlternativeName([x509.DNSName(text) for text in texts])


def crl(
    issuer: Made,
    revoked: Sequence[x509.Certificate] = (),
    *,
    since: datetime = WHEN - DAY,
    until: datetime = WHEN + DAY,
    signer: Any = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> x509.CertificateRevocationList:
    """The list of a CA."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(since)
        .next_update(until)
    )
    for certificate in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(since).build())
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    key = signer or issuer.key
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest)
