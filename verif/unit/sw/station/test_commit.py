"""The commit machine: its rows one by one, and against a world that loses, repeats and crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.sa import BankState
from sw.station import commit
from sw.station import commit_words as words
from sw.station.commit import HELD_MAX, State, restore, step
from sw.station.commit_words import Phase, Sa
from verif.unit.sw.station.commit_world import (
    Nic,
    ViolationError,
    World,
    check,
    check_recovery,
    explore,
    normal,
    settled_world,
    successors,
)

OLD = Sa(1, 0x1001, used=True, proven=True)
NEW = Sa(2, 0x1002)


def drive(state: State, *events: words.Event) -> tuple[State, list[words.Action]]:
    """The state after some events, and the actions of the last one."""
    actions: list[words.Action] = []
    for event in events:
        state, actions = step(state, event)
    return state, actions


# --- the rows -----------------------------------------------------------------------------------


def test_figure_4_the_whole_way():
    state, actions = drive(restore((OLD,)), words.Established(NEW))
    assert actions == [words.Persist(NEW), words.AwaitReady(2)]
    assert state.order == (1,)
    state, actions = drive(state, words.Ready(NEW.spi))
    assert actions == [words.SendCommit(1, NEW.spi, under=1)]
    state, actions = drive(state, words.Committed(NEW.spi, ok=True, under=2))
    assert actions == [words.MarkUsed(2), words.SendStatus(2, under=2)]
    assert state.order == (1, 2)
    state, actions = drive(state, words.Status(2, 2, {OLD.spi: BankState.RETIRING}))
    assert actions == [
        words.MarkProven(2, (1,)),
        words.Settled(2, words.Outcome.PROVEN),
        words.DeleteChild(1),
    ]
    assert (state.phase, state.order) == (Phase.STEADY, (2,))


def test_first_sa_ever_is_committed_by_its_first_packet():
    state, actions = drive(State(), words.Established(NEW), words.Ready(NEW.spi))
    assert actions == [words.MarkUsed(2), words.SendStatus(1, under=2)]
    state, _ = drive(state, words.Status(1, 2, {NEW.spi: BankState.PROVEN}))
    assert state.proven == replace(NEW, used=True, proven=True)


def test_step_30_no_confirmation_falls_back_to_the_old_sa():
    heard = words.Established(NEW, heard=True)
    state, actions = drive(restore((OLD,)), heard, words.Ready(NEW.spi), words.NoAnswer(1))
    assert actions == [
        words.Discard((2,)),
        words.DeleteChild(2),
        words.Settled(2, words.Outcome.UNCONFIRMED),
    ]
    assert (state.phase, state.held) == (Phase.STEADY, (OLD,))


def test_a_silent_old_sa_gives_way_to_the_first_packet_under_the_new_one():
    state, actions = drive(
        restore((OLD,)), words.Established(NEW), words.Ready(NEW.spi), words.NoAnswer(1)
    )
    assert actions == [words.MarkUsed(2), words.SendStatus(2, under=2)]
    state, _ = drive(state, words.NoAnswer(2))
    assert state.phase is Phase.DOUBT
    assert [sa.generation for sa in state.held] == [1, 2]


@pytest.mark.parametrize(
    "event",
    [
        words.ReadyTimeout(2),
        words.ExchangeFailed(2),
        words.Committed(NEW.spi, ok=False, under=1),
    ],
)
def test_a_candidate_that_was_never_used_goes(event):
    state, _ = drive(restore((OLD,)), words.Established(NEW))
    if isinstance(event, words.Committed):
        state, _ = drive(state, words.Ready(NEW.spi))
    state, actions = drive(state, event)
    assert actions[0] == words.Discard((2,))
    assert state.held == (OLD,)


@pytest.mark.parametrize(
    "event",
    [
        words.Committed(NEW.spi, ok=True, under=1),
        words.Committed(0x9999, ok=True, under=2),
        words.Committed(NEW.spi, ok=False, under=2),
        words.NoAnswer(7),
        words.Status(1, 2, {}),
        words.Ready(NEW.spi),
        words.ReadyTimeout(2),
        words.Poll(),
    ],
)
def test_what_no_row_fits_changes_nothing_while_committing(event):
    state, _ = drive(restore((OLD,)), words.Established(NEW), words.Ready(NEW.spi))
    assert step(state, event) == (state, [])


@pytest.mark.parametrize("serial", [1, 3])
def test_an_answer_to_another_request_proves_nothing(serial):
    state, _ = drive(
        restore((OLD,)),
        words.Established(NEW),
        words.Ready(NEW.spi),
        words.Committed(NEW.spi, ok=True, under=2),
    )
    assert step(state, words.Status(serial, 2, {})) == (state, [])
    assert step(state, words.Status(2, 1, {})) == (state, [])


def test_doubt_goes_round_all_held_sas_and_believes_the_nic():
    used = replace(NEW, used=True)
    state, actions = drive(restore((OLD, used)), words.Poll())
    assert actions == [words.SendStatus(1, under=1)]
    state, actions = drive(state, words.NoAnswer(1))
    assert actions == [words.SendStatus(2, under=2)]
    state, actions = drive(state, words.NoAnswer(2))
    assert actions == []
    # The NIC rolled the new one back: it says so under the old one.
    state, actions = drive(state, words.Poll(), words.Status(3, 1, {OLD.spi: BankState.PROVEN}))
    assert actions[0] == words.Discard((2,))
    assert (state.phase, state.held) == (Phase.STEADY, (OLD,))


@pytest.mark.parametrize(
    ("bank", "action"),
    [
        (BankState.READY, words.SendCommit(2, NEW.spi, under=1)),
        (BankState.ACTIVE, words.MarkUsed(2)),
        (BankState.PROVEN, words.MarkUsed(2)),
    ],
)
def test_doubt_goes_on_where_the_nic_stands(bank, action):
    banks = {OLD.spi: BankState.PROVEN, NEW.spi: bank}
    _, actions = drive(restore((OLD, NEW)), words.Poll(), words.Status(1, 1, banks))
    assert actions[0] == action


def test_too_many_in_doubt_stop_exchanges():
    held = tuple(Sa(n, 0x1000 + n, used=True) for n in range(1, HELD_MAX))
    assert restore(held).may_exchange
    assert not restore((*held, Sa(99, 0x2000, used=True))).may_exchange


# --- against a world ----------------------------------------------------------------------------

STARTS = {
    "nothing": lambda authorised: World(Nic(authorised)),
    "settled": lambda authorised: settled_world(authorised=authorised),
}


@pytest.mark.parametrize("authorised", [False, True])
@pytest.mark.parametrize(
    ("start", "generations", "at_least"), [("nothing", 2, 5000), ("settled", 2, 1500)]
)
def test_the_last_proven_sa_is_never_lost_whatever_happens(
    start, generations, at_least, authorised
):
    """Every order of events, losses, repetitions, timers and crashes, up to so many exchanges."""
    world = STARTS[start](authorised)
    assert explore(world, generations=generations, limit=60_000, recover_each=5) >= at_least


@settings(max_examples=60, deadline=None)
@given(
    authorised=st.booleans(),
    choices=st.lists(st.integers(0, 1 << 16), min_size=20, max_size=300),
)
def test_long_walks_with_many_exchanges(authorised, choices):
    world = World(Nic(authorised))
    for choice in choices:
        # Crashes are seldom, or nothing would ever come to its end.
        options = list(successors(world, 12))
        if choice % 8 and len(options) > 1:
            options = options[1:]
        world = options[choice // 8 % len(options)][1]
        world = world if world.todo else normal(world)
        check(world)
    check_recovery(world)


def explore_all() -> None:
    """From every start."""
    for start in STARTS.values():
        for authorised in (False, True):
            explore(start(authorised), generations=2, limit=60_000)


def _committed_is_proof(state, event):
    if event.ok and state.get(state.candidate) is not None:
        return commit._proven(state, state.candidate)
    return state, []


def _give_up_what_was_used(state, event):
    if event.serial != state.serial:
        return state, []
    generation = state.candidate
    state = replace(state, held=tuple(sa for sa in state.held if sa.generation != generation))
    return commit._settle(state), [words.Discard((generation,))]


def _drop_all_that_are_not_proven(state, event):
    gone = tuple(sa.generation for sa in state.held if not sa.proven)
    state = replace(state, held=tuple(sa for sa in state.held if sa.proven))
    state, actions = commit._established(state, event)
    return state, [words.Discard(gone), *actions]


def _forget_to_mark(state, event):
    state, actions = commit._ready(state, event)
    return state, [a for a in actions if not isinstance(a, words.MarkUsed)]


def _gone_unless_proven(state, event):
    banks = {spi: b for spi, b in event.banks.items() if b is BankState.PROVEN}
    return commit._probe_answered(state, replace(event, banks=banks))


@pytest.mark.parametrize(
    ("row", "mutant"),
    [
        ((Phase.COMMITTING, words.Committed), _committed_is_proof),
        ((Phase.PROVING, words.NoAnswer), _give_up_what_was_used),
        ((Phase.DOUBT, words.Established), _drop_all_that_are_not_proven),
        ((Phase.WAIT_READY, words.Ready), _forget_to_mark),
        ((Phase.DOUBT, words.Status), _gone_unless_proven),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_exploration_rejects_each_mutant(monkeypatch, row, mutant):
    monkeypatch.setitem(commit.TABLE, row, mutant)
    with pytest.raises(ViolationError):
        explore_all()
