"""Outbound sequence numbers within one power-on: each greater than the last, and none twice.

The flash that reserves numbers over a loss of power does not exist yet; nothing of an SA survives
one, so no number comes again under its key.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Module, Mux, Signal

from hw.ipsec.sad_numbers import SequenceNumbers
from spec.registers import BY_NAME
from spec.sa import BANKS
from verif.formal.harness import Platform, Wrapper
from verif.formal.runner import Method, Mutant, Proof

__all__ = ["PROOFS"]

_USE_CYCLES = 64
"""From one use of a number to the next: the builder lays out, protects and sends a frame of more
octets than that between them."""
_SAMPLE_CYCLES = 12
"""The builder looks at a number so long before it says that it used it."""


def _place(name: str) -> int:
    return (BY_NAME[name].address >> 2) % 16


class NumbersWrapper(Wrapper):
    """The numbers of all banks, with what the builder and the SAD promise.

    - A number of a bank is used only while that bank has been begun and not wiped, is not used up,
      and not within `_USE_CYCLES` after another use, of whichever bank.
    - Banks are begun one after the other, with `_USE_CYCLES` between, not as long as a number of
      theirs is under way, and nothing is staged meanwhile.
    """

    def body(self, m: Module, platform: Any) -> None:
        dut = SequenceNumbers()
        memories = Platform()
        inside = self.hold(m, dut, platform=memories)
        self.free_inputs(m, dut, "esn", "outers", "start", "bank", "outer")
        for n in range(BANKS):
            m.d.comb += [
                dut.esn[n].eq(self.constant(m, 1, f"esn_{n}")),
                dut.outers[n].eq(self.constant(m, 1, f"outers_{n}")),
            ]
        starts, gives_up = self.free(m, 1, "starts"), self.free(m, 1, "gives_up")
        running, bank = Signal(name="running"), Signal(range(BANKS), name="begun_bank")
        rests = Signal(range(_USE_CYCLES + 1), init=_USE_CYCLES)
        since = Signal(range(_USE_CYCLES + 1), init=_USE_CYCLES)
        with m.If(running):
            m.d.sync += running.eq(~(dut.loaded | gives_up | dut.wipe.bit_select(bank, 1)))
            m.d.sync += rests.eq(0)
        with m.Else():
            m.d.sync += rests.eq(Mux(rests == _USE_CYCLES, rests, rests + 1))
            with m.If(starts & (rests == _USE_CYCLES)):
                m.d.sync += [running.eq(1), bank.eq(self.free(m, range(BANKS), "which"))]
        with m.If(dut.tx_stb):
            m.d.sync += since.eq(0)
        with m.Elif(since != _USE_CYCLES):
            m.d.sync += since.eq(since + 1)
        m.d.comb += [
            dut.start.eq(running),
            dut.bank.eq(bank),
            dut.outer.eq(dut.outers.bit_select(bank, 1)),
            Assume(~dut.write.stb | ~running),
            Assume(~dut.tx_stb | (since == _USE_CYCLES)),
        ]
        last_used = Signal(range(BANKS))
        with m.If(dut.tx_stb):
            m.d.sync += last_used.eq(dut.tx_bank)
        rows = memories.rows[0]

        # What the machine does, from its states.
        pending, loads, at = inside["pending"], inside["loads"], inside["at"]
        half, works_on = inside["half"], inside["bank"]
        state = inside.state
        idle = state("numbers_state", "idle")
        turn, turned = state("numbers_state", "turn"), state("numbers_state", "turned")
        edges = state("numbers_state", "edge", "edge high", "edge low", "load")
        finished = state("numbers_state", "finished")
        turning = ~idle & ~loads & ~finished
        place = Signal(range(64), name="place")
        m.d.comb += place.eq(
            Mux(turn, 5 + at, 0)
            + Mux(turned, 13, 0)
            + Mux(half, 13, 0)
            + sum(
                Mux(state("numbers_state", name), cycle, 0)
                for cycle, name in enumerate(("edge", "edge high", "edge low", "load"), 1)
            )
            + Mux(finished, 28, 0)
        )
        m.d.comb += [
            Assert(state("numbers_state")),
            Assert(~edges | loads),
            Assert(~finished | loads),
            Assert(~turn | (at < 8)),
            # What is given up goes on to its end, which comes long before the next.
            Assert(~(loads & ~idle & ~running) | (rests <= place + 1)),
            Assert(~(loads & ~idle & running) | (works_on == bank)),
            Assert((pending & (pending - 1)) == 0),
            Assert(~pending.any() | ~turning),
            Assert(~(pending.any() | turning) | (since != _USE_CYCLES)),
            Assert(~pending.any() | (pending.bit_select(last_used, 1))),
            Assert(~turning | (works_on == last_used)),
            # How long a use may take: it waits for what is begun, and then turns.
            Assert(~(pending.any() & ~idle) | (since <= place + 1)),
            Assert(~(pending.any() & idle) | (since <= 30)),
            Assert(~turning | (since <= 31 + place)),
        ]

        for n in range(BANKS):
            self._bank(m, dut, inside, n, rows, (running, bank, starts, since, turning))

    def _bank(self, m: Module, dut: Any, inside: Any, n: int, rows: Any, env: Any) -> None:
        running, bank, _, since, turning = env
        pending, loads, at = inside["pending"], inside["loads"], inside["at"]
        half, works_on, carry = inside["half"], inside["bank"], inside["carry"]
        turn = inside.state("numbers_state", "turn")
        idle = inside.state("numbers_state", "idle")
        begun = Signal(name=f"begun_{n}")
        uses = dut.tx_stb & (dut.tx_bank == n)
        here = running & (bank == n)
        with m.If(dut.wipe[n] | here):
            m.d.sync += begun.eq(0)
        with m.If(here & dut.loaded & ~dut.wipe[n]):
            m.d.sync += begun.eq(1)
        m.d.comb += [
            Assume(~uses | (begun & ~here & ~dut.tx_exhausted[n])),
            # It is begun only when it is empty: wiped before, and its last number is long used.
            Assume(~here | (since == _USE_CYCLES)),
        ]
        finished = inside.state("numbers_state", "finished")
        m.d.comb += Assert(~(loads & ~idle & ~finished & (works_on == n)) | ~begun)
        under_way = pending[n] | (turning & (works_on == n))
        covered: Any = Const(0, 1)
        for outer in range(2):
            number = (dut.ah_tx_sequence if outer else dut.tx_sequence)[n]
            name = "STAGE_AH_TX_SEQ" if outer else "STAGE_TX_SEQ"
            staged = Cat(rows[_place(f"{name}_LO")], rows[_place(f"{name}_HI")])
            expected = Signal(64, name=f"expected_{n}_{outer}")
            old = expected - 1
            with m.If(here & dut.loaded):
                m.d.sync += expected.eq(staged + 1)
            with m.If(uses):
                m.d.sync += expected.eq(expected + 1)
            has = Const(1, 1) if not outer else dut.outers[n]
            turns_this = turn & (works_on == n) & (half == outer)
            # A use takes the number that follows the last one.
            with m.If(uses & has):
                m.d.comb += Assert(number == expected, "a number is used twice, or skipped")
            with m.If(begun & has & ~under_way):
                m.d.comb += Assert(number == expected)
            with m.If(begun & has & pending[n]):
                m.d.comb += Assert(number == old[:64])
            with m.If(begun & has & turning & (works_on == n)):
                with m.If(turns_this):
                    for octets in range(8):
                        bits = 8 * octets
                        with m.If(at == octets):
                            m.d.comb += [
                                Assert(number == Cat(old[bits:64], expected[:bits])),
                                Assert(carry == (old[:bits].all() if bits else 1)),
                            ]
                with m.Elif(half == outer):
                    m.d.comb += Assert(number == expected)
                with m.Elif(half < outer):
                    m.d.comb += Assert(number == old[:64])
                with m.Else():
                    m.d.comb += Assert(number == expected)
            with m.If(here & loads & has & ~idle):
                whole = staged + 1
                turned = inside.state("numbers_state", "turned")
                with m.If((half > outer) | (turned & (half == outer))):
                    m.d.comb += Assert(number == whole[:64])
                with m.If(turns_this):
                    for octets in range(8):
                        bits = 8 * octets
                        with m.If((at == octets) & (bits > 0)):
                            m.d.comb += Assert(number[64 - bits :] == whole[:bits])
                        with m.If(at == octets):
                            m.d.comb += Assert(carry == (staged[:bits].all() if bits else 1))
            covered |= uses & (expected[:9] == 0x100) & dut.outers[n]
        m.d.comb += Cover(covered)


PROOFS = [
    Proof(
        name="numbers.once",
        claim="Each outbound number of a bank follows the one before it, and none is used twice",
        wrapper=NumbersWrapper,
        method=Method.INDUCTION,
        depth=15,
        mutant=Mutant(
            "hw.ipsec.sad_numbers",
            "m.d.sync += [carry.eq(total[8]), at.eq(at + 1), upper.eq(at >= 1)]",
            "m.d.sync += [carry.eq(0), at.eq(at + 1), upper.eq(at >= 1)]",
            "nothing is carried from octet to octet",
        ),
        cover_depth=60,
        mutant_depth=60,
        requirement="6",
    ),
]
