"""Names in certificates: when two are the same, and which lie under a constraint.

Source: RFC 5280 4.2.1.10, 7.1.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

X509_ERRORS = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What `cryptography` raises over octets that are no good certificate, name, request or CRL."""
CanonicalName = tuple[frozenset[tuple[str, str | bytes]], ...]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """While octets of a stranger's are parsed: no warning of `cryptography` reaches the log."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def canonical(name: x509.Name) -> CanonicalName:
    """A distinguished name in the form that two equal ones share.

    Case, the kind of string and runs of white space do not count.
    """
    return tuple(
        frozenset((part.oid.dotted_string, _folded(part.value)) for part in rdn)
        for rdn in name.rdns
    )


def _folded(value: str | bytes) -> str | bytes:
    return " ".join(value.split()).casefold() if isinstance(value, str) else value


def subject_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """All names that a certificate is for, the subject among them (RFC 5280 6.1.3 b, c)."""
    names: list[x509.GeneralName] = []
    if certificate.subject.rdns:
        names.append(x509.DirectoryName(certificate.subject))
    alternative = alternative_names(certificate)
    if not any(isinstance(name, x509.RFC822Name) for name in alternative):
        for part in certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            try:
                names.append(x509.RFC822Name(str(part.value)))
            except ValueError:
                continue  # no address, and so under no constraint on addresses
    return names + alternative


def alternative_names(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """The names in subjectAltName; none without that extension."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return list(extension.value)


def _dns_under(name: str, constraint: str) -> bool:
    name, constraint = name.lower().rstrip("."), constraint.lower().rstrip(".")
    if constraint.startswith("."):
        return name.endswith(constraint)
    return not constraint or name == constraint or name.endswith("." + constraint)


def _mail_under(address: str, constraint: str) -> bool:
    local, _, domain = address.rpartition("@")
    if "@" in constraint:
        its_local, _, its_domain = constraint.rpartition("@")
        return local == its_local and domain.lower() == its_domain.lower()
    if constraint.startswith("."):
        return domain.lower().endswith(constraint.lower())
    return domain.lower() == constraint.lower()


def _under(name: x509.GeneralName, constraint: x509.GeneralName) -> bool:
    match name, constraint:
        case x509.DNSName(), x509.DNSName():
            return _dns_under(name.value, constraint.value)
        case x509.RFC822Name(), x509.RFC822Name():
            return _mail_under(name.value, constraint.value)
        case x509.IPAddress(), x509.IPAddress():
            # A constraint is a network; what is in a certificate is an address.
            inside, network = name.value, constraint.value
            return (
                isinstance(inside, IPv4Address | IPv6Address)
                and isinstance(network, IPv4Network | IPv6Network)
                and inside in network
            )
        case x509.DirectoryName(), x509.DirectoryName():
            inner, outer = canonical(name.value), canonical(constraint.value)
            return inner[: len(outer)] == outer
    raise TypeError("names of two kinds")


_CONSTRAINABLE = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.DirectoryName)


@dataclass(slots=True)
class NameConstraints:
    """The constraints of all CAs above a certificate, gathered on the way down."""

    permitted: list[list[x509.GeneralName]] = field(default_factory=list)
    """One list a CA: a name must lie under one of each list that has constraints of its kind."""
    excluded: list[x509.GeneralName] = field(default_factory=list)

    def add(self, extension: x509.NameConstraints) -> None:
        """Take in what one CA says."""
        self.permitted.append(list(extension.permitted_subtrees or ()))
        self.excluded += extension.excluded_subtrees or ()

    def offender(self, names: Iterable[x509.GeneralName]) -> x509.GeneralName | None:
        """The first name that they do not allow.

        A name of a kind that is constrained but not compared here is not allowed.
        """
        for name in names:
            same = [limit for limit in self.excluded if type(limit) is type(name)]
            groups = [
                [limit for limit in group if type(limit) is type(name)] for group in self.permitted
            ]
            groups = [group for group in groups if group]
            if not same and not groups:
                continue
            if not isinstance(name, _CONSTRAINABLE):
                return name
            if any(_under(name, limit) for limit in same):
                return name
            if not all(any(_under(name, limit) for limit in group) for group in groups):
                return name
        return None
