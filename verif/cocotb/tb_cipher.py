"""Bench of `hw.crypto.CipherUnit`: GCM, GMAC and CBC against `cryptography`, NIST and the RFCs."""

from dataclasses import dataclass

import cocotb
from cocotb.triggers import with_timeout
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from verif.cocotb.cavp import cbc_vectors as cbc_vectors_of_nist
from verif.cocotb.cavp import gcm_vectors
from verif.cocotb.drivers import (
    PATTERNS,
    Driver,
    OctetSink,
    OctetSource,
    StreamSource,
    none,
    pattern,
)
from verif.cocotb.gcm_vectors import SHAPED_VECTORS
from verif.cocotb.key_port import KeyBench, pack

TAG_OCTETS = 16
LIMIT_US = 200
MAX_OCTETS = 2047
MODES = {"gcm": 1, "cbc": 2, "gmac": 3}
# What the docstring of CipherEngine promises.
FIRST_OCTET_CYCLES = {128: 38, 256: 49}
TAG_CYCLES = 36
AFTER_TAG_CYCLES = 35
SHORT_CYCLES = 60
RFC3602_VECTORS = [
    tuple(map(bytes.fromhex, vector))
    for vector in (
        (
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".hex(),
            "e353779c1079aeb82708942dbe77181a",
        ),
        (
            "56e47a38c5598974bc46903dba290349",
            "8ce82eefbea0da3c44699ed7db51b7d9",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
            "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
            "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e"
            "35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
        ),
    )
]
"""Key, IV, plaintext, ciphertext."""


class CipherBench(KeyBench):
    """A bench with drivers on all ports of `CipherUnit`."""

    def __init__(self, dut, idle="none", backpressure="none"):
        super().__init__(dut)
        self.job = StreamSource(self, "job", idle=pattern(idle, self.rng))
        self.text_in = OctetSource(self, "i", idle=pattern(idle, self.rng))
        self.text_out = OctetSink(self, "o", backpressure=pattern(backpressure, self.rng))
        self.tag = OctetSink(self, "tag", backpressure=pattern(backpressure, self.rng))

    def submit(self, case, keys):
        """Queues a job and its text."""
        fields = [
            ("mode", 2),
            ("encrypt", 1),
            ("slot", self.slot_bits),
            ("aes256", 1),
            ("nonce", 96),
            ("aad", 96),
            ("aad_octets", 4),
            ("octets", 11),
        ]
        values = {
            "mode": MODES[case.mode],
            "encrypt": case.encrypt,
            "slot": case.slot,
            "aes256": len(keys[case.slot]) == 32,
            "nonce": int.from_bytes(case.nonce, "little"),
            "aad": int.from_bytes(case.aad, "little"),
            "aad_octets": len(case.aad),
            "octets": len(case.text_in),
        }
        self.job.put(pack(fields, **values))
        self.text_in.send(case.text_in)

    async def answer(self, octets, mode="gcm"):
        """Waits for text and tag of the next job."""
        text = await with_timeout(self.text_out.receive_octets(octets), LIMIT_US, "us")
        if mode == "cbc":
            return text, b""
        return text, await with_timeout(self.tag.receive_octets(TAG_OCTETS), LIMIT_US, "us")

    async def check(self, keys, cases):
        """Submits all cases at once and compares the answers."""
        for case in cases:
            self.submit(case, keys)
        for number, case in enumerate(cases):
            answer = await self.answer(len(case.text_out), case.mode)
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
    mode: str = "gcm"

    @property
    def text_in(self):
        return self.plain if self.encrypt else self.cipher

    @property
    def text_out(self):
        if self.mode == "gmac":
            return b""
        if self.mode == "cbc" and not self.encrypt:
            return self.plain[16:]
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


def gmac_case(rng, key, slot, octets):
    """GMAC over AAD of the job and octets behind it (RFC 4543 3)."""
    nonce, aad, text = (
        rng.randbytes(12),
        rng.randbytes(rng.choice((0, 8, 12))),
        rng.randbytes(octets),
    )
    tag = AESGCM(key).encrypt(nonce, b"", aad + text)
    return Case(bool(rng.getrandbits(1)), slot, nonce, aad, text, text, tag, "gmac")


def cbc_case(key, slot, encrypt, first, text):
    """CBC with a chaining value of zero before `first`: its ciphertext is the IV of `text`."""
    plain = first + text
    encryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor()
    cipher = encryptor.update(plain) + encryptor.finalize()
    return Case(encrypt, slot, bytes(12), b"", plain, cipher, b"", "cbc")


ENCRYPTING, DECRYPTING = (0, 1), (2, 3)
"""Slots by what their keys are expanded for, in the benches that mix modes."""


async def load_both(bench):
    """Keys of both sizes for both; returns them by slot."""
    sizes = (16, 32, 16, 32)
    keys = [bench.rng.randbytes(size) for size in sizes]
    for slot, key in enumerate(keys):
        await bench.write_key(slot, key)
        await bench.expand(slot, aes256=len(key) == 32, decrypt=slot in DECRYPTING)
    return keys


