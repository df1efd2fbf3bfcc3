"""The frames in which the NIC's answers leave."""

from __future__ import annotations

from spec.headers import (
    ETHERNET,
    ETHERTYPE_IPV4,
    ETHERTYPE_IPV6,
    FRAME_MIN_OCTETS,
    IPV4,
    IPV6,
    PORT_ESP_IN_UDP,
    PORT_RMCP_CLEAR,
    PORT_RMCP_SECURED,
    PROTOCOL_AH,
    PROTOCOL_ESP,
    PROTOCOL_IPV4,
    PROTOCOL_IPV6,
    PROTOCOL_UDP,
    UDP,
)
from spec.suites import Protocol
from verif.model.classifier import Sender, View
from verif.model.ipsec import (
    Inside,
    ah_octets,
    covered_octets,
    has_ah,
    seal_ah,
    seal_esp,
    text_octets,
)
from verif.model.parser import checksum, normalised_ipv4
from verif.model.sad import Bank

TTL = 64


def ethernet(destination: int, source: int, tags: bytes, ethertype: int, rest: bytes) -> bytes:
    """A frame with these VLAN tags, padded to the shortest frame (IEEE 802.1Q-2022 9.6)."""
    header = ETHERNET.pack(destination=destination, source=source, ethertype=ethertype)
    return (header[:-2] + tags + header[-2:] + rest).ljust(FRAME_MIN_OCTETS, b"\0")


def ip_header(v6: bool, source: int, to: int, protocol: int, octets: int) -> bytes:
    """The IP header of a packet of the NIC's own, before a payload of `octets` octets.

    Source: RFC 791 3.1, RFC 8200 3.
    """
    if v6:
        return IPV6.pack(
            version=6,
            payload_octets=octets,
            next_header=protocol,
            hop_limit=TTL,
            source=source,
            destination=to,
        )
    fields = {
        "version": 4,
        "header_words": IPV4.octets // 4,
        "total_octets": IPV4.octets + octets,
        "dont_fragment": 1,
        "ttl": TTL,
        "protocol": protocol,
        "source": source,
        "destination": to,
    }
    return IPV4.pack(checksum=checksum(IPV4.pack(**fields)), **fields)


def covered(header: bytes, v6: bool) -> bytes:
    """Such a header as AH covers it (RFC 4302 3.3.3.1)."""
    if v6:
        return header[:7] + b"\0" + header[8:]
    normalised = normalised_ipv4(header)
    assert normalised is not None
    return normalised


def udp_datagram(
    v6: bool, source_ip: int, source_port: int, to_ip: int, to_port: int, payload: bytes
) -> bytes:
    """A UDP datagram with its checksum (RFC 768, RFC 8200 8.1)."""
    fields = {
        "source_port": source_port,
        "destination_port": to_port,
        "octets": UDP.octets + len(payload),
    }
    octets = 16 if v6 else 4
    pseudo = (
        source_ip.to_bytes(octets, "big")
        + to_ip.to_bytes(octets, "big")
        + bytes([0, PROTOCOL_UDP])
        + fields["octets"].to_bytes(2, "big")
    )
    # 0 would mean that there is no checksum; its other form in one's complement says the same.
    value = checksum(pseudo + UDP.pack(**fields) + payload) or 0xFFFF
    return UDP.pack(checksum=value, **fields) + payload


class Replier:
    """Wraps answers for the sender of a request.

    Parameters
    ----------
    view : View
        For the source addresses: those of the host, also where the request came to a group address.
    sender : Sender
        To whom.
    """

    def __init__(self, view: View, sender: Sender) -> None:
        self.view = view
        self.sender = sender

    def clear(self, message: bytes) -> bytes:
        """An answer in clear, from port 623."""
        sender = self.sender
        assert sender.port is not None
        datagram = udp_datagram(
            sender.v6, self._own(sender.v6), PORT_RMCP_CLEAR, sender.ip, sender.port, message
        )
        return self._frame(PROTOCOL_UDP, datagram)

    def protected(self, inside: Inside, bank: Bank, message: bytes) -> bytes | None:
        """An answer under `bank`, in UDP if the request came so; None if the bank is used up.

        Source: RFC 4303 3.1.1, RFC 4302 3.1, RFC 3948 3.
        """
        facts, sender = bank.facts, self.sender
        assert facts is not None
        numbers = bank.next_numbers()
        if numbers is None:
            return None
        payload, next_header = self._inner(inside, message)
        if facts.protocol is not Protocol.AH:
            payload, next_header = seal_esp(payload, next_header, bank, numbers[0]), PROTOCOL_ESP
            self._count(bank, text_octets(facts, payload))
        if has_ah(facts):
            octets = ah_octets(facts, sender.v6, False) + len(payload)
            header = covered(self._header(PROTOCOL_AH, octets), sender.v6)
            number = numbers[1 if facts.has_outer else 0]
            ah = seal_ah(header, payload, next_header, sender.v6, bank, number)
            payload, next_header = ah + payload, PROTOCOL_AH
            if facts.protocol is Protocol.AH:
                self._count(bank, covered_octets(header + payload, bank.esn))
        if sender.port is None:
            return self._frame(next_header, payload)
        if sender.v6:  # a host takes no UDP without checksum over IPv6 (RFC 8200 8.1)
            outer = udp_datagram(
                True, self._own(True), PORT_ESP_IN_UDP, sender.ip, sender.port, payload
            )
            return self._frame(PROTOCOL_UDP, outer)
        udp = UDP.pack(
            source_port=PORT_ESP_IN_UDP,
            destination_port=sender.port,
            octets=UDP.octets + len(payload),
        )
        return self._frame(PROTOCOL_UDP, udp + payload)

    def _count(self, bank: Bank, octets: int) -> None:
        sad = self.view.sad
        number = next(n for n, one in enumerate(sad.banks) if one is bank)
        sad.count(number, bank.sent, octets)

    def _inner(self, inside: Inside, message: bytes) -> tuple[bytes, int]:
        sender = self.sender
        v6 = sender.v6 if inside.v6 is None else inside.v6
        to = sender.ip if inside.v6 is None else inside.source
        datagram = udp_datagram(v6, self._own(v6), PORT_RMCP_SECURED, to, inside.port, message)
        if inside.v6 is None:
            return datagram, PROTOCOL_UDP
        header = ip_header(v6, self._own(v6), to, PROTOCOL_UDP, len(datagram))
        return header + datagram, PROTOCOL_IPV6 if v6 else PROTOCOL_IPV4

    def _own(self, v6: bool) -> int:
        return self.view.host_address(v6)

    def _header(self, protocol: int, octets: int) -> bytes:
        sender = self.sender
        return ip_header(sender.v6, self._own(sender.v6), sender.ip, protocol, octets)

    def _frame(self, protocol: int, payload: bytes) -> bytes:
        sender = self.sender
        return ethernet(
            sender.mac,
            self.view.host_mac,
            sender.tags,
            ETHERTYPE_IPV6 if sender.v6 else ETHERTYPE_IPV4,
            self._header(protocol, len(payload)) + payload,
        )
