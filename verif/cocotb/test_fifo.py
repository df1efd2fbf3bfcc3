"""Runs the bench of the commit FIFO."""

from hw.eth.fifo import PacketFifo
from verif.cocotb.runner import run

DEPTH = 128


def test_fifo() -> None:
    run(PacketFifo(depth=DEPTH), "verif.cocotb.tb_fifo", "fifo", parameters={"depth": DEPTH})
