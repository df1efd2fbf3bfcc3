"""The payloads of RFC 7296 3.3 to 3.13: values that build themselves, and the parser of a chain.

The parser takes octets and returns values or raises `IkeError`; it never reads past a length.
Payloads that IKEv2 defines and we make no use of (configuration, EAP) are carried
as `OpaquePayload`; so are unknown ones, unless their critical bit is set (RFC 7296 2.5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sw.ike.constants import (
    NONCE_MAX,
    NONCE_MIN,
    NOTIFY_STATUS_FIRST,
    NotifyType,
    PayloadType,
    Protocol,
)
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.proposals import Proposal, build_proposals, parse_proposals
from sw.ike.selectors import TrafficSelector, build_selectors, parse_selectors

GENERIC_HEADER_OCTETS = 4
_CRITICAL = 0x80
PAYLOADS_MAX = 64
"""More in one message than any exchange has use for."""
_KNOWN = frozenset(PayloadType) - {PayloadType.NONE}


@dataclass(frozen=True, slots=True)
class SaPayload:
    """Security association (3.3)."""

    proposals: tuple[Proposal, ...]

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.SA

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return build_proposals(self.proposals)


@dataclass(frozen=True, slots=True)
class KePayload:
    """Key exchange (3.4)."""

    group: int
    data: bytes

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.KE

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return struct.pack(">HH", self.group, 0) + self.data


@dataclass(frozen=True, slots=True)
class IdPayload:
    """Identification (3.5). `initiator`: IDi, else IDr."""

    initiator: bool
    id_type: int
    data: bytes

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.ID_I if self.initiator else PayloadType.ID_R

    def body(self) -> bytes:
        """Octets behind the generic header; they enter AUTH (2.15)."""
        return bytes([self.id_type, 0, 0, 0]) + self.data


@dataclass(frozen=True, slots=True)
class AuthPayload:
    """Authentication (3.8)."""

    method: int
    data: bytes = field(repr=False)

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.AUTH

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return bytes([self.method, 0, 0, 0]) + self.data


@dataclass(frozen=True, slots=True)
class CertPayload:
    """Certificate (3.6)."""

    encoding: int
    data: bytes

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.CERT

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return bytes([self.encoding]) + self.data


@dataclass(frozen=True, slots=True)
class CertRequestPayload:
    """Certificate request (3.7): SHA-1 digests of the CAs' public keys, end to end."""

    encoding: int
    data: bytes

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.CERTREQ

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return bytes([self.encoding]) + self.data


@dataclass(frozen=True, slots=True)
class NoncePayload:
    """Nonce (3.9)."""

    data: bytes

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.NONCE

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return self.data


@dataclass(frozen=True, slots=True)
class NotifyPayload:
    """Notification (3.10). `protocol` and `spi` are set only where the type asks for it."""

    notify: int
    data: bytes = b""
    protocol: int = Protocol.NONE
    spi: bytes = b""

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.NOTIFY

    @property
    def is_error(self) -> bool:
        """Whether the type is of the error range."""
        return self.notify < NOTIFY_STATUS_FIRST

    def body(self) -> bytes:
        """Octets behind the generic header."""
        head = struct.pack(">BBH", self.protocol, len(self.spi), self.notify)
        return head + self.spi + self.data


@dataclass(frozen=True, slots=True)
class DeletePayload:
    """Delete (3.11). SPIs are the sender's inbound ones; none for the IKE SA."""

    protocol: int
    spis: tuple[bytes, ...] = ()

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.DELETE

    def body(self) -> bytes:
        """Octets behind the generic header."""
        octets = len(self.spis[0]) if self.spis else 0
        return struct.pack(">BBH", self.protocol, octets, len(self.spis)) + b"".join(self.spis)


@dataclass(frozen=True, slots=True)
class VendorIdPayload:
    """Vendor ID (3.12)."""

    data: bytes

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.VENDOR_ID

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return self.data


@dataclass(frozen=True, slots=True)
class TsPayload:
    """Traffic selectors (3.13). `initiator`: TSi, else TSr."""

    initiator: bool
    selectors: tuple[TrafficSelector, ...]

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.TS_I if self.initiator else PayloadType.TS_R

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return build_selectors(self.selectors)


