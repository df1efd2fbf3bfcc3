"""The anti-replay window against what the RFC says of sets of numbers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spec.counters import Counter
from verif.model.window import ReplayWindow


class SetWindow:
    """The window said with a set: every number accepted so far, and the highest of them."""

    def __init__(self, right: int, esn: bool, size: int, half: int) -> None:
        self.esn, self.size, self.half = esn, size, half
        self.right = right if esn else right % half
        self.accepted = {self.right}

    def judge(self, low: int) -> tuple[int | None, Counter | None]:
        # With ESN the number meant is the lowest one with these low bits that is not left of the
        # window: the sender is never 2**32 - size ahead (RFC 4303 A2).
        left = self.right - self.size + 1
        number = left + (low - left) % self.half if self.esn else low
        if number < max(left, 0) or number >= self.half**2:
            return None, Counter.DROP_REPLAY_OLD
        if number == 0 or number in self.accepted:
            return None, Counter.DROP_REPLAY_DUPLICATE
        return number, None

    def accept(self, number: int) -> None:
        self.accepted.add(number)
        self.right = max(self.right, number)


def compare(window: ReplayWindow, by_set: SetWindow, lows: list[int]) -> None:
    for low in lows:
        number, reason = window.check(low)
        expected, expected_reason = by_set.judge(low)
        assert reason == expected_reason
        if expected is not None:
            assert number == expected
            window.accept(number)
            by_set.accept(expected)
        assert window.right == by_set.right


@settings(deadline=None)
@given(st.data(), st.booleans(), st.sampled_from([1, 2, 4, 8]))
def test_rfc4303_a2_small_windows_agree_with_sets(
    data: st.DataObject, esn: bool, size: int
) -> None:
    half_bits = 4
    half = 1 << half_bits
    right = data.draw(st.integers(0, half * half - 1))
    lows = data.draw(st.lists(st.integers(0, half - 1), max_size=60))
    compare(ReplayWindow(right, esn, size, half_bits), SetWindow(right, esn, size, half), lows)


EDGES = [0, 1, 62, 63, 64, 65, 2**31, 2**32 - 65, 2**32 - 64, 2**32 - 63, 2**32 - 2, 2**32 - 1]


@settings(deadline=None)
@given(
    st.one_of(
        st.integers(0, 2**64 - 1),
        st.builds(
            lambda high, low: high << 32 | low,
            st.sampled_from([0, 1, 2, 2**32 - 2, 2**32 - 1]),
            st.sampled_from(EDGES),
        ),
    ),
    st.booleans(),
    st.lists(
        st.one_of(
            st.integers(-70, 70).map(lambda step: ("step", step)),
            st.integers(0, 2**32 - 1).map(lambda low: ("low", low)),
        ),
        max_size=40,
    ),
)
def test_rfc4303_3_4_3_full_window_agrees_with_sets(
    right: int, esn: bool, moves: list[tuple[str, int]]
) -> None:
    window, by_set = ReplayWindow(right, esn), SetWindow(right, esn, 64, 1 << 32)
    for kind, value in moves:
        low = (window.right + value) % (1 << 32) if kind == "step" else value
        compare(window, by_set, [low])


def test_rfc4303_3_4_3_a_check_alone_moves_nothing() -> None:
    window = ReplayWindow(10, False)
    assert window.check(500) == (500, None)
    assert window.right == 10
    assert window.check(11) == (11, None)
    assert window.check(11) == (11, None)


def test_window_of_a_fresh_sa() -> None:
    window = ReplayWindow(0, False)
    assert window.check(0)[1] is Counter.DROP_REPLAY_DUPLICATE
    assert window.check(1) == (1, None)
    assert window.check(2**32 - 1) == (2**32 - 1, None)


def test_window_restored_at_a_number_takes_those_below_it_once() -> None:
    window = ReplayWindow(100, False)
    assert window.check(100)[1] is Counter.DROP_REPLAY_DUPLICATE
    assert window.check(37) == (37, None)
    assert window.check(36)[1] is Counter.DROP_REPLAY_OLD
    window.accept(37)
    assert window.check(37)[1] is Counter.DROP_REPLAY_DUPLICATE


def test_rfc4303_a2_2_no_number_before_the_first_or_after_the_last() -> None:
    assert ReplayWindow(5, True).check(2**32 - 1)[1] is Counter.DROP_REPLAY_OLD
    assert ReplayWindow(2**64 - 1, True).check(0)[1] is Counter.DROP_REPLAY_OLD


def test_rfc4303_a2_2_roll_over() -> None:
    window = ReplayWindow(2**32 - 2, True)
    assert window.check(2**32 - 1) == (2**32 - 1, None)
    assert window.check(3) == (2**32 + 3, None)
    window.accept(2**32 + 3)
    assert window.check(2**32 - 1) == (2**32 - 1, None)
