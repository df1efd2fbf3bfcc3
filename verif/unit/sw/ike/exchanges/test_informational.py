"""INFORMATIONAL: deletion, liveness, the ready notification."""

from __future__ import annotations

from collections.abc import Mapping

from sw.ike import (
    ChildSaDeleted,
    ChildSaEstablished,
    ChildSaReady,
    ChildSaReadyDelivered,
    CloseReason,
    DropReason,
    EndpointConfig,
    ExchangeFailed,
    FailureReason,
    IkeSaClosed,
    NotifyType,
    PeerAlive,
    Timing,
)
from sw.ike.payloads import NotifyPayload
from verif.unit.sw.ike.net import FAST, Net


def only(mapping: Mapping[int, object]) -> int:
    (spi,) = mapping
    return spi


def test_ready_notify_reaches_the_station() -> None:
    net = Net()
    connection = net.up()
    host = net.peer_connection()
    host.notify_ready(only(host.child_sas))
    net.run()
    (ready,) = net.of("station", ChildSaReady)
    assert ready.spi_in == only(connection.child_sas)
    assert ready.spi_out == only(host.child_sas)
    assert net.of("host", ChildSaReadyDelivered)
    assert len(net.wire) == 6


def test_ready_notify_before_the_station_has_the_answer_to_ike_auth() -> None:
    """It is dropped there, and comes again (RFC 7296 2.1)."""
    net = Net()
    net.connect()
    for _ in range(3):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
    ((_, late),) = net.gather()
    host = net.peer_connection()
    host.notify_ready(only(host.child_sas))
    ((_, ready),) = net.gather()
    net.deliver("host", ready)
    assert not net.gather()
    net.deliver("host", late)
    net.advance(2)
    assert net.of("station", ChildSaReady)


def test_ready_notify_for_an_unknown_sa_is_passed_over() -> None:
    net = Net()
    connection = net.up()
    connection.forget_child(only(connection.child_sas))
    host = net.peer_connection()
    host.notify_ready(only(host.child_sas))
    net.run()
    assert not net.of("station", ChildSaReady)
    assert net.of("host", ChildSaReadyDelivered)


def test_rfc7296_1_4_1_delete_from_either_side() -> None:
    net = Net()
    connection = net.up()
    connection.delete_child(only(connection.child_sas))
    net.run()
    (mine,) = net.of("station", ChildSaDeleted)
    (theirs,) = net.of("host", ChildSaDeleted)
    assert (mine.by_peer, theirs.by_peer) == (False, True)
    assert mine.spi_in == theirs.spi_out
    assert connection.established
    connection.create_child()
    net.run()
    host = net.peer_connection()
    host.delete_child(only(host.child_sas))
    net.run()
    assert not connection.child_sas
    assert not net.station._shared.child_spis


def test_rfc7296_2_25_1_both_delete_at_once() -> None:
    net = Net()
    connection = net.up()
    host = net.peer_connection()
    connection.delete_child(only(connection.child_sas))
    host.delete_child(only(host.child_sas))
    net.run()
    assert not connection.child_sas
    assert not host.child_sas
    assert len(net.of("station", ChildSaDeleted)) == len(net.of("host", ChildSaDeleted)) == 1
    assert not net.of("station", ExchangeFailed)


def test_rfc7296_1_4_1_delete_of_the_ike_sa() -> None:
    net = Net()
    connection = net.up()
    spi = only(connection.child_sas)
    connection.close()
    net.run()
    (mine,) = net.of("station", IkeSaClosed)
    (theirs,) = net.of("host", IkeSaClosed)
    assert (mine.reason, mine.children) == (CloseReason.LOCAL, (spi,))
    assert theirs.reason is CloseReason.PEER
    assert len(theirs.children) == 1
    assert not net.station.connections
    net.advance(FAST.linger + 1)
    assert not net.host.connections
    assert not net.host._shared.routes
    assert not net.station._shared.routes
    assert net.host.get_timer() is None


def test_both_close_at_once() -> None:
    net = Net()
    connection = net.up()
    connection.close()
    net.peer_connection().close()
    net.run()
    for side in ("station", "host"):
        (closed,) = net.of(side, IkeSaClosed)
        assert closed.reason is CloseReason.LOCAL


