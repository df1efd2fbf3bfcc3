"""What can be read from a frame, layer by layer, without trusting any length in it."""

from __future__ import annotations

from dataclasses import dataclass

from spec.headers import (
    AH,
    ARP,
    ESP,
    ETHERNET,
    ETHERTYPE_ARP,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    ETHERTYPE_SERVICE_VLAN,
    ETHERTYPE_VLAN,
    EXTENSION_OCTETS_MAX,
    IPV4,
    IPV4_OPTIONS_IMMUTABLE,
    IPV4_OPTIONS_MUTABLE,
    IPV6,
    IPV6_EXTENSION,
    IPV6_OPTION_MUTABLE,
    PROTOCOL_AH,
    PROTOCOL_DESTINATION_OPTIONS,
    PROTOCOL_ESP,
    PROTOCOL_FRAGMENT,
    PROTOCOL_HOP_BY_HOP,
    PROTOCOL_ROUTING,
    PROTOCOL_UDP,
    UDP,
    VLAN,
    VLAN_TAGS_MAX,
)

IPV4_WORDS_MIN = 5
TAG_OCTETS = 4
"""Of a VLAN tag: EtherType and tag control."""
SPI_OCTETS = 4
OURS_MIN_OCTETS = {PROTOCOL_UDP: UDP.octets, PROTOCOL_ESP: SPI_OCTETS, PROTOCOL_AH: SPI_OCTETS}
"""Protocols that the NIC knows, and how many octets of each a packet must hold."""
OPTION_PAD_1 = 0
"""The IPv6 option of one octet (RFC 8200 4.2)."""
OPTION_END, OPTION_NO_OPERATION = 0, 1
"""IPv4 options of one octet (RFC 791 3.1)."""
SEGMENTS_LEFT_OFFSET = 3
"""In a routing header (RFC 8200 4.4)."""


def ones_sum(data: bytes) -> int:
    """16-bit one's complement sum of `data`, an odd last octet being the high one.

    Source: RFC 1071.
    """
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def checksum(data: bytes) -> int:
    """Internet checksum of `data` (RFC 1071)."""
    return ones_sum(data) ^ 0xFFFF


def normalised_ipv4(header: bytes) -> bytes | None:
    """An IPv4 header as AH covers it; None if an option is malformed or not in the table.

    Source: RFC 4302 3.3.3.1.1, A1.
    """
    data = bytearray(header)
    data[1] = 0
    data[6:8] = data[10:12] = b"\0\0"
    data[8] = 0
    at = IPV4.octets
    while at < len(data) and data[at] != OPTION_END:
        kind = data[at]
        if kind == OPTION_NO_OPERATION:
            at += 1
            continue
        octets = data[at + 1] if at + 1 < len(data) else 0
        if octets < 2 or at + octets > len(data):
            return None
        if kind in IPV4_OPTIONS_MUTABLE:
            data[at : at + octets] = bytes(octets)
        elif kind not in IPV4_OPTIONS_IMMUTABLE:
            return None
        at += octets
    return bytes(data)


