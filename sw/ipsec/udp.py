"""The UDP datagram inside an ESP packet."""

from __future__ import annotations

from dataclasses import dataclass

from spec.headers import PROTOCOL_UDP, UDP
from sw.ike.selectors import IpAddress
from sw.ipsec.checksum import checksum


@dataclass(frozen=True, slots=True)
class UdpDatagram:
    """A UDP datagram.

    Parameters
    ----------
    source_port, destination_port : int
        Ports.
    payload : bytes
        What it carries.
    """

    source_port: int
    destination_port: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class UdpSelector:
    """Ports that an SA lets through; None stands for any.

    Source: RFC 4301 4.4.1.1.
    """

    source_port: int | None = None
    destination_port: int | None = None

    def matches(self, datagram: UdpDatagram) -> bool:
        """Whether the SA is for this datagram."""
        return self.source_port in (None, datagram.source_port) and self.destination_port in (
            None,
            datagram.destination_port,
        )


@dataclass(frozen=True, slots=True)
class UdpSelectorSet:
    """Several selectors of one SA, of which one is enough."""

    selectors: tuple[UdpSelector, ...]

    def matches(self, datagram: UdpDatagram) -> bool:
        """Whether the SA is for this datagram."""
        return any(selector.matches(datagram) for selector in self.selectors)


ANY_PORT = UdpSelector()


def build_udp(datagram: UdpDatagram, source: IpAddress, destination: IpAddress) -> bytes:
    """The datagram with its header and checksum; raises ValueError for what does not fit.

    Source: RFC 768, RFC 8200 8.1.
    """
    octets = UDP.octets + len(datagram.payload)
    ports = {
        "source_port": datagram.source_port,
        "destination_port": datagram.destination_port,
        "octets": octets,
    }
    # The longer pseudo header of IPv6 has but zeros more, and so the same sum.
    pseudo = source.packed + destination.packed + bytes((0, PROTOCOL_UDP))
    pseudo += octets.to_bytes(2, "big")
    value = checksum(pseudo + UDP.pack(**ports) + datagram.payload)
    # A sum of zero is sent as all ones, for zero means that there is none.
    return UDP.pack(**ports, checksum=value or 0xFFFF) + datagram.payload


def parse_udp(octets: bytes) -> UdpDatagram:
    """The datagram in authenticated octets; raises ValueError if its length is not theirs.

    The checksum is not looked at: the ICV covers all of it, and behind a NAT it cannot be right
    (RFC 3948 3.1.2).
    """
    header = UDP.unpack(octets)
    if header["octets"] != len(octets):
        raise ValueError(f"UDP length {header['octets']} in {len(octets)} octets")
    return UdpDatagram(header["source_port"], header["destination_port"], octets[UDP.octets :])
