"""CREATE_CHILD_SA for Child SAs: new, rekeyed, refused, from both sides at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sw.ike import (
    ChildPolicy,
    ChildSaDeleted,
    ChildSaEstablished,
    EndpointConfig,
    ExchangeFailed,
    ExchangeKind,
    FailureReason,
    Group,
    IkeEndpoint,
    Limits,
    NotifyType,
    TrafficSelector,
    host_child_policy,
    station_child_policy,
)
from sw.ike.selectors import UDP
from verif.unit.sw.ike.net import FAST, HOST, STATION, Net, host_peer, rng_of, station_peer


def only(mapping: Mapping[int, object]) -> int:
    (spi,) = mapping
    return spi


def sent(net: Net, exchange: int) -> list[str]:
    return [who for who, datagram in net.wire if datagram.data[18] == exchange]


@pytest.mark.parametrize("group", [Group.X25519, Group.P256])
def test_new_child_sa(group: Group) -> None:
    net = Net()
    connection = net.up()
    connection.create_child(replace(station_child_policy(), groups=(group,)))
    net.run()
    first, _ = net.matching(0)
    second, _ = net.matching(1)
    assert second.rekeyed_spi is None
    assert first.key_in != second.key_in
    assert len(connection.child_sas) == 2
    assert sent(net, 36) == ["station", "host"]


def test_rekey_leaves_the_old_one_in_place() -> None:
    net = Net()
    connection = net.up()
    old = only(connection.child_sas)
    connection.rekey_child(old)
    net.run()
    mine, theirs = net.matching()
    assert mine.rekeyed_spi == old
    assert theirs.rekeyed_spi == connection.child_sas[old].spi_out
    assert theirs.rekeyed_spi in net.peer_connection().child_sas
    net.advance(1000)
    assert len(connection.child_sas) == 2
    assert not net.of("station", ChildSaDeleted)
    connection.delete_child(old)
    net.run()
    assert only(connection.child_sas) == mine.spi_in
    assert only(net.peer_connection().child_sas) == theirs.spi_in


def test_rekey_from_the_host() -> None:
    net = Net()
    net.up()
    host = net.peer_connection()
    old = only(host.child_sas)
    host.rekey_child(old)
    net.run()
    mine, theirs = net.matching()
    assert theirs.initiator
    assert not mine.initiator
    assert theirs.rekeyed_spi == old
    assert mine.ts_remote[0].start_port == 664


def test_rekey_of_a_rekeyed_one_many_times() -> None:
    net = Net()
    connection = net.up()
    spi = only(connection.child_sas)
    for _ in range(30):
        connection.rekey_child(spi)
        net.run()
        mine, _ = net.matching()
        connection.delete_child(spi)
        net.run()
        spi = only(connection.child_sas)
        assert spi == mine.spi_in
    assert len(net.host._shared.child_spis) == 1
    assert len(net.station._shared.child_spis) == 1


def test_rfc7296_1_3_1_invalid_ke_payload_is_followed() -> None:
    at_host = replace(host_child_policy(), groups=(Group.P256,))
    net = Net(peer_at_host=host_peer(child=at_host))
    connection = net.up()
    connection.rekey_child(only(connection.child_sas))
    net.run()
    net.matching()
    assert sent(net, 36) == ["station", "host"] * 2


def test_no_common_group_leaves_the_old_one() -> None:
    at_host = replace(host_child_policy(), groups=(Group.P256,))
    at_station = replace(station_child_policy(), groups=(Group.X25519,))
    net = Net(peer_at_host=host_peer(child=at_host))
    connection = net.up(station_peer(child=at_station))
    old = only(connection.child_sas)
    connection.rekey_child(old)
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert (failed.exchange, failed.reason) == (ExchangeKind.REKEY_CHILD, FailureReason.REFUSED)
    assert (failed.spi, failed.notify) == (old, NotifyType.NO_PROPOSAL_CHOSEN)
    assert only(connection.child_sas) == old
    assert len(net.station._shared.child_spis) == 1


def _no_pfs(policy: ChildPolicy) -> ChildPolicy:
    return replace(policy, groups=(), require_pfs=False)


def test_without_pfs_where_both_want_it_so() -> None:
    net = Net(peer_at_host=host_peer(child=_no_pfs(host_child_policy())))
    connection = net.up(station_peer(child=_no_pfs(station_child_policy())))
    connection.create_child()
    net.run()
    net.matching(1)


def test_pfs_is_insisted_on() -> None:
    net = Net()
    connection = net.up(station_peer(child=_no_pfs(station_child_policy())))
    connection.create_child()
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.NO_PROPOSAL_CHOSEN


def test_rfc7296_2_25_rekey_of_an_unknown_child_sa() -> None:
    net = Net()
    connection = net.up()
    old = only(connection.child_sas)
    net.peer_connection().forget_child(only(net.peer_connection().child_sas))
    connection.rekey_child(old)
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.CHILD_SA_NOT_FOUND
    # The last SA that worked is the caller's to give up, not ours.
    assert only(connection.child_sas) == old


def test_rekey_of_what_we_do_not_have() -> None:
    net = Net()
    connection = net.up()
    connection.rekey_child(12345)
    connection.delete_child(12345)
    connection.notify_ready(12345)
    net.run()
    reasons = {failed.reason for failed in net.of("station", ExchangeFailed)}
    assert reasons == {FailureReason.NO_SUCH_SA}
    assert len(net.of("station", ExchangeFailed)) == 3
    assert not sent(net, 36)


@pytest.mark.parametrize("seed", range(6))
def test_rfc7296_2_8_1_simultaneous_rekey(seed: int) -> None:
    """Both ask at once: one new Child SA stays, the old one too."""
    net = Net(seed=seed)
    connection = net.up()
    host = net.peer_connection()
    old = only(connection.child_sas)
    connection.rekey_child(old)
    host.rekey_child(only(host.child_sas))
    net.run()
    failed = net.of("station", ExchangeFailed) + net.of("host", ExchangeFailed)
    assert [one.reason for one in failed] == [FailureReason.REDUNDANT]
    assert len(connection.child_sas) == len(host.child_sas) == 2
    assert old in connection.child_sas
    assert {c.spi_in for c in connection.child_sas.values()} == {
        c.spi_out for c in host.child_sas.values()
    }
    for side, one in (("station", connection), ("host", host)):
        told = {e.spi_in for e in net.of(side, ChildSaEstablished)}
        gone = {e.spi_in for e in net.of(side, ChildSaDeleted)}
        assert told - gone == set(one.child_sas), side
    assert len(net.host._shared.child_spis) == 2
    assert len(net.station._shared.child_spis) == 2


def test_rfc7296_2_25_1_rekey_while_we_delete() -> None:
    """TEMPORARY_FAILURE; the one that asked tries again later, and finds the SA gone."""
    net = Net()
    connection = net.up()
    host = net.peer_connection()
    connection.delete_child(only(connection.child_sas))
    host.rekey_child(only(host.child_sas))
    net.advance(10)
    assert not connection.child_sas
    assert not host.child_sas
    (failed,) = net.of("host", ExchangeFailed)
    assert failed.reason is FailureReason.NO_SUCH_SA


def test_rfc7296_2_25_2_child_while_we_rekey_the_ike_sa() -> None:
    net = Net()
    connection = net.up()
    host = net.peer_connection()
    connection.rekey()
    host.create_child()
    net.run()
    assert len(connection.child_sas) == 1
    net.advance(5)
    assert len(connection.child_sas) == len(host.child_sas) == 2
    net.matching()


def test_children_are_bounded() -> None:
    net = Net(host=EndpointConfig(timing=FAST, limits=Limits(children=2)))
    connection = net.up()
    connection.create_child()
    connection.create_child()
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.NO_ADDITIONAL_SAS
    assert len(connection.child_sas) == 2


def test_spis_come_from_the_caller() -> None:
    net = Net()
    numbers = iter([0, 255, 2**32, 300, 300, 301])
    net.station = IkeEndpoint(rng=rng_of(9), child_spi=lambda: next(numbers))
    connection = net.up()
    assert only(connection.child_sas) == 300
    connection.create_child()
    net.run()
    assert set(connection.child_sas) == {300, 301}


def test_no_free_spi() -> None:
    net = Net()
    net.station = IkeEndpoint(rng=rng_of(9), child_spi=lambda: 300)
    connection = net.up()
    connection.rekey_child(300)
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.reason is FailureReason.NO_SPI
    assert only(connection.child_sas) == 300


def test_rfc7296_2_3_window_of_one() -> None:
    """A burst of calls goes out one by one."""
    net = Net()
    connection = net.up()
    for _ in range(5):
        connection.create_child()
    assert len(net.gather()) == 1
    assert not net.gather()


def test_keys_are_never_shown() -> None:
    net = Net()
    net.up()
    mine, _ = net.matching()
    for secret in (mine.key_in, mine.key_out, mine.salt_in, mine.salt_out):
        assert secret.reveal().hex() not in repr(mine)
        assert repr(secret.reveal()) not in repr(mine)


def test_rfc7296_2_23_1_transport_mode_through_a_nat_names_one_address() -> None:
    net = Net()
    net.nat = ("198.51.100.9", {})
    connection = net.up()
    connection.create_child()
    net.run()
    connection.rekey_child(next(iter(connection.child_sas)))
    net.run()
    made = net.of("station", ChildSaEstablished)
    assert len(made) == 3
    for one in made:
        assert one.ts_local == (TrafficSelector.host(STATION, UDP),)
        assert one.ts_remote == (TrafficSelector.host(HOST, UDP, 664),)


def test_rfc7296_2_23_1_without_a_nat_the_policy_is_offered_as_it_is() -> None:
    net = Net()
    net.up()
    (made,) = net.of("station", ChildSaEstablished)
    assert made.ts_local == (TrafficSelector.wildcard(UDP),)
    assert made.ts_remote == (TrafficSelector.wildcard(UDP, 664),)
