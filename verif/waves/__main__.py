"""Pictures of a packet's way through the NIC, in docs/packet_walk.md.

    python -m verif.waves            simulates, and tells which pictures of the page are others
    python -m verif.waves --update   simulates, and writes them into the page
    python -m verif.waves --svg DIR  draws the pictures of the page, without simulation

Exit codes: 0 the page is as the NIC is; 1 it is not, or the simulation failed; 2 wrong arguments.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hw.nic import Nic
from verif.cocotb.nic_pair import CLOCK_HZ
from verif.cocotb.runner import SimulationError
from verif.waves.page import COMMAND, PAGE, blocks, render, updated
from verif.waves.simulate import simulated


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what `arguments` say, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m verif.waves", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--update", action="store_true", help="write the pictures into the page")
    choice.add_argument("--svg", type=Path, metavar="DIR", help="draw the pictures of the page")
    chosen = parser.parse_args(arguments)
    text = PAGE.read_text(encoding="utf-8")
    if chosen.svg:
        sys.stdout.writelines(f"{path}\n" for path in render(text, chosen.svg))
        return 0
    try:
        pictures = simulated(nic=Nic(clock_hz=CLOCK_HZ))
        new = updated(text, pictures)
    except (SimulationError, LookupError) as error:
        print(f"waves: {error}", file=sys.stderr)
        return 1
    others = [name for name, source in blocks(text).items() if source != pictures[name]]
    print(f"waves: {', '.join(others) if others else 'no picture'} changed in {PAGE.name}")
    if chosen.update:
        PAGE.write_text(new, encoding="utf-8")
        return 0
    if others:
        print(f"waves: to bring the page up to date: {COMMAND}", file=sys.stderr)
    return int(bool(others))


if __name__ == "__main__":
    sys.exit(main())
