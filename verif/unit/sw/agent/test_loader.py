"""Tests of sw.agent.loader: an SA gets into the NIC whole or not at all, and no key is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from spec.sa import BankState, SadCommand, SadResult
from spec.suites import Suite
from sw.agent import loader
from sw.agent.loader import load, staged_from
from sw.ike.events import ChildSaEstablished
from sw.nic import (
    CapabilityError,
    NicError,
    SadBadSpiError,
    SadBusyError,
    SadError,
    SadIncompleteError,
    SadTimeoutError,
    SadUnsupportedError,
    StagedSa,
    TransportError,
    WrongNicError,
)
from verif.model.nic import NicModel
from verif.unit.sw.agent.board import (
    AUTHS,
    KEYS,
    SALTS,
    Board,
    address,
    agent_nic,
    cbc_negotiated,
    forgotten,
    negotiated,
    play,
)
from verif.unit.sw.nic import fake_board
from verif.unit.sw.nic.fake_board import FakeNic

LAYOUT_WRITES = 11 + 16
"""Of an SA of 256 bits: single registers and key words."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(loader, "BUSY_PAUSE_S", 0.001)
    monkeypatch.setattr("sw.nic.driver.POLL_COUNT", 3)


async def load_new(board: Board | FakeNic, *, tries: float = 0.0, wanted=lambda: True) -> None:
    """Load a new SA; its time is counted in looks at the clock."""
    ticks = count()
    nic = agent_nic(board)
    try:
        await load(
            nic,
            staged_from(negotiated()),
            busy_timeout_s=tries,
            time=lambda: float(next(ticks)),
            wanted=wanted,
        )
    finally:
        await nic.stop()


def test_the_model_holds_the_sa_that_was_negotiated() -> None:
    board = Board()
    play(lambda: load_new(board))
    bank = board.nic.sad.banks[0]
    assert bank.state is BankState.READY
    assert (bank.spi_in, bank.spi_out, bank.peer_ip, bank.esn) == (
        0xC0DE0101,
        0xC0DE0102,
        0xC0000201,
        True,
    )
    assert bank.inbound is not None
    assert bank.outbound is not None
    assert (bank.inbound.key, bank.outbound.key) == KEYS
    assert (bank.inbound.salt, bank.outbound.salt) == SALTS


def test_the_model_holds_the_hmac_keys_that_were_negotiated() -> None:
    board = Board()

    async def scene() -> None:
        nic = agent_nic(board)
        try:
            await load(nic, staged_from(cbc_negotiated()), busy_timeout_s=0.0, time=lambda: 0.0)
        finally:
            await nic.stop()

    play(scene)
    bank = board.nic.sad.banks[0]
    assert bank.state is BankState.READY
    assert bank.inbound is not None
    assert bank.outbound is not None
    assert (bank.inbound.key, bank.outbound.key) == KEYS
    assert (bank.inbound.auth, bank.outbound.auth) == AUTHS


# --- keys ---------------------------------------------------------------------------------------


def refusing(command: SadCommand, result: SadResult | int) -> FakeNic:
    return FakeNic({command: [int(result)]})


def changed(register: str, value: int) -> FakeNic:
    nic = FakeNic()
    nic.values[fake_board.address(register)] = value
    return nic


def cut_at(register: str) -> Board:
    """Whose way is cut when the driver writes this register."""
    board = Board()

    def hook(addr: int, _value: int) -> None:
        if addr == address(register):
            board.lost = True
            raise TransportError("the line was cut")

    board.hook = hook
    return board


def occupied() -> Board:
    board = Board()
    board.occupy()
    return board


