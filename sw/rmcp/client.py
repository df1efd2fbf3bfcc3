"""The station's side of RMCP: requests, their retries, and what became of them. No I/O.

The shell sends what `datagrams_to_send` gives, feeds `receive_datagram` what came, sleeps until
`get_timer`, calls `handle_timer`, and drains `next_event`. `now` is a clock that never goes back,
in seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from spec.rmcp import OEM_ENTERPRISE_DEFAULT
from sw.rmcp.messages import (
    RESPONSE_TO,
    Request,
    Response,
    RmcpAck,
    RmcpError,
    RmcpMessage,
    build,
    parse,
)
from sw.rmcp.numbers import RmcpNumbers

PENDING_MAX = 64
"""Requests that may wait at once: well below the 255 sequence numbers that ACKs are matched by."""


FIRST_NUMBERS = RmcpNumbers()
"""Where a NIC that was never spoken to begins."""


class RmcpBusyError(Exception):
    """Too many requests wait for their answers."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a request is sent again, always with the same octets.

    Parameters
    ----------
    first_s : float
        Wait after the first sending.
    factor : float
        Each wait is this much longer than the one before.
    longest_s : float
        No wait is longer.
    attempts : int
        Sendings in all; the request has timed out when the wait after the last one is over.
    """

    first_s: float = 0.5
    factor: float = 1.5
    longest_s: float = 5.0
    attempts: int = 6

    def __post_init__(self) -> None:
        if self.first_s <= 0 or self.factor < 1 or self.longest_s <= 0 or self.attempts < 1:
            raise ValueError(f"{self!r} is no retry policy")

    def wait_s(self, attempt: int) -> float:
        """The wait after sending number `attempt`, which counts from 1."""
        wait = self.first_s
        for _ in range(attempt - 1):
            wait = min(wait * self.factor, self.longest_s)
        return min(wait, self.longest_s)


DEFAULT_RETRY = RetryPolicy()
"""Six attempts in about 12 s."""


@dataclass(frozen=True, slots=True)
class RmcpDatagram:
    """A UDP payload to send. `token` says for which request, and so under which SA it belongs."""

    token: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class RequestCompleted:
    """A query got its response, or a power command its ACK.

    Parameters
    ----------
    token : int
        What `request` returned.
    request : Request
        What was asked.
    response : Response or None
        The answer; None for a power command.
    """

    token: int
    request: Request
    response: Response | None


@dataclass(frozen=True, slots=True)
class RequestTimedOut:
    """No answer after the last attempt. The command may have been carried out all the same.

    Parameters
    ----------
    token : int
        What `request` returned.
    request : Request
        What was asked.
    acknowledged : bool
        A query was acknowledged, only its response did not come.
    """

    token: int
    request: Request
    acknowledged: bool


Event = RequestCompleted | RequestTimedOut


@dataclass(slots=True)
class _Pending:
    token: int
    numbers: RmcpNumbers
    request: Request
    payload: bytes
    due: float
    attempt: int = 0
    acknowledged: bool = False


class RmcpClient:
    """Requests to one NIC. No two that wait at once share a sequence number or a tag.

    Datagrams that are no message, or answer nothing that waits, are counted in `ignored` and
    change nothing: they may be forged in the clear, or late.

    Parameters
    ----------
    numbers : RmcpNumbers
        Those of the first request. Give one above all that were ever used with this NIC.
    enterprise : int
        Enterprise number of the OEM messages.
    retry : RetryPolicy
        When to send again, and when to give up.

    Source: DSP0136 3.2.2.2.
    """

    def __init__(
        self,
        numbers: RmcpNumbers = FIRST_NUMBERS,
        *,
        enterprise: int = OEM_ENTERPRISE_DEFAULT,
        retry: RetryPolicy = DEFAULT_RETRY,
    ) -> None:
        self._numbers = numbers
        self._enterprise = enterprise
        self._retry = retry
        self._next_token = 1
        self._pending: dict[int, _Pending] = {}
        self._events: deque[Event] = deque()
        self._ignored = 0

    @property
    def numbers(self) -> RmcpNumbers:
        """The numbers that the next request will have: to be stored by whoever must not repeat."""
        return self._numbers

    @property
    def ignored(self) -> int:
        """Datagrams that were no message, or answered nothing that waits."""
        return self._ignored

    @property
    def pending(self) -> int:
        """Requests that wait for their answers."""
        return len(self._pending)

    def request(self, message: Request, now: float) -> int:
        """Begin a request; it is sent by the next `datagrams_to_send`.

        Returns the token that the datagrams and the event of this request carry.
        Raises RmcpBusyError while `PENDING_MAX` requests wait.
        """
        if len(self._pending) >= PENDING_MAX:
            raise RmcpBusyError(f"{PENDING_MAX} requests wait for their answers")
        numbers = self._numbers
        while any(
            entry.numbers.sequence == numbers.sequence or entry.numbers.tag == numbers.tag
            for entry in self._pending.values()
        ):
            numbers = numbers.advance()
        payload = build(
            RmcpMessage(numbers.sequence, numbers.tag, message), enterprise=self._enterprise
        )
        token = self._next_token
        self._next_token += 1
        self._numbers = numbers.advance()
        self._pending[token] = _Pending(token, numbers, message, payload, due=now)
        return token

    def cancel(self, token: int) -> None:
        """Forget a request: no more is sent, and no event comes. Unknown tokens are ignored."""
        self._pending.pop(token, None)

    def datagrams_to_send(self, now: float) -> list[RmcpDatagram]:
        """What is due to be sent now, for the first time or again."""
        datagrams = []
        for entry in self._pending.values():
            if entry.due <= now and entry.attempt < self._retry.attempts:
                entry.attempt += 1
                entry.due = now + self._retry.wait_s(entry.attempt)
                datagrams.append(RmcpDatagram(entry.token, entry.payload))
        return datagrams

    def receive_datagram(self, payload: bytes, now: float) -> None:
        """Take a UDP payload from the NIC; what it completes comes from `next_event`."""
        try:
            message = parse(payload, enterprise=self._enterprise)
        except RmcpError:
            self._ignored += 1
            return
        if isinstance(message, RmcpAck):
            entry = self._find_acknowledged(message)
            if entry is None:
                self._ignored += 1
            elif type(entry.request) in RESPONSE_TO:
                entry.acknowledged = True
            else:
                self._complete(entry, None)
            return
        for entry in self._pending.values():
            wanted = RESPONSE_TO.get(type(entry.request))
            if (
                entry.attempt
                and entry.numbers.tag == message.tag
                and wanted is not None
                and isinstance(message.body, wanted)
            ):
                self._complete(entry, message.body)
                return
        self._ignored += 1

    def next_event(self) -> Event | None:
        """The oldest event not yet taken, or None."""
        return self._events.popleft() if self._events else None

    def get_timer(self) -> float | None:
        """When `handle_timer` and then `datagrams_to_send` want to be called, or None: never."""
        return min((entry.due for entry in self._pending.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Give up on what waited for its last time; retries come from `datagrams_to_send`."""
        spent = [
            entry
            for entry in self._pending.values()
            if entry.due <= now and entry.attempt >= self._retry.attempts
        ]
        for entry in spent:
            del self._pending[entry.token]
            self._events.append(RequestTimedOut(entry.token, entry.request, entry.acknowledged))

    def _find_acknowledged(self, ack: RmcpAck) -> _Pending | None:
        for entry in self._pending.values():
            if entry.attempt and entry.numbers.sequence == ack.sequence:
                return entry
        return None

    def _complete(self, entry: _Pending, response: Response | None) -> None:
        del self._pending[entry.token]
        self._events.append(RequestCompleted(entry.token, entry.request, response))