def normalised_options(header: bytes) -> bytes | None:
    """An IPv6 header of options as AH covers it; None if an option reaches beyond it.

    Source: RFC 8200 4.2, RFC 4302 3.3.3.1.2.2, A2.
    """
    data = bytearray(header)
    at = IPV6_EXTENSION.octets
    while at < len(data):
        if data[at] == OPTION_PAD_1:
            at += 1
            continue
        if at + 1 >= len(data) or at + 2 + data[at + 1] > len(data):
            return None
        end = at + 2 + data[at + 1]
        if data[at] & IPV6_OPTION_MUTABLE:
            data[at + 2 : end] = bytes(end - at - 2)
        at = end
    return bytes(data)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where the headers of an IP packet end.

    Parameters
    ----------
    v6 : bool
        IPv6.
    source, destination : int
        Addresses.
    total : int
        Octets that the packet says to have, from its IP header's first on.
    header_octets : int
        Octets of the IP header with options or extension headers, as far as walked.
    protocol : int or None
        What stands behind them; None where the walk ended early.
    fragment : bool
        It is a fragment (an IPv6 packet with a fragment header counts as one).
    later : bool
        A fragment with an offset: `protocol` does not stand there.
    covered : bytes
        The headers as AH covers them.
    fault : bool
        An IPv4 option (it matters to AH alone) or an IPv6 extension header is not acceptable.
    sound : bool
        The IPv4 header is there, with a right checksum. Always true of IPv6.
    """

    v6: bool
    source: int
    destination: int
    total: int
    header_octets: int
    protocol: int | None
    fragment: bool
    later: bool
    covered: bytes
    fault: bool
    sound: bool


@dataclass(frozen=True, slots=True)
class Parsed:
    """A frame of at least 14 octets, taken apart.

    Parameters
    ----------
    frame : bytes
        The frame.
    ethernet : dict
        Fields of `spec.headers.ETHERNET`.
    tags : bytes
        The VLAN tags as they came, up to two.
    arp : dict or None
        Fields of an ARP packet, where EtherType says so and the frame holds all 28 octets.
    ip : Walk or None
        An IPv4 or IPv6 packet, whose fixed header the frame holds.
    """

    frame: bytes
    ethernet: dict[str, int]
    tags: bytes
    arp: dict[str, int] | None
    ip: Walk | None

    @property
    def network(self) -> int:
        """Where in the frame the packet begins."""
        return ETHERNET.octets + len(self.tags)

    @property
    def l4(self) -> int:
        """Where in the frame the IP payload begins; may lie behind its end."""
        assert self.ip is not None
        return self.network + self.ip.header_octets

    def l4_octets(self, start: int, count: int) -> bytes | None:
        """Octets of the frame from `l4 + start`; None where the frame ends before."""
        data = self.frame[self.l4 + start : self.l4 + start + count]
        return data if len(data) == count else None

    def number_at(self, start: int, count: int) -> int | None:
        """The same as a number."""
        data = self.l4_octets(start, count)
        return None if data is None else int.from_bytes(data, "big")

    @property
    def udp(self) -> dict[str, int] | None:
        """Fields of a UDP header at `l4`, None where the frame ends before."""
        data = self.l4_octets(0, UDP.octets)
        return None if data is None else UDP.unpack(data)

    @property
    def spi(self) -> int | None:
        """SPI of the AH or ESP header at `l4`, None where the frame ends before."""
        assert self.ip is not None
        header = AH if self.ip.protocol == PROTOCOL_AH else ESP
        return self.number_at(header.octet_offset("spi"), SPI_OCTETS)


def parse(frame: bytes) -> Parsed:
    """Takes a frame of at least 14 octets apart. What does not parse is None, never an error."""
    ethernet = ETHERNET.unpack(frame)
    ethertype = ethernet["ethertype"]
    end = ETHERNET.octets
    while ethertype in (ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN):
        tag = frame[end : end + VLAN.octets]
        if len(tag) < VLAN.octets or end == ETHERNET.octets + VLAN_TAGS_MAX * TAG_OCTETS:
            break
        ethertype = VLAN.unpack(tag)["ethertype"]
        end += TAG_OCTETS
    # The tags stand between the source and the last EtherType.
    tags = frame[ETHERNET.octets - 2 : end - 2]
    rest = frame[end:]
    arp = ip = None
    if ethertype == ETHERTYPE_ARP and len(rest) >= ARP.octets:
        arp = ARP.unpack(rest)
    if ethertype == ETHERTYPE_IPV4 and len(rest) >= IPV4.octets:
        ip = _ipv4(rest)
    if ethertype == ETHERTYPE_IPV6 and len(rest) >= IPV6.octets:
        ip = _ipv6(rest)
    return Parsed(frame, ethernet, tags, arp, ip)


def _ipv4(data: bytes) -> Walk | None:
    ipv4 = IPV4.unpack(data)
    if ipv4["version"] != 4 or ipv4["header_words"] < IPV4_WORDS_MIN:
        return None
    octets = 4 * ipv4["header_words"]
    header = data[:octets]
    covered = normalised_ipv4(header)
    return Walk(
        v6=False,
        source=ipv4["source"],
        destination=ipv4["destination"],
        total=ipv4["total_octets"],
        header_octets=octets,
        protocol=ipv4["protocol"],
        fragment=bool(ipv4["more_fragments"] or ipv4["fragment_offset"]),
        later=bool(ipv4["fragment_offset"]),
        covered=covered or b"",
        fault=covered is None,
        sound=len(header) == octets and ones_sum(header) == 0xFFFF,
    )


def _ipv6(data: bytes) -> Walk | None:
    ipv6 = IPV6.unpack(data)
    if ipv6["version"] != 6:
        return None
    at, protocol = IPV6.octets, ipv6["next_header"]
    covered = b"\x60\0\0\0" + data[4:7] + b"\0" + data[8:at]
    fragment = later = fault = ended = False
    while not (later or ended) and protocol in (
        PROTOCOL_HOP_BY_HOP,
        PROTOCOL_ROUTING,
        PROTOCOL_DESTINATION_OPTIONS,
        PROTOCOL_FRAGMENT,
    ):
        start = data[at : at + IPV6_EXTENSION.octets]
        if len(start) < IPV6_EXTENSION.octets:
            ended = True
            break
        fields = IPV6_EXTENSION.unpack(start)
        octets = 8 if protocol == PROTOCOL_FRAGMENT else 8 * (fields["length"] + 1)
        if at - IPV6.octets + octets > EXTENSION_OCTETS_MAX:
            fault = ended = True
            break
        header = data[at : at + octets]
        if protocol == PROTOCOL_ROUTING and len(header) > SEGMENTS_LEFT_OFFSET:
            fault |= header[SEGMENTS_LEFT_OFFSET] != 0
        if len(header) < octets:
            ended = True
            break
        if protocol == PROTOCOL_FRAGMENT:
            fragment = True
            later = int.from_bytes(header[2:4], "big") >> 3 != 0
            covered += header
        elif protocol == PROTOCOL_ROUTING:
            covered += header
        else:
            options = normalised_options(header)
            fault |= options is None
            covered += options or header
        at += octets
        protocol = fields["next_header"]
    return Walk(
        v6=True,
        source=ipv6["source"],
        destination=ipv6["destination"],
        total=IPV6.octets + ipv6["payload_octets"],
        header_octets=at,
        protocol=None if ended else protocol,
        fragment=fragment,
        later=later,
        covered=covered,
        fault=fault,
        sound=True,
    )
