"""Keys, certificates and CRLs in files, PEM or DER. Every fault names the file and what to do."""

from __future__ import annotations

import logging
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from sw.config_values import ConfigError
from sw.pki.names import X509_ERRORS
from sw.pki.path import CURVES, RSA_BITS_MAX, RSA_BITS_MIN, CertificateError
from sw.private_file import read_private

LOG = logging.getLogger("holdfast.pki")
KEY_FILE_OCTETS_MAX = 65536
CERTIFICATE_FILE_OCTETS_MAX = 1 << 20
CRL_FILE_OCTETS_MAX = 16 << 20
_PEM = b"-----BEGIN "

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def read_private_key(path: Path) -> PrivateKey:
    """A private key, PEM or DER, not encrypted; raises ConfigError.

    SEC: PKI.KEY_FILE_MODE. A key that others than its owner may use is refused before it is read.
    """
    octets = read_private(path, "the private key", KEY_FILE_OCTETS_MAX)
    try:
        load = load_pem_private_key if _PEM in octets else load_der_private_key
        key = load(octets, None)
    except TypeError:
        raise ConfigError(
            f"the private key {path} is encrypted; keep it plain, in a file of mode 0600: type: "
            f"(umask 077; openssl pkey -in {path} -out plain.key)"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        # What the parser says may hold octets of the key.
        raise ConfigError(
            f"{path} holds no private key in PEM or DER; make one with holdfast pki csr"
        ) from None
    if isinstance(key, rsa.RSAPrivateKey) and RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    raise ConfigError(
        f"the private key {path} is of a kind that is not used: give RSA of {RSA_BITS_MIN} to "
        f"{RSA_BITS_MAX} bits, ECDSA on P-256, P-384 or P-521, or Ed25519"
    )


def _read(path: Path, what: str, octets_max: int) -> bytes:
    try:
        if not path.is_file():
            raise ConfigError(
                f"{what} {path} is {'no file' if path.exists() else 'not there'}; name one"
            )
        with path.open("rb") as file:
            octets = file.read(octets_max + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {what} {path}: {error.strerror or error}") from error
    if len(octets) > octets_max:
        raise ConfigError(f"{what} {path} is longer than {octets_max} octets; is it another file?")
    return octets


def read_certificates(path: Path, what: str, most: int) -> tuple[x509.Certificate, ...]:
    """One certificate or more, in the order of the file; raises ConfigError."""
    octets = _read(path, what, CERTIFICATE_FILE_OCTETS_MAX)
    try:
        if _PEM in octets:
            found = x509.load_pem_x509_certificates(octets)
        else:
            found = [x509.load_der_x509_certificate(octets)]
        for one in found:
            _ = (one.extensions, one.subject, one.public_key())
    except X509_ERRORS as error:
        raise ConfigError(
            f"{what} {path} is no certificate in PEM or DER ({type(error).__name__}); see it with "
            f"openssl x509 -noout -text -in {path}"
        ) from error
    if len(found) > most:
        raise ConfigError(f"{what} {path} holds {len(found)} certificates; {most} are the most")
    return tuple(found)


def read_crls(path: Path) -> tuple[x509.CertificateRevocationList, ...]:
    """One CRL or more; raises ConfigError."""
    octets = _read(path, "the CRL", CRL_FILE_OCTETS_MAX)
    try:
        if _PEM not in octets:
            return (x509.load_der_x509_crl(octets),)
        found = []
        for part in octets.split(_PEM)[1:]:
            if part.startswith(b"X509 CRL"):
                found.append(x509.load_pem_x509_crl(_PEM + part))
    except X509_ERRORS as error:
        raise ConfigError(
            f"{path} is no CRL in PEM or DER; see it with openssl crl -noout -text -in {path}"
        ) from error
    if not found:
        raise ConfigError(
            f"{path} holds no CRL; give the one of the CA, as holdfast pki revoke writes it"
        )
    return tuple(found)


class CrlFile:
    """The CRLs in a file, read again whenever it has changed.

    Called, it gives them; raises CertificateError if the file cannot be read: then nobody is let
    in, rather than one who was revoked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._crls: tuple[x509.CertificateRevocationList, ...] = ()
        self._refresh()

    def _refresh(self) -> None:
        """Read if changed; raises ConfigError."""
        try:
            found = self._path.stat()
        except OSError as error:
            raise ConfigError(
                f"cannot read the CRL {self._path}: {error.strerror or error}; put it back, or "
                "leave crl_file out"
            ) from error
        now = (found.st_mtime_ns, found.st_size, found.st_ino)
        if now != self._seen:
            self._crls = read_crls(self._path)
            if self._seen is not None:
                LOG.info("the CRL %s has changed, and is read again", self._path)
            self._seen = now

    def __call__(self) -> tuple[x509.CertificateRevocationList, ...]:
        """The CRLs as the file has them now."""
        try:
            self._refresh()
        except ConfigError as error:
            self._seen = None
            raise CertificateError(str(error)) from error
        return self._crls
