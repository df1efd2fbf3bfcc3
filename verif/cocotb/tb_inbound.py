"""Bench of the inbound path: packets of every suite, good and bad, many under way at once.

Stand-ins at the engine ports compute with `cryptography`; packets come from `verif.fuzz.sealing`,
which knows IPsec from the RFCs, not from `spec`.
"""

import random
from collections import deque
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import cocotb
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hw.crypto.cipher import cipher_job_layout
from hw.ipsec.layouts import BANK_WORDS, BankWord, MessageMeta, SuiteView, TakenMeta
from spec.counters import COUNTER_COUNT, Counter
from spec.sa import ALL_BANKS
from verif.cocotb.drivers import (
    Bench,
    Driver,
    OctetSink,
    OctetSource,
    PacketSink,
    PacketSource,
    Pattern,
    StreamSink,
    StreamSource,
    bench_parameters,
    none,
    pattern,
)
from verif.fuzz.sealing import HOST_V4, HOST_V6, Sa, ipv4, ipv6, keyed, udp

ESP, AH, CLEAR = 0, 1, 2
PACKETS = 40
BEHIND = 200
"""Left of a window of 64, even of that before all packets under way."""
CIPHERS = {"null": 0, "gcm": 1, "cbc": 2, "gmac": 3}
FAULTS = (
    *("good",) * 14,
    *("icv", "icv", "text", "outer icv", "header", "padding", "pad octets", "dummy", "next header"),
    *("port", "udp octets", "inner", "spi", "inner spi", "no ah", "no esp", "ah words", "reserved"),
    *(
        "short",
        "odd",
        "duplicate",
        "duplicate",
        "old",
        "outer duplicate",
        "inner duplicate",
        "inner duplicate",
        "clear",
    ),
)


