"""What the connections of one endpoint share: queues, counters, routes and randomness."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from sw.ike.address import Address, Datagram
from sw.ike.certificates import requests_for
from sw.ike.config import EndpointConfig, Identity, Peer
from sw.ike.constants import ESP_SPI_MIN, ESP_SPI_OCTETS, IKE_SPI_OCTETS, NON_ESP_MARKER
from sw.ike.crypto import Rng
from sw.ike.errors import DropReason
from sw.ike.events import Event
from sw.ike.message import NO_SPI
from sw.ike.payloads import Payload
from sw.ike.signatures import hash_notify

if TYPE_CHECKING:
    from sw.ike.connection import Connection

_SPI_TRIES = 16


class Shared:
    """Owned by an `IkeEndpoint`, lent to its connections.

    Parameters
    ----------
    config : EndpointConfig
    rng : Rng
    child_spi : callable or None
        Chooses our inbound ESP SPIs; by default they are drawn from `rng`.
    """

    def __init__(
        self, config: EndpointConfig, rng: Rng, child_spi: Callable[[], int] | None
    ) -> None:
        self.config = config
        self.rng = rng
        self.peers: dict[Identity, Peer] = {}
        self.connections: dict[int, Connection] = {}
        self.routes: dict[bytes, Connection] = {}
        """Local IKE SPI to connection."""
        self.half_open: dict[int, bool] = {}
        """Connections of strangers that have not authenticated themselves: whether a cookie showed
        that the address is theirs."""
        self.child_spis: set[int] = set()
        """Inbound ESP SPIs in use, of all connections."""
        self.counters: Counter[DropReason] = Counter()
        self.out: deque[Datagram] = deque()
        self.events: deque[Event] = deque()
        self.touched: dict[int, Connection] = {}
        """Connections with something to start, or with another deadline than before."""
        self._child_spi = child_spi or self._random_child_spi

    def _random_child_spi(self) -> int:
        return int.from_bytes(self.rng(ESP_SPI_OCTETS), "big")

    def send(self, data: bytes, address: Address) -> None:
        """Queue an IKE message, with the non-ESP marker on port 4500."""
        if address.local_port == self.config.natt_port:
            data = NON_ESP_MARKER + data
        self.out.append(Datagram(data, address))

    def send_raw(self, data: bytes, address: Address) -> None:
        """Queue a datagram that is no IKE message."""
        self.out.append(Datagram(data, address))

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self.events.append(event)

    def drop(self, reason: DropReason) -> None:
        """Count a dropped datagram."""
        self.counters[reason] += 1

    def touch(self, connection: Connection) -> None:
        """Have a connection looked at before the next datagram is given out."""
        self.touched[connection.id] = connection

    def certificate_requests(self) -> list[Payload]:
        """As responder: the signature hashes we check, and CERTREQ for the CAs of all peers that
        prove themselves by certificate; nothing if none does (RFC 7427 4, RFC 7296 3.7).
        """
        peers = [peer.certificates for peer in self.peers.values()]
        requests = requests_for(one for one in peers if one is not None)
        return [hash_notify(), *requests] if requests else []

    def new_ike_spi(self) -> bytes:
        """An IKE SPI of ours: not zero, not in use. `RuntimeError` if `rng` is stuck."""
        for _ in range(_SPI_TRIES):
            spi = self.rng(IKE_SPI_OCTETS)
            if spi != NO_SPI and spi not in self.routes:
                return spi
        raise RuntimeError("the source of randomness repeats itself")

    def new_child_spi(self) -> int | None:
        """An inbound ESP SPI of ours, reserved; None if the source gives no free one."""
        for _ in range(_SPI_TRIES):
            spi = self._child_spi()
            if ESP_SPI_MIN <= spi < 2**32 and spi not in self.child_spis:
                self.child_spis.add(spi)
                return spi
        return None
