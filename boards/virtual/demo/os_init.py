"""First process of the host's OS: starts its services, keeps them running, and ends them in order.

SIGTERM is the power button's short press: services are ended, then the OS is.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from types import FrameType

__all__ = ["main"]

RESTART_SECONDS = 1.0
STOP_SECONDS = 3.0


class _PowerButtonError(Exception):
    """SIGTERM came."""


def _on_term(number: int, frame: FrameType | None) -> None:
    raise _PowerButtonError


def _split(words: Sequence[str]) -> list[list[str]]:
    services: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            services.append([])
        else:
            services[-1].append(word)
    return [service for service in services if service]


def main(arguments: Sequence[str]) -> None:
    """Runs the services, commands separated by `--`."""
    signal.signal(signal.SIGTERM, _on_term)
    services = _split(arguments)
    running: dict[int, list[str]] = {}
    try:
        for service in services:
            running[subprocess.Popen(service).pid] = service
        while True:
            pid, status = os.wait()
            service = running.pop(pid, [])
            if service:
                print(f"init: {service[0]} ended with {status}; again", file=sys.stderr, flush=True)
                time.sleep(RESTART_SECONDS)
                running[subprocess.Popen(service).pid] = service
    except _PowerButtonError:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while running and time.monotonic() < deadline:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            running.pop(pid, None)
            time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1:])
