"""Packet headers, field by field."""

from __future__ import annotations

from spec.layout import Field, Header

ETHERNET = Header(
    "ethernet",
    (Field("destination", 48), Field("source", 48), Field("ethertype", 16)),
    "IEEE 802.3-2022 3.1.1",
)
ARP = Header(
    "arp",
    (
        Field("hardware_type", 16),
        Field("protocol_type", 16),
        Field("hardware_octets", 8),
        Field("protocol_octets", 8),
        Field("operation", 16),
        Field("sender_mac", 48),
        Field("sender_ip", 32),
        Field("target_mac", 48),
        Field("target_ip", 32),
    ),
    "RFC 826",
)
IPV4 = Header(
    "ipv4",
    (
        Field("version", 4),
        Field("header_words", 4),
        Field("tos", 8),
        Field("total_octets", 16),
        Field("identification", 16),
        Field("reserved", 1),
        Field("dont_fragment", 1),
        Field("more_fragments", 1),
        Field("fragment_offset", 13),
        Field("ttl", 8),
        Field("protocol", 8),
        Field("checksum", 16),
        Field("source", 32),
        Field("destination", 32),
    ),
    "RFC 791 3.1",
)
UDP = Header(
    "udp",
    (
        Field("source_port", 16),
        Field("destination_port", 16),
        Field("octets", 16),
        Field("checksum", 16),
    ),
    "RFC 768",
)
VLAN = Header(
    "vlan",
    (Field("priority", 3), Field("drop_eligible", 1), Field("id", 12), Field("ethertype", 16)),
    "IEEE 802.1Q-2022 9.6",
)
"""What follows the EtherType 8100 or 88A8: tag control, and the EtherType behind the tag."""
IPV6 = Header(
    "ipv6",
    (
        Field("version", 4),
        Field("traffic_class", 8),
        Field("flow_label", 20),
        Field("payload_octets", 16),
        Field("next_header", 8),
        Field("hop_limit", 8),
        Field("source", 128),
        Field("destination", 128),
    ),
    "RFC 8200 3",
)
IPV6_EXTENSION = Header(
    "ipv6_extension",
    (Field("next_header", 8), Field("length", 8)),
    "RFC 8200 4.3, 4.4, 4.6",
)
"""First two octets of a hop-by-hop, routing or destination options header; `length` counts eight
octets each, without the first eight."""
NEIGHBOUR = Header(
    "neighbour",
    (
        Field("type", 8),
        Field("code", 8),
        Field("checksum", 16),
        Field("router", 1),
        Field("solicited", 1),
        Field("override", 1),
        Field("reserved", 29),
        Field("target", 128),
    ),
    "RFC 4861 4.3, 4.4",
)
"""ICMPv6 Neighbour Solicitation and Advertisement before their options; in the former the three
flags are reserved."""
LINK_LAYER_OPTION = Header(
    "link_layer_option",
    (Field("type", 8), Field("length", 8), Field("address", 48)),
    "RFC 4861 4.6.1, RFC 2464 6",
)
"""Source or target link-layer address; `length` counts eight octets each."""
AH = Header(
    "ah",
    (
        Field("next_header", 8),
        Field("length", 8),
        Field("reserved", 16),
        Field("spi", 32),
        Field("sequence", 32),
    ),
    "RFC 4302 2",
)
"""What stands before the ICV; `length` counts four octets each, without the first eight."""
ESP = Header("esp", (Field("spi", 32), Field("sequence", 32)), "RFC 4303 2")
GCM_IV = Header("gcm_iv", (Field("iv", 64),), "RFC 4106 3.1")
RMCP = Header(
    "rmcp",
    (
        Field("version", 8),
        Field("reserved", 8),
        Field("sequence", 8),
        Field("ack", 1),
        Field("reserved_class", 2),
        Field("message_class", 5),
    ),
    "DSP0136 3.2.2.2",
)
ASF = Header(
    "asf",
    (
        Field("enterprise", 32),
        Field("type", 8),
        Field("tag", 8),
        Field("reserved", 8),
        Field("data_octets", 8),
    ),
    "DSP0136 3.2.2.3",
)

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_VLAN = 0x8100
"""802.1Q customer tag."""
ETHERTYPE_SERVICE_VLAN = 0x88A8
"""802.1ad service tag, the outer of two."""
VLAN_TAGS_MAX = 2
"""Frames with more tags are the host's."""
ARP_HARDWARE_ETHERNET = 1
ARP_REQUEST = 1
ARP_REPLY = 2
PROTOCOL_UDP = 17
PROTOCOL_ESP = 50
PROTOCOL_AH = 51
PROTOCOL_IPV4 = 4
"""IPv4 in a tunnel (RFC 2003)."""
PROTOCOL_IPV6 = 41
"""IPv6 in a tunnel (RFC 2473)."""
VERSION_IPV4 = 4
VERSION_IPV6 = 6
PROTOCOL_HOP_BY_HOP = 0
PROTOCOL_ROUTING = 43
PROTOCOL_FRAGMENT = 44
PROTOCOL_ICMPV6 = 58
PROTOCOL_NO_NEXT = 59
"""No next header; in ESP a dummy packet (RFC 4303 2.6)."""
PROTOCOL_DESTINATION_OPTIONS = 60
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136
NEIGHBOUR_HOP_LIMIT = 255
"""Of all neighbour discovery, so that no router let it through (RFC 4861 7.1)."""
NEIGHBOUR_OCTETS_MAX = 64
"""Longest solicitation that the NIC answers, with its options; a longer one passes."""
OPTION_UNIT_OCTETS = 8
"""Unit of the length of a neighbour discovery option (RFC 4861 4.6)."""
OPTION_SOURCE_LINK_LAYER = 1
OPTION_TARGET_LINK_LAYER = 2
SOLICITED_NODE_PREFIX = 0xFF02_0000_0000_0000_0000_0001_FF
"""First 104 bits of the group that is asked for an address; the other 24 are the address's last
(RFC 4291 2.7.1)."""
SOLICITED_NODE_BITS = 24
ALL_NODES = 0xFF02 << 112 | 1
"""ff02::1 (RFC 4291 2.7.1)."""
ALL_NODES_MAC = 0x3333_0000_0001
"""The Ethernet group of ALL_NODES (RFC 2464 7)."""
IPV6_GROUP = 0xFF
"""First octet of a multicast address (RFC 4291 2.7)."""
LEARNT_FIRST_OCTET_MAX = 0xFD
"""First octet of an address that a NIC learns, at most: above stand link-local addresses, which a
host has beside its others, and groups (RFC 4291 2.4)."""
EXTENSION_OCTETS_MAX = 128
"""Most octets of IPv6 extension headers before AH, ESP or UDP that the NIC walks."""
IPV4_OPTIONS_IMMUTABLE = (0, 1, 130, 133, 134, 148, 149)
"""Types of IPv4 options that AH covers as they are (RFC 4302 A1): end, no operation, security,
extended security, commercial security, router alert, sender directed delivery."""
IPV4_OPTIONS_MUTABLE = (7, 68, 82, 131, 137)
"""Types that AH covers as zeros, all octets of them (RFC 4302 A1): record route, time stamp, trace
route, loose and strict source route."""
IPV6_OPTION_MUTABLE = 0x20
"""Bit of the type of an IPv6 option whose data AH covers as zeros (RFC 8200 4.2, RFC 4302 A2)."""

FRAME_MIN_OCTETS = 60
"""Shortest Ethernet frame without its FCS."""
FRAME_MAX_OCTETS = 1514
"""Longest untagged Ethernet frame without its FCS."""
IP_MAX_OCTETS = 1500

PORT_RMCP_CLEAR = 623
PORT_RMCP_SECURED = 664
PORT_ESP_IN_UDP = 4500

ESP_ICV_OCTETS = 16
"""ICV of AES-GCM-16 (RFC 4106 6). Others: spec.suites."""
ESP_TRAILER_OCTETS = 2
"""Pad length and next header (RFC 4303 2.4, 2.6)."""
ESP_ALIGN_OCTETS = 4
"""The ciphertext ends on a multiple of this (RFC 4303 2.4)."""
ESP_SPI_MIN = 256
"""1 to 255 are reserved by IANA, 0 is for local use (RFC 4303 2.1)."""
