"""How fast the flash of the store wears out.

`python -m docs.wear` prints the table of docs/store.md: erases of the sectors of one context, by
how often its SA is refreshed and how many commands come under it.
"""

from __future__ import annotations

import sys

from docs.reference import table
from spec.store import BLOCK_BITS, wear

__all__ = ["page"]

_CASES = ((3600, 1), (3600, 0.1), (3600, 100), (600, 1), (60, 1))
"""Seconds from refresh to refresh, and commands a second. The first is the design's case."""


def page() -> str:
    """The table."""
    rows = []
    for refresh_s, commands in _CASES:
        found = wear(refresh_s=refresh_s, commands_a_second=commands)
        rows.append(
            (
                f"{refresh_s} s",
                f"{commands:g}",
                f"{found.entries_a_refresh:.2f}",
                f"{found.erases_refresh:.0f}",
                f"{found.erases_log:.0f}",
                f"{found.years:.1f}",
            )
        )
    head = (
        "refresh every",
        "commands a second",
        f"entries a refresh (blocks of {1 << BLOCK_BITS})",
        "erases a year by refresh",
        "by full logs",
        "years to 100,000 erases",
    )
    return table(head, rows)


if __name__ == "__main__":
    sys.stdout.write(page())
