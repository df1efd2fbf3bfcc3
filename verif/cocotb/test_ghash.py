"""Runs the bench of GHASH."""

from hw.crypto import Ghash
from verif.cocotb.runner import run


def test_ghash() -> None:
    run(Ghash(), "verif.cocotb.tb_ghash", "ghash", expose=["product", "factor", "next_factor"])
