"""The Internet checksum."""

from __future__ import annotations


def checksum(octets: bytes) -> int:
    """Internet checksum of `octets`, padded with a zero octet if odd (RFC 1071)."""
    if len(octets) % 2:
        octets += b"\0"
    total = sum(int.from_bytes(octets[i : i + 2], "big") for i in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
