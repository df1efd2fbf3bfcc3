"""Bench of the whole NIC: a Presence Ping in every form, and all answers into a pcap."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cocotb

from spec.suites import Suite
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import Bench, PacketSink, PacketSource, bench_parameters
from verif.cocotb.nic_port import INPUT_PINS, Registers, Tap
from verif.fuzz import sealing
from verif.fuzz.generator import covered_v4
from verif.fuzz.sealing import HOST_MAC, HOST_V4, HOST_V6, STATION_MAC, STATION_V4, SUITES, Sa
from verif.judges.sent import Association, Form, Sent, save

TAGS = (b"", b"\x81\x00\xa0\x05", b"\x88\xa8\x60\x11\x81\x00\x20\x07")
"""None, one and two VLAN tags, with priorities (IEEE 802.1Q 9.6)."""
SOURCE_PORT = 40664
ENCAP_PORT = 40001
HIGH = 7
"""Upper half of the numbers of an SA with ESN."""
LIMIT_CYCLES = 20_000
"""When an answer counts as never coming."""
STEP_CYCLES = 64
FRAME_MIN_OCTETS = 60


@dataclass(frozen=True, slots=True)
class Pair:
    """Both directions of an SA, with keys of their own."""

    inbound: Sa
    outbound: Sa

    @staticmethod
    def draw(rng: random.Random, suite: int, spi: int, **options: Any) -> "Pair":
        """Two SAs that differ in their keys alone."""
        start = HIGH << 32 | 100 if options["esn"] else 0
        spis: dict[str, Any] = {
            "spi": spi,
            "spi_out": spi + 1,
            "ah_spi": spi + 2,
            "ah_spi_out": spi + 3,
        }
        inbound, outbound = (
            Sa(suite, sequence=start, outer=start, seed=rng.getrandbits(32), **spis, **options)
            for _ in range(2)
        )
        return Pair(inbound, outbound)

    def staging(self) -> Iterator[tuple[str, int, int]]:
        """Register writes, from STAGE to READY."""
        both = zip(self.inbound.staging(), self.outbound.staging(), strict=True)
        for write, other in both:
            yield other if write[0].endswith("_OUT") else write

    def association(self) -> Association:
        """What a judge must know of the outbound half."""
        sa = self.outbound
        return Association(
            suite=sa.suite,
            name=Suite(sa.suite).name,
            tunnel=sa.tunnel,
            v6=sa.v6,
            esn=sa.esn,
            spi=sa.spi_out,
            ah_spi=sa.ah_spi_out,
            high=HIGH if sa.esn else 0,
            key=sa.key.hex(),
            salt=sa.salt.hex(),
            auth=sa.auth.hex(),
            ah_auth=sa.ah_auth.hex(),
        )

    def forms(self) -> Iterator[Form]:
        """All in which a request may come under it."""
        sa = self.inbound
        inner = (False, True) if sa.tunnel else (None,)
        encap = (False,) if sa.kind.ah else (False, True)
        for inner_v6, in_udp, tags in product(inner, encap, range(len(TAGS))):
            yield Form(v6=sa.v6, tags=tags, inner_v6=inner_v6, encap=in_udp)

    def request(self, rng: random.Random, form: Form, message: bytes) -> bytes:
        """The frame that brings a message."""
        sa, kind = self.inbound, self.inbound.kind
        sa.sequence += 1
        sa.outer += 1
        protocol, behind = sealing.UDP, sealing.udp(message, SOURCE_PORT)
        if form.inner_v6 is not None:
            protocol, behind = (
                (sealing.IPV6, sealing.ipv6(protocol, behind))
                if form.inner_v6
                else (sealing.IPV4, sealing.ipv4(protocol, behind))
            )
        iv = rng.randbytes(16)
        if kind.esp:
            behind = sa.esp(behind, protocol, sa.sequence, iv=iv)
            protocol = sealing.ESP
        if kind.ah:
            number = sa.outer if kind.both else sa.sequence
            octets = len(sa.ah(b"", protocol, behind, number, v6=sa.v6))
            if sa.v6:
                covered = sealing.ipv6(sealing.AH, bytes(octets), hops=0)[:40]
            else:
                covered = covered_v4(sealing.ipv4(sealing.AH, bytes(octets)))
            behind = sa.ah(covered, protocol, behind, number, v6=sa.v6, iv=iv[:8])
            protocol = sealing.AH
        if form.encap:
            protocol, behind = sealing.UDP, sealing.udp(behind, ENCAP_PORT, 4500)
        return around(form, protocol, behind)


def around(form: Form, protocol: int, payload: bytes) -> bytes:
    """The frame around an IP payload."""
    packet = sealing.ipv6(protocol, payload) if form.v6 else sealing.ipv4(protocol, payload)
    return sealing.ethernet(packet, 0x86DD if form.v6 else 0x0800, tags=TAGS[form.tags])


def applied(frame: bytes, form: Form, sa: Sa) -> int:
    """Octets of a frame that its algorithm is applied to (RFC 4301 4.4.2.1): of ESP what is
    encrypted, of AH alone the packet and, with ESN, the upper half of its number."""
    packet = frame[14 + len(TAGS[form.tags]) :]
    packet = packet[: 40 + int.from_bytes(packet[4:6], "big")] if form.v6 else packet
    packet = packet if form.v6 else packet[: int.from_bytes(packet[2:4], "big")]
    if not sa.kind.esp:
        return len(packet) + 4 * sa.esn
    behind = packet[40 if form.v6 else 20 :]
    if sa.kind.ah:
        behind = behind[4 * (behind[1] + 2) :]
    name = Suite(sa.suite).name
    iv = 8 if "_GCM_" in name or "_GMAC_" in name else 16 if "_CBC_" in name else 0
    icv = 12 if "SHA_1" in name else 16
    return len(behind[8:] if form.encap else behind) - 8 - iv - icv


def arp_request(form: Form) -> bytes:
    """A frame that asks for the host's address."""
    packet = bytes.fromhex("0001080006040001") + STATION_MAC + STATION_V4 + bytes(6) + HOST_V4
    return sealing.ethernet(packet, 0x0806, tags=TAGS[form.tags], destination=b"\xff" * 6)


