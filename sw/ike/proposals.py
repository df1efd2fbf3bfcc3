"""Security association payload contents: proposals and transforms, parsed, built and chosen from.

Source: RFC 7296 2.7, 3.3.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sw.ike.constants import KEY_LENGTH_ATTRIBUTE, TransformType
from sw.ike.errors import malformed

_PROPOSAL = struct.Struct(">BBHBBBB")
_TRANSFORM = struct.Struct(">BBHBBH")
_MORE_PROPOSALS = 2
_MORE_TRANSFORMS = 3
_ATTRIBUTE_TV = 0x8000


@dataclass(frozen=True, slots=True)
class Attribute:
    """Transform attribute: an `int` value in the short form, `bytes` in the long one (3.3.5)."""

    kind: int
    value: int | bytes


@dataclass(frozen=True, slots=True)
class Transform:
    """One algorithm on offer. `kind` and `ident` are IANA numbers, known or not (3.3.2)."""

    kind: int
    ident: int
    attributes: tuple[Attribute, ...] = ()

    @classmethod
    def with_key_length(cls, kind: int, ident: int, bits: int) -> Transform:
        """Make a transform whose key length is not fixed (3.3.5)."""
        return cls(kind, ident, (Attribute(KEY_LENGTH_ATTRIBUTE, bits),))


@dataclass(frozen=True, slots=True)
class Proposal:
    """One way to protect, or the chosen one: at most one transform of each type then (3.3.1)."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...] = field(default=())

    def get(self, kind: int) -> Transform | None:
        """First transform of a type."""
        return next((t for t in self.transforms if t.kind == kind), None)


def _parse_attributes(data: bytes) -> tuple[Attribute, ...]:
    attributes = []
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise malformed("transform attribute cut short")
        head, value = struct.unpack_from(">HH", data, at)
        at += 4
        if head & _ATTRIBUTE_TV:
            attributes.append(Attribute(head & ~_ATTRIBUTE_TV, value))
            continue
        if len(data) - at < value:
            raise malformed("transform attribute longer than its transform")
        attributes.append(Attribute(head, data[at : at + value]))
        at += value
    return tuple(attributes)


def _parse_transforms(data: bytes, count: int) -> tuple[Transform, ...]:
    transforms: list[Transform] = []
    at = 0
    while at < len(data):
        if len(data) - at < _TRANSFORM.size:
            raise malformed("transform cut short")
        last, _, length, kind, _, ident = _TRANSFORM.unpack_from(data, at)
        if not _TRANSFORM.size <= length <= len(data) - at:
            raise malformed("transform length")
        more = at + length < len(data)
        if last != (_MORE_TRANSFORMS if more else 0):
            raise malformed("transform chain")
        attributes = _parse_attributes(data[at + _TRANSFORM.size : at + length])
        transforms.append(Transform(kind, ident, attributes))
        at += length
    if len(transforms) != count:
        raise malformed("number of transforms")
    return tuple(transforms)


def parse_proposals(data: bytes) -> tuple[Proposal, ...]:
    """Parse the body of an SA payload. Raises `IkeError`. Source: RFC 7296 3.3."""
    proposals: list[Proposal] = []
    at = 0
    while at < len(data):
        if len(data) - at < _PROPOSAL.size:
            raise malformed("proposal cut short")
        last, _, length, number, protocol, spi_octets, count = _PROPOSAL.unpack_from(data, at)
        if not _PROPOSAL.size + spi_octets <= length <= len(data) - at:
            raise malformed("proposal length")
        more = at + length < len(data)
        if last != (_MORE_PROPOSALS if more else 0):
            raise malformed("proposal chain")
        body = data[at + _PROPOSAL.size : at + length]
        transforms = _parse_transforms(body[spi_octets:], count)
        proposals.append(Proposal(number, protocol, body[:spi_octets], transforms))
        at += length
    if not proposals:
        raise malformed("no proposal")
    return tuple(proposals)


def _build_transform(transform: Transform, *, last: bool) -> bytes:
    attributes = b""
    for attribute in transform.attributes:
        if isinstance(attribute.value, int):
            attributes += struct.pack(">HH", attribute.kind | _ATTRIBUTE_TV, attribute.value)
        else:
            attributes += struct.pack(">HH", attribute.kind, len(attribute.value))
            attributes += attribute.value
    length = _TRANSFORM.size + len(attributes)
    more = 0 if last else _MORE_TRANSFORMS
    return _TRANSFORM.pack(more, 0, length, transform.kind, 0, transform.ident) + attributes


def build_proposals(proposals: Sequence[Proposal]) -> bytes:
    """Build the body of an SA payload. Source: RFC 7296 3.3."""
    out = b""
    for place, proposal in enumerate(proposals, 1):
        count = len(proposal.transforms)
        transforms = b"".join(
            _build_transform(transform, last=at == count)
            for at, transform in enumerate(proposal.transforms, 1)
        )
        length = _PROPOSAL.size + len(proposal.spi) + len(transforms)
        more = 0 if place == len(proposals) else _MORE_PROPOSALS
        head = (more, 0, length, proposal.number, proposal.protocol, len(proposal.spi), count)
        out += _PROPOSAL.pack(*head) + proposal.spi + transforms
    return out


