"""The key expansion: the remaining round keys, and H, of one slot of the key store.

It works on single 32-bit words in place: reads w[i - Nk] from the store, adds w[i - 1], which it
keeps, and writes w[i]. One S-box serves the four octets of SubWord in turn. For decryption it then
puts the middle round keys through InvMixColumns, a word at a time.

Source: FIPS 197 5.2, 5.3.5.
"""

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.aes import (
    ROUNDS_128,
    ROUNDS_256,
    aes_request_layout,
    aes_result_layout,
    check_slots,
)
from hw.crypto.tables import BLOCK_BITS, SBOX, linear, mix_column, xtime

__all__ = ["H_WORD", "LANES", "LANE_BITS", "KeyExpansion", "expand_layout"]

H_WORD = 15
LANES = 4
LANE_BITS = 32
MIXES = 3


def expand_layout(*, slots: int) -> data.StructLayout:
    """With `stb`, make round keys and H of `slot` from its key of 128 or (`aes256`) 256 bits.

    With `decrypt` the round keys become those of the equivalent inverse cipher, in the order of
    encryption; no H is made, and word 15 stays as it was.
    """
    return data.StructLayout({"stb": 1, "slot": range(slots), "aes256": 1, "decrypt": 1})


class KeyExpansion(wiring.Component):
    """Makes round keys and H of a slot.

    Contract: from `start` to `done` 336 cycles for AES-128 and 432 for AES-256 if each access is
    `taken` at once and the AES core is idle; more as they are not. With `decrypt` 584 and 800
    cycles: no request to the AES core, but 29 cycles for each of the middle 9 or 13 round keys.
    `abort` ends it without `done`, and nothing is written after the cycle of `abort`. It is `busy`
    for two cycles more, but while it has a request with the AES core it must see that through.
    When it is not `busy` its registers hold nothing of a key, and `decrypt` is 0.

    Parameters
    ----------
    slots : int
        Key slots of the store.

    Attributes
    ----------
    start : In(expand_layout(...))
        Ignored while `busy`.
    abort : In(1)
        Only while `busy`, or in the cycle after.
    busy : Out(1)
    done : Out(1)
        Pulse: all words are written.
    slot : Out
        Slot under way, for all accesses.
    read : Out(Signature)
        With `stb` and `taken` asks for the 128-bit word `index`; `word` has it two cycles later.
    write : Out(Signature)
        With `stb` and `taken` writes `data` to 32-bit `lane` of word `index`.
    request, result
        Streams to and from `AesCore`.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        read = {"stb": Out(1), "index": Out(4), "taken": In(1), "word": In(BLOCK_BITS)}
        write = {
            "stb": Out(1),
            "index": Out(4),
            "lane": Out(range(LANES)),
            "data": Out(LANE_BITS),
            "taken": In(1),
        }
        super().__init__(
            {
                "start": In(expand_layout(slots=slots)),
                "abort": In(1),
                "busy": Out(1),
                "done": Out(1),
                "slot": Out(range(slots)),
                "read": Out(wiring.Signature(read)),
                "write": Out(wiring.Signature(write)),
                "request": Out(stream.Signature(aes_request_layout(slots=slots, tag_bits=1))),
                "result": In(stream.Signature(aes_result_layout(tag_bits=1))),
            }
        )

    @property
    def slots(self) -> int:
        """Key slots of the store."""
        return self._slots

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        slot = self.slot
        aes256 = Signal()
        decrypt = Signal()
        temp = Signal(LANE_BITS)  # w[i - 1], then the word under way
        rcon = Signal(8)
        index, read_index = Signal(4), Signal(4)  # of w[i], of w[i - Nk]
        lane = Signal(range(LANES))
        last_lane, last_index = Signal(), Signal()
        odd = Signal()  # AES-256: the second four words of a group of eight
        adds = Signal()  # what is read is w[i - Nk]; before, it is the last word of the key
        mixing = Signal()  # the middle round keys once more, for decryption
        count, counted = Signal(range(LANES + 2)), Signal()
        aborted = Signal()
        holding = Signal()
        substituted = Signal(
            8, reset_less=True
        )  # a memory's output goes nowhere but into a register

        box = memory.Memory(shape=8, depth=256, init=SBOX, attrs={"rom_style": "block"})
        m.submodules.sbox = box
        box_port = box.read_port()

        # One flip-flop for each state, so that what goes into `temp` is a plain sum.
        idle, begins, ends = Signal(init=1), Signal(), Signal()
        reads, waits, comes, gets = (
            Signal(name=name) for name in ("reads", "waits", "comes", "gets")
        )
        rotates, substitutes, adds_constant = Signal(), Signal(), Signal()
        mixes, writes, turns = Signal(), Signal(), Signal()
        h_asks, h_waits, h_gets, h_ends = (
            Signal(name=f"h_{name}") for name in ("asks", "waits", "gets", "ends")
        )
        m.d.sync += [
            substituted.eq(box_port.data),
            last_lane.eq(lane == LANES - 1),
            last_index.eq(index == Mux(aes256, ROUNDS_256, ROUNDS_128) - mixing),
        ]
        m.d.comb += [
            box_port.addr.eq(temp[:8]),
            counted.eq(count == 0),
            self.busy.eq(~idle),
            self.done.eq(ends & ~aborted & ~self.abort),
            self.request.valid.eq(h_asks),
            self.request.payload.slot.eq(slot),
            self.request.payload.aes256.eq(aes256),
            self.request.payload.tag.eq(1),
            self.result.ready.eq(h_ends),
            self.read.stb.eq(reads),
            self.read.index.eq(read_index),
            self.write.stb.eq(writes),
            self.write.index.eq(index),
            self.write.lane.eq(lane),
            self.write.data.eq(temp),
        ]
        chosen = Signal(LANE_BITS)
        m.d.sync += chosen.eq(0)
        with m.If(comes):
            m.d.sync += chosen.eq(self.read.word.word_select(lane, LANE_BITS))
        with m.If(h_waits):
            m.d.sync += chosen.eq(self.result.payload.block.word_select(lane, LANE_BITS))
        terms = (
            (temp, (gets & adds) | adds_constant),
            (chosen, gets | h_gets),
            (Cat(temp[8:], Mux(rotates, temp[:8], substituted)), rotates | substitutes),
            (Cat(Mux(odd, 0, rcon), Const(0, LANE_BITS - 8)), adds_constant),
            (linear(mix_column, temp), mixes),
        )
        moves = Signal()
        m.d.comb += moves.eq(
            Cat(rotates & ~odd, substitutes, adds_constant, gets, mixes, h_asks, h_gets, ends).any()
        )
        with m.If(moves):
            m.d.sync += temp.eq(
                Cat(
                    Cat(value[bit] & chosen for value, chosen in terms).xor()
                    for bit in range(LANE_BITS)
                )
            )
        with m.If(idle):
            m.d.sync += [
                slot.eq(self.start.slot),
                aes256.eq(self.start.aes256),
                decrypt.eq(self.start.stb & self.start.decrypt),
                rcon.eq(1),
                lane.eq(LANES - 1),
                index.eq(Mux(self.start.aes256, 2, 1)),
                read_index.eq(self.start.aes256),
                aborted.eq(0),
            ]
            with m.If(self.start.stb):
                m.d.sync += [idle.eq(0), begins.eq(1)]
        with m.If(begins):
            m.d.sync += [begins.eq(0), reads.eq(1)]
        with m.If(reads & self.read.taken):
            m.d.sync += [reads.eq(0), waits.eq(1)]
        with m.If(waits):
            m.d.sync += [waits.eq(0), comes.eq(1)]
        with m.If(comes):
            m.d.sync += [comes.eq(0), gets.eq(1)]
        with m.If(gets):
            m.d.sync += [
                gets.eq(0),
                count.eq(MIXES - 1),
                mixes.eq(mixing),
                writes.eq(adds),
            ]
            with m.If(~adds & ~mixing):
                m.d.sync += [adds.eq(1), lane.eq(0), read_index.eq(0), rotates.eq(1)]
        with m.If(rotates):  # RotWord, but not in the middle of eight
            m.d.sync += [rotates.eq(0), substitutes.eq(1), count.eq(LANES + 1)]
        with m.If(substitutes):  # an octet a cycle; the first two in are shifted out
            m.d.sync += count.eq(count - 1)
            with m.If(counted):
                m.d.sync += [substitutes.eq(0), adds_constant.eq(1)]
        with m.If(adds_constant):
            m.d.sync += [adds_constant.eq(0), reads.eq(1), odd.eq(aes256 & ~odd)]
            with m.If(~odd):
                m.d.sync += rcon.eq(linear(xtime, rcon))
        with m.If(mixes):  # InvMixColumns is MixColumns thrice
            m.d.sync += count.eq(count - 1)
            with m.If(counted):
                m.d.sync += [mixes.eq(0), writes.eq(1)]
        with m.If(writes & self.write.taken):
            m.d.sync += [
                writes.eq(0),
                lane.eq(lane + 1),
                reads.eq(~last_lane & ~holding),
                rotates.eq(last_lane & adds & ~last_index & ~holding),
                turns.eq(last_lane & ~holding),
                h_waits.eq(~last_lane & holding),
                h_ends.eq(last_lane & holding),
            ]
        with m.If(turns):  # to the next index
            m.d.sync += [turns.eq(0), index.eq(index + 1), read_index.eq(read_index + 1)]
            with m.If(mixing):
                m.d.sync += [reads.eq(~last_index), ends.eq(last_index)]
            with m.Elif(last_index & decrypt):
                m.d.sync += [adds.eq(0), mixing.eq(1), reads.eq(1)]
                m.d.sync += [index.eq(1), read_index.eq(1)]
            with m.Elif(last_index):
                m.d.sync += [h_asks.eq(1), holding.eq(1), index.eq(H_WORD)]
        with m.If(h_asks & self.request.ready):
            m.d.sync += [h_asks.eq(0), h_waits.eq(1)]
        with m.If(h_waits & self.result.valid):
            m.d.sync += [h_waits.eq(0), h_gets.eq(1)]
        with m.If(h_gets):
            m.d.sync += [h_gets.eq(0), writes.eq(~aborted), h_ends.eq(aborted)]
        with m.If(h_ends):
            m.d.sync += [h_ends.eq(0), holding.eq(0), ends.eq(1)]
        with m.If(ends):
            m.d.sync += [ends.eq(0), idle.eq(1)]
            m.d.sync += [decrypt.eq(0), odd.eq(0), adds.eq(0), mixing.eq(0)]
        # It ends whatever was under way, but a request to the core.
        with m.If(self.abort):
            m.d.sync += aborted.eq(1)
            with m.If(~holding):
                states = [
                    idle,
                    begins,
                    reads,
                    waits,
                    comes,
                    gets,
                    rotates,
                    substitutes,
                    adds_constant,
                    mixes,
                ]
                m.d.sync += [state.eq(0) for state in [*states, writes, turns, h_asks]]
                m.d.sync += [holding.eq(0), ends.eq(1)]
            with m.Elif(h_gets | writes):
                m.d.sync += [h_waits.eq(0), h_gets.eq(0), writes.eq(0), h_ends.eq(1)]
        return m
