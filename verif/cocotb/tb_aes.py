"""Bench of `hw.crypto.KeyedAes`: AES under stored keys, expansion, zeroisation."""

from itertools import pairwise, product

import cocotb
from cocotb.triggers import with_timeout
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from verif.cocotb.cavp import ecb_vectors
from verif.cocotb.drivers import PATTERNS, StreamSink, StreamSource, none, pattern
from verif.cocotb.key_port import EXPAND, KeyBench, pack

BLOCK_OCTETS = 16
LIMIT_US = 100
SLOT_WORDS = 16
STAGES = 3
CAVP_VECTORS = 709  # of each direction
EXPAND_CYCLES = {
    (128, False): 336,
    (256, False): 432,
    (128, True): 584,
    (256, True): 800,
}
LATENCY_CYCLES = {128: 35, 256: 47}
INTERVAL_CYCLES = 16


class AesBench(KeyBench):
    """A bench with drivers on all ports of `KeyedAes` but `h`."""

    def __init__(self, dut, idle="none", backpressure="none"):
        super().__init__(dut)
        self.request = StreamSource(self, "request", idle=pattern(idle, self.rng))
        self.result = StreamSink(self, "result", backpressure=pattern(backpressure, self.rng))
        dut.h__stb.value = 0

    def ask(self, slot, block, aes256, decrypt=False):
        """Queues a block."""
        sizes = [("block", 128), ("slot", self.slot_bits), ("aes256", 1), ("tag", 1)]
        fields = {"slot": slot, "aes256": aes256, "tag": 0, "decrypt": decrypt}
        value = int.from_bytes(block, "little")
        self.request.put(pack([*sizes, ("decrypt", 1)], block=value, **fields))

    async def answer(self):
        """Waits for the next block."""
        result = await with_timeout(self.result.receive(), LIMIT_US, "us")
        return (result & ((1 << 128) - 1)).to_bytes(BLOCK_OCTETS, "little")

    async def encrypt(self, slot, block, aes256):
        """Encrypts one block."""
        self.ask(slot, block, aes256)
        return await self.answer()

    async def decrypt(self, slot, block, aes256):
        """Decrypts one block."""
        self.ask(slot, block, aes256, decrypt=True)
        return await self.answer()

    async def both(self, slot, block):
        """What a slot makes of a block with ten and with fourteen rounds, words 0 to 14."""
        return [await self.encrypt(slot, block, aes256) for aes256 in (False, True)]

    def stored(self, slot):
        """The words of a slot, read past all ports (the model must be built with `expose`)."""
        words = self.dut.key_store.words
        return [int(words[SLOT_WORDS * slot + index].value) for index in range(SLOT_WORDS)]


def ecb(key, octets):
    """The oracle: each block encrypted, as a counter block whose keystream is looked at."""
    return b"".join(
        Cipher(algorithms.AES(key), modes.CTR(block)).encryptor().update(bytes(BLOCK_OCTETS))
        for block in blocks_of(octets)
    )


def inverse_ecb(key, octets):
    """The oracle of decryption: each block alone under CBC with an IV of zeros."""
    return b"".join(
        Cipher(algorithms.AES(key), modes.CBC(bytes(BLOCK_OCTETS))).decryptor().update(block)
        for block in blocks_of(octets)
    )


def decrypts(slot):
    """Which slots of a mixed test decrypt: of both key sizes (see `random_keys`) one each."""
    return slot in (1, 2)


def blocks_of(octets):
    """The octets in blocks."""
    return [octets[at : at + BLOCK_OCTETS] for at in range(0, len(octets), BLOCK_OCTETS)]


