"""The SAD's words: bank states, staging commands and their results."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class BankState(IntEnum):
    """State of one bank. Only the gateware moves it."""

    EMPTY = 0
    STAGED = 1
    """Being written: verifies nothing."""
    READY = 2
    """Complete, acknowledge timer running. Receives only where implicit commit is allowed."""
    ACTIVE = 3
    """Committed by Commit(SPI) under the old SA; receives; timer running until it is proven."""
    PROVEN = 4
    """A packet was authenticated under it. Cannot be written by anyone (inhibit)."""
    RETIRING = 5
    """Replaced by a newer proven bank: receives for the grace time, then is zeroised."""


class SadCommand(IntEnum):
    """Written to SA_COMMAND by the agent."""

    STAGE = 1
    """Take the free bank of the context in SA_CONTEXT and begin to write it. There is one STAGED
    bank at most: what was STAGED, in whatever context, is zeroised first."""
    READY = 2
    """The staged bank of the context is complete: check it, expand its keys, start the acknowledge
    timer."""
    ABORT = 3
    """Zeroise the unproven bank of the context (STAGED, READY or ACTIVE)."""


class SadResult(IntEnum):
    """Outcome of the last SA_COMMAND, read from SA_RESULT."""

    NONE = 0
    OK = 1
    BUSY = 2
    """No bank of the context is free now: one is unproven or retiring, or some bank is being
    expanded or zeroised. Or, of READY, a word was lost because it came while another bank was being
    zeroised: begin anew with STAGE."""
    INCOMPLETE = 3
    """READY without a staged bank, or with a register of the layout not written."""
    UNSUPPORTED = 4
    """Suite or flags that this NIC does not have."""
    BAD_SPI = 5
    """SPI below 256, or an inbound SPI of another bank, of whatever context."""
    UNKNOWN = 6
    """No such command."""
    PENDING = 7
    """The command is being carried out (keys expanded, bank zeroised). Read again."""
    FORBIDDEN = 8
    """POLICY.station_authorised is set and some bank is PROVEN: no bank becomes an ADMINISTRATOR's
    but in a context whose PROVEN bank is one."""


class SaFlag(IntFlag):
    """Bits of STAGE_FLAGS."""

    ESN = 1
    """64-bit extended sequence numbers (RFC 4303 2.2.1, RFC 4302 2.5.1)."""
    TUNNEL = 2
    """The payload is an IP packet of its own (RFC 4303 3.1.2)."""
    IPV6 = 4
    """The station has the address STAGE_PEER_IP6, not STAGE_PEER_IP."""
    ADMINISTRATOR = 8
    """The station may do all that spec.rmcp asks of an administrator, else what it asks of an
    operator."""


class LifetimeWord(IntEnum):
    """Index in STAGE_LIFETIME. A limit is 64 bits; 0: none. It is reached when as many packets, or
    octets that the algorithm is applied to, were sent or received under the bank."""

    SOFT_PACKETS_HI = 0
    SOFT_PACKETS_LO = 1
    SOFT_OCTETS_HI = 2
    SOFT_OCTETS_LO = 3
    HARD_PACKETS_HI = 4
    HARD_PACKETS_LO = 5
    HARD_OCTETS_HI = 6
    HARD_OCTETS_LO = 7


BANKS = 2
"""Banks of a context."""
CONTEXTS = 4
"""Contexts of a NIC, unless it is built with fewer: a primary and a secondary station, and room."""
ALL_BANKS = CONTEXTS * BANKS
"""Bank n belongs to context n // BANKS."""
REPLAY_WINDOW = 64
ACK_MS_DEFAULT = 10_000
"""READY or ACTIVE and not proven for this long: roll back."""
GRACE_MS_DEFAULT = 2_000
"""RETIRING for this long: zeroise."""
