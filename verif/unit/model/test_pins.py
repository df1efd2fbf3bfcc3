"""Power commands and the pins they move."""

from __future__ import annotations

from spec.counters import Counter
from verif.model import NicModel, Pin
from verif.unit.model.support import PING, Sa, nic, proven

RESET, UP, DOWN, CYCLE = 0x10, 0x11, 0x12, 0x13


class Managed:
    """A NIC and the station that manages it."""

    def __init__(self) -> None:
        self.nic: NicModel = nic()
        self.sa = Sa()
        self.tag = 0
        proven(self.nic, self.sa)

    def command(self, kind: int, *, sequence: int = 1, tag: int | None = None) -> list[Pin]:
        """Sends a command, with a new tag; gives the pins that change at once."""
        if tag is None:
            self.tag += 1
            tag = self.tag
        message = bytes([6, 0, sequence, 6]) + bytes.fromhex("000011be") + bytes([kind, tag, 0, 0])
        outputs = self.nic.wire_receive(self.sa.message(message))
        assert self.nic.verdict is Counter.DELIVERED
        assert len(outputs) >= (sequence != 255)
        return [output for output in outputs if isinstance(output, Pin)]


def test_reset_pulse() -> None:
    managed = Managed()
    assert managed.command(RESET) == [Pin("reset", True, 0)]
    assert managed.nic.bus_read("HOST_STATUS") >> 12 == 1
    assert managed.nic.advance(249) == []
    assert managed.nic.advance(1) == [Pin("reset", False, 250)]
    assert managed.nic.advance(10_000) == []


def test_power_up_presses_only_where_the_host_is_off_or_asleep() -> None:
    managed = Managed()
    assert managed.command(UP) == []
    assert managed.nic.advance(10) == []
    for pin in ("off", "sleep"):
        managed.nic.set_pins(off=pin == "off", sleep=pin == "sleep")
        now = managed.nic.now_ms
        assert managed.command(UP) == [Pin("power", True, now)]
        assert managed.nic.advance(300) == [Pin("power", False, now + 200)]


def test_power_down_holds_until_off_or_five_seconds() -> None:
    managed = Managed()
    assert managed.command(DOWN) == [Pin("power", True, 0)]
    assert managed.nic.advance(4999) == []
    assert managed.nic.advance(1) == [Pin("power", False, 5000)]
    managed.command(DOWN)
    managed.nic.advance(1000)
    managed.nic.set_pins(off=True)
    assert managed.nic.advance(1) == [Pin("power", False, 6001)]
    assert managed.command(DOWN) == []
    assert managed.nic.advance(6000) == []


def test_power_cycle() -> None:
    managed = Managed()
    assert managed.command(CYCLE) == [Pin("power", True, 0)]
    managed.nic.advance(2000)
    managed.nic.set_pins(off=True)
    assert managed.nic.advance(5000) == [
        Pin("power", False, 2001),
        Pin("power", True, 3001),
        Pin("power", False, 3201),
    ]
    assert managed.command(CYCLE) == [Pin("power", True, 7000)]
    assert managed.nic.advance(5000) == [Pin("power", False, 7200)]


def test_a_retransmitted_command_acts_once() -> None:
    managed = Managed()
    assert len(managed.command(RESET, sequence=9, tag=5)) == 1
    managed.nic.advance(1000)
    assert managed.command(RESET, sequence=9, tag=5) == []
    assert managed.command(DOWN, sequence=9, tag=5) == []
    managed.nic.wire_receive(managed.sa.message(PING))
    assert managed.nic.advance(1000) == []
    assert len(managed.command(RESET, sequence=9, tag=6)) == 1
    managed.nic.advance(1000)
    assert len(managed.command(RESET, sequence=8, tag=6)) == 1
    managed.nic.advance(1000)
    assert managed.command(RESET, sequence=9, tag=6) == []
    assert len(managed.command(RESET, sequence=9, tag=5)) == 1


def test_commands_are_remembered_across_sas() -> None:
    managed = Managed()
    managed.command(RESET, sequence=9, tag=5)
    managed.nic.advance(1000)
    managed.nic.set_pins(zeroise=True)
    managed.nic.set_pins(zeroise=False)
    managed.sa = Sa(spi_in=0xC0DE0500)
    proven(managed.nic, managed.sa)
    assert managed.command(RESET, sequence=9, tag=5) == []


def test_one_command_waits_and_a_newer_one_replaces_it() -> None:
    managed = Managed()
    managed.command(RESET)
    assert managed.command(DOWN) == []
    assert managed.command(UP) == []  # replaces DOWN, and then has nothing to do
    assert managed.nic.advance(1000) == [Pin("reset", False, 250)]
    managed.command(RESET)
    managed.command(UP)
    managed.command(DOWN)
    assert managed.nic.advance(6000) == [
        Pin("reset", False, 1250),
        Pin("power", True, 1350),  # the pins rest in between
        Pin("power", False, 6350),
    ]
