"""`docs/security.md` and the code say the same: each claim has code and evidence, each tag a claim.

A claim is a row of a table: `| ID | statement | code | evidence |`. The code says `SEC: ID` where
the claim is met; the evidence is a test or proof, as `path::name`. Several are separated by commas.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "docs/security.md"
CODE = ("hw", "sw")
ID = r"[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Z0-9_]*)+"
TAG = re.compile(rf"\bSEC:[ \t]*({ID}(?:, *{ID})*)?")


@dataclass(frozen=True, slots=True)
class Claim:
    """A row of the table."""

    line: int
    name: str
    statement: str
    code: tuple[str, ...]
    evidence: tuple[str, ...]


def claims(root: Path) -> Iterator[Claim]:
    """The rows whose first cell is a claim's id."""
    for number, line in enumerate((root / PAGE).read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        name = cells[0].strip("`")
        if line.lstrip().startswith("|") and len(cells) == 4 and re.fullmatch(ID, name):
            code, evidence = (tuple(re.findall(r"`([^`]+)`", cell)) for cell in cells[2:])
            yield Claim(number, name, cells[1], code, evidence)


def malformed_rows(root: Path) -> Iterator[str]:
    """Rows that look like a claim and are none: a wrong id or number of cells must not hide one."""
    good = {claim.line for claim in claims(root)}
    for number, line in enumerate((root / PAGE).read_text(encoding="utf-8").splitlines(), 1):
        if re.match(r"\s*\|\s*`", line) and number not in good:
            yield f"{PAGE}:{number}: not of the form | `ID` | statement | `code` | `path::name` |"


def tags(root: Path) -> Iterator[tuple[str, int, str]]:
    """File, line and id of every `SEC:` in the code; the id is empty where none can be read."""
    for folder in CODE:
        for path in sorted((root / folder).rglob("*.py")):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                for match in TAG.finditer(line):
                    for name in re.split(r", *", match[1] or ""):
                        yield str(path.relative_to(root)), number, name


def defines(path: Path, name: str) -> bool:
    """Whether the Python file has a function or class `name`, at any depth."""
    if not path.is_file():
        return False
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wanted = re.sub(r"\[.*\]$", "", name).split("::")[-1]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and node.name == wanted for node in ast.walk(tree))


def findings(root: Path) -> list[str]:
    """All that is wrong between the page and the code."""
    rows = list(claims(root))
    found = list(malformed_rows(root))
    tagged: dict[str, set[str]] = {}
    for file, number, name in tags(root):
        tagged.setdefault(name, set()).add(file)
        if not name:
            found.append(f"{file}:{number}: SEC: without an id of the form AREA.CLAIM")
        elif name not in {row.name for row in rows}:
            found.append(f"{file}:{number}: {name} is not in {PAGE}")
    names = [row.name for row in rows]
    for row in rows:
        place = f"{PAGE}:{row.line}: {row.name}"
        if names.count(row.name) > 1:
            found.append(f"{place} is there twice")
        if not row.statement:
            found.append(f"{place} says nothing")
        if not row.code:
            found.append(f"{place} names no code")
        if not row.evidence:
            found.append(f"{place} has no evidence")
        found += [
            f"{place} is not met in {file}"
            for file in row.code
            if file not in tagged.get(row.name, ())
        ]
        found += [
            f"{place} has no evidence {text}"
            for text in row.evidence
            if not ("::" in text and defines(root / text.split("::")[0], text.split("::", 1)[1]))
        ]
    return found


def test_claims_have_code_and_evidence() -> None:
    assert findings(ROOT) == []


GOOD_ROW = "| `SAD.INHIBIT` | No write. | `hw/sad.py` | `verif/test_sad.py::test_inhibit` |\n"
GOOD_TREE = {
    PAGE: "| id | statement | code | evidence |\n|---|---|---|---|\n" + GOOD_ROW,
    "hw/sad.py": "# SEC: SAD.INHIBIT\n",
    "sw/store.py": "",
    "verif/test_sad.py": "async def test_inhibit():\n    pass\n",
}


def plant(root: Path, files: dict[str, str]) -> Path:
    """Writes `GOOD_TREE` with `files` over it."""
    for name, text in {**GOOD_TREE, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"hw/sad.py": '"""Inhibits. `SEC: SAD.INHIBIT`: nothing writes."""\n'},
        {PAGE: GOOD_TREE[PAGE].replace("inhibit` |", "inhibit[128]` |")},
        {
            PAGE: GOOD_TREE[PAGE] + GOOD_ROW.replace("SAD.INHIBIT", "SAD.ZEROISE"),
            "hw/sad.py": "# SEC: SAD.INHIBIT, SAD.ZEROISE\n",
        },
    ],
)
def test_good_page_has_no_findings(files: dict[str, str], tmp_path: Path) -> None:
    assert findings(plant(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ({"hw/sad.py": ""}, "SAD.INHIBIT is not met in hw/sad.py"),
        ({"hw/sad.py": "", "sw/store.py": "# SEC: SAD.INHIBIT\n"}, "is not met in hw/sad.py"),
        ({"sw/store.py": "# SEC: STORE.SEALED\n"}, "sw/store.py:1: STORE.SEALED is not in"),
        ({"sw/store.py": "# SEC: SAD.INHIBIT, STORE.SEALED\n"}, "STORE.SEALED is not in"),
        ({"sw/store.py": "# SEC: sealed\n"}, "sw/store.py:1: SEC: without an id"),
        ({"verif/test_sad.py": ""}, "has no evidence verif/test_sad.py::test_inhibit"),
        (
            {PAGE: GOOD_TREE[PAGE].replace("test_sad.py", "test_none.py")},
            "has no evidence verif/test_none.py",
        ),
        (
            {PAGE: GOOD_TREE[PAGE].replace("::test_inhibit", "")},
            "has no evidence verif/test_sad.py",
        ),
        (
            {PAGE: GOOD_TREE[PAGE].replace("`verif/test_sad.py::test_inhibit`", "")},
            "has no evidence",
        ),
        ({PAGE: GOOD_TREE[PAGE].replace("`hw/sad.py`", "")}, "names no code"),
        ({PAGE: GOOD_TREE[PAGE].replace("No write.", "")}, "says nothing"),
        ({PAGE: GOOD_TREE[PAGE] + GOOD_ROW}, "is there twice"),
        ({PAGE: GOOD_TREE[PAGE] + "| `SAD.OTHER` | Too few cells. |\n"}, "not of the form"),
    ],
)
def test_planted_fault_is_found(files: dict[str, str], finding: str, tmp_path: Path) -> None:
    found = findings(plant(tmp_path, files))
    assert any(finding in line for line in found), found
