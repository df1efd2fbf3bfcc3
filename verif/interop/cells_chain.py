"""Cells: the Linux kernel and the NIC itself, the gateware as the virtual board runs it.

Keys are set by `ip xfrm` in the guest, and by the driver in the NIC. The host behind the NIC is
down in all of them: nothing but the gateware answers. Messages stand here octet by octet.

Source: DSP0136 3.2; docs/rmcp.md.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from spec.counters import Counter
from spec.headers import ESP, ETHERNET, IPV4, IPV6, UDP, VERSION_IPV4
from spec.sa import BankState
from spec.suites import SUITES, Protocol
from sw.nic import BankUse, NicDriver, StagedAh, StagedSa
from verif.cosim.link import Port
from verif.interop.cells import World, cell
from verif.interop.cells_linux import (
    ROUNDS,
    SUITES_BY_NAME,
    Keys,
    Line,
    configure,
    counts,
)
from verif.interop.guest import LAN_GUEST, LAN_GUEST6, Guest
from verif.interop.lan import HOST, HOST6, Chain
from verif.interop.ours import SECURE_PORT, until

PORT = 40664
"""From where the guest sends."""
ASF = (4542).to_bytes(4, "big")
NEAR_2_32 = (1 << 32) - 3
"""From here on the first pings of a cell go over 2^32, and what is replayed lies beyond."""
STATE = re.compile(r"(?ms)^src (\S+) dst .*?lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)")
HIGH = re.compile(r"seq-hi 0x([0-9a-f]+), seq \S+ oseq-hi 0x([0-9a-f]+)")
"""Both of what `ip xfrm state` prints."""
QUIET_SECONDS = 0.2
AHEAD = 8
"""Of the numbers in use, and within the narrowest window."""


def message(sequence: int, kind: int, tag: int) -> bytes:
    """A message of ASF without data."""
    return bytes((6, 0, sequence, 6)) + ASF + bytes((kind, tag, 0, 0))


def ack(sequence: int) -> bytes:
    """The ACK to a message."""
    return bytes((6, 0, sequence, 0x86))


def ping(number: int) -> bytes:
    """A Presence Ping."""
    return message(number, 0x80, number)


def pong(number: int) -> bytes:
    """The Presence Pong to it: ASF 1.0 is spoken, no IPMI, no RSP."""
    head = bytes((6, 0, 0xFF, 6)) + ASF + bytes((0x40, number, 0, 16))
    return head + ASF + bytes(4) + b"\x01" + bytes(7)


def reset(number: int) -> bytes:
    """Resets the host."""
    return message(number, 0x10, number)


class ChainLine(Line):
    """A way of protecting packets between the guest and the NIC."""

    @property
    def guest(self) -> str:
        """The kernel's address."""
        return LAN_GUEST if self.version == VERSION_IPV4 else LAN_GUEST6

    @property
    def ours(self) -> str:
        """The host's address, which is the NIC's."""
        return HOST if self.version == VERSION_IPV4 else HOST6


def staged(line: Line, to_nic: Keys, to_guest: Keys) -> StagedSa:
    """The same SA, as the driver loads it."""
    last = line.first - 1
    inward, outward = to_nic.esp or to_nic.ah, to_guest.esp or to_guest.ah
    if inward is None or outward is None:
        raise ValueError(f"{line} protects nothing")
    outer = None
    if SUITES[line.suite].has_outer and to_nic.ah is not None and to_guest.ah is not None:
        outer = StagedAh(
            spi_in=to_nic.ah.spi,
            spi_out=to_guest.ah.spi,
            key_in=bytearray(to_nic.ah.auth.reveal()),
            key_out=bytearray(to_guest.ah.auth.reveal()),
            rx_sequence=last,
            tx_sequence=last,
        )
    return StagedSa(
        spi_in=inward.spi,
        spi_out=outward.spi,
        suite=line.suite,
        peer_ip=ip_address(line.guest),
        key_in=bytearray(inward.key.reveal()),
        key_out=bytearray(outward.key.reveal()),
        salt_in=bytearray(inward.salt.reveal()),
        salt_out=bytearray(outward.salt.reveal()),
        auth_in=bytearray(inward.auth.reveal()),
        auth_out=bytearray(outward.auth.reveal()),
        ah=outer,
        esn=line.esn,
        tunnel=line.tunnel,
        rx_sequence=last,
        tx_sequence=last,
    )


