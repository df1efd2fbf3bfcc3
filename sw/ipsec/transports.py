"""Sockets of the data plane on asyncio: thin, all decisions are in the pure modules."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from types import TracebackType

from spec.headers import PORT_RMCP_CLEAR, PROTOCOL_ESP
from sw.ipsec.encap import (
    KEEPALIVE,
    PORT,
    EspPacket,
    IkeMessage,
    demultiplex,
    encapsulate_esp,
    encapsulate_ike,
)
from sw.ipsec.errors import DataPlaneError
from sw.ipsec.raw import strip_ipv4

_LOG = logging.getLogger(__name__)
_RECEIVE_MAX = 65_535

Endpoint = tuple[str, int]
"""IPv4 address in dotted form, and UDP port."""
OnEsp = Callable[[bytes, Endpoint], None]
"""Called with an ESP packet and where it came from (port 0 for raw ESP)."""
OnIke = Callable[[bytes, Endpoint], None]
"""Called with an IKE message, its marker taken off, and where it came from."""
OnDatagram = Callable[[bytes, Endpoint], None]
"""Called with a UDP payload and where it came from."""


class _DatagramProtocol(asyncio.DatagramProtocol):
    def __init__(self, on_datagram: OnDatagram) -> None:
        self._on_datagram = on_datagram

    def datagram_received(self, data: bytes, addr: tuple[str | object, int]) -> None:
        self._on_datagram(data, (str(addr[0]), addr[1]))

    def error_received(self, exc: Exception) -> None:
        # ICMP errors can be forged, and retries deal with loss: told, not acted on.
        _LOG.debug("UDP error: %s", exc)


async def _open_udp(
    local: IPv4Address, port: int, on_datagram: OnDatagram
) -> asyncio.DatagramTransport:
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _DatagramProtocol(on_datagram),
            local_addr=(str(local), port),
            family=socket.AF_INET,
        )
    except OSError as error:
        raise DataPlaneError(
            f"cannot open UDP port {port} of {local}: {error.strerror or error}; "
            "does the address belong to this machine, and is no other program on that port?"
        ) from error
    return transport


class UdpTransport:
    """A plain UDP socket: the clear port's discovery, and IKE on port 500.

    Make one with `await UdpTransport.open(...)`; close it, or use it with `async with`.
    """

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport

    @classmethod
    async def open(
        cls, local: IPv4Address, on_datagram: OnDatagram, *, port: int = 0
    ) -> UdpTransport:
        """Bind to `local` and `port` (0: any); raises DataPlaneError."""
        return cls(await _open_udp(local, port, on_datagram))

    @property
    def local(self) -> Endpoint:
        """Address and port that it is bound to."""
        name = self._transport.get_extra_info("sockname")
        return str(name[0]), int(name[1])

    def send(self, payload: bytes, to: Endpoint) -> None:
        """Send a datagram. Loss is silent, as ever with UDP."""
        self._transport.sendto(payload, to)

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        self._transport.close()

    async def __aenter__(self) -> UdpTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class UdpEspTransport:
    """The socket on UDP port 4500, which ESP and IKE share. Keepalives are swallowed.

    Source: RFC 3948, RFC 7296 2.23.
    """

    def __init__(self, on_esp: OnEsp, on_ike: OnIke) -> None:
        self._on_esp = on_esp
        self._on_ike = on_ike
        self._udp: UdpTransport | None = None
        self._ignored = 0

    @classmethod
    async def open(
        cls, local: IPv4Address, on_esp: OnEsp, on_ike: OnIke, *, port: int = PORT
    ) -> UdpEspTransport:
        """Bind to `local` and `port`; raises DataPlaneError."""
        self = cls(on_esp, on_ike)
        self._udp = await UdpTransport.open(local, self._receive, port=port)
        return self

    @property
    def local(self) -> Endpoint:
        """Address and port that it is bound to."""
        return self._opened().local

    @property
    def ignored(self) -> int:
        """Datagrams that were neither IKE nor ESP nor a keepalive."""
        return self._ignored

    def send_esp(self, packet: bytes, to: Endpoint) -> None:
        """Send an ESP packet."""
        self._opened().send(encapsulate_esp(packet), to)

    def send_ike(self, message: bytes, to: Endpoint) -> None:
        """Send an IKE message behind the marker."""
        self._opened().send(encapsulate_ike(message), to)

    def send_keepalive(self, to: Endpoint) -> None:
        """Keep the mapping of a NAT between us and the peer alive (RFC 3948 4)."""
        self._opened().send(KEEPALIVE, to)

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        if self._udp is not None:
            self._udp.close()
            self._udp = None

    async def __aenter__(self) -> UdpEspTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _opened(self) -> UdpTransport:
        if self._udp is None:
            raise DataPlaneError("the socket for ESP in UDP is closed")
        return self._udp

    def _receive(self, datagram: bytes, source: Endpoint) -> None:
        match demultiplex(datagram):
            case EspPacket(packet):
                self._on_esp(packet, source)
            case IkeMessage(payload):
                self._on_ike(payload, source)
            case None:
                self._ignored += 1


class RawEspTransport:
    """Raw IPv4 sockets of protocol 50. Needs CAP_NET_RAW.

    A kernel that has SAs of its own for these packets takes them before we see them.

    Source: RFC 4303 3.1.1.
    """

    def __init__(self, raw: socket.socket, on_esp: OnEsp) -> None:
        self._socket: socket.socket | None = raw
        self._on_esp = on_esp
        self._ignored = 0
        asyncio.get_running_loop().add_reader(raw.fileno(), self._receive)

    @classmethod
    async def open(cls, local: IPv4Address, on_esp: OnEsp) -> RawEspTransport:
        """Receive ESP that is sent to `local`, and send from it; raises DataPlaneError."""
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL_ESP)
        except OSError as error:
            raise DataPlaneError(
                f"cannot open a raw socket for ESP: {error.strerror or error}; "
                "run as root or with CAP_NET_RAW, or use ESP in UDP"
            ) from error
        try:
            raw.setblocking(False)
            raw.bind((str(local), 0))
        except OSError as error:
            raw.close()
            raise DataPlaneError(
                f"cannot receive ESP for {local}: {error.strerror or error}; "
                "does the address belong to this machine?"
            ) from error
        return cls(raw, on_esp)

    @property
    def ignored(self) -> int:
        """Packets that were no whole IPv4 packet of protocol 50."""
        return self._ignored

    def send_esp(self, packet: bytes, to: Endpoint) -> None:
        """Send an ESP packet; the port of `to` is not used.

        A full send buffer and an unreachable peer count as loss; the caller's retries deal with
        them. Raises DataPlaneError for a socket that is closed or cannot send at all.
        """
        if self._socket is None:
            raise DataPlaneError("the raw socket for ESP is closed")
        try:
            self._socket.sendto(packet, (to[0], 0))
        except OSError as error:
            if error.errno in _LOSSES:
                _LOG.debug("ESP to %s lost: %s", to[0], error)
                return
            raise DataPlaneError(
                f"cannot send ESP to {to[0]}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    async def __aenter__(self) -> RawEspTransport:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self) -> None:
        if self._socket is None:
            return
        try:
            packet, source = self._socket.recvfrom(_RECEIVE_MAX)
        except OSError as error:
            _LOG.debug("receiving ESP failed: %s", error)
            return
        esp = strip_ipv4(packet)
        if esp is None:
            self._ignored += 1
        else:
            self._on_esp(esp, (str(source[0]), 0))


_LOSSES = {
    errno.EAGAIN,
    errno.ENOBUFS,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.ENETDOWN,
    errno.ECONNREFUSED,
}


async def open_discovery(local: IPv4Address, on_datagram: OnDatagram) -> UdpTransport:
    """A socket for presence pings in the clear; send them to `(host, PORT_DISCOVERY)`."""
    return await UdpTransport.open(local, on_datagram)


PORT_DISCOVERY = PORT_RMCP_CLEAR
"""UDP port of the clear port."""
