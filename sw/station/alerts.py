"""The alerts that the NIC of one host has sent, as far as they are remembered."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sw.pet import Alert, AlertError, parse_alert

REMEMBERED = 256
"""Alerts of a host; a newer one takes the place of the oldest."""
WINDOW_S = 60.0
"""The same number within so long is the same alert, sent again (DSP0136 3.1.1.1)."""


def alert_name(alert: Alert) -> str:
    """What people and programs call it."""
    if alert.kind is None:
        return f"0x{alert.sensor:02x}{alert.event_type:02x}{alert.offset:02x}"
    return alert.kind.name


@dataclass(slots=True)
class Heard:
    """An alert, when it came first (Unix time), and how often."""

    alert: Alert
    at: float
    times: int = 1


class AlertLog:
    """Takes alerts in, each once.

    Attributes
    ----------
    refused : int
        Messages to the port of alerts, authenticated, that are none.
    """

    def __init__(self) -> None:
        self.refused = 0
        self._heard: deque[Heard] = deque(maxlen=REMEMBERED)

    @property
    def heard(self) -> tuple[Heard, ...]:
        """Oldest first."""
        return tuple(self._heard)

    def receive(self, payload: bytes, now: float) -> Alert | None:
        """A message that was authenticated; the alert if it is a new one.

        Raises AlertError, and counts, if it is no alert.
        """
        try:
            alert = parse_alert(payload)
        except AlertError:
            self.refused += 1
            raise
        for heard in reversed(self._heard):
            if heard.alert == alert and 0 <= now - heard.at < WINDOW_S:
                heard.times += 1
                return None
        self._heard.append(Heard(alert, now))
        return alert
