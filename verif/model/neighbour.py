"""Neighbour solicitations in the host's place, while it cannot answer itself."""

from __future__ import annotations

from spec.headers import (
    ALL_NODES,
    ALL_NODES_MAC,
    IPV6,
    IPV6_GROUP,
    LINK_LAYER_OPTION,
    NEIGHBOUR,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_HOP_LIMIT,
    NEIGHBOUR_OCTETS_MAX,
    NEIGHBOUR_SOLICITATION,
    OPTION_SOURCE_LINK_LAYER,
    OPTION_TARGET_LINK_LAYER,
    OPTION_UNIT_OCTETS,
    PROTOCOL_ICMPV6,
    SOLICITED_NODE_BITS,
    SOLICITED_NODE_PREFIX,
)
from verif.model.parser import Parsed, checksum, ones_sum

UNSPECIFIED = 0
ADDRESS_OCTETS = 16
TYPE_OFFSET, LENGTH_OFFSET = 0, 1
"""Of an option."""


def pseudo_header(source: int, destination: int, octets: int) -> bytes:
    """What the checksum of an ICMPv6 message of so many octets covers too (RFC 8200 8.1)."""
    addresses = (source << 128 | destination).to_bytes(2 * ADDRESS_OCTETS, "big")
    return addresses + octets.to_bytes(4, "big") + PROTOCOL_ICMPV6.to_bytes(4, "big")


def solicited_node(address: int) -> int:
    """The group that is asked for an address (RFC 4291 2.7.1)."""
    low = address & ((1 << SOLICITED_NODE_BITS) - 1)
    return SOLICITED_NODE_PREFIX << SOLICITED_NODE_BITS | low


def option_types(data: bytes) -> list[int] | None:
    """Types of all options; None where a length is 0 or leads beyond the end (RFC 4861 4.6)."""
    types = []
    while data:
        if len(data) < OPTION_UNIT_OCTETS:
            return None
        octets = OPTION_UNIT_OCTETS * data[LENGTH_OFFSET]
        if not 0 < octets <= len(data):
            return None
        types.append(data[TYPE_OFFSET])
        data = data[octets:]
    return types


def is_solicitation_for(parsed: Parsed, host_ip6: int) -> bool:
    """Whether a frame asks, by all rules, who has `host_ip6`.

    The message stands right behind the IPv6 header.

    Source: RFC 4861 4.3, 7.1.1, 7.2.3; RFC 8200 8.1.
    """
    packet = parsed.frame[parsed.network :]
    if parsed.ip is None or not parsed.ip.v6:
        return False
    ip = IPV6.unpack(packet)
    octets = ip["payload_octets"]
    message = packet[IPV6.octets : IPV6.octets + octets]
    if (
        ip["next_header"] != PROTOCOL_ICMPV6
        or ip["hop_limit"] != NEIGHBOUR_HOP_LIMIT
        or not NEIGHBOUR.octets <= octets <= NEIGHBOUR_OCTETS_MAX
        or len(message) != octets
    ):
        return False
    fields, types = NEIGHBOUR.unpack(message), option_types(message[NEIGHBOUR.octets :])
    source, destination, target = ip["source"], ip["destination"], fields["target"]
    return (
        fields["type"] == NEIGHBOUR_SOLICITATION
        and fields["code"] == 0
        and host_ip6 != 0
        and target == host_ip6
        and destination in (target, solicited_node(target))
        and IPV6_GROUP not in (source >> 120, target >> 120)
        and types is not None
        and not (source == UNSPECIFIED and destination == target)
        and not (source == UNSPECIFIED and OPTION_SOURCE_LINK_LAYER in types)
        and ones_sum(pseudo_header(source, destination, octets) + message) == 0xFFFF
    )


def advertisement(parsed: Parsed, host_mac: int, host_ip6: int) -> tuple[int, bytes]:
    """The MAC address and the packet that answer it.

    They go to who asked, or to all where somebody probes whether the address is free.

    Source: RFC 4861 4.4, 7.2.4; RFC 4862 5.4.3; RFC 2464 7.
    """
    assert parsed.ip is not None
    probe = parsed.ip.source == UNSPECIFIED
    to = ALL_NODES if probe else parsed.ip.source
    fields = {
        "type": NEIGHBOUR_ADVERTISEMENT,
        "solicited": int(not probe),
        "override": 1,
        "target": host_ip6,
    }
    option = LINK_LAYER_OPTION.pack(type=OPTION_TARGET_LINK_LAYER, length=1, address=host_mac)
    octets = NEIGHBOUR.octets + len(option)
    covered = pseudo_header(host_ip6, to, octets) + NEIGHBOUR.pack(**fields) + option
    message = NEIGHBOUR.pack(checksum=checksum(covered), **fields) + option
    header = IPV6.pack(
        version=6,
        payload_octets=octets,
        next_header=PROTOCOL_ICMPV6,
        hop_limit=NEIGHBOUR_HOP_LIMIT,
        source=host_ip6,
        destination=to,
    )
    return ALL_NODES_MAC if probe else parsed.ethernet["source"], header + message
