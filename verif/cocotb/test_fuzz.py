"""Runs the differential fuzzing of the NIC: FUZZ_COUNT frames, from SEED on."""

import os

from verif import seeds
from verif.cocotb.runner import run
from verif.cocotb.test_nic import NIC

COUNT = 400


def test_gateware_and_model_agree() -> None:
    count = int(os.environ.get("FUZZ_COUNT", COUNT))
    seed = seeds.of_run("fuzz")
    run(NIC, "verif.cocotb.tb_fuzz", "nic", parameters={"count": count, "seed": seed})
