"""The reference pages hold all that `spec` says, with its numbers."""

import re
from pathlib import Path

import pytest

from docs import reference
from spec.counters import Counter
from spec.layout import Access
from spec.registers import MAP_HASH, REGISTERS
from spec.suites import SUITES, Suite

PAGES = reference.pages()


def tables(page: str) -> dict[str, list[list[str]]]:
    """Rows of each table of a page, head and rule left out, by the heading above it."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in PAGES[page].splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
            found[heading] = []
        elif line.startswith("| "):
            found[heading].append([cell.strip(" `") for cell in line.strip("|").split(" | ")])
    return {heading: rows[2:] for heading, rows in found.items()}


def test_every_register_has_its_row() -> None:
    rows = {row[1]: row for row in tables("registers.md")["Registers"]}
    assert set(rows) == {register.name for register in REGISTERS}
    for register in REGISTERS:
        offset, _, access, count, reset, meaning = rows[register.name]
        ends = [int(number, 16) for number in re.findall(r"0x[0-9a-f]+", offset)]
        assert ends[0] == register.address
        assert ends[-1] == register.address + 4 * (register.count - 1)
        assert (access, int(count), meaning) == (register.access.name, register.count, register.doc)
        if register.access is Access.RW:
            assert int(reset, 16) == register.reset
        else:
            assert reset == "-"


def test_every_field_has_its_row() -> None:
    found = tables("registers.md")
    for register in REGISTERS:
        if not register.fields:
            assert register.name not in found or register.name in ("SA_COMMAND", "SA_RESULT")
            continue
        rows = {row[1]: row for row in found[register.name]}
        assert set(rows) == {field.name for field in register.fields}
        for field in register.fields:
            bits = [int(number) for number in rows[field.name][0].split(":")]
            assert bits[-1] == field.lsb
            assert bits[0] == field.lsb + field.width - 1
            assert rows[field.name][3] == field.doc


def test_the_hash_of_the_map_is_on_its_page() -> None:
    assert f"MAP_HASH is `{MAP_HASH:#010x}`" in PAGES["registers.md"]


def test_literal_places() -> None:
    """What a reader of the register map of today would look up, written down by hand."""
    registers = {row[1]: row[0] for row in tables("registers.md")["Registers"]}
    assert registers["SA_COMMAND"] == "0x080"
    assert registers["STAGE_KEY_OUT"] == "0x160 to 0x17c"
    assert ["15", "0x2bc", "DROP_ICV", "ICV wrong."] in tables("counters.md")["Counters"]
    assert ["4", "0", "16", "checksum"] not in tables("headers.md")["ipv4"]
    assert ["10", "0", "16", "checksum"] in tables("headers.md")["ipv4"]
    assert ["3", "0", "1", "ack"] in tables("headers.md")["rmcp"]
    assert ["3", "3", "5", "message_class"] in tables("headers.md")["rmcp"]
    assert ["HEARTBEAT_MAGIC", "1212306465", "0x48425421"] in tables("registers.md")["Constants"]
    assert ["PORT_RMCP_SECURED", "664", "0x298"] in tables("headers.md")["Constants"]
    assert ["0x04", "PROVEN"] in [row[:2] for row in tables("registers.md")["States of a bank"]]


def test_every_header_stands_field_by_field() -> None:
    found = tables("headers.md")
    for header in reference.all_headers():
        rows = found[header.name]
        assert [row[3] for row in rows] == [field.name for field in header.fields]
        bits = 0
        for octet, bit, width, _ in rows:
            assert int(octet) * 8 + int(bit) == bits
            bits += int(width)
        assert bits == 8 * header.octets
    assert {"ethernet", "arp", "ipv4", "udp", "esp", "rmcp", "asf"} <= set(found)


def test_every_suite_and_counter_has_its_row() -> None:
    suites = {row[1]: row for row in tables("suites.md")["Suites"]}
    assert set(suites) == {suite.name for suite in SUITES}
    for suite, facts in SUITES.items():
        numbers = [int(suites[suite.name][place]) for place in (0, *range(3, 11))]
        assert numbers == [
            *(suite, facts.encr_id, facts.auth_id),
            *(facts.key_octets, facts.salt_octets, facts.auth_octets),
            *(facts.iv_octets, facts.icv_octets, facts.align_octets),
        ]
    assert [suites[s.name][2] for s in (Suite(1), Suite(8), Suite(11))] == [
        "ESP",
        "AH",
        "AH around ESP",
    ]
    asked_for = {name for name, row in suites.items() if row[11] == "on request"}
    assert asked_for == {name for name in suites if "SHA_1" in name}
    counters = {row[2]: row for row in tables("counters.md")["Counters"]}
    assert {name: int(row[0]) for name, row in counters.items()} == {c.name: c for c in Counter}
    assert all(row[3] for name, row in counters.items() if name not in ("FRAMES_IN", "PASSED"))


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_whole(page: str) -> None:
    """A cell with a bar in it would shift its row."""
    width = 0
    for line in PAGES[page].splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line))
        if line.startswith("|") and width:
            assert cells == width
        width = cells if line.startswith("|") else 0


def test_pages_are_written(tmp_path: Path) -> None:
    written = reference.write(tmp_path / "docs")
    assert {path.name: path.read_text(encoding="utf-8") for path in written} == PAGES
