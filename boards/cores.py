"""Synthesis, place and route of single cores, each alone in an LFE5U-25F of speed grade 6.

    python -m boards.cores [CORE ...] [--seed N] [--mhz F] [--list]

Without names it does all cores, one after the other. It prints a table and writes it to
`build/cores.json`, with the versions of the tools; each core's files are below `build/cores/`.

Ports are registered by a scan chain around the core, so that no path of a pin counts. What the
chain itself takes is found in the netlist by the names of its signals, and taken off.

Exit codes: 0 all cores were built; 1 one of them was not, or is not there; 2 wrong arguments. A
core that misses its clock is no error: the table says what it reached.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from amaranth.build import Clock as ClockConstraint
from amaranth.build import Pins, Resource
from amaranth.hdl import Elaboratable, Module, Signal, Value
from amaranth.lib import io, wiring
from amaranth.vendor import LatticeECP5Platform

from boards.ecp5 import BuildError, Clock, Ecp5Build, report_of

__all__ = [
    "CORES",
    "Core",
    "ScanChain",
    "chain_cells",
    "component_of",
    "figures_of",
    "main",
    "table",
]

ROOT = Path(__file__).resolve().parents[1]
SEED = 1
MHZ = 125.0
NEXTPNR_OPTIONS = ("--25k", "--package", "CABGA256", "--speed", "6")
RESET = "cd_sync."
"""Where the platform releases the reset of the chip, in two registers."""
CHAIN = "scan_"
"""How the names of the chain's own signals begin."""


@dataclass(frozen=True, slots=True)
class Core:
    """A core, and how fast it works by its contract.

    Parameters
    ----------
    name : str
        As the table shows it.
    path : str
        `module:Class`.
    octets, cycles : int
        So many octets are done in so many cycles, when one follows the other without a pause.
    parameters : dict
        Keyword arguments of the class.
    """

    name: str
    path: str
    octets: int
    cycles: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


CORES = (
    # A request at most every 16 cycles.
    Core("aes", "hw.crypto.aes:AesCore", 16, 16),
    # An octet a cycle.
    Core("ghash", "hw.crypto.ghash:Ghash", 1, 1),
    Core("cipher", "hw.crypto.cipher:CipherUnit", 1, 1, {"slots": 4}),
    # A block of 64 octets each 68 cycles; n lanes do n blocks at a time.
    Core("sha256", "hw.crypto.sha256:Sha256Core", 64, 68),
    Core("hmac-1", "hw.crypto.hmac:HmacUnit", 64, 68, {"lanes": 1}),
    Core("hmac-2", "hw.crypto.hmac:HmacUnit", 128, 68, {"lanes": 2}),
    Core("hmac-4", "hw.crypto.hmac:HmacUnit", 256, 68, {"lanes": 4}),
    Core("hmac-8", "hw.crypto.hmac:HmacUnit", 512, 68, {"lanes": 8}),
    Core("window", "hw.ipsec.window:ReplayWindow", 0, 1),
)


class Platform(LatticeECP5Platform):
    """The chip with a clock and two pins."""

    device = "LFE5U-25F"
    package = "BG256"
    speed = "6"
    default_clk = "clk"
    connectors = ()
    resources: ClassVar[list[Resource]] = []

    def __init__(self, mhz: float) -> None:
        self.resources = [
            Resource("clk", 0, Pins("P6", dir="i"), ClockConstraint(mhz * 1e6)),
            Resource("scan_in", 0, Pins("R15", dir="i")),
            Resource("scan_out", 0, Pins("T14", dir="o")),
        ]
        super().__init__()


def _ports(component: wiring.Component) -> tuple[list[Value], list[Value]]:
    """Inputs and outputs of a component, all members of all its interfaces."""
    inputs: list[Value] = []
    outputs: list[Value] = []
    for _, member, value in component.signature.flatten(component):
        (inputs if member.flow is wiring.In else outputs).append(Value.cast(value))
    return inputs, outputs


class ScanChain(Elaboratable):
    """A core whose inputs come from, and whose outputs go to, registers in two long chains.

    Every input depends on the pin, and the pin depends on every output, so that nothing of the core
    is optimised away.
    """

    def __init__(self, core: wiring.Component) -> None:
        self.core = core

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.core = self.core
        inputs, outputs = _ports(self.core)
        pin_in = Signal(name="pin_in")
        pin_out = Signal(name=f"{CHAIN}pin_out", attrs={"keep": 1})
        if platform is not None:
            m.submodules.pin_in = buffer_in = io.Buffer("i", platform.request("scan_in", dir="-"))
            m.submodules.pin_out = buffer_out = io.Buffer(
                "o", platform.request("scan_out", dir="-")
            )
            m.d.comb += [pin_in.eq(buffer_in.i), buffer_out.o.eq(pin_out)]
        # `keep`: else the signals take the names of the ports.
        source = Signal(max(1, sum(map(len, inputs))), name=f"{CHAIN}source", attrs={"keep": 1})
        m.d.sync += source.eq((source << 1) | pin_in)
        offset = 0
        for port in inputs:
            m.d.comb += port.eq(source[offset : offset + len(port)])
            offset += len(port)
        width = sum(map(len, outputs))
        caught = Signal(width, name=f"{CHAIN}caught")
        chain = Signal(width, name=f"{CHAIN}chain")
        offset = 0
        for port in outputs:
            m.d.sync += caught[offset : offset + len(port)].eq(port)
            offset += len(port)
        m.d.sync += [chain.eq((chain << 1) ^ caught), pin_out.eq(chain[-1])]
        return m