@dataclass(frozen=True, slots=True)
class SkPayload:
    """Encrypted payload, still closed (3.14): IV | ciphertext | ICV. The last of a message.

    `first_inner` is the type of the first payload inside; `at` where the sealed octets begin in
    what was parsed.
    """

    first_inner: int
    sealed: bytes
    at: int

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.SK

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return self.sealed


@dataclass(frozen=True, slots=True)
class SkfPayload:
    """Encrypted fragment, still closed (RFC 7383 2.5). The last payload of a message.

    `first_inner` is the type of the first payload inside; `at` where the sealed octets begin in
    what was parsed.
    """

    first_inner: int
    number: int
    total: int
    sealed: bytes
    at: int

    @property
    def type(self) -> int:
        """Payload type."""
        return PayloadType.SKF

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return struct.pack(">HH", self.number, self.total) + self.sealed


@dataclass(frozen=True, slots=True)
class OpaquePayload:
    """A payload that we do not look into: its body, and whether it was marked critical."""

    kind: int
    data: bytes
    critical: bool = False

    @property
    def type(self) -> int:
        """Payload type."""
        return self.kind

    def body(self) -> bytes:
        """Octets behind the generic header."""
        return self.data


Payload = (
    SaPayload
    | KePayload
    | IdPayload
    | AuthPayload
    | CertPayload
    | CertRequestPayload
    | NoncePayload
    | NotifyPayload
    | DeletePayload
    | VendorIdPayload
    | TsPayload
    | SkPayload
    | SkfPayload
    | OpaquePayload
)
P = TypeVar("P")


def _need(body: bytes, octets: int, name: str) -> None:
    if len(body) < octets:
        raise malformed(f"{name} payload cut short")


def _parse_ke(body: bytes) -> KePayload:
    _need(body, 4, "key exchange")
    return KePayload(int.from_bytes(body[:2], "big"), body[4:])


def _parse_id(body: bytes, *, initiator: bool) -> IdPayload:
    _need(body, 4, "identification")
    return IdPayload(initiator, body[0], body[4:])


def _parse_cert(body: bytes) -> CertPayload:
    _need(body, 1, "certificate")
    return CertPayload(body[0], body[1:])


def _parse_certreq(body: bytes) -> CertRequestPayload:
    _need(body, 1, "certificate request")
    return CertRequestPayload(body[0], body[1:])


def _parse_auth(body: bytes) -> AuthPayload:
    _need(body, 4, "authentication")
    return AuthPayload(body[0], body[4:])


def _parse_nonce(body: bytes) -> NoncePayload:
    if not NONCE_MIN <= len(body) <= NONCE_MAX:
        raise malformed("nonce length")
    return NoncePayload(body)


def _parse_notify(body: bytes) -> NotifyPayload:
    _need(body, 4, "notify")
    protocol, spi_octets, notify = struct.unpack_from(">BBH", body)
    _need(body, 4 + spi_octets, "notify")
    return NotifyPayload(notify, body[4 + spi_octets :], protocol, body[4 : 4 + spi_octets])


def _parse_delete(body: bytes) -> DeletePayload:
    _need(body, 4, "delete")
    protocol, octets, count = struct.unpack_from(">BBH", body)
    spis = body[4:]
    # Without SPIs the count must be 0, so the list below never grows past the payload's octets.
    if len(spis) != octets * count or (count and not octets):
        raise malformed("delete payload length")
    return DeletePayload(
        protocol, tuple(spis[at : at + octets] for at in range(0, len(spis), octets or 1))
    )


def _parse_skf(body: bytes, first_inner: int, at: int) -> SkfPayload:
    _need(body, 4, "encrypted fragment")
    number, total = struct.unpack_from(">HH", body)
    return SkfPayload(first_inner, number, total, body[4:], at + 4)


_PARSERS: dict[int, Callable[[bytes], Payload]] = {
    PayloadType.SA: lambda body: SaPayload(parse_proposals(body)),
    PayloadType.KE: _parse_ke,
    PayloadType.ID_I: lambda body: _parse_id(body, initiator=True),
    PayloadType.ID_R: lambda body: _parse_id(body, initiator=False),
    PayloadType.CERT: _parse_cert,
    PayloadType.CERTREQ: _parse_certreq,
    PayloadType.AUTH: _parse_auth,
    PayloadType.NONCE: _parse_nonce,
    PayloadType.NOTIFY: _parse_notify,
    PayloadType.DELETE: _parse_delete,
    PayloadType.VENDOR_ID: VendorIdPayload,
    PayloadType.TS_I: lambda body: TsPayload(True, parse_selectors(body)),
    PayloadType.TS_R: lambda body: TsPayload(False, parse_selectors(body)),
}


