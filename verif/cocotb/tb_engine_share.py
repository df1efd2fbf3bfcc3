"""Bench of `hw.ipsec.engine_share`: random jobs of all users, engines that only mark what they saw.

Each stand-in answers with a value made of the job and all its octets, so a beat that went to or
came from the wrong job, in the wrong order, or not at all, shows.
"""

import hashlib
import itertools

import cocotb
from cocotb.triggers import with_timeout

from spec.sa import ALL_BANKS
from verif.cocotb.drivers import (
    PATTERNS,
    Bench,
    OctetSink,
    OctetSource,
    StreamSink,
    StreamSource,
    bench_parameters,
    pattern,
)
from verif.cocotb.key_port import pack

LANES = bench_parameters().get("lanes", 2)
JOB_FIELDS = [
    ("mode", 2),
    ("encrypt", 1),
    ("slot", (2 * ALL_BANKS - 1).bit_length()),
    ("aes256", 1),
    ("nonce", 96),
    ("aad", 96),
    ("aad_octets", 4),
    ("octets", 11),
]
GCM, CBC, GMAC = 1, 2, 3
USERS = ("inbound", "outbound")
PORTS = ("main", "outer", "outbound")
LIMIT_US = 4000
LAST = 1 << 8


def digest(job: int, octets: bytes) -> int:
    made = hashlib.sha256(job.to_bytes(32, "little") + octets).digest()
    return int.from_bytes(made[:16], "little")


def unpack(word: int) -> dict[str, int]:
    values, place = {}, 0
    for name, bits in JOB_FIELDS:
        values[name] = (word >> place) & ((1 << bits) - 1)
        place += bits
    return values


def turned(job: int, octets: bytes) -> bytes:
    """What the cipher stand-in makes of the octets."""
    fields = unpack(job)
    key = fields["nonce"] & 0xFF
    out = bytes(octet ^ key for octet in octets)
    if fields["mode"] == GMAC:
        return b""
    if fields["mode"] == CBC and not fields["encrypt"]:
        return out[16:]
    return out


class ShareBench(Bench):
    """Drivers on all ports; `idle` for sources and `pause` for sinks."""

    def __init__(self, dut, idle="none", pause="none"):
        super().__init__(dut)

        def source(name, kind=StreamSource):
            return kind(self, name, idle=pattern(idle, self.rng))

        def sink(name, kind=StreamSink):
            return kind(self, name, backpressure=pattern(pause, self.rng))

        self.users = {
            user: (
                source(f"{user}_job"),
                source(f"{user}_i", OctetSource),
                sink(f"{user}_o", OctetSink),
                sink(f"{user}_tag", OctetSink),
            )
            for user in USERS
        }
        self.engine = (
            sink("job"),
            sink("i", OctetSink),
            source("o", OctetSource),
            source("tag", OctetSource),
        )
        self.ports = {
            port: (
                source(f"{port}_auth_job"),
                source(f"{port}_auth_i"),
                sink(f"{port}_auth_tag", OctetSink),
            )
            for port in PORTS
        }
        self.lanes = [
            (sink(f"lane_job_{n}"), sink(f"lane_i_{n}"), source(f"lane_tag_{n}", OctetSource))
            for n in range(LANES)
        ]
        self.cipher_order: list[int] = []
        self.lane_of: dict[int, int] = {}

    def start_engines(self):
        cocotb.start_soon(self.run_cipher())
        for n in range(LANES):
            cocotb.start_soon(self.run_lane(n))

    async def run_cipher(self):
        jobs, i, o, tags = self.engine
        while True:
            job = await jobs.receive()
            self.cipher_order.append(job)
            octets = b""
            for _ in range(unpack(job)["octets"]):
                octets += bytes([await i.receive()])
            o.send(turned(job, octets))
            if unpack(job)["mode"] != CBC:
                tags.send(digest(job, octets).to_bytes(16, "little"))

    async def run_lane(self, n):
        jobs, i, tags = self.lanes[n]
        while True:
            job = await jobs.receive()
            octets, last = b"", False
            while not last:
                beat = await i.receive()
                octets += bytes([beat & 0xFF])
                last = bool(beat & LAST)
            # More work of one lane than of the other.
            await self.cycles(self.rng.randrange(200))
            tags.send(digest(job, octets).to_bytes(16, "little"))
            self.lane_of[digest(job, octets)] = n

    def random_job(self):
        rng = self.rng
        mode = rng.choice((GCM, CBC, GMAC))
        encrypt = rng.getrandbits(1)
        octets = rng.choice((1, 2, 4, 17, rng.randrange(1, 150)))
        if mode == CBC:
            octets = 16 * (1 + rng.randrange(0 if not encrypt else 1, 6))
        return pack(
            JOB_FIELDS,
            mode=mode,
            encrypt=encrypt,
            slot=rng.randrange(2 * ALL_BANKS),
            aes256=rng.getrandbits(1),
            nonce=rng.getrandbits(96),
            aad=rng.getrandbits(96),
            aad_octets=rng.choice((0, 8, 12)),
            octets=octets,
        )

    async def cipher_user(self, user, jobs):
        """Offers all jobs and octets at once, and checks what comes back, in order."""
        job_port, i, o, tags = self.users[user]
        texts = []
        for job in jobs:
            octets = self.rng.randbytes(unpack(job)["octets"])
            job_port.put(job)
            i.send(octets)
            texts.append(octets)
        for number, (job, octets) in enumerate(zip(jobs, texts, strict=True)):
            expected = turned(job, octets)
            got = await with_timeout(o.receive_octets(len(expected)), LIMIT_US, "us")
            assert got == expected, f"{user} job {number}"
            if unpack(job)["mode"] != CBC:
                tag = await with_timeout(tags.receive_octets(16), LIMIT_US, "us")
                assert int.from_bytes(tag, "little") == digest(job, octets), f"{user} tag {number}"

    async def auth_user(self, port, count, octets_max=200):
        jobs, i, tags = self.ports[port]
        expected = []
        for _ in range(count):
            job = self.rng.getrandbits(4)
            octets = self.rng.randbytes(self.rng.choice((1, 2, self.rng.randint(1, octets_max))))
            jobs.put(job)
            for octet in octets[:-1]:
                i.put(octet)
            i.put(octets[-1] | LAST)
            expected.append(digest(job, octets))
        for number, tag in enumerate(expected):
            got = await with_timeout(tags.receive_octets(16), LIMIT_US, "us")
            assert int.from_bytes(got, "little") == tag, f"{port} tag {number}"


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), pause=list(PATTERNS))
async def routes_in_order(dut, idle, pause):
    bench = ShareBench(dut, idle, pause)
    await bench.reset()
    bench.start_engines()
    tasks = [
        cocotb.start_soon(bench.cipher_user(user, [bench.random_job() for _ in range(25)]))
        for user in USERS
    ]
    tasks += [cocotb.start_soon(bench.auth_user(port, 15)) for port in PORTS]
    for task in tasks:
        await task
    await bench.finish()


