"""Station, agent and the NIC's model on a LAN in memory: the seed's figures 4 and 6."""

from __future__ import annotations

import asyncio
import random
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from spec.headers import ESP, ETHERNET, IPV4, PROTOCOL_ESP, UDP
from spec.host import HostEvent, HostState
from spec.sa import BankState
from sw.config import SUITE_NAMES, ServedStation
from sw.ike.secret import Secret
from sw.station.commit_words import Phase
from sw.station.control import ControlError, power, zeroise
from sw.station.database import Database
from sw.station.service import Station
from verif.model.nic import NicModel
from verif.unit.sw.station.lan import HOST_IP
from verif.unit.sw.station.scene import PATIENCE_S, PSK, World, play_scene

STANDBY_IP = IPv4Address("192.0.2.2")


@pytest.fixture(params=["raw", "udp"])
def encapsulation(request) -> str:
    return request.param


@pytest.fixture
def play(tmp_path, monkeypatch, encapsulation):
    """Runs a scene on a world of its own."""

    def run(scene) -> None:
        async def whole() -> None:
            world = World(tmp_path, encapsulation)
            await play_scene(world, monkeypatch.setattr, scene)

        asyncio.run(whole())

    return run


def test_figure_4_first_sa_ever_then_refresh_on_the_timer(play):
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station(refresh_period_s=0.5)
        await world.proven(1)
        first = world.proven_sa
        assert world.banks()[first.spi] is BankState.PROVEN
        await world.proven(3)
        newest = world.proven_sa
        assert newest.generation == 3
        await world.until(lambda: world.banks().get(newest.spi) is BankState.PROVEN)
        records, _ = world.station.store.sas(world.session.host.id)
        assert len(records) <= 2

    play(scene)


def test_figure_6_row_3_a_hung_host_is_reset_under_the_stored_sa(play):
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station(refresh_period_s=0.5)
        await world.proven(2)
        await world.hang()
        await world.until(lambda: world.shows(HostState.OS_HUNG))
        await world.until(lambda: not world.session.running)
        count, used = world.session.host.refresh_count, world.proven_sa
        await asyncio.sleep(1.0)
        assert world.session.host.refresh_count == count
        assert world.session.decision.inhibited
        result = await power(world.station, "host", "reset", print)
        assert result["acknowledged"]
        assert result["spi"] == f"0x{used.spi:08x}"
        assert [pin.name for pin in world.lan.pins if pin.level] == ["reset"]
        # Row 2: it comes up again, and gets a refresh at once.
        world.lan.nic.set_pins(reset=True)
        await world.until(lambda: world.shows(HostState.PRE_BOOT))
        world.lan.nic.set_pins(reset=False)
        await world.boot()
        await world.proven(count + 1)

    play(scene)


def test_figure_6_row_7_a_second_station_takes_over_under_an_sa_of_its_own(play, tmp_path):
    async def scene(world: World) -> None:
        await world.boot(
            other_stations=(
                ServedStation(
                    identity="standby.example", psk_file=world.agent_config.psk_file, context=1
                ),
            )
        )
        await world.start_station(refresh_period_s=0.5)
        await world.proven(2)
        standby = Station(
            replace(
                world.station_config,
                identity="standby.example",
                address=str(STANDBY_IP),
                store=str(tmp_path / "standby.db"),
                key_file=str(tmp_path / "standby.key"),
            )
        )
        await standby.start()
        try:
            standby.add_host("host", HOST_IP, "host.example", Secret(PSK))
            other = next(iter(standby.sessions.values()))
            await world.until(lambda: other.shown_state is HostState.OS_UP)
            await world.until(lambda: other.machine.phase is Phase.STEADY)
            theirs = other.machine.proven
            assert theirs is not None
            # Each refreshes its own, and leaves the other's alone.
            count = world.session.host.refresh_count
            await world.proven(count + 2)
            assert other.machine.proven == theirs
            await world.until(lambda: not world.session.running)
            ours = world.proven_sa
            banks = world.lan.nic.sad.banks
            assert ours.spi in [bank.spi_in for bank in banks[0:2]]
            assert theirs.spi in [bank.spi_in for bank in banks[2:4]]
            world.kill()
            await world.hang()
            await world.until(lambda: other.shown_state is HostState.OS_HUNG)
            result = await power(standby, "host", "reset", print)
            assert result["acknowledged"]
            assert result["spi"] == f"0x{theirs.spi:08x}"
            assert [pin.name for pin in world.lan.pins if pin.level] == ["reset"]
            assert world.banks()[ours.spi] is BankState.PROVEN
            # The one that comes back goes on under the SA that it left.
            await world.start_station(refresh_period_s=3600.0)
            await world.until(lambda: bool(world.session.answering))
            assert world.proven_sa.spi == ours.spi
        finally:
            await standby.stop()

    play(scene)


