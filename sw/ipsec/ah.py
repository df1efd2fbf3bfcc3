"""AH, one SA and one direction each, around whole IP packets.

Source: RFC 4302, RFC 4543.
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.headers import AH, PROTOCOL_AH, VERSION_IPV4
from spec.sa import REPLAY_WINDOW
from sw.ipsec.errors import DropReason, PacketDroppedError, SequenceExhaustedError
from sw.ipsec.ip import IpPacket
from sw.ipsec.material import AhMaterial
from sw.ipsec.reservation import SequenceReservation
from sw.ipsec.transforms import AhIntegrity
from sw.ipsec.window import ReplayWindow

_WORD = 4
_ALIGN_V6 = 8


class AhOutbound:
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
        if sequences.last > material.sequence_max:
            raise ValueError("the reservation reaches beyond the SA's last sequence number")
        if align_octets not in (_WORD, _ALIGN_V6):
            raise ValueError(f"AH ends on a multiple of 4 or 8 octets, not of {align_octets}")
        self._material = material
        self._integrity = AhIntegrity(material)
        self._sequences = sequences
        self._align_octets = align_octets

    @property
    def material(self) -> AhMaterial:
        """The SA."""
        return self._material

    @property
    def sequences(self) -> SequenceReservation:
        """Where the numbers come from."""
        return self._sequences

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
        number = self._sequences.next()
        if not 1 <= number <= self._material.sequence_max:
            raise SequenceExhaustedError("every sequence number of this SA is used: replace the SA")
        header = AH.pack(
            next_header=packet.protocol,
            length=octets // _WORD - 2,
            spi=self._material.spi,
            sequence=number & 0xFFFF_FFFF,
        )
        behind = bytes(pad) + packet.payload
        field = self._integrity.seal(number, headers + header, behind)
        return around.carrying(PROTOCOL_AH, header + field + behind)


@dataclass(frozen=True, slots=True)
class VerifiedAh:
    """A packet whose ICV is right; its number is not marked as seen yet.

    Parameters
    ----------
    number : int
        Its whole number.
    next_header : int
        What AH carries.
    payload : bytes
        What stands behind AH.
    """

    number: int
    next_header: int
    payload: bytes


class AhInbound:
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
        self._material = material
        self._integrity = AhIntegrity(material)
        self._window = ReplayWindow(esn=material.esn, right_edge=right_edge, size=window)

    @property
    def material(self) -> AhMaterial:
        """The SA."""
        return self._material

    @property
    def spi(self) -> int:
        """The SPI of the packets it checks."""
        return self._material.spi

    @property
    def right_edge(self) -> int:
        """Right edge of the window: highest number authenticated so far."""
        return self._window.right_edge

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
        number = self._window.infer(header["sequence"])
        self._window.check(number)
        if not self._integrity.fits(
            number,
            packet.immutable() + payload[: AH.octets],
            payload[AH.octets : icv_end],
            payload[icv_end:],
        ):
            raise PacketDroppedError(DropReason.ICV)
        return VerifiedAh(number, header["next_header"], payload[end:])

    def mark(self, verified: VerifiedAh) -> None:
        """Count the number of a packet that `verify` let pass as seen."""
        self._window.mark(verified.number)

    @staticmethod
    def _ends(packet: IpPacket, icv_end: int) -> tuple[int, ...]:
        """Lengths that AH may have: in IPv4 padded to four octets or, as Linux does, to eight."""
        padded = icv_end + -icv_end % _ALIGN_V6
        return (icv_end, padded) if packet.source.version == VERSION_IPV4 else (padded,)
