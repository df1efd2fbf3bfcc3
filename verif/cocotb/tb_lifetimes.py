"""Bench of the lifetimes of SAs: exact counts at the highest rate, limits, and what is emptied."""

from collections import Counter
from typing import Any

import cocotb

from hw.ipsec.layouts import LifetimeSelect, LimitWrite
from spec.sa import ALL_BANKS
from verif.cocotb.drivers import Bench, Driver

RECEIVED_CYCLES = 24
SENT_CYCLES = 100
"""From one packet to the next, at least."""
SETTLED = 60
PACKETS = 3000
LIMITS = (("soft", 0), ("hard", 4))
"""And where the words of each begin: packets, then octets, the upper word first."""
INPUTS = (
    *("received_stb", "received_bank", "received_octets", "sent_stb", "sent_bank", "sent_octets"),
    *("write", "wipe", "select_stb", "select"),
)


class Told(Driver):
    """The events, and each strobe of a lost word."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.events: list[tuple[str, int]] = []
        self.lost = 0

    def sample(self) -> None:
        dut = self.bench.dut
        for name, _ in LIMITS:
            if getattr(dut, f"{name}_stb").value:
                self.events.append((name, int(dut.told_bank.value)))
        self.lost += int(dut.lost.value)


class Port:
    """The ports, and what there must be: counts by bank and direction, limits by bank."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.dut = bench, bench.dut
        self.told = Told(bench)
        self.counts = {(b, way): [0, 0] for b in range(ALL_BANKS) for way in (0, 1)}
        self.limits = {(b, name): [0, 0] for b in range(ALL_BANKS) for name, _ in LIMITS}
        self.reached: set[tuple[str, int]] = set()
        self.events: list[tuple[str, int]] = []
        for name in INPUTS:
            getattr(self.dut, name).value = 0

    def count(self, bank: int, way: int, octets: int) -> None:
        self.counts[bank, way][0] += 1
        self.counts[bank, way][1] += octets
        for name, _ in LIMITS:
            pairs = zip(self.limits[bank, name], self.counts[bank, way], strict=True)
            if any(limit and count >= limit for limit, count in pairs):
                if (name, bank) not in self.reached:
                    self.events.append((name, bank))
                self.reached.add((name, bank))

    def empty(self, bank: int) -> None:
        for way in (0, 1):
            self.counts[bank, way] = [0, 0]
        for name, _ in LIMITS:
            self.limits[bank, name] = [0, 0]
            self.reached.discard((name, bank))

    def give(self, way: str, bank: int, octets: int) -> None:
        """A packet in the next cycle; `quiet` takes the strobe back."""
        getattr(self.dut, f"{way}_stb").value = 1
        getattr(self.dut, f"{way}_bank").value = bank
        getattr(self.dut, f"{way}_octets").value = octets
        self.count(bank, int(way == "sent"), octets)

    async def packet(self, way: str, bank: int, octets: int) -> None:
        self.give(way, bank, octets)
        await self.bench.cycles()
        getattr(self.dut, f"{way}_stb").value = 0

    async def wipe(self, banks: int) -> None:
        self.dut.wipe.value = banks
        await self.bench.cycles()
        self.dut.wipe.value = 0
        for bank in range(ALL_BANKS):
            if banks >> bank & 1:
                self.empty(bank)

    async def idle(self) -> None:
        for _ in range(1000):
            await self.bench.cycles()
            await self.bench.settled()
            if not int(self.dut.wiping.value):
                await self.bench.cycles()
                return
        raise AssertionError("wiping for ever")

    async def word(self, bank: int, index: int, value: int) -> None:
        given = LimitWrite.const({"stb": 1, "bank": bank, "index": index, "data": value})
        self.dut.write.value = given.as_bits()
        await self.bench.cycles()
        self.dut.write.value = 0

    async def limit(self, bank: int, name: str, packets: int, octets: int) -> None:
        self.limits[bank, name] = [packets, octets]
        base = dict(LIMITS)[name]
        for n, number in enumerate((packets, octets)):
            await self.word(bank, base + 2 * n, number >> 32)
            await self.word(bank, base + 2 * n + 1, number & 0xFFFFFFFF)

    async def ask(self, bank: int, outbound: int, octets: int) -> int:
        given = LifetimeSelect.const({"bank": bank, "outbound": outbound, "octets": octets})
        self.dut.select.value = given.as_bits()
        self.dut.select_stb.value = 1
        await self.bench.cycles()
        self.dut.select_stb.value = 0
        for _ in range(400):
            await self.bench.settled()
            if not self.dut.asked.value:
                return int(self.dut.value.value)
            await self.bench.cycles()
        raise AssertionError("no answer")

    async def compare(self) -> None:
        """Counts, limits that are reached, and events."""
        await self.bench.cycles(SETTLED)
        for (bank, way), counts in self.counts.items():
            for octets in (0, 1):
                found = await self.ask(bank, way, octets)
                assert found == counts[octets], f"bank {bank}, {way}, {octets}: {found}"
        for name, _ in LIMITS:
            flags = int(getattr(self.dut, name).value)
            wanted = sum(1 << bank for kind, bank in self.reached if kind == name)
            assert flags == wanted, f"{name} {flags:#x}, not {wanted:#x}"
        assert Counter(self.told.events) == Counter(self.events)
        for bank in range(ALL_BANKS):
            mine, theirs = (
                [event for event in events if event[1] == bank]
                for events in (self.told.events, self.events)
            )
            assert mine == theirs


