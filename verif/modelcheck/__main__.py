"""`python -m verif.modelcheck`: explores all worlds within bounds, and hunts seeded bugs.

Exit code 0: every property holds, and every seeded bug was found. 1: a counterexample, or a bug
that was not found. 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from verif.modelcheck.bugs import BUGS, Bug, seeded
from verif.modelcheck.configurations import CONFIGURATIONS, EVERYTHING, Configuration
from verif.modelcheck.diagram import draw, label_text
from verif.modelcheck.properties import PROPERTIES
from verif.modelcheck.search import Found, search
from verif.modelcheck.world import Bounds

REPORT = Path(__file__).resolve().parents[2] / "build" / "model_check.json"
ALL = {**CONFIGURATIONS, EVERYTHING.name: EVERYTHING}
STEPS_SHOWN = 80
"""Of a counterexample that never comes to rest."""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m verif.modelcheck",
        description="Explore every order of events between the real station, agent and NIC model.",
        epilog="Without --configuration and --bug: every configuration, then every seeded bug.",
    )
    add = parser.add_argument
    add("--list", action="store_true", help="list configurations, properties and bugs, and end")
    add("--configuration", action="append", metavar="NAME", help="explore this one (repeatable)")
    add("--bug", action="append", metavar="NAME", help="find this seeded bug (repeatable)")
    add(
        "--bounds",
        action="append",
        metavar="NAME=VALUE",
        default=[],
        help="change a bound of what is explored, as exchanges=3 or crashes=no (repeatable)",
    )
    add("--depth", type=int, default=1 << 30, metavar="N", help="no more than N steps deep")
    add("--seconds", type=float, default=float("inf"), metavar="S", help="processor time of each")
    add("--json", action="store_true", help="one JSON value on standard output")
    add("--quiet", action="store_true", help="no progress on standard error")
    return parser.parse_args(arguments)


def bounds_with(bounds: Bounds, changes: Sequence[str]) -> Bounds:
    """Bounds with changes of the form NAME=VALUE; raises ValueError."""
    values: dict[str, Any] = {}
    now = asdict(bounds)
    for change in changes:
        name, equals, value = change.partition("=")
        if name not in now or not equals:
            raise ValueError(f"{change!r}: the bounds are {', '.join(now)}; say NAME=VALUE")
        if isinstance(now[name], bool):
            if value not in ("yes", "no"):
                raise ValueError(f"{change!r}: {name} is yes or no")
            values[name] = value == "yes"
        elif not value.isdecimal():
            raise ValueError(f"{change!r}: {name} is a number")
        else:
            values[name] = int(value)
    return replace(bounds, **values)


def _progress(name: str) -> Any:
    def tell(found: Found, waiting: int) -> None:
        rate = found.states / max(found.seconds, 0.001)
        print(
            f"{name}: {found.states:,} states, depth {found.depth}, {waiting:,} to do, "
            f"{rate:,.0f} states a second",
            file=sys.stderr,
            flush=True,
        )

    return tell


def _row(found: Found) -> dict[str, Any]:
    return {
        "states": found.states,
        "transitions": found.transitions,
        "depth": found.depth,
        "seconds": round(found.seconds, 1),
        "complete": found.complete,
        "program_runs": found.runs,
        "violated": found.prop or None,
        "text": found.text or None,
        "steps": [label_text(label) for label, _ in found.path[1:]],
    }


def _diagram(found: Found) -> str:
    if not found.path or found.engine is None:
        return ""
    return draw(found.engine, found.path[:STEPS_SHOWN], f"{found.prop}: {found.text}")


class Report:
    """Prints as it goes, unless all is to be one JSON value at the end."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rows: dict[str, Any] = {"configurations": {}, "bugs": {}}
        self.ok = True

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.options.json:
            print(text, flush=True)

    def explore(self, configurations: Sequence[Configuration]) -> None:
        """Every configuration: no property may be violated."""
        self.say(
            f"{'configuration':14}{'states':>11}{'transitions':>13}{'depth':>7}{'time':>9}"
            f"{'states/s':>10}  properties"
        )
        options = self.options
        for one in configurations:
            found = search(
                bounds_with(one.bounds, options.bounds),
                depth=min(one.depth, options.depth),
                limit_s=options.seconds,
                progress=None if options.quiet else _progress(one.name),
            )
            row = self.rows["configurations"][one.name] = {"text": one.text, **_row(found)}
            verdict = f"{found.prop} VIOLATED" if found.prop else "all hold"
            if not found.complete and not found.prop:
                verdict += f", to depth {found.depth}"
            rate = found.states / max(found.seconds, 0.001)
            self.say(
                f"{one.name:14}{found.states:11,}{found.transitions:13,}{found.depth:7}"
                f"{found.seconds:8.1f}s{rate:10,.0f}  {verdict}"
            )
            if found.prop:
                self.ok = False
                row["diagram"] = _diagram(found)
                self.say("\n" + row["diagram"] + "\n")

    def hunt(self, bugs: Sequence[Bug], *, show: bool) -> None:
        """Every bug must be found, by the property that it breaks."""
        self.say(f"\n{'seeded bug':26}{'found':>7}{'states':>9}{'depth':>7}{'time':>9}  property")
        for bug in bugs:
            with seeded(bug):
                found = search(
                    bounds_with(bug.bounds, self.options.bounds),
                    depth=self.options.depth,
                    limit_s=self.options.seconds,
                    recovery=bug.recovery,
                    progress=None if self.options.quiet else _progress(bug.name),
                )
                diagram = _diagram(found)
            right = found.prop == bug.prop
            self.ok &= right
            depth = max(len(found.path) - 1, 0)
            self.rows["bugs"][bug.name] = {
                "text": bug.text,
                "found": right,
                "property": bug.prop,
                **_row(found),
                "depth": depth,
                "diagram": diagram,
            }
            self.say(
                f"{bug.name:26}{'yes' if right else 'NO':>7}{found.states:9,}{depth:7}"
                f"{found.seconds:8.1f}s  {found.prop or '-'}"
            )
            if show and diagram:
                self.say("\n" + diagram + "\n")


def _list() -> None:
    for title, rows in (
        ("configurations", {name: one.text for name, one in ALL.items()}),
        ("properties", PROPERTIES),
        ("seeded bugs", {name: f"{bug.text} ({bug.prop})" for name, bug in BUGS.items()}),
    ):
        print(title)
        for name, text in rows.items():
            print(f"  {name:26}{text}")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    options = _parse(arguments)
    if options.list:
        _list()
        return 0
    names, bugs = options.configuration, options.bug
    if names is None and bugs is None:
        names, bugs = list(CONFIGURATIONS), list(BUGS)
    try:
        for wanted, known in ((names or [], ALL), (bugs or [], BUGS)):
            for name in wanted:
                if name not in known:
                    raise ValueError(f"{name!r} is none of: {', '.join(known)}")
        bounds_with(Bounds(), options.bounds)
    except ValueError as error:
        print(f"model check: {error}", file=sys.stderr)
        return 2
    report = Report(options)
    if names:
        report.explore([ALL[name] for name in names])
    if bugs:
        report.hunt([BUGS[name] for name in bugs], show=options.bug is not None)
    report.rows["ok"] = report.ok
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report.rows, indent=2) + "\n")
    if options.json:
        print(json.dumps(report.rows, indent=2))
    report.say(f"\n{'every property holds' if report.ok else 'FAILED'}; see {REPORT.name}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
