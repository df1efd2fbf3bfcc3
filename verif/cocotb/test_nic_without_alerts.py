"""Runs the bench of the NIC that is built without alerts, with as many lanes as a board has."""

from hw.nic import Nic
from verif.cocotb.nic_pair import CLOCK_HZ
from verif.cocotb.runner import run


def test_without_alerts() -> None:
    nic = Nic(clock_hz=CLOCK_HZ, sha_lanes=3, alerts=False)
    run(nic, "verif.cocotb.tb_nic_without_alerts", "nic_without_alerts")
