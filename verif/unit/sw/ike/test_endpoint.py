"""The endpoint: routing, strangers, load, and the clear answers."""

from __future__ import annotations

import pytest

from sw.ike import (
    Address,
    ChildSaEstablished,
    Datagram,
    DropReason,
    EndpointConfig,
    Event,
    Identity,
    IkeEndpoint,
    IkeSaClosed,
    Limits,
    NotifyType,
)
from sw.ike.message import Header, build_clear, parse_body, parse_header
from sw.ike.payloads import NotifyPayload
from verif.unit.sw.ike.net import (
    FAST,
    HOST,
    STATION,
    STATION_ID,
    Net,
    host_peer,
    rng_of,
    station_peer,
)

FROM = Address(STATION, 500, HOST, 500)


def fresh_request(seed: int, source: str = STATION, cookie: bytes = b"") -> bytes:
    """An IKE_SA_INIT request of somebody else."""
    endpoint = IkeEndpoint(rng=rng_of(seed))
    endpoint.connect(station_peer(), Address(HOST, 500, source, 500))
    ((data, _),) = endpoint.datagrams_to_send(0.0)
    if not cookie:
        return data
    header, first = parse_header(data)
    return build_clear(header, [NotifyPayload(NotifyType.COOKIE, cookie), *parse_body(data, first)])


def answer_to(net: Net, data: bytes, addr: Address = FROM) -> list[Datagram]:
    net.host.receive_datagram(data, addr, net.now)
    return net.host.datagrams_to_send(net.now)


def notify_in(datagram: Datagram) -> NotifyPayload:
    data = datagram.data
    (payload,) = parse_body(data, parse_header(data)[1])
    assert isinstance(payload, NotifyPayload)
    return payload


def test_one_station_many_hosts() -> None:
    station = IkeEndpoint(rng=rng_of(1), config=EndpointConfig(timing=FAST))
    hosts = {}
    for n in range(40):
        address = f"192.0.2.{n + 10}"
        identity = Identity.fqdn(f"host{n}.example")
        hosts[address] = IkeEndpoint(rng=rng_of(100 + n))
        hosts[address].add_peer(host_peer(b"key%d" % n, local_identity=identity))
        peer = station_peer(b"key%d" % n, identity=identity)
        station.connect(peer, Address(address, 500, STATION, 500))
    for _ in range(4):
        for data, addr in station.datagrams_to_send(0.0):
            hosts[addr.host].receive_datagram(data, Address(STATION, 500, addr.host, 500), 0.0)
        for address, host in hosts.items():
            for data, _ in host.datagrams_to_send(0.0):
                station.receive_datagram(data, Address(address, 500, STATION, 500), 0.0)
    events: list[Event] = []
    while (event := station.next_event()) is not None:
        events.append(event)
    assert len([e for e in events if isinstance(e, ChildSaEstablished)]) == 40
    assert len({e.connection for e in events}) == 40
    assert station.get_timer() is None


def test_rfc7296_2_21_4_unknown_spi() -> None:
    net = Net()
    connection = net.up()
    net.host = Net(seed=77).host
    connection.check_liveness()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, answer),) = net.gather()
    assert notify_in(answer).notify == NotifyType.INVALID_IKE_SPI
    assert answer.data[:16] == request.data[:16]
    assert answer.data[19:24] == b"\x20" + request.data[20:24]
    # It is only a hint: the connection ends when nobody has answered (RFC 7296 2.21.4).
    net.deliver("host", answer)
    assert connection.established
    assert net.station.counters[DropReason.UNPROTECTED] == 1
    net.advance(40)
    assert net.of("station", IkeSaClosed)


def test_clear_answers_are_limited() -> None:
    net = Net()
    header = Header(b"i" * 8, b"r" * 8, 37, 0, is_initiator=True, is_response=False)
    data = build_clear(header, [])
    count = sum(len(answer_to(net, data)) for _ in range(100))
    assert count == EndpointConfig().limits.clear_notifies_per_second
    assert net.host.counters[DropReason.RATE_LIMIT] == 100 - count
    net.now += 1
    assert answer_to(net, data)


def test_no_answer_to_an_unknown_response() -> None:
    net = Net()
    for exchange in (34, 35, 36, 37):
        header = Header(b"i" * 8, b"r" * 8, exchange, 0, is_initiator=True, is_response=True)
        assert not answer_to(net, build_clear(header, []))
    assert net.host.counters[DropReason.UNKNOWN_SPI] == 4