@pytest.mark.parametrize("idle", [False, True])
def test_a_nic_that_kept_its_sa_over_a_loss_of_power_is_reached_without_any_exchange(play, idle):
    """docs/store.md: the station skips as many numbers as the NIC may have skipped."""

    async def scene(world: World) -> None:
        world.lan.nic = NicModel(ack_ms=1500, grace_ms=200, has_store=True)
        await world.boot(nic_store="sas")
        await world.start_station(poll_period_s=3600.0 if idle else 0.05)
        await world.proven(1)
        used = world.proven_sa
        await world.hang()
        if not idle:
            await world.until(lambda: world.shows(HostState.OS_HUNG))
        with world.lan.lock:
            world.lan.nic.power_cut()
        assert world.banks() == {used.spi: BankState.PROVEN}
        if not idle:
            await world.until(lambda: world.shows(HostState.PRE_BOOT))
        result = await power(world.station, "host", "reset", print)
        assert result["acknowledged"]
        assert result["spi"] == f"0x{used.spi:08x}"
        assert result["packets"] == (3 if idle else 1)
        assert [pin.name for pin in world.lan.pins if pin.level] == ["reset"]
        assert world.session.host.refresh_count == 1
        numbers = world.esp_numbers()
        assert len(set(numbers)) == len(numbers)
        if numbers:  # those in UDP are not looked at
            assert 8192 < max(number for _, number in numbers) < 2 * 8192

    play(scene)


def test_a_restarted_station_resets_a_hung_host_without_any_exchange(play):
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station()
        await world.proven(1)
        await world.hang()
        await world.until(lambda: world.shows(HostState.OS_HUNG))
        await world.station.stop()
        world.station.sessions.clear()
        await world.start_station()
        result = await power(world.station, "host", "reset", print)
        assert result["acknowledged"]
        assert world.session.host.refresh_count == 1
        assert any(pin.name == "reset" for pin in world.lan.pins)

    play(scene)


@pytest.mark.parametrize(
    "name",
    [
        "aes-cbc-256-hmac-sha-256",
        "aes-cbc-128-hmac-sha-256",
        "null-hmac-sha-256",
        "null-aes-gmac-256",
        "null-aes-gmac-128",
    ],
)
def test_every_other_suite_is_proven_stored_and_resets(play, name):
    """Both ends have all the suites, and the station likes this one best."""
    others = tuple(other for other in SUITE_NAMES if other != name)

    async def scene(world: World) -> None:
        await world.boot(suites=(*others, name))
        await world.start_station(suites=(name, *others))
        await world.proven(1)
        await world.hang()
        await world.until(lambda: world.shows(HostState.OS_HUNG))
        await world.station.stop()
        world.station.sessions.clear()
        await world.start_station()
        (used,) = (sa for sa in world.session.sas.values() if sa.proven_at is not None)
        assert used.suite is SUITE_NAMES[name]
        result = await power(world.station, "host", "reset", print)
        assert result["acknowledged"]
        assert result["spi"] == f"0x{used.spi_out:08x}"
        assert [pin.name for pin in world.lan.pins if pin.level] == ["reset"]

    play(scene)


