"""Netlists: mutations chosen by Yosys, found again in another netlist, and all of them in one.

A netlist here is the RTLIL of a component with its processes made into cells. Modules and their
cells have the same names and order wherever a component is built in, but for running numbers: by
that a mutation of the whole NIC is found in the netlist of a bench or of a proof.
"""

from __future__ import annotations

import json
import random
import re
import resource
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.lib import wiring

from verif.cocotb.runner import ROOT, tool_environment

__all__ = [
    "Mutation",
    "Netlist",
    "NetlistError",
    "own_modules",
    "processor_time",
    "rtlil_of",
    "yosys",
]

SELECT = "mutant_select"
"""The signal that says which mutation is in effect: 0, none."""
SPARE = 60
"""So many mutations more are asked of Yosys than wanted, because some are left out."""
_OPERANDS = {"const0": "0", "const1": "1"}


class NetlistError(Exception):
    """Yosys failed, or said what was not expected."""


def yosys(script: str, folder: Path, *, timeout_s: float | None = None) -> None:
    """Runs a script of Yosys in a folder; raises `NetlistError` with what it said."""
    (folder / "script.ys").write_text(script, encoding="utf-8")
    environment = tool_environment()
    done = subprocess.run(
        [environment["YOSYS"], "-q", "script.ys"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise NetlistError(f"Yosys failed in {folder}:\n{done.stdout[-2000:]}")


def processor_time() -> float:
    """Seconds of this process and of those that it waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def rtlil_of(component: wiring.Component) -> str:
    """RTLIL of a component as module `top`, with places in the source that begin at the root."""
    return rtlil.convert(component, name="top", emit_src=True).replace(f"{ROOT}/", "")


def own_modules(component: Any, packages: Sequence[str]) -> dict[str, str]:
    """Names of the modules in RTLIL whose component is of one of the packages, and its class."""

    def walk(fragment: Fragment, name: str, above: str) -> Iterator[tuple[str, str]]:
        kinds = [type(o) for o in fragment.origins or () if isinstance(o, wiring.Component)]
        where = f"{kinds[0].__module__}.{kinds[0].__qualname__}" if kinds else above
        yield name, where
        for number, (part, part_name, _) in enumerate(fragment.subfragments):
            yield from walk(part, f"{name}.{part_name or f'U${number}'}", where)

    return {
        name: where
        for name, where in walk(Fragment.get(component, None), "top", "")
        if any(where.startswith(f"{package}.") for package in packages)
    }


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mutation as `mutate -list` gives it, and what its cell is."""

    mode: str
    module: str
    cell: str
    port: str
    portbit: int
    ctrlbit: int | None
    wire: str
    src: str
    type: str = ""
    ordinal: int = 0

    @staticmethod
    def parse(line: str) -> Mutation:
        """Of a line of the list; raises `NetlistError`."""
        words = line.split()
        if words[:1] != ["mutate"] or len(words) % 2 == 0:
            raise NetlistError(f"not a mutation: {line!r}")
        pairs = list(zip(words[1::2], words[2::2], strict=True))
        found = dict(pairs)
        wire = found.get("-wire", "")
        return Mutation(
            mode=found["-mode"],
            module=found["-module"],
            cell=found["-cell"],
            port=found["-port"],
            portbit=int(found["-portbit"]),
            ctrlbit=int(found["-ctrlbit"]) if "-ctrlbit" in found else None,
            wire=f"{wire}[{found['-wirebit']}]" if wire else "",
            src=" ".join(value for name, value in pairs if name == "-src"),
        )

    @property
    def key(self) -> str:
        """Names it, as long as the gateware around it stays as it is."""
        by = "" if self.ctrlbit is None else f" by [{self.ctrlbit}]"
        return (
            f"{self.module}: {self.mode} {self.type}#{self.ordinal} {self.port}[{self.portbit}]{by}"
        )

    def options(self) -> str:
        """Of the command `mutate`."""
        by = "" if self.ctrlbit is None else f" -ctrlbit {self.ctrlbit}"
        return (
            f"-mode {self.mode} -module {self.module} -cell {self.cell} "
            f"-port {self.port} -portbit {self.portbit}{by}"
        )


def _place(cell: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """What a cell is, in every netlist: its type, parameters and place in the source."""
    kind = cell["type"]
    if not kind.startswith("$"):
        return ("instance", name)
    parameters = {k: v for k, v in cell["parameters"].items() if k != "MEMID"}
    return (kind, json.dumps(parameters, sort_keys=True), cell["attributes"].get("src", ""))


class Netlist:
    """A design in a folder of its own.

    Parameters
    ----------
    text : str
        RTLIL with a module `top`.
    folder : Path
        Where its files lie.
    """

    def __init__(self, text: str, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "design.il").write_text(text, encoding="utf-8")
        yosys(
            "read_rtlil design.il\nhierarchy -top top\nproc\nopt_clean\n"
            "write_rtlil prepared.il\nwrite_json prepared.json\n",
            folder,
        )
        self.modules = json.loads((folder / "prepared.json").read_text(encoding="utf-8"))["modules"]
        self._places: dict[str, dict[tuple[str, ...], list[str]]] = {}

    def _of_module(self, module: str) -> dict[tuple[str, ...], list[str]]:
        if module not in self._places:
            places: dict[tuple[str, ...], list[str]] = {}
            for name, cell in self.modules[module]["cells"].items():
                places.setdefault(_place(cell, name), []).append(name)
            self._places[module] = places
        return self._places[module]

    def choose(self, count: int, seed: int, modules: Sequence[str]) -> list[Mutation]:
        """So many mutations of cells in these modules, in the order of Yosys' list.

        Left out are the contents of memories at power-on, clocks, and what changes nothing: a bit
        that is made the constant it is.
        """
        there = [name for name in modules if name in self.modules]
        yosys(
            f"read_rtlil prepared.il\nselect -set own {' '.join(there)}\n"
            f"mutate -list {count + count // 4 + SPARE} -seed {seed} -o list.txt "
            "@own t:$meminit* %d\n",
            self.folder,
        )
        lines = (self.folder / "list.txt").read_text(encoding="utf-8").splitlines()
        # Whatever order it is in: any part of it shall be like the whole.
        random.Random(seed).shuffle(lines)
        found = [m for m in map(self._known, map(Mutation.parse, lines)) if self._changes(m)]
        if len(found) < count:
            raise NetlistError(f"Yosys has {len(found)} mutations, not {count}")
        return found[:count]

    def _known(self, mutation: Mutation) -> Mutation:
        cells = self.modules[mutation.module]["cells"]
        kind = cells[mutation.cell]["type"]
        alike = [name for name, cell in cells.items() if cell["type"] == kind]
        fields = {name: getattr(mutation, name) for name in Mutation.__slots__}
        name = "instance" if not kind.startswith("$") else kind
        ordinal = alike.index(mutation.cell)
        return Mutation(
            **{**fields, "type": mutation.cell if name == "instance" else name, "ordinal": ordinal}
        )

    def _changes(self, mutation: Mutation) -> bool:
        if mutation.port.lower() == "clk":
            return False
        bit = self.modules[mutation.module]["cells"][mutation.cell]["connections"][mutation.port][
            mutation.portbit
        ]
        return bit != "x" and bit != _OPERANDS.get(mutation.mode)

    def counterpart(
        self, mutation: Mutation, other: Netlist, paths: Mapping[str, str]
    ) -> Mutation | None:
        """The same mutation in another netlist.

        Parameters
        ----------
        mutation
            Of this netlist.
        other
            The other one.
        paths
            By module here, the module there that is the same component; those inside go with it.

        Returns
        -------
        Mutation or None
            None where it does not have that cell, or has another number of such cells.
        """
        fitting = [p for p in paths if f"{mutation.module}.".startswith(f"{p}.")]
        if not fitting:
            return None
        path = max(fitting, key=len)
        module = paths[path] + mutation.module[len(path) :]
        if module not in other.modules:
            return None
        cell = self.modules[mutation.module]["cells"][mutation.cell]
        place = _place(cell, mutation.cell)
        here = self._of_module(mutation.module)[place]
        there = other._of_module(module).get(place, [])
        if len(here) != len(there):
            return None
        name = there[here.index(mutation.cell)]
        bits = other.modules[module]["cells"][name]["connections"].get(mutation.port, [])
        if len(bits) != len(cell["connections"][mutation.port]):
            return None
        fields = {field: getattr(mutation, field) for field in Mutation.__slots__}
        return Mutation(**{**fields, "module": module, "cell": name})

    def verilog_of_all(self, mutations: Mapping[int, Mutation]) -> str:
        """Verilog with all of them, of which `+mutant=n` of the simulator puts one in effect."""
        width = max(mutations, default=1).bit_length()
        lines = [
            f"mutate -ctrl {SELECT} {width} {number} {mutation.options()}"
            for number, mutation in mutations.items()
        ]
        yosys(
            "\n".join(
                [
                    "read_rtlil prepared.il",
                    *lines,
                    "memory_collect",
                    "attrmap -remove src",
                    "attrmap -modattr -remove src",
                    "write_verilog -norename mutated.v",
                    "",
                ]
            ),
            self.folder,
        )
        return selected_by_plusarg((self.folder / "mutated.v").read_text(encoding="utf-8"))

    def mutated(self, mutations: Sequence[Mutation]) -> str:
        """RTLIL with these mutations alone, always in effect."""
        lines = [f"mutate {mutation.options()}" for mutation in mutations]
        script = ["read_rtlil prepared.il", *lines, "write_rtlil mutated.il", ""]
        yosys("\n".join(script), self.folder)
        return (self.folder / "mutated.il").read_text(encoding="utf-8")


def selected_by_plusarg(verilog: str) -> str:
    """`mutant_select`, an input of `top`, is what the simulator's `+mutant=` says."""
    begin = verilog.index("\nmodule top(")
    end = verilog.index("\nendmodule", begin)
    top = verilog[begin:end]
    top, ports = re.subn(rf",\s*{SELECT}(?=\s*[,)])", "", top, count=1)
    top, places = re.subn(
        rf"  input (\[\d+:0\] )?{SELECT};\n  wire (\[\d+:0\] )?{SELECT};\n",
        rf"  reg \g<1>{SELECT};\n"
        rf'  initial if (!$value$plusargs("mutant=%d", {SELECT})) {SELECT} = 0;\n',
        top,
        count=1,
    )
    if (ports, places) != (1, 1):
        raise NetlistError(f"the module top has no port {SELECT}")
    return verilog[:begin] + top + verilog[end:]
