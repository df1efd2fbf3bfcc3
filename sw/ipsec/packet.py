"""Whole IP packets under ESP, AH, or AH around ESP: the seed's policy IP | AH | ESP | UDP.

Source: RFC 4301 5, RFC 4302, RFC 4303; docs/decisions/0011-ah-around-esp-is-one-suite.md.
"""

from __future__ import annotations

from spec.headers import PROTOCOL_AH, PROTOCOL_ESP
from sw.ipsec.ah import AhInbound, AhOutbound
from sw.ipsec.errors import DropReason, PacketDroppedError
from sw.ipsec.esp import EspInbound, EspOutbound
from sw.ipsec.inside import AddressPair, OpenedDatagram, build_inside, parse_inside
from sw.ipsec.ip import IpPacket, build_ip, parse_ip
from sw.ipsec.material import OUTER_SUITE, AhMaterial, EspMaterial
from sw.ipsec.sa import PacketCounts
from sw.ipsec.udp import ANY_PORT, UdpDatagram, UdpSelector, UdpSelectorSet


def _check_pair(esp: EspMaterial | None, ah: AhMaterial | None) -> None:
    """Raises ValueError for halves that are not one suite together (decision 11)."""
    if esp is None and ah is None:
        raise ValueError("neither ESP nor AH: nothing would be protected")
    if esp is None or (ah is None and not esp.facts.has_outer):
        return
    if not esp.facts.has_outer:
        raise ValueError(f"suite {esp.suite.name} has no AH SA around it")
    if ah is None or ah.suite is not OUTER_SUITE:
        raise ValueError(f"suite {esp.suite.name} needs an AH SA with {OUTER_SUITE.name} around it")
    if ah.esn != esp.esn:
        raise ValueError("extended sequence numbers are for both SAs of a suite, or for none")


class PacketOutbound:
    """Makes whole IP packets of datagrams.

    Parameters
    ----------
    outer : AddressPair
        The addresses that packets go between.
    esp : EspOutbound or None
        The ESP SA, in its mode; None for AH alone.
    ah : AhOutbound or None
        The AH SA, around ESP or alone.
    inner : AddressPair or None
        Addresses in the tunnel; None is transport mode.
    """

    def __init__(
        self,
        outer: AddressPair,
        *,
        esp: EspOutbound | None = None,
        ah: AhOutbound | None = None,
        inner: AddressPair | None = None,
    ) -> None:
        _check_pair(None if esp is None else esp.material, None if ah is None else ah.material)
        self._outer = outer
        self._esp = esp
        self._ah = ah
        self._inner = inner
        self._count = 0

    def seal_udp(self, datagram: UdpDatagram) -> bytes:
        """An IP packet around a datagram.

        Raises SequenceExhaustedError, SequenceReuseError, or what the store raises: then nothing
        was sealed. ValueError for what does not fit.
        """
        ends = self._inner or self._outer
        self._count += 1
        protocol, payload = build_inside(
            datagram,
            ends.source,
            ends.destination,
            tunnel=self._inner is not None,
            number=self._count,
        )
        if self._esp is not None:
            protocol, payload = PROTOCOL_ESP, self._esp.seal(payload, protocol)
        # A kernel that sends an IPv4 packet without a number would give it one behind AH's back.
        number = self._count % 0xFFFF + 1
        packet = build_ip(
            self._outer.source, self._outer.destination, protocol, payload, number=number
        )
        return (packet if self._ah is None else self._ah.seal(packet)).pack()


class PacketInbound(PacketCounts):
    """Opens whole IP packets under one SA, or under the two of AH around ESP.

    Of AH around ESP both windows move, and only if both ICVs were right. Then come padding, next
    header and selectors. Each drop is counted under one reason. SEC: STATION.BOTH_WINDOWS.

    Parameters
    ----------
    outer : AddressPair or None
        In transport mode, the addresses that packets must have; None for any.
    esp : EspInbound or None
        The ESP SA; None for AH alone.
    ah : AhInbound or None
        The AH SA, around ESP or alone.
    inner : AddressPair or None
        Of AH alone in tunnel mode, the addresses inside; for ESP, `esp` has them.
    selector : UdpSelector or UdpSelectorSet
        Of AH alone, ports that the SA lets through; for ESP, `esp` has them.
    """

    def __init__(
        self,
        *,
        outer: AddressPair | None = None,
        esp: EspInbound | None = None,
        ah: AhInbound | None = None,
        inner: AddressPair | None = None,
        selector: UdpSelector | UdpSelectorSet = ANY_PORT,
    ) -> None:
        super().__init__()
        _check_pair(None if esp is None else esp.material, None if ah is None else ah.material)
        if esp is not None and (inner is not None or selector is not ANY_PORT):
            raise ValueError("the ESP SA has the selectors: give them to it")
        self._outer = outer
        self._esp = esp
        self._ah = ah
        self._inner = inner
        self._selector = selector

    def open(self, packet: bytes) -> OpenedDatagram:
        """What an IP packet holds; raises PacketDroppedError."""
        with self._counted():
            return self._open(packet)

    def _open(self, octets: bytes) -> OpenedDatagram:
        packet = parse_ip(octets)
        if packet.protocol != (PROTOCOL_ESP if self._ah is None else PROTOCOL_AH):
            raise PacketDroppedError(DropReason.PROTOCOL)
        opened = self._verified(packet)
        if self._outer not in (None, AddressPair(packet.source, packet.destination)):
            raise PacketDroppedError(DropReason.SELECTOR)
        return opened

    def _verified(self, packet: IpPacket) -> OpenedDatagram:
        esp, ah = self._esp, self._ah
        protocol, payload = packet.protocol, packet.payload
        around = None if ah is None else ah.verify(packet)
        if ah is not None and around is not None:
            protocol, payload = around.next_header, around.payload
            if esp is None:
                ah.mark(around)
                datagram = parse_inside(
                    protocol, payload, inner=self._inner, selector=self._selector, padded=False
                )
                return OpenedDatagram(ah.spi, around.number, datagram)
        if esp is None or protocol != PROTOCOL_ESP:
            raise PacketDroppedError(DropReason.PROTOCOL)
        verified = esp.verify(payload)
        if ah is not None and around is not None:
            ah.mark(around)
        esp.mark(verified)
        return esp.parse(verified)
