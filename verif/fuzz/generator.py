"""The seeded generator: staging writes, frames, pins and time, weighted so that all drops occur."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from verif.fuzz.sealing import (
    AH,
    ALL_NODES,
    ESP,
    GROUP_V6,
    HOST_MAC,
    HOST_V4,
    HOST_V6,
    IPV4,
    IPV6,
    STATION_MAC,
    STATION_V4,
    STATION_V6,
    UDP,
    Sa,
    ethernet,
    ipv4,
    ipv6,
    neighbour,
    udp,
)


@dataclass(frozen=True, slots=True)
class BusWrite:
    """A register write; SA_COMMAND is to be waited for."""

    name: str
    index: int
    value: int = field(repr=False)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame from the wire; `what` tells which part of the generator made it."""

    octets: bytes
    err: bool
    what: str


@dataclass(frozen=True, slots=True)
class ZeroiseInput:
    """The NIC's zeroise input is driven."""

    level: bool


@dataclass(frozen=True, slots=True)
class Advance:
    """Milliseconds pass."""

    ms: int


Action = BusWrite | Frame | ZeroiseInput | Advance

PING = bytes.fromhex("0600ff06 000011be 80010000")
MESSAGES = (
    PING,
    PING,
    bytes.fromhex("06000706 000011be 80020000"),
    bytes.fromhex("0600ff06 000011be 81030000"),
    bytes.fromhex("0600ff06 000011be 82040000"),
    bytes.fromhex("06000706 000011be c5050000"),
    bytes.fromhex("0600ff07 000011be 80060000"),
    bytes.fromhex("0600ff06 000011be 80010004"),
    bytes.fromhex("0500ff06 000011be 80010000"),
    bytes.fromhex("06000706 000011be 1007000b 000011be 01 0000 2004 0000"),
    bytes.fromhex("06000a06 000011be 10080000"),
    bytes.fromhex("06000806 000011be 1307000c 000011be 01 0000 2004 0000 00"),
    b"\x06\x00\xff",
    b"",
)
"""Presence, capabilities, state, a reset with and without boot options, and others that are
malformed or unknown (DSP0136)."""
CLEAR_PORT = (1, 1, 2, 2, 0, 3, 0x102)
"""What the clear port answers: discovery, everything, nothing; nothing by a number that is kept;
everything with silence, but that of no length."""
ZEROISE = bytes.fromhex("06000906 00007ed9 82070000")
"""Under the enterprise number 32473, which is for examples (RFC 5612)."""
IPV4_OPTIONS = (
    b"",
    b"",
    b"",
    bytes.fromhex("94040000"),
    bytes.fromhex("0707040102030400"),
    bytes.fromhex("01010101"),
    bytes.fromhex("830706 0a0a0a0a 00"),
    bytes.fromhex("00ffffff"),
    bytes.fromhex("99040000"),
    bytes.fromhex("07010000"),
    bytes.fromhex("94090000"),
)
"""Good ones of both kinds of RFC 4302 A1, then unknown, too short and too long."""


def covered_v4(packet: bytes) -> bytes:
    """An IPv4 header as AH covers it, with the options of `IPV4_OPTIONS` (RFC 4302 A1)."""
    octets = 4 * (packet[0] & 15)
    head = bytearray(packet[:octets])
    head[1] = head[6] = head[7] = head[8] = head[10] = head[11] = 0
    if octets > 20 and head[20] in (7, 131) and head[21] >= 2:
        head[20 : 20 + head[21]] = bytes(head[21])
    return bytes(head)


def covered_headers(
    sa: Sa, octets: int, options: bytes, extensions: tuple[tuple[int, bytes], ...]
) -> bytes:
    """What stands before AH of so many octets as AH covers it."""
    if not sa.v6:
        return covered_v4(ipv4(AH, bytes(octets), options=options))
    masked = tuple(
        (
            kind,
            body.replace(bytes.fromhex("3e0401020304"), bytes.fromhex("3e0400000000")).replace(
                b"\x3e\x04wxyz", b"\x3e\x04\0\0\0\0"
            ),
        )
        for kind, body in extensions
    )
    whole = ipv6(AH, bytes(octets), extensions=masked, hops=0)
    return whole[: len(whole) - octets]


