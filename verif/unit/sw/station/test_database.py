"""The store's file: lock, versions, keys, old copies, a full disk, and a kill at any moment."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sw.rmcp import NUMBERS
from sw.station.database import (
    RESTORE_JUMP,
    RESTORE_JUMP_ESN,
    Database,
    StoreBusyError,
    StoreError,
    StoreLock,
    open_database,
)
from sw.station.store import Store
from verif.unit.sw.station.killed import LOG
from verif.unit.sw.station.shelf import Shelf, add_host, sa_record

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def held(shelf: Shelf) -> Shelf:
    """A store with a host and two SAs, one with ESN."""
    store = shelf.open()
    host = add_host(store)
    store.add_sa(host.id, sa_record(1))
    store.add_sa(host.id, sa_record(2, esn=False))
    store.close()
    return shelf


@pytest.fixture
def opened(held: Shelf) -> Iterator[Database]:
    database = open_database(held.path, held.key_file)
    yield database
    database.close()


# --- files --------------------------------------------------------------------------------------


def test_store_and_key_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        shelf = Shelf(tmp_path / "var" / "holdfast")
        shelf.open().close()
        with StoreLock(shelf.path):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE(shelf.folder.stat().st_mode) == 0o700
    for file in shelf.folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_another_version_is_left_alone(held: Shelf) -> None:
    for version in (b"2", b"0", b"", b"\xff" * 1000, None):
        held.sql("DELETE FROM meta WHERE name = 'schema'")
        if version is not None:
            held.sql("INSERT INTO meta VALUES ('schema', ?)", version)
        before = held.octets()
        with pytest.raises(StoreError, match=r"schema version .*use the release that wrote it"):
            held.open()
        assert held.octets() == before


def test_a_file_of_another_program_is_left_alone(shelf: Shelf) -> None:
    shelf.open().close()
    for content in (b"no database at all, " * 300, b"SQLite format 3\0" + bytes(4080)):
        shelf.path.write_bytes(content)
        with pytest.raises(StoreError, match=r"failed|no station store"):
            shelf.open()
        assert shelf.path.read_bytes() == content
    for tables in (["meta"], ["hosts"], ["bookmarks"]):
        shelf.path.unlink()
        for table in tables:
            shelf.sql(f"CREATE TABLE {table} (name TEXT, value BLOB)")
        with pytest.raises(StoreError, match="no station store; name another"):
            shelf.open()


def test_what_is_no_file_is_refused(shelf: Shelf) -> None:
    shelf.open().close()
    shelf.path.unlink()
    shelf.path.mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        shelf.open()
    with pytest.raises(StoreError, match="cannot"):
        open_database(shelf.key_file / "below", shelf.key_file)


def test_truncated_anywhere_no_traceback(held: Shelf) -> None:
    whole = held.path.read_bytes()
    for octets in range(10, len(whole), len(whole) // 25):
        held.path.write_bytes(whole[:octets])
        with contextlib.suppress(StoreError), contextlib.closing(held.open()) as store:
            assert len(store.sas(store.host("host").id)[0]) <= 2


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_a_flipped_octet_is_a_store_error_or_a_damaged_record(
    held: Shelf, data: st.DataObject
) -> None:
    whole = held.path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    spoilt = bytearray(whole)
    spoilt[place] ^= data.draw(st.integers(1, 255))
    held.path.write_bytes(spoilt)
    for file in held.folder.glob("station.db-*"):
        file.unlink()
    with contextlib.suppress(StoreError):
        with contextlib.closing(held.open()) as store:
            for name in store.host_names():
                store.sas(store.host(name).id)
    held.path.write_bytes(whole)


# --- keys ---------------------------------------------------------------------------------------


def test_another_stores_key_does_not_fit(held: Shelf, tmp_path: Path) -> None:
    other = Shelf(tmp_path / "other")
    other.open().close()
    shutil.copy(other.key_file, held.key_file)
    with pytest.raises(StoreError, match=r"does not fit.*name the right one with `key_file`"):
        held.open()


def test_a_missing_key_is_never_made_anew(held: Shelf) -> None:
    """SEC: STATION.SECRETS_SEALED. A new key would hide that the old one is wanted."""
    held.key_file.unlink()
    with pytest.raises(StoreError, match="is missing; restore it"):
        held.open()
    assert not held.key_file.exists()


def test_a_key_that_others_may_read_is_refused(held: Shelf) -> None:
    """SEC: STATION.KEY_FILE_MODE."""
    held.key_file.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 0600"):
        held.open()


# --- one at a time ------------------------------------------------------------------------------


def test_a_second_station_is_kept_out(shelf: Shelf) -> None:
    """SEC: STATION.ONE_SENDER."""
    with StoreLock(shelf.path):
        with pytest.raises(StoreBusyError, match="another process uses the store"):
            StoreLock(shelf.path)
        with pytest.raises(StoreBusyError):
            StoreLock(shelf.path, wait_s=0.06)
    StoreLock(shelf.path).close()


HOLD = """
import os, sys
from pathlib import Path
from sw.station.database import StoreLock
lock = StoreLock(Path(sys.argv[1]))
print("held", flush=True)
os.read(0, 1)
"""


def test_a_killed_station_keeps_nobody_out(shelf: Shelf) -> None:
    """SEC: STATION.ONE_SENDER. Another process holds it, and its death gives it back."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(shelf.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(StoreBusyError):
            StoreLock(shelf.path)
        process.kill()
        process.wait()
        StoreLock(shelf.path).close()


