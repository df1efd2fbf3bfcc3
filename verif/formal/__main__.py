"""Proves what docs/formal.md claims of the gateware, and tries a mutant on each proof.

    python -m verif.formal [--only NAME ...] [--list] [--json]

Prints a table and writes build/formal.json. A NAME is that of a proof, or the part of it before the
dot. Jobs, logs and traces of what failed lie below build/formal/NAME/.

Exit codes: 0 all proved and each mutant refuted; 1 a proof failed or a mutant lives; 2 wrong
arguments.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from verif.formal.runner import ROOT, FormalError, Method, Proof, Result, run

REPORT = ROOT / "build" / "formal.json"


def proofs() -> list[Proof]:
    """All proofs, of the modules `prove_*` beside this one."""
    found: list[Proof] = []
    for path in sorted(Path(__file__).parent.glob("prove_*.py")):
        found += importlib.import_module(f"verif.formal.{path.stem}").PROOFS
    names = [proof.name for proof in found]
    if len(set(names)) != len(names):
        raise FormalError(f"two proofs of one name: {sorted(names)}")
    return found


def chosen(every: Sequence[Proof], names: Sequence[str]) -> list[Proof]:
    """Those of these names; ValueError with the names there are for one that is none."""
    if not names:
        return list(every)
    for name in names:
        if not any(name in (proof.name, proof.name.split(".")[0]) for proof in every):
            raise ValueError(
                f"no proof is called {name!r}; there are {', '.join(p.name for p in every)}"
            )
    return [proof for proof in every if {proof.name, proof.name.split(".")[0]} & set(names)]


def table(results: Sequence[Result]) -> str:
    """As docs/formal.md has it."""
    lines = ["| proof | method | depth | seconds | proved | mutant | killed |", "|" + "---|" * 7]
    lines += [
        f"| {r.name} | {r.method} | {r.depth} | {r.seconds:.0f} | {'yes' if r.ok else 'NO'} "
        f"| {r.mutant} | {'yes' if r.mutant_killed else 'NO'} |"
        for r in results
    ]
    return "\n".join(lines)


def write(results: Sequence[Result], path: Path = REPORT) -> None:
    """Writes build/formal.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"proofs": [result.as_dict() for result in results]}
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Proves what `arguments` name, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m verif.formal", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="may repeat")
    parser.add_argument("--list", action="store_true", help="names and claims, and prove nothing")
    parser.add_argument("--json", action="store_true", help="print the report, not the table")
    options = parser.parse_args(arguments)
    every = proofs()
    try:
        wanted = chosen(every, options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        for proof in wanted:
            kind = "k" if proof.method is Method.INDUCTION else "bound"
            print(f"{proof.name} ({proof.method.value}, {kind} {proof.depth}): {proof.claim}")
        return 0
    results: list[Result] = []
    for number, proof in enumerate(wanted, 1):
        print(f"formal: {number}/{len(wanted)} {proof.name} ...", file=sys.stderr, flush=True)
        try:
            result = run(proof)
        except FormalError as error:
            print(f"formal: {proof.name}: {error}", file=sys.stderr)
            return 1
        results.append(result)
        good = result.ok and result.mutant_killed
        print(
            f"formal: {number}/{len(wanted)} {proof.name} {'good' if good else 'BAD'}, "
            f"{result.seconds:.0f} s {'; '.join(result.notes)}".rstrip(),
            file=sys.stderr,
            flush=True,
        )
        write(results)
    if options.json:
        print(json.dumps({"proofs": [result.as_dict() for result in results]}, indent=1))
    else:
        print(table(results))
    bad = [r.name for r in results if not (r.ok and r.mutant_killed)]
    if bad:
        print(f"formal: not good: {', '.join(bad)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
