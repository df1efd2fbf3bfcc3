"""The repository keeps its rules, and each rule finds a violation that was planted."""

import subprocess
from pathlib import Path

import pytest

from verif.unit import repository_rules
from verif.unit.repository_rules import (
    CHECKS,
    CODE,
    TARGETS,
    TOP_LEVEL,
    Check,
    check_imports,
    check_justified,
    check_line_exceptions,
    check_lock,
    check_machine_paths,
    check_make_help,
    check_packages,
    check_pins,
    check_top_level,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_repository_keeps_the_rule(check: Check) -> None:
    assert check(ROOT) == []


GOOD_TREE = {
    **dict.fromkeys(sorted(TOP_LEVEL - set(CODE) - {"docs", ".ci"}), ""),
    **{f"{folder}/__init__.py": "" for folder in CODE},
    "docs/index.md": "",
    ".ci/run": "",
    "spec/facts.py": "import dataclasses\n",
    "hw/nic.py": "import amaranth\nfrom spec import facts\n",
    "sw/cli.py": "import cryptography.x509\nfrom . import errors\nSTATE = 'S0 S3'\n",
    "sw/errors.py": "",
    "verif/model/__init__.py": "from spec import facts\nimport cryptography\n",
    "verif/test_all.py": "import hw.nic, sw.cli, scapy.all\n",
    "boards/pins.py": "from amaranth.build import Pins\nMDC = Pins('R5')\nimport hw.nic\n",
    "pyproject.toml": '[project]\ndependencies = [\n    # All.\n    "cryptography>=50",\n]\n',
    "requirements.lock": "# note\ncryptography==50.0.2 \\\n    --hash=sha256:00\n    # via x\n",
    "Makefile": "help: ## This\n\t@sed -n 's/^\\([a-z]*\\):.*## /  \\1 /p' Makefile\n"
    + "".join(f"{target}: ## Does it\n" for target in sorted(TARGETS - {"help"}))
    + f".PHONY: {' '.join(sorted(TARGETS))}\n",
}


def plant(root: Path, files: dict[str, str | None]) -> Path:
    """Writes `GOOD_TREE` with `files` over it; None leaves a file out."""
    for name, text in {**GOOD_TREE, **files}.items():
        if text is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    return root


def test_good_tree_has_no_findings(tmp_path: Path) -> None:
    root = plant(tmp_path, {})
    assert {check.__name__: check(root) for check in CHECKS} == {
        check.__name__: [] for check in CHECKS
    }


VIOLATIONS: list[tuple[Check, dict[str, str | None], str]] = [
    (check_imports, {"hw/bad.py": "import sw\n"}, "hw imports sw"),
    (check_imports, {"hw/bad.py": "def f():\n    from sw.rmcp import x\n"}, "hw imports sw"),
    (check_imports, {"hw/a/bad.py": "from ...sw import cli\n"}, "hw imports sw"),
    (check_imports, {"hw/bad.py": "import verif.model\n"}, "hw imports verif"),
    (check_imports, {"sw/bad.py": "from hw import nic\n"}, "sw imports hw"),
    (
        check_imports,
        {"sw/bad.py": "import importlib\nimportlib.import_module('hw.nic')\n"},
        "sw imports hw",
    ),
    (check_imports, {"sw/bad.py": "from boards import virtual\n"}, "sw imports boards"),
    (check_imports, {"sw/bad.py": "from amaranth.lib import data\n"}, "sw imports amaranth"),
    (check_imports, {"sw/bad.py": "import scapy.all\n"}, "sw imports scapy"),
    (check_imports, {"spec/bad.py": "import cryptography\n"}, "spec imports cryptography"),
    (check_imports, {"spec/bad.py": "from hw import nic\n"}, "spec imports hw"),
    (check_imports, {"docs/bad.py": "import amaranth\n"}, "docs imports amaranth"),
    (check_imports, {"docs/bad.py": "from hw import nic\n"}, "docs imports hw"),
    (
        check_imports,
        {"verif/model/bad.py": "from sw import ipsec\n"},
        "the model shares code with sw",
    ),
    (check_imports, {"verif/model/bad.py": "import amaranth\n"}, "the model imports amaranth"),
    (check_pins, {"hw/bad.py": "x = Pins('A4', dir='o')\n"}, "names a pin: Pins"),
    (check_pins, {"hw/bad.py": "import amaranth.build\n"}, "imports amaranth.build"),
    (check_pins, {"hw/bad.py": "x = build.PinsN(y)\n"}, "names a pin: PinsN"),
    (check_pins, {"hw/bad.py": 'x = \'LOCATE COMP "clk" SITE "P6";\'\n'}, "names a pin: LOCATE"),
    (check_pins, {"sw/bad.py": "leds = 'K2 T14, B11'\n"}, "names a pin: K2 T14, B11"),
    (check_pins, {"hw/bad.py": "reset_pin = 'T6'\n"}, "reset_pin = T6"),
    (check_pins, {"hw/bad.py": "f(site='P6')\n"}, "site = P6"),
    (check_pins, {"verif/bad.py": "x = {'clk_pins': ['P6']}\n"}, "clk_pins = P6"),
    (check_pins, {"hw/board.lpf": ""}, "a pin constraint file"),
    (check_machine_paths, {"docs/bad.md": "see /" + "work/main\n"}, "docs/bad.md:1"),
    (check_machine_paths, {"sw/bad.py": "X = '/" + "tmp/vt/bin'\n"}, "sw/bad.py:1"),
    (check_machine_paths, {"Makefile": "\n# /" + "opt/wheels\n"}, "Makefile:2"),
    (check_machine_paths, {"README.md": "pip --index-url" + "=here\n"}, "README.md:1"),
    (check_top_level, {"notes.txt": ""}, "notes.txt: not expected"),
    (check_top_level, {"LICENSE": None}, "LICENSE: missing"),
    (check_packages, {"verif/unit/hw/test_nic.py": ""}, "verif/unit/hw: has no __init__.py"),
    (
        check_make_help,
        {"Makefile": GOOD_TREE["Makefile"].replace("demo: ##", "demo: #")},
        "does not list demo",
    ),
    (check_make_help, {"Makefile": GOOD_TREE["Makefile"] + "extra:\n"}, "does not list extra"),
    (check_make_help, {"Makefile": "first:\n" + GOOD_TREE["Makefile"]}, "make alone does not say"),
    (
        check_make_help,
        {"Makefile": GOOD_TREE["Makefile"].replace("lint: ## Does it\n", "")},
        "no target lint",
    ),
    (
        check_make_help,
        {"Makefile": GOOD_TREE["Makefile"].replace(".PHONY: bench", ".PHONY:")},
        "bench is not",
    ),
    (check_line_exceptions, {"hw/bad.py": "import os  # no" + "qa: F401\n"}, "hw/bad.py:1"),
    (check_line_exceptions, {"sw/bad.py": "\nx = 1  # type: ig" + "nore[x]\n"}, "sw/bad.py:2"),
    (check_lock, {"requirements.lock": "cryptography==50.0.2\n"}, "does not pin with a hash"),
    (check_lock, {"requirements.lock": "cryptography>=50 --hash=sha256:00\n"}, "does not pin"),
    (
        check_lock,
        {"requirements.lock": "cryptography==49.0 --hash=sha256:00\n"},
        "has cryptography 49.0",
    ),
    (check_lock, {"requirements.lock": "\n"}, "has cryptography None"),
    (check_lock, {"requirements.lock": "# https:" + "//x\n"}, "names an address"),
    (
        check_justified,
        {"pyproject.toml": '[project]\ndependencies = [\n    "cryptography>=50",\n]\n'},
        "has no reason above it",
    ),
]


@pytest.mark.parametrize(
    ("check", "files", "finding"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", None)
)
def test_planted_violation_is_found(
    check: Check, files: dict[str, str | None], finding: str, tmp_path: Path
) -> None:
    found = check(plant(tmp_path, files))
    assert any(finding in line for line in found), found


def test_generated_file_that_is_tracked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    tracked = [*GOOD_TREE, "build/top.v", "hw/__pycache__/nic.pyc"]
    monkeypatch.setattr(repository_rules, "repository_files", lambda root, *, untracked: tracked)
    assert check_top_level(ROOT) == [
        "build: not expected at the top level",
        "build/top.v: is made, and must not be tracked",
        "hw/__pycache__/nic.pyc: is made, and must not be tracked",
    ]


def test_link_that_is_tracked_is_found(tmp_path: Path) -> None:
    plant(tmp_path, {})
    (tmp_path / "tools").symlink_to(tmp_path / "nowhere")
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    assert check_top_level(tmp_path) == ["tools: not expected at the top level"]
