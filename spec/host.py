"""States of the managed host, as the NIC tells them (seed, figure 6)."""

from __future__ import annotations

from enum import IntEnum


class HostState(IntEnum):
    """What the NIC's monitor concludes from the pins, the heartbeat and the SAD."""

    COLD_BOOT = 0
    """No SA to rely upon, and the OS is not up."""
    PRE_BOOT = 1
    """Since its reset, power-up or wake-up no heartbeat was heard."""
    OS_UP = 2
    """The agent's heartbeat is within its window."""
    OS_HUNG = 3
    """The heartbeat was there, and its window passed without another."""
    SUSPEND = 4
    """The sleep input is asserted."""
    SOFT_OFF = 5
    """The power-off input is asserted."""


class ClearPort(IntEnum):
    """What the clear port answers, where it is open; another number is taken for NOTHING."""

    NOTHING = 0
    DISCOVERY = 1
    """Presence and capabilities."""
    EVERYTHING = 2
    """That, the system state, and power commands without boot options: of whoever asks."""


class HostEvent(IntEnum):
    """What the NIC notes in its log of events."""

    STATE = 1
    """The host's state changed."""
    WATCHDOG = 2
    """The window passed without another heartbeat of the OS."""
    BOOT_PROGRESS = 3
    BOOT_ERROR = 4
    """Told by firmware in BOOT_PROGRESS."""
    BOOT_HANG = 5
    """Told by firmware, or the window passed that firmware had started."""
    TAMPER = 6
    """TAMPER_FAILURES wrong ICVs within TAMPER_MS."""
    ZEROISED = 7
    """The board's button, or an administrator's Zeroise, emptied all banks."""
    SOFT_LIMIT = 9
    """An SA reached the soft limit of its lifetime: it is to be replaced."""
    HARD_LIMIT = 10
    """It reached the hard limit. A bank that is not PROVEN is given up, a PROVEN one goes on."""
    PRESENT = 8
    """Never in the log: the heartbeat among alerts."""


BANK_EVENTS = (HostEvent.SOFT_LIMIT, HostEvent.HARD_LIMIT)
"""Events whose code is the number of a bank."""


class BootKind(IntEnum):
    """What firmware tells; the offset of a PET of sensor type 0Fh (IPMI 2.0 table 42-3)."""

    ERROR = 0
    HANG = 1
    PROGRESS = 2


class BootError(IntEnum):
    """Codes of BootKind.ERROR (IPMI 2.0 table 42-3, sensor type 0Fh, offset 00h)."""

    UNSPECIFIED = 0x00
    NO_MEMORY = 0x01
    NO_USABLE_MEMORY = 0x02
    HARD_DISK = 0x03
    SYSTEM_BOARD = 0x04
    DISKETTE = 0x05
    HARD_DISK_CONTROLLER = 0x06
    KEYBOARD = 0x07
    NO_BOOT_MEDIUM = 0x08
    VIDEO_CONTROLLER = 0x09
    NO_VIDEO_DEVICE = 0x0A
    FIRMWARE_CORRUPT = 0x0B
    CPU_VOLTAGE = 0x0C
    CPU_SPEED = 0x0D


class BootProgress(IntEnum):
    """Codes of BootKind.PROGRESS and HANG (IPMI 2.0 table 42-3, sensor type 0Fh, offset 02h)."""

    UNSPECIFIED = 0x00
    MEMORY = 0x01
    HARD_DISK = 0x02
    SECONDARY_PROCESSORS = 0x03
    USER_AUTHENTICATION = 0x04
    SETUP = 0x05
    USB = 0x06
    PCI = 0x07
    OPTION_ROM = 0x08
    VIDEO = 0x09
    CACHE = 0x0A
    SM_BUS = 0x0B
    KEYBOARD_CONTROLLER = 0x0C
    MANAGEMENT_CONTROLLER = 0x0D
    DOCKING = 0x0E
    DOCKING_ENABLED = 0x0F
    DOCKING_EJECTION = 0x10
    DOCKING_DISABLED = 0x11
    OS_WAKE_VECTOR = 0x12
    OS_BOOT = 0x13
    BASEBOARD = 0x14
    FLOPPY = 0x16
    KEYBOARD_TEST = 0x17
    POINTING_DEVICE_TEST = 0x18
    PRIMARY_PROCESSOR = 0x19


EVENTS = 16
"""Events that the log keeps; a newer one takes the place of the oldest."""
TAMPER_FAILURES = 32
TAMPER_MS = 10_000

HEARTBEAT_MAGIC = 0x48425421
"""Written to HEARTBEAT by the agent; a value that is none of these is ignored."""
HEARTBEAT_BOOT = 0x48425442
"""Written to HEARTBEAT by firmware: starts the same window, and the host stays in PRE_BOOT."""
HEARTBEAT_STOP = 0x48425453
"""Written to HEARTBEAT by the agent on an orderly stop, or by firmware: the window ends without a
fault; PRE_BOOT, not OS_HUNG."""
HEARTBEAT_MS_DEFAULT = 5000
HEARTBEAT_MS_MIN = 100
HEARTBEAT_MS_MAX = 600_000

RESET_PULSE_MS = 250
"""Length of the pulse on the reset pin."""
POWER_PRESS_MS = 200
"""A short press of the power button: switches an off or sleeping host on."""
POWER_HOLD_MS = 5000
"""A press this long switches any host off; it ends early once the host is off."""
POWER_CYCLE_OFF_MS = 1000
"""How long a power-cycled host stays off before it is switched on again."""
PIN_REST_MS = 100
"""Between two commands both pins rest so long, or the host would take two presses for one."""
