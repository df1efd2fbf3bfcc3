"""The frames in which the NIC's answers leave."""

from __future__ import annotations

from spec.headers import (
    ETHERNET,
    ETHERTYPE_IPV4,
    FRAME_MIN_OCTETS,
    IPV4,
    PORT_ESP_IN_UDP,
    PORT_RMCP_CLEAR,
    PORT_RMCP_SECURED,
    PROTOCOL_ESP,
    PROTOCOL_UDP,
    UDP,
)
from verif.model.classifier import Sender
from verif.model.esp import seal_packet
from verif.model.parser import checksum
from verif.model.sad import Bank

TTL = 64


def udp_datagram(
    source_ip: int, source_port: int, to_ip: int, to_port: int, payload: bytes
) -> bytes:
    """A UDP datagram with its checksum (RFC 768)."""
    fields = {
        "source_port": source_port,
        "destination_port": to_port,
        "octets": UDP.octets + len(payload),
    }
    pseudo = (
        source_ip.to_bytes(4, "big")
        + to_ip.to_bytes(4, "big")
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
    host_mac, host_ip : int
        Source addresses: those of the host, also where the request came to a group address.
    """

    def __init__(self, host_mac: int, host_ip: int) -> None:
        self.host_mac = host_mac
        self.host_ip = host_ip

    def clear(self, sender: Sender, message: bytes) -> bytes:
        """An answer in clear, from port 623."""
        assert sender.port is not None
        datagram = udp_datagram(self.host_ip, PORT_RMCP_CLEAR, sender.ip, sender.port, message)
        return self._frame(sender, PROTOCOL_UDP, datagram)

    def protected(
        self, sender: Sender, inner_port: int, bank: Bank, message: bytes
    ) -> bytes | None:
        """An answer under `bank`, in UDP if the request came so; None if the bank is used up.

        Source: RFC 4303 3.1.1, RFC 3948 3.
        """
        inner = udp_datagram(self.host_ip, PORT_RMCP_SECURED, sender.ip, inner_port, message)
        packet = seal_packet(inner, bank)
        if packet is None:
            return None
        if sender.port is None:
            return self._frame(sender, PROTOCOL_ESP, packet)
        outer = UDP.pack(
            source_port=PORT_ESP_IN_UDP,
            destination_port=sender.port,
            octets=UDP.octets + len(packet),
        )
        return self._frame(sender, PROTOCOL_UDP, outer + packet)

    def _frame(self, sender: Sender, protocol: int, payload: bytes) -> bytes:
        fields = {
            "version": 4,
            "header_words": IPV4.octets // 4,
            "total_octets": IPV4.octets + len(payload),
            "dont_fragment": 1,
            "ttl": TTL,
            "protocol": protocol,
            "source": self.host_ip,
            "destination": sender.ip,
        }
        frame = (
            ETHERNET.pack(destination=sender.mac, source=self.host_mac, ethertype=ETHERTYPE_IPV4)
            + IPV4.pack(checksum=checksum(IPV4.pack(**fields)), **fields)
            + payload
        )
        return frame.ljust(FRAME_MIN_OCTETS, b"\0")
