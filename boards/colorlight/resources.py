"""What hangs on the pins of both boards, its levels and electrical settings; all is of 3.3 V.

A pin is a ball, or `connector_number:pin` of a connector of the platform.
"""

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource, Subsignal

__all__ = [
    "OSCILLATOR_HZ",
    "PACKET_HZ",
    "flash",
    "host_control",
    "host_state",
    "oscillator",
    "phy_management",
    "rgmii",
    "uart",
    "zeroise",
]

OSCILLATOR_HZ = 25_000_000
PACKET_HZ = 125_000_000
"""The packet clock: one octet per cycle at 1 Gbit/s. The receive clocks are as fast."""

_LVCMOS33 = {"IO_TYPE": "LVCMOS33"}


def oscillator(pin: str) -> Resource:
    """The oscillator."""
    return Resource("clk25", 0, Pins(pin, dir="i"), Clock(OSCILLATOR_HZ), Attrs(**_LVCMOS33))


def rgmii(
    number: int, *, tx_clk: str, tx_ctl: str, tx_data: str, rx_clk: str, rx_ctl: str, rx_data: str
) -> Resource:
    """The data side of a PHY."""
    return Resource(
        "rgmii",
        number,
        Subsignal("tx_clk", Pins(tx_clk, dir="o"), Attrs(SLEWRATE="FAST")),
        Subsignal("tx_ctl", Pins(tx_ctl, dir="o"), Attrs(SLEWRATE="FAST")),
        Subsignal("tx_data", Pins(tx_data, dir="o"), Attrs(SLEWRATE="FAST")),
        Subsignal("rx_clk", Pins(rx_clk, dir="i"), Clock(PACKET_HZ)),
        Subsignal("rx_ctl", Pins(rx_ctl, dir="i")),
        Subsignal("rx_data", Pins(rx_data, dir="i")),
        Attrs(**_LVCMOS33),
    )


def phy_management(*, reset: str, mdc: str, mdio: str) -> Resource:
    """What both PHYs share."""
    return Resource(
        "phy_management",
        0,
        Subsignal("reset", PinsN(reset, dir="o")),
        Subsignal("mdc", Pins(mdc, dir="o")),
        Subsignal("mdio", Pins(mdio, dir="io"), Attrs(PULLMODE="UP")),
        Attrs(**_LVCMOS33),
    )


def uart(*, tx: str, rx: str) -> Resource:
    """The serial line of the register bus."""
    return Resource(
        "uart",
        0,
        Subsignal("tx", Pins(tx, dir="o")),
        Subsignal("rx", Pins(rx, dir="i"), Attrs(PULLMODE="UP")),
        Attrs(**_LVCMOS33),
    )


def host_control(*, reset: str, power: str) -> Resource:
    """To the host's front-panel header, active high."""
    return Resource(
        "host_control",
        0,
        Subsignal("reset", Pins(reset, dir="o")),
        Subsignal("power", Pins(power, dir="o")),
        Attrs(**_LVCMOS33),
    )


def host_state(*, reset: str, sleep: str, off: str) -> Resource:
    """From the host's mainboard; active low, so that an open input says "up and running"."""
    return Resource(
        "host_state",
        0,
        Subsignal("reset", PinsN(reset, dir="i")),
        Subsignal("sleep", PinsN(sleep, dir="i")),
        Subsignal("off", PinsN(off, dir="i")),
        Attrs(PULLMODE="UP", **_LVCMOS33),
    )


def zeroise(pin: str) -> Resource:
    """The zeroise button, to ground."""
    return Resource("zeroise", 0, PinsN(pin, dir="i"), Attrs(PULLMODE="UP", **_LVCMOS33))


def flash(*, cs_n: str, mosi: str, miso: str) -> Resource:
    """The FPGA's configuration flash; its clock is no pin that a design names (USRMCLK)."""
    return Resource(
        "flash",
        0,
        Subsignal("cs_n", Pins(cs_n, dir="o")),
        Subsignal("mosi", Pins(mosi, dir="o")),
        Subsignal("miso", Pins(miso, dir="i"), Attrs(PULLMODE="UP")),
        Attrs(**_LVCMOS33),
    )
