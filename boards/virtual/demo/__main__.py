"""`python -m boards.virtual.demo`: plays the seed's state table on the virtual board.

Exit codes: 0 every row held; 1 a row did not hold, or something broke; 2 wrong arguments, or the
demo may not run here.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from boards.virtual.build import BuildError, build
from boards.virtual.demo.isolation import IsolationError, is_inside, run_inside, watch_lifeline
from boards.virtual.demo.report import Report
from boards.virtual.demo.scenario import play
from boards.virtual.demo.stage import Stage
from boards.virtual.demo.world import HOST, STATION
from boards.virtual.process import BoardError

ROOT = Path(__file__).resolve().parents[3]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Plays the seed's state table, rows 2 to 9, on the virtual board.",
        epilog="exit codes: 0 every row held, 1 one did not or something broke, 2 may not run here",
    )
    parser.add_argument("--pcap", metavar="FILE", type=Path, help="keep the LAN's traffic")
    parser.add_argument("--json", action="store_true", help="write only the rows, as JSON")
    parser.add_argument("--keep", action="store_true", help="go on afterwards until Ctrl-C")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        default=ROOT / "build",
        help="where demo.json and the logs go (default: build)",
    )
    return parser.parse_args()


def _words(arguments: argparse.Namespace) -> list[str]:
    """The arguments again, with full paths: the inner program runs in another directory."""
    words = ["--output", str(arguments.output)]
    if arguments.pcap is not None:
        words += ["--pcap", str(arguments.pcap)]
    return words + [f"--{name}" for name in ("json", "keep") if getattr(arguments, name)]


def _inside(arguments: argparse.Namespace) -> int:
    report = Report(quiet=arguments.json)
    threading.Thread(
        target=watch_lifeline, args=(lambda: os.kill(os.getpid(), signal.SIGINT),), daemon=True
    ).start()
    report.say("setting the stage: namespaces, LAN, board, station, attacker")
    with Stage(arguments.output / "demo", arguments.pcap) as stage:
        play(stage, report)
        speed = round(stage.cycles_per_second())
        trouble = stage.machine.trouble
        if arguments.keep:
            _keep(stage)
    facts = {"cycles_per_second": speed, "trouble": trouble}
    report.write(arguments.output / "demo.json", facts)
    if arguments.json:
        print(json.dumps(report.as_json(facts), indent=2))
    else:
        print(f"\n{report.table()}\n")
        print(f"virtual board: {speed:,} NIC cycles a second while busy")
        if trouble:
            print(f"the machine had trouble: {trouble}")
        held = sum(row.ok for row in report.rows)
        print(f"{held} of {len(report.rows)} rows held", end=" ")
        print(f"({arguments.output / 'demo.json'})")
    return 0 if report.ok and not trouble else 1


def _keep(stage: Stage) -> None:
    print(
        f"\nAll goes on until Ctrl-C. From another terminal, as root:\n"
        f"  nsenter -t {Path('/proc/self').readlink()} -a   and there\n"
        f"  ip netns exec {STATION.name} holdfast host show {HOST.name} "
        f"--config {stage.directory}/station.toml"
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def main() -> int:
    """Builds, goes inside, plays; returns the exit code."""
    arguments = _arguments()
    arguments.output = arguments.output.resolve()
    if arguments.pcap is not None:
        arguments.pcap = arguments.pcap.resolve()
        if not arguments.pcap.parent.is_dir():
            print(f"demo: there is no folder {arguments.pcap.parent} for --pcap", file=sys.stderr)
            return 2
    try:
        if is_inside():
            return _inside(arguments)
        build(say=lambda text: print(f"{text} ...", file=sys.stderr, flush=True))
        return run_inside("boards.virtual.demo", _words(arguments))
    except (IsolationError, BuildError) as error:
        print(error, file=sys.stderr)
        return 2
    except (BoardError, RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything is cleared away", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
