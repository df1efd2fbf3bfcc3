"""Bench of `hw.crypto.GcmUnit`: AES-GCM against `cryptography`, NIST and published ESP vectors."""

from dataclasses import dataclass

import cocotb
from cocotb.triggers import with_timeout
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from verif.cocotb.cavp import gcm_vectors
from verif.cocotb.drivers import (
    PATTERNS,
    Driver,
    OctetSink,
    OctetSource,
    StreamSink,
    StreamSource,
    none,
    pattern,
)
from verif.cocotb.gcm_vectors import SHAPED_VECTORS
from verif.cocotb.key_port import KeyBench, pack

TAG_OCTETS = 16
LIMIT_US = 200
MAX_OCTETS = 2047
# What the docstring of GcmEngine promises.
FIRST_OCTET_CYCLES = {128: 36, 256: 48}
TAG_CYCLES = 33
AFTER_TAG_CYCLES = 36


class GcmBench(KeyBench):
    """A bench with drivers on all ports of `GcmUnit`."""

    def __init__(self, dut, idle="none", backpressure="none"):
        super().__init__(dut)
        self.job = StreamSource(self, "job", idle=pattern(idle, self.rng))
        self.text_in = OctetSource(self, "i", idle=pattern(idle, self.rng))
        self.text_out = OctetSink(self, "o", backpressure=pattern(backpressure, self.rng))
        self.tag = StreamSink(self, "tag", backpressure=pattern(backpressure, self.rng))

    def submit(self, case, keys):
        """Queues a job and its text."""
        fields = [
            ("encrypt", 1),
            ("slot", self.slot_bits),
            ("aes256", 1),
            ("nonce", 96),
            ("aad", 96),
            ("aad_long", 1),
            ("octets", 11),
        ]
        values = {
            "encrypt": case.encrypt,
            "slot": case.slot,
            "aes256": len(keys[case.slot]) == 32,
            "nonce": int.from_bytes(case.nonce, "little"),
            "aad": int.from_bytes(case.aad, "little"),
            "aad_long": len(case.aad) == 12,
            "octets": len(case.plain),
        }
        self.job.put(pack(fields, **values))
        self.text_in.send(case.text_in)

    async def answer(self, octets):
        """Waits for text and tag of the next job."""
        text = await with_timeout(self.text_out.receive_octets(octets), LIMIT_US, "us")
        tag = await with_timeout(self.tag.receive(), LIMIT_US, "us")
        return text, tag.to_bytes(TAG_OCTETS, "little")

    async def check(self, keys, cases):
        """Submits all cases at once and compares the answers."""
        for case in cases:
            self.submit(case, keys)
        for number, case in enumerate(cases):
            answer = await self.answer(len(case.plain))
            assert answer == (case.text_out, case.tag), f"case {number}: {case}"


@dataclass(frozen=True)
class Case:
    """A text with its answer."""

    encrypt: bool
    slot: int
    nonce: bytes
    aad: bytes
    plain: bytes
    cipher: bytes
    tag: bytes

    @property
    def text_in(self):
        return self.plain if self.encrypt else self.cipher

    @property
    def text_out(self):
        return self.cipher if self.encrypt else self.plain


def sealed_case(key, **values):
    """A case with the answer of `cryptography`."""
    sealed = AESGCM(key).encrypt(values["nonce"], values["plain"], values["aad"])
    return Case(cipher=sealed[:-TAG_OCTETS], tag=sealed[-TAG_OCTETS:], **values)


def random_case(rng, keys, octets, slot=None):
    """A random case for one of `keys`, of the shape of RFC 4106."""
    slot = rng.randrange(len(keys)) if slot is None else slot
    return sealed_case(
        keys[slot],
        encrypt=bool(rng.getrandbits(1)),
        slot=slot,
        nonce=rng.randbytes(12),
        aad=rng.randbytes(rng.choice((8, 12))),
        plain=rng.randbytes(octets),
    )


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def agrees_with_cryptography(dut, idle, backpressure):
    """Random jobs, back to back, of all short lengths, over all slots and both directions."""
    bench = GcmBench(dut, idle, backpressure)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    lengths = list(range(81))
    bench.rng.shuffle(lengths)
    if (idle, backpressure) != ("none", "none"):
        lengths = [*lengths[:30], 16, 32, 0]
    cases = [random_case(bench.rng, keys, octets) for octets in lengths]
    await bench.check(keys, cases)
    cocotb.log.info("RESULT gcm: %d random cases agree with cryptography", len(cases))
    await bench.finish()


