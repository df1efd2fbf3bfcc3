"""Forms of a right packet: every suite under every header that may stand around it.

As in `verif.fuzz.generator`, neither `spec` nor the model has a say in what a right packet is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from verif.fuzz.generator import PING, covered_headers
from verif.fuzz.sealing import AH, ESP, IPV4, IPV6, SUITES, UDP, Sa, ethernet, ipv4, ipv6, udp

OPTIONS = {
    "": b"",
    "alert": bytes.fromhex("94040000"),
    "route": bytes.fromhex("0707040102030400"),
}
"""IPv4 options: none, one that AH covers, one that it does not (RFC 4302 A1)."""
Chain = tuple[tuple[int, bytes], ...]
HOP: Chain = ((0, b"\0\x05\x02\0\0\1\0"),)
DESTINATION: Chain = ((60, b"\1\x1e\x04abcd\x3e\x04wxyz\0\0"),)
ROUTING: Chain = ((43, b"\0\0\0wxyz"),)
CHAINS: dict[str, Chain] = {
    "": (),
    "hop": HOP,
    "destination": DESTINATION,
    "routing": ROUTING,
    "all": HOP + DESTINATION + ROUTING,
}
"""IPv6 extension headers, likewise."""
TAGS = (b"\x81\0\0\7", b"\x88\xa8\x20\7")


@dataclass(frozen=True, slots=True)
class Form:
    """One form of a right packet.

    Parameters
    ----------
    suite : int
        Number of the suite.
    v6 : bool
        The station's family.
    inside : int
        0: transport; 4 or 6: family of the packet in the tunnel.
    encap : bool
        ESP in UDP.
    tags : int
        VLAN tags.
    between : str
        Name in `OPTIONS` or `CHAINS`.
    """

    suite: int
    v6: bool = False
    inside: int = 0
    encap: bool = False
    tags: int = 0
    between: str = ""

    def __str__(self) -> str:
        parts = [f"suite {self.suite}", "IPv6" if self.v6 else "IPv4", self.between]
        parts += [f"IPv{self.inside} inside" * bool(self.inside), "in UDP" * self.encap]
        parts += [f"{self.tags} tags" * bool(self.tags)]
        return " ".join(part for part in parts if part)

    def sa(self, seed: int, spi: int = 0xC0DE0100) -> Sa:
        """An SA for it, with SPIs from `spi` on; every other suite has extended numbers."""
        return Sa(
            self.suite,
            esn=self.suite % 2 == 0,
            tunnel=bool(self.inside),
            v6=self.v6,
            spi=spi,
            spi_out=spi + 1,
            ah_spi=spi + 2,
            ah_spi_out=spi + 3,
            seed=seed,
        )


FORMS = (
    Form(1),
    Form(2, v6=True, between="destination", tags=1),
    Form(3, between="alert", tags=2),
    Form(4, v6=True, inside=6),
    Form(5, encap=True, tags=1),
    Form(5, v6=True, encap=True, between="hop"),
    Form(6, v6=True, between="all"),
    Form(7, inside=4, between="route"),
    Form(8, between="route", tags=1),
    Form(8, v6=True, inside=6, between="all", tags=2),
    Form(9, inside=4),
    Form(10, v6=True, between="hop", tags=2),
    Form(11, between="alert"),
    Form(12, v6=True, inside=4, between="routing"),
    Form(13, inside=6, tags=1),
    Form(14, v6=True, between="destination"),
    Form(15, v6=True, between="all"),
)
"""Each suite that is built in, and each kind of header, at least once."""
PAIRS = ((1, 1), (1, 8), (3, 9), (5, 11), (11, 11), (10, 13), (15, 6), (12, 2))
"""Suites of two SAs that are there at once."""


def all_forms(suite: int) -> Iterator[Form]:
    """Every form of a suite."""
    number = 0
    encaps = (False, True) if not SUITES[suite].ah else (False,)
    for v6 in (False, True):
        for between in CHAINS if v6 else OPTIONS:
            for encap in encaps:
                for inside in (0, 4, 6):
                    yield Form(suite, v6, inside, encap, number % 3, between)
                    number += 1


def reset(number: int) -> bytes:
    """A reset command that is to be acknowledged (DSP0136 3.2.4.1)."""
    return bytes((6, 0, number % 255, 6, 0, 0, 0x11, 0xBE, 0x10, 1, 0, 0))


def build(
    form: Form,
    sa: Sa,
    message: bytes = PING,
    *,
    spoil: Callable[[bytes], bytes] | None = None,
    chain: Chain | None = None,
    tags: bytes | None = None,
    next_header: int | None = None,
    total: int | None = None,
    udp_octets: int | None = None,
    inner_octets: int | None = None,
    inner_total: int | None = None,
    ah: dict[str, Any] | None = None,
    esp: dict[str, Any] | None = None,
) -> bytes:
    """A frame of a form with the SA's next numbers, right but for what is given.

    Parameters
    ----------
    form, sa, message
        What it is to be, and what it carries.
    spoil
        Changes the packet from AH or ESP on, before the headers come around it.
    chain, tags
        In place of those of the form.
    next_header
        Of what is protected.
    total, inner_total
        Length of the IP header outside, and in the tunnel.
    udp_octets, inner_octets
        Length of the UDP header around ESP, and of that within.
    ah, esp
        Options of `Sa.ah` and `Sa.esp`.
    """
    kind = sa.kind
    sa.sequence += 1
    sa.outer += 1
    carried, protocol = udp(message, octets=inner_octets), UDP
    if inner_octets == 0:
        carried = carried[:4] + bytes(2) + carried[6:]
    if form.inside == 6:
        carried, protocol = ipv6(UDP, carried, total=inner_total), IPV6
    elif form.inside:
        carried, protocol = ipv4(UDP, carried, total=inner_total), IPV4
    protocol = protocol if next_header is None else next_header
    iv = struct.pack(">QQ", sa.sequence, sa.seed)
    if kind.esp:
        carried = sa.esp(carried, protocol, sa.sequence, **({"iv": iv} | (esp or {})))
        protocol = ESP
    options = OPTIONS.get(form.between, b"")
    if chain is None:
        chain = CHAINS[form.between] if form.v6 else ()
    if kind.ah:
        number = sa.outer if kind.both else sa.sequence
        how: dict[str, Any] = {"v6": form.v6, "iv": iv[:8]} | (ah or {})
        octets = len(sa.ah(b"", protocol, carried, number, **how))
        covered = covered_headers(sa, octets, options, chain)
        carried = sa.ah(covered, protocol, carried, number, **how)
        protocol = AH
    if spoil is not None:
        carried = spoil(carried)
    if form.encap:
        carried, protocol = udp(carried, 40500, 4500), UDP
        if udp_octets is not None:
            carried = carried[:4] + struct.pack(">H", udp_octets & 0xFFFF) + carried[6:]
    if tags is None:
        tags = b"".join(reversed(TAGS[: form.tags]))
    if form.v6:
        packet = ipv6(protocol, carried, extensions=chain, total=total)
        return ethernet(packet, 0x86DD, tags=tags)
    packet = ipv4(protocol, carried, options=options, total=total)
    return ethernet(packet, 0x0800, tags=tags)
