"""The pass that moves registers into block RAM: what it takes, and what it must leave."""

from typing import Any

import pytest

from boards.ecp5_outreg import merge_output_registers

CLOCK, ENABLE, OTHER = 2, 3, 4
FIRST_OUTPUT, FIRST_Q = 100, 200


def register(d: int, q: int, **connections: list[Any]) -> dict[str, Any]:
    wires = {"CLK": [CLOCK], "CE": [ENABLE], "LSR": ["0"], "DI": [d], "Q": [q], **connections}
    return {
        "type": "TRELLIS_FF",
        "parameters": {"CEMUX": "CE", "CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"},
        "port_directions": {name: "output" if name == "Q" else "input" for name in wires},
        "connections": wires,
    }


def netlist(*, width_a: int = 9, outputs: tuple[str, ...] = ("DOA0", "DOA1")) -> dict[str, Any]:
    """A memory, with a register behind each of its `outputs`."""
    connections: dict[str, list[Any]] = {name: [CLOCK] for name in ("CLKA", "CLKB")}
    connections |= {"CEA": [ENABLE], "CEB": [ENABLE], "OCEA": ["1"], "OCEB": ["1"]}
    connections |= {"RSTA": ["0"], "RSTB": ["0"], "DOB17": [99]}  # an output that nobody uses
    cells = {}
    for index, output in enumerate(outputs):
        connections[output] = [FIRST_OUTPUT + index]
        cells[f"ff{index}"] = register(FIRST_OUTPUT + index, FIRST_Q + index)
    cells["memory"] = {
        "type": "DP16KD",
        "parameters": {
            "DATA_WIDTH_A": f"{width_a:032b}",
            "REGMODE_A": "NOREG",
            "REGMODE_B": "NOREG",
            "CLKAMUX": "CLKA",
            "CLKBMUX": "CLKB",
        },
        "port_directions": {
            name: "output" if name.startswith("DO") else "input" for name in connections
        },
        "connections": connections,
    }
    qs = [FIRST_Q + index for index in range(len(outputs))]
    return {"modules": {"top": {"cells": cells, "ports": {"o": {"bits": qs}}}}}


def cells_of(design: dict[str, Any]) -> dict[str, Any]:
    return design["modules"]["top"]["cells"]


def test_register_moves_into_the_memory() -> None:
    design = netlist()
    assert merge_output_registers(design) == (1, 2)
    assert set(cells_of(design)) == {"memory"}
    memory = cells_of(design)["memory"]
    assert memory["connections"]["DOA0"] == [FIRST_Q]
    assert memory["connections"]["DOA1"] == [FIRST_Q + 1]
    assert memory["connections"]["OCEA"] == [ENABLE]
    assert memory["parameters"]["REGMODE_A"] == "OUTREG"
    assert memory["parameters"]["REGMODE_B"] == "NOREG"


def test_port_of_36_bits_is_one_port_of_both_sides() -> None:
    design = netlist(width_a=36, outputs=("DOA0", "DOA17", "DOB3"))
    assert merge_output_registers(design) == (1, 3)
    memory = cells_of(design)["memory"]
    assert memory["parameters"]["REGMODE_A"] == memory["parameters"]["REGMODE_B"] == "OUTREG"
    assert memory["connections"]["OCEB"] == [ENABLE]
    assert memory["connections"]["OCEA"] == ["1"]


def test_two_sides_are_two_ports() -> None:
    design = netlist(outputs=("DOA0", "DOB0"))
    cells_of(design)["ff1"]["connections"]["CE"] = ["1"]
    assert merge_output_registers(design) == (2, 2)
    assert cells_of(design)["memory"]["connections"]["OCEA"] == [ENABLE]
    assert cells_of(design)["memory"]["connections"]["OCEB"] == ["1"]


def test_register_without_enable_is_always_enabled() -> None:
    design = netlist()
    for name in ("ff0", "ff1"):
        cells_of(design)[name]["parameters"]["CEMUX"] = "1 "  # as Yosys writes it
        del cells_of(design)[name]["connections"]["CE"]
    assert merge_output_registers(design) == (1, 2)
    assert cells_of(design)["memory"]["connections"]["OCEA"] == ["1"]


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("connections", "LSR", [OTHER]),
        ("connections", "CLK", [OTHER]),
        ("connections", "CE", [OTHER]),
        ("connections", "M", [OTHER]),
        ("parameters", "CLKMUX", "INV"),
        ("parameters", "CEMUX", "INV"),
        ("parameters", "LSRMUX", "INV"),
        ("parameters", "REGSET", "SET"),
    ],
)
def test_register_that_does_more_stays(part: str, name: str, value: Any) -> None:
    design = netlist()
    cells_of(design)["ff1"][part][name] = value
    cells_of(design)["ff1"]["port_directions"].setdefault("M", "input")
    assert merge_output_registers(design) == (0, 0)
    assert set(cells_of(design)) == {"memory", "ff0", "ff1"}
    assert cells_of(design)["memory"]["parameters"]["REGMODE_A"] == "NOREG"


def test_output_with_a_second_user_stays() -> None:
    design = netlist()
    cells_of(design)["other"] = register(FIRST_OUTPUT, 300)
    assert merge_output_registers(design) == (0, 0)


def test_output_that_leaves_the_design_stays() -> None:
    design = netlist()
    design["modules"]["top"]["ports"]["raw"] = {"bits": [FIRST_OUTPUT]}
    assert merge_output_registers(design) == (0, 0)


def test_port_with_a_reset_stays() -> None:
    design = netlist()
    cells_of(design)["memory"]["connections"]["RSTA"] = [OTHER]
    assert merge_output_registers(design) == (0, 0)
