"""IP packets around and inside of what is protected.

Source: RFC 791 3.1, RFC 8200 3 and 4, RFC 4302 3.3.3.1 and appendix A.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from spec.headers import (
    IPV4,
    IPV4_OPTIONS_IMMUTABLE,
    IPV4_OPTIONS_MUTABLE,
    IPV6,
    IPV6_EXTENSION,
    IPV6_OPTION_MUTABLE,
    PROTOCOL_DESTINATION_OPTIONS,
    PROTOCOL_HOP_BY_HOP,
    PROTOCOL_ROUTING,
    VERSION_IPV4,
    VERSION_IPV6,
)
from sw.ike.selectors import IpAddress
from sw.ipsec.checksum import checksum
from sw.ipsec.errors import DropReason, PacketDroppedError

_HOPS = 64
_OCTETS_MAX = 0xFFFF
_EXTENSIONS = (PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING, PROTOCOL_DESTINATION_OPTIONS)
_IPV4_PROTOCOL_AT = 9
_IPV6_NEXT_HEADER_AT = 6
_IPV4_CHECKSUM = slice(10, 12)
_IPV4_END, _IPV4_NO_OPERATION = 0, 1
"""Options without a length (RFC 791 3.1)."""
_IPV6_PAD1 = 0


@dataclass(frozen=True, slots=True)
class IpPacket:
    """A whole IP packet.

    Parameters
    ----------
    source, destination : IPv4Address or IPv6Address
        Its addresses.
    protocol : int
        Of the payload.
    headers : bytes
        IPv4 header with its options, or IPv6 header with its extension headers.
    protocol_at : int
        Where in `headers` the protocol stands.
    payload : bytes
        What follows.
    """

    source: IpAddress
    destination: IpAddress
    protocol: int
    headers: bytes
    protocol_at: int
    payload: bytes

    def pack(self) -> bytes:
        """Its octets."""
        return self.headers + self.payload

    def carrying(self, protocol: int, payload: bytes) -> IpPacket:
        """The same headers before another payload; raises ValueError if that is too long."""
        headers = bytearray(self.headers)
        headers[self.protocol_at] = protocol
        total = len(headers) + len(payload)
        if self.source.version == VERSION_IPV4:
            counted, at = total, 2
        else:
            counted, at = total - IPV6.octets, 4
        if counted > _OCTETS_MAX:
            raise ValueError(f"{total} octets do not fit into an IP packet")
        headers[at : at + 2] = counted.to_bytes(2, "big")
        if self.source.version == VERSION_IPV4:
            headers[_IPV4_CHECKSUM] = bytes(2)
            headers[_IPV4_CHECKSUM] = checksum(bytes(headers)).to_bytes(2, "big")
        return IpPacket(
            self.source, self.destination, protocol, bytes(headers), self.protocol_at, payload
        )

    def immutable(self) -> bytes:
        """The headers with zeros for what may change on the way; raises PacketDroppedError.

        Source: RFC 4302 3.3.3.1, A1, A2.
        """
        if self.source.version == VERSION_IPV4:
            return _immutable_v4(self.headers)
        return _immutable_v6(self.headers)


def build_ip(
    source: IpAddress, destination: IpAddress, protocol: int, payload: bytes, *, number: int = 0
) -> IpPacket:
    """A packet without options; raises ValueError for addresses of two families, or if too long.

    `number` is the identification of an IPv4 packet, of which 16 bits are taken.
    """
    if isinstance(source, IPv4Address) and isinstance(destination, IPv4Address):
        headers = IPV4.pack(
            version=VERSION_IPV4,
            header_words=IPV4.octets // 4,
            identification=number & 0xFFFF,
            dont_fragment=1,
            ttl=_HOPS,
            source=int(source),
            destination=int(destination),
        )
        at = _IPV4_PROTOCOL_AT
    elif isinstance(source, IPv6Address) and isinstance(destination, IPv6Address):
        headers = IPV6.pack(
            version=VERSION_IPV6,
            hop_limit=_HOPS,
            source=int(source),
            destination=int(destination),
        )
        at = _IPV6_NEXT_HEADER_AT
    else:
        raise ValueError(f"{source} and {destination} are of two families")
    return IpPacket(source, destination, protocol, headers, at, b"").carrying(protocol, payload)


def parse_ip(octets: bytes) -> IpPacket:
    """The IP packet at the beginning of `octets`; what stands behind it is left out.

    Raises PacketDroppedError for a fragment, and for headers that do not fit together.
    """
    version = octets[0] >> 4 if octets else 0
    if version == VERSION_IPV4:
        return _parse_v4(octets)
    if version == VERSION_IPV6:
        return _parse_v6(octets)
    raise PacketDroppedError(DropReason.IP_HEADER)


def _parse_v4(octets: bytes) -> IpPacket:
    if len(octets) < IPV4.octets:
        raise PacketDroppedError(DropReason.IP_HEADER)
    header = IPV4.unpack(octets)
    end, total = 4 * header["header_words"], header["total_octets"]
    if (
        not IPV4.octets <= end <= total <= len(octets)
        or header["more_fragments"]
        or header["fragment_offset"]
    ):
        raise PacketDroppedError(DropReason.IP_HEADER)
    return IpPacket(
        IPv4Address(header["source"]),
        IPv4Address(header["destination"]),
        header["protocol"],
        octets[:end],
        _IPV4_PROTOCOL_AT,
        octets[end:total],
    )


def _parse_v6(octets: bytes) -> IpPacket:
    if len(octets) < IPV6.octets:
        raise PacketDroppedError(DropReason.IP_HEADER)
    header = IPV6.unpack(octets)
    total = IPV6.octets + header["payload_octets"]
    if total > len(octets):
        raise PacketDroppedError(DropReason.IP_HEADER)
    octets = octets[:total]
    at, end = _IPV6_NEXT_HEADER_AT, IPV6.octets
    for start, octets_of in _extensions(octets, header["next_header"], total):
        at, end = start, start + octets_of
    # A fragment header is no extension that is walked: its protocol is nobody's.
    return IpPacket(
        IPv6Address(header["source"]),
        IPv6Address(header["destination"]),
        octets[at],
        octets[:end],
        at,
        octets[end:],
    )


def _extensions(octets: bytes, protocol: int, end: int) -> Iterator[tuple[int, int]]:
    """Where extension headers begin, and their lengths; raises PacketDroppedError."""
    at = IPV6.octets
    while protocol in _EXTENSIONS:
        if end - at < 8:
            raise PacketDroppedError(DropReason.IP_HEADER)
        header = IPV6_EXTENSION.unpack(octets[at:])
        length = 8 * (header["length"] + 1)
        if length > end - at:
            raise PacketDroppedError(DropReason.IP_HEADER)
        # A router on the way still has to change what AH covers (RFC 4302 A2).
        if protocol == PROTOCOL_ROUTING and octets[at + 3]:
            raise PacketDroppedError(DropReason.IP_HEADER)
        yield at, length
        protocol = header["next_header"]
        at += length


def _immutable_v4(headers: bytes) -> bytes:
    zeroed = bytearray(headers)
    for octet in (1, 6, 7, 8, 10, 11):  # TOS, flags and offset, TTL, checksum
        zeroed[octet] = 0
    at = IPV4.octets
    while at < len(headers):
        kind = headers[at]
        if kind == _IPV4_END:
            break
        octets = 1
        if kind != _IPV4_NO_OPERATION:
            octets = headers[at + 1] if at + 1 < len(headers) else 0
            if not 2 <= octets <= len(headers) - at:
                raise PacketDroppedError(DropReason.IP_OPTION)
        if kind in IPV4_OPTIONS_MUTABLE:
            zeroed[at : at + octets] = bytes(octets)
        elif kind not in IPV4_OPTIONS_IMMUTABLE:
            raise PacketDroppedError(DropReason.IP_OPTION)
        at += octets
    return bytes(zeroed)


def _immutable_v6(headers: bytes) -> bytes:
    zeroed = bytearray(headers)
    zeroed[0] &= 0xF0  # class and flow label
    zeroed[1:4] = bytes(3)
    zeroed[7] = 0  # hop limit
    protocol = headers[_IPV6_NEXT_HEADER_AT]
    for start, octets in _extensions(headers, protocol, len(headers)):
        if protocol != PROTOCOL_ROUTING:
            _zero_options(zeroed, start + 2, start + octets)
        protocol = headers[start]
    return bytes(zeroed)


def _zero_options(headers: bytearray, at: int, end: int) -> None:
    while at < end:
        if headers[at] == _IPV6_PAD1:
            at += 1
            continue
        if at + 2 > end or at + 2 + headers[at + 1] > end:
            raise PacketDroppedError(DropReason.IP_HEADER)
        octets = headers[at + 1]
        if headers[at] & IPV6_OPTION_MUTABLE:
            headers[at + 2 : at + 2 + octets] = bytes(octets)
        at += 2 + octets
