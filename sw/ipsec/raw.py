"""IPv4 packets as a raw socket gives them."""

from __future__ import annotations

from spec.headers import IPV4, PROTOCOL_ESP


def strip_ipv4(packet: bytes) -> bytes | None:
    """The ESP packet in a whole IPv4 packet; None for anything else, fragments included.

    Source: RFC 791 3.1.
    """
    if len(packet) < IPV4.octets:
        return None
    header = IPV4.unpack(packet)
    octets = 4 * header["header_words"]
    if (
        header["version"] != 4
        or octets < IPV4.octets
        or not octets <= header["total_octets"] <= len(packet)
        or header["more_fragments"]
        or header["fragment_offset"]
        or header["protocol"] != PROTOCOL_ESP
    ):
        return None
    return packet[octets : header["total_octets"]]
