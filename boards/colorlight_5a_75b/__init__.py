"""Colorlight 5A-75B, revision 7.0: an LFE5U-25F with two Gigabit PHYs.

PHY 0 is the wire side, PHY 1 the host side. `docs/boards.md` has the connectors and the changes
that the board needs.

Sources: the pin tables of the chubby75 project (5a-75b/hardware_V7.0.md), and the descriptions of
this board in amaranth-boards and litex-boards, which agree with it.
"""
