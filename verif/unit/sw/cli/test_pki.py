"""`holdfast pki`, with OpenSSL's command line as the judge of every file it writes."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sw.cli.output import Exit
from sw.pki.authority import KEY_KINDS
from verif.unit.sw.cli.place import Place, Reply

STATION = "station.example.com"


class Desk:
    """Where commands of the CA are typed."""

    def __init__(self, holdfast: Place, folder: Path) -> None:
        self._holdfast = holdfast
        self.folder = folder
        self.ca = folder / "ca"

    def __call__(self, *words: object) -> Reply:
        return self._holdfast("pki", *map(str, words))

    def good(self, *words: object) -> Reply:
        reply = self(*words)
        assert (reply.code, reply.err) == (Exit.OK, ""), reply
        return reply

    def bad(self, *words: object) -> str:
        """Refused, with nothing done: what is told."""
        before = self.files()
        reply = self(*words)
        assert (reply.code, reply.out) == (Exit.USAGE, ""), reply
        assert self.files() == before
        return reply.err

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in found}

    def init(self, *more: object) -> None:
        self.good("init", self.ca, *more)

    def issue(self, name: str = "s", identity: str = STATION, *more: object) -> Path:
        out = self.folder / f"{name}.crt"
        key = self.folder / f"{name}.key"
        self.good("issue", self.ca, "--identity", identity, "--key-out", key, "--out", out, *more)
        return out

    def openssl(self, *words: object) -> str:
        done = subprocess.run(
            ["openssl", *map(str, words)], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def verify(self, certificate: Path) -> str:
        return self.openssl(
            *("verify", "-x509_strict", "-CAfile", self.ca / "ca.crt", "-CRLfile"),
            *(self.ca / "ca.crl", "-crl_check", certificate),
        )


@pytest.fixture
def desk(holdfast: Place, tmp_path: Path) -> Desk:
    folder = tmp_path / "pki"
    folder.mkdir()
    return Desk(holdfast, folder)


@pytest.mark.parametrize("kind", [*KEY_KINDS])
def test_openssl_takes_what_is_issued(desk: Desk, kind: str) -> None:
    desk.init("--kind", kind)
    certificate = desk.issue("s", STATION, "--kind", kind)
    assert desk.verify(certificate) == f"{certificate}: OK\n"
    text = desk.openssl("x509", "-noout", "-text", "-in", certificate)
    assert "DNS:station.example.com" in text
    assert "CA:FALSE" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in text
    assert "ipsec Internet Key Exchange" in text
    public = desk.openssl("x509", "-noout", "-pubkey", "-in", certificate)
    assert desk.openssl("pkey", "-pubout", "-in", desk.folder / "s.key") == public
    root = desk.openssl("x509", "-noout", "-text", "-in", desk.ca / "ca.crt")
    assert "CA:TRUE, pathlen:0" in root
    assert "Certificate Sign, CRL Sign" in root


@pytest.mark.parametrize(
    ("identity", "words"),
    [
        ("host1.example.com", "DNS:host1.example.com"),
        ("192.0.2.7", "IP Address:192.0.2.7"),
        ("2001:db8::7", "IP Address:2001:DB8:0:0:0:0:0:7"),
        ("agent@example.com", "email:agent@example.com"),
        ("CN=host 1,O=Example", "Subject: O = Example, CN = host 1"),
        ("a" * 60 + ".example.com", "DNS:" + "a" * 60 + ".example.com"),
    ],
)
def test_each_kind_of_identity(desk: Desk, identity: str, words: str) -> None:
    desk.init()
    certificate = desk.issue("s", identity)
    assert words in desk.openssl("x509", "-noout", "-text", "-in", certificate)
    assert desk.verify(certificate) == f"{certificate}: OK\n"


def test_a_request_of_ours_and_its_certificate(desk: Desk) -> None:
    desk.init()
    key, csr, out = (desk.folder / name for name in ("h.key", "h.csr", "h.crt"))
    reply = desk.good("csr", "--identity", "192.0.2.7", "--key", key, "--out", csr, "--json")
    assert reply.value["key_made"] is True
    assert "Certificate request self-signature verify OK" in desk.openssl(
        "req", "-noout", "-verify", "-in", csr
    )
    desk.good("issue", desk.ca, "--identity", "192.0.2.7", "--csr", csr, "--out", out)
    assert desk.verify(out) == f"{out}: OK\n"
    again = desk.folder / "again.csr"
    reply = desk.good("csr", "--identity", "192.0.2.7", "--key", key, "--out", again, "--json")
    assert reply.value["key_made"] is False


def test_a_request_of_openssls(desk: Desk) -> None:
    desk.init()
    key, csr, out = (desk.folder / name for name in ("h.key", "h.csr", "h.crt"))
    desk.openssl(
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr),
        *("-subj", "/CN=whatever"),
    )
    desk.good("issue", desk.ca, "--identity", "host1.example.com", "--csr", csr, "--out", out)
    assert desk.verify(out) == f"{out}: OK\n"
    text = desk.openssl("x509", "-noout", "-text", "-in", out)
    # What is certified is what the CA was told, not what the request says.
    assert "whatever" not in text
    assert "DNS:host1.example.com" in text


def test_requests_that_are_refused(desk: Desk) -> None:
    desk.init()
    key, csr, out = (desk.folder / name for name in ("h.key", "h.csr", "h.crt"))
    desk.good("csr", "--identity", "host1.example.com", "--key", key, "--out", csr)
    words = ("issue", desk.ca, "--out", out, "--csr")
    assert "is for host1.example.com, not for host2.example.com" in desk.bad(
        *words, csr, "--identity", "host2.example.com"
    )
    forged = bytearray(x509.load_pem_x509_csr(csr.read_bytes()).public_bytes(Encoding.DER))
    forged[-1] ^= 1
    der = desk.folder / "forged.der"
    der.write_bytes(forged)
    pem = desk.folder / "forged.csr"
    desk.openssl("req", "-inform", "DER", "-in", der, "-out", pem)
    mine = ("--identity", "host1.example.com")
    assert "the signature of the request" in desk.bad(*words, pem, *mine)
    der.write_text("no request")
    assert "is no certificate signing request" in desk.bad(*words, der, *mine)
    assert "cannot read the request" in desk.bad(*words, desk.folder / "nothing", *mine)
    weak = desk.folder / "weak.csr"
    desk.openssl(
        *("req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", desk.folder / "w.key"),
        *("-out", weak, "-subj", "/CN=w"),
    )
    assert "RSA key of 1024 bits" in desk.bad(*words, weak, *mine)


def test_revoked_by_file_and_by_serial_number(desk: Desk) -> None:
    desk.init()
    one, two, three = (desk.issue(name) for name in ("one", "two", "three"))
    assert desk.verify(one) == f"{one}: OK\n"
    reply = desk.good("revoke", desk.ca, one, "--json")
    serial = x509.load_pem_x509_certificate(two.read_bytes()).serial_number
    two.unlink()
    desk.good("revoke", desk.ca, f"{serial:x}")
    assert "certificate revoked" in desk.verify(one)
    assert "certificate revoked" in desk.verify(desk.ca / f"issued/{serial:040x}.crt")
    assert desk.verify(three) == f"{three}: OK\n"
    assert reply.value["revoked"]["subject"] == f"CN={STATION}"
    text = desk.openssl("crl", "-noout", "-text", "-in", desk.ca / "ca.crl")
    assert "X509v3 CRL Number: \n                3" in text
    assert text.count("Serial Number:") == 2
    assert "is revoked already" in desk.bad("revoke", desk.ca, one)
    # Renewing it leaves them in.
    desk.good("revoke", desk.ca, "--crl-days", "7")
    text = desk.openssl("crl", "-noout", "-text", "-in", desk.ca / "ca.crl")
    assert text.count("Serial Number:") == 2


def test_what_cannot_be_revoked(desk: Desk) -> None:
    desk.init()
    assert "issued no certificate with the serial number 1234" in desk.bad(
        "revoke", desk.ca, "1234"
    )
    other = desk.folder / "other"
    desk.good("init", other)
    out = desk.folder / "o.crt"
    desk.good(
        *("issue", other, "--identity", "a.example", "--out", out),
        *("--key-out", desk.folder / "o.key"),
    )
    assert "is no certificate of the CA in" in desk.bad("revoke", desk.ca, out)
    assert "is no certificate" in desk.bad("revoke", desk.ca, desk.ca / "ca.key")


def test_every_file_is_its_owners_alone(desk: Desk) -> None:
    desk.init()
    desk.issue()
    csr = ("--key", desk.folder / "h.key", "--out", desk.folder / "h.csr")
    desk.good("csr", "--identity", "host1.example.com", *csr)
    desk.good("revoke", desk.ca)
    modes = {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in desk.folder.rglob("*")
        if path != desk.folder
    }
    assert len(modes) == 10
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_nothing_is_written_over(desk: Desk) -> None:
    desk.init()
    certificate = desk.issue()
    assert "is not empty" in desk.bad("init", desk.ca)
    more = ("--identity", STATION, "--out", certificate)
    assert "is there already" in desk.bad(
        "issue", desk.ca, *more, "--key-out", desk.folder / "new.key"
    )
    assert "is there already" in desk.bad(
        *("issue", desk.ca, "--identity", STATION, "--out", desk.folder / "new.crt"),
        *("--key-out", desk.folder / "s.key"),
    )
    assert "is there already" in desk.bad(
        *("csr", "--identity", STATION, "--key", desk.folder / "n.key", "--out", certificate)
    )


def test_a_ca_key_that_others_may_use_is_refused(desk: Desk) -> None:
    desk.init()
    (desk.ca / "ca.key").chmod(0o640)
    assert "chmod 0600" in desk.bad("revoke", desk.ca)


def test_arguments_that_make_no_sense(desk: Desk) -> None:
    out = ("--out", desk.folder / "x", "--key-out", desk.folder / "k")
    assert "there is no CA in" in desk.bad("issue", desk.folder, "--identity", STATION, *out)
    assert "there is no CA in" in desk.bad("revoke", desk.folder / "nowhere")
    assert "is no name of a CA" in desk.bad("init", desk.ca / "a", "--name", "x" * 65)
    desk.init()
    assert "is no identity" in desk.bad("issue", desk.ca, "--identity", "", *out)
    assert "is no identity" in desk.bad("issue", desk.ca, "--identity", "a b", *out)
    assert "is no distinguished name" in desk.bad("issue", desk.ca, "--identity", "x=", *out)
    assert "is no number of days" in desk.bad(
        "issue", desk.ca, "--identity", STATION, *out, "--days", "0"
    )
    assert "one of the arguments" in desk.bad(
        "issue", desk.ca, "--identity", STATION, "--out", desk.folder / "x"
    )


def test_a_certificate_ends_with_its_ca(desk: Desk) -> None:
    desk.init("--days", "3")
    certificate = desk.issue("s", STATION, "--days", "30")
    both = [
        x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
        for path in (certificate, desk.ca / "ca.crt")
    ]
    assert both[0] == both[1]
