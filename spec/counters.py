"""Every frame that arrives on the wire ends under exactly one of these counters.

FRAMES_IN = PASSED + DELIVERED + the sum of all drops, whenever nothing is in flight.
"""

from __future__ import annotations

from enum import IntEnum


class Counter(IntEnum):
    """Index of a counter in the COUNTERS register array. 32 bits, wrapping."""

    FRAMES_IN = 0
    PASSED = 1
    """Left to the host, bit for bit."""
    DELIVERED = 2
    """Acted on by the NIC: an ARP answer, or a message the command engine took."""
    DROP_FRAME = 3
    """Receive error or bad FCS, a frame below 14 octets."""
    DROP_HOST_FULL = 4
    """For the host, whose buffer had no room: the host does not keep up."""
    DROP_OVERLOAD = 5
    """For the NIC, whose buffers had no room."""
    DROP_IP_HEADER = 6
    """Ours by address, protocol and port, but with a bad IPv4 checksum or a lying length."""
    DROP_FRAGMENT = 7
    """A fragment of a protected packet."""
    DROP_UDP_LENGTH = 8
    """UDP length beyond the IP packet or below 8, on a port that is ours."""
    DROP_CLEAR_PROTECTED = 9
    """In clear to the protected port 664."""
    DROP_CLEAR_POLICY = 10
    """In clear to port 623 while policy does not allow this message there."""
    DROP_UNKNOWN_SPI = 11
    """ESP or AH from a context's station with an SPI that no receiving bank has (0 to 255
    included), or ESP in AH with the SPI of another bank."""
    DROP_ESP_LENGTH = 12
    """ESP too short, not a multiple of four, or over the path's limit."""
    DROP_REPLAY_OLD = 13
    """Sequence number left of the anti-replay window."""
    DROP_REPLAY_DUPLICATE = 14
    """Sequence number in the window and seen before."""
    DROP_ICV = 15
    """ICV wrong."""
    DROP_PADDING = 16
    """Pad length beyond the packet, or padding not 1, 2, 3 ... (RFC 4303 2.4)."""
    DROP_NEXT_HEADER = 17
    """Authenticated, but its next header is not UDP."""
    DROP_SELECTOR = 18
    """Authenticated, but not to UDP port 664, or its UDP length lies."""
    DROP_RMCP_MALFORMED = 19
    """Authenticated, but no well-formed RMCP/ASF message."""
    DROP_RMCP_UNKNOWN = 20
    """Authenticated, but of a class, enterprise or type the NIC does not know."""
    DROP_IP_OPTION = 21
    """Ours, but with an IPv4 option before AH that is malformed or not in the table of RFC 4302 A1,
    or an IPv6 extension header that is malformed, has segments left, or lies beyond the limit."""
    DROP_AH_LENGTH = 22
    """AH's length is not that of its suite, its reserved field not 0, or the packet too short."""
    DROP_PROTOCOL = 23
    """Not the protocols of its SA: ESP without the AH that belongs to it, or AH without ESP."""
    DROP_DUMMY = 24
    """Authenticated, with next header 59: traffic flow confidentiality (RFC 4303 2.6)."""
    DROP_RMCP_ROLE = 25
    """Authenticated and well-formed, but of an administrator's kind under an operator's SA."""


COUNTER_COUNT = len(Counter)
