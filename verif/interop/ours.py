"""Our end: the endpoint of `sw.ike` on the shell of station and agent, and ESP of `sw.ipsec`."""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any, Self, TypeVar

from sw.ike import (
    Address,
    ChildSaDeleted,
    ChildSaEstablished,
    Connection,
    Datagram,
    EndpointConfig,
    Event,
    IkeEndpoint,
    IkeSaClosed,
    Peer,
)
from sw.ike_shell import IkeShell
from sw.ipsec import (
    EspInbound,
    EspMaterial,
    EspOutbound,
    RawEspTransport,
    SequenceReservation,
    UdpDatagram,
    UdpTransport,
)
from verif.interop.guest import GUEST, OURS

__all__ = ["SECURE_PORT", "OurChild", "Ours", "until"]

SECURE_PORT = 664
STRANGERS = 40500
"""Ports from where strangers send."""
WAIT_SECONDS = 20.0
E = TypeVar("E")


async def until(
    holds: Callable[[], Any], what: str | Callable[[], str], *, wait_s: float = WAIT_SECONDS
) -> Any:
    """Wait for something to be true, and return it; AssertionError with `what` if it never is."""
    end = asyncio.get_running_loop().time() + wait_s
    while True:
        value = holds()
        if value:
            return value
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"never came: {what if isinstance(what, str) else what()}")
        await asyncio.sleep(0.02)


@dataclass
class OurChild:
    """A Child SA with its data plane."""

    told: ChildSaEstablished
    keymat_in: bytes
    keymat_out: bytes
    inbound: EspInbound
    outbound: EspOutbound


def _child(told: ChildSaEstablished) -> OurChild:
    first = 1

    def reserve(count: int) -> int:
        nonlocal first
        block = first
        first += count
        return block

    received = (told.key_in, told.salt_in, told.auth_in)
    sent = (told.key_out, told.salt_out, told.auth_out)
    inbound = EspMaterial(told.spi_in, told.suite, *received[:2], told.esn, received[2])
    outbound = EspMaterial(told.spi_out, told.suite, *sent[:2], told.esn, sent[2])
    return OurChild(
        told,
        b"".join(part.reveal() for part in received),
        b"".join(part.reveal() for part in sent),
        EspInbound(inbound),
        EspOutbound(outbound, SequenceReservation(reserve, last=outbound.sequence_max)),
    )


