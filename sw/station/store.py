"""The station's store: hosts, SAs, and how far numbers were used.

SEC: STATION.RESERVE_BEFORE_USE. What must not come twice on the wire, sequence numbers and RMCP
numbers, is reserved here in blocks before it is used, and never given again.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from spec.host import HostState
from spec.suites import SUITES, Suite
from sw.ike.secret import Secret
from sw.ipsec import ESP_SUITES
from sw.station.database import Database, NoSuchHostError, StoreError, open_database
from sw.station.records import HOSTS, SAS, HostRecord, SaKeys, SaRecord
from sw.station.seal import SealError

_DAMAGED = (AttributeError, OverflowError, TypeError, ValueError)
"""What reading a value raises that was not written here."""


class Store:
    """Hosts and SAs. Each method is one transaction, durable on return.

    Not to be shared between threads.

    Parameters
    ----------
    database : Database
        The open file.
    """

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def restored_copy(self) -> bool:
        """The store was found to be an old copy, and its numbers were moved ahead."""
        return self._db.restored_copy

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._db.close()

    # --- hosts ----------------------------------------------------------------------------------

    def add_host(self, name: str, address: IPv4Address, identity: str, psk: Secret) -> HostRecord:
        """A new host; raises StoreError if name, address or identity is in use."""
        row = {
            "name": name,
            "address": str(address),
            "identity": identity,
            "psk": b"",
            "last_generation": 0,
            "rmcp_reserved": secrets.randbelow(1 << 15),
            "power_numbers": "{}",
            "refresh_count": 0,
        }
        with self._db.begin() as db:
            try:
                key = db.execute(HOSTS.insert().values(row)).inserted_primary_key
            except IntegrityError:
                raise StoreError(
                    f"host {name}: its name, address {address} or identity {identity} belongs to a "
                    "host that is in the store already; type: holdfast host list"
                ) from None
            host_id = int(key[0]) if key is not None else 0
            aad = self._host_aad(host_id, name, str(address), identity)
            sealed = self._db.sealer.seal(psk, aad)
            db.execute(HOSTS.update().where(HOSTS.c.id == host_id).values(psk=sealed))
        return self.host(name)

    def remove_host(self, name: str) -> None:
        """Forget a host and all its SAs."""
        with self._db.begin() as db:
            if not db.execute(HOSTS.delete().where(HOSTS.c.name == name)).rowcount:
                raise NoSuchHostError(_no_host(name))

    def host(self, name: str) -> HostRecord:
        """The host of that name; raises StoreError."""
        with self._db.begin() as db:
            row = db.execute(HOSTS.select().where(HOSTS.c.name == name)).one_or_none()
        if row is None:
            raise NoSuchHostError(_no_host(name))
        return self._host(row)

    def host_names(self) -> list[str]:
        """All names, in alphabetical order."""
        with self._db.begin() as db:
            names = db.scalars(sql.select(HOSTS.c.name).order_by(HOSTS.c.name))
            return [str(name) for name in names]

    def _host(self, row: Any) -> HostRecord:
        try:
            aad = self._host_aad(row.id, row.name, row.address, row.identity)
            return HostRecord(
                id=row.id,
                name=row.name,
                address=IPv4Address(row.address),
                identity=row.identity,
                psk=self._db.sealer.open(row.psk, aad),
                rmcp_reserved=int(row.rmcp_reserved),
                power_numbers={int(k): int(v) for k, v in json.loads(row.power_numbers).items()},
                refresh_last=None if row.refresh_last is None else float(row.refresh_last),
                refresh_count=int(row.refresh_count),
                last_state=None if row.last_state is None else int(HostState(row.last_state)),
            )
        except (SealError, *_DAMAGED) as error:
            raise StoreError(
                f"the record of host {row.name} in {self._db.path} is damaged ({error}); restore "
                "the store from a copy, or remove the host and add it again"
            ) from None

    def set_state(self, host_id: int, state: int) -> None:
        """Remember the state last seen."""
        self._update_host(host_id, last_state=state)

    def reserve_rmcp(self, host_id: int, below: int) -> None:
        """RMCP numbers below this ordinal may be used from now on."""
        with self._db.begin() as db:
            db.execute(HOSTS.update().where(HOSTS.c.id == host_id).values(rmcp_reserved=below))
            marked = self._db.count_reservation(db)
        self._db.write_mark(marked)

    def set_power_numbers(self, host_id: int, numbers: dict[int, int]) -> None:
        """Tags of the last power commands by RMCP sequence number; one is about to be sent."""
        self._update_host(host_id, power_numbers=json.dumps(numbers))

    def _update_host(self, host_id: int, **values: object) -> None:
        with self._db.begin() as db:
            db.execute(HOSTS.update().where(HOSTS.c.id == host_id).values(values))

    # --- SAs ------------------------------------------------------------------------------------

    def next_generation(self, host_id: int) -> int:
        """The number of the next SA; `add_sa` takes it."""
        query = sql.select(HOSTS.c.last_generation).where(HOSTS.c.id == host_id)
        with self._db.begin() as db:
            return int(db.scalars(query).one()) + 1

    def add_sa(self, host_id: int, sa: SaRecord) -> None:
        """Store an SA with its keys, before anything is sent under it."""
        row = {
            "host_id": host_id,
            "generation": sa.generation,
            "spi_in": f"{sa.spi_in:08x}",
            "spi_out": f"{sa.spi_out:08x}",
            "suite": int(sa.suite),
            "esn": sa.esn,
            "encap_udp": sa.encap_udp,
            "local_ip": str(sa.local_ip),
            "peer_ip": str(sa.peer_ip),
            "local_port": sa.local_port,
            "peer_port": sa.peer_port,
            "created": sa.created,
            "proven_at": sa.proven_at,
            "used": sa.used,
            "tx_reserved": f"{sa.tx_reserved:016x}",
            "rx_edge": f"{sa.rx_edge:016x}",
        }
        keys = sa.keys
        parts = (
            keys.key_in,
            keys.salt_in,
            keys.auth_in,
            keys.key_out,
            keys.salt_out,
            keys.auth_out,
        )
        octets = b"".join(part.reveal() for part in parts)
        row["keys"] = self._db.sealer.seal(Secret(octets), self._sa_aad(host_id, sa))
        with self._db.begin() as db:
            db.execute(SAS.insert().values(row))
            db.execute(
                HOSTS.update()
                .where(HOSTS.c.id == host_id)
                .values(last_generation=sql.func.max(HOSTS.c.last_generation, sa.generation))
            )

    def sas(self, host_id: int) -> tuple[list[SaRecord], list[int]]:
        """The SAs of a host, oldest first, and the generations whose records are damaged.

        A damaged record is left as it is: nothing here drops an SA.
        """
        query = SAS.select().where(SAS.c.host_id == host_id).order_by(SAS.c.generation)
        with self._db.begin() as db:
            rows = db.execute(query).all()
        records, damaged = [], []
        for row in rows:
            try:
                records.append(self._sa(host_id, row))
            except (SealError, KeyError, *_DAMAGED):
                damaged.append(int(row.generation))
        return records, damaged

    def _sa(self, host_id: int, row: Any) -> SaRecord:
        suite = Suite(row.suite)
        if suite not in ESP_SUITES:
            raise ValueError("a suite that no packet is protected with here")
        empty = Secret(b"")
        record = SaRecord(
            generation=row.generation,
            spi_in=int(row.spi_in, 16),
            spi_out=int(row.spi_out, 16),
            suite=suite,
            esn=row.esn,
            encap_udp=row.encap_udp,
            local_ip=IPv4Address(row.local_ip),
            peer_ip=IPv4Address(row.peer_ip),
            local_port=row.local_port,
            peer_port=row.peer_port,
            keys=SaKeys(empty, empty, empty, empty),
            created=float(row.created),
            proven_at=None if row.proven_at is None else float(row.proven_at),
            used=row.used,
            tx_reserved=int(row.tx_reserved, 16),
            rx_edge=int(row.rx_edge, 16),
        )
        # Beyond the last number nothing is sent any more; but no window ends there.
        if record.tx_reserved < 0 or not 0 <= record.rx_edge < 1 << (64 if record.esn else 32):
            raise ValueError("numbers out of range")
        octets = self._db.sealer.open(row.keys, self._sa_aad(host_id, record)).reveal()
        facts = SUITES[suite]
        lengths = (facts.key_octets, facts.salt_octets, facts.auth_octets)
        if len(octets) != 2 * sum(lengths):
            raise ValueError("keys of another length than the suite's")
        parts, at = [], 0
        for length in (*lengths, *lengths):
            parts.append(Secret(octets[at : at + length]))
            at += length
        key_in, salt_in, auth_in, key_out, salt_out, auth_out = parts
        keys = SaKeys(key_in, salt_in, key_out, salt_out, auth_in, auth_out)
        return replace(record, keys=keys)

    def mark_used(self, host_id: int, generation: int) -> None:
        """Packets may be sent under this SA from now on."""
        self._update_sa(host_id, generation, used=True)

    def reserve(self, host_id: int, generation: int, count: int) -> int:
        """Reserve `count` more sequence numbers, and give the first of them."""
        where = (SAS.c.host_id == host_id) & (SAS.c.generation == generation)
        with self._db.begin() as db:
            before = db.scalars(sql.select(SAS.c.tx_reserved).where(where)).one_or_none()
            if before is None:
                raise StoreError(f"SA {generation} is no longer in the store: nothing is sent")
            first = int(before, 16) + 1
            reserved = f"{first + count - 1:016x}"
            db.execute(SAS.update().where(where).values(tx_reserved=reserved, used=True))
            marked = self._db.count_reservation(db)
        self._db.write_mark(marked)
        return first

    def set_edge(self, host_id: int, generation: int, edge: int) -> None:
        """Numbers received up to this one."""
        self._update_sa(host_id, generation, rx_edge=f"{edge:016x}")

    def mark_proven(
        self, host_id: int, generation: int, discard: tuple[int, ...], now: float
    ) -> None:
        """This SA worked: in the same transaction the named ones, and all older ones, go."""
        mine = SAS.c.host_id == host_id
        with self._db.begin() as db:
            found = db.execute(
                SAS.update()
                .where(mine & (SAS.c.generation == generation))
                .values(proven_at=now, used=True)
            )
            if found.rowcount != 1:
                raise StoreError(f"SA {generation} is not in the store: none is dropped for it")
            older = SAS.c.generation.in_(discard) | (SAS.c.generation < generation)
            db.execute(SAS.delete().where(mine & older & (SAS.c.generation != generation)))
            db.execute(
                HOSTS.update()
                .where(HOSTS.c.id == host_id)
                .values(refresh_last=now, refresh_count=HOSTS.c.refresh_count + 1)
            )

    def discard(self, host_id: int, generations: tuple[int, ...]) -> None:
        """Drop SAs that the commit machine has found to be useless. Never a proven one."""
        with self._db.begin() as db:
            where = (SAS.c.host_id == host_id) & SAS.c.generation.in_(generations)
            proven = sql.select(SAS.c.generation).where(where & SAS.c.proven_at.is_not(None))
            if db.scalars(proven).first() is not None:
                raise StoreError("a proven SA goes only when a newer one is proven")
            db.execute(SAS.delete().where(where))

    def _update_sa(self, host_id: int, generation: int, **values: object) -> None:
        where = (SAS.c.host_id == host_id) & (SAS.c.generation == generation)
        with self._db.begin() as db:
            db.execute(SAS.update().where(where).values(values))

    def _host_aad(self, host_id: int, name: str, address: str, identity: str) -> bytes:
        return self._db.aad("psk", host_id, name, address, identity)

    def _sa_aad(self, host_id: int, sa: SaRecord) -> bytes:
        return self._db.aad(
            "sa",
            host_id,
            sa.generation,
            sa.spi_in,
            sa.spi_out,
            int(sa.suite),
            sa.esn,
            sa.encap_udp,
            str(sa.local_ip),
            str(sa.peer_ip),
            sa.local_port,
            sa.peer_port,
        )


def _no_host(name: str) -> str:
    return f"there is no host {name}; type: holdfast host list"


def open_store(path: Path, key_file: Path) -> Store:
    """Open the store, or lay out a new one where there is none; raises StoreError.

    The caller holds a `StoreLock`. A key file is made only together with a new store.
    """
    return Store(open_database(path, key_file))
