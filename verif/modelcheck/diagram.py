"""A path of steps as a message diagram: station, agent and NIC, with time going down."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from spec.sa import BankState
from verif.modelcheck.words import COPY, LATE, Answer, Packet
from verif.modelcheck.world import Engine, Label, World

STATION, AGENT, NIC = 10, 34, 58
"""Columns of the three lifelines."""
WIDTH = 68
HEAD = "           station                 agent                   NIC"


def packet_text(packet: Packet | Answer) -> str:
    """A packet in a few words."""
    if isinstance(packet, Packet):
        late = {LATE: ", late", COPY: ", a copy"}.get(packet.name, "")
        what = f"Commit({packet.about})" if packet.kind == "commit" else packet.kind
        return f"{what}, under SA {packet.sa}{late}"
    match packet.body:
        case ("committed", about, ok):
            what = f"Committed({about}) {'OK' if ok else 'no such SPI'}"
        case ("status", banks, *_):
            what = "status " + banks_text(banks)
        case _:
            what = "ACK"
    return f"{what}, under SA {packet.sa}"


def banks_text(banks: tuple) -> str:
    """Both banks."""
    return " ".join(f"{sa or '-'}:{BankState(state).name}" for sa, state in banks)


def _lifelines() -> list[str]:
    row = [" "] * WIDTH
    for column in (STATION, AGENT, NIC):
        row[column] = "|"
    return row


def _note(column: int, text: str) -> str:
    row = _lifelines()
    row[column] = "*"
    start = column + 2
    row[start : start + len(text)] = text
    return "".join(row).rstrip()


def _arrow(start: int, end: int, text: str) -> str:
    row = _lifelines()
    left, right = min(start, end), max(start, end)
    row[left + 1 : right] = "-" * (right - left - 1)
    row[right - 1 if end > start else left + 1] = ">" if end > start else "<"
    place = left + 3
    row[place : place + len(text) + 2] = f" {text} "
    return "".join(row).rstrip()


def _step(label: Label) -> str:
    match label:
        case ("nic", "receives" | "receives, and a copy is left,", packet):
            return _arrow(STATION, NIC, packet_text(packet))
        case ("station", "receives", answer):
            return _arrow(NIC, STATION, packet_text(answer))
        case ("station", "crashes in", inner, number):
            words = _words(inner)
            return _note(STATION, f"CRASHES after action {number + 1} of: {words}; starts again")
        case ("station", ("IKE ready" | "IKE deleted") as what, sa):
            return _arrow(AGENT, STATION, f"{what} {sa}")
        case ("station", "IKE answer", sa):
            return _arrow(AGENT, STATION, f"IKE answer, SA {sa}")
        case ("agent", ("IKE request" | "late IKE request") as what, kind, sa):
            return _arrow(STATION, AGENT, f"{'late ' * (what[0] == 'l')}{kind} {sa}")
        case ("agent", "at the NIC", what, sa):
            return _arrow(AGENT, NIC, f"{what} {sa}")
        case ("nic", *_):
            return _note(NIC, _words(label))
        case ("agent", *_):
            return _note(AGENT, _words(label))
    return _note(STATION, _words(label))


def _words(label: Label) -> str:
    words = []
    for part in label[1:]:
        if isinstance(part, (Packet, Answer)):
            words.append(packet_text(part))
        elif isinstance(part, tuple):
            words.append(f"({part[0]})")
        else:
            words.append(str(part))
    return " ".join(words)


def label_text(label: Label) -> str:
    """A step in words that name it among all that can follow a state."""
    match label:
        case ("station", "crashes in", inner, number):
            return f"station crashes in ({label_text(inner)}) {number}"
    return f"{label[0]} {_words(label)}"


def state_text(engine: Engine, world: World) -> str:
    """Station and NIC in a few words."""
    machine = engine.station(world).machine
    held = " ".join(
        f"{row.sa}{'+' if row.proven else '?' if row.used else '-'}"
        for row in engine.disk(world).rows
    )
    return f"{machine.phase.name} [{held}] NIC {banks_text(engine.nic(world).banks)}"


def draw(engine: Engine, path: list[tuple[Label, World]], end: str = "") -> str:
    """The diagram of a path.

    To the right stands, wherever it changed: the station's phase; the SAs in its store, each
    proven (+), used (?) or neither (-); and the NIC's banks.
    """
    lines = [HEAD, "".join(_lifelines()).ljust(WIDTH) + state_text(engine, path[0][1])]
    for number, (before, (label, world)) in enumerate(pairwise(path), start=1):
        line = f"{number:4}" + _step(label)[4:]
        text = state_text(engine, world)
        if text != state_text(engine, before[1]):
            line = line.ljust(WIDTH) + text
        lines.append(line)
        sent = _sent(world) - _sent(before[1])
        for kind in sorted(sent):
            lines.append(_note(STATION if kind[0] == "request" else NIC, f"sends {kind[1]}"))
    if end:
        lines.append(f"  => {end}")
    return "\n".join(lines)


def _sent(world: World) -> Counter:
    out: Counter = Counter()
    for packet in world.to_nic:
        if packet.name >= 0:
            out["request", packet_text(packet)] += 1
    for answer in world.to_station:
        out["answer", packet_text(answer)] += 1
    return out
