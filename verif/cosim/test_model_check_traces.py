"""Paths that the model check found, played on RTL, station and agent: see docs/model_check.md."""

import pytest

from boards.virtual.build import build
from verif.cosim import check_model_check_traces, isolated


@pytest.mark.parametrize("name", isolated.names(check_model_check_traces))
def test_in_namespaces(name: str) -> None:
    build()
    isolated.run(check_model_check_traces, name)
