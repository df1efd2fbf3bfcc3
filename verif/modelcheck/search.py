"""Breadth-first search of all worlds within the bounds."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from verif.modelcheck.properties import Recovery, check_state
from verif.modelcheck.world import Bounds, Engine, Label, ViolationError, World


@dataclass
class Found:
    """What a search found.

    Parameters
    ----------
    states, transitions, depth : int
        How much was explored.
    seconds : float
        How long it took.
    complete : bool
        Every state within the bounds was visited.
    runs : int
        How often one of the real programs ran; all other steps were looked up.
    prop, text : str
        The property that does not hold, and what was found; empty if all hold.
    path : list of (Label, World)
        The steps to the violation; the first has the label ("start",).
    """

    states: int = 0
    transitions: int = 0
    depth: int = 0
    seconds: float = 0.0
    complete: bool = False
    runs: int = 0
    prop: str = ""
    text: str = ""
    path: list[tuple[Label, World]] = field(default_factory=list)
    engine: Engine | None = None


Progress = Callable[[Found, int], None]
PROGRESS_S = 5.0


def search(
    bounds: Bounds,
    *,
    limit_s: float = float("inf"),
    limit_states: int = 1 << 40,
    depth: int = 1 << 30,
    progress: Progress | None = None,
    recovery: bool = True,
) -> Found:
    """Visit every world that can be reached, nearest first; stop at the first violation.

    Parameters
    ----------
    bounds : Bounds
        What can happen.
    limit_s, limit_states, depth
        Where to stop before the end; then `complete` is False.
    progress : callable or None
        Called now and then with what was found so far, and the number of worlds that wait.
    recovery : bool
        Look at what comes of each world once faults stop, too.
    """
    # Nothing here goes round in circles, and there is much of it.
    collecting = gc.isenabled()
    log = logging.getLogger("holdfast")
    level = log.level
    gc.disable()
    log.setLevel(logging.CRITICAL)
    try:
        return _search(bounds, limit_s, limit_states, depth, progress, recovery)
    finally:
        log.setLevel(level)
        if collecting:
            gc.enable()


def _search(
    bounds: Bounds,
    limit_s: float,
    limit_states: int,
    depth: int,
    progress: Progress | None,
    recovery: bool,
) -> Found:
    start = time.process_time()
    engine = Engine(bounds)
    checked: set[tuple] = set()
    recover = Recovery(engine)
    found = Found(engine=engine)
    first = engine.first()
    came_from: dict[World, tuple[World | None, Label]] = {first: (None, ("start",))}
    layer = [first]
    told = start
    cut = False
    while layer and not cut:
        following: list[World] = []
        for world in layer:
            recover.trail = []
            try:
                seen = (world.station, world.disk, world.nic, world.numbers)
                if seen not in checked:
                    check_state(engine, world)
                    checked.add(seen)
                if recovery:
                    recover.check(world)
                recover.trail = []
                for label, after in engine.steps(world):
                    found.transitions += 1
                    if after not in came_from:
                        came_from[after] = (world, label)
                        following.append(after)
            except ViolationError as error:
                found.prop, found.text = error.prop, error.text
                found.path = _path(came_from, world) + recover.trail
                cut = True
                break
            now = time.process_time()
            if now - told > PROGRESS_S:
                told = now
                found.states, found.seconds = len(came_from), now - start
                if progress is not None:
                    progress(found, len(layer) + len(following))
                if now - start > limit_s or len(came_from) > limit_states:
                    cut = True
                    break
        if not cut:
            found.depth += bool(following)
            layer = following
            if found.depth >= depth:
                break
    found.complete = not cut and not layer
    found.states = len(came_from)
    found.seconds = time.process_time() - start
    found.runs = engine.runs
    return found


def _path(
    came_from: dict[World, tuple[World | None, Label]], world: World
) -> list[tuple[Label, World]]:
    path = []
    at: World | None = world
    while at is not None:
        before, label = came_from[at]
        path.append((label, at))
        at = before
    return path[::-1]