def gcm(key: bytes, nonce: bytes, text: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """Plaintext and tag of a ciphertext, right or wrong."""
    plaintext = AESGCM(key).encrypt(nonce, text, aad)[: len(text)]
    return plaintext, AESGCM(key).encrypt(nonce, plaintext, aad)[-16:]


def paced(cycles: int) -> Pattern:
    """Ready for one cycle in `cycles`."""
    while True:
        yield from repeat(True, cycles - 1)
        yield False


class CipherUnit(Driver):
    """Stands where the cipher unit is."""

    def __init__(self, bench: Bench, sas: list[Sa], pattern_of: Any, jobs: Pattern | None = None):
        self.sas = sas
        self.jobs = StreamSink(bench, "cipher_job", backpressure=jobs or pattern_of())
        self.octets = OctetSink(bench, "cipher_i", backpressure=pattern_of())
        self.out = OctetSource(bench, "cipher_o", idle=pattern_of())
        self.tag = OctetSource(bench, "cipher_tag", idle=pattern_of())
        self.job: Any = None
        self.text = bytearray()
        super().__init__(bench)

    def sample(self) -> None:
        if self.job is None and self.jobs.count:
            (value,) = [self.jobs._taken.popleft()]
            self.job = cipher_job_layout(slots=2 * ALL_BANKS).from_bits(value)
        if self.job is None:
            return
        while self.octets.count and len(self.text) < self.job.octets:
            self.text.append(self.octets._taken.popleft())
        if len(self.text) < self.job.octets:
            return
        job, text = self.job, bytes(self.text)
        assert job.slot % 2 == 0
        assert not job.encrypt
        sa = self.sas[job.slot // 2]
        assert job.aes256 == (len(sa.key) == 32)
        nonce = job.nonce.to_bytes(12, "little")
        aad = job.aad.to_bytes(12, "little")[: job.aad_octets]
        if job.mode.value == CIPHERS["gcm"]:
            plaintext, tag = gcm(sa.key, nonce, text, aad)
            self.out.send(plaintext)
            self.tag.send(tag.ljust(16, b"\0"))
        elif job.mode.value == CIPHERS["gmac"]:
            tag = AESGCM(sa.key).encrypt(nonce, b"", aad + text)
            self.tag.send(tag.ljust(16, b"\0"))
        else:
            cipher = Cipher(algorithms.AES(sa.key), modes.CBC(text[:16])).decryptor()
            self.out.send(cipher.update(text[16:]) + cipher.finalize())
        self.job = None
        self.text.clear()


class HmacPort(Driver):
    """Stands where an HMAC port of the share is."""

    def __init__(self, bench: Bench, name: str, sas: list[Sa], pattern_of: Any):
        self.sas = sas
        self.name = name
        self.jobs = StreamSink(bench, f"{name}_auth_job", backpressure=pattern_of())
        self.octets = StreamSink(bench, f"{name}_auth_i", backpressure=pattern_of())
        self.tag = OctetSource(bench, f"{name}_auth_tag", idle=pattern_of())
        self.text = bytearray()
        super().__init__(bench)

    def sample(self) -> None:
        while self.octets.count:
            beat = self.octets._taken.popleft()
            self.text.append(beat & 0xFF)
            if not beat & 0x100:
                continue
            job = self.jobs._taken.popleft()
            slot, sha_1 = job & (4 * ALL_BANKS - 1), job // (4 * ALL_BANKS)
            assert slot & 3 == (2 if self.name == "outer" else 0)
            sa = self.sas[slot >> 2]
            if self.name == "outer":
                assert not sha_1
                tag = keyed("sha256", sa.ah_auth, bytes(self.text))
            else:
                assert sha_1 == (sa.kind.hash == "sha1")
                tag = keyed(sa.kind.hash, sa.auth, bytes(self.text))
            self.tag.send(tag.ljust(16, b"\0"))
            self.text.clear()


class Records(Driver):
    """Keeps senders' records under the numbers that they have already."""

    def drive(self) -> None:
        dut = self.bench.dut
        dut.keep_ready.value = 1
        dut.kept.value = int(dut.keep_token.value)


class Strobes(Driver):
    """Notes what is counted and proven."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.dropped: deque[Counter] = deque()
        self.counts = dict.fromkeys(Counter, 0)
        self.proven: list[int] = []

    def sample(self) -> None:
        value = int(self.bench.dut.count.value)
        if value:
            for half in (value & ((1 << COUNTER_COUNT) - 1), value >> COUNTER_COUNT):
                assert half & (half - 1) == 0
                if half:
                    self.counts[Counter(half.bit_length() - 1)] += 1
        if self.bench.dut.prove_stb.value:
            self.proven.append(int(self.bench.dut.prove_bank.value))


@dataclass
class Case:
    """A packet as it lies in the taken buffer, and what must become of it."""

    meta: dict[str, int]
    octets: bytes
    reason: Counter | None
    message: dict[str, int]
    payload: bytes
    proves: int | None


class BankRecordsPort(Driver):
    """Stands where the banks' records are: a word two cycles after it was asked for."""

    def __init__(self, bench: Bench, sas: list[Sa]) -> None:
        super().__init__(bench)
        self.words: dict[int, int] = {}
        self.asked = [0, 0]
        for number, sa in enumerate(sas):
            kind = sa.kind
            suite = SuiteView.const(
                {
                    "protocol": 2 if kind.both else int(kind.ah),
                    "cipher": CIPHERS[kind.cipher],
                    "aes256": kind.key == 32,
                    "sha_1": kind.hash == "sha1",
                }
            )
            record = {
                BankWord.SPI_IN: sa.spi,
                BankWord.AH_SPI_IN: sa.ah_spi,
                BankWord.SALT_IN: int.from_bytes(sa.salt, "big"),
                BankWord.SUITE: suite.as_bits(),
                BankWord.FLAGS: sa.esn | sa.tunnel << 1 | (number % 2) << 3,
            }
            for place, word in record.items():
                self.words[number * BANK_WORDS + int(place)] = word

    def drive(self) -> None:
        self.bench.dut.read_data.value = self.asked[0]

    def sample(self) -> None:
        dut = self.bench.dut
        at = int(dut.read_address.value)
        self.asked = [self.asked[1], self.words.get(at, 0) if dut.read_stb.value else 0]


class Path:
    """The device with its surroundings."""

    def __init__(self, dut: Any, sas: list[Sa], *, pace: str, jobs: Pattern | None = None):
        self.bench = bench = Bench(dut)
        self.sas = sas

        def pattern_of() -> Pattern:
            return pattern(pace, bench.rng)

        self.meta = StreamSource(bench, "meta")
        self.packets = PacketSource(bench, "i", idle=pattern_of())
        self.cipher = CipherUnit(bench, sas, pattern_of, jobs)
        self.main = HmacPort(bench, "main", sas, pattern_of)
        self.outer = HmacPort(bench, "outer", sas, pattern_of)
        self.messages = StreamSink(bench, "message", backpressure=pattern_of())
        self.out = PacketSink(bench, "o", backpressure=pattern_of())
        self.strobes = Strobes(bench)
        Records(bench)
        BankRecordsPort(bench, sas)
        dut.host_ip.value = int.from_bytes(HOST_V4, "big")
        dut.host_ip6.value = int.from_bytes(HOST_V6, "big")
        dut.load_stb.value = 0
        self.epochs = [bench.rng.randrange(8) for _ in sas]
        self.receives = [1 for _ in sas]

    def show_banks(self) -> None:
        """Drives what the SAD says."""
        dut = self.bench.dut
        dut.receives.value = sum(bit << n for n, bit in enumerate(self.receives))
        dut.epoch.value = sum(epoch << 3 * n for n, epoch in enumerate(self.epochs))

    async def begin(self) -> None:
        """Reset, and windows at the SAs' numbers."""
        dut = self.bench.dut
        self.show_banks()
        await self.bench.reset()
        for number, sa in enumerate(self.sas):
            for outer, edge in enumerate((sa.sequence, sa.outer)):
                dut.load_index.value = outer | number << 1
                dut.load_edge.value = edge
                dut.load_stb.value = 1
                await self.bench.cycles()
        dut.load_stb.value = 0
        await self.bench.cycles(100)

    def send(self, case: Case) -> None:
        """Queues a packet."""
        self.meta.put(TakenMeta.const(case.meta).as_bits())
        self.packets.send(case.octets)

    async def check(self, cases: list[Case]) -> None:
        """Waits until all of them are decided on, and compares."""
        want = dict.fromkeys(Counter, 0)
        for case in cases:
            if case.reason is not None:
                want[case.reason] += 1
        good = [case for case in cases if case.reason is None]
        for _ in range(100 * len(cases)):
            if self.out.count + sum(self.strobes.counts.values()) >= len(cases):
                break
            await self.bench.cycles(20)
        await self.bench.cycles(100)
        assert (self.messages.count, self.out.count) == (len(good), len(good)), self.strobes.counts
        for number, case in enumerate(good):
            value = await self.messages.receive()
            meta = MessageMeta.from_bits(value)
            frame = await self.out.receive()
            for name, expected in case.message.items():
                assert meta[name] == expected, f"message {number}: {name} {meta[name]} {case.meta}"
            assert frame.data[: len(case.payload)] == case.payload, f"message {number}"
            assert not frame.err
        assert self.strobes.counts == want, {
            c.name: (self.strobes.counts[c], want[c])
            for c in Counter
            if self.strobes.counts[c] != want[c]
        }
        await self.packets.drained()
        assert self.strobes.proven == [c.proves for c in cases if c.proves is not None]


class Maker:
    """Builds cases under two banks."""

    def __init__(self, rng: random.Random, path: Path) -> None:
        self.rng = rng
        self.path = path
        self.last: dict[int, tuple[Case, int, int]] = {}
        self.bank = 0
        """What the classifier says of the packet that is made."""

    def meta_of(self, kind: int, l4: bytes, header_octets: int, **more: int) -> dict[str, int]:
        """What parser and classifier say of a packet."""

        def number(octets: bytes, order: Any = "big") -> int:
            return int.from_bytes(octets, order)

        padded = l4 + bytes(80)
        meta = {"kind": kind, "octets": len(l4), "header_octets": header_octets, **more}
        meta["bank"] = self.bank
        meta |= {"token": self.rng.randrange(64), "tags": self.rng.randrange(3)}
        junk = self.rng.getrandbits(32)
        meta |= {"esp_spi": junk, "esp_sequence": junk, "ah_next": junk & 0xFF, "iv": junk}
        if kind == AH:
            meta |= {"ah_next": l4[0], "ah_words": l4[1], "ah_reserved": int(l4[2:4] != b"\0\0")}
            meta |= {"spi": number(l4[4:8]), "sequence": number(l4[8:12])}
            meta["iv"] = number(l4[12:20], "little")
            if l4[0] == 50:
                esp = padded[4 * (l4[1] + 2) :].ljust(16, b"\0")
                meta |= {"esp_spi": number(esp[:4]), "esp_sequence": number(esp[4:8])}
                meta["iv"] = number(esp[8:16], "little")
        elif kind == ESP:
            meta |= {"spi": number(padded[:4]), "sequence": number(padded[4:8])}
            meta["iv"] = number(padded[8:16], "little")
        return meta

    def clear(self) -> Case:
        """A message to port 623."""
        message = self.rng.randbytes(self.rng.choice((4, 5, 12, 40)))
        v6 = self.rng.random() < 0.5
        packet = ipv6(17, udp(message)) if v6 else ipv4(17, udp(message))
        meta = self.meta_of(CLEAR, message, len(packet) - len(message), v6=v6)
        want = {"protected": 0, "octets": len(message), "token": meta["token"]}
        want |= {"tags": meta["tags"], "v6": int(v6), "encapsulated": 0}
        return Case(meta, packet.ljust(46, b"\xee"), None, want, message, None)

    def make(self, bank: int, fault: str, *, message: bytes | None = None) -> Case | None:
        """A packet with a fault, or None where the SA has no place for it."""
        if fault == "clear":
            return self.clear()
        self.bank = bank
        rng, sa = self.rng, self.path.sas[bank]
        kind = sa.kind
        if (
            fault in ("duplicate", "outer duplicate", "inner duplicate", "old")
            and bank not in self.last
        ):
            return None
        if fault == "duplicate":
            case, _, _ = self.last[bank]
            return replace(case, reason=Counter.DROP_REPLAY_DUPLICATE, proves=None)
        number, outer = sa.sequence + rng.choice((1, 1, 1, 2, 9)), sa.outer + rng.choice((1, 1, 3))
        reason: Counter | None = None
        proves: int | None = bank
        moves = True

        def cheap(why: Counter) -> None:
            nonlocal reason, proves, moves
            reason, proves, moves = why, None, False

        if fault == "old":
            number, outer = sa.sequence - BEHIND, (sa.outer - BEHIND if kind.both else outer)
            # Of an extended number the receiver takes one that is far behind for one ahead.
            cheap(Counter.DROP_ICV if sa.esn else Counter.DROP_REPLAY_OLD)
        if fault == "outer duplicate":
            if not kind.both:
                return None
            outer = sa.outer
            cheap(Counter.DROP_REPLAY_DUPLICATE)

        if fault == "inner duplicate":
            if not kind.both:
                return None
            number = sa.sequence
            cheap(Counter.DROP_REPLAY_DUPLICATE)

        if message is None:
            message = rng.randbytes(rng.choice((0, 1, 2, 3, 4, 8, 12, 13, 60, 300)))
        port = 665 if fault == "port" else 664
        datagram = udp(message, 40664, port, 9 + len(message) if fault == "udp octets" else None)
        carried, next_header, inner_v6 = datagram, 17, 0
        if sa.tunnel:
            inner_v6 = rng.randrange(2)
            wrong = fault == "inner"
            if inner_v6:
                to = HOST_V6[:15] + b"\x03" if wrong else HOST_V6
                carried, next_header = ipv6(17, datagram, destination=to), 41
            else:
                to = HOST_V4[:3] + b"\x03" if wrong else HOST_V4
                carried, next_header = ipv4(17, datagram, destination=to), 4
        elif fault == "inner":
            return None
        if fault in ("port", "udp octets", "inner"):
            reason = Counter.DROP_SELECTOR
        if fault == "next header":
            next_header, reason = 6, Counter.DROP_NEXT_HEADER
        iv = rng.randbytes(16)
        how: dict[str, Any] = {"iv": iv}
        of_esp = ("padding", "pad octets", "dummy", "short", "odd", "no esp", "no ah", "text")
        if fault in of_esp and not kind.esp:
            return None
        if fault == "padding":
            align = 16 if kind.cipher == "cbc" else 4
            how["pad"] = bytes(-(len(carried) + 2) % align or align)
            reason = Counter.DROP_PADDING
        if fault == "pad octets":
            how["pad_octets"] = 255
            if len(carried) > 300:
                return None
            reason = Counter.DROP_PADDING
        if fault == "dummy":
            next_header, reason = 59, Counter.DROP_DUMMY
        if fault == "spi":
            if kind.esp and not kind.ah:
                how["spi"] = sa.spi ^ 1 << rng.randrange(16, 32)
            else:
                return None
            cheap(Counter.DROP_UNKNOWN_SPI)
        if fault == "inner spi":
            if not kind.both:
                return None
            how["spi"] = sa.spi ^ 1 << rng.randrange(32)
            cheap(Counter.DROP_UNKNOWN_SPI)

        protocol, l4 = next_header, carried
        if kind.esp:
            l4 = sa.esp(carried, next_header, number, **how)
            protocol = 50
            if fault in ("icv", "text"):
                spoilt = bytearray(l4)
                at = len(l4) - 1 - rng.randrange(kind.icv)
                if fault == "text":
                    at = rng.randrange(8, len(l4) - kind.icv)
                spoilt[at] ^= 1 << rng.randrange(8)
                l4 = bytes(spoilt)
                cheap(Counter.DROP_ICV)
            if fault == "short":
                l4 = l4[: 8 + kind.iv + kind.icv + rng.choice((0, 1, 3))]
                cheap(Counter.DROP_ESP_LENGTH)
            if fault == "odd":
                l4 += bytes(rng.choice((1, 2, 3)))
                cheap(Counter.DROP_ESP_LENGTH)
        encapsulated = 0
        options = rng.choice((b"", b"", bytes.fromhex("94040000")))
        extensions = rng.choice(((), ((60, b"\1" + b"\x1e\x04abcd" + b"\1\4abcd"),)))
        kind_of = ESP
        if fault in ("no ah", "no esp") and not kind.both:
            return None
        if kind.ah and fault != "no ah":
            kind_of = AH
            if fault == "no esp":
                protocol, l4 = 17, datagram
                cheap(Counter.DROP_PROTOCOL)
            ah: dict[str, Any] = {"padded": rng.random() < 0.5, "filler": rng.randbytes(4)}
            ah["iv"] = iv[:8]
            if fault == "reserved":
                ah["reserved"] = 1 << rng.randrange(16)
                cheap(Counter.DROP_AH_LENGTH)
            n = outer if kind.both else number
            octets = len(sa.ah(b"", protocol, l4, n, v6=sa.v6, **ah))
            if fault == "ah words":
                right = (octets - len(l4)) // 4 - 2
                lies = [w for w in (*range(12), 255, right ^ 16) if not 4 <= w <= 8]
                ah["length"] = rng.choice(lies)
                cheap(Counter.DROP_AH_LENGTH)
            if sa.v6:
                whole = ipv6(51, bytes(octets), extensions=extensions, hops=0)
            else:
                whole = ipv4(51, bytes(octets), options=options, ttl=0, flags=0)
            header = bytearray(whole[: len(whole) - octets])
            if not sa.v6:
                header[10] = header[11] = 0
            l4 = sa.ah(bytes(header), protocol, l4, n, v6=sa.v6, **ah)
            spoilt = bytearray(l4)
            if fault == "outer icv" or (fault == "icv" and not kind.esp):
                field = 12 + (8 if kind.cipher == "gmac" and not kind.both else 0)
                spoilt[field + rng.randrange(16 if kind.both else kind.icv)] ^= 1 << rng.randrange(
                    8
                )
                cheap(Counter.DROP_ICV)
            l4 = bytes(spoilt)
            if fault == "header":
                header[-1] ^= 1
                cheap(Counter.DROP_ICV)
            packet = bytes(header) + l4
        else:
            if fault in ("outer icv", "header", "ah words", "reserved"):
                return None
            if fault == "no ah":
                cheap(Counter.DROP_PROTOCOL)
            behind, outer_protocol = l4, 50
            if rng.random() < 0.3:
                encapsulated, outer_protocol, behind = 1, 17, udp(l4, 4500, 4500)
            if sa.v6:
                packet = ipv6(outer_protocol, behind, extensions=extensions)
            else:
                packet = ipv4(outer_protocol, behind, options=options)
        meta = self.meta_of(
            kind_of, l4, len(packet) - len(l4), v6=int(sa.v6), encapsulated=encapsulated
        )
        want = {"protected": 1, "bank": bank, "epoch": self.path.epochs[bank]}
        want["administrator"] = bank % 2
        want |= {name: meta[name] for name in ("token", "tags", "v6", "encapsulated")}
        want |= {"inner_v6": inner_v6, "octets": len(message)}
        if moves:
            sa.sequence = number
            if kind.both:
                sa.outer = outer
        frame = packet + rng.randbytes(max(0, 46 - len(packet)) + rng.choice((0, 0, 0, 1, 4)))
        case = Case(meta, frame, reason, want, message, proves)
        if moves:
            self.last[bank] = case, number, outer
        return case


def banks_of(rng: random.Random, suites: list[int]) -> list[Sa]:
    """Two banks of these suites."""
    sas = []
    for number, suite in enumerate(suites):
        esn = rng.random() < 0.5
        sas.append(
            Sa(
                suite,
                esn=esn,
                tunnel=rng.random() < 0.4,
                v6=rng.random() < 0.5,
                spi=0xC0DE0101 + 16 * number,
                # The two protocols have numbers of their own.
                ah_spi=0xC0DE0101 + 16 * rng.choice((number, number + 2)),
                sequence=rng.choice((250, 0xFFFFFFF0, 0x1FFFFFFFA)) if esn else 250,
                outer=rng.choice((300, 0xFFFFFFF8)) if esn else 300,
                seed=rng.getrandbits(32),
            )
        )
    return sas


@cocotb.test()
@cocotb.parametrize(suite=list(range(1, 20)), pace=["none", "random"])
async def decides_every_packet(dut: Any, suite: int, pace: str) -> None:
    """Packets of this suite and of another one, each fault in them, as fast as they are taken."""
    rng = random.Random(cocotb.RANDOM_SEED + suite)
    path = Path(dut, banks_of(rng, [suite, rng.randint(1, 19)]), pace=pace)
    await path.begin()
    maker = Maker(rng, path)
    cases: list[Case] = []
    faults = [*FAULTS, *rng.choices(FAULTS, k=PACKETS)]
    rng.shuffle(faults)
    for fault in faults:
        case = maker.make(rng.random() < 0.3, fault)
        # What has the number of a packet under way is known by its ICV, not by its window.
        if case is not None:
            cases.append(case)
            path.send(case)
    await path.check(cases)
    await path.bench.finish()


@cocotb.test()
async def bad_icv_at_each_bit(dut: Any) -> None:
    """Whichever bit of the ICVs is wrong, the packet is dropped, and its numbers stay good."""
    rng = random.Random(cocotb.RANDOM_SEED)
    path = Path(dut, banks_of(rng, [13, 1]), pace="none")
    await path.begin()
    maker = Maker(rng, path)
    cases = []
    for bank, places in ((0, (0, 1)), (1, (0,))):
        good = maker.make(bank, "good", message=b"abcd")
        assert good is not None
        end = good.meta["header_octets"] + good.meta["octets"]
        starts = (end - 16, good.meta["header_octets"] + 12)
        for place in places:
            for bit in range(128):
                spoilt = bytearray(good.octets)
                spoilt[starts[place] + bit // 8] ^= 1 << bit % 8
                reason = Counter.DROP_ICV
                cases.append(replace(good, octets=bytes(spoilt), reason=reason, proves=None))
        cases.append(good)
    for case in cases:
        path.send(case)
    await path.check(cases)
    await path.bench.finish()


@cocotb.test()
@cocotb.parametrize(receives=[0, 1])
async def bank_gone_under_way(dut: Any, receives: int) -> None:
    """A bank that stops, or lives another life, takes the packets under way with it."""
    rng = random.Random(cocotb.RANDOM_SEED)
    path = Path(dut, banks_of(rng, [1, 11]), pace="none")
    path.cipher.tag.idle = repeat(True)
    await path.begin()
    maker = Maker(rng, path)
    cases = [case for bank in (0, 1) if (case := maker.make(bank, "good"))]
    for case in cases:
        path.send(case)
    await path.bench.cycles(800)
    path.epochs = [epoch ^ 4 for epoch in path.epochs]
    path.receives = [receives, receives]
    path.show_banks()
    path.cipher.tag.idle = none()
    await path.check([replace(c, reason=Counter.DROP_UNKNOWN_SPI, proves=None) for c in cases])
    # Its windows did not move: under the bank's present life the packets are good.
    path.receives = [1, 1]
    path.show_banks()
    path.strobes.counts = dict.fromkeys(Counter, 0)
    again = [
        replace(case, message=case.message | {"epoch": path.epochs[bank]})
        for bank, case in enumerate(cases)
    ]
    for case in again:
        path.send(case)
    await path.check(again)
    await path.bench.finish()


@cocotb.test()
async def flood_at_line_rate(dut: Any) -> None:
    """Of the shortest packets, forged and good ones, each takes no more than 70 cycles."""
    rng = random.Random(cocotb.RANDOM_SEED)
    sas = [Sa(2, seed=1, sequence=10), Sa(1, seed=2, spi=0xC0DE0999, sequence=10)]
    path = Path(dut, sas, pace="none", jobs=paced(bench_parameters().get("cipher_cycles", 60)))
    await path.begin()
    maker = Maker(rng, path)
    cases: list[Case] = []
    for number in range(150):
        if number % 5 == 4:
            case = maker.make(0, "good", message=b"abcd")
        else:
            esp = sas[0].esp(b"\0\0", 17, sas[0].sequence + rng.randrange(1, 60))
            esp = esp[:-1] + bytes([esp[-1] ^ 1])
            packet = ipv4(50, esp)
            assert len(packet) == 56
            meta = maker.meta_of(ESP, esp, 20)
            case = Case(meta, packet, Counter.DROP_ICV, {}, b"", None)
        assert case is not None
        cases.append(case)
        path.send(case)
    begin = path.bench.cycle
    await path.packets.drained()
    each = (path.bench.cycle - begin) / len(cases)
    dut._log.info(f"RESULT inbound: {each:.1f} cycles for a packet of a flood of the shortest")
    assert each <= 70
    await path.check(cases)
    await path.bench.finish()
