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


HEARTBEAT_MAGIC = 0x48425421
"""Written to HEARTBEAT by the agent; any other value is ignored."""
HEARTBEAT_STOP = 0x48425453
"""Written to HEARTBEAT by the agent on an orderly stop: back to PRE_BOOT, not OS_HUNG."""
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
