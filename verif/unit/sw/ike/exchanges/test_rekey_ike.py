"""CREATE_CHILD_SA for the IKE SA."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest

from sw.ike import (
    ChildSaDeleted,
    EndpointConfig,
    ExchangeFailed,
    Group,
    IkePolicy,
    IkeSaClosed,
    IkeSaRekeyed,
    IkeSuite,
    NotifyType,
    PeerAlive,
    Secret,
)
from sw.ike.exchanges.sa_init import KeySource, keys_of
from sw.ike.ike_sa import State
from sw.ike.keymat import derive_ike_keys
from verif.unit.sw.ike.net import FAST, Net

SPI, NONCE = b"an SPI..", bytes(32)


def _goes_on(net: Net) -> None:
    """One IKE SA on each side, the Child SAs as they were, requests in both directions."""
    net.advance(FAST.linger + FAST.replaced + 1)
    for endpoint in (net.station, net.host):
        (connection,) = endpoint.connections.values()
        (sa,) = connection.sas
        assert sa is connection.current
        assert sa.state is State.ESTABLISHED
        assert list(endpoint._shared.routes) == [sa.local_spi]
        assert len(connection.child_sas) == 1
        connection.check_liveness()
    net.run()
    for side in ("station", "host"):
        assert len(net.of(side, PeerAlive)) == 1
        assert not net.of(side, ChildSaDeleted)
        assert not net.of(side, IkeSaClosed)


@pytest.mark.parametrize("who", ["station", "host"])
def test_rfc7296_2_18_from_either_side(who: str) -> None:
    net = Net()
    connection = net.up()
    before = connection.current.spi_i
    (connection if who == "station" else net.peer_connection()).rekey()
    net.run()
    assert connection.current.spi_i != before
    assert connection.current.initiator is (who == "station")
    # The message ids begin anew (RFC 7296 2.18).
    assert connection.current.request_id == 0
    assert [e.initiator for e in net.of(who, IkeSaRekeyed)] == [True]
    assert sum(d.data[18] == 37 for _, d in net.wire) == 2
    _goes_on(net)


def test_again_and_again_from_both_sides() -> None:
    net = Net()
    connection = net.up()
    host = net.peer_connection()
    for _ in range(5):
        connection.rekey()
        net.run()
        host.rekey()
        net.run()
    _goes_on(net)


@pytest.mark.parametrize("seed", range(6))
def test_rfc7296_2_8_2_simultaneous_rekey(seed: int) -> None:
    net = Net(seed=seed)
    connection = net.up()
    host = net.peer_connection()
    connection.rekey()
    host.rekey()
    net.run()
    assert len(net.of("station", IkeSaRekeyed)) == len(net.of("host", IkeSaRekeyed)) == 1
    assert connection.current.spi_i == host.current.spi_i
    assert connection.current.spi_r == host.current.spi_r
    _goes_on(net)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("late", ["station", "host"])
def test_rfc7296_2_8_2_simultaneous_rekey_with_one_answer_late(seed: int, late: str) -> None:
    net = Net(seed=seed)
    connection = net.up()
    host = net.peer_connection()
    connection.rekey()
    host.rekey()
    requests = net.gather()
    for sender, datagram in requests:
        net.deliver(sender, datagram)
    held = []
    for who, datagram in net.gather():
        if who == late:
            held.append((who, datagram))
        else:
            net.deliver(who, datagram)
    net.run()
    for who, datagram in held:
        net.deliver(who, datagram)
    net.advance(30)
    assert connection.current.spi_i == host.current.spi_i
    _goes_on(net)


def test_rfc7296_2_25_2_not_while_a_child_sa_is_made() -> None:
    net = Net()
    connection = net.up()
    host = net.peer_connection()
    old = next(iter(connection.child_sas))
    connection.rekey_child(old)
    host.rekey()
    net.run()
    assert not net.of("host", IkeSaRekeyed)
    net.advance(5)
    assert net.of("host", IkeSaRekeyed)
    connection.delete_child(old)
    net.run()
    events = [e for side in net.events.values() for e in side if isinstance(e, ChildSaDeleted)]
    assert len(events) == 2
    for side in net.events.values():
        side[:] = [e for e in side if not isinstance(e, ChildSaDeleted)]
    _goes_on(net)


def test_busy_for_good_is_given_up() -> None:
    net = Net(host=EndpointConfig(timing=replace(FAST, busy_tries=4)))
    connection = net.up()
    host = net.peer_connection()
    # The station's Child SA request never gets through, so it stays busy.
    net.filter = lambda who, d: (
        [] if who == "station" and d.data[18] == 36 and not d.data[19] & 32 else [d]
    )
    connection.create_child()
    host.rekey()
    net.advance(17)
    (failed,) = net.of("host", ExchangeFailed)
    assert failed.notify == NotifyType.TEMPORARY_FAILURE


def test_invalid_ke_payload_is_followed() -> None:
    net = Net(host=EndpointConfig(timing=FAST, ike=IkePolicy(groups=(Group.P256, Group.X25519))))
    net.host = Net(host=EndpointConfig(timing=FAST, ike=IkePolicy(groups=(Group.P256,)))).host
    connection = net.up()
    connection.rekey()
    net.run()
    _goes_on(net)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (IkeSuite.AES_GCM_16_128_PRF_SHA_256, IkeSuite.AES_CBC_256_HMAC_SHA_512),
        (IkeSuite.AES_CBC_192_HMAC_SHA_384, IkeSuite.CHACHA20_POLY1305_PRF_SHA_256),
    ],
)
def test_rfc7296_2_18_to_another_suite(before: IkeSuite, after: IkeSuite) -> None:
    first = EndpointConfig(timing=FAST, ike=IkePolicy((before,)))
    net = Net(station=first, host=first)
    connection = net.up()
    second = EndpointConfig(timing=FAST, ike=IkePolicy((after,)))
    for endpoint in (net.station, net.host):
        endpoint._shared.config = second
    connection.rekey()
    net.run()
    assert connection.current.keys.suite is net.peer_connection().current.keys.suite is after
    _goes_on(net)


def test_rfc7296_2_18_skeyseed_is_made_with_the_old_prf() -> None:
    """Against the formula, written out once more."""
    old = derive_ike_keys(
        IkeSuite.AES_GCM_16_128_PRF_SHA_256, Secret(b"old"), NONCE, NONCE, SPI, SPI
    )
    (proposal,) = IkePolicy((IkeSuite.AES_GCM_16_256_PRF_SHA_512,)).proposals().offer(SPI)
    source = KeySource((b"i" * 32, b"r" * 32), (SPI, b"SPIr SPI"), old)
    new = keys_of(proposal, Secret(b"g^ir"), source)
    seed = b"i" * 32 + b"r" * 32
    skeyseed = hmac.digest(old.sk_d.reveal(), b"g^ir" + seed, "sha256")
    first = hmac.digest(skeyseed, seed + SPI + b"SPIr SPI" + b"\x01", "sha512")
    assert new.sk_d.reveal() == first


def test_no_common_group_leaves_the_ike_sa() -> None:
    net = Net()
    connection = net.up()
    net.host._shared.config = EndpointConfig(
        timing=FAST, ike=IkePolicy((IkeSuite.AES_GCM_16_192_PRF_SHA_256,))
    )
    connection.rekey()
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.NO_PROPOSAL_CHOSEN
    _goes_on(net)


def test_queue_moves_to_the_new_ike_sa() -> None:
    net = Net()
    connection = net.up()
    connection.rekey()
    connection.create_child()
    net.run()
    net.matching(1)


def test_retransmission_on_the_old_ike_sa_is_still_answered() -> None:
    net = Net()
    connection = net.up()
    connection.rekey()
    lost = iter([True])
    net.filter = lambda who, d: (
        [] if who == "host" and d.data[18] == 36 and next(lost, False) else [d]
    )
    net.advance(10)
    _goes_on(net)
