"""Tests of sw.agent.nic: the NIC opened, told what it has to know, and opened again."""

from __future__ import annotations

import asyncio
import stat
import time
from functools import partial
from pathlib import Path

import pytest

from spec.host import HostState
from spec.registers import STORE_SAVE_CONFIG
from spec.sa import BankState
from spec.suites import Suite
from sw.agent.nic import open_transport, state_of
from sw.nic import CapabilityError, NicDriver, SaStatus, StagedSa, TransportError, WrongNicError
from verif.model.nic import NicModel
from verif.unit.sw.agent.board import Board, address, agent_config, agent_nic, play
from verif.unit.sw.nic import fake_board
from verif.unit.sw.nic.fake_board import FakeNic, serial_board, socket_board
from verif.unit.sw.nic.test_sa import staged

BOTH = (Suite.ESP_AES_GCM_16_256, Suite.ESP_AES_GCM_16_128)


def test_the_nic_is_told_all_that_the_configuration_says() -> None:
    board = Board()
    nic = agent_nic(board, enterprise=4711, heartbeat_window_s=1.5, clear_off=True)

    async def scene() -> None:
        assert await nic.suites(BOTH) == BOTH
        await nic.call(NicDriver.heartbeat)
        await nic.stop()

    play(scene)
    assert board.nic.host_mac == 0x02_00_00_00_00_10
    assert board.nic.host_ip == 0xC000020A
    for name, value in (
        *(("ENTERPRISE", 4711), ("HEARTBEAT_MS", 1500), ("POLICY", 3)),
        ("ALERTS", 60 << 16 | 1),
    ):
        assert board.nic.bus_read(name) == value
    assert (board.opened, board.closed) == (1, 1)


def test_an_orderly_stop_is_no_hang() -> None:
    board = Board()

    async def scene() -> None:
        nic = agent_nic(board)
        await nic.call(NicDriver.heartbeat)
        assert board.nic.host.state(True) is HostState.OS_UP
        await nic.stop()

    play(scene)
    board.nic.advance(10_000)
    assert board.nic.host.state(True) is HostState.PRE_BOOT


@pytest.mark.parametrize("zeroised", [False, True])
def test_a_nic_that_lost_its_power_is_configured_anew_by_the_next_heartbeat(
    caplog, zeroised: bool
) -> None:
    board = Board()

    async def scene() -> None:
        nic = agent_nic(board)
        await nic.beat()
        told = len(board.writes)
        await nic.beat()
        assert len(board.writes) == told + 1  # nothing but the heartbeat
        if zeroised:
            board.nic.set_pins(zeroise=True)
            board.nic.set_pins(zeroise=False)
        else:
            board.nic = NicModel()
        await nic.beat()
        await nic.stop()

    play(scene)
    assert board.nic.host_mac == 0x02_00_00_00_00_10
    assert board.nic.host_ip == 0xC000020A
    assert board.nic.bus_read("POLICY") == 1
    assert caplog.text.count("configured anew") == 1
    assert board.opened == 1


SAVE = (address("STORE_COMMAND"), STORE_SAVE_CONFIG)


@pytest.mark.parametrize("what", ["nothing", "configuration", "sas"])
def test_what_the_nic_is_to_keep_over_a_loss_of_power(caplog, what: str) -> None:
    board = Board(NicModel(has_store=True))

    async def scene() -> None:
        nic = agent_nic(
            board,
            nic_store=what,
            clear_port="nothing",
            alerts=False,
            alert_heartbeat_s=0,
            heartbeat_window_s=2.0,
        )
        await nic.beat()
        await nic.beat()
        assert board.writes.count(SAVE) == (what != "nothing")
        board.nic.power_cut()
        kept = [board.nic.bus_read(name) for name in ("HOST_IP", "POLICY", "CLEAR_PORT")]
        assert kept == (
            [0, 0, 1] if what == "nothing" else [0xC000020A, 1 | 8 * (what == "sas"), 0]
        )
        # What is not kept, as the heartbeat's window, it is told again.
        await nic.beat()
        assert board.nic.bus_read("HEARTBEAT_MS") == 2000
        await nic.stop()

    play(scene)
    assert board.writes.count(SAVE) == 2 * (what != "nothing")
    assert "no store" not in caplog.text


