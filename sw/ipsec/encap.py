"""What travels on UDP port 4500: IKE behind a marker, ESP, and keepalives.

Source: RFC 3948 2, RFC 7296 2.23.
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.headers import ESP, PORT_ESP_IN_UDP

NON_ESP_MARKER = bytes(4)
"""Stands where ESP has its SPI, which is never zero on the wire (RFC 3948 2.2)."""
KEEPALIVE = b"\xff"
"""A NAT keepalive (RFC 3948 2.3)."""
PORT = PORT_ESP_IN_UDP


@dataclass(frozen=True, slots=True)
class IkeMessage:
    """An IKE message, its marker taken off."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class EspPacket:
    """An ESP packet, from its SPI on."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Keeps a NAT's mapping alive; to be ignored."""


def demultiplex(datagram: bytes) -> IkeMessage | EspPacket | Keepalive | None:
    """What a UDP payload on port 4500 is; None for what is nothing, to be ignored.

    Source: RFC 3948 2.1 to 2.3, 3.1, 3.2.
    """
    if datagram == KEEPALIVE:
        return Keepalive()
    if len(datagram) < len(NON_ESP_MARKER):
        return None
    if datagram.startswith(NON_ESP_MARKER):
        return IkeMessage(datagram[len(NON_ESP_MARKER) :])
    if len(datagram) < ESP.octets:
        return None
    return EspPacket(datagram)


def encapsulate_ike(message: bytes) -> bytes:
    """The UDP payload that carries an IKE message on port 4500."""
    return NON_ESP_MARKER + message


def encapsulate_esp(packet: bytes) -> bytes:
    """The UDP payload that carries an ESP packet; raises ValueError if it would look like IKE."""
    if len(packet) < ESP.octets or packet.startswith(NON_ESP_MARKER):
        raise ValueError("no ESP packet: it is too short, or its SPI is 0")
    return packet
