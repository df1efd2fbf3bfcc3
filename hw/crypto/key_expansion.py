"""The key expansion: the remaining round keys, and H, of one slot of the key store.

It works on single 32-bit words in place: reads w[i - Nk] from the store, adds w[i - 1], which it
keeps, and writes w[i]. One S-box serves the four octets of SubWord in turn. For decryption it then
puts the middle round keys through InvMixColumns, a word at a time.

Source: FIPS 197 5.2, 5.3.5.
"""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal
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

    Contract: from `start` to `done` 285 cycles for AES-128 and 369 for AES-256 if each access is
    `taken` at once and the AES core is idle; more as they are not. With `decrypt` 495 and 679
    cycles: no request to the AES core, but 28 cycles for each of the middle 9 or 13 round keys. To
    abort it, raise `abort` and, if it is not `holding`, reset it in the same cycle; while it is
    `holding` it has a request with the AES core and must see that through, but writes nothing more.
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
    busy, holding : Out(1)
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
                "holding": Out(1),
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
        aborted = Signal()
        temp = Signal(LANE_BITS)  # w[i - 1], then the word under way
        rcon = Signal(8)
        index = Signal(4)  # of w[i]
        lane = Signal(range(LANES))
        odd = Signal()  # AES-256: the second four words of a group of eight
        count = Signal(range(LANES + 2))
        substituted = Signal(
            8, reset_less=True
        )  # a memory's output goes nowhere but into a register

        box = memory.Memory(shape=8, depth=256, init=SBOX, attrs={"rom_style": "block"})
        m.submodules.sbox = box
        box_port = box.read_port()

        m.d.sync += substituted.eq(box_port.data)
        m.d.comb += [
            box_port.addr.eq(temp[:8]),
            self.busy.eq(1),
            self.request.payload.slot.eq(slot),
            self.request.payload.aes256.eq(aes256),
            self.request.payload.tag.eq(1),
            self.write.index.eq(index),
            self.write.lane.eq(lane),
            self.write.data.eq(temp),
        ]
        with m.FSM(name="expand"):
            with m.State("IDLE"):
                m.d.sync += [aborted.eq(0), temp.eq(0), rcon.eq(1), lane.eq(0), odd.eq(0)]
                m.d.sync += decrypt.eq(0)
                m.d.comb += self.busy.eq(0)
                with m.If(self.start.stb):
                    m.d.sync += [
                        slot.eq(self.start.slot),
                        aes256.eq(self.start.aes256),
                        decrypt.eq(self.start.decrypt),
                        index.eq(Mux(self.start.aes256, 2, 1)),
                    ]
                    m.next = "LAST"
            with m.State("LAST"):  # the last word of the key is the first w[i - 1]
                m.d.comb += [self.read.stb.eq(1), self.read.index.eq(aes256)]
                with m.If(self.read.taken):
                    m.d.sync += count.eq(1)
                    m.next = "LAST WAIT"
            with m.State("LAST WAIT"):
                m.d.sync += count.eq(count - 1)
                with m.If(count == 0):
                    m.d.sync += temp.eq(self.read.word.word_select(LANES - 1, LANE_BITS))
                    m.next = "ROTATE"
            with m.State("ROTATE"):  # RotWord, but not in the middle of eight
                with m.If(~odd):
                    m.d.sync += temp.eq(temp.rotate_right(8))
                m.d.sync += count.eq(LANES + 1)
                m.next = "SUBSTITUTE"
            with m.State("SUBSTITUTE"):  # an octet a cycle; the first two in are shifted out
                m.d.sync += [temp.eq(Cat(temp[8:], substituted)), count.eq(count - 1)]
                with m.If(count == 0):
                    m.next = "CONSTANT"
            with m.State("CONSTANT"):
                with m.If(~odd):
                    m.d.sync += [temp[:8].eq(temp[:8] ^ rcon), rcon.eq(linear(xtime, rcon))]
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += [self.read.stb.eq(1), self.read.index.eq(index - 1 - aes256)]
                with m.If(self.read.taken):
                    m.d.sync += count.eq(1)
                    m.next = "ADD"
            with m.State("ADD"):
                m.d.sync += count.eq(count - 1)
                with m.If(count == 0):
                    m.d.sync += temp.eq(temp ^ self.read.word.word_select(lane, LANE_BITS))
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += self.write.stb.eq(1)
                with m.If(self.write.taken):
                    m.d.sync += lane.eq(lane + 1)
                    m.next = "READ"
                    with m.If(lane == LANES - 1):
                        m.d.sync += [index.eq(index + 1), odd.eq(aes256 & ~odd)]
                        m.next = "ROTATE"
                        with m.If(index == Mux(aes256, ROUNDS_256, ROUNDS_128)):
                            m.next = "H REQUEST"
                            with m.If(decrypt):
                                m.d.sync += index.eq(1)
                                m.next = "MIX READ"
            # The middle round keys once more, for decryption: InvMixColumns is MixColumns thrice.
            with m.State("MIX READ"):
                m.d.comb += [self.read.stb.eq(1), self.read.index.eq(index)]
                with m.If(self.read.taken):
                    m.d.sync += count.eq(1)
                    m.next = "MIX WAIT"
            with m.State("MIX WAIT"):
                m.d.sync += count.eq(count - 1)
                with m.If(count == 0):
                    m.d.sync += [
                        temp.eq(self.read.word.word_select(lane, LANE_BITS)),
                        count.eq(MIXES - 1),
                    ]
                    m.next = "MIX"
            with m.State("MIX"):
                m.d.sync += [temp.eq(linear(mix_column, temp)), count.eq(count - 1)]
                with m.If(count == 0):
                    m.next = "MIX WRITE"
            with m.State("MIX WRITE"):
                m.d.comb += self.write.stb.eq(1)
                with m.If(self.write.taken):
                    m.d.sync += lane.eq(lane + 1)
                    m.next = "MIX READ"
                    with m.If(lane == LANES - 1):
                        m.d.sync += index.eq(index + 1)
                        with m.If(index == Mux(aes256, ROUNDS_256 - 1, ROUNDS_128 - 1)):
                            m.d.comb += self.done.eq(1)
                            m.next = "IDLE"
            with m.State("H REQUEST"):
                m.d.comb += [self.request.valid.eq(1), self.holding.eq(1)]
                m.d.sync += [temp.eq(0), index.eq(H_WORD)]
                with m.If(self.request.ready):
                    m.next = "H WAIT"
            # Neither the strobe of the write nor the end of H hangs on the core in the same cycle.
            with m.State("H WAIT"):
                m.d.comb += self.holding.eq(1)
                with m.If(self.result.valid):
                    m.next = "H WRITE"
            with m.State("H WRITE"):
                m.d.comb += [
                    self.holding.eq(1),
                    self.write.stb.eq(~aborted),
                    self.write.data.eq(self.result.payload.block.word_select(lane, LANE_BITS)),
                ]
                with m.If(aborted):
                    m.next = "H TAKEN"
                with m.Elif(self.write.taken):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(lane == LANES - 1):
                        m.next = "H TAKEN"
            with m.State("H TAKEN"):
                m.d.comb += [
                    self.holding.eq(1),
                    self.result.ready.eq(1),
                    self.done.eq(~aborted),
                ]
                m.next = "IDLE"
        with m.If(self.abort):
            m.d.sync += aborted.eq(1)
        return m
