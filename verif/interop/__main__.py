"""`make interop`: every cell of the table, against real peers.

Prints how each cell went, then the table, and writes `build/interop.json`. Exit code 1 if a cell
fails, 2 if the peers do not run here or no such cell exists.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from boards.virtual.build import BuildError, build
from verif.interop.rig import Outcome, Rig, RigError
from verif.interop.table import CELLS, Cell

REPORT = Path(__file__).resolve().parents[2] / "build" / "interop.json"
PEERS = ("strongswan", "linux", "ipmitool", "freeipmi")


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make interop", description="Holdfast against strongSwan, a Linux kernel and more."
    )
    parser.add_argument("--peer", choices=PEERS, help="only the cells with this peer")
    parser.add_argument("--only", metavar="TEXT", help="only cells whose case has this in it")
    parser.add_argument("--quick", action="store_true", help="only the cells of `make test`")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="kernels at once (2)")
    parser.add_argument("--list", action="store_true", help="print the cells, and run none")
    parser.add_argument("--json", action="store_true", help="print the report alone, as JSON")
    parser.add_argument("--report", type=Path, default=REPORT, help="where it is written")
    given = parser.parse_args(words)
    if not 1 <= given.jobs <= 16:
        parser.error(f"--jobs must be 1 to 16, not {given.jobs}")
    return given


def _wanted(given: argparse.Namespace) -> list[Cell]:
    return [
        one
        for one in CELLS.values()
        if given.peer in (None, one.peer)
        and (not given.only or given.only in one.case)
        and (one.quick or not given.quick)
    ]


class _Run:
    """Cells on several rigs at once."""

    def __init__(self, cells: Sequence[Cell], *, quiet: bool) -> None:
        self._cells = cells
        self._quiet = quiet
        self._queue: SimpleQueue[Cell] = SimpleQueue()
        for one in cells:
            self._queue.put(one)
        self._lock = Lock()
        self.outcomes: dict[str, Outcome] = {}
        self.versions: dict[str, str] = {}

    def tell(self, text: str) -> None:
        """Progress."""
        if not self._quiet:
            print(text, flush=True)

    def work(self) -> None:
        """Take cells until there are none; raises RigError."""
        with Rig() as rig:
            self.versions = rig.versions
            while True:
                try:
                    one = self._queue.get_nowait()
                except Empty:
                    return
                outcome = rig.run(one.case)
                with self._lock:
                    self.outcomes[one.case] = outcome
                    done = f"[{len(self.outcomes)}/{len(self._cells)}]"
                    word = "ok    " if outcome.ok else "FAILED"
                    self.tell(f"{done:>9} {word} {outcome.seconds:5.1f} s  {one.peer}: {one.case}")
                    if not outcome.ok:
                        self.tell(outcome.why)


def _report(run: _Run, cells: Sequence[Cell]) -> dict[str, Any]:
    return {
        "cells": [
            {
                "peer": one.peer,
                "version": run.versions[one.peer],
                "case": one.case,
                "ok": run.outcomes[one.case].ok,
            }
            for one in cells
        ]
    }


def _table(report: dict[str, Any]) -> str:
    rows = [("peer", "version", "case", "pass")]
    rows += [
        (one["peer"], one["version"], one["case"], "yes" if one["ok"] else "NO")
        for one in report["cells"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main(words: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    given = _arguments(words)
    cells = _wanted(given)
    if not cells:
        print("interop: no cell is like that; --list prints them", file=sys.stderr)
        return 2
    if given.list:
        for one in cells:
            print(f"{one.peer}: {one.case}")
        return 0
    run = _Run(cells, quiet=given.json)
    jobs = min(given.jobs, len(cells))
    run.tell(f"interop: {len(cells)} cells, on {jobs} kernels at once")
    try:
        if any(one.board for one in cells):
            build(say=run.tell)
        with ThreadPoolExecutor(jobs) as pool:
            for future in [pool.submit(run.work) for _ in range(jobs)]:
                future.result()
    except (BuildError, RigError) as error:
        print(f"interop: {error}", file=sys.stderr)
        return 2
    report = _report(run, cells)
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report) if given.json else "\n" + _table(report))
    failed = [one["case"] for one in report["cells"] if not one["ok"]]
    run.tell(f"\n{len(cells) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