@dataclass(frozen=True, slots=True)
class ProposalPolicy:
    """What we offer and accept for one protocol.

    Parameters
    ----------
    protocol : int
    spi_octets : int
        Length of the SPI in a proposal; 0 for the first IKE SA (RFC 7296 3.3.1).
    choices : Mapping
        For each transform type what is acceptable, preferred first.
    optional : frozenset of int
        Types that need not be in a peer's proposal, and that we leave out of an offer when
        their only choice is NONE.
    number : int
        Of the proposal that `offer` makes.
    """

    protocol: int
    spi_octets: int
    choices: Mapping[int, tuple[Transform, ...]]
    optional: frozenset[int] = frozenset()
    number: int = 1

    def offer(self, spi: bytes) -> Proposal:
        """Everything acceptable, as one proposal; types in the order of their numbers."""
        transforms = tuple(
            transform
            for kind in sorted(self.choices)
            for transform in self.choices[kind]
            if not (kind in self.optional and kind != TransformType.ESN and transform.ident == 0)
        )
        return Proposal(self.number, self.protocol, spi, transforms)

    def choose(
        self, proposals: Sequence[Proposal], *, favourite: Transform | None = None
    ) -> Proposal | None:
        """Choose from a peer's offer: its first proposal with a choice of ours in each type.

        `favourite` is taken where it is both offered and acceptable (the group whose key
        exchange value the peer has sent already). None if nothing is acceptable. The answer
        keeps the peer's number and SPI (RFC 7296 3.3: an unknown type, or a type without an
        acceptable transform, rules the whole proposal out).
        """
        for proposal in proposals:
            if proposal.protocol == self.protocol and len(proposal.spi) == self.spi_octets:
                chosen = self._choose_transforms(proposal, favourite)
                if chosen is not None:
                    return replace(proposal, transforms=chosen)
        return None

    def _choose_transforms(
        self, proposal: Proposal, favourite: Transform | None
    ) -> tuple[Transform, ...] | None:
        offered = {transform.kind for transform in proposal.transforms}
        if not offered <= self.choices.keys():
            return None
        if not self.choices.keys() - self.optional <= offered:
            return None
        chosen = []
        for kind in sorted(offered):
            mine = self.choices[kind]
            if favourite is not None and favourite in mine:
                mine = (favourite, *mine)
            match = next((t for t in mine if t in proposal.transforms), None)
            if match is None:
                return None
            chosen.append(match)
        return tuple(chosen)

    def accepts(self, answer: Sequence[Proposal]) -> Proposal | None:
        """Check a responder's choice against `offer`; None if it is not one of our own words.

        Exactly one proposal, with our number, one acceptable transform of every type offered
        and nothing else. Source: RFC 7296 2.7, 3.3.6.
        """
        if len(answer) != 1:
            return None
        proposal = answer[0]
        mine = self.offer(proposal.spi)
        kinds = [transform.kind for transform in proposal.transforms]
        if (
            proposal.number != mine.number
            or proposal.protocol != self.protocol
            or len(proposal.spi) != self.spi_octets
            or sorted(kinds) != sorted({transform.kind for transform in mine.transforms})
            or any(transform not in mine.transforms for transform in proposal.transforms)
        ):
            return None
        return proposal


@dataclass(frozen=True, slots=True)
class SuitePolicies:
    """What we offer and accept where each suite is a proposal of its own, preferred first.

    SEC: IKE.WHOLE_SUITE. What is chosen, here or by the peer, is one suite with all its parts.
    Their numbers count up from 1 (RFC 7296 3.3.1).
    """

    policies: tuple[ProposalPolicy, ...]

    def offer(self, spi: bytes) -> tuple[Proposal, ...]:
        """One proposal for each suite."""
        return tuple(policy.offer(spi) for policy in self.policies)

    def choose(
        self, proposals: Sequence[Proposal], *, favourite: Transform | None = None
    ) -> Proposal | None:
        """Choose from a peer's offer: its first proposal that holds a whole suite of ours.

        Of several suites in that one, the one we prefer. See `ProposalPolicy.choose`.
        """
        for proposal in proposals:
            for policy in self.policies:
                chosen = policy.choose([proposal], favourite=favourite)
                if chosen is not None:
                    return chosen
        return None

    def accepts(self, answer: Sequence[Proposal]) -> Proposal | None:
        """Check a responder's choice against `offer`; None if it is not one suite of ours."""
        chosen = (policy.accepts(answer) for policy in self.policies)
        return next((proposal for proposal in chosen if proposal is not None), None)
