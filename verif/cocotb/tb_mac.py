"""Bench of the MAC halves, octet by octet as they meet the PHY. Oracles: `zlib.crc32` and scapy."""

import zlib
from dataclasses import dataclass
from itertools import pairwise

import cocotb
from cocotb.triggers import with_timeout
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from verif.cocotb.drivers import (
    Bench,
    Driver,
    PacketSink,
    PacketSource,
    StreamSource,
    alternating,
    pattern,
    random_pattern,
)

EN, ER = 1 << 8, 1 << 9
PREAMBLE = b"\x55" * 7 + b"\xd5"


def with_fcs(frame: bytes) -> bytes:
    """Pads a frame and puts the FCS behind it."""
    frame = frame.ljust(60, b"\0")
    return frame + zlib.crc32(frame).to_bytes(4, "little")


def scapy_frames() -> list[bytes]:
    """Frames as a LAN has them, short ones not padded."""
    ether = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    packets = [
        ether / ARP(pdst="192.0.2.1"),
        ether / IP(dst="192.0.2.1") / ICMP() / Raw(b"ping"),
        ether / IP(dst="192.0.2.1") / UDP(dport=664) / Raw(bytes(range(200))),
        ether / IP(dst="192.0.2.1") / UDP(dport=9) / Raw(b"\x55\xd5" * 600),
    ]
    return [bytes(packet) for packet in packets]


class GmiiSource(StreamSource):
    """Sends what a PHY received into `MacRx`, as `RxCrossing` hands it over."""

    def receive_burst(self, octets: bytes, *, er_at: int | None = None, ends: bool = True) -> None:
        """Queues the octets, preamble included, and the end of the burst."""
        for n, octet in enumerate(octets):
            self.put(octet | EN | (ER if n == er_at else 0))
        if ends:
            self.put(0)


@dataclass(frozen=True, slots=True)
class Burst:
    """What left for the PHY between two idle octet times."""

    octets: bytes
    er: bool
    first_cycle: int
    last_cycle: int


class GmiiMonitor(Driver):
    """Collects what `MacTx` sends."""

    def __init__(self, bench: Bench, name: str = "o") -> None:
        super().__init__(bench)
        self._port = getattr(bench.dut, name)
        self.bursts: list[Burst] = []
        self._octets = bytearray()
        self._er = False

    def sample(self) -> None:
        value = int(self._port.value)
        if value & EN:
            self._octets.append(value & 0xFF)
            self._er |= bool(value & ER)
            return
        assert value == 0, f"the idle octet time is {value:#x}"
        if self._octets:
            end = self.bench.cycle - 1
            start = end - len(self._octets) + 1
            self.bursts.append(Burst(bytes(self._octets), self._er, start, end))
            self.clear()

    def clear(self) -> None:
        self._octets.clear()
        self._er = False

    async def wait(self, count: int, limit: int = 20_000) -> list[Burst]:
        """Waits for `count` bursts and takes them."""
        for _ in range(limit):
            if len(self.bursts) >= count:
                taken, self.bursts = self.bursts[:count], self.bursts[count:]
                return taken
            await self.bench.settled()
        raise TimeoutError(f"{len(self.bursts)} bursts of {count}")

    def leftovers(self) -> str:
        return f"{len(self.bursts)} bursts not looked at" if self.bursts else ""


def rx_bench(dut, idle="none", backpressure="none"):
    bench = Bench(dut)
    source = GmiiSource(bench, "i", idle=pattern(idle, bench.rng))
    sink = PacketSink(bench, "o", backpressure=pattern(backpressure, bench.rng))
    return bench, source, sink


async def expect_good(source: GmiiSource, sink: PacketSink) -> None:
    """A good frame gets through, whatever came before."""
    octets = source.bench.rng.randbytes(70)
    source.receive_burst(PREAMBLE + with_fcs(octets))
    frame = await with_timeout(sink.receive(), 20, "us")
    assert (frame.data, frame.err) == (octets, False)


@cocotb.test()
@cocotb.parametrize(
    idle=["none", "random", "bursts"], backpressure=["none", "alternating", "random", "bursts"]
)
async def rx_passes_good_frames(dut, idle, backpressure):
    """Each frame comes out whole, without preamble and FCS, one octet a cycle if nothing waits."""
    bench, source, sink = rx_bench(dut, idle, backpressure)
    await bench.reset()
    sent = [frame.ljust(60, b"\0") for frame in scapy_frames()]
    sent += [bench.rng.randbytes(n) for n in (60, 61, 64, 65, 127, 1514)]
    for frame in sent:
        source.receive_burst(PREAMBLE + with_fcs(frame))
    for octets in sent:
        came = await with_timeout(sink.receive(), 200, "us")
        assert (came.data, came.err) == (octets, False)
        if idle == backpressure == "none":
            assert came.last_cycle - came.first_cycle == len(octets) - 1
    await bench.finish()


