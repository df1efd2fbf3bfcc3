"""Runs this program again inside namespaces of its own, with or without being root.

Everything the demo makes (network devices, processes, mounts) lives in these namespaces and ends
with their first process, however it ends.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["IsolationError", "is_inside", "run_inside", "unshare_flags", "watch_lifeline"]

LIFELINE = "HOLDFAST_DEMO_LIFELINE"
"""Environment variable with the descriptor whose end tells the inner program to finish."""

NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
AS_ROOT = ("--user", "--map-root-user")
# Makes a bridge: what the demo needs most, and what a half-allowed user namespace refuses.
TRIAL = ("ip", "link", "add", "trial", "type", "bridge")


class IsolationError(RuntimeError):
    """This user may not make the namespaces here: the message says what was tried, what to do."""


def is_inside() -> bool:
    """True in the inner program."""
    return LIFELINE in os.environ


def unshare_flags() -> list[str]:
    """Options of `unshare` that work here; raises IsolationError."""
    attempts = [[*AS_ROOT, *NAMESPACES]]
    if os.geteuid() == 0:
        attempts.insert(0, [*NAMESPACES])
    failures = []
    for flags in attempts:
        try:
            trial = subprocess.run(
                ["unshare", *flags, *TRIAL], capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise IsolationError(
                "The program `unshare` is missing; Debian has it in the package util-linux."
            ) from error
        if trial.returncode == 0:
            return flags
        failures.append(f"  unshare {' '.join(flags)}: {' '.join(trial.stderr.split())}")
    who = "Root" if os.geteuid() == 0 else "This user"
    raise IsolationError(
        f"{who} may not make network namespaces here, and the demo runs in such. Tried:\n"
        + "\n".join(failures)
        + "\nRun it as root, or allow user namespaces (sysctl user.max_user_namespaces above 0, "
        "and where AppArmor\nrestricts them kernel.apparmor_restrict_unprivileged_userns=0); in a "
        "container add the capabilities\nSYS_ADMIN and NET_ADMIN and the device /dev/net/tun."
    )


def run_inside(module: str, arguments: Sequence[str]) -> int:
    """Runs `python -m module arguments` in new namespaces; returns its exit code.

    SIGTERM and SIGHUP end the inner program in good order, as Ctrl-C does.

    Raises
    ------
    IsolationError
        If neither root nor a user namespace allows it.
    """
    flags = unshare_flags()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        ["unshare", *flags, sys.executable, "-m", module, *arguments],
        env={**os.environ, LIFELINE: str(read_end)},
        pass_fds=[read_end],
        cwd=Path(__file__).resolve().parents[3],
    )
    os.close(read_end)
    left = [write_end]

    def cut(*_: object) -> None:
        while left:
            os.close(left.pop())

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, cut)
    try:
        return process.wait()
    finally:
        cut()


def watch_lifeline(cut: Callable[[], None]) -> None:
    """Calls `cut` when the outer program ends or wants an end; waits for that."""
    try:
        while os.read(int(os.environ[LIFELINE]), 1):
            pass
    except OSError:
        pass
    cut()
