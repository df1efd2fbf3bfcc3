"""Where a datagram goes between: both hosts and both ports."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    """The path of a datagram, seen from this side.

    Its first two fields are what the socket calls give and take for the peer. The local ones say
    at which address and port a datagram came in, or from which socket it is to leave: IKE lives
    on two ports, and the local address enters NAT detection (RFC 7296 2.23). Hosts are numeric.
    A local host that is not known is an empty string; the peers then take it that there is a NAT.
    """

    host: str
    port: int
    local_host: str
    local_port: int


class Datagram(NamedTuple):
    """One UDP datagram to send, non-ESP marker included where the port needs it."""

    data: bytes
    addr: Address
