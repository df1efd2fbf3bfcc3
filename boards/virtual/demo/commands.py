"""The real programs of the demo: `holdfast` as a person types it, and what runs for long."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from boards.virtual.demo import os_app
from boards.virtual.demo.world import HOST, Party, within

__all__ = ["Cli", "LineServer", "Reply", "holdfast", "wait_until"]

HOLDFAST = (sys.executable, "-m", "sw.cli")
COMMAND_SECONDS = 60.0
STEP_SECONDS = 0.1
_T = TypeVar("_T")


def holdfast(*words: str) -> list[str]:
    """The command `holdfast words`."""
    return [*HOLDFAST, *words]


def wait_until(look: Callable[[], _T | None], seconds: float) -> _T | None:
    """Looks again and again until there is something; None if `seconds` pass first."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(STEP_SECONDS)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command gave: its exit code, and its JSON."""

    code: int
    value: Any

    @property
    def error(self) -> str:
        """Its words of complaint, if it failed."""
        return str(self.value.get("error", "")) if isinstance(self.value, dict) else ""


class Cli:
    """The `holdfast` commands of the station's and of the host's administrator.

    Parameters
    ----------
    config : Path
        Of the station.
    nic_socket : Path
        Register socket of the board.
    party : Party
        Where the station runs.
    """

    def __init__(self, config: Path, nic_socket: Path, party: Party) -> None:
        self._config = config
        self._nic_socket = nic_socket
        self._party = party

    def station(self, *words: str, seconds: float = COMMAND_SECONDS) -> Reply:
        """A command on the station's machine."""
        command = within(self._party, *holdfast(*words, "--config", str(self._config), "--json"))
        return _run(command, seconds)

    def answers(self, seconds: float) -> bool:
        """Whether the station answers its administrator within so long."""
        try:
            self.station("host", "show", HOST.name, seconds=seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def show(self) -> dict[str, Any]:
        """The host as the station sees it."""
        return dict(self.station("host", "show", HOST.name).value)

    def power(self, action: str) -> Reply:
        """A power command."""
        return self.station("power", action, HOST.name)

    def nic(self) -> dict[str, Any]:
        """The NIC as the managed machine's own administrator sees it."""
        return dict(
            _run(holdfast("nic", "show", "--socket", str(self._nic_socket), "--json")).value
        )

    def application(self) -> dict[str, Any] | None:
        """What the application on the host answers to the station's machine; None if nothing."""
        command = within(self._party, sys.executable, "-m", os_app.__name__, "--ask", HOST.ip)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None


def _run(command: Sequence[str], seconds: float = COMMAND_SECONDS) -> Reply:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    try:
        return Reply(done.returncode, json.loads(done.stdout))
    except json.JSONDecodeError as error:
        raise RuntimeError(
            f"`{' '.join(command)}` gave no JSON but {done.stdout!r}: {done.stderr.strip()}"
        ) from error


class LineServer:
    """A process that answers one JSON line for each it is given.

    Parameters
    ----------
    party : Party
        In whose network namespace it runs.
    module : str
        The Python module to run; it first says that it is ready.
    """

    def __init__(self, party: Party, module: str) -> None:
        self._process = subprocess.Popen(
            within(party, sys.executable, "-m", module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one question; raises RuntimeError if it is a complaint."""
        if self._process.stdin is None:
            raise RuntimeError("no way to ask")
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("a helper of the demo ended by itself")
        return dict(json.loads(line))

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
