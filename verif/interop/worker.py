"""Runs cells in namespaces of its own: one boot of the guest for all of them.

Lines on standard input name cells; for each a line of JSON on standard output tells how it went.
The first line tells the versions of the peers, or why there are none.
"""

import asyncio
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path

from boards.virtual.process import BoardError
from verif.interop.cells import World
from verif.interop.guest import Guest, GuestError
from verif.interop.lan import Lan
from verif.interop.packages import PackageError, fetched, installed_version
from verif.interop.strongswan import StrongSwan
from verif.interop.table import CELLS

__all__ = ["CELL_SECONDS"]

CELL_SECONDS = 90.0


def say(**words: object) -> None:
    """One line."""
    print(json.dumps(words), flush=True)


async def play(world: World, case: str) -> None:
    """One cell, but not for ever."""
    async with asyncio.timeout(CELL_SECONDS):
        await CELLS[case].run(world)


def serve(world: World) -> None:
    """Run what is asked for."""
    for line in sys.stdin:
        case = line.rstrip("\n")
        start = time.monotonic()
        why = ""
        try:
            asyncio.run(play(world, case))
        except Exception:
            why = traceback.format_exc()
            why += "\nstrongSwan's last words:\n" + world.strongswan.log()[-4000:]
        say(case=case, ok=not why, why=why, seconds=round(time.monotonic() - start, 2))


def main() -> int:
    """Boot, then serve; returns the exit code."""
    try:
        root = fetched()
        with tempfile.TemporaryDirectory(prefix="holdfast-interop-") as scratch:
            with Guest(root, Path(scratch)) as guest, Lan() as lan:
                strongswan = StrongSwan(guest)
                strongswan.start()
                say(
                    strongswan=strongswan.version(),
                    linux=guest.version(),
                    ipmitool=installed_version(root, "ipmitool"),
                    freeipmi=installed_version(root, "freeipmi-tools"),
                )
                serve(World(guest, strongswan, lan))
    except (BoardError, GuestError, PackageError) as error:
        say(failure=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