@cocotb.test()
async def long_texts(dut):
    """Lengths around the largest frame, and the largest of all."""
    bench = GcmBench(dut, "none", "bursts")
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    lengths = [255, 256, 257, 1023, 1024, 1461, 1480, 1500, MAX_OCTETS - 1, MAX_OCTETS]
    cases = [random_case(bench.rng, keys, octets) for octets in lengths]
    await bench.check(keys, cases)
    cocotb.log.info("RESULT gcm: %d long cases agree with cryptography", len(cases))
    await bench.finish()


@cocotb.test()
async def esp_shaped_vectors(dut):
    """draft-mcgrew-gcm-test-01, all with keys of 128 and 256 bits, in both directions."""
    bench = GcmBench(dut)
    await bench.start()
    for number, vector in enumerate(SHAPED_VECTORS):
        slot = number % bench.slots
        keys = {slot: vector.key}
        await bench.load(slot, vector.key)
        rest = (vector.nonce, vector.aad, vector.plain, vector.cipher, vector.tag)
        await bench.check(keys, [Case(encrypt, slot, *rest) for encrypt in (True, False)])
    cocotb.log.info("RESULT gcm: %d ESP vectors, both directions", len(SHAPED_VECTORS))
    await bench.finish()


@cocotb.test()
async def cavp_texts(dut):
    """The ciphertexts of NIST's GCM vectors; their AAD is of other lengths, ours is random."""
    bench = GcmBench(dut)
    await bench.start()
    count = 0
    texts = [vector for vector in gcm_vectors() if vector.plain]
    for vector in bench.rng.sample(texts, 120):
        await bench.load(1, vector.key)
        case = sealed_case(
            vector.key,
            encrypt=bool(count % 2),
            slot=1,
            nonce=vector.nonce,
            aad=bench.rng.randbytes(12),
            plain=vector.plain,
        )
        assert case.cipher == vector.cipher
        await bench.check({1: vector.key}, [case])
        count += 1
    cocotb.log.info("RESULT gcm: %d of %d CAVP ciphertexts", count, len(texts))
    await bench.finish()


class Recorder(Driver):
    """Notes the cycles in which a job is taken, an octet is taken, and a tag becomes valid."""

    def __init__(self, bench):
        super().__init__(bench)
        self.jobs, self.octets, self.tags = [], [], []
        self.tag_valid = False

    def sample(self):
        dut, cycle = self.bench.dut, self.bench.cycle
        if dut.job__valid.value == 1 and dut.job__ready.value == 1:
            self.jobs.append(cycle)
        if dut.i__valid.value == 1 and dut.i__ready.value == 1:
            self.octets.append(cycle)
        tag_valid = dut.tag__valid.value == 1
        if tag_valid and not self.tag_valid:
            self.tags.append(cycle)
        self.tag_valid = tag_valid