def any_case(rng, keys):
    """A job of any mode, mostly short."""
    mode = rng.choice(("gcm", "gcm", "gmac", "cbc", "cbc"))
    octets = rng.choice((0, 1, 4, 15, 16, 17, 31, 32, 48, 100, 200))
    if mode == "cbc":
        encrypt = rng.random() < 0.4
        slot = rng.choice(ENCRYPTING if encrypt else DECRYPTING)
        text = rng.randbytes(max(16, octets // 16 * 16))
        return cbc_case(keys[slot], slot, encrypt, rng.randbytes(16), text)
    slot = rng.choice(ENCRYPTING)
    if mode == "gmac":
        return gmac_case(rng, keys[slot], slot, octets)
    return random_case(rng, {slot: keys[slot]}, octets, slot)


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def all_modes_back_to_back(dut, idle, backpressure):
    """Jobs of every mode in random order, offered at once."""
    bench = CipherBench(dut, idle, backpressure)
    await bench.start()
    keys = await load_both(bench)
    await bench.check(keys, [any_case(bench.rng, keys) for _ in range(60)])
    await bench.finish()


@cocotb.test()
async def cbc_vectors(dut):
    """RFC 3602 4, cases 1 and 4, and NIST's CBC vectors for keys of 128 and 256 bits."""
    bench = CipherBench(dut)
    await bench.start()
    vectors = [*RFC3602_VECTORS, *bench.rng.sample(list(cbc_vectors_of_nist()), 60)]
    for key, iv, plain, cipher in vectors:
        await bench.write_key(2, key)
        await bench.expand(2, aes256=len(key) == 32, decrypt=True)
        case = Case(False, 2, bytes(12), b"", iv + plain, iv + cipher, b"", "cbc")
        await bench.check({2: key}, [case])
        # The block whose encryption is the IV comes first in the other direction.
        await bench.write_key(1, key)
        await bench.expand(1, aes256=len(key) == 32)
        decryptor = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).decryptor()
        before = decryptor.update(iv) + decryptor.finalize()
        case = Case(True, 1, bytes(12), b"", before + plain, iv + cipher, b"", "cbc")
        await bench.check({1: key}, [case])
    cocotb.log.info("RESULT cbc: %d vectors, both directions", len(vectors))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(octets=[32, 64, 1456])
async def cbc_decryption_keeps_pace(dut, octets):
    """An octet a cycle, AES-256."""
    bench = CipherBench(dut)
    await bench.start()
    keys = await load_both(bench)
    recorder = Recorder(bench)
    text = bench.rng.randbytes(octets - 16)
    case = cbc_case(keys[3], 3, False, bench.rng.randbytes(16), text)
    await bench.check(keys, [case])
    assert recorder.octets == list(range(recorder.octets[0], recorder.octets[0] + octets))
    begin = bench.cycle
    await bench.check(keys, [case] * 3)
    each = (bench.cycle - begin) / 3
    cocotb.log.info("RESULT cbc: %d octets in %d cycles each", octets, each)
    assert each <= octets + 75
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(octets=[4, 16])
async def short_packets_keep_pace(dut, octets):
    """Packets of 4 to 16 octets under AES-256, the next one always there."""
    bench = CipherBench(dut)
    await bench.start()
    keys = [bench.rng.randbytes(32)]
    await bench.load(0, keys[0])
    begin = bench.cycle
    count = 40
    await bench.check(keys, [random_case(bench.rng, keys, octets, 0) for _ in range(count)])
    each = (bench.cycle - begin) / count
    cocotb.log.info("RESULT gcm: %d octets of text, a packet each %.1f cycles", octets, each)
    assert each <= SHORT_CYCLES
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def agrees_with_cryptography(dut, idle, backpressure):
    """Random jobs, back to back, of all short lengths, over all slots and both directions."""
    bench = CipherBench(dut, idle, backpressure)
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
    bench = CipherBench(dut, "none", "bursts")
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
    bench = CipherBench(dut)
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
    bench = CipherBench(dut)
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
    bench = CipherBench(dut)
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
    bench = CipherBench(dut, "none", backpressure)
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
    bench = CipherBench(dut)
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
    bench = CipherBench(dut, "none", backpressure)
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
    bench = CipherBench(dut)
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
    """SEC: GCM.STATE_CLEARED. With the tag made no secret is left, with it taken no tag."""
    bench = CipherBench(dut)
    await bench.start()
    keys = bench.random_keys()
    await bench.load_all(keys)
    engine, aes = dut.engine, dut.aes
    registers = [
        *(engine.keystream, aes.core.o__payload, engine.ghash.y, engine.ghash.product),
        *(engine.ghash.factor, aes.core.state, aes.key_store.aes_word, aes.key_store.side_word),
        engine.made_tag,
    ]
    for octets in (0, 1, 16, 31, 64):
        await bench.check(keys, [random_case(bench.rng, keys, octets)])
        await bench.cycles(4)
        await bench.settled()
        for signal in registers:
            assert int(signal.value) == 0, signal._name
    bench.tag.backpressure = iter(lambda: True, None)
    case = random_case(bench.rng, keys, 5)
    bench.submit(case, keys)
    await bench.until(dut.i__ready)  # the check can fail: here they are in use
    assert all(int(signal.value) for signal in registers[:1] + registers[4:5])
    await bench.until(dut.tag__valid)
    await bench.cycles(4)
    await bench.settled()
    assert [int(signal.value) != 0 for signal in registers] == [False] * 8 + [True]
    bench.tag.backpressure = none()
    assert await bench.answer(5) == (case.text_out, case.tag)
    await bench.finish()
