"""ESP in transport mode with AES-GCM-16: the checks inbound in their order, and the way out."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spec.counters import Counter
from spec.headers import (
    ESP,
    ESP_ALIGN_OCTETS,
    ESP_ICV_OCTETS,
    ESP_TRAILER_OCTETS,
    GCM_IV,
    PORT_RMCP_SECURED,
    PROTOCOL_UDP,
    UDP,
)
from verif.model.sad import Bank, Sad

OVERHEAD_OCTETS = ESP.octets + GCM_IV.octets + ESP_ICV_OCTETS
CIPHERTEXT_MIN_OCTETS = 12
"""A UDP header and the trailer, padded."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A packet that passed every check.

    Parameters
    ----------
    bank : int
        Which bank authenticated it.
    source_port : int
        UDP source port inside.
    message : bytes
        UDP payload.
    """

    bank: int
    source_port: int
    message: bytes = field(repr=False)


def associated_data(spi: int, number: int, esn: bool) -> bytes:
    """AAD of AES-GCM in ESP: SPI and sequence number, 64 bits of it with ESN.

    Source: RFC 4106 5.
    """
    return spi.to_bytes(4, "big") + (
        number.to_bytes(8, "big") if esn else (number & 0xFFFFFFFF).to_bytes(4, "big")
    )


def open_packet(packet: bytes, sad: Sad) -> Opened | Counter:
    """Checks an ESP packet, moves window and bank state, and gives its UDP payload.

    Parameters
    ----------
    packet : bytes
        From the SPI to the ICV; at least 4 octets.
    sad : Sad
        Its banks.

    Returns
    -------
    Opened or Counter
        The counter is the reason of the drop.

    Source: RFC 4303 3.4, RFC 4106.
    """
    under = sad.find(int.from_bytes(packet[:4], "big"))
    if under is None:
        return Counter.DROP_UNKNOWN_SPI
    octets = len(packet) - OVERHEAD_OCTETS
    if octets < CIPHERTEXT_MIN_OCTETS or octets % ESP_ALIGN_OCTETS:
        return Counter.DROP_ESP_LENGTH
    bank = sad.banks[under]
    assert bank.window is not None
    assert bank.inbound is not None
    header = ESP.unpack(packet)
    number, reason = bank.window.check(header["sequence"])
    if reason is not None:
        return reason
    body = packet[ESP.octets + GCM_IV.octets :]
    nonce = bank.inbound.salt + packet[ESP.octets : ESP.octets + GCM_IV.octets]
    try:
        plaintext = AESGCM(bank.inbound.key).decrypt(
            nonce, body, associated_data(bank.spi_in, number, bank.esn)
        )
    except InvalidTag:
        return Counter.DROP_ICV
    # Authenticated: from here on the packet has worked, even if its inside is refused.
    bank.window.accept(number)
    sad.prove(under)
    return _inside(plaintext, under)


def _inside(plaintext: bytes, under: int) -> Opened | Counter:
    pad_octets, next_header = plaintext[-2], plaintext[-1]
    inner_octets = len(plaintext) - ESP_TRAILER_OCTETS - pad_octets
    if inner_octets < 0:
        return Counter.DROP_PADDING
    if plaintext[inner_octets:-ESP_TRAILER_OCTETS] != bytes(range(1, pad_octets + 1)):
        return Counter.DROP_PADDING
    if next_header != PROTOCOL_UDP:
        return Counter.DROP_NEXT_HEADER
    inner = plaintext[:inner_octets]
    if len(inner) < UDP.octets:
        return Counter.DROP_SELECTOR
    udp = UDP.unpack(inner)
    if udp["destination_port"] != PORT_RMCP_SECURED or udp["octets"] != len(inner):
        return Counter.DROP_SELECTOR
    return Opened(under, udp["source_port"], inner[UDP.octets :])


def seal_packet(inner: bytes, bank: Bank) -> bytes | None:
    """An ESP packet around the UDP datagram `inner`; None once the numbers are used up.

    The IV is the sequence number, so that no nonce repeats as long as no number does.

    Source: RFC 4303 3.3, RFC 4106 3.1.
    """
    assert bank.outbound is not None
    last = (1 << (64 if bank.esn else 32)) - 1
    if bank.tx_sequence & last == last:
        return None
    number = bank.tx_sequence = bank.tx_sequence + 1
    pad_octets = -(len(inner) + ESP_TRAILER_OCTETS) % ESP_ALIGN_OCTETS
    plaintext = inner + bytes(range(1, pad_octets + 1)) + bytes([pad_octets, PROTOCOL_UDP])
    iv = GCM_IV.pack(iv=number)
    sealed = AESGCM(bank.outbound.key).encrypt(
        bank.outbound.salt + iv,
        plaintext,
        associated_data(bank.spi_out, number, bank.esn),
    )
    return ESP.pack(spi=bank.spi_out, sequence=number & 0xFFFFFFFF) + iv + sealed