@dataclass
class Link:
    """Guest and NIC with the same SA."""

    world: World
    line: Line
    chain: Chain
    _number: int = 0

    @property
    def nic(self) -> NicDriver:
        """The NIC's driver."""
        return self.chain.nic

    async def say(self, data: bytes, count: int) -> list[bytes]:
        """Have the guest send to the NIC's port of RMCP; returns the next `count` answers."""
        return await asyncio.to_thread(
            self.world.guest.converse,
            (self.line.ours, SECURE_PORT),
            data,
            port=PORT,
            count=count,
            timeout=5.0,
        )

    async def ping(self, rounds: int = 1) -> None:
        """Presence pings of the guest get their pongs."""
        for _ in range(rounds):
            self._number += 1
            answers = await self.say(ping(self._number), 2)
            assert answers == [ack(self._number), pong(self._number)], (
                f"{[one.hex(' ') for one in answers]}; {dropped(self.nic)}"
            )

    async def reset(self) -> None:
        """A reset of the guest moves the pin, once."""
        pins = self.chain.pins
        before = pins.rises("reset")
        self._number += 1
        assert await self.say(reset(self._number), 1) == [ack(self._number)]
        await until(lambda: pins.rises("reset") > before, "the pulse of the reset pin", wait_s=5)
        await until(lambda: not pins.levels["reset"], "the end of the pulse", wait_s=5)
        assert pins.rises("reset") == before + 1
        assert pins.rises("power") == 0

    def use(self) -> BankUse:
        """What passed under the bank that is proven."""
        status = self.nic.sa_status()
        states = [status.bank_a, status.bank_b]
        found = self.nic.bank_use(states.index(BankState.PROVEN))
        assert found is not None
        return found


def dropped(nic: NicDriver) -> dict[str, int]:
    """What the NIC has dropped, by reason."""
    return {
        counter.name: count
        for counter, count in nic.counters().items()
        if count and counter.name.startswith("DROP_")
    }


async def accounted(nic: NicDriver) -> None:
    """Each frame that came in ends under one counter, once none is under way."""

    def holds() -> bool:
        found = nic.counters()
        ends = found[Counter.PASSED] + found[Counter.DELIVERED] + sum(dropped(nic).values())
        return found[Counter.FRAMES_IN] == ends

    await until(holds, lambda: f"an end of each frame: {nic.counters()}", wait_s=5)


def protected(frame: bytes, line: Line) -> bool:
    """Whether this is a frame of the line's SA."""
    ethertype = b"\x08\x00" if line.version == VERSION_IPV4 else b"\x86\xdd"
    protocol = frame[ETHERNET.octets + (9 if line.version == VERSION_IPV4 else 6)]
    wanted = 17 if line.encap else 50 if SUITES[line.suite].protocol is Protocol.ESP else 51
    return frame[12:14] == ethertype and protocol == wanted


def last_of(port: Port, line: Line) -> bytes:
    """The last frame of the SA that came on a port."""
    found = b""
    while True:
        try:
            found = port.receive(lambda frame: protected(frame, line), QUIET_SECONDS)
        except TimeoutError:
            assert found, "no frame of the SA was on the wire"
            return found


def forged(frame: bytes, line: Line) -> bytes:
    """The same frame with a number that is to come, of AH and ESP, and so with a wrong ICV.

    Source: RFC 4302 2, RFC 4303 2.
    """
    at = ETHERNET.octets + (IPV4.octets if line.version == VERSION_IPV4 else IPV6.octets)
    at += UDP.octets * line.encap
    protocol = SUITES[line.suite].protocol
    places = [at + 4]
    if protocol is not Protocol.ESP:
        places = [at + 8]
    if protocol is Protocol.BOTH:
        places.append(at + 4 * (frame[at + 1] + 2) + 4)
    new = bytearray(frame)
    for place in places:
        number = int.from_bytes(frame[place : place + 4], "big")
        new[place : place + 4] = (number + AHEAD & 0xFFFFFFFF).to_bytes(4, "big")
    if line.encap:
        _correct_checksum(new, frame, at - 2)
    return bytes(new)


def _correct_checksum(new: bytearray, frame: bytes, place: int) -> None:
    """Have a UDP checksum be right again, where there is one (RFC 1624)."""
    old = int.from_bytes(frame[place : place + 2], "big")
    if not old:
        return
    total = ~old & 0xFFFF
    for at in range(place + 2, place + 2 + ESP.octets, 2):
        total += int.from_bytes(new[at : at + 2], "big")
        total += ~int.from_bytes(frame[at : at + 2], "big") & 0xFFFF
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    new[place : place + 2] = (~total & 0xFFFF or 0xFFFF).to_bytes(2, "big")


