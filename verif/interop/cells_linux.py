"""Cells: ESP and AH between the Linux kernel and `sw.ipsec`, with keys set by `ip xfrm`.

Our end is no address of this machine: it reads and writes Ethernet frames, so that no kernel but
the guest's has a part in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from spec.headers import PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_UDP, UDP, VERSION_IPV4
from spec.suites import SUITES, Cipher, Hash, Protocol, Suite
from sw.ike import Secret
from sw.ipsec import (
    AddressPair,
    AhInbound,
    AhMaterial,
    AhOutbound,
    DropReason,
    EspInbound,
    EspMaterial,
    EspOutbound,
    OpenedDatagram,
    PacketDroppedError,
    PacketInbound,
    PacketOutbound,
    SequenceReservation,
    UdpDatagram,
)
from sw.ipsec.ip import build_ip, parse_ip
from sw.ipsec.material import OUTER_SUITE, Material
from sw.ipsec.udp import parse_udp
from verif.interop.cells import World, cell
from verif.interop.guest import GUEST, GUEST6, TAP, Guest
from verif.interop.ours import SECURE_PORT, until

OURS, OURS6 = "192.0.2.2", "2001:db8::2"
OUR_MAC = "02:00:5e:00:53:02"
PORT = 40664
NATT_PORT = 4500
ROUNDS = 4
ETH_P_ALL = 3
ETHERTYPE = {4: b"\x08\x00", 6: b"\x86\xdd"}


@dataclass(frozen=True)
class Line:
    """One way of protecting packets, the same in both directions.

    `first` is the number of each side's first packet; with an IPv4 AH the kernel pads to four
    octets, as RFC 4302 has it, or with `align8` to eight, as it does by itself.
    """

    suite: Suite
    version: int = 4
    tunnel: bool = False
    encap: bool = False
    esn: bool = False
    first: int = 1
    align8: bool = False

    @property
    def guest(self) -> str:
        """The kernel's address."""
        return GUEST if self.version == VERSION_IPV4 else GUEST6

    @property
    def ours(self) -> str:
        """Our address."""
        return OURS if self.version == VERSION_IPV4 else OURS6


@dataclass(frozen=True)
class Keys:
    """Of one direction: the halves of an SA with random keys."""

    esp: EspMaterial | None
    ah: AhMaterial | None

    @classmethod
    def draw(cls, line: Line) -> Keys:
        """New ones, with a random SPI each."""
        facts = SUITES[line.suite]
        esp = ah = None
        if facts.protocol is not Protocol.AH:
            esp = EspMaterial(**_drawn(line.suite, line.esn))
        if facts.protocol is Protocol.AH:
            ah = AhMaterial(**_drawn(line.suite, line.esn))
        elif facts.has_outer:
            ah = AhMaterial(**_drawn(OUTER_SUITE, line.esn))
        return cls(esp, ah)

    @property
    def halves(self) -> list[tuple[str, Material]]:
        """Each half with the kernel's name of its protocol, the inner one first."""
        named = (("esp", self.esp), ("ah", self.ah))
        return [(name, half) for name, half in named if half is not None]


def _drawn(suite: Suite, esn: bool) -> dict[str, Any]:
    facts = SUITES[suite]
    return {
        "spi": 0x1000 + secrets.randbelow(1 << 31),
        "suite": suite,
        "key": Secret(secrets.token_bytes(facts.key_octets)),
        "salt": Secret(secrets.token_bytes(facts.salt_octets)),
        "esn": esn,
        "auth": Secret(secrets.token_bytes(facts.auth_octets)),
    }


def _algorithms(half: Material) -> str:
    """In the words of `ip xfrm`."""
    facts = half.facts
    keymat = (half.key.reveal() + half.salt.reveal()).hex()
    if facts.cipher is Cipher.GCM:
        return f"aead 'rfc4106(gcm(aes))' 0x{keymat} 128"
    if facts.cipher is Cipher.GMAC:
        return f"aead 'rfc4543(gcm(aes))' 0x{keymat} 128"
    name = {Hash.SHA_256: "sha256", Hash.SHA_1: "sha1"}[facts.hash]
    auth = f"auth-trunc 'hmac({name})' 0x{half.auth.reveal().hex()} {8 * facts.icv_octets}"
    if isinstance(half, AhMaterial):
        return auth
    cipher = f"'cbc(aes)' 0x{keymat}" if facts.cipher is Cipher.CBC else "'ecb(cipher_null)' ''"
    return f"enc {cipher} {auth}"


