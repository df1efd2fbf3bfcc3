"""Moves registers behind memories into the output registers of ECP5 block RAM, in a Yosys netlist.

A DP16KD has an output register (REGMODE=OUTREG), but Yosys never uses it: a register that the
design has behind a read port stays in the fabric. From the clock to the memory's output then takes
5.6 to 5.8 ns of the 8 ns there are, and the way to that register comes on top; with OUTREG it is
1.0 ns. This pass runs between synthesis and place and route. It looks for ports of which every
output in use goes to one register and nowhere else, and takes those registers in.

It takes a register only if it does just what an output register does: same clock, rising edge, no
set or reset, starting as 0; all registers of a port must share one clock enable, which becomes OCE.

Source: Lattice FPGA-TN-02204 (ECP5 memory usage guide), output register and OCE.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

__all__ = ["merge_output_registers"]

MEMORY, REGISTER = "DP16KD", "TRELLIS_FF"
SIDES = ("A", "B")
SIDE_BITS = 18
PSEUDO_DUAL_PORT_BITS = 36

Cell = dict[str, Any]


def _number(parameter: Any) -> int:
    return parameter if isinstance(parameter, int) else int(parameter, 2)


def _is_unused(bits: list[Any]) -> bool:
    return all(bit in ("0", "x") for bit in bits)


def _option(cell: Cell, name: str, default: str) -> str:
    # Yosys writes a string of only 0 and 1 with a space behind it.
    return str(cell["parameters"].get(name, default)).strip()


def _is_plain(register: Cell) -> bool:
    """Whether a register has neither set nor reset nor a second input, and starts as 0."""
    connections = register["connections"]
    return (
        _is_unused(connections.get("LSR", []))
        and _is_unused(connections.get("M", []))
        and _option(register, "CLKMUX", "CLK") == "CLK"
        and _option(register, "LSRMUX", "LSR") == "LSR"
        and _option(register, "REGSET", "RESET") == "RESET"
        and _option(register, "CEMUX", "CE") in ("CE", "1")
    )


def _enable(register: Cell) -> tuple[Any, ...]:
    if _option(register, "CEMUX", "CE") == "1":
        return ("1",)
    return tuple(register["connections"].get("CE", ["1"]))


def _read_ports(memory: Cell) -> list[tuple[tuple[str, ...], str]]:
    """The read ports of a memory: the sides with their outputs, and the side of their clock."""
    if _number(memory["parameters"]["DATA_WIDTH_A"]) == PSEUDO_DUAL_PORT_BITS:
        return [(SIDES, "B")]  # side A writes, and all 36 outputs are read with the clock of B
    return [((side,), side) for side in SIDES]


def merge_output_registers(netlist: Mapping[str, Any], top: str = "top") -> tuple[int, int]:
    """Uses output registers wherever they do what a register in the fabric does.

    Parameters
    ----------
    netlist
        As Yosys's `write_json` makes it, flattened and mapped by `synth_ecp5`; changed in place.
    top
        The module.

    Returns
    -------
    tuple[int, int]
        How many read ports got their output register, and how many registers left the fabric.
    """
    module = netlist["modules"][top]
    cells: dict[str, Cell] = module["cells"]
    users: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for bit in bits:
                    users[bit].append((name, port))
    for name, port in module["ports"].items():
        for bit in port["bits"]:
            users[bit].append((f"port {name}", ""))

    ports = registers = 0
    for memory in [cell for cell in cells.values() if cell["type"] == MEMORY]:
        for sides, clock_side in _read_ports(memory):
            outputs = [f"DO{side}{index}" for side in sides for index in range(SIDE_BITS)]
            found = _registers_behind(memory, outputs, clock_side, cells, users)
            enables = {_enable(cells[name]) for name in found.values()}
            if len(enables) != 1:
                continue
            for side in sides:
                memory["parameters"][f"REGMODE_{side}"] = "OUTREG"
            memory["connections"][f"OCE{clock_side}"] = list(enables.pop())
            for output, name in found.items():
                memory["connections"][output] = cells.pop(name)["connections"]["Q"]
            ports, registers = ports + 1, registers + len(found)
    return ports, registers


def _registers_behind(
    memory: Cell,
    outputs: list[str],
    side: str,
    cells: Mapping[str, Cell],
    users: Mapping[int, list[tuple[str, str]]],
) -> dict[str, str]:
    """The register behind each output in use; none if one output has not just such a register."""
    connections = memory["connections"]
    if not _is_unused(connections.get(f"RST{side}", [])):
        return {}
    if _option(memory, f"CLK{side}MUX", f"CLK{side}") != f"CLK{side}":
        return {}
    found = {}
    for output in outputs:
        bits = [bit for bit in connections.get(output, []) if users.get(bit)]
        for bit in bits:
            name, port = users[bit][0]
            if len(users[bit]) != 1 or port != "DI" or cells[name]["type"] != REGISTER:
                return {}
            if not _is_plain(cells[name]):
                return {}
            if cells[name]["connections"]["CLK"] != connections[f"CLK{side}"]:
                return {}
            found[output] = name
    return found
