"""Sequence numbers of the SAD: the staged ones on their way to the windows, and the next outbound.

An outbound number changes once a packet, so it is counted an octet at a time: its register turns
round in eight cycles, through one adder of eight bits that all registers share.
"""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from spec.registers import BY_NAME
from spec.sa import BANKS

__all__ = ["SequenceNumbers"]

_OCTETS = 8
_WORDS = 16


class SequenceNumbers(wiring.Component):
    """Holds the numbers of both banks, main half and outer half.

    Attributes
    ----------
    write : struct, in
        A staged word, as StageRegisters gives it.
    start, bank, outer, loaded : Signal
        With `start`, which is up until `loaded`, begin a bank's numbers anew from the staged ones,
        `outer` says whether those of its outer half too. `loaded` is a strobe.
    esn : Signal, in
        Of each bank.
    outers : Signal, in
        Of each bank, it has an outer half.
    wipe : Signal, in
        For each bank, empties its numbers.
    tx_stb, tx_bank : Signal, in
        A number of that bank, and of its outer half, was used; TX_CYCLES later the next are right.
    tx_sequence, ah_tx_sequence : array of 64 bits, out
        Next outbound numbers.
    tx_exhausted : Signal, out
        Of each bank, one of them is used up: 2^32 - 1 without ESN, 2^64 - 1 with it, was the last.
    load_stb, load_index, load_edge : Signal, out
        To the windows: window Cat(outer, bank) begins anew at `load_edge`.
    """

    TX_CYCLES = 2 * (_OCTETS + 2) + 2

    def __init__(self):
        bank = range(BANKS)
        numbers = data.ArrayLayout(64, BANKS)
        super().__init__(
            {
                "write": In(data.StructLayout({"stb": 1, "index": 4, "data": 32})),
                "start": In(1),
                "bank": In(bank),
                "outer": In(1),
                "loaded": Out(1),
                "esn": In(BANKS),
                "outers": In(BANKS),
                "wipe": In(BANKS),
                "tx_stb": In(1),
                "tx_bank": In(bank),
                "tx_sequence": Out(numbers),
                "ah_tx_sequence": Out(numbers),
                "tx_exhausted": Out(BANKS),
                "load_stb": Out(1),
                "load_index": Out(range(2 * BANKS)),
                "load_edge": Out(64),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.staged = staged = memory.Memory(shape=32, depth=_WORDS, init=[])
        write = staged.write_port()
        read = staged.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.write.stb),
            write.addr.eq(self.write.index),
            write.data.eq(self.write.data),
        ]

        bank = Signal(range(BANKS))
        half = Signal()  # the outer one
        loads = Signal()
        at = Signal(range(_OCTETS + 1))
        word = Signal(32)

        # Which word is read, a cycle before it is in `word`.
        upper, inbound = Signal(), Signal()
        places = {
            (outer, rx, hi): BY_NAME[
                f"STAGE_{'AH_' if outer else ''}{'RX' if rx else 'TX'}_SEQ_{'HI' if hi else 'LO'}"
            ].address
            >> 2
            for outer in range(2)
            for rx in range(2)
            for hi in range(2)
        }
        with m.Switch(Cat(upper, inbound, half)):
            for (outer, rx, hi), place in places.items():
                with m.Case(hi | rx << 1 | outer << 2):
                    m.d.comb += read.addr.eq(place % _WORDS)
        # Its half for the next octet.
        half_word = Signal(16)
        next_half = Signal()
        m.d.sync += [word.eq(read.data), half_word.eq(word.word_select(next_half, 16))]

        # An octet of the number that turns, or of the staged one, plus the carry.
        numbers = [
            (self.ah_tx_sequence if outer else self.tx_sequence)[n]
            for n in range(BANKS)
            for outer in range(2)
        ]
        turns = Signal()
        carry = Signal()
        octet, total = Signal(8), Signal(9)
        low = Signal(8)
        with m.Switch(Cat(half, bank)):
            for n, number in enumerate(numbers):
                with m.Case(n):
                    m.d.comb += low.eq(number[:8])
        m.d.comb += [
            octet.eq(Mux(loads, half_word.word_select(at[0], 8), low)),
            total.eq(octet + carry),
        ]
        for n, number in enumerate(numbers):
            with m.If(turns & (Cat(half, bank) == n)):
                m.d.sync += number.eq(Cat(number[8:], total[:8]))
            with m.If(self.wipe[n >> 1]):
                m.d.sync += number.eq(0)
        # The last number is used up once the next one does not fit any more.
        for n in range(BANKS):
            was_last = Signal(name=f"was_last_{n}")
            m.d.sync += was_last.eq(turns & (bank == n) & (at == Mux(self.esn[n], _OCTETS - 1, 3)))
            with m.If(was_last & carry):
                m.d.sync += self.tx_exhausted[n].eq(1)
            with m.If(self.wipe[n]):
                m.d.sync += [self.tx_exhausted[n].eq(0), was_last.eq(0)]

        pending = Signal(BANKS)
        for n in range(BANKS):
            with m.If(self.tx_stb & (self.tx_bank == n)):
                m.d.sync += pending[n].eq(1)

        m.d.comb += self.load_index.eq(Cat(half, bank))
        m.d.sync += self.load_stb.eq(0)
        with m.FSM(name="numbers"):
            with m.State("idle"):
                m.d.sync += [at.eq(0), half.eq(0), carry.eq(1), loads.eq(0)]
                with m.If(self.start):
                    m.d.sync += [bank.eq(self.bank), loads.eq(1), upper.eq(1), inbound.eq(1)]
                    m.next = "edge"
                with m.Elif(pending.any()):
                    m.d.sync += [bank.eq(~pending[0]), pending.eq(Mux(pending[0], pending & 2, 0))]
                    with m.If(self.tx_stb):
                        m.d.sync += pending.bit_select(self.tx_bank, 1).eq(1)
                    m.next = "turn"
            # Words as they come: edge's high and low, then the outbound number's low and high.
            with m.State("edge"):
                m.d.sync += upper.eq(0)
                m.next = "edge high"
            with m.State("edge high"):
                m.d.sync += [self.load_edge[32:].eq(word), inbound.eq(0)]
                m.next = "edge low"
            with m.State("edge low"):
                m.d.sync += self.load_edge[:32].eq(word)
                m.next = "load"
            with m.State("load"):
                m.d.sync += [self.load_stb.eq(self.start), at.eq(0), carry.eq(1)]
                m.next = "turn"
            with m.State("turn"):
                m.d.comb += [turns.eq(1), next_half.eq(at[0] ^ at[1])]
                m.d.sync += [carry.eq(total[8]), at.eq(at + 1), upper.eq(at >= 1)]
                with m.If(at == _OCTETS - 1):
                    m.next = "turned"
            with m.State("turned"):
                m.d.sync += [at.eq(0), carry.eq(1), half.eq(1), upper.eq(1), inbound.eq(1)]
                m.next = "idle"
                with m.If(~half & Mux(loads, self.outer, self.outers.bit_select(bank, 1))):
                    m.next = "turn"
                    with m.If(loads):
                        m.next = "edge"
                with m.Elif(loads):
                    m.d.comb += self.loaded.eq(self.start)
                    m.next = "finished"
            with m.State("finished"):
                m.next = "idle"
        return m
