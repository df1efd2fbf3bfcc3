"""Bench of the whole NIC: bad input. After each bad frame the next good packet still works."""

from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb import nic_frames as nf
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

EDGE = 0x200
RESET = nf.asf(nf.RESET, sequence=1, tag=1)
"""In every bad frame, so that a pin would show that it was believed."""
OPTIONS = bytes([7, 7, 4, 0, 0, 0, 0, 1])
"""Record route, and no-operation (RFC 791 3.1)."""


class Bad:
    """A NIC with one PROVEN SA, and its station."""

    def __init__(self, dut: Any) -> None:
        self.pair = NicPair(dut)
        self.count = 0

    async def start(self, *, encap: bool = False, key_octets: int = 16, esn: bool = False) -> None:
        """A fresh SA."""
        pair = self.pair
        await pair.start()
        sa = SaKeys.draw(pair.rng, key_octets, esn=esn, rx_edge=EDGE)
        self.station = Station(sa, encap=encap)
        await pair.stage(sa)
        await pair.works(self.station)

    def esp(self, **options: Any) -> bytes:
        """A packet that would be accepted, with a command."""
        return self.station.esp(nf.udp(664, RESET, source=self.station.inner), **options)

    async def is_refused(self, frame: bytes, counter: Counter, *, err: bool = False) -> None:
        """`frame` ends under `counter` and no other, moves no pin, and harms nothing."""
        answers = await self.pair.wire(frame, counter, err=err)
        assert answers == [], f"answered: {frame.hex()}"
        await self.pair.works(self.station)
        self.pair.no_pin_moved()
        self.count += 1

    async def end(self) -> None:
        """Nothing else moved; a command still acts."""
        self.pair.no_pin_moved()
        (answer,) = await self.pair.wire(self.station.protect(RESET), Counter.DELIVERED)
        assert self.station.open(answer) == nf.ack(1)
        assert await self.pair.pulses() == ["reset"]
        await self.pair.finish()


def ended(octets: int, *steps: tuple[int, Counter]) -> Counter:
    """Counter of a frame cut to `octets`: the one of the last step that it reaches."""
    return [counter for least, counter in steps if octets >= least][-1]


@cocotb.test()
async def frames_cut_short(dut: Any) -> None:
    """Every header cut at each octet, its lengths unchanged."""
    bad = Bad(dut)
    drop, passed, header = Counter.DROP_FRAME, Counter.PASSED, Counter.DROP_IP_HEADER
    await bad.start()
    for n in range(1, 14 + 28 + len(bad.esp())):
        by_peer = nf.ethernet(0x0800, nf.ipv4(nf.ESP, bad.esp(), options=OPTIONS), least=0)
        assert n < len(by_peer)
        await bad.is_refused(by_peer[:n], ended(n, (0, drop), (14, passed), (34, header)))
    for n in range(30, 50):
        by_spi = nf.ethernet(0x0800, nf.ipv4(nf.ESP, bad.esp(), source=nf.OTHER_IP), least=0)
        await bad.is_refused(by_spi[:n], ended(n, (0, passed), (38, header)))
    clear = nf.clear(RESET, to=664)
    for n in range(30, 14 + 20 + 8 + len(RESET)):
        await bad.is_refused(clear[:n], ended(n, (0, passed), (42, header)))
    clear = nf.clear(RESET, options=OPTIONS)
    for n in range(30, 14 + 28 + 8 + len(RESET)):
        await bad.is_refused(clear[:n], ended(n, (0, passed), (50, header)))
    asks = nf.arp_request()
    for n in range(1, 42):
        await bad.is_refused(asks[:n], ended(n, (0, drop), (14, passed)))
    await bad.pair.wire(asks[:42], Counter.DELIVERED)
    await bad.start(encap=True)
    for n in range(30, 14 + 20 + 8 + len(bad.esp())):
        frame = bad.station.carry(bad.esp(), least=0)
        assert n < len(frame)
        await bad.is_refused(frame[:n], ended(n, (0, passed), (46, header)))
    await bad.end()