class Generator:
    """Draws actions for a NIC that is fresh from reset.

    Parameters
    ----------
    seed : int
        Same seed, same actions.
    suites : tuple of int
        Numbers of suites to load SAs of.
    """

    def __init__(self, seed: int, suites: tuple[int, ...]) -> None:
        self.rng = random.Random(seed)
        self.suites = suites
        self.sas: list[Sa] = []
        self.sent: list[bytes] = []
        self.spi = 0xC0DE0000
        self.administrators: tuple[bool, ...] = (False, True)
        """What SAs to load, one of them by chance."""
        self.recipes: list[tuple[int, Callable[[], bytes]]] = [
            (30, self.good),
            (8, self.replayed),
            (6, self.old),
            (4, self.jump),
            (8, self.flipped),
            (6, self.mutated),
            (5, self.unknown_spi),
            (4, self.wrong_protocol),
            (4, self.ah_length),
            (4, self.esp_length),
            (5, self.padding),
            (3, self.dummy),
            (4, self.next_header),
            (6, self.selector),
            (5, self.fragment),
            (5, self.ip_header),
            (6, self.options),
            (4, self.udp_length),
            (4, self.clear),
            (3, self.clear_secured),
            (3, self.ike),
            (3, self.arp),
            (3, self.neighbour),
            (4, self.not_neighbour),
            (3, self.vlans),
            (2, self.runt),
            (5, self.others),
        ]

    # --- what is loaded -----------------------------------------------------------------------

    @staticmethod
    def empty() -> Iterator[Action]:
        """A NIC with its host's addresses, and no SA."""
        yield ZeroiseInput(level=True)
        yield ZeroiseInput(level=False)
        yield BusWrite("HOST_MAC_HI", 0, int.from_bytes(HOST_MAC[:2], "big"))
        yield BusWrite("HOST_MAC_LO", 0, int.from_bytes(HOST_MAC[2:], "big"))
        yield BusWrite("HOST_IP", 0, int.from_bytes(HOST_V4, "big"))
        for i in range(4):
            value = int.from_bytes(HOST_V6[4 * i : 4 * i + 4], "big")
            yield BusWrite("HOST_IP6", i, value)

    def begin(self) -> Iterator[Action]:
        """A NIC with its host's addresses, and an SA or none."""
        rng = self.rng
        yield from self.empty()
        self.sas = []
        self.sent = []
        yield BusWrite("CLEAR_PORT", 0, rng.choice(CLEAR_PORT))
        if rng.random() < 0.15:
            return  # cold boot: the clear port is open
        yield from self.load(rng.choice(self.suites))

    def load(self, suite: int) -> Iterator[Action]:
        """A new SA in the free bank, if there is one, beside the old one."""
        rng = self.rng
        self.spi += 16
        esn = rng.random() < 0.5
        starts = (0, 0, 0xFFFFFFF0, 70, 0x1FFFFFFF0 if esn else 5)
        sa = Sa(
            suite,
            esn=esn,
            tunnel=rng.random() < 0.3,
            v6=rng.random() < 0.4,
            spi=self.spi,
            spi_out=self.spi + 1,
            # The two protocols have numbers of their own: the same one may stand in both.
            ah_spi=self.spi + rng.choice((0, 2)),
            ah_spi_out=self.spi + 3,
            sequence=rng.choice(starts) if esn else rng.choice((0, 0, 70, 5)),
            outer=rng.choice((0, 100)),
            seed=rng.getrandbits(32),
            administrator=rng.choice(self.administrators),
        )
        for name, index, value in sa.staging():
            yield BusWrite(name, index, value)
        self.sas = [*self.sas[-1:], sa]

    def sa(self) -> Sa:
        """One that is loaded, or was, or never will be."""
        if self.sas and self.rng.random() < 0.97:
            return self.sas[-1] if self.rng.random() < 0.85 else self.rng.choice(self.sas)
        return Sa(self.rng.choice(self.suites), seed=1, v6=self.rng.random() < 0.5)

    # --- parts --------------------------------------------------------------------------------

    def message(self) -> bytes:
        """An RMCP message, or not quite; sometimes long."""
        rng = self.rng
        message = rng.choice(MESSAGES)
        if rng.random() < 0.1:
            message += rng.randbytes(rng.choice((1, 2, 3, 16, 200, 1300)))
        return message

    def tags(self) -> bytes:
        """Mostly none; one or two VLAN tags."""
        rng = self.rng
        return b"".join(
            rng.choice((b"\x81\0", b"\x88\xa8")) + rng.randbytes(2)
            for _ in range(rng.choice((0, 0, 0, 0, 1, 1, 2)))
        )

    def extensions(self) -> tuple[tuple[int, bytes], ...]:
        """Chains that are right: options that may change on the way or not, routing, done."""
        rng = self.rng
        kinds = {
            0: b"\0" + rng.choice((b"\x05\x02\0\0\1\0", bytes.fromhex("3e0401020304"))),
            60: b"\1" + b"\x1e\x04abcd\x3e\x04wxyz\0\0",
            43: b"\0\0\0" + rng.randbytes(4),
        }
        if rng.random() < 0.6:
            return ()
        return tuple((kind, kinds[kind]) for kind in rng.sample(list(kinds), rng.choice((1, 2, 3))))

    def inside(
        self, sa: Sa, datagram: bytes, *, v6: bool | None = None, to: bytes | None = None
    ) -> tuple[bytes, int]:
        """What the SA carries, and its next header."""
        if not sa.tunnel:
            return datagram, UDP
        if v6 is None:
            v6 = self.rng.random() < 0.5
        if v6:
            return ipv6(UDP, datagram, destination=to or HOST_V6), IPV6
        return ipv4(UDP, datagram, destination=to or HOST_V4), IPV4

    def wrap(
        self,
        sa: Sa,
        carried: bytes,
        next_header: int,
        number: int | None = None,
        *,
        outer: int | None = None,
        esp: dict[str, Any] | None = None,
        ah: dict[str, Any] | None = None,
        options: bytes | None = None,
        extensions: tuple[tuple[int, bytes], ...] | None = None,
        flags: int = 0x4000,
    ) -> bytes:
        """The frame around what is carried, whichever protocols the SA has."""
        rng, kind = self.rng, sa.kind
        if number is None:
            sa.sequence += 1
            number = sa.sequence
        if outer is None:
            sa.outer += 1
            outer = sa.outer
        iv = rng.randbytes(16)
        protocol, behind = next_header, carried
        if kind.esp:
            behind = sa.esp(carried, next_header, number, **({"iv": iv} | (esp or {})))
            protocol = ESP
        if extensions is None:
            extensions = self.extensions()
        if options is None:
            options = rng.choice(IPV4_OPTIONS[:8])
        if kind.ah:
            how: dict[str, Any] = {
                "padded": rng.random() < 0.5,
                "filler": rng.randbytes(4),
                "iv": iv[:8],
            }
            how |= ah or {}
            number = outer if kind.both else number
            length = len(sa.ah(b"", protocol, behind, number, v6=sa.v6, **how))
            covered = covered_headers(sa, length, options, extensions)
            behind = sa.ah(covered, protocol, behind, number, v6=sa.v6, **how)
            protocol = AH
        elif rng.random() < 0.3:
            source = rng.choice((4500, rng.randrange(1, 1 << 16)))
            protocol, behind = UDP, udp(behind, source, 4500)
        return self.network(sa.v6, protocol, behind, options, extensions, flags)

    def network(
        self,
        v6: bool,
        protocol: int,
        payload: bytes,
        options: bytes = b"",
        extensions: tuple[tuple[int, bytes], ...] = (),
        flags: int = 0x4000,
        **how: Any,
    ) -> bytes:
        """The frame around an IP payload, from the station or from somebody else."""
        rng = self.rng
        stranger = rng.random() < 0.05
        group = rng.random() < 0.05
        to = {"destination": b"\xff" * 6} if group else {}
        if v6:
            packet = ipv6(
                protocol,
                payload,
                STATION_V6[:15] + b"\x09" if stranger else STATION_V6,
                extensions=extensions,
                flow=rng.getrandbits(28),
                hops=rng.randrange(256),
                **how,
            )
            return ethernet(packet, 0x86DD, tags=self.tags(), **to)
        packet = ipv4(
            protocol,
            payload,
            STATION_V4[:3] + b"\x09" if stranger else STATION_V4,
            options=options,
            tos=rng.getrandbits(8),
            ttl=rng.randrange(256),
            flags=flags,
            **how,
        )
        return ethernet(packet, 0x0800, tags=self.tags(), **to)

    # --- recipes ------------------------------------------------------------------------------

    def good(self) -> bytes:
        """A right packet."""
        sa = self.sa()
        return self.wrap(sa, *self.inside(sa, udp(self.message())))

    def replayed(self) -> bytes:
        """One of the last frames again."""
        return self.rng.choice(self.sent[-4:]) if self.sent else self.good()

    def old(self) -> bytes:
        """Right, with a number at or behind the window's left edge, or 0."""
        sa, rng = self.sa(), self.rng
        back = rng.choice((1, 31, 32, 62, 63, 64, 65, 100, 1100))
        number = rng.choice((max(0, sa.sequence - back), 0))
        inside = self.inside(sa, udp(self.message()))
        if sa.kind.both and rng.random() < 0.5:
            return self.wrap(sa, *inside, outer=max(0, sa.outer - back))
        return self.wrap(sa, *inside, number)

    def jump(self) -> bytes:
        """Ahead, over one or several windows, and over the end of a half."""
        sa, rng = self.sa(), self.rng
        sa.sequence += rng.choice((30, 63, 64, 65, 500, 1 << 20))
        if not sa.esn:
            sa.sequence &= 0xFFFFFFFF
        sa.outer += rng.choice((0, 1, 64, 2000))
        return self.wrap(sa, *self.inside(sa, udp(self.message())))

    def flipped(self) -> bytes:
        """Right but for one bit behind the IP header."""
        frame = bytearray(self.good())
        at = self.rng.randrange(min(len(frame) - 1, 54), len(frame))
        frame[at] ^= 1 << self.rng.randrange(8)
        return bytes(frame)

    def mutated(self) -> bytes:
        """Right but for a few octets anywhere, or cut, or longer."""
        rng = self.rng
        frame = bytearray(self.good())
        for _ in range(rng.choice((1, 1, 2, 8))):
            frame[rng.randrange(12, len(frame))] = rng.getrandbits(8)
        if rng.random() < 0.3:
            del frame[rng.randrange(14, len(frame)) :]
        if rng.random() < 0.1:
            frame += rng.randbytes(rng.randrange(1, 30))
        return bytes(frame)

    def unknown_spi(self) -> bytes:
        """From the station, with an SPI of nobody; or ESP in AH with another's."""
        sa, rng = self.sa(), self.rng
        spi = rng.choice((0, 1, 255, 0x12345678))
        if sa.kind.both and rng.random() < 0.7:
            return self.wrap(sa, *self.inside(sa, udp(PING)), esp={"spi": spi})
        packet = struct.pack(">II", spi, 1) + rng.randbytes(60)
        if rng.random() < 0.3:
            return self.network(sa.v6, UDP, udp(packet, port=4500))
        if rng.random() < 0.5:
            return self.network(sa.v6, ESP, packet)
        return self.network(sa.v6, AH, b"\x11\x05\0\0" + packet)

    def wrong_protocol(self) -> bytes:
        """ESP without its AH, or AH without ESP."""
        both = [sa for sa in self.sas if sa.kind.both]
        if not both:
            return self.unknown_spi()
        sa = self.rng.choice(both)
        carried, next_header = self.inside(sa, udp(PING))
        if self.rng.random() < 0.5:
            esp = sa.esp(carried, next_header, sa.sequence + 1)
            return self.network(sa.v6, ESP, esp)
        octets = sa.ah(b"", UDP, carried, 1, v6=sa.v6)
        return self.network(sa.v6, AH, octets)

    def ah_length(self) -> bytes:
        """AH with a length of another suite, or reserved bits, or cut short."""
        with_ah = [sa for sa in self.sas if sa.kind.ah]
        if not with_ah:
            return self.good()
        sa, rng = self.rng.choice(with_ah), self.rng
        inside = self.inside(sa, udp(PING))
        how = rng.choice(("length", "reserved", "short"))
        if how == "length":
            return self.wrap(sa, *inside, ah={"length": rng.choice((0, 1, 3, 4, 7, 8, 255))})
        if how == "reserved":
            return self.wrap(sa, *inside, ah={"reserved": 1 << rng.randrange(16)})
        next_header = ESP if sa.kind.both else UDP
        packet = sa.ah(b"", next_header, struct.pack(">I", sa.spi) * 8, 9, v6=sa.v6)
        return self.network(sa.v6, AH, packet[: rng.choice((4, 8, 12, 20, 28, 30, 33, 36))])

    def esp_length(self) -> bytes:
        """Authenticated, or not, and of a length that no ESP packet has."""
        sa, rng = self.sa(), self.rng
        inside = self.inside(sa, udp(PING))
        if sa.kind.esp and rng.random() < 0.6:
            return self.wrap(sa, *inside, esp={"pad": rng.randbytes(rng.choice((1, 3, 5)))})
        packet = struct.pack(">II", sa.spi, (sa.sequence + 1) & 0xFFFFFFFF) + rng.randbytes(40)
        return self.network(sa.v6, ESP, packet[: rng.randrange(4, 44)])

    def padding(self) -> bytes:
        """Padding that does not count 1, 2, 3, or is longer than all."""
        sa, rng = self.sa(), self.rng
        carried, next_header = self.inside(sa, udp(PING))
        align = 16 if sa.kind.cipher == "cbc" else 4
        octets = -(len(carried) + 2) % align or align
        pad = rng.choice((bytes(octets), bytes(range(octets)), bytes(range(1, octets + 1))))
        how: dict[str, Any] = {"pad": pad}
        if rng.random() < 0.6:
            how["pad_octets"] = rng.choice((255, octets + 1, len(carried) + octets + 1, 0))
        return self.wrap(sa, carried, next_header, esp=how)

    def dummy(self) -> bytes:
        """Next header 59 (RFC 4303 2.6), and padding for traffic flow confidentiality."""
        sa, rng = self.sa(), self.rng
        if rng.random() < 0.7:
            return self.wrap(sa, rng.randbytes(rng.choice((0, 2, 40, 300))), 59)
        # RFC 4303 2.7: octets behind the payload, before the padding. Here a lying length.
        carried, next_header = self.inside(sa, udp(PING))
        return self.wrap(sa, carried + bytes(rng.randrange(1, 40)), next_header)

    def next_header(self) -> bytes:
        """Something else inside."""
        sa = self.sa()
        return self.wrap(sa, udp(PING), self.rng.choice((1, 6, 4, 41, 17, 50, 58, 0)))

    def selector(self) -> bytes:
        """Another port, a lying length, another host in the tunnel, a fragment in it."""
        sa, rng = self.sa(), self.rng
        choice = rng.randrange(6)
        if choice == 0:
            return self.wrap(sa, *self.inside(sa, udp(PING, port=rng.choice((623, 665, 0)))))
        if choice == 1:
            return self.wrap(
                sa, *self.inside(sa, udp(PING, octets=rng.choice((7, 8, 19, 21, 900))))
            )
        if choice == 2:
            return self.wrap(sa, *self.inside(sa, b"\x12\x34\x02\x98"))
        if choice == 3:
            return self.wrap(sa, *self.inside(sa, udp(PING), v6=False, to=STATION_V4))
        if choice == 4:
            return self.wrap(sa, *self.inside(sa, udp(PING), v6=True, to=STATION_V6))
        packet = ipv4(
            rng.choice((UDP, 6)),
            udp(PING),
            options=rng.choice((b"", bytes.fromhex("94040000"))),
            flags=rng.choice((0x2000, 1, 0x4000)),
            total=rng.choice((None, 20, 39, 41)),
        )
        return self.wrap(sa, packet, rng.choice((IPV4, IPV4, IPV6)))

    def fragment(self) -> bytes:
        """The first of several, a later one, or one that is all (RFC 8200 4.5, RFC 6946)."""
        sa, rng = self.sa(), self.rng
        inside = self.inside(sa, udp(PING))
        if sa.v6:
            offset = struct.pack(">H", rng.choice((0, 1, 8, 0x5A8)))
            return self.wrap(sa, *inside, extensions=((44, b"\0" + offset + rng.randbytes(4)),))
        return self.wrap(sa, *inside, flags=rng.choice((0x2000, 1, 0x2001, 0x1FFF)))

    def ip_header(self) -> bytes:
        """A length that lies, or a wrong checksum, on whatever is ours."""
        sa, rng = self.sa(), self.rng
        packet = sa.esp(*self.inside(sa, udp(PING)), sa.sequence + 1)
        protocol, payload = rng.choice(((ESP, packet), (UDP, udp(PING, port=664))))
        if not sa.v6 and rng.random() < 0.3:
            frame = bytearray(self.network(False, protocol, payload))
            frame[-len(payload) - 9] ^= 1
            return bytes(frame)
        total = rng.choice((0, 3, 19, 21, 23, 27, len(payload) + 90, 1501, 0xFFFF))
        return self.network(sa.v6, protocol, payload, total=total)

    def options(self) -> bytes:
        """IPv4 options of all kinds, and IPv6 chains with a fault."""
        sa, rng = self.sa(), self.rng
        inside = self.inside(sa, udp(PING))
        if not sa.v6:
            return self.wrap(sa, *inside, options=rng.choice(IPV4_OPTIONS[3:]))
        bad = (
            ((43, b"\0\0\1" + bytes(4)),),
            ((60, b"\0\x1e\x05abcd"),),
            ((0, b"\0\x01\x04\0\0\0\0"), (60, b"\0\1\x03abc\x07")),
            tuple((60, b"\2\1\x14" + bytes(20)) for _ in range(6)),
            ((60, b"\xff" + bytes(6)),),
        )
        chain = rng.choice(bad)
        if rng.random() < 0.3:
            return self.network(True, rng.choice((6, 58, 59)), rng.randbytes(40), b"", chain)
        return self.wrap(sa, *inside, extensions=chain)

    def udp_length(self) -> bytes:
        """UDP to one of our ports with a length that lies."""
        rng = self.rng
        port = rng.choice((664, 623, 4500))
        payload = struct.pack(">I", self.sa().spi) + PING
        octets = rng.choice((1, 7, 8, 12, 25, 26, 900, 0xFFFF))
        v6 = rng.random() < 0.5
        return self.network(v6, UDP, udp(payload, port=port, octets=octets))

    def clear(self) -> bytes:
        """To the clear port."""
        v6 = self.rng.random() < 0.5
        return self.network(v6, UDP, udp(self.message(), port=623))

    def clear_secured(self) -> bytes:
        """In clear to the protected port."""
        v6 = self.rng.random() < 0.5
        return self.network(v6, UDP, udp(self.message(), port=664))

    def ike(self) -> bytes:
        """IKE, with and without the zero marker, and a NAT keepalive: not ours."""
        rng = self.rng
        port, payload = rng.choice(((500, b""), (4500, bytes(4)), (4500, b"\xff")))
        if len(payload) != 1:
            payload += rng.randbytes(28)
        return self.network(rng.random() < 0.5, UDP, udp(payload, port=port))

    def arp(self) -> bytes:
        """A request for the host's address, or for another, or an answer."""
        rng = self.rng
        packet = struct.pack(
            ">HHBBH6s4s6s4s",
            *(1, 0x0800, 6, 4, rng.choice((1, 1, 1, 2)), STATION_MAC, STATION_V4),
            *(bytes(6), rng.choice((HOST_V4, HOST_V4, STATION_V4))),
        )
        return ethernet(packet, 0x0806, tags=self.tags(), destination=b"\xff" * 6)

    def asks_neighbour(self, **how: Any) -> bytes:
        """A neighbour solicitation for the host; what is given overrides what would be right."""
        rng = self.rng
        probe = how.pop("probe", rng.random() < 0.2)
        to = how.pop("to", HOST_V6 if not probe and rng.random() < 0.3 else GROUP_V6)
        ours = b"" if probe else b"\1\1" + STATION_MAC
        nonce = b"\x0e\1" + rng.randbytes(6)
        right = {"options": rng.choice((ours, ours, ours + nonce, b"", nonce * 3))}
        if probe:
            right["source"] = bytes(16)
        packet = neighbour(destination=to, **(right | how))
        mac = HOST_MAC if to == HOST_V6 else b"\x33\x33" + to[12:]
        mac = rng.choice((mac, mac, mac, b"\xff" * 6, HOST_MAC))
        frame = ethernet(packet, 0x86DD, tags=self.tags(), destination=mac)
        return frame + bytes(rng.choice((0, 0, 0, 1, 30)))

    def neighbour(self) -> bytes:
        """A right solicitation for the host's address."""
        return self.asks_neighbour()

    def not_neighbour(self) -> bytes:
        """Something that breaks one of its rules: under a right checksum, but where that is it."""
        rng = self.rng
        other = HOST_V6[:15] + b"\x03"
        groups = (ALL_NODES, GROUP_V6[:15] + b"\x03", GROUP_V6[:12] + other[12:])
        how: dict[str, Any] = rng.choice(
            (
                {"hops": rng.randrange(255)},
                {"kind": rng.choice((134, 136, 128, rng.randrange(256)))},
                {"code": rng.randrange(1, 256)},
                {"target": rng.choice((other, GROUP_V6, bytes(16)))},
                {"to": rng.choice((other, *groups))},
                {"source": rng.choice((GROUP_V6, ALL_NODES)), "probe": False},
                {"to": HOST_V6, "probe": True},
                {"options": b"\1\1" + STATION_MAC, "probe": True},
                {"options": b"\x0e" + bytes([rng.choice((0, 0, 2, 3, 5, 6, 255))]) + bytes(6)},
                {"options": b"\x0e\1" + bytes(rng.choice((0, 2, 5, 7, 8, 12)))},
                {"options": rng.randbytes(rng.choice((8, 16, 24, 40, 48, 200)))},
                {"octets": rng.choice((0, 8, 23, 24, 25, 31, 40, 64, 72, 0x118, 0xFFFF))},
                {"check": rng.getrandbits(16)},
            )
        )
        frame = self.asks_neighbour(**how)
        if rng.random() < 0.2:
            at = rng.randrange(12, len(frame))
            frame = frame[:at] + bytes([frame[at] ^ 1 << rng.randrange(8)]) + frame[at + 1 :]
        return frame[: rng.choice((2000, 2000, 2000, rng.randrange(54, 100)))]

    def vlans(self) -> bytes:
        """More VLAN tags than anybody needs, or a frame that ends within one."""
        rng = self.rng
        tags = b"\x81\0\0\7" * rng.choice((3, 4, 11))
        frame = self.good()
        return (frame[:12] + tags + frame[12:])[: rng.choice((1514, 1514, 17, 19))]

    def runt(self) -> bytes:
        """Below an Ethernet header."""
        return self.good()[: self.rng.randrange(1, 14)]

    def others(self) -> bytes:
        """Not for the host, or of protocols that the NIC does not know."""
        rng = self.rng
        choice = rng.randrange(4)
        if choice == 0:
            frame = self.good()
            return bytes.fromhex("02000000000a") + frame[6:]
        if choice == 1:
            return ethernet(rng.randbytes(rng.randrange(0, 100)), rng.getrandbits(16))
        if choice == 2:
            return self.network(rng.random() < 0.5, rng.choice((1, 6, 58)), rng.randbytes(60))
        return rng.randbytes(rng.randrange(14, 400))

    def zeroise(self) -> Frame:
        """A message that an administrator's SA obeys: a run's last frame."""
        sa = self.sa()
        return Frame(self.wrap(sa, *self.inside(sa, udp(ZEROISE))), False, "zeroise")

    def frame(self) -> Frame:
        """The next frame."""
        (make,) = self.rng.choices(
            [make for _, make in self.recipes], [weight for weight, _ in self.recipes]
        )
        return self.made(make)

    def made(self, make: Callable[[], bytes]) -> Frame:
        """The next frame, of this recipe."""
        octets = make()[:1522]
        if make == self.good:
            self.sent.append(octets)
        return Frame(octets, self.rng.random() < 0.01, make.__name__)


BUILT_IN = tuple(range(1, 16))
"""Suites of a NIC without those for old peers."""


def frames(seed: int, count: int, suites: tuple[int, ...] = BUILT_IN) -> Iterator[Action]:
    """Actions with `count` frames among them, for a NIC fresh from reset.

    A run of frames under one SA, or two, is followed by zeroise and another run.

    Parameters
    ----------
    seed : int
        Same seed, same actions.
    count : int
        Frames.
    suites : tuple of int
        Numbers of the suites that are built in.
    """
    generator = Generator(seed, suites)
    rng, left = generator.rng, count
    while left > 0:
        yield from generator.begin()
        for _ in range(min(left, rng.choice((20, 60, 120)))):
            left -= 1
            if rng.random() < 0.02:
                yield Advance(rng.choice((1, 5)))
            if rng.random() < 0.01 and len(generator.sas) == 1:
                yield from generator.load(rng.choice(suites))
            yield generator.frame()
        if rng.random() < 0.3:
            left -= 1
            yield generator.zeroise()