def test_a_lock_that_cannot_be_had(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf.folder / "file").touch()
    with pytest.raises(StoreError, match="cannot open"):
        StoreLock(shelf.folder / "file" / "station.db")

    def no_locks(_fd: int, _operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("sw.station.database.fcntl.flock", no_locks)
    with pytest.raises(StoreError, match=r"cannot lock .*No locks available"):
        StoreLock(shelf.path, wait_s=1.0)


# --- old copies ---------------------------------------------------------------------------------


def use(store: Store, reservations: int) -> dict[int, int]:
    """Numbers that may have been used at the end, by generation."""
    host = store.host("host")
    for _ in range(reservations):
        for generation in (1, 2):
            store.reserve(host.id, generation, 4096)
    return {sa.generation: sa.tx_reserved for sa in store.sas(host.id)[0]}


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("since", [1, 7])
def test_an_old_copy_moves_its_numbers_on(held: Shelf, before: int, since: int) -> None:
    """SEC: STATION.RESTORED_COPY."""
    store = held.open()
    old = use(store, before)
    store.close()
    copy = held.path.read_bytes()
    store = held.open()
    assert not store.restored_copy
    used = use(store, since)
    store.close()
    held.path.write_bytes(copy)
    store = held.open()
    assert store.restored_copy
    host = store.host("host")
    for sa in store.sas(host.id)[0]:
        first = store.reserve(host.id, sa.generation, 1)
        assert first > used[sa.generation]
        jump = RESTORE_JUMP_ESN if sa.esn else RESTORE_JUMP
        assert first == old[sa.generation] + jump + 1
        assert sa.used
    store.close()
    store = held.open()
    assert not store.restored_copy
    store.close()


def test_rmcp_numbers_of_an_old_copy_move_on_too(held: Shelf) -> None:
    """SEC: STATION.RESTORED_COPY. Without any ESP number reserved since."""
    copy = held.path.read_bytes()
    store = held.open()
    host = store.host("host")
    store.reserve_rmcp(host.id, host.rmcp_reserved + 512)
    store.close()
    held.path.write_bytes(copy)
    store = held.open()
    assert store.restored_copy
    moved = store.host("host").rmcp_reserved - host.rmcp_reserved
    assert 512 <= moved % NUMBERS <= NUMBERS - 512
    store.close()


@pytest.mark.parametrize("rubbish", ["zz", None, b"\xff", 1e300])
def test_a_damaged_sa_does_not_keep_an_old_copy_from_moving_on(
    held: Shelf, rubbish: object
) -> None:
    store = held.open()
    used = use(store, 1)
    store.close()
    held.sql("UPDATE meta SET value = x'00' WHERE name = 'reservations'")
    held.sql("CREATE TABLE loose AS SELECT * FROM sas")
    held.sql("DROP TABLE sas")
    held.sql("ALTER TABLE loose RENAME TO sas")
    held.sql("UPDATE sas SET tx_reserved = ? WHERE generation = 1", rubbish)
    store = held.open()
    records, damaged = store.sas(store.host("host").id)
    assert damaged == [1]
    assert [sa.tx_reserved for sa in records] == [used[2] + RESTORE_JUMP]
    store.close()


def test_the_mark_of_another_store_says_nothing(held: Shelf) -> None:
    held.mark.write_text("0123456789abcdef 1000000\n")
    store = held.open()
    assert not store.restored_copy
    store.close()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff\xff", b"a b c", b"id many"])
def test_a_mark_that_cannot_be_read_stops_the_station(held: Shelf, content: bytes) -> None:
    """SEC: STATION.RESTORED_COPY. Going on would mean to guess."""
    use_store = held.open()
    use(use_store, 1)
    use_store.close()
    owner = held.mark.read_bytes().split()[0]
    held.mark.write_bytes(content.replace(b"id", owner))
    with pytest.raises(StoreError, match=r"cannot read .*remove it only if"):
        held.open()


def test_no_number_is_given_when_the_mark_cannot_be_written(held: Shelf) -> None:
    store = held.open()
    host = store.host("host")
    blocker = held.mark.with_name(held.mark.name + ".new")
    blocker.mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        store.reserve(host.id, 1, 10)
    blocker.rmdir()
    assert store.reserve(host.id, 1, 10) == 11
    store.close()


# --- failures -----------------------------------------------------------------------------------


def test_disk_full(opened: Database) -> None:
    """Whole transactions or none, and words instead of parameters."""
    store = Store(opened)
    host = store.host("host")
    with opened.begin() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for generation in range(3, 300):
            store.add_sa(host.id, sa_record(generation))

    with pytest.raises(StoreError, match=r"failed: database or disk is full") as caught:
        fill()
    assert "INSERT" not in str(caught.value)
    records, damaged = store.sas(host.id)
    assert damaged == []
    assert records[0] == sa_record(1)
    assert store.next_generation(host.id) == records[-1].generation + 1
    assert store.reserve(host.id, 1, 10) == 1


@pytest.mark.parametrize(
    "work",
    [
        lambda store: store.host("host"),
        lambda store: store.host_names(),
        lambda store: store.sas(1),
        lambda store: store.next_generation(1),
        lambda store: store.reserve(1, 1, 1),
        lambda store: store.reserve_rmcp(1, 1),
        lambda store: store.set_power_numbers(1, {1: 2}),
        lambda store: store.set_edge(1, 1, 1),
        lambda store: store.set_state(1, 0),
        lambda store: store.mark_used(1, 1),
        lambda store: store.mark_proven(1, 1, (), 0.0),
        lambda store: store.discard(1, (1,)),
        lambda store: store.add_sa(1, sa_record(9)),
        lambda store: add_host(store, "other"),
        lambda store: store.remove_host("host"),
    ],
)
def test_every_method_fails_in_words(
    opened: Database, held: Shelf, work: Callable[[Store], object]
) -> None:
    for table in ("sas", "hosts", "meta"):
        held.sql(f"DROP TABLE {table}")
    with pytest.raises(StoreError, match="no such table"):
        work(Store(opened))


def test_a_transaction_is_whole_or_not_at_all(opened: Database) -> None:
    def half() -> None:
        with opened.begin() as db:
            db.exec_driver_sql("UPDATE sas SET used = 1")
            db.exec_driver_sql("CREATE TABLE half (x)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert [sa.used for sa in Store(opened).sas(1)[0]] == [False, False]
    with contextlib.closing(sqlite3.connect(opened.path)) as db:
        assert not db.execute("SELECT * FROM sqlite_master WHERE name = 'half'").fetchall()


def test_killed_before_any_statement_the_store_goes_on(tmp_path: Path) -> None:
    """SEC: STATION.RESERVE_BEFORE_USE, STATION.KEEP_LAST_PROVEN. SIGKILL, from the first statement
    that lays the store out to the last: what was given is there, and is not given again."""
    subprocess.run(
        [sys.executable, "-m", "verif.unit.sw.station.killed", str(tmp_path)],
        cwd=ROOT,
        check=True,
    )
    folders = sorted(tmp_path.iterdir())
    assert len(folders) > 30
    for folder in folders:
        shelf = Shelf(folder)
        log = folder / LOG
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        given = [tuple(int(word) for word in line[1:]) for line in lines if line[0] == "number"]
        proven = [int(line[1]) for line in lines if line[0] == "proven"]
        store = shelf.open()
        assert not store.restored_copy
        for _ in (line for line in lines if line[0] == "host"):
            records, damaged = store.sas(store.host("host").id)
            assert damaged == []
            held = {sa.generation: sa for sa in records}
            assert all(sa == replace(sa, keys=sa_record().keys) for sa in records)
            if proven:
                newest = max(sa.generation for sa in records if sa.proven_at is not None)
                assert newest >= proven[-1]
            for generation in held:
                last = max((first for g, first in given if g == generation), default=-9)
                assert store.reserve(1, generation, 1) >= last + 10
        store.close()
