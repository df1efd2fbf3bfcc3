"""Tests of sw.ipsec.window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ipsec.errors import EspDroppedError, EspDropReason
from sw.ipsec.window import ReplayWindow


def take(window: ReplayWindow, number: int) -> EspDropReason | None:
    try:
        window.check(number)
    except EspDroppedError as error:
        return error.reason
    window.mark(number)
    return None


@given(
    st.integers(0, 300),
    st.lists(st.integers(0, 500), max_size=80),
)
def test_rfc4303_3_4_3_against_a_set_of_all_numbers(start: int, numbers: list[int]) -> None:
    window = ReplayWindow(esn=False, right_edge=start)
    seen = {0, start}
    edge = start
    for number in numbers:
        if number <= edge - 64:
            expected = EspDropReason.REPLAY_OLD
        elif number in seen:
            expected = EspDropReason.REPLAY_DUPLICATE
        else:
            expected = None
            seen.add(number)
            edge = max(edge, number)
        assert take(window, number) == expected
        assert window.right_edge == edge


EDGES = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.integers(0, 200),
    st.builds(lambda high, low: (high << 32) + low, st.integers(1, 5), st.integers(-100, 100)),
)


@given(EDGES, st.integers(-63, (1 << 32) - 64))
def test_rfc4303_a2_2_infers_every_number_near_the_window(edge: int, distance: int) -> None:
    number = edge + distance
    if not 0 < number < 1 << 64:
        return
    window = ReplayWindow(esn=True, right_edge=edge)
    assert window.infer(number & 0xFFFF_FFFF) == number


def test_rfc4303_a2_2_before_the_first_number_there_is_none() -> None:
    window = ReplayWindow(esn=True, right_edge=10)
    assert window.infer(0xFFFF_FFFF) < 0
    assert take(window, window.infer(0xFFFF_FFFF)) is EspDropReason.REPLAY_OLD


def test_after_the_last_number_there_is_none() -> None:
    window = ReplayWindow(esn=True, right_edge=(1 << 64) - 1)
    assert take(window, window.infer(0)) is EspDropReason.REPLAY_OLD


@given(st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF))
def test_without_esn_the_high_half_is_zero(edge: int, low: int) -> None:
    assert ReplayWindow(esn=False, right_edge=edge).infer(low) == low


def test_number_zero_is_never_taken() -> None:
    assert take(ReplayWindow(esn=True), 0) is EspDropReason.REPLAY_DUPLICATE
    assert take(ReplayWindow(esn=False, right_edge=5), 0) is EspDropReason.REPLAY_DUPLICATE


def test_checking_alone_moves_nothing() -> None:
    window = ReplayWindow(esn=True)
    window.check(1000)
    window.check(1000)
    assert window.right_edge == 0


@pytest.mark.parametrize(("esn", "edge"), [(False, 1 << 32), (True, 1 << 64), (True, -1)])
def test_right_edge_out_of_range(esn: bool, edge: int) -> None:
    with pytest.raises(ValueError, match="right edge"):
        ReplayWindow(esn=esn, right_edge=edge)


def test_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        ReplayWindow(esn=True, size=0)
