"""Pass, take or drop: the decision on a frame from the wire, before any cryptography."""

from __future__ import annotations

from dataclasses import dataclass, field

from spec.counters import Counter
from spec.headers import (
    IP_MAX_OCTETS,
    PORT_ESP_IN_UDP,
    PORT_RMCP_CLEAR,
    PORT_RMCP_SECURED,
    PROTOCOL_AH,
    PROTOCOL_ESP,
    PROTOCOL_UDP,
    RMCP,
    UDP,
)
from verif.model.arp import is_request_for
from verif.model.neighbour import is_solicitation_for
from verif.model.parser import OURS_MIN_OCTETS, SPI_OCTETS, Parsed, Walk
from verif.model.sad import Sad

GROUP_BIT = 1 << 40
"""Of a MAC address as a number: the lowest bit of its first octet (IEEE 802-2014 8.2.2)."""
NON_ESP_MARKER = 0
"""In place of the SPI: IKE on port 4500 (RFC 3948 2.2)."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom an answer goes to, and the way it takes.

    Parameters
    ----------
    mac : int
        Ethernet source of the request.
    tags : bytes
        VLAN tags of the request, each four octets from its EtherType on.
    v6 : bool
        It came over IPv6.
    ip : int
        IP source.
    port : int or None
        UDP source port of the outermost UDP header; None for raw AH and ESP.
    """

    mac: int
    tags: bytes
    v6: bool
    ip: int
    port: int | None


@dataclass(frozen=True, slots=True)
class Pass:
    """For the host."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Ours, and refused."""

    counter: Counter


@dataclass(frozen=True, slots=True)
class AnswerArp:
    """An ARP request that the NIC answers in the host's place."""


@dataclass(frozen=True, slots=True)
class AnswerNeighbour:
    """A neighbour solicitation that the NIC answers in the host's place."""


@dataclass(frozen=True, slots=True)
class TakeProtected:
    """A protected packet.

    Parameters
    ----------
    sender : Sender
        Whom to answer.
    protocol : int
        AH or ESP.
    spi : int
        Its SPI, which a bank has.
    headers : bytes
        What stands before it in its IP packet, as AH covers it.
    packet : bytes
        From AH's or ESP's first octet to the packet's last.
    """

    sender: Sender
    protocol: int
    spi: int
    headers: bytes = field(repr=False)
    packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeClear:
    """An RMCP message in clear, to port 623."""

    sender: Sender
    message: bytes


Decision = Pass | Drop | AnswerArp | AnswerNeighbour | TakeProtected | TakeClear


@dataclass(frozen=True, slots=True)
class View:
    """What the classifier knows of the NIC's state.

    Parameters
    ----------
    host_mac, host_ip, host_ip6 : int
        The host's addresses; an IP address of 0 switches its family off.
    os_up : bool
        The host answers ARP and neighbour solicitations itself.
    clear_open : bool
        Port 623 is open.
    sad : Sad
        For SPIs and peers.
    """

    host_mac: int
    host_ip: int
    host_ip6: int
    os_up: bool
    clear_open: bool
    sad: Sad

    def host_address(self, v6: bool) -> int:
        """The host's address of a family."""
        return self.host_ip6 if v6 else self.host_ip


def classify(parsed: Parsed, view: View) -> Decision:
    """Decides on a frame of at least 14 octets that came without error. Changes nothing."""
    destination = parsed.ethernet["destination"]
    if destination != view.host_mac and not destination & GROUP_BIT:
        return Pass()
    if parsed.arp is not None:
        asked = view.host_ip != 0 and is_request_for(parsed.arp, view.host_ip)
        return AnswerArp() if asked and not view.os_up else Pass()
    if is_solicitation_for(parsed, view.host_ip6):
        return Pass() if view.os_up else AnswerNeighbour()
    ip = parsed.ip
    if ip is None or not 0 != ip.destination == view.host_address(ip.v6):
        return Pass()
    if ip.protocol in (PROTOCOL_AH, PROTOCOL_ESP):
        return _protected(parsed, ip, view)
    if ip.protocol == PROTOCOL_UDP and not ip.later:
        return _udp(parsed, ip, view)
    return _other(parsed, ip, view)


