"""Messages in fragments, each small enough for one datagram and protected by itself.

Source: RFC 7383.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from sw.ike.constants import PayloadType
from sw.ike.crypto import Opener, Sealer
from sw.ike.errors import DropReason, IkeError, malformed
from sw.ike.message import HEADER_OCTETS, Header, build_sealed, decrypt
from sw.ike.payloads import GENERIC_HEADER_OCTETS, Payload, SkfPayload, build_payloads

_NUMBERS = struct.Struct(">HH")
FRAGMENTS_MAX = 64
"""More of one message are not taken."""
REASSEMBLED_MAX = 32768
"""Octets of one message that is put together again."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """A part of the octets inside an encrypted payload; its ICV was right.

    `first_inner` is the type of the first payload inside, in fragment 1 alone.
    """

    number: int
    total: int
    first_inner: int
    octets: bytes


def build_fragments(
    header: Header, payloads: Sequence[Payload], sealer: Sealer, octets: int
) -> tuple[bytes, ...]:
    """Build a protected message: in one piece if it has no more than so many octets, else in
    fragments of no more. Source: RFC 7383 2.5.
    """
    whole = build_sealed(header, payloads, sealer)
    if len(whole) <= octets:
        return (whole,)
    first, inner = build_payloads(payloads)
    room = octets - HEADER_OCTETS - GENERIC_HEADER_OCTETS - _NUMBERS.size - sealer.overhead
    parts = [inner[at : at + room] for at in range(0, len(inner), room)]
    fragments = []
    for number, part in enumerate(parts, 1):
        first_inner = first if number == 1 else PayloadType.NONE

        def clear_part(sealed: int, number: int = number, first_inner: int = first_inner) -> bytes:
            length = GENERIC_HEADER_OCTETS + _NUMBERS.size + sealed
            head = header.pack(PayloadType.SKF, length) + struct.pack(
                ">BBH", first_inner, 0, length
            )
            return head + _NUMBERS.pack(number, len(parts))

        body = sealer.seal(part, clear_part)
        fragments.append(clear_part(len(body)) + body)
    return tuple(fragments)


def open_fragment(data: bytes, payload: SkfPayload, opener: Opener) -> Fragment:
    """Check and decrypt a fragment. `IkeError` (BAD_ICV) if it is not genuine, MALFORMED if its
    numbers make no sense. Source: RFC 7383 2.5, 2.6.
    """
    octets = decrypt(data, payload.at, payload.sealed, opener)
    if not 1 <= payload.number <= payload.total:
        raise malformed("number of a fragment")
    return Fragment(payload.number, payload.total, payload.first_inner, octets)


class Reassembly:
    """The fragments of one message that have come so far. It holds REASSEMBLED_MAX octets at most.

    Source: RFC 7383 2.6.
    """

    def __init__(self) -> None:
        self._parts: dict[int, Fragment] = {}
        self._message_id = -1
        self._total = 0

    def clear(self) -> None:
        """Forget them."""
        self._parts.clear()
        self._total = 0

    def add(self, message_id: int, fragment: Fragment) -> tuple[int, bytes] | None:
        """Take a genuine fragment. Once all are there: the type of the first payload inside, and
        the octets inside; they are forgotten then. None while some are missing.

        `IkeError` if it is one too many or does not belong to those that came before. Fragments
        of a larger total number take their place: the peer sends smaller ones now (2.5.2).
        """
        if fragment.total > FRAGMENTS_MAX:
            raise IkeError(DropReason.FRAGMENT, "too many fragments")
        if message_id != self._message_id or fragment.total > self._total:
            self.clear()
            self._message_id, self._total = message_id, fragment.total
        if fragment.total < self._total:
            raise IkeError(DropReason.FRAGMENT, "of a division that was given up")
        if fragment.number in self._parts:
            raise IkeError(DropReason.DUPLICATE, "this fragment is there already")
        held = sum(len(part.octets) for part in self._parts.values())
        if held + len(fragment.octets) > REASSEMBLED_MAX:
            self.clear()
            raise IkeError(DropReason.FRAGMENT, "the message is too long")
        self._parts[fragment.number] = fragment
        if len(self._parts) < self._total:
            return None
        parts = [self._parts[number] for number in range(1, self._total + 1)]
        self.clear()
        return parts[0].first_inner, b"".join(part.octets for part in parts)
