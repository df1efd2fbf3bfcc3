"""The command: what it prints and writes, and how it ends. The peers are played here."""

import json
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from boards.virtual.build import BuildError
from verif.interop import __main__ as command
from verif.interop.packages import PackageError
from verif.interop.rig import Outcome, Rig, RigError
from verif.interop.table import CELLS

CASES = [one.case for one in CELLS.values() if "wrong pre-shared key" in one.case]


class PlayedRig:
    """Fails the cells of `bad`."""

    bad: tuple[str, ...] = ()
    refuses = ""

    def __init__(self) -> None:
        self.versions = {"strongswan": "1.2.3", "linux": "4.5.6"}

    def __enter__(self) -> Self:
        if self.refuses:
            raise RigError(self.refuses)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def run(self, case: str) -> Outcome:
        bad = case in self.bad
        return Outcome(case, not bad, "because" if bad else "", 0.1)


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> type[PlayedRig]:
    class Played(PlayedRig):
        pass

    monkeypatch.setattr(command, "Rig", Played)
    return Played


def words(tmp_path: Path, *more: str) -> list[str]:
    return ["--only", "wrong pre-shared key", "--report", str(tmp_path / "out" / "r.json"), *more]


def test_report_and_table(
    tmp_path: Path, rig: type[PlayedRig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(words(tmp_path)) == 0
    written = json.loads((tmp_path / "out" / "r.json").read_text())
    assert written == {
        "cells": [
            {"peer": "strongswan", "version": "1.2.3", "case": case, "ok": True} for case in CASES
        ]
    }
    shown = capsys.readouterr().out
    assert f"[{len(CASES)}/{len(CASES)}] ok" in shown
    assert f"{len(CASES)} passed, 0 failed" in shown


def test_a_cell_that_fails_makes_the_exit_code(
    tmp_path: Path, rig: type[PlayedRig], capsys: pytest.CaptureFixture[str]
) -> None:
    rig.bad = (CASES[0],)
    assert command.main(words(tmp_path)) == 1
    shown = capsys.readouterr().out
    assert "FAILED" in shown
    assert "because" in shown
    assert f"{len(CASES) - 1} passed, 1 failed" in shown
    written = json.loads((tmp_path / "out" / "r.json").read_text())
    assert [one["ok"] for one in written["cells"]] == [False] + [True] * (len(CASES) - 1)


def test_json_alone(
    tmp_path: Path, rig: type[PlayedRig], capsys: pytest.CaptureFixture[str]
) -> None:
    rig.bad = (CASES[0],)
    assert command.main(words(tmp_path, "--json")) == 1
    assert len(json.loads(capsys.readouterr().out)["cells"]) == len(CASES)


def test_peers_that_do_not_run(
    tmp_path: Path, rig: type[PlayedRig], capsys: pytest.CaptureFixture[str]
) -> None:
    rig.refuses = "no /dev/net/tun here"
    assert command.main(words(tmp_path)) == 2
    assert "no /dev/net/tun here" in capsys.readouterr().err


def test_a_board_that_cannot_be_built(
    rig: type[PlayedRig], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(**_: object) -> Path:
        raise BuildError("no C++ compiler here")

    monkeypatch.setattr(command, "build", build)
    rig.refuses = "never asked"
    assert command.main(["--peer", "ipmitool"]) == 2
    assert "no C++ compiler here" in capsys.readouterr().err


def test_no_such_cell(rig: type[PlayedRig], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "no cell is called so"]) == 2
    assert "--list" in capsys.readouterr().err


def test_list_runs_nothing(rig: type[PlayedRig], capsys: pytest.CaptureFixture[str]) -> None:
    rig.refuses = "never asked"
    assert command.main(["--list", "--peer", "strongswan"]) == 0
    assert f"strongswan: {CASES[0]}" in capsys.readouterr().out


def test_peers_are_fetched_before_the_network_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the namespaces of the worker there is no way to a mirror."""

    def refuse() -> Path:
        raise PackageError("no mirror")

    monkeypatch.setattr("verif.interop.rig.fetched", refuse)
    with pytest.raises(RigError, match="no mirror"), Rig():
        pass
