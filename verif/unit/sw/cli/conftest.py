"""Fixtures of the tests of `sw.cli`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from verif.unit.sw.cli.place import Place


@pytest.fixture
def holdfast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Place]:
    """The command, at a place of its own; what it does to the log is undone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Place(tmp_path, capsys)
    root.handlers[:] = handlers
    root.setLevel(level)
