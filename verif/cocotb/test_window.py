# amaranth: UnusedElaboratable=no
"""Runs the bench of the anti-replay windows."""

import pytest

from hw.ipsec.window import ReplayWindow
from verif.cocotb.runner import run


def run_window(testcase: list[str], **parameters: int) -> None:
    dut = ReplayWindow(**parameters)
    facts = {
        "windows": dut.windows,
        "window": dut.window,
        "half_bits": parameters.get("half_bits", 32),
        "blocks": dut.blocks,
        "done_cycles": dut.DONE_CYCLES,
    }
    name = "_".join(["window", *(str(value) for value in parameters.values())])
    run(dut, "verif.cocotb.tb_window", name, parameters=facts, testcase=testcase)


@pytest.mark.parametrize(("window", "block"), [(64, 16), (64, 32), (1024, 32)])
def test_window(window: int, block: int) -> None:
    run_window(
        [
            "agrees_with_sets",
            "numbers_without_esn_end",
            "strobe_waits",
            "load_in_every_cycle_of_an_update",
        ],
        windows=4,
        window=window,
        block=block,
    )


def test_every_number_of_a_small_window() -> None:
    run_window(["every_number_at_every_edge"], windows=2, window=8, half_bits=5, block=4)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"windows": 0}, "windows must be at least 1, not 0"),
        ({"window": 48}, "not 48"),
        ({"window": 2048}, "not 2048"),
        ({"window": 8}, "from 16"),
        ({"block": 24}, "block must be a power of two from 2, not 24"),
        ({"half_bits": 6}, "not 6"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ReplayWindow(**parameters)
