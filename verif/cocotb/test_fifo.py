"""Runs the bench of the commit FIFO."""

import pytest

from hw.eth.fifo import PacketFifo
from verif.cocotb.runner import run

DEPTH = 128


@pytest.mark.parametrize("carries_err", [True, False], ids=["err", "whole"])
def test_fifo(carries_err: bool) -> None:
    run(
        PacketFifo(depth=DEPTH, carries_err=carries_err),
        "verif.cocotb.tb_fifo",
        f"fifo_{'err' if carries_err else 'whole'}",
        parameters={"depth": DEPTH, "carries_err": carries_err},
    )
