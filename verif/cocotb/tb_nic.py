"""Bench of the whole NIC against the model: random mixtures of all that a wire may carry."""

import random
import struct
from collections.abc import Iterator
from typing import Any

import cocotb
from scapy.layers.inet import IP, UDP
from scapy.layers.ipsec import ESP, SecurityAssociation

from spec.counters import Counter
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import PATTERNS, bench_parameters
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

QUESTIONS = [
    nf.asf(nf.PING),
    nf.asf(nf.PING, sequence=3, tag=9),
    nf.asf(nf.CAPABILITIES, sequence=0),
    nf.asf(nf.SYSTEM_STATE, tag=0xFE),
    nf.oem(nf.SA_STATUS, sequence=200),
    nf.asf(nf.PING) + b"octets behind the data",
    nf.commit(0x1234),
]
BATCH_OCTETS = 3000
BATCH_FRAMES = 9
"""What every buffer holds, whatever the pace: overload is another test."""


def variants(rng: random.Random) -> Iterator[Station]:
    """AES-128 and 256, sequence numbers of 32 and 64 bits, raw and in UDP."""
    for key_octets in (16, 32):
        for esn in (False, True):
            edge = (7 << 32 | 0xFFFFFFE0) if esn else 1000
            sa = SaKeys.draw(rng, key_octets, esn=esn, rx_edge=edge, tx_used=edge)
            for encap in (False, True):
                yield Station(sa, encap=encap)


def by_scapy(station: Station, message: bytes) -> bytes:
    """The frame as another implementation of RFC 4303 and RFC 4106 builds it."""
    sa = station.sa
    station.number += 1
    outer = UDP(sport=station.port, dport=4500) if station.encap else None
    peer = SecurityAssociation(
        ESP,
        spi=sa.spi_in,
        crypt_algo="AES-GCM",
        crypt_key=sa.key_in + sa.salt_in,
        esn_en=sa.esn,
        esn=station.number >> 32,
        nat_t_header=outer,
    )
    packet = IP(src=".".join(map(str, nf.STATION_IP)), dst=".".join(map(str, nf.NIC_IP)))
    datagram = UDP(sport=station.inner, dport=664) / message
    protected = peer.encrypt(
        packet / datagram,
        seq_num=station.number & 0xFFFFFFFF,
        iv=struct.pack(">Q", station.number),
        esn_en=sa.esn,
        esn=station.number >> 32,
    )
    return nf.ethernet(nf.ETHERTYPE_IPV4, bytes(protected))