def _state(source: str, destination: str, name: str, half: Material, line: Line) -> str:
    """The command that sets one half of an SA."""
    words = f"ip xfrm state add src {source} dst {destination} proto {name}"
    words += f" spi {half.spi:#x} reqid 1 mode {_mode(line)} {_algorithms(half)}"
    if line.encap:
        words += f" encap espinudp {NATT_PORT} {NATT_PORT} 0.0.0.0"
    last = line.first - 1
    way = "replay-oseq" if source == line.guest else "replay-seq"
    flags = ["esn"] * line.esn
    if name == "ah" and line.version == VERSION_IPV4 and not line.align8:
        flags.append("align4")
    words += "".join(f" flag {one}" for one in flags)
    return words + f" replay-window 64 {way} {last & 0xFFFFFFFF:#x} {way}-hi {last >> 32:#x}"


def _mode(line: Line) -> str:
    return "tunnel" if line.tunnel else "transport"


def configure(guest: Guest, line: Line, to_us: Keys, to_guest: Keys) -> None:
    """Set SAs and policies in the kernel."""
    for source, destination, keys, way in (
        (line.guest, line.ours, to_us, "out"),
        (line.ours, line.guest, to_guest, "in"),
    ):
        policy = f"ip xfrm policy add src {source} dst {destination} proto udp dir {way}"
        for name, half in keys.halves:
            guest.run(_state(source, destination, name, half, line))
            policy += f" tmpl src {source} dst {destination} proto {name} reqid 1"
            policy += f" mode {_mode(line)}"
        guest.run(policy)


class LinuxEnd:
    """Our end: opens what the kernel sends to the port of RMCP, and answers it backwards."""

    def __init__(self, line: Line, to_us: Keys, to_guest: Keys, guest_mac: bytes) -> None:
        self._line = line
        us, guest = ip_address(line.ours), ip_address(line.guest)
        self._us, self._guest = us, guest
        outer_in, outer_out = AddressPair(guest, us), AddressPair(us, guest)
        inner_in = outer_in if line.tunnel else None
        edge = line.first - 1
        first = line.first

        def reserve(count: int) -> int:
            return first

        def numbers() -> SequenceReservation:
            return SequenceReservation(reserve, last=(1 << (64 if line.esn else 32)) - 1)

        self.esp_in = self._esp_out = None
        ah_in = ah_out = None
        if to_us.esp is not None and to_guest.esp is not None:
            self.esp_in = EspInbound(to_us.esp, right_edge=edge, inner=inner_in)
            self._esp_out = EspOutbound(to_guest.esp, numbers(), tunnel=line.tunnel)
        if to_us.ah is not None and to_guest.ah is not None:
            ah_in = AhInbound(to_us.ah, right_edge=edge)
            ah_out = AhOutbound(to_guest.ah, numbers(), align_octets=8 if line.align8 else 4)
        self._inbound = PacketInbound(
            outer=None if line.tunnel else outer_in,
            esp=self.esp_in,
            ah=ah_in,
            inner=inner_in if self.esp_in is None else None,
        )
        self._outbound = PacketOutbound(
            outer_out,
            esp=self._esp_out,
            ah=ah_out,
            inner=outer_out if line.tunnel else None,
        )
        self._ethernet = guest_mac + bytes.fromhex(OUR_MAC.replace(":", ""))
        self._ethernet += ETHERTYPE[line.version]
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((TAP, 0))
        self._socket.setblocking(False)
        self.opened: list[OpenedDatagram] = []
        self.came: list[bytes] = []
        """Each IP packet that came under the SA."""
        self.sent: list[bytes] = []
        self.dropped: list[DropReason] = []
        self.forge = False
        """Turn a bit of each packet, in both directions."""
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Leave the wire."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, where = self._socket.recvfrom(65535)
                # What we send ourselves is shown to us as well.
                if where[2] == socket.PACKET_OUTGOING or frame[12:14] != self._ethernet[12:14]:
                    continue
                packet = parse_ip(frame[14:])
                protocols = (PROTOCOL_ESP, PROTOCOL_AH, *((PROTOCOL_UDP,) * self._line.encap))
                if packet.destination == self._us and packet.protocol in protocols:
                    self.take(frame[14:])

    def take(self, packet: bytes) -> None:
        """Open a packet, and answer what is in it."""
        self.came.append(packet)
        try:
            opened = self._open(self._forged(packet))
        except PacketDroppedError as error:
            self.dropped.append(error.reason)
            return
        self.opened.append(opened)
        datagram = opened.datagram
        if datagram.destination_port == SECURE_PORT:
            answer = UdpDatagram(SECURE_PORT, datagram.source_port, datagram.payload[::-1])
            self.put(self._seal(answer))

    def _open(self, packet: bytes) -> OpenedDatagram:
        if not self._line.encap or self.esp_in is None:
            return self._inbound.open(packet)
        outer = parse_udp(parse_ip(packet).payload)
        assert (outer.source_port, outer.destination_port) == (NATT_PORT, NATT_PORT)
        return self.esp_in.open(outer.payload)

    def _seal(self, datagram: UdpDatagram) -> bytes:
        if not self._line.encap or self._esp_out is None:
            return self._outbound.seal_udp(datagram)
        esp = self._esp_out.seal_udp(datagram, self._us, self._guest)
        octets = UDP.octets + len(esp)
        # No checksum (RFC 3948 2.1): a forgery is for ESP to find.
        outer = UDP.pack(source_port=NATT_PORT, destination_port=NATT_PORT, octets=octets)
        return build_ip(self._us, self._guest, PROTOCOL_UDP, outer + esp).pack()

    def put(self, packet: bytes) -> None:
        """Put an IP packet on the wire."""
        self.sent.append(packet)
        self._socket.send(self._ethernet + self._forged(packet))

    def _forged(self, packet: bytes) -> bytes:
        return packet[:-1] + bytes((packet[-1] ^ self.forge,))

    async def answered(self, count: int) -> None:
        """Wait for more packets than `count` to have been opened."""
        await until(lambda: len(self.opened) > count, "the kernel's answer", wait_s=5)

    def ask(self, payload: bytes) -> None:
        """Send a datagram to the guest's port of RMCP."""
        self.put(self._seal(UdpDatagram(PORT, SECURE_PORT, payload)))


