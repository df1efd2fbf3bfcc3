"""Runs the bench of parser and classifier."""

from verif.cocotb.parser_unit import ParserUnit
from verif.cocotb.runner import run


def test_parser() -> None:
    run(ParserUnit(), "verif.cocotb.tb_parser", "parser")
