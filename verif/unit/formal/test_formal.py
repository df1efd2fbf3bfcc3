"""The runner of proofs: what it reads, what it says, and that the quickest proofs hold."""

import io
import json

import pytest
from amaranth.hdl import Assert, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from verif.formal import __main__ as command
from verif.formal import solver
from verif.formal.harness import Inside, Platform, Wrapper
from verif.formal.runner import (
    FormalError,
    Job,
    Mutant,
    Outcome,
    Result,
    job_text,
    outcome_of,
    run,
)

GOOD = Result("a.b", "induction", 3, 1.5, True, "a fault", True)
QUICK = ("streams.skid", "streams.arbiter", "verdict.time")
TAIL = "SBY 12:00:00 [work] DONE ({}, rc=0)\n"


@pytest.mark.parametrize(
    ("log", "outcome", "places"),
    [
        (TAIL.format("PASS"), Outcome.PASS, []),
        (TAIL.format("UNKNOWN"), Outcome.UNKNOWN, []),
        (
            "## Assert failed in top: /x/verif/formal/prove_a.py:7 (_witness_.check_1)\n" * 2
            + TAIL.format("FAIL"),
            Outcome.FAIL,
            ["verif/formal/prove_a.py:7"],
        ),
        (
            "Unreached cover statement at top: /x/verif/formal/prove_a.py:9 (check)\n"
            + TAIL.format("FAIL"),
            Outcome.FAIL,
            ["verif/formal/prove_a.py:9"],
        ),
        ("SBY killed\n", Outcome.ERROR, []),
        (TAIL.format("WHATEVER"), Outcome.ERROR, []),
        ("", Outcome.ERROR, []),
    ],
)
def test_outcome_is_read_from_the_log(log: str, outcome: Outcome, places: list[str]) -> None:
    assert outcome_of(log) == (outcome, places)


def test_job_says_mode_depth_and_what_is_skipped() -> None:
    text = job_text(Job("mutant", "bmc", 30, 12), engine="smtbmc x", memories="memory_map")
    for line in ("mode bmc", "depth 30", "skip 12", "smtbmc x", "memory_map"):
        assert line in text.splitlines()
    assert "skip" not in job_text(Job("proof", "prove", 3), engine="smtbmc x", memories="")


def test_report_has_the_agreed_fields(tmp_path) -> None:
    path = tmp_path / "formal.json"
    command.write([GOOD], path)
    (row,) = json.loads(path.read_text())["proofs"]
    assert set(row) == {"name", "method", "depth", "seconds", "ok", "mutant", "mutant_killed"}
    assert row["name"] == "a.b"


@pytest.mark.parametrize(
    ("ok", "killed", "code"), [(True, True, 0), (False, True, 1), (True, False, 1)]
)
def test_exit_code_tells_of_failed_proofs_and_living_mutants(
    ok: bool, killed: bool, code: int, tmp_path, monkeypatch, capsys
) -> None:
    result = Result("streams.skid", "induction", 2, 1.0, ok, "a fault", killed)
    monkeypatch.setattr(command, "run", lambda proof: result)
    monkeypatch.setattr(command, "write", lambda results: None)
    assert command.main(["--only", "streams.skid"]) == code
    assert ("NO" in capsys.readouterr().out) == bool(code)


def test_a_mutant_without_a_place_is_an_error(monkeypatch, capsys) -> None:
    def fails(proof):
        raise FormalError("no place")

    monkeypatch.setattr(command, "run", fails)
    assert command.main(["--only", "streams.skid"]) == 1
    assert "no place" in capsys.readouterr().err


def test_names_are_chosen_whole_or_by_their_block() -> None:
    every = command.proofs()
    assert [proof.name for proof in command.chosen(every, ["streams.skid"])] == ["streams.skid"]
    assert {p.name.split(".")[0] for p in command.chosen(every, ["streams"])} == {"streams"}
    assert command.chosen(every, []) == every
    with pytest.raises(ValueError, match="no proof is called 'stream'"):
        command.chosen(every, ["stream"])


def test_list_names_every_proof(capsys) -> None:
    assert command.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(proof.name in out for proof in command.proofs())


@pytest.mark.parametrize("proof", command.proofs(), ids=lambda proof: proof.name)
def test_each_mutant_fits_its_source(proof) -> None:
    with proof.mutant.applied():
        pass


def test_a_mutant_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(FormalError, match="0 places"), Mutant("hw.ring", "?", "!", "x").applied():
        pass


def test_solver_reads_whole_commands() -> None:
    lines = io.StringIO("(check-sat)\n\n(assert\n  (= a\n b))\n(exit)\n")
    assert list(solver.commands(lines)) == [
        "(check-sat)\n",
        "(assert\n  (= a\n b))\n",
        "(exit)\n",
    ]


class Counter4(wiring.Component):
    """Something to look into."""

    o: Out(4)
    i: In(1)

    def elaborate(self, platform):
        m = Module()
        one, other = Signal(2), Signal()
        m.d.sync += [self.o.eq(self.o + self.i), one.eq(one + 1), other.eq(1)]
        return m


def test_a_look_inside_knows_variables_and_says_what_there_is() -> None:
    inside = Inside(Counter4(), Platform())
    assert len(inside["one"]) == 2
    assert len(inside["o"]) == 4
    assert len(list(inside.registers())) == 3
    with pytest.raises(KeyError, match="no signal 'two'"):
        inside["two"]


class WrongWrapper(Wrapper):
    """States what does not hold from the third cycle on."""

    def body(self, m, platform) -> None:
        dut = Counter4()
        self.hold(m, dut)
        m.d.comb += [dut.i.eq(1), Assert(dut.o < 3)]


@pytest.mark.parametrize("name", QUICK)
def test_the_quickest_proofs(name: str) -> None:
    (proof,) = command.chosen(command.proofs(), [name])
    result = run(proof)
    assert result.ok, result.notes
    assert result.mutant_killed, result.notes


def test_a_wrong_claim_is_not_proved() -> None:
    (proof,) = command.chosen(command.proofs(), ["streams.skid"])
    wrong = type(proof)(
        **{field: getattr(proof, field) for field in proof.__slots__}
        | {"name": "test.wrong", "wrapper": WrongWrapper, "depth": 5}
    )
    result = run(wrong, parts=("proof",))
    assert not result.ok
    assert "FAIL" in result.notes[0]
