"""The whole table: importing this enters every cell."""

from verif.interop import cells_agent, cells_chain, cells_ike, cells_linux, cells_tools
from verif.interop.cells import CELLS, Cell

__all__ = ["CELLS", "FAMILIES", "Cell"]

FAMILIES = (cells_ike, cells_linux, cells_chain, cells_tools, cells_agent)
"""The modules that hold cells."""
