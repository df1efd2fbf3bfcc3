"""Tests of sw.agent.service: what becomes of each Child SA, and the heartbeat beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from spec.host import HostState
from spec.sa import BankState, SadCommand
from sw.agent import loader
from sw.agent.service import Agent, endpoint_config, station_peers, wanted_suites
from sw.config import ConfigError, ServedStation
from sw.ike.constants import Group
from sw.ike.events import ChildSaDeleted, ChildSaEstablished, CloseReason, IkeSaClosed
from sw.ike.suites import IkeSuite
from sw.nic import CapabilityError, TransportError
from verif.model.nic import NicModel
from verif.unit.sw.agent.board import (
    PATIENCE_S,
    Board,
    address,
    agent_config,
    forgotten,
    ike_sa,
    negotiated,
    play,
)
from verif.unit.sw.station.lan import HOST_IP, Lan
from verif.unit.sw.station.scene import World, play_scene

PSK = b"a pre-shared key for tests"
STAGE = (address("SA_COMMAND"), SadCommand.STAGE)


class Desk:
    """An agent on a board, with sockets on a LAN where nobody else is."""

    def __init__(self, psk: Path, **changes: object) -> None:
        self.board = Board()
        # It ticks, but the NIC's time stands still.
        self.lan = Lan(nic=self.board.nic, scale=0.0)
        values = {"heartbeat_s": 0.01, "busy_timeout_s": 3600.0, "psk_file": str(psk)}
        self.agent = Agent(agent_config(**(values | changes)), self.board.connect)
        self.agent._on_event(ike_sa(1))

    def negotiate(self, event: ChildSaEstablished) -> None:
        """IKE agreed on a Child SA."""
        self.agent._on_event(event)

    def delete(self, spi_in: int) -> None:
        """The station deletes it."""
        self.agent._on_event(ChildSaDeleted(1, spi_in, spi_in + 1, by_peer=True))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what other tasks and threads do."""
        while not condition():
            await self.lan.ticked.wait()

    @property
    def beats(self) -> int:
        """Heartbeats that reached the NIC."""
        return sum(addr == address("HEARTBEAT") for addr, _ in self.board.writes)

    @property
    def stages(self) -> int:
        """Times that a bank was asked for."""
        return self.board.writes.count(STAGE)


@pytest.fixture
def psk(tmp_path) -> Path:
    path = tmp_path / "psk"
    path.write_bytes(PSK)
    path.chmod(0o600)
    return path


@pytest.fixture
def at_desk(psk, monkeypatch):
    """Starts an agent, plays a scene with it, and stops it."""
    monkeypatch.setattr(loader, "BUSY_PAUSE_S", 0.002)

    def run(scene: Callable[[Desk], Awaitable[None]], **changes: object) -> Desk:
        desks: list[Desk] = []

        async def whole() -> None:
            desk = Desk(psk, **changes)
            desks.append(desk)
            monkeypatch.setattr("sw.ike_shell.UdpTransport.open", desk.lan.open_udp)
            ticker = asyncio.create_task(desk.lan.run())
            await desk.agent.start()
            try:
                await scene(desk)
            finally:
                await desk.agent.stop()
                ticker.cancel()

        play(whole)
        return desks[0]

    return run


# --- loading ------------------------------------------------------------------------------------


def test_an_sa_is_loaded_and_forgotten(at_desk, caplog) -> None:
    event = negotiated()

    async def scene(desk: Desk) -> None:
        desk.negotiate(event)
        await desk.until(lambda: desk.agent.loaded == 1)
        assert desk.board.states() == [BankState.READY]
        assert forgotten(event)

    caplog.set_level("DEBUG")
    at_desk(scene)
    assert "SA 0xc0de0101 is in context 0 of the NIC" in caplog.text
    assert not any(word in caplog.text for word in ("KEY-", "SLT", PSK.decode()))


def test_a_tunnel_is_not_loaded_and_forgotten(at_desk) -> None:
    event = negotiated(transport=False)

    async def scene(desk: Desk) -> None:
        desk.negotiate(event)
        assert forgotten(event)

    assert at_desk(scene).stages == 0


def test_what_no_nic_takes_is_given_up_and_the_agent_goes_on(at_desk, caplog) -> None:
    event, good = negotiated(spi_out=1), negotiated(0xC0DE0201)

    async def scene(desk: Desk) -> None:
        desk.negotiate(event)
        desk.negotiate(good)
        await desk.until(lambda: desk.agent.loaded == 1)

    at_desk(scene)
    assert forgotten(event)
    assert forgotten(good)
    assert "SA 0xc0de0101 is given up: spi_out 0x1 is reserved" in caplog.text


