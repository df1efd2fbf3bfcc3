"""The commands of the CA: `holdfast pki`."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from sw.cli.output import Json, Output
from sw.config import ConfigError
from sw.pki import authority
from sw.pki.authority import CA_CERTIFICATE, CA_CRL, CA_KEY, KEY_KINDS
from sw.pki.files import PrivateKey, read_private_key

CA_DAYS = 3650
DAYS = 730
CRL_DAYS = 90
DAYS_MAX = 36500
KIND = "p256"


def _days(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no number of days from 1 to {DAYS_MAX}")
    return value


def _crl_days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--crl-days",
        metavar="N",
        type=_days,
        default=CRL_DAYS,
        help=f"how long the CRL is valid; renew it in time with pki revoke (default: {CRL_DAYS})",
    )


def _kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind", choices=[*KEY_KINDS], default=KIND, help=f"of a new key (default: {KIND})"
    )


def _identity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--identity",
        required=True,
        help="whom it is for in IKE: a host name, name@domain, IP address or distinguished name",
    )


def _folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of the CA")


def pki_init_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pki init`."""
    _folder(parser)
    parser.add_argument("--name", default="Holdfast CA", help="of the CA (default: Holdfast CA)")
    parser.add_argument(
        "--days", metavar="N", type=_days, default=CA_DAYS, help=f"default: {CA_DAYS}"
    )
    _kind(parser)
    _crl_days(parser)


def pki_csr_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pki csr`."""
    _identity(parser)
    parser.add_argument(
        "--key",
        required=True,
        metavar="FILE",
        type=Path,
        help="private key, mode 0600; made if it is not there",
    )
    parser.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="where the request goes"
    )
    _kind(parser)


def pki_issue_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pki issue`."""
    _folder(parser)
    _identity(parser)
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--csr", metavar="FILE", type=Path, help="to this request")
    key.add_argument("--key-out", metavar="FILE", type=Path, help="with a new key, that goes here")
    parser.add_argument(
        "--out", required=True, metavar="FILE", type=Path, help="where the certificate goes"
    )
    parser.add_argument("--days", metavar="N", type=_days, default=DAYS, help=f"default: {DAYS}")
    _kind(parser)


def pki_revoke_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `pki revoke`."""
    _folder(parser)
    parser.add_argument(
        "certificate",
        metavar="CERTIFICATE",
        nargs="?",
        help="file or serial number; without it, only the CRL is renewed",
    )
    _crl_days(parser)


def _described(certificate: x509.Certificate) -> Json:
    return {
        "subject": certificate.subject.rfc4514_string(),
        "serial": f"{certificate.serial_number:040x}",
        "not_after": certificate.not_valid_after_utc.isoformat(),
    }


def pki_init(arguments: argparse.Namespace, output: Output) -> None:
    """Make a CA."""
    folder = arguments.folder
    certificate = authority.init(
        folder,
        arguments.name,
        arguments.kind,
        arguments.days,
        arguments.crl_days,
        datetime.now(UTC),
    )
    files: Json = {
        "key": str(folder / CA_KEY),
        "certificate": str(folder / CA_CERTIFICATE),
        "crl": str(folder / CA_CRL),
    }
    told = [
        f"the CA is in {folder}; keep {files['key']} to yourself, and bring to both ends "
        f"{files['certificate']} (ca_file) and {files['crl']} (crl_file)"
    ]
    output.result({**files, **_described(certificate)}, told)


def pki_csr(arguments: argparse.Namespace, output: Output) -> None:
    """Make a request."""
    made = not arguments.key.exists()
    if made:
        key = authority.make_key(arguments.key, arguments.kind)
    else:
        key = read_private_key(arguments.key)
    try:
        csr = authority.request(arguments.identity, key, arguments.out)
    except ConfigError:
        if made:
            arguments.key.unlink()
        raise
    result: Json = {
        "key": str(arguments.key),
        "key_made": made,
        "request": str(arguments.out),
        "subject": csr.subject.rfc4514_string(),
    }
    told = f"the request is {arguments.out}; bring it to the CA: holdfast pki issue --csr"
    output.result(result, [told])


def pki_issue(arguments: argparse.Namespace, output: Output) -> None:
    """Issue a certificate."""
    if arguments.csr is not None:
        key: PrivateKey | x509.CertificateSigningRequest = authority.read_request(
            arguments.csr, arguments.identity
        )
    else:
        key = authority.make_key(arguments.key_out, arguments.kind)
    try:
        certificate = authority.issue(
            arguments.folder,
            arguments.identity,
            key,
            arguments.out,
            arguments.days,
            datetime.now(UTC),
        )
    except ConfigError:
        if arguments.key_out is not None:
            arguments.key_out.unlink()
        raise
    result: Json = {"certificate": str(arguments.out), **_described(certificate)}
    if arguments.key_out is not None:
        result["key"] = str(arguments.key_out)
    ends = f"{certificate.not_valid_after_utc:%F}"
    output.result(
        result, [f"the certificate of {arguments.identity} is {arguments.out}, until {ends}"]
    )


def pki_revoke(arguments: argparse.Namespace, output: Output) -> None:
    """Revoke a certificate, or renew the CRL."""
    certificate = authority.revoke(
        arguments.folder, arguments.certificate, arguments.crl_days, datetime.now(UTC)
    )
    crl = str(arguments.folder / CA_CRL)
    result: Json = {"crl": crl, "revoked": _described(certificate) if certificate else None}
    what = f"{certificate.subject.rfc4514_string()} is revoked" if certificate else "renewed"
    output.result(result, [f"{what}; bring {crl} to both ends (crl_file)"])
