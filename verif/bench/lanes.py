"""Packets a second that the suites with HMAC reach, by the number of SHA-256 lanes.

Rates are those of a packet clock of 125 MHz, in which an octet time is a cycle.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hw.nic import Nic
from spec.suites import Suite
from verif.bench.datapath import CLOCK_HZ, PACKET_HZ, measure
from verif.cocotb.runner import ROOT

__all__ = ["LANES", "OUT", "SUITES", "measure_lanes", "table"]

LANES = (1, 2, 3, 4, 6, 8)
SUITES = (
    Suite.ESP_NULL_HMAC_SHA_256_128,
    Suite.ESP_AES_CBC_256_HMAC_SHA_256_128,
    Suite.AH_HMAC_SHA_256_128,
    Suite.AH_HMAC_SHA_256_128_ESP_NULL_HMAC_SHA_256_128,
)
"""One message a packet, one beside CBC, one of AH, and two."""
OUT = ROOT / "build" / "lanes.json"


def measure_lanes(*, lanes: Sequence[int] = LANES, out: Path = OUT) -> list[dict[str, Any]]:
    """Floods of forged packets on one NIC for each number of lanes; writes and returns the rows.

    Parameters
    ----------
    lanes
        Values of `sha_lanes`.
    out
        A JSON file.
    """
    rows = []
    for count in lanes:
        report = measure(
            suites=[suite.name for suite in SUITES],
            octets=(60,),
            frames=2,
            parts=2,
            out=out.with_suffix(f".{count}.json"),
            nic=partial(Nic, clock_hz=CLOCK_HZ, sha_lanes=count),
            name=f"bench_lanes_{count}",
        )
        for name, entry in report["suites"].items():
            if not entry or "error" in entry:
                continue
            rows += [
                {
                    "lanes": count,
                    "suite": name,
                    "frame_octets": spacing["frame_octets"],
                    "cycles": spacing["cycles"],
                    "wire_cycles": spacing["wire_cycles"],
                    "packets_per_s": round(PACKET_HZ / spacing["cycles"]),
                    "overload": flood["overload"],
                    "flood": flood["frames"],
                    "answered": flood["answered"],
                    "commands": flood["commands"],
                }
                for spacing, flood in zip(
                    entry["spacing"], (entry["flood"][0], entry["flood"][-1]), strict=True
                )
            ]
    out.write_text(json.dumps(rows, indent=2) + "\n")
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a person."""
    width = max((len(row["suite"]) for row in rows), default=5)
    lines = [
        "Forged packets without gaps: cycles that each takes, and how many a second at 125 MHz.",
        "Line rate is where it takes no longer than the wire (frame and 24 octet times). Behind",
        "that what a flood at line rate lost, with its commands and their answers on the way.",
        f"{'suite':<{width}} {'frame':>6} {'lanes':>5} {'cycles':>7} {'wire':>5} {'packets/s':>10} "
        f"{'line rate':>9} {'overload':>12} {'answered':>9}",
    ]
    for row in sorted(rows, key=lambda row: (row["suite"], row["frame_octets"], row["lanes"])):
        reached = "yes" if row["cycles"] <= row["wire_cycles"] else "no"
        lines.append(
            f"{row['suite']:<{width}} {row['frame_octets']:>6} {row['lanes']:>5} "
            f"{row['cycles']:>7.0f} {row['wire_cycles']:>5} {row['packets_per_s']:>10} "
            f"{reached:>9} {row['overload']:>5} of {row['flood']:>3} "
            f"{row['answered']:>3} of {row['commands']:>2}"
        )
    return "\n".join(lines)
