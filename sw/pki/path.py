"""Whether a certificate comes from a CA that is trusted: building and checking the path.

`cryptography.x509.verification` keeps to the profile of the Web: no Ed25519, no CRL. IKE needs both
(RFC 8420, RFC 4945), so the rules of RFC 5280 6.1 stand here. Policies are not told apart; a path
that demands an explicit policy is refused. What an attacker may send is bounded in depth and in
signatures that are checked, before any of it is trusted.

SEC: PKI.PATH. Only a path of valid CA certificates to a configured CA makes a certificate good.

Source: RFC 5280 6.1, 6.3; RFC 4945 5.1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PSS, PKCS1v15
from cryptography.x509.oid import ExtendedKeyUsageOID

from sw.pki.names import X509_ERRORS, NameConstraints, canonical, subject_names

PATH_MAX = 8
"""Certificates of a path, end entity and CA included."""
CHECKS_MAX = 32
"""Signatures checked for one path, whatever certificates were sent."""
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

IKE_INTERMEDIATE = x509.ObjectIdentifier("1.3.6.1.5.5.8.2.2")
"""Of old drafts, and still in certificates."""
PURPOSES = frozenset(
    {
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.IPSEC_IKE,
        IKE_INTERMEDIATE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    }
)
_UNDERSTOOD = (
    x509.AuthorityKeyIdentifier,
    x509.BasicConstraints,
    x509.CertificatePolicies,
    x509.ExtendedKeyUsage,
    x509.InhibitAnyPolicy,
    x509.KeyUsage,
    x509.NameConstraints,
    x509.PolicyConstraints,
    x509.SubjectAlternativeName,
    x509.SubjectKeyIdentifier,
)
"""What may be critical. Of policies, only a demand for an explicit one can make a path bad."""
_SHOWN_MAX = 120
_E = TypeVar("_E", bound=x509.ExtensionType)


class CertificateError(Exception):
    """A certificate that cannot be trusted or used; the text says why, in plain words."""


def shown(name: x509.Name) -> str:
    """A distinguished name for people: of bounded length, without control characters."""
    text = name.rfc4514_string() or "(no name)"
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."


def _of(certificate: x509.Certificate) -> str:
    return f"the certificate of {shown(certificate.subject)}"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe.

    Parameters
    ----------
    anchors : tuple of Certificate
        The configured CAs.
    crls : tuple of CertificateRevocationList, or None
        With them, each certificate below a CA must be covered by a list that is valid now; None:
        revocation is not looked at.
    """

    anchors: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...] | None = None


def check_supported(key: object, what: str) -> PublicKey:
    """The public key, if it is of a kind and size that is used here; raises CertificateError."""
    if isinstance(key, rsa.RSAPublicKey):
        if RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
            return key
        raise CertificateError(
            f"{what} has an RSA key of {key.key_size} bits; it must have {RSA_BITS_MIN} to "
            f"{RSA_BITS_MAX}"
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, CURVES):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise CertificateError(
        f"{what} has a key that is none of RSA, ECDSA P-256, P-384, P-521, Ed25519"
    )


def supported_key(certificate: x509.Certificate) -> PublicKey:
    """The public key of a certificate, as `check_supported` gives it."""
    try:
        key = certificate.public_key()
    except X509_ERRORS as error:
        raise CertificateError(f"{_of(certificate)} has a key of an unknown kind") from error
    return check_supported(key, _of(certificate))


