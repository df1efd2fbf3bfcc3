"""Runs the bench of the command engine."""

from hw.mgmt.command_engine import CommandEngine
from verif.cocotb.runner import run


def test_command_engine() -> None:
    run(CommandEngine(), "verif.cocotb.tb_command_engine", "command_engine")
