"""Runs tests inside network namespaces of their own, as root or in a user namespace.

A module `check_<what>.py` here holds tests that make network devices. pytest does not collect it;
`test_<what>.py` beside it does, and has each of them run by another pytest in new namespaces.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from boards.virtual.demo.isolation import unshare_flags

__all__ = ["names", "run"]

ROOT = Path(__file__).resolve().parents[2]


def names(module: ModuleType) -> list[str]:
    """The tests that a module of checks holds."""
    return [name for name in vars(module) if name.startswith("test_")]


def run(module: ModuleType, name: str) -> None:
    """Runs one test in new namespaces; raises AssertionError with its report if it fails."""
    inner = [sys.executable, "-m", "pytest", "-q", "--no-header"]
    inner += ["-p", "no:xdist", "-o", "python_files=check_*.py", f"{module.__file__}::{name}"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        ["unshare", *unshare_flags(), *inner],
        cwd=ROOT,
        env=kept,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name} failed:\n{done.stdout}\n{done.stderr}"