def _signed(
    key: PublicKey, what: x509.Certificate | x509.CertificateRevocationList, tbs: bytes
) -> bool:
    """Whether `key` made the signature of a certificate or CRL, with a hash that is still good."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            if what.signature_algorithm_oid != x509.SignatureAlgorithmOID.ED25519:
                return False
            key.verify(what.signature, tbs)
            return True
        digest = what.signature_hash_algorithm
        parameters = what.signature_algorithm_parameters
        if not isinstance(digest, HASHES):
            return False
        if isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, PSS | PKCS1v15):
            key.verify(what.signature, tbs, parameters, digest)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
            key.verify(what.signature, tbs, parameters)
            return True
    except (InvalidSignature, *X509_ERRORS):
        return False
    return False


class _Search:
    """One search for a path, with its bounds."""

    def __init__(self, others: Sequence[x509.Certificate], trust: Trust, when: datetime) -> None:
        self._others = others
        self._trust = trust
        self._when = when
        self._checks = 0
        self.failure: CertificateError | None = None
        """The first path that was complete but bad: it says most."""

    def upwards(self, path: list[x509.Certificate]) -> list[x509.Certificate] | None:
        """A good path that begins with `path`, or None. Depth first, CAs before the peer's."""
        child = path[-1]
        issuer = canonical(child.issuer)
        for anchor in self._trust.anchors:
            if canonical(anchor.subject) == issuer and self._issued(child, anchor):
                whole = [*path, anchor]
                try:
                    _check_path(whole, self._trust.crls, self._when)
                except CertificateError as error:
                    self.failure = self.failure or error
                else:
                    return whole
        if len(path) >= PATH_MAX - 1:
            self.failure = self.failure or CertificateError(
                f"the chain of certificates is longer than {PATH_MAX}"
            )
            return None
        for other in self._others:
            if canonical(other.subject) != issuer or other in path:
                continue
            if self._issued(child, other):
                found = self.upwards([*path, other])
                if found is not None:
                    return found
        return None

    def _issued(self, child: x509.Certificate, issuer: x509.Certificate) -> bool:
        self._checks += 1
        if self._checks > CHECKS_MAX:
            raise CertificateError("the certificates sent make too many paths")
        try:
            return _signed(supported_key(issuer), child, child.tbs_certificate_bytes)
        except CertificateError as error:
            self.failure = self.failure or error
            return False


def verify_path(
    certificate: x509.Certificate,
    others: Sequence[x509.Certificate],
    trust: Trust,
    when: datetime,
) -> list[x509.Certificate]:
    """The path from a certificate to a configured CA, both included; raises CertificateError.

    Parameters
    ----------
    others : sequence of Certificate
        What may lie between; nothing in it is trusted.
    when : datetime
        With a time zone.
    """
    search = _Search(others, trust, when)
    try:
        found = search.upwards([certificate])
    except X509_ERRORS as error:
        raise CertificateError("a certificate of the chain is ill-formed") from error
    if found is not None:
        return found
    raise search.failure or CertificateError(
        f"{_of(certificate)} is from no configured CA: its issuer is {shown(certificate.issuer)}"
    )


def _extension(has: x509.Certificate | x509.CertificateRevocationList, kind: type[_E]) -> _E | None:
    try:
        return has.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_path(
    upwards: Sequence[x509.Certificate],
    crls: tuple[x509.CertificateRevocationList, ...] | None,
    when: datetime,
) -> None:
    """RFC 5280 6.1, from the CA down. Signatures are checked already."""
    path = list(reversed(upwards))
    constraints = NameConstraints()
    budget = PATH_MAX
    for at, certificate in enumerate(path):
        last = at == len(path) - 1
        self_issued = canonical(certificate.subject) == canonical(certificate.issuer)
        _check_extensions(certificate)
        _check_validity(certificate, when)
        supported_key(certificate)
        if at and (last or not self_issued):
            offender = constraints.offender(subject_names(certificate))
            if offender is not None:
                raise CertificateError(
                    f"{_of(certificate)} is for a name that a CA above it may not certify"
                )
        if at and crls is not None:
            _check_revocation(certificate, path[at - 1], crls, when)
        if last:
            break
        _check_ca(certificate)
        if at and not self_issued:
            if budget <= 0:
                raise CertificateError(
                    f"{_of(certificate)} lies deeper than a CA above it allows (path length)"
                )
            budget -= 1
        limits = _extension(certificate, x509.BasicConstraints)
        if limits is not None and limits.path_length is not None:
            budget = min(budget, limits.path_length)
        names = _extension(certificate, x509.NameConstraints)
        if names is not None:
            constraints.add(names)


