"""The store: what goes in comes out, no number comes twice, and damage stays where it is."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec.host import HostState
from spec.suites import Suite
from sw.ike.secret import Secret
from sw.station.database import NoSuchHostError, StoreError
from sw.station.records import SaRecord
from sw.station.store import Store
from verif.unit.sw.station.shelf import (
    AES_256,
    PSK,
    Shelf,
    add_host,
    keys_of,
    sa_record,
    sa_records,
)

# One store serves all examples of a test: laying one out waits for the disk.
DRAWN = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.fixture
def store(shelf: Shelf) -> Iterator[Store]:
    store = shelf.open()
    yield store
    store.close()


# --- round trips --------------------------------------------------------------------------------


@DRAWN
@given(
    name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=60),
    address=st.integers(0, (1 << 32) - 1).map(IPv4Address),
    identity=st.text(st.characters(codec="ascii"), min_size=1, max_size=60),
    psk=st.binary(max_size=80).map(Secret),
    state=st.none() | st.sampled_from(HostState),
    below=st.integers(0, 1 << 40),
    numbers=st.dictionaries(st.integers(0, 254), st.integers(0, 254)),
)
def test_host_round_trip(store, name, address, identity, psk, state, below, numbers) -> None:
    added = store.add_host(name, address, identity, psk)
    assert (added.name, added.address, added.identity) == (name, address, identity)
    assert added.psk == psk
    store.reserve_rmcp(added.id, below)
    store.set_power_numbers(added.id, numbers)
    if state is not None:
        store.set_state(added.id, state)
    assert store.host(name) == replace(
        added, rmcp_reserved=below, power_numbers=numbers, last_state=state
    )
    assert name in store.host_names()
    store.remove_host(name)
    with pytest.raises(NoSuchHostError):
        store.host(name)


@DRAWN
@given(
    st.lists(sa_records(), max_size=5, unique_by=(lambda sa: sa.generation, lambda sa: sa.spi_in))
)
def test_sa_round_trip(store: Store, sas: list[SaRecord]) -> None:
    host = add_host(store)
    for sa in sas:
        store.add_sa(host.id, sa)
    assert store.sas(host.id) == (sorted(sas, key=lambda sa: sa.generation), [])
    assert store.next_generation(host.id) == max((sa.generation for sa in sas), default=0) + 1
    store.remove_host(host.name)
    assert store.sas(host.id) == ([], [])


@settings(DRAWN, max_examples=12)
@given(st.lists(st.tuples(st.integers(1, 5000), st.booleans()), min_size=1, max_size=5))
def test_rfc4303_3_3_3_reserved_numbers_never_come_again(
    shelf: Shelf, blocks: list[tuple[int, bool]]
) -> None:
    """SEC: STATION.RESERVE_BEFORE_USE. Also when the store is closed and opened in between."""
    store = shelf.open()
    host = add_host(store)
    store.add_sa(host.id, sa_record())
    expected = 1
    for count, reopen in blocks:
        assert store.reserve(host.id, 1, count) == expected
        expected += count
        if reopen:
            store.close()
            store = shelf.open()
            assert not store.restored_copy
        (sa,), _ = store.sas(host.id)
        assert (sa.tx_reserved, sa.used) == (expected - 1, True)
    store.remove_host(host.name)
    store.close()


# --- SAs ----------------------------------------------------------------------------------------


def test_proven_and_older_ones_go_in_one_transaction(store: Store) -> None:
    host = add_host(store)
    for generation in (1, 2, 3):
        store.add_sa(host.id, sa_record(generation))
    store.mark_proven(host.id, 2, (), 5.0)
    records, _ = store.sas(host.id)
    assert [sa.generation for sa in records] == [2, 3]
    assert (records[0].proven_at, records[0].used) == (5.0, True)
    after = store.host(host.name)
    assert (after.refresh_last, after.refresh_count) == (5.0, 1)


def test_what_is_not_there_drops_nothing(store: Store) -> None:
    host = add_host(store)
    store.add_sa(host.id, sa_record(1))
    with pytest.raises(StoreError, match="none is dropped"):
        store.mark_proven(host.id, 2, (1,), 5.0)
    with pytest.raises(StoreError, match="nothing is sent"):
        store.reserve(host.id, 2, 1)
    assert len(store.sas(host.id)[0]) == 1


def test_a_proven_sa_is_not_discarded(store: Store) -> None:
    """SEC: STATION.KEEP_LAST_PROVEN. Not even with others in one call."""
    host = add_host(store)
    for generation in (1, 2):
        store.add_sa(host.id, sa_record(generation))
    store.mark_proven(host.id, 1, (), 5.0)
    with pytest.raises(StoreError, match="only when a newer one is proven"):
        store.discard(host.id, (1, 2))
    assert len(store.sas(host.id)[0]) == 2
    store.discard(host.id, (2,))
    assert [sa.generation for sa in store.sas(host.id)[0]] == [1]


def test_generations_and_ids_are_not_given_twice(store: Store) -> None:
    host = add_host(store)
    store.add_sa(host.id, sa_record(7))
    store.discard(host.id, (7,))
    assert store.next_generation(host.id) == 8
    store.remove_host(host.name)
    assert add_host(store).id > host.id


def test_used_and_edge(store: Store) -> None:
    host = add_host(store)
    store.add_sa(host.id, sa_record(1))
    store.mark_used(host.id, 1)
    store.set_edge(host.id, 1, (1 << 64) - 1)
    (sa,), _ = store.sas(host.id)
    assert sa == replace(sa_record(1), used=True, rx_edge=(1 << 64) - 1)


def test_doubles_are_refused_in_words(store: Store) -> None:
    host = add_host(store)
    for name, address, identity in [
        ("host", "192.0.2.77", "other"),
        ("other", str(host.address), "other"),
        ("other", "192.0.2.77", host.identity),
    ]:
        with pytest.raises(StoreError, match="in the store already"):
            store.add_host(name, IPv4Address(address), identity, PSK)
    store.add_sa(host.id, sa_record(1))
    with pytest.raises(StoreError, match="UNIQUE"):
        store.add_sa(host.id, sa_record(1))
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.add_sa(host.id + 1, sa_record(2))
    with pytest.raises(NoSuchHostError):
        store.remove_host("other")
    assert store.host_names() == ["host"]


# --- secrets ------------------------------------------------------------------------------------


def test_no_secret_lies_open_in_any_file(shelf: Shelf, caplog: pytest.LogCaptureFixture) -> None:
    """SEC: STATION.SECRETS_SEALED."""
    caplog.set_level(logging.DEBUG)
    store = shelf.open()
    host = add_host(store)
    store.add_sa(host.id, sa_record(1, keys=keys_of(AES_256, b"\xa5")))
    with pytest.raises(StoreError) as caught:
        store.add_sa(host.id, sa_record(1, keys=keys_of(AES_256, b"\xa5")))
    before = shelf.octets()
    store.close()
    lying = before + shelf.octets()
    assert b"host.example" in lying
    key = bytes.fromhex(shelf.key_file.read_text())
    for secret in (b"PSK-PSK", b"\xa5" * 4, b"a5a5a5a5", key, key.hex().encode()):
        assert secret not in lying
        for told in (caplog.text, "".join(traceback.format_exception(caught.value))):
            assert secret.decode("latin-1") not in told
            assert repr(secret)[2:-1] not in told


# --- damage -------------------------------------------------------------------------------------

RUBBISH = (
    *(
        ("?", value)
        for value in (
            None,
            -1,
            1 << 62,
            1e300,
            "",
            "zz",
            "-1",
            "[]",
            "{",
            b"",
            b"\xff\x00",
            b"x" * 60,
        )
    ),
    ("CAST(? AS TEXT)", b"\xff\xfe"),
)
HOST_COLUMNS = (
    "address identity psk last_generation rmcp_reserved power_numbers "
    "refresh_last refresh_count last_state"
)
SA_COLUMNS = (
    "spi_in spi_out suite esn encap_udp local_ip peer_ip local_port peer_port keys created "
    "proven_at used tx_reserved rx_edge"
)


@pytest.fixture
def two_hosts(shelf: Shelf) -> Shelf:
    """Two hosts with two SAs each, in a file that lets damage in."""
    store = shelf.open()
    for place, name in enumerate(("one", "two")):
        host = add_host(store, name)
        for generation in (1, 2):
            store.add_sa(host.id, sa_record(generation, 0x1000 * (place + 1)))
    store.close()
    for table in ("hosts", "sas"):
        # Another program's file might have no NOT NULL.
        shelf.sql(" ".join(["CREATE TABLE loose AS SELECT * FROM", table]))
        shelf.sql("PRAGMA foreign_keys=OFF")
        shelf.sql(f"DROP TABLE {table}")
        shelf.sql(f"ALTER TABLE loose RENAME TO {table}")
    return shelf


@pytest.mark.parametrize("column", HOST_COLUMNS.split())
def test_a_damaged_host_loses_no_other(two_hosts: Shelf, column: str) -> None:
    store = two_hosts.open()
    for what, rubbish in RUBBISH:
        two_hosts.spoil("hosts", column, "name = 'one'", rubbish, what)
        assert store.host_names() == ["one", "two"]
        assert len(store.sas(store.host("two").id)[0]) == 2
        told = ""
        try:
            assert store.host("one").psk == PSK
        except StoreError as error:
            told = str(error)
        assert told == "" or ("the record of host one" in told and "damaged" in told)
    store.close()


@pytest.mark.parametrize("column", SA_COLUMNS.split())
def test_a_damaged_sa_loses_no_other(two_hosts: Shelf, column: str) -> None:
    store = two_hosts.open()
    for what, rubbish in RUBBISH:
        two_hosts.spoil("sas", column, "host_id = 1 AND generation = 1", rubbish, what)
        records, damaged = store.sas(1)
        assert records[-1] == sa_record(2)
        assert damaged in ([], [1])
        # It is left as it is: nothing but a newer proven SA drops it.
        assert len(records) + len(damaged) == 2
        for sa in records:
            assert sa.tx_reserved >= 0
            assert 0 <= sa.rx_edge < 1 << 64
        assert len(store.sas(2)[0]) == 2
    store.close()


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE sas SET keys = (SELECT keys FROM sas WHERE host_id = 2 AND generation = 2) "
        "WHERE host_id = 1 AND generation = 1",
        "UPDATE sas SET spi_out = 'ffff' WHERE host_id = 1 AND generation = 1",
        "UPDATE sas SET encap_udp = 1, peer_ip = '198.51.100.1' WHERE host_id = 1 "
        "AND generation = 1",
        "UPDATE sas SET esn = 0 WHERE host_id = 1 AND generation = 1",
    ],
)
def test_sealed_keys_fit_no_other_sa(two_hosts: Shelf, swap: str) -> None:
    """SEC: STATION.SECRETS_SEALED."""
    two_hosts.sql(swap)
    store = two_hosts.open()
    assert store.sas(1)[1] == [1]
    store.close()


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE hosts SET psk = (SELECT psk FROM hosts WHERE name = 'two') WHERE name = 'one'",
        "UPDATE hosts SET address = '198.51.100.1' WHERE name = 'one'",
        "UPDATE hosts SET identity = 'mallory' WHERE name = 'one'",
    ],
)
def test_a_sealed_psk_fits_no_other_host(two_hosts: Shelf, swap: str) -> None:
    """SEC: STATION.SECRETS_SEALED."""
    two_hosts.sql(swap)
    store = two_hosts.open()
    with pytest.raises(StoreError, match="damaged"):
        store.host("one")
    store.remove_host("one")
    assert store.host_names() == ["two"]
    store.close()


@pytest.mark.parametrize(
    ("suite", "keys_for"),
    [
        (Suite.ESP_AES_CBC_128_HMAC_SHA_256_128, Suite.ESP_AES_CBC_256_HMAC_SHA_256_128),
        (Suite.ESP_AES_CBC_128_HMAC_SHA_256_128, Suite.ESP_AES_CBC_128_HMAC_SHA_1_96),
        (Suite.ESP_AES_GCM_16_128, Suite.ESP_AES_GCM_16_256),
    ],
)
def test_keys_of_another_length_than_the_suites_are_damage(
    store: Store, suite: Suite, keys_for: Suite
) -> None:
    host = add_host(store)
    store.add_sa(host.id, sa_record(1, suite=suite, keys=keys_of(suite)))
    store.add_sa(host.id, sa_record(2, suite=suite, keys=keys_of(keys_for)))
    records, damaged = store.sas(host.id)
    assert [sa.generation for sa in records] == [1]
    assert damaged == [2]