@cocotb.test()
async def rx_rejects_every_wrong_octet(dut):
    """One bit wrong in any octet of frame or FCS: `err`; the frame after it is good."""
    bench, source, sink = rx_bench(dut)
    await bench.reset()
    good = with_fcs(bench.rng.randbytes(60))
    for at in range(len(good)):
        wrong = bytearray(good)
        wrong[at] ^= 1 << bench.rng.randrange(8)
        source.receive_burst(PREAMBLE + wrong)
        frame = await with_timeout(sink.receive(), 20, "us")
        assert (frame.data, frame.err) == (bytes(wrong[:-4]), True), at
    await expect_good(source, sink)
    await bench.finish()


@cocotb.test()
async def rx_rejects_runts(dut):
    """Every length below 64 octets, though with a right FCS."""
    bench, source, sink = rx_bench(dut)
    await bench.reset()
    for length in range(64):
        octets = bench.rng.randbytes(max(0, length - 4))
        runt = (octets + zlib.crc32(octets).to_bytes(4, "little"))[:length]
        source.receive_burst(PREAMBLE + runt)
        await expect_after(source, sink, runt[:-4])
    await bench.finish()


async def expect_after(source, sink, runt):
    """`runt` comes out as a bad frame, or nothing if it is empty; the next frame is good."""
    if runt:
        frame = await with_timeout(sink.receive(), 20, "us")
        assert (frame.data, frame.err) == (runt, True)
    await expect_good(source, sink)


@cocotb.test()
async def rx_rejects_errors_of_the_phy(dut):
    """RX_ER in any octet of a frame spoils it; in the preamble there is no frame at all."""
    bench, source, sink = rx_bench(dut)
    await bench.reset()
    burst = PREAMBLE + with_fcs(bench.rng.randbytes(60))
    for at in range(len(burst)):
        source.receive_burst(burst, er_at=at)
        await expect_after(source, sink, burst[8:-4] if at >= 8 else b"")
    await bench.finish()


@cocotb.test()
async def rx_finds_the_delimiter(dut):
    """Any length of preamble will do, none too; anything else before the delimiter will not."""
    bench, source, sink = rx_bench(dut)
    await bench.reset()
    octets = bench.rng.randbytes(60)
    for length in range(12):
        source.receive_burst(b"\x55" * length + b"\xd5" + with_fcs(octets))
        frame = await with_timeout(sink.receive(), 20, "us")
        assert (frame.data, frame.err) == (octets, False), length
    for start in (b"", b"\x55" * 7, b"\x5d", b"\x55\x55\x54\xd5", b"\x00\x55\xd5"):
        source.receive_burst(start + b"\x00" + with_fcs(octets))
        source.receive_burst(start)
    await expect_good(source, sink)
    await bench.finish()


@cocotb.test()
async def rx_ends_a_frame_that_stops(dut):
    """A receive clock that stops leaves no frame open, and what comes of it later is none."""
    bench, source, sink = rx_bench(dut)
    await bench.reset()
    good = with_fcs(bench.rng.randbytes(100))
    source.receive_burst(PREAMBLE + good[:50], ends=False)
    frame = await with_timeout(sink.receive(), 20, "us")
    assert (frame.data, frame.err) == (good[:46], True)
    source.receive_burst(PREAMBLE + good)
    await expect_good(source, sink)
    await bench.finish()


@cocotb.test()
async def rx_survives_a_reset(dut):
    """After a reset in the middle of a frame the next frame gets through."""
    bench, source, sink = rx_bench(dut)
    await bench.reset()
    good = with_fcs(bytes(100))
    for at in (4, 12, 30):
        source.receive_burst(PREAMBLE + good, ends=False)
        await bench.cycles(at)
        await bench.reset()
        source.receive_burst(good[:5])
        await expect_good(source, sink)
    await bench.finish()


def tx_bench(dut, idle="none"):
    bench = Bench(dut)
    source = PacketSource(bench, "i", idle=pattern(idle, bench.rng))
    return bench, source, GmiiMonitor(bench)


