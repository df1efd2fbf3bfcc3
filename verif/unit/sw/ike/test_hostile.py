"""Hostile datagrams: nothing is raised, nothing stands that should not, the next good one works."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from sw.ike import (
    Address,
    ChildSaDeleted,
    ChildSaEstablished,
    Datagram,
    EndpointConfig,
    IkeSaClosed,
    IkeSaEstablished,
    Limits,
)
from sw.ike.message import Header, build_clear
from verif.unit.sw.ike.net import FAST, HOST, STATION, Net
from verif.unit.sw.ike.strategies import chains

PATHS = {
    "station": Address(STATION, 500, HOST, 500),
    "host": Address(HOST, 500, STATION, 500),
}
ROOMY = EndpointConfig(
    timing=FAST, limits=Limits(half_open=10_000, half_open_per_host=10_000, cookie_threshold=10_000)
)


def _record() -> list[tuple[str, bytes]]:
    """Datagrams of a whole life: connect, rekey, delete, liveness, close."""
    net = Net()
    connection = net.up()
    connection.rekey_child(next(iter(connection.child_sas)))
    net.run()
    net.peer_connection().notify_ready(next(iter(net.peer_connection().child_sas)))
    net.run()
    connection.rekey()
    net.run()
    connection.delete_child(next(iter(connection.child_sas)))
    net.run()
    connection.close()
    net.run()
    return [(who, datagram.data) for who, datagram in net.wire]


RECORDED = _record()


def test_tampered_and_cut_short_at_every_octet_of_the_handshake() -> None:
    """Each octet of each of the four messages, changed and cut off: no SA comes of it.

    Both sides are fresh for each message, and see every variant of it before the good one.
    """
    for place in range(4):
        net = Net(station=ROOMY, host=ROOMY)
        net.connect()
        for _ in range(place):
            ((who, datagram),) = net.gather()
            net.deliver(who, datagram)
        ((who, good),) = net.gather()
        data = good.data
        before = {side: list(events) for side, events in net.events.items()}
        for at in range(len(data)):
            for bad in (data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :], data[:at]):
                net.deliver(who, good._replace(data=bad))
        # The answers to forged messages go nowhere.
        net.gather()
        for side, events in net.events.items():
            kinds = {type(event) for event in events[len(before[side]) :]}
            assert not kinds & {IkeSaEstablished, ChildSaEstablished}, (place, side, kinds)
        net.deliver(who, good)
        net.advance(20)
        net.matching()


def test_tampered_and_cut_short_at_every_octet_of_protected_exchanges() -> None:
    net = Net()
    connection = net.up()
    rng = random.Random(7)

    def attack(who: str, good: Datagram) -> list[Datagram]:
        data = good.data
        for at in range(len(data)):
            bad = bytearray(data)
            bad[at] ^= 1 + rng.randrange(255)
            for forged in (bytes(bad), data[:at], data + b"\0" * (1 + at % 3)):
                net.deliver(who, good._replace(data=forged))
        return [good]

    net.filter = attack
    connection.rekey_child(next(iter(connection.child_sas)))
    net.run()
    net.matching()
    net.peer_connection().notify_ready(next(iter(net.peer_connection().child_sas)))
    net.run()
    connection.rekey()
    net.run()
    connection.delete_child(next(iter(connection.child_sas)))
    net.run()
    assert connection.established
    assert len(connection.child_sas) == len(net.peer_connection().child_sas) == 1
    assert len(net.of("host", ChildSaDeleted)) == 1
    assert not net.of("host", IkeSaClosed)
    connection.close()
    net.run()
    assert net.of("host", IkeSaClosed)


def test_a_whole_recorded_life_replayed_leaves_nothing() -> None:
    net = Net(seed=500)
    connection = net.up()
    events = {side: len(found) for side, found in net.events.items()}
    for who, data in RECORDED * 3:
        receiver = net.host if who == "station" else net.station
        receiver.receive_datagram(data, PATHS[who], net.now)
    net.gather()
    assert {side: len(found) for side, found in net.events.items()} == events
    assert connection.established
    connection.check_liveness()
    net.advance(FAST.half_open + 1)
    assert len(net.host.connections) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=120), st.booleans()), max_size=30))
def test_arbitrary_datagrams(datagrams: list[tuple[bytes, bool]]) -> None:
    net = Net()
    for data, natt in datagrams:
        path = PATHS["station"]._replace(local_port=4500 if natt else 500)
        net.host.receive_datagram(data, path, net.now)
        net.station.receive_datagram(data, path, net.now)
    net.gather()
    net.up()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(chains, st.sampled_from([34, 35, 36, 37, 200]), st.integers(0, 2), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 3),
)
def test_arbitrary_well_formed_messages(messages: list[tuple], progress: int) -> None:
    """In each state of the handshake, whatever the payloads: no more than a drop."""
    net = Net(station=ROOMY, host=ROOMY)
    connection = net.connect()
    for _ in range(progress):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
    pending = net.gather()
    spi_i = connection.sas[-1].spi_i
    spi_r = connection.sas[-1].spi_r
    for payloads, exchange, message_id, response in messages:
        for other in (spi_r, bytes(8)):
            head = (spi_i, other, exchange, message_id)
            to_host = Header(*head, is_initiator=True, is_response=response)
            to_station = Header(*head, is_initiator=False, is_response=response)
            net.host.receive_datagram(build_clear(to_host, payloads), PATHS["station"], net.now)
            net.station.receive_datagram(build_clear(to_station, payloads), PATHS["host"], net.now)
    net.gather()
    for who, datagram in pending:
        net.deliver(who, datagram)
    net.advance(15)
    net.matching()
