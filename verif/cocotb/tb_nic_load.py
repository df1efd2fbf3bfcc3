"""Bench of the whole NIC: floods at line rate, and ends that take nothing."""

from collections.abc import Callable
from itertools import product, repeat
from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import PacketSink, Pattern, none
from verif.cocotb.nic_frames import Station
from verif.cocotb.nic_pair import NicPair

BETWEEN_FRAMES = 4 + 12 + 8
"""Octets of the wire between two frames: FCS, gap, preamble (IEEE 802.3 4.2.3.2.2, 4.4.2)."""
LEAST = 60
TAKEN = (
    Counter.DROP_ESP_LENGTH,
    Counter.DROP_REPLAY_OLD,
    Counter.DROP_REPLAY_DUPLICATE,
    Counter.DROP_ICV,
)
"""What a bad frame ends under once it was taken, if the NIC keeps up."""
COUNT = 250
HOST_BUFFER = 4096


def sent_by_mac(sink: PacketSink) -> Pattern:
    """Takes frames no faster than a MAC sends them, which pads each to its least length."""
    taken = 0
    while True:
        yield False
        if sink.in_frame:
            taken += 1
        elif taken:
            yield from repeat(True, max(LEAST - taken, 0) + BETWEEN_FRAMES)
            taken = 0


class Flood:
    """Frames of some kind, without end.

    Parameters
    ----------
    pair, station
        The NIC, and who has a PROVEN SA.
    """

    def __init__(self, pair: NicPair, station: Station) -> None:
        self.rng = pair.rng
        self.station = station
        self.replayed = station.protect(nf.oem(nf.SA_STATUS))

    def passed(self) -> bytes:
        """The host's, of every kind there is."""
        rng = self.rng
        body = rng.randbytes(18)
        return rng.choice(
            [
                nf.ethernet(0x86DD, body + body),
                nf.ethernet(nf.ETHERTYPE_ARP, nf.arp(1, nf.OTHER_IP), to=b"\xff" * 6),
                nf.ethernet(0x0800, nf.ipv4(nf.TCP, body)),
                nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(500, body))),
                nf.ethernet(0x0800, nf.ipv4(nf.UDP, nf.udp(4500, bytes(4) + body[:14]))),
                nf.ethernet(0x0800, nf.ipv4(nf.ESP, body, source=nf.OTHER_IP)),
                nf.ethernet(0x0800, nf.ipv4(nf.ESP, body), to=nf.ROUTER_MAC),
            ]
        )

    def clear(self) -> bytes:
        """In clear to the protected port."""
        return nf.clear(nf.asf(nf.RESET, sequence=1), to=664)

    def cheap(self) -> bytes:
        """Refused without a look at the key: broken, or of no SA."""
        rng = self.rng
        body = rng.randbytes(18)
        number = rng.randrange(256, 1 << 31).to_bytes(4, "big")
        return rng.choice(
            [
                rng.randbytes(rng.randint(1, 13)),
                nf.clear(nf.asf(nf.RESET), to=623),
                nf.ethernet(0x0800, nf.ipv4(nf.ESP, number + body)),
                nf.ethernet(0x0800, nf.ipv4(nf.ESP, number + body, checksum=1)),
                nf.ethernet(0x0800, nf.ipv4(nf.ESP, number + body, flags=0x2000)),
            ]
        )

    def short(self) -> bytes:
        """With the live SPI, and too short for an ICV."""
        return nf.ethernet(
            0x0800, nf.ipv4(nf.ESP, self.station.sa.spi_in.to_bytes(4, "big") + bytes(20))
        )

    def forged(self) -> bytes:
        """With the live SPI and a likely number: the shortest that takes the key to refuse."""
        ahead = self.rng.randint(1, 900)
        body = self.rng.randbytes(8 + 12 + 16)
        number = (self.station.number + ahead).to_bytes(4, "big")
        return self.station.carry(self.station.sa.spi_in.to_bytes(4, "big") + number + body)

    def replay(self) -> bytes:
        """What was accepted before."""
        return self.replayed

    def mixed(self) -> bytes:
        """Any of these."""
        return self.rng.choice(
            [self.passed, self.clear, self.cheap, self.short, self.forged, self.replay]
        )()


