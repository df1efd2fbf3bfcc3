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
ARP_HARDWARE_ETHERNET = 1
ARP_REQUEST = 1
ARP_REPLY = 2
PROTOCOL_UDP = 17
PROTOCOL_ESP = 50

FRAME_MIN_OCTETS = 60
"""Shortest Ethernet frame without its FCS."""
FRAME_MAX_OCTETS = 1514
"""Longest untagged Ethernet frame without its FCS."""
IP_MAX_OCTETS = 1500

PORT_RMCP_CLEAR = 623
PORT_RMCP_SECURED = 664
PORT_ESP_IN_UDP = 4500

ESP_ICV_OCTETS = 16
"""ICV of AES-GCM-16 (RFC 4106 6)."""
ESP_TRAILER_OCTETS = 2
"""Pad length and next header (RFC 4303 2.4, 2.6)."""
ESP_ALIGN_OCTETS = 4
"""The ciphertext ends on a multiple of this (RFC 4303 2.4)."""
ESP_SPI_MIN = 256
"""1 to 255 are reserved by IANA, 0 is for local use (RFC 4303 2.1)."""
