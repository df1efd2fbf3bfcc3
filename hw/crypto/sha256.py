"""SHA-256: the constants, and a compression function that does one round a cycle.

The constants are computed from the primes, as the standard defines them; `SHA256_K` serves both
the ROM and whoever wants a model in software.

How the carry chains are kept short: seen over time, each of the chains a-d and e-h is one sequence
of which a round adds one word, a[t + 1] and e[t + 1]. With a-d kept two cycles behind e-h, and
a[t - 3] being d[t]:

- K[t] + W[t], then + h[t], then + d[t] are summed in three cycles ahead, into `ahead_sum`;
- e[t + 1] = ahead_sum + S1(e) + Ch(e, f, g), one carry-save adder and one carry chain;
- T1[t] = e[t + 1] - d[t], a cycle later, instead of a second sum of T1;
- a[t + 1] = T1[t] + S0(a) + Maj(a, b, c), another cycle later.

A chaining value goes into the chains the same way, a word a cycle, and so do the four sums of each
chain after the last round. It lies in LUT RAM meanwhile. Such a word uses the adders of a round: it
stands for d[t] in `ahead_sum`, with K[t] + W[t] = 0, so that h[t] is added to it; and for ~e[t + 1]
in T1, which becomes ~(word + d[t]). For this all of it stands still between two blocks.

Source: FIPS 180-4 4.1.2, 4.2.2, 5.3.3, 6.2.2.
"""

from itertools import count, islice, pairwise
from math import isqrt

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = [
    "BLOCK_CYCLES",
    "BLOCK_WORDS",
    "DIGEST_WORDS",
    "FINISH_CYCLES",
    "SHA256_INITIAL",
    "SHA256_K",
    "WORD_BITS",
    "Region",
    "Sha256Core",
    "hash_load_layout",
    "sum_of_three",
]

WORD_BITS = 32
BLOCK_WORDS = 16
DIGEST_WORDS = 8
ROUNDS = 64
CHAIN_WORDS = 4
LEAD_CYCLES = 2

BLOCK_CYCLES = CHAIN_WORDS + ROUNDS
"""From the start of a block to that of the next: four words of the chaining value, 64 rounds."""

FINISH_CYCLES = 10
"""From the start of a finish until the next block can start; a cycle later the digest is there."""


def _primes(number: int) -> list[int]:
    found = (n for n in count(2) if all(n % divisor for divisor in range(2, isqrt(n) + 1)))
    return list(islice(found, number))