OUTCOMES: dict[str, tuple[Callable[[], Board | FakeNic], type[Exception] | None]] = {
    "loaded": (Board, None),
    "busy": (occupied, SadBusyError),
    "missing": (lambda: Board(lost=True), TransportError),
    "no NIC of ours": (lambda: changed("ID", 1), WrongNicError),
    "other map": (lambda: changed("MAP_HASH", 1), WrongNicError),
    "no suite": (lambda: changed("SUITES", 0b010), CapabilityError),
    "small window": (lambda: changed("LIMITS", 1 | 2 << 8 | 32 << 12), CapabilityError),
    "cut at the SPI": (lambda: cut_at("STAGE_SPI_IN"), TransportError),
    "cut at a key": (lambda: cut_at("STAGE_KEY_OUT"), TransportError),
    "incomplete": (lambda: refusing(SadCommand.READY, SadResult.INCOMPLETE), SadIncompleteError),
    "unsupported": (lambda: refusing(SadCommand.READY, SadResult.UNSUPPORTED), SadUnsupportedError),
    "bad SPI": (lambda: refusing(SadCommand.READY, SadResult.BAD_SPI), SadBadSpiError),
    "never ends": (lambda: refusing(SadCommand.READY, SadResult.PENDING), SadTimeoutError),
    "unheard of": (lambda: refusing(SadCommand.STAGE, 99), SadError),
}


@dataclass
class Kept:
    """Every buffer that an SA was staged from."""

    buffers: list[bytearray] = field(default_factory=list)

    def stage(self, **values) -> StagedSa:
        """Stands for `StagedSa`."""
        names = ("key_in", "key_out", "salt_in", "salt_out", "auth_in", "auth_out")
        self.buffers += [values[name] for name in names]
        assert b"".join(self.buffers) in (b"".join(KEYS + SALTS), b"".join(KEYS + AUTHS))
        return StagedSa(**values)

    @property
    def zeros(self) -> bool:
        """Whether they hold nothing but zeros, at their full length."""
        return b"".join(self.buffers) in (bytes(72), bytes(128))


@pytest.fixture
def kept(monkeypatch) -> Kept:
    kept = Kept()
    monkeypatch.setattr(loader, "StagedSa", kept.stage)
    return kept


@pytest.mark.parametrize(
    ("outcome", "negotiate"),
    [
        *((outcome, negotiated) for outcome in OUTCOMES),
        *((outcome, cbc_negotiated) for outcome in ("loaded", "busy", "missing", "cut at a key")),
    ],
)
def test_no_key_is_left_whatever_comes_of_it(
    kept: Kept, caplog, outcome: str, negotiate: Callable[[], ChildSaEstablished]
) -> None:
    """SEC: AGENT.KEYS_FORGOTTEN: the event's secrets and the driver's buffers hold zeros."""
    make, error = OUTCOMES[outcome]
    event = negotiate()

    async def scene() -> None:
        nic = agent_nic(make())
        try:
            await load(nic, staged_from(event), busy_timeout_s=0.0, time=lambda: 0.0)
        finally:
            await nic.stop()

    caplog.set_level("DEBUG")
    if error is None:
        play(scene)
    else:
        with pytest.raises(error) as caught:
            play(scene)
        assert type(caught.value) is error
        assert "SA 0xc0de0101 was not loaded: " + str(caught.value) in caplog.text
        secrets = ("KEY-", "SLT", "HMAC-", KEYS[0].hex()[:16], AUTHS[0].hex()[:16])
        assert not any(word in caplog.text for word in secrets)
    assert forgotten(event)
    assert kept.zeros


@pytest.mark.parametrize(
    "changes", [{"suite": Suite.ESP_AES_GCM_16_128}, {"spi_out": 1}, {"suite": Suite.NONE}]
)
def test_no_key_is_left_of_what_no_nic_takes(kept: Kept, changes) -> None:
    event = negotiated(**changes)
    with pytest.raises(ValueError, match=r"octets|reserved|suite"):
        staged_from(event)
    assert forgotten(event)
    assert kept.zeros


def test_wipe_of_an_event_that_is_not_to_be_loaded() -> None:
    event = negotiated()
    assert not forgotten(event)
    event.wipe()
    assert forgotten(event)


