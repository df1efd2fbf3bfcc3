"""Measurements of the verilated NIC: `python -m verif.bench datapath`."""