def test_an_administrator_boots_from_the_net_and_zeroises(play):
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station(refresh_period_s=0.5)
        await world.proven(1)
        with pytest.raises(ControlError, match="no answer"):  # an operator's
            await zeroise(world.station, "host", print)
        assert BankState.PROVEN in world.banks().values()
        assert world.agent is not None
        await world.agent.stop()
        world.lan.nic.set_pins(zeroise=True)
        world.lan.nic.set_pins(zeroise=False)
        await world.boot(role="administrator")
        await world.until(lambda: BankState.PROVEN in world.banks().values())
        await world.until(lambda: world.session.machine.phase is Phase.STEADY)
        old = world.proven_sa
        boot = {"special_command": 1, "special_parameter": 0x203, "boot_options": 0x2008}
        result = await power(world.station, "host", "reset", print, boot)
        assert result["acknowledged"]
        read = world.lan.nic.bus_read
        assert read("BOOT_COMMAND") == 0x80020301
        assert read("BOOT_OPTIONS") == 0x2008
        assert read("BOOT_ENTERPRISE") == 4542
        result = await zeroise(world.station, "host", print)
        assert result["acknowledged"]
        assert read("BOOT_COMMAND") == 0
        assert result["spi"] == f"0x{old.spi:08x}"
        assert old.spi not in world.banks()
        await world.until(lambda: BankState.PROVEN in world.banks().values())
        await world.until(lambda: world.session.machine.phase is Phase.STEADY)
        assert world.proven_sa.generation > old.generation

    play(scene)


def test_limits_of_a_lifetime_are_told_and_the_last_sa_goes_on(play):
    async def scene(world: World) -> None:
        await world.boot(soft_packets=2, hard_octets=300)
        await world.start_station(refresh_period_s=60.0, poll_period_s=0.05)
        await world.proven(1)
        log = world.lan.nic.log
        hard = HostEvent.HARD_LIMIT
        await world.until(lambda: hard in [event.kind for event in log.since(0)])
        kinds = [event.kind for event in log.since(0)]
        assert kinds.index(HostEvent.SOFT_LIMIT) < kinds.index(hard)
        sent = world.lan.nic.sad.banks[0].sent
        packets = sent.packets
        await world.until(lambda: sent.packets > packets + 3)
        assert set(world.banks().values()) == {BankState.PROVEN}

    play(scene)


def test_figure_6_row_6_cold_boot_is_found_in_clear_and_commands_are_refused(play):
    async def scene(world: World) -> None:
        # Somebody has told the NIC its addresses; no SA, no OS.
        await world.boot()
        await world.hang()
        await world.start_station()
        await world.until(lambda: world.shows(HostState.COLD_BOOT))
        assert world.session.discovered
        with pytest.raises(ControlError, match="refused"):
            await power(world.station, "host", "reset", print)
        assert not world.lan.pins

    play(scene)


def test_step_30_commit_without_confirmation_falls_back_and_tries_again(play):
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station(refresh_period_s=0.5)
        await world.proven(1)
        old = world.proven_sa
        # From now on nothing comes back under another SA than the old one.
        world.lan.drop = lambda frame, to_host: not to_host and other_esp(frame, world)
        await world.until(lambda: world.session.machine.phase is Phase.COMMITTING)
        await world.until(lambda: world.session.machine.phase is Phase.STEADY)
        assert world.session.machine.proven == old
        assert world.session.answering
        await world.until(lambda: world.banks().get(old.spi) is BankState.PROVEN)
        assert (await power(world.station, "host", "reset", print))["acknowledged"]
        # The way is free again: so is the refresh.
        world.lan.drop = lambda _frame, _to_host: False
        await world.proven(2)

    def other_esp(frame: bytes, world: World) -> bool:
        ip = IPV4.unpack(frame[ETHERNET.octets :])
        at = ETHERNET.octets + IPV4.octets
        if ip["protocol"] != PROTOCOL_ESP:
            port = UDP.unpack(frame[at:])["source_port"]
            at += UDP.octets
            if port != 4500 or frame[at : at + 4] == bytes(4) or len(frame) < at + 8:
                return False
        spi = ESP.unpack(frame[at:])["spi"]
        proven = world.session.machine.proven
        return proven is None or spi != world.session.sas[proven.generation].spi_in

    play(scene)


