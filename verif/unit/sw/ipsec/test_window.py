"""Tests of sw.ipsec.window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ipsec.errors import DropReason, PacketDroppedError
from sw.ipsec.window import ReplayWindow


def take(window: ReplayWindow, number: int) -> DropReason | None:
    try:
        window.check(number)
    except PacketDroppedError as error:
        return error.reason
    window.mark(number)
    return None


@given(
    st.integers(0, 300),
    st.lists(st.integers(0, 500) | st.integers(0, 2000), max_size=80),
    st.sampled_from([32, 64, 100, 1024]),
)
def test_rfc4303_3_4_3_against_a_set_of_all_numbers(
    start: int, numbers: list[int], size: int
) -> None:
    window = ReplayWindow(esn=False, right_edge=start, size=size)
    seen = {0, start}
    edge = start
    for number in numbers:
        if number <= edge - size:
            expected = DropReason.REPLAY_OLD
        elif number in seen:
            expected = DropReason.REPLAY_DUPLICATE
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


@given(EDGES, st.sampled_from([32, 64, 1024]), st.data())
def test_rfc4303_a2_2_infers_every_number_near_the_window(
    edge: int, size: int, data: st.DataObject
) -> None:
    number = edge + data.draw(st.integers(1 - size, (1 << 32) - size))
    if not 0 < number < 1 << 64:
        return
    window = ReplayWindow(esn=True, right_edge=edge, size=size)
    assert window.infer(number & 0xFFFF_FFFF) == number


def test_rfc4303_a2_2_before_the_first_number_there_is_none() -> None:
    window = ReplayWindow(esn=True, right_edge=10)
    assert window.infer(0xFFFF_FFFF) < 0
    assert take(window, window.infer(0xFFFF_FFFF)) is DropReason.REPLAY_OLD


def test_after_the_last_number_there_is_none() -> None:
    window = ReplayWindow(esn=True, right_edge=(1 << 64) - 1)
    assert take(window, window.infer(0)) is DropReason.REPLAY_OLD


@given(st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF_FFFF))
def test_without_esn_the_high_half_is_zero(edge: int, low: int) -> None:
    assert ReplayWindow(esn=False, right_edge=edge).infer(low) == low


def test_number_zero_is_never_taken() -> None:
    assert take(ReplayWindow(esn=True), 0) is DropReason.REPLAY_DUPLICATE
    assert take(ReplayWindow(esn=False, right_edge=5), 0) is DropReason.REPLAY_DUPLICATE


def test_checking_alone_moves_nothing() -> None:
    window = ReplayWindow(esn=True)
    window.check(1000)
    window.check(1000)
    assert window.right_edge == 0


@pytest.mark.parametrize(("esn", "edge"), [(False, 1 << 32), (True, 1 << 64), (True, -1)])
def test_right_edge_out_of_range(esn: bool, edge: int) -> None:
    with pytest.raises(ValueError, match="right edge"):
        ReplayWindow(esn=esn, right_edge=edge)


@pytest.mark.parametrize("size", [0, 31, 1025])
def test_a_window_too_narrow_or_too_wide_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 1024"):
        ReplayWindow(esn=True, size=size)
