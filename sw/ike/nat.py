"""NAT detection. Source: RFC 7296 2.23."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from ipaddress import ip_address

from sw.ike.address import Address
from sw.ike.constants import NotifyType
from sw.ike.payloads import NotifyPayload, Payload


def detection_hash(spi_i: bytes, spi_r: bytes, host: str, port: int) -> bytes:
    """SHA-1(SPIi | SPIr | address | port), by which nothing is protected, only compared."""
    address = ip_address(host).packed if host else b""
    data = spi_i + spi_r + address + port.to_bytes(2, "big")
    return hashlib.sha1(data, usedforsecurity=False).digest()


def detection_notifies(
    spi_i: bytes, spi_r: bytes, address: Address, *, pretend: bytes | None = None
) -> list[Payload]:
    """The two notifications of an IKE_SA_INIT message; `pretend` stands for our own hash."""
    source = detection_hash(spi_i, spi_r, address.local_host, address.local_port)
    if pretend is not None:
        source = pretend
    destination = detection_hash(spi_i, spi_r, address.host, address.port)
    return [
        NotifyPayload(NotifyType.NAT_DETECTION_SOURCE_IP, source),
        NotifyPayload(NotifyType.NAT_DETECTION_DESTINATION_IP, destination),
    ]


def detect(
    payloads: Sequence[Payload], spi_i: bytes, spi_r: bytes, address: Address
) -> tuple[bool, bool]:
    """Whether we, and whether the peer, are behind a NAT. (False, False) if it did not say."""
    hashes: dict[int, list[bytes]] = {}
    for payload in payloads:
        if isinstance(payload, NotifyPayload):
            hashes.setdefault(payload.notify, []).append(payload.data)
    sources = hashes.get(NotifyType.NAT_DETECTION_SOURCE_IP)
    destinations = hashes.get(NotifyType.NAT_DETECTION_DESTINATION_IP)
    if not sources or not destinations:
        return False, False
    ours = detection_hash(spi_i, spi_r, address.local_host, address.local_port)
    theirs = detection_hash(spi_i, spi_r, address.host, address.port)
    return ours not in destinations, theirs not in sources
