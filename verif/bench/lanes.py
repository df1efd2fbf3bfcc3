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
GAP_OCTETS = 24


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
            rows += [
                {
                    "lanes": count,
                    "suite": name,
                    "frame_octets": flood["frame_octets"],
                    "line_per_s": round(PACKET_HZ / (flood["frame_octets"] + GAP_OCTETS)),
                    "verified_per_s": flood["done_per_s"],
                    "overload": flood["overload"],
                    "frames": flood["frames"],
                }
                for flood in (entry or {}).get("flood", ())
            ]
    out.write_text(json.dumps(rows, indent=2) + "\n")
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for a person."""
    width = max((len(row["suite"]) for row in rows), default=5)
    lines = [
        "Packets a second at 125 MHz, of a flood at line rate: forged ones, one in eight right",
        f"{'suite':<{width}} {'frame':>6} {'lanes':>6} {'line':>10} {'verified':>10} "
        f"{'overload':>9}",
    ]
    for row in sorted(rows, key=lambda row: (row["suite"], row["frame_octets"], row["lanes"])):
        lines.append(
            f"{row['suite']:<{width}} {row['frame_octets']:>6} {row['lanes']:>6} "
            f"{row['line_per_s']:>10} {row['verified_per_s']:>10} "
            f"{row['overload']:>4} of {row['frames']}"
        )
    return "\n".join(lines)
