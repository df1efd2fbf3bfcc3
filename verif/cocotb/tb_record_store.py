"""Bench of the record store, with a flash at its pins that loses power whenever it hurts."""

import zlib
from typing import Any

import cocotb

from hw.store.record_store import StoreOp
from spec.store import BODY_WORDS, CONFIG_PAIR, LOG_ENTRIES, NUMBER_WORDS, PAIRS
from verif.cocotb.drivers import Bench, Driver, bench_parameters
from verif.cocotb.nor_flash import JEDEC_ID, NorFlash

TICK_CYCLES = 40
LIMIT = 400_000

# The layout once more, in literal figures: the oracle of what lies in the flash.
SECTOR = 0x1000


def record_octets(pair: int, generation: int, body: list[int]) -> bytes:
    """A record as it must lie in the flash."""
    text = b"HFR" + bytes([pair]) + generation.to_bytes(4, "big")
    text += b"".join(word.to_bytes(4, "big") for word in body)
    return text + zlib.crc32(text).to_bytes(4, "big")


def entry_octets(generation: int, numbers: list[int]) -> bytes:
    """An entry likewise."""
    text = generation.to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in numbers)
    return text + zlib.crc32(text).to_bytes(4, "big")


class Body(Driver):
    """Gives the words that are asked for, takes those that are loaded, and ticks."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.words = [0] * BODY_WORDS
        self.loaded: dict[int, int] = {}
        self.refused = self.failed = 0
        self._asked = 0

    def drive(self) -> None:
        dut = self.bench.dut
        dut.word.value = self.words[self._asked]
        dut.tick_ms.value = self.bench.cycle % TICK_CYCLES == 0

    def sample(self) -> None:
        dut = self.bench.dut
        self._asked = int(dut.word_index.value) % BODY_WORDS
        if dut.load_stb.value == 1:
            self.loaded[int(dut.load_index.value)] = int(dut.load_data.value)
        self.refused += int(dut.refused_stb.value)
        self.failed += int(dut.failed_stb.value)

    def clear(self) -> None:
        self.loaded.clear()


class Unit:
    """The store, its flash, and operations."""

    def __init__(self, dut) -> None:
        self.bench = Bench(dut)
        self.rng = self.bench.rng
        self.dut = dut
        self.base = bench_parameters()["base"]
        self.flash = NorFlash(self.bench)
        self.body = Body(self.bench)
        dut.start.value = 0
        dut.spoil.value = 0

    def begin(self, op: Any, pair: int) -> None:
        """Sets an operation up; `start` must rise for a cycle then."""
        self.dut.op.value = op.value
        self.dut.pair.value = pair
        self.dut.start.value = 1
        self.body.loaded.clear()

    async def does(self, op: Any, pair: int = 0) -> bool:
        """Carries an operation out; whether it came out right."""
        self.begin(op, pair)
        await self.bench.cycles()
        self.dut.start.value = 0
        await self.bench.until(self.dut.done, limit=LIMIT)
        good = bool(int(self.dut.good.value))
        await self.bench.cycles(2)
        return good

    async def power_cut(self) -> None:
        self.dut.start.value = 0
        await self.bench.reset()

    def slot(self, pair: int, slot: int) -> int:
        return self.base + (2 * pair + slot) * SECTOR

    def octets(self, pair: int, slot: int, offset: int, count: int) -> bytes:
        at = self.slot(pair, slot) + offset
        return bytes(self.flash.cells[at : at + count])

    def put(self, pair: int, slot: int, offset: int, octets: bytes) -> None:
        at = self.slot(pair, slot) + offset
        self.flash.cells[at : at + len(octets)] = octets

    def random_words(self) -> list[int]:
        return [self.rng.getrandbits(32) for _ in range(BODY_WORDS)]

    def found(self) -> list[int]:
        """The body that FIND gave, whole."""
        assert sorted(self.body.loaded) == list(range(BODY_WORDS))
        return [self.body.loaded[n] for n in range(BODY_WORDS)]


def with_numbers(body: list[int], numbers: list[int]) -> list[int]:
    """The body with an entry's numbers in it."""
    new = list(body)
    for index, number in zip((7, 8, 9, 10, 32, 33, 34, 35), numbers, strict=True):
        new[index] = number
    return new


