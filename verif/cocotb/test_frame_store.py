# amaranth: UnusedElaboratable=no
"""Runs the bench of the frame store."""

import pytest

from hw.eth.frame_store import FrameStore
from verif.cocotb.runner import run


@pytest.mark.parametrize("holds", [False, True])
def test_frame_store(holds: bool) -> None:
    run(
        FrameStore(depth=256, holds=holds, frame_octets=100),
        "verif.cocotb.tb_frame_store",
        f"frame_store_{'holds' if holds else 'drops'}",
        parameters={"holds": holds},
    )


@pytest.mark.parametrize("frame_octets", [0, 255])
def test_bad_parameters_are_refused(frame_octets: int) -> None:
    with pytest.raises(ValueError, match=str(frame_octets)):
        FrameStore(depth=256, holds=True, frame_octets=frame_octets)
