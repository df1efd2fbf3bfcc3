"""The configuration file of station and agent: TOML, every key known, documented and checked.

A file has a table `[station]`, a table `[agent]`, or both; `[agent]` may have tables
`[[agent.other_stations]]`. docs/config.md lists every key; it is
written from the fields below by `python -m sw.config`, and a test holds it to them.
"""

from __future__ import annotations

import dataclasses
import sys
import tomllib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from spec.headers import PORT_ESP_IN_UDP, PORT_RMCP_CLEAR, PORT_RMCP_SECURED
from spec.host import HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN, ClearPort
from spec.pet import HEARTBEAT_S_MAX, PORT_SNMP_TRAP
from spec.rmcp import OEM_ENTERPRISE_DEFAULT, Role
from spec.sa import CONTEXTS
from spec.suites import Suite
from sw.config_values import ConfigError, allowed, mac_octets, parse_table, unknown
from sw.identity import parse_identity
from sw.ike.config import IkePolicy
from sw.ike.constants import IKE_PORT, Group
from sw.ike.secret import Secret
from sw.ike.suites import IkeSuite
from sw.private_file import read_private

__all__ = [
    "ADDITIONAL_NAMES",
    "CLEAR_PORT_NAMES",
    "GROUP_NAMES",
    "IKE_SUITE_NAMES",
    "LOG_LEVELS",
    "NIC_STORE_NAMES",
    "ROLE_NAMES",
    "SUITE_NAMES",
    "AgentConfig",
    "ConfigError",
    "ServedStation",
    "StationConfig",
    "ike_policy",
    "load_agent",
    "load_station",
    "mac_octets",
    "read_psk",
]

SUITE_NAMES = {
    "aes-gcm-256": Suite.ESP_AES_GCM_16_256,
    "aes-gcm-128": Suite.ESP_AES_GCM_16_128,
    "aes-cbc-256-hmac-sha-256": Suite.ESP_AES_CBC_256_HMAC_SHA_256_128,
    "aes-cbc-128-hmac-sha-256": Suite.ESP_AES_CBC_128_HMAC_SHA_256_128,
    "null-hmac-sha-256": Suite.ESP_NULL_HMAC_SHA_256_128,
    "null-aes-gmac-256": Suite.ESP_NULL_AES_GMAC_256,
    "null-aes-gmac-128": Suite.ESP_NULL_AES_GMAC_128,
}
IKE_SUITE_NAMES = {suite.value: suite for suite in IkeSuite}
GROUP_NAMES = {
    "x25519": Group.X25519,
    "x448": Group.X448,
    "p256": Group.P256,
    "p384": Group.P384,
    "p521": Group.P521,
    "modp2048": Group.MODP_2048,
    "modp3072": Group.MODP_3072,
    "modp4096": Group.MODP_4096,
}
ADDITIONAL_NAMES = {
    "ml-kem-768": Group.ML_KEM_768,
    "ml-kem-1024": Group.ML_KEM_1024,
    "none": Group.NONE,
}
CLEAR_PORT_NAMES = {what.name.lower(): what for what in ClearPort}
NIC_STORE_NAMES = ("nothing", "configuration", "sas")
ROLE_NAMES = {role.name.lower(): role for role in Role}
LOG_LEVELS = ("debug", "info", "warning", "error")
PSK_MIN_OCTETS = 16
PSK_FILE_MAX_OCTETS = 4096

_T = TypeVar("_T")


def _key(
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    kind: str = "",
    table: type[Any] | None = None,
) -> Any:
    """A field of a table: default, one sentence, limits, what kind of text, or tables, it is."""
    metadata = {
        "doc": doc,
        "low": low,
        "high": high,
        "choices": choices,
        "kind": kind,
        "table": table,
    }
    if default is dataclasses.MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


REQUIRED: Any = dataclasses.MISSING
_NULL = "Those of `null` authenticate and do not encrypt: whoever is on the way can read."
_IKE_SUITES = tuple(suite.value for suite in IkePolicy().suites)


def _additional(what: str) -> Any:
    return _key(
        ("ml-kem-768", "none"),
        f"Post-quantum key exchange {what} beside that of `groups`, preferred first; `none`: also "
        "without.",
        choices=(*ADDITIONAL_NAMES,),
    )


def _port(default: int, doc: str) -> Any:
    return _key(default, doc, low=1, high=65535)


_GIVEN_UP = "gives the SA up, unless it is the last that worked"


def _limit(what: str, then: str) -> Any:
    return _key(
        0,
        f"{what} sent or received under one SA, each way for itself, at which this comes of it; "
        f"0: none. {then}.",
        low=0,
        high=(1 << 63) - 1,
    )


