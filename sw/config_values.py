"""How a table of the configuration is checked against its dataclass, and what is told of a fault.

Each field's metadata say what it takes: `doc`, `low`, `high`, `choices`, `kind` and `table`, as
`sw.config` sets them.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any, TypeVar

from sw.identity import parse_identity

MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_KINDS = {
    "ipv4": "the IPv4 address of one machine",
    "mac": "the MAC address of one machine",
    "identity": "a host name, name@domain, IP address or distinguished name",
    "path": "a path",
    "optional path": "a path",
}
_SHOW = reprlib.Repr()
_SHOW.maxstring = _SHOW.maxother = _SHOW.maxlong = 60
_T = TypeVar("_T")


class ConfigError(Exception):
    """A configuration that cannot be used. The text names file, key, what is allowed and how."""


def shown(value: object) -> str:
    """A value as a message shows it: short, however long or deep it is."""
    try:
        return _SHOW.repr(value)
    except ValueError:
        return "a number of too many digits"


def unknown(name: str, known: Iterable[str]) -> str:
    """An unknown name, and the one that was perhaps meant."""
    near = difflib.get_close_matches(name[:80], known, n=1)
    plain = name if name.isprintable() and len(name) <= 80 else shown(name)
    return f"{plain}; did you mean {near[0]}?" if near else f"{plain}."


def parse_table(values: Mapping[str, object], table: str, kind: type[_T], path: Path) -> _T:
    """Check a table against its dataclass, and make one; raises ConfigError."""
    if not dataclasses.is_dataclass(kind):
        raise TypeError(f"{kind} is no table")
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"{path}: unknown key {table}.{unknown(name, fields)} The keys of [{table}] are: "
                f"{', '.join(sorted(fields))}"
            )
    arguments: dict[str, object] = {}
    for name, entry in fields.items():
        if name in values:
            value = _accept(values[name], hints[name], entry.metadata)
            inner = entry.metadata["table"]
            if inner is not None and isinstance(value, list):
                value = tuple(
                    parse_table(part, f"{table}.{name}[{number}]", inner, path)
                    for number, part in enumerate(value, start=1)
                )
            if value is None:
                raise ConfigError(
                    f"{path}: {table}.{name}: {shown(values[name])} is not allowed; give "
                    f"{allowed(hints[name], entry.metadata)}"
                )
            arguments[name] = value
        elif entry.default is dataclasses.MISSING:
            raise ConfigError(
                f"{path}: {table}.{name} is missing; give {allowed(hints[name], entry.metadata)}: "
                f"{entry.metadata['doc']}"
            )
    return kind(**arguments)


def _accept(value: object, hint: Any, metadata: Mapping[str, Any]) -> object | None:
    """The value as the field wants it; None if it does not take it."""
    if hint is bool:
        return value if isinstance(value, bool) else None
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, int if hint is int else (int, float)):
            return None
        if not metadata["low"] <= value <= metadata["high"]:
            return None
        return float(value) if hint is float else value
    if hint is str:
        return value if isinstance(value, str) and _is_kind(value, metadata) else None
    if metadata["table"] is not None:
        tables = isinstance(value, list) and all(isinstance(part, dict) for part in value)
        return value if tables else None
    choices = metadata["choices"]
    if not isinstance(value, list) or not value:
        return None
    if any(not isinstance(part, str) or part not in choices for part in value):
        return None
    return tuple(value) if len(set(value)) == len(value) else None


def _is_kind(value: str, metadata: Mapping[str, Any]) -> bool:
    if metadata["choices"] is not None:
        return value in metadata["choices"]
    if metadata["kind"] == "optional path" and not value:
        return True
    if "path" in metadata["kind"]:
        return "\0" not in value and Path(value).name not in ("", "..")
    parse = {"ipv4": parse_address, "mac": mac_octets, "identity": parse_identity}
    try:
        parse[metadata["kind"]](value)
    except ValueError:
        return False
    return True


def parse_address(text: str) -> IPv4Address:
    """The IPv4 address of one machine; raises ValueError for a group's, all's or nobody's."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise ValueError(f"{text!r} is no IPv4 address") from None
    if address.is_unspecified or address.is_multicast or int(address) == 0xFFFF_FFFF:
        raise ValueError(f"{text} is not the address of one machine")
    return address


def mac_octets(text: str) -> bytes:
    """The octets of one machine's MAC address in colon form; raises ValueError."""
    octets = bytes.fromhex(text.replace(":", "")) if MAC.fullmatch(text) else b""
    if not any(octets) or octets[0] & 1:
        raise ValueError(f"{text!r} is not the MAC address of one machine")
    return octets


def allowed(hint: Any, metadata: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    choices = metadata["choices"]
    if hint is bool:
        return "true or false"
    if hint in (int, float):
        kind = "a whole number" if hint is int else "a number"
        return f"{kind} from {metadata['low']:,} to {metadata['high']:,}".replace(",", " ")
    if hint is str:
        if choices is not None:
            return "one of " + ", ".join(f'"{choice}"' for choice in choices)
        return _KINDS[metadata["kind"]]
    if metadata["table"] is not None:
        keys = ", ".join(entry.name for entry in dataclasses.fields(metadata["table"]))
        return f"tables, each with keys of {keys}"
    if isinstance(hint, types.GenericAlias):
        return "a list, each at most once, of " + ", ".join(f'"{choice}"' for choice in choices)
    raise TypeError(f"no words for {hint}")
