"""Traffic selectors: codec and narrowing."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ike import IkeError, TrafficSelector
from sw.ike.selectors import UDP, build_selectors, is_narrowing, narrow, parse_selectors
from verif.unit.sw.ike.strategies import selector_tuples, selectors

SECURE = TrafficSelector.wildcard(UDP, 664)


@given(selector_tuples)
def test_round_trip(some: tuple[TrafficSelector, ...]) -> None:
    assert parse_selectors(build_selectors(some)) == some


@given(st.binary(max_size=120))
def test_arbitrary_octets_raise_only_the_named_error(data: bytes) -> None:
    with contextlib.suppress(IkeError):
        parse_selectors(data)


@given(selector_tuples, st.data())
def test_cut_short(some: tuple[TrafficSelector, ...], data: st.DataObject) -> None:
    octets = build_selectors(some)
    with pytest.raises(IkeError):
        parse_selectors(octets[: data.draw(st.integers(0, len(octets) - 1))])


def test_rfc7296_3_13_1_octets() -> None:
    octets = build_selectors([TrafficSelector.host("192.0.2.7", UDP, 664)])
    assert octets.hex() == "010000000711001002980298c0000207c0000207"


def test_unknown_type_is_left_out() -> None:
    known = build_selectors([SECURE])
    unknown = bytes.fromhex("0911000800000000")
    assert parse_selectors(b"\x02\0\0\0" + unknown + known[4:]) == (SECURE,)


@given(selectors(), selectors())
def test_intersection_lies_in_both(one: TrafficSelector, two: TrafficSelector) -> None:
    both = one.intersect(two)
    if both is not None:
        assert one.contains(both)
        assert two.contains(both)
        assert two.intersect(one) == both


@given(selectors())
def test_a_selector_contains_itself(one: TrafficSelector) -> None:
    assert one.contains(one)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        (TrafficSelector.wildcard(), SECURE),
        (TrafficSelector.wildcard(UDP), SECURE),
        (TrafficSelector.host("192.0.2.7", UDP), TrafficSelector.host("192.0.2.7", UDP, 664)),
        (
            TrafficSelector(0, 600, 700, IPv4Address("10.0.0.0"), IPv4Address("10.255.255.255")),
            TrafficSelector(17, 664, 664, IPv4Address("10.0.0.0"), IPv4Address("10.255.255.255")),
        ),
        (TrafficSelector.wildcard(6, 664), None),
        (TrafficSelector.wildcard(UDP, 623), None),
        (TrafficSelector.wildcard(UDP, 664, version=6), None),
    ],
)
def test_rfc7296_2_9_narrowing(offered: TrafficSelector, expected: TrafficSelector | None) -> None:
    assert narrow([offered], [SECURE]) == (() if expected is None else (expected,))


def test_narrowing_leaves_doubles_out() -> None:
    assert narrow([SECURE, SECURE], [TrafficSelector.wildcard()]) == (SECURE,)


def test_rfc7296_2_9_answer_may_only_narrow() -> None:
    host = TrafficSelector.host("192.0.2.7", UDP, 664)
    assert is_narrowing([host], [SECURE])
    assert not is_narrowing([SECURE], [host])
    assert not is_narrowing([host, TrafficSelector.wildcard(UDP)], [SECURE])
    assert not is_narrowing([], [SECURE])
    upside_down = TrafficSelector(UDP, 664, 664, IPv4Address(9), IPv4Address(1))
    assert not is_narrowing([upside_down], [SECURE])