def packets(guest: Guest) -> tuple[list[int], list[int]]:
    """How many packets each SA of the kernel has protected, and how many it has opened."""
    found = [(a in (LAN_GUEST, LAN_GUEST6), int(b)) for a, b in STATE.findall(_states(guest))]
    return [b for own, b in found if own], [b for own, b in found if not own]


def high_halves(guest: Guest) -> list[int]:
    """High halves of the numbers that the kernel's SAs have reached, each in its direction."""
    return [max(int(a, 16), int(b, 16)) for a, b in HIGH.findall(_states(guest))]


def _states(guest: Guest) -> str:
    return guest.run("ip -s xfrm state")


@asynccontextmanager
async def linked(world: World, line: Line) -> AsyncIterator[Link]:
    """The SA at both ends, in a NIC that was just switched on."""
    guest = world.guest
    await asyncio.to_thread(world.strongswan.reset)
    with world.lan.chain() as chain:
        chain.set_host_address(ip6=line.version != VERSION_IPV4)
        to_nic, to_guest = Keys.draw(line), Keys.draw(line)
        configure(guest, line, to_nic, to_guest)
        try:
            await asyncio.to_thread(chain.nic.stage_sa, staged(line, to_nic, to_guest))
            yield Link(world, line, chain)
        finally:
            guest.run("ip xfrm state flush")
            guest.run("ip xfrm policy flush")


async def attack(link: Link) -> None:
    """The last packet of each side again, and forged: nobody takes any of them."""
    chain, line, guest, nic = link.chain, link.line, link.world.guest, link.nic
    to_nic, to_guest = last_of(chain.at_guest, line), last_of(chain.at_nic, line)
    moved = chain.pins.rises("reset")
    chain.at_nic.send(to_nic)
    chain.at_nic.send(forged(to_nic, line))
    expected = {"DROP_REPLAY_DUPLICATE": 1, "DROP_ICV": 1}
    await until(lambda: dropped(nic) == expected, lambda: f"{expected}, but {dropped(nic)}")
    chain.at_guest.send(to_guest)
    chain.at_guest.send(forged(to_guest, line))
    await until(
        lambda: counts(guest) == {"replay": 1, "failed": 1}, lambda: f"counts: {counts(guest)}"
    )
    assert chain.pins.rises("reset") == moved


def _enter(case: str, line: Line) -> None:
    @cell(f"NIC, {case}", peer="linux", quick=case in QUICK, board=True)
    async def run(world: World) -> None:
        async with linked(world, line) as link:
            await link.ping(ROUNDS)
            await link.reset()
            assert not dropped(link.nic)
            assert counts(world.guest) == {"replay": 0, "failed": 0}
            await attack(link)
            await link.ping()
            await accounted(link.nic)
            use = link.use()
            assert (use.received_packets, use.sent_packets) == (ROUNDS + 2, 2 * ROUNDS + 3)
            halves = 1 + SUITES[line.suite].has_outer
            counted = (halves * [use.received_packets], halves * [use.sent_packets])
            assert packets(world.guest) == counted
            if line.first == NEAR_2_32:
                assert high_halves(world.guest) == 2 * halves * [1]


QUICK = (
    "ESP AES-256-GCM, transport, IPv4",
    "ESP AES-128-CBC, HMAC-SHA-256-128, in UDP",
    "AH HMAC-SHA-256-128, transport, IPv6",
    "AH around ESP AES-256-GCM, ESN over 2^32",
)
for _name, _suite in SUITES_BY_NAME.items():
    _enter(f"{_name}, transport, IPv4", ChainLine(_suite))
    _enter(f"{_name}, transport, IPv6", ChainLine(_suite, version=6))
    if not SUITES[_suite].has_outer:
        _enter(f"{_name}, tunnel, IPv4", ChainLine(_suite, tunnel=True))
        _enter(f"{_name}, tunnel, IPv6", ChainLine(_suite, version=6, tunnel=True))
    _enter(f"{_name}, ESN over 2^32", ChainLine(_suite, esn=True, first=NEAR_2_32))
    if SUITES[_suite].protocol is Protocol.ESP:
        _enter(f"{_name}, in UDP", ChainLine(_suite, encap=True))
        _enter(f"{_name}, in UDP, IPv6", ChainLine(_suite, version=6, encap=True))
