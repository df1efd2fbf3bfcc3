# amaranth: UnusedElaboratable=no
"""Single cores: the chain around them, what is counted, and what is said."""

import gc
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, UnusedElaboratable
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from boards import cores
from boards.cores import CORES, Core, ScanChain, chain_cells, component_of, figures_of, table
from boards.ecp5 import BuildError, Ecp5Build

HERE = "verif.unit.boards.test_cores"


class Adder(wiring.Component):
    """A core with ports inside of interfaces, too."""

    i: In(stream.Signature(8))
    plus: In(8)
    o: Out(9)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += [
            self.o.eq(self.i.payload + self.plus),
            self.i.ready.eq(self.i.valid & self.plus.any()),
        ]
        return m


class NoComponent:
    pass


def test_all_cores_but_those_not_written_yet_elaborate() -> None:
    elaborated = 0
    for core in CORES:
        try:
            component = component_of(core)
        except BuildError:
            continue
        text = rtlil.convert(ScanChain(component), name="top", ports=[], emit_src=False)
        assert f"{cores.CHAIN}source" in text
        elaborated += 1
    assert elaborated >= 3


def test_every_port_is_in_the_chain() -> None:
    inputs, outputs = cores._ports(Adder())
    assert sorted(map(len, inputs)) == [1, 8, 8]
    assert sorted(map(len, outputs)) == [1, 9]


@pytest.mark.parametrize(
    ("path", "parameters", "words"),
    [
        ("hw.no_such_module:Core", {}, "there is no module hw.no_such_module"),
        ("hw.no_such.module:Core", {}, "there is no module hw.no_such.module"),
        ("hw.crypto.aes:NoSuchCore", {}, "hw.crypto.aes has no class NoSuchCore"),
        ("hw.crypto.aes", {}, "has no class"),
        ("hw.crypto.aes:AesCore", {"lanes": 2}, "AesCore refuses its parameters"),
        ("hw.crypto.aes:AesCore", {"slots": 3}, "slots must be 2, 4, 8, 16 or 32, not 3"),
        (f"{HERE}:NoComponent", {}, "is no component"),
    ],
)
def test_a_missing_core_is_told_in_words(path: str, parameters: Any, words: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(BuildError, match=words):
            component_of(Core("x", path, 1, 1, parameters))
        gc.collect()


def cell(kind: str, **connections: Any) -> dict[str, Any]:
    return {"type": kind, "connections": {name: [bit] for name, bit in connections.items()}}


def test_chain_cells_are_those_that_the_chain_takes() -> None:
    netlist = {
        "modules": {
            "top": {
                "netnames": {
                    "scan_source": {"bits": [10, 11]},
                    "scan_caught": {"bits": [20, "0"]},
                    "scan_chain": {"bits": [30, 31]},
                    "core.scan": {"bits": [40]},
                    "scan_chain_TRELLIS_FF_Q_DI": {"bits": [50]},
                },
                "cells": {
                    "a": cell("TRELLIS_FF", Q=10, DI=9),
                    "b": cell("TRELLIS_FF", Q=11, DI=10),
                    "c": cell("TRELLIS_FF", Q=20, DI=60),
                    "d": cell("TRELLIS_FF", Q=30, DI=50),
                    "e": cell("TRELLIS_FF", Q=31, DI=30),
                    "core": cell("TRELLIS_FF", Q=40, DI=61),
                    "lut": cell("LUT4", Z=50),
                    "core_lut": cell("LUT4", Z=60),
                },
            }
        }
    }
    assert chain_cells(netlist) == (1, 5)


def report(fmax: float = 150.0) -> dict[str, Any]:
    clock = {"fmax_mhz": fmax, "constraint_mhz": 125.0, "worst_path": None}
    return {"clocks": [clock], "lut4": 1100, "ff": 500, "dp16kd": 8, "seed": 1, "tools": {}}


def test_figures_are_of_the_core_alone() -> None:
    made = figures_of(Core("aes", "a:B", 16, 20), report(), (100, 200))
    assert (made["lut4"], made["ff"], made["dp16kd"]) == (1000, 300, 8)
    assert made["mbit_per_s"] == 960.0  # 16 octets in 20 cycles of 150 MHz
    assert made["mbit_per_s_per_1000_lut4"] == 960.0


def test_table_has_a_row_of_every_core() -> None:
    rows = [
        figures_of(Core("aes", "a:B", 16, 16), report(), (0, 0)),
        figures_of(Core("window", "a:C", 0, 1), report(), (0, 0)),
        {"name": "hmac-2", "error": "hmac-2: there is no module hw.crypto.hmac"},
    ]
    lines = table(rows).splitlines()
    assert lines[1].split() == ["aes", "1100", "500", "8", "150.0", "16/16", "1200.0", "1090.9"]
    assert lines[2].split() == ["window", "1100", "500", "8", "150.0", "-", "-", "-"]
    assert lines[3].endswith("there is no module hw.crypto.hmac")


def test_exit_codes_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cores, "ROOT", tmp_path)
    monkeypatch.setattr(cores, "CORES", (Core("gone", "hw.gone:Gone", 1, 1),))
    assert cores.main([]) == 1
    assert "cores: gone: there is no module hw.gone" in capsys.readouterr().err
    (row,) = json.loads((tmp_path / "build" / "cores.json").read_text())
    assert row["error"] == "gone: there is no module hw.gone"
    assert cores.main(["--list"]) == 0
    assert "hw.gone:Gone" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["no_such_core"], ["--mhz", "0"], ["--seed", "x"]])
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cores.main(arguments)


def test_help_says_where_the_figures_go(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cores.main(["--help"])
    assert "build/cores.json" in capsys.readouterr().out


def test_chain_of_a_small_core_is_found_in_its_netlist(tmp_path: Path) -> None:
    """Nothing of the core is optimised away, and what is left over is exactly the chain."""
    build = Ecp5Build(tmp_path / "adder", 1, lambda _: None)
    build.elaborate(cores.Platform(125.0), ScanChain(Adder()))
    build.synthesise()
    netlist = json.loads((build.directory / "top.json").read_text())
    luts, registers = chain_cells(netlist)
    assert registers == 17 + 2 * 10 + 1 + 2  # inputs, outputs twice, the pin, the chip's reset
    assert luts == 9  # the first of the chain has nothing before it
    cells = netlist["modules"]["top"]["cells"].values()
    assert sum(c["type"] == "TRELLIS_FF" for c in cells) == registers + 10