async def begin(dut: Any) -> tuple[Bench, Port]:
    bench = Bench(dut)
    port = Port(bench)
    await bench.reset()
    await port.idle()
    return bench, port


@cocotb.test()
async def every_packet_counts_at_the_highest_rate(dut: Any) -> None:
    """Received and sent ones as close as they come, while other banks are emptied, limits of one
    more are written, and the bus asks without a pause."""
    bench, port = await begin(dut)
    rng = bench.rng
    busy, emptied, staged = range(4), 4, 5
    for bank in busy:
        for n, (name, _) in enumerate(LIMITS):
            every = ((0, 0), (rng.randrange(1, 400), 0), (0, 150_000))
            packets, octets = every[(bank + n) % len(every)]
            await port.limit(bank, name, packets, octets)
    writes = 0
    since = {"received": 0, "sent": 0}
    gaps = {"received": RECEIVED_CYCLES, "sent": SENT_CYCLES}
    given = 0
    while given < PACKETS:
        for way, gap in gaps.items():
            getattr(dut, f"{way}_stb").value = 0
            since[way] += 1
            if since[way] >= gap and rng.random() < 0.7:
                port.give(way, rng.choice(busy), rng.choice((1, 64, 1500, 2047)))
                since[way] = 0
                given += 1
        dut.wipe.value = (rng.random() < 0.02) << emptied
        stb = rng.random() < 0.3
        writes += stb
        dut.write.value = LimitWrite.const(
            {"stb": stb, "bank": staged, "index": rng.randrange(8), "data": rng.getrandbits(32)}
        ).as_bits()
        dut.select_stb.value = rng.random() < 0.5
        dut.select.value = rng.getrandbits(LifetimeSelect.size)
        await bench.cycles()
    for name in ("received_stb", "sent_stb", "wipe", "write", "select_stb"):
        getattr(dut, name).value = 0
    await port.idle()
    await port.compare()
    assert 0 < port.told.lost < writes
    assert {name for name, _ in port.events} == {"soft", "hard"}
    cocotb.log.info("RESULT lifetimes: %d packets, %s", given, port.events)


@cocotb.test()
async def each_limit_is_reached_at_its_number(dut: Any) -> None:
    """Not one packet or octet sooner, in either direction, and told once; 0 is no limit."""
    bench, port = await begin(dut)
    for bank in range(ALL_BANKS):
        for way in ("received", "sent"):
            for name, _ in LIMITS:
                for measure in (0, 1):
                    await port.wipe(1 << bank)
                    await port.idle()
                    limits = [0, 0]
                    limits[measure] = (3, 300)[measure]
                    await port.limit(bank, name, *limits)
                    for octets in (100, 100, 99, 1, 7):
                        await port.packet(way, bank, octets)
                        await bench.cycles(SETTLED)
                        assert port.told.events == port.events
                    assert port.events.pop() == (name, bank)
                    assert not port.events
                    port.told.events.clear()
    await port.compare()


@cocotb.test()
async def numbers_of_64_bits(dut: Any) -> None:
    """A carry into the upper word, and limits that differ in one word alone."""
    _, port = await begin(dut)
    rows = dut.memory
    one = 1 << 32
    for start, limit, reached in (
        (one - 100, one, True),
        (one - 101, one, False),
        (5 * one - 60, 5 * one + 40, True),
        (5 * one - 60, 5 * one + 41, False),
        (5 * one - 60, 6 * one + 1, False),
        (5 * one - 60, 4 * one + one - 1, True),
        (5 * one + 7, 5, True),
    ):
        for measure in (0, 1):
            await port.wipe(1)
            await port.idle()
            number = start + (99 if measure == 0 else 0)
            place = measure << 1
            rows[place].value, rows[place | 1].value = number >> 32, number & 0xFFFFFFFF
            port.counts[0, 0][measure] = number
            limits = [0, 0]
            limits[measure] = limit
            await port.limit(0, "hard", *limits)
            await port.packet("received", 0, 100)
            await port.compare()
            assert bool(int(dut.hard.value) & 1) == reached, f"{start:#x} {limit:#x} {measure}"
            port.events.clear()
            port.told.events.clear()


@cocotb.test()
async def an_emptied_bank_keeps_nothing(dut: Any) -> None:
    """Whenever a packet of it is under way; and all banks at once are clear in 200 cycles."""
    bench, port = await begin(dut)
    for offset in range(40):
        await port.limit(2, "hard", 1, 0)
        await port.limit(2, "soft", 0, 1)
        await port.packet("received", 2, 9)
        await bench.cycles(offset)
        await port.wipe(1 << 2)
        await port.idle()
        port.events.clear()
        port.told.events.clear()
        await port.compare()
    for bank in range(ALL_BANKS):
        await port.limit(bank, "soft", 1, 1)
        await port.packet("sent", bank, 5)
        await bench.cycles(SETTLED)
    await port.wipe((1 << ALL_BANKS) - 1)
    await bench.cycles(200)
    await bench.settled()
    assert not int(dut.wiping.value)
    assert all(int(row.value) == 0 for row in dut.memory)
    await port.idle()
    await port.compare()
