# amaranth: UnusedElaboratable=no
"""Runs the bench of the NIC with a flash."""

import pytest

from hw.nic import Nic
from verif.cocotb.nic_pair import CLOCK_HZ
from verif.cocotb.runner import run
from verif.cocotb.test_nic import names_of

NIC = Nic(clock_hz=CLOCK_HZ, flash_base=0)
CUTS = 6


@pytest.mark.parametrize("testcase", names_of("tb_nic_store"))
def test_nic_store(testcase: str) -> None:
    run(
        NIC,
        "verif.cocotb.tb_nic_store",
        "nic_store",
        parameters={"cuts": CUTS},
        testcase=testcase,
    )