@cocotb.test()
async def tx_sends_frames_back_to_back(dut):
    """Preamble, padding, FCS, and a gap of exactly 12 octet times."""
    bench, source, monitor = tx_bench(dut)
    await bench.reset()
    sent = [*scapy_frames(), *(bench.rng.randbytes(n) for n in [*range(1, 66), 1514, 60, 3])]
    for octets in sent:
        source.send(octets)
    bursts = await monitor.wait(len(sent))
    for octets, burst in zip(sent, bursts, strict=True):
        assert (burst.octets, burst.er) == (PREAMBLE + with_fcs(octets), False)
    for before, after in pairwise(bursts):
        assert after.first_cycle - before.last_cycle - 1 == 12
    await bench.finish()


@cocotb.test()
async def tx_keeps_the_gap(dut):
    """Whenever the next frame comes, there are at least 12 octet times between frames."""
    bench, source, monitor = tx_bench(dut)
    await bench.reset()
    for wait in range(100):
        source.send(bytes(40))
        await source.drained()
        await bench.cycles(wait + 1)
    bursts = await monitor.wait(100)
    gaps = [b.first_cycle - a.last_cycle - 1 for a, b in pairwise(bursts)]
    assert min(gaps) == 12
    assert max(gaps) > 12
    await bench.finish()


@cocotb.test()
async def tx_bears_late_beats(dut):
    """Eight beats may be late in a frame, anywhere."""
    bench, source, monitor = tx_bench(dut)
    await bench.reset()
    for _ in range(40):
        late = sorted(bench.rng.choices(range(1, 100), k=8))
        source.idle = pause_pattern(100, late)
        octets = bench.rng.randbytes(100)
        source.send(octets)
        [burst] = await monitor.wait(1)
        assert (burst.octets, burst.er) == (PREAMBLE + with_fcs(octets), False)
    await bench.finish()


def pause_pattern(count, late):
    """`count` beats, one pause before each number in `late`, and no pause after them."""
    for n in range(count):
        yield from [True] * late.count(n)
        yield False
    while True:
        yield False


@cocotb.test()
async def tx_spoils_a_frame_that_is_late(dut):
    """A frame that runs dry goes out with TX_ER and a wrong FCS, and its rest does not go out."""
    bench, source, monitor = tx_bench(dut)
    await bench.reset()
    for at in (1, 2, 30, 59, 60, 61, 99):
        source.idle = pause_pattern(100, [at] * 40)
        source.send(bench.rng.randbytes(100))
        [burst] = await monitor.wait(1)
        body = burst.octets[8:]
        assert burst.er
        assert body[-4:] != zlib.crc32(body[:-4]).to_bytes(4, "little")
        octets = bench.rng.randbytes(80)
        source.send(octets)
        [burst] = await monitor.wait(1)
        assert (burst.octets, burst.er) == (PREAMBLE + with_fcs(octets), False)
    await bench.finish()


@cocotb.test()
async def tx_spoils_a_frame_with_err(dut):
    """A frame that ends with `err` leaves whole, with a wrong FCS."""
    bench, source, monitor = tx_bench(dut)
    await bench.reset()
    for length in (1, 20, 59, 60, 61, 200):
        octets = bench.rng.randbytes(length)
        source.send(octets, err=True)
        source.send(octets)
        bad, good = await monitor.wait(2)
        right = PREAMBLE + with_fcs(octets)
        assert good.octets == right
        assert bad.octets[:-4] == right[:-4]
        assert bytes(octet ^ 0xFF for octet in bad.octets[-4:]) == right[-4:]
    await bench.finish()


@cocotb.test()
async def tx_starts_at_once(dut):
    """Cycles from the first beat of a frame to the first octet of its preamble."""
    bench, source, monitor = tx_bench(dut)
    await bench.reset()
    await bench.cycles(30)
    source.send(bytes(60))
    start = bench.cycle + 1  # the source drives it at the next edge
    [burst] = await monitor.wait(1)
    assert burst.first_cycle - start == 4
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(pause=["none", "rare", "alternating"])
async def loop_returns_frames(dut, pause):
    """Sent by one half and received by the other: the frame comes back, padded; a bad one bad."""
    bench = Bench(dut)
    pauses = {"rare": lambda: random_pattern(bench.rng, 0.01), "alternating": alternating}
    source = PacketSource(bench, "i")
    sink = PacketSink(bench, "o", backpressure=pauses[pause]() if pause in pauses else None)
    await bench.reset()
    sent = [(bench.rng.randbytes(bench.rng.randint(1, 300)), n % 4 == 3) for n in range(30)]
    for octets, err in sent:
        source.send(octets, err=err)
    for octets, err in sent:
        frame = await with_timeout(sink.receive(), 100, "us")
        assert (frame.data, frame.err) == (octets.ljust(60, b"\0"), err)
    await bench.finish()
