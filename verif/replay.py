"""Runs recorded IPsec frames through the gateware and the model: `python -m verif.replay FILE`.

Exit code 0: every case that the NIC can do came out right on both. 1: one did not. 2: the file or
the command line is wrong. 3: the gateware could not be simulated. See docs/replay.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spec.sa import SadResult
from spec.suites import built_in
from verif.model import NicModel
from verif.vectors.xfrm import Case, VectorError, load, staging, suite_of, unsupported

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "build" / "replay.json"
CLOCK_HZ = 1_000_000
"""Of the simulated NIC: sets how many cycles its millisecond has, and nothing else."""


class SimulationFailedError(Exception):
    """The gateware could not be built, or its simulation ended early."""


@dataclass(frozen=True, slots=True)
class Row:
    """Outcome of a case: how many frames gave the right payload, or why it was skipped.

    `rtl_ok` is None where only the model was asked.
    """

    name: str
    frames: int
    rtl_ok: int | None
    model_ok: int
    skipped: str | None = None

    @property
    def ok(self) -> bool:
        """Skipped, or all frames right wherever they were tried."""
        tried = [count for count in (self.rtl_ok, self.model_ok) if count is not None]
        return self.skipped is not None or all(count == self.frames for count in tried)

    def as_json(self) -> dict[str, Any]:
        """The row as it stands in the report."""
        row: dict[str, Any] = {"name": self.name, "frames": self.frames}
        if self.rtl_ok is not None:
            row["rtl_ok"] = self.rtl_ok
        row["model_ok"] = self.model_ok
        if self.skipped is not None:
            row["skipped"] = self.skipped
        return row


def right(case: Case, messages: Sequence[bytes | None]) -> int:
    """How many frames reached the command engine with the payload they were recorded with."""
    return sum(got == want for got, want in zip(messages, case.payloads, strict=True))


def run_model(case: Case) -> list[bytes | None]:
    """UDP payload of each frame at the model's command engine, None where it did not get there."""
    nic = NicModel(suites=built_in(hmac_sha_1=True))
    for name, index, value in staging(case):
        nic.bus_write(name, value, index)
    if nic.bus_read("SA_RESULT") != SadResult.OK:
        return [None] * len(case.frames)
    messages = []
    for frame in case.frames:
        nic.wire_receive(frame)
        messages.append(nic.message)
    return messages


def run_rtl(path: Path, names: Sequence[str]) -> dict[str, list[bytes | None]]:
    """The same of the gateware, for the cases called `names`, as far as its suites are built in.

    Raises
    ------
    SimulationFailedError
        If the simulation could not be built or died.
    """
    from hw.nic import Nic
    from verif.cocotb import runner

    nic = Nic(clock_hz=CLOCK_HZ, hmac_sha_1=True)
    built_in = [case.name for case in load(path) if suite_of(case) in nic.suites]
    chosen = [name for name in names if name in built_in]
    parameters = {"vectors": str(path.resolve()), "cases": chosen}
    try:
        where = runner.run(nic, "verif.cocotb.tb_replay", "nic", parameters=parameters)
    except runner.SimulationError as error:
        raise SimulationFailedError(str(error)) from error
    result = json.loads((where / "replay.json").read_text())
    return {
        name: [None if text is None else bytes.fromhex(text) for text in messages]
        for name, messages in result.items()
    }


def replay(path: Path, *, rtl: bool = True) -> list[Row]:
    """Runs a file; raises VectorError for a bad one."""
    cases = load(path)
    reasons = {case.name: unsupported(case) for case in cases}
    able = [case.name for case in cases if reasons[case.name] is None]
    heard = run_rtl(path, able) if rtl and able else {}
    rows = []
    for case in cases:
        reason, count = reasons[case.name], len(case.frames)
        if reason is not None:
            rows.append(Row(case.name, count, 0 if rtl else None, 0, reason))
            continue
        rtl_ok = right(case, heard[case.name]) if case.name in heard else None
        rows.append(Row(case.name, count, rtl_ok, right(case, run_model(case))))
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows for a person to read."""
    width = max(len("case"), *(len(row.name) for row in rows))
    lines = [f"{'case':{width}}  frames  gateware  model"]
    for row in rows:
        if row.skipped is not None:
            lines.append(f"{row.name:{width}}  {row.frames:6}  skipped: {row.skipped}")
            continue
        rtl = "-" if row.rtl_ok is None else str(row.rtl_ok)
        mark = "" if row.ok else "  MISMATCH"
        lines.append(f"{row.name:{width}}  {row.frames:6}  {rtl:>8}  {row.model_ok:5}{mark}")
    tried = [row for row in rows if row.skipped is None]
    good = sum(row.ok for row in tried)
    if tried:
        lines.append(f"{good} of {len(tried)} cases right, {len(rows) - len(tried)} skipped")
    else:
        lines.append(f"nothing was tried: each of the {len(rows)} cases is skipped")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m verif.replay", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="recorded frames, as JSON")
    parser.add_argument("--json", action="store_true", help="print the report instead of a table")
    parser.add_argument("--out", type=Path, default=REPORT, help="where the report is written")
    parser.add_argument("--model-only", action="store_true", help="do not simulate the gateware")
    options = parser.parse_args(arguments)
    # With --json only the report may stand on standard output, whatever the simulator says.
    stdout = sys.stdout
    if options.json:
        sys.stdout = sys.stderr
    try:
        rows = replay(options.file, rtl=not options.model_only)
    except VectorError as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2
    except SimulationFailedError as error:
        print(f"replay: the gateware could not be simulated: {error}", file=sys.stderr)
        return 3
    finally:
        sys.stdout = stdout
    report = json.dumps({"cases": [row.as_json() for row in rows]}, indent=2)
    try:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report + "\n")
    except OSError as error:
        print(f"replay: {options.out}: {error.strerror}", file=sys.stderr)
        return 2
    print(report if options.json else table(rows))
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
