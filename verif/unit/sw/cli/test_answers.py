"""What `holdfast` makes of whatever answers on the control socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from sw.cli.output import Exit
from verif.unit.sw.cli.place import Place

COMMANDS = [
    ("host", "list"),
    ("host", "show", "host"),
    ("host", "remove", "host"),
    ("power", "cycle", "host"),
    ("host", "zeroise", "host", "--yes"),
]


@contextlib.contextmanager
def answering(place: Place, answer: bytes) -> Iterator[list[bytes]]:
    """Somebody on the control socket that answers with these octets, and hangs up."""
    requests: list[bytes] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place.control))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                requests.append(stream.readline())
                with contextlib.suppress(OSError):
                    stream.write(answer)
                    stream.flush()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        place.control.unlink()


def line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


RUBBISH = {
    "hangs up": b"",
    "hangs up in mid answer": b'{"ok": true, "resu',
    "hangs up after progress": line(progress="now"),
    "empty line": b"\n",
    "no JSON": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "no UTF-8": b"\xff\xfe\n",
    "number": b"5\n",
    "text": b'"ok"\n',
    "list": b'["progress", "ok"]\n',
    "null": b"null\n",
    "deep": b"[" * 100_000 + b"\n",
    "without end": b"x" * (2 << 20),
    "digits": b'{"ok": ' + b"9" * 5000 + b"}\n",
    "empty object": b"{}\n",
    "no result": line(ok=True),
    "number as result": line(ok=True, result=5),
    "numbers as hosts": line(ok=True, result=[1, 2]),
    "text as result": line(ok=True, result="done"),
    "unheard-of error": line(ok=False, error="melted", text="t"),
    "error that is none": line(ok=False, error=[], text=7),
    "without words": line(ok=False, error="failed"),
    "result that is none": line(ok=False, error="failed", text="t", result=5),
}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_a_failure_in_words(holdfast: Place, rubbish: str, words) -> None:
    with answering(holdfast, RUBBISH[rubbish]) as requests:
        reply = holdfast(*words, "--json")
    assert len(requests) == 1
    assert reply.code == Exit.FAILED
    assert reply.value["exit_code"] == Exit.FAILED
    assert len(reply.value["error"]) > 10 or RUBBISH[rubbish].startswith(b'{"ok": false')
    assert reply.err.endswith(f"holdfast: {reply.value['error']}\n")
    assert not (holdfast.folder / "store").exists()


def test_add_to_what_is_no_station(holdfast: Place) -> None:
    with answering(holdfast, b"5\n"):
        assert holdfast.add("host", "--json").code == Exit.FAILED
    assert not (holdfast.folder / "store").exists()


@pytest.mark.parametrize("words", COMMANDS[1:], ids=" ".join)
def test_an_answer_that_lacks_something_is_shown_as_it_is(holdfast: Place, words) -> None:
    with answering(holdfast, line(ok=True, result={})):
        assert holdfast(*words, "--json").value == {}
        assert holdfast(*words).code == Exit.OK


def test_a_list_of_hosts_that_lack_something(holdfast: Place) -> None:
    with answering(holdfast, line(ok=True, result=[{}, {"name": "a", "sa": 5}])):
        assert holdfast("host", "list", "--json").value == [{}, {"name": "a", "sa": 5}]
        assert len(holdfast("host", "list").out.splitlines()) == 3


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("failed", Exit.FAILED),
        ("usage", Exit.USAGE),
        ("no_answer", Exit.NO_ANSWER),
        ("refused", Exit.REFUSED),
    ],
)
def test_what_the_station_says_of_a_failure(holdfast: Place, kind: str, code: Exit) -> None:
    answer = line(progress="going out") + line(ok=False, error=kind, text="why", result={"spi": 1})
    with answering(holdfast, answer):
        reply = holdfast("power", "off", "host", "--json")
        plain = holdfast("power", "off", "host")
    assert reply.code == plain.code == code
    assert reply.value == {"error": "why", "exit_code": code, "result": {"spi": 1}}
    assert reply.err == plain.err == "going out\nholdfast: why\n"
    assert plain.out == ""


@pytest.mark.parametrize("action", ["reset", "on", "off", "cycle"])
def test_power_asks_the_station(holdfast: Place, action: str) -> None:
    result = {"host": "host", "command": action, "spi": "0x00000100", "packets": 2}
    with answering(holdfast, line(progress="going out") + line(ok=True, result=result)) as requests:
        reply = holdfast("power", action, "host", "--json")
        plain = holdfast("power", action, "host")
    assert [json.loads(r) for r in requests] == [
        {"op": "power", "host": "host", "action": action}
    ] * 2
    assert (reply.code, reply.value, reply.err) == (Exit.OK, result, "going out\n")
    assert plain.out == (
        f"{action} of host host is acknowledged under SPI 0x00000100, after 2 packet(s)\n"
    )


@pytest.mark.parametrize(
    ("words", "boot"),
    [
        (("--boot", "pxe"), {"special_command": 1}),
        (
            ("--boot", "cd", "--boot-parameter", "0x10"),
            {"special_command": 5, "special_parameter": 16},
        ),
        (
            ("--boot-option", "lock-keyboard", "--boot-option", "user-password-bypass"),
            {"boot_options": 0x2008},
        ),
        (("--boot-option", "quiet", "--boot-option", "verbose"), {"boot_options": 0x60}),
        (("--boot-oem", "65535"), {"oem_parameters": 65535}),
    ],
)
def test_boot_options_go_to_the_station(
    holdfast: Place, words: tuple[str, ...], boot: dict[str, int]
) -> None:
    with answering(holdfast, line(ok=True, result={})) as requests:
        for action in ("reset", "on", "cycle"):
            assert holdfast("power", action, "host", *words).code == Exit.OK
        assert holdfast("power", "off", "host", *words).code == Exit.USAGE
    assert [json.loads(r) for r in requests] == [
        {"op": "power", "host": "host", "action": action, "boot": boot}
        for action in ("reset", "on", "cycle")
    ]


def test_zeroise_is_asked_for_only_if_it_is_meant(holdfast: Place) -> None:
    result = {"host": "host", "command": "zeroise", "spi": "0x00000100", "packets": 1}
    with answering(holdfast, line(ok=True, result=result)) as requests:
        unsure = holdfast("host", "zeroise", "host")
        reply = holdfast("host", "zeroise", "host", "--yes", "--json")
        plain = holdfast("host", "zeroise", "host", "--yes")
    assert unsure.code == Exit.USAGE
    assert "add --yes" in unsure.err
    assert [json.loads(r) for r in requests] == [{"op": "zeroise", "host": "host"}] * 2
    assert reply.value == result
    assert "under SPI 0x00000100" in plain.out
    assert "holdfast host remove host" in plain.out


def test_no_secret_goes_to_the_station_but_where_it_lies(holdfast: Place, monkeypatch) -> None:
    monkeypatch.chdir(holdfast.folder)
    with answering(holdfast, line(ok=True, result={})) as requests:
        reply = holdfast("host", "add", "h", "--address", "192.0.2.10", "--psk-file", "psk")
    assert reply.code == Exit.OK
    assert [json.loads(request) for request in requests] == [
        {
            "op": "add",
            "host": "h",
            "address": "192.0.2.10",
            "identity": "h",
            "psk_file": str(holdfast.psk),
        }
    ]
