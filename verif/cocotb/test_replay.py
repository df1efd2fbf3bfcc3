"""Frames of a real kernel, through the gateware and the model."""

import json
from pathlib import Path

from verif import replay

RECORDED = replay.ROOT / "verif" / "vectors" / "linux61_xfrm.json"
# Said here, so that a case can never leave the run by being skipped.
CASES = 31


def test_every_recorded_case(tmp_path: Path) -> None:
    out = tmp_path / "replay.json"
    assert replay.main([str(RECORDED), "--out", str(out)]) == 0
    cases = json.loads(out.read_text())["cases"]
    ran = {case["name"]: case for case in cases if "skipped" not in case}
    assert len(ran) == CASES
    for case in ran.values():
        assert (case["frames"], case["rtl_ok"], case["model_ok"]) == (23, 23, 23), case