async def start(dut) -> Unit:
    unit = Unit(dut)
    await unit.bench.reset()
    return unit


@cocotb.test()
async def saves_and_finds(dut):
    """What is written lies in the flash as the layout says, and is found after power-on."""
    unit = await start(dut)
    assert tuple(NUMBER_WORDS) == (7, 8, 9, 10, 32, 33, 34, 35)
    blank = bytes(unit.flash.cells)
    for pair in range(PAIRS):
        assert not await unit.does(StoreOp.FIND, pair)
    assert unit.body.refused == 0
    assert bytes(unit.flash.cells) == blank
    bodies: dict[int, list[int]] = {}
    erases = 0
    for pair in range(PAIRS):
        for generation in (1, 2, 3):
            bodies[pair] = unit.body.words = unit.random_words()
            assert await unit.does(StoreOp.SAVE, pair)
            assert int(dut.has.value) >> pair & 1
            slot = generation % 2
            assert unit.octets(pair, slot, 0, 300) == record_octets(
                pair, generation, bodies[pair]
            ), f"pair {pair}, generation {generation}"
            if generation != 2:
                assert await unit.does(StoreOp.CLEAN, pair)
                assert unit.octets(pair, 1 - slot, 0, SECTOR) == b"\xff" * SECTOR
                erases = len(unit.flash.erases)
        # After CLEAN a slot is written without an erase first.
        assert len(unit.flash.erases) == erases
    outside = bytearray(unit.flash.cells)
    del outside[unit.base : unit.base + 10 * SECTOR]
    assert outside == b"\xff" * len(outside)
    await unit.power_cut()
    for pair in range(PAIRS):
        assert await unit.does(StoreOp.FIND, pair)
        assert unit.found() == bodies[pair]
    assert unit.body.refused == unit.body.failed == 0
    assert await unit.does(StoreOp.IDENTIFY)
    assert int(dut.identity.value) == int.from_bytes(JEDEC_ID, "big")
    await unit.bench.finish()


@cocotb.test()
async def entries_follow_their_record(dut):
    """Entries stand in place of the record's numbers until the log is full; a SAVE begins anew."""
    unit = await start(dut)
    await unit.does(StoreOp.FIND, 1)
    assert not await unit.does(StoreOp.APPEND, 1), "an entry without a record"
    unit.body.words = body = unit.random_words()
    assert await unit.does(StoreOp.SAVE, 1)
    for number in range(LOG_ENTRIES):
        unit.body.words = unit.random_words()
        assert await unit.does(StoreOp.APPEND, 1), number
        numbers = [unit.body.words[n] for n in NUMBER_WORDS]
        assert unit.octets(1, 1, 512 + 64 * number, 40) == entry_octets(1, numbers)
        if number in (0, 3, LOG_ENTRIES - 1):
            await unit.power_cut()
            assert await unit.does(StoreOp.FIND, 1)
            assert unit.found() == with_numbers(body, numbers)
    programs = len(unit.flash.programs)
    assert not await unit.does(StoreOp.APPEND, 1), "an entry in a full log"
    assert len(unit.flash.programs) == programs
    unit.body.words = body = unit.random_words()
    assert await unit.does(StoreOp.SAVE, 1)
    assert await unit.does(StoreOp.APPEND, 1)
    await unit.power_cut()
    assert await unit.does(StoreOp.FIND, 1)
    assert unit.found() == body
    assert unit.body.refused == unit.body.failed == 0
    await unit.bench.finish()