def solicitation(form: Form) -> bytes:
    """A frame that asks for its IPv6 address (RFC 4861 4.3)."""
    how: dict[str, Any] = {"options": b"\1\1" + STATION_MAC}
    if form.probe:
        how = {"source": bytes(16)}
    group_mac = b"\x33\x33" + sealing.GROUP_V6[12:]
    packet = sealing.neighbour(**how)
    return sealing.ethernet(packet, 0x86DD, tags=TAGS[form.tags], destination=group_mac)


def pong(tag: int) -> bytes:
    """The Presence Pong to the ping with that tag (DSP0136 3.2.4.3)."""
    return nf.asf(0x40, tag=tag, body=bytes.fromhex("000011be 00000000 01 00 000000000000"))


class Nic:
    """The NIC under test, and what it sent."""

    def __init__(self, dut: Any) -> None:
        self.bench = Bench(dut)
        self.wire_rx = PacketSource(self.bench, "wire_rx")
        PacketSource(self.bench, "host_rx")  # holds its port quiet
        self.wire_tx = PacketSink(self.bench, "wire_tx")
        self.host_tx = PacketSink(self.bench, "host_tx")
        self.tap, self.registers = Tap(self.bench), Registers(self.bench)
        self.sent: list[Sent] = []
        self.asked = 0
        for pin in INPUT_PINS:
            getattr(dut, pin).value = 0

    async def start(self) -> None:
        """Out of reset, with the host's addresses."""
        await self.bench.reset()
        await self.registers.ready()
        words = {
            "HOST_MAC_HI": HOST_MAC[:2],
            "HOST_MAC_LO": HOST_MAC[2:],
            "HOST_IP": HOST_V4,
        }
        for name, octets in words.items():
            await self.registers.write(name, 0, int.from_bytes(octets, "big"))
        for i in range(4):
            word = int.from_bytes(HOST_V6[4 * i : 4 * i + 4], "big")
            await self.registers.write("HOST_IP6", i, word)

    async def answer(
        self, request: bytes, form: Form, message: bytes, sa: Association | None = None
    ) -> None:
        """Sends a request, and keeps the one frame that comes of it."""
        self.wire_rx.send(request)
        for _ in range(LIMIT_CYCLES // STEP_CYCLES):
            await self.bench.cycles(STEP_CYCLES)
            if self.wire_tx.count:
                break
        frames = self.wire_tx.take_all()
        assert [frame.err for frame in frames] == [False], f"{len(frames)} to {request.hex()}"
        (frame,) = frames
        octets = frame.data.ljust(FRAME_MIN_OCTETS, b"\0")  # as the MAC does it
        tags = TAGS[form.tags].hex()
        self.sent.append(Sent(octets=octets, form=form, tags=tags, message=message.hex(), sa=sa))

    def ping(self) -> tuple[bytes, bytes]:
        """The next question, and what must be answered."""
        self.asked += 1
        tag = self.asked % 0xFF
        return nf.asf(nf.PING, tag=tag), pong(tag)

    async def in_clear(self) -> None:
        """ARP, neighbour solicitations, and the clear port in cold boot."""
        await self.start()
        for tags in range(len(TAGS)):
            form = Form(tags=tags)
            await self.answer(arp_request(form), form, b"")
        for probe, tags in product((False, True), range(len(TAGS))):
            form = Form(v6=True, probe=probe, tags=tags)
            await self.answer(solicitation(form), form, b"")
        for v6, tags in product((False, True), range(len(TAGS))):
            form = Form(v6=v6, tags=tags)
            question, due = self.ping()
            datagram = sealing.udp(question, SOURCE_PORT, 623)
            await self.answer(around(form, sealing.UDP, datagram), form, due)

    async def under(self, pair: Pair) -> None:
        """Every form under one SA."""
        await self.start()
        for name, index, value in pair.staging():
            await self.registers.write(name, index, value)
        association = pair.association()
        counts = [0, 0, 0, 0]
        for form in pair.forms():
            question, due = self.ping()
            request = pair.request(self.bench.rng, form, question)
            await self.answer(request, form, due, association)
            for at, frame in ((0, request), (2, self.sent[-1].octets)):
                counts[at] += 1
                counts[at + 1] += applied(frame, form, pair.inbound)
        for number, count in enumerate(counts):
            await self.registers.write("SA_LIFETIME", 0, (number >> 1) << 8 | (number & 1) << 9)
            await self.bench.cycles(STEP_CYCLES)
            assert await self.registers.read("SA_LIFETIME_LO") == count, f"{association.name}"
        self.tap.messages.clear()


@cocotb.test()
async def every_form(dut: Any) -> None:
    """Suites, modes, families and numberings; what is sent goes to files for other judges."""
    nic = Nic(dut)
    await nic.in_clear()
    spi = 0xC0DE0000
    suites = bench_parameters()["suites"]
    for suite, tunnel, v6, esn in product(suites, *[(False, True)] * 3):
        assert suite in SUITES
        spi += 16
        await nic.under(Pair.draw(nic.bench.rng, suite, spi, tunnel=tunnel, v6=v6, esn=esn))
    await nic.bench.cycles(2000)
    nic.host_tx.take_all()
    await nic.bench.finish()
    # The simulator runs in the directory of this run, where its starter looks for the files.
    save(Path(), nic.sent)
    cocotb.log.info("RESULT sent: %d frames", len(nic.sent))
