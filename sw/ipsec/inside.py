"""What an authenticated packet holds: a UDP datagram, in transport or tunnel mode."""

from __future__ import annotations

from dataclasses import dataclass

from spec.headers import PROTOCOL_IPV4, PROTOCOL_IPV6, PROTOCOL_UDP, UDP, VERSION_IPV4
from sw.ike.selectors import IpAddress
from sw.ipsec.errors import DropReason, PacketDroppedError
from sw.ipsec.ip import build_ip, parse_ip
from sw.ipsec.udp import UdpDatagram, UdpSelector, UdpSelectorSet, build_udp, parse_udp


@dataclass(frozen=True, slots=True)
class AddressPair:
    """Addresses that packets under an SA go between.

    Source: RFC 4301 4.4.1.1.
    """

    source: IpAddress
    destination: IpAddress

    def __post_init__(self) -> None:
        if self.source.version != self.destination.version:
            raise ValueError(f"{self.source} and {self.destination} are of two families")


@dataclass(frozen=True, slots=True)
class OpenedDatagram:
    """What an inbound packet held.

    Parameters
    ----------
    spi : int
        The SA that authenticated it; of AH around ESP, the ESP SA.
    sequence : int
        Its 64-bit number.
    datagram : UdpDatagram
        What was inside.
    """

    spi: int
    sequence: int
    datagram: UdpDatagram


def tunnel_protocol(version: int) -> int:
    """Next header of a packet of this IP version in a tunnel."""
    return PROTOCOL_IPV4 if version == VERSION_IPV4 else PROTOCOL_IPV6


def build_inside(
    datagram: UdpDatagram, source: IpAddress, destination: IpAddress, *, tunnel: bool, number: int
) -> tuple[int, bytes]:
    """Next header and octets of a datagram, in a tunnel with an IP header of its own.

    Raises ValueError for what does not fit, or for addresses of two families.
    """
    octets = build_udp(datagram, source, destination)
    if not tunnel:
        return PROTOCOL_UDP, octets
    packet = build_ip(source, destination, PROTOCOL_UDP, octets, number=number)
    return tunnel_protocol(source.version), packet.pack()


def parse_inside(
    next_header: int,
    octets: bytes,
    *,
    inner: AddressPair | None,
    selector: UdpSelector | UdpSelectorSet,
    padded: bool,
) -> UdpDatagram:
    """The datagram in what was authenticated; raises PacketDroppedError.

    With `inner` the SA is a tunnel, and the packet in it must be between these addresses. Where it
    may be `padded`, in ESP, what stands behind the datagram, or behind the packet in a tunnel, is
    left out: it hides the length.

    Source: RFC 4301 5.2, RFC 4303 2.7.
    """
    if next_header != (PROTOCOL_UDP if inner is None else tunnel_protocol(inner.source.version)):
        raise PacketDroppedError(DropReason.NEXT_HEADER)
    if inner is not None:
        try:
            packet = parse_ip(octets)
        except PacketDroppedError:
            raise PacketDroppedError(DropReason.SELECTOR) from None
        if (
            packet.protocol != PROTOCOL_UDP
            or inner != AddressPair(packet.source, packet.destination)
            or not (padded or len(packet.pack()) == len(octets))
        ):
            raise PacketDroppedError(DropReason.SELECTOR)
        octets = packet.payload
    elif padded and len(octets) >= UDP.octets:
        octets = octets[: UDP.unpack(octets)["octets"]]
    try:
        datagram = parse_udp(octets)
    except ValueError:
        raise PacketDroppedError(DropReason.SELECTOR) from None
    if not selector.matches(datagram):
        raise PacketDroppedError(DropReason.SELECTOR)
    return datagram
