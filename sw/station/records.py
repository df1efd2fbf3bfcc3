"""What the store holds, as values, and its tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

from spec.suites import Suite
from sw.ike.secret import Secret
from sw.station.commit_words import Sa

SCHEMA_VERSION = 1

METADATA = MetaData()
META = Table(
    "meta",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
HOSTS = Table(
    "hosts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(253), nullable=False, unique=True),
    Column("address", String(15), nullable=False, unique=True),
    Column("identity", String(255), nullable=False, unique=True),
    Column("psk", LargeBinary, nullable=False),
    Column("last_generation", Integer, nullable=False),
    Column("rmcp_reserved", Integer, nullable=False),
    Column("power_numbers", String, nullable=False),
    Column("refresh_last", Float),
    Column("refresh_count", Integer, nullable=False),
    Column("last_state", Integer),
    # An id that was given back would make sealed rows of a removed host fit another one.
    sqlite_autoincrement=True,
)
SAS = Table(
    "sas",
    METADATA,
    Column("host_id", ForeignKey("hosts.id", ondelete="CASCADE"), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("spi_in", String(8), nullable=False, unique=True),
    Column("spi_out", String(8), nullable=False),
    Column("suite", Integer, nullable=False),
    Column("esn", Boolean, nullable=False),
    Column("encap_udp", Boolean, nullable=False),
    Column("local_ip", String(15), nullable=False),
    Column("peer_ip", String(15), nullable=False),
    Column("local_port", Integer, nullable=False),
    Column("peer_port", Integer, nullable=False),
    Column("keys", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
    Column("proven_at", Float),
    Column("used", Boolean, nullable=False),
    # 64-bit numbers as 16 hexadecimal digits: a database's integers have a sign.
    Column("tx_reserved", String(16), nullable=False),
    Column("rx_edge", String(16), nullable=False),
)


@dataclass(frozen=True, slots=True)
class HostRecord:
    """A managed host.

    Parameters
    ----------
    id : int
        Never given twice.
    name, address, identity
        For people, for IP and for IKE.
    psk : Secret
        Pre-shared key; empty for a host that proves itself by certificate.
    rmcp_reserved : int
        RMCP numbers below this ordinal may have been used.
    power_numbers : dict of int to int
        Tag of the last power command by its RMCP sequence number, as the NIC remembers it.
    refresh_last : float or None
        When an SA was last proven, in seconds of Unix time.
    refresh_count : int
        How many SAs were proven.
    last_state : int or None
        spec.host.HostState last seen.
    """

    id: int
    name: str
    address: IPv4Address
    identity: str
    psk: Secret = field(repr=False)
    rmcp_reserved: int = 0
    power_numbers: dict[int, int] = field(default_factory=dict)
    refresh_last: float | None = None
    refresh_count: int = 0
    last_state: int | None = None

    @property
    def by_certificate(self) -> bool:
        """Whether host and station prove themselves by certificate, not by pre-shared key."""
        return not len(self.psk)


@dataclass(frozen=True, slots=True)
class SaKeys:
    """Keys of both directions, as long as the suite says: of the cipher, its salt, of the HMAC.

    "in" is from the NIC to the station.
    """

    key_in: Secret
    salt_in: Secret
    key_out: Secret
    salt_out: Secret
    auth_in: Secret = field(default_factory=lambda: Secret(b""))
    auth_out: Secret = field(default_factory=lambda: Secret(b""))


@dataclass(frozen=True, slots=True)
class SaRecord:
    """An SA with all that sending and receiving under it takes.

    Parameters
    ----------
    generation : int
        Counts up per host, never given twice.
    spi_in, spi_out : int
        `spi_out` is the NIC's inbound SPI.
    local_port, peer_port : int
        UDP ports where ESP travels in UDP.
    used, proven_at
        Whether a packet may have been sent under it; when it was proven, if it was.
    tx_reserved : int
        Sequence numbers up to this one may have been used.
    rx_edge : int
        Numbers up to this one were received, or are taken as received.
    """

    generation: int
    spi_in: int
    spi_out: int
    suite: Suite
    esn: bool
    encap_udp: bool
    local_ip: IPv4Address
    peer_ip: IPv4Address
    local_port: int
    peer_port: int
    keys: SaKeys = field(repr=False)
    created: float = 0.0
    proven_at: float | None = None
    used: bool = False
    tx_reserved: int = 0
    rx_edge: int = 0

    @property
    def view(self) -> Sa:
        """What the commit machine knows of it."""
        used = self.used or self.tx_reserved > 0
        return Sa(self.generation, self.spi_out, used, self.proven_at is not None)