def test_a_nic_that_lost_its_power_is_taken_over_again(play):
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station()
        await world.proven(1)
        with world.lan.lock:
            world.lan.nic.set_pins(zeroise=True)
            world.lan.nic.set_pins(zeroise=False)
        await world.until(lambda: world.session.answering is False)
        await world.proven(2)
        assert world.banks()[world.proven_sa.spi] is BankState.PROVEN

    play(scene)


def test_a_lossy_network_delays_and_harms_nothing(play):
    async def scene(world: World) -> None:
        # Not each third frame: an exchange of three would always lose the same one.
        rng = random.Random(3)

        def lose(_frame: bytes, _to_host: bool) -> bool:
            return rng.random() < 1 / 3

        world.lan.drop = lose
        await world.boot()
        await world.start_station(refresh_period_s=0.3, ready_timeout_s=1.0)
        await world.proven(3)
        assert world.banks()[world.proven_sa.spi] in (
            BankState.PROVEN,
            BankState.RETIRING,
        )

    play(scene)


class KilledError(Exception):
    """The station died here."""


@pytest.mark.parametrize("encapsulation", ["raw"], indirect=True)
@pytest.mark.parametrize("committed", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("transaction", range(1, 23))
def test_killed_at_any_transaction_the_station_goes_on(play, monkeypatch, transaction, committed):
    """SEC: STATION.RESERVE_BEFORE_USE, STATION.KEEP_LAST_PROVEN: no number comes twice, and the SA
    that worked still does, with no OS to help."""
    begin = Database.begin

    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station(refresh_period_s=0.3)
        left = transaction
        died = asyncio.Event()

        @contextmanager
        def dying(self):
            nonlocal left
            left -= 1
            if left == 0 and not committed:
                await_kill()
            with begin(self) as db:
                yield db
            if left == 0:
                await_kill()

        def await_kill() -> None:
            world.kill()
            died.set()
            raise KilledError

        monkeypatch.setattr(Database, "begin", dying)
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with asyncio.timeout(PATIENCE_S):
            await died.wait()
        monkeypatch.setattr(Database, "begin", begin)
        await world.hang()
        had = BankState.PROVEN in world.banks().values()
        await world.start_station(refresh_period_s=0.3)
        try:
            result = await power(world.station, "host", "reset", print)
        except ControlError:
            assert not had
        else:
            assert result["acknowledged"]
        numbers = world.esp_numbers()
        assert len(set(numbers)) == len(numbers)

    play(scene)


def test_a_hang_is_told_before_anyone_asks(play):
    async def scene(world: World) -> None:
        await world.boot(alert_heartbeat_s=1)
        await world.start_station(poll_period_s=3600.0)
        await world.proven(1)
        station = world.station

        def kinds() -> list[object]:
            told = station.alerts("host")
            alerts = told["alerts"]
            assert told["refused"] == 0
            assert isinstance(alerts, list)
            return [(alert["kind"], alert["state"]) for alert in alerts]

        await world.until(lambda: ("PRESENT", "OS_UP") in kinds())
        await world.hang()
        await world.until(lambda: ("STATE", "OS_HUNG") in kinds())
        assert ("WATCHDOG", "OS_UP") in kinds()
        await world.until(
            lambda: any(
                heard.times == 3
                for heard in world.session.alerts.heard
                if heard.alert.state is HostState.OS_HUNG
            )
        )

    play(scene)
