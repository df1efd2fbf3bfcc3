"""Runs the bench of the SHA-256 core."""

from hw.crypto.sha256 import Sha256Core
from verif.cocotb.runner import run


def run_sha256(*testcase: str) -> None:
    run(Sha256Core(), "verif.cocotb.tb_sha256", "sha256", testcase=testcase)


def test_cavp_vectors() -> None:
    run_sha256("cavp_short", "cavp_long", "cavp_monte_carlo")


def test_pace() -> None:
    run_sha256("keeps_pace")
