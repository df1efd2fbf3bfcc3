"""What the demo found: its rows, on the screen and in build/demo.json."""

import json
import textwrap
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Report", "Row"]

WIDTHS = (24, 34, 44)


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that the seed's state table says, and what was measured.

    Parameters
    ----------
    row : int
        Row of figure 6 of the seed.
    name : str
        What was looked at.
    expected, observed : str
        What must be so, and what was.
    ok : bool
        Whether it was.
    """

    row: int
    name: str
    expected: str
    observed: str
    ok: bool


@dataclass
class Report:
    """Collects rows and tells of each step.

    Parameters
    ----------
    quiet : bool
        Tell nothing on the way.
    """

    quiet: bool = False
    rows: list[Row] = field(default_factory=list)
    _start: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """A line of progress, with the seconds since the start."""
        if not self.quiet:
            print(f"[{time.monotonic() - self._start:5.1f} s] {text}", flush=True)

    def check(self, row: int, name: str, *, expected: str, observed: str, ok: bool) -> bool:
        """Adds a row; returns `ok`."""
        self.rows.append(Row(row, name, expected, observed, ok))
        self.say(
            f"row {row}: {name}: {observed}" + ("" if ok else f"  NOT AS EXPECTED: {expected}")
        )
        return ok

    @property
    def ok(self) -> bool:
        """True if there are rows and all of them held."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    def table(self) -> str:
        """All rows, for a terminal of 120 columns."""
        lines = [self._line("row", ("what", "expected", "observed"), "held"), "-" * 118]
        previous = None
        for row in self.rows:
            if previous not in (None, row.row):
                lines.append("")
            previous = row.row
            cells = (row.name, row.expected, row.observed)
            wrapped = [textwrap.wrap(c, w) or [""] for c, w in zip(cells, WIDTHS, strict=True)]
            for n in range(max(map(len, wrapped))):
                part = tuple(cell[n] if n < len(cell) else "" for cell in wrapped)
                first = n == 0
                held = ("yes" if row.ok else "NO") if first else ""
                lines.append(self._line(str(row.row) if first else "", part, held))
        return "\n".join(lines)

    @staticmethod
    def _line(row: str, cells: tuple[str, ...], held: str) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True))
        return f"{row:>3}  {'  '.join(padded)}  {held}".rstrip()

    def as_json(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The rows and further facts, as build/demo.json has them."""
        seconds = round(time.monotonic() - self._start, 1)
        rows = [asdict(row) for row in self.rows]
        return {"rows": rows, "ok": self.ok, "seconds": seconds, **facts}

    def write(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Writes the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(facts), indent=2) + "\n")
