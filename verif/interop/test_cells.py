"""The cells of `make test`. `make interop` runs the others, too."""

from collections.abc import Iterator

import pytest

from boards.virtual.build import build
from verif.interop.rig import Rig
from verif.interop.table import CELLS


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """The peers, once for all cells of a process."""
    build()
    with Rig() as running:
        yield running


@pytest.mark.parametrize("case", [one.case for one in CELLS.values() if one.quick])
def test_cell(rig: Rig, case: str) -> None:
    outcome = rig.run(case)
    assert outcome.ok, outcome.why
