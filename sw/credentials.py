"""The certificates that a table of the configuration names, ready for IKE."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sw.config import AgentConfig, StationConfig
from sw.config_values import ConfigError
from sw.identity import parse_identity
from sw.ike.certificates import ANCHORS_MAX, Certificates, check_chain, check_identity
from sw.pki.files import CrlFile, read_certificates, read_private_key
from sw.pki.path import PATH_MAX, CertificateError, check_end_entity


def load_certificates(config: StationConfig | AgentConfig) -> Certificates | None:
    """What the keys `certificate_file` and those beside it name; None without them.

    Raises ConfigError, also for a certificate that no peer would take.
    """
    if not config.certificate_file:
        return None
    own = Path(config.certificate_file)
    key = read_private_key(Path(config.private_key_file))
    chain = read_certificates(own, "the certificate", PATH_MAX)
    anchors = read_certificates(Path(config.ca_file), "the CA certificate", ANCHORS_MAX)
    if key.public_key() != chain[0].public_key():
        raise ConfigError(
            f"the private key {config.private_key_file} is not that of the first certificate in "
            f"{own}; name the two that belong together"
        )
    identity = parse_identity(config.identity)
    try:
        check_chain(chain)
        check_end_entity(chain[0])
        check_identity(chain[0], identity.id_type, identity.data)
    except CertificateError as error:
        raise ConfigError(
            f"{own} cannot prove that we are {config.identity}: {error}; have one issued: "
            f"holdfast pki issue --identity {config.identity}"
        ) from error
    return Certificates(
        key=key,
        chain=chain,
        anchors=anchors,
        crls=CrlFile(Path(config.crl_file)) if config.crl_file else _no_crls,
        clock=lambda: datetime.now(UTC),
        pss=config.rsa_padding == "pss",
    )


def _no_crls() -> None:
    """Revocation is not looked at."""
