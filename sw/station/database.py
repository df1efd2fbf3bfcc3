"""The file of the station's store: lock, schema version, sealing key, and the mark.

Every transaction is durable when it ends (SQLite, write-ahead log, synchronous FULL), and none is
seen in part, the one that lays out the tables included. The mark, a file beside the key, counts
reservations of numbers: a store that is behind it is an old copy that was put back, and its
numbers are moved ahead of whatever was used since.

SEC: STATION.ONE_SENDER. Whoever sends under the SAs of a store holds its lock.
SEC: STATION.RESTORED_COPY. No number that was used after an old copy was made comes again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from sw.ike.secret import Secret
from sw.station.records import HOSTS, META, METADATA, SAS, SCHEMA_VERSION
from sw.station.seal import Sealer, SealError, create_key_file, load_key_file, sync_directory

RESTORE_JUMP_ESN = 1 << 31
"""How far an old copy's sequence numbers are moved: further than anything sent since, and near
enough for the receiver to infer the high half (RFC 4303 A2.2)."""
RESTORE_JUMP = 1 << 24
"""The same without ESN."""
KEY_CHECK = b"holdfast station store"


class StoreError(Exception):
    """The store cannot be used, or refuses. The text says what to do, and has no secret in it."""


class NoSuchHostError(StoreError):
    """No host of that name."""


class StoreBusyError(StoreError):
    """Another process works with the store."""


class StoreLock:
    """Keeps every other process from using the same SAs, and so the same sequence numbers.

    Parameters
    ----------
    store : Path
        The store's file; the lock lies beside it.
    wait_s : float
        How long to wait for it.
    """

    def __init__(self, store: Path, wait_s: float = 0.0) -> None:
        path = store.with_name(store.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror or error}") from error
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(self._fd)
                    raise StoreBusyError(
                        f"another process uses the store {store}; only one may, for no sequence "
                        "number must be used twice"
                    ) from None
                time.sleep(0.05)
            except OSError as error:
                os.close(self._fd)
                raise StoreError(f"cannot lock {path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Let others in."""
        os.close(self._fd)

    def __enter__(self) -> StoreLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Database:
    """An open store file. Not to be shared between threads; `StoreLock` keeps processes apart.

    Attributes
    ----------
    sealer : Sealer
        Seals what is secret in it.
    path : Path
        The file.
    restored_copy : bool
        It was found to be an old copy, and its numbers were moved ahead.
    """

    def __init__(self, engine: Engine, sealer: Sealer, mark: Path, path: Path) -> None:
        self._engine = engine
        self.sealer = sealer
        self._mark = mark
        self.path = path
        self._id = b""
        self.restored_copy = False

    def close(self) -> None:
        """Close the file; harmless when repeated."""
        self._engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction; whatever SQLite finds wrong raises StoreError."""
        try:
            with self._engine.begin() as db:
                yield db
        except (SQLAlchemyError, UnicodeDecodeError) as error:
            # Only the driver's own words: SQLAlchemy's text would show the parameters.
            words = str(getattr(error, "orig", None) or type(error).__name__)
            raise StoreError(
                f"the store {self.path} failed: {words}; if the file is damaged, restore it from "
                "a copy: nothing in it was dropped"
            ) from None

    def aad(self, *parts: object) -> bytes:
        """What a sealed value is bound to: this store, and `parts`."""
        return self._id + json.dumps(parts).encode()

    def count_reservation(self, db: Connection) -> int:
        """One more reservation, within its transaction; `write_mark` follows it."""
        count = self._count(db) + 1
        self._set_meta(db, "reservations", count.to_bytes(8, "big"))
        return count

    @staticmethod
    def _meta(db: Connection, name: str) -> bytes | None:
        return db.scalars(sql.select(META.c.value).where(META.c.name == name)).one_or_none()

    @staticmethod
    def _set_meta(db: Connection, name: str, value: bytes) -> None:
        if not db.execute(META.update().where(META.c.name == name).values(value=value)).rowcount:
            db.execute(META.insert().values(name=name, value=value))

    def _count(self, db: Connection) -> int:
        return int.from_bytes(self._meta(db, "reservations") or b"", "big")

    def create(self) -> None:
        """Lay out an empty store, in one transaction: killed before its end, there is none."""
        with self.begin() as db:
            METADATA.create_all(db)
            self._id = secrets.token_bytes(16)
            self._set_meta(db, "schema", str(SCHEMA_VERSION).encode())
            self._set_meta(db, "store_id", self._id)
            sealed = self.sealer.seal(Secret(KEY_CHECK), self.aad("check"))
            self._set_meta(db, "key_check", sealed)

    @property
    def empty(self) -> bool:
        """Whether no table was ever laid out in the file."""
        with self.begin() as db:
            return not sql.inspect(db).get_table_names()

    def check(self, key_file: Path) -> None:
        """Whether this is a store of ours, of this version, and sealed with this key."""
        with self.begin() as db:
            if not {"meta", "hosts", "sas"} <= set(sql.inspect(db).get_table_names()):
                raise StoreError(f"{self.path} is no station store; name another with `store`")
            schema = self._meta(db, "schema")
            if schema != str(SCHEMA_VERSION).encode():
                found = (schema or b"?")[:16].decode(errors="replace")
                raise StoreError(
                    f"the store {self.path} has schema version {found}, this program works with "
                    f"{SCHEMA_VERSION}; use the release that wrote it, or another store"
                )
            self._id = self._meta(db, "store_id") or b""
            sealed = self._meta(db, "key_check") or b""
            count = self._count(db)
        try:
            self.sealer.open(sealed, self.aad("check"))
        except SealError:
            raise StoreError(
                f"the key file {key_file} does not fit the store {self.path}: it is another "
                "store's key; name the right one with `key_file`"
            ) from None
        if count < self._read_mark():
            self._move_ahead()

    def _move_ahead(self) -> None:
        """An old copy was put back: no number used since may come again."""
        mark = self._read_mark()
        with self.begin() as db:
            for row in db.execute(SAS.select()).all():
                jump = RESTORE_JUMP_ESN if row.esn else RESTORE_JUMP
                try:
                    moved = int(row.tx_reserved, 16) + jump
                except (TypeError, ValueError):
                    continue  # damaged: nothing is ever sent under it
                db.execute(
                    SAS.update()
                    .where((SAS.c.host_id == row.host_id) & (SAS.c.generation == row.generation))
                    .values(tx_reserved=f"{moved:016x}", used=True)
                )
            db.execute(HOSTS.update().values(rmcp_reserved=HOSTS.c.rmcp_reserved + (1 << 15)))
            self._set_meta(db, "reservations", (mark + 1).to_bytes(8, "big"))
        self.write_mark(mark + 1)
        self.restored_copy = True

    def _mark_owner(self) -> str:
        return hashlib.sha256(self._id).hexdigest()[:16]

    def _read_mark(self) -> int:
        try:
            owner, count = self._mark.read_text(encoding="ascii").split()
            return int(count) if owner == self._mark_owner() else 0
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise StoreError(
                f"cannot read {self._mark}: {error}; without it an old copy of the store cannot be "
                "told from the newest: remove it only if you are sure that this is the newest"
            ) from error

    def write_mark(self, count: int) -> None:
        """Make a reservation known beside the key, durably."""
        new = self._mark.with_name(self._mark.name + ".new")
        try:
            with new.open("w", encoding="ascii") as file:
                file.write(f"{self._mark_owner()} {count}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._mark)
            sync_directory(self._mark.parent)
        except OSError as error:
            raise StoreError(f"cannot write {self._mark}: {error.strerror or error}") from error


def open_database(path: Path, key_file: Path) -> Database:
    """Open the store, or lay out a new one where there is none; raises StoreError.

    The caller holds a `StoreLock`. A key file is made only together with a new store.
    """
    try:
        new = not path.exists() or path.stat().st_size == 0
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if new and not key_file.exists():
            create_key_file(key_file)
        sealer = load_key_file(key_file)
        if new:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except SealError as error:
        raise StoreError(str(error)) from error
    except OSError as error:
        raise StoreError(f"cannot make the store {path}: {error.strerror or error}") from error
    engine = sql.create_engine(URL.create("sqlite", database=str(path)), hide_parameters=True)
    sql.event.listen(engine, "connect", _durable)
    sql.event.listen(engine, "begin", _begin)
    database = Database(engine, sealer, key_file.with_name(key_file.name + ".mark"), path)
    try:
        if database.empty:
            database.create()
        else:
            database.check(key_file)
    except StoreError:
        database.close()
        raise
    return database


def _durable(connection: Any, _record: object) -> None:
    # Python's driver would begin transactions by itself, and not before each statement.
    connection.isolation_level = None
    # A damaged text must not keep the rows beside it from being read.
    connection.text_factory = lambda octets: octets.decode(errors="replace")
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
