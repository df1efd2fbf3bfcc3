"""Bench of `hw.crypto.hmac.HmacUnit`: tags, lanes, keys, zeroisation, pace."""

import hmac
from hashlib import sha1, sha256
from itertools import pairwise

import cocotb
from cocotb.triggers import with_timeout

from verif.cocotb.drivers import PATTERNS, OctetSink, StreamSource, bench_parameters, pattern
from verif.cocotb.key_port import KeyBench

LIMIT_US = 400
KEY_OCTETS = 32
TAG_OCTETS = 16
SHA1_KEY_OCTETS = 20
SHA1_TAG_OCTETS = 12
SLOT_WORDS = 32
KEPT_WORDS = 24
BLOCK_CYCLES = {False: 68, True: 85}  # by whether it is SHA-1
MESSAGE_CYCLES = 46
EXPAND_CYCLES = {False: 293, True: 327}
FIPS_180_4_INITIAL = 0x6A09E667
FIPS_180_4_SHA1_INITIAL = 0x67452301
SHA1_INITIAL_SLOT = 2
RESTING_SUMS = [0, 0x5A827999]  # SHA-1: the first round constant, FIPS 180-4 4.2.1
BORDERS = [1, 2, 3, 4, 54, 55, 56, 57, 62, 63, 64, 65, 118, 119, 120, 127, 128, 129, 300, 1500]

# RFC 4231 4.2, 4.3, 4.4, 4.5, 4.7, 4.8: key, data, first 128 bits of HMAC-SHA-256.
RFC_4231 = [
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b"),
    (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c7"),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a7"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944",
    ),
]


