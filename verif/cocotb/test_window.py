"""Runs the bench of the anti-replay window."""

import pytest

from hw.ipsec.window import ReplayWindow
from verif.cocotb.runner import run


@pytest.mark.parametrize("window", [8, 64, 1024])
def test_window(window: int) -> None:
    run(
        ReplayWindow(banks=2, window=window),
        "verif.cocotb.tb_window",
        f"window_{window}",
        parameters={"window": window},
    )
