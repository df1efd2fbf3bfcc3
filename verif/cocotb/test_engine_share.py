"""Runs the bench of the share of the engines."""

import pytest

from hw.ipsec.engine_share import EngineShare
from verif.cocotb.runner import run


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_engine_share(lanes: int) -> None:
    run(
        EngineShare(lanes=lanes),
        "verif.cocotb.tb_engine_share",
        f"engine_share_{lanes}",
        parameters={"lanes": lanes},
    )
