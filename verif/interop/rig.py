"""A worker in namespaces of its own, asked cell by cell: what the command and the tests use."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from boards.virtual.demo.isolation import IsolationError, unshare_flags
from verif.interop.packages import PackageError, fetched

__all__ = ["Outcome", "Rig", "RigError"]

ROOT = Path(__file__).resolve().parents[2]


class RigError(RuntimeError):
    """The peers do not run here; the message says why and what to do."""


@dataclass(frozen=True)
class Outcome:
    """How a cell went; `why` is empty if well."""

    case: str
    ok: bool
    why: str
    seconds: float


class Rig:
    """The peers, running. To be used with `with`; entering raises RigError.

    Attributes
    ----------
    versions : dict
        Of each peer, once entered.
    """

    def __init__(self) -> None:
        self.versions: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        self._errors: Any = None

    def __enter__(self) -> Self:
        try:
            flags = unshare_flags()
            fetched()  # out here, for there is no way to a mirror from inside
        except (IsolationError, PackageError) as error:
            raise RigError(str(error)) from error
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            ["unshare", *flags, sys.executable, "-m", "verif.interop.worker"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            words = self._answer()
            if "failure" in words:
                raise RigError(words["failure"])
        except BaseException:
            self.close()
            raise
        self.versions = words
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the peers; harmless when repeated."""
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._errors.close()

    def run(self, case: str) -> Outcome:
        """Run a cell; raises RigError if the worker is gone."""
        if self._process is None or self._process.stdin is None:
            raise RigError("the peers are not running")
        try:
            self._process.stdin.write(case + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise RigError(f"the worker is gone: {self._last_words()}") from error
        return Outcome(**self._answer())

    def _answer(self) -> dict[str, Any]:
        stdout = self._process.stdout if self._process is not None else None
        line = stdout.readline() if stdout is not None else ""
        if not line:
            raise RigError(f"the worker is gone: {self._last_words()}")
        words: dict[str, Any] = json.loads(line)
        return words

    def _last_words(self) -> str:
        self._errors.seek(0)
        return str(self._errors.read()[-2000:].decode(errors="replace"))
