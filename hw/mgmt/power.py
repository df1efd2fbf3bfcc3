"""What the command engine asks of the pins."""

from amaranth.lib import enum

from spec.rmcp import AsfType

__all__ = ["PowerAction"]


class PowerAction(enum.Enum, shape=2):
    """The four commands; the value is the low two bits of the ASF message type."""

    RESET = AsfType.RESET & 3
    UP = AsfType.POWER_UP & 3
    DOWN = AsfType.POWER_DOWN & 3
    CYCLE = AsfType.POWER_CYCLE & 3