def _certificate_file() -> Any:
    return _key(
        "",
        "File with our certificate, and after it those between it and the CA, in PEM. With it, "
        "private_key_file and ca_file.",
        kind="optional path",
    )


def _private_key_file() -> Any:
    return _key(
        "", "File with the private key of that certificate, mode 0600.", kind="optional path"
    )


def _ca_file() -> Any:
    return _key(
        "",
        "File with the CAs that the peers' certificates may come from, in PEM.",
        kind="optional path",
    )


def _crl_file() -> Any:
    return _key(
        "",
        "File with the CRL of each CA above a peer; read again when it changes. With it a peer is "
        "refused whose CA has no CRL in it that is valid now; without it nothing counts as "
        "revoked.",
        kind="optional path",
    )


def _rsa_padding() -> Any:
    return _key(
        "pss",
        "How an RSA key of ours signs: `pkcs1` for peers that know no PSS.",
        choices=("pss", "pkcs1"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StationConfig:
    """Table `[station]`."""

    identity: str = _key(
        REQUIRED,
        "Who the station is in IKE: a host name, `name@domain`, an IP address, or a distinguished "
        "name as `CN=host,O=Example`.",
        kind="identity",
    )
    address: str = _key(
        REQUIRED, "The station's own IPv4 address, that hosts know it by.", kind="ipv4"
    )
    store: str = _key(
        "/var/lib/holdfast/station.db", "SQLite file that keeps hosts and SAs.", kind="path"
    )
    key_file: str = _key(
        "/var/lib/holdfast/station.key",
        "Key that seals the secrets in the store; made by the first run, mode 0600.",
        kind="path",
    )
    certificate_file: str = _certificate_file()
    private_key_file: str = _private_key_file()
    ca_file: str = _ca_file()
    crl_file: str = _crl_file()
    rsa_padding: str = _rsa_padding()
    control_socket: str = _key(
        "/run/holdfast/station.sock",
        "Unix socket by which the commands reach the running station.",
        kind="path",
    )
    refresh_period_s: float = _key(
        3600.0, "Time between two refreshes of an SA, in seconds.", low=0.1, high=31_536_000.0
    )
    poll_period_s: float = _key(
        5.0, "Time between two looks at a host's state, in seconds.", low=0.05, high=3600.0
    )
    exchange_retry_s: float = _key(
        10.0,
        "Wait after a key exchange that failed, in seconds; doubles up to the refresh period.",
        low=0.05,
        high=3600.0,
    )
    ready_timeout_s: float = _key(
        30.0,
        "How long the agent may take to load an SA into the NIC, in seconds.",
        low=0.1,
        high=3600.0,
    )
    encapsulation: str = _key(
        "raw",
        "How ESP travels: `raw` (IP protocol 50), or `udp` (UDP port 4500, RFC 3948).",
        choices=("raw", "udp"),
    )
    suites: tuple[str, ...] = _key(
        ("aes-gcm-256", "aes-gcm-128"),
        f"Suites of ESP offered, each as a whole, preferred first. {_NULL}",
        choices=(*SUITE_NAMES,),
    )
    ike_suites: tuple[str, ...] = _key(
        _IKE_SUITES,
        "Suites of IKE itself that are offered, each as a whole, preferred first.",
        choices=(*IKE_SUITE_NAMES,),
    )
    groups: tuple[str, ...] = _key(
        ("x25519", "p256"), "Diffie-Hellman groups, preferred first.", choices=(*GROUP_NAMES,)
    )
    additional_key_exchange: tuple[str, ...] = _additional("offered")
    esn: bool = _key(True, "Offer extended (64 bit) sequence numbers.")
    enterprise: int = _key(
        OEM_ENTERPRISE_DEFAULT,
        "Enterprise number of Holdfast's own RMCP messages; the same as in the agent.",
        low=1,
        high=0xFFFF_FFFF,
    )
    ike_port: int = _port(IKE_PORT, "UDP port of IKE, here and at the hosts.")
    natt_port: int = _port(
        PORT_ESP_IN_UDP, "UDP port of IKE behind NAT and of ESP in UDP, here and at the hosts."
    )
    rmcp_port: int = _port(
        PORT_RMCP_SECURED, "Source port of RMCP inside ESP; not 162, the port of alerts."
    )
    clear_port: int = _port(PORT_RMCP_CLEAR, "UDP port at the hosts for presence in clear.")
    reserve_block: int = _key(
        4096,
        "ESP sequence numbers reserved in the store at a time.",
        low=16,
        high=1 << 24,
    )
    ike_retransmit_s: float = _key(
        0.5, "First wait before an IKE request is sent again, in seconds.", low=0.01, high=60.0
    )
    ike_sends: int = _key(
        5,
        "How often an IKE request is sent before the host's OS is taken for down.",
        low=1,
        high=20,
    )
    rmcp_retransmit_s: float = _key(
        0.3, "First wait before an RMCP request is sent again, in seconds.", low=0.01, high=60.0
    )
    rmcp_sends: int = _key(
        5, "How often an RMCP request is sent before the host counts as silent.", low=1, high=20
    )
    log_level: str = _key("info", "What is logged.", choices=LOG_LEVELS)


PSK_DOC = (
    f"File with the pre-shared key, mode 0600, at least {PSK_MIN_OCTETS} octets; white space at "
    "its ends does not count. Without it, the station and we prove ourselves by certificate."
)
ROLE_DOC = (
    "What the station may do: an `administrator` may send boot options as well. With "
    "station_authorised none becomes one beside or after an operator whose SA worked, until the "
    "NIC is zeroised."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedStation:
    """Table `[[agent.other_stations]]`: a station beside the first, with SAs of its own."""

    identity: str = _key(REQUIRED, "Who the station is in IKE.", kind="identity")
    psk_file: str = _key("", PSK_DOC, kind="optional path")
    context: int = _key(
        REQUIRED,
        "Context of the NIC that is the station's own; the first station has 0. Not to be given to "
        "another one until the NIC is zeroised or loses its power: its SA that worked stays there.",
        low=1,
        high=CONTEXTS - 1,
    )
    role: str = _key("operator", ROLE_DOC, choices=(*ROLE_NAMES,))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Table `[agent]`."""

    identity: str = _key(
        REQUIRED,
        "Who the host is in IKE: a host name, `name@domain`, an IP address, or a distinguished "
        "name as `CN=host,O=Example`.",
        kind="identity",
    )
    station_identity: str = _key(REQUIRED, "Who the station is in IKE.", kind="identity")
    psk_file: str = _key("", PSK_DOC, kind="optional path")
    certificate_file: str = _certificate_file()
    private_key_file: str = _private_key_file()
    ca_file: str = _ca_file()
    crl_file: str = _crl_file()
    rsa_padding: str = _rsa_padding()
    address: str = _key(REQUIRED, "The host's IPv4 address, that the NIC answers for.", kind="ipv4")
    mac: str = _key(REQUIRED, "The host's MAC address, as `02:00:00:00:00:01`.", kind="mac")
    nic_socket: str = _key("", "Register socket of a virtual board.", kind="optional path")
    nic_serial: str = _key("", "Serial line of a board's register bridge.", kind="optional path")
    suites: tuple[str, ...] = _key(
        ("aes-gcm-256", "aes-gcm-128"),
        "Suites of ESP accepted, each as a whole, preferred first where the station leaves the "
        f"choice; those the NIC has not are left out. {_NULL}",
        choices=(*SUITE_NAMES,),
    )
    ike_suites: tuple[str, ...] = _key(
        _IKE_SUITES,
        "Suites of IKE itself that are accepted, each as a whole, preferred first.",
        choices=(*IKE_SUITE_NAMES,),
    )
    groups: tuple[str, ...] = _key(
        ("x25519", "p256"), "Diffie-Hellman groups, preferred first.", choices=(*GROUP_NAMES,)
    )
    additional_key_exchange: tuple[str, ...] = _additional("accepted")
    heartbeat_s: float = _key(1.0, "Time between two heartbeats, in seconds.", low=0.01, high=300.0)
    heartbeat_window_s: float = _key(
        5.0,
        "Silence after which the NIC takes the OS for hung, in seconds; longer than heartbeat_s.",
        low=HEARTBEAT_MS_MIN / 1000,
        high=HEARTBEAT_MS_MAX / 1000,
    )
    busy_timeout_s: float = _key(
        15.0,
        "How long to try again while no bank of the NIC is free, in seconds.",
        low=0.0,
        high=3600.0,
    )
    station_authorised: bool = _key(
        True,
        "Nothing but the station's Commit replaces an SA that worked. The NIC keeps this, once "
        "set, until it is zeroised or loses its power.",
    )
    role: str = _key("operator", ROLE_DOC, choices=(*ROLE_NAMES,))
    soft_packets: int = _limit("Packets", "The NIC tells of it, in its log and by an alert")
    soft_octets: int = _limit("Octets", "The NIC tells of it likewise")
    hard_packets: int = _limit("Packets", f"The NIC tells of it likewise, and {_GIVEN_UP}")
    hard_octets: int = _limit("Octets", f"The NIC tells of it likewise, and {_GIVEN_UP}")
    clear_off: bool = _key(False, "The NIC's clear port answers nothing. Kept likewise.")
    clear_port: str = _key(
        "discovery",
        "What the NIC's clear port answers while the OS is down and no SA has worked. `everything` "
        "takes power commands of whoever can reach it.",
        choices=(*CLEAR_PORT_NAMES,),
    )
    clear_after_s: int = _key(
        0,
        "Seconds without a word of any station after which the clear port is open though an SA has "
        "worked; 0: never.",
        low=0,
        high=65535,
    )
    lock_settings: bool = _key(
        False,
        "Addresses, enterprise number, clear port and alerts cannot be changed in the NIC, once "
        "told, until it is zeroised or loses its power; but alerts can still be turned on.",
    )
    nic_store: str = _key(
        "nothing",
        "What the NIC keeps in its flash over a loss of power, where it has one: `configuration` "
        "is policy, addresses and clear port, so that none of them ends with the power; `sas` is "
        "that and the SAs that worked, with their keys as they are. Kept until the NIC is "
        "zeroised.",
        choices=NIC_STORE_NAMES,
    )
    alerts: bool = _key(
        True, "The NIC sends alerts to the stations, under their SAs. Once on, until power-off."
    )
    alerts_clear: bool = _key(
        False, "Alerts in clear too, to a station under whose context no SA is proven any more."
    )
    alert_heartbeat_s: int = _key(
        60,
        "Time between two alerts that say only that the NIC is there, in seconds; 0: none.",
        low=0,
        high=HEARTBEAT_S_MAX,
    )
    enterprise: int = _key(
        OEM_ENTERPRISE_DEFAULT,
        "Enterprise number of Holdfast's own RMCP messages; the same as in the station.",
        low=1,
        high=0xFFFF_FFFF,
    )
    ike_port: int = _port(IKE_PORT, "UDP port of IKE.")
    natt_port: int = _port(PORT_ESP_IN_UDP, "UDP port of IKE behind NAT.")
    ike_retransmit_s: float = _key(
        0.5, "First wait before an IKE request is sent again, in seconds.", low=0.01, high=60.0
    )
    ike_sends: int = _key(
        5, "How often an IKE request is sent before the station is taken for dead.", low=1, high=20
    )
    log_level: str = _key("info", "What is logged.", choices=LOG_LEVELS)
    other_stations: tuple[ServedStation, ...] = _key(
        (), "Further stations, each with SAs of its own.", table=ServedStation
    )

    @property
    def stations(self) -> tuple[ServedStation, ...]:
        """All stations; the first one has context 0."""
        first = ServedStation(
            identity=self.station_identity, psk_file=self.psk_file, context=0, role=self.role
        )
        return (first, *self.other_stations)


TABLES: dict[str, type[StationConfig] | type[AgentConfig]] = {
    "station": StationConfig,
    "agent": AgentConfig,
}


def load_station(path: str | Path) -> StationConfig:
    """Read table `[station]`; raises ConfigError."""
    config = _load(Path(path), "station", StationConfig)
    _check_ports(config, "station", path)
    if config.rmcp_port == PORT_SNMP_TRAP:
        raise ConfigError(
            f"{path}: station.rmcp_port is {PORT_SNMP_TRAP}, where the NICs send their alerts; "
            "choose another"
        )
    _check_certificates(config, "station", path)
    return config


def load_agent(path: str | Path) -> AgentConfig:
    """Read table `[agent]`; raises ConfigError."""
    config = _load(Path(path), "agent", AgentConfig)
    _check_ports(config, "agent", path)
    if bool(config.nic_socket) == bool(config.nic_serial):
        raise ConfigError(
            f"{path}: agent: name the way to the NIC by one of the keys nic_socket and nic_serial"
        )
    if config.heartbeat_window_s <= config.heartbeat_s:
        raise ConfigError(
            f"{path}: agent.heartbeat_window_s is {config.heartbeat_window_s:g}; it must be longer "
            f"than agent.heartbeat_s ({config.heartbeat_s:g}), at best several times as long"
        )
    _check_certificates(config, "agent", path)
    _check_stations(config, path)
    return config


def _check_certificates(config: StationConfig | AgentConfig, table: str, path: str | Path) -> None:
    """Certificate, key and CA come together, or not at all."""
    three = ("certificate_file", "private_key_file", "ca_file")
    given = [name for name in (*three, "crl_file") if getattr(config, name)]
    missing = [name for name in three if not getattr(config, name)]
    if given and missing:
        raise ConfigError(
            f"{path}: {table}.{given[0]} is given, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not; certificates need {', '.join(three)}"
        )


def _check_stations(config: AgentConfig, path: str | Path) -> None:
    identities = [parse_identity(station.identity) for station in config.stations]
    contexts = [station.context for station in config.stations]
    if not config.certificate_file:
        for number, station in enumerate(config.stations):
            if not station.psk_file:
                where = f"agent.other_stations[{number}]" if number else "agent"
                raise ConfigError(
                    f"{path}: {where}: say how {station.identity} proves itself: give psk_file, or "
                    "agent.certificate_file, agent.private_key_file and agent.ca_file"
                )
    for number, station in enumerate(config.other_stations, start=1):
        where = f"{path}: agent.other_stations[{number}]"
        if identities[number] in identities[:number]:
            raise ConfigError(
                f"{where}.identity: {station.identity} is the identity of a station before it; "
                "each station has its own"
            )
        if station.context in contexts[:number]:
            free = sorted(set(range(CONTEXTS)) - set(contexts))
            raise ConfigError(
                f"{where}.context: {station.context} is the context of a station before it; give "
                + (f"one that is free: {', '.join(map(str, free))}" if free else "each its own")
            )


def _load(path: Path, table: str, kind: type[_T]) -> _T:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {error.strerror or error}; name one that can "
            "be read with --config FILE"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no TOML: {error}; see docs/config.md") from error
    for name in document:
        if name not in TABLES:
            raise ConfigError(
                f"{path}: unknown table or key {unknown(name, TABLES)} There are only the tables "
                f"{' and '.join(f'[{known}]' for known in TABLES)}"
            )
    values = document.get(table)
    if not isinstance(values, dict):
        raise ConfigError(f"{path} has no table [{table}]; write one as docs/config.md shows")
    return parse_table(values, table, kind, path)


def _check_ports(config: StationConfig | AgentConfig, table: str, path: str | Path) -> None:
    if config.ike_port == config.natt_port:
        raise ConfigError(
            f"{path}: {table}.natt_port is {config.natt_port}, as {table}.ike_port is; "
            "they must be two ports"
        )


def ike_policy(config: StationConfig | AgentConfig) -> IkePolicy:
    """How IKE itself is protected."""
    return IkePolicy(
        suites=tuple(IKE_SUITE_NAMES[name] for name in config.ike_suites),
        groups=tuple(GROUP_NAMES[name] for name in config.groups),
        additional=tuple(ADDITIONAL_NAMES[name] for name in config.additional_key_exchange),
    )


def read_psk(path: str | Path) -> Secret:
    """The pre-shared key in a private file (`sw.private_file`); raises ConfigError."""
    octets = read_private(Path(path), "the pre-shared key", PSK_FILE_MAX_OCTETS)
    octets = octets.strip()
    if len(octets) < PSK_MIN_OCTETS:
        raise ConfigError(
            f"the pre-shared key {path} has {len(octets)} octets; it needs {PSK_MIN_OCTETS} at "
            f"least: type: (umask 077; head -c 32 /dev/urandom | base64 > {path})"
        )
    return Secret(octets)


def document_tables() -> str:
    """The tables of docs/config.md, between its marks."""
    lines = []
    for table, kind in TABLES.items():
        lines += _document_table(f"[{table}]", kind)
        for entry in dataclasses.fields(kind):
            if entry.metadata["table"] is not None:
                lines += _document_table(f"[[{table}.{entry.name}]]", entry.metadata["table"])
    return "\n".join(lines)


def _document_table(title: str, kind: type[Any]) -> list[str]:
    hints = typing.get_type_hints(kind)
    lines = [
        f"## `{title}`",
        "",
        "| key | default | allowed | meaning |",
        "|---|---|---|---|",
    ]
    for entry in dataclasses.fields(kind):
        if entry.default is dataclasses.MISSING:
            default = "*required*"
        elif isinstance(entry.default, bool):
            default = f"`{str(entry.default).lower()}`"
        elif isinstance(entry.default, tuple):
            default = "`[" + ", ".join(f'"{part}"' for part in entry.default) + "]`"
        elif isinstance(entry.default, str):
            default = f'`"{entry.default}"`'
        else:
            default = f"`{entry.default}`"
        takes = allowed(hints[entry.name], entry.metadata)
        lines.append(f"| `{entry.name}` | {default} | {takes} | {entry.metadata['doc']} |")
    return [*lines, ""]


MARKS = ("<!-- keys: written by python -m sw.config -->", "<!-- end of keys -->")


def update_document(path: Path) -> None:
    """Put today's tables between the marks of the document."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n{document_tables()}{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    update_document(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/config.md"))