@asynccontextmanager
async def wired(world: World, line: Line) -> AsyncIterator[LinuxEnd]:
    """SAs at both ends."""
    guest = world.guest
    await asyncio.to_thread(world.strongswan.reset)
    mac = bytes.fromhex(guest.run("cat /sys/class/net/vec0/address").strip().replace(":", ""))
    guest.run(f"ip neigh replace {line.ours} lladdr {OUR_MAC} dev vec0")
    to_us, to_guest = Keys.draw(line), Keys.draw(line)
    configure(guest, line, to_us, to_guest)
    end = LinuxEnd(line, to_us, to_guest, mac)
    try:
        yield end
    finally:
        end.close()
        guest.run("ip xfrm state flush")
        guest.run("ip xfrm policy flush")


async def talk(world: World, line: Line, end: LinuxEnd, rounds: int = ROUNDS) -> None:
    """The kernel asks, and gets its answers; then the other way round."""
    before = len(end.opened)
    for number in range(rounds):
        payload = f"from the kernel, number {number}".encode()
        answer = await asyncio.to_thread(
            world.guest.ask, (line.ours, SECURE_PORT), payload, port=PORT, timeout=5.0
        )
        assert answer == payload[::-1], f"{answer!r}; dropped: {end.dropped}"
    for number in range(rounds):
        payload = f"from our end, number {number}".encode()
        came = len(end.opened)
        end.ask(payload)
        await end.answered(came)
        assert end.opened[-1].datagram == UdpDatagram(SECURE_PORT, PORT, payload[::-1])
    numbers = [one.sequence for one in end.opened[before:]]
    assert numbers == list(range(numbers[0], numbers[0] + 2 * rounds))
    assert not end.dropped


