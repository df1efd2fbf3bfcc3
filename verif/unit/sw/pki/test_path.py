"""Paths that an attacker may send: loops, long ones, CAs that are none, lists that are not good.

OpenSSL's own verdict stands beside each of ours.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from sw.pki import path as path_module
from sw.pki.path import (
    CHECKS_MAX,
    PATH_MAX,
    CertificateError,
    Trust,
    check_end_entity,
    shown,
    verify_path,
)
from verif.unit.sw.pki.ca import (
    CA,
    CA_USAGE,
    DAY,
    END,
    KEYS,
    WHEN,
    Made,
    crl,
    key_of,
    make,
    names,
    usage,
)

ROOT = make("Root", None)
LEAF_NAMES = names("host.example.com")


def _ca(length: int | None = None, *more: x509.ExtensionType) -> tuple[x509.ExtensionType, ...]:
    return (x509.BasicConstraints(ca=True, path_length=length), CA_USAGE, *more)


def _leaf(issuer: Made, *more: x509.ExtensionType, subject: str = "leaf", **how) -> Made:
    return make(subject, issuer, (*END, *(more or (LEAF_NAMES,))), **how)


def verdict(
    leaf: Made,
    others: Sequence[Made] = (),
    root: Made = ROOT,
    crls: Sequence[x509.CertificateRevocationList] | None = None,
) -> str:
    """Why a path is bad; nothing if it is good."""
    lists = None if crls is None else tuple(crls)
    trust = Trust((root.certificate,), lists)
    try:
        found = verify_path(leaf.certificate, [one.certificate for one in others], trust, WHEN)
    except CertificateError as error:
        return str(error)
    assert found[0] == leaf.certificate
    assert found[-1] == root.certificate
    return ""


def openssl(
    folder: Path,
    leaf: Made,
    others: Sequence[Made] = (),
    root: Made = ROOT,
    crls: Sequence[x509.CertificateRevocationList] | None = None,
) -> bool:
    """Whether `openssl verify` takes it."""
    at = str(int(WHEN.timestamp()))
    words = ["openssl", "verify", "-attime", at, "-no-CApath", "-no-CAstore"]
    (folder / "root").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    (folder / "leaf").write_bytes(leaf.certificate.public_bytes(Encoding.PEM))
    pem = b"".join(one.certificate.public_bytes(Encoding.PEM) for one in others)
    (folder / "others").write_bytes(pem)
    words += ["-CAfile", str(folder / "root")]
    if others:
        words += ["-untrusted", str(folder / "others")]
    if crls is not None:
        (folder / "crls").write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in crls))
        words += ["-crl_check_all", "-CRLfile", str(folder / "crls")]
    done = subprocess.run(
        [*words, str(folder / "leaf")], capture_output=True, text=True, check=False
    )
    return done.returncode == 0


def _chain(depth: int, length: int | None = None) -> tuple[Made, list[Made]]:
    """A leaf below `depth` CAs below the root."""
    above, others = ROOT, []
    for number in range(depth):
        above = make(f"Sub {number}", above, _ca(length))
        others.append(above)
    return _leaf(above), others


def _constrained(constraint: x509.NameConstraints, *leaf_names: x509.GeneralName, subject="leaf"):
    sub = make("Sub", ROOT, _ca(None, constraint))
    alternative = x509.SubjectAlternativeName(leaf_names)
    return _leaf(sub, alternative, subject=subject), [sub]


def _permitted(*trees: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=trees, excluded_subtrees=None)


def _excluded(*trees: x509.GeneralName) -> x509.NameConstraints:
    return x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=trees)


def _loop() -> tuple[Made, list[Made]]:
    """Two CAs that certify each other, and no way out."""
    one_key, two_key = KEYS["p256"](), KEYS["p256"]()
    one = make("One", None, key=one_key)
    two = make("Two", one, key=two_key)
    one_by_two = make("One", two, key=one_key)
    return _leaf(two), [two, one_by_two]


def _with(extensions: Sequence[x509.ExtensionType]) -> tuple[Made, list[Made]]:
    sub = make("Sub", ROOT, extensions)
    return _leaf(sub), [sub]


def _bare_ca() -> tuple[Made, list[Made]]:
    sub = make("Sub", ROOT, END)
    return _leaf(sub), [sub]


def _path_length() -> tuple[Made, list[Made]]:
    first = make("Sub 0", ROOT, _ca(0))
    second = make("Sub 1", first, _ca())
    return _leaf(second), [first, second]


DNS, IP, MAIL = x509.DNSName, x509.IPAddress, x509.RFC822Name
NET = ip_network("192.0.2.0/24")
GOOD: dict[str, Callable[[], tuple[Made, list[Made]]]] = {
    "of the root": lambda: (_leaf(ROOT), []),
    "below a CA": lambda: _chain(1),
    "as long as allowed": lambda: _chain(PATH_MAX - 2),
    "path length kept": lambda: _chain(1, 0),
    "permitted name": lambda: _constrained(_permitted(DNS("example.com")), DNS("a.example.com")),
    "permitted address": lambda: _constrained(_permitted(IP(NET)), IP(NET[7])),
    "permitted mail": lambda: _constrained(_permitted(MAIL("example.com")), MAIL("a@example.com")),
    "name of another kind": lambda: _constrained(_permitted(IP(NET)), DNS("a.example.org")),
    "not excluded": lambda: _constrained(_excluded(DNS("example.org")), DNS("a.example.com")),
    "unknown extension that is not critical": lambda: (
        make("leaf", ROOT, (*END, LEAF_NAMES, x509.TLSFeature([x509.TLSFeatureType(5)]))),
        [],
    ),
}
BAD: dict[str, tuple[Callable[[], tuple[Made, list[Made]]], str]] = {
    "a loop": (_loop, "is from no configured CA"),
    "too long": (lambda: _chain(PATH_MAX - 1), "longer than 8"),
    "a CA missing between": (lambda: (_chain(2)[0], []), "is from no configured CA"),
    "a peer as CA": (_bare_ca, "not that of a CA"),
    "no basic constraints": (lambda: _with((CA_USAGE,)), "not that of a CA"),
    "CA flag without the key usage": (
        lambda: _with((CA[0], END[1])),
        "may not sign certificates",
    ),
    "path length exceeded": (_path_length, "deeper than a CA above it allows"),
    "CA expired": (lambda: _dated(until=WHEN - DAY), "has expired"),
    "CA not yet valid": (lambda: _dated(since=WHEN + DAY), "is not valid before"),
    "peer expired": (lambda: (_leaf(ROOT, until=WHEN - DAY), []), "has expired"),
    "peer not yet valid": (lambda: (_leaf(ROOT, since=WHEN + DAY), []), "is not valid before"),
    "signed by itself": (lambda: (make("leaf", None, END), []), "is from no configured CA"),
    "another key of the same name": (
        lambda: (_leaf(make("Root", None)), []),
        "is from no configured CA",
    ),
    "name not permitted": (
        lambda: _constrained(_permitted(DNS("example.com")), DNS("a.example.org")),
        "may not certify",
    ),
    "name that only ends alike": (
        lambda: _constrained(_permitted(DNS("example.com")), DNS("badexample.com")),
        "may not certify",
    ),
    "one of two names not permitted": (
        lambda: _constrained(
            _permitted(DNS("example.com")), DNS("a.example.com"), DNS("a.example.org")
        ),
        "may not certify",
    ),
    "name excluded": (
        lambda: _constrained(_excluded(DNS("example.com")), DNS("a.example.com")),
        "may not certify",
    ),
    "address not permitted": (
        lambda: _constrained(_permitted(IP(NET)), IP(ip_network("198.51.100.0/24")[1])),
        "may not certify",
    ),
    "mail not permitted": (
        lambda: _constrained(_permitted(MAIL("example.com")), MAIL("a@example.org")),
        "may not certify",
    ),
    "critical extension that is not understood": (
        lambda: (
            make(
                "leaf",
                ROOT,
                (
                    *END,
                    x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.32473.1"), b"x"),
                ),
            ),
            [],
        ),
        "critical extension",
    ),
}


def _dated(**how) -> tuple[Made, list[Made]]:
    sub = make("Sub", ROOT, **how)
    return _leaf(sub), [sub]


@pytest.mark.parametrize("case", [*GOOD])
def test_good_paths_and_openssl_agrees(case: str, tmp_path: Path) -> None:
    leaf, others = GOOD[case]()
    assert verdict(leaf, others) == ""
    assert verdict(leaf, others[::-1]) == ""
    assert openssl(tmp_path, leaf, others)


@pytest.mark.parametrize("case", [*BAD])
def test_bad_paths_and_openssl_agrees(case: str, tmp_path: Path) -> None:
    build, words = BAD[case]
    leaf, others = build()
    assert words in verdict(leaf, others)
    # OpenSSL has no such bound by default.
    if case != "too long":
        assert not openssl(tmp_path, leaf, others)


@pytest.mark.parametrize("kind", [*KEYS])
def test_each_kind_of_ca_key(kind: str) -> None:
    root = make("Root", None, key=key_of(kind))
    assert verdict(_leaf(root), root=root) == ""
    if kind == "rsa":
        assert verdict(_leaf(root, pss=True), root=root) == ""
    stranger = make("Root", None, key=key_of(kind, 1))
    assert "from no configured CA" in verdict(_leaf(stranger), root=root)


WEAK = {
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
    "another curve": lambda: ec.generate_private_key(ec.SECP256K1()),
    "Ed448": ed448.Ed448PrivateKey.generate,
}


@pytest.mark.parametrize("kind", [*WEAK])
def test_keys_that_are_not_taken(kind: str) -> None:
    assert "key" in verdict(_leaf(ROOT, key=WEAK[kind]()))


def test_hashes_that_are_not_taken() -> None:
    root = make("Root", None, key=key_of("rsa"))
    leaf = make("leaf", root, END, key=key_of("p256"))
    assert verdict(leaf, root=root) == ""
    for digest in (hashes.SHA224(), hashes.SHA3_256()):
        odd = make("leaf", root, END, key=key_of("p256"), digest=digest)
        assert "from no configured CA" in verdict(odd, root=root)


def test_many_cas_of_one_name_cost_a_bounded_number_of_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks = 0
    signed = path_module._signed

    def count(*args) -> bool:
        nonlocal checks
        checks += 1
        return signed(*args)

    monkeypatch.setattr(path_module, "_signed", count)
    # Every CA certifies every other one of the same name and key.
    key = key_of("p256", 7)
    web = [make("Web", None, key=key) for _ in range(PATH_MAX)]
    leaf = _leaf(web[0])
    began = time.process_time()
    assert "too many paths" in verdict(leaf, web)
    assert checks <= CHECKS_MAX
    assert time.process_time() - began < 2


def test_a_second_way_is_found_when_the_first_leads_nowhere() -> None:
    """A CA that has expired, and the same CA with a new certificate."""
    key = KEYS["p256"]()
    old = make("Sub", ROOT, key=key, until=WHEN - DAY)
    new = make("Sub", ROOT, key=key)
    assert verdict(_leaf(new), [old, new]) == ""


def test_the_cas_own_certificate_is_checked_too() -> None:
    expired = make("Root", None, until=WHEN - DAY)
    assert "has expired" in verdict(_leaf(expired), root=expired)
    none = make("Root", None, END)
    assert "not that of a CA" in verdict(_leaf(none), root=none)


# --- revocation -----------------------------------------------------------------------------------


def test_every_certificate_below_the_root_needs_a_list(tmp_path: Path) -> None:
    leaf, (sub,) = _chain(1)
    both = [crl(ROOT), crl(sub)]
    assert verdict(leaf, [sub], crls=both) == ""
    assert openssl(tmp_path, leaf, [sub], crls=both)
    assert "no list of its issuer" in verdict(leaf, [sub], crls=both[:1])
    assert "no list of its issuer" in verdict(leaf, [sub], crls=both[1:])
    assert "no list of its issuer" in verdict(leaf, [sub], crls=[])
    assert not openssl(tmp_path, leaf, [sub], crls=both[:1])


@pytest.mark.parametrize("which", ["leaf", "sub"])
def test_revoked(which: str, tmp_path: Path) -> None:
    leaf, (sub,) = _chain(1)
    lists = [
        crl(ROOT, [sub.certificate] if which == "sub" else []),
        crl(sub, [leaf.certificate] if which == "leaf" else []),
    ]
    assert "was revoked on" in verdict(leaf, [sub], crls=lists)
    assert not openssl(tmp_path, leaf, [sub], crls=lists)
    # One good list beside it does not help.
    assert "was revoked on" in verdict(leaf, [sub], crls=[crl(ROOT), crl(sub), *lists])


def test_lists_that_count_for_nothing() -> None:
    leaf = _leaf(ROOT)
    other = make("Root", None)
    partial = x509.IssuingDistributionPoint(None, None, True, False, None, False, False)
    cases = [
        (crl(ROOT, since=WHEN - 9 * DAY, until=WHEN - DAY), "the list has expired"),
        (crl(ROOT, since=WHEN + timedelta(hours=1), until=WHEN + DAY), "not valid before"),
        (crl(ROOT, signer=other.key), "signature is wrong"),
        (crl(ROOT, extensions=[partial]), "not understood"),
    ]
    for one, words in cases:
        assert words in verdict(leaf, crls=[one])
        assert verdict(leaf, crls=[one, crl(ROOT)]) == ""


def test_a_ca_that_may_not_sign_lists() -> None:
    root = make("Root", None, (CA[0], usage(key_cert_sign=True)))
    leaf = _leaf(root)
    assert verdict(leaf, root=root) == ""
    assert "may not sign lists" in verdict(leaf, root=root, crls=[crl(root)])


# --- the peer's own certificate -------------------------------------------------------------------


@pytest.mark.parametrize(
    "purpose",
    [
        ExtendedKeyUsageOID.IPSEC_IKE,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ],
)
def test_rfc4945_5_1_3_12_purposes(purpose: x509.ObjectIdentifier) -> None:
    check_end_entity(_leaf(ROOT, x509.ExtendedKeyUsage([purpose])).certificate)


def test_without_key_usage_it_may_sign() -> None:
    check_end_entity(make("leaf", ROOT, ()).certificate)


def test_a_name_for_people_is_short_and_on_one_line() -> None:
    nasty = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a\nb" + "x" * 60)] * 4)
    assert "\n" not in shown(nasty)
    assert len(shown(nasty)) < 130
