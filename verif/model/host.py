"""The host's state from its pins and the agent's heartbeat."""

from __future__ import annotations

from spec.host import (
    HEARTBEAT_MAGIC,
    HEARTBEAT_MS_DEFAULT,
    HEARTBEAT_MS_MAX,
    HEARTBEAT_MS_MIN,
    HEARTBEAT_STOP,
    HostState,
)


class HostMonitor:
    """Watches three inputs and a register (seed, figure 6)."""

    def __init__(self) -> None:
        self.reset_in = False
        self.sleep_in = False
        self.off_in = False
        self.watchdog_expired = False
        self.window_ms = HEARTBEAT_MS_DEFAULT
        self._alive_ms = 0
        """Milliseconds for which the last heartbeat still counts."""

    def set_pins(
        self,
        reset: bool | None = None,
        sleep: bool | None = None,
        off: bool | None = None,
    ) -> None:
        """Drives inputs; None leaves one as it is. An asserted one forgets the heartbeat."""
        self.reset_in = self.reset_in if reset is None else reset
        self.sleep_in = self.sleep_in if sleep is None else sleep
        self.off_in = self.off_in if off is None else off
        if self._down:
            self._forget()

    def heartbeat(self, value: int) -> None:
        """A write to HEARTBEAT. A new window counts from the next heartbeat on."""
        if self._down:
            return
        if value == HEARTBEAT_MAGIC:
            self._forget()
            self._alive_ms = self.window_ms
        elif value == HEARTBEAT_STOP:
            self._forget()

    def set_window(self, milliseconds: int) -> None:
        """A write to HEARTBEAT_MS."""
        self.window_ms = min(max(milliseconds, HEARTBEAT_MS_MIN), HEARTBEAT_MS_MAX)

    def tick(self) -> None:
        """A millisecond passes."""
        if self._alive_ms:
            self._alive_ms -= 1
            self.watchdog_expired = self._alive_ms == 0

    def state(self, proven: bool) -> HostState:
        """The state, `proven` telling whether a PROVEN bank exists."""
        if self._alive_ms:
            return HostState.OS_UP
        if not proven:
            return HostState.COLD_BOOT
        if self.off_in:
            return HostState.SOFT_OFF
        if self.sleep_in:
            return HostState.SUSPEND
        if self.watchdog_expired:
            return HostState.OS_HUNG
        return HostState.PRE_BOOT

    @property
    def _down(self) -> bool:
        return self.reset_in or self.sleep_in or self.off_in

    def _forget(self) -> None:
        self._alive_ms = 0
        self.watchdog_expired = False
