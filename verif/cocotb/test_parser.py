"""Runs the bench of the frame parser."""

from hw.net.parser import FrameParser
from verif.cocotb.runner import run


def test_parser() -> None:
    run(FrameParser(), "verif.cocotb.tb_parser", "parser")
