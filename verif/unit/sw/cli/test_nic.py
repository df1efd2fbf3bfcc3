"""Tests of `holdfast nic show`."""

from __future__ import annotations

from pathlib import Path

import pytest

from spec.counters import Counter
from spec.sa import BankState
from sw.cli.host_commands import describe_nic
from sw.cli.output import Exit
from sw.nic import NicDriver
from verif.unit.sw.agent.board import Board
from verif.unit.sw.cli.place import Place
from verif.unit.sw.nic.fake_board import FakeNic, address, serial_board, socket_board
from verif.unit.sw.nic.test_sa import staged


def test_a_nic_as_people_and_programs_see_it(holdfast: Place) -> None:
    nic = FakeNic()
    nic.values[address("HOST_STATUS")] = 3 | 1 << 4
    nic.values[address("SA_STATUS")] = BankState.PROVEN
    nic.values[address("SA_SPI_IN")] = 0xC0DE0101
    nic.values[address("STORE_STATUS")] = 0x1501
    nic.values[address("EVENTS")] = 1
    nic.values[address("EVENT", 0)] = 0x00000231
    nic.values[address("COUNTERS", Counter.PASSED)] = 17
    words = ("nic", "show", "--socket", str(holdfast.nic))
    with socket_board(holdfast.nic, nic):
        reply = holdfast(*words, "--json")
    assert reply.code == Exit.OK
    assert list(reply.value) == [
        *("nic", "host", "policy", "store", "clear_port", "banks", "events", "counters"),
    ]
    assert reply.value["nic"]["version"] == "3.0"
    assert reply.value["host"]["state"] == "OS_HUNG"
    assert reply.value["host"]["watchdog_expired"] is True
    assert reply.value["banks"]["0A"] == {
        "state": "PROVEN",
        "spi_in": "0xc0de0101",
        "limit": None,
        "use": None,
    }
    assert reply.value["store"]["contexts"] == "0, 2"
    assert [reply.value["store"][key] for key in ("present", "config", "failing")] == [
        True,
        True,
        False,
    ]
    assert reply.value["events"] == [
        {"number": 0, "kind": "STATE", "state": "OS_HUNG", "before": "OS_UP", "code": 0}
    ]
    assert reply.value["counters"]["PASSED"] == 17
    assert set(reply.value["counters"]) == {counter.name for counter in Counter}
    holdfast.nic.unlink()
    with socket_board(holdfast.nic, nic):
        lines = holdfast(*words).out.splitlines()
    assert ["0A", "PROVEN", "0xc0de0101", "-", "-", "-"] in [line.split() for line in lines]
    assert ["0", "STATE", "OS_HUNG", "OS_UP", "0"] in [line.split() for line in lines]
    assert ["PASSED", "17"] in [line.split() for line in lines]
    assert nic.writes == []


def test_a_nic_on_a_serial_line(holdfast: Place) -> None:
    with serial_board(FakeNic()) as path:
        assert holdfast("nic", "show", "--serial", path, "--json").value["nic"]["window"] == 64


def test_no_key_of_an_sa_is_shown() -> None:
    board = Board()
    driver = NicDriver(board)
    driver.stage_sa(staged())
    shown = str(describe_nic(driver))
    assert "READY" in shown
    for secret in (b"KEYI", b"KEYO", b"SLTA", b"SLTB"):
        assert secret.hex() not in shown
        assert str(int.from_bytes(secret, "big")) not in shown


def test_what_passed_under_a_bank_and_a_limit_that_is_reached(holdfast: Place) -> None:
    nic = FakeNic()
    nic.values[address("LIMITS")] |= 1 << 29
    nic.values[address("SA_STATUS")] = BankState.PROVEN << 4 | 1 << 10 | 1 << 12
    nic.values[address("SA_LIFETIME_HI")] = 1
    nic.values[address("SA_LIFETIME_LO")] = 5
    with socket_board(holdfast.nic, nic):
        reply = holdfast("nic", "show", "--socket", str(holdfast.nic), "--json")
    assert reply.value["banks"]["0A"]["use"] is None
    assert reply.value["banks"]["0B"]["limit"] == "hard"
    number = (1 << 32) + 5
    assert set(reply.value["banks"]["0B"]["use"].values()) == {number}
    assert nic.writes == [(address("SA_LIFETIME"), 1 | n << 8) for n in (0, 2, 1, 3)]
    holdfast.nic.unlink()
    with socket_board(holdfast.nic, nic):
        lines = holdfast("nic", "show", "--socket", str(holdfast.nic)).out.splitlines()
    row = ["0B", "PROVEN", "0x00000000", "hard", *[str(number), f"({number})"] * 2]
    assert row in [line.split() for line in lines]


@pytest.mark.parametrize("way", ["--socket", "--serial"])
def test_a_nic_that_cannot_be_reached(holdfast: Place, tmp_path: Path, way: str) -> None:
    plain = tmp_path / "plain"
    plain.write_text("", encoding="ascii")
    for path in (tmp_path / "missing", tmp_path, plain, Path("/dev/null"), tmp_path / ("x" * 200)):
        reply = holdfast("nic", "show", way, str(path), "--json")
        assert reply.code == Exit.UNAVAILABLE
        assert reply.value["exit_code"] == Exit.UNAVAILABLE
        assert str(path) in reply.value["error"]


@pytest.mark.parametrize(
    ("register", "value", "text"),
    [
        ("ID", 0, "no Holdfast NIC"),
        ("MAP_HASH", 1, "of the same release"),
        ("HOST_STATUS", 0xF, "unknown HostState 15"),
        ("SA_STATUS", 0x90, "unknown BankState 9"),
    ],
)
def test_another_nic(holdfast: Place, register: str, value: int, text: str) -> None:
    nic = FakeNic()
    nic.values[address(register)] = value
    with socket_board(holdfast.nic, nic):
        reply = holdfast("nic", "show", "--socket", str(holdfast.nic), "--json")
    assert reply.code == Exit.UNAVAILABLE
    assert text in reply.value["error"]


@pytest.mark.parametrize("answers", [0, 1, 5, 20])
def test_a_nic_that_hangs_up(holdfast: Place, answers: int) -> None:
    with socket_board(holdfast.nic, FakeNic(), answers=answers):
        reply = holdfast("nic", "show", "--socket", str(holdfast.nic), "--json")
    assert reply.code == Exit.UNAVAILABLE
    assert "virtual board has ended" in reply.value["error"]
