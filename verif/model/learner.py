"""The host's addresses, from what the host itself announces."""

from __future__ import annotations

from spec.headers import (
    ARP,
    ARP_HARDWARE_ETHERNET,
    ARP_REPLY,
    ARP_REQUEST,
    ETHERNET,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    IPV6,
    LEARNT_FIRST_OCTET_MAX,
    NEIGHBOUR,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_HOP_LIMIT,
    NEIGHBOUR_SOLICITATION,
    PROTOCOL_ICMPV6,
)
from verif.model.arp import IP_OCTETS, MAC_OCTETS

GROUP_BIT = 1 << 40


def arp_announces(frame: bytes) -> tuple[int, int] | None:
    """The MAC and IPv4 address that an untagged ARP frame of the host announces.

    None where they are not those of its sender (RFC 826), or are none: a probe (RFC 5227 2.1.1).
    """
    if len(frame) < ETHERNET.octets + ARP.octets:
        return None
    ethernet, arp = ETHERNET.unpack(frame), ARP.unpack(frame[ETHERNET.octets :])
    mac, ip = arp["sender_mac"], arp["sender_ip"]
    if (
        ethernet["ethertype"] != ETHERTYPE_ARP
        or arp["hardware_type"] != ARP_HARDWARE_ETHERNET
        or arp["protocol_type"] != ETHERTYPE_IPV4
        or arp["hardware_octets"] != MAC_OCTETS
        or arp["protocol_octets"] != IP_OCTETS
        or arp["operation"] not in (ARP_REQUEST, ARP_REPLY)
        or mac != ethernet["source"]
        or mac & GROUP_BIT
        or 0 in (mac, ip)
    ):
        return None
    return mac, ip


def neighbour_announces(frame: bytes, host_mac: int) -> int | None:
    """The IPv6 address that an untagged frame of the host announces, in neighbour discovery."""
    if len(frame) < ETHERNET.octets + IPV6.octets + NEIGHBOUR.octets:
        return None
    ethernet, ip = ETHERNET.unpack(frame), IPV6.unpack(frame[ETHERNET.octets :])
    kind = frame[ETHERNET.octets + IPV6.octets]
    if (
        ethernet["ethertype"] != ETHERTYPE_IPV6
        or ethernet["source"] != host_mac
        or ip["version"] != 6
        or ip["next_header"] != PROTOCOL_ICMPV6
        or ip["hop_limit"] != NEIGHBOUR_HOP_LIMIT
        or kind not in (NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT)
        or ip["source"] >> 120 > LEARNT_FIRST_OCTET_MAX
        or 0 in (host_mac, ip["source"])
    ):
        return None
    return ip["source"]