# RFC 2202 3, without test case 4, whose key does not fit; the first 96 bits (RFC 2404).
RFC_2202 = [
    (b"\x0b" * 20, b"Hi There", "b617318655057264e28bc0b6"),
    (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5"),
    (b"\xaa" * 20, b"\xdd" * 50, "125d7342b9ac11cd91a39af4"),
    (b"\x0c" * 20, b"Test With Truncation", "4c1a03424b55e07fe7f27be1"),
    (
        b"\xaa" * 80,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "aa4ae5e15272d00e95705637",
    ),
    (
        b"\xaa" * 80,
        b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
        "e8e99d0f45237d786d6bbaa7",
    ),
]


def expected(key, message, sha_1=False):
    """The oracle."""
    if sha_1:
        return hmac.digest(key, message, "sha1")[:SHA1_TAG_OCTETS].ljust(TAG_OCTETS, b"\0")
    return hmac.digest(key, message, "sha256")[:TAG_OCTETS]


def message_cycles(octets, sha_1):
    """From a tag to the next, if all is there."""
    return BLOCK_CYCLES[sha_1] * ((octets + 9 + 63) // 64 + 1) + MESSAGE_CYCLES


class HmacBench(KeyBench):
    """A bench with drivers on all ports."""

    def __init__(self, dut, idle="none", backpressure="none"):
        super().__init__(dut)
        self.lanes = range(bench_parameters()["lanes"])
        self.with_sha_1: bool = bench_parameters()["sha_1"]
        self.of_sha_1 = [False] * self.slots  # what each slot was expanded for
        self.jobs = [StreamSource(self, f"job_{lane}") for lane in self.lanes]
        self.octets = [
            StreamSource(self, f"i_{lane}", idle=pattern(idle, self.rng)) for lane in self.lanes
        ]
        self.tags = [
            OctetSink(self, f"tag_{lane}", backpressure=pattern(backpressure, self.rng))
            for lane in self.lanes
        ]

    def ask(self, lane, slot, message):
        """Queues a message."""
        self.jobs[lane].put(slot | self.of_sha_1[slot] << self.slot_bits)
        for octet in message[:-1]:
            self.octets[lane].put(octet)
        self.octets[lane].put(message[-1] | 1 << 8)

    async def tag(self, lane):
        """Waits for the next tag."""
        return await with_timeout(self.tags[lane].receive_octets(TAG_OCTETS), LIMIT_US, "us")

    async def load_key(self, slot, key, sha_1=False):
        """Writes a key, zeros behind it, and expands it. What follows a key of SHA-1 is ignored."""
        if sha_1:
            words = key.ljust(SHA1_KEY_OCTETS, b"\0") + self.rng.randbytes(12)
        else:
            words = key.ljust(KEY_OCTETS, b"\0")
        self.of_sha_1[slot] = sha_1
        await self.write_key(slot, words)
        await self.strobe(self.dut.expand, [("sha_1", 1)], slot=slot, sha_1=sha_1)
        cycles = 1 + await self.until(self.dut.done)
        await self.until(self.dut.busy, 0)
        return cycles

    async def load_random(self):
        """Loads a key into each slot; in a unit with SHA-1 every other one is of that."""
        keys = []
        for slot in range(self.slots):
            sha_1 = self.with_sha_1 and slot % 2 == 1
            keys.append(self.rng.randbytes(SHA1_KEY_OCTETS if sha_1 else KEY_OCTETS))
            await self.load_key(slot, keys[slot], sha_1)
        return keys

    def stored(self, slot):
        """The words of a slot, read past all ports."""
        words = self.dut.words
        return [int(words[SLOT_WORDS * slot + index].value) for index in range(KEPT_WORDS)]


@cocotb.test()
async def rfc4231_vectors(dut):
    """The literal vectors of RFC 4231, on each lane."""
    bench = HmacBench(dut)
    await bench.start()
    for number, (key, message, tag) in enumerate(RFC_4231):
        slot = number % bench.slots
        await bench.load_key(slot, sha256(key).digest() if len(key) > 64 else key)
        for lane in bench.lanes:
            bench.ask(lane, slot, message)
            assert (await bench.tag(lane)).hex() == tag
    await bench.finish()


@cocotb.test()
async def rfc2202_vectors(dut):
    """The literal vectors of RFC 2202, on each lane, each behind one of SHA-256."""
    bench = HmacBench(dut)
    await bench.start()
    await bench.load_key(0, RFC_4231[0][0])
    for number, (key, message, tag) in enumerate(RFC_2202):
        slot = 1 + number % (bench.slots - 1)
        short = sha1(key, usedforsecurity=False).digest() if len(key) > 64 else key
        await bench.load_key(slot, short, sha_1=True)
        for lane in bench.lanes:
            bench.ask(lane, 0, RFC_4231[0][1])
            bench.ask(lane, slot, message)
            assert (await bench.tag(lane)).hex() == RFC_4231[0][2]
            assert (await bench.tag(lane)).hex() == tag + "00000000"
    await bench.finish()


@cocotb.test()
async def field_is_ignored_without_sha_1(dut):
    """A unit without SHA-1 does SHA-256, whatever the field says."""
    bench = HmacBench(dut)
    await bench.start()
    key = bench.rng.randbytes(KEY_OCTETS)
    await bench.write_key(1, key)
    await bench.strobe(dut.expand, [("sha_1", 1)], slot=1, sha_1=1)
    await bench.until(dut.busy, 0)
    for sha_1 in (True, False):
        bench.of_sha_1[1] = sha_1
        for lane in bench.lanes:
            bench.ask(lane, 1, b"message")
            assert await bench.tag(lane) == expected(key, b"message")
    await bench.finish()


@cocotb.test()
async def every_length(dut):
    """Messages of 1 to 300 octets, and longer ones than the memory holds."""
    bench = HmacBench(dut)
    await bench.start()
    keys = await bench.load_random()
    asked: list[list[bytes]] = [[] for _ in bench.lanes]
    for number, length in enumerate([*range(1, 301), 1500, 2048, 2500]):
        lane, slot = number % len(bench.lanes), bench.rng.randrange(bench.slots)
        message = bench.rng.randbytes(length)
        bench.ask(lane, slot, message)
        asked[lane].append(expected(keys[slot], message, bench.of_sha_1[slot]))
    for lane in bench.lanes:
        for tag in asked[lane]:
            assert await bench.tag(lane) == tag
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def keeps_order(dut, idle, backpressure):
    """All lanes at once, lengths at the borders of blocks; tags right and in the order of jobs."""
    bench = HmacBench(dut, idle, backpressure)
    await bench.start()
    keys = await bench.load_random()
    asked: list[list[bytes]] = [[] for _ in bench.lanes]
    for lane in bench.lanes:
        for length in bench.rng.sample(BORDERS, len(BORDERS)):
            slot, message = bench.rng.randrange(bench.slots), bench.rng.randbytes(length)
            bench.ask(lane, slot, message)
            asked[lane].append(expected(keys[slot], message, bench.of_sha_1[slot]))
    for lane in bench.lanes:
        for tag in asked[lane]:
            assert await bench.tag(lane) == tag
    await bench.finish()


@cocotb.test()
async def keeps_pace(dut):
    """The cycles of a message are as the docstring says, and those of an expansion."""
    bench = HmacBench(dut)
    await bench.start()
    for sha_1 in (False, True) if bench.with_sha_1 else (False,):
        await check_pace(bench, sha_1)
    await bench.finish()


async def check_pace(bench, sha_1):
    """The pace of one hash."""
    cycles = await bench.load_key(1, bytes(20), sha_1)
    assert cycles == EXPAND_CYCLES[sha_1], cycles
    for length in (1, 55, 56, 119, 120, 184, 500):
        for lane in bench.lanes:
            bench.tags[lane].cycles_of_beats.clear()
            for _ in range(5):
                bench.ask(lane, 1, bytes(length))
            for _ in range(5):
                await bench.tag(lane)
            firsts = list(bench.tags[lane].cycles_of_beats)[::TAG_OCTETS]
            gaps = {after - before for before, after in pairwise(firsts)}
            cocotb.log.info("RESULT hmac: sha_1=%d, %d octets, %s cycles", sha_1, length, gaps)
            assert gaps == {message_cycles(length, sha_1)}, (length, gaps)


@cocotb.test()
async def state_is_cleared(dut):
    """SEC: HMAC.STATE_CLEARED. After a tag and after an expansion nothing stays in a lane."""
    bench = HmacBench(dut)
    await bench.start()
    keys = await bench.load_random()
    for slot in (None, 3, 2, None):
        if slot is None:  # an expansion, of either hash
            await bench.load_key(1, keys[1], bench.of_sha_1[1])
        else:
            for lane in bench.lanes:
                bench.ask(lane, slot, bench.rng.randbytes(100))
                await bench.tag(lane)
        await bench.cycles(40)
        await bench.settled()
        for lane in bench.lanes:
            unit = getattr(dut, f"lane_{lane}")
            cores = [(unit.core, "abcdefgh")]
            if bench.with_sha_1:
                cores = [(unit.core.core_256, "abcdefgh"), (unit.core.core_1, "abcde")]
            for core, letters in cores:
                names = [f"chain_{letter}" for letter in letters]
                names += [f"w_{word}" for word in range(16)]
                assert all(int(getattr(core, name).value) == 0 for name in names)
                # Round constants go through these sums at rest too.
                assert int(core.ahead_sum.value) in RESTING_SUMS
                for name in ("upper_words", "lower_words"):
                    words = getattr(core, name)
                    assert all(int(words[index].value) == 0 for index in range(12))
            if not bench.with_sha_1:
                assert int(unit.core.t1.value) == 0
            assert int(unit.made.value) == 0
            assert int(getattr(dut, f"word_{lane}").value) == 0
            assert int(getattr(dut, f"latch_{lane}").value) == 0
    await bench.finish()


@cocotb.test()
async def zeroise_empties_the_slot(dut):
    """SEC: CRYPTO.ZEROISE. All 24 words in 25 cycles, no other slot's; the key itself long gone."""
    bench = HmacBench(dut)
    await bench.start()
    await bench.load_random()
    kept = {slot: bench.stored(slot) for slot in range(bench.slots)}
    for words in kept.values():
        assert words[:8] == [0] * 8
        assert all(words[8:])
    for slot in range(bench.slots):
        start = bench.cycle
        await bench.zeroise(slot)
        await bench.until(dut.zeroising, 0)
        assert bench.cycle - start == 3 + KEPT_WORDS
        kept[slot] = [0] * KEPT_WORDS
        assert {other: bench.stored(other) for other in kept} == kept
        assert int(dut.words[KEPT_WORDS].value) == FIPS_180_4_INITIAL
        if bench.with_sha_1:
            place = SLOT_WORDS * SHA1_INITIAL_SLOT + KEPT_WORDS
            assert int(dut.words[place].value) == FIPS_180_4_SHA1_INITIAL
    await bench.finish()


@cocotb.test()
async def zeroise_while_busy(dut):
    """At whatever cycle of an expansion: slot empty, no `done`, and the next expansion works."""
    bench = HmacBench(dut)
    await bench.start()
    keys = await bench.load_random()
    done = 0
    plain_sample = bench.tags[0].sample

    def sample_and_count():
        nonlocal done
        done += int(dut.done.value)
        plain_sample()

    bench.tags[0].sample = sample_and_count
    sha_1 = bench.with_sha_1
    last = EXPAND_CYCLES[sha_1] - 1
    moments = [*range(1, 5), *range(5, last - 39, 9), *range(last - 39, last)]
    for moment in moments:
        await bench.write_key(2, bench.rng.randbytes(32))
        done = 0
        await bench.strobe(dut.expand, [("sha_1", 1)], slot=2, sha_1=sha_1)
        await bench.cycles(moment)
        await bench.zeroise(2)
        await bench.until(dut.busy, 0, limit=1000)
        assert bench.stored(2) == [0] * KEPT_WORDS, moment
        assert done == 0, moment
    # All slots at once, during a message of each lane: all come to an end.
    for lane in bench.lanes:
        bench.ask(lane, 0, bench.rng.randbytes(200))
    await bench.cycles(150)
    for slot in range(bench.slots):
        await bench.zeroise(slot)
    await bench.until(dut.zeroising, 0)
    for lane in bench.lanes:
        await bench.tag(lane)
    assert all(bench.stored(slot) == [0] * KEPT_WORDS for slot in range(bench.slots))
    await bench.load_key(5 % bench.slots, keys[0])
    bench.ask(0, 5 % bench.slots, b"after")
    assert await bench.tag(0) == expected(keys[0], b"after")
    await bench.finish()


@cocotb.test()
async def expands_among_traffic(dut):
    """Keys are loaded while all lanes hash; writes while zeroising are ignored."""
    bench = HmacBench(dut)
    await bench.start()
    keys = await bench.load_random()
    asked = []
    key = b""
    for lane in bench.lanes:
        for _ in range(6):
            message = bench.rng.randbytes(bench.rng.randrange(1, 400))
            bench.ask(lane, 1, message)
            asked.append((lane, expected(keys[1], message, bench.of_sha_1[1])))
    for _ in range(3):
        await bench.zeroise(4 % bench.slots)
        await bench.write_key(4 % bench.slots, bench.rng.randbytes(16))
        await bench.until(dut.zeroising, 0)
        assert bench.stored(4 % bench.slots) == [0] * KEPT_WORDS
        key = bench.rng.randbytes(32)
        await bench.load_key(4 % bench.slots, key)
    for lane, tag in asked:
        assert await bench.tag(lane) == tag
    bench.ask(0, 4 % bench.slots, b"new key")
    assert await bench.tag(0) == expected(key, b"new key")
    await bench.finish()
