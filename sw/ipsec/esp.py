"""ESP in transport mode with AES-GCM-16, one SA and one direction each.

Source: RFC 4303, RFC 4106.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spec.headers import (
    ESP,
    ESP_ALIGN_OCTETS,
    ESP_ICV_OCTETS,
    ESP_TRAILER_OCTETS,
    GCM_IV,
    PROTOCOL_UDP,
)
from sw.ipsec.errors import EspDroppedError, EspDropReason, SequenceExhaustedError
from sw.ipsec.material import EspMaterial
from sw.ipsec.reservation import SequenceReservation
from sw.ipsec.udp import (
    ANY_PORT,
    UdpDatagram,
    UdpSelector,
    UdpSelectorSet,
    build_udp,
    parse_udp,
)
from sw.ipsec.window import ReplayWindow

_SHORTEST = ESP.octets + GCM_IV.octets + ESP_ALIGN_OCTETS + ESP_ICV_OCTETS


def _aad(material: EspMaterial, number: int) -> bytes:
    # RFC 4106 5: the high half takes part, though it is not sent.
    octets = 8 if material.esn else 4
    return material.spi.to_bytes(4, "big") + number.to_bytes(octets, "big")


class EspOutbound:
    """Seals packets under one outbound SA. The IV is the 64-bit sequence number.

    Parameters
    ----------
    material : EspMaterial
        The SA.
    sequences : SequenceReservation
        Where its numbers come from; its `last` must not be above the SA's.

    Source: RFC 4303 3.3, RFC 4106 3.
    """

    def __init__(self, material: EspMaterial, sequences: SequenceReservation) -> None:
        if sequences.last > material.sequence_max:
            raise ValueError("the reservation reaches beyond the SA's last sequence number")
        self._material = material
        self._cipher = AESGCM(material.key)
        self._sequences = sequences

    @property
    def spi(self) -> int:
        """The SPI that packets carry."""
        return self._material.spi

    @property
    def sequences(self) -> SequenceReservation:
        """Where the numbers come from."""
        return self._sequences

    def seal(self, inner: bytes, next_header: int = PROTOCOL_UDP) -> bytes:
        """An ESP packet around `inner`, without IP header.

        Raises SequenceExhaustedError, SequenceReuseError, or what the store raises: then nothing
        was sealed.
        """
        number = self._sequences.next()
        if not 1 <= number <= self._material.sequence_max:
            raise SequenceExhaustedError("every sequence number of this SA is used: replace the SA")
        pad = -(len(inner) + ESP_TRAILER_OCTETS) % ESP_ALIGN_OCTETS
        plain = inner + bytes(range(1, pad + 1)) + bytes((pad, next_header))
        iv = GCM_IV.pack(iv=number)
        sealed = self._cipher.encrypt(self._material.salt + iv, plain, _aad(self._material, number))
        return ESP.pack(spi=self._material.spi, sequence=number & 0xFFFF_FFFF) + iv + sealed

    def seal_udp(
        self, datagram: UdpDatagram, source: IPv4Address, destination: IPv4Address
    ) -> bytes:
        """An ESP packet around a UDP datagram between these two addresses."""
        return self.seal(build_udp(datagram, source, destination))


@dataclass(frozen=True, slots=True)
class EspPayload:
    """What an inbound packet held.

    Parameters
    ----------
    spi : int
        The SA that authenticated it.
    sequence : int
        Its 64-bit number.
    datagram : UdpDatagram
        What was inside.
    """

    spi: int
    sequence: int
    datagram: UdpDatagram


class EspInbound:
    """Opens packets of one inbound SA.

    Checks in this order: length, window, ICV; then the window moves; then padding, next header,
    selector. Each drop is counted under one reason. SEC: STATION.WINDOW_AFTER_ICV.

    Parameters
    ----------
    material : EspMaterial
        The SA.
    right_edge : int
        Where the window stands: 0 for a fresh SA, else `right_edge` as it was last stored.
    selector : UdpSelector or UdpSelectorSet
        Ports of the datagrams that the SA lets through.

    Source: RFC 4303 3.4, RFC 4106 3 to 5.
    """

    def __init__(
        self,
        material: EspMaterial,
        *,
        right_edge: int = 0,
        selector: UdpSelector | UdpSelectorSet = ANY_PORT,
    ) -> None:
        self._material = material
        self._cipher = AESGCM(material.key)
        self._window = ReplayWindow(esn=material.esn, right_edge=right_edge)
        self._selector = selector
        self._drops: Counter[EspDropReason] = Counter()
        self._accepted = 0

    @property
    def spi(self) -> int:
        """The SPI of the packets it opens."""
        return self._material.spi

    @property
    def right_edge(self) -> int:
        """Right edge of the window: highest number authenticated so far."""
        return self._window.right_edge

    @property
    def accepted(self) -> int:
        """Packets that passed every check."""
        return self._accepted

    @property
    def drops(self) -> dict[EspDropReason, int]:
        """Packets dropped, by reason; reasons that never occurred are missing."""
        return dict(self._drops)

    def open(self, packet: bytes) -> EspPayload:
        """What an ESP packet (from its SPI to its ICV) holds; raises EspDroppedError."""
        try:
            payload = self._open(packet)
        except EspDroppedError as error:
            self._drops[error.reason] += 1
            raise
        self._accepted += 1
        return payload

    def _open(self, packet: bytes) -> EspPayload:
        if len(packet) < _SHORTEST or len(packet) % ESP_ALIGN_OCTETS:
            raise EspDroppedError(EspDropReason.LENGTH)
        header = ESP.unpack(packet)
        if header["spi"] != self._material.spi:
            raise EspDroppedError(EspDropReason.UNKNOWN_SPI)
        number = self._window.infer(header["sequence"])
        self._window.check(number)
        iv = packet[ESP.octets : ESP.octets + GCM_IV.octets]
        sealed = packet[ESP.octets + GCM_IV.octets :]
        try:
            plain = self._cipher.decrypt(
                self._material.salt + iv, sealed, _aad(self._material, number)
            )
        except InvalidTag:
            raise EspDroppedError(EspDropReason.ICV) from None
        self._window.mark(number)
        return EspPayload(self._material.spi, number, self._parse_plain(plain))

    def _parse_plain(self, plain: bytes) -> UdpDatagram:
        pad, next_header = plain[-ESP_TRAILER_OCTETS:]
        inner_octets = len(plain) - ESP_TRAILER_OCTETS - pad
        if inner_octets < 0 or plain[inner_octets:-ESP_TRAILER_OCTETS] != bytes(range(1, pad + 1)):
            raise EspDroppedError(EspDropReason.PADDING)
        if next_header != PROTOCOL_UDP:
            raise EspDroppedError(EspDropReason.NEXT_HEADER)
        try:
            datagram = parse_udp(plain[:inner_octets])
        except ValueError:
            raise EspDroppedError(EspDropReason.SELECTOR) from None
        if not self._selector.matches(datagram):
            raise EspDroppedError(EspDropReason.SELECTOR)
        return datagram
