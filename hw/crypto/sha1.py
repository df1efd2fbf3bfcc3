"""SHA-1: a compression function that does one round a cycle, for HMAC-SHA-1-96 alone.

SHA-1 is broken as a hash, which does not touch HMAC (RFC 6194 3.3); IPsec peers still ask for it.

It is driven as `Sha256Core` is, and keeps chaining values in LUT RAM in the same places, so that a
lane has the one or the other. e + K + W is summed in two cycles ahead, e[t] being d[t - 1]; a round
is then one carry-save adder and one carry chain.

Source: FIPS 180-4 4.1.1, 4.2.1, 5.3.1, 6.1.2.
"""

from itertools import pairwise

from amaranth.hdl import Array, Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.sha256 import (
    BLOCK_WORDS,
    FINISH_CYCLES,
    WORD_BITS,
    Region,
    Sha256Core,
    hash_load_layout,
    sum_of_three,
)

__all__ = ["SHA1_BLOCK_CYCLES", "SHA1_DIGEST_WORDS", "SHA1_INITIAL", "BothCores", "Sha1Core"]

SHA1_DIGEST_WORDS = 5
ROUNDS = 80
PHASE_ROUNDS = 20

SHA1_BLOCK_CYCLES = SHA1_DIGEST_WORDS + ROUNDS
"""From the start of a block to that of the next: five words of the chaining value, 80 rounds."""

SHA1_INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
"""The initial hash value (5.3.1)."""

SHA1_K = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)
"""The constants of the four phases of 20 rounds (4.2.1)."""


