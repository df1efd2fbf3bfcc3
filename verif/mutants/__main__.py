"""Makes random mutations in the NIC's IPsec, management and network parts, and tells which are
caught.

    python -m verif.mutants [--seed N] [--count N] [--component NAME ...] [--jobs N]
                            [--list] [--fresh] [--json]

Prints a table and the survivors, and writes build/mutants.json. What was tried is kept below
build/mutants/ and not tried again while the gateware, and for survivors the tests, stay the same: a
run that was stopped goes on where it was. docs/mutants.md tells more.

Exit codes: 0 at least 95 % are caught, and each survivor has its reason in reasons.json beside this
program; 1 fewer, or one has none, or a tool or a bench failed by itself, or it was stopped; 2 wrong
arguments.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verif.cocotb.runner import ROOT, SimulationError
from verif.mutants.benches import COMPONENTS
from verif.mutants.campaign import Campaign, Fate, Mutant
from verif.mutants.netlist import NetlistError

__all__ = ["main", "report", "score", "table"]

REPORT = ROOT / "build" / "mutants.json"
REASONS = Path(__file__).with_name("reasons.json")
SHARE = 0.95
COUNT = 300


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m verif.mutants", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--seed", type=int, default=1, metavar="N", help="which mutations (default 1)")
    add("--count", type=int, default=COUNT, metavar="N", help=f"how many (default {COUNT})")
    add(
        "--component",
        action="append",
        choices=sorted(COMPONENTS),
        metavar="NAME",
        help=f"only those in it, may repeat: {', '.join(COMPONENTS)}",
    )
    add("--jobs", type=int, default=1, metavar="N", help="benches at once (default 1)")
    add("--list", action="store_true", help="the mutations, and try nothing")
    add("--fresh", action="store_true", help="forget what was tried before")
    add("--json", action="store_true", help="print the report, not the table")
    options = parser.parse_args(arguments)
    for name in ("count", "jobs"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(options, name)}")
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, not {options.seed}")
    return options


def reasons(path: Path = REASONS) -> dict[str, str]:
    """By key of a mutation, why nothing can or need catch it."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _count(mutants: Sequence[Mutant], fate: str) -> int:
    return sum(mutant.fate == fate for mutant in mutants)


def score(mutants: Sequence[Mutant]) -> float:
    """The share that is caught, of those not proved to change nothing."""
    counted = len(mutants) - _count(mutants, Fate.EQUIVALENT)
    return _count(mutants, Fate.CAUGHT) / counted if counted else 1.0


def report(
    mutants: Sequence[Mutant], why: Mapping[str, str], *, seed: int, design: str
) -> dict[str, Any]:
    """The content of build/mutants.json."""
    return {
        "seed": seed,
        "design": design,
        "count": len(mutants),
        "caught": _count(mutants, Fate.CAUGHT),
        "equivalent": _count(mutants, Fate.EQUIVALENT),
        "survived": _count(mutants, Fate.SURVIVED),
        "score": round(score(mutants), 4),
        "mutants": [
            {
                "number": mutant.number,
                "mutation": mutant.mutation.key,
                "component": mutant.component,
                "signal": mutant.mutation.wire,
                "source": mutant.mutation.src,
                "fate": mutant.fate,
                "by": mutant.by,
                "how": mutant.text,
                "reason": why.get(mutant.mutation.key, "") if mutant.lives else "",
                "tried": mutant.tried,
                "seconds": round(mutant.seconds, 1),
            }
            for mutant in mutants
        ],
    }


def table(mutants: Sequence[Mutant]) -> str:
    """As docs/mutants.md has it: by component, and in sum."""
    lines = [
        "| component | mutants | caught by a bench | by a proof | equivalent | survive | share |",
        "|" + "---|" * 7,
    ]
    groups = [(name, [m for m in mutants if m.component == name]) for name in COMPONENTS]
    for name, group in [*(g for g in groups if g[1]), ("all", list(mutants))]:
        caught = [m for m in group if m.fate == Fate.CAUGHT]
        proofs = sum("." in m.by for m in caught)
        lines.append(
            f"| {name} | {len(group)} | {len(caught) - proofs} | {proofs} "
            f"| {_count(group, Fate.EQUIVALENT)} | {_count(group, Fate.SURVIVED)} "
            f"| {100 * score(group):.1f} % |"
        )
    return "\n".join(lines)


def survivors(mutants: Sequence[Mutant], why: Mapping[str, str]) -> str:
    """One paragraph each: what it is, and its reason."""
    return "\n".join(
        f"{mutant.number} {mutant.mutation.key}\n"
        f"    {mutant.mutation.wire} {mutant.mutation.src}\n"
        f"    {why.get(mutant.mutation.key, 'NO REASON YET')}"
        for mutant in mutants
        if mutant.lives
    )


def _say(text: str) -> None:
    print(f"mutants: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _parse(arguments)
    why = reasons()
    try:
        campaign = Campaign(
            seed=options.seed,
            count=options.count,
            jobs=options.jobs,
            fresh=options.fresh,
            say=_say,
        )
        names = options.component or list(COMPONENTS)
        mutants = [mutant for mutant in campaign.every if mutant.component in names]
        if options.list:
            for mutant in mutants:
                print(mutant.number, mutant.mutation.key, mutant.mutation.wire, mutant.mutation.src)
            return 0
        campaign.run(mutants)
    except (NetlistError, SimulationError) as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("stopped; what was tried is kept")
        return 1
    said = report(mutants, why, seed=options.seed, design=campaign.design)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(said, indent=1))
    else:
        print(table(mutants))
        print(survivors(mutants, why))
    bare = [m.number for m in mutants if m.lives and m.mutation.key not in why]
    if bare:
        _say(f"survivors without a reason: {', '.join(map(str, bare))}")
    if score(mutants) < SHARE:
        _say(f"{100 * score(mutants):.1f} % are caught, wanted are {100 * SHARE:.0f} %")
    return 1 if bare or score(mutants) < SHARE else 0


if __name__ == "__main__":
    sys.exit(main())
