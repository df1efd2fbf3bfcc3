"""Our end, and certificates for both, by the files that a user has: `holdfast pki`, TOML."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sw.agent import service as agent
from sw.config import load_agent, load_station
from sw.credentials import load_certificates
from sw.identity import parse_identity
from sw.ike import EndpointConfig, Peer
from sw.station import exchanges as station
from verif.interop.credentials import OUR_NAME, THEIR_NAME
from verif.interop.guest import OURS
from verif.interop.strongswan import StrongSwan

__all__ = ["CERTIFIED", "issue", "our_end", "their_end"]

CERTIFIED = """\
certificate_file = "{folder}/ours.crt"
private_key_file = "{folder}/ours.key"
ca_file = "{folder}/ca/ca.crt"
crl_file = "{folder}/ca/ca.crl"
"""
"""The keys of certificates in a configuration."""
COMMON = (
    """identity = "{name}"
address = "{address}"
"""
    + CERTIFIED
)
AGENT = """station_identity = "{peer}"
mac = "02:00:00:00:00:07"
nic_socket = "{folder}/registers"
"""


def _holdfast(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "sw.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def issue(folder: Path) -> None:
    """A CA, and a certificate for each end."""
    ca = str(folder / "ca")
    _holdfast("pki", "init", ca, "--name", "Interop CA")
    for name, file in ((OUR_NAME, "ours"), (THEIR_NAME, "theirs")):
        out = ("--out", str(folder / f"{file}.crt"), "--key-out", str(folder / f"{file}.key"))
        _holdfast("pki", "issue", ca, "--identity", name, *out)


def our_end(folder: Path, *, as_station: bool) -> tuple[EndpointConfig, Peer]:
    """The endpoint and the peer of a station's configuration, or of an agent's."""
    issue(folder)
    file = folder / "holdfast.toml"
    common = COMMON.format(name=OUR_NAME, address=OURS, folder=folder)
    if not as_station:
        file.write_text("[agent]\n" + common + AGENT.format(peer=THEIR_NAME, folder=folder))
        config = load_agent(file)
        (peer,) = agent.station_peers(config)
        return agent.endpoint_config(config), peer
    file.write_text("[station]\n" + common)
    of_station = load_station(file)
    peer = Peer(
        identity=parse_identity(THEIR_NAME),
        local_identity=parse_identity(of_station.identity),
        psk=None,
        child=station.child_policy(of_station),
        certificates=load_certificates(of_station),
    )
    return station.endpoint_config(of_station), peer


def their_end(folder: Path) -> Callable[[StrongSwan], dict[str, Any]]:
    """What loads their certificate and key, and gives what their `local` section needs."""

    def load(strongswan: StrongSwan) -> dict[str, Any]:
        ca, own = (
            x509.load_pem_x509_certificate((folder / name).read_bytes())
            for name in ("ca/ca.crt", "theirs.crt")
        )
        key = load_pem_private_key((folder / "theirs.key").read_bytes(), None)
        strongswan.trust(ca.public_bytes(Encoding.DER))
        strongswan.private_key(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
        return {"certs": [own.public_bytes(Encoding.DER)]}

    return load