class Sha1Core(wiring.Component):
    """The compression function over one block after another.

    Contract: as of `Sha256Core`, but blocks may follow each other each 85 cycles, there is no H5
    to H7, and `sum` is 0, H2, H1, H0: what a truncation to 96 bits leaves.

    Attributes
    ----------
    go, finish, fresh, ready, running, index, word, load, digest_index, digest, sum_stb, sum
        As of `Sha256Core`; `digest` is of use for words 0 to 4.
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
        index, running, finishing, fresh = self.index, self.running, Signal(), Signal()
        at_end = Signal()
        m.d.comb += self.ready.eq(~running | at_end)
        m.d.sync += at_end.eq(
            running & (index == Mux(finishing, FINISH_CYCLES - 2, SHA1_BLOCK_CYCLES - 2))
        )
        with m.If(running):
            m.d.sync += index.eq(index + 1)
        with m.If(self.ready):
            m.d.sync += [
                index.eq(0),
                running.eq(self.go),
                finishing.eq(self.finish),
                fresh.eq(self.fresh),
                at_end.eq(0),
            ]

        # What a cycle does, decoded in the one before: round t where `index` is t + 6.
        step = Signal(
            data.StructLayout(
                {"active": 1, "push": 1, "upper": 1, "cut": 1, "place": 2, "fresh": 1, "finish": 1}
            )
        )
        m.d.sync += [
            step.push.eq(running & (index < SHA1_DIGEST_WORDS)),
            step.active.eq(running & (~finishing | (index < SHA1_DIGEST_WORDS))),
            step.upper.eq(index == 0),
            step.cut.eq(index == 1),
            step.place.eq(index[:2] - 1),  # 3 for H4, then 0 to 3 for H3 to H0
            step.fresh.eq(fresh),
            step.finish.eq(finishing),
        ]
        outside = Signal(3)
        m.d.sync += outside.eq(Cat(running & (index < BLOCK_WORDS), outside))

        # The phase is that of the constant, then three cycles later that of the function.
        phases = [Signal(2, name=f"phase_{number}") for number in range(4)]
        m.d.sync += [after.eq(before) for before, after in pairwise(phases)]
        m.d.sync += phases[0].eq(3)
        for phase in reversed(range(3)):
            with m.If(index < PHASE_ROUNDS * (phase + 1) + 2):
                m.d.sync += phases[0].eq(phase)

        # Message schedule; runs on when idle.
        w = [Signal(WORD_BITS, name=f"w_{number}") for number in range(BLOCK_WORDS)]
        expanded = (w[13] ^ w[8] ^ w[2] ^ w[0]).rotate_left(1)
        m.d.sync += [
            w[15].eq(Mux(outside[2], self.word, expanded)),
            *(before.eq(after) for before, after in pairwise(w)),
        ]

        a, b, c, d, e = (Signal(WORD_BITS, name=f"chain_{letter}") for letter in "abcde")
        k, kw, ahead_sum = (Signal(WORD_BITS, name=name) for name in ("k", "kw", "ahead_sum"))
        m.d.sync += [
            k.eq(Array(Const(value, WORD_BITS) for value in SHA1_K)[phases[0]]),
            kw.eq(k + w[15]),
            ahead_sum.eq(kw + d),
        ]
        mixed = Signal(WORD_BITS)
        with m.Switch(phases[3]):
            with m.Case(0):
                m.d.comb += mixed.eq((b & c) | (~b & d))
            with m.Case(2):
                m.d.comb += mixed.eq((b & c) | (b & d) | (c & d))
            with m.Default():
                m.d.comb += mixed.eq(b ^ c ^ d)
        round_word = sum_of_three(m, "round", ahead_sum, a.rotate_left(5), mixed)

        # The chaining value in LUT RAM, and its way into the chain.
        load, read, digests = self.load, [], []
        pushed, added = Signal(WORD_BITS), Signal(WORD_BITS)
        for upper, name in enumerate(("lower", "upper")):
            words = memory.Memory(
                shape=WORD_BITS, depth=16, init=[], attrs={"ram_style": "distributed"}
            )
            m.submodules[f"{name}_words"] = words
            write = words.write_port()
            ports = [words.read_port(domain="comb") for _ in range(2)]
            read.append(ports[0].data)
            digests.append(ports[1].data)
            writes = step.push & (step.upper == upper)
            m.d.comb += [
                ports[0].addr.eq(Cat(step.place, step.fresh, Const(0, 1))),
                ports[1].addr.eq(Cat(~self.digest_index[:2], Const(Region.DIGEST, 2))),
                write.en.eq(writes | (load.stb & (load.both | (load.upper == upper)))),
                write.addr.eq(
                    Mux(
                        step.push,
                        Cat(step.place, Const(0, 1), step.finish),
                        Cat(load.index, load.region),
                    )
                ),
                write.data.eq(Mux(step.push, pushed, load.data)),
            ]
        m.d.comb += [
            added.eq(Mux(step.fresh, 0, e)),
            pushed.eq(Mux(step.upper, read[1], read[0]) + added),
            self.digest.eq(Mux(self.digest_index[2], digests[1], digests[0])),
            self.sum.eq(Mux(step.cut, 0, pushed)),
            self.sum_stb.eq(step.push & step.finish & ~step.upper),
        ]
        with m.If(step.active):
            m.d.sync += [
                a.eq(Mux(step.push, pushed, round_word)),
                b.eq(a),
                c.eq(Mux(step.push, b, b.rotate_left(30))),
                d.eq(c),
                e.eq(d),
            ]
        return m


class BothCores(wiring.Component):
    """SHA-256 and, while `sha_1` is set, SHA-1, behind the same ports.

    Contract: as of the two. `sha_1` changes only when neither is at work.
    """

    sha_1: In(1)
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
        m.submodules.core_256 = core_256 = Sha256Core()
        m.submodules.core_1 = core_1 = Sha1Core()
        for core, chosen in ((core_256, ~self.sha_1), (core_1, self.sha_1)):
            m.d.comb += [
                core.go.eq(self.go & chosen),
                core.finish.eq(self.finish),
                core.fresh.eq(self.fresh),
                core.word.eq(self.word),
                core.load.eq(self.load),
                core.digest_index.eq(self.digest_index),
            ]
        for name in ("ready", "running", "index", "digest", "sum_stb", "sum"):
            value = Mux(self.sha_1, getattr(core_1, name), getattr(core_256, name))
            m.d.comb += getattr(self, name).eq(value)
        return m
