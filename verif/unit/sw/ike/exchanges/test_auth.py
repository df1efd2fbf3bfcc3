"""IKE_AUTH: keys, identities, the first Child SA, and how it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spec.suites import SUITES, Suite
from spec.suites import Protocol as SaProtocol
from sw.ike import (
    ChildSaEstablished,
    CloseReason,
    ExchangeFailed,
    ExchangeKind,
    FailureReason,
    Identity,
    IkeSaClosed,
    IkeSaEstablished,
    NotifyType,
    TrafficSelector,
    host_child_policy,
    station_child_policy,
)
from sw.ike.selectors import UDP
from verif.unit.sw.ike.net import FAST, STATION, Net, host_peer, station_peer


@pytest.mark.parametrize(
    ("station_id", "host_id"),
    [
        (Identity.fqdn("s.example"), Identity.ipv4("192.0.2.7")),
        (Identity.rfc822("s@example.com"), Identity.key_id(b"\0\xffkey")),
        (Identity.ipv4("192.0.2.1"), Identity.rfc822("h@example.com")),
        (Identity.key_id(b""), Identity.fqdn("h.example")),
    ],
)
def test_rfc7296_3_5_each_identity_type(station_id: Identity, host_id: Identity) -> None:
    at_host = host_peer(identity=station_id, local_identity=host_id)
    net = Net(peer_at_host=at_host)
    net.up(station_peer(identity=host_id, local_identity=station_id))
    (established,) = net.of("host", IkeSaEstablished)
    assert (established.peer_id, established.local_id) == (station_id, host_id)


def _refused(net: Net) -> None:
    """Neither side holds anything, both say why."""
    for side in ("station", "host"):
        assert not net.of(side, ChildSaEstablished), side
        (closed,) = net.of(side, IkeSaClosed)
        assert closed.reason is CloseReason.AUTHENTICATION, side
    assert not net.of("station", IkeSaEstablished)
    net.advance(FAST.linger + 1)
    assert not net.station.connections
    assert not net.host.connections
    assert not net.host._shared.child_spis
    assert not net.station._shared.child_spis


def test_rfc7296_2_21_2_wrong_psk() -> None:
    net = Net()
    net.connect(station_peer(b"wrong"))
    net.run()
    assert net.of("station", IkeSaClosed)[0].notify == NotifyType.AUTHENTICATION_FAILED
    _refused(net)
    net.up()


def test_unknown_initiator_looks_like_a_wrong_psk() -> None:
    net = Net()
    net.connect(station_peer(local_identity=Identity.fqdn("someone.else")))
    net.run()
    lengths = [len(d.data) for _, d in net.wire][-1]
    _refused(net)
    other = Net()
    other.connect(station_peer(b"wrong"))
    other.run()
    assert [len(d.data) for _, d in other.wire][-1] == lengths


def test_same_octets_of_another_id_type_are_another_identity() -> None:
    net = Net()
    net.connect(station_peer(local_identity=Identity.rfc822("station.example.com")))
    net.run()
    _refused(net)


def test_initiator_asks_for_another_responder() -> None:
    net = Net()
    net.connect(station_peer(identity=Identity.fqdn("another.host")))
    net.run()
    _refused(net)


def test_rfc7296_2_21_2_wrong_responder_gets_told() -> None:
    """The host believes the station; the station does not believe the host."""
    net = Net()
    connection = net.connect()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, response),) = net.gather()
    net.deliver("host", response)
    ((_, auth),) = net.gather()
    # From here on the station expects somebody else at the other end.
    connection._peer = station_peer(identity=Identity.fqdn("another.host"))
    net.deliver("station", auth)
    net.run()
    assert net.wire[-2][1].data[18] == 37
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is CloseReason.AUTHENTICATION
    (closed,) = net.of("host", IkeSaClosed)
    assert closed.reason is CloseReason.AUTHENTICATION
    assert len(closed.children) == 1


ESP = tuple(suite for suite, facts in SUITES.items() if facts.protocol is SaProtocol.ESP)


@pytest.mark.parametrize("suite", ESP)
@pytest.mark.parametrize("esn", [True, False])
def test_suite_and_esn_as_the_peer_has_them(suite: Suite, esn: bool) -> None:
    child = replace(host_child_policy(), suites=(suite,), esn=(esn,))
    net = Net(peer_at_host=host_peer(child=child))
    connection = net.up(station_peer(child=replace(station_child_policy(), suites=ESP)))
    mine, _ = net.matching()
    assert (mine.suite, mine.esn) == (suite, esn)
    connection.rekey_child(mine.spi_in)
    net.run()
    newer, _ = net.matching()
    assert (newer.rekeyed_spi, newer.suite, newer.esn) == (mine.spi_in, suite, esn)
    for name in ("key_in", "salt_in", "auth_in", "key_out", "salt_out", "auth_out"):
        key, old = getattr(newer, name), getattr(mine, name)
        assert len(key) == len(old)
        assert not len(key) or key != old


def test_esn_and_256_bit_are_preferred() -> None:
    net = Net()
    net.up()
    mine, _ = net.matching()
    assert mine.esn
    assert mine.suite is Suite.ESP_AES_GCM_16_256


@pytest.mark.parametrize(
    ("child", "notify"),
    [
        (
            replace(host_child_policy(), suites=(Suite.ESP_AES_GCM_16_128,)),
            NotifyType.NO_PROPOSAL_CHOSEN,
        ),
        (replace(host_child_policy(), transport=False), None),
        (
            replace(host_child_policy(), local_ts=(TrafficSelector.wildcard(6),)),
            NotifyType.TS_UNACCEPTABLE,
        ),
    ],
)
def test_rfc7296_1_2_ike_sa_stands_without_its_child(
    child: object, notify: NotifyType | None
) -> None:
    net = Net(peer_at_host=host_peer(child=child))
    at_station = replace(station_child_policy(), suites=(Suite.ESP_AES_GCM_16_256,))
    connection = net.connect(station_peer(child=at_station))
    net.run()
    assert connection.established
    assert not net.of("station", ChildSaEstablished)
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.exchange is ExchangeKind.CREATE_CHILD
    assert failed.notify == notify
    expected = FailureReason.UNACCEPTABLE if notify is None else FailureReason.REFUSED
    assert failed.reason is expected
    # What the host had set up for an answer that was refused is deleted again.
    assert not net.peer_connection().children
    assert not net.station._shared.child_spis
    assert not net.host._shared.child_spis


def test_rfc7296_1_3_1_transport_mode_is_asked_for() -> None:
    tunnel = replace(station_child_policy(), transport=False)
    net = Net()
    net.connect(station_peer(child=tunnel))
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.NO_PROPOSAL_CHOSEN


def test_selectors_are_narrowed_to_the_hosts_policy() -> None:
    host = replace(
        host_child_policy(),
        remote_ts=(TrafficSelector.host(STATION, UDP), TrafficSelector.host("192.0.2.2", UDP)),
    )
    net = Net(peer_at_host=host_peer(child=host))
    net.up()
    mine, _ = net.matching()
    assert mine.ts_local == host.remote_ts
    assert mine.ts_remote == (TrafficSelector.wildcard(UDP, 664),)


def test_rfc7296_2_4_initial_contact_replaces_older_connections() -> None:
    net = Net()
    connection = net.up()
    connection.abandon()
    net.run()
    net.up()
    (closed,) = net.of("host", IkeSaClosed)
    assert closed.reason is CloseReason.REPLACED
    assert len(closed.children) == 1


def test_second_connection_leaves_the_first_alone() -> None:
    net = Net()
    first = net.up()
    second = net.up()
    assert first.established
    assert second.established
    assert len(net.host.connections) == 2


def test_half_open_connection_expires_silently() -> None:
    net = Net()
    net.connect()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    net.filter = lambda _who, _datagram: []
    net.advance(31)
    assert not net.host.connections
    assert not net.events["host"]
    assert net.host.get_timer() is None


def test_answer_to_the_refused_is_kept_for_its_retransmission() -> None:
    net = Net()
    net.connect(station_peer(b"wrong"))
    lost = iter([True])
    net.filter = lambda who, d: (
        [] if who == "host" and d.data[18] == 35 and next(lost, False) else [d]
    )
    net.advance(5)
    assert net.of("station", IkeSaClosed)[0].reason is CloseReason.AUTHENTICATION
