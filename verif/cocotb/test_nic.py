"""Runs the benches of the whole NIC beside the model."""

import re
from pathlib import Path

import pytest

from hw.nic import Nic
from verif.cocotb.drivers import PATTERNS
from verif.cocotb.nic_pair import CLOCK_HZ
from verif.cocotb.runner import run

BATCHES = 6
NIC = Nic(clock_hz=CLOCK_HZ)
"""One for all tests: it takes two seconds to elaborate."""


def names_of(bench: str) -> list[str]:
    """Names of all cocotb tests of a bench, as its source has them."""
    source = Path(__file__).with_name(f"{bench}.py").read_text()
    names = re.findall(r"^@cocotb\.test\(.*\)\n(?:@.*\n)*async def (\w+)", source, re.MULTILINE)
    assert len(names) == source.count("@cocotb.test("), f"not all tests of {bench} were found"
    return names


def run_nic(bench: str, testcase: str, **parameters: object) -> None:
    run(
        NIC,
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


@pytest.mark.parametrize("testcase", names_of("tb_nic_bad"))
def test_bad_input(testcase: str) -> None:
    run_nic("tb_nic_bad", testcase)


@pytest.mark.parametrize("testcase", names_of("tb_nic_sad"))
def test_life_of_an_sa(testcase: str) -> None:
    run_nic("tb_nic_sad", testcase)


@pytest.mark.parametrize("testcase", names_of("tb_nic_clear"))
def test_clear_port(testcase: str) -> None:
    run_nic("tb_nic_clear", testcase)


@pytest.mark.parametrize("testcase", names_of("tb_nic_load"))
def test_load(testcase: str) -> None:
    run_nic("tb_nic_load", testcase)


@pytest.mark.parametrize("testcase", names_of("tb_nic_moments"))
def test_moments_and_host(testcase: str) -> None:
    run_nic("tb_nic_moments", testcase)


def test_learnt_addresses() -> None:
    run_nic("tb_nic_learn", "announced_is_answered")