@cocotb.test()
@cocotb.parametrize(section=["encrypt", "decrypt"])
async def cavp_vectors(dut, section):
    """Each CAVP vector, through expansion and core."""
    bench = AesBench(dut)
    await bench.start()
    decrypt = section == "decrypt"
    loaded, vectors, blocks = None, 0, 0
    for number, vector in enumerate(ecb_vectors(section)):
        slot = number % bench.slots
        given, wanted = vector.plain, vector.cipher
        if decrypt:
            given, wanted = wanted, given
        if loaded != (slot, vector.key):
            await bench.load(slot, vector.key, decrypt=decrypt)
            loaded = (slot, vector.key)
        for block in blocks_of(given):
            bench.ask(slot, block, len(vector.key) == 32, decrypt)
        for block in blocks_of(wanted):
            assert await bench.answer() == block, vector
            blocks += 1
        vectors += 1
    assert vectors == CAVP_VECTORS
    cocotb.log.info("RESULT aes: %d CAVP ECB vectors, %sion, %d blocks", vectors, section, blocks)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def keeps_order(dut, idle, backpressure):
    """Blocks of both key sizes and directions, mixed, come back right and in order."""
    bench = AesBench(dut, idle, backpressure)
    await bench.start()
    keys = bench.random_keys()
    for slot, key in enumerate(keys):
        await bench.load(slot, key, decrypt=decrypts(slot))
    asked = []
    for _ in range(60):
        slot, block = bench.rng.randrange(bench.slots), bench.rng.randbytes(BLOCK_OCTETS)
        for _ in range(bench.rng.choice((1, 1, 4))):
            asked.append((slot, block))
            bench.ask(slot, block, len(keys[slot]) == 32, decrypts(slot))
    for slot, block in asked:
        oracle = inverse_ecb if decrypts(slot) else ecb
        assert await bench.answer() == oracle(keys[slot], block)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(bits=[128, 256])
