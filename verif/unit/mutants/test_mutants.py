"""The machinery of `make mutants`: what it chooses, finds again, catches and tells."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.inbound.verdict import InboundVerdict
from hw.mgmt.alert_message import AlertMessage
from hw.mgmt.alerts import AlertSender
from hw.net.records import SenderRecords
from verif.formal.__main__ import chosen, proofs
from verif.mutants import __main__ as command
from verif.mutants import campaign, equivalence, simulator
from verif.mutants.benches import BENCHES, COMPONENTS, PACKAGES, component_of
from verif.mutants.campaign import BUILD, Fate, Mutant
from verif.mutants.netlist import (
    Mutation,
    Netlist,
    NetlistError,
    own_modules,
    rtlil_of,
    selected_by_plusarg,
)
from verif.mutants.proofs import Mutated
from verif.mutants.trial import Trial, build_simulator, design_of, tried

LINE = (
    r"mutate -mode cnot1 -module top.engine -cell $5 -port A -portbit 3 -ctrlbit 2 "
    r"-wire \$signal$7 -wirebit 3 -src hw/a.py:1 -src hw/b.py:2"
)


def test_a_line_of_the_list_is_read() -> None:
    mutation = replace(Mutation.parse(LINE), type="$eq", ordinal=4)
    assert mutation.key == "top.engine: cnot1 $eq#4 A[3] by [2]"
    assert (mutation.wire, mutation.src) == (r"\$signal$7[3]", "hw/a.py:1 hw/b.py:2")
    assert LINE.startswith(f"mutate {mutation.options()} -wire")
    with pytest.raises(NetlistError, match="not a mutation"):
        Mutation.parse("mutate -mode")


def test_the_simulator_says_which_mutant() -> None:
    ports = "  input [1:0] mutant_select;\n  wire [1:0] mutant_select;\n"
    inner = f"module x(a, mutant_select);\n{ports}\nendmodule\n"
    verilog = f"{inner}\nmodule top(a\n, mutant_select\n);\n  input a;\n{ports}\nendmodule\n"
    changed = selected_by_plusarg(verilog)
    assert inner in changed
    assert "module top(a\n\n);" in changed
    assert "  reg [1:0] mutant_select;\n  initial if (!$value$plusargs(" in changed
    with pytest.raises(NetlistError, match="no port"):
        selected_by_plusarg("\nmodule top(a);\nendmodule\n")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Netlist:
    return Netlist(rtlil_of(SenderRecords()), tmp_path_factory.mktemp("records"))


def test_choice_is_of_own_modules_and_by_seed(records: Netlist) -> None:
    own = own_modules(SenderRecords(), PACKAGES)
    assert set(own.values()) == {"hw.net.records.SenderRecords"}
    first = records.choose(20, 1, list(own))
    assert records.choose(20, 1, list(own)) == first
    assert records.choose(20, 2, list(own)) != first
    assert len({mutation.key for mutation in first}) == 20
    assert {mutation.module for mutation in first} <= set(own)
    assert not any(mutation.port.lower() == "clk" for mutation in first)
    assert not any(mutation.type == "$meminit_v2" for mutation in first)
    only = records.choose(5, 1, ["top.kept_ring"])
    assert {mutation.module for mutation in only} == {"top.kept_ring"}
    with pytest.raises(NetlistError, match="mutations, not 100000"):
        records.choose(100_000, 1, list(own))


def test_parts_of_foreign_packages_are_not_mutated() -> None:
    own = own_modules(AlertSender(), ("hw.mgmt",))
    assert own == {
        "top": "hw.mgmt.alerts.AlertSender",
        "top.message": "hw.mgmt.alert_message.AlertMessage",
    }
    assert own_modules(AlertSender(), ("hw.net",)) == {}


def test_a_mutation_is_found_where_its_component_is_alone(tmp_path: Path) -> None:
    whole = Netlist(rtlil_of(AlertSender()), tmp_path / "whole")
    alone = Netlist(rtlil_of(AlertMessage()), tmp_path / "alone")
    for mutation in whole.choose(30, 1, ["top.message"]):
        there = whole.counterpart(mutation, alone, {"top.message": "top"})
        assert there is not None, mutation.key
        assert there.module == "top"
        cells = [
            netlist.modules[m.module]["cells"][m.cell]
            for netlist, m in ((whole, mutation), (alone, there))
        ]
        assert cells[0]["parameters"] == cells[1]["parameters"]
        assert cells[0]["attributes"] == cells[1]["attributes"]
    (other,) = whole.choose(1, 1, ["top"])
    assert whole.counterpart(other, alone, {"top.message": "top"}) is None


def test_bench_catches_a_mutant_and_passes_the_unmutated_design(records: Netlist) -> None:
    bench = next(bench for bench in BENCHES if bench.name == "records")
    design = design_of(bench)
    assert isinstance(design.component, SenderRecords)
    assert own_modules(design.component, PACKAGES)
    dead, live = _mutant_of(records, "kept[0]"), _mutant_of(records, "kept[3]")
    directory = BUILD / "test" / "records"
    build_simulator(records.verilog_of_all({1: dead, 2: live}), directory, False)
    good = tried(bench, directory, 0, 0)
    assert not good.caught, good.text
    assert good.seconds > 0
    for number in (1, 2):
        trial = tried(bench, directory, number, good.seconds)
        assert trial.caught
        assert trial.text


def _mutant_of(netlist: Netlist, wire: str) -> Mutation:
    """The inversion of a register's bit."""
    name, bit = wire.rstrip("]").split("[")
    for cell, what in netlist.modules["top"]["cells"].items():
        bits = what["connections"].get("Q", [])
        wanted = netlist.modules["top"]["netnames"][name]["bits"][int(bit)]
        if what["type"] == "$dff" and wanted in bits:
            at = bits.index(wanted)
            return Mutation("inv", "top", cell, "Q", at, None, wire, "", "$dff", 0)
    raise AssertionError(f"no register {wire}")


