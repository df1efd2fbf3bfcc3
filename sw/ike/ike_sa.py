"""One IKE SA: its SPIs and keys, its message ids with a window of one, and its state table.

The table says which exchange is taken in which state. A datagram without a row is dropped and
counted; it never ends anything (RFC 7296 2.21).

SEC: IKE.ONLY_AUTHENTICATED. Before IKE_AUTH has succeeded nothing else is taken but the additional
key exchange that was agreed on, and afterwards nothing that is not protected.
"""

from __future__ import annotations

import hashlib
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from sw.ike.address import Address
from sw.ike.config import Timing
from sw.ike.constants import ExchangeType, Group, PayloadType
from sw.ike.crypto import Opener, Sealer
from sw.ike.errors import DropReason, IkeError
from sw.ike.fragments import Reassembly, build_fragments, open_fragment
from sw.ike.keymat import IkeKeys, int_auth
from sw.ike.message import (
    Header,
    build_clear,
    build_sealed,
    decrypt,
    parse_body,
    parse_inner,
    protected_part,
)
from sw.ike.payloads import GENERIC_HEADER_OCTETS, Payload, SkfPayload, build_payloads

if TYPE_CHECKING:
    from sw.ike.exchanges.base import Task
    from sw.ike.exchanges.follow_up import Pending

NEVER = float("inf")


class State(Enum):
    """States of an IKE SA."""

    INIT_SENT = auto()
    """Initiator: IKE_SA_INIT is being sent."""
    AUTH_SENT = auto()
    """Initiator: one answer to IKE_SA_INIT is being followed up, at last with IKE_AUTH."""
    HALF_OPEN = auto()
    """Responder: waits for IKE_AUTH."""
    ESTABLISHED = auto()
    REKEYED = auto()
    """A newer IKE SA has taken over; only its deletion is still to come."""
    DELETING = auto()
    """Our Delete is under way."""
    LINGERING = auto()
    """Gone; retransmissions of the peer's last request are still answered."""


class Row(Enum):
    """What to do with a message that the table knows."""

    INIT_RESPONSE = auto()
    AUTH_REQUEST = auto()
    INTERMEDIATE_REQUEST = auto()
    CREATE_CHILD_REQUEST = auto()
    FOLLOW_UP_REQUEST = auto()
    BUSY = auto()
    """Answer TEMPORARY_FAILURE (RFC 7296 2.25)."""
    INFORMATIONAL_REQUEST = auto()
    TASK_RESPONSE = auto()
    """Hand it to the task whose request it answers."""


_E = ExchangeType
REQUEST_ROWS: dict[tuple[State, int], Row] = {
    (State.HALF_OPEN, _E.IKE_INTERMEDIATE): Row.INTERMEDIATE_REQUEST,
    (State.HALF_OPEN, _E.IKE_AUTH): Row.AUTH_REQUEST,
    (State.ESTABLISHED, _E.CREATE_CHILD_SA): Row.CREATE_CHILD_REQUEST,
    (State.ESTABLISHED, _E.IKE_FOLLOWUP_KE): Row.FOLLOW_UP_REQUEST,
    (State.ESTABLISHED, _E.INFORMATIONAL): Row.INFORMATIONAL_REQUEST,
    (State.REKEYED, _E.CREATE_CHILD_SA): Row.BUSY,
    (State.REKEYED, _E.IKE_FOLLOWUP_KE): Row.FOLLOW_UP_REQUEST,
    (State.REKEYED, _E.INFORMATIONAL): Row.INFORMATIONAL_REQUEST,
    (State.DELETING, _E.CREATE_CHILD_SA): Row.BUSY,
    (State.DELETING, _E.IKE_FOLLOWUP_KE): Row.FOLLOW_UP_REQUEST,
    (State.DELETING, _E.INFORMATIONAL): Row.INFORMATIONAL_REQUEST,
}
RESPONSE_ROWS: dict[tuple[State, int], Row] = {
    (State.INIT_SENT, _E.IKE_SA_INIT): Row.INIT_RESPONSE,
    (State.AUTH_SENT, _E.IKE_INTERMEDIATE): Row.TASK_RESPONSE,
    (State.AUTH_SENT, _E.IKE_AUTH): Row.TASK_RESPONSE,
    (State.ESTABLISHED, _E.CREATE_CHILD_SA): Row.TASK_RESPONSE,
    (State.ESTABLISHED, _E.IKE_FOLLOWUP_KE): Row.TASK_RESPONSE,
    (State.ESTABLISHED, _E.INFORMATIONAL): Row.TASK_RESPONSE,
    (State.REKEYED, _E.CREATE_CHILD_SA): Row.TASK_RESPONSE,
    (State.REKEYED, _E.INFORMATIONAL): Row.TASK_RESPONSE,
    (State.DELETING, _E.INFORMATIONAL): Row.TASK_RESPONSE,
}


