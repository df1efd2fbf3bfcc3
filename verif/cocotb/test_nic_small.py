"""Runs the bench of the NIC as a small board has it."""

from hw.nic import Nic
from verif.cocotb.nic_pair import CLOCK_HZ
from verif.cocotb.runner import run


def test_small_build() -> None:
    nic = Nic(clock_hz=CLOCK_HZ, alerts=False, lifetimes=False, learning=False)
    run(nic, "verif.cocotb.tb_nic_small", "nic_small")
