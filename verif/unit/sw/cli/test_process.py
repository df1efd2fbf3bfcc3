"""`holdfast` as a process: signals, and standard output that is closed, full or read by nobody."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sw.cli.output import Exit
from verif.unit.sw.cli.place import Place
from verif.unit.sw.nic.fake_board import FakeNic, socket_board


def first_value(process: subprocess.Popen[str]) -> dict[str, object]:
    """The JSON object that a process begins with."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line == "}\n":
            return dict(json.loads(text))
    raise AssertionError(f"it ended, and wrote: {text}")


@pytest.fixture(autouse=True)
def _interrupts_arrive() -> Iterator[None]:
    """Where the tests run in the background of a shell, their children would ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_station_runs_answers_and_stops_in_good_order(holdfast: Place, number) -> None:
    holdfast.add("host")
    process = holdfast.start("station", "run", "--json")
    try:
        assert first_value(process) == {
            "running": True,
            "control_socket": str(holdfast.control),
        }
        shown = holdfast("host", "show", "host", "--json")
        assert shown.value["live"] is True
        twice = holdfast.add("host", "--json")
        assert twice.code == Exit.FAILED
        assert "in the store already" in twice.value["error"]
        assert holdfast("host", "show", "nobody", "--json").code == Exit.USAGE
        second = holdfast("station", "run", "--json")
        assert second.code == Exit.UNAVAILABLE
        assert second.value["exit_code"] == Exit.UNAVAILABLE
        assert holdfast("host", "remove", "host").code == Exit.OK
        assert holdfast("host", "list", "--json").value == []
        process.send_signal(number)
    except BaseException:
        process.kill()
        raise
    finally:
        reply = holdfast.end(process)
    assert (reply.code, reply.out) == (Exit.OK, "")
    assert not holdfast.control.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_agent_runs_and_stops_in_good_order(holdfast: Place, number) -> None:
    nic = FakeNic()
    with socket_board(holdfast.nic, nic):
        process = holdfast.start("agent", "run", "--json")
        try:
            assert first_value(process) == {"running": True}
            process.send_signal(number)
        except BaseException:
            process.kill()
            raise
        finally:
            reply = holdfast.end(process)
    assert (reply.code, reply.out) == (Exit.OK, "")
    assert "agent stopped" in reply.err
    assert nic.writes[-1] == (0x024, 0x48425453)


def test_an_agent_without_a_nic_or_a_key_ends(holdfast: Place) -> None:
    reply = holdfast("agent", "run", "--json")
    assert reply.code == Exit.UNAVAILABLE
    assert reply.value["exit_code"] == Exit.UNAVAILABLE
    holdfast.psk.chmod(0o640)
    reply = holdfast("agent", "run", "--json")
    assert reply.code == Exit.USAGE
    assert "chmod 0600" in reply.value["error"]


def test_an_address_that_is_not_this_machines(holdfast: Place) -> None:
    text = holdfast.config.read_text(encoding="utf-8")
    lines = [
        'address = "192.0.2.77"' if line.startswith("address") else line
        for line in text.splitlines()
    ]
    holdfast.config.write_text("\n".join(lines), encoding="utf-8")
    reply = holdfast("station", "run", "--json")
    assert reply.code == Exit.FAILED
    assert "192.0.2.77" in reply.value["error"]
    with socket_board(holdfast.nic, FakeNic()):
        reply = holdfast("agent", "run", "--json")
    assert reply.code == Exit.FAILED
    assert "192.0.2.77" in reply.value["error"]


def test_ctrl_c_while_the_station_thinks(holdfast: Place) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(holdfast.control))
        server.listen()
        process = holdfast.start("power", "reset", "host", "--json")
        try:
            connection, _ = server.accept()
            with connection:
                assert json.loads(connection.recv(1000))["action"] == "reset"
                process.send_signal(signal.SIGINT)
                reply = holdfast.end(process)
        finally:
            process.kill()
    assert reply.code == Exit.FAILED
    assert reply.value == {"error": "interrupted", "exit_code": 1}
    assert reply.err == "holdfast: interrupted\n"


def unread() -> int:
    """A pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    return writing


OUTPUT_COMMANDS = [("host", "list", "--json"), ("host", "show", "nobody", "--json"), ("--help",)]


@pytest.mark.parametrize("words", OUTPUT_COMMANDS, ids=" ".join)
def test_standard_output_that_nobody_reads(holdfast: Place, words: tuple[str, ...]) -> None:
    holdfast.add("host")
    pipe = unread()
    reply = holdfast.end(holdfast.start(*words, stdout=pipe))
    os.close(pipe)
    # argparse takes no offence when its help is not read.
    assert reply.code == (Exit.OK if words == ("--help",) else Exit.FAILED)
    assert reply.err in ("", "holdfast: there is no host nobody; type: holdfast host list\n")


def test_neither_output_nor_errors_are_read(holdfast: Place) -> None:
    pipe = unread()
    reply = holdfast.end(holdfast.start("host", "list", "--json", stdout=pipe, stderr=pipe))
    os.close(pipe)
    assert reply.code == Exit.FAILED


def test_errors_that_nobody_reads_do_not_harm_the_command(holdfast: Place) -> None:
    pipe = unread()
    reply = holdfast.end(holdfast.start("host", "list", "--json", stderr=pipe))
    os.close(pipe)
    assert reply.code == Exit.FAILED
    assert "there is no store" in reply.value["error"]


def test_a_disk_that_is_full(holdfast: Place) -> None:
    holdfast.add("host")
    with Path("/dev/full").open("w", encoding="ascii") as full:
        for words in (("host", "list"), ("host", "list", "--json")):
            reply = holdfast.end(holdfast.start(*words, stdout=full))
            assert reply.code == Exit.FAILED
            assert "No space left on device" in reply.err


def test_standard_streams_that_are_closed(holdfast: Place) -> None:
    holdfast.add("host")
    for code, words in ((Exit.OK, ("list",)), (Exit.USAGE, ("show", "nobody"))):
        process = holdfast.start(
            "host", *words, preexec_fn=lambda: os.closerange(0, 3), stdout=None, stderr=None
        )
        assert holdfast.end(process).code == code


def test_text_that_the_terminal_cannot_show(holdfast: Place) -> None:
    holdfast.add("höst", "--identity", "host")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    reply = holdfast.end(holdfast.start("host", "remove", "höst", env=environment))
    assert reply.code == Exit.OK
    assert reply.out == "host h\\xf6st and its SAs are forgotten\n"