def _cube_root(value: int) -> int:
    low, high = 0, 1 << (value.bit_length() // 3 + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle)
    return low


SHA256_K = tuple(_cube_root(prime << 96) & 0xFFFF_FFFF for prime in _primes(ROUNDS))
"""First 32 bits of the fractional parts of the cube roots of the first 64 primes (4.2.2)."""

SHA256_INITIAL = tuple(isqrt(prime << 64) & 0xFFFF_FFFF for prime in _primes(DIGEST_WORDS))
"""First 32 bits of the fractional parts of the square roots of the first eight primes (5.3.3)."""


class Region:
    """What the four words of a chain's LUT RAM are for, by the two high bits of their address.

    Word 0 is H3 or H7, word 3 is H0 or H4: the order in which they go into the chains.
    """

    RUNNING = 0
    """The chaining value of the block under way."""
    START = 1
    """Where a block begins that does not go on from the one before."""
    DIGEST = 2
    """What a finish left."""


def hash_load_layout() -> data.StructLayout:
    """With `stb`, `data` becomes word `index` of `region` of chain a-d or (`upper`) e-h."""
    return data.StructLayout(
        {"stb": 1, "both": 1, "upper": 1, "index": 2, "region": 2, "data": WORD_BITS}
    )


def _rotated(word, amount):
    return word.rotate_right(amount)


def sum_of_three(m: Module, name: str, x, y, z):
    """x + y + z with one carry chain."""
    total = Signal(WORD_BITS, name=f"{name}_xor")
    carry = Signal(WORD_BITS, name=f"{name}_carry")
    m.d.comb += [total.eq(x ^ y ^ z), carry.eq((x & y) | (x & z) | (y & z))]
    return (total + (carry << 1))[:WORD_BITS]


class Sha256Core(wiring.Component):
    """The compression function over one block after another.

    Contract: a `go` while `ready` starts a block, or with `finish` adds up the last one. Word s of
    the block must be at `word` three cycles after the one in which `index` = s (the first time,
    `index` = 0 is in the cycle after `go`). Blocks may follow each other each 68 cycles. `go` when
    not `ready` is ignored. After a finish comes a block with `fresh`. Eleven cycles after a finish
    began its digest is in region DIGEST.

    Loads may be made at any time but in cycles 1 to 10 after a `go`.

    Attributes
    ----------
    go, finish, fresh : In(1)
        With `fresh` the block begins with region START, else with the sum of the block before.
    ready : Out(1)
    running : Out(1)
    index : Out(7)
    word : In(32)
    load : In(hash_load_layout())
    digest_index : In(3)
    digest : Out(32)
        Word `digest_index` of region DIGEST (0 is H0), in the same cycle.
    sum_stb, sum : Out
        H3, H2, H1, H0 of a finish, on successive cycles.
    """

    go: In(1)
    finish: In(1)
    fresh: In(1)
    ready: Out(1)
    running: Out(1)
    index: Out(7)
    word: In(WORD_BITS)
    load: In(hash_load_layout())
    digest_index: In(3)
    digest: Out(WORD_BITS)
    sum_stb: Out(1)
    sum: Out(WORD_BITS)

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        rom = memory.Memory(
            shape=WORD_BITS, depth=ROUNDS, init=SHA256_K, attrs={"rom_style": "block"}
        )
        m.submodules.rom = rom
        rom_port = rom.read_port()

        # `index` runs LEAD_CYCLES and one ahead of the words; what it means is decoded early.
        index, running, finishing, fresh = self.index, self.running, Signal(), Signal()
        ready = Signal(init=1)
        m.d.comb += self.ready.eq(ready)
        m.d.sync += ready.eq(index == Mux(finishing, FINISH_CYCLES - 2, BLOCK_CYCLES - 2))
        with m.If(running):
            m.d.sync += index.eq(index + 1)
        with m.If(ready):
            m.d.sync += [
                ready.eq(~self.go),
                running.eq(self.go),
                finishing.eq(self.finish),
                fresh.eq(self.fresh),
                index.eq(0),
            ]
        step_layout = data.StructLayout({"push": 1, "place": 2, "fresh": 1, "finish": 1})
        decoded = Signal(step_layout)
        m.d.comb += [
            decoded.push.eq(running & (index < CHAIN_WORDS)),
            decoded.place.eq(index[:2]),
            decoded.fresh.eq(fresh),
            decoded.finish.eq(finishing),
        ]
        steps = [decoded]
        for number in range(1, 7):
            steps.append(Signal(step_layout, name=f"step_{number}"))
            with m.If(running):
                m.d.sync += steps[-1].eq(steps[-2])
        from_outside = Signal()
        outside_delay = Signal(2)
        m.d.comb += from_outside.eq(outside_delay[1])
        early = Signal()
        m.d.sync += [
            early.eq(running & (index < BLOCK_WORDS)),
            outside_delay.eq(Cat(early, outside_delay)),
        ]

        # Message schedule; runs on when idle.
        w = [Signal(WORD_BITS, name=f"w_{number}") for number in range(BLOCK_WORDS)]
        schedule_1, schedule_2 = Signal(WORD_BITS), Signal(WORD_BITS)
        sigma_0 = _rotated(w[3], 7) ^ _rotated(w[3], 18) ^ (w[3] >> 3)
        sigma_1 = _rotated(w[14], 17) ^ _rotated(w[14], 19) ^ (w[14] >> 10)
        m.d.sync += [
            schedule_1.eq(w[2] + sigma_0),
            schedule_2.eq(schedule_1 + w[10]),
            w[15].eq(Mux(from_outside, self.word, schedule_2 + sigma_1)),
            *(w[number].eq(w[number + 1]) for number in range(BLOCK_WORDS - 1)),
        ]

        # Round constants.
        k = Signal(WORD_BITS, reset_less=True)
        address_1, address_2 = Signal(6), Signal(6)
        m.d.sync += [address_1.eq(index), address_2.eq(address_1), k.eq(rom_port.data)]
        m.d.comb += rom_port.addr.eq(address_2)

        a, b, c, d = (Signal(WORD_BITS, name=f"chain_{letter}") for letter in "abcd")
        e, f, g, h = (Signal(WORD_BITS, name=f"chain_{letter}") for letter in "efgh")
        kw, hkw, ahead_sum, t1 = (
            Signal(WORD_BITS, name=name) for name in ("kw", "hkw", "ahead_sum", "t1")
        )
        upper_word = self._words(m, "upper", steps[2], steps[4], e)
        lower_word = self._words(m, "lower", steps[4], steps[6], a)
        with m.If(running):
            m.d.sync += [
                kw.eq(k + w[15]),
                hkw.eq(kw + f),
                ahead_sum.eq(hkw + Mux(steps[2].push, upper_word, a)),
                t1.eq(Mux(steps[4].push, ~lower_word, e) - c),
            ]
        big_1 = Signal(WORD_BITS)
        choose = Signal(WORD_BITS)
        big_0 = Signal(WORD_BITS)
        majority = Signal(WORD_BITS)
        upper_push, lower_push = (steps[number].push.replicate(WORD_BITS) for number in (3, 5))
        m.d.comb += [
            big_1.eq((_rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25)) & ~upper_push),
            choose.eq(((e & f) | (~e & g)) & ~upper_push),
            big_0.eq((_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22)) & ~lower_push),
            majority.eq(((a & b) | (a & c) | (b & c)) & ~lower_push),
        ]
        upper_round = sum_of_three(m, "upper", ahead_sum, big_1, choose)
        lower_round = sum_of_three(m, "lower", t1 ^ lower_push, big_0, majority)
        with m.If(running):
            m.d.sync += [
                e.eq(upper_round),
                a.eq(lower_round),
                *(after.eq(before) for before, after in pairwise((a, b, c, d))),
                *(after.eq(before) for before, after in pairwise((e, f, g, h))),
            ]
        # Nothing is added to the words with which a fresh block begins.
        with m.If(decoded.push):
            m.d.sync += kw.eq(0)
        with m.If(steps[1].push & steps[1].fresh):
            m.d.sync += hkw.eq(0)
        with m.If(steps[3].push & steps[3].fresh & ~steps[3].place[1]):
            m.d.sync += [letter.eq(0) for letter in (a, b, c, d)]
        m.d.comb += [
            self.sum.eq(a),
            self.sum_stb.eq(steps[6].push & steps[6].finish),
            self.digest.eq(Mux(self.digest_index[2], self._upper_digest, self._lower_digest)),
        ]
        return m

    def _words(self, m: Module, name: str, step, written, first) -> Signal:
        """The words of one of the chains in LUT RAM; returns the one for `step`.

        What `written` pushed is `first` of the chain now.
        """
        shares = name == "upper"  # its digest is read when the words of a step are in
        words = memory.Memory(
            shape=WORD_BITS, depth=16, init=[], attrs={"ram_style": "distributed"}
        )
        m.submodules[f"{name}_words"] = words
        write = words.write_port()
        read = words.read_port(domain="comb")
        digest = read if shares else words.read_port(domain="comb")
        digest_at = Cat(~self.digest_index[:2], Const(Region.DIGEST, 2))
        setattr(self, f"_{name}_digest", digest.data)
        load = self.load
        m.d.comb += [
            digest.addr.eq(digest_at),
            write.en.eq(
                written.push | (load.stb & (load.both | (load.upper == (name == "upper"))))
            ),
            write.addr.eq(
                Mux(
                    written.push,
                    Cat(written.place, Const(0, 1), written.finish),
                    Cat(load.index, load.region),
                )
            ),
            write.data.eq(Mux(written.push, first, load.data)),
        ]
        step_at = Cat(step.place, step.fresh, Const(0, 1))
        m.d.comb += read.addr.eq(Mux(step.push, step_at, digest_at) if shares else step_at)
        return read.data