def _check_extensions(certificate: x509.Certificate) -> None:
    try:
        extensions = certificate.extensions
    except X509_ERRORS as error:
        raise CertificateError(f"{_of(certificate)} has ill-formed extensions") from error
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, _UNDERSTOOD):
            raise CertificateError(
                f"{_of(certificate)} has a critical extension that is not understood "
                f"({extension.oid.dotted_string})"
            )
    policy = _extension(certificate, x509.PolicyConstraints)
    if policy is not None and policy.require_explicit_policy is not None:
        raise CertificateError(f"{_of(certificate)} demands an explicit policy")


def _check_validity(certificate: x509.Certificate, when: datetime) -> None:
    if when < certificate.not_valid_before_utc:
        raise CertificateError(
            f"{_of(certificate)} is not valid before {certificate.not_valid_before_utc:%F %T} UTC"
        )
    if when > certificate.not_valid_after_utc:
        raise CertificateError(
            f"{_of(certificate)} has expired on {certificate.not_valid_after_utc:%F %T} UTC"
        )


def _check_ca(certificate: x509.Certificate) -> None:
    """RFC 5280 6.1.4 k, n."""
    basic = _extension(certificate, x509.BasicConstraints)
    if certificate.version is not x509.Version.v3 or basic is None or not basic.ca:
        raise CertificateError(f"{_of(certificate)} is not that of a CA, but issued another")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise CertificateError(f"{_of(certificate)} may not sign certificates (key usage)")


def _check_revocation(
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    crls: Sequence[x509.CertificateRevocationList],
    when: datetime,
) -> None:
    """Every certificate needs a list of its issuer that is valid now. Source: RFC 5280 6.3.3."""
    why = "there is no list of its issuer"
    covered = False
    for crl in crls:
        if canonical(crl.issuer) != canonical(certificate.issuer):
            continue
        fault = _crl_fault(crl, issuer, when)
        if fault is not None:
            why = fault
            continue
        covered = True
        entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
        if entry is not None:
            raise CertificateError(
                f"{_of(certificate)} was revoked on {entry.revocation_date_utc:%F %T} UTC"
            )
    if not covered:
        raise CertificateError(f"{_of(certificate)} cannot be checked for revocation: {why}")


def _crl_fault(
    crl: x509.CertificateRevocationList, issuer: x509.Certificate, when: datetime
) -> str | None:
    """Why a list counts for nothing, if so."""
    usage = _extension(issuer, x509.KeyUsage)
    if usage is not None and not usage.crl_sign:
        return "its issuer may not sign lists (key usage)"
    if not _signed(supported_key(issuer), crl, crl.tbs_certlist_bytes):
        return "the list's signature is wrong"
    if when < crl.last_update_utc:
        return f"the list is not valid before {crl.last_update_utc:%F %T} UTC"
    if crl.next_update_utc is None or when > crl.next_update_utc:
        return "the list has expired; get a new one from the CA"
    try:
        # Lists of parts, and lists for other CAs, are marked so by critical extensions.
        if any(extension.critical for extension in crl.extensions):
            return "the list is of a kind that is not understood"
    except X509_ERRORS as error:
        return f"the list is ill-formed ({type(error).__name__})"
    return None


def check_end_entity(certificate: x509.Certificate) -> None:
    """Whether a certificate may prove who a peer of IKE is; raises CertificateError.

    Source: RFC 4945 5.1.3.2, 5.1.3.9, 5.1.3.12.
    """
    basic = _extension(certificate, x509.BasicConstraints)
    if basic is not None and basic.ca:
        raise CertificateError(f"{_of(certificate)} is that of a CA, not of a peer")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CertificateError(f"{_of(certificate)} may not sign (key usage)")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and PURPOSES.isdisjoint(purposes):
        raise CertificateError(f"{_of(certificate)} is not for IKE (extended key usage)")
