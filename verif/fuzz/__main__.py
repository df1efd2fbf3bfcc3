"""Runs generated frames through the model and prints its counters: `python -m verif.fuzz`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from spec.counters import Counter
from spec.suites import built_in
from verif.fuzz.run import UNREACHABLE, run_model


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns 1 if a counter was not reached."""
    parser = argparse.ArgumentParser(prog="python -m verif.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000, help="frames")
    options = parser.parse_args(arguments)
    suites = tuple(int(suite) for suite in built_in(hmac_sha_1=True))
    counters = run_model(options.seed, options.count, suites)
    for counter, value in counters.items():
        print(f"{counter.name:24} {value}")
    missing = [c.name for c in Counter if not counters[c] and c not in UNREACHABLE]
    if missing:
        print("not reached:", ", ".join(missing))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
