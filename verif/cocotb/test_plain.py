"""Runs the bench of the plaintext path."""

from hw.ipsec.inbound.plain import PlainPath
from verif.cocotb.runner import run


def test_plain() -> None:
    run(PlainPath(), "verif.cocotb.tb_plain", "plain")