def test_answer_to_a_delete_that_was_lost_comes_again() -> None:
    net = Net()
    connection = net.up()
    lost = iter([True])
    net.filter = lambda who, _d: [] if who == "host" and next(lost, False) else [_d]
    connection.close()
    net.advance(2)
    assert net.of("station", IkeSaClosed)[0].reason is CloseReason.LOCAL
    assert not net.station.connections


def test_close_ends_even_if_nobody_answers() -> None:
    net = Net()
    connection = net.up()
    net.filter = lambda _who, _d: []
    connection.create_child()
    net.gather()
    connection.close()
    connection.create_child()
    net.advance(300)
    assert net.of("station", IkeSaClosed)
    assert {f.reason for f in net.of("station", ExchangeFailed)} == {FailureReason.CLOSED}
    assert len(net.of("station", ExchangeFailed)) == 2
    assert not net.station.connections


def test_abandon_says_nothing_on_the_wire() -> None:
    net = Net()
    connection = net.up()
    count = len(net.wire)
    connection.abandon()
    net.run()
    assert len(net.wire) == count
    assert net.of("station", IkeSaClosed)[0].reason is CloseReason.LOCAL
    assert not net.station.connections
    connection.close()
    connection.create_child()
    net.run()
    assert len(net.wire) == count
    assert net.of("station", ExchangeFailed)[0].reason is FailureReason.CLOSED


def test_liveness_on_demand() -> None:
    net = Net()
    connection = net.up()
    connection.check_liveness()
    net.run()
    assert net.of("station", PeerAlive)
    assert connection.last_heard == net.now


def test_rfc7296_2_4_liveness_after_silence() -> None:
    net = Net(host=EndpointConfig(timing=Timing(liveness=20.0)))
    net.up()
    net.wire.clear()
    net.advance(65)
    assert [who for who, _ in net.wire] == ["host", "station"] * 3
    net.filter = lambda _who, _d: []
    net.advance(400)
    (closed,) = net.of("host", IkeSaClosed)
    assert closed.reason is CloseReason.TIMEOUT
    assert len(closed.children) == 1


def test_dead_peer_ends_the_connection_but_not_before_all_tries() -> None:
    net = Net()
    connection = net.up()
    net.filter = lambda _who, _d: []
    net.wire.clear()
    connection.rekey_child(only(connection.child_sas))
    net.advance(20)
    assert not net.of("station", IkeSaClosed)
    net.advance(20)
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.reason is FailureReason.CLOSED
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is CloseReason.TIMEOUT
    assert len(net.wire) == FAST.sends
    assert isinstance(net.events["station"][-1], IkeSaClosed)


def test_rfc7296_3_10_1_unknown_status_notify_is_ignored() -> None:
    net = Net()
    connection = net.up()
    connection.check_liveness()
    task = connection.current.tasks[0]
    task.build = lambda *_: [NotifyPayload(50000, b"?"), NotifyPayload(NotifyType.INITIAL_CONTACT)]
    net.run()
    assert net.of("station", PeerAlive)
    assert connection.established


def test_ready_notify_waits_for_a_lost_answer_to_the_rekey() -> None:
    """The host knows the new SA from its answer on. The answer is lost, the notification is not:
    it stays without a response until the station knows the SA, too."""
    net = Net()
    connection = net.up()
    old = only(connection.child_sas)
    lost = iter([True])
    net.filter = lambda who, d: (
        [] if who == "host" and d.data[18] == 36 and next(lost, False) else [d]
    )
    connection.rekey_child(old)
    net.run()
    host = net.peer_connection()
    new = net.of("host", ChildSaEstablished)[-1].spi_in
    host.notify_ready(new)
    net.run()
    assert not net.of("station", ChildSaReady)
    assert net.station.counters[DropReason.EARLY] == 1
    net.advance(5)
    (ready,) = net.of("station", ChildSaReady)
    assert ready.spi_out == new
    assert ready.spi_in == net.of("station", ChildSaEstablished)[-1].spi_in


def test_delete_waits_for_a_lost_answer_to_the_rekey() -> None:
    net = Net()
    connection = net.up()
    lost = iter([True])
    net.filter = lambda who, d: (
        [] if who == "host" and d.data[18] == 36 and next(lost, False) else [d]
    )
    connection.rekey_child(only(connection.child_sas))
    net.run()
    host = net.peer_connection()
    host.delete_child(net.of("host", ChildSaEstablished)[-1].spi_in)
    net.advance(5)
    assert len(connection.child_sas) == len(host.child_sas) == 1
    assert len(net.of("station", ChildSaDeleted)) == 1