def row_for(state: State, header: Header) -> Row:
    """Look the table up; `IkeError` (NO_ROW) if it has no row."""
    rows = RESPONSE_ROWS if header.is_response else REQUEST_ROWS
    row = rows.get((state, header.exchange))
    if row is None:
        raise IkeError(DropReason.NO_ROW, f"exchange {header.exchange} in {state.name}")
    return row


@dataclass(frozen=True, slots=True)
class Handshake:
    """What IKE_AUTH needs of IKE_SA_INIT (RFC 7296 2.15)."""

    request: bytes
    response: bytes
    nonce_i: bytes
    nonce_r: bytes
    nat_local: bool
    nat_remote: bool
    peer_is_holdfast: bool
    peer_hashes: frozenset[int] | None = None
    """With which hashes the peer checks signatures; None: it knows nothing of RFC 7427."""


@dataclass(slots=True)
class Outstanding:
    """The one request that waits for its response."""

    task: Task
    exchange: int
    message_id: int
    datagrams: tuple[bytes, ...]
    """The message, or its fragments."""
    interval: float
    deadline: float
    sends: int = 1


@dataclass(frozen=True, slots=True)
class Answered:
    """The last request of the peer and what we answered (RFC 7296 2.1)."""

    message_id: int
    digest: bytes
    response: tuple[bytes, ...]
    opener: Opener | None
    """For fragments of the request."""


