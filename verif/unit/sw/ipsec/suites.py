"""SAs of every suite at both ends, and the recorded frames of a kernel, for these tests."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from spec.suites import SUITES, Suite
from sw.ipsec import (
    AddressPair,
    AhInbound,
    AhMaterial,
    AhOutbound,
    DropReason,
    EspInbound,
    EspMaterial,
    EspOutbound,
    InboundTable,
    PacketDroppedError,
    PacketInbound,
    PacketOutbound,
    SequenceReservation,
    UdpSelector,
)
from sw.ipsec.material import OUTER_SUITE
from verif.vectors.xfrm import Case, load, suite_of

KERNEL = Path(__file__).parents[3] / "vectors" / "linux61_xfrm.json"
SPI, AH_SPI = 0xC0DE0101, 0xC0DE0102
PORTS = UdpSelector(40664, 664)
V4 = AddressPair(IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))
V6 = AddressPair(IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2"))
INNER_V4 = AddressPair(IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2"))
INNER_V6 = AddressPair(IPv6Address("2001:db8:1::1"), IPv6Address("2001:db8:1::2"))


def keymat(suite: Suite, seed: int = 1) -> bytes:
    """Keys of a suite that are not like any other's."""
    facts = SUITES[suite]
    octets = facts.key_octets + facts.salt_octets + facts.auth_octets
    return bytes((seed * 29 + i * 7) % 256 for i in range(octets))


def numbers(first: int, *, esn: bool) -> SequenceReservation:
    """Numbers from `first` on."""
    last = (1 << (64 if esn else 32)) - 1
    return SequenceReservation(lambda _count: first, last=last, block=1 << 20)


@dataclass(frozen=True)
class Form:
    """A suite with everything that changes a packet's form."""

    suite: Suite
    esn: bool = True
    outer: AddressPair = V4
    inner: AddressPair | None = None
    align_octets: int = 4

    def materials(self) -> tuple[EspMaterial | None, AhMaterial | None]:
        """Of ESP and of AH."""
        facts = SUITES[self.suite]
        if facts.protocol.name == "AH":
            return None, AhMaterial.from_keymat(
                AH_SPI, self.suite, keymat(self.suite), esn=self.esn
            )
        esp = EspMaterial.from_keymat(SPI, self.suite, keymat(self.suite), esn=self.esn)
        if not facts.has_outer:
            return esp, None
        return esp, AhMaterial.from_keymat(
            AH_SPI, OUTER_SUITE, keymat(OUTER_SUITE, 2), esn=self.esn
        )

    def outbound(self, first: int = 1, ah_first: int | None = None) -> PacketOutbound:
        """The end that sends."""
        esp, ah = self.materials()
        return PacketOutbound(
            self.outer,
            esp=None if esp is None else EspOutbound(esp, numbers(first, esn=self.esn)),
            ah=None
            if ah is None
            else AhOutbound(
                ah,
                numbers(first if ah_first is None else ah_first, esn=self.esn),
                align_octets=self.align_octets,
            ),
            inner=self.inner,
        )

    def halves(
        self, right_edge: int = 0, window: int = 64
    ) -> tuple[EspInbound | None, AhInbound | None]:
        """The SAs of the end that receives."""
        esp, ah = self.materials()
        inbound = None
        if esp is not None:
            inbound = EspInbound(
                esp, right_edge=right_edge, selector=PORTS, inner=self.inner, window=window
            )
        outer = None if ah is None else AhInbound(ah, right_edge=right_edge, window=window)
        return inbound, outer

    def inbound(self, right_edge: int = 0, window: int = 64) -> PacketInbound:
        """The end that receives."""
        return self.around(*self.halves(right_edge, window))

    def around(self, esp: EspInbound | None, ah: AhInbound | None) -> PacketInbound:
        """The end that receives, made of these SAs."""
        outer = None if self.inner else self.outer
        if esp is not None:
            return PacketInbound(outer=outer, esp=esp, ah=ah)
        return PacketInbound(outer=outer, ah=ah, inner=self.inner, selector=PORTS)


FORMS = [
    Form(suite, esn=esn, outer=outer, inner=inner)
    for suite in SUITES
    for esn in (True, False)
    for outer in (V4, V6)
    for inner in (None, INNER_V4, INNER_V6)
]
"""Each suite, with each kind of number, in each mode and IP version."""


def name_of(form: Form) -> str:
    """For pytest."""
    mode = f"tunnel{form.inner.source.version}" if form.inner else "transport"
    return (
        f"{form.suite.name}-v{form.outer.source.version}-{mode}{'-esn' if form.esn else ''}".lower()
    )


def refusal(inbound: EspInbound | InboundTable | PacketInbound, packet: bytes) -> DropReason:
    """Why a packet is dropped, which must be counted once."""
    before = inbound.drops
    with pytest.raises(PacketDroppedError) as error:
        inbound.open(packet)
    reason = error.value.reason
    assert inbound.drops == before | {reason: before.get(reason, 0) + 1}
    return reason


def kernel_cases() -> list[Case]:
    """Everything that the kernel sent."""
    return load(KERNEL)


def kernel_inbound(case: Case) -> PacketInbound:
    """The receiving end of a case; in a tunnel the same addresses are inside."""
    suite = suite_of(case)
    assert suite is not None
    ends = AddressPair(ip_address(str(case.source)), ip_address(str(case.destination)))
    arguments: dict[str, Any] = {}
    selector = UdpSelector(None, case.destination_port)
    for sa in case.sas:
        inner = ends if sa.mode == "tunnel" else None
        octets = b"".join(sa.keys)
        edge = sa.first_seq - 1
        if sa.protocol == "esp":
            esp = EspMaterial.from_keymat(sa.spi, suite, octets, esn=sa.esn)
            arguments["esp"] = EspInbound(esp, right_edge=edge, selector=selector, inner=inner)
        else:
            of = OUTER_SUITE if "esp" in arguments else suite
            material = AhMaterial.from_keymat(sa.spi, of, octets, esn=sa.esn)
            arguments["ah"] = AhInbound(material, right_edge=edge)
    if "esp" not in arguments:
        arguments["selector"] = selector
    return PacketInbound(outer=ends, **arguments)