def test_a_line_that_comes_and_goes_wears_no_flash() -> None:
    board = Board(NicModel(has_store=True))

    async def scene() -> None:
        nic = agent_nic(board, nic_store="configuration")
        for _ in range(5):
            await nic.beat()
            board.lost = True
            with pytest.raises(TransportError):
                await nic.beat()
            board.lost = False
        await nic.stop()

    play(scene)
    assert board.opened == 5
    assert board.writes.count(SAVE) == 1


def test_a_nic_without_a_store_is_told_of(caplog) -> None:
    board = Board()

    async def scene() -> None:
        nic = agent_nic(board, nic_store="sas")
        await nic.beat()
        await nic.beat()
        await nic.stop()

    play(scene)
    assert SAVE not in board.writes
    assert caplog.text.count("the NIC has no store") == 1


def test_policy_is_only_tightened(caplog) -> None:
    board = Board()
    board.nic.bus_write("POLICY", 1)

    async def scene() -> None:
        nic = agent_nic(board, station_authorised=False, clear_off=True)
        await nic.call(NicDriver.heartbeat)
        await nic.stop()

    play(scene)
    assert board.nic.bus_read("POLICY") == 3
    assert "can only be tightened" in caplog.text


def test_the_clear_port_is_told_and_locked_last(caplog) -> None:
    board = Board()

    async def scene(**changes: object) -> None:
        nic = agent_nic(board, **changes)
        await nic.beat()
        told = len(board.writes)
        await nic.beat()
        assert len(board.writes) == told + 1  # nothing but the heartbeat
        await nic.stop()

    play(lambda: scene(clear_port="everything", clear_after_s=60, lock_settings=True))
    assert board.nic.bus_read("CLEAR_PORT") == 0x003C0102
    assert board.nic.bus_read("POLICY") == 5
    assert board.nic.host_ip == 0xC000020A
    assert "locked" not in caplog.text
    play(lambda: scene(clear_port="nothing"))
    assert board.nic.bus_read("CLEAR_PORT") == 0x003C0102
    assert "locked as they are" in caplog.text


def test_alerts_are_turned_on_in_a_nic_that_is_locked(caplog) -> None:
    board = Board()

    async def scene(**changes: object) -> None:
        nic = agent_nic(board, **changes)
        await nic.beat()
        told = len(board.writes)
        await nic.beat()
        assert len(board.writes) == told + 1  # nothing but the heartbeat
        await nic.stop()

    play(lambda: scene(alerts=False, alert_heartbeat_s=30, lock_settings=True))
    assert board.nic.bus_read("ALERTS") == 30 << 16
    play(lambda: scene(alerts_clear=True))
    assert board.nic.bus_read("ALERTS") == 30 << 16 | 1
    assert "locked as they are" in caplog.text


@pytest.mark.parametrize("register", ["ID", "MAP_HASH"])
def test_another_nic_is_left_alone_and_its_line_closed(register: str) -> None:
    fake = FakeNic()
    fake.values[fake_board.address(register)] ^= 1

    async def scene() -> None:
        nic = agent_nic(fake)
        try:
            await nic.suites(BOTH)
        finally:
            await nic.stop()

    with pytest.raises(WrongNicError, match="0x"):
        play(scene)
    assert fake.writes == []
    assert fake.closed


def test_the_line_is_closed_when_the_nic_goes_away_while_it_is_told() -> None:
    board = Board()

    def hook(addr: int, _value: int) -> None:
        if addr == address("HOST_IP"):
            raise TransportError("cut")

    board.hook = hook

    async def scene() -> None:
        nic = agent_nic(board)
        for _ in range(2):
            with pytest.raises(TransportError, match="cut"):
                await nic.suites(BOTH)
        board.hook = lambda _addr, _value: None
        assert await nic.suites(BOTH) == BOTH
        await nic.stop()

    play(scene)
    assert (board.opened, board.closed) == (3, 3)


def test_a_nic_that_went_away_is_opened_and_told_again() -> None:
    board = Board()

    async def scene() -> None:
        nic = agent_nic(board)
        await nic.call(NicDriver.heartbeat)
        board.lost = True
        for _ in range(3):
            with pytest.raises(TransportError):
                await nic.call(NicDriver.heartbeat)
        # It lost its power meanwhile, and what it was told.
        board.lost, board.nic = False, type(board.nic)()
        await nic.call(NicDriver.heartbeat)
        assert board.nic.host_ip == 0xC000020A
        await nic.stop()

    play(scene)
    assert (board.opened, board.closed) == (2, 2)


