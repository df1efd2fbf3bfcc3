"""The endpoint: every datagram of ports 500 and 4500 comes in here and goes out from here."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType

from sw.ike.address import Address, Datagram
from sw.ike.config import EndpointConfig, Identity, Peer
from sw.ike.connection import Connection
from sw.ike.constants import NAT_KEEPALIVE, ExchangeType, NotifyType
from sw.ike.cookies import CookieJar
from sw.ike.crypto import Rng
from sw.ike.errors import DropReason, IkeError
from sw.ike.events import Event
from sw.ike.exchanges import sa_init
from sw.ike.ike_sa import NEVER, IkeSa, State
from sw.ike.message import NO_SPI, Header, build_clear, parse_body, parse_header, strip_marker
from sw.ike.payloads import NotifyPayload
from sw.ike.shared import Shared


class IkeEndpoint:
    """IKEv2 for one host: initiator towards any number of peers, and responder to known ones.

    Nothing in here reads a clock, draws randomness or touches a socket.

    Parameters
    ----------
    rng : callable
        Number of octets -> that many octets, unpredictable.
    config : EndpointConfig or None
    child_spi : callable or None
        Gives our inbound ESP SPIs, from 256 on; without it they come from `rng`. One that is in
        use is asked for again, up to 16 times.
    """

    def __init__(
        self,
        *,
        rng: Rng,
        config: EndpointConfig | None = None,
        child_spi: Callable[[], int] | None = None,
    ) -> None:
        self._config = config or EndpointConfig()
        self._shared = Shared(self._config, rng, child_spi)
        self._cookies = CookieJar(rng, self._config.timing.cookie_rotation)
        self._next_id = 1
        self._inits: dict[bytes, tuple[int, bytes]] = {}
        """Digest of sender and IKE_SA_INIT request -> connection and response."""
        self._deadlines: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []
        self._clear_since = NEVER
        self._clear_sent = 0

    @property
    def counters(self) -> Counter[DropReason]:
        """Datagrams that went no further, by reason."""
        return self._shared.counters

    @property
    def connections(self) -> Mapping[int, Connection]:
        """Connections by the id that events carry, read-only."""
        return MappingProxyType(self._shared.connections)

    def add_peer(self, peer: Peer) -> None:
        """Let a peer in as initiator, or replace what was configured for its identity."""
        self._shared.peers[peer.identity] = peer

    def remove_peer(self, identity: Identity) -> None:
        """Let it in no more. Connections that stand go on."""
        self._shared.peers.pop(identity, None)

    def connect(self, peer: Peer, address: Address) -> Connection:
        """Begin IKE_SA_INIT and IKE_AUTH with a first Child SA.

        IkeSaEstablished and ChildSaEstablished follow, or IkeSaClosed. `ValueError` if one of the
        hosts is not a numeric address.
        """
        sa = IkeSa(
            initiator=True,
            spi_i=self._shared.new_ike_spi(),
            spi_r=NO_SPI,
            state=State.INIT_SENT,
            address=address,
            timing=self._config.timing,
        )
        task = sa_init.InitTask(self._shared)
        # Fails here rather than in the middle of the exchange.
        task.check_address(sa)
        connection = self._add(sa, peer)
        connection.start_init(task)
        return connection

    def _add(self, sa: IkeSa, peer: Peer | None) -> Connection:
        connection = Connection(self._next_id, self._shared, sa, peer)
        self._next_id += 1
        self._shared.connections[connection.id] = connection
        self._shared.touch(connection)
        return connection

    # I/O.

    def receive_datagram(self, data: bytes, addr: Address, now: float) -> None:
        """Take a UDP datagram. Whatever it holds, this returns; drops are counted."""
        try:
            if data == NAT_KEEPALIVE:
                raise IkeError(DropReason.KEEPALIVE, "NAT keepalive")
            if addr.local_port == self._config.natt_port:
                data = strip_marker(data)
            self._receive(data, addr, now)
        except IkeError as error:
            self._shared.drop(error.reason)

    def _receive(self, data: bytes, addr: Address, now: float) -> None:
        try:
            header, first = parse_header(data)
        except IkeError as error:
            if error.notify == NotifyType.INVALID_MAJOR_VERSION:
                self._refuse_version(data, addr, now)
            raise
        initial = header.exchange == ExchangeType.IKE_SA_INIT
        if initial and not header.is_response and header.spi_r == NO_SPI:
            self._receive_init(header, first, data, addr, now)
            return
        spi = header.spi_r if header.is_initiator else header.spi_i
        connection = self._shared.routes.get(spi)
        if connection is not None:
            connection.receive(header, first, data, addr, now)
            return
        if not initial and not header.is_response:
            # RFC 7296 2.21.4; the answer's SPIs and message id are the request's.
            self._refuse(header, NotifyPayload(NotifyType.INVALID_IKE_SPI), addr, now)
        raise IkeError(DropReason.UNKNOWN_SPI, "no IKE SA with this SPI")

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """Start what is queued, and give out everything there is to send."""
        touched = self._shared.touched
        while touched:
            _, connection = touched.popitem()
            connection.pump(now)
            # What it did to itself is covered by the deadline taken here.
            touched.pop(connection.id, None)
            self._schedule(connection)
        out = list(self._shared.out)
        self._shared.out.clear()
        return out

    def next_event(self) -> Event | None:
        """The oldest event not yet given out."""
        return self._shared.events.popleft() if self._shared.events else None

    # Time.

    def _schedule(self, connection: Connection) -> None:
        due = connection.deadline()
        if connection.id not in self._shared.connections:
            self._deadlines.pop(connection.id, None)
        elif self._deadlines.get(connection.id) != due:
            self._deadlines[connection.id] = due
            if due < NEVER:
                heapq.heappush(self._heap, (due, connection.id))

    def _reschedule(self) -> None:
        for connection in self._shared.touched.values():
            self._schedule(connection)
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def get_timer(self) -> float | None:
        """When `handle_timer` is to be called; None if not at all."""
        self._reschedule()
        return self._heap[0][0] if self._heap else None

    def handle_timer(self, now: float) -> None:
        """Do what has fallen due: retransmit, give up, expire."""
        self._reschedule()
        while self._heap and self._heap[0][0] <= now:
            _, connection_id = heapq.heappop(self._heap)
            self._deadlines.pop(connection_id, None)
            connection = self._shared.connections.get(connection_id)
            if connection is not None:
                connection.handle_timer(now)
            self._reschedule_one(connection_id, now)

    def _reschedule_one(self, connection_id: int, now: float) -> None:
        connection = self._shared.connections.get(connection_id)
        if connection is None:
            self._deadlines.pop(connection_id, None)
            return
        due = connection.deadline()
        # What is due at once waits for `datagrams_to_send`, which starts it.
        if due > now:
            self._schedule(connection)
        while self._heap and self._deadlines.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    # Strangers.

    def _receive_init(
        self, header: Header, first: int, data: bytes, addr: Address, now: float
    ) -> None:
        if not header.is_initiator or header.message_id != 0:
            raise IkeError(DropReason.MALFORMED, "IKE_SA_INIT request with odd flags or id")
        key = hashlib.sha256(repr((addr.host, addr.port)).encode() + data).digest()
        if key in self._inits:
            self._again(key, addr)
            return
        try:
            request = sa_init.read_request(parse_body(data, first))
        except IkeError as error:
            if error.notify == NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD:
                notify = NotifyPayload(error.notify, error.notify_data)
                self._refuse(header, notify, addr, now)
            raise
        proved = self._cookies.check(request.cookie, request.nonce, addr.host, header.spi_i, now)
        self._admit(proved, header, request, addr, now)
        if len(self._shared.connections) >= self._config.limits.connections:
            raise IkeError(DropReason.CONNECTION_LIMIT, "too many connections")
        refusal = sa_init.refusal(request, self._shared)
        if refusal is not None:
            self._refuse(header, refusal, addr, now)
            raise IkeError(DropReason.UNACCEPTABLE, f"refused with notify {refusal.notify}")
        sa, response = sa_init.respond(request, header, data, addr, self._shared)
        sa.expires = now + self._config.timing.half_open
        connection = self._add(sa, None)
        self._shared.half_open[connection.id] = proved
        self._forget_inits()
        self._inits[key] = (connection.id, response)
        self._shared.send(response, addr)

    def _again(self, key: bytes, addr: Address) -> None:
        """A retransmitted IKE_SA_INIT request (RFC 7296 2.1)."""
        connection_id, response = self._inits[key]
        if connection_id in self._shared.half_open:
            self._shared.send(response, addr)
        raise IkeError(DropReason.DUPLICATE, "IKE_SA_INIT request seen before")

    def _admit(
        self, proved: bool, header: Header, request: sa_init.InitRequest, addr: Address, now: float
    ) -> None:
        """Bound what strangers make us hold; `IkeError` if there is no room (RFC 7296 2.6).

        Whoever can forge addresses fills the part below the threshold, and cannot lock out a
        peer that answers with its cookie; whoever answers cookies gets a few places an address.
        """
        limits, half_open = self._config.limits, self._shared.half_open
        full = self._half_open_of(addr.host, proved) >= limits.half_open_per_host
        if not proved and (full or len(half_open) >= limits.cookie_threshold):
            cookie = self._cookies.make(request.nonce, addr.host, header.spi_i, now)
            self._answer_clear(header, NotifyPayload(NotifyType.COOKIE, cookie), addr)
            raise IkeError(DropReason.COOKIE_DEMANDED, "under load")
        if full or len(half_open) >= limits.half_open:
            raise IkeError(DropReason.HALF_OPEN_LIMIT, "too many half-open IKE SAs")

    def _half_open_of(self, host: str, proved: bool) -> int:
        connections = self._shared.connections
        return sum(
            connections[one].address.host == host
            for one, with_cookie in self._shared.half_open.items()
            if with_cookie is proved
        )

    def _forget_inits(self) -> None:
        """Keep no more answers to IKE_SA_INIT than twice the connections there are."""
        if len(self._inits) > 2 * len(self._shared.connections):
            alive = self._shared.connections
            self._inits = {key: one for key, one in self._inits.items() if one[0] in alive}

    def _answer_clear(self, header: Header, notify: NotifyPayload, addr: Address) -> None:
        # We hold no IKE SA for it: the responder's SPI stays as it came (RFC 7296 2.6, 2.21.4).
        answer = Header(
            header.spi_i,
            header.spi_r,
            header.exchange,
            header.message_id,
            is_initiator=not header.is_initiator,
            is_response=True,
        )
        self._shared.send(build_clear(answer, [notify]), addr)

    def _refuse(self, header: Header, notify: NotifyPayload, addr: Address, now: float) -> None:
        """Tell a stranger what is wrong, so many times a second (RFC 7296 2.21)."""
        if not 0 <= now - self._clear_since < 1:
            self._clear_since, self._clear_sent = now, 0
        if self._clear_sent >= self._config.limits.clear_notifies_per_second:
            self._shared.drop(DropReason.RATE_LIMIT)
            return
        self._clear_sent += 1
        self._answer_clear(header, notify, addr)

    def _refuse_version(self, data: bytes, addr: Address, now: float) -> None:
        """Answer a request of a later major version (RFC 7296 2.5)."""
        flags, message_id = data[19], int.from_bytes(data[20:24], "big")
        header = Header(data[:8], data[8:16], data[18], message_id, bool(flags & 8), False)
        if not flags & 0x20:
            notify = NotifyPayload(NotifyType.INVALID_MAJOR_VERSION)
            self._refuse(header, notify, addr, now)
