"""Runs the bench of the host's monitor and the log of events."""

from verif.cocotb.monitor_unit import MonitorUnit
from verif.cocotb.runner import run


def test_monitor() -> None:
    run(MonitorUnit(), "verif.cocotb.tb_monitor", "monitor")
