"""Runs the measurements of `python -m verif.bench datapath` with few frames."""

import json
from pathlib import Path

from spec.suites import Suite
from verif.bench import datapath
from verif.cocotb.test_nic import NIC

SUITE = Suite.ESP_AES_GCM_16_128.name


def test_datapath_is_measured(tmp_path: Path) -> None:
    """No passed frame is lost, and every command among forged packets is answered."""
    out = tmp_path / "bench.json"
    report = datapath.measure(
        suites=[SUITE],
        octets=(60, 1514),
        frames=8,
        flood=32,
        parts=3,
        out=out,
        nic=lambda: NIC,
        name="nic",
    )
    assert json.loads(out.read_text()) == report
    assert not datapath.failed(report)
    for row in report["passed"]:
        for way in ("wire_to_host", "host_to_wire"):
            assert row[way]["lost"] == 0
            assert row[way]["delay_max"] < 80
        assert row["counters"] == {"FRAMES_IN": 8, "PASSED": 8}
    measured = report["suites"][SUITE]
    assert len(measured["flood"]) == 3
    for row in measured["flood"]:
        assert row["answered"] == row["commands"] > 0
        done = row["refused_by_icv"] + row["overload"] + row["other"] + row["answered"]
        assert done == row["frames"]
    assert measured["flood"][-1]["refused_by_icv"] > 0
    assert SUITE in datapath.tables(report)
