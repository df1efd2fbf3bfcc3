"""Pins of the board."""

from amaranth.build import Connector
from amaranth.vendor import LatticeECP5Platform

from boards.colorlight.resources import (
    host_control,
    host_state,
    oscillator,
    phy_management,
    rgmii,
    uart,
    zeroise,
)

__all__ = ["Colorlight5A75BPlatform"]


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
        oscillator("P6"),
        rgmii(
            0,
            tx_clk="M2",
            tx_ctl="M3",
            tx_data="L1 L3 P2 L4",
            rx_clk="M1",
            rx_ctl="N6",
            rx_data="N1 M5 N5 M6",
        ),
        rgmii(
            1,
            tx_clk="M12",
            tx_ctl="R15",
            tx_data="T14 R12 R13 R14",
            rx_clk="M16",
            rx_ctl="L15",
            rx_data="P13 N13 P14 M15",
        ),
        phy_management(reset="P5", mdc="P3", mdio="T2"),
        # The only pins of a connector without a level shifter: DATA_LED- and KEY+.
        uart(tx="j_19:5", rx="j_19:2"),
        # Behind a 5 V buffer.
        host_control(reset="j_1:1", power="j_1:2"),
        # By a bus switch in place of the 5 V buffer U23.
        host_state(reset="j_4:1", sleep="j_4:2", off="j_3:6"),
        zeroise("j_3:7"),
    )
