"""Colorlight i9, revision 7.2: an LFE5U-45F with two Gigabit PHYs on a SODIMM card.

PHY 0 is the wire side, PHY 1 the host side. `docs/boards.md` has what the carrier must add.

Sources: the tables of wuxx's Colorlight-FPGA-Projects (colorlight_i9_v7.2.md), with which the
descriptions of this board in amaranth-boards' form (src/amaranth_boards/colorlight_i9_r7_2.py
there) and in litex-boards agree.
"""