class Absorbs(wiring.Component):
    """`o` is `a & (a | b)`, which is `a`."""

    a: In(1)
    b: In(1)
    o: Out(1)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        either = Signal()
        m.d.comb += either.eq(self.a | self.b)
        m.d.sync += self.o.eq(self.a & either)
        return m


def test_what_changes_nothing_is_proved(tmp_path: Path) -> None:
    netlist = Netlist(rtlil_of(Absorbs()), tmp_path)
    (cell,) = (n for n, c in netlist.modules["top"]["cells"].items() if c["type"] == "$or")
    nothing = Mutation("const1", "top", cell, "B", 0, None, "", "", "$or", 0)
    assert equivalence.proved(netlist, nothing).caught
    assert not equivalence.proved(netlist, replace(nothing, port="Y", mode="inv")).caught


def test_proof_is_tried_on_a_mutant(tmp_path: Path) -> None:
    (proof,) = chosen(proofs(), ["verdict.time"])
    nic = Netlist(rtlil_of(InboundVerdict()), tmp_path / "nic")
    modules = own_modules(InboundVerdict(), PACKAGES)
    mutated = Mutated(proof, nic, modules, tmp_path / "proof")
    found = {m.key: mutated.counterparts(m) for m in nic.choose(40, 1, ["top"])}
    there = [mutations for mutations in found.values() if mutations]
    assert there
    # The wrapper has two copies: a mutation of one alone would be told from the other.
    assert {len(mutations) for mutations in there} == {2}


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("print('0.00ns INFO cocotb.regression verif.cocotb.tb_a.x/y=0 passed')", 0),
        ("print('0.00ns INFO cocotb.regression tb.x passed: failed as expected')", 0),
        ("import time; print('cocotb.regression tb.x failed', flush=True); time.sleep(60)", 1),
        ("raise SystemExit(7)", 1),
        ("while True: pass", 3),
        ("import os; os.kill(os.getpid(), 15)", 4),
        ("import os; os.abort()", 1),
    ],
)
def test_simulator_ends_at_the_first_failure_or_when_time_is_over(program: str, code: int) -> None:
    environment = {**os.environ, "HOLDFAST_MUTANT": "5", "HOLDFAST_MUTANT_SECONDS": "1"}
    done = subprocess.run(
        [sys.executable, simulator.__file__, sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == code


def test_what_was_tried_is_kept_while_it_holds(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(campaign, "BUILD", tmp_path)
    kept = campaign._Trials(fresh=False)
    caught, lived = Trial(True, 1.0, "x"), Trial(False, 2.0, "")
    kept.put("d", "a", "bench", caught)
    kept.put("d", "b", "bench", lived)
    again = campaign._Trials(fresh=False)
    assert (again.get("d", "a", "bench"), again.get("d", "b", "bench")) == (caught, lived)
    assert again.get("e", "a", "bench") is None
    monkeypatch.setattr(campaign, "_hash_of_tests", lambda: "other tests")
    changed = campaign._Trials(fresh=False)
    assert changed.get("d", "a", "bench") == caught
    assert changed.get("d", "b", "bench") is None
    assert campaign._Trials(fresh=True).get("d", "a", "bench") is None


def test_comments_change_no_design() -> None:
    text = '  attribute \\src "hw/a.py:{}"\n  attribute \\keep 1\n  wire width 2 \\x\n'
    assert campaign._without_places(text.format(1)) == campaign._without_places(text.format(2))
    assert "keep" in campaign._without_places(text)


def mutants(*fates: tuple[str, str]) -> list[Mutant]:
    """One for each fate and what it is by."""
    first = replace(Mutation.parse(LINE), type="$eq")
    return [
        Mutant(number, replace(first, ordinal=number), fate=fate, by=by)
        for number, (fate, by) in enumerate(fates)
    ]


def test_score_leaves_out_what_changes_nothing() -> None:
    some = mutants(
        (Fate.CAUGHT, "sad"),
        (Fate.CAUGHT, "engine.once"),
        (Fate.EQUIVALENT, ""),
        (Fate.SURVIVED, ""),
    )
    assert command.score(some) == pytest.approx(2 / 3)
    assert command.score([]) == 1
    assert command.table(some).splitlines()[-1] == "| all | 4 | 1 | 1 | 1 | 1 | 66.7 % |"
    why = {some[3].mutation.key: "told"}
    said = command.report(some, why, seed=1, design="d")
    counts = [said[name] for name in ("count", "caught", "equivalent", "survived", "score")]
    assert counts == [4, 2, 1, 1, 0.6667]
    assert said["mutants"][3]["reason"] == "told"
    assert "told" in command.survivors(some, why)
    assert "NO REASON YET" in command.survivors(some, {})


@pytest.mark.parametrize(
    ("survive", "has_reason", "code"), [(0, False, 0), (1, True, 0), (1, False, 1), (2, True, 1)]
)
def test_exit_code(
    survive: int, has_reason: bool, code: int, tmp_path: Path, monkeypatch, capsys
) -> None:
    every = mutants(*[(Fate.CAUGHT, "sad")] * (20 - survive), *[(Fate.SURVIVED, "")] * survive)

    class Done:
        design = "d"

        def __init__(self, **options) -> None:
            self.every = every

        def run(self, some) -> None:
            assert some == every

    monkeypatch.setattr(command, "Campaign", Done)
    monkeypatch.setattr(command, "REPORT", tmp_path / "mutants.json")
    keys = {m.mutation.key: "told" for m in every} if has_reason else {}
    monkeypatch.setattr(command, "reasons", lambda: keys)
    assert command.main(["--component", "engine"]) == code
    assert json.loads((tmp_path / "mutants.json").read_text())["survived"] == survive
    assert ("without a reason" in capsys.readouterr().err) == bool(survive and not has_reason)


@pytest.mark.parametrize(
    "arguments", [["--count", "0"], ["--jobs", "0"], ["--seed", "-1"], ["--component", "nobody"]]
)
def test_wrong_arguments(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert arguments[1] in capsys.readouterr().err


def test_each_bench_names_a_place_in_the_nic() -> None:
    names = [bench.name for bench in BENCHES]
    assert len(set(names)) == len(names)
    for bench in BENCHES:
        for path in bench.paths:
            assert path == "top" or component_of(path) in COMPONENTS


def test_reasons_are_told() -> None:
    assert all(text.strip() for text in command.reasons().values())