@cocotb.test()
async def none_starves(dut):
    """With all users always asking, jobs of the two alternate, and each port has its third."""
    bench = ShareBench(dut)
    await bench.reset()
    bench.start_engines()
    jobs = {user: [bench.random_job() for _ in range(20)] for user in USERS}
    tasks = [cocotb.start_soon(bench.cipher_user(user, jobs[user])) for user in USERS]
    tasks += [cocotb.start_soon(bench.auth_user(port, 12, octets_max=20)) for port in PORTS]
    for task in tasks:
        await task
    owners = [job in jobs["outbound"] for job in bench.cipher_order]
    assert all(a != b for a, b in itertools.pairwise(owners)), owners
    await bench.finish()


@cocotb.test()
async def one_goes_on_alone(dut):
    """A user whose result is not taken yet does not keep the other's octets from the engine."""
    bench = ShareBench(dut)
    await bench.reset()
    bench.start_engines()
    await bench.cipher_user("outbound", [bench.random_job() for _ in range(10)])
    await bench.cipher_user("inbound", [bench.random_job() for _ in range(10)])
    for port in PORTS:
        await bench.auth_user(port, 4)
    await bench.finish()


@cocotb.test()
async def lanes_run_at_once(dut):
    """With two lanes, both messages of a packet are fed at the same time."""
    bench = ShareBench(dut)
    await bench.reset()
    if LANES == 1:
        return
    # Neither of the two has its last octet until both have begun.
    for port in ("main", "outer"):
        bench.ports[port][0].put(1)
        for octet in range(3):
            bench.ports[port][1].put(octet)
    await bench.cycles(60)
    fed = [lane[1].take_all() for lane in bench.lanes]
    assert fed[:2] == [[0, 1, 2]] * 2, fed
    for port in ("main", "outer"):
        bench.ports[port][1].put(3 | LAST)
    for _, i, tags in bench.lanes[:2]:
        assert await with_timeout(i.receive(), LIMIT_US, "us") == 3 | LAST
        tags.send(bytes([5] * 16))
    for port in ("main", "outer"):
        tag = await with_timeout(bench.ports[port][2].receive_octets(16), LIMIT_US, "us")
        assert tag == bytes([5] * 16)
    for jobs, _, _ in bench.lanes:
        jobs.take_all()
    await bench.finish()
