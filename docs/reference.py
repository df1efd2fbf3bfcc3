"""The reference pages: `spec` as Markdown.

`python -m docs.reference [DIRECTORY]` writes them, by default to build/docs. No number stands here:
each comes from `spec`, with the words that stand beside it there.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag
from pathlib import Path
from types import ModuleType

from spec import headers, host, registers, rmcp, sa
from spec.counters import Counter
from spec.host import HostState
from spec.layout import Access, Header, Register
from spec.registers import REGISTERS
from spec.rmcp import AsfType, CommitResult, OemType
from spec.sa import BankState, SadCommand, SadResult, SaFlag
from spec.suites import OUTER_ICV_OCTETS, OUTER_KEY_OCTETS, SUITES, Hash, Protocol

__all__ = ["pages", "write"]

_NOTE = "Made from `spec/` by `make docs`; not to be edited."


def member_docs(kind: type[IntEnum] | type[IntFlag]) -> dict[str, str]:
    """What stands below each member of an enum in its source; members without it are left out."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    docs: dict[str, str] = {}
    name = ""
    for node in tree.body if isinstance(tree, ast.ClassDef) else ():
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docs[name] = " ".join(str(node.value.value).split())
    return docs


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def enum_table(kind: type[IntEnum] | type[IntFlag]) -> str:
    """Number, name and meaning of each member."""
    docs = member_docs(kind)
    rows = [(f"{int(m):#04x}", f"`{m.name}`", docs.get(str(m.name), "")) for m in kind]
    return table(("value", "name", "meaning"), rows)


def constants_table(*modules: ModuleType) -> str:
    """Each number that a module names."""
    rows = [
        (f"`{name}`", value, f"{value:#x}")
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and type(value) is int
    ]
    return table(("name", "value", "hexadecimal"), rows)


def _bits(lsb: int, width: int) -> str:
    return str(lsb) if width == 1 else f"{lsb + width - 1}:{lsb}"


def _reset(register: Register) -> str:
    return f"{register.reset:#010x}" if register.access is Access.RW else "-"


def registers_page() -> str:
    """Every register with its fields."""
    rows = []
    for register in REGISTERS:
        last = register.address + 4 * (register.count - 1)
        offset = f"{register.address:#05x}"
        if register.count > 1:
            offset += f" to {last:#05x}"
        access, doc = register.access.name, register.doc
        rows.append((offset, f"`{register.name}`", access, register.count, _reset(register), doc))
    accesses = "; ".join(f"{access.name}: {access.value}" for access in Access)
    parts = [
        f"# Registers\n\n{_NOTE}\n",
        f"MAP_HASH is `{registers.MAP_HASH:#010x}`, ID is `{registers.ID_MAGIC:#010x}`, "
        f"VERSION is `{registers.VERSION:#010x}`. All registers are 32 bits wide, at octet "
        f"addresses of {registers.ADDRESS_BITS} bits. {accesses}. A reset value stands where "
        "the bus can write and read.\n",
        table(("offset", "name", "access", "count", "reset", "meaning"), rows),
    ]
    for register in REGISTERS:
        if register.fields:
            fields = [
                (
                    _bits(field.lsb, field.width),
                    f"`{field.name}`",
                    f"{register.reset >> field.lsb & (1 << field.width) - 1:#x}"
                    if register.access is Access.RW
                    else "-",
                    field.doc,
                )
                for field in register.fields
            ]
            parts.append(
                f"## {register.name}\n\n{table(('bits', 'name', 'reset', 'meaning'), fields)}"
            )
    for title, kind in (
        ("SA_COMMAND", SadCommand),
        ("SA_RESULT", SadResult),
        ("States of a bank", BankState),
        ("STAGE_FLAGS, bits", SaFlag),
        ("States of the host", HostState),
    ):
        parts.append(f"## {title}\n\n{enum_table(kind)}")
    parts.append(f"## Constants\n\n{constants_table(host, sa)}")
    return "\n".join(parts)


def all_headers() -> list[Header]:
    """Each header of `spec`, in the order in which it stands there."""
    found = [*vars(headers).values(), *vars(rmcp).values()]
    return [value for value in found if isinstance(value, Header)]


def headers_page() -> str:
    """Each header, field by field, and the message types."""
    parts = [f"# Packet headers\n\n{_NOTE} Bits count from the first on the wire.\n"]
    for header in all_headers():
        rows = []
        for field in header.fields:
            start = header.bit_offset(field.name)
            octet, bit = divmod(start, 8)
            rows.append((octet, bit, field.bits, f"`{field.name}`"))
        parts.append(
            f"## {header.name}\n\n{header.octets} octets. Source: {header.source}.\n\n"
            + table(("octet", "bit", "bits", "field"), rows)
        )
    for title, kind in (
        ("ASF message types", AsfType),
        ("Message types of our own", OemType),
        ("Result of COMMITTED", CommitResult),
    ):
        parts.append(f"## {title}\n\n{enum_table(kind)}")
    parts.append(f"## Constants\n\n{constants_table(headers, rmcp)}")
    return "\n".join(parts)


_PROTOCOL_WORDS = {Protocol.ESP: "ESP", Protocol.AH: "AH", Protocol.BOTH: "AH around ESP"}


def suites_page() -> str:
    """Each suite and its lengths."""
    rows = [
        (
            int(suite),
            f"`{suite.name}`",
            _PROTOCOL_WORDS[facts.protocol],
            *(facts.encr_id, facts.auth_id),
            *(facts.key_octets, facts.salt_octets, facts.auth_octets),
            *(facts.iv_octets, facts.icv_octets, facts.align_octets),
            "on request" if facts.hash is Hash.SHA_1 else "always",
        )
        for suite, facts in SUITES.items()
    ]
    head = (
        *("number", "name", "protocol", "IANA ENCR", "IANA INTEG", "key", "salt", "HMAC key"),
        *("IV", "ICV", "align", "built in"),
    )
    return (
        f"# Suites\n\n{_NOTE} Lengths in octets; 0 where there is none. With AH around ESP they "
        f"are those of ESP, and AH is HMAC-SHA-256-128 with a key of {OUTER_KEY_OCTETS} and an ICV "
        f"of {OUTER_ICV_OCTETS} octets. *Built in* is what a NIC has without being asked for more, "
        f"or with `hmac_sha_1`.\n\n{table(head, rows)}"
    )


def counters_page() -> str:
    """Each counter, and its register."""
    docs = member_docs(Counter)
    base = registers.BY_NAME["COUNTERS"].address
    rows = [(int(c), f"{base + 4 * c:#05x}", f"`{c.name}`", docs.get(c.name, "")) for c in Counter]
    return (
        f"# Counters\n\n{_NOTE}\n\nFRAMES_IN = PASSED + DELIVERED + the sum of all drops, whenever "
        f"nothing is in flight.\n\n{table(('index', 'offset', 'name', 'counts'), rows)}"
    )


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {
        "registers.md": registers_page(),
        "headers.md": headers_page(),
        "suites.md": suites_page(),
        "counters.md": counters_page(),
    }


def write(directory: Path) -> list[Path]:
    """Write all pages into `directory`, made if missing; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")
        written.append(directory / name)
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/docs")
    sys.stdout.writelines(f"{path}\n" for path in write(target))
