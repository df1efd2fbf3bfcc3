"""The key store: AES round keys and hash subkeys in block RAM, made here from the keys written.

A slot is 16 words of 128 bits: words 0 to 14 are the round keys, word 15 is H. The first round keys
*are* the key, so the key is written straight to where it is used, and no register ever holds it.

Source: FIPS 197 5.2, SP 800-38D 7.1 (H).
"""

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.aes import (
    KeyReadSignature,
    aes_request_layout,
    aes_result_layout,
    check_slots,
)
from hw.crypto.key_expansion import H_WORD, LANE_BITS, LANES, KeyExpansion, expand_layout
from hw.crypto.tables import BLOCK_BITS
from hw.crypto.zeroise_queue import ZeroiseQueue

__all__ = ["HReadSignature", "KeyStore", "key_write_layout", "zeroise_layout"]

SLOT_WORDS = 16


def key_write_layout(*, slots: int) -> data.StructLayout:
    """With `stb`, `data` becomes 32-bit word `index` of the key in `slot`.

    `data` is big-endian: the first octet of the key is bits 31:24 of word 0.
    """
    return data.StructLayout({"stb": 1, "slot": range(slots), "index": 3, "data": LANE_BITS})


def zeroise_layout(*, slots: int) -> data.StructLayout:
    """With `stb`, overwrite all of `slot`."""
    return data.StructLayout({"stb": 1, "slot": range(slots)})


class HReadSignature(wiring.Signature):
    """Read port for the hash subkey, as the reader sees it.

    With `stb` H of `slot` is looked up; `word` shows it two cycles later, for that cycle alone.
    """

    def __init__(self, *, slots: int) -> None:
        super().__init__({"stb": Out(1), "slot": Out(range(slots)), "word": In(BLOCK_BITS)})


