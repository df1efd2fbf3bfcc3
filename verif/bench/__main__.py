"""Measures the verilated NIC.

    python -m verif.bench datapath [--suite NAME ...] [--quick]
    python -m verif.bench lanes [--lanes N ...]

Prints tables and writes build/bench.json or build/lanes.json. A suite that the NIC does not have is
a row "not built in". `lanes` measures the suites with HMAC on one NIC for each number of lanes.

Exit codes: 0 measured; 1 the NIC did what it must not do, or a tool failed; 2 wrong arguments.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from spec.suites import SUITES
from verif.bench import datapath, lanes
from verif.cocotb.runner import SimulationError

QUICK: dict[str, Any] = {"octets": (60, 1514), "frames": 8, "flood": 32, "parts": 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what `arguments` name, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m verif.bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("part", choices=("datapath", "lanes"))
    names = [suite.name for suite in SUITES]
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="only this one; may repeat"
    )
    parser.add_argument("--quick", action="store_true", help="few frames: does it run at all")
    parser.add_argument(
        "--lanes", type=int, nargs="+", default=lanes.LANES, metavar="N", help="1 to 8"
    )
    chosen = parser.parse_args(arguments)
    if wrong := [count for count in chosen.lanes if not 1 <= count <= 8]:
        parser.error(f"a NIC has 1 to 8 lanes, not {wrong[0]}")
    if unknown := [name for name in chosen.suite if name not in names]:
        parser.error(f"no suite is called {', '.join(unknown)}; there are {', '.join(names)}")
    try:
        if chosen.part == "lanes":
            print(lanes.table(lanes.measure_lanes(lanes=chosen.lanes)))
            print("figures in build/lanes.json")
            return 0
        report = datapath.measure(suites=chosen.suite, **(QUICK if chosen.quick else {}))
    except SimulationError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(datapath.tables(report))
    print("figures in build/bench.json")
    if failed := datapath.failed(report):
        print(f"bench: measured in vain: {', '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
