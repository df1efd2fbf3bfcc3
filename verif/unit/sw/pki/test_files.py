"""Keys, certificates and CRLs in files: each fault names the file, and nothing of a key."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sw.config import ConfigError
from sw.pki.files import (
    KEY_FILE_OCTETS_MAX,
    CrlFile,
    read_certificates,
    read_crls,
    read_private_key,
)
from sw.pki.path import CertificateError
from verif.unit.sw.pki.ca import KEYS, WHEN, crl, key_of, make

ROOT = make("Root", None)


def _key_file(folder: Path, octets: bytes) -> Path:
    path = folder / "key"
    path.write_bytes(octets)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("kind", [*KEYS])
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_each_kind_of_key(kind: str, encoding: Encoding, tmp_path: Path) -> None:
    key = key_of(kind)
    octets = key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())
    assert read_private_key(_key_file(tmp_path, octets)).public_key() == key.public_key()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_key_that_others_may_use_is_refused(mode: int, tmp_path: Path) -> None:
    octets = key_of("p256").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = _key_file(tmp_path, octets)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}.*type: chmod 0600 {path}"):
        read_private_key(path)


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    key = key_of("p256")
    secret = BestAvailableEncryption(b"pass phrase")
    cases = {
        "is encrypted": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret),
        "holds no private key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "of a kind that is not used": ed448.Ed448PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "longer than": bytes(KEY_FILE_OCTETS_MAX + 1),
        "is of a kind": ec.generate_private_key(ec.SECP256K1()).private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        ),
    }
    for words, octets in cases.items():
        path = _key_file(tmp_path, octets)
        with pytest.raises(ConfigError, match=words) as told:
            read_private_key(path)
        assert str(path) in str(told.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_private_key(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="is no file"):
        read_private_key(tmp_path)


def test_certificates_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    both = [make("one", ROOT).certificate, ROOT.certificate]
    path.write_bytes(b"a line\n".join(one.public_bytes(Encoding.PEM) for one in both))
    assert read_certificates(path, "the certificate", 2) == tuple(both)
    with pytest.raises(ConfigError, match="holds 2 certificates; 1 are the most"):
        read_certificates(path, "the certificate", 1)
    path.write_bytes(both[0].public_bytes(Encoding.DER))
    assert read_certificates(path, "the certificate", 1) == (both[0],)


def test_what_is_no_certificate(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for octets in (b"", b"\x30\x80", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----"):
        path.write_bytes(octets)
        with pytest.raises(ConfigError, match=f"{path} is no certificate"):
            read_certificates(path, "the certificate", 8)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ConfigError, match="is no file"):
        read_certificates(fifo, "the certificate", 8)
    with pytest.raises(ConfigError, match="is not there"):
        read_certificates(tmp_path / "y", "the certificate", 8)


def test_crls_of_several_cas_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "crl"
    lists = [crl(ROOT), crl(make("Other", None))]
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in lists))
    assert read_crls(path) == tuple(lists)
    path.write_bytes(lists[0].public_bytes(Encoding.DER))
    assert read_crls(path) == (lists[0],)
    for octets in (b"", b"no list", ROOT.certificate.public_bytes(Encoding.PEM)):
        path.write_bytes(octets)
        with pytest.raises(ConfigError, match=f"{path} (is|holds) no CRL"):
            read_crls(path)


def test_a_crl_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "crl"
    first, second = crl(ROOT), crl(ROOT, until=WHEN + timedelta(days=9))
    path.write_bytes(first.public_bytes(Encoding.PEM))
    lists = CrlFile(path)
    assert lists() == (first,)
    new = tmp_path / "new"
    new.write_bytes(second.public_bytes(Encoding.PEM))
    new.replace(path)
    assert lists() == (second,)


@pytest.mark.parametrize("how", ["gone", "spoilt"])
def test_a_crl_file_that_goes_bad_lets_nobody_in(how: str, tmp_path: Path) -> None:
    path = tmp_path / "crl"
    good = crl(ROOT).public_bytes(Encoding.PEM)
    path.write_bytes(good)
    lists = CrlFile(path)
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(b"spoilt")
    for _ in range(2):
        with pytest.raises(CertificateError, match=str(path)):
            lists()
    path.write_bytes(good)
    assert len(lists()) == 1


def test_a_crl_file_that_is_not_there_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the CRL"):
        CrlFile(tmp_path / "crl")
