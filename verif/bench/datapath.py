"""What the data path does at line rate: passed frames, floods, and every suite.

Rates are those of a packet clock of 125 MHz, in which an octet time is a cycle.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amaranth.lib import wiring

from hw.nic import Nic
from spec.suites import SUITES
from verif.cocotb.runner import ROOT, run

__all__ = ["CLOCK_HZ", "OUT", "failed", "fit", "measure", "tables"]

CLOCK_HZ = 1_000_000
"""Of the simulated NIC: its timers are far from running out in a measurement."""
PACKET_HZ = 125_000_000
OCTETS = (60, 64, 128, 256, 512, 1024, 1514)
OUT = ROOT / "build" / "bench.json"
NOT_BUILT_IN = "not built in"


def measure(
    *,
    suites: Sequence[str] = (),
    octets: Sequence[int] = OCTETS,
    frames: int = 40,
    flood: int = 256,
    parts: int = 6,
    out: Path = OUT,
    nic: Callable[[], wiring.Component] = lambda: Nic(clock_hz=CLOCK_HZ),
    name: str = "bench_datapath",
) -> dict[str, Any]:
    """Runs all measurements on the verilated NIC, writes them to `out` and returns them.

    Parameters
    ----------
    suites
        Names; all by default. What the NIC does not have is reported as such either way.
    octets, frames
        Lengths of passed frames, and how many of each go each way.
    flood
        Frames of a flood of the shortest packets.
    parts
        Packet lengths from which the cycles per packet are fitted.
    out
        A JSON file.
    nic, name
        Makes the NIC, and where its simulator is kept.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    raw = out.with_suffix(".raw.json")
    raw.unlink(missing_ok=True)
    run(
        nic(),
        "verif.bench.tb_datapath",
        name,
        parameters={
            "suites": list(suites),
            "octets": list(octets),
            "frames": frames,
            "flood": flood,
            "parts": parts,
            "out": str(raw),
        },
    )
    report: dict[str, Any] = json.loads(raw.read_text())
    raw.unlink()
    for entry in report["suites"].values():
        if entry is not None and "error" not in entry:
            for row in entry["flood"]:
                row["arrived_per_s"] = round(row["frames"] * PACKET_HZ / row["arrival_cycles"])
                done = row["refused_by_icv"] + row["answered"]
                row["other"] = row["frames"] - done - row["overload"]
                row["done_per_s"] = round(done * PACKET_HZ / row["cycles"])
            entry["cycles_per_packet"] = fit(entry["spacing"])
    out.write_text(json.dumps(report, indent=2) + "\n")
    return report


def fit(rows: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """The straight line nearest to the cycles of packets over the octets of their frames.

    Only packets that took longer than the wire to bring them say how fast the path is.

    Returns
    -------
    dict or None
        `fixed` cycles, and cycles `per_octet` of the frame; None where fewer than two lengths were
        slower than the wire.
    """
    points = [
        (row["frame_octets"], row["cycles"])
        for row in rows
        if row["cycles"] is not None and row["cycles"] > row["frame_octets"] + 1
    ]
    if len({octets for octets, _ in points}) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum(
        (x - mean_x) ** 2 for x, _ in points
    )
    return {"fixed": round(mean_y - slope * mean_x, 1), "per_octet": round(slope, 3)}


def tables(report: Mapping[str, Any]) -> str:
    """The report for a person."""
    lines = [
        "Passed frames, both directions at once, 24 octet times apart (cycles from first octet to",
        "first octet)",
        f"{'octets':>7} {'frames':>7}  {'wire to host':>14} {'lost':>5}  "
        f"{'host to wire':>14} {'lost':>5}",
    ]
    for row in report["passed"]:
        lines.append(
            f"{row['octets']:>7} {row['frames']:>7}"
            + "".join(
                f"  {_span(row[way]):>14} {row[way]['lost']:>5}"
                for way in ("wire_to_host", "host_to_wire")
            )
        )
    names = [suite.name for suite in SUITES if suite.name in report["suites"]]
    width = max((len(name) for name in names), default=5)
    lines += [
        "",
        "Commands (cycles from the command's last octet)",
        f"{'suite':<{width}} {'frame':>6} {'to the pin':>11} {'answer: first':>14} {'last':>6}",
    ]
    for name in names:
        entry = report["suites"][name]
        if (words := _instead(entry)) is not None:
            lines.append(f"{name:<{width}} {words}")
            continue
        row = entry["latency"]
        lines.append(
            f"{name:<{width}} {row['frame_octets']:>6} {row['pin']:>11} "
            f"{row['answer_first']:>14} {row['answer_last']:>6}"
        )
    lines += [
        "",
        "Floods at line rate: forged packets of the live SPI, one in eight a right command",
        "(refused before: without a look at the key)",
        f"{'suite':<{width}} {'frame':>6} {'frames':>6} {'arrive/s':>10} {'verified/s':>10} "
        f"{'overload':>9} {'refused before':>15} {'commands':>9} {'answered':>9}",
    ]
    for name in names:
        entry = report["suites"][name]
        if (words := _instead(entry)) is not None:
            lines.append(f"{name:<{width}} {words}")
            continue
        lines += [
            f"{name:<{width}} {row['frame_octets']:>6} {row['frames']:>6} "
            f"{row['arrived_per_s']:>10} {row['done_per_s']:>10} {row['overload']:>9} "
            f"{row['other']:>15} {row['commands']:>9} {row['answered']:>9}"
            for row in entry["flood"]
        ]
    lines += ["", "Cycles per packet, by octets of its frame"]
    for name in names:
        entry = report["suites"][name]
        if (words := _instead(entry)) is not None:
            lines.append(f"{name:<{width}} {words}")
            continue
        found = entry["cycles_per_packet"]
        points = ", ".join(
            f"{row['frame_octets']}: {'-' if row['cycles'] is None else round(row['cycles'])}"
            for row in entry["spacing"]
        )
        told = (
            f"{found['fixed']:g} + {found['per_octet']:g} x octets"
            if found
            else "no slower than the wire"
        )
        lines.append(f"{name:<{width}} {told}  ({points})")
    return "\n".join(lines)


def _instead(entry: Mapping[str, Any] | None) -> str | None:
    """What a row says of a suite that was not measured."""
    if entry is None:
        return NOT_BUILT_IN
    return f"FAILED: {entry['error']}" if "error" in entry else None


def failed(report: Mapping[str, Any]) -> list[str]:
    """Suites that the NIC says to have, and that did not do what they must."""
    return [name for name, entry in report["suites"].items() if entry and "error" in entry]


def _span(way: Mapping[str, Any]) -> str:
    low, high = way["delay_min"], way["delay_max"]
    if low is None:
        return "-"
    return f"{low}" if low == high else f"{low} to {high}"
