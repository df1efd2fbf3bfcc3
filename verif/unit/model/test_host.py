"""The host's state from pins and heartbeat, row by row."""

from __future__ import annotations

import pytest

from spec.host import HostState
from verif.model import NicModel
from verif.unit.model.support import Sa, nic, proven

ALIVE, STOP = 0x48425421, 0x48425453


@pytest.fixture
def model() -> NicModel:
    """A NIC with a proven SA."""
    fresh = nic()
    proven(fresh, Sa())
    return fresh


def state(model: NicModel) -> HostState:
    return HostState(model.bus_read("HOST_STATUS") & 15)


def expired(model: NicModel) -> bool:
    return bool(model.bus_read("HOST_STATUS") >> 4 & 1)


def test_heartbeat_and_its_window(model: NicModel) -> None:
    assert state(model) is HostState.PRE_BOOT
    model.bus_write("HEARTBEAT", 1)
    assert state(model) is HostState.PRE_BOOT
    model.bus_write("HEARTBEAT", ALIVE)
    assert state(model) is HostState.OS_UP
    model.advance(4999)
    assert (state(model), expired(model)) == (HostState.OS_UP, False)
    model.bus_write("HEARTBEAT", ALIVE)
    model.advance(4999)
    assert state(model) is HostState.OS_UP
    model.advance(1)
    assert (state(model), expired(model)) == (HostState.OS_HUNG, True)
    model.bus_write("HEARTBEAT", ALIVE)
    assert (state(model), expired(model)) == (HostState.OS_UP, False)


def test_orderly_stop(model: NicModel) -> None:
    model.bus_write("HEARTBEAT", ALIVE)
    model.bus_write("HEARTBEAT", STOP)
    assert state(model) is HostState.PRE_BOOT
    model.advance(10_000)
    assert (state(model), expired(model)) == (HostState.PRE_BOOT, False)


@pytest.mark.parametrize(
    ("pin", "told"),
    [
        ("reset", HostState.PRE_BOOT),
        ("sleep", HostState.SUSPEND),
        ("off", HostState.SOFT_OFF),
    ],
)
@pytest.mark.parametrize("hung", [False, True])
def test_pins_forget_the_heartbeat(model: NicModel, pin: str, told: HostState, hung: bool) -> None:
    model.bus_write("HEARTBEAT", ALIVE)
    model.advance(5000 * hung)
    model.set_pins(**{pin: True})
    assert (state(model), expired(model)) == (told, False)
    model.bus_write("HEARTBEAT", ALIVE)
    assert state(model) is told
    model.set_pins(**{pin: False})
    assert state(model) is HostState.PRE_BOOT


def test_off_comes_before_sleep_before_reset(model: NicModel) -> None:
    model.set_pins(off=True, sleep=True, reset=True)
    assert state(model) is HostState.SOFT_OFF
    assert model.bus_read("HOST_STATUS") >> 8 & 7 == 7
    model.set_pins(off=False)
    assert state(model) is HostState.SUSPEND
    model.set_pins(sleep=False)
    assert state(model) is HostState.PRE_BOOT


def test_cold_boot_is_told_without_a_proven_sa() -> None:
    model = nic()
    assert state(model) is HostState.COLD_BOOT
    for pin in ("off", "sleep", "reset"):
        model.set_pins(**{pin: True})
        assert state(model) is HostState.COLD_BOOT
        model.set_pins(**{pin: False})
    model.bus_write("HEARTBEAT", ALIVE)
    assert state(model) is HostState.OS_UP
    model.advance(5000)
    assert (state(model), expired(model)) == (HostState.COLD_BOOT, True)


def test_window_is_clamped_and_counts_from_the_next_heartbeat(model: NicModel) -> None:
    model.bus_write("HEARTBEAT", ALIVE)
    model.bus_write("HEARTBEAT_MS", 1)
    assert model.bus_read("HEARTBEAT_MS") == 100
    model.advance(4999)
    assert state(model) is HostState.OS_UP
    model.bus_write("HEARTBEAT", ALIVE)
    model.advance(100)
    assert state(model) is HostState.OS_HUNG
    model.bus_write("HEARTBEAT_MS", 2**32 - 1)
    assert model.bus_read("HEARTBEAT_MS") == 600_000