def test_a_newer_sa_supersedes_one_that_waits(at_desk) -> None:
    old, new = negotiated(0xC0DE0101), negotiated(0xC0DE0201)

    async def scene(desk: Desk) -> None:
        desk.board.occupy()
        desk.negotiate(old)
        await desk.until(lambda: desk.stages > 1)
        desk.negotiate(new)
        await desk.until(lambda: list(desk.agent._loads) == [0xC0DE0201])
        assert forgotten(old)
        desk.board.free()
        await desk.until(lambda: desk.agent.loaded == 1)
        assert desk.board.nic.sad.banks[0].spi_in == 0xC0DE0201

    at_desk(scene)
    assert forgotten(new)


def test_an_sa_that_the_station_deletes_while_it_waits_is_given_up(at_desk) -> None:
    event = negotiated()

    async def scene(desk: Desk) -> None:
        desk.board.occupy()
        desk.negotiate(event)
        await desk.until(lambda: desk.stages > 1)
        desk.delete(event.spi_in)
        await desk.until(lambda: not desk.agent._loads)
        assert forgotten(event)
        desk.board.free()
        assert not desk.agent._unwanted

    desk = at_desk(scene)
    assert desk.agent.loaded == 0
    assert desk.board.states() == []


def test_an_sa_that_the_station_deletes_while_it_is_written_is_emptied(at_desk) -> None:
    event = negotiated()

    async def scene(desk: Desk) -> None:
        loop = asyncio.get_running_loop()

        def hook(addr: int, value: int) -> None:
            if (addr, value) == STAGE:
                asyncio.run_coroutine_threadsafe(deleted(), loop).result()

        async def deleted() -> None:
            desk.delete(event.spi_in)

        desk.board.hook = hook
        desk.negotiate(event)
        await desk.until(lambda: (address("SA_COMMAND"), SadCommand.ABORT) in desk.board.writes)
        await desk.until(lambda: not desk.board.states())

    desk = at_desk(scene)
    assert desk.agent.loaded == 0
    assert forgotten(event)


def test_a_proven_sa_stays_when_the_station_deletes_it_and_an_unproven_goes(at_desk) -> None:
    async def scene(desk: Desk) -> None:
        desk.negotiate(negotiated(0x1001))
        await desk.until(lambda: desk.agent.loaded == 1)
        desk.board.nic.sad.prove(0)
        desk.negotiate(negotiated(0x2001))
        await desk.until(lambda: desk.agent.loaded == 2)
        desk.delete(0x1001)
        desk.delete(0x2001)
        await desk.until(lambda: not desk.agent._tasks)
        assert desk.board.states() == [BankState.PROVEN]

    at_desk(scene)


def test_a_stop_does_not_wait_for_a_bank(at_desk) -> None:
    events = [negotiated(0x1001), negotiated(0x2001)]

    async def scene(desk: Desk) -> None:
        desk.board.occupy()
        desk.negotiate(events[0])
        await desk.until(lambda: desk.stages > 1)
        # This one has not even begun.
        desk.negotiate(events[1])

    desk = at_desk(scene)
    assert desk.agent.loaded == 0
    assert all(forgotten(event) for event in events)
    assert desk.board.closed == 1


def test_a_load_that_is_cancelled_before_it_begins_is_forgotten(at_desk) -> None:
    event = negotiated()

    async def scene(desk: Desk) -> None:
        desk.negotiate(event)
        desk.agent._loads[event.spi_in].task.cancel()
        await desk.until(lambda: forgotten(event))

    assert at_desk(scene).stages == 0


# --- several stations ---------------------------------------------------------------------------

STANDBY = ServedStation(identity="standby.example", psk_file="", context=2, role="administrator")
SECOND = 2
"""The connection of the standby station."""


@pytest.fixture
def at_two(at_desk, psk):
    """The same with an agent that serves two stations."""

    def run(scene: Callable[[Desk], Awaitable[None]], **changes: object) -> Desk:
        async def both(desk: Desk) -> None:
            desk.agent._on_event(ike_sa(SECOND, STANDBY.identity))
            await scene(desk)

        standby = replace(STANDBY, psk_file=str(psk))
        return at_desk(both, other_stations=(standby,), **changes)

    return run