@cocotb.test()
async def floods_at_line_rate(dut: Any) -> None:
    """Shortest frames back to back: none for the host is lost, each ends under its counter."""
    pair = NicPair(dut)
    for gap in (BETWEEN_FRAMES, 0):
        station = await pair.proven(key_octets=32 if gap else 16, esn=not gap)
        pair.wire_rx.idle = pair.wire_rx.gaps(gap)
        flood = Flood(pair, station)
        await pair.wire(flood.replayed, Counter.DELIVERED)
        station.heard += 1
        kinds: dict[Callable[[], bytes], tuple[Counter, ...]] = {
            flood.passed: (),
            flood.clear: (),
            flood.cheap: (),
            flood.short: (),
            flood.forged: TAKEN,
            flood.replay: (),
            flood.mixed: TAKEN,
        }
        for kind, may_lose in kinds.items():
            for _ in range(COUNT // 4):
                body = pair.rng.randbytes(pair.rng.randint(46, 300))
                pair.host(nf.ethernet(nf.ETHERTYPE_LOCAL, body, source=nf.NIC_MAC))
            frames = [kind() for _ in range(COUNT)]
            lost = await pair.flow([(frame, False) for frame in frames], may_lose=may_lose)
            dut._log.info(
                "RESULT flood of %s frames, %d cycles apart: %d of %d lost to overload",
                *(kind.__name__, gap, lost, COUNT),
            )
            assert lost <= COUNT // 5
            pair.no_pin_moved()
            await pair.works(station)
        command = nf.asf(nf.RESET, sequence=2, tag=gap)
        await pair.wire(station.protect(command), Counter.DELIVERED)
        assert await pair.pulses() == ["reset"]
    await pair.finish()


@cocotb.test()
async def commands_in_a_flood(dut: Any) -> None:
    """A command that is sent until it is acknowledged gets through a flood, and acts once."""
    pair = NicPair(dut)
    names = ("forged", "replay", "mixed")
    for number, name in enumerate(names):
        station = await pair.proven()
        pair.wire_rx.idle = pair.wire_rx.gaps(BETWEEN_FRAMES)
        flood = Flood(pair, station)
        await pair.wire(flood.replayed, Counter.DELIVERED)
        station.heard += 1
        kind = getattr(flood, name)
        command = nf.asf(nf.RESET, sequence=number, tag=7)
        sendings, sent = 40, 0
        for _ in range(sendings):
            frames = [kind() for _ in range(pair.rng.randint(8, 16))]
            frames.append(station.protect(command))
            sent += len(frames)
            for frame in frames:
                pair.wire_rx.send(frame)
        before = await pair.registers.ended()
        await pair.wire_rx.drained()
        await pair.bench.cycles(4000)
        counters = await pair.registers.counters()
        assert await pair.registers.ended() == before + sent
        # Two answers came before the flood.
        delivered = counters[Counter.DELIVERED] - 2
        dut._log.info(
            "RESULT command in a flood of %s frames: %d of %d taken", name, delivered, sendings
        )
        assert delivered >= sendings // 8
        edges = [edge.name for edge in pair.pins.edges if edge.level]
        assert edges == ["pin_reset"], f"{delivered} commands taken, pins moved: {edges}"
        answers = [station.open(frame.data) for frame in pair.wire_tx.take_all()]
        assert answers == [nf.ack(number)] * delivered
    await pair.start()
    await pair.finish()


@cocotb.test()
async def flood_of_requests(dut: Any) -> None:
    """Who asks for the host's MAC address at line rate does not keep the NIC from other answers."""
    pair = NicPair(dut)
    station = await pair.proven()
    requests = {"ARP requests": nf.arp_request(), "solicitations": nf.solicitation()}
    for (name, asks), gap in product(requests.items(), (BETWEEN_FRAMES, 0)):
        pair.wire_rx.idle = pair.wire_rx.gaps(gap)
        pair.wire_tx.backpressure = sent_by_mac(pair.wire_tx)
        before = await pair.registers.read("COUNTERS", Counter.DELIVERED)
        ours = 20
        for _ in range(ours):
            for frame in [asks] * 12 + [station.protect(nf.oem(nf.SA_STATUS, tag=3))]:
                pair.wire_rx.send(frame)
        await pair.wire_rx.drained()
        answered = await pair.registers.read("COUNTERS", Counter.DELIVERED) - before
        frames = [frame.data for frame in pair.wire_tx.take_all()]
        protected = [frame for frame in frames if frame[12:14] == b"\x08\x00"]
        dut._log.info(
            "RESULT flood of %s, %d cycles apart: %d answers, %d of %d to others",
            *(name, gap, answered, len(protected), ours),
        )
        for frame in protected:
            assert station.open(frame)[8] == 0x41
        assert len(protected) >= ours - 4
        await pair.bench.cycles(4000)
        for frame in pair.wire_tx.take_all():
            if frame.data[12:14] == b"\x08\x00":
                station.open(frame.data)
    await pair.start()
    await pair.finish()


@cocotb.test()
async def host_that_takes_nothing(dut: Any) -> None:
    """What has no room towards the host is counted; what had room comes whole; the NIC goes on."""
    pair = NicPair(dut)
    station = await pair.proven()
    for octets in (60, 333, 1514):
        await pair.check()
        pair.host_tx.backpressure = repeat(True)
        await pair.bench.cycles(4)
        before = await pair.registers.counters()
        frames = [
            nf.ethernet(0x86DD, pair.rng.randbytes(octets - 14))
            for _ in range(2 * HOST_BUFFER // octets)
        ]
        for frame in frames:
            pair.wire_rx.send(frame)
        await pair.wire_rx.drained()
        await pair.bench.cycles(50)
        after = await pair.registers.counters()
        passed = after[Counter.PASSED] - before[Counter.PASSED]
        full = after[Counter.DROP_HOST_FULL] - before[Counter.DROP_HOST_FULL]
        assert passed + full == len(frames)
        assert full > 0
        assert passed >= (HOST_BUFFER - 4) // octets
        # The model has no such buffer; from here on both know the same again.
        for counter in (Counter.FRAMES_IN, Counter.PASSED, Counter.DROP_HOST_FULL):
            pair.model.counters[counter] += after[counter] - before[counter]
        await pair.works(station)  # the host stands still, its NIC does not
        pair.host_tx.backpressure = none()
        await pair.bench.cycles(2 * HOST_BUFFER)
        taken = pair.host_tx.take_all()
        good = [frame.data for frame in taken if not frame.err]
        assert good == [frame for frame in frames if frame in good]
        assert len(good) == passed
        await pair.flow([(frame, False) for frame in frames[:5]])
    await pair.finish()


@cocotb.test()
async def wire_that_takes_nothing(dut: Any) -> None:
    """Answers wait for the wire; questions beyond that are counted; the host goes on receiving."""
    pair = NicPair(dut)
    station = await pair.proven()
    for _ in range(2):
        pair.wire_tx.backpressure = repeat(True)
        await pair.bench.cycles(4)
        before = await pair.registers.counters()
        questions = 80
        for _ in range(questions):
            pair.wire_rx.send(station.protect(nf.oem(nf.SA_STATUS)))
            passing = nf.ethernet(0x86DD, pair.rng.randbytes(200))
            pair.model.wire_receive(passing)
            pair.to_host.append(passing)
            pair.wire_rx.send(passing)
        await pair.wire_rx.drained()
        await pair.bench.cycles(1000)
        pair.compare_host(pair.host_tx.take_all())
        pair.wire_tx.backpressure = none()
        await pair.bench.cycles(20_000)
        after = await pair.registers.counters()
        moved = {counter: after[counter] - before[counter] for counter in Counter}
        delivered, lost = moved[Counter.DELIVERED], moved[Counter.DROP_OVERLOAD]
        assert moved[Counter.PASSED] == questions
        assert delivered + lost == questions
        assert delivered > 0
        assert lost > 0
        answers = pair.wire_tx.take_all()
        assert len(answers) == delivered
        for answer in answers:
            assert station.open(answer.data)[8] == 0x41
        pair.wire_rx.send(station.protect(nf.oem(nf.SA_STATUS)))
        await pair.bench.cycles(1000)
        (answer,) = pair.wire_tx.take_all()
        assert station.open(answer.data)[8] == 0x41
    await pair.start()
    await pair.finish()
