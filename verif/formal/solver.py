"""Bitwuzla as a program that is spoken to by pipes, as `yosys-smtbmc` wants its solvers.

The package `bitwuzla` is a library; this reads SMT-LIB from standard input, a command at a time.
"""

import sys
from collections.abc import Iterator
from typing import TextIO

import bitwuzla


def commands(lines: TextIO) -> Iterator[str]:
    """Whole commands, however they are spread over lines."""
    text, depth = "", 0
    for line in lines:
        text += line
        depth += line.count("(") - line.count(")")
        if depth == 0:
            if text.strip():
                yield text
            text = ""


def main() -> int:
    """Serves until the end of the input, or `(exit)`."""
    options = bitwuzla.Options()
    options.set(bitwuzla.Option.PRODUCE_MODELS, True)
    parser = bitwuzla.Parser(bitwuzla.TermManager(), options)
    for command in commands(sys.stdin):
        if command.strip().startswith("(exit"):
            break
        parser.parse(command, False, False)
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