def by_context(desk: Desk) -> dict[int, list[int]]:
    """Inbound SPIs of the banks that are not empty, by context."""
    found: dict[int, list[int]] = {}
    for number, bank in enumerate(desk.board.nic.sad.banks):
        if bank.state is not BankState.EMPTY:
            found.setdefault(number // 2, []).append(bank.spi_in)
    return found


def test_each_station_has_a_context_and_a_role_of_its_own(at_two) -> None:
    async def scene(desk: Desk) -> None:
        desk.negotiate(negotiated(0x1001))
        desk.negotiate(negotiated(0x2001, connection=SECOND))
        await desk.until(lambda: desk.agent.loaded == 2)

    desk = at_two(scene)
    assert by_context(desk) == {0: [0x1001], 2: [0x2001]}
    banks = desk.board.nic.sad.banks
    assert [banks[0].administrator, banks[4].administrator] == [False, True]


def test_an_sa_of_one_station_that_waits_gives_way_to_no_other_stations(at_two) -> None:
    async def scene(desk: Desk) -> None:
        desk.board.occupy()
        desk.negotiate(negotiated(0x1001))
        await desk.until(lambda: desk.stages > 1)
        desk.negotiate(negotiated(0x2001, connection=SECOND))
        await desk.until(lambda: desk.agent.loaded == 1)
        assert list(desk.agent._loads) == [0x1001]
        assert by_context(desk)[2] == [0x2001]
        desk.board.nic.sad.context = 0
        desk.board.free()
        await desk.until(lambda: desk.agent.loaded == 2)

    desk = at_two(scene)
    assert by_context(desk) == {0: [0x1001], 2: [0x2001]}


def test_what_a_station_deletes_is_emptied_in_its_own_context(at_two) -> None:
    async def scene(desk: Desk) -> None:
        desk.negotiate(negotiated(0x1001))
        desk.negotiate(negotiated(0x2001, connection=SECOND))
        await desk.until(lambda: desk.agent.loaded == 2)
        desk.delete(0x2001)
        await desk.until(lambda: not desk.agent._tasks)

    assert by_context(at_two(scene)) == {0: [0x1001]}


def test_a_connection_that_ended_is_forgotten(at_two) -> None:
    async def scene(desk: Desk) -> None:
        desk.agent._on_event(IkeSaClosed(SECOND, CloseReason.PEER, ()))
        assert list(desk.agent._of_connection) == [1]

    at_two(scene)


def test_a_context_that_the_nic_has_not_ends_the_start(psk) -> None:
    board = Board(NicModel(contexts=2))
    standby = replace(STANDBY, psk_file=str(psk))
    with pytest.raises(
        CapabilityError, match=r"context 2, but the contexts of this NIC are 0 to 1"
    ):
        start(psk, board, other_stations=(standby,))
    assert board.closed == 1


def test_a_key_of_another_station_that_cannot_be_used_leaves_the_nic_as_it_is(psk, tmp_path):
    board = Board()
    missing = replace(STANDBY, psk_file=str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="missing: No such file"):
        start(psk, board, other_stations=(missing,))
    assert board.opened == 0


# --- heartbeat ----------------------------------------------------------------------------------


def test_the_heart_beats_on_while_an_sa_waits_for_a_bank(at_desk) -> None:
    async def scene(desk: Desk) -> None:
        desk.board.occupy()
        desk.negotiate(negotiated())
        await desk.until(lambda: desk.stages > 1)
        beats, stages = desk.beats, desk.stages
        await desk.until(lambda: desk.beats >= beats + 5 and desk.stages >= stages + 5)
        assert desk.agent._loads

    at_desk(scene)


def test_the_heart_beats_again_when_the_nic_is_back(at_desk, caplog) -> None:
    async def scene(desk: Desk) -> None:
        await desk.until(lambda: desk.beats > 1)
        desk.board.lost = True
        tries = 0

        def refused() -> Board:
            nonlocal tries
            tries += 1
            raise TransportError("there is no NIC")

        desk.agent._nic._connect = refused
        desk.negotiate(negotiated())
        await desk.until(lambda: tries > 5)
        desk.agent._nic._connect = desk.board.connect
        desk.board.lost, beats = False, desk.beats
        await desk.until(lambda: desk.beats > beats + 1)
        desk.negotiate(negotiated(0x2001))
        await desk.until(lambda: desk.agent.loaded == 1)

    caplog.set_level(logging.INFO)
    at_desk(scene)
    assert caplog.text.count("no heartbeat: ") == 1
    assert caplog.text.count("the NIC is back") == 1
    assert "SA 0xc0de0101 is given up" in caplog.text


def test_the_heart_stops_in_good_order_with_the_agent(at_desk) -> None:
    async def scene(desk: Desk) -> None:
        await desk.until(lambda: desk.beats > 1)
        assert desk.board.nic.host.state(True) is HostState.OS_UP

    desk = at_desk(scene)
    assert desk.board.nic.host.state(True) is HostState.PRE_BOOT


# --- start --------------------------------------------------------------------------------------


def start(psk: Path, board: Board, **changes: object) -> None:
    async def scene() -> None:
        agent = Agent(agent_config(**({"psk_file": str(psk)} | changes)), board.connect)
        try:
            await agent.start()
        finally:
            await agent.stop()

    play(scene)


def test_a_key_that_cannot_be_used_leaves_the_nic_as_it_is(psk) -> None:
    board = Board()
    psk.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 0600"):
        start(psk, board)
    assert board.opened == 0


def test_no_nic_and_no_suite_end_the_start(psk) -> None:
    with pytest.raises(TransportError, match="no NIC"):
        start(psk, Board(lost=True))
    board = Board()
    read = board.read
    board.read = lambda addr: 0b010 if addr == address("SUITES") else read(addr)
    with pytest.raises(CapabilityError, match="none of the suites"):
        start(psk, board, suites=("aes-gcm-256",))
    assert board.closed == 1


def test_what_ike_takes_from_the_configuration(psk) -> None:
    config = agent_config(
        psk_file=str(psk),
        suites=("aes-gcm-128",),
        groups=("p256",),
        ike_suites=("aes-cbc-256-hmac-sha-512",),
        additional_key_exchange=("ml-kem-1024",),
        ike_retransmit_s=0.25,
        ike_sends=7,
        ike_port=1500,
        natt_port=1501,
    )
    endpoint = endpoint_config(config)
    assert (endpoint.ike_port, endpoint.natt_port) == (1500, 1501)
    assert (endpoint.timing.retransmit_first, endpoint.timing.sends) == (0.25, 7)
    assert endpoint.ike.groups == (Group.P256,)
    assert endpoint.ike.suites == (IkeSuite.AES_CBC_256_HMAC_SHA_512,)
    assert endpoint.ike.additional == (Group.ML_KEM_1024,)
    (peer,) = station_peers(config)
    assert peer.child.suites == wanted_suites(config)
    assert peer.child.groups == (Group.P256,)
    assert peer.psk is not None
    assert peer.psk.reveal() == PSK


# --- with a real station ------------------------------------------------------------------------


@pytest.fixture
def play_world(tmp_path, monkeypatch):
    """Runs a scene with station, agent and NIC model."""

    def run(scene: Callable[[World], Awaitable[None]]) -> None:
        async def whole() -> None:
            await play_scene(World(tmp_path, "raw"), monkeypatch.setattr, scene)

        asyncio.run(whole())

    return run


def test_killed_while_staging_the_next_agent_serves_the_station(play_world) -> None:
    async def scene(world: World) -> None:
        world.lan.nic = NicModel(ack_ms=300, grace_ms=100)
        killed = asyncio.Event()
        loop = asyncio.get_running_loop()
        board = Board(world.lan.nic, lock=world.lan.lock)

        def hook(addr: int, _value: int) -> None:
            if addr == address("STAGE_KEY_OUT"):
                board.lost = True
                loop.call_soon_threadsafe(killed.set)
                raise TransportError("killed")

        board.hook = hook
        world.lan.os_up = True
        world.agent = Agent(world.agent_config, board.connect)
        await world.agent.start()
        await world.start_station(ready_timeout_s=0.5)
        async with asyncio.timeout(PATIENCE_S):
            await killed.wait()
        await world.hang()
        world.lan.kill(HOST_IP)
        assert board.states() == [BankState.STAGED]
        await world.boot()
        await world.proven(1)
        assert board.states() == [BankState.PROVEN]

    play_world(scene)


def test_a_nic_that_refuses_an_sa_keeps_the_old_and_gets_the_next(play_world) -> None:
    async def scene(world: World) -> None:
        world.lan.nic = NicModel(ack_ms=300, grace_ms=100)
        board = Board(world.lan.nic, lock=world.lan.lock)
        world.lan.os_up = True
        config = replace(world.agent_config, busy_timeout_s=0.0)
        world.agent = Agent(config, board.connect)
        await world.agent.start()
        await world.start_station(refresh_period_s=0.3)
        await world.proven(1)
        refused = 0

        def hook(addr: int, value: int) -> None:
            nonlocal refused
            if (addr, value) == (address("SA_COMMAND"), SadCommand.READY) and refused < 2:
                refused += 1
                # As if a word had been lost on the line: the NIC finds the SA incomplete.
                world.lan.nic.sad.banks[:] = [
                    replace(bank, staged={}) if bank.state is BankState.STAGED else bank
                    for bank in world.lan.nic.sad.banks
                ]

        board.hook = hook
        await world.until(lambda: refused == 2)
        assert BankState.PROVEN in board.states()
        await world.proven(2)

    play_world(scene)


def test_the_heart_stops_when_the_agent_dies_and_the_nic_knows(play_world) -> None:
    async def scene(world: World) -> None:
        await world.boot()
        await world.start_station()
        await world.proven(1)
        await world.until(lambda: world.shows(HostState.OS_UP))
        await world.hang()
        await world.until(lambda: world.shows(HostState.OS_HUNG))

    play_world(scene)
