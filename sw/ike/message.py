"""The IKE header, and whole messages in the clear and encrypted. Source: RFC 7296 3.1, 3.14."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sw.ike.constants import IKE_SPI_OCTETS, NON_ESP_MARKER, VERSION, Flag, NotifyType, PayloadType
from sw.ike.crypto import Opener, Sealer
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.payloads import (
    GENERIC_HEADER_OCTETS,
    Payload,
    SkfPayload,
    SkPayload,
    build_payloads,
    parse_payloads,
)

_HEADER = struct.Struct(">8s8sBBBBII")
HEADER_OCTETS = _HEADER.size
NO_SPI = bytes(IKE_SPI_OCTETS)


@dataclass(frozen=True, slots=True)
class Header:
    """IKE header (3.1), length and first payload's type left to the codec."""

    spi_i: bytes
    spi_r: bytes
    exchange: int
    message_id: int
    is_initiator: bool
    """The sender is the original initiator of the IKE SA."""
    is_response: bool

    def pack(self, first: int, body_octets: int) -> bytes:
        """Octets of the header of a message with a body of that length."""
        flags = (Flag.INITIATOR if self.is_initiator else 0) | (
            Flag.RESPONSE if self.is_response else 0
        )
        length = HEADER_OCTETS + body_octets
        head = (self.spi_i, self.spi_r, first, VERSION, self.exchange, flags)
        return _HEADER.pack(*head, self.message_id, length)


def parse_header(data: bytes) -> tuple[Header, int]:
    """Parse the header: it, and the type of the first payload.

    The length field must be the length of the datagram. Raises `IkeError`; for a higher major
    version with INVALID_MAJOR_VERSION (RFC 7296 2.5).
    """
    if len(data) < HEADER_OCTETS:
        raise malformed("datagram shorter than the IKE header")
    spi_i, spi_r, first, version, exchange, flags, message_id, length = _HEADER.unpack_from(data)
    if version >> 4 != VERSION >> 4:
        higher = version > VERSION
        notify = NotifyType.INVALID_MAJOR_VERSION if higher else None
        raise IkeError(DropReason.VERSION, f"major version {version >> 4}", notify=notify)
    if length != len(data):
        raise malformed("length field is not the length of the datagram")
    if spi_i == NO_SPI:
        raise malformed("initiator's SPI is zero")
    initiator, response = bool(flags & Flag.INITIATOR), bool(flags & Flag.RESPONSE)
    return Header(spi_i, spi_r, exchange, message_id, initiator, response), first


def build_clear(header: Header, payloads: Sequence[Payload]) -> bytes:
    """Build a message in the clear."""
    first, body = build_payloads(payloads)
    return header.pack(first, len(body)) + body


def parse_body(data: bytes, first: int) -> tuple[Payload, ...]:
    """Parse the payloads in the clear of a message whose header was parsed."""
    return parse_payloads(first, data[HEADER_OCTETS:])


def build_sealed(header: Header, payloads: Sequence[Payload], sealer: Sealer) -> bytes:
    """Build a message whose payloads are all inside one encrypted payload.

    What precedes the IV is protected, too. Source: RFC 7296 3.14; RFC 5282 3, 5.1.
    """
    first, inner = build_payloads(payloads)

    def clear_part(sealed_octets: int) -> bytes:
        octets = GENERIC_HEADER_OCTETS + sealed_octets
        return header.pack(PayloadType.SK, octets) + struct.pack(">BBH", first, 0, octets)

    sealed = sealer.seal(inner, clear_part)
    return clear_part(len(sealed)) + sealed


def protected_part(data: bytes, first: int) -> SkPayload | SkfPayload:
    """The encrypted payload, or fragment, of a message whose header was parsed.

    Raises `IkeError`, UNPROTECTED if there is none. Payloads beside it are not looked at.
    """
    outer = parse_body(data, first)
    if not outer or not isinstance(outer[-1], SkPayload | SkfPayload):
        raise IkeError(DropReason.UNPROTECTED, "no encrypted payload")
    return outer[-1]


def decrypt(data: bytes, at: int, sealed: bytes, opener: Opener) -> bytes:
    """Check and decrypt what begins `at` octets behind the header: the octets inside, without
    their padding.

    Raises `IkeError`: BAD_ICV, or for wrong padding one that is marked `authenticated`.
    """
    plain = opener.open(sealed, data[: HEADER_OCTETS + at])
    if not plain or plain[-1] >= len(plain):
        error = malformed("padding of the encrypted payload")
        error.authenticated = True
        raise error
    return plain[: -1 - plain[-1]]


def parse_inner(first: int, inner: bytes) -> tuple[Payload, ...]:
    """Parse what was inside an encrypted payload; an `IkeError` is marked `authenticated`."""
    try:
        return parse_payloads(first, inner)
    except IkeError as error:
        error.authenticated = True
        raise


def open_sealed(data: bytes, first: int, opener: Opener) -> tuple[Payload, ...]:
    """Check, decrypt and parse a protected message in one piece whose header was parsed.

    Raises `IkeError`; see `protected_part`, `decrypt` and `parse_inner`.
    """
    part = protected_part(data, first)
    if not isinstance(part, SkPayload):
        raise IkeError(DropReason.UNPROTECTED, "a fragment in place of a message")
    return parse_inner(part.first_inner, decrypt(data, part.at, part.sealed, opener))


def strip_marker(data: bytes) -> bytes:
    """Take the non-ESP marker off a datagram of port 4500. Source: RFC 7296 2.23, RFC 3948 2.2."""
    if not data.startswith(NON_ESP_MARKER):
        raise IkeError(DropReason.NOT_IKE, "no non-ESP marker")
    return data[len(NON_ESP_MARKER) :]
