"""The rules of the repository: who imports whom, who names a pin, what lies where.

Each rule is a function of a root directory that returns what breaks it, one line a finding.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP_LEVEL = {
    *("hw", "sw", "verif", "boards", "spec", "docs", ".ci"),
    *("pyproject.toml", "requirements.lock", "Makefile"),
    *("README.md", "CHANGELOG.md", "LICENSE", ".gitignore"),
}
CODE = ("spec", "hw", "sw", "verif", "boards", "docs")
TARGETS = {
    *(
        "help",
        "setup",
        "demo",
        "test",
        "lint",
        "format",
        "typecheck",
        "bitstream",
        "check",
        "clean",
    ),
    *("replay", "bench", "docs"),
}
MADE = {".git", ".venv", "build", "__pycache__"}

# Of the project's own packages, what each may import beside itself.
MAY_IMPORT = {
    "spec": set[str](),
    "hw": {"spec"},
    "sw": {"spec"},
    "verif": {"spec", "hw", "sw", "boards", "docs"},
    "boards": {"spec", "hw", "sw", "verif"},
    "docs": {"spec"},
}

# Paths of one machine. Written in pieces, so that this file does not hold them itself.
MACHINE_PATHS = re.compile(
    r"(?<![\w.)}])/(?:wo"
    + r"rk|ro"
    + r"ot|ho"
    + r"me/\w+|opt/(?:whe"
    + r"els|py"
    + r"pi)|tmp/(?:v"
    + r"t|bri"
    + r"ef))\b"
)
# A registry is the business of the machine's own settings.
REGISTRY = re.compile(
    r"\b(?:py"
    + r"pi\.org|pythonho"
    + r"sted\.org|(?:extra-)?index-url\s*[=:]|find-li"
    + r"nks\s*[=:])"
)

LINE_EXCEPTIONS = re.compile(
    r"#\s*(?:no" + r"qa|type:\s*ig" + r"nore|ruff:\s*no" + r"qa|fmt:\s*o" + r"ff)"
)

PIN_WORDS = {"Pins", "PinsN", "DiffPairs", "DiffPairsN", "Connector"}
PIN_MODULES = ("amaranth.build", "amaranth.vendor")
# The tests of these rules hold planted violations.
HOLDS_EXAMPLES = {"verif/unit/test_repository.py"}
PIN_FILES = {".lpf", ".pcf", ".xdc", ".cst", ".ucf"}
# Balls of ECP5 packages: a row letter (never I, O, Q, S, X or Z) and a column.
BALL = r"[A-HJ-NPRTUVWY]{1,2}[1-9]\d?"
ONE_BALL = re.compile(BALL)
PIN_TEXTS = (re.compile(r"\bLOCATE\s+COMP\b"), re.compile(rf"^{BALL}(?:[ ,]+{BALL})+$"))
PIN_PLACE = re.compile(r"(?:^|_)(?:pins?|balls?|sites?|loc)(?:_|$)", re.IGNORECASE)


def repository_files(root: Path, *, untracked: bool) -> list[str]:
    """Paths below `root`: what git tracks, and with `untracked` what it would let one add."""
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached"]
        if untracked:
            command += ["--others", "--exclude-standard"]
        listing = subprocess.run(command, capture_output=True, check=False)
        if listing.returncode == 0:
            names = {os.fsdecode(name) for name in listing.stdout.split(b"\0") if name}
            # A link is something tracked, whatever it leads to.
            return sorted(n for n in names if (root / n).is_file() or (root / n).is_symlink())
    # An unpacked archive has no git: then all that is there counts, but what the Makefile makes.
    found = []
    for directory, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in MADE]
        found += [str((Path(directory) / name).relative_to(root)) for name in files]
    return sorted(found)


def parsed(root: Path, folders: tuple[str, ...] = CODE) -> Iterator[tuple[str, ast.Module]]:
    """The Python files in `folders`, parsed."""
    for name in repository_files(root, untracked=True):
        if name.endswith(".py") and Path(name).parts[0] in folders:
            yield name, ast.parse((root / name).read_text(encoding="utf-8"), filename=name)


def imported_modules(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of each import in the file `name`, at any depth."""
    package = list(Path(name).with_suffix("").parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, base
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def runtime_packages(root: Path) -> set[str]:
    """Import names of what a plain installation brings, by `dependencies` in pyproject.toml."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {Requirement(text).name.replace("-", "_") for text in project["dependencies"]}


def check_imports(root: Path) -> list[str]:
    """`spec`, `docs`: standard library alone; `hw`, `sw` apart; `sw` without Amaranth, tools."""
    found = set()
    runtime = runtime_packages(root)
    for name, tree in parsed(root):
        own = Path(name).parts[0]
        is_model = Path(name).parts[:2] == ("verif", "model")
        for line, module in imported_modules(name, tree):
            top = module.split(".")[0]
            place = f"{name}:{line}"
            if top in CODE:
                if top != own and top not in MAY_IMPORT[own]:
                    found.add(f"{place}: {own} imports {top}")
                if is_model and top in ("hw", "sw"):
                    found.add(f"{place}: the model shares code with {top}")
            elif top not in sys.stdlib_module_names:
                if own in ("spec", "docs"):
                    found.add(f"{place}: {own} imports {top}")
                if own == "sw" and top not in runtime:
                    found.add(f"{place}: sw imports {top}")
                if is_model and top == "amaranth":
                    found.add(f"{place}: the model imports {top}")
    return sorted(found)


def pins_named(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of each thing in `tree` that names a physical pin of a board."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in PIN_WORDS:
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and node.attr in PIN_WORDS:
            yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.strip()
            yield from ((node.lineno, text) for rule in PIN_TEXTS if rule.search(text))
        yield from balls_in_places(node)


def balls_in_places(node: ast.AST) -> Iterator[tuple[int, str]]:
    """A single ball (`"K2"`, which may mean anything) where the name says that it is a pin."""
    pairs: list[tuple[object, ast.expr | None]] = []
    if isinstance(node, ast.Call):
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
    elif isinstance(node, ast.Assign):
        pairs = [(getattr(target, "id", ""), node.value) for target in node.targets]
    elif isinstance(node, ast.AnnAssign):
        pairs = [(getattr(node.target, "id", ""), node.value)]
    elif isinstance(node, ast.Dict):
        pairs = [
            (getattr(key, "value", ""), value)
            for key, value in zip(node.keys, node.values, strict=True)
        ]
    for key, value in pairs:
        if value is not None and isinstance(key, str) and PIN_PLACE.search(key):
            for part in ast.walk(value):
                text = getattr(part, "value", None)
                if (
                    isinstance(part, ast.Constant)
                    and isinstance(text, str)
                    and ONE_BALL.fullmatch(text)
                ):
                    yield part.lineno, f"{key} = {text}"


def check_pins(root: Path) -> list[str]:
    """Only `boards` names a physical pin."""
    found = set()
    for name, tree in parsed(root, ("spec", "hw", "sw", "verif")):
        if name in HOLDS_EXAMPLES:
            continue
        found |= {f"{name}:{line}: names a pin: {text}" for line, text in pins_named(tree)}
        for line, module in imported_modules(name, tree):
            # Tests of a board's own parts may need its platform.
            if module.startswith(PIN_MODULES) and not name.startswith("verif/unit/boards/"):
                found.add(f"{name}:{line}: imports {module}")
    for name in repository_files(root, untracked=True):
        if Path(name).suffix in PIN_FILES and Path(name).parts[0] != "boards":
            found.add(f"{name}: a pin constraint file outside boards")
    return sorted(found)


def check_machine_paths(root: Path) -> list[str]:
    """No file names a path of the machine it was written on, or a package registry."""
    found = []
    for name in repository_files(root, untracked=True):
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for pattern in (MACHINE_PATHS, REGISTRY):
                if hit := pattern.search(line):
                    found.append(f"{name}:{number}: {hit.group()}")
    return found


def check_top_level(root: Path) -> list[str]:
    """The top level holds what it shall, and nothing made is tracked."""
    names = repository_files(root, untracked=False)
    top = {Path(name).parts[0] for name in names}
    made = [name for name in names if MADE.intersection(Path(name).parts)]
    return [
        *(f"{name}: not expected at the top level" for name in sorted(top - TOP_LEVEL)),
        *(f"{name}: missing at the top level" for name in sorted(TOP_LEVEL - top)),
        *(f"{name}: is made, and must not be tracked" for name in made),
    ]


def check_packages(root: Path) -> list[str]:
    """Each folder with Python in it is a package: two tests of one name would clash otherwise."""
    folders = {Path(name).parent for name, _ in parsed(root)}
    return [
        f"{folder}: has no __init__.py"
        for folder in sorted(folders)
        if not (root / folder / "__init__.py").exists()
    ]


def check_make_help(root: Path) -> list[str]:
    """`make help` lists every target, and `make` alone says the same."""
    environment = {**os.environ, "MAKEFLAGS": ""}
    says = [
        subprocess.run(
            ["make", "-C", str(root), *goal],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        for goal in (["help"], [])
    ]
    found = [f"make help fails: {run.stderr.strip()}" for run in says if run.returncode]
    if says[0].stdout != says[1].stdout:
        found.append("make alone does not say what make help says")
    listed = set(re.findall(r"^  ([a-z-]+) +\S", says[0].stdout, re.MULTILINE))
    text = (root / "Makefile").read_text(encoding="utf-8")
    has = set(re.findall(r"^([a-z][\w-]*):(?!=)", text, re.MULTILINE))
    found += [f"make help does not list {name}" for name in sorted((TARGETS | has) - listed)]
    found += [f"the Makefile has no target {name}" for name in sorted(TARGETS - has)]
    phony = set(" ".join(re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)).split())
    return found + [f"{name} is not .PHONY" for name in sorted(has - phony)]


def requirements(root: Path) -> list[Requirement]:
    """All that pyproject.toml asks for: to run, to build and to develop."""
    data = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = data["project"].get("optional-dependencies", {}).values()
    texts = [*data["project"]["dependencies"], *(text for extra in extras for text in extra)]
    return [
        Requirement(text) for text in [*texts, *data.get("build-system", {}).get("requires", [])]
    ]


def check_lock(root: Path) -> list[str]:
    """The lock pins all that pyproject.toml asks for, each with hashes, and names no address."""
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    found = (
        ["requirements.lock names an address"]
        if re.search(r"://|file:|^-", text, re.MULTILINE)
        else []
    )
    pins = {}
    for entry in re.split(r"\n(?=\S)", text):
        if entry.startswith("#") or not entry.strip():
            continue
        pinned = re.match(r"([\w.-]+)==([\w.]+)", entry)
        if pinned is None or "--hash=sha256:" not in entry:
            found.append(f"requirements.lock does not pin with a hash: {entry.splitlines()[0]}")
        else:
            pins[canonicalize_name(pinned[1])] = pinned[2]
    for wanted in requirements(root):
        version = pins.get(canonicalize_name(wanted.name))
        if version is None or version not in wanted.specifier:
            found.append(
                f"requirements.lock has {wanted.name} {version}, wanted is {wanted}: make lock"
            )
    return found


def check_justified(root: Path) -> list[str]:
    """Each dependency has a comment line of its own that says what it is for."""
    lines = (root / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    return [
        f"pyproject.toml:{number}: {line.strip()} has no reason above it"
        for number, (above, line) in enumerate(pairwise(lines), 2)
        if re.match(r'    "[\w-]+(?:[<>=~!].*)",$', line) and not above.strip().startswith("# ")
    ]


def check_line_exceptions(root: Path) -> list[str]:
    """Exceptions from lint and types stand in pyproject.toml with their reason, not in lines."""
    return [
        f"{name}:{number}: {hit.group()}"
        for name in repository_files(root, untracked=True)
        if name.endswith(".py")
        for number, line in enumerate((root / name).read_text(encoding="utf-8").splitlines(), 1)
        if (hit := LINE_EXCEPTIONS.search(line))
    ]


Check = Callable[[Path], list[str]]
CHECKS: tuple[Check, ...] = (
    *(check_imports, check_pins, check_machine_paths, check_top_level, check_packages),
    *(check_make_help, check_lock, check_justified, check_line_exceptions),
)
