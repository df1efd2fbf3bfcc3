"""Bench of `hw.crypto.Ghash`, against hashes that follow from NIST's GCM vectors."""

import cocotb
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from verif.cocotb.cavp import gcm_vectors
from verif.cocotb.drivers import PATTERNS, Bench, Driver, none, pattern

BLOCK_OCTETS = 16
READY_CYCLES = 15


class HashSource(Driver):
    """Gives octets to the core, with pauses."""

    def __init__(self, bench, idle):
        super().__init__(bench)
        self.idle = idle
        self.octets = b""
        self.at = 0
        self.bench.dut.stb.value = 0

    def drive(self):
        dut = self.bench.dut
        go = self.at < len(self.octets) and not next(self.idle)
        dut.stb.value = int(go)
        if go:
            dut.octet.value = self.octets[self.at]
            self.at += 1

    async def send(self, octets):
        """Gives all of `octets`; returns in the cycle after the last."""
        self.octets, self.at = octets, 0
        while self.at < len(octets):
            await self.bench.cycles()
        await self.bench.cycles()
        await self.bench.settled()


def encrypted(key, block):
    """AES of one block, by `cryptography`."""
    return Cipher(algorithms.AES(key), modes.CTR(block)).encryptor().update(bytes(BLOCK_OCTETS))


def padded(octets):
    """The octets with zeros up to a whole block."""
    return octets + bytes(-len(octets) % BLOCK_OCTETS)


def hash_input(vector):
    """What GCM hashes: SP 800-38D 7.1, step 5."""
    lengths = (8 * len(part) for part in (vector.aad, vector.cipher))
    return (
        padded(vector.aad) + padded(vector.cipher) + b"".join(n.to_bytes(8, "big") for n in lengths)
    )


def expected(vector):
    """The hash: the tag without its mask E(J0)."""
    mask = encrypted(vector.key, vector.nonce + (1).to_bytes(4, "big"))
    return bytes(a ^ b for a, b in zip(vector.tag, mask, strict=True))


async def load(bench, key):
    """Loads the hash subkey of `key`, and waits until the core is ready."""
    dut = bench.dut
    dut.h.value = int.from_bytes(encrypted(key, bytes(BLOCK_OCTETS)), "little")
    dut.load.value = 1
    await bench.cycles()
    dut.load.value = 0
    dut.h.value = 0
    assert await bench.until(dut.ready) == READY_CYCLES
    await bench.cycles()
    dut.begin.value = 1
    await bench.cycles()
    dut.begin.value = 0


def value_of(dut):
    """The hash so far."""
    return int(dut.y.value).to_bytes(BLOCK_OCTETS, "little")


async def start(dut):
    """A bench with a source, reset."""
    bench = Bench(dut)
    source = HashSource(bench, none())
    dut.load.value = dut.clear.value = dut.begin.value = 0
    await bench.reset()
    return bench, source


@cocotb.test()
async def cavp_vectors(dut):
    """Each vector with a 96-bit IV and a 128-bit tag; octets without a pause."""
    bench, source = await start(dut)
    count = 0
    for vector in gcm_vectors():
        await load(bench, vector.key)
        await source.send(hash_input(vector))
        assert value_of(dut) == expected(vector), vector
        count += 1
    cocotb.log.info("RESULT ghash: %d CAVP GCM vectors", count)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS))
async def pauses_do_not_matter(dut, idle):
    """Some vectors, with pauses between the octets."""
    bench, source = await start(dut)
    source.idle = pattern(idle, bench.rng)
    for vector in bench.rng.sample(list(gcm_vectors()), 20):
        await load(bench, vector.key)
        await source.send(hash_input(vector))
        assert value_of(dut) == expected(vector), vector
    await bench.finish()


@cocotb.test()
async def clear_forgets_everything(dut):
    """SEC: GCM.STATE_CLEARED. In the middle of a block too; and the next hash is right."""
    bench, source = await start(dut)
    vectors = list(gcm_vectors())
    for vector in bench.rng.sample(vectors, 8):
        await load(bench, vector.key)
        await source.send(bench.rng.randbytes(bench.rng.randrange(1, 40)))
        dut.clear.value = 1
        await bench.cycles()
        dut.clear.value = 0
        await bench.settled()
        for signal in (dut.y, dut.product, dut.factor, dut.next_factor, dut.ready):
            assert int(signal.value) == 0, signal._name
        await load(bench, vector.key)
        await source.send(hash_input(vector))
        assert value_of(dut) == expected(vector), vector
    await bench.finish()
