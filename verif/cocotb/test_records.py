"""Runs the bench of the senders' records."""

from hw.net.records import SenderRecords
from verif.cocotb.runner import run


def test_records() -> None:
    run(SenderRecords(), "verif.cocotb.tb_records", "records")
