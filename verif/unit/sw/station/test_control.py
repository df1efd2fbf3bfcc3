"""The control socket of a true station: rubbish, hang-ups, files in the way, who may open it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sw.station.control import LINE_MAX, ControlError, ControlServer, ErrorKind, ask
from sw.station.database import StoreError
from verif.unit.sw.station.scene import PATIENCE_S, World, play_scene

KINDS = {kind.value for kind in ErrorKind}
Scene = Callable[[World, ControlServer, Path], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Scene], None]]:
    """Runs a scene with a station that knows one silent host; nothing may go wrong unseen."""
    wrong: list[dict[str, object]] = []

    def run(scene: Scene) -> None:
        async def whole() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, what: wrong.append(what))
            world = World(tmp_path, "udp")

            async def with_server(world: World) -> None:
                await world.start_station()
                path = tmp_path / "run" / "control"
                server = ControlServer(world.station, path)
                await server.start()
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await scene(world, server, path)
                finally:
                    await server.stop()

            await play_scene(world, monkeypatch.setattr, with_server)
            (tmp_path / "station.db").unlink()

        asyncio.run(whole())

    yield run
    assert wrong == []


async def say(path: Path, *lines: bytes) -> list[dict[str, object]]:
    """What the station answers to these lines, then nothing more."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=LINE_MAX)
    writer.writelines(lines)
    writer.write_eof()
    answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    return answers


def gone(path: Path) -> bool:
    return not path.exists()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def well(path: Path) -> None:
    """The station still answers."""
    assert await ask(path, {"op": "list"}, print)


# --- who may open it ----------------------------------------------------------------------------


def test_only_its_owner_may_open_the_socket(play, monkeypatch: pytest.MonkeyPatch) -> None:
    """SEC: STATION.CONTROL_SOCKET_MODE. From the moment it has a name, whatever the umask."""
    modes = []
    bind = socket.socket.bind

    def watched(self: socket.socket, address: str) -> None:
        bind(self, address)
        if self.family is socket.AF_UNIX:
            modes.append(stat.S_IMODE(Path(address).stat().st_mode))

    monkeypatch.setattr(socket.socket, "bind", watched)

    async def scene(_world: World, _server: ControlServer, path: Path) -> None:
        assert modes == [0o600]
        assert mode_of(path) == 0o600
        assert mode_of(path.parent) == 0o700
        now = os.umask(0)
        os.umask(now)
        assert now == 0

    before = os.umask(0)
    try:
        play(scene)
    finally:
        os.umask(before)


# --- what is in the way -------------------------------------------------------------------------


def test_a_socket_left_by_a_killed_station_is_replaced(play) -> None:
    async def scene(world: World, server: ControlServer, path: Path) -> None:
        await server.stop()
        assert gone(path)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        again = ControlServer(world.station, path)
        await again.start()
        await well(path)
        await again.stop()
        await again.stop()

    play(scene)


def test_the_socket_of_a_station_that_lives_is_left_alone(play) -> None:
    async def scene(world: World, _server: ControlServer, path: Path) -> None:
        second = ControlServer(world.station, path)
        with pytest.raises(StoreError, match="another station listens"):
            await second.start()
        await second.stop()
        await well(path)

    play(scene)


def test_what_is_no_socket_is_left_alone(play, tmp_path: Path) -> None:
    async def scene(world: World, _server: ControlServer, _path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        for path in (tmp_path / "file", tmp_path, tmp_path / "file" / "x", tmp_path / ("x" * 200)):
            with pytest.raises(StoreError, match="cannot listen on the control socket"):
                await ControlServer(world.station, path).start()
        assert (tmp_path / "file").read_text() == "mine"

    play(scene)


# --- rubbish ------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
requests = st.fixed_dictionaries(
    {"op": st.sampled_from(["list", "show", "add", "remove", "power", "", "LIST"]) | json_values},
    optional={
        name: json_values | st.sampled_from(["192.0.2.77", "none", "/dev/null"])
        for name in ("host", "address", "identity", "psk_file", "action")
    },
)
rubbish = st.one_of(
    st.binary(max_size=60).map(lambda octets: octets.replace(b"\n", b"")),
    json_values.map(lambda value: json.dumps(value).encode()),
    requests.map(lambda value: json.dumps(value).encode()),
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines=st.lists(rubbish, min_size=10, max_size=40))
def test_each_line_gets_one_answer(play, lines: list[bytes]) -> None:
    async def scene(_world: World, _server: ControlServer, path: Path) -> None:
        answers = await say(path, *(line + b"\n" for line in lines))
        last = [answer for answer in answers if "progress" not in answer]
        assert len(last) == len(lines)
        for answer in last:
            assert answer["ok"] or (answer["error"] in KINDS and answer["text"])
        await well(path)

    play(scene)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", "bad request"),
        (b"{", "bad request"),
        (b"\xff\xfe\x00", "bad request"),
        (b"[" * 100_000, "bad request"),
        (b'{"op": ' * 100_000, "bad request"),
        (b"9" * 100_000, "bad request"),
        (b"[]", "a JSON object"),
        (b'"list"', "a JSON object"),
        (b"{}", "no such operation: None"),
        (b'{"op": "format"}', "no such operation: format"),
        (b'{"op": ["list"]}', "no such operation"),
        (b'{"op": "show"}', "it lacks 'host'"),
        (b'{"op": "power", "host": "host"}', "it lacks 'action'"),
        (b'{"op": "power", "host": "host", "action": "explode"}', "no such power command"),
        (b'{"op": "power", "host": "host", "action": "off", "boot": {}}', "boots nothing"),
        (b'{"op": "power", "host": "host", "action": "on", "boot": 1}', "are among"),
        (b'{"op": "power", "host": "host", "action": "on", "boot": {"x": 1}}', "are among"),
        (
            b'{"op": "power", "host": "host", "action": "on", "boot": {"special_command": 256}}',
            "special_command is no number of 8 bits",
        ),
        (
            b'{"op": "power", "host": "host", "action": "on", "boot": {"boot_options": true}}',
            "boot_options is no number of 16 bits",
        ),
        (b'{"op": "show", "host": "nobody"}', "there is no host nobody"),
        (b'{"op": "remove", "host": "nobody"}', "there is no host nobody"),
        (b'{"op": "add", "host": "a", "psk_file": "/nowhere"}', "/nowhere"),
    ],
)
def test_a_bad_request_is_told_why(play, line: bytes, words: str) -> None:
    async def scene(_world: World, _server: ControlServer, path: Path) -> None:
        answer, after = await say(path, line + b"\n", b'{"op": "list"}\n')
        assert answer["ok"] is False
        assert answer["error"] == "usage"
        assert words in str(answer["text"])
        assert after["ok"]

    play(scene)


