"""ESP of the model against scapy, in both directions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.counters import Counter
from verif.unit.model.support import PING, PORT, Sa, datagram, nic, proven, ready, verdict_of

KEYS = {16: (bytes(range(16)), bytes(range(100, 116))), 32: (bytes(range(32)), bytes(range(9, 41)))}


@pytest.mark.parametrize("octets", [16, 32])
@pytest.mark.parametrize("esn", [False, True])
@pytest.mark.parametrize("port", [None, PORT])
def test_rfc4106_both_directions_with_scapy(octets: int, esn: bool, port: int | None) -> None:
    high = 3 << 32 if esn else 0
    key_in, key_out = KEYS[octets]
    sa = Sa(key_in=key_in, key_out=key_out, esn=esn, sequence=high + 8, tx=high + 70)
    model = nic()
    assert ready(model, sa) == 1
    for number in (high + 71, high + 72):
        (answer,) = model.wire_receive(sa.message(PING, port=port))
        assert model.message == PING
        assert verdict_of(model) is Counter.DELIVERED
        pong = sa.opened(answer, number=number, encapsulated=port is not None)
        assert pong.hex() == "0600ff06000011be40010010000011be000000000100000000000000"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_rfc4303_every_payload_comes_out_as_it_went_in(message: bytes, encapsulated: bool) -> None:
    sa, model = Sa(), nic()
    assert ready(model, sa) == 1
    model.wire_receive(sa.message(message, port=PORT if encapsulated else None))
    assert model.message == message


def test_rfc4303_3_3_3_a_counter_that_is_used_up_sends_nothing_more() -> None:
    sa, model = Sa(tx=2**32 - 2), nic()
    assert ready(model, sa) == 1
    (answer,) = model.wire_receive(sa.message(PING))
    sa.opened(answer, number=2**32 - 1)
    assert model.wire_receive(sa.message(PING)) == []
    assert verdict_of(model) is Counter.DELIVERED


def test_rfc4303_3_3_3_esn_goes_on_to_the_next_high_half() -> None:
    sa, model = Sa(esn=True, tx=2**32 - 1), nic()
    assert ready(model, sa) == 1
    (answer,) = model.wire_receive(sa.message(PING))
    sa.opened(answer, number=2**32)
    last = Sa(esn=True, tx=2**64 - 1)
    model = nic()
    assert ready(model, last) == 1
    assert model.wire_receive(last.message(PING)) == []


def test_rfc4303_3_4_3_window_moves_after_icv() -> None:
    sa, model = Sa(), nic()
    proven(model, sa)
    forged = bytearray(sa.message(PING, number=1000))
    forged[-1] ^= 1
    model.wire_receive(bytes(forged))
    assert verdict_of(model) is Counter.DROP_ICV
    model.wire_receive(sa.message(PING, number=2))
    assert verdict_of(model) is Counter.DELIVERED


def test_icv_wrong_in_any_octet() -> None:
    sa, model = Sa(), nic()
    proven(model, sa)
    good = sa.message(PING)
    for place in range(42, len(good)):  # IV, ciphertext, ICV
        bad = bytearray(good)
        bad[place] ^= 0x80
        assert model.wire_receive(bytes(bad)) == []
        assert verdict_of(model) is Counter.DROP_ICV
    model.wire_receive(good)
    assert verdict_of(model) is Counter.DELIVERED


def test_rfc4303_2_4_an_authentic_packet_refused_inside_still_uses_its_number() -> None:
    sa, model = Sa(), nic()
    assert ready(model, sa) == 1
    frame = sa.sealed(datagram(PING), protocol=6)
    model.wire_receive(frame)
    assert verdict_of(model) is Counter.DROP_NEXT_HEADER
    assert model.bus_read("SA_STATUS") & 15 == 4
    model.wire_receive(frame)
    assert verdict_of(model) is Counter.DROP_REPLAY_DUPLICATE
