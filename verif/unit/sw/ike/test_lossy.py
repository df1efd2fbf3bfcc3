"""Networks that lose, double, delay and reorder: both sides agree in the end."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sw.ike import (
    ChildSaReady,
    Datagram,
    EndpointConfig,
    Group,
    IkePolicy,
    IkeSaClosed,
    PeerAlive,
    Timing,
    host_child_policy,
    station_child_policy,
)
from verif.unit.sw.ike.net import Net, host_peer, station_peer

TIMING = Timing(retransmit_first=1.0, retransmit_factor=1.3, retransmit_longest=3.0, sends=60)
PATIENT = EndpointConfig(timing=TIMING)
KEM, NONE = Group.ML_KEM_768, Group.NONE
ADDITIONAL = [
    ((NONE,), (NONE,)),
    ((KEM,), (KEM,)),
    # The station's exchanges are not followed up, the host's are; and the other way round.
    ((NONE, KEM), (KEM, NONE)),
    ((KEM, NONE), (NONE, KEM)),
]
"""What station and host want: without ML-KEM, with it, and not of one mind (RFC 9370 2.2.4)."""


class Lossy(Net):
    """Loses a third of the datagrams, doubles a fifth, keeps a quarter back."""

    def __init__(self, seed: int, *additional: tuple[Group, ...]) -> None:
        at_station, at_host = additional or ((NONE,), (NONE,))
        super().__init__(
            station=replace(PATIENT, ike=IkePolicy(additional=at_station)),
            host=replace(PATIENT, ike=IkePolicy(additional=at_host)),
            peer_at_host=host_peer(child=replace(host_child_policy(), additional=at_host)),
            seed=seed,
        )
        self.peer = station_peer(child=replace(station_child_policy(), additional=at_station))
        self._random = random.Random(seed)
        self._late: list[tuple[str, Datagram]] = []
        self.calm = False
        self.filter = self._weather

    def _weather(self, who: str, datagram: Datagram) -> list[Datagram]:
        if self.calm:
            return [datagram]
        late, self._late = self._late, []
        for sender, old in late:
            if self._random.random() < 0.6:
                self.deliver(sender, old)
            else:
                self._late.append((sender, old))
        draw = self._random.random()
        if draw < 0.33:
            return []
        if draw < 0.58:
            self._late.append((who, datagram))
            return []
        return [datagram] * (2 if self._random.random() < 0.2 else 1)


@pytest.mark.parametrize("additional", ADDITIONAL)
@pytest.mark.parametrize("seed", range(25))
def test_everything_happens_exactly_once(seed: int, additional: tuple[tuple[Group, ...]]) -> None:
    net = Lossy(seed, *additional)
    connection = net.connect(net.peer)
    net.advance(100)
    assert connection.established
    net.matching()
    host = next(one for one in net.host.connections.values() if one.established)
    first = next(iter(connection.child_sas))
    connection.rekey_child(first)
    net.advance(100)
    mine, theirs = net.matching()
    assert mine.rekeyed_spi == first
    host.notify_ready(theirs.spi_in)
    connection.check_liveness()
    net.advance(100)
    assert len(net.of("station", ChildSaReady)) == 1
    assert len(net.of("station", PeerAlive)) == 1
    connection.delete_child(first)
    net.advance(100)
    assert set(connection.child_sas) == {mine.spi_in}
    assert set(host.child_sas) == {theirs.spi_in}
    connection.close()
    net.advance(300)
    assert net.of("station", IkeSaClosed)
    assert not net.station.connections
    assert not net.host.connections
    assert net.host.get_timer() is None


@pytest.mark.parametrize("additional", ADDITIONAL)
@pytest.mark.parametrize("seed", range(40))
def test_both_sides_do_everything_at_once(seed: int, additional: tuple[tuple[Group, ...]]) -> None:
    """Random calls on both ends, in bad weather; when it clears, both hold the same."""
    net = Lossy(seed, *additional)
    draw = random.Random(seed + 10_000)
    connection = net.connect(net.peer)
    net.advance(150)
    assert connection.established
    host = next(one for one in net.host.connections.values() if one.established)
    for _ in range(25):
        one = draw.choice([connection, host])
        spis = list(one.child_sas)
        calls = ["create", "rekey", "ike", "alive"] + ["delete"] * (len(spis) > 1)
        match draw.choice(calls):
            case "create" if len(spis) < 6:
                one.create_child()
            case "rekey" if spis:
                one.rekey_child(draw.choice(spis))
            case "delete":
                one.delete_child(draw.choice(spis))
            case "ike":
                one.rekey()
            case _:
                one.check_liveness()
        net.advance(draw.choice([0, 0.3, 2, 10]))
    net.advance(300)
    net.calm = True
    net.advance(700)
    assert not net.of("station", IkeSaClosed)
    assert not net.of("host", IkeSaClosed)
    assert connection.current.spi_i == host.current.spi_i
    assert connection.current.spi_r == host.current.spi_r
    assert connection.current.keys.sk_d.reveal() == host.current.keys.sk_d.reveal()
    assert connection.current.pending is None
    assert host.current.pending is None
    assert len(connection.sas) == len(host.sas) == 1
    assert {(c.spi_in, c.spi_out) for c in connection.child_sas.values()} == {
        (c.spi_out, c.spi_in) for c in host.child_sas.values()
    }
    assert len(connection.child_sas) >= 1
    assert set(net.station._shared.routes) == {connection.current.local_spi}
    assert set(net.host._shared.routes) == {host.current.local_spi}
    assert net.station._shared.child_spis == set(connection.child_sas)
    assert net.host._shared.child_spis == set(host.child_sas)
    connection.check_liveness()
    host.check_liveness()
    net.run()
    assert net.of("station", PeerAlive)
    assert net.of("host", PeerAlive)