@cocotb.test()
async def packets_cut_short(dut: Any) -> None:
    """ESP, inner UDP, RMCP and ASF cut at each octet, with every length around them right."""
    bad = Bad(dut)
    for encap in (False, True):
        await bad.start(encap=encap)
        for n in range(len(bad.esp())):
            whole = n >= 8 + 8 + 4 + 16 and n % 4 == 0
            counter = Counter.DROP_ICV if whole else Counter.DROP_ESP_LENGTH
            if n < 4:
                counter = Counter.PASSED if encap else Counter.DROP_IP_HEADER
            await bad.is_refused(bad.station.carry(bad.esp()[:n]), counter)
    command = nf.udp(664, RESET)
    for n in range(8):
        packet = bad.station.esp(command[:n], pad=-(n + 2) % 4 + 8)
        await bad.is_refused(bad.station.carry(packet), Counter.DROP_SELECTOR)
    for n in range(len(RESET)):
        await bad.is_refused(bad.station.protect(RESET[:n]), Counter.DROP_RMCP_MALFORMED)
        # The datagram's length still counts what was cut off.
        cut = bad.station.protect(RESET[:n], octets=len(command))
        await bad.is_refused(cut, Counter.DROP_SELECTOR)
    asks = nf.commit(bad.station.sa.spi_in)
    for n in range(12, len(asks)):
        await bad.is_refused(bad.station.protect(asks[:n]), Counter.DROP_RMCP_MALFORMED)
    await bad.end()


@cocotb.test()
async def lying_ip_headers(dut: Any) -> None:
    """Version, IHL, total length, checksum and fragment fields that lie."""
    bad = Bad(dut)
    await bad.start()
    station = bad.station
    for bit in range(16):
        right = int.from_bytes(station.carry(bad.esp())[24:26], "big")
        lying = station.carry(bad.esp(), checksum=right ^ 1 << bit)
        await bad.is_refused(lying, Counter.DROP_IP_HEADER)
    for version in (*range(4), *range(5, 16)):
        await bad.is_refused(station.carry(bad.esp(), version=version), Counter.PASSED)
    for words in range(5):
        await bad.is_refused(station.carry(bad.esp(), words=words), Counter.PASSED)
    for words in range(6, 16):  # the SPI is then looked for further behind
        lying = station.carry(bad.esp(), words=words)
        await bad.is_refused(lying, Counter.DROP_UNKNOWN_SPI)
        wrong = station.carry(bad.esp(), words=words, checksum=0x1234)
        await bad.is_refused(wrong, Counter.DROP_IP_HEADER)
    right = 20 + len(bad.esp())
    for total in [*range(24), right + 1, right + 2, 1501, 0xFFFF]:
        lying = station.carry(bad.esp(), total=total, least=0)
        await bad.is_refused(lying, Counter.DROP_IP_HEADER)
    for total in [24, 28, 36, 62, right - 1, right - 2]:
        lying = station.carry(bad.esp(), total=total)
        await bad.is_refused(lying, Counter.DROP_ESP_LENGTH)
    await bad.is_refused(station.carry(bad.esp(), total=right - 4), Counter.DROP_ICV)
    for flags in (0x2000, 0x6000, 0x2001, 1, 0x1FFF):
        counter = Counter.DROP_FRAGMENT
        await bad.is_refused(station.carry(bad.esp(), flags=flags), counter)
        stranger = station.carry(bad.esp(), flags=flags, source=nf.OTHER_IP)
        first = flags & 0x1FFF == 0
        await bad.is_refused(stranger, counter if first else Counter.PASSED)
        await bad.is_refused(nf.clear(RESET, flags=flags), counter if first else Counter.PASSED)
    await bad.is_refused(station.carry(bad.esp()), Counter.DROP_FRAME, err=True)
    await bad.is_refused(nf.clear(RESET, to=9), Counter.DROP_FRAME, err=True)
    # One octet more than the path takes, and just as much as it takes.
    message = nf.oem(nf.SA_STATUS).ljust(1500 - 20 - 32 - 2 - 8, b"\0")
    inner = nf.udp(664, message, source=station.inner)
    longest = station.carry(station.esp(inner))
    assert len(longest) == 1514
    await bad.is_refused(nf.ethernet(0x0800, nf.ipv4(nf.ESP, bytes(1481))), Counter.DROP_IP_HEADER)
    jumbo = nf.clear(bytes(8000), to=664)
    await bad.is_refused(jumbo, Counter.DROP_IP_HEADER)
    (answer,) = await bad.pair.wire(longest, Counter.DELIVERED)
    assert station.open(answer)[8] == 0x41
    await bad.end()


