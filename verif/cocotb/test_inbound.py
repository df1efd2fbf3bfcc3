"""Runs the bench of the inbound path."""

from hw.ipsec.inbound import InboundPath
from verif.cocotb.runner import run


def test_inbound() -> None:
    run(InboundPath(), "verif.cocotb.tb_inbound", "inbound")
