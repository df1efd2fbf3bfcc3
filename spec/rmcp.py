"""RMCP and ASF messages (DMTF DSP0136, Alert Standard Format 2.0), and our OEM messages."""

from __future__ import annotations

from enum import IntEnum, IntFlag

from spec.layout import Field, Header

RMCP_VERSION = 0x06
RMCP_CLASS_ASF = 0x06
RMCP_NO_ACK_SEQUENCE = 0xFF
"""A message with this sequence number is not acknowledged (DSP0136 3.2.2.2)."""
ASF_ENTERPRISE = 4542
"""IANA private enterprise number of ASF."""
OEM_ENTERPRISE_DEFAULT = 32473
"""Enterprise number of our OEM messages; RFC 5612 keeps this one for examples. Configurable."""


class AsfType(IntEnum):
    """ASF message types (DSP0136 3.2.4)."""

    RESET = 0x10
    POWER_UP = 0x11
    POWER_DOWN = 0x12
    POWER_CYCLE = 0x13
    PRESENCE_PONG = 0x40
    CAPABILITIES_RESPONSE = 0x41
    SYSTEM_STATE_RESPONSE = 0x42
    PRESENCE_PING = 0x80
    CAPABILITIES_REQUEST = 0x81
    SYSTEM_STATE_REQUEST = 0x82


class OemType(IntEnum):
    """Message types under our own enterprise number."""

    COMMITTED = 0x40
    """Answer to COMMIT, under the new SA if result is OK, else under the SA that asked."""
    SA_STATUS_RESPONSE = 0x41
    ZEROISING = 0x42
    """Answer to ZEROISE, the last one under any SA."""
    COMMIT = 0x80
    """Make the READY bank with this inbound SPI active."""
    SA_STATUS_REQUEST = 0x81
    ZEROISE = 0x82
    """Empty all banks of all contexts, the proven ones too, and POLICY."""


class CommitResult(IntEnum):
    """Result octet of COMMITTED."""

    OK = 0
    NO_SUCH_SPI = 1
    """No READY, ACTIVE or PROVEN bank has this inbound SPI."""
    SAME_SA = 2
    """COMMIT came under the very SA it names, while that one is not proven otherwise."""


class Role(IntEnum):
    """Whom an SA belongs to, and who may send a message; each may do what those below it may."""

    OPERATOR = 0
    """Presence, capabilities, state, power, commit, SA status."""
    ADMINISTRATOR = 1
    """Boot options too, which is a power message with POWER_DATA; and zeroise."""


class SystemState(IntEnum):
    """Low four bits of the system state octet (DSP0136 3.2.4.6)."""

    S0 = 0x0
    SLEEPING = 0x8
    SOFT_OFF = 0x6


class SpecialCommand(IntEnum):
    """What the host is to boot from (DSP0136 3.2.4.1); C0h to FFh are an OEM's."""

    NOTHING = 0
    PXE = 1
    DISK = 2
    SAFE_MODE = 3
    DIAGNOSTIC = 4
    CD = 5


class BootOption(IntFlag):
    """Bits of the boot options, the first octet in bits 15:8 (DSP0136 3.2.4.1)."""

    LOCK_POWER_BUTTON = 0x0200
    LOCK_RESET_BUTTON = 0x0400
    LOCK_KEYBOARD = 0x2000
    LOCK_SLEEP_BUTTON = 0x4000
    USER_PASSWORD_BYPASS = 0x0008
    FORCE_PROGRESS_EVENTS = 0x0010
    QUIET = 0x0020
    VERBOSE = 0x0040
    """With QUIET: the screen stays blank."""
    CONFIGURATION_RESET = 0x0080


POWER_DATA = Header(
    "power_data",
    (
        Field("enterprise", 32),
        Field("special_command", 8),
        Field("special_parameter", 16),
        Field("boot_options", 16),
        Field("oem_parameters", 16),
    ),
    "DSP0136 3.2.4.1",
)
"""Data of 10h, 11h and 13h; it may be absent. The NIC keeps it for the host's firmware."""
PONG_DATA = Header(
    "pong_data",
    (
        Field("enterprise", 32),
        Field("oem", 32),
        Field("entities", 8),
        Field("interactions", 8),
        Field("reserved", 48),
    ),
    "DSP0136 3.2.4.3",
)
PONG_ENTITIES = 0x01
"""ASF version 1.0 (low nibble), no IPMI (bit 7)."""
PONG_INTERACTIONS = 0x00
"""No RSP security extensions: the secured port is secured by IPsec."""
CAPABILITIES_DATA = Header(
    "capabilities_data",
    (
        Field("enterprise", 32),
        Field("oem", 32),
        Field("special_commands", 16),
        Field("system", 8),
        Field("firmware", 32),
        Field("reserved", 8),
    ),
    "DSP0136 3.2.4.4",
)
CAPABILITIES_SYSTEM = 0x0F
"""Reset, power-up, power-down and power-cycle, only on the secured port."""
CAPABILITIES_SYSTEM_CLEAR = 0xF0
"""The same on either port: `spec.host.ClearPort.EVERYTHING`."""
CAPABILITIES_SPECIAL_COMMANDS = 0x001F
"""All of `SpecialCommand` are handed on to the host's firmware."""
CAPABILITIES_FIRMWARE = 0x67F8_0000
"""So are all of `BootOption`; in the first octet bit 0 says blank screen."""
SYSTEM_STATE_DATA = Header(
    "system_state_data",
    (Field("system_state", 8), Field("watchdog_state", 8), Field("reserved", 16)),
    "DSP0136 3.2.4.6",
)
WATCHDOG_EXPIRED = 0x01
"""Bit of the watchdog state octet: the heartbeat's window passed."""
ZEROISE_ANSWER_CYCLES = 1 << 15
"""Cycles that ZEROISE waits at most for its answer to be whole; then it is done without."""
COMMIT_DATA = Header("commit_data", (Field("spi", 32),), "docs/rmcp.md")
COMMITTED_DATA = Header(
    "committed_data",
    (Field("spi", 32), Field("result", 8), Field("reserved", 24)),
    "docs/rmcp.md",
)
SA_STATUS_DATA = Header(
    "sa_status_data",
    (
        Field("bank_a_state", 8),
        Field("bank_b_state", 8),
        Field("under_bank", 8),
        Field("host_state", 8),
        Field("bank_a_spi", 32),
        Field("bank_b_spi", 32),
    ),
    "docs/rmcp.md",
)
"""Bank states are `spec.sa.BankState`; SPIs are inbound ones, 0 where the bank is EMPTY;
`under_bank` is the bank (0 = A) that authenticated the request; `host_state` is
`spec.host.HostState`."""
