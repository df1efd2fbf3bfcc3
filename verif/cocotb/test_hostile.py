"""Runs the bench of hostile frames.

A sample of them, or with HOSTILE_ALL=1 the whole table, of HOSTILE_SUITE alone if that is set.
"""

import os

import pytest

from spec.suites import built_in
from verif.cocotb.runner import run
from verif.cocotb.test_nic import NIC, names_of

WHOLE = os.environ.get("HOSTILE_ALL", "0") not in ("", "0")
ONLY = os.environ.get("HOSTILE_SUITE", "")
SUITES = [int(suite) for suite in built_in() if ONLY in ("", str(int(suite)))] if WHOLE else [None]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("group", names_of("tb_hostile"))
def test_hostile(group: str, suite: int | None) -> None:
    run(NIC, "verif.cocotb.tb_hostile", "nic", parameters={"suite": suite}, testcase=group)