async def three_in_flight(dut, bits):
    """The core holds three blocks at once, encryption and decryption in turn or in runs."""
    bench = AesBench(dut)
    await bench.start()
    keys = [bench.rng.randbytes(bits // 8) for _ in range(bench.slots)]
    for slot, key in enumerate(keys):
        await bench.load(slot, key, decrypt=slot % 2 == 1)
    held = []
    plain_sample = bench.result.sample
    core = dut.core

    def sample_and_count() -> None:
        stages = (core.at_state, core.at_latch, core.at_output)
        held.append(sum(int(stage.value) & 1 for stage in stages))
        plain_sample()

    bench.result.sample = sample_and_count
    for slots in ([0, 1] * 12, [1, 1, 1, 0, 0, 0] * 4, [0, 3, 2, 1] * 6):
        held.clear()
        bench.result.cycles_of_beats.clear()
        blocks = [(slot, bench.rng.randbytes(BLOCK_OCTETS)) for slot in slots]
        for slot, block in blocks:
            bench.ask(slot, block, bits == 256, slot % 2 == 1)
        for slot, block in blocks:
            oracle = inverse_ecb if slot % 2 else ecb
            assert await bench.answer() == oracle(keys[slot], block)
        intervals = {after - before for before, after in pairwise(bench.result.cycles_of_beats)}
        assert intervals == {INTERVAL_CYCLES}, intervals
        assert max(held) == STAGES
        await bench.cycles(60)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(bits=[128, 256], decrypt=[False, True])
async def keeps_pace(dut, bits, decrypt):
    """Latency of a block, interval of many, cycles of an expansion: as the docstrings say."""
    bench = AesBench(dut)
    await bench.start()
    key = bench.rng.randbytes(bits // 8)
    expand_cycles = await bench.load(1, key, decrypt=decrypt)
    latencies = set()
    for phase in range(3):  # whatever the turn of the core
        await bench.cycles(20 + phase)
        start = bench.cycle + 1  # the driver offers the request at the next rising edge
        bench.ask(1, bytes(16), bits == 256, decrypt)
        await bench.answer()
        latencies.add(bench.result.cycles_of_beats[-1] - start)
    assert latencies == {LATENCY_CYCLES[bits]}, latencies
    await bench.cycles(20)
    bench.result.cycles_of_beats.clear()
    for _ in range(40):
        bench.ask(1, bench.rng.randbytes(16), bits == 256, decrypt)
    for _ in range(40):
        await bench.answer()
    times = list(bench.result.cycles_of_beats)
    intervals = {after - before for before, after in pairwise(times)}
    assert intervals == {INTERVAL_CYCLES}, intervals
    assert expand_cycles == EXPAND_CYCLES[bits, decrypt], expand_cycles
    cocotb.log.info(
        "RESULT aes: AES-%d decrypt=%d latency %d, interval %d, expansion %d cycles",
        *(bits, decrypt, LATENCY_CYCLES[bits], INTERVAL_CYCLES, expand_cycles),
    )
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(decrypt=[False, True])
async def expands_among_traffic(dut, decrypt):
    """Keys are loaded while other slots encrypt and the results are taken slowly."""
    bench = AesBench(dut, "none", "bursts")
    await bench.start()
    keys = bench.random_keys()
    await bench.load(0, keys[0])
    plain = bench.rng.randbytes(16 * 150)
    for block in blocks_of(plain):
        bench.ask(0, block, False)
    await bench.load(1, keys[1], decrypt=decrypt)
    await bench.load(2, keys[2], decrypt=decrypt)
    assert b"".join([await bench.answer() for _ in blocks_of(plain)]) == ecb(keys[0], plain)
    work, oracle = (bench.decrypt, inverse_ecb) if decrypt else (bench.encrypt, ecb)
    for slot in (1, 2):
        block = bench.rng.randbytes(16)
        assert await work(slot, block, len(keys[slot]) == 32) == oracle(keys[slot], block)
    await bench.finish()


@cocotb.test()
async def zeroise_empties_the_slot(dut):
    """SEC: CRYPTO.ZEROISE. All 16 words, 17 cycles from the strobe on, and no other slot's."""
    bench = AesBench(dut)
    await bench.start()
    keys = bench.random_keys()
    block = bench.rng.randbytes(16)
    blank = await bench.both(3, block)
    await bench.load_all(keys)
    kept = {slot: bench.stored(slot) for slot in range(bench.slots)}
    assert all(all(words[:11]) and words[15] for words in kept.values())
    for slot in range(bench.slots):
        assert await bench.encrypt(slot, block, len(keys[slot]) == 32) == ecb(keys[slot], block)
        start = bench.cycle
        await bench.zeroise(slot)
        await bench.until(dut.zeroising, 0)
        assert bench.cycle - start == 3 + SLOT_WORDS
        assert await bench.both(slot, block) == blank
        kept[slot] = [0] * SLOT_WORDS
        assert {other: bench.stored(other) for other in kept} == kept
    await bench.finish()


@cocotb.test()
async def zeroise_of_all_slots_at_once(dut):
    """Strobes on successive cycles are all served, in any order, one of them twice."""
    bench = AesBench(dut)
    await bench.start()
    for _ in range(4):
        await bench.load_all(bench.random_keys())
        order = bench.rng.sample(range(bench.slots), bench.slots)
        for slot in [*order, order[0]]:
            await bench.zeroise(slot)
            await bench.cycles(bench.rng.choice((1, 1, 7, 15, 16, 17)))
        await bench.until(dut.zeroising, 0)
        assert all(bench.stored(slot) == [0] * SLOT_WORDS for slot in range(bench.slots))
    await bench.finish()


@cocotb.test()
async def writes_are_ignored_while_zeroising(dut):
    """A key written into any slot during zeroisation does not arrive; after it, it does."""
    bench = AesBench(dut)
    await bench.start()
    await bench.load_all(bench.random_keys())
    before = bench.stored(1)
    await bench.zeroise(0)
    await bench.write_key(0, bench.rng.randbytes(32))
    await bench.write_key(1, bench.rng.randbytes(32))
    await bench.until(dut.zeroising, 0)
    assert bench.stored(0) == [0] * SLOT_WORDS
    assert bench.stored(1) == before
    key = bench.rng.randbytes(16)
    await bench.load(0, key)
    assert await bench.encrypt(0, bytes(16), False) == ecb(key, bytes(16))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(bits=[128, 256], decrypt=[False, True])
async def zeroise_aborts_expansion(dut, bits, decrypt):
    """At whatever cycle of it: no `done`, slot empty, nothing stuck, the next one works."""
    bench = AesBench(dut)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    done = 0
    plain_sample = bench.result.sample

    def sample_and_count() -> None:
        nonlocal done
        done += int(dut.done.value)
        plain_sample()

    bench.result.sample = sample_and_count
    length = EXPAND_CYCLES[bits, decrypt]
    moments = [*range(12), *range(12, length - 60, 5), *range(length - 60, length + 1)]
    fields = {"slot": 2, "aes256": bits == 256, "decrypt": decrypt}
    for moment in moments:
        await bench.write_key(2, bench.rng.randbytes(bits // 8))
        done = 0
        dut.expand.value = bench.command(EXPAND, **fields)
        if moment:
            await bench.cycles()
            dut.expand.value = 0
            await bench.cycles(moment)
        dut.zeroise.value = bench.command([], slot=2)
        await bench.cycles()
        dut.expand.value = dut.zeroise.value = 0
        await bench.until(dut.busy, 0, limit=200)
        assert done == (moment == length), (moment, done)
        assert bench.stored(2) == [0] * SLOT_WORDS, moment
    for slot in (0, 1, 3):
        block = bench.rng.randbytes(16)
        answer = await bench.encrypt(slot, block, len(keys[slot]) == 32)
        assert answer == ecb(keys[slot], block)
    await bench.load(2, keys[2], decrypt=decrypt)
    work, oracle = (bench.decrypt, inverse_ecb) if decrypt else (bench.encrypt, ecb)
    assert await work(2, bytes(16), False) == oracle(keys[2], bytes(16))
    cocotb.log.info(
        "RESULT aes: expansion (AES-%d, decrypt=%d) aborted by zeroise at %d moments",
        *(bits, decrypt, len(moments)),
    )
    await bench.finish()


@cocotb.test()
async def zeroise_aborts_expansion_behind_a_stalled_user(dut):
    """With results not taken, zeroisation is as fast as ever, and a late H is thrown away."""
    bench = AesBench(dut)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    bench.result.backpressure = iter(lambda: True, None)
    plain = bench.rng.randbytes(16 * 8)
    for block in blocks_of(plain):
        bench.ask(0, block, False)
    await bench.write_key(2, keys[2])
    await bench.strobe(dut.expand, EXPAND, slot=2, aes256=0, decrypt=0)
    await bench.cycles(600)
    assert (int(dut.done.value), int(dut.busy.value)) == (0, 1)
    await bench.zeroise(2)
    assert await bench.until(dut.zeroising, 0) == SLOT_WORDS + 2
    assert bench.stored(2) == [0] * SLOT_WORDS
    bench.result.backpressure = none()
    assert b"".join([await bench.answer() for _ in blocks_of(plain)]) == ecb(keys[0], plain)
    await bench.until(dut.busy, 0)
    assert bench.stored(2) == [0] * SLOT_WORDS
    await bench.load(2, keys[2])
    assert await bench.encrypt(2, bytes(16), False) == ecb(keys[2], bytes(16))
    await bench.finish()


@cocotb.test()
async def strobe_of_expand_is_ignored_while_busy(dut):
    """A second strobe neither disturbs nor follows the first."""
    bench = AesBench(dut)
    await bench.start()
    keys = bench.random_keys()
    await bench.load(3, keys[3])
    before = bench.stored(3)
    await bench.write_key(0, keys[0])
    await bench.strobe(dut.expand, EXPAND, slot=0, aes256=0, decrypt=0)
    await bench.cycles(50)
    await bench.strobe(dut.expand, EXPAND, slot=3, aes256=0, decrypt=0)
    await bench.until(dut.busy, 0)
    await bench.cycles(2)
    assert int(dut.busy.value) == 0
    assert bench.stored(3) == before
    assert await bench.encrypt(0, bytes(16), False) == ecb(keys[0], bytes(16))
    await bench.finish()


@cocotb.test()
async def expansion_leaves_nothing_behind(dut):
    """SEC: CRYPTO.ZEROISE. After use of a key only the store's own words are not zero."""
    bench = AesBench(dut)
    await bench.start()
    store, core = dut.key_store, dut.core
    expansion = store.expansion
    kept = (core.state, store.aes_word, store.side_word, expansion.temp, expansion.decrypt)
    for size, decrypt in product((16, 32), (True, False)):
        key, block = bench.rng.randbytes(size), bench.rng.randbytes(16)
        await bench.zeroise(1)
        await bench.until(dut.busy, 0)
        await bench.load(1, key, decrypt=decrypt)
        await bench.cycles(2)
        await bench.settled()
        for signal in kept:  # before a block passes, too
            assert int(signal.value) == 0, signal._name
        work, oracle = (bench.decrypt, inverse_ecb) if decrypt else (bench.encrypt, ecb)
        assert await work(1, block, size == 32) == oracle(key, block)
        await bench.cycles(8)
        await bench.settled()
        for signal in kept:
            assert int(signal.value) == 0, signal._name
        # A slot for decryption has no H.
        assert bool(bench.stored(1)[15]) != decrypt, (size, decrypt)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(decrypt=[False, True])
async def reset_zeroises(dut, decrypt):
    """A reset, in the middle of an expansion too, empties every slot within 16 cycles a slot."""
    bench = AesBench(dut)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    await bench.strobe(dut.expand, EXPAND, slot=2, aes256=0, decrypt=decrypt)
    await bench.cycles(bench.rng.randrange(1, EXPAND_CYCLES[128, decrypt]))
    await bench.reset()
    assert await bench.until(dut.busy, 0) == (SLOT_WORDS + 2) * bench.slots
    assert all(bench.stored(slot) == [0] * SLOT_WORDS for slot in range(bench.slots))
    await bench.load(2, keys[2])
    assert await bench.encrypt(2, bytes(16), False) == ecb(keys[2], bytes(16))
    await bench.finish()
