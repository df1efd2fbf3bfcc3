"""AH, one SA and one direction each, around whole IP packets.

Source: RFC 4302, RFC 4543.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from spec.headers import AH, PROTOCOL_AH, VERSION_IPV4
from spec.sa import REPLAY_WINDOW
from sw.ipsec.errors import DropReason, PacketDroppedError
from sw.ipsec.ip import IpPacket
from sw.ipsec.material import AhMaterial
from sw.ipsec.reservation import SequenceReservation
from sw.ipsec.sa import InboundSa, OutboundSa, Verified
from sw.ipsec.transforms import AhIntegrity

_WORD = 4
_ALIGN_V6 = 8


class AhOutbound(OutboundSa[AhMaterial]):
    """Puts AH into packets, under one outbound SA.

    Parameters
    ----------
    material : AhMaterial
        The SA.
    sequences : SequenceReservation
        Where its numbers come from; its `last` must not be above the SA's.
    align_octets : int
        AH in IPv4 ends on a multiple of this: 4 as the RFC has it, or 8 for a Linux peer without
        `align4`. In IPv6 it is always 8.

    Source: RFC 4302 3.3, 3.3.3.2.1.
    """

    def __init__(
        self, material: AhMaterial, sequences: SequenceReservation, *, align_octets: int = _WORD
    ) -> None:
        super().__init__(material, sequences)
        if align_octets not in (_WORD, _ALIGN_V6):
            raise ValueError(f"AH ends on a multiple of 4 or 8 octets, not of {align_octets}")
        self._integrity = AhIntegrity(material)
        self._align_octets = align_octets

    def seal(self, packet: IpPacket) -> IpPacket:
        """The packet with AH between its headers and its payload.

        Raises SequenceExhaustedError, SequenceReuseError, or what the store raises: then nothing
        was sealed. ValueError for a packet too long, or with options that nobody can cover.
        """
        v4 = packet.source.version == VERSION_IPV4
        pad = -(AH.octets + self._integrity.octets) % (self._align_octets if v4 else _ALIGN_V6)
        octets = AH.octets + self._integrity.octets + pad
        around = packet.carrying(PROTOCOL_AH, bytes(octets) + packet.payload)
        try:
            headers = around.immutable()
        except PacketDroppedError as error:
            raise ValueError(f"AH cannot cover the packet's headers: {error}") from None
        number = self._next_number()
        header = AH.pack(
            next_header=packet.protocol,
            length=octets // _WORD - 2,
            spi=self._material.spi,
            sequence=number & 0xFFFF_FFFF,
        )
        behind = bytes(pad) + packet.payload
        field = self._integrity.seal(number, headers + header, behind)
        return replace(around, payload=header + field + behind)


@dataclass(frozen=True, slots=True)
class VerifiedAh(Verified):
    """What a packet holds whose ICV is right.

    Parameters
    ----------
    next_header : int
        What AH carries.
    payload : bytes
        What stands behind AH.
    """

    next_header: int
    payload: bytes


class AhInbound(InboundSa[AhMaterial]):
    """Checks packets of one inbound SA. The window moves by `mark` alone, once all else passed.

    Parameters
    ----------
    material : AhMaterial
        The SA.
    right_edge : int
        Where the window stands: 0 for a fresh SA, else `right_edge` as it was last stored.
    window : int
        Width of the anti-replay window.

    Source: RFC 4302 3.4.
    """

    def __init__(
        self, material: AhMaterial, *, right_edge: int = 0, window: int = REPLAY_WINDOW
    ) -> None:
        super().__init__(material, right_edge=right_edge, window=window)
        self._integrity = AhIntegrity(material)

    def verify(self, packet: IpPacket) -> VerifiedAh:
        """Check length, number and ICV, and change nothing; raises PacketDroppedError."""
        payload = packet.payload
        icv_end = AH.octets + self._integrity.octets
        if packet.protocol != PROTOCOL_AH:
            raise PacketDroppedError(DropReason.PROTOCOL)
        if len(payload) < icv_end:
            raise PacketDroppedError(DropReason.LENGTH)
        header = AH.unpack(payload)
        if header["spi"] != self._material.spi:
            raise PacketDroppedError(DropReason.UNKNOWN_SPI)
        end = _WORD * (header["length"] + 2)
        if end not in self._ends(packet, icv_end) or end > len(payload) or header["reserved"]:
            raise PacketDroppedError(DropReason.LENGTH)
        number = self._number_of(header["sequence"])
        if not self._integrity.fits(
            number,
            packet.immutable() + payload[: AH.octets],
            payload[AH.octets : icv_end],
            payload[icv_end:],
        ):
            raise PacketDroppedError(DropReason.ICV)
        return VerifiedAh(number, header["next_header"], payload[end:])

    @staticmethod
    def _ends(packet: IpPacket, icv_end: int) -> tuple[int, ...]:
        """Lengths that AH may have: in IPv4 padded to four octets or, as Linux does, to eight."""
        padded = icv_end + -icv_end % _ALIGN_V6
        return (icv_end, padded) if packet.source.version == VERSION_IPV4 else (padded,)
