"""Tests of sw.rmcp.numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.rmcp import NUMBERS, RmcpNumbers

ANY = st.builds(RmcpNumbers, st.integers(0, 254), st.integers(0, 254))


def test_every_pair_comes_once_before_the_first_comes_again() -> None:
    seen = set()
    last_tag: dict[int, int] = {}
    numbers = RmcpNumbers(17, 200)
    for _ in range(NUMBERS):
        seen.add(numbers)
        # The NIC remembers one tag a sequence number: the next one there must differ.
        assert last_tag.get(numbers.sequence) != numbers.tag
        last_tag[numbers.sequence] = numbers.tag
        numbers = numbers.advance()
    assert len(seen) == NUMBERS == 65_025
    assert numbers == RmcpNumbers(17, 200)


@given(ANY)
def test_consecutive_messages_differ_in_both(numbers: RmcpNumbers) -> None:
    later = numbers.advance()
    assert later.tag == (numbers.tag + 1) % 255
    assert later.sequence != numbers.sequence


@given(ANY, st.integers(0, 200_000))
def test_advance_adds(numbers: RmcpNumbers, count: int) -> None:
    assert numbers.advance(count).advance() == numbers.advance(count + 1)
    assert RmcpNumbers.from_ordinal(numbers.ordinal) == numbers


@pytest.mark.parametrize(("sequence", "tag"), [(255, 0), (0, 255), (-1, 0), (0, -1)])
def test_special_numbers_are_refused(sequence: int, tag: int) -> None:
    with pytest.raises(ValueError, match="is not in 0 to 254"):
        RmcpNumbers(sequence, tag)
