# amaranth: UnusedElaboratable=no
"""Runs the bench of the lifetimes of SAs."""

from hw.ipsec.lifetimes import BankLifetimes
from verif.cocotb.runner import run


def test_lifetimes() -> None:
    run(BankLifetimes(), "verif.cocotb.tb_lifetimes", "lifetimes", expose=True)
