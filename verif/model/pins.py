"""The reset and power pins, and the command that waits for them."""

from __future__ import annotations

from collections.abc import Iterator

from spec.host import (
    PIN_REST_MS,
    POWER_CYCLE_OFF_MS,
    POWER_HOLD_MS,
    POWER_PRESS_MS,
    RESET_PULSE_MS,
)
from spec.rmcp import AsfType
from verif.model.host import HostMonitor

RESET = "reset"
POWER = "power"


class PinSequencer:
    """Plays one command at a time. One more waits; a newer one takes its place.

    Whether a command has anything to do is decided when it starts, not when it came.

    Parameters
    ----------
    host : HostMonitor
        For the power-off and sleep inputs.
    """

    def __init__(self, host: HostMonitor) -> None:
        self.host = host
        self.levels = {RESET: False, POWER: False}
        self._running: Iterator[str | None] | None = None
        self._waiting: AsfType | None = None

    def command(self, command: AsfType) -> None:
        """Begins `command`, or lets it wait."""
        self._waiting = command
        if self._running is None:
            self.tick()

    def tick(self) -> None:
        """A millisecond passes: a step of the running command, or the first of the next one."""
        asserted = self._step()
        self.levels = {name: name == asserted for name in self.levels}

    def _step(self) -> str | None:
        while True:
            if self._running is not None:
                try:
                    return next(self._running)
                except StopIteration:
                    self._running = None
            if self._waiting is None:
                return None
            self._running, self._waiting = self._with_rest(self._waiting), None

    def _with_rest(self, command: AsfType) -> Iterator[str | None]:
        moved = False
        for asserted in self._play(command):
            moved = True
            yield asserted
        if moved:
            yield from [None] * PIN_REST_MS

    def _play(self, command: AsfType) -> Iterator[str | None]:
        """The pin asserted in each millisecond, None for none."""
        host = self.host
        match command:
            case AsfType.RESET:
                yield from [RESET] * RESET_PULSE_MS
            case AsfType.POWER_UP:
                if host.off_in or host.sleep_in:
                    yield from [POWER] * POWER_PRESS_MS
            case AsfType.POWER_DOWN:
                yield from self._hold()
            case AsfType.POWER_CYCLE:
                if not host.off_in:
                    yield from self._hold()
                    yield from [None] * POWER_CYCLE_OFF_MS
                yield from [POWER] * POWER_PRESS_MS

    def _hold(self) -> Iterator[str]:
        for _ in range(POWER_HOLD_MS):
            if self.host.off_in:
                return
            yield POWER