def _other(parsed: Parsed, ip: Walk, view: View) -> Decision:
    # What a station sends behind extension headers that the NIC cannot follow may be hidden ESP.
    if ip.v6 and ip.fault and view.sad.is_peer(ip.v6, ip.source):
        return Drop(_ip_fault(parsed, ip, 0) or Counter.DROP_IP_OPTION)
    return Pass()


def _protected(parsed: Parsed, ip: Walk, view: View) -> Decision:
    assert ip.protocol is not None
    # A later fragment has no SPI, nor has a truncated frame: only the source makes it ours then.
    spi = None if ip.later else parsed.spi
    known = spi is not None and view.sad.find(ip.protocol, spi) is not None
    if not known and not view.sad.is_peer(ip.v6, ip.source):
        return Pass()
    reason = _ip_fault(parsed, ip, OURS_MIN_OCTETS[ip.protocol])
    if reason is not None:
        return Drop(reason)
    if spi is None or not known:
        return Drop(Counter.DROP_UNKNOWN_SPI)
    return TakeProtected(
        Sender(parsed.ethernet["source"], parsed.tags, ip.v6, ip.source, None),
        ip.protocol,
        spi,
        ip.covered,
        _l4_payload(parsed, 0, ip.total - ip.header_octets),
    )


def _udp(parsed: Parsed, ip: Walk, view: View) -> Decision:
    udp = parsed.udp
    if udp is None:
        return _other(parsed, ip, view)
    port, known, spi = udp["destination_port"], False, None
    if port == PORT_ESP_IN_UDP:
        spi = parsed.number_at(UDP.octets, SPI_OCTETS)
        if spi is None or spi == NON_ESP_MARKER or udp["octets"] < UDP.octets + SPI_OCTETS:
            return _other(parsed, ip, view)  # a NAT keepalive is one octet (RFC 3948 2.3)
        known = view.sad.find(PROTOCOL_ESP, spi) is not None
        if not known and not view.sad.is_peer(ip.v6, ip.source):
            return Pass()
    elif port not in (PORT_RMCP_SECURED, PORT_RMCP_CLEAR):
        return _other(parsed, ip, view)
    reason = _ip_fault(parsed, ip, UDP.octets)
    if reason is not None:
        return Drop(reason)
    if not UDP.octets <= udp["octets"] <= ip.total - ip.header_octets:
        return Drop(Counter.DROP_UDP_LENGTH)
    sender = Sender(parsed.ethernet["source"], parsed.tags, ip.v6, ip.source, udp["source_port"])
    payload = _l4_payload(parsed, UDP.octets, udp["octets"] - UDP.octets)
    if port == PORT_RMCP_SECURED:
        return Drop(Counter.DROP_CLEAR_PROTECTED)
    if port == PORT_ESP_IN_UDP:
        if spi is None or not known:
            return Drop(Counter.DROP_UNKNOWN_SPI)
        return TakeProtected(sender, PROTOCOL_ESP, spi, b"", payload)
    if not view.clear_open:
        return Drop(Counter.DROP_CLEAR_POLICY)
    if len(payload) < RMCP.octets:
        return Drop(Counter.DROP_RMCP_MALFORMED)
    return TakeClear(sender, payload)


def _ip_fault(parsed: Parsed, ip: Walk, l4_min_octets: int) -> Counter | None:
    if (
        not ip.sound
        or ip.total > IP_MAX_OCTETS
        or ip.total < ip.header_octets + l4_min_octets
        or len(parsed.frame) < parsed.network + ip.total
    ):
        return Counter.DROP_IP_HEADER
    if ip.fragment:
        return Counter.DROP_FRAGMENT
    if ip.fault and (ip.v6 or ip.protocol == PROTOCOL_AH):
        return Counter.DROP_IP_OPTION
    return None


def _l4_payload(parsed: Parsed, start: int, count: int) -> bytes:
    data = parsed.l4_octets(start, count)
    assert data is not None  # _ip_fault saw to it
    return data
