"""Runs the bench of the NIC's times; `pytest -s` shows them."""

from verif.cocotb.test_nic import run_nic


def test_times() -> None:
    run_nic("tb_nic_latency", "times")
