"""Pins of the board and their electrical settings."""

from amaranth.build import Attrs, Clock, Connector, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform

__all__ = ["OSCILLATOR_HZ", "PACKET_HZ", "Colorlight5A75BPlatform"]

OSCILLATOR_HZ = 25_000_000
"""The oscillator, which both PHYs share."""
PACKET_HZ = 125_000_000
"""The packet clock: one octet per cycle at 1 Gbit/s. The receive clocks are as fast."""

LVCMOS33 = {"IO_TYPE": "LVCMOS33"}


def _phy(number: int, *, tx_clk, tx_ctl, tx_data, rx_clk, rx_ctl, rx_data) -> Resource:
    return Resource(
        "rgmii",
        number,
        Subsignal("tx_clk", Pins(tx_clk, dir="o"), Attrs(SLEWRATE="FAST")),
        Subsignal("tx_ctl", Pins(tx_ctl, dir="o"), Attrs(SLEWRATE="FAST")),
        Subsignal("tx_data", Pins(tx_data, dir="o"), Attrs(SLEWRATE="FAST")),
        Subsignal("rx_clk", Pins(rx_clk, dir="i"), Clock(PACKET_HZ)),
        Subsignal("rx_ctl", Pins(rx_ctl, dir="i")),
        Subsignal("rx_data", Pins(rx_data, dir="i")),
        Attrs(**LVCMOS33),
    )


class Colorlight5A75BPlatform(LatticeECP5Platform):
    """LFE5U-25F-6BG256C on the Colorlight 5A-75B, revision 7.0."""

    device = "LFE5U-25F"
    package = "BG256"
    speed = "6"
    default_clk = "clk25"

    # Pins 9 to 12 of each connector, and 8 and 13 to 15, are common to several; they are not used.
    connectors = (
        Connector("j", 1, "F3 F1 G3 - G2 H3 H5 F15 L2 K1 J5 K2 B16 J14 F12 -"),
        Connector("j", 3, "H4 K5 P1 - R1 L5 F2 F15 L2 K1 J5 K2 B16 J14 F12 -"),
        Connector("j", 4, "P4 R2 M8 - M9 T6 R6 F15 L2 K1 J5 K2 B16 J14 F12 -"),
        Connector("j", 19, "- M13 - - P11"),
    )
    resources = (
        Resource("clk25", 0, Pins("P6", dir="i"), Clock(OSCILLATOR_HZ), Attrs(**LVCMOS33)),
        _phy(
            0,
            tx_clk="M2",
            tx_ctl="M3",
            tx_data="L1 L3 P2 L4",
            rx_clk="M1",
            rx_ctl="N6",
            rx_data="N1 M5 N5 M6",
        ),
        _phy(
            1,
            tx_clk="M12",
            tx_ctl="R15",
            tx_data="T14 R12 R13 R14",
            rx_clk="M16",
            rx_ctl="L15",
            rx_data="P13 N13 P14 M15",
        ),
        # Both PHYs share these.
        Resource(
            "phy_management",
            0,
            Subsignal("reset", PinsN("P5", dir="o")),
            Subsignal("mdc", Pins("P3", dir="o")),
            Subsignal("mdio", Pins("T2", dir="io"), Attrs(PULLMODE="UP")),
            Attrs(**LVCMOS33),
        ),
        # The only pins of a connector without a level shifter: DATA_LED- and KEY+.
        Resource(
            "uart",
            0,
            Subsignal("tx", Pins("5", dir="o", conn=("j", 19))),
            Subsignal("rx", Pins("2", dir="i", conn=("j", 19)), Attrs(PULLMODE="UP")),
            Attrs(**LVCMOS33),
        ),
        # To the host's front-panel header, behind a 5 V buffer; active high.
        Resource(
            "host_control",
            0,
            Subsignal("reset", Pins("1", dir="o", conn=("j", 1))),
            Subsignal("power", Pins("2", dir="o", conn=("j", 1))),
            Attrs(**LVCMOS33),
        ),
        # From the host's mainboard, by a bus switch in place of the 5 V buffer U23; active low, so
        # that an open input says "up and running".
        Resource(
            "host_state",
            0,
            Subsignal("reset", PinsN("1", dir="i", conn=("j", 4))),
            Subsignal("sleep", PinsN("2", dir="i", conn=("j", 4))),
            Subsignal("off", PinsN("6", dir="i", conn=("j", 3))),
            Attrs(PULLMODE="UP", **LVCMOS33),
        ),
        Resource(
            "zeroise",
            0,
            PinsN("7", dir="i", conn=("j", 3)),
            Attrs(PULLMODE="UP", **LVCMOS33),
        ),
    )
