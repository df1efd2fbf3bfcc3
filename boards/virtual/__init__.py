"""The virtual board: the NIC's gateware as a process, on two TAP devices.

docs/virtual_board.md describes it.
"""
