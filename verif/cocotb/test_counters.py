"""Runs the bench of the counters."""

import pytest

from hw.host.counters import CounterFile
from verif.cocotb.runner import run


@pytest.mark.parametrize("sources", [1, 4])
def test_counters(sources: int) -> None:
    run(
        CounterFile(sources=sources),
        "verif.cocotb.tb_counters",
        f"counters_{sources}",
        parameters={"sources": sources},
    )
