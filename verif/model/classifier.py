"""Pass, take or drop: the decision on a frame from the wire, before any cryptography."""

from __future__ import annotations

from dataclasses import dataclass, field

from spec import headers
from spec.counters import Counter
from spec.headers import (
    IP_MAX_OCTETS,
    PROTOCOL_ESP,
    PROTOCOL_UDP,
    UDP,
)
from verif.model.arp import is_request_for
from verif.model.parser import Parsed
from verif.model.sad import Sad

GROUP_BIT = 1 << 40
"""Of a MAC address as a number: the lowest bit of its first octet (IEEE 802-2014 8.2.2)."""
SPI_OCTETS = 4
NON_ESP_MARKER = 0
"""In place of the SPI: IKE on port 4500 (RFC 3948 2.2)."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom an answer goes to.

    Parameters
    ----------
    mac, ip : int
        Ethernet and IPv4 source of the request.
    port : int or None
        UDP source port of the outermost UDP header; None for raw ESP.
    """

    mac: int
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
class TakeEsp:
    """A protected packet, from SPI to ICV."""

    sender: Sender
    packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeClear:
    """An RMCP message in clear, to port 623."""

    sender: Sender
    message: bytes


Decision = Pass | Drop | AnswerArp | TakeEsp | TakeClear


@dataclass(frozen=True, slots=True)
class View:
    """What the classifier knows of the NIC's state.

    Parameters
    ----------
    host_mac, host_ip : int
        The host's addresses; `host_ip` 0 switches everything off.
    os_up : bool
        The host answers ARP itself.
    clear_open : bool
        Port 623 is open: cold boot, and policy does not forbid it.
    sad : Sad
        For SPIs and peers.
    """

    host_mac: int
    host_ip: int
    os_up: bool
    clear_open: bool
    sad: Sad


def classify(parsed: Parsed, view: View) -> Decision:
    """Decides on a frame of at least 14 octets that came without error. Changes nothing."""
    destination = parsed.ethernet["destination"]
    if view.host_ip == 0 or (destination != view.host_mac and not destination & GROUP_BIT):
        return Pass()
    if parsed.arp is not None and is_request_for(parsed.arp, view.host_ip):
        return Pass() if view.os_up else AnswerArp()
    if parsed.ipv4 is None or parsed.ipv4["destination"] != view.host_ip:
        return Pass()
    if parsed.ipv4["protocol"] == PROTOCOL_ESP:
        return _raw_esp(parsed, view)
    if parsed.ipv4["protocol"] == PROTOCOL_UDP and parsed.ipv4["fragment_offset"] == 0:
        return _udp(parsed, view)
    return Pass()


def _raw_esp(parsed: Parsed, view: View) -> Decision:
    ipv4 = parsed.ipv4
    assert ipv4 is not None
    # A later fragment has no SPI, nor has a truncated frame: only the source makes it ours then.
    spi = parsed.l4_octets(0, SPI_OCTETS) if ipv4["fragment_offset"] == 0 else None
    known = spi is not None and view.sad.find(int.from_bytes(spi, "big")) is not None
    if not known and not view.sad.is_peer(ipv4["source"]):
        return Pass()
    reason = _ip_fault(parsed, SPI_OCTETS)
    if reason is not None:
        return Drop(reason)
    if not known:
        return Drop(Counter.DROP_UNKNOWN_SPI)
    sender = Sender(parsed.ethernet["source"], ipv4["source"], None)
    return TakeEsp(sender, _l4_payload(parsed, 0, ipv4["total_octets"] - parsed.ip_header_octets))


def _udp(parsed: Parsed, view: View) -> Decision:
    ipv4, udp = parsed.ipv4, parsed.udp
    if ipv4 is None or udp is None:
        return Pass()
    known = False
    match udp["destination_port"]:
        case headers.PORT_RMCP_SECURED | headers.PORT_RMCP_CLEAR:
            pass
        case headers.PORT_ESP_IN_UDP:
            spi = parsed.l4_octets(UDP.octets, SPI_OCTETS)
            if spi is None or udp["octets"] < UDP.octets + SPI_OCTETS:
                return Pass()  # a NAT keepalive is one octet (RFC 3948 2.3)
            number = int.from_bytes(spi, "big")
            known = view.sad.find(number) is not None
            if number == NON_ESP_MARKER or not (known or view.sad.is_peer(ipv4["source"])):
                return Pass()
        case _:
            return Pass()
    reason = _ip_fault(parsed, UDP.octets)
    if reason is not None:
        return Drop(reason)
    if not UDP.octets <= udp["octets"] <= ipv4["total_octets"] - parsed.ip_header_octets:
        return Drop(Counter.DROP_UDP_LENGTH)
    sender = Sender(parsed.ethernet["source"], ipv4["source"], udp["source_port"])
    payload = _l4_payload(parsed, UDP.octets, udp["octets"] - UDP.octets)
    match udp["destination_port"]:
        case headers.PORT_RMCP_SECURED:
            return Drop(Counter.DROP_CLEAR_PROTECTED)
        case headers.PORT_ESP_IN_UDP:
            return TakeEsp(sender, payload) if known else Drop(Counter.DROP_UNKNOWN_SPI)
        case _ if view.clear_open:
            return TakeClear(sender, payload)
        case _:
            return Drop(Counter.DROP_CLEAR_POLICY)


def _ip_fault(parsed: Parsed, l4_min_octets: int) -> Counter | None:
    ipv4 = parsed.ipv4
    assert ipv4 is not None
    total = ipv4["total_octets"]
    if (
        not parsed.ip_header_sound
        or total > IP_MAX_OCTETS
        or total < parsed.ip_header_octets + l4_min_octets
        or len(parsed.frame) < parsed.l4 - parsed.ip_header_octets + total
    ):
        return Counter.DROP_IP_HEADER
    if ipv4["more_fragments"] or ipv4["fragment_offset"]:
        return Counter.DROP_FRAGMENT
    return None


def _l4_payload(parsed: Parsed, start: int, count: int) -> bytes:
    data = parsed.l4_octets(start, count)
    assert data is not None  # _ip_fault saw to it
    return data
