"""The frame check sequence, for the MACs of both directions."""

from amaranth.lib.crc import Parameters, Processor
from amaranth.lib.crc.catalog import CRC32_ETHERNET

__all__ = ["FCS_OCTETS", "FCS_PARAMETERS", "Fcs"]

FCS_OCTETS = 4
"""Octets of the FCS, which ends each frame."""

FCS_PARAMETERS: Parameters = CRC32_ETHERNET(data_width=8)
"""CRC-32 over octets: one object for gateware (`Fcs`) and for software (`compute`)."""


def Fcs() -> Processor:
    """Circuit that runs the FCS over one octet per cycle.

    `start` begins a frame, `data` with `valid` adds an octet. A cycle after the last octet `crc` is
    the FCS to send, bits 7:0 first; or, where the FCS went through as well, `match_detected` says
    that it was right. Octets of the frame only: neither preamble nor start frame delimiter.

    Source: IEEE 802.3 3.2.9.
    """
    return FCS_PARAMETERS.create()
