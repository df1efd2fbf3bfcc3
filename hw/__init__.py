"""Gateware: one folder per stage of a packet's way through the NIC."""
