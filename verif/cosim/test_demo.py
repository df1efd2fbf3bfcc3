"""The main job, end to end: the demo on the verilated NIC, as `make demo` plays it."""

import json
import subprocess
import sys
from pathlib import Path

ROWS = set(range(2, 10))
"""Of the seed's state table: all but its head."""


def test_every_row_holds(tmp_path: Path) -> None:
    capture = tmp_path / "lan.pcap"
    words = ["--json", "--output", str(tmp_path), "--pcap", str(capture)]
    done = subprocess.run(
        [sys.executable, "-m", "boards.virtual.demo", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown == json.loads((tmp_path / "demo.json").read_text())
    assert {row["row"] for row in shown["rows"]} == ROWS
    assert all(row["ok"] for row in shown["rows"])
    assert capture.read_bytes()[:4] == bytes.fromhex("4d3cb2a1")