class Ours:
    """An endpoint on this end of the wire. To be used with `async with`.

    Datagrams that come for the port of RMCP are answered with their octets backwards, as the
    guest answers them.
    """

    def __init__(self, config: EndpointConfig, peers: Iterable[Peer] = ()) -> None:
        self.config = config
        self.endpoint = IkeEndpoint(rng=secrets.token_bytes, config=config)
        self._peers = tuple(peers)
        for peer in self._peers:
            self.endpoint.add_peer(peer)
        self.events: list[Event] = []
        self.children: dict[int, OurChild] = {}
        self.received: deque[tuple[int, UdpDatagram]] = deque()
        """SPI and datagram of each answer."""
        self.first_payloads: list[int] = []
        """First payload of each IKE message that came (RFC 7296 3.1)."""
        self.lossy = False
        """Lose each datagram once, in both directions."""
        self._lost: set[bytes] = set()
        self._give = self.endpoint.datagrams_to_send
        self.endpoint.datagrams_to_send = self._lose
        self._held: list[tuple[Any, ...]] | None = None
        self._take = self.endpoint.receive_datagram
        self.endpoint.receive_datagram = self._gate

    async def __aenter__(self) -> Self:
        self.shell = IkeShell(self.endpoint, self._event, self._esp)
        local = IPv4Address(OURS)
        await self.shell.open(local, self.config.ike_port, self.config.natt_port)
        self._raw = await RawEspTransport.open(local, lambda packet, _: self._esp(packet))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shell.close()
        self._raw.close()

    # IKE.

    def connect(self, peer: Peer) -> Connection:
        """Begin as initiator."""
        port = self.config.ike_port
        connection = self.endpoint.connect(peer, Address(GUEST, port, OURS, port))
        self.shell.pump()
        return connection

    async def strangers(self, count: int) -> None:
        """Have so many others send a first message, and never a second."""
        for number in range(count):
            endpoint = IkeEndpoint(rng=secrets.token_bytes, config=self.config)
            (peer,) = self._peers
            endpoint.connect(peer, Address(GUEST, self.config.ike_port, OURS, STRANGERS + number))
            transport = await UdpTransport.open(
                IPv4Address(OURS), lambda *_: None, port=STRANGERS + number
            )
            for data, address in endpoint.datagrams_to_send(0.0):
                transport.send(data, (address.host, address.port))
            await asyncio.sleep(0)
            transport.close()

    @property
    def connections(self) -> list[Connection]:
        """Those that live."""
        return [one for one in self.endpoint.connections.values() if not one.closed]

    def of(self, kind: type[E]) -> list[E]:
        """Events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def event(self, kind: type[E], count: int = 1, *, wait_s: float = WAIT_SECONDS) -> E:
        """Wait for the `count`-th event of a kind."""

        def missing() -> str:
            drops = {reason.value: n for reason, n in self.endpoint.counters.items() if n}
            return f"{kind.__name__} number {count}; there were {self.events}; drops: {drops}"

        await until(lambda: len(self.of(kind)) >= count, missing, wait_s=wait_s)
        return self.of(kind)[count - 1]

    def hold(self) -> None:
        """Let what comes wait, unread."""
        self._held = []

    def release(self) -> None:
        """Read what waited, and what comes."""
        held, self._held = self._held or [], None
        for words in held:
            self._take(*words)
        self.shell.pump()

    @property
    def held(self) -> int:
        """How many datagrams wait."""
        return len(self._held or ())

    def _gate(self, data: bytes, addr: Address, now: float) -> None:
        header = data[4:] if addr.local_port == self.config.natt_port else data
        if len(header) > 16:
            self.first_payloads.append(header[16])
        if self._loses(data):
            return
        if self._held is None:
            self._take(data, addr, now)
        else:
            self._held.append((data, addr, now))

    def _lose(self, now: float) -> list[Datagram]:
        return [one for one in self._give(now) if not self._loses(one.data)]

    def _loses(self, data: bytes) -> bool:
        if not self.lossy or data in self._lost:
            return False
        self._lost.add(data)
        return True

    def _event(self, event: Event) -> None:
        self.events.append(event)
        match event:
            case ChildSaEstablished():
                self.children[event.spi_in] = _child(event)
            case ChildSaDeleted():
                self.children.pop(event.spi_in, None)
            case IkeSaClosed():
                for spi in event.children:
                    self.children.pop(spi, None)

    # ESP.

    def _esp(self, packet: bytes) -> None:
        child = self.children.get(int.from_bytes(packet[:4], "big"))
        if child is None:
            return
        datagram = child.inbound.open(packet).datagram
        if datagram.destination_port == SECURE_PORT:
            answer = UdpDatagram(SECURE_PORT, datagram.source_port, datagram.payload[::-1])
            self.send(child, answer)
        else:
            self.received.append((child.told.spi_in, datagram))

    def send(self, child: OurChild, datagram: UdpDatagram) -> None:
        """Send a datagram under a Child SA."""
        packet = child.outbound.seal_udp(datagram, IPv4Address(OURS), IPv4Address(GUEST))
        if child.told.encap_udp:
            self.shell.send_esp(packet, (child.told.address.host, child.told.address.port))
        else:
            self._raw.send_esp(packet, (GUEST, 0))

    async def ask(self, child: OurChild, payload: bytes, port: int) -> UdpDatagram:
        """Send a datagram to the guest's port of RMCP; returns the answer, which came in ESP."""
        self.received.clear()
        self.send(child, UdpDatagram(port, SECURE_PORT, payload))
        await until(lambda: self.received, "an answer in ESP of the peer's kernel", wait_s=5)
        return self.received[0][1]