@cocotb.test()
async def power_cut_leaves_the_old_or_the_new(dut):
    """Power lost at any cycle of SAVE, APPEND or CLEAN: one of both is found, never neither."""
    unit = await start(dut)
    rng, pair = unit.rng, 2
    await unit.does(StoreOp.FIND, pair)
    unit.body.words = body = unit.random_words()
    assert await unit.does(StoreOp.SAVE, pair)
    kept = body  # what the flash holds, as far as the master knows
    outcomes = {"old": 0, "new": 0}
    longest = {StoreOp.SAVE: 24_000, StoreOp.APPEND: 3_500, StoreOp.CLEAN: 1_000}
    for _ in range(bench_parameters()["cuts"]):
        op = rng.choice((StoreOp.SAVE, StoreOp.SAVE, StoreOp.APPEND, StoreOp.CLEAN))
        unit.body.words = unit.random_words()
        new = kept
        if op is StoreOp.SAVE:
            new = unit.body.words
        if op is StoreOp.APPEND:
            new = with_numbers(kept, [unit.body.words[n] for n in NUMBER_WORDS])
        unit.begin(op, pair)
        await unit.bench.cycles()
        dut.start.value = 0
        # Most of the time of an operation nothing can be torn, so moments at work are preferred.
        for _cycle in range(rng.randrange(longest[op])):
            await unit.bench.settled()
            if int(dut.done.value):
                assert int(dut.good.value) or op is StoreOp.APPEND
                kept = new if int(dut.good.value) else kept
                break
            if unit.flash.at_work and rng.randrange(400) == 0:
                break
        await unit.power_cut()
        assert await unit.does(StoreOp.FIND, pair), f"neither record is there after {op}"
        found = unit.found()
        assert found in (kept, new), f"{op} left something else"
        outcomes["new" if found == new else "old"] += 1
        kept = found
        if rng.randrange(3) == 0:
            assert await unit.does(StoreOp.CLEAN, pair)
    assert min(outcomes.values()) > 0, outcomes
    dut._log.info("outcomes %s, refused %d", outcomes, unit.body.refused)
    await unit.bench.finish()


@cocotb.test()
async def wrong_check_value_is_refused_and_counted(dut):
    """A flipped bit anywhere in a record or entry: not believed, and counted."""
    unit = await start(dut)
    rng, pair = unit.rng, 3
    old, new = unit.random_words(), unit.random_words()
    for _ in range(6):
        newer = rng.randrange(2)
        numbers = [[rng.getrandbits(32) for _ in range(8)] for _ in range(3)]

        def lay(newer=newer, numbers=numbers):
            for slot in range(2):
                unit.put(pair, slot, 0, b"\xff" * SECTOR)
            unit.put(pair, 1 - newer, 0, record_octets(pair, 0x00FF_FFFF, old))
            unit.put(pair, newer, 0, record_octets(pair, 0x0100_0000, new))
            for place, entry in enumerate(numbers):
                unit.put(pair, newer, 512 + 64 * place, entry_octets(0x0100_0000, entry))

        async def find():
            unit.body.refused = 0
            await unit.power_cut()
            return await unit.does(StoreOp.FIND, pair)

        def flip(slot, first, octets):
            at = unit.slot(pair, slot) + first + rng.randrange(octets)
            unit.flash.cells[at] ^= 1 << rng.randrange(8)

        lay()
        assert await find()
        assert (unit.found(), unit.body.refused) == (with_numbers(new, numbers[2]), 0)
        flip(newer, 512 + 128, 40)
        assert await find()
        assert (unit.found(), unit.body.refused) == (with_numbers(new, numbers[1]), 1)
        # A wrong entry among right ones is passed over.
        lay()
        flip(newer, 512 + 64, 40)
        assert await find()
        assert (unit.found(), unit.body.refused) == (with_numbers(new, numbers[2]), 1)
        lay()
        flip(newer, 0, 300)
        assert await find()
        assert (unit.found(), unit.body.refused) == (old, 1)
        flip(1 - newer, 0, 300)
        assert not await find()
        assert unit.body.refused == 2
        assert int(dut.has.value) >> pair & 1 == 0
        # A record of another pair, or an entry of another record, is none of ours.
        lay()
        unit.put(pair, newer, 0, record_octets(CONFIG_PAIR, 0x0100_0000, new))
        unit.put(pair, 1 - newer, 512, entry_octets(0x0100_0000, numbers[0]))
        assert await find()
        assert (unit.found(), unit.body.refused) == (old, 2)
    await unit.bench.finish()


