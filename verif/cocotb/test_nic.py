"""Runs the benches of the whole NIC beside the model."""

import pytest

from hw.nic import Nic
from verif.cocotb.drivers import PATTERNS
from verif.cocotb.nic_pair import CLOCK_HZ
from verif.cocotb.runner import run

BATCHES = 6


def run_nic(bench: str, testcase: str, **parameters: object) -> None:
    run(
        Nic(clock_hz=CLOCK_HZ),
        f"verif.cocotb.{bench}",
        "nic",
        parameters=parameters,
        testcase=testcase,
    )


@pytest.mark.parametrize("backpressure", PATTERNS)
def test_mixtures(backpressure: str) -> None:
    run_nic("tb_nic", "mixtures", backpressure=backpressure, batches=BATCHES)


def test_every_length_passes() -> None:
    run_nic("tb_nic", "every_length_passes")
