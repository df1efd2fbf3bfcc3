"""The corpus of paths that are played again: `model_check_traces.json`.

Each is the shortest path of its kind that `verif.modelcheck` found, of the right code or of a
seeded bug. Its steps are named as in build/model_check.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from verif.modelcheck.world import Bounds


@dataclass(frozen=True)
class Trace:
    """A path.

    Parameters
    ----------
    name, text : str
        What it is called, and what happens in it.
    bounds : Bounds
        Within which it was found.
    bug : str or None
        The seeded bug that must be in.
    steps : list of str
        By their names.
    """

    name: str
    text: str
    bounds: Bounds
    bug: str | None
    steps: list[str]


TRACES = [
    Trace(one["name"], one["text"], Bounds(**one["bounds"]), one["bug"], one["steps"])
    for one in json.loads(Path(__file__).with_name("model_check_traces.json").read_text())
]
"""All of them."""
