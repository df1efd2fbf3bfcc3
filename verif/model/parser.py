"""What can be read from a frame, layer by layer, without trusting any length in it."""

from __future__ import annotations

from dataclasses import dataclass

from spec.headers import ARP, ETHERNET, ETHERTYPE_ARP, ETHERTYPE_IPV4, IPV4, UDP

IPV4_WORDS_MIN = 5


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


@dataclass(frozen=True, slots=True)
class Parsed:
    """A frame of at least 14 octets, taken apart.

    Parameters
    ----------
    frame : bytes
        The frame.
    ethernet : dict
        Fields of `spec.headers.ETHERNET`.
    arp : dict or None
        Fields of an ARP packet, where EtherType says so and the frame holds all 28 octets.
    ipv4 : dict or None
        Fields of an IPv4 header: EtherType 0800, version 4, IHL of 5 or more, and the frame holds
        its fixed 20 octets.
    """

    frame: bytes
    ethernet: dict[str, int]
    arp: dict[str, int] | None
    ipv4: dict[str, int] | None

    @property
    def ip_header_octets(self) -> int:
        """Length of the IPv4 header with its options."""
        assert self.ipv4 is not None
        return 4 * self.ipv4["header_words"]

    @property
    def l4(self) -> int:
        """Where in the frame the IPv4 payload begins; may lie behind its end."""
        return ETHERNET.octets + self.ip_header_octets

    def l4_octets(self, start: int, count: int) -> bytes | None:
        """Octets of the frame from `l4 + start`; None where the frame ends before."""
        data = self.frame[self.l4 + start : self.l4 + start + count]
        return data if len(data) == count else None

    @property
    def udp(self) -> dict[str, int] | None:
        """Fields of a UDP header at `l4`, None where the frame ends before."""
        data = self.l4_octets(0, UDP.octets)
        return None if data is None else UDP.unpack(data)

    @property
    def ip_header_sound(self) -> bool:
        """Whether the IPv4 header with its options is there and its checksum right (RFC 791)."""
        header = self.frame[ETHERNET.octets : self.l4]
        return len(header) == self.ip_header_octets and ones_sum(header) == 0xFFFF


def parse(frame: bytes) -> Parsed:
    """Takes a frame of at least 14 octets apart. What does not parse is None, never an error."""
    ethernet = ETHERNET.unpack(frame)
    rest = frame[ETHERNET.octets :]
    arp = ipv4 = None
    if ethernet["ethertype"] == ETHERTYPE_ARP and len(rest) >= ARP.octets:
        arp = ARP.unpack(rest)
    if ethernet["ethertype"] == ETHERTYPE_IPV4 and len(rest) >= IPV4.octets:
        ipv4 = IPV4.unpack(rest)
        if ipv4["version"] != 4 or ipv4["header_words"] < IPV4_WORDS_MIN:
            ipv4 = None
    return Parsed(frame, ethernet, arp, ipv4)
