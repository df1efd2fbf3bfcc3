"""Pins of the board, and what lies where in its flash."""

from amaranth.build import Connector
from amaranth.vendor import LatticeECP5Platform

from boards.colorlight.resources import (
    flash,
    host_control,
    host_state,
    oscillator,
    phy_management,
    rgmii,
    uart,
    zeroise,
)

__all__ = ["FLASH_BASE", "FLASH_OCTETS", "ColorlightI9Platform"]

FLASH_OCTETS = 8 << 20
"""Of the W25Q64JV. The bitstream begins at 0."""
FLASH_BASE = FLASH_OCTETS - (64 << 10)
"""Where the NIC's store begins: in the last block of 64 KiB, far behind any bitstream, so that a
tool that erases by blocks leaves it alone."""


class ColorlightI9Platform(LatticeECP5Platform):
    """LFE5U-45F-6BG381C on the Colorlight i9, revision 7.2."""

    device = "LFE5U-45F"
    package = "BG381"
    speed = "6"
    default_clk = "clk25"

    # Those pins of the card's edge that are in use.
    connectors = (
        Connector(
            "sodimm",
            0,
            {
                **{"84": "J17", "86": "H18"},
                **{"125": "C17", "121": "B18"},
                **{"149": "D1", "145": "C1", "141": "C2", "137": "E3"},
            },
        ),
    )
    resources = (
        oscillator("P3"),
        rgmii(
            0,
            tx_clk="U19",
            tx_ctl="P19",
            tx_data="U20 T19 T20 R20",
            rx_clk="L19",
            rx_ctl="M20",
            rx_data="P20 N19 N20 M19",
        ),
        rgmii(
            1,
            tx_clk="G1",
            tx_ctl="K1",
            tx_data="G2 H1 J1 J3",
            rx_clk="H2",
            rx_ctl="P2",
            rx_data="K2 L1 N1 P1",
        ),
        phy_management(reset="P4", mdc="N5", mdio="P5"),
        flash(cs_n="R2", mosi="W2", miso="V2"),
        # The serial line of the extension board's USB port.
        uart(tx="sodimm_0:84", rx="sodimm_0:86"),
        # One PMOD of the extension board has the outputs, the other one the inputs.
        host_control(reset="sodimm_0:125", power="sodimm_0:121"),
        host_state(reset="sodimm_0:149", sleep="sodimm_0:145", off="sodimm_0:141"),
        zeroise("sodimm_0:137"),
    )
