"""A small CA in a folder: what `holdfast pki` does.

The folder holds `ca.key`, `ca.crt`, `ca.crl` and, under `issued/`, a copy of every certificate by
its serial number. What is revoked stands in the CRL and nowhere else. All files have mode 0600, the
folder 0700; nothing but the CRL is ever written over.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sw.config_values import ConfigError
from sw.identity import parse_identity
from sw.ike.certificates import check_identity
from sw.ike.config import Identity
from sw.ike.constants import IdType
from sw.pki.files import PrivateKey, read_certificates, read_crls, read_private_key
from sw.pki.names import X509_ERRORS
from sw.pki.path import CertificateError, check_supported, shown

KEY_KINDS: dict[str, Callable[[], PrivateKey]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa": lambda: rsa.generate_private_key(65537, 3072),
}
"""Kinds of keys that are made; RSA of 3072 bits, as strong as P-256."""
CA_KEY, CA_CERTIFICATE, CA_CRL, ISSUED = "ca.key", "ca.crt", "ca.crl", "issued"
CLOCK_SKEW = timedelta(hours=1)
"""How far a peer's clock may be behind the CA's."""
COMMON_NAME_MAX = 64
CSR_OCTETS_MAX = 65536
_NO_USAGE = {
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA's folder, read."""

    folder: Path
    key: PrivateKey
    certificate: x509.Certificate


def _write_new(path: Path, octets: bytes) -> None:
    """Write a file that is not there yet, with mode 0600; raises ConfigError if it is."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already, and is not written over; name another, or move it away"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    with os.fdopen(fd, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, octets: bytes) -> None:
    """Put a file in the place of another in one step."""
    new = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    _write_new(new, octets)
    new.replace(path)


def _pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _digest(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None:
    """The hash that a CA's key signs with; Ed25519 has its own."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if isinstance(key.curve, ec.SECP384R1):
            return hashes.SHA384()
        if isinstance(key.curve, ec.SECP521R1):
            return hashes.SHA512()
    return hashes.SHA256()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One change of a CA at a time."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"there is no CA in {folder} ({error.strerror or error}); type: holdfast pki init "
            f"{folder}"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _open(folder: Path) -> Authority:
    if not (folder / CA_KEY).exists():
        raise ConfigError(f"there is no CA in {folder}; type: holdfast pki init {folder}")
    key = read_private_key(folder / CA_KEY)
    certificate = read_certificates(folder / CA_CERTIFICATE, "the CA certificate", 1)[0]
    if key.public_key() != certificate.public_key():
        raise ConfigError(
            f"{folder / CA_KEY} is not the key of {folder / CA_CERTIFICATE}; restore the folder"
        )
    return Authority(folder, key, certificate)


def init(
    folder: Path, name: str, kind: str, days: int, crl_days: int, now: datetime
) -> x509.Certificate:
    """A new CA in a folder that is empty or not there; gives its certificate.

    Raises ConfigError.
    """
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError as error:
        raise ConfigError(
            f"{name[:80]!r} is no name of a CA: give 1 to {COMMON_NAME_MAX} characters"
        ) from error
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty; name a new folder for the CA")
        (folder / ISSUED).mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot make a CA in {folder}: {error.strerror or error}") from error
    key = KEY_KINDS[kind]()
    usage = x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **_NO_USAGE)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, _digest(key))
    )
    _write_new(folder / CA_KEY, _pem(key))
    _write_new(folder / CA_CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    _write_crl(Authority(folder, key, certificate), [], 1, crl_days, now)
    return certificate


def _write_crl(
    authority: Authority,
    revoked: list[x509.RevokedCertificate],
    number: int,
    days: int,
    now: datetime,
) -> None:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - CLOCK_SKEW)
        .next_update(now + timedelta(days=days))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(authority), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(entry)
    crl = builder.sign(authority.key, _digest(authority.key))
    _replace(authority.folder / CA_CRL, crl.public_bytes(Encoding.PEM))


def _authority_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def _identity(text: str) -> Identity:
    try:
        identity = parse_identity(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return identity


def _names(identity: Identity) -> tuple[x509.Name, x509.SubjectAlternativeName | None]:
    """Subject and subjectAltName of a certificate for an identity (RFC 4945 5.1.3.6, 5.1.4)."""
    text = str(identity)
    if identity.id_type == IdType.DER_ASN1_DN:
        return x509.Name.from_bytes(identity.data), None
    try:
        match identity.id_type:
            case IdType.IPV4_ADDR | IdType.IPV6_ADDR:
                name: x509.GeneralName = x509.IPAddress(ip_address(text))
            case IdType.RFC822_ADDR:
                name = x509.RFC822Name(text)
            case _:
                name = x509.DNSName(text)
    except ValueError as error:
        raise ConfigError(f"{text[:80]} cannot stand in a certificate: {error}") from error
    subject = []
    if len(text) <= COMMON_NAME_MAX:
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, text))
    return x509.Name(subject), x509.SubjectAlternativeName([name])


