"""The replay command without the gateware: what it reads, refuses, prints and writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from verif import replay
from verif.vectors.xfrm import load, unsupported

RECORDED = replay.ROOT / "verif" / "vectors" / "linux61_xfrm.json"
DOCUMENT = json.loads(RECORDED.read_text())


def run(path: Path, out: Path, *more: str) -> int:
    return replay.main([str(path), "--model-only", "--out", str(out), *more])


def written(tmp_path: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """A file with the first case, edited."""
    document = {"cases": copy.deepcopy(DOCUMENT["cases"][:1])}
    edit(document)
    path = tmp_path / "captures.json"
    path.write_text(json.dumps(document))
    return path


def test_recorded_frames_through_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "build" / "replay.json"
    assert run(RECORDED, out) == 0
    cases = json.loads(out.read_text())["cases"]
    assert len(cases) == 31
    assert [case["model_ok"] for case in cases] == [23] * 31
    assert all(set(case) == {"name", "frames", "model_ok"} for case in cases)
    printed = capsys.readouterr().out
    assert "31 of 31 cases right, 0 skipped" in printed


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        ({"algorithm": "null_md5"}, "ESP with null_md5 is not built in"),
        ({"proto": "comp"}, "COMP with gcm128 is not built in"),
        ({"mode": "beet"}, "beet mode is not built in"),
    ],
)
def test_skipping_goes_by_what_a_case_says_of_itself(
    edit: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["cases"][0]["sa"][0].update(edit)

    (case,) = load(written(tmp_path, change))
    assert case.name == "esp4_gcm128"
    assert unsupported(case) == reason


def test_skipping_looks_at_all_sas(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        case = copy.deepcopy(next(c for c in DOCUMENT["cases"] if len(c["sa"]) == 2))
        case["sa"][1]["mode"] = "tunnel"
        case["sa"][1]["esn"] = True
        case["dport"] = 623
        document["cases"] = [case]

    (case,) = load(written(tmp_path, change))
    assert unsupported(case) == (
        "ESN of one SA alone is not built in; ESP inside of AH in tunnel mode is not built in; "
        "UDP port 623: the NIC takes 664 alone"
    )


def test_a_wrong_payload_is_a_mismatch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["cases"][0]["udp_payloads"][3] = "00"

    out = tmp_path / "replay.json"
    assert run(written(tmp_path, edit), out, "--json") == 1
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
    assert json.loads(out.read_text())["cases"][0]["model_ok"] == 22
    assert run(written(tmp_path, edit), out) == 1
    assert "MISMATCH" in capsys.readouterr().out


def case_edit(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document["cases"][0][key] = value

    return edit


def sa_edit(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document["cases"][0]["sa"][0][key] = value

    return edit


def frame_edit(value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(document: dict[str, Any]) -> None:
        document["cases"][0]["frames"][2] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("cases"), "file: lacks 'cases'"),
        (lambda d: d.update(cases={}), "cases: must be an array, not an object"),
        (lambda d: d.update(cases=[]), "cases: must have at least 1"),
        (lambda d: d.update(cases=[7]), "cases[0]: must be an object, not a number"),
        (lambda d: d["cases"].append(d["cases"][0]), "cases[1].name: another case"),
        (lambda d: d["cases"][0].pop("sa"), "cases[0]: lacks 'sa'"),
        (lambda d: d["cases"][0]["sa"][0].pop("keys"), "cases[0].sa[0]: lacks 'keys'"),
        (lambda d: d["cases"][0]["frames"].pop(), "22 frames, but 23 udp_payloads"),
        (frame_edit("0200000"), "cases[0].frames[2]: an odd number of hexadecimal digits (7)"),
        (frame_edit("02zz"), "cases[0].frames[2]: character 2 is no hexadecimal digit"),
        (frame_edit("02"), "cases[0].frames[2]: must have at least 14 octets, not 1"),
        (frame_edit("00" * 2000), "cases[0].frames[2]: 4000 digits are longer than 1996"),
        (frame_edit(None), "must be a string of hexadecimal digits, not null"),
        (case_edit("name", ""), "name: must be 1 to 100 printable"),
        (case_edit("name", "a\x1b[2J"), "name: must be 1 to 100 printable"),
        (case_edit("dst", "10.99.0"), "dst: is no IP address"),
        (case_edit("dport", True), "dport: must be a whole number, not true or false"),
        (case_edit("dport", 65536), "dport: must be from 0 to 65535"),
        (sa_edit("spi", "49374"), "spi: must be an SPI like"),
        (sa_edit("spi", "0xff"), "spi: an SPI below 256 is reserved"),
        (sa_edit("keys", ["00"]), "keys: gcm128 needs one key of 20 octets with its salt"),
        (sa_edit("first_seq", 0), "first_seq: must be from 1 to 4294967295"),
        (sa_edit("first_seq", 1.0), "first_seq: must be a whole number"),
        (sa_edit("first_seq", 1 << 32), "first_seq: must be from 1 to 4294967295"),
        (sa_edit("esn", 0), "esn: must be true or false, not a number"),
    ],
)
def test_a_bad_file_is_told_by_its_place(
    edit: Callable[[dict[str, Any]], None],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(written(tmp_path, edit), tmp_path / "out.json") == 2
    error = capsys.readouterr().err
    assert error.startswith("replay: ")
    assert "captures.json: " in error
    assert message in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"cases": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"[]", "file: must be an object, not an array"),
    ],
)
def test_what_is_no_such_json(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert run(path, tmp_path / "out.json") == 2
    assert message in capsys.readouterr().err


def test_missing_and_huge_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.json", tmp_path / "out.json") == 2
    assert "there is no such file" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "out.json") == 2
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate((64 << 20) + 1)
    capsys.readouterr()
    assert run(huge, tmp_path / "out.json") == 2
    assert "longer than 64 MiB" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(RECORDED, tmp_path) == 2
    assert str(tmp_path) in capsys.readouterr().err
