"""What commands write: text for people, JSON for programs, and exit codes."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import TextIO

Json = dict[str, object]


class Exit(IntEnum):
    """Exit codes of `holdfast`."""

    OK = 0
    FAILED = 1
    """The operation failed: the message says why."""
    USAGE = 2
    """Wrong arguments or configuration; nothing was done."""
    NO_ANSWER = 3
    """The host did not answer; a command may have been carried out all the same."""
    REFUSED = 4
    """Refused, and nothing was sent: no SA with the host, or policy."""
    UNAVAILABLE = 5
    """The station, its store, or the NIC cannot be reached now."""


EXIT_HELP = """exit codes:
  0  done
  1  failed; the message says why
  2  wrong arguments or configuration; nothing was done
  3  no answer from the host; a command may have been carried out all the same
  4  refused, and nothing was sent: there is no SA with the host
  5  the station, its store, or the NIC cannot be reached now
"""


def open_streams() -> None:
    """Make standard output and error fit to write to: also closed ones, also any text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop(stream: TextIO) -> None:
    """Nobody reads a stream any more: what is still in its buffer goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


class CommandError(Exception):
    """Ends a command with a code and a text for people."""

    def __init__(self, code: Exit, text: str, result: Json | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.result = result


class Output:
    """Standard output and standard error of one command.

    Parameters
    ----------
    as_json : bool
        One JSON value on standard output, and nothing else there.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def progress(self, text: str) -> None:
        """Something that happens meanwhile, for people: to standard error."""
        self.say(text)

    @staticmethod
    def say(text: str) -> None:
        """A line to standard error. That nobody reads it is no reason to fail."""
        try:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()
        except OSError:
            drop(sys.stderr)

    def result(self, value: object, lines: Iterable[str]) -> None:
        """The command's result: as JSON, or as these lines."""
        text = json.dumps(value, indent=2) if self.as_json else "\n".join(lines)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def error(self, error: CommandError) -> None:
        """Why the command came to nothing."""
        self.say(f"holdfast: {error}")
        if self.as_json:
            body: Json = {"error": str(error), "exit_code": int(error.code)}
            if error.result is not None:
                body["result"] = error.result
            sys.stdout.write(json.dumps(body, indent=2) + "\n")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table with aligned columns."""
    cells = [list(head), *([_word(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def pairs(values: Iterable[tuple[str, object]]) -> list[str]:
    """Lines of names and values."""
    known = list(values)
    width = max((len(name) for name, _ in known), default=0)
    return [f"{name.ljust(width)}  {_word(value)}" for name, value in known]


def _word(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def start_logging(level: str) -> None:
    """Plain lines on standard error: time, level, where, what."""
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        force=True,
    )