def test_rfc7296_2_5_later_version() -> None:
    net = Net()
    data = bytearray(fresh_request(5))
    data[17] = 0x30
    (answer,) = answer_to(net, bytes(data))
    assert notify_in(answer).notify == NotifyType.INVALID_MAJOR_VERSION
    assert answer.data[17] == 0x20
    data[19] |= 0x20
    assert not answer_to(net, bytes(data))
    assert net.host.counters[DropReason.VERSION] == 2


def test_rfc7296_2_6_cookie_under_load_and_the_peer_still_gets_through() -> None:
    """Forged senders fill their part; whoever answers its cookie has a place."""
    net = Net()
    for seed in range(200):
        answer_to(net, fresh_request(seed), FROM._replace(host=f"203.0.113.{seed % 250}"))
    threshold = EndpointConfig().limits.cookie_threshold
    assert len(net.host.connections) == threshold
    assert net.host.counters[DropReason.COOKIE_DEMANDED] == 200 - threshold
    net.up()


def test_forged_requests_under_our_own_address_do_not_lock_us_out() -> None:
    net = Net()
    for seed in range(50):
        answer_to(net, fresh_request(seed))
    assert len(net.host.connections) == EndpointConfig().limits.half_open_per_host
    net.up()


def test_cookies_do_not_buy_more_than_a_few_places() -> None:
    net = Net(host=EndpointConfig(timing=FAST, limits=Limits(cookie_threshold=0)))
    for seed in range(20):
        (demand,) = answer_to(net, fresh_request(seed))
        answer_to(net, fresh_request(seed, cookie=notify_in(demand).data))
    assert len(net.host.connections) == EndpointConfig().limits.half_open_per_host
    assert net.host.counters[DropReason.HALF_OPEN_LIMIT] == 12


def test_half_open_sas_are_bounded_and_go() -> None:
    limits = Limits(cookie_threshold=0, half_open=10)
    net = Net(host=EndpointConfig(timing=FAST, limits=limits))
    for seed in range(30):
        source = f"203.0.113.{seed}"
        path = FROM._replace(host=source)
        (demand,) = answer_to(net, fresh_request(seed), path)
        answer_to(net, fresh_request(seed, cookie=notify_in(demand).data), path)
    assert len(net.host.connections) == 10
    net.advance(FAST.half_open + 1)
    assert not net.host.connections
    assert not net.host._shared.routes
    assert not net.events["host"]
    net.up()
    assert len(net.host._inits) <= 2


def test_connections_are_bounded() -> None:
    net = Net(host=EndpointConfig(timing=FAST, limits=Limits(connections=2)))
    net.up()
    net.up()
    net.connect()
    net.advance(60)
    assert len(net.of("host", ChildSaEstablished)) == 2
    assert net.host.counters[DropReason.CONNECTION_LIMIT]


def test_failed_authentication_counts_as_half_open_for_a_while() -> None:
    net = Net()
    for _ in range(20):
        net.connect(station_peer(b"wrong"))
        net.run()
    limit = 2 * EndpointConfig().limits.half_open_per_host
    assert len(net.host.connections) == limit
    net.advance(FAST.half_open + FAST.linger)
    assert not net.host.connections
    net.up()


def test_port_4500_without_marker_is_not_ike() -> None:
    net = Net()
    path = FROM._replace(local_port=4500)
    assert not answer_to(net, fresh_request(5), path)
    assert net.host.counters[DropReason.NOT_IKE] == 1
    assert not answer_to(net, b"\xff", path)
    assert net.host.counters[DropReason.KEEPALIVE] == 1
    (answer,) = answer_to(net, bytes(4) + fresh_request(5), path)
    assert answer.data[:4] == bytes(4)
    assert answer.addr == path


def test_peers_come_and_go() -> None:
    net = Net()
    net.host.remove_peer(STATION_ID)
    net.connect()
    net.run()
    assert not net.of("station", ChildSaEstablished)
    net.host.add_peer(host_peer())
    net.up()
    net.host.remove_peer(STATION_ID)
    assert net.peer_connection().established


def test_stuck_randomness_is_noticed() -> None:
    endpoint = IkeEndpoint(rng=bytes)
    with pytest.raises(RuntimeError, match="randomness"):
        endpoint.connect(station_peer(), Address(HOST, 500, STATION, 500))


def test_timer_is_exact() -> None:
    net = Net()
    net.connect()
    net.gather()
    assert net.station.get_timer() == net.now + FAST.retransmit_first
    net.station.handle_timer(net.now + FAST.retransmit_first - 0.001)
    assert not net.gather()
    net.station.handle_timer(net.now + FAST.retransmit_first)
    assert len(net.gather()) == 1
