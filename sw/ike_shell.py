"""IKE on asyncio: the thin shell around the endpoint, for station and agent alike.

It owns the sockets on both ports of IKE, feeds the endpoint, sends what the endpoint gives, and
re-arms one timer. ESP that comes on the port for NAT traversal goes to whoever asked for it.

Source: RFC 3948 2, RFC 7296 2.23.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from ipaddress import IPv4Address

from sw.ike.address import Address
from sw.ike.endpoint import IkeEndpoint
from sw.ike.events import Event
from sw.ipsec import Endpoint, EspPacket, UdpTransport, demultiplex


class IkeShell:
    """An endpoint with its sockets.

    Parameters
    ----------
    endpoint : IkeEndpoint
        The protocol.
    on_event : callable
        Called with each of its events.
    on_esp : callable or None
        Called with each ESP packet on the port for NAT traversal.
    """

    def __init__(
        self,
        endpoint: IkeEndpoint,
        on_event: Callable[[Event], None],
        on_esp: Callable[[bytes], None] | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._on_event = on_event
        self._on_esp = on_esp
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[int, UdpTransport] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._local = ""
        self._natt_port = 0
        self._pumping = False
        self._alone = asyncio.Event()

    async def open(self, local: IPv4Address, ike_port: int, natt_port: int) -> None:
        """Bind both ports; raises sw.ipsec.DataPlaneError."""
        self._local, self._natt_port = str(local), natt_port
        self._sockets[ike_port] = await UdpTransport.open(
            local, lambda data, peer: self._receive(data, peer, ike_port), port=ike_port
        )
        self._sockets[natt_port] = await UdpTransport.open(
            local, lambda data, peer: self._receive(data, peer, natt_port), port=natt_port
        )

    def close(self) -> None:
        """Close the sockets; harmless when repeated."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for transport in self._sockets.values():
            transport.close()
        self._sockets.clear()

    async def leave(self, wait_s: float) -> None:
        """Delete every IKE SA, and wait for the peers' answers, but not longer than `wait_s`."""
        for connection in list(self.endpoint.connections.values()):
            connection.close()
        self._alone.clear()
        self.pump()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._alone.wait()

    def send_esp(self, packet: bytes, to: Endpoint) -> None:
        """Send an ESP packet from the port for NAT traversal."""
        if self._natt_port in self._sockets:
            self._sockets[self._natt_port].send(packet, to)

    def pump(self) -> None:
        """Send what is to be sent, tell what has happened, re-arm the timer.

        To be called after each call to the endpoint; what handlers of events call in turn goes
        out in the same round.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            more = True
            while more:
                more = False
                for datagram in self.endpoint.datagrams_to_send(self._loop.time()):
                    transport = self._sockets.get(datagram.addr.local_port)
                    if transport is not None:
                        transport.send(datagram.data, (datagram.addr.host, datagram.addr.port))
                while (event := self.endpoint.next_event()) is not None:
                    more = True
                    self._on_event(event)
        finally:
            self._pumping = False
        if all(connection.closed for connection in self.endpoint.connections.values()):
            self._alone.set()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.endpoint.get_timer()
        if due is not None and self._sockets:
            self._timer = self._loop.call_at(due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.endpoint.handle_timer(self._loop.time())
        self.pump()

    def _receive(self, data: bytes, peer: Endpoint, port: int) -> None:
        if port == self._natt_port:
            inside = demultiplex(data)
            if isinstance(inside, EspPacket):
                if self._on_esp is not None:
                    self._on_esp(inside.packet)
                return
        address = Address(peer[0], peer[1], self._local, port)
        self.endpoint.receive_datagram(data, address, self._loop.time())
        self.pump()
