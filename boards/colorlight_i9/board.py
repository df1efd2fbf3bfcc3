"""What `boards.build` must know of this board."""

from amaranth.hdl import Elaboratable

from boards.colorlight.clocks import CLOCKS
from boards.colorlight.resources import PACKET_HZ
from boards.colorlight.top import Top
from boards.colorlight_i9.platform import FLASH_BASE, ColorlightI9Platform
from hw.nic import Nic

__all__ = ["CLOCKS", "DEVICE", "NEXTPNR_OPTIONS", "SEED", "design", "platform"]

DEVICE = "LFE5U-45F-6BG381C"
SEED = 1
NEXTPNR_OPTIONS = ("--45k", "--package", "CABGA381", "--speed", "6")


def platform() -> ColorlightI9Platform:
    """The board's pins."""
    return ColorlightI9Platform()


def design() -> Elaboratable:
    """The whole NIC on this board, with alerts and with a store in the flash of the bitstream."""
    return Top(Nic(clock_hz=PACKET_HZ, sha_lanes=3, alerts=True, flash_base=FLASH_BASE))
