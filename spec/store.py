"""The non-volatile store: how records lie in a serial NOR flash, and how fast they wear it out.

The store is a run of sectors, two for each *pair*: one pair a context of the SAD, and one for the
configuration. A sector is a *slot*: a record at its beginning, and behind it places for *entries*,
which tell of sequence numbers that were reserved after the record was written.

==================  ==============================================================================
record, in words    RECORD_MAGIC plus the pair; generation; BODY_WORDS of content; CRC-32
entry, in words     generation of the record it belongs to; the numbers of NUMBER_WORDS; CRC-32
==================  ==============================================================================

Words are of 32 bits, the most significant octet first. The CRC is CRC-32 (ISO 3309, as `zlib.crc32`
computes it) over all octets before it. Of two right records of a pair the one with the larger
generation counts, and of its right entries the last one: its numbers stand in place of those of the
record. A record or entry that is not blank and has a wrong CRC is refused and counted.

A record is only written to the slot that is not in use, and the slot in use is emptied only once
the other one was read back and found right: power that is lost at any time leaves the old record or
the new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from spec.registers import BY_NAME
from spec.sa import CONTEXTS

__all__ = [
    "BLOCK_BITS",
    "BODY_WORDS",
    "CONFIG_INTERVAL_MS",
    "CONFIG_PAIR",
    "CONFIG_WORDS",
    "ENTRY_OCTETS",
    "ENTRY_WORDS",
    "ERASE_TIMEOUT_MS",
    "HEADER_WORDS",
    "LEAP",
    "LOG_ENTRIES",
    "LOG_OFFSET",
    "NUMBER_WORDS",
    "PAGE_OCTETS",
    "PAIRS",
    "POWER_UP_MS",
    "PROGRAM_TIMEOUT_MS",
    "RECORD_MAGIC",
    "RECORD_WORDS",
    "RETRY_MS",
    "SECTOR_OCTETS",
    "SLOTS",
    "STORE_OCTETS",
    "FlashCommand",
    "Wear",
    "slot_address",
    "wear",
]


class FlashCommand(IntEnum):
    """First octets of commands that every serial NOR flash knows (JESD216, as W25Q and others)."""

    PAGE_PROGRAM = 0x02
    """Three octets of address and up to PAGE_OCTETS of data: clears bits."""
    READ = 0x03
    """Three octets of address; then data for as long as it is clocked."""
    READ_STATUS = 0x05
    """Bit 0: a program or erase is going on."""
    WRITE_ENABLE = 0x06
    """Before each program and erase."""
    SECTOR_ERASE = 0x20
    """Three octets of address: sets all bits of a sector."""
    READ_ID = 0x9F
    """JEDEC manufacturer, type and capacity."""


SECTOR_OCTETS = 4096
PAGE_OCTETS = 256
ERASE_TIMEOUT_MS = 2000
"""A flash that is busy for longer has failed; data sheets give 400 ms at worst."""
PROGRAM_TIMEOUT_MS = 50
"""The same of a page program; data sheets give 3 to 5 ms at worst."""
POWER_UP_MS = 20
"""From power-on until a flash takes commands that write, with room."""

CONFIG_PAIR = CONTEXTS
"""The pair of the configuration; those before it are the contexts'."""
PAIRS = CONTEXTS + 1
SLOTS = 2
STORE_OCTETS = PAIRS * SLOTS * SECTOR_OCTETS

RECORD_MAGIC = 0x4846_5200
"""'HFR' in ASCII, and the pair in the lowest octet."""
HEADER_WORDS = 2
_STAGE_FIRST = BY_NAME["STAGE_SPI_IN"].address
_STAGE_LAST = BY_NAME["STAGE_AH_AUTH_OUT"]
BODY_WORDS = (_STAGE_LAST.address - _STAGE_FIRST) // 4 + _STAGE_LAST.count
"""An SA's body is its STAGE registers in the order of their addresses; words that were never
written are 0. The configuration's is CONFIG_WORDS, and zeros."""
RECORD_WORDS = HEADER_WORDS + BODY_WORDS + 1

