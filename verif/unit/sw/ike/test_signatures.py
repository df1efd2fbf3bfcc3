"""Signatures in AUTH: the identifiers as RFC 7427 and RFC 8420 print them, and what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sw.ike.constants import AuthMethod, SignatureHash
from sw.ike.payloads import AuthPayload
from sw.ike.signatures import (
    ALGORITHMS,
    Algorithm,
    SignatureError,
    hash_notify,
    hashes_of,
    identifier_of,
    sign,
    verify,
)
from verif.unit.sw.pki.ca import KEYS, key_of

OCTETS = b"what is signed"
ALL = frozenset(SignatureHash)
PUBLISHED = {
    # RFC 7427 A.1
    ("rsa", 2): "300d06092a864886f70d01010b0500",
    ("rsa", 3): "300d06092a864886f70d01010c0500",
    ("rsa", 4): "300d06092a864886f70d01010d0500",
    # A.3
    ("ecdsa", 2): "300a06082a8648ce3d040302",
    ("ecdsa", 3): "300a06082a8648ce3d040303",
    ("ecdsa", 4): "300a06082a8648ce3d040304",
    # A.4.3
    ("pss", 2): (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
        "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
    ),
    # RFC 8420 A.1
    ("ed25519", 5): "300506032b6570",
}


@pytest.mark.parametrize("which", [*PUBLISHED])
def test_rfc7427_a_identifiers(which: tuple[str, int]) -> None:
    kind, number = which
    algorithm = Algorithm(kind, SignatureHash(number))
    assert identifier_of(algorithm).hex() == PUBLISHED[which]


def test_no_sha1_among_them() -> None:
    """RFC 7427 A.1, A.3.1, A.4.1: what is printed for SHA-1, and for PSS with defaults."""
    for refused in (
        "300d06092a864886f70d0101050500",
        "300906072a8648ce3d0401",
        "300d06092a864886f70d01010a3000",
    ):
        assert bytes.fromhex(refused) not in ALGORITHMS
    assert hash_notify().data.hex() == "0002000300040005"


@pytest.mark.parametrize("kind", [*KEYS])
@pytest.mark.parametrize("peer", [*SignatureHash, None])
@pytest.mark.parametrize("pss", [True, False])
def test_what_is_signed_is_right_and_nothing_else(
    kind: str, peer: SignatureHash | None, pss: bool
) -> None:
    key = key_of(kind)
    try:
        auth = sign(key, OCTETS, None if peer is None else frozenset({peer}), pss=pss)
    except SignatureError:
        assert (kind == "ed25519") != (peer is SignatureHash.IDENTITY)
        return
    assert (kind == "ed25519") == (peer is SignatureHash.IDENTITY)
    verify(key.public_key(), auth, OCTETS)
    for bad in (
        (AuthPayload(auth.method, auth.data), OCTETS + b"x"),
        (AuthPayload(auth.method, auth.data[:-1] + bytes([auth.data[-1] ^ 1])), OCTETS),
        (AuthPayload(auth.method, auth.data[:-1]), OCTETS),
        (AuthPayload(auth.method, auth.data + b"\0"), OCTETS),
        (AuthPayload(auth.method, b""), OCTETS),
    ):
        with pytest.raises(SignatureError):
            verify(key.public_key(), *bad)
    with pytest.raises(SignatureError, match="wrong"):
        verify(key_of(kind, 1).public_key(), auth, OCTETS)


@pytest.mark.parametrize("kind", [*KEYS])
@pytest.mark.parametrize("other", [*KEYS])
def test_a_signature_fits_its_kind_of_key(kind: str, other: str) -> None:
    auth = sign(key_of(kind), OCTETS, ALL, pss=True)
    if kind != other:
        with pytest.raises(SignatureError):
            verify(key_of(other).public_key(), auth, OCTETS)


@pytest.mark.parametrize(
    ("kind", "number"), [("p256", 2), ("p384", 3), ("p521", 4), ("rsa", 2), ("ed25519", 5)]
)
def test_the_hash_is_as_strong_as_the_key(kind: str, number: int) -> None:
    auth = sign(key_of(kind), OCTETS, ALL | {1, 77}, pss=True)
    identifier = auth.data[1 : 1 + auth.data[0]]
    assert ALGORITHMS[identifier].hash == number


def test_sha1_is_not_taken_by_the_method_of_old() -> None:
    signature = key_of("rsa").sign(OCTETS, padding.PKCS1v15(), hashes.SHA1())
    with pytest.raises(SignatureError, match="made with SHA-1"):
        verify(key_of("rsa").public_key(), AuthPayload(AuthMethod.RSA, signature), OCTETS)
    for good in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512()):
        signature = key_of("rsa").sign(OCTETS, padding.PKCS1v15(), good)
        verify(key_of("rsa").public_key(), AuthPayload(AuthMethod.RSA, signature), OCTETS)


def test_rfc4754_the_method_of_old_is_bound_to_its_curve() -> None:
    auth = sign(key_of("p256"), OCTETS, None, pss=True)
    assert len(auth.data) == 64
    assert len(sign(key_of("p384"), OCTETS, None, pss=True).data) == 96
    assert len(sign(key_of("p521"), OCTETS, None, pss=True).data) == 132
    with pytest.raises(SignatureError, match="another kind"):
        verify(key_of("p256").public_key(), AuthPayload(AuthMethod.ECDSA_P384, auth.data), OCTETS)
    der = key_of("p256").sign(OCTETS, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(SignatureError, match="another kind"):
        verify(key_of("p256").public_key(), AuthPayload(AuthMethod.ECDSA_P256, der), OCTETS)


def test_zeros_are_no_signature() -> None:
    with pytest.raises(SignatureError):
        verify(key_of("p256").public_key(), AuthPayload(AuthMethod.ECDSA_P256, bytes(64)), OCTETS)


@pytest.mark.parametrize(("kind", "pss"), [("rsa", True), ("rsa", False), ("p256", True)])
def test_openssl_takes_our_signature(kind: str, pss: bool, tmp_path: Path) -> None:
    key = key_of(kind)
    auth = sign(key, OCTETS, ALL, pss=pss)
    signature = auth.data[1 + auth.data[0] :]
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, data in (("key", public), ("sig", signature), ("data", OCTETS)):
        (tmp_path / name).write_bytes(data)
    options = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", str(tmp_path / "key")]
        + ["-signature", str(tmp_path / "sig")]
        + (options if kind == "rsa" and pss else [])
        + [str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "Verified OK\n"


@given(st.sampled_from([*KEYS]), st.integers(0, 255), st.binary(max_size=300))
def test_any_octets_are_refused_in_words(kind: str, method: int, data: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(key_of(kind).public_key(), AuthPayload(method, data), OCTETS)


@given(st.binary(max_size=100))
def test_any_notification_is_read(data: bytes) -> None:
    notify = hash_notify()
    found = hashes_of([type(notify)(notify.notify, data)])
    assert found is not None
    assert len(found) <= (len(data) + 1) // 2