def component_of(core: Core) -> wiring.Component:
    """Makes the component.

    Raises
    ------
    BuildError
        If there is no such module or class, or it does not take the parameters.
    """
    module_name, _, class_name = core.path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise BuildError(f"{core.name}: there is no module {module_name}") from error
    made = getattr(module, class_name, None)
    if made is None:
        raise BuildError(f"{core.name}: {module_name} has no class {class_name or '(none named)'}")
    try:
        component = made(**core.parameters)
    except (TypeError, ValueError) as error:
        raise BuildError(f"{core.name}: {class_name} refuses its parameters: {error}") from error
    if not isinstance(component, wiring.Component):
        raise BuildError(f"{core.name}: {core.path} is no component")
    return component


def chain_cells(netlist: Mapping[str, Any], top: str = "top") -> tuple[int, int]:
    """LUT4 and registers that the scan chain and the chip's reset take.

    Parameters
    ----------
    netlist
        As `Ecp5Build.synthesise` leaves it.
    top
        The module.
    """
    module = netlist["modules"][top]
    own: dict[int, str] = {}
    for name, entry in module["netnames"].items():
        plain = name.rpartition(".")[2]
        if plain.startswith(CHAIN) or name.startswith(RESET):
            own |= {bit: plain for bit in entry["bits"] if isinstance(bit, int)}
    registers = [
        (own[bit], cell["connections"].get("DI", [None])[0])
        for cell in module["cells"].values()
        if cell["type"] == "TRELLIS_FF" and (bit := cell["connections"]["Q"][0]) in own
    ]
    made_by_lut = {
        cell["connections"]["Z"][0]
        for cell in module["cells"].values()
        if cell["type"] == "LUT4" and cell["connections"].get("Z")
    }
    ends = f"{CHAIN}chain"
    luts = sum(name == ends and before in made_by_lut for name, before in registers)
    return luts, len(registers)


def figures_of(core: Core, report: Mapping[str, Any], chain: tuple[int, int]) -> dict[str, Any]:
    """What the table shows of a core."""
    (clock,) = report["clocks"]
    luts = report["lut4"] - chain[0]
    mbit = 8 * core.octets * clock["fmax_mhz"] / core.cycles
    return {
        **asdict(core),
        "seed": report["seed"],
        "lut4": luts,
        "ff": report["ff"] - chain[1],
        "dp16kd": report["dp16kd"],
        "chain": {"lut4": chain[0], "ff": chain[1]},
        "fmax_mhz": clock["fmax_mhz"],
        "constraint_mhz": clock["constraint_mhz"],
        "worst_path": clock["worst_path"],
        "mbit_per_s": round(mbit, 1),
        "mbit_per_s_per_1000_lut4": round(1000 * mbit / luts, 1) if luts else None,
        "tools": report["tools"],
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as text; a row with an `error` says just that."""
    lines = [
        f"{'core':<10} {'LUT4':>6} {'FF':>6} {'DP16KD':>6} {'Fmax MHz':>9} "
        f"{'cycles/octets':>14} {'Mbit/s':>8} {'per 1000 LUT4':>14}"
    ]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['name']:<10} {row['error']}")
            continue
        works = bool(row["octets"])
        rate = f"{row['cycles']}/{row['octets']}" if works else "-"
        lines.append(
            f"{row['name']:<10} {row['lut4']:>6} {row['ff']:>6} {row['dp16kd']:>6} "
            f"{row['fmax_mhz']:>9.1f} {rate:>14} "
            f"{row['mbit_per_s'] if works else '-':>8} "
            f"{row['mbit_per_s_per_1000_lut4'] if works else '-':>14}"
        )
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, flush=True)


def _measure(core: Core, *, seed: int, mhz: float) -> dict[str, Any]:
    component = component_of(core)
    build = Ecp5Build(ROOT / "build" / "cores" / core.name, seed, _say)
    build.elaborate(Platform(mhz), ScanChain(component))
    build.synthesise()
    chain = chain_cells(json.loads((build.directory / "top.json").read_text()))
    build.place_and_route(NEXTPNR_OPTIONS)
    report = report_of(build, (Clock("clk", "clk", mhz),), build.pack())
    return figures_of(core, report, chain)


def main(arguments: Sequence[str] | None = None) -> int:
    """Builds the cores that `arguments` name, and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m boards.cores", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [core.name for core in CORES]
    parser.add_argument("core", nargs="*", help=f"one of {', '.join(names)}; all by default")
    parser.add_argument("--seed", type=int, default=SEED, help="of place and route (default 1)")
    parser.add_argument("--mhz", type=float, default=MHZ, help="clock to aim at (default 125)")
    parser.add_argument("--list", action="store_true", help="list the cores, and build none")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.core if name not in names]:
        parser.error(f"no core is called {', '.join(unknown)}; there are {', '.join(names)}")
    if not 1 <= chosen.mhz <= 500:
        parser.error(f"--mhz must be from 1 to 500, not {chosen.mhz:g}")
    if chosen.list:
        for core in CORES:
            _say(f"{core.name:<10} {core.path} {dict(core.parameters) or ''}".rstrip())
        return 0
    rows: list[dict[str, Any]] = []
    for core in [core for core in CORES if core.name in (chosen.core or names)]:
        _say(f"-- {core.name}: {core.path}")
        try:
            rows.append(_measure(core, seed=chosen.seed, mhz=chosen.mhz))
        except BuildError as error:
            rows.append({"name": core.name, "path": core.path, "error": str(error)})
            print(f"cores: {error}", file=sys.stderr)
    out = ROOT / "build" / "cores.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(rows, indent=2) + "\n")
    _say(table(rows))
    _say("figures in build/cores.json")
    return int(any("error" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
