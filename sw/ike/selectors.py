"""Traffic selectors: codec and narrowing. Source: RFC 7296 2.9, 3.13."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from sw.ike.constants import TsType
from sw.ike.errors import malformed

_SELECTOR = struct.Struct(">BBHHH")
UDP = 17
ANY_PROTOCOL = 0
PORT_MAX = 0xFFFF
IpAddress = IPv4Address | IPv6Address
_ADDRESS_OCTETS = {TsType.IPV4_ADDR_RANGE: 4, TsType.IPV6_ADDR_RANGE: 16}


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """A range of addresses and of ports, and an IP protocol (0: any)."""

    protocol: int
    start_port: int
    end_port: int
    start: IpAddress
    end: IpAddress

    @classmethod
    def wildcard(
        cls, protocol: int = ANY_PROTOCOL, port: int | None = None, *, version: int = 4
    ) -> TrafficSelector:
        """Every address of an IP version, for a protocol, and one port or all of them."""
        first, last = (0, PORT_MAX) if port is None else (port, port)
        if version == 4:
            return cls(protocol, first, last, IPv4Address(0), IPv4Address(2**32 - 1))
        return cls(protocol, first, last, IPv6Address(0), IPv6Address(2**128 - 1))

    @classmethod
    def host(
        cls, address: str, protocol: int = ANY_PROTOCOL, port: int | None = None
    ) -> TrafficSelector:
        """One address, for a protocol, and one port or all of them."""
        first, last = (0, PORT_MAX) if port is None else (port, port)
        one = ip_address(address)
        return cls(protocol, first, last, one, one)

    def intersect(self, other: TrafficSelector) -> TrafficSelector | None:
        """What both hold; None if nothing. Source: RFC 7296 2.9."""
        if self.start.version != other.start.version:
            return None
        if self.protocol == ANY_PROTOCOL:
            protocol = other.protocol
        elif other.protocol in (ANY_PROTOCOL, self.protocol):
            protocol = self.protocol
        else:
            return None
        first, last = max(self.start_port, other.start_port), min(self.end_port, other.end_port)
        start = ip_address(max(int(self.start), int(other.start)).to_bytes(self._octets, "big"))
        end = ip_address(min(int(self.end), int(other.end)).to_bytes(self._octets, "big"))
        if first > last or int(start) > int(end):
            return None
        return TrafficSelector(protocol, first, last, start, end)

    def contains(self, other: TrafficSelector) -> bool:
        """Whether the other is a subset."""
        return self.intersect(other) == other

    @property
    def _octets(self) -> int:
        return self.start.max_prefixlen // 8


def narrow(
    offered: Sequence[TrafficSelector], policy: Sequence[TrafficSelector]
) -> tuple[TrafficSelector, ...]:
    """Narrow an offer to the policy, order kept, doubles left out; empty if nothing is left."""
    kept: dict[TrafficSelector, None] = {}
    for theirs in offered:
        for ours in policy:
            both = theirs.intersect(ours)
            if both is not None:
                kept[both] = None
    return tuple(kept)


def is_narrowing(answer: Sequence[TrafficSelector], offered: Sequence[TrafficSelector]) -> bool:
    """Whether each selector of an answer lies within one of the offer (and there is one)."""
    return bool(answer) and all(any(ours.contains(theirs) for ours in offered) for theirs in answer)


def parse_selectors(data: bytes) -> tuple[TrafficSelector, ...]:
    """Parse the body of a TSi or TSr payload. Selectors of unknown types are left out.

    Raises `IkeError`. Source: RFC 7296 3.13.
    """
    if len(data) < 4:
        raise malformed("traffic selector payload cut short")
    count = data[0]
    selectors = []
    at = 4
    for _ in range(count):
        if len(data) - at < _SELECTOR.size:
            raise malformed("traffic selector cut short")
        kind, protocol, length, start_port, end_port = _SELECTOR.unpack_from(data, at)
        if not _SELECTOR.size <= length <= len(data) - at:
            raise malformed("traffic selector length")
        body = data[at + _SELECTOR.size : at + length]
        at += length
        if kind not in (TsType.IPV4_ADDR_RANGE, TsType.IPV6_ADDR_RANGE):
            continue
        octets = _ADDRESS_OCTETS[TsType(kind)]
        if len(body) != 2 * octets:
            raise malformed("traffic selector addresses")
        start, end = ip_address(body[:octets]), ip_address(body[octets:])
        selectors.append(TrafficSelector(protocol, start_port, end_port, start, end))
    if not count or at != len(data):
        raise malformed("number of traffic selectors")
    return tuple(selectors)


def build_selectors(selectors: Sequence[TrafficSelector]) -> bytes:
    """Build the body of a TSi or TSr payload. Source: RFC 7296 3.13."""
    out = bytes([len(selectors), 0, 0, 0])
    for ts in selectors:
        kind = TsType.IPV4_ADDR_RANGE if ts.start.version == 4 else TsType.IPV6_ADDR_RANGE
        length = _SELECTOR.size + 2 * _ADDRESS_OCTETS[kind]
        out += _SELECTOR.pack(kind, ts.protocol, length, ts.start_port, ts.end_port)
        out += ts.start.packed + ts.end.packed
    return out
