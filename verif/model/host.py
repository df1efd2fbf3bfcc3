"""The host's state from its pins and the heartbeat, and the log of events."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spec.host import (
    EVENTS,
    HEARTBEAT_BOOT,
    HEARTBEAT_MAGIC,
    HEARTBEAT_MS_DEFAULT,
    HEARTBEAT_MS_MAX,
    HEARTBEAT_MS_MIN,
    HEARTBEAT_STOP,
    TAMPER_FAILURES,
    TAMPER_MS,
    BootKind,
    HostEvent,
    HostState,
)

_BOOT_EVENTS = {
    BootKind.ERROR: HostEvent.BOOT_ERROR,
    BootKind.HANG: HostEvent.BOOT_HANG,
    BootKind.PROGRESS: HostEvent.BOOT_PROGRESS,
}


class HostMonitor:
    """Watches three inputs and two registers (seed, figure 6).

    `happened` collects what is to be noted besides changes of the state; whoever notes it clears
    it.
    """

    def __init__(self) -> None:
        self.reset_in = False
        self.sleep_in = False
        self.off_in = False
        self.watchdog_expired = False
        self.window_ms = HEARTBEAT_MS_DEFAULT
        self.progress: tuple[int, int] = (0, 0)
        """Kind and code of what firmware told last."""
        self.happened: list[HostEvent] = []
        self._left_ms = 0
        """Milliseconds for which the last heartbeat still counts."""
        self._by_firmware = False

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
            self.progress = (0, 0)

    def heartbeat(self, value: int) -> None:
        """A write to HEARTBEAT. A new window counts from the next heartbeat on."""
        if self._down:
            return
        if value in (HEARTBEAT_MAGIC, HEARTBEAT_BOOT):
            self._forget()
            self._left_ms = self.window_ms
            self._by_firmware = value == HEARTBEAT_BOOT
        elif value == HEARTBEAT_STOP:
            self._forget()

    def tell(self, kind: int, code: int) -> None:
        """A write to BOOT_PROGRESS."""
        if self._down or kind not in set(BootKind):
            return
        self.progress = (kind, code)
        self.happened.append(_BOOT_EVENTS[BootKind(kind)])

    def set_window(self, milliseconds: int) -> None:
        """A write to HEARTBEAT_MS."""
        self.window_ms = min(max(milliseconds, HEARTBEAT_MS_MIN), HEARTBEAT_MS_MAX)

    def tick(self) -> None:
        """A millisecond passes."""
        if self._left_ms:
            self._left_ms -= 1
            if self._left_ms == 0:
                self.watchdog_expired = True
                firmware = self._by_firmware
                self.happened.append(HostEvent.BOOT_HANG if firmware else HostEvent.WATCHDOG)

    def state(self, proven: bool) -> HostState:
        """The state, `proven` telling whether a PROVEN bank exists."""
        if self._left_ms and not self._by_firmware:
            return HostState.OS_UP
        if not proven:
            return HostState.COLD_BOOT
        if self.off_in:
            return HostState.SOFT_OFF
        if self.sleep_in:
            return HostState.SUSPEND
        if self.watchdog_expired and not self._by_firmware:
            return HostState.OS_HUNG
        return HostState.PRE_BOOT

    @property
    def _down(self) -> bool:
        return self.reset_in or self.sleep_in or self.off_in

    def _forget(self) -> None:
        self._left_ms = 0
        self._by_firmware = False
        self.watchdog_expired = False


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of the log: the states after it and before it, and firmware's code at that time."""

    number: int
    kind: HostEvent
    state: HostState
    before: HostState
    code: int


class EventLog:
    """The newest EVENTS events, and the count of wrong ICVs."""

    def __init__(self) -> None:
        self.next = 0
        """Number of the next event, without end."""
        self.state = HostState.COLD_BOOT
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._failures = 0
        self._left_ms = 0

    def note(self, kind: HostEvent, code: int) -> None:
        """Something other than a change of state."""
        self._add(kind, self.state, code)

    def observe(self, state: HostState, code: int) -> None:
        """The state as it is now; an event if it is another one than before."""
        if state is not self.state:
            self._add(HostEvent.STATE, state, code)
            self.state = state

    def wrong_icv(self, code: int) -> None:
        """A packet with a wrong ICV."""
        if self._failures == 0:
            self._left_ms = TAMPER_MS
        if self._failures < TAMPER_FAILURES:
            self._failures += 1
            if self._failures == TAMPER_FAILURES:
                self.note(HostEvent.TAMPER, code)

    def tick(self) -> None:
        """A millisecond passes."""
        if self._failures:
            self._left_ms -= 1
            if self._left_ms == 0:
                self._failures = 0

    def since(self, number: int) -> list[Event]:
        """Events from a number on, as far as they are still there."""
        return [event for event in self._events if event.number >= number]

    def at(self, place: int) -> Event | None:
        """The event in a place of the ring."""
        return next((event for event in self._events if event.number % EVENTS == place), None)

    def _add(self, kind: HostEvent, state: HostState, code: int) -> None:
        self._events.append(Event(self.next, kind, state, self.state, code))
        self.next += 1