class IkeSa:
    """One IKE SA, seen from one side.

    Parameters
    ----------
    initiator : bool
        Whether this side is its original initiator (sets the I flag, uses SPIi).
    spi_i, spi_r : bytes
    state : State
    address : Address
        Where the peer is to be found.
    timing : Timing
    """

    def __init__(
        self,
        *,
        initiator: bool,
        spi_i: bytes,
        spi_r: bytes,
        state: State,
        address: Address,
        timing: Timing,
    ) -> None:
        self.initiator = initiator
        self.spi_i = spi_i
        self.spi_r = spi_r
        self.state = state
        self.address = address
        self.handshake: Handshake | None = None
        self.outstanding: Outstanding | None = None
        self.answered: Answered | None = None
        self.pending: Pending | None = None
        """What the peer has begun here and has still to follow up."""
        self.tasks: deque[Task] = deque()
        self.expires = NEVER
        """When a half-open, rekeyed or lingering SA is removed."""
        self.request_id = 0
        self.expected_id = 0
        self.additional = Group.NONE
        """The additional key exchange that has to come before IKE_AUTH."""
        self.message_octets = 0
        """Longer messages go in fragments; 0: none do, for the peer would not take them."""
        self._partial = {False: Reassembly(), True: Reassembly()}
        """Of the peer's next request, and of the response that is waited for."""
        self._timing = timing
        self._int_auth = {True: b"", False: b""}
        """Of IKE_INTERMEDIATE messages, by whether the initiator sent them."""
        self._intermediates = 0
        self._keys: IkeKeys | None = None
        self._keys_after_answer: IkeKeys | None = None
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None

    @property
    def local_spi(self) -> bytes:
        """The SPI by which the peer's messages find us."""
        return self.spi_i if self.initiator else self.spi_r

    @property
    def under_way(self) -> Task | None:
        """Our exchange that is not over yet: one that is to be followed up is not either."""
        if self.outstanding is not None:
            return self.outstanding.task
        follow_ups = (t for t in self.tasks if t.exchange == ExchangeType.IKE_FOLLOWUP_KE)
        return next(follow_ups, None)

    @property
    def keys(self) -> IkeKeys:
        """The keys; `RuntimeError` before there are any."""
        if self._keys is None:
            raise RuntimeError("this IKE SA has no keys")
        return self._keys

    @property
    def int_auth(self) -> bytes:
        """IntAuth = IntAuth_i | IntAuth_r | message id of IKE_AUTH; empty where no
        IKE_INTERMEDIATE went before (RFC 9242 3.3.2).
        """
        if not self._intermediates:
            return b""
        message_id = 1 + self._intermediates
        return self._int_auth[True] + self._int_auth[False] + message_id.to_bytes(4, "big")

    def install_keys(self, keys: IkeKeys) -> None:
        """Protect everything from here on; the keys before are forgotten."""
        if self._keys is not None:
            self._keys.wipe()
        self._keys = keys
        self._sealer = keys.sealer(initiator=self.initiator)
        self._opener = keys.opener(initiator=self.initiator)

    def install_keys_after_answer(self, keys: IkeKeys) -> None:
        """Protect everything behind the answer to the request in hand."""
        self._keys_after_answer = keys

    def wipe(self) -> None:
        """Forget the keys: nothing more can be sealed or opened."""
        for keys in (self._keys, self._keys_after_answer):
            if keys is not None:
                keys.wipe()
        self._keys = self._keys_after_answer = self._sealer = self._opener = None
        if self.answered is not None:
            self.answered = replace(self.answered, opener=None)
        for reassembly in self._partial.values():
            reassembly.clear()

    def _header(self, exchange: int, message_id: int, *, response: bool) -> Header:
        return Header(
            self.spi_i, self.spi_r, exchange, message_id, self.initiator, is_response=response
        )

    def _encode(self, header: Header, payloads: Sequence[Payload]) -> tuple[bytes, ...]:
        if header.exchange == ExchangeType.IKE_SA_INIT:
            return (build_clear(header, payloads),)
        if self._sealer is None:
            raise RuntimeError("this IKE SA has no keys")
        self._cover(header, *build_payloads(payloads))
        if not self.message_octets:
            return (build_sealed(header, payloads, self._sealer),)
        return build_fragments(header, payloads, self._sealer, self.message_octets)

    def open(self, header: Header, data: bytes, first: int) -> tuple[Payload, ...] | None:
        """Payloads of a message; protected in every exchange but IKE_SA_INIT.

        None for a fragment, as long as others of its message are missing.
        """
        if header.exchange == ExchangeType.IKE_SA_INIT:
            return parse_body(data, first)
        if self._opener is None:
            raise IkeError(DropReason.UNKNOWN_SPI, "this IKE SA is gone")
        part = protected_part(data, first)
        if isinstance(part, SkfPayload):
            self._check_fragments()
            fragment = open_fragment(data, part, self._opener)
            whole = self._partial[header.is_response].add(header.message_id, fragment)
            if whole is None:
                return None
        else:
            whole = part.first_inner, decrypt(data, part.at, part.sealed, self._opener)
        self._cover(header, *whole)
        return parse_inner(*whole)

    def _cover(self, header: Header, first: int, inner: bytes) -> None:
        """Have IKE_AUTH prove an IKE_INTERMEDIATE message too, sent or received, in one piece or
        in fragments. Source: RFC 9242 3.3.2.
        """
        if header.exchange != ExchangeType.IKE_INTERMEDIATE:
            return
        octets = GENERIC_HEADER_OCTETS + len(inner)
        clear = header.pack(PayloadType.SK, octets) + struct.pack(">BBH", first, 0, octets)
        side = header.is_initiator
        sk_p = self.keys.sk_pi if side else self.keys.sk_pr
        self._int_auth[side] = int_auth(self.keys.prf, sk_p, self._int_auth[side], clear, inner)
        if not header.is_response:
            self._intermediates += 1

    def _check_fragments(self) -> None:
        if not self.message_octets:
            raise IkeError(DropReason.FRAGMENT, "fragments were not agreed on")

    # Requests of ours.

    def begin(
        self, task: Task, exchange: ExchangeType, payloads: Sequence[Payload], now: float
    ) -> tuple[bytes, ...]:
        """Take the window's one place: the request to send. Source: RFC 7296 2.1, 2.3."""
        message_id = self.request_id
        datagrams = self._encode(self._header(exchange, message_id, response=False), payloads)
        interval = self._timing.retransmit_first
        self.outstanding = Outstanding(
            task, exchange, message_id, datagrams, interval, now + interval
        )
        self._partial[True].clear()
        return datagrams

    def retransmit(self, now: float) -> tuple[bytes, ...] | None:
        """Send the outstanding request again, bit for bit; None once it was sent often enough."""
        out = self.outstanding
        if out is None or out.sends >= self._timing.sends:
            return None
        out.sends += 1
        out.interval = min(
            out.interval * self._timing.retransmit_factor, self._timing.retransmit_longest
        )
        out.deadline = now + out.interval
        return out.datagrams

    def check_response(self, header: Header) -> Outstanding:
        """Find the request that a response answers; `IkeError` (MESSAGE_ID) if none waits."""
        out = self.outstanding
        if out is None or (header.message_id, header.exchange) != (out.message_id, out.exchange):
            raise IkeError(DropReason.MESSAGE_ID, "no request of ours waits for this response")
        return out

    def finish(self) -> None:
        """The outstanding request was answered: give its place free."""
        self.outstanding = None
        self.request_id += 1

    # Requests of the peer.

    def cached_answer(self, header: Header, data: bytes, first: int) -> tuple[bytes, ...] | None:
        """The answer to a retransmission; None for the request whose turn it is.

        A retransmission is the same octets again (RFC 7296 2.1), or the first fragment, however
        the request was divided before; other fragments of it are dropped (RFC 7383 2.6.1).
        Everything else outside the window is an `IkeError` (MESSAGE_ID).
        """
        last = self.answered
        if last is not None and header.message_id == last.message_id:
            if hashlib.sha256(data).digest() == last.digest:
                return last.response
            if first == PayloadType.SKF and self._is_first_fragment(data, first):
                return last.response
            raise IkeError(DropReason.MESSAGE_ID, "another request under a used message id")
        if header.message_id != self.expected_id:
            raise IkeError(DropReason.MESSAGE_ID, "request outside the window")
        return None

    def _is_first_fragment(self, data: bytes, first: int) -> bool:
        part = protected_part(data, first)
        opener = self.answered.opener if self.answered is not None else None
        if opener is None or not isinstance(part, SkfPayload):
            return False
        self._check_fragments()
        if open_fragment(data, part, opener).number != 1:
            raise IkeError(DropReason.DUPLICATE, "a later fragment of a request that was answered")
        return True

    def answer(
        self, header: Header, request: bytes, payloads: Sequence[Payload]
    ) -> tuple[bytes, ...]:
        """Build the response, keep it, move the window.

        `request` is what a retransmission is told by; nothing for one that came in fragments.
        """
        response = self._encode(
            self._header(header.exchange, header.message_id, response=True), payloads
        )
        digest = hashlib.sha256(request).digest()
        self.answered = Answered(header.message_id, digest, response, self._opener)
        self.expected_id = header.message_id + 1
        self._partial[False].clear()
        if self._keys_after_answer is not None:
            self.install_keys(self._keys_after_answer)
            self._keys_after_answer = None
        return response

    def next_task(self, now: float) -> Task | None:
        """Take the first task that may start now, if the window is free."""
        if self.outstanding is not None:
            return None
        for task in self.tasks:
            if task.not_before <= now:
                self.tasks.remove(task)
                return task
        return None

    def deadline(self) -> float:
        """When something of this SA falls due."""
        times = [self.expires]
        if self.pending is not None:
            times.append(self.pending.expires)
        if self.outstanding is not None:
            times.append(self.outstanding.deadline)
        elif self.state is State.ESTABLISHED:
            times.extend(task.not_before for task in self.tasks)
        return min(times)
