"""What a reply's frame is made of, part after part: the program that `FrameLayout` runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag, auto

from hw.ipsec.layouts import InnerOffset, RecordOffset
from hw.mgmt.alert_message import ALERT_OCTETS, TICKS_AT, TICKS_OCTETS
from spec.headers import ALL_NODES, ALL_NODES_MAC, ARP, IPV4, NEIGHBOUR

__all__ = [
    "FIELDS",
    "PROGRAM",
    "Amount",
    "Part",
    "Place",
    "Source",
    "Sum",
    "When",
    "field_offset",
]


class When(IntEnum):
    """Condition under which a part is there; all of them follow from the reply and its SA."""

    ALWAYS = 0
    ARP = auto()
    MESSAGE = auto()
    """Neither ARP nor neighbour advertisement."""
    V4 = auto()
    V6 = auto()
    """A message over this IP, outside."""
    ANSWER = auto()
    """A message, and no alert."""
    CLEAR_ANSWER = auto()
    PROTECTED_ANSWER = auto()
    ALERT = auto()
    CLEAR = auto()
    PROTECTED = auto()
    AH = auto()
    AH_ALONE = auto()
    AH_BOTH = auto()
    """AH, without and with ESP in it."""
    AH_IV = auto()
    ESP = auto()
    ESP_IV = auto()
    """ESP with an IV of eight octets."""
    CBC = auto()
    ENCAPSULATED = auto()
    TUNNEL_V4 = auto()
    TUNNEL_V6 = auto()
    NEIGHBOUR = auto()
    TO_ONE = auto()
    V6_TO_ONE = auto()
    TO_ALL = auto()
    """To whoever asked, or to all nodes."""


class Source(IntEnum):
    """Where octets come from."""

    FIELD = 0
    """One after the other of `FIELDS`."""
    RECORD = 1
    INNER = 2
    """The sender's record, and the one of what was inside of the protection."""
    COUNT = 3
    """The position itself: 1, 2, 3 ..."""
    ZERO = 4
    NOTHING = 5
    """Takes time and gives no octet."""
    ALERT = 6
    """The message of an alert."""


class Amount(IntEnum):
    """How many octets: as the part says, or as many as these have."""

    FIXED = 0
    TAGS = 1
    PAYLOAD = 2
    PADDING = 3
    AH_ICV = 4
    TICKS = 5


class Place(IntEnum):
    """Positions in the frame that are needed later: where such a part is, or would be."""

    NONE = 0
    IP = 1
    AH_ICV = 2
    ENCAPSULATED = 3
    ESP = 4
    IV = 5
    TEXT = 6
    UDP = 7
    """Or of the ICMPv6 header."""


class Sum(IntFlag):
    """Checksums to which octets go."""

    NONE = 0
    OUTER = 1
    """IPv4 header outside."""
    INNER = 2
    """IPv4 header in the tunnel."""
    UDP = 4
    """Or ICMPv6."""
    ADDRESS = 8
    """With OUTER or INNER: an address, that of UDP's pseudo header too if it is the inmost."""


FIELDS = (
    ("link_layer", 2),
    ("host_mac", 6),
    ("host_ip", 4),
    ("neighbour", NEIGHBOUR.octet_offset("target")),
    ("host_ip6", 16),
    ("all_mac", 2),
    ("all_ip6", 2),
    ("ethertype", 2),
    ("arp", ARP.octet_offset("sender_mac")),
    ("ip4", 2),
    ("total", 2),
    ("protocol", 1),
    ("ip6", 1),
    ("inner_total", 2),
    ("inner4", 3),
    ("inner6", 2),
    ("ah", 2),
    ("spi", 4),
    ("ah_spi", 4),
    ("sequence_high", 4),
    ("sequence", 4),
    ("ah_sequence", 4),
    ("port_encapsulated", 2),
    ("encapsulated_octets", 2),
    ("port_secured", 2),
    ("port_clear", 2),
    ("port_alert", 2),
    ("udp_octets", 2),
    ("payload", 28),
    ("trailer", 2),
)
"""Names and octets of what is known before the layout begins."""


