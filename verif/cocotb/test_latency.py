"""Runs the bench of the NIC's times; `make latency` shows them."""

import json

from verif.cocotb.runner import ROOT
from verif.cocotb.test_nic import run_nic

OUT = ROOT / "build" / "latency.json"


def test_latency() -> None:
    OUT.unlink(missing_ok=True)
    run_nic("tb_latency", "times", out=str(OUT))
    written = json.loads(OUT.read_text())
    ways = {(c["suite"], c["encapsulation"]) for c in written["reset_command"]}
    assert len(ways) == len(written["reset_command"]) == 4
    directions = {(p["direction"], p["frame_octets"]) for p in written["passed_frame"]}
    assert len(directions) == 4


def test_icv_takes_the_same_time() -> None:
    run_nic("tb_latency", "icv_takes_the_same_time")
