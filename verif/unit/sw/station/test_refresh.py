"""When a key exchange begins: steps 20 to 22 of the seed's figure 4, and rows of its figure 6."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.host import HostState
from sw.station.refresh import View, decide

PERIOD = 3600.0
WELL = View(
    now=1000.0,
    holds_sa=True,
    answering=True,
    state=HostState.OS_UP,
    came_up=False,
    refreshed_at=900.0,
    running=False,
    too_many=False,
    retry_at=0.0,
)
times = st.floats(0, 1e6)
views = st.builds(
    View,
    now=times,
    holds_sa=st.booleans(),
    answering=st.booleans(),
    state=st.none() | st.sampled_from(HostState),
    came_up=st.booleans(),
    refreshed_at=st.none() | times,
    running=st.booleans(),
    too_many=st.booleans(),
    retry_at=times,
)
not_up = st.sampled_from([state for state in HostState if state is not HostState.OS_UP])


def test_figure_4_step_21_waits_for_the_timer() -> None:
    assert decide(WELL, PERIOD).due == 900.0 + PERIOD
    assert not decide(WELL, PERIOD).exchange
    assert not decide(replace(WELL, now=899.9 + PERIOD), PERIOD).exchange
    assert decide(replace(WELL, now=900.0 + PERIOD), PERIOD).exchange


def test_figure_6_row_2_a_host_that_came_up_is_refreshed_at_once() -> None:
    assert decide(replace(WELL, came_up=True), PERIOD).exchange


@given(views, not_up)
def test_figure_6_rows_3_to_5_a_host_that_is_not_up_is_let_be(view: View, state: HostState) -> None:
    """However old the SA is."""
    decision = decide(replace(view, holds_sa=True, answering=True, state=state), PERIOD)
    assert not decision.exchange
    assert decision.inhibited != view.running or view.too_many


@pytest.mark.parametrize("state", [None, *HostState])
def test_figure_6_row_6_without_an_sa_ike_is_tried(state: HostState | None) -> None:
    """What is not said under an SA inhibits nothing."""
    view = replace(WELL, holds_sa=False, answering=False, state=state)
    assert decide(view, PERIOD).exchange
    assert decide(replace(view, holds_sa=True), PERIOD).exchange


@given(views)
def test_at_most_one_exchange_and_none_too_early(view: View) -> None:
    decision = decide(view, PERIOD)
    if decision.exchange:
        assert not view.running
        assert not view.too_many
        assert view.retry_at <= view.now
        assert not decision.inhibited
    assert decision.reason


@given(views)
def test_it_is_never_forgotten(view: View) -> None:
    """No exchange now: one is running, it is inhibited, or the time of the next look is known."""
    decision = decide(view, PERIOD)
    if not (decision.exchange or view.running or decision.inhibited):
        assert decision.due is not None
        assert decision.due > view.now


@given(views)
def test_when_due_comes_it_begins(view: View) -> None:
    decision = decide(view, PERIOD)
    if decision.due is not None and not decision.exchange and not view.running:
        later = decide(replace(view, now=decision.due), PERIOD)
        assert later.exchange or later.due is None or later.due > decision.due
