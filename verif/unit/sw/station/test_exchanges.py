"""IKE as sessions use it: both endpoints are true, only the network is in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, cast

import pytest

from spec.suites import Suite
from sw.config import StationConfig
from sw.ike.constants import Group
from sw.ike.events import ChildSaEstablished, IkeSaClosed
from sw.ike.secret import Secret
from sw.ike.suites import IkeSuite
from sw.station.exchanges import StationExchanges, child_policy, endpoint_config
from sw.station.records import HostRecord
from sw.station.session import HostSession
from verif.unit.sw.ike.net import HOST, HOST_ID, PSK, STATION, STATION_ID, Net, host_peer

CONFIG = StationConfig(identity="station.example.com", address=STATION)


@dataclass
class Session:
    """Stands for a session: writes down what IKE told it."""

    host: HostRecord
    told: list[tuple[str, object]] = field(default_factory=list)

    def established(self, event: ChildSaEstablished, local_ip: IPv4Address, now: float) -> None:
        assert str(local_ip) == STATION
        self.told.append(("established", event.spi_in))

    def ready(self, spi_in: int, now: float) -> None:
        self.told.append(("ready", spi_in))

    def child_deleted(self, spi_in: int, now: float) -> None:
        self.told.append(("deleted", spi_in))

    def exchange_failed(self, why: str, now: float) -> None:
        self.told.append(("failed", why))


class Pair:
    """`StationExchanges` on an endpoint whose peer is a host."""

    def __init__(self, psk: bytes = PSK) -> None:
        self.net = Net(peer_at_host=host_peer(psk))
        self.host = HostRecord(1, "host", IPv4Address(HOST), "agent@host.example.com", Secret(PSK))
        self.session = Session(self.host)
        self.exchanges = StationExchanges(
            replace(CONFIG, identity="station.example.com"),
            self.net.station,
            {1: cast(HostSession, self.session)},
            lambda: None,
            self.guard,
            lambda: self.net.now,
        )
        self.seen = 0

    def guard(self, session: Any, work: Callable[[], None]) -> None:
        assert session is self.session
        work()

    def run(self, seconds: float = 0.0) -> None:
        """Let datagrams travel, and hand the events on."""
        self.net.advance(seconds)
        self.net.run()
        events = self.net.events["station"]
        for event in events[self.seen :]:
            self.exchanges.on_event(event)
        self.seen = len(events)

    def spis(self) -> list[int]:
        return [cast(int, what) for kind, what in self.session.told if kind == "established"]


def test_identities_are_those_of_the_tests() -> None:
    assert STATION_ID.data.decode() == CONFIG.identity
    assert HOST_ID.data.decode() == "agent@host.example.com"


def test_figure_4_connect_then_rekey_over_the_same_ike_sa() -> None:
    pair = Pair()
    pair.exchanges.begin(pair.host, None)
    pair.run()
    assert len(pair.spis()) == 1
    pair.exchanges.begin(pair.host, pair.spis()[0])
    pair.run()
    assert len(pair.spis()) == 2
    assert len(pair.net.station.connections) == 1
    # An SA that this IKE SA does not know is not rekeyed: a new one is made.
    pair.exchanges.begin(pair.host, 0x7777)
    pair.run()
    assert len(set(pair.spis())) == 3
    assert len(pair.net.station.connections) == 1


def test_ready_and_deletion_are_told() -> None:
    pair = Pair()
    pair.exchanges.begin(pair.host, None)
    pair.run()
    (spi_in,) = pair.spis()
    (connection,) = pair.net.host.connections.values()
    (at_host,) = connection.child_sas
    connection.notify_ready(at_host)
    pair.run()
    connection.delete_child(at_host)
    pair.run()
    assert pair.session.told[1:] == [("ready", spi_in), ("deleted", spi_in)]
    # Our own deletion tells the session nothing, and one twice does no harm.
    pair.exchanges.begin(pair.host, None)
    pair.run()
    before = list(pair.session.told)
    for _ in range(2):
        pair.exchanges.delete_child(pair.host, pair.spis()[-1])
        pair.run()
    pair.exchanges.delete_child(pair.host, 0x7777)
    pair.run()
    assert pair.session.told == before


def test_a_wrong_key_fails_and_nothing_is_established() -> None:
    """SEC: IKE.ONLY_AUTHENTICATED."""
    pair = Pair(b"another pre-shared key, not ours")
    pair.exchanges.begin(pair.host, None)
    pair.run(600.0)
    assert pair.spis() == []
    assert pair.session.told
    assert {kind for kind, _ in pair.session.told} == {"failed"}
    assert PSK.decode() not in str(pair.session.told)


def test_silence_fails_and_the_next_attempt_is_a_new_one() -> None:
    pair = Pair()
    pair.net.filter = lambda _who, _datagram: []
    pair.exchanges.begin(pair.host, None)
    pair.run(600.0)
    assert {kind for kind, _ in pair.session.told} == {"failed"}
    pair.net.filter = lambda _who, datagram: [datagram]
    pair.exchanges.begin(pair.host, None)
    pair.run()
    assert len(pair.spis()) == 1


def test_what_was_dropped_tells_nothing_more() -> None:
    pair = Pair()
    pair.exchanges.begin(pair.host, None)
    pair.exchanges.drop(pair.host)
    pair.exchanges.drop(pair.host)
    pair.run(600.0)
    assert pair.session.told == []
    pair.exchanges.begin(pair.host, None)
    pair.run()
    assert len(pair.spis()) == 1


def test_a_peer_that_ends_the_ike_sa_is_connected_anew() -> None:
    pair = Pair()
    pair.exchanges.begin(pair.host, None)
    pair.run()
    (connection,) = pair.net.host.connections.values()
    connection.close()
    pair.run()
    assert pair.net.of("station", IkeSaClosed)
    assert pair.session.told[-1][0] == "failed"
    pair.exchanges.begin(pair.host, pair.spis()[0])
    pair.run()
    assert len(pair.spis()) == 2


@pytest.mark.parametrize("esn", [False, True])
@pytest.mark.parametrize("encapsulation", ["raw", "udp"])
def test_the_configuration_is_what_is_offered(esn: bool, encapsulation: str) -> None:
    config = replace(
        CONFIG,
        esn=esn,
        encapsulation=encapsulation,
        groups=("p256",),
        suites=("aes-gcm-128",),
        ike_suites=("chacha20-poly1305-prf-sha-384", "aes-gcm-128-prf-sha-256"),
        ike_port=1500,
        natt_port=1501,
        ike_retransmit_s=0.25,
        ike_sends=3,
    )
    child = child_policy(config)
    assert child.esn == ((True, False) if esn else (False,))
    assert child.groups == (Group.P256,)
    assert child.suites == (Suite.ESP_AES_GCM_16_128,)
    endpoint = endpoint_config(config)
    assert endpoint.ike.groups == (Group.P256,)
    assert endpoint.ike.suites == (
        IkeSuite.CHACHA20_POLY1305_PRF_SHA_384,
        IkeSuite.AES_GCM_16_128_PRF_SHA_256,
    )
    assert (endpoint.ike_port, endpoint.natt_port) == (1500, 1501)
    assert (endpoint.timing.retransmit_first, endpoint.timing.sends) == (0.25, 3)
    assert endpoint.force_encap is (encapsulation == "udp")
