"""The documents point at what exists, and each page is found from docs/index.md."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from verif.unit.repository_rules import repository_files

ROOT = Path(__file__).resolve().parents[2]

LINK = re.compile(r"\[[^\]\[]+\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|^    \S.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)\b")
DOCUMENT = re.compile(r"(?<![\w/])docs/[\w./-]+\.md\b")
# Tests of rules hold planted violations.
HOLDS_EXAMPLES = {"verif/unit/test_documents.py", "verif/unit/test_repository.py"}


def documents(root: Path) -> Iterator[tuple[str, str]]:
    """Name and text of each Markdown file."""
    for name in repository_files(root, untracked=True):
        if name.endswith(".md"):
            yield name, (root / name).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """What a link may name in a page: its headings, in lower case with hyphens."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_links(root: Path) -> list[str]:
    """Each relative link leads to a file, and its anchor to a heading there."""
    found = []
    for name, text in documents(root):
        for link in LINK.findall(CODE.sub("", text)):
            path, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            target = (root / name).parent / path if path else root / name
            if not target.exists():
                found.append(f"{name}: no {link}")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                found.append(f"{name}: no heading for {link}")
    return found


def check_targets(root: Path) -> list[str]:
    """Each `make target` in a document is a target of the Makefile."""
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):(?!=)", makefile, re.MULTILINE))
    return [
        f"{name}: no target {target}"
        for name, text in documents(root)
        for code in CODE.findall(text)
        for target in TARGET.findall(code)
        if target not in targets
    ]


def check_index(root: Path) -> list[str]:
    """Each page of docs stands in docs/index.md; those of decisions by their folder."""
    index = (root / "docs/index.md").read_text(encoding="utf-8")
    linked = set(LINK.findall(index))
    pages = {name for name, _ in documents(root) if name.startswith("docs/")} - {"docs/index.md"}
    return [
        f"docs/index.md does not link {page}"
        for page in sorted(pages)
        if not {page.removeprefix("docs/"), f"{Path(page).parent.name}/"} & linked
    ]


def check_named_documents(root: Path) -> list[str]:
    """Each `docs/NAME.md` that any file names exists."""
    found = []
    for name in repository_files(root, untracked=True):
        if name in HOLDS_EXAMPLES:
            continue
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{name}: no {document}"
            for document in sorted(set(DOCUMENT.findall(text)))
            if not (root / document).is_file() and "NNNN" not in document
        ]
    return found


Check = Callable[[Path], list[str]]
CHECKS: tuple[Check, ...] = (check_links, check_targets, check_index, check_named_documents)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_documents_keep_the_rule(check: Check) -> None:
    assert check(ROOT) == []


GOOD_TREE = {
    "Makefile": "demo: ## Plays\n",
    "README.md": "# Name\nSee [docs](docs/index.md) and [below](#some-part-here), `make demo`.\n"
    "## Some part: here\n```sh\nmake demo\n```\n[out](https://example.com)\n",
    "docs/index.md": "[a](a.md) [decisions](decisions/)\n",
    "docs/a.md": "# A\n[up](../README.md#name), `[not](a-link.md)`\n",
    "docs/decisions/0001-x.md": "# 1\n",
    "hw/nic.py": '"""Source: docs/a.md."""\n',
}
VIOLATIONS: list[tuple[Check, dict[str, str], str]] = [
    (check_links, {"docs/a.md": "[x](gone.md)\n"}, "docs/a.md: no gone.md"),
    (check_links, {"docs/a.md": "[x](../README.md#gone)\n"}, "no heading for ../README.md#gone"),
    (check_targets, {"docs/a.md": "type `make coffee`\n"}, "docs/a.md: no target coffee"),
    (check_targets, {"README.md": "```sh\nmake tea # hot\n```\n"}, "README.md: no target tea"),
    (check_index, {"docs/b.md": "# B\n"}, "docs/index.md does not link docs/b.md"),
    (check_index, {"docs/index.md": "[a](a.md)\n"}, "does not link docs/decisions/0001-x.md"),
    (check_named_documents, {"hw/nic.py": "# docs/gone.md\n"}, "hw/nic.py: no docs/gone.md"),
]


def plant(root: Path, files: dict[str, str]) -> Path:
    """Writes `GOOD_TREE` with `files` over it."""
    for name, text in {**GOOD_TREE, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_good_tree_has_no_findings(tmp_path: Path) -> None:
    root = plant(tmp_path, {})
    assert [check(root) for check in CHECKS] == [[]] * len(CHECKS)


@pytest.mark.parametrize(
    ("check", "files", "finding"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", None)
)
def test_planted_violation_is_found(
    check: Check, files: dict[str, str], finding: str, tmp_path: Path
) -> None:
    found = check(plant(tmp_path, files))
    assert any(finding in line for line in found), found
