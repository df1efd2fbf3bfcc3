"""A recording as WaveDrom: lanes, the columns worth showing, and the text of a block."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.lib import data

from verif.waves.signals import STREAMS

__all__ = ["Bit", "Number", "Picture", "Recording", "StreamLanes", "columns", "draw"]

Recording = Mapping[str, Sequence[int]]
"""Value of each signal, cycle by cycle."""
Cell = tuple[str, str, int]
"""What a lane shows in a cycle: WaveDrom's letter, a label, and a number that is another one for
each beat."""

PERIOD_MAX = 4
"""Cycles after which a pattern of beats may repeat and still be shortened."""
NO_MEANING: Cell = ("x", "", 0)
FIRST_LAST = {(0, 0): "=", (1, 0): "3", (0, 1): "4", (1, 1): "5"}
"""Colours of the first and the last beat of a packet."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One line of a picture, which lasts from the first change of one with `events` to the last."""

    name: str
    cells: Sequence[Cell]
    events: bool = True


@dataclass(frozen=True, slots=True)
class StreamLanes:
    """Lanes of a stream: handshake, and its octets or some fields of its payload.

    Parameters
    ----------
    name
        In `STREAMS`.
    fields
        Of the payload, or `octet` for a payload that is one, or of a packet.
    ready
        Show it, if there is one.
    """

    name: str
    fields: tuple[str, ...] = ("octet",)
    ready: bool = True

    def lanes(self, recording: Recording) -> list[Lane]:
        """The lanes."""
        stream = STREAMS[self.name]
        valid, payload = (recording[f"{self.name}.{part}"] for part in ("valid", "payload"))
        ready = recording[f"{self.name}.ready"] if stream.has_ready else [1] * len(valid)
        lanes = [Lane(f"{self.name}.valid", [(str(bit), "", 0) for bit in valid])]
        if stream.has_ready and self.ready:
            shown = [
                (str(bit), "", 0) if offered else NO_MEANING
                for bit, offered in zip(ready, valid, strict=True)
            ]
            lanes.append(Lane(f"{self.name}.ready", shown, events=False))
        for field in self.fields:
            cells: list[Cell] = []
            beat = 1
            for value, offered, taken in zip(payload, valid, ready, strict=True):
                cells.append(
                    (*_shown(stream.layout, field, value), beat) if offered else NO_MEANING
                )
                beat += offered & taken
            lanes.append(Lane(f"{self.name}.{field}", cells))
        return lanes


def _shown(layout: data.StructLayout | None, field: str, value: int) -> tuple[str, str]:
    """Letter and label of a payload or of a field of it."""
    if field == "octet":
        letter = "="
        if layout is not None:
            letter = FIRST_LAST[_field(layout, "first", value), _field(layout, "last", value)]
        return letter, f"{value & 0xFF:02x}"
    assert layout is not None
    number = _field(layout, field, value)
    shape = layout[field].shape
    return "=", shape(number).name if isinstance(shape, type) else str(number)


def _field(layout: data.StructLayout, name: str, value: int) -> int:
    field = layout[name]
    return value >> field.offset & (1 << field.width) - 1


@dataclass(frozen=True, slots=True)
class Bit:
    """Lane of a single bit."""

    name: str

    def lanes(self, recording: Recording) -> list[Lane]:
        """The lane."""
        return [Lane(self.name, [(str(bit), "", 0) for bit in recording[self.name]])]


@dataclass(frozen=True, slots=True)
class Number:
    """Lane of a number that counts in some cycles.

    Parameters
    ----------
    name
        Of the signal.
    digits
        In hexadecimal.
    strobes
        It counts when one of these bits is 1.
    late
        It counts so many cycles later.
    """

    name: str
    digits: int
    strobes: tuple[str, ...]
    late: int = 0

    def lanes(self, recording: Recording) -> list[Lane]:
        """The lane."""
        cells: list[Cell] = []
        for cycle, value in enumerate(recording[self.name]):
            asked = cycle - self.late
            counts = asked >= 0 and any(recording[strobe][asked] for strobe in self.strobes)
            cells.append(("=", f"{value:0{self.digits}x}", cycle + 1) if counts else NO_MEANING)
        return [Lane(self.name, cells)]


