"""Runs the bench of what is learnt from the host."""

from verif.cocotb.learner_unit import LearnerUnit
from verif.cocotb.runner import run


def test_learner() -> None:
    run(LearnerUnit(), "verif.cocotb.tb_learner", "learner")