def test_stop_without_a_nic_is_harmless(caplog) -> None:
    board = Board()

    async def scene() -> None:
        nic = agent_nic(board)
        await nic.call(NicDriver.heartbeat)
        board.lost = True
        await nic.stop()
        await agent_nic(Board(lost=True)).stop()

    play(scene)
    assert "could not be told of the stop" in caplog.text


def test_suites_are_those_that_both_have_preferred_first() -> None:
    fake = FakeNic()

    async def scene() -> None:
        for bits, wanted, usable in (
            (0b110, BOTH, BOTH),
            (0b110, BOTH[::-1], BOTH[::-1]),
            (0b010, BOTH, (Suite.ESP_AES_GCM_16_128,)),
        ):
            fake.values[fake_board.address("SUITES")] = bits
            nic = agent_nic(fake)
            assert await nic.suites(wanted) == usable
            await nic.stop()
        fake.values[fake_board.address("SUITES")] = 0b010
        nic = agent_nic(fake)
        with pytest.raises(CapabilityError, match=r"it has: ESP_AES_GCM_16_128$"):
            await nic.suites((Suite.ESP_AES_GCM_16_256,))
        await nic.stop()

    play(scene)


def load(board: Board, sa: StagedSa) -> None:
    NicDriver(board).stage_sa(sa)


def test_only_the_bank_that_is_unproven_and_has_this_spi_is_emptied() -> None:
    board = Board()
    load(board, staged(spi_in=0x1001))
    board.nic.sad.prove(0)
    load(board, staged(spi_in=0x1002))

    async def scene() -> None:
        nic = agent_nic(board)
        assert not await nic.abort_unproven(0x1001)
        assert not await nic.abort_unproven(0x1003)
        assert not await nic.abort_unproven(0)
        assert board.states() == [BankState.PROVEN, BankState.READY]
        assert await nic.abort_unproven(0x1002)
        assert not await nic.abort_unproven(0x1002)
        await nic.stop()

    play(scene)
    assert board.states() == [BankState.PROVEN]


def test_state_of_a_bank_by_its_spi() -> None:
    status = SaStatus(BankState.PROVEN, BankState.STAGED, False, 0x1001, 0x1002)
    found = [state_of(status, spi) for spi in (0x1001, 0x1002, 0x1003)]
    assert found == [BankState.PROVEN, BankState.STAGED, BankState.EMPTY]


@pytest.mark.parametrize("register", ["SA_STATUS", "HOST_STATUS"])
def test_a_state_that_nobody_knows_is_an_error_in_words(register: str) -> None:
    fake = FakeNic()
    fake.values[fake_board.address(register)] = 0xF

    async def scene() -> None:
        nic = agent_nic(fake)
        look = NicDriver.sa_status if register == "SA_STATUS" else NicDriver.host_status
        with pytest.raises(WrongNicError, match=r"unknown (Bank|Host)State 15"):
            await nic.call(look)
        await nic.stop()

    play(scene)


def test_transports_that_the_configuration_names(tmp_path: Path) -> None:
    fake = FakeNic()
    with socket_board(tmp_path / "nic", fake):
        transport = open_transport(agent_config(nic_socket=str(tmp_path / "nic")))
        assert transport.read(fake_board.address("PACKET_MAX")) == 1500
        transport.close()
    with serial_board(fake) as path:
        assert stat.S_ISCHR(Path(path).stat().st_mode)
        transport = open_transport(agent_config(nic_socket="", nic_serial=path))
        assert transport.read(fake_board.address("PACKET_MAX")) == 1500
        transport.close()
    with pytest.raises(TransportError, match="missing"):
        open_transport(agent_config(nic_socket=str(tmp_path / "missing")))


def test_calls_are_made_in_order_and_none_beside_another() -> None:
    inside, order = 0, []

    async def scene() -> None:
        nic = agent_nic(Board())

        def work(number: int, _driver: NicDriver) -> None:
            nonlocal inside
            inside += 1
            # Long enough for another to come beside it, if one could.
            time.sleep(0.001)
            assert inside == 1
            order.append(number)
            inside -= 1

        await asyncio.gather(*(nic.call(partial(work, number)) for number in range(50)))
        await nic.stop()

    play(scene)
    assert order == list(range(50))
