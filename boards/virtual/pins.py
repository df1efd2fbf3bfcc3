"""Client of the virtual board's pin socket. docs/virtual_board.md has the protocol."""

import contextlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PinEvent", "PinLink"]

PinEvent = tuple[str, int, int]
"""Name of an output pin, its new level, and the NIC's own time in milliseconds."""

ANSWER_SECONDS = 10.0


class PinLink:
    """Watches the output pins of a virtual board and sets its input pins.

    A thread of its own reads the socket. `on_event` is called in that thread, for the levels at
    the time of connecting too, and must not wait.

    Parameters
    ----------
    path
        The board's pin socket.
    on_event
        Called with each event.
    """

    def __init__(self, path: Path, on_event: Callable[[PinEvent], None] | None = None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._on_event = on_event
        self._changed = threading.Condition()
        self._answers: deque[dict[str, Any]] = deque()
        self._events: list[PinEvent] = []
        self._levels: dict[str, int] = {}
        self._asking = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="pins", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the connection; does nothing the second time."""
        with contextlib.suppress(OSError):  # the board may have been quicker
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def set(self, pin: str, level: bool) -> None:
        """Drives an input pin; returns once the board has taken it.

        Raises ValueError for a name that is none.
        """
        answer = self._ask({"pin": pin, "level": int(level)})
        if "error" in answer:
            raise ValueError(f"{pin}: {answer['error']}")

    def stats(self) -> dict[str, Any]:
        """What the board did since it began."""
        return self._ask({"stats": 1})

    @property
    def levels(self) -> dict[str, int]:
        """Levels of the output pins, as last told."""
        with self._changed:
            return dict(self._levels)

    @property
    def events(self) -> list[PinEvent]:
        """All events so far."""
        with self._changed:
            return list(self._events)

    def rises(self, pin: str) -> int:
        """How often `pin` went from 0 to 1 since this link was made."""
        return sum(1 for name, level, _ in self.events if name == pin and level)

    def wait_for(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Waits until `reached()`, asked after each event, is true; False if the time is up."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not reached():
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._changed.wait(left)
        return True

    def _ask(self, question: dict[str, object]) -> dict[str, Any]:
        with self._asking:
            self._socket.sendall(json.dumps(question).encode() + b"\n")
            with self._changed:
                done = self._changed.wait_for(lambda: self._answers or self._closed, ANSWER_SECONDS)
                if not done or not self._answers:
                    raise ConnectionError("the virtual board does not answer on its pin socket")
                return self._answers.popleft()

    def _read(self) -> None:
        buffer = b""
        while True:
            try:
                got = self._socket.recv(4096)
            except OSError:
                got = b""
            if not got:
                break
            *lines, buffer = (buffer + got).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        event: PinEvent | None = None
        with self._changed:
            if "pin" in message:
                event = (message["pin"], message["level"], message["ms"])
                self._levels[event[0]] = event[1]
                self._events.append(event)
            else:
                self._answers.append(message)
            self._changed.notify_all()
        if event and self._on_event:
            self._on_event(event)
