"""Suites of ESP that station and agent negotiate, through the gateware."""

import pytest

from boards.virtual.build import build
from verif.cosim import check_child_suites, isolated


@pytest.mark.parametrize("name", isolated.names(check_child_suites))
def test_in_namespaces(name: str) -> None:
    build()
    isolated.run(check_child_suites, name)
