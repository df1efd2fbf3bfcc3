"""A station's store whose process is killed before each of its statements in turn.

`python -m verif.unit.sw.station.killed FOLDER` forks one process after another, each with a store
of its own, that dies by SIGKILL a statement later than the one before, until one comes to its end.
What each was given stands beside its store.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from unittest import mock

import sqlalchemy as sql
from sqlalchemy.engine import Engine

from sw.station.database import Database, StoreLock
from verif.unit.sw.station.shelf import Shelf, add_host, sa_record

BLOCK = 10
LOG = "given"


def work(shelf: Shelf) -> None:
    """Lay a store out, take in a host with two SAs, prove one, and reserve; note what was given."""
    with StoreLock(shelf.path), (shelf.folder / LOG).open("a", buffering=1) as log:
        store = shelf.open()
        host = add_host(store)
        log.write(f"host {host.id}\n")
        for generation in (1, 2):
            store.add_sa(host.id, sa_record(generation))
            log.write(f"sa {generation}\n")
            log.write(f"number {generation} {store.reserve(host.id, generation, BLOCK)}\n")
            store.mark_proven(host.id, generation, (), 1.0)
            log.write(f"proven {generation}\n")
        log.write(f"number 2 {store.reserve(host.id, 2, BLOCK)}\n")
        store.close()


def die_before(statement: int) -> None:
    """SIGKILL to ourselves before a statement that writes, or before a transaction's end."""
    left = statement

    def count(*arguments: object) -> None:
        nonlocal left
        if not any(str(word).startswith(("SELECT", "PRAGMA")) for word in arguments):
            left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for event in ("before_cursor_execute", "commit"):
        sql.event.listen(Engine, event, count)


def die_before_mark(reservation: int) -> None:
    """The same between the end of a reservation's transaction and its mark."""
    left = reservation
    write_mark = Database.write_mark

    def count(self: Database, number: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        write_mark(self, number)

    mock.patch.object(Database, "write_mark", count).start()


def main(folder: Path) -> None:
    """One process after another, each killed later than the last; folders are numbered."""
    place = 0
    for dying in (die_before, die_before_mark):
        statement, ended = 0, False
        while not ended:
            statement += 1
            place += 1
            own = folder / f"{place:03d}"
            own.mkdir()
            child = os.fork()
            if not child:
                dying(statement)
                work(Shelf(own))
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            ended = status == 0
            if not ended and not os.WIFSIGNALED(status):
                sys.exit(f"process {place} failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