@cocotb.test()
@cocotb.parametrize(bits=[128, 256])
async def keeps_pace(dut, bits):
    """An octet each cycle; the cycles to the first octet, to the tag, and from job to job."""
    bench = GcmBench(dut)
    await bench.start()
    keys = [bench.rng.randbytes(bits // 8)]
    await bench.load(0, keys[0])
    recorder = Recorder(bench)
    to_first, to_tag, after_tag = [], [], []
    for octets in [1, 15, 16, 17, 1500, *range(40, 60)]:
        await bench.cycles(20 + octets % 3)
        recorder.jobs, recorder.octets, recorder.tags = [], [], []
        await bench.check(keys, [random_case(bench.rng, keys, octets, 0) for _ in range(3)])
        for number, (job, tag) in enumerate(zip(recorder.jobs, recorder.tags, strict=True)):
            taken = recorder.octets[octets * number : octets * (number + 1)]
            assert taken == list(range(taken[0], taken[0] + octets)), octets
            to_tag.append(tag - taken[-1])
            if number:  # the job was waiting, and the tag before was taken at once
                after_tag.append(taken[0] - recorder.tags[number - 1])
                assert taken[0] <= max(
                    job + FIRST_OCTET_CYCLES[bits], recorder.tags[number - 1] + AFTER_TAG_CYCLES
                )
            else:
                to_first.append(taken[0] - job)
    assert max(to_first) == FIRST_OCTET_CYCLES[bits], to_first
    assert max(to_tag) == TAG_CYCLES, to_tag
    cocotb.log.info(
        "RESULT gcm: AES-%d first octet after %d cycles, tag after %d to %d, next text %d to %d "
        "after a tag; one octet each cycle",
        *(bits, max(to_first), min(to_tag), max(to_tag), min(after_tag), max(after_tag)),
    )
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(backpressure=["none", "random"])
async def expansion_among_texts(dut, backpressure):
    """A slot gets new keys again and again while texts under other slots run; both stay right."""
    bench = GcmBench(dut, "none", backpressure)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    cases = [random_case(bench.rng, keys, bench.rng.randrange(200), n % 3) for n in range(40)]
    checking = cocotb.start_soon(bench.check(keys, cases))
    loads = 0
    while not checking.done():
        keys[3] = bench.rng.randbytes(bench.rng.choice((16, 32)))
        await bench.load(3, keys[3])
        loads += 1
    await checking
    await bench.check(keys, [random_case(bench.rng, keys, 50, 3)])
    assert loads > 3
    await bench.finish()


@cocotb.test()
async def zeroised_key_is_gone(dut):
    """SEC: CRYPTO.ZEROISE. The answer is that of a slot never loaded: keystream and H are gone."""
    bench = GcmBench(dut)
    await bench.start()
    keys = bench.random_keys()
    cases = [random_case(bench.rng, keys, 40, 0), random_case(bench.rng, keys, 40, 1)]
    for case in cases:
        bench.submit(case, keys)
    blank = [await bench.answer(40) for _ in cases]
    await bench.load_all(keys)
    await bench.check(keys, cases)
    for slot in (0, 1):
        await bench.zeroise(slot)
    await bench.until(dut.zeroising, 0)
    for case in cases:
        bench.submit(case, keys)
    assert [await bench.answer(40) for _ in cases] == blank
    await bench.check(keys, [random_case(bench.rng, keys, 40, slot) for slot in (2, 3)])
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(backpressure=list(PATTERNS))
async def zeroise_never_hangs_a_job(dut, backpressure):
    """Zeroised at any moment of a job, its slot yields as many octets as asked for, and one tag."""
    bench = GcmBench(dut, "none", backpressure)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    for _ in range(25):
        slot, octets = bench.rng.randrange(bench.slots), bench.rng.randrange(100)
        bench.submit(random_case(bench.rng, keys, octets, slot), keys)
        await bench.cycles(bench.rng.randrange(1, 120))
        await bench.zeroise(slot)
        await bench.answer(octets)
        await bench.until(dut.busy, 0)
        await bench.load(slot, keys[slot])
        await bench.check(keys, [random_case(bench.rng, keys, 33, slot)])
    await bench.finish()


@cocotb.test()
async def reset_in_the_middle_of_a_job(dut):
    """Whatever was under way is forgotten, and the next job is right."""
    bench = GcmBench(dut)
    await bench.start()
    keys = bench.random_keys()
    for _ in range(12):
        await bench.load_all(keys[:2])
        for slot in (0, 1, 0):
            bench.submit(random_case(bench.rng, keys, 70, slot), keys)
        await bench.cycles(bench.rng.randrange(1, 400))
        await bench.start()
        await bench.load(0, keys[0])
        await bench.check(keys, [random_case(bench.rng, keys, 20, 0)])
    await bench.finish()


@cocotb.test()
async def state_is_cleared(dut):
    """SEC: GCM.STATE_CLEARED. When the tag was taken no secret of the job is left in a register."""
    bench = GcmBench(dut)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    engine, aes = dut.engine, dut.aes
    registers = [
        *(engine.keystream, engine.ahead, engine.ghash.y, engine.ghash.product),
        *(engine.ghash.factor, aes.core.state, aes.key_store.aes_word, aes.key_store.side_word),
    ]
    for octets in (0, 1, 16, 31, 64):
        await bench.check(keys, [random_case(bench.rng, keys, octets)])
        await bench.cycles(4)
        await bench.settled()
        for signal in registers:
            assert int(signal.value) == 0, signal._name
    bench.tag.backpressure = iter(lambda: True, None)  # the check can fail: here they are in use
    case = random_case(bench.rng, keys, 5)
    bench.submit(case, keys)
    await bench.until(dut.tag__valid)
    assert all(int(signal.value) for signal in registers[:1] + registers[2:3] + registers[4:5])
    bench.tag.backpressure = none()
    assert await bench.answer(5) == (case.text_out, case.tag)
    await bench.finish()
