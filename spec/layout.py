"""The few shapes that every layout in `spec` is written in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Field:
    """A run of bits of a header, counted in network order.

    Parameters
    ----------
    name : str
        Name within its header.
    bits : int
        Width in bits.
    """

    name: str
    bits: int


@dataclass(frozen=True, slots=True)
class Header:
    """A packet header: fields in the order of the wire, most significant bit first.

    Parameters
    ----------
    name : str
        Name of the header.
    fields : tuple of Field
        Their widths add up to whole octets.
    source : str
        The document and section that defines it.
    """

    name: str
    fields: tuple[Field, ...]
    source: str

    def __post_init__(self) -> None:
        if sum(field.bits for field in self.fields) % 8:
            raise ValueError(f"header {self.name} is not a whole number of octets")

    @property
    def octets(self) -> int:
        """Length in octets."""
        return sum(field.bits for field in self.fields) // 8

    def bit_offset(self, name: str) -> int:
        """Bits before field `name`, in network order; raises KeyError for an unknown name."""
        offset = 0
        for field in self.fields:
            if field.name == name:
                return offset
            offset += field.bits
        raise KeyError(f"header {self.name} has no field {name!r}")

    def width(self, name: str) -> int:
        """Width of field `name` in bits; raises KeyError for an unknown name."""
        for field in self.fields:
            if field.name == name:
                return field.bits
        raise KeyError(f"header {self.name} has no field {name!r}")

    def octet_offset(self, name: str) -> int:
        """Octets before field `name`; raises ValueError where it does not begin on an octet."""
        offset = self.bit_offset(name)
        if offset % 8:
            raise ValueError(f"{self.name}.{name} does not begin on an octet")
        return offset // 8

    def pack(self, **values: int) -> bytes:
        """The header's octets. Fields not named are zero.

        Raises ValueError for a value out of range and KeyError for an unknown name.
        """
        unknown = set(values) - {field.name for field in self.fields}
        if unknown:
            raise KeyError(f"header {self.name} has no field {sorted(unknown)}")
        number = 0
        for field in self.fields:
            value = values.get(field.name, 0)
            if not 0 <= value < 1 << field.bits:
                raise ValueError(f"{self.name}.{field.name} = {value} exceeds {field.bits} bits")
            number = number << field.bits | value
        return number.to_bytes(self.octets, "big")

    def unpack(self, data: bytes) -> dict[str, int]:
        """Field values from the first `octets` of `data`; raises ValueError if it is shorter."""
        if len(data) < self.octets:
            raise ValueError(f"{self.name} needs {self.octets} octets, got {len(data)}")
        number = int.from_bytes(data[: self.octets], "big")
        values: dict[str, int] = {}
        for field in reversed(self.fields):
            values[field.name] = number & ((1 << field.bits) - 1)
            number >>= field.bits
        return values


class Access(Enum):
    """What the bus may do with a register."""

    RO = "read only"
    WO = "write only: reads as zero"
    RW = "read and write"


@dataclass(frozen=True, slots=True)
class BitField:
    """A named run of bits in a register; `lsb` counts from bit 0."""

    name: str
    lsb: int
    width: int
    doc: str


@dataclass(frozen=True, slots=True)
class Register:
    """One 32-bit register, or an array of `count` of them at consecutive addresses.

    Parameters
    ----------
    name : str
        UPPER_CASE name, unique in the map.
    address : int
        Octet address of the first one; a multiple of four.
    access : Access
        What the bus may do.
    doc : str
        What it means, in one sentence.
    fields : tuple of BitField
        Named parts; empty where the register is one number.
    count : int
        How many registers the array has.
    reset : int
        Value after power-on, for RW registers.
    """

    name: str
    address: int
    access: Access
    doc: str
    fields: tuple[BitField, ...] = ()
    count: int = 1
    reset: int = 0
