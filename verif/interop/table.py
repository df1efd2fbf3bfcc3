"""The whole table: importing this enters every cell."""

from verif.interop import cells_chain, cells_ike, cells_linux
from verif.interop.cells import CELLS, Cell

__all__ = ["CELLS", "FAMILIES", "Cell"]

FAMILIES = (cells_ike, cells_linux, cells_chain)
"""The modules that hold cells."""