def field_offset(name: str) -> int:
    """Position of a field among all `FIELDS`."""
    offset = 0
    for other, octets in FIELDS:
        if other == name:
            return offset
        offset += octets
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Part:
    """Octets of one source, if they are there at all."""

    when: When
    source: Source
    start: int = 0
    octets: int = 0
    amount: Amount = Amount.FIXED
    place: Place = Place.NONE
    sums: Sum = Sum.NONE
    end: bool = False


_OCTETS: Mapping[str, int] = dict(FIELDS)
_PART_OCTETS = 31
"""A part has no more."""


def _field(when: When, first: str, *more: str, octets: int = 0, **rest) -> Part:
    """One field, or several that stand one behind the other, or only the first `octets`."""
    total = sum(_OCTETS[name] for name in (first, *more))
    return Part(when, Source.FIELD, field_offset(first), octets or total, **rest)


def _record(when: When, offset: int, octets: int, **rest) -> Part:
    return Part(when, Source.RECORD, offset, octets, **rest)


def _inner(when: When, offset: int, octets: int, **rest) -> Part:
    return Part(when, Source.INNER, offset, octets, **rest)


def _zero(when: When, octets: int, **rest) -> Part:
    return Part(when, Source.ZERO, 0, octets, **rest)


def _ip4(outer: bool) -> list[Part]:
    """Outside, flags, time to live and checksum are zero until AH has seen the packet."""
    if outer:
        when, sums = When.V4, Sum.OUTER
        return [
            _field(when, "ip4", "total", place=Place.IP, sums=sums),
            _zero(when, IPV4.octet_offset("protocol") - 4, sums=sums),
            _field(when, "protocol", sums=sums),
            _zero(when, 2, sums=sums),
            _field(when, "host_ip", sums=sums | Sum.ADDRESS),
            _record(when, RecordOffset.IP, 4, sums=sums | Sum.ADDRESS),
        ]
    when, sums = When.TUNNEL_V4, Sum.INNER
    return [
        _field(when, "ip4", place=Place.TEXT, sums=sums),
        _field(when, "inner_total", sums=sums),
        _zero(when, 2, sums=sums),
        _field(when, "inner4", "inner6", octets=4, sums=sums),
        _zero(when, 2, sums=sums),
        _field(when, "host_ip", sums=sums | Sum.ADDRESS),
        _inner(when, InnerOffset.IP, 4, sums=sums | Sum.ADDRESS),
    ]


def _all_nodes(field: str, address: int, octets: int, **rest) -> list[Part]:
    """A group address of all nodes: what a field begins it with, zeros, and a one."""
    begin = _OCTETS[field]
    if address & ((1 << 8 * (octets - begin)) - 1) != 1:
        raise ValueError(f"{address:#x} does not end in zeros and a one")
    return [
        _field(When.TO_ALL, field, **rest),
        _zero(When.TO_ALL, octets - begin - 1, **rest),
        Part(When.TO_ALL, Source.COUNT, 1, 1, **rest),
    ]


def _alert() -> list[Part]:
    """The message of an alert, around its time stamp, whose length changes."""
    parts = []
    for start, end in ((0, TICKS_AT), (TICKS_AT + TICKS_OCTETS, ALERT_OCTETS)):
        for first in range(start, end, _PART_OCTETS):
            octets = min(end - first, _PART_OCTETS)
            parts.append(Part(When.ALERT, Source.ALERT, first, octets, sums=Sum.UDP))
        if start == 0:
            parts.append(
                Part(When.ALERT, Source.ALERT, TICKS_AT, amount=Amount.TICKS, sums=Sum.UDP)
            )
    return parts


