"""The whole run: mutations of the NIC, every bench on those that still live, then the proofs.

What came of a mutant under a bench is kept in build/mutants/trials.jsonl, one line each, and holds
as long as its design does; that it lived through a bench, as long as the tests do too.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from verif.cocotb.runner import ROOT, SimulationError
from verif.cocotb.test_nic import NIC
from verif.mutants import equivalence, proofs
from verif.mutants.benches import BENCHES, PACKAGES, Bench, component_of
from verif.mutants.netlist import Mutation, Netlist, own_modules, rtlil_of
from verif.mutants.trial import Trial, build_simulator, design_of, tried

__all__ = ["BUILD", "Campaign", "Fate", "Mutant"]

BUILD = ROOT / "build" / "mutants"
NOTHING = "unmutated"
TESTS = ("verif/cocotb", "verif/model", "verif/judges", "verif/fuzz", "spec")
"""What decides whether a bench catches something."""

Say = Callable[[str], None]


class Fate:
    """What can become of a mutant."""

    CAUGHT = "caught"
    EQUIVALENT = "equivalent"
    SURVIVED = "survived"


@dataclass(slots=True)
class Mutant:
    """A mutation of the NIC, its number in all netlists, and what became of it."""

    number: int
    mutation: Mutation
    fate: str = Fate.SURVIVED
    by: str = ""
    text: str = ""
    tried: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def component(self) -> str:
        """Of the NIC."""
        return component_of(self.mutation.module)

    @property
    def lives(self) -> bool:
        """Whether nothing caught it yet."""
        return self.fate == Fate.SURVIVED


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _without_places(text: str) -> str:
    """RTLIL without places in the source: comments move them, and change nothing."""
    return re.sub(r'^\s*attribute \\src ".*"\n', "", text, flags=re.MULTILINE)


def _hash_of_tests() -> str:
    files = sorted(path for folder in TESTS for path in (ROOT / folder).rglob("*.py"))
    return _hash(*(path.read_text(encoding="utf-8") for path in files))


def _try(task: tuple[int, str, int, float]) -> tuple[int, Trial]:
    """Runs in a process of its own."""
    index, directory, number, seconds = task
    return number, tried(BENCHES[index], Path(directory), number, seconds)


def _refuted(
    proof: proofs.Mutated, counterparts: Mapping[int, list[Mutation]], mutant: Mutant
) -> Trial:
    return proof.refuted(counterparts[mutant.number])


class _Trials:
    """What was tried before, and what of it still holds."""

    def __init__(self, *, fresh: bool) -> None:
        self._path = BUILD / "trials.jsonl"
        self._tests = _hash_of_tests()
        self._known: dict[tuple[str, str, str], Trial] = {}
        if fresh:
            self._path.unlink(missing_ok=True)
        if not self._path.exists():
            return
        for line in self._path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["caught"] or row["tests"] == self._tests:
                trial = Trial(row["caught"], row["seconds"], row["text"])
                self._known[row["design"], row["mutant"], row["by"]] = trial

    def get(self, design: str, mutant: str, by: str) -> Trial | None:
        """None if that was not tried, or no longer holds."""
        return self._known.get((design, mutant, by))

    def put(self, design: str, mutant: str, by: str, trial: Trial) -> None:
        """Keeps it."""
        self._known[design, mutant, by] = trial
        row = {
            "design": design,
            "tests": self._tests,
            "mutant": mutant,
            "by": by,
            "caught": trial.caught,
            "seconds": trial.seconds,
            "text": trial.text,
        }
        BUILD.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


@dataclass(slots=True)
class _Build:
    """A simulator with all mutants that its design has."""

    design: str
    directory: Path
    counterparts: dict[int, Mutation]


class Campaign:
    """Mutants of the NIC, and all that shall catch them.

    Parameters
    ----------
    seed, count : int
        Which mutations, and how many.
    jobs : int
        How many benches run at once.
    fresh : bool
        Whether what was tried before is forgotten.
    say : callable
        Told of progress, one line each.
    """

    def __init__(self, *, seed: int, count: int, jobs: int, fresh: bool, say: Say) -> None:
        self.seed = seed
        self.jobs = jobs
        self._say = say
        self._trials = _Trials(fresh=fresh)
        text = rtlil_of(NIC)
        self.design = _hash(_without_places(text))
        self.nic = Netlist(text, BUILD / "nic")
        self.modules = own_modules(NIC, PACKAGES)
        chosen = self.nic.choose(count, seed, list(self.modules))
        self.every = [Mutant(number, mutation) for number, mutation in enumerate(chosen, 1)]
        self._builds: dict[str, _Build] = {}

    # --- benches --------------------------------------------------------------------------------

    def _build(self, bench: Bench) -> _Build:
        """The simulator of a bench; compiled if that was not done before."""
        if bench.build in self._builds:
            return self._builds[bench.build]
        folder = BUILD / bench.build
        design = design_of(bench)
        text = rtlil_of(design.component)
        netlist = self.nic if bench.build == "nic" else Netlist(text, folder)
        found = {
            mutant.number: there
            for mutant in self.every
            if (there := self.nic.counterpart(mutant.mutation, netlist, bench.paths))
        }
        directory = folder / "none"
        if found:
            verilog = netlist.verilog_of_all(found)
            directory = folder / _hash(verilog, repr(design.expose))
            if not (directory / "finished").exists():
                self._say(f"compiling {bench.build} with {len(found)} mutants")
                for old in folder.glob("*/finished"):
                    shutil.rmtree(old.parent)
                build_simulator(verilog, directory, design.expose)
                (directory / "finished").touch()
        build = _Build(_hash(_without_places(text)), directory, found)
        self._builds[bench.build] = build
        return build

    def _seconds(self, index: int, build: _Build) -> float:
        """What a bench takes on the unmutated design, which must pass it."""
        bench = BENCHES[index]
        design = _hash(build.design, build.directory.name)
        known = self._trials.get(design, NOTHING, bench.name)
        if known is None:
            known = tried(bench, build.directory, 0, 0)
            if known.caught:
                raise SimulationError(f"{bench.name} fails on the unmutated design: {known.text}")
            self._trials.put(design, NOTHING, bench.name, known)
        return known.seconds

    def bench(self, index: int, mutants: Sequence[Mutant]) -> None:
        """Tries a bench on those of the mutants that live and that its design has."""
        bench = BENCHES[index]
        if not any(
            f"{m.mutation.module}.".startswith(f"{p}.") for m in mutants for p in bench.paths
        ):
            return
        build = self._build(bench)
        waiting = []
        for mutant in mutants:
            if not mutant.lives or mutant.number not in build.counterparts:
                continue
            known = self._trials.get(build.design, mutant.mutation.key, bench.name)
            if known is None:
                waiting.append(mutant)
            else:
                self._note(mutant, bench.name, known)
        if not waiting:
            return
        seconds = self._seconds(index, build)
        by_number = {mutant.number: mutant for mutant in waiting}
        tasks = [(index, str(build.directory), number, seconds) for number in by_number]
        for done, (number, trial) in enumerate(self._all(tasks), 1):
            mutant = by_number[number]
            self._trials.put(build.design, mutant.mutation.key, bench.name, trial)
            self._note(mutant, bench.name, trial)
            said = "caught" if trial.caught else "lives"
            self._say(f"{bench.name} {done}/{len(tasks)}: {number} {said}, {trial.seconds:.0f} s")

    def _all(self, tasks: Sequence[tuple[int, str, int, float]]) -> Iterator[tuple[int, Trial]]:
        if self.jobs == 1:
            yield from map(_try, tasks)
            return
        with multiprocessing.get_context("fork").Pool(self.jobs) as pool:
            yield from pool.imap_unordered(_try, tasks)

    @staticmethod
    def _note(mutant: Mutant, by: str, trial: Trial) -> None:
        mutant.tried.append(by)
        mutant.seconds += trial.seconds
        if trial.caught:
            mutant.fate, mutant.by, mutant.text = Fate.CAUGHT, by, trial.text

    # --- equivalence and proofs -----------------------------------------------------------------

    def _each(self, by: str, mutants: Sequence[Mutant], look: Callable[[Mutant], Trial]) -> None:
        for mutant in [m for m in mutants if m.lives]:
            key = mutant.mutation.key
            trial = self._trials.get(self.design, key, by)
            if trial is None:
                trial = look(mutant)
                self._trials.put(self.design, key, by, trial)
                said = trial.text or "no"
                self._say(f"{by}: {mutant.number} {said}, {trial.seconds:.0f} s")
            self._note(mutant, by, trial)
            if by == equivalence.NAME and trial.caught:
                mutant.fate = Fate.EQUIVALENT

    def equivalent(self, mutants: Sequence[Mutant]) -> None:
        """Sets those aside that change nothing, by proof."""
        self._each(equivalence.NAME, mutants, lambda m: equivalence.proved(self.nic, m.mutation))

    def prove(self, mutants: Sequence[Mutant]) -> None:
        """Tries the proofs of a mutant's component on those that live."""
        for proof in proofs.every():
            if not any(mutant.lives for mutant in mutants):
                return
            folder = BUILD / "proofs" / proof.name
            mutated = proofs.Mutated(proof, self.nic, self.modules, folder)
            found = {m.number: mutated.counterparts(m.mutation) for m in mutants if m.lives}
            fitting = [m for m in mutants if found.get(m.number)]
            self._each(proof.name, fitting, partial(_refuted, mutated, found))

    def run(self, mutants: Sequence[Mutant]) -> None:
        """All of it: quick benches, equivalence, the other benches, the proofs."""
        for index, bench in enumerate(BENCHES):
            if bench.quick:
                self.bench(index, mutants)
        self.equivalent(mutants)
        self.prove(mutants)
        for index, bench in enumerate(BENCHES):
            if not bench.quick:
                self.bench(index, mutants)
