"""The verdicts of all judges in one table, and what each of them could not judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from verif.judges import by_scapy, gmac, tshark
from verif.judges.sent import AH_ICV, CONTENT, ESP_ICV, HEADERS, Sent, Verdict

JUDGES = ("A", "B", "C")
SHORT = {HEADERS: "h", CONTENT: "c", ESP_ICV: "E", AH_ICV: "A"}
LEGEND = """A: tshark, B: scapy, C: RFC 4543 by hand
h: headers, lengths, checksums; c: the message inside; E: ICV of ESP; A: ICV of AH; -: nothing"""

Judged = list[tuple[Sent, dict[str, Verdict]]]
"""Each frame with what each judge says of it."""


def judge(frames: Sequence[Sent], directory: Path) -> Judged:
    """Asks all judges; the PCAP of the frames lies in the directory."""
    by_tshark = tshark.judge(frames, directory)
    return [
        (frame, {"A": first, "B": by_scapy.verdict(frame), "C": gmac.verdict(frame)})
        for frame, first in zip(frames, by_tshark, strict=True)
    ]


def reason(judge_: str, frame: Sent, part: str) -> str:
    """Why a judge cannot judge a part of a frame."""
    if judge_ == "C":
        return gmac.REASON
    if judge_ == "B":
        return by_scapy.AH_GMAC_REASON
    if part == AH_ICV:
        return tshark.AH_REASON
    assert frame.sa is not None
    return tshark.ESN_REASON if tshark.knows(frame.sa) else tshark.GMAC_REASON


def faults(judged: Judged) -> Iterator[str]:
    """All that any judge finds wrong, and all that no judge has looked at."""
    for frame, verdicts in judged:
        for name, verdict in verdicts.items():
            for fault in verdict.faults:
                yield f"{name}: {frame.label}: {fault}: {frame.octets.hex()}"
        missed = frame.parts.difference(*(verdict.judged for verdict in verdicts.values()))
        for part in sorted(missed):
            yield f"nobody judges the {part}: {frame.label}"


def not_judged(judged: Judged) -> Counter[tuple[str, str, str, str]]:
    """Judge, suite, part and reason of what was not judged, with the number of frames."""
    return Counter(
        (name, row(frame)[0], part, reason(name, frame, part))
        for frame, verdicts in judged
        for name, verdict in verdicts.items()
        for part in sorted(frame.parts - verdict.judged)
    )


def row(frame: Sent) -> tuple[str, str]:
    """Suite and form under which a frame is counted: tags and inner families stand together."""
    form, sa = frame.form, frame.sa
    family = f"IPv{6 if form.v6 else 4}"
    if sa is None:
        return frame.clear_kind, family if frame.message else "probe" if form.probe else ""
    mode = "tunnel" if sa.tunnel else "transport"
    return sa.name, f"{mode} {family}{' in UDP' if form.encap else ''}{' ESN' if sa.esn else ''}"


def table(judged: Judged) -> str:
    """Suite and form, frames, and what each judge found right of them; FAULT where not all was."""
    frames: Counter[tuple[str, str]] = Counter()
    cells: dict[tuple[tuple[str, str], str], str] = {}
    for frame, verdicts in judged:
        key = row(frame)
        frames[key] += 1
        for name, verdict in verdicts.items():
            said = "".join(letter for part, letter in SHORT.items() if part in verdict.judged)
            cell = "FAULT" if verdict.faults else said or "-"
            if cells.setdefault((key, name), cell) != cell:
                cells[key, name] = "FAULT"
    width = max(len(name) for name, _ in frames)
    lines = [LEGEND, f"{'suite':{width}}  {'form':25}  frames   A      B      C"]
    for key, count in frames.items():
        said = "  ".join(f"{cells[key, name]:5}" for name in JUDGES)
        lines.append(f"{key[0]:{width}}  {key[1]:25}  {count:6}   {said}".rstrip())
    lines.append(f"{sum(frames.values())} frames in {len(frames)} forms")
    for name in JUDGES:
        counts = Counter(part for _, verdicts in judged for part in verdicts[name].judged)
        wrong = sum(bool(verdicts[name].faults) for _, verdicts in judged)
        text = ", ".join(f"{counts[part]} {part}" for part in SHORT if counts[part])
        lines.append(f"{name} judged {text}; frames with a fault: {wrong}")
    lines.append("not judged:")
    grouped: Counter[tuple[str, str, str]] = Counter()
    for (name, _, part, why), count in not_judged(judged).items():
        grouped[name, part, why] += count
    lines += [
        f"  {name}  {part:8} of {count:4} frames: {why}"
        for (name, part, why), count in grouped.items()
    ]
    return "\n".join(lines)