def counts(guest: Guest) -> dict[str, int]:
    """What the kernel has dropped, over all SAs."""
    text = guest.run("ip -s xfrm state")
    return {
        name: sum(int(count) for count in re.findall(rf"\b{name} (\d+)", text))
        for name in ("replay", "failed")
    }


def _enter(case: str, line: Line, *, quick: bool = False) -> None:
    @cell(case, peer="linux", quick=quick)
    async def run(world: World) -> None:
        async with wired(world, line) as end:
            await talk(world, line, end)
            assert end.opened[0].sequence == line.first
            assert counts(world.guest) == {"replay": 0, "failed": 0}
            await _replay(world, end)
            await _forge(world, line, end)
            await talk(world, line, end, 1)


async def _replay(world: World, end: LinuxEnd) -> None:
    """A packet of ours again, and one of the kernel's: nobody takes it."""
    answers = len(end.opened)
    end.put(end.sent[-1])
    await until(lambda: counts(world.guest)["replay"] == 1, "the kernel's count of replays")
    assert len(end.opened) == answers
    end.take(end.came[-1])
    assert end.dropped == [DropReason.REPLAY_DUPLICATE]
    end.dropped.clear()


async def _forge(world: World, line: Line, end: LinuxEnd) -> None:
    """A new packet of ours with one bit turned, and one of the kernel's: nobody takes it."""
    answers = len(end.opened)
    end.forge = True
    end.ask(b"not as it was")
    await until(lambda: counts(world.guest)["failed"] == 1, "the kernel's count of forgeries")
    assert len(end.opened) == answers
    answer = await asyncio.to_thread(
        world.guest.ask, (line.ours, SECURE_PORT), b"not as it was", port=PORT, timeout=0.3
    )
    assert answer is None
    assert end.dropped == [DropReason.ICV]
    end.dropped.clear()
    end.forge = False


SUITES_BY_NAME = {
    "ESP AES-128-GCM": Suite.ESP_AES_GCM_16_128,
    "ESP AES-256-GCM": Suite.ESP_AES_GCM_16_256,
    "ESP AES-128-CBC, HMAC-SHA-256-128": Suite.ESP_AES_CBC_128_HMAC_SHA_256_128,
    "ESP AES-256-CBC, HMAC-SHA-256-128": Suite.ESP_AES_CBC_256_HMAC_SHA_256_128,
    "ESP NULL, HMAC-SHA-256-128": Suite.ESP_NULL_HMAC_SHA_256_128,
    "ESP AES-256-GMAC": Suite.ESP_NULL_AES_GMAC_256,
    "AH HMAC-SHA-256-128": Suite.AH_HMAC_SHA_256_128,
    "AH around ESP AES-256-GCM": Suite.AH_HMAC_SHA_256_128_ESP_AES_GCM_16_256,
    "AH around ESP AES-128-CBC, HMAC-SHA-256-128": (
        Suite.AH_HMAC_SHA_256_128_ESP_AES_CBC_128_HMAC_SHA_256_128
    ),
}
QUICK = (
    Suite.ESP_AES_GCM_16_256,
    Suite.ESP_AES_CBC_128_HMAC_SHA_256_128,
    Suite.AH_HMAC_SHA_256_128,
    Suite.AH_HMAC_SHA_256_128_ESP_AES_GCM_16_256,
)
NEAR_2_32 = (1 << 32) - 5
"""From here on the numbers of a cell go over 2^32."""
for _name, _suite in SUITES_BY_NAME.items():
    _quick = _suite in QUICK
    _enter(f"{_name}, transport, IPv4", Line(_suite), quick=_quick)
    _enter(f"{_name}, transport, IPv6", Line(_suite, version=6), quick=_quick)
    if not SUITES[_suite].has_outer:
        _enter(f"{_name}, tunnel, IPv4", Line(_suite, tunnel=True))
        _enter(f"{_name}, tunnel, IPv6", Line(_suite, version=6, tunnel=True))
    _enter(f"{_name}, ESN over 2^32", Line(_suite, esn=True, first=NEAR_2_32), quick=_quick)
    if SUITES[_suite].protocol is Protocol.ESP:
        _enter(f"{_name}, in UDP", Line(_suite, encap=True), quick=_quick)
_enter("AH HMAC-SHA-256-128 padded to 8 octets", Line(Suite.AH_HMAC_SHA_256_128, align8=True))