def make_key(path: Path, kind: str) -> PrivateKey:
    """A new private key in a new file; raises ConfigError."""
    key = KEY_KINDS[kind]()
    _write_new(path, _pem(key))
    return key


def request(identity_text: str, key: PrivateKey, out: Path) -> x509.CertificateSigningRequest:
    """A certificate signing request for an identity, in a new file; raises ConfigError."""
    subject, alternative = _names(_identity(identity_text))
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=not subject.rdns)
    csr = builder.sign(key, _digest(key))
    _write_new(out, csr.public_bytes(Encoding.PEM))
    return csr


def read_request(path: Path, identity_text: str) -> x509.CertificateSigningRequest:
    """A request for an identity; raises ConfigError for one that is wrong, or for another."""
    identity = _identity(identity_text)
    try:
        with path.open("rb") as file:
            octets = file.read(CSR_OCTETS_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the request {path}: {error.strerror or error}") from error
    try:
        if len(octets) > CSR_OCTETS_MAX:
            raise ValueError("longer than any request")
        csr = x509.load_pem_x509_csr(octets)
        extensions, valid = csr.extensions, csr.is_signature_valid
        check_supported(csr.public_key(), f"the request {path}")
    except CertificateError as error:
        raise ConfigError(str(error)) from error
    except X509_ERRORS as error:
        raise ConfigError(
            f"{path} is no certificate signing request in PEM ({type(error).__name__}); see it "
            f"with openssl req -noout -text -in {path}"
        ) from error
    if not valid:
        raise ConfigError(f"the signature of the request {path} is wrong; have it made again")
    subject, alternative = _names(identity)
    try:
        asked = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        asked = None
    if asked is not None and asked != alternative:
        raise ConfigError(
            f"the request {path} is for {', '.join(map(_plain, asked))}, not for {identity_text} "
            "alone; give the --identity it is for, or have it made again"
        )
    if identity.id_type == IdType.DER_ASN1_DN and csr.subject != subject:
        raise ConfigError(f"the request {path} is for {shown(csr.subject)}, not {identity_text}")
    return csr


def _plain(name: x509.GeneralName) -> str:
    return ascii(str(name.value))[1:-1][:80]


def issue(
    folder: Path,
    identity_text: str,
    public_key: PrivateKey | x509.CertificateSigningRequest,
    out: Path,
    days: int,
    now: datetime,
) -> x509.Certificate:
    """A certificate for an identity, in a new file; raises ConfigError.

    It ends with the CA's own, at the latest.
    """
    identity = _identity(identity_text)
    subject, alternative = _names(identity)
    with _locked(folder):
        authority = _open(folder)
        ends = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
        if ends <= now:
            raise ConfigError(f"the CA in {folder} has expired; make a new one in another folder")
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=False, crl_sign=False, **_NO_USAGE
        )
        key = public_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority.certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - CLOCK_SKEW, authority.certificate.not_valid_before_utc))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_authority_key(authority), critical=False)
        )
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=not subject.rdns)
        certificate = builder.sign(authority.key, _digest(authority.key))
        check_identity(certificate, identity.id_type, identity.data)
        pem = certificate.public_bytes(Encoding.PEM)
        _write_new(out, pem)
        _write_new(folder / ISSUED / f"{certificate.serial_number:040x}.crt", pem)
    return certificate


def revoke(folder: Path, which: str | None, days: int, now: datetime) -> x509.Certificate | None:
    """Revoke a certificate, named by file or serial number, and write the CRL anew.

    Without one, only the CRL is renewed. Gives the certificate; raises ConfigError.
    """
    with _locked(folder):
        authority = _open(folder)
        crl = read_crls(folder / CA_CRL)[0]
        if not crl.is_signature_valid(authority.key.public_key()):
            raise ConfigError(f"{folder / CA_CRL} is not the CRL of this CA; restore the folder")
        entries = list(crl)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        certificate = None
        if which is not None:
            certificate = _issued(authority, which)
            if any(entry.serial_number == certificate.serial_number for entry in entries):
                raise ConfigError(f"{which} is revoked already")
            entries.append(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(now)
                .build()
            )
        _write_crl(authority, entries, number + 1, days, now)
    return certificate


def _issued(authority: Authority, which: str) -> x509.Certificate:
    """A certificate of this CA, by file or serial number."""
    path = Path(which)
    serial = which.replace(":", "").lower().removeprefix("0x")
    if not path.exists() and re.fullmatch(r"[0-9a-f]{1,40}", serial):
        path = authority.folder / ISSUED / f"{serial.zfill(40)}.crt"
        if not path.exists():
            raise ConfigError(f"this CA issued no certificate with the serial number {which}")
    certificate = read_certificates(path, "the certificate", 8)[0]
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (InvalidSignature, TypeError, ValueError) as error:
        raise ConfigError(f"{which} is no certificate of the CA in {authority.folder}") from error
    return certificate