@cocotb.test()
async def lying_udp_headers(dut: Any) -> None:
    """UDP lengths outside and inside, ports and addresses that are not the SA's."""
    bad = Bad(dut)
    await bad.start(encap=True)
    station = bad.station
    right = 8 + len(bad.esp())
    for octets in range(right):
        counter = Counter.DROP_ESP_LENGTH
        if octets < 12:
            counter = Counter.PASSED
        elif octets - 8 >= 36 and octets % 4 == 0:
            counter = Counter.DROP_ICV
        await bad.is_refused(station.carry(bad.esp(), octets=octets), counter)
    for octets in (right + 1, right + 4, 0xFFFF):
        await bad.is_refused(station.carry(bad.esp(), octets=octets), Counter.DROP_UDP_LENGTH)
    right = 8 + len(RESET)
    for port, counter in (
        (664, Counter.DROP_CLEAR_PROTECTED),
        (623, Counter.DROP_CLEAR_POLICY),
    ):
        for octets in (0, 1, 7, right + 1, 0x8000):
            lying = nf.clear(RESET, to=port, octets=octets)
            await bad.is_refused(lying, Counter.DROP_UDP_LENGTH)
        for octets in (8, 9, 20, right):
            await bad.is_refused(nf.clear(RESET, to=port, octets=octets), counter)
        await bad.is_refused(nf.clear(RESET, to=port, options=OPTIONS), counter)
    inner = nf.udp(664, RESET)
    for octets in {0, 1, 7, 8, len(inner) - 1, len(inner) + 1, len(inner) + 256, 0xFFFF}:
        await bad.is_refused(station.protect(RESET, octets=octets), Counter.DROP_SELECTOR)
    for port in (0, 1, 623, 663, 665, 664 ^ 0x8000, 664 ^ 0x100, 4500, 0xFFFF):
        await bad.is_refused(station.protect(RESET, to=port), Counter.DROP_SELECTOR)
    await bad.end()


