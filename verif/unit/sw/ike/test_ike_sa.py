"""Message ids, retransmission and the state table."""

from __future__ import annotations

import pytest

from sw.ike import Address, DropReason, IkeError, IkeSaClosed, PeerAlive
from sw.ike.constants import ExchangeType
from sw.ike.ike_sa import REQUEST_ROWS, RESPONSE_ROWS, IkeSa, Row, State, row_for
from sw.ike.message import Header, build_clear
from sw.ike.payloads import NotifyPayload
from verif.unit.sw.ike.net import FAST, HOST, STATION, Net


def header(exchange: int, *, response: bool) -> Header:
    return Header(b"i" * 8, b"r" * 8, exchange, 0, is_initiator=True, is_response=response)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("exchange", [*ExchangeType, 33, 38, 0, 255])
@pytest.mark.parametrize("response", [False, True])
def test_missing_row_is_a_drop(state: State, exchange: int, response: bool) -> None:
    rows = RESPONSE_ROWS if response else REQUEST_ROWS
    if (state, exchange) in rows:
        assert row_for(state, header(exchange, response=response)) is rows[state, exchange]
        return
    with pytest.raises(IkeError) as caught:
        row_for(state, header(exchange, response=response))
    assert caught.value.reason is DropReason.NO_ROW


def test_nothing_but_ike_auth_and_what_it_proves_reaches_a_half_open_sa() -> None:
    rows = {e: row for (state, e), row in REQUEST_ROWS.items() if state is State.HALF_OPEN}
    assert rows == {
        ExchangeType.IKE_INTERMEDIATE: Row.INTERMEDIATE_REQUEST,
        ExchangeType.IKE_AUTH: Row.AUTH_REQUEST,
    }
    assert not any(state is State.LINGERING for state, _ in [*REQUEST_ROWS, *RESPONSE_ROWS])


def test_no_keys_before_there_are_any() -> None:
    sa = IkeSa(
        initiator=True,
        spi_i=b"i" * 8,
        spi_r=bytes(8),
        state=State.INIT_SENT,
        address=Address(HOST, 500, STATION, 500),
        timing=FAST,
    )
    with pytest.raises(RuntimeError):
        _ = sa.keys
    assert sa.retransmit(0.0) is None


def test_rfc7296_2_1_retransmissions_are_the_same_octets_with_growing_pauses() -> None:
    net = Net()
    connection = net.up()
    net.filter = lambda _who, _d: []
    net.wire.clear()
    connection.check_liveness()
    start, times = net.now, []
    while not net.of("station", IkeSaClosed):
        count = len(net.wire)
        net.advance(0.25)
        if len(net.wire) > count:
            times.append(round(net.now - start - 0.25))
    assert len({d.data for _, d in net.wire}) == 1
    assert times == [0, 1, 3, 7, 15, 23]


def test_rfc7296_2_1_request_twice_acts_once_and_gets_the_same_answer() -> None:
    net = Net()
    connection = net.up()
    connection.create_child()
    ((_, request),) = net.gather()
    net.deliver("station", request)
    ((_, first),) = net.gather()
    for _ in range(3):
        net.deliver("station", request)
        ((_, again),) = net.gather()
        assert again == first
    assert len(net.peer_connection().child_sas) == 2
    assert net.host.counters[DropReason.DUPLICATE] == 3


def test_rfc7296_2_3_old_and_future_requests_are_dropped() -> None:
    net = Net()
    connection = net.up()
    requests = []
    for _ in range(3):
        connection.check_liveness()
        ((_, request),) = net.gather()
        requests.append(request)
        net.deliver("station", request)
        net.run()
    for old in requests[:2]:
        net.deliver("station", old)
        assert not net.gather()
    assert net.host.counters[DropReason.MESSAGE_ID] == 2
    # One from the future: the host has not seen the one before.
    connection.check_liveness()
    net.gather()
    sa = connection.current
    sa.finish()
    connection.check_liveness()
    ((_, ahead),) = net.gather()
    net.deliver("station", ahead)
    assert not net.gather()
    assert net.host.counters[DropReason.MESSAGE_ID] == 3


def test_rfc7296_2_3_response_nobody_waits_for() -> None:
    net = Net()
    connection = net.up()
    connection.check_liveness()
    net.run()
    answer = net.wire[-1][1]
    for _ in range(2):
        net.deliver("host", answer)
    assert len(net.of("station", PeerAlive)) == 1
    assert net.station.counters[DropReason.MESSAGE_ID] == 2


def test_rfc7296_2_21_clear_messages_change_nothing_in_an_established_sa() -> None:
    net = Net()
    connection = net.up()
    connection.check_liveness()
    ((_, request),) = net.gather()
    sa = connection.current
    host, station = (Address(HOST, 500, STATION, 500), Address(STATION, 500, HOST, 500))
    for exchange in (34, 35, 36, 37, 99):
        for notify in (4, 7, 11, 14, 24, 44, 16384, 16390):
            for response in (False, True):
                for message_id in range(4):
                    for initiator, endpoint, path in (
                        (False, net.station, host),
                        (True, net.host, station),
                    ):
                        head = Header(sa.spi_i, sa.spi_r, exchange, message_id, initiator, response)
                        data = build_clear(head, [NotifyPayload(notify)])
                        endpoint.receive_datagram(data, path, net.now)
    assert not [d for _, d in net.gather() if d.data[18] != 34]
    net.deliver("station", request)
    net.run()
    assert net.of("station", PeerAlive)
    assert connection.established
    assert not net.of("host", IkeSaClosed)
