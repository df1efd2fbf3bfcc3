"""Tests of verif.modelcheck: a short exploration, seeded bugs, and what it is made of."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verif.modelcheck import __main__ as command
from verif.modelcheck.agent import AgentSide, AgentState
from verif.modelcheck.bugs import BUGS, seeded
from verif.modelcheck.configurations import CALM, CONFIGURATIONS
from verif.modelcheck.diagram import draw
from verif.modelcheck.nic import Nic, NicState
from verif.modelcheck.numbers import ALL_SEEN, Numbers, renamed
from verif.modelcheck.properties import PROPERTIES
from verif.modelcheck.search import search
from verif.modelcheck.words import Packet
from verif.modelcheck.world import Engine


def test_the_first_sa_with_every_fault():
    found = search(CONFIGURATIONS["first"].bounds)
    assert (found.prop, found.text) == ("", "")
    assert found.complete
    assert found.states > 1000


def test_a_refresh_up_to_some_depth():
    found = search(CONFIGURATIONS["station"].bounds, depth=11)
    assert (found.prop, found.text) == ("", "")
    assert found.states > 1000


@pytest.mark.parametrize("name", ["committed-is-proof", "nic-numbers-anew", "confirm-under-old"])
def test_a_seeded_bug_is_found(name):
    bug = BUGS[name]
    with seeded(bug):
        found = search(bug.bounds, recovery=bug.recovery)
        assert found.engine is not None
        picture = draw(found.engine, found.path, found.text)
    assert found.prop == bug.prop
    assert picture.splitlines()[-1].endswith(found.text)
    assert "CREATE" not in picture
    assert "connect 2" in picture


def test_a_bug_is_taken_out_again():
    before = search(CALM, depth=5)
    for bug in BUGS.values():
        with seeded(bug):
            pass
    after = search(CALM, depth=5)
    assert (before.states, before.prop) == (after.states, after.prop)


def test_a_search_leaves_logging_as_it_was():
    log = logging.getLogger("holdfast")
    before = log.level
    search(CALM, depth=2)
    assert log.level == before


def test_every_bug_names_a_property():
    assert {bug.prop for bug in BUGS.values()} <= PROPERTIES.keys()
    assert len(BUGS) >= 10


def test_a_packet_is_sealed_opened_and_answered_by_the_real_ends():
    engine = Engine(CALM)
    world = engine.first()
    steps = dict(engine.steps(world))
    world = steps["station", "poll"]
    assert world.to_nic == (Packet(1, 2, 0, "status"),)
    label = "nic", "receives", world.to_nic[0]
    world = dict(engine.steps(world))[label]
    (answer,) = world.to_station
    assert answer.body == ("status", ((1, 4), (0, 0)), 0, 2)
    world = dict(engine.steps(world))["station", "receives", answer]
    assert engine.station(world).answering
    assert not engine.station(world).waiting


def test_an_agent_is_cut_before_ready_and_goes_on():
    side, nic = AgentSide(authorised=True), Nic()
    side.boot(nic.load(NicState(), {}))
    state, numbers = nic.read()
    agent, log = side.take(AgentState(), ("established", 1, 1), 1)
    assert agent.jobs[0][:2] == ("load", 1)
    for banks, ready in (((1, 1), []), ((1, 2), [("ready", 1)])):
        agent, log = side.take(agent, ("job",), 1, nic.load(state, numbers))
        state, numbers = nic.read()
        assert (state.banks[0], log) == (banks, ready)
    assert agent == AgentState()


@given(
    st.integers(0, 3),
    st.integers(1, 1 << 40),
    st.sets(st.integers(1, 60), max_size=4),
    st.integers(0, 20),
)
def test_numbers_counted_anew_keep_their_order(left, base, behind, right_behind):
    sent = sorted(base - one for one in behind if base > one)
    right = max(base - right_behind, 0)
    bitmap = ALL_SEEN
    for number in sent:
        if number < right:
            bitmap &= ~(1 << right - number)
    before = Numbers(1, left, base + left, 0, 0, ALL_SEEN, base, right, bitmap, 5, 5)
    after, names, _ = renamed(before, tuple(sent), ())
    assert list(names) == sorted(names)
    for number, name in zip(sent, names, strict=True):
        assert (number <= right) == (name <= after.nic_right)
        fresh = number > right or not bitmap >> right - number & 1
        again = name > after.nic_right or not after.nic_bitmap >> after.nic_right - name & 1
        assert fresh == again
    assert after.reserved - after.left >= max([after.nic_right, *names])
    assert renamed(after, names, ()) == (after, names, ())


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def report(tmp_path, monkeypatch):
    path = tmp_path / "model_check.json"
    monkeypatch.setattr(command, "REPORT", path)
    return path


def test_the_command_tells_what_it_did(report, capsys):
    words = ["--quiet", "--json", "--configuration", "first", "--bug", "keys-swapped"]
    assert command.main(words) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads(report.read_text())
    assert shown["ok"]
    assert shown["configurations"]["first"]["complete"]
    assert shown["bugs"]["keys-swapped"]["found"]


def test_a_bug_that_is_not_found_is_a_failure(report, capsys):
    assert command.main(["--quiet", "--bug", "committed-is-proof", "--depth", "2"]) == 1
    assert "NO" in capsys.readouterr().out


def test_a_counterexample_is_a_failure_and_is_drawn(report, capsys):
    with seeded(BUGS["keys-swapped"]):
        assert command.main(["--quiet", "--configuration", "station"]) == 1
    shown = capsys.readouterr().out
    assert "key VIOLATED" in shown
    assert "=> key: " in shown


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--bug", "none"], "'none' is none of"),
        (["--bounds", "exchanges"], "say NAME=VALUE"),
        (["--bounds", "exchanges=many"], "is a number"),
        (["--bounds", "crashes=1"], "is yes or no"),
    ],
)
def test_wrong_arguments(words, complaint, capsys):
    assert command.main(words) == 2
    assert complaint in capsys.readouterr().err


def test_the_list_has_everything(capsys):
    assert command.main(["--list"]) == 0
    shown = capsys.readouterr().out
    for name in (*CONFIGURATIONS, *PROPERTIES, *BUGS):
        assert name in shown
