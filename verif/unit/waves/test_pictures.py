"""Pictures show what was recorded, leave out only what repeats, and can be drawn."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from verif.waves.interfaces import PICTURES
from verif.waves.page import PAGE, blocks, render, updated
from verif.waves.picture import Bit, Number, Picture, StreamLanes, columns, draw
from verif.waves.signals import NETS, find_nets

COLUMNS_MAX = 40
TEXT = PAGE.read_text(encoding="utf-8")
FIRST, LAST = 1 << 8, 1 << 9


def lanes_of(source: str) -> dict[str, tuple[str, str]]:
    """Wave and labels of each lane."""
    return {
        lane["name"]: (lane["wave"], lane.get("data", "")) for lane in json.loads(source)["signal"]
    }


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ("", []),
        ("abcd", [0, 1, 2, 3]),
        ("aaaa", [0, 1, 2, 3]),
        ("aaaaa", [0, 1, None, 4]),
        ("xaaaaaaay", [0, 1, 2, None, 7, 8]),
        ("abababababx", [0, 1, 2, 3, None, 8, 9, 10]),
        ("aaaaaaaabbbbbbbb", [0, 1, None, 7, 8, 9, None, 15]),
    ],
)
def test_columns(kinds: str, shown: list[int | None]) -> None:
    assert columns(kinds) == shown


def test_a_stream_and_a_bit() -> None:
    octets = [0x10 | FIRST, 0x11, 0x11, *range(0x12, 0x19), 0x19 | LAST, 0]
    recording = {
        "wire_tx.payload": [0, *octets, 0, 0],
        "wire_tx.valid": [0, *[1] * 11, 0, 0, 0],
        "wire_tx.ready": [1, 1, 0, *[1] * 12],
        "pin_reset": [0] * 13 + [1, 1],
    }
    picture = Picture("any", "a title", (StreamLanes("wire_tx"), Bit("pin_reset")))
    source = draw(picture, recording, zero=1)
    assert json.loads(source)["head"]["text"] == "a title"
    assert lanes_of(source) == {
        "cycle": ("222222|22222", "-1 0 1 2 3 4 9 10 11 12 13"),
        "wire_tx.valid": ("01....|..0..", ""),
        "wire_tx.ready": ("x101..|..x..", ""),
        "wire_tx.octet": ("x3=.==|=4x..", "10 11 12 13 18 19"),
        "pin_reset": ("0.....|...1.", ""),
    }


def test_equal_octets_are_two_beats_and_a_field_has_its_name() -> None:
    recording = {
        "inbound_i.payload": [0, 7, 7, 0],
        "inbound_i.valid": [0, 1, 1, 0],
        "inbound_i.ready": [1, 1, 1, 1],
        "taken_meta.payload": [0, 1, 0, 0],
        "taken_meta.valid": [0, 1, 0, 0],
        "taken_meta.ready": [0, 1, 0, 0],
    }
    parts = (StreamLanes("inbound_i", ready=False), StreamLanes("taken_meta", ("kind",)))
    lanes = lanes_of(draw(Picture("any", "", parts), recording, zero=0))
    assert lanes["inbound_i.octet"] == ("x==x", "07 07")
    assert lanes["taken_meta.kind"] == ("x=x.", "AH")


def test_a_number_counts_late() -> None:
    recording = {"bus.r_stb": [0, 1, 0, 0, 0, 0], "bus.r_data": [5, 5, 5, 5, 9, 5]}
    parts = (Bit("bus.r_stb"), Number("bus.r_data", 2, ("bus.r_stb",), 3))
    lanes = lanes_of(draw(Picture("any", "", parts), recording, zero=1))
    assert lanes["bus.r_data"] == ("x...=x", "09")


def test_the_page_has_each_picture_and_none_is_broad(tmp_path: Path) -> None:
    found = blocks(TEXT)
    assert list(found) == list(PICTURES)
    assert updated(TEXT, found) == TEXT
    for name, source in found.items():
        waves = [wave for wave, _ in lanes_of(source).values()]
        assert {len(wave) for wave in waves} == {len(waves[0])}
        assert len(waves[0]) <= COLUMNS_MAX, f"{name} has {len(waves[0])} columns"
    for path in render(TEXT, tmp_path / "new"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
    assert len(list((tmp_path / "new").iterdir())) == len(PICTURES)


def test_a_block_too_many_or_too_few_is_told() -> None:
    found = blocks(TEXT)
    with pytest.raises(LookupError, match="blocks for"):
        updated(TEXT, {**found, "other": ""})
    with pytest.raises(LookupError, match="blocks for"):
        updated(TEXT.replace("```wavedrom bus", "```wavedrom bux"), found)


def test_a_signal_that_is_not_there_is_told() -> None:
    name = "send_buffer.commit"
    ports = {end for ends in NETS.values() for end in ends if "." in end}
    instances: dict[str, list[str]] = {}
    for instance, _, port in (end.partition(".") for end in sorted(ports)):
        instances.setdefault(instance, []).append(port)
    verilog = "\nmodule top(clk);\n"
    for instance, names in instances.items():
        wires = ",\n".join(f"    .{port}(\\{instance}_{port}$9 )" for port in names)
        verilog += f"  \\top.{instance}  {instance} (\n{wires}\n  );\n"
    verilog += "\nendmodule\n"
    assert find_nets(verilog)[name] == "send_buffer_commit$9"
    with pytest.raises(LookupError, match=name):
        find_nets(verilog.replace(".commit(", ".other("))
