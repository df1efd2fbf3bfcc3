"""Tests of sw.cli: words, help, and exit codes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from sw.cli import _parser, main
from sw.cli.commands import KNOWN_ERRORS, command_error
from sw.cli.output import EXIT_HELP, Exit, pairs, table
from sw.config import ConfigError
from sw.ipsec import DataPlaneError, IpsecError
from sw.nic import NicError
from sw.station.control import ControlError, ErrorKind
from sw.station.database import NoSuchHostError, StoreBusyError, StoreError
from verif.unit.sw.cli.place import ROOT, Place


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and group, as its words."""
    found = [words]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                found += commands(inner, (*words, name))
    return found


ALL = commands(_parser())
LEAVES = [words for words in ALL if len(words) == 2]
GROUPS = [words for words in ALL if len(words) < 2]


def test_the_commands_are_those_promised() -> None:
    assert {" ".join(words) for words in LEAVES} == {
        "station init",
        "station run",
        "host add",
        "host list",
        "host show",
        "host remove",
        "host zeroise",
        "alerts list",
        "power reset",
        "power on",
        "power off",
        "power cycle",
        "agent run",
        "nic show",
        "pki init",
        "pki csr",
        "pki issue",
        "pki revoke",
    }


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help(holdfast: Place, words: tuple[str, ...]) -> None:
    reply = holdfast(*words, "--help")
    assert reply == holdfast(*words, "-h")
    assert (reply.code, reply.err) == (Exit.OK, "")
    assert reply.out.startswith(f"usage: holdfast {' '.join(words)}".rstrip())
    if words in LEAVES:
        assert "--json" in reply.out
        assert EXIT_HELP.strip() in reply.out


@pytest.mark.parametrize("words", GROUPS, ids=lambda words: " ".join(words) or "alone")
def test_a_group_without_a_command(holdfast: Place, words: tuple[str, ...]) -> None:
    reply = holdfast(*words)
    assert reply.code == Exit.USAGE
    assert reply.out == ""
    assert f"see: holdfast {' '.join(words)}".rstrip() + " --help" in reply.err


WRONG = [
    ("reboot",),
    ("host", "rename", "a"),
    ("power", "warp", "a"),
    ("host", "add"),
    ("host", "add", "a"),
    ("host", "add", "a", "--address", "192.0.2.10"),
    ("host", "show"),
    ("host", "show", "a", "b"),
    ("host", "list", "--colour"),
    ("host", "list", "--log-level", "loud"),
    ("host", "list", "--js"),
    ("power", "reset"),
    ("power", "reset", "a", "--boot", "floppy"),
    ("power", "reset", "a", "--boot-option", "lock"),
    ("power", "reset", "a", "--boot-parameter", "65536"),
    ("power", "reset", "a", "--boot-oem", "-1"),
    ("power", "reset", "a", "--boot-oem", "x"),
    ("nic", "show"),
    ("nic", "show", "--socket", "a", "--serial", "b"),
    ("host", "show", ""),
    ("host", "show", "a b"),
    ("host", "remove", "a\nb"),
    ("power", "on", "\x1b[2J"),
    ("host", "show", "\udcff"),
    ("host", "show", "x" * 256),
]


@pytest.mark.parametrize("words", WRONG, ids=ascii)
def test_wrong_words(holdfast: Place, words: tuple[str, ...]) -> None:
    reply = holdfast(*words)
    assert reply.code == Exit.USAGE
    assert reply.out == ""
    assert re.fullmatch(r"holdfast: .*; see: holdfast.* --help\n", reply.err)
    assert "\x1b" not in reply.err
    told = holdfast(*words, "--json")
    assert told.code == Exit.USAGE
    assert told.value == {"error": reply.err[len("holdfast: ") : -1], "exit_code": 2}


def test_the_exit_codes_are_documented() -> None:
    listed = {int(code) for code in re.findall(r"^  (\d)  ", EXIT_HELP, re.MULTILINE)}
    page = (ROOT / "docs/station.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d) \| (.+) \|$", page, re.MULTILINE))
    assert listed == {int(code) for code in Exit} == {int(code) for code in rows}
    for code, text in rows.items():
        assert f"  {code}  {text}\n" in EXIT_HELP


ERRORS = [
    (ControlError(ErrorKind.FAILED, "t"), Exit.FAILED),
    (ControlError(ErrorKind.USAGE, "t"), Exit.USAGE),
    (ControlError(ErrorKind.NO_ANSWER, "t"), Exit.NO_ANSWER),
    (ControlError(ErrorKind.REFUSED, "t"), Exit.REFUSED),
    (ControlError(ErrorKind.NO_STATION, "t"), Exit.UNAVAILABLE),
    (ConfigError("t"), Exit.USAGE),
    (NoSuchHostError("t"), Exit.USAGE),
    (StoreBusyError("t"), Exit.UNAVAILABLE),
    (StoreError("t"), Exit.FAILED),
    (IpsecError("t"), Exit.FAILED),
    (DataPlaneError("t"), Exit.FAILED),
    (NicError("t"), Exit.UNAVAILABLE),
    (KeyboardInterrupt(), Exit.FAILED),
    (OSError(28, "no space"), Exit.FAILED),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda part: type(part).__name__)
def test_each_error_has_its_exit_code(
    holdfast: Place, monkeypatch, error: BaseException, code: Exit
) -> None:
    def fail(_path: str) -> None:
        raise error

    monkeypatch.setattr("sw.cli.commands.load_station", fail)
    reply = holdfast("host", "list", "--json")
    assert reply.code == code
    assert reply.value["exit_code"] == code
    assert reply.err == f"holdfast: {reply.value['error']}\n"


def test_every_kind_of_control_error_has_a_code() -> None:
    for kind in ErrorKind:
        told = command_error(ControlError(kind, "text", {"spi": None}))
        assert told.result == {"spi": None}
    assert ControlError in KNOWN_ERRORS
    with pytest.raises(TypeError):
        command_error(RuntimeError())


@pytest.mark.parametrize(
    "leaf", [words for words in LEAVES if words[0] not in ("nic", "pki")], ids=" ".join
)
def test_a_configuration_that_cannot_be_used(
    holdfast: Place, tmp_path: Path, capsys, leaf: tuple[str, ...]
) -> None:
    where = ("--address", "192.0.2.10", "--psk-file", str(holdfast.psk))
    host = ("a",) if leaf[0] == "power" or leaf[1] in ("add", "show", "remove", "zeroise") else ()
    more = {"add": where, "zeroise": ("--yes",)}.get(leaf[1], ())
    words = [*leaf, *host, *more]
    typo = tmp_path / "typo.toml"
    typo.write_text('[station]\nadress = "192.0.2.1"\n[agent]\nadress = "a"\n', encoding="utf-8")
    for path, text in (
        (tmp_path / "missing.toml", "No such file"),
        (tmp_path, "directory"),
        (typo, "did you mean address?"),
    ):
        assert main([*words, "--config", str(path), "--json"]) == Exit.USAGE
        out, err = capsys.readouterr()
        assert str(path) in err
        assert text in err
        assert '"exit_code": 2' in out


def test_tables_for_people() -> None:
    assert table(["A", "LONG"], [[None, True], ["wide cell", False], [1.5, ""]]) == [
        "A          LONG",
        "-          yes",
        "wide cell  no",
        "1.5",
    ]
    assert pairs([("a", None), ("long", 1)]) == ["a     -", "long  1"]
