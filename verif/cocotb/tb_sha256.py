"""Bench of `hw.crypto.sha256.Sha256Core`: digests of padded messages, and the pace of blocks."""

import hashlib
from itertools import pairwise

import cocotb

from verif.cocotb.cavp import sha256_monte, sha256_vectors
from verif.cocotb.drivers import Bench, Driver
from verif.cocotb.key_port import pack

# FIPS 180-4 5.3.3.
INITIAL = bytes.fromhex("6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19")
BLOCK_OCTETS = 64
BLOCK_CYCLES = 68
START = 1
WORD_DELAY = 3


class CoreDriver(Driver):
    """Offers block after block, with pauses, and each word in its cycle, else noise."""

    def __init__(self, bench):
        super().__init__(bench)
        self.bench, self.dut = bench, bench.dut
        self.queue, self.seen, self.starts = [], [], []
        self.block = None
        self.pauses = False
        self.dut.go.value = 0

    def drive(self):
        go = bool(self.queue) and not (self.pauses and self.bench.rng.random() < 0.9)
        self.dut.go.value = go
        if go:
            _, self.dut.fresh.value, self.dut.finish.value = self.queue[0]
        word = self.bench.rng.getrandbits(32)
        if len(self.seen) >= WORD_DELAY:
            block, index = self.seen[-WORD_DELAY]
            if block and index < 16:
                word = int.from_bytes(block[4 * index : 4 * index + 4], "big")
        self.dut.word.value = word

    def sample(self):
        self.seen = [*self.seen[-4:], (self.block, int(self.dut.index.value))]
        if int(self.dut.go.value) and int(self.dut.ready.value):
            self.block = self.queue.pop(0)[0]
            self.starts.append(self.bench.cycle)


class ShaBench(Bench):
    """A bench with the initial hash value loaded."""

    def __init__(self, dut):
        super().__init__(dut)
        self.core = CoreDriver(self)
        dut.load.value = 0
        dut.digest_index.value = 0

    async def start(self):
        await self.reset()
        fields = [("stb", 1), ("both", 1), ("upper", 1), ("index", 2), ("region", 2), ("data", 32)]
        for number in range(8):
            self.dut.load.value = pack(
                fields,
                stb=1,
                both=0,
                upper=number >= 4,
                index=3 - number % 4,
                region=START,
                data=int.from_bytes(INITIAL[4 * number : 4 * number + 4], "big"),
            )
            await self.cycles()
        self.dut.load.value = 0

    async def digest(self, message):
        """Hashes a message."""
        padded = message + b"\x80"
        padded += bytes(-(len(padded) + 8) % BLOCK_OCTETS) + (8 * len(message)).to_bytes(8, "big")
        blocks = [padded[at : at + BLOCK_OCTETS] for at in range(0, len(padded), BLOCK_OCTETS)]
        self.core.queue += [(block, not number, 0) for number, block in enumerate(blocks)]
        self.core.queue.append((None, 0, 1))
        while self.core.queue:
            await self.cycles(4)
        await self.until(self.dut.running, 0)
        octets = b""
        for number in range(8):
            self.dut.digest_index.value = number
            await self.settled()
            octets += int(self.dut.digest.value).to_bytes(4, "big")
            await self.cycles()
        return octets


@cocotb.test()
async def cavp_short(dut):
    """Each CAVP vector of at most one block's octets."""
    bench = ShaBench(dut)
    await bench.start()
    vectors = list(sha256_vectors("Short"))
    assert len(vectors) == 65
    for vector in vectors:
        assert await bench.digest(vector.message) == vector.digest, vector
    cocotb.log.info("RESULT sha256: %d CAVP vectors of short messages", len(vectors))


@cocotb.test()
async def cavp_long(dut):
    """The CAVP vectors of long messages, those up to 2,000 octets."""
    bench = ShaBench(dut)
    await bench.start()
    vectors = [vector for vector in sha256_vectors("Long") if len(vector.message) <= 2000]
    assert len(vectors) >= 15
    for vector in vectors:
        assert await bench.digest(vector.message) == vector.digest, vector
    cocotb.log.info("RESULT sha256: %d CAVP vectors of long messages", len(vectors))


@cocotb.test()
async def cavp_monte_carlo(dut):
    """The first tenth of the first checkpoint against `hashlib`, which reaches all of them."""
    bench = ShaBench(dut)
    await bench.start()
    seed, checkpoints = sha256_monte()
    for number, checkpoint in enumerate(checkpoints):
        window = [seed] * 3
        for step in range(1000):
            digest = hashlib.sha256(b"".join(window)).digest()
            if number == 0 and step < 100:
                assert await bench.digest(b"".join(window)) == digest, step
            window = [*window[1:], digest]
        seed = window[-1]
        assert seed == checkpoint


@cocotb.test()
@cocotb.parametrize(pauses=[False, True])
async def keeps_pace(dut, pauses):
    """Blocks every 68 cycles; and a pause anywhere between them spoils nothing."""
    bench = ShaBench(dut)
    await bench.start()
    bench.core.pauses = pauses
    for length in (0, 55, 56, 64, 119, 120, 500):
        message = bench.rng.randbytes(length)
        bench.core.starts.clear()
        assert await bench.digest(message) == hashlib.sha256(message).digest()
        starts = bench.core.starts
        gaps = {after - before for before, after in pairwise(starts)}
        assert min(gaps) >= BLOCK_CYCLES
        assert pauses or gaps == {BLOCK_CYCLES}