@cocotb.test()
async def a_failing_flash_is_told(dut):
    """Cells that do not take, or a flash that stays busy: no good end, and the old record stays."""
    unit = await start(dut)
    await unit.does(StoreOp.FIND, 0)
    unit.body.words = body = unit.random_words()
    assert await unit.does(StoreOp.SAVE, 0)
    where = unit.slot(0, 0) + unit.rng.randrange(4, 300)
    unit.flash.stuck[where] = 0xFF
    unit.body.words = [word & 0xFEFE_FEFE for word in unit.random_words()]
    assert not await unit.does(StoreOp.SAVE, 0)
    assert unit.body.failed == 1
    await unit.power_cut()
    assert await unit.does(StoreOp.FIND, 0)
    assert unit.found() == body
    assert unit.body.refused == 1
    # An entry that did not take has used its place up; the next one has another.
    unit.flash.stuck = {unit.slot(0, 1) + 512 + n: 0xFF for n in range(4, 40)}
    assert not await unit.does(StoreOp.APPEND, 0)
    assert await unit.does(StoreOp.APPEND, 0)
    assert unit.body.failed == 2
    # The slot that failed is emptied before it is written again.
    unit.flash.stuck.clear()
    assert await unit.does(StoreOp.SAVE, 0)
    assert await unit.does(StoreOp.CLEAN, 0)
    for op in (StoreOp.SAVE, StoreOp.APPEND, StoreOp.CLEAN, StoreOp.VOID, StoreOp.FIND):
        unit.flash.dead = True
        failed = unit.body.failed
        assert not await unit.does(op, 0), op
        assert unit.body.failed > failed
        unit.flash.dead = False
    assert await unit.does(StoreOp.FIND, 0)
    await unit.bench.finish()


@cocotb.test()
async def a_void_record_is_gone_at_once(dut):
    """VOID takes two short programs, and nothing is found afterwards, cleaned or not."""
    unit = await start(dut)
    rng = unit.rng
    for cleans in (False, True):
        for pair in (0, CONFIG_PAIR):
            await unit.does(StoreOp.FIND, pair)
            for _ in range(2):
                unit.body.words = unit.random_words()
                assert await unit.does(StoreOp.SAVE, pair)
            erases, programs = len(unit.flash.erases), len(unit.flash.programs)
            before = unit.bench.cycle
            assert await unit.does(StoreOp.VOID, pair)
            assert unit.bench.cycle - before < 4_000
            assert len(unit.flash.erases) == erases
            assert len(unit.flash.programs) == programs + 2
            assert not int(dut.has.value) >> pair & 1
            if cleans:
                assert await unit.does(StoreOp.CLEAN, pair)
                assert unit.octets(pair, 0, 0, 2 * SECTOR) == b"\xff" * 2 * SECTOR
            elif rng.randrange(2):
                await unit.power_cut()
            assert not await unit.does(StoreOp.FIND, pair)
            unit.body.words = unit.random_words()
            assert await unit.does(StoreOp.SAVE, pair)
    await unit.bench.finish()


@cocotb.test()
async def what_is_spoilt_counts_for_nothing(dut):
    """Words that change while they are written: the record has a wrong check value."""
    unit = await start(dut)
    await unit.does(StoreOp.FIND, 1)
    unit.body.words = body = unit.random_words()
    assert await unit.does(StoreOp.SAVE, 1)
    for op, cycles in ((StoreOp.SAVE, 8_000), (StoreOp.SAVE, 100), (StoreOp.APPEND, 600)):
        unit.body.words = unit.random_words()
        unit.begin(op, 1)
        await unit.bench.cycles()
        dut.start.value = 0
        await unit.bench.cycles(cycles)
        dut.spoil.value = 1
        await unit.bench.cycles()
        dut.spoil.value = 0
        await unit.bench.until(dut.done, limit=LIMIT)
        assert not int(dut.good.value), op
        await unit.power_cut()
        assert await unit.does(StoreOp.FIND, 1)
        assert unit.found() == body
    await unit.bench.finish()
