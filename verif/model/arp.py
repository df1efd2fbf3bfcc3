"""ARP in the host's place, while it cannot answer itself."""

from __future__ import annotations

from spec.headers import (
    ARP,
    ARP_HARDWARE_ETHERNET,
    ARP_REPLY,
    ARP_REQUEST,
    ETHERTYPE_IPV4,
)

MAC_OCTETS = 6
IP_OCTETS = 4


def is_request_for(arp: dict[str, int], host_ip: int) -> bool:
    """Whether these ARP fields ask, in Ethernet and IPv4, who has `host_ip` (RFC 826)."""
    return (
        arp["hardware_type"] == ARP_HARDWARE_ETHERNET
        and arp["protocol_type"] == ETHERTYPE_IPV4
        and arp["hardware_octets"] == MAC_OCTETS
        and arp["protocol_octets"] == IP_OCTETS
        and arp["operation"] == ARP_REQUEST
        and arp["target_ip"] == host_ip
    )


def reply(arp: dict[str, int], host_mac: int, host_ip: int) -> bytes:
    """The reply's packet, without its Ethernet header, to the request's sender hardware address.

    Source: RFC 826, "Packet Reception".
    """
    return ARP.pack(
        hardware_type=ARP_HARDWARE_ETHERNET,
        protocol_type=ETHERTYPE_IPV4,
        hardware_octets=MAC_OCTETS,
        protocol_octets=IP_OCTETS,
        operation=ARP_REPLY,
        sender_mac=host_mac,
        sender_ip=host_ip,
        target_mac=arp["sender_mac"],
        target_ip=arp["sender_ip"],
    )
