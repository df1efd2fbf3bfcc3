"""What `boards.build` must know of this board."""

from amaranth.hdl import Elaboratable

from boards.colorlight.clocks import CLOCKS
from boards.colorlight.resources import PACKET_HZ
from boards.colorlight.top import Top
from boards.colorlight_5a_75b.platform import Colorlight5A75BPlatform
from hw.nic import Nic

__all__ = ["CLOCKS", "DEVICE", "NEXTPNR_OPTIONS", "SEED", "design", "platform"]

DEVICE = "LFE5U-25F-6BG256C"
SEED = 2
NEXTPNR_OPTIONS = ("--25k", "--package", "CABGA256", "--speed", "6", "--placer", "static")
"""The electrostatic placer takes two minutes; with the default, HeAP, nothing was legal in ten."""


def platform() -> Colorlight5A75BPlatform:
    """The board's pins."""
    return Colorlight5A75BPlatform()


def design() -> Elaboratable:
    """The whole NIC on this board."""
    return Top(Nic(clock_hz=PACKET_HZ, sha_lanes=2, alerts=False, lifetimes=False, learning=False))
