"""Two endpoints on a network in memory, with a clock that only the test moves."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from spec.suites import SUITES
from sw.ike import (
    Address,
    ChildSaEstablished,
    Connection,
    Datagram,
    EndpointConfig,
    Event,
    Identity,
    IkeEndpoint,
    Peer,
    Secret,
    Timing,
    host_child_policy,
    station_child_policy,
)

STATION = "192.0.2.1"
HOST = "192.0.2.7"
STATION_ID = Identity.fqdn("station.example.com")
HOST_ID = Identity.rfc822("agent@host.example.com")
PSK = b"correct horse battery staple"
FAST = Timing(
    retransmit_first=1.0, retransmit_factor=2.0, retransmit_longest=8.0, sends=6, busy_retry=0.5
)


def rng_of(seed: int) -> Callable[[int], bytes]:
    """A source of randomness that repeats itself with its seed."""
    return random.Random(seed).randbytes


def station_peer(psk: bytes = PSK, **changes: Any) -> Peer:
    """The host, as the station sees it."""
    return replace(Peer(HOST_ID, STATION_ID, Secret(psk), station_child_policy()), **changes)


def host_peer(psk: bytes = PSK, **changes: Any) -> Peer:
    """The station, as the host sees it."""
    return replace(Peer(STATION_ID, HOST_ID, Secret(psk), host_child_policy()), **changes)


class Net:
    """A station and a host. Datagrams travel when the test says so.

    `filter` is called with sender ("station" or "host") and datagram, and gives the datagrams
    that arrive in its place. `nat` is the address that the station has beyond a NAT.
    """

    def __init__(
        self,
        *,
        station: EndpointConfig | None = None,
        host: EndpointConfig | None = None,
        peer_at_host: Peer | None = None,
        seed: int = 1,
    ) -> None:
        self.now = 100.0
        self.station = IkeEndpoint(rng=rng_of(seed), config=station or EndpointConfig(timing=FAST))
        self.host = IkeEndpoint(rng=rng_of(seed + 1000), config=host or EndpointConfig(timing=FAST))
        self.host.add_peer(peer_at_host or host_peer())
        self.events: dict[str, list[Event]] = {"station": [], "host": []}
        self.wire: list[tuple[str, Datagram]] = []
        self.filter: Callable[[str, Datagram], list[Datagram]] = lambda _, datagram: [datagram]
        self.nat: tuple[str, dict[int, int]] | None = None

    def connect(self, peer: Peer | None = None) -> Connection:
        """Begin from the station."""
        return self.station.connect(peer or station_peer(), Address(HOST, 500, STATION, 500))

    def _drain(self, name: str, endpoint: IkeEndpoint) -> Iterator[tuple[str, Datagram]]:
        for datagram in endpoint.datagrams_to_send(self.now):
            self.wire.append((name, datagram))
            for arriving in self.filter(name, datagram):
                yield name, arriving
        while (event := endpoint.next_event()) is not None:
            self.events[name].append(event)

    def deliver(self, sender: str, datagram: Datagram) -> None:
        """Bring one datagram to the other side."""
        addr = datagram.addr
        if sender == "station":
            source, port = addr.local_host, addr.local_port
            if self.nat is not None:
                source, port = self.nat[0], self.nat[1].setdefault(port, 40000 + port)
            target, at = self.host, Address(source, port, addr.host, addr.port)
        else:
            local, port = addr.host, addr.port
            if self.nat is not None:
                inside = {outer: inner for inner, outer in self.nat[1].items()}
                local, port = STATION, inside[port]
            target, at = self.station, Address(addr.local_host, addr.local_port, local, port)
        target.receive_datagram(datagram.data, at, self.now)

    def gather(self) -> list[tuple[str, Datagram]]:
        """What both sides want to send now."""
        return [*self._drain("station", self.station), *self._drain("host", self.host)]

    def run(self) -> None:
        """Let datagrams travel until there are none."""
        for _ in range(200):
            count = len(self.wire)
            moving = self.gather()
            # What a filter kept back or delivered late counts as movement, too.
            if not moving and len(self.wire) == count:
                return
            for sender, datagram in moving:
                self.deliver(sender, datagram)
        raise AssertionError("the two sides never fall silent")

    def advance(self, seconds: float) -> None:
        """Let time pass, timers and datagrams with it."""
        end = self.now + seconds
        self.run()
        while True:
            timers = [t for t in (self.station.get_timer(), self.host.get_timer()) if t is not None]
            if not timers or min(timers) > end:
                break
            self.now = max(self.now, min(timers))
            self.station.handle_timer(self.now)
            self.host.handle_timer(self.now)
            self.run()
        self.now = end

    def of(self, name: str, kind: type) -> list:
        """Events of a kind on one side."""
        return [event for event in self.events[name] if isinstance(event, kind)]

    def up(self, peer: Peer | None = None) -> Connection:
        """Connect, and check that both sides hold one and the same Child SA."""
        connection = self.connect(peer)
        self.run()
        self.matching()
        return connection

    def peer_connection(self) -> Connection:
        """The host's newest connection."""
        return self.host.connections[max(self.host.connections)]

    def matching(self, at: int = -1) -> tuple[ChildSaEstablished, ChildSaEstablished]:
        """The same Child SA on both sides: what one sends with the other receives with."""
        mine = self.of("station", ChildSaEstablished)[at]
        theirs = next(e for e in self.of("host", ChildSaEstablished) if e.spi_in == mine.spi_out)
        assert mine.spi_in == theirs.spi_out
        assert mine.key_in == theirs.key_out
        assert mine.key_out == theirs.key_in
        assert mine.salt_in == theirs.salt_out
        assert mine.salt_out == theirs.salt_in
        assert mine.auth_in == theirs.auth_out
        assert mine.auth_out == theirs.auth_in
        facts = SUITES[mine.suite]
        for inward, outward, octets in (
            (mine.key_in, mine.key_out, facts.key_octets),
            (mine.salt_in, mine.salt_out, facts.salt_octets),
            (mine.auth_in, mine.auth_out, facts.auth_octets),
        ):
            assert len(inward) == len(outward) == octets
            assert not octets or inward != outward
        assert (mine.suite, mine.esn, mine.transport) == (
            theirs.suite,
            theirs.esn,
            theirs.transport,
        )
        assert (mine.ts_local, mine.ts_remote) == (theirs.ts_remote, theirs.ts_local)
        return mine, theirs
