"""When alerts are sent, and to whom."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spec.host import EVENTS, HostState
from spec.pet import ALERT_SENDS, ALERT_SPACING_MS
from verif.model.classifier import Sender
from verif.model.host import Event
from verif.model.ipsec import Inside
from verif.model.pet import heartbeat

SECOND_MS = 1000
TICKS_PER_SECOND = 100
LOST_MAX = 255


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that is to be sent now, to every station that can be told."""

    event: Event
    sequence: int
    ticks: int


class AlertSender:
    """One alert after the other.

    Parameters
    ----------
    contexts : int
        Contexts of the SAD.

    Attributes
    ----------
    ways : list
        Of each context: whom its newest authenticated message came from, and how; None before.
    """

    def __init__(self, contexts: int) -> None:
        self.enabled = False
        self.clear = False
        self.heartbeat_s = 0
        self.lost = 0
        self.ways: list[tuple[Sender, Inside] | None] = [None] * contexts
        self._waiting: deque[Event] = deque()
        self._alert: Alert | None = None
        self._sends_left = 0
        self._spacing_ms = 0
        self._sequence = 0
        self._ms = 0
        self._ticks = 0
        self._beat_left = 0
        self._beats = False

    def notice(self, events: list[Event]) -> None:
        """What the log got."""
        if not self.enabled:
            return
        for event in events:
            self._waiting.append(event)
            if len(self._waiting) > EVENTS:
                self._waiting.popleft()
                self.lost = min(self.lost + 1, LOST_MAX)

    def tick(self) -> None:
        """A millisecond passes."""
        self._spacing_ms = max(self._spacing_ms - 1, 0)
        self._ms += 1
        if self._ms == SECOND_MS:
            self._ms = 0
            self._ticks = (self._ticks + TICKS_PER_SECOND) & 0xFFFFFFFF
            if self._beat_left <= 1 or self._beat_left > self.heartbeat_s:
                self._beat_left = self.heartbeat_s
                self._beats = self.enabled and self.heartbeat_s > 0
            else:
                self._beat_left -= 1

    def due(self, state: HostState) -> Alert | None:
        """The alert that is to be sent now, if there is one."""
        if not self.heartbeat_s:
            self._beats = False
        if not self.enabled or self._spacing_ms:
            return None
        if self._sends_left:
            self._sends_left -= 1
        elif self._waiting:
            self._begin(self._waiting.popleft())
            self._sends_left = ALERT_SENDS - 1
        elif self._beats:
            self._beats = False
            self._begin(heartbeat(state))
        else:
            return None
        self._spacing_ms = ALERT_SPACING_MS
        return self._alert

    def _begin(self, event: Event) -> None:
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._alert = Alert(event, self._sequence, self._ticks)