def test_cancelled_while_it_waits_for_a_bank(kept: Kept) -> None:
    board, tried = occupied(), threading.Event()

    def hook(_addr: int, _value: int) -> None:
        if len(board.writes) > 10:
            tried.set()

    board.hook = hook

    async def scene() -> None:
        task = asyncio.create_task(load_new(board, tries=1e9))
        await asyncio.to_thread(tried.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(scene)
    assert kept.zeros
    assert board.states() == [BankState.READY]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_cancelled_while_the_driver_writes_keys_it_writes_them_whole(kept: Kept, times) -> None:
    """Wiping under the driver's hands would load zeros for a key."""
    board = Board()
    reached, go_on = threading.Event(), threading.Event()

    def hook(addr: int, _value: int) -> None:
        if addr == address("STAGE_KEY_IN"):
            reached.set()
            go_on.wait()

    board.hook = hook

    async def scene() -> None:
        task = asyncio.create_task(load_new(board))
        await asyncio.to_thread(reached.wait)
        for _ in range(times):
            task.cancel()
            for _turn in range(5):
                await asyncio.sleep(0)
        early = task.done() or kept.zeros
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not early

    try:
        play(scene)
    finally:
        go_on.set()
    assert kept.zeros
    bank = board.nic.sad.banks[0]
    assert bank.state is BankState.READY
    assert bank.inbound is not None
    assert bank.inbound.key == KEYS[0]


# --- waiting ------------------------------------------------------------------------------------


def test_it_tries_again_until_a_bank_is_free() -> None:
    board = occupied()

    def hook(addr: int, value: int) -> None:
        if (addr, value) == (address("SA_COMMAND"), SadCommand.STAGE):
            board.nic.advance(2500)

    board.hook = hook
    play(lambda: load_new(board, tries=1e9))
    # The acknowledge timer of 10 s ended the other.
    assert board.nic.now_ms == 10_000
    assert board.states() == [BankState.READY]
    assert board.nic.sad.banks[0].spi_in == 0xC0DE0101


@pytest.mark.parametrize("tries", [0, 1, 5])
def test_it_gives_up_when_its_time_is_over(tries: int) -> None:
    board = occupied()
    with pytest.raises(SadBusyError, match="no bank is free"):
        play(lambda: load_new(board, tries=tries))
    stages = [w for w in board.writes if w == (address("SA_COMMAND"), SadCommand.STAGE)]
    assert len(stages) == max(1, tries)
    assert board.states() == [BankState.READY]


def test_it_gives_up_once_it_is_not_wanted() -> None:
    board = occupied()
    answers = iter([True, True, True, False])

    def wanted() -> bool:
        answer = next(answers)
        if not answer:
            board.free()
        return answer

    with pytest.raises(SadBusyError, match="a newer SA"):
        play(lambda: load_new(board, tries=1e9, wanted=wanted))
    assert board.states() == []


# --- an agent that dies -------------------------------------------------------------------------


@pytest.mark.parametrize("writes", range(LAYOUT_WRITES + 2))
def test_killed_while_staging_the_next_agent_recovers(writes: int) -> None:
    """Killed after any write: nothing is received under what it left, and the next SA gets in."""
    board = Board(NicModel(ack_ms=10_000))
    left = writes

    def hook(addr: int, _value: int) -> None:
        nonlocal left
        staging = address("STAGE_SPI_IN") <= addr < address("COUNTERS")
        if addr == address("SA_COMMAND") or staging:
            if left == 0:
                board.lost = True
                raise TransportError("killed")
            left -= 1

    board.hook = hook
    with pytest.raises(NicError):
        play(lambda: load_new(board))
    assert board.states() == ([BankState.STAGED] if writes else [])
    assert not any(board.nic.sad.receiving(number) for number in (0, 1))
    board.lost, board.hook = False, lambda _addr, _value: None
    play(lambda: load_new(board))
    assert board.states() == [BankState.READY]
    bank = next(bank for bank in board.nic.sad.banks if bank.state is BankState.READY)
    assert bank.inbound is not None
    assert (bank.spi_in, bank.inbound.key) == (0xC0DE0101, KEYS[0])


def test_killed_before_it_said_ready_the_next_agent_waits_for_the_nics_timer() -> None:
    board = Board()
    play(lambda: load_new(board))
    board.hook = lambda _addr, _value: board.nic.advance(300)
    play(lambda: load_new(board, tries=1e9))
    assert board.nic.now_ms >= 10_000
    assert board.states() == [BankState.READY]
