"""NIST's Public Key Interoperability Test Suite: whose certificates are good and whose are not.

The verdict is in the name of each file. Where ours differs, it is stricter, for a reason that is
looked for in the words of the refusal; the one exception hangs on delta lists, which nobody has to
read (RFC 5280 5.2.4).
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography import x509

from sw.pki.path import CertificateError, Trust, verify_path

PKITS = Path(cryptography_vectors.__file__).parent / "x509/PKITS_data"
WHEN = datetime(2020, 1, 1, tzinfo=UTC)
STRICTER = (
    "demands an explicit policy",
    "(2.5.29.33)",  # policy mappings
    "the list is of a kind that is not understood",  # partial, indirect and delta lists
    "there is no list of its issuer",  # of indirect lists
    "the list's signature is wrong",  # a CA that changed its key, and signs lists with the other
    "may not sign lists",  # a CA with a key of its own for lists
    "none of RSA, ECDSA",  # DSA
)
BY_NAME = {
    "ValidURInameConstraintsTest34EE": "a name that a CA above it may not certify",
    "ValidURInameConstraintsTest36EE": "a name that a CA above it may not certify",
    "ValiddeltaCRLTest5EE": "was revoked",
}
NEEDS_DELTA = "InvaliddeltaCRLTest4EE"
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_der_x509_certificate(path.read_bytes())
    except ValueError:
        return None  # inherited DSA parameters


@cache
def _world() -> tuple[list[x509.Certificate], Trust]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = [path for path in (PKITS / "certs").glob("*.crt") if "EE" not in path.stem[-2:]]
        read = (_certificate(path) for path in sorted(paths) if "TrustAnchor" not in path.name)
        others = [one for one in read if one is not None]
        root = _certificate(PKITS / "certs/TrustAnchorRootCertificate.crt")
        assert root is not None
        crls = [
            x509.load_der_x509_crl(path.read_bytes())
            for path in sorted((PKITS / "crls").glob("*.crl"))
        ]
    return others, Trust((root,), tuple(crls))


NAMES = sorted(path.stem for path in (PKITS / "certs").glob("*EE.crt"))


def test_all_of_the_suite_is_there() -> None:
    assert len(NAMES) == 223
    others, trust = _world()
    assert len(others) > 150
    assert trust.crls is not None
    assert len(trust.crls) > 150


def _verdict(certificate: x509.Certificate) -> tuple[list[x509.Certificate] | None, str]:
    """The path, or why there is none."""
    others, trust = _world()
    try:
        return verify_path(certificate, others, trust, WHEN), ""
    except CertificateError as error:
        return None, str(error)


@pytest.mark.parametrize("name", NAMES)
def test_verdict_of_pkits(name: str) -> None:
    certificate = _certificate(PKITS / f"certs/{name}.crt")
    _, trust = _world()
    if certificate is None:
        assert name == "ValidDSAParameterInheritanceTest5EE"
        return
    path, refusal = _verdict(certificate)
    if path is not None:
        assert not name.startswith("Invalid") or name == NEEDS_DELTA
        assert path[0] == certificate
        assert path[-1] in trust.anchors
    elif not name.startswith("Invalid"):
        expected = (BY_NAME[name],) if name in BY_NAME else STRICTER
        assert any(words in refusal for words in expected), (name, refusal)


def test_most_good_ones_are_taken() -> None:
    good = (_certificate(PKITS / f"certs/{one}.crt") for one in NAMES if "Invalid" not in one)
    assert sum(one is not None and _verdict(one)[0] is not None for one in good) >= 40