@cocotb.test()
async def forged_packets(dut: Any) -> None:
    """Each octet of the packet changed; each octet of the padding; each next header."""
    bad = Bad(dut)
    for key_octets, esn in ((16, False), (32, True)):
        await bad.start(key_octets=key_octets, esn=esn)
        station = bad.station
        for place in range(len(bad.esp())):
            esp = bytearray(bad.esp())
            esp[place] ^= 0x80
            counter = Counter.DROP_UNKNOWN_SPI if place < 4 else Counter.DROP_ICV
            await bad.is_refused(station.carry(bytes(esp)), counter)
        for bit in range(128):
            esp = bytearray(bad.esp())
            esp[-1 - bit // 8] ^= 1 << bit % 8
            await bad.pair.wire(station.carry(bytes(esp)), Counter.DROP_ICV)
        await bad.pair.works(station)
    station = bad.station
    command = nf.udp(664, RESET)
    for pad in (2, 6, 14):
        for place in range(pad):
            padding = bytearray(range(1, pad + 1))
            padding[place] ^= 1
            packet = station.esp(command, padding=bytes(padding))
            await bad.is_refused(station.carry(packet), Counter.DROP_PADDING)
        for lie in (pad + 1, pad + len(command) + 1, 255):
            packet = station.esp(command, pad=pad, pad_octet=lie)
            await bad.is_refused(station.carry(packet), Counter.DROP_PADDING)
    # Padding that is right, but longer than it claims: the datagram's length then lies.
    packet = station.esp(command, pad=6, pad_octet=5)
    await bad.is_refused(station.carry(packet), Counter.DROP_PADDING)
    for next_header in {*range(256)} - {nf.UDP}:
        packet = station.esp(command, next_header=next_header)
        # A dummy packet carries nothing for anybody (RFC 4303 2.6).
        counter = Counter.DROP_DUMMY if next_header == 59 else Counter.DROP_NEXT_HEADER
        await bad.pair.wire(station.carry(packet), counter)
    await bad.pair.works(station)
    bad.pair.no_pin_moved()
    asks = nf.udp(664, nf.oem(nf.SA_STATUS), source=station.inner)
    longest = station.carry(station.esp(asks, pad=255 - (255 + len(asks) + 2) % 4))
    (answer,) = await bad.pair.wire(longest, Counter.DELIVERED)
    station.open(answer)
    await bad.end()


@cocotb.test()
async def replayed_packets(dut: Any) -> None:
    """Seen before, too old, number zero; unknown SPIs; wrong addresses."""
    bad = Bad(dut)
    duplicate, old = Counter.DROP_REPLAY_DUPLICATE, Counter.DROP_REPLAY_OLD
    for esn in (False, True):
        await bad.start(esn=esn)
        station = bad.station
        question = nf.udp(664, nf.oem(nf.SA_STATUS), source=station.inner)
        frame = station.carry(station.esp(nf.udp(664, b"")))
        await bad.pair.wire(frame, Counter.DROP_RMCP_MALFORMED)
        await bad.is_refused(frame, duplicate)  # the window moved though the message was bad
        edge = station.number + 100
        station.number = edge - 1
        await bad.pair.works(station)
        for behind in (63, 62, 33, 32, 31, 1):
            frame = station.carry(station.esp(question, number=edge - behind))
            (answer,) = await bad.pair.wire(frame, Counter.DELIVERED)
            station.open(answer)
            assert await bad.pair.wire(frame, duplicate) == []
        assert (
            await bad.pair.wire(station.carry(station.esp(question, number=edge)), duplicate) == []
        )
        for behind in (64, 65, 100, edge - 1):
            frame = station.carry(station.esp(question, number=edge - behind))
            # Beyond the window an extended number means the next high half, and another ICV.
            await bad.pair.wire(frame, Counter.DROP_ICV if esn else old)
        zero = station.carry(station.esp(question, number=0))
        await bad.is_refused(zero, Counter.DROP_ICV if esn else old)
    station = bad.station
    spi = station.sa.spi_in
    for number in (0, 1, 255, spi ^ 1, spi ^ 0x80000000, 0xFFFFFFFF):
        packet = bad.esp(spi=number)
        await bad.is_refused(station.carry(packet), Counter.DROP_UNKNOWN_SPI)
        await bad.is_refused(station.carry(packet, source=nf.OTHER_IP), Counter.PASSED)
        in_udp = Station(station.sa, encap=True)
        counter = Counter.PASSED if number == 0 else Counter.DROP_UNKNOWN_SPI
        await bad.is_refused(in_udp.carry(packet), counter)
    packet = bad.esp()
    await bad.is_refused(station.carry(packet, to=nf.OTHER_IP), Counter.PASSED)
    routed = nf.ethernet(0x0800, nf.ipv4(nf.ESP, packet), to=nf.ROUTER_MAC)
    await bad.is_refused(routed, Counter.PASSED)
    await bad.end()


@cocotb.test()
async def messages_of_every_kind(dut: Any) -> None:
    """Every type, class, version and data length: only 10h to 13h move a pin."""
    bad = Bad(dut)
    await bad.start()
    pair, station = bad.pair, bad.station
    unknown, malformed = Counter.DROP_RMCP_UNKNOWN, Counter.DROP_RMCP_MALFORMED
    pulses = {0x10: ["reset"], 0x11: ["power"], 0x12: ["power"], 0x13: ["power", "power"]}
    await pair.inputs(sleep=True)
    for kind in range(256):
        frame = station.protect(nf.asf(kind, sequence=kind % 255, tag=kind))
        taken = kind in pulses or kind in (nf.PING, nf.CAPABILITIES, nf.SYSTEM_STATE)
        answers = await pair.wire(frame, Counter.DELIVERED if taken else unknown)
        for answer in answers:
            station.open(answer)
        if kind in (0x12, 0x13):  # the host goes off, which ends the pressing
            await pair.pass_ms(100)
            await pair.inputs(off=True)
        if kind in pulses:
            assert await pair.pulses(still_ms=1100) == pulses[kind]
            await pair.inputs(off=False)
        pair.no_pin_moved()
    for kind in range(256):
        if kind == nf.SA_STATUS:
            continue
        counter = {nf.COMMIT: malformed, 0x82: Counter.DROP_RMCP_ROLE}.get(kind, unknown)
        await pair.wire(station.protect(nf.oem(kind)), counter)
    for enterprise in (0, nf.ASF_NUMBER ^ 1, nf.OEM_NUMBER ^ 0x80000000):
        for kind in (nf.RESET, nf.COMMIT, nf.SA_STATUS):
            message = nf.asf(kind, enterprise=enterprise, body=bytes(4))
            await bad.is_refused(station.protect(message), unknown)
    for octet in {*range(256)} - {6}:
        message = nf.asf(nf.RESET, tag=2, head=bytes([6, 0, 2, octet]))
        await pair.wire(station.protect(message), malformed if octet & 0x80 else unknown)
        message = nf.asf(nf.RESET, tag=2, head=bytes([octet, 0, 2, 6]))
        await pair.wire(station.protect(message), malformed)
    pair.no_pin_moved()
    for octets in {*range(256)} - {0, 11}:
        message = nf.asf(nf.RESET, tag=2, body=bytes(255), octets=octets)
        await pair.wire(station.protect(message), malformed)
    for kind in (nf.POWER_DOWN, nf.PING, nf.CAPABILITIES, nf.SYSTEM_STATE):
        message = nf.asf(kind, tag=2, body=bytes(11))
        await bad.is_refused(station.protect(message), malformed)
    message = nf.asf(nf.RESET, tag=3, body=bytes(10), octets=11)
    await bad.is_refused(station.protect(message), malformed)
    pair.no_pin_moved()
    message = nf.asf(nf.RESET, tag=3, body=bytes(11))  # boot options are an administrator's
    await bad.is_refused(station.protect(message), Counter.DROP_RMCP_ROLE)
    pair.no_pin_moved()
    await pair.inputs(sleep=False)
    await bad.end()