class KeyStore(wiring.Component):
    """Holds the expanded keys of all slots.

    *Write*: one 32-bit word a cycle, at any time but while `zeroising`, when a write is ignored.

    *Expand*: takes 336 cycles for AES-128 and 432 for AES-256, and as many more as the AES core
    is busy with other blocks; with `decrypt` 584 and 800 cycles, whatever the AES core does.
    `done` pulses at its end. A strobe while `busy` is ignored. Writing the key of a slot that is
    being expanded spoils that slot. A slot serves the one direction it was expanded for, and has
    an H for encryption alone.

    *Zeroise*: the 16 words of the slot are overwritten with zeros in the 16 cycles that begin with
    the second after `stb`; of several slots by `ZeroiseQueue`. Nothing delays it, strobes are never
    lost, and an expansion of the slot ends before the first zero, without `done`. After reset all
    slots are zeroised. SEC: CRYPTO.ZEROISE.

    *Read*: there is no way to a key but into `AesCore` and `Ghash`. SEC: SAD.KEY_WRITE_ONLY. Words
    read while a slot is being written, expanded or zeroised are of no use, but do no harm.

    Temporaries of the expansion are zero when it is over, and so are the latches of idle read
    ports.

    Parameters
    ----------
    slots : int
        Keys held; a power of two from 2 to 32.

    Attributes
    ----------
    write : In(key_write_layout(...))
    expand : In(expand_layout(...))
    zeroise : In(zeroise_layout(...))
    busy : Out(1)
        An expansion or a zeroisation is under way.
    zeroising : Out(1)
    done : Out(1)
        Pulse: the expansion is complete.
    aes : In(KeyReadSignature(...))
        Round keys for `AesCore`.
    h : In(HReadSignature(...))
        For `GcmEngine`, to read word 15.
    request, result
        Streams to and from `AesCore`, for H.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        super().__init__(
            {
                "write": In(key_write_layout(slots=slots)),
                "expand": In(expand_layout(slots=slots)),
                "zeroise": In(zeroise_layout(slots=slots)),
                "busy": Out(1),
                "zeroising": Out(1),
                "done": Out(1),
                "aes": In(KeyReadSignature(slots=slots)),
                "h": In(HReadSignature(slots=slots)),
                "request": Out(stream.Signature(aes_request_layout(slots=slots, tag_bits=1))),
                "result": In(stream.Signature(aes_result_layout(tag_bits=1))),
            }
        )

    @property
    def slots(self) -> int:
        """Keys held."""
        return self._slots

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        # One word more than the slots need: it stays zero, and idle ports look at it.
        zero_word = self._slots * SLOT_WORDS
        m.submodules.words = words = memory.Memory(
            shape=BLOCK_BITS,
            depth=zero_word + 1,
            init=[],
            # What a read in the cycle of a write to the same word returns is never used.
            attrs={"ram_style": "block", "no_rw_check": 1},
        )
        writer = words.write_port(granularity=LANE_BITS)
        aes_port, side_port = (words.read_port(domain="comb") for _ in range(2))

        self._serve_aes(m, aes_port, zero_word)

        m.submodules.zeroises = zeroises = ZeroiseQueue(slots=self._slots, words=SLOT_WORDS)
        m.d.comb += [
            zeroises.stb.eq(self.zeroise.stb),
            zeroises.asked.eq(self.zeroise.slot),
            self.zeroising.eq(zeroises.zeroising),
        ]

        expansion = self._expand(m, side_port, zero_word)
        new = expansion.write

        # The write port: zeroise before the host before the expansion.
        key = self.write
        key_octets = Cat(key.data.word_select(octet, 8) for octet in reversed(range(4)))
        m.d.comb += writer.data.eq(Mux(key.stb, key_octets, new.data).replicate(LANES))
        with m.If(zeroises.runs):
            m.d.comb += [
                writer.addr.eq(Cat(zeroises.index, zeroises.slot)),
                writer.data.eq(0),
                writer.en.eq((1 << LANES) - 1),
            ]
        with m.Elif(key.stb):
            m.d.comb += [
                writer.addr.eq(Cat(key.index[2], Const(0, 3), key.slot)),
                writer.en.eq(Mux(self.zeroising, 0, 1 << key.index[:2])),
            ]
        with m.Else():
            m.d.comb += [
                writer.addr.eq(Cat(new.index, expansion.slot)),
                writer.en.eq(Mux(new.stb, 1 << new.lane, 0)),
                new.taken.eq(1),
            ]
        return m

    def _serve_aes(self, m: Module, port: memory.ReadPort, zero_word: int) -> None:
        # The latch becomes a part of the memory: Yosys minds `no_rw_check` only when it puts it
        # there.
        latch = Signal(BLOCK_BITS, name="aes_latch", reset_less=True)
        word = Signal(BLOCK_BITS, name="aes_word", reset_less=True)
        address = Mux(self.aes.valid, Cat(self.aes.index, self.aes.slot), zero_word)
        m.d.comb += [
            port.addr.eq(address),
            self.aes.word.eq(word),
        ]
        with m.If(self.aes.enable):
            m.d.sync += [latch.eq(port.data), word.eq(latch)]

    def _expand(self, m: Module, port: memory.ReadPort, zero_word: int) -> KeyExpansion:
        expansion = KeyExpansion(slots=self._slots)
        m.submodules.expansion = expansion
        # A cycle late: zeros are not written before the next. An expansion that is asked for in the
        # cycle of the strobe begins, and ends at once.
        abort = Signal()
        doomed = Signal()
        m.d.sync += expansion.abort.eq(Mux(expansion.busy, abort, doomed & self.expand.stb))
        m.d.comb += [
            abort.eq(self.zeroise.stb & (self.zeroise.slot == expansion.slot)),
            doomed.eq(self.zeroise.stb & (self.zeroise.slot == self.expand.slot)),
            expansion.start.eq(self.expand),
            expansion.start.stb.eq(self.expand.stb & ~self.busy),
            self.busy.eq(self.zeroising | expansion.busy),
            self.done.eq(expansion.done & ~abort),
        ]
        wiring.connect(m, expansion.request, wiring.flipped(self.request))
        wiring.connect(m, wiring.flipped(self.result), expansion.result)

        # The side port: two cycles from the address to the word, as for AES.
        latch = Signal(BLOCK_BITS, name="side_latch", reset_less=True)
        word = Signal(BLOCK_BITS, name="side_word", reset_less=True)
        m.d.sync += [latch.eq(port.data), word.eq(latch)]
        m.d.comb += [
            port.addr.eq(zero_word),
            self.h.word.eq(word),
            expansion.read.word.eq(word),
        ]
        with m.If(self.h.stb):
            m.d.comb += port.addr.eq(Cat(Const(H_WORD, 4), self.h.slot))
        with m.Elif(expansion.read.stb):
            m.d.comb += [
                port.addr.eq(Cat(expansion.read.index, expansion.slot)),
                expansion.read.taken.eq(1),
            ]
        return expansion