def test_a_line_without_end_is_cut_off_and_told(play) -> None:
    async def scene(_world: World, _server: ControlServer, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * (2 * LINE_MAX))
        answer = json.loads(await reader.readline())
        assert (answer["ok"], answer["error"]) == (False, "usage")
        assert "at most" in answer["text"]
        writer.close()
        await well(path)

    play(scene)


# --- hanging up ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"op": "li',
        b'{"op": "list"}\n' * 2000,
        b'{"op": "power", "host": "host", "action": "reset"}\n',
    ],
)
def test_a_client_that_hangs_up_harms_nobody(play, line: bytes) -> None:
    async def scene(_world: World, _server: ControlServer, path: Path) -> None:
        for abruptly in (False, True):
            _, writer = await asyncio.open_unix_connection(str(path))
            writer.write(line)
            if abruptly:
                writer.transport.abort()
            writer.close()
            await well(path)

    play(scene)


def test_stopping_cuts_clients_off(play) -> None:
    """Nobody gives orders to a station that gave its lock back."""

    async def scene(_world: World, server: ControlServer, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b'{"op": "list"}\n')
        assert json.loads(await reader.readline())["ok"]
        await server.stop()
        assert await reader.read() == b""
        writer.close()

    play(scene)


# --- the asking side ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", ErrorKind.FAILED),
        (b'{"ok": fal', ErrorKind.FAILED),
        (b"[]\n", ErrorKind.FAILED),
        (b"7\n", ErrorKind.FAILED),
        (b"[" * 100_000 + b"\n", ErrorKind.FAILED),
        (b"\xff\n", ErrorKind.FAILED),
        (b"x" * (LINE_MAX + 2), ErrorKind.FAILED),
        (b'{"ok": false, "error": "novel"}\n', ErrorKind.FAILED),
        (b'{"ok": false, "error": "refused", "text": 5, "result": []}\n', ErrorKind.REFUSED),
        (b'{"progress": []}\n', ErrorKind.FAILED),
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, answer: bytes, kind: ErrorKind) -> None:
    async def whole() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(answer)
            writer.close()

        path = tmp_path / "control"
        server = await asyncio.start_unix_server(serve, str(path))
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ControlError) as caught:
                await ask(path, {"op": "list"}, print)
        assert caught.value.kind is kind
        server.close()
        with pytest.raises(ControlError) as caught:
            await ask(tmp_path / "none", {"op": "list"}, print)
        assert caught.value.kind is ErrorKind.NO_STATION

    asyncio.run(whole())


def test_no_key_is_in_any_answer_or_log(play, tmp_path: Path, caplog) -> None:
    """SEC: STATION.SECRETS_SEALED."""
    caplog.set_level(logging.DEBUG)
    secret = b"TOP-SECRET-TOP-SECRET"
    psk = tmp_path / "psk-of-other"
    psk.write_bytes(secret)
    psk.chmod(0o600)
    add = {
        "op": "add",
        "host": "other",
        "address": "192.0.2.77",
        "identity": "other.example",
        "psk_file": str(psk),
    }

    async def scene(_world: World, _server: ControlServer, path: Path) -> None:
        requests = [add, add, {"op": "show", "host": "other"}, {"op": "list"}]
        requests += [{**add, "host": "third"}, {"op": "remove", "host": "other"}]
        answers = await say(path, *(json.dumps(one).encode() + b"\n" for one in requests))
        assert [answer["ok"] for answer in answers] == [True, False, True, True, False, True]
        assert "TOP-SECRET" not in json.dumps(answers)

    play(scene)
    assert "TOP-SECRET" not in caplog.text