PROGRAM = (
    # Ethernet
    _record(When.TO_ONE, RecordOffset.MAC, 6),
    *_all_nodes("all_mac", ALL_NODES_MAC, 6),
    _field(When.ALWAYS, "host_mac"),
    Part(When.ALWAYS, Source.RECORD, RecordOffset.TAGS, amount=Amount.TAGS),
    _field(When.ALWAYS, "ethertype"),
    # ARP
    _field(When.ARP, "arp"),
    _field(When.ARP, "host_mac", "host_ip"),
    _record(When.ARP, RecordOffset.MAC, 6),
    _record(When.ARP, RecordOffset.IP, 4),
    # IP
    *_ip4(outer=True),
    _field(When.V6, "ip6"),
    _zero(When.V6, 3),
    _field(When.V6, "total", "protocol"),
    _zero(When.V6, 1),
    _field(When.V6, "host_ip6", sums=Sum.OUTER | Sum.ADDRESS),
    _record(When.V6_TO_ONE, RecordOffset.IP, 16, sums=Sum.OUTER | Sum.ADDRESS),
    *_all_nodes("all_ip6", ALL_NODES, 16, sums=Sum.OUTER | Sum.ADDRESS),
    # AH
    _field(When.AH, "ah"),
    _zero(When.AH, 2),
    _field(When.AH_ALONE, "spi"),
    _field(When.AH_ALONE, "sequence"),
    _field(When.AH_BOTH, "ah_spi"),
    _field(When.AH_BOTH, "ah_sequence"),
    _field(When.AH_IV, "sequence_high", "sequence"),
    Part(When.AH, Source.ZERO, amount=Amount.AH_ICV, place=Place.AH_ICV),
    # ESP
    _field(When.ENCAPSULATED, "port_encapsulated", place=Place.ENCAPSULATED),
    _record(When.ENCAPSULATED, RecordOffset.PORT, 2),
    _field(When.ENCAPSULATED, "encapsulated_octets"),
    _zero(When.ENCAPSULATED, 2),
    _field(When.ESP, "spi", place=Place.ESP),
    _field(When.ESP, "sequence"),
    _zero(When.CBC, 8, place=Place.IV),
    _field(When.CBC, "sequence_high", "sequence"),
    _field(When.ESP_IV, "sequence_high", "sequence"),
    # The packet in a tunnel
    *_ip4(outer=False),
    _field(When.TUNNEL_V6, "ip6"),
    _zero(When.TUNNEL_V6, 3),
    _field(When.TUNNEL_V6, "inner_total"),
    _field(When.TUNNEL_V6, "inner6"),
    _field(When.TUNNEL_V6, "host_ip6", sums=Sum.INNER | Sum.ADDRESS),
    _inner(When.TUNNEL_V6, InnerOffset.IP, 16, sums=Sum.INNER | Sum.ADDRESS),
    # UDP, or the neighbour advertisement
    _field(When.PROTECTED, "port_secured", place=Place.UDP, sums=Sum.UDP),
    _field(When.NEIGHBOUR, "neighbour", "host_ip6", sums=Sum.UDP),
    _field(When.NEIGHBOUR, "link_layer", "host_mac", sums=Sum.UDP),
    _inner(When.PROTECTED_ANSWER, InnerOffset.PORT, 2, sums=Sum.UDP),
    _field(When.CLEAR, "port_clear", sums=Sum.UDP),
    _record(When.CLEAR_ANSWER, RecordOffset.PORT, 2, sums=Sum.UDP),
    _field(When.ALERT, "port_alert", sums=Sum.UDP),
    _field(When.MESSAGE, "udp_octets", sums=Sum.UDP),
    _zero(When.MESSAGE, 2),
    Part(
        When.ANSWER,
        Source.FIELD,
        field_offset("payload"),
        amount=Amount.PAYLOAD,
        sums=Sum.UDP,
    ),
    *_alert(),
    # ESP's end
    Part(When.ESP, Source.COUNT, 1, amount=Amount.PADDING),
    _field(When.ESP, "trailer"),
    # Until the last octet is written, and in the sums.
    Part(When.ALWAYS, Source.NOTHING, octets=6, end=True),
)
