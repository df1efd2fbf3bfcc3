"""IKE_SA_INIT: agreement, retries, NAT, and what spoofed answers may do."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from sw.ike import (
    Address,
    ChildSaEstablished,
    CloseReason,
    Datagram,
    DropReason,
    EndpointConfig,
    ExchangeFailed,
    Group,
    IkePolicy,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    IkeSuite,
    Limits,
    NotifyType,
    PeerAlive,
    host_child_policy,
    station_child_policy,
)
from sw.ike.groups import DH_GROUPS
from sw.ike.message import Header, build_clear, parse_body, parse_header
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    OpaquePayload,
    Payload,
    SaPayload,
    VendorIdPayload,
)
from verif.unit.sw.ike.net import FAST, HOST, STATION, Net, host_peer, station_peer


def config(**changes: Any) -> EndpointConfig:
    return replace(EndpointConfig(timing=FAST), **changes)


def groups(*some: Group) -> EndpointConfig:
    return config(ike=IkePolicy(groups=some))


def test_exchange_on_paper() -> None:
    """Two exchanges, four messages, and both sides hold the same keys."""
    net = Net()
    net.up()
    assert [sender for sender, _ in net.wire] == ["station", "host"] * 2
    kinds = [datagram.data[18] for _, datagram in net.wire]
    assert kinds == [34, 34, 35, 35]
    (established,) = net.of("station", IkeSaEstablished)
    assert established.peer_is_holdfast
    assert not established.encap_udp
    assert not net.station.counters
    assert not net.host.counters


def test_rfc7296_c_1_order_of_payloads() -> None:
    net = Net()
    net.up()
    for _, datagram in net.wire[:2]:
        payloads = parse_body(datagram.data, parse_header(datagram.data)[1])
        assert [type(p) for p in payloads] == [
            SaPayload,
            KePayload,
            NoncePayload,
            NotifyPayload,
            NotifyPayload,
            NotifyPayload,
            VendorIdPayload,
        ]


@pytest.mark.parametrize("group", sorted(DH_GROUPS))
@pytest.mark.parametrize("suite", IkeSuite)
def test_each_suite_with_each_group(suite: IkeSuite, group: Group) -> None:
    """All that an IKE SA does: connect, rekey a Child SA with the group, rekey itself, close."""
    net = Net(
        host=config(ike=IkePolicy((suite,), (group,))),
        peer_at_host=host_peer(child=replace(host_child_policy(), groups=(group,))),
    )
    net.station = Net(station=config(ike=IkePolicy(tuple(IkeSuite), (group,)))).station
    connection = net.up(station_peer(child=replace(station_child_policy(), groups=(group,))))
    assert connection.current.keys.suite is suite
    old = next(iter(connection.child_sas))
    connection.rekey_child(old)
    net.run()
    net.matching()
    connection.delete_child(old)
    connection.rekey()
    net.run()
    assert len(net.of("station", IkeSaRekeyed)) == len(net.of("host", IkeSaRekeyed)) == 1
    assert connection.current.keys.suite is suite
    connection.check_liveness()
    net.run()
    assert net.of("station", PeerAlive)
    assert not net.of("station", ExchangeFailed)
    connection.close()
    net.run()
    assert net.of("host", IkeSaClosed)
    assert not net.station.counters
    assert not net.host.counters


@pytest.mark.parametrize("suite", IkeSuite)
def test_each_suite_refuses_what_was_tampered_with(suite: IkeSuite) -> None:
    """Each octet of a request and of its answer, changed and cut off, and then the good ones."""
    same = config(ike=IkePolicy((suite,)))
    net = Net(station=same, host=same)
    connection = net.up()

    def attack(who: str, good: Datagram) -> list[Datagram]:
        data = good.data
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            for bad in (changed, data[:at]):
                net.deliver(who, good._replace(data=bad))
        return [good]

    net.filter = attack
    connection.rekey_child(next(iter(connection.child_sas)))
    net.run()
    net.matching()
    assert net.host.counters[DropReason.BAD_ICV] > 50
    assert net.station.counters[DropReason.BAD_ICV] > 50
    assert not net.of("host", IkeSaClosed)
    assert len(net.of("host", ChildSaEstablished)) == 2


def test_parts_of_two_suites_are_never_mixed() -> None:
    """The host has GCM with SHA-512 and CBC with SHA-256; the station has each the other way."""
    net = Net(
        station=config(
            ike=IkePolicy((IkeSuite.AES_GCM_16_256_PRF_SHA_256, IkeSuite.AES_CBC_256_HMAC_SHA_512))
        ),
        host=config(
            ike=IkePolicy((IkeSuite.AES_GCM_16_256_PRF_SHA_512, IkeSuite.AES_CBC_256_HMAC_SHA_256))
        ),
    )
    net.connect()
    net.advance(60)
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.notify == NotifyType.NO_PROPOSAL_CHOSEN


@pytest.mark.parametrize("group", sorted(DH_GROUPS - {Group.X25519}))
def test_rfc7296_1_2_invalid_ke_payload_names_any_group(group: Group) -> None:
    net = Net(station=groups(Group.X25519, *sorted(DH_GROUPS - {Group.X25519})), host=groups(group))
    net.up()
    assert [d.data[18] for _, d in net.wire] == [34] * 4 + [35] * 2
    assert int.from_bytes(net.wire[1][1].data[-2:], "big") == group


@pytest.mark.parametrize("group", sorted(DH_GROUPS))
def test_rfc6989_invalid_value_of_a_stranger_is_dropped(group: Group) -> None:
    net = Net(station=groups(group), host=groups(group))
    net.connect()
    ((_, request),) = net.gather()
    header, first = parse_header(request.data)
    payloads = list(parse_body(request.data, first))
    good = next(p for p in payloads if isinstance(p, KePayload))
    at = payloads.index(good)
    payloads[at] = KePayload(good.group, bytes(len(good.data)))
    net.deliver("station", request._replace(data=build_clear(header, payloads)))
    assert not net.gather()
    assert net.host.counters == {DropReason.UNACCEPTABLE: 1}
    assert not net.host.connections
    net.deliver("station", request)
    net.run()
    net.matching()


def test_rfc7296_2_10_nonce_of_half_the_key_of_the_prf_at_least() -> None:
    sha512 = config(ike=IkePolicy((IkeSuite.AES_GCM_16_256_PRF_SHA_512,)))
    net = Net(station=sha512, host=sha512)
    net.connect()
    ((_, request),) = net.gather()
    header, first = parse_header(request.data)
    payloads = parse_body(request.data, first)
    for octets, answered in ((31, False), (32, True)):
        nonce = NoncePayload(bytes(octets))
        short = [nonce if isinstance(p, NoncePayload) else p for p in payloads]
        net.deliver("station", request._replace(data=build_clear(header, short)))
        assert bool(net.gather()) is answered


def test_rfc7296_1_2_invalid_ke_payload_is_followed() -> None:
    net = Net(station=groups(Group.X25519, Group.P256), host=groups(Group.P256))
    net.up()
    assert [d.data[18] for _, d in net.wire] == [34] * 4 + [35] * 2
    assert len(net.wire[1][1].data) == 28 + 8 + 2
    assert int.from_bytes(net.wire[1][1].data[-2:], "big") == Group.P256


def test_rfc7296_2_6_cookie_is_sent_back_first() -> None:
    net = Net(host=config(limits=Limits(cookie_threshold=0)))
    net.up()
    assert net.host.counters == {DropReason.COOKIE_DEMANDED: 1}
    again = net.wire[2][1].data
    payloads = parse_body(again, parse_header(again)[1])
    assert isinstance(payloads[0], NotifyPayload)
    assert payloads[0].notify == NotifyType.COOKIE
    # All else is as it was (RFC 7296 2.6).
    first = net.wire[0][1].data
    assert payloads[1:] == parse_body(first, parse_header(first)[1])


def test_rfc7296_2_6_1_cookie_and_invalid_ke_together() -> None:
    net = Net(
        station=groups(Group.X25519, Group.P256),
        host=config(limits=Limits(cookie_threshold=0), ike=IkePolicy(groups=(Group.P256,))),
    )
    net.up()
    # Cookie, then group; the second try keeps the cookie.
    assert [d.data[18] for _, d in net.wire] == [34] * 6 + [35] * 2


def test_no_common_suite_ends_after_some_patience() -> None:
    net = Net(
        station=config(ike=IkePolicy((IkeSuite.AES_GCM_16_128_PRF_SHA_256,))),
        host=config(ike=IkePolicy((IkeSuite.AES_GCM_16_256_PRF_SHA_256,))),
    )
    net.connect()
    net.run()
    # RFC 7296 2.21.1: the error is not authenticated, so the initiator goes on for a while.
    assert not net.of("station", IkeSaClosed)
    net.advance(FAST.refusal_patience + 1)
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is CloseReason.REFUSED
    assert closed.notify == NotifyType.NO_PROPOSAL_CHOSEN
    assert not net.station.connections
    assert not net.host.connections


def test_no_common_group() -> None:
    net = Net(station=groups(Group.X25519), host=groups(Group.P256))
    net.connect()
    net.advance(60)
    assert net.of("station", IkeSaClosed)
    assert not net.host.connections


def _spoofed(request: Datagram, *payloads: Payload) -> Datagram:
    header = Header(request.data[:8], bytes(8), 34, 0, is_initiator=False, is_response=True)
    addr = request.addr
    back = Address(addr.local_host, addr.local_port, addr.host, addr.port)
    return Datagram(build_clear(header, list(payloads)), back)


def test_rfc7296_2_21_1_spoofed_refusal_does_not_stop_the_exchange() -> None:
    net = Net()
    net.connect()
    ((_, request),) = net.gather()
    for notify in (NotifyType.NO_PROPOSAL_CHOSEN, NotifyType.AUTHENTICATION_FAILED, 9999):
        net.deliver("host", _spoofed(request, NotifyPayload(notify)))
    net.deliver("station", request)
    net.run()
    net.matching()


@pytest.mark.parametrize("group", [0, 14, 31, 65535])
def test_spoofed_invalid_ke_with_a_useless_group_is_dropped(group: int) -> None:
    net = Net(station=groups(Group.X25519))
    net.connect()
    ((_, request),) = net.gather()
    notify = NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, group.to_bytes(2, "big"))
    net.deliver("host", _spoofed(request, notify))
    assert not net.gather()
    net.deliver("station", request)
    net.run()
    net.matching()


def test_spoofed_restarts_are_bounded() -> None:
    net = Net()
    net.connect()
    ((_, request),) = net.gather()
    for n in range(50):
        cookie = NotifyPayload(NotifyType.COOKIE, bytes([n]))
        net.deliver("host", _spoofed(request, cookie))
        net.gather()
    sent = [d for who, d in net.wire if who == "station"]
    assert len(sent) == 1 + EndpointConfig().limits.init_restarts


def test_rfc7296_2_4_forged_answer_does_not_keep_the_real_one_out() -> None:
    """A forged key exchange value leads nowhere; the genuine answer that follows wins."""
    net = Net()
    connection = net.connect()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, genuine),) = net.gather()
    at = genuine.data.index(b"\0\x1f\0\0") + 4
    forged = genuine.data[:at] + bytes(31) + b"\x09" + genuine.data[at + 32 :]
    net.deliver("host", genuine._replace(data=forged))
    assert [d.data[18] for _, d in net.gather()] == [35]
    net.deliver("host", genuine)
    net.run()
    net.matching()
    assert connection.established
    assert len(connection.sas) == 1


def test_rfc7296_2_4_tampered_answer_alone_is_outlived() -> None:
    """The genuine answer comes with the retransmission."""
    net = Net()
    net.connect()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, genuine),) = net.gather()
    at = genuine.data.index(b"\0\x1f\0\0") + 4
    forged = genuine.data[:at] + bytes(31) + b"\x09" + genuine.data[at + 32 :]
    net.deliver("host", genuine._replace(data=forged))
    net.advance(10)
    net.matching()


def test_forged_answers_are_bounded() -> None:
    net = Net()
    connection = net.connect()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, genuine),) = net.gather()
    at = genuine.data.index(b"\0\x1f\0\0") + 4
    for n in range(1, 30):
        forged = genuine.data[:at] + bytes(31) + bytes([8 + n]) + genuine.data[at + 32 :]
        net.deliver("host", genuine._replace(data=forged))
    assert len(connection.sas) == 1 + EndpointConfig().limits.candidates


def test_rfc7296_2_1_retransmitted_request_gets_the_same_answer() -> None:
    net = Net()
    net.connect()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, first),) = net.gather()
    net.deliver("station", request)
    ((_, second),) = net.gather()
    assert first == second
    assert len(net.host.connections) == 1


def test_rfc7296_2_5_unknown_critical_payload() -> None:
    net = Net()
    net.connect()
    ((_, request),) = net.gather()
    header, first = parse_header(request.data)
    payloads = parse_body(request.data, first)
    critical = OpaquePayload(222, b"?", critical=True)
    net.deliver("station", request._replace(data=build_clear(header, [*payloads, critical])))
    ((_, answer),) = net.gather()
    (notify,) = parse_body(answer.data, parse_header(answer.data)[1])
    assert notify == NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xde")
    harmless = OpaquePayload(222, b"?")
    net.deliver("station", request._replace(data=build_clear(header, [*payloads, harmless])))
    ((_, answer),) = net.gather()
    assert len(parse_body(answer.data, parse_header(answer.data)[1])) == 7


def test_rfc7296_2_23_hashes() -> None:
    net = Net()
    net.up()
    data = net.wire[0][1].data
    payloads = parse_body(data, parse_header(data)[1])
    source, destination, _ = (p for p in payloads if isinstance(p, NotifyPayload))
    spis = data[:8] + bytes(8)
    port = (500).to_bytes(2, "big")
    for notify, address in ((source, "192.0.2.1"), (destination, "192.0.2.7")):
        octets = spis + ip_address(address).packed + port
        # The RFC wants SHA-1 here, to tell a NAT, not to protect anything.
        assert notify.data == hashlib.sha1(octets, usedforsecurity=False).digest()


def test_rfc7296_2_23_nat_moves_to_port_4500() -> None:
    net = Net()
    net.nat = ("198.51.100.9", {})
    connection = net.up()
    assert connection.encap_udp
    assert connection.address == Address(HOST, 4500, STATION, 4500)
    assert net.peer_connection().address == Address("198.51.100.9", 44500, HOST, 4500)
    for who, datagram in net.wire[2:]:
        assert datagram.addr.local_port == 4500, who
        assert datagram.data[:4] == bytes(4)
        assert datagram.data[4:12] == net.wire[0][1].data[:8]
    mine, theirs = net.matching()
    assert mine.encap_udp
    assert theirs.encap_udp
    assert theirs.address.port == 44500


def test_rfc3948_4_keepalive_only_from_behind_the_nat() -> None:
    net = Net()
    net.nat = ("198.51.100.9", {})
    net.up()
    net.wire.clear()
    net.advance(65)
    assert [(who, d.data) for who, d in net.wire] == [("station", b"\xff")] * 3
    assert net.host.counters[DropReason.KEEPALIVE] == 3


def test_rfc7296_2_23_new_address_behind_the_nat_is_followed() -> None:
    net = Net()
    net.nat = ("198.51.100.9", {})
    connection = net.up()
    net.nat = ("198.51.100.9", {4500: 51234})
    connection.check_liveness()
    net.run()
    assert net.peer_connection().address.port == 51234
    assert [type(e).__name__ for e in net.events["host"]][-1] == "AddressChanged"
    # A replay from elsewhere moves nothing.
    old = net.wire[-2][1]
    net.nat = ("203.0.113.66", {4500: 666})
    net.deliver("station", old)
    assert net.peer_connection().address.port == 51234


def test_forced_encapsulation() -> None:
    net = Net(host=config(force_encap=True))
    connection = net.up()
    assert connection.encap_udp
    assert connection.address.port == 4500
    assert net.matching()[1].encap_udp


def test_hosts_must_be_numeric() -> None:
    net = Net()
    with pytest.raises(ValueError, match=r"host\.example"):
        net.station.connect(
            next(iter(net.host._shared.peers.values())), Address("host.example", 500, STATION, 500)
        )
    assert not net.station.connections


def test_nobody_answers() -> None:
    net = Net()
    net.filter = lambda _who, _datagram: []
    net.connect()
    net.advance(300)
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is CloseReason.TIMEOUT
    assert len({d.data for _, d in net.wire}) == 1
    assert len(net.wire) == FAST.sends
    assert net.station.get_timer() is None
    assert not net.of("station", ChildSaEstablished)
