"""The station as a process: one bad host or a full disk does not stop the others, nor a command."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from sw.ike.secret import Secret
from sw.rmcp import Reset
from sw.station.database import Database, NoSuchHostError, StoreBusyError, StoreError
from sw.station.service import Station
from verif.unit.sw.station.scene import PATIENCE_S, PSK, World, play_scene
from verif.unit.sw.station.shelf import Shelf, add_host, sa_record

Play = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A store with two hosts, each with an SA that worked."""
    shelf = Shelf(tmp_path)
    store = shelf.open()
    for place, name in enumerate(("one", "two")):
        host = add_host(store, name)
        store.add_sa(host.id, sa_record(1, 0x1000 * (place + 1)))
        store.mark_proven(host.id, 1, (), 1.0)
    store.close()
    return shelf


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    def run(scene: Callable[[World], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await play_scene(World(tmp_path, "udp"), monkeypatch.setattr, scene)

        asyncio.run(whole())

    return run


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE hosts SET psk = x'00' WHERE name = 'one'",
        "UPDATE hosts SET last_state = 99 WHERE name = 'one'",
        "UPDATE hosts SET rmcp_reserved = 'many' WHERE name = 'one'",
        "UPDATE hosts SET power_numbers = '[1]' WHERE name = 'one'",
        "UPDATE hosts SET name = CAST(x'ff' AS TEXT) WHERE name = 'one'",
    ],
)
def test_a_damaged_host_stops_no_other(shelf: Shelf, play: Play, damage: str) -> None:
    async def scene(world: World) -> None:
        station = await world.start_station()
        assert station.names() == ["two"]
        with pytest.raises(NoSuchHostError):
            station.describe("one")
        if "SET name" not in damage:
            station.remove_host("one")
            station.add_host("one", IPv4Address("192.0.2.99"), "one.example", Secret(PSK))
            assert station.names() == ["one", "two"]

    shelf.sql(damage)
    play(scene)


@pytest.mark.parametrize("column", ["tx_reserved", "rx_edge", "keys", "suite", "spi_out"])
def test_a_damaged_sa_stops_no_host(shelf: Shelf, play: Play, column: str) -> None:
    async def scene(world: World) -> None:
        station = await world.start_station()
        assert station.names() == ["one", "two"]
        assert station.session("one").damaged == [1]
        assert station.session("two").damaged == []

    shelf.spoil("sas", column, "host_id = 1", "zz")
    play(scene)


def test_a_full_disk_ends_commands_in_words(
    shelf: Shelf, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that waits comes to its end, another is refused, and the host can be removed."""
    count = Database.count_reservation

    async def scene(world: World) -> None:
        station = await world.start_station()
        waiting = asyncio.create_task(station.power("one", Reset()))
        await asyncio.sleep(0)

        def full(self: Database, db: object) -> int:
            raise StoreError("database or disk is full")

        monkeypatch.setattr(Database, "count_reservation", full)
        session = station.session("one")
        station._guard(session, partial(station.store.reserve_rmcp, session.host.id, 1))
        outcome = await waiting
        assert not outcome.acknowledged
        with pytest.raises(StoreError, match="disk is full"):
            await station.power("one", Reset())
        assert station.describe("one")["fault"] == "database or disk is full"
        monkeypatch.setattr(Database, "count_reservation", count)
        station.remove_host("one")
        assert station.names() == ["two"]
        assert station.store.host_names() == ["two"]

    play(scene)


def test_a_second_station_does_not_start(shelf: Shelf, play: Play) -> None:
    """SEC: STATION.ONE_SENDER."""

    async def scene(world: World) -> None:
        await world.start_station()
        second = Station(replace(world.station_config, address="192.0.2.2"))
        with pytest.raises(StoreBusyError):
            await second.start()
        await second.stop()
        assert world.station.names() == ["one", "two"]

    play(scene)


def test_an_old_copy_is_told(shelf: Shelf, play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """SEC: STATION.RESTORED_COPY."""
    caplog.set_level(logging.DEBUG)
    copy = shelf.path.read_bytes()
    store = shelf.open()
    store.reserve(1, 1, 10)
    store.close()
    shelf.path.write_bytes(copy)

    async def scene(world: World) -> None:
        station = await world.start_station()
        assert station.session("one").sas[1].tx_reserved > 10

    play(scene)
    assert "the store is an old copy" in caplog.text
    for secret in ("PSK-PSK", "KKKK", shelf.key_file.read_text().strip()):
        assert secret not in caplog.text


def test_stop_is_harmless_at_any_moment(tmp_path: Path, play: Play) -> None:
    async def scene(world: World) -> None:
        station = Station(world.station_config)
        await station.stop()
        await world.start_station()
        await world.station.stop()
        await world.station.stop()
        await world.start_station()

    play(scene)