def parse_payloads(first: int, data: bytes) -> tuple[Payload, ...]:
    """Parse a chain of payloads that fills `data` exactly.

    An encrypted payload or fragment ends the chain: its "next payload" names what is inside (3.14).
    Raises `IkeError`; with UNSUPPORTED_CRITICAL_PAYLOAD and the type for an unknown critical one.
    Source: RFC 7296 2.5, 3.2.
    """
    payloads: list[Payload] = []
    kind = first
    at = 0
    while kind != PayloadType.NONE:
        if len(payloads) == PAYLOADS_MAX:
            raise malformed("too many payloads")
        if len(data) - at < GENERIC_HEADER_OCTETS:
            raise malformed("payload header cut short")
        following, flags, length = struct.unpack_from(">BBH", data, at)
        if not GENERIC_HEADER_OCTETS <= length <= len(data) - at:
            raise malformed("payload length")
        body = data[at + GENERIC_HEADER_OCTETS : at + length]
        if kind == PayloadType.SK:
            payloads.append(SkPayload(following, body, at + GENERIC_HEADER_OCTETS))
            following = PayloadType.NONE
        elif kind == PayloadType.SKF:
            payloads.append(_parse_skf(body, following, at + GENERIC_HEADER_OCTETS))
            following = PayloadType.NONE
        elif kind in _PARSERS:
            payloads.append(_PARSERS[kind](body))
        else:
            critical = bool(flags & _CRITICAL)
            # The bit means nothing on payloads that RFC 7296 defines: we know them all.
            if critical and kind not in _KNOWN:
                raise IkeError(
                    DropReason.CRITICAL,
                    f"payload type {kind}",
                    notify=NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD,
                    notify_data=bytes([kind]),
                )
            payloads.append(OpaquePayload(kind, body, critical))
        kind = following
        at += length
    if at != len(data):
        raise malformed("octets behind the last payload")
    return tuple(payloads)


def build_payloads(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """Chain payloads: the type of the first, and the octets. Source: RFC 7296 3.2."""
    out = b""
    following: int = PayloadType.NONE
    for payload in reversed(payloads):
        body = payload.body()
        flags = _CRITICAL if isinstance(payload, OpaquePayload) and payload.critical else 0
        head = struct.pack(">BBH", following, flags, GENERIC_HEADER_OCTETS + len(body))
        out = head + body + out
        following = payload.type
    return following, out


def find(payloads: Iterable[Payload], cls: type[P]) -> P | None:
    """First payload of a class."""
    return next((payload for payload in payloads if isinstance(payload, cls)), None)


def require(payloads: Iterable[Payload], cls: type[P]) -> P:
    """First payload of a class; `IkeError` if there is none."""
    payload = find(payloads, cls)
    if payload is None:
        raise malformed(f"no {cls.__name__}")
    return payload


def find_id(payloads: Iterable[Payload], *, initiator: bool) -> IdPayload | None:
    """IDi or IDr."""
    ids = (payload for payload in payloads if isinstance(payload, IdPayload))
    return next((payload for payload in ids if payload.initiator is initiator), None)


def require_ts(payloads: Iterable[Payload], *, initiator: bool) -> TsPayload:
    """TSi or TSr; `IkeError` if there is none."""
    all_ts = (payload for payload in payloads if isinstance(payload, TsPayload))
    found = next((payload for payload in all_ts if payload.initiator is initiator), None)
    if found is None:
        raise malformed("no traffic selectors")
    return found


def find_notify(payloads: Iterable[Payload], notify: int) -> NotifyPayload | None:
    """First notification of a type."""
    all_notify = (payload for payload in payloads if isinstance(payload, NotifyPayload))
    return next((payload for payload in all_notify if payload.notify == notify), None)


def find_error(payloads: Iterable[Payload]) -> NotifyPayload | None:
    """First notification of the error range."""
    all_notify = (payload for payload in payloads if isinstance(payload, NotifyPayload))
    return next((payload for payload in all_notify if payload.is_error), None)