class Mixture:
    """Draws frames of all kinds.

    Parameters
    ----------
    rng
        Its only source of chance.
    station
        Whose SA is PROVEN.
    number
        Of the command, among all mixtures: the NIC remembers commands over a reset of its clock
        domain.
    jumbo
        Longer frames than the host's buffer holds, too: only where the host takes each beat.
    """

    def __init__(self, rng: random.Random, station: Station, number: int, jumbo: bool) -> None:
        self.rng = rng
        self.station = station
        self.jumbo = jumbo
        # One for the whole mixture, so that it acts once, whenever it comes.
        self.command = nf.asf(nf.RESET, sequence=number, tag=5)
        self.heard = [self.good()]
        self.asked = False

    def good(self) -> bytes:
        """A legitimate question, or the one command."""
        message = self.rng.choice([*QUESTIONS, self.command])
        if self.rng.random() < 0.3:
            return by_scapy(self.station, message)
        return self.station.protect(message)

    def forged(self) -> bytes:
        """With the right SPI and a likely number, under a key of its own.

        None at the window's left edge: what such a number means hangs on how many packets before it
        are still under way.
        """
        number = self.station.number + self.rng.choice([-900, -3, 0, 1, 900])
        liar = self.station.at(max(0, number))
        return liar.carry(liar.esp(self.rng.randbytes(20))[:-4] + self.rng.randbytes(4))

    def mutated(self) -> bytes:
        """Another frame with octets changed, cut off or added."""
        frame = bytearray(self.rng.choice([*self.heard[-8:], self.good(), self.passing()]))
        match self.rng.randrange(5):
            case 0:
                del frame[self.rng.randint(1, len(frame)) :]
            case 1:
                frame += self.rng.randbytes(self.rng.randint(1, 40))
            case 2:
                for _ in range(self.rng.randint(1, 3)):
                    frame[self.rng.randrange(len(frame))] ^= 1 << self.rng.randrange(8)
            case _:  # where the headers are
                for _ in range(self.rng.randint(1, 2)):
                    place = self.rng.randrange(min(len(frame), 60))
                    frame[place] = self.rng.choice([0, 255, frame[place] ^ 1, frame[place] ^ 64])
        return bytes(frame)

    def passing(self) -> bytes:
        """What is the host's."""
        rng = self.rng
        body = rng.randbytes(rng.choice([0, 1, 18, 46, 47, 200, 512, rng.randint(0, 1400)]))
        ip: dict[str, Any] = {"to": nf.NIC_IP, "source": rng.choice([nf.STATION_IP, nf.OTHER_IP])}
        own_esp = rng.randbytes(100)
        choices = [
            nf.ethernet(nf.ETHERTYPE_ARP, nf.arp(1, nf.OTHER_IP), to=b"\xff" * 6),
            nf.ethernet(nf.ETHERTYPE_ARP, nf.arp(2, nf.NIC_IP)),
            nf.ethernet(0x86DD, b"\x60" + body),
            nf.ethernet(0x8100, b"\x00\x05\x08\x00" + nf.ipv4(nf.UDP, nf.udp(664, body), **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.TCP, b"\x02\x98\x02\x98" + body, **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.TCP, b"\x02\x6f\x02\x6f" + body, **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(rng.randrange(4501, 65536), body), **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(500, body), **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(4500, b"\xff"), **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(4500, bytes(4) + body), **ip)),
            nf.ethernet(0x0800, nf.ipv4(nf.ESP, own_esp, source=nf.OTHER_IP)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(4500, own_esp), source=nf.OTHER_IP)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(664, body), to=nf.OTHER_IP)),
            nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(664, body), **ip), to=nf.ROUTER_MAC),
            nf.ethernet(rng.randrange(1 << 16), rng.randbytes(rng.randint(1, 90)), least=0),
            rng.randbytes(rng.randint(1, 40)),
        ]
        if self.jumbo and rng.random() < 0.05:
            return nf.ethernet(0x0800, nf.ipv4(nf.TCP, rng.randbytes(8900), **ip))
        return rng.choice(choices)

    def refused(self) -> bytes:
        """In clear, to ports that are ours."""
        message = self.rng.choice([*QUESTIONS, self.command])
        return nf.clear(message, to=self.rng.choice([623, 664]))

    def frame(self) -> tuple[bytes, bool]:
        """A frame, and whether the wire spoiled it."""
        kinds = [self.good, self.forged, self.mutated, self.passing, self.refused]
        frame = self.rng.choices(kinds, [3, 1, 5, 5, 1])[0]()
        if self.rng.random() < 0.05:
            frame = self.rng.choice(self.heard)
        if not self.asked and self.rng.random() < 0.1:
            self.asked = True  # a second one so soon may find the answer slot taken
            frame = self.rng.choice(
                [nf.arp_request(), nf.solicitation(), nf.solicitation(probe=True)]
            )
            return frame, False
        self.heard = [*self.heard[-20:], frame]
        return frame, self.rng.random() < 0.04

    def batch(self) -> list[tuple[bytes, bool]]:
        """Frames that fit the buffers."""
        self.asked = False
        frames: list[tuple[bytes, bool]] = []
        octets = 0
        for _ in range(self.rng.randint(1, BATCH_FRAMES)):
            frame = self.frame()
            octets += len(frame[0])
            if frames and octets > BATCH_OCTETS:
                break
            frames.append(frame)
        return frames


async def mixture(pair: NicPair, station: Station, number: int, batches: int, jumbo: bool) -> None:
    """Runs batches under one SA."""
    rng = pair.rng
    await pair.start()
    await pair.wire(nf.clear(nf.asf(nf.PING, sequence=1)), Counter.DELIVERED)  # cold boot
    await pair.stage(station.sa)
    await pair.works(station)
    mixed = Mixture(rng, station, number, jumbo)
    for _ in range(batches):
        for _ in range(rng.randrange(3)):
            body = rng.randbytes(rng.randint(1, 300))
            pair.host(
                nf.ethernet(nf.ETHERTYPE_LOCAL, body, source=nf.NIC_MAC, to=nf.STATION_MAC),
                err=rng.random() < 0.1,
            )
        await pair.flow(mixed.batch())
    station.heard = pair.model.sad.banks[0].tx_sequence  # the model read the answers
    await pair.wire(station.protect(mixed.command), Counter.DELIVERED)
    assert await pair.pulses() == ["reset"]
    await pair.check()


@cocotb.test()
async def mixtures(dut: Any) -> None:
    """Every suite, numbering and encapsulation, over every idle pattern and one backpressure."""
    backpressure = bench_parameters()["backpressure"]
    pair = NicPair(dut)
    batches = bench_parameters()["batches"]
    number = 0
    for idle in PATTERNS:
        for station in variants(pair.rng):
            pair.set_patterns(idle, backpressure)
            await mixture(pair, station, number, batches, backpressure == "none")
            number += 1
    await pair.finish()


@cocotb.test()
async def every_length_passes(dut: Any) -> None:
    """Frames of every length from 14 octets on leave bit for bit and in order."""
    pair = NicPair(dut)
    await pair.start()
    lengths = [*range(14, 80), *range(1496, 1524), 2047, 2048, 4095, 4096, 4097, 9014]
    for length in lengths:
        frame = nf.ethernet(0x86DD, pair.rng.randbytes(length), least=0)[:length]
        await pair.flow([(frame, False)])
    assert await pair.read("COUNTERS", Counter.PASSED) == len(lengths)
    pair.set_patterns("none", "random")
    for _ in range(20):
        batch = [(nf.ethernet(0x86DD, pair.rng.randbytes(100 * n)), False) for n in range(1, 6)]
        await pair.flow(batch)
    await pair.finish()
