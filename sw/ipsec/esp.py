"""ESP, one SA and one direction each, in transport or tunnel mode, with any suite that has it.

Source: RFC 4303; the suites: sw.ipsec.transforms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spec.headers import ESP, ESP_TRAILER_OCTETS, PROTOCOL_NO_NEXT, PROTOCOL_UDP
from spec.sa import REPLAY_WINDOW
from sw.ike.selectors import IpAddress
from sw.ipsec.errors import DropReason, PacketDroppedError
from sw.ipsec.inside import AddressPair, OpenedDatagram, build_inside, parse_inside
from sw.ipsec.material import EspMaterial
from sw.ipsec.reservation import SequenceReservation
from sw.ipsec.sa import InboundSa, OutboundSa, PacketCounts, Verified
from sw.ipsec.transforms import esp_transform
from sw.ipsec.udp import ANY_PORT, UdpDatagram, UdpSelector, UdpSelectorSet


class EspOutbound(OutboundSa[EspMaterial]):
    """Seals packets under one outbound SA.

    Parameters
    ----------
    material : EspMaterial
        The SA.
    sequences : SequenceReservation
        Where its numbers come from; its `last` must not be above the SA's.
    tunnel : bool
        Tunnel mode: a datagram gets an IP header of its own inside.

    Source: RFC 4303 3.3.
    """

    def __init__(
        self, material: EspMaterial, sequences: SequenceReservation, *, tunnel: bool = False
    ) -> None:
        super().__init__(material, sequences)
        self._transform = esp_transform(material)
        self._tunnel = tunnel

    def seal(self, inner: bytes, next_header: int = PROTOCOL_UDP) -> bytes:
        """An ESP packet around `inner`, without IP header.

        Raises SequenceExhaustedError, SequenceReuseError, or what the store raises: then nothing
        was sealed.
        """
        number = self._next_number()
        pad = -(len(inner) + ESP_TRAILER_OCTETS) % self._material.facts.align_octets
        plain = inner + bytes(range(1, pad + 1)) + bytes((pad, next_header))
        header = ESP.pack(spi=self._material.spi, sequence=number & 0xFFFF_FFFF)
        return header + self._transform.seal(number, plain)

    def seal_udp(self, datagram: UdpDatagram, source: IpAddress, destination: IpAddress) -> bytes:
        """An ESP packet around a UDP datagram between these two addresses; raises as `seal`.

        ValueError, before a number is taken, for addresses of two families or what does not fit.
        """
        next_header, inner = build_inside(
            datagram, source, destination, tunnel=self._tunnel, number=0
        )
        return self.seal(inner, next_header)


@dataclass(frozen=True, slots=True)
class VerifiedEsp(Verified):
    """What a packet holds whose ICV is right.

    Parameters
    ----------
    plain : bytes
        Payload with padding and trailer.
    """

    plain: bytes = field(repr=False)


class EspInbound(InboundSa[EspMaterial], PacketCounts):
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
    inner : AddressPair or None
        In tunnel mode, the addresses inside that the SA lets through; None is transport mode.
    window : int
        Width of the anti-replay window.

    Source: RFC 4303 3.4.
    """

    def __init__(
        self,
        material: EspMaterial,
        *,
        right_edge: int = 0,
        selector: UdpSelector | UdpSelectorSet = ANY_PORT,
        inner: AddressPair | None = None,
        window: int = REPLAY_WINDOW,
    ) -> None:
        InboundSa.__init__(self, material, right_edge=right_edge, window=window)
        PacketCounts.__init__(self)
        self._transform = esp_transform(material)
        self._selector = selector
        self._inner = inner
        facts = material.facts
        self._around_octets = ESP.octets + facts.iv_octets + facts.icv_octets

    def open(self, packet: bytes) -> OpenedDatagram:
        """What an ESP packet (from its SPI to its ICV) holds; raises PacketDroppedError."""
        with self._counted():
            verified = self.verify(packet)
            self.mark(verified)
            return self.parse(verified)

    def verify(self, packet: bytes) -> VerifiedEsp:
        """Check length, number and ICV, and change nothing; raises PacketDroppedError."""
        text_octets = len(packet) - self._around_octets
        align_octets = self._material.facts.align_octets
        if text_octets < align_octets or text_octets % align_octets:
            raise PacketDroppedError(DropReason.LENGTH)
        header = ESP.unpack(packet)
        if header["spi"] != self._material.spi:
            raise PacketDroppedError(DropReason.UNKNOWN_SPI)
        number = self._number_of(header["sequence"])
        plain = self._transform.open(number, packet[ESP.octets :])
        if plain is None:
            raise PacketDroppedError(DropReason.ICV)
        return VerifiedEsp(number, plain)

    def parse(self, verified: VerifiedEsp) -> OpenedDatagram:
        """What an authentic packet holds; raises PacketDroppedError."""
        plain = verified.plain
        pad, next_header = plain[-ESP_TRAILER_OCTETS:]
        end = len(plain) - ESP_TRAILER_OCTETS - pad
        if end < 0 or plain[end:-ESP_TRAILER_OCTETS] != bytes(range(1, pad + 1)):
            raise PacketDroppedError(DropReason.PADDING)
        if next_header == PROTOCOL_NO_NEXT:
            raise PacketDroppedError(DropReason.DUMMY)
        datagram = parse_inside(
            next_header, plain[:end], inner=self._inner, selector=self._selector, padded=True
        )
        return OpenedDatagram(self._material.spi, verified.number, datagram)
