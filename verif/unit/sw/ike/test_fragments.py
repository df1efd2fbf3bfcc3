"""Messages in fragments: octets by hand, both directions, loss, forgery and bounds."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib import ikev2 as dissector

from sw.ike import (
    Datagram,
    DropReason,
    EndpointConfig,
    ExchangeFailed,
    IkeError,
    IkePolicy,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    IkeSuite,
    Limits,
    NotifyType,
    PeerAlive,
    Secret,
)
from sw.ike.config import DATAGRAM_MIN, DATAGRAM_OVERHEAD
from sw.ike.constants import Encr
from sw.ike.crypto import AeadOpener, AeadSealer
from sw.ike.fragments import (
    FRAGMENTS_MAX,
    REASSEMBLED_MAX,
    Fragment,
    Reassembly,
    build_fragments,
    open_fragment,
)
from sw.ike.keymat import derive_ike_keys
from sw.ike.message import Header, build_clear, parse_body, parse_header, protected_part
from sw.ike.payloads import NotifyPayload, OpaquePayload, SkfPayload, build_payloads
from verif.unit.sw.ike.net import FAST, Net

KEY, SALT = bytes(range(32)), b"salt"
HEADER = Header(b"initiatr", b"respondr", 35, 1, is_initiator=True, is_response=False)
SMALL = EndpointConfig(timing=FAST, limits=Limits(datagram_octets=DATAGRAM_MIN))
LONGEST = DATAGRAM_MIN - DATAGRAM_OVERHEAD
"""Of an IKE message then."""


def payloads_of(octets: int) -> list[OpaquePayload | NotifyPayload]:
    """A chain of about so many octets."""
    return [OpaquePayload(47, random.Random(octets).randbytes(octets)), NotifyPayload(16384)]


def opened(data: bytes, opener: AeadOpener) -> Fragment:
    """Check and decrypt a fragment on the wire."""
    part = protected_part(data, parse_header(data)[1])
    assert isinstance(part, SkfPayload)
    return open_fragment(data, part, opener)


def small(suite: IkeSuite) -> EndpointConfig:
    return replace(SMALL, ike=IkePolicy((suite,)))


# --- one message --------------------------------------------------------------------------------


def test_rfc7383_2_5_octets_of_the_fragments() -> None:
    """Taken apart by hand: what is in clear, what it protects, and what lies inside."""
    sealer = AeadSealer(Encr.AES_GCM_16, KEY, SALT)
    first, inner = build_payloads(payloads_of(500))
    found = b""
    datagrams = build_fragments(HEADER, payloads_of(500), sealer, 204)
    assert len(datagrams) == 4
    for number, data in enumerate(datagrams, 1):
        assert len(data) <= 204
        assert data[16] == 53
        assert int.from_bytes(data[24:28], "big") == len(data)
        assert data[28] == (first if number == 1 else 0)
        assert data[29] == 0
        assert int.from_bytes(data[30:32], "big") == len(data) - 28
        assert data[32:36] == bytes([0, number, 0, 4])
        plain = AESGCM(KEY).decrypt(SALT + data[36:44], data[44:], data[:36])
        assert plain[-1] == 0
        found += plain[:-1]
    assert found == inner
    assert len({data[36:44] for data in datagrams}) == 4


def test_what_fits_goes_in_one_piece() -> None:
    sealer = AeadSealer(Encr.AES_GCM_16, KEY, SALT)
    for octets in (1, 100, 200, 300):
        whole = build_fragments(HEADER, payloads_of(octets), sealer, 10_000)
        assert len(whole) == 1
        assert whole[0][16] == 46
        assert build_fragments(HEADER, payloads_of(octets), sealer, len(whole[0]))[0][16] == 46
        assert len(build_fragments(HEADER, payloads_of(octets), sealer, len(whole[0]) - 1)) == 2


@pytest.mark.parametrize("suite", IkeSuite)
@pytest.mark.parametrize("limit", [LONGEST, 205, 219, 1228])
def test_each_suite_keeps_to_the_length_and_comes_together_again(
    suite: IkeSuite, limit: int
) -> None:
    keys = derive_ike_keys(suite, Secret(b"seed"), bytes(32), bytes(32), bytes(8), bytes(8))
    sealer, opener = keys.sealer(initiator=True), keys.opener(initiator=False)
    for octets in range(1000, 1400, 7):
        chain = payloads_of(octets)
        datagrams = build_fragments(HEADER, chain, sealer, limit)
        assert max(map(len, datagrams)) <= limit
        if len(datagrams) == 1:
            continue
        reassembly = Reassembly()
        whole = None
        for data in datagrams:
            assert whole is None
            part = protected_part(data, parse_header(data)[1])
            assert isinstance(part, SkfPayload)
            whole = reassembly.add(1, open_fragment(data, part, opener))
        assert whole == build_payloads(chain)


@given(st.integers(2, 12), st.randoms(use_true_random=False))
def test_rfc7383_2_6_any_order_and_repetitions(total: int, rng: random.Random) -> None:
    parts = [Fragment(n, total, 33 if n == 1 else 0, bytes([n]) * n) for n in range(1, total + 1)]
    arriving = parts + [rng.choice(parts) for _ in range(5)]
    rng.shuffle(arriving)
    reassembly = Reassembly()
    seen: set[int] = set()
    for fragment in arriving:
        if fragment.number in seen:
            with pytest.raises(IkeError) as caught:
                reassembly.add(1, fragment)
            assert caught.value.reason is DropReason.DUPLICATE
            continue
        seen.add(fragment.number)
        whole = reassembly.add(1, fragment)
        if len(seen) == total:
            assert whole == (33, b"".join(part.octets for part in parts))
            return
        assert whole is None


def test_rfc7383_2_5_2_a_finer_division_takes_the_place_of_a_coarser_one() -> None:
    reassembly = Reassembly()
    assert reassembly.add(1, Fragment(1, 2, 33, b"old")) is None
    assert reassembly.add(1, Fragment(3, 3, 0, b"c")) is None
    with pytest.raises(IkeError) as caught:
        reassembly.add(1, Fragment(2, 2, 0, b"old"))
    assert caught.value.reason is DropReason.FRAGMENT
    assert reassembly.add(1, Fragment(1, 3, 33, b"a")) is None
    assert reassembly.add(1, Fragment(2, 3, 0, b"b")) == (33, b"abc")


def test_fragments_of_two_messages_do_not_mix() -> None:
    reassembly = Reassembly()
    assert reassembly.add(1, Fragment(1, 2, 33, b"one")) is None
    assert reassembly.add(2, Fragment(2, 2, 0, b"two")) is None
    assert reassembly.add(2, Fragment(1, 2, 34, b"the other ")) == (34, b"the other two")


def test_memory_of_a_reassembly_is_bounded() -> None:
    reassembly = Reassembly()
    for total in (FRAGMENTS_MAX + 1, 0xFFFF):
        with pytest.raises(IkeError) as caught:
            reassembly.add(1, Fragment(1, total, 33, b"x"))
        assert caught.value.reason is DropReason.FRAGMENT
    big = REASSEMBLED_MAX // 4
    for number in (1, 2, 3, 4):
        assert reassembly.add(1, Fragment(number, 5, 33, bytes(big))) is None
    with pytest.raises(IkeError) as caught:
        reassembly.add(1, Fragment(5, 5, 0, b"x"))
    assert caught.value.reason is DropReason.FRAGMENT
    assert not reassembly._parts
    assert reassembly.add(1, Fragment(5, 5, 0, b"x")) is None


@pytest.mark.parametrize(("number", "total"), [(0, 0), (0, 2), (3, 2), (1, 0), (65535, 1)])
def test_rfc7383_2_6_numbers_that_make_no_sense(number: int, total: int) -> None:
    sealer = AeadSealer(Encr.AES_GCM_16, KEY, SALT)
    octets = 4 + 4 + 8 + 6 + 16
    head = HEADER.pack(53, octets) + bytes([41, 0]) + octets.to_bytes(2, "big")
    head += number.to_bytes(2, "big") + total.to_bytes(2, "big")
    data = head + sealer.seal(b"inner", lambda _: head)
    with pytest.raises(IkeError) as caught:
        opened(data, AeadOpener(Encr.AES_GCM_16, KEY, SALT))
    assert caught.value.reason is DropReason.MALFORMED
    assert not caught.value.authenticated


# --- exchanges ----------------------------------------------------------------------------------


def fragments(net: Net, start: int = 0) -> list[Datagram]:
    return [datagram for _, datagram in net.wire[start:] if datagram.data[16] == 53]


@pytest.mark.parametrize("suite", IkeSuite)
def test_a_whole_life_in_fragments(suite: IkeSuite) -> None:
    net = Net(station=small(suite), host=small(suite))
    connection = net.up()
    host = net.peer_connection()
    assert {who for who, d in net.wire if d.data[16] == 53} == {"station", "host"}
    old = next(iter(connection.child_sas))
    connection.rekey_child(old)
    net.run()
    net.matching()
    connection.delete_child(old)
    net.run()
    host.rekey()
    net.run()
    # A rekeyed IKE SA goes on with fragments: nobody asks again.
    start = len(net.wire)
    connection.create_child()
    net.run()
    net.matching()
    assert fragments(net, start)
    for _, datagram in net.wire[2:]:
        assert len(datagram.data) <= LONGEST
    assert net.of("station", IkeSaRekeyed)
    assert not net.of("station", ExchangeFailed)
    assert not net.station.counters
    assert not net.host.counters
    connection.close()
    net.run()
    assert net.of("host", IkeSaClosed)


def test_as_scapy_reads_them() -> None:
    net = Net(station=SMALL, host=SMALL)
    net.up()
    request = dissector.IKEv2(net.wire[0][1].data)
    assert NotifyType.IKEV2_FRAGMENTATION_SUPPORTED in [
        layer.type for layer in _layers(request) if layer.name == "IKEv2 Notify"
    ]
    found = [dissector.IKEv2(datagram.data) for datagram in fragments(net)]
    assert len(found) > 2
    for message in found:
        (fragment,) = _layers(message)
        assert fragment.name == "IKEv2 Encrypted and Authenticated Fragment"
        assert 1 <= fragment.frag_number <= fragment.frag_total
        assert (fragment.next_payload != 0) is (fragment.frag_number == 1)
        assert fragment.length == message.length - 28


def _layers(message: dissector.IKEv2) -> list:
    found, layer = [], message.payload
    while layer and layer.name not in ("NoPayload", "Raw"):
        found.append(layer)
        layer = layer.payload
    return found


@pytest.mark.parametrize("seed", range(12))
def test_lost_doubled_and_reordered(seed: int) -> None:
    rng = random.Random(seed)
    patient = replace(SMALL, timing=replace(FAST, sends=15))
    net = Net(station=patient, host=patient, seed=seed)

    def rough(_who: str, datagram: Datagram) -> list[Datagram]:
        return [datagram] * rng.choice((0, 1, 1, 1, 1, 2))

    net.filter = rough
    connection = net.connect()
    net.advance(60)
    net.filter = lambda _who, datagram: [datagram]
    net.advance(60)
    assert net.of("station", IkeSaEstablished)
    net.matching()
    assert connection.established
    connection.check_liveness()
    net.run()
    assert net.of("station", PeerAlive)


def _answered(net: Net) -> list[Datagram]:
    """A request in fragments that the host has answered; the answer is lost."""
    connection = net.up()
    connection.create_child()
    requests = [datagram for _, datagram in net.gather()]
    assert len(requests) > 1
    for datagram in requests:
        assert not net.gather()
        net.deliver("station", datagram)
    assert len(net.gather()) > 1
    assert len(net.peer_connection().child_sas) == 2
    return requests


def test_rfc7383_2_6_1_the_first_fragment_again_gets_the_answer_again() -> None:
    net = Net(station=SMALL, host=SMALL)
    requests = _answered(net)
    start = len(net.wire)
    for later in requests[1:]:
        net.deliver("station", later)
        assert not net.gather()
    net.deliver("station", requests[0])
    again = [datagram for _, datagram in net.gather()]
    assert again == [datagram for _, datagram in net.wire[start - len(again) : start]]
    assert len(net.peer_connection().child_sas) == 2
    assert set(net.host.counters) == {DropReason.DUPLICATE}
    # Forged ones get nothing.
    bad = requests[0].data[:-1] + bytes([requests[0].data[-1] ^ 1])
    net.deliver("station", requests[0]._replace(data=bad))
    assert not net.gather()


def test_rfc7383_2_5_2_an_answered_request_comes_again_in_another_division() -> None:
    net = Net(station=SMALL, host=SMALL)
    (first, *_) = _answered(net)
    sa = next(iter(net.station.connections.values())).current
    header, _ = parse_header(first.data)
    sealer = sa.keys.sealer(initiator=True)
    finer = build_fragments(header, payloads_of(300), sealer, 120)
    assert len(finer) > 3
    for data in finer[1:]:
        net.deliver("station", first._replace(data=data))
        assert not net.gather()
    net.deliver("station", first._replace(data=finer[0]))
    assert len(net.gather()) > 1
    assert len(net.peer_connection().child_sas) == 2


def test_forged_and_cut_short_at_every_octet() -> None:
    net = Net(station=SMALL, host=SMALL)
    connection = net.up()

    def attack(who: str, good: Datagram) -> list[Datagram]:
        data = good.data
        for at in range(len(data)):
            changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            for bad in (changed, data[:at]):
                net.deliver(who, good._replace(data=bad))
        return [good]

    net.filter = attack
    start = len(net.wire)
    connection.create_child()
    net.run()
    net.matching()
    assert len(fragments(net, start)) > 3
    assert len(connection.child_sas) == len(net.peer_connection().child_sas) == 2
    assert not net.of("host", IkeSaClosed)


def _without_support(datagram: Datagram) -> Datagram:
    """IKE_SA_INIT as one who has not heard of fragments sends it."""
    if datagram.data[18] != 34:
        return datagram
    header, first = parse_header(datagram.data)
    notify = NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    kept = [p for p in parse_body(datagram.data, first) if p != notify]
    return datagram._replace(data=build_clear(header, kept))


def test_rfc7383_2_3_no_fragments_to_a_peer_that_does_not_know_them() -> None:
    """A responder learns it from the request, an initiator from the response."""
    net = Net(station=SMALL, host=SMALL)
    net.connect()
    ((who, request),) = net.gather()
    net.deliver(who, _without_support(request))
    ((_, response),) = net.gather()
    assert _without_support(response) == response
    net = Net(station=SMALL, host=SMALL)
    net.connect()
    ((who, request),) = net.gather()
    net.deliver(who, request)
    ((who, response),) = net.gather()
    net.deliver(who, _without_support(response))
    ((_, auth),) = net.gather()
    assert auth.data[16] == 46
    assert len(auth.data) > LONGEST


def test_fragments_that_were_not_agreed_on_are_dropped() -> None:
    net = Net(station=SMALL, host=SMALL)
    connection = net.up()
    host = net.peer_connection()
    host.current.message_octets = 0
    connection.create_child()
    for _, datagram in net.gather():
        net.deliver("station", datagram)
    assert not net.gather()
    assert len(host.child_sas) == 1
    assert set(net.host.counters) == {DropReason.FRAGMENT}


def test_a_closed_ike_sa_holds_no_fragments() -> None:
    net = Net(station=SMALL, host=SMALL)
    connection = net.up()
    host_sa = net.peer_connection().current
    connection.create_child()
    (_, first), *_ = net.gather()
    net.deliver("station", first)
    assert host_sa._partial[False]._parts
    net.peer_connection().abandon()
    assert not host_sa._partial[False]._parts


def test_datagrams_too_short_for_a_fragment_are_refused() -> None:
    with pytest.raises(ValueError, match="256"):
        Limits(datagram_octets=255)