@dataclass(frozen=True, slots=True)
class Picture:
    """One interface and one packet.

    Parameters
    ----------
    scene
        Of the bench.
    title
        Stands above it.
    parts
        Its lanes.
    scale
        Width of a column, for long labels.
    """

    scene: str
    title: str
    parts: tuple[StreamLanes | Bit | Number, ...]
    scale: int = 1


def columns(kinds: Sequence[object]) -> list[int | None]:
    """Which cycles to show; None is a gap, where what stands before it goes on until what follows.

    Parameters
    ----------
    kinds
        What each cycle is like. A run of one kind, or of few that take turns, is shortened to its
        beginning and its end.
    """
    shown: list[int | None] = []
    at = 0
    while at < len(kinds):
        runs = {period: _run(kinds, at, period) for period in range(1, PERIOD_MAX + 1)}
        period = max(runs, key=runs.__getitem__)  # of equals the shortest
        length = runs[period]
        begin, end = (2, 1) if period == 1 else (2 * period, period)
        if length > begin + 1 + end:
            shown += [*range(at, at + begin), None, *range(at + length - end, at + length)]
            at += length
        else:
            shown.append(at)
            at += 1
    return shown


def _run(kinds: Sequence[object], at: int, period: int) -> int:
    """For how many cycles the kinds from `at` on repeat."""
    end = min(at + period, len(kinds))
    while end < len(kinds) and kinds[end] == kinds[end - period]:
        end += 1
    return end - at


def draw(picture: Picture, recording: Recording, *, zero: int) -> str:
    """The picture as WaveDrom's JSON, a line for each lane.

    Parameters
    ----------
    picture, recording
        What to show, and of what.
    zero
        The cycle of the recording that is called 0.
    """
    lanes = [lane for part in picture.parts for lane in part.lanes(recording)]
    cycles = range(len(lanes[0].cells))
    events = [
        cycle
        for cycle in cycles[1:]
        if any(lane.events and lane.cells[cycle] != lane.cells[cycle - 1] for lane in lanes)
    ]
    window = range(events[0] - 1, min(events[-1] + 2, len(cycles)))
    kinds = [tuple(_kind(lane.cells, cycle) for lane in lanes) for cycle in window]
    shown = [None if column is None else window[column] for column in columns(kinds)]
    # Numbers above the columns are not what every program that draws WaveDrom can do.
    ruler = Lane("cycle", [("2", str(cycle - zero), 0) for cycle in cycles])
    lines = ["{", f'  "head": {json.dumps({"text": picture.title})},']
    if picture.scale > 1:
        lines.append(f'  "config": {json.dumps({"hscale": picture.scale})},')
    rows = [json.dumps(_lane(lane, shown)) for lane in (ruler, *lanes)]
    signal = ",\n".join(f"    {row}" for row in rows)
    return "\n".join([*lines, '  "signal": [', signal, "  ]", "}"]) + "\n"


def _kind(cells: Sequence[Cell], cycle: int) -> tuple[str, bool]:
    """Letter of a cell, and whether it shows the same beat as the one before."""
    return cells[cycle][0], cycle > 0 and cells[cycle][2] == cells[cycle - 1][2]


def _lane(lane: Lane, shown: Sequence[int | None]) -> dict[str, str]:
    """A lane as WaveDrom has it."""
    wave, labels = "", []
    before: Cell | None = None
    for cycle in shown:
        if cycle is None:
            wave += "|"
            continue
        cell = lane.cells[cycle]
        if cell == before:
            wave += "."
        else:
            wave += cell[0]
            labels += [cell[1]] if cell[1] else []
        before = cell
    return {"name": lane.name, "wave": wave} | ({"data": " ".join(labels)} if labels else {})
