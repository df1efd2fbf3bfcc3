"""Makes the bitstream of a board, and tells whether its clock constraints are met.

    python -m boards.build BOARD [--seed N]

Everything goes to `build/BOARD/`: the bitstream `top.bit`, `report.json`, and what each tool left.

Exit codes: 0 all constraints met; 1 one is missed, though this board met them before (its folder
has the file `timing_met`); 3 one is missed, and they never were all met; 2 no bitstream was made.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from boards.ecp5 import BuildError, Ecp5Build, report_of

__all__ = ["BOARDS", "Outcome", "main", "outcome_of", "summary"]

ROOT = Path(__file__).resolve().parents[1]
BOARDS = ("colorlight_5a_75b", "colorlight_i9")
MARKER = "timing_met"
"""File in the folder of a board whose constraints were once all met."""


class Outcome(IntEnum):
    """Exit code of a build."""

    MET = 0
    MISSED = 1
    FAILED = 2
    NEVER_MET = 3


def outcome_of(report: Mapping[str, Any], *, met_before: bool) -> Outcome:
    """What `report` means for a board that met its constraints before, or never did."""
    if report["met"]:
        return Outcome.MET
    return Outcome.MISSED if met_before else Outcome.NEVER_MET


def summary(report: Mapping[str, Any]) -> str:
    """The report in a few lines for a person."""
    lines = []
    for clock in report["clocks"]:
        verdict = "met" if clock["met"] else f"MISSED by {clock['missed_by_ns']:.2f} ns"
        lines.append(
            f"{clock['name']:>8}: {clock['fmax_mhz']:6.1f} MHz of {clock['constraint_mhz']:g} MHz  "
            f"{verdict}"
        )
        if (path := clock["worst_path"]) is not None and not clock["met"]:
            lines += [
                f"          from {path['from']}",
                f"            to {path['to']}",
                f"          {path['delay_ns']:.2f} ns, {path['routing_ns']:.2f} of it routing, "
                f"{path['logic_levels']} levels of logic",
            ]
    available = report["available"]
    lines += [
        f"    LUT4: {report['lut4']} of {available['TRELLIS_COMB']}",
        f"      FF: {report['ff']} of {available['TRELLIS_FF']}",
        f"  DP16KD: {report['dp16kd']} of {available['DP16KD']}",
        f"    seed: {report['seed']}",
    ]
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, flush=True)


def _build(board: str, seed: int | None) -> dict[str, Any]:
    module = importlib.import_module(f"boards.{board}.board")
    directory = ROOT / "build" / board
    build = Ecp5Build(directory, module.SEED if seed is None else seed, _say)
    build.elaborate(module.platform(), module.design())
    build.synthesise()
    build.place_and_route(module.NEXTPNR_OPTIONS)
    report = {"board": board, "device": module.DEVICE}
    report |= report_of(build, module.CLOCKS, build.pack())
    (directory / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    return report


def main(arguments: Sequence[str] | None = None) -> Outcome:
    """Builds the board that `arguments` name, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m boards.build", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("board", choices=BOARDS)
    parser.add_argument("--seed", type=int, help="seed of place and route; the board has a default")
    chosen = parser.parse_args(arguments)
    try:
        report = _build(chosen.board, chosen.seed)
    except BuildError as error:
        print(f"bitstream: {error}", file=sys.stderr)
        return Outcome.FAILED
    _say(summary(report))
    marker = ROOT / "boards" / chosen.board / MARKER
    outcome = outcome_of(report, met_before=marker.exists())
    where = f"build/{chosen.board}"
    _say(f"bitstream in {where}/{report['bitstream']['file']}, report in {where}/report.json")
    match outcome:
        case Outcome.MET if not marker.exists():
            _say(
                f"All constraints are met for the first time: commit an empty "
                f"{marker.relative_to(ROOT)}, so that a miss is a failure from now on."
            )
        case Outcome.MISSED:
            _say("A constraint is missed that this board met before.")
        case Outcome.NEVER_MET:
            _say("A constraint is missed; this board never met all of them so far.")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
