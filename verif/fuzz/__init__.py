"""Random frames for differential fuzzing of the NIC and its model.

Packets are built here from `cryptography`, `struct` and the numbers of the RFCs alone: neither
`spec` nor the model has a say in what a right packet is.
"""

from verif.fuzz.generator import Action, Advance, BusWrite, Frame, ZeroiseInput, frames
from verif.fuzz.sealing import Sa

__all__ = ["Action", "Advance", "BusWrite", "Frame", "Sa", "ZeroiseInput", "frames"]