NUMBER_WORDS = tuple(
    (BY_NAME[f"STAGE_{name}"].address - _STAGE_FIRST) // 4
    for which in ("RX_SEQ", "TX_SEQ", "AH_RX_SEQ", "AH_TX_SEQ")
    for name in (f"{which}_HI", f"{which}_LO")
)
"""Which words of the body an entry stands in place of."""
ENTRY_WORDS = 1 + len(NUMBER_WORDS) + 1
ENTRY_OCTETS = 64
"""From one entry to the next: a whole part of a page."""
LOG_OFFSET = 512
"""Where in a slot the first entry lies."""
LOG_ENTRIES = (SECTOR_OCTETS - LOG_OFFSET) // ENTRY_OCTETS

CONFIG_WORDS: tuple[tuple[str, int], ...] = tuple(
    (name, index)
    for name in (
        *("HOST_MAC_HI", "HOST_MAC_LO", "HOST_IP", "POLICY", "ENTERPRISE", "HOST_IP6"),
        "CLEAR_PORT",
    )
    for index in range(BY_NAME[name].count)
)
"""The registers that the configuration keeps, in their order in its body."""

CONFIG_INTERVAL_MS = 60_000
"""The configuration is saved once in so long at most, for the host's bus may ask for it."""
RETRY_MS = 1000
"""After a failure of the flash, what is due waits for so long."""

BLOCK_BITS = 12
"""Sequence numbers are reserved in blocks of 2 ** BLOCK_BITS, which end where these bits are ones.
A write is asked for when the last reserved block begins, so a whole block is left meanwhile."""
LEAP = 2 << BLOCK_BITS
"""After a loss of power the right edge of a NIC's window is less than so many numbers to the right
of the last one that it accepted."""


def slot_address(pair: int, slot: int, base: int = 0) -> int:
    """Octet address of a slot, in a store that begins at `base`.

    Raises ValueError for a pair or slot that there is not, or a `base` within a sector.
    """
    if not 0 <= pair < PAIRS or not 0 <= slot < SLOTS:
        raise ValueError(f"there is no slot {slot} of pair {pair}")
    if base % SECTOR_OCTETS or not 0 <= base <= (1 << 24) - STORE_OCTETS:
        raise ValueError(f"base must be a sector of a flash of 16 MiB, not {base:#x}")
    return base + (pair * SLOTS + slot) * SECTOR_OCTETS


@dataclass(frozen=True, slots=True)
class Wear:
    """What a context's pair of sectors bears in a year.

    Parameters
    ----------
    erases_refresh : float
        Erases of a sector that refreshes cause: each writes one slot and empties the other.
    entries_a_refresh : float
        Entries written from one refresh to the next.
    erases_log : float
        Erases of a sector because its log was full before the next refresh.
    years : float
        Until a sector reaches its endurance.
    """

    erases_refresh: float
    entries_a_refresh: float
    erases_log: float
    years: float


_SECONDS_A_YEAR = 365.25 * 86400


def wear(
    *,
    refresh_s: float = 3600,
    commands_a_second: float = 1,
    block_bits: int = BLOCK_BITS,
    endurance: int = 100_000,
) -> Wear:
    """Wear of a context's pair, with one SA a refresh and one answer to each command.

    Each block of inbound numbers, and each of outbound ones, costs an entry, and so does the first
    inbound number after a record; a full log costs a record more. Slots take turns, so a sector
    bears half of the erases.

    Parameters
    ----------
    refresh_s : float
        Seconds from one proven SA to the next.
    commands_a_second : float
        Authenticated packets, each of which is answered.
    block_bits : int
        Bits of a block of numbers.
    endurance : int
        Erases that a sector bears, by its data sheet.

    Raises ValueError where a figure is not positive.
    """
    if min(refresh_s, commands_a_second, block_bits, endurance) <= 0:
        raise ValueError("refresh_s, commands_a_second, block_bits, endurance must be positive")
    refreshes = _SECONDS_A_YEAR / refresh_s
    entries = 1 + 2 * commands_a_second * refresh_s / (1 << block_bits)
    by_refresh = refreshes / SLOTS
    by_log = refreshes * (entries // LOG_ENTRIES) / SLOTS
    return Wear(by_refresh, entries, by_log, endurance / (by_refresh + by_log))


def _check() -> None:
    if 4 * RECORD_WORDS > LOG_OFFSET or 4 * ENTRY_WORDS > ENTRY_OCTETS:
        raise ValueError("a record or an entry does not fit its place")
    if LOG_OFFSET % PAGE_OCTETS or PAGE_OCTETS % ENTRY_OCTETS:
        raise ValueError("an entry crosses a page")
    if len(CONFIG_WORDS) > BODY_WORDS:
        raise ValueError("the configuration does not fit a record")


_check()
