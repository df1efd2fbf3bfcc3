"""Tests of sw.ipsec.reservation: a crash at any point, and never a number twice."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sw.ipsec import SequenceExhaustedError, SequenceReservation, SequenceReuseError

LAST = 60


class CrashError(Exception):
    """The process dies here."""


class Store:
    """A durable counter that can die before or after its commit."""

    def __init__(self) -> None:
        self.reserved = 0
        self.dies = "never"

    def reserve(self, count: int) -> int:
        if self.dies == "before":
            raise CrashError
        first = self.reserved + 1
        self.reserved += count
        if self.dies == "after":
            raise CrashError
        return first


class Lives(RuleBasedStateMachine):
    """A station that is killed again and again, over one store."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.used: list[int] = []

    @initialize(block=st.integers(1, 9))
    def start(self, block: int) -> None:
        self.block = block
        self._boot()

    @rule()
    def send(self) -> None:
        try:
            self.used.append(self.numbers.next())
        except SequenceExhaustedError:
            assert self.store.reserved >= LAST
            assert self.numbers.remaining == 0

    @rule(count=st.integers(0, 25))
    def leap(self, count: int) -> None:
        before = self.used[-1] if self.used else 0
        if self.numbers.leap(count):
            with contextlib.suppress(SequenceExhaustedError):
                self.used.append(self.numbers.next())
                assert self.used[-1] > before + count
        else:
            assert before + count + 1 > LAST or self.store.reserved + count + 1 > LAST

    @rule(where=st.sampled_from(["before", "after"]))
    def leap_fails_and_the_process_lives_on(self, where: str) -> None:
        self.store.dies = where
        with contextlib.suppress(CrashError):
            self.numbers.leap(self.block + 1)
        self.store.dies = "never"

    @rule()
    def refill(self) -> None:
        try:
            self.numbers.refill()
        except SequenceExhaustedError:
            assert self.store.reserved >= LAST
        else:
            assert self.numbers.remaining > 0

    @rule()
    def crash_between_packets(self) -> None:
        self._boot()

    @rule(where=st.sampled_from(["before", "after"]))
    def crash_in_the_commit(self, where: str) -> None:
        self.store.dies = where
        try:
            while True:
                self.used.append(self.numbers.next())
        except (CrashError, SequenceExhaustedError):
            self._boot()

    @rule(where=st.sampled_from(["before", "after"]))
    def commit_fails_and_the_process_lives_on(self, where: str) -> None:
        self.store.dies = where
        with contextlib.suppress(CrashError, SequenceExhaustedError):
            self.used.append(self.numbers.next())
        self.store.dies = "never"

    @invariant()
    def each_number_was_used_once_in_order_and_reserved_before(self) -> None:
        assert all(a < b for a, b in zip(self.used, self.used[1:], strict=False))
        assert all(1 <= number <= min(self.store.reserved, LAST) for number in self.used)

    def _boot(self) -> None:
        self.store.dies = "never"
        self.numbers = SequenceReservation(self.store.reserve, last=LAST, block=self.block)


Lives.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase


def test_numbers_begin_with_one_and_have_no_gaps_without_a_crash() -> None:
    numbers = SequenceReservation(Store().reserve, block=4)
    assert [numbers.next() for _ in range(10)] == list(range(1, 11))


def test_store_is_asked_before_the_first_number_of_each_block() -> None:
    store = Store()
    numbers = SequenceReservation(store.reserve, block=4)
    assert store.reserved == 0
    numbers.refill()
    assert (store.reserved, numbers.remaining) == (4, 4)
    for _ in range(4):
        numbers.next()
    assert (store.reserved, numbers.remaining) == (4, 0)
    numbers.next()
    assert (store.reserved, numbers.remaining) == (8, 3)


@given(st.integers(1, 20), st.integers(1, 9))
def test_rfc4303_3_3_3_the_last_number_is_used_and_nothing_follows(last: int, block: int) -> None:
    numbers = SequenceReservation(Store().reserve, last=last, block=block)
    assert [numbers.next() for _ in range(last)] == list(range(1, last + 1))
    for _ in range(3):
        with pytest.raises(SequenceExhaustedError):
            numbers.next()
        assert numbers.remaining == 0


@pytest.mark.parametrize("sent", range(6))
@pytest.mark.parametrize("count", range(12))
def test_a_leap_skips_so_many_and_reserves_what_is_behind_them(sent: int, count: int) -> None:
    store = Store()
    numbers = SequenceReservation(store.reserve, block=4)
    for _ in range(sent):
        numbers.next()
    assert numbers.leap(count)
    assert store.reserved >= sent + count
    assert numbers.next() == sent + count + 1


def test_a_leap_after_a_restart_begins_behind_all_that_was_reserved() -> None:
    store = Store()
    store.reserved = 100
    numbers = SequenceReservation(store.reserve, block=4)
    assert numbers.leap(10)
    assert numbers.next() == 111


def test_no_leap_beyond_the_last_number() -> None:
    store = Store()
    numbers = SequenceReservation(store.reserve, last=10, block=4)
    numbers.next()
    assert not numbers.leap(9)
    assert store.reserved == 4
    assert numbers.leap(8)
    assert numbers.next() == 10


def test_a_leap_into_a_store_that_went_back_is_found_out() -> None:
    store = Store()
    numbers = SequenceReservation(store.reserve, block=4)
    numbers.next()
    store.reserved = 3
    with pytest.raises(SequenceReuseError):
        numbers.leap(10)


def test_a_store_that_went_back_is_found_out() -> None:
    store = Store()
    numbers = SequenceReservation(store.reserve, block=4)
    for _ in range(4):
        numbers.next()
    store.reserved = 3
    with pytest.raises(SequenceReuseError):
        numbers.next()
    assert numbers.remaining == 0


def test_first_number_below_one_is_refused() -> None:
    with pytest.raises(SequenceReuseError):
        SequenceReservation(lambda _count: 0).next()


def test_empty_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="block"):
        SequenceReservation(Store().reserve, block=0)
