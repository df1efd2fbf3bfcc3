"""A store in a folder, ways to spoil it, and what hypothesis draws for its records."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from spec.suites import SUITES, Suite
from sw.ike.secret import Secret
from sw.ipsec import ESP_SUITES
from sw.station.records import HostRecord, SaKeys, SaRecord
from sw.station.store import Store, open_store

PSK = Secret(b"PSK-PSK-PSK-PSK-PSK")
AES_256 = Suite.ESP_AES_GCM_16_256


@dataclass(frozen=True)
class Shelf:
    """Where a store and its key lie."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "station.db"

    @property
    def key_file(self) -> Path:
        return self.folder / "station.key"

    @property
    def mark(self) -> Path:
        return self.folder / "station.key.mark"

    def open(self) -> Store:
        return open_store(self.path, self.key_file)

    def sql(self, statement: str, *values: object) -> None:
        """Spoil the file behind the program's back."""
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(statement, values)

    def spoil(self, table: str, column: str, where: str, value: object, what: str = "?") -> None:
        """Put a value into a column of some rows."""
        self.sql(" ".join(["UPDATE", table, "SET", column, "=", what, "WHERE", where]), value)

    def octets(self) -> bytes:
        """All that lies in the store's files."""
        files = sorted(self.folder.glob("station.db*"))
        return b"".join(file.read_bytes() for file in files)


def add_host(store: Store, name: str = "host") -> HostRecord:
    """A host whose address and identity follow from the name."""
    number = sum(name.encode()) % 250
    return store.add_host(name, IPv4Address(f"192.0.2.{number}"), f"{name}.example", PSK)


def keys_of(suite: Suite, octet: bytes = b"K") -> SaKeys:
    facts = SUITES[suite]
    key, salt = octet * facts.key_octets, octet * facts.salt_octets
    auth = octet * facts.auth_octets
    return SaKeys(Secret(key), Secret(salt), Secret(key), Secret(salt), Secret(auth), Secret(auth))


def sa_record(generation: int = 1, spi: int = 0x1000, **values: Any) -> SaRecord:
    """An SA as it comes from a key exchange; `values` in place of its own."""
    record: dict[str, Any] = {
        "generation": generation,
        "spi_in": spi + generation,
        "spi_out": spi + 0x1000 + generation,
        "suite": AES_256,
        "esn": True,
        "encap_udp": False,
        "local_ip": IPv4Address("192.0.2.1"),
        "peer_ip": IPv4Address("192.0.2.10"),
        "local_port": 500,
        "peer_port": 500,
        "keys": keys_of(AES_256),
        "created": 1.0e9,
        **values,
    }
    return SaRecord(**record)


_ADDRESSES = st.integers(0, (1 << 32) - 1).map(IPv4Address)
_PORTS = st.integers(0, 0xFFFF)
_TIMES = st.floats(0, 4e9)


@st.composite
def sa_records(draw: st.DrawFn) -> SaRecord:
    """Any SA that the station can hold."""
    suite = draw(st.sampled_from(ESP_SUITES))
    facts = SUITES[suite]
    key = st.binary(min_size=facts.key_octets, max_size=facts.key_octets).map(Secret)
    salt = st.binary(min_size=facts.salt_octets, max_size=facts.salt_octets).map(Secret)
    auth = st.binary(min_size=facts.auth_octets, max_size=facts.auth_octets).map(Secret)
    esn = draw(st.booleans())
    last = (1 << (64 if esn else 32)) - 1
    return SaRecord(
        generation=draw(st.integers(1, 1 << 40)),
        spi_in=draw(st.integers(256, (1 << 32) - 1)),
        spi_out=draw(st.integers(256, (1 << 32) - 1)),
        suite=suite,
        esn=esn,
        encap_udp=draw(st.booleans()),
        local_ip=draw(_ADDRESSES),
        peer_ip=draw(_ADDRESSES),
        local_port=draw(_PORTS),
        peer_port=draw(_PORTS),
        keys=SaKeys(draw(key), draw(salt), draw(key), draw(salt), draw(auth), draw(auth)),
        created=draw(_TIMES),
        proven_at=draw(st.none() | _TIMES),
        used=draw(st.booleans()),
        tx_reserved=draw(st.integers(0, last)),
        rx_edge=draw(st.integers(0, last)),
    )
