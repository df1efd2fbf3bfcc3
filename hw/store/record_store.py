"""Records in pairs of flash sectors: found, written and read back, and entries appended to them."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.store.spi_flash import ADDRESS_BITS, FlashOp, SpiFlash
from spec.store import (
    BODY_WORDS,
    ENTRY_OCTETS,
    ENTRY_WORDS,
    HEADER_WORDS,
    LOG_ENTRIES,
    LOG_OFFSET,
    NUMBER_WORDS,
    PAGE_OCTETS,
    PAIRS,
    RECORD_MAGIC,
    RECORD_WORDS,
    SECTOR_OCTETS,
    slot_address,
)

__all__ = ["RecordStore", "StoreOp"]

_POLYNOMIAL = 0xEDB8_8320
"""CRC-32, bits of an octet from the lowest on (ISO 3309)."""
_ONES = 0xFFFF_FFFF
_PAGE_WORDS = PAGE_OCTETS // 4
_REST_WORDS = RECORD_WORDS - _PAGE_WORDS
_GENERATION_BITS = 32
_POSITION_BITS = LOG_ENTRIES.bit_length()
_WORD_CYCLES = 4
"""From `word_index` to when its word is taken."""
_CHECK_CYCLES = 8
"""An octet goes through the check in so many."""


class StoreOp(enum.Enum, shape=3):
    """What is done with a pair."""

    FIND = 0
    """Look for its newest right record, and give its words; needed once after power-on."""
    SAVE = 1
    """Write a record to the slot that is not in use, emptied first if it may not be empty."""
    APPEND = 2
    """Write an entry behind the record in use. `good` is 0 where the log is full."""
    CLEAN = 3
    """Empty the slot that is not in use, or both where none is."""
    VOID = 4
    """Make both records wrong at once, as fast as the flash can; CLEAN then empties the slots."""
    IDENTIFY = 5
    """Read the JEDEC ID."""


class _Phase(enum.Enum, shape=4):
    """The parts of an operation, each one operation of the flash."""

    SCAN_A = 0
    SCAN_B = 1
    SCAN_ENTRY = 2
    LOAD = 3
    LOAD_ENTRY = 4
    SAVE_ERASE = 5
    SAVE_PAGE = 6
    SAVE_REST = 7
    VERIFY = 8
    APPEND = 9
    VERIFY_ENTRY = 10
    CLEAN_A = 11
    CLEAN_B = 12
    VOID_A = 13
    VOID_B = 14
    IDENTIFY = 15


_READS_RECORD = (_Phase.SCAN_A, _Phase.SCAN_B, _Phase.LOAD, _Phase.VERIFY)
_READS_ENTRY = (_Phase.SCAN_ENTRY, _Phase.LOAD_ENTRY, _Phase.VERIFY_ENTRY)


class RecordStore(wiring.Component):
    """One operation after another on the pairs of `spec.store`.

    Power that is lost at any time leaves the old record or the new one: SAVE touches only the slot
    that is not in use, and what it wrote counts from the moment when it was read back right. Its
    `done` with `good` is that moment. The same holds of an entry of APPEND.
    `SEC: STORE.OLD_OR_NEW`.

    A SAVE that does not come out right leaves the old record in use, and its slot to be emptied
    before the next one. A failed APPEND has used its place up.

    Parameters
    ----------
    half_cycles : int
        As of `SpiFlash`.
    base : int
        Octet address of the store in the flash, a multiple of a sector.

    Attributes
    ----------
    tick_ms, sck, cs_n, mosi, miso
        As of `SpiFlash`.
    start, op, pair : Signal, in
        Begins an operation, where `busy` is 0; `op` and `pair` stay until `done`.
    busy : Signal, out
    done, good : Signal, out
        Strobe at the end; whether it came out right. Of FIND: whether a record was given, of whose
        words none counts otherwise.
    word_index : Signal, out; word : Signal, in
        Which word of the body is to be written, and that word, no more than six cycles later.
        Of an entry, they are those of NUMBER_WORDS.
    spoil : Signal, in
        The words are not what they were: a record or entry whose check value is not written yet
        gets a wrong one.
    load_stb, load_index, load_data : Signal, out
        FIND's words of the body, and behind them those of NUMBER_WORDS, if there is an entry.
    has : Signal, out
        For each pair: a record is in use.
    refused_stb : Signal, out
        Strobe for each record and entry that is not blank and has a wrong check value.
    failed_stb : Signal, out
        Strobe for each operation that the flash did not end in time, and for each record or entry
        that did not read back right.
    identity : Signal, out
        What IDENTIFY read.
    """

    def __init__(self, *, half_cycles: int, base: int = 0):
        slot_address(0, 0, base)
        self._half_cycles = half_cycles
        self._base = base
        super().__init__(
            {
                "tick_ms": In(1),
                "sck": Out(1),
                "cs_n": Out(1, init=1),
                "mosi": Out(1),
                "miso": In(1),
                "start": In(1),
                "op": In(StoreOp),
                "pair": In(range(PAIRS)),
                "busy": Out(1),
                "done": Out(1),
                "good": Out(1),
                "word_index": Out(range(BODY_WORDS)),
                "word": In(32),
                "spoil": In(1),
                "load_stb": Out(1),
                "load_index": Out(range(BODY_WORDS)),
                "load_data": Out(32),
                "has": Out(PAIRS),
                "refused_stb": Out(1),
                "failed_stb": Out(1),
                "identity": Out(24),
            }
        )

    @property
    def base(self) -> int:
        """Octet address of the store in the flash."""
        return self._base

    @property
    def half_cycles(self) -> int:
        """Cycles of half a clock of the flash."""
        return self._half_cycles

    def elaborate(self, platform):
        m = Module()
        m.submodules.flash = flash = SpiFlash(half_cycles=self._half_cycles)
        m.d.comb += [
            flash.tick_ms.eq(self.tick_ms),
            self.sck.eq(flash.sck),
            self.cs_n.eq(flash.cs_n),
            self.mosi.eq(flash.mosi),
            flash.miso.eq(self.miso),
        ]

        # What is known of each pair: the slot in use, whether the other one is empty, and the
        # generation and places used of the record in use.
        in_use = Array(Signal(name=f"in_use_{n}") for n in range(PAIRS))
        is_blank = Array(Signal(name=f"is_blank_{n}") for n in range(PAIRS))
        m.submodules.known = known = Memory(
            shape=_GENERATION_BITS + _POSITION_BITS,
            depth=PAIRS,
            init=[],
            attrs={"ram_style": "distributed"},
        )
        know, recall = known.write_port(), known.read_port(domain="comb")
        generation, position = Signal(_GENERATION_BITS), Signal(_POSITION_BITS)
        m.d.comb += [
            recall.addr.eq(self.pair),
            know.addr.eq(self.pair),
            know.data.eq(Cat(generation, position)),
        ]

        phase = Signal(_Phase)
        slot = Signal()  # that this part is about
        of_entry, writes = Signal(), Signal()
        place = Signal.like(position)  # of the entry
        address = Signal(ADDRESS_BITS)
        offset = Signal(range(SECTOR_OCTETS))
        m.d.comb += [
            flash.address.eq(address),
            of_entry.eq(_among(phase, *_READS_ENTRY, _Phase.APPEND)),
        ]

        # Octets to and from the flash, and the check over them.
        number = Signal(range(RECORD_WORDS))  # of the word on its way
        octet_at = Signal(2)
        word = Signal(32)
        is_last_word = Signal()
        crc = self._check_value(m, flash, is_last_word, phase)
        m.d.sync += is_last_word.eq(number == Mux(of_entry, ENTRY_WORDS - 1, RECORD_WORDS - 1))
        comes, came = Signal(), Signal()  # an octet; and with it a word
        m.d.comb += comes.eq(flash.r_stb)
        m.d.sync += came.eq(comes & (octet_at == 3))
        ready_in = Signal(range(_WORD_CYCLES + _CHECK_CYCLES + 1))

        # What a part of reading finds.
        matches, is_all_ones, header_good = Signal(), Signal(), Signal()
        seen = Signal(_GENERATION_BITS)
        with m.If(came):
            m.d.sync += number.eq(number + 1)
            m.d.sync += is_all_ones.eq(is_all_ones & (word == _ONES))
            with m.If(is_last_word):
                m.d.sync += matches.eq(word == ~crc)
            with m.If(number == 0):
                m.d.sync += header_good.eq(
                    Mux(of_entry, word == generation, word == (RECORD_MAGIC | self.pair))
                )
            with m.If(number == 1):
                m.d.sync += seen.eq(word)
        with m.If(comes):
            m.d.sync += [word.eq(Cat(flash.r_data, word[:-8])), octet_at.eq(octet_at + 1)]

        # What a part of writing sends. The word of the body is there long before its turn.
        number_at = Signal(range(len(NUMBER_WORDS)))
        body = Signal(range(BODY_WORDS))
        m.d.comb += number_at.eq((number - 1)[: len(number_at)])
        with m.If(of_entry):
            m.d.comb += body.eq(Array(NUMBER_WORDS)[number_at])
        with m.Else():
            m.d.comb += body.eq((number - HEADER_WORDS)[: len(body)])
        m.d.sync += self.word_index.eq(body)
        sends, spoilt = Signal(32), Signal()
        m.d.comb += sends.eq(self.word)
        m.d.sync += spoilt.eq(self.busy & (spoilt | self.spoil))
        with m.If(of_entry):
            with m.If(number == 0):
                m.d.comb += sends.eq(generation)
        with m.Else():
            with m.If(number == 0):
                m.d.comb += sends.eq(RECORD_MAGIC | self.pair)
            with m.If(number == 1):
                m.d.comb += sends.eq(generation)
        with m.If(is_last_word):
            m.d.comb += sends.eq(Mux(spoilt, crc, ~crc))
        voids = _among(phase, _Phase.VOID_A, _Phase.VOID_B)
        with m.If(voids):
            m.d.comb += sends.eq(0)
        m.d.comb += [flash.w_data.eq(word[24:]), flash.w_valid.eq(writes & (ready_in == 0))]
        with m.If(ready_in > 1):
            m.d.sync += ready_in.eq(ready_in - 1)
        with m.Elif(ready_in == 1):
            m.d.sync += [word.eq(sends), ready_in.eq(0)]
        with m.If(flash.w_ready & flash.w_valid):
            m.d.sync += [word.eq(word << 8), octet_at.eq(octet_at + 1)]
            with m.If(octet_at == 3):
                # Later than the last octet has gone through the check.
                m.d.sync += [number.eq(number + 1), ready_in.eq(_WORD_CYCLES + _CHECK_CYCLES)]

        # FIND's answer.
        loads = _among(phase, _Phase.LOAD, _Phase.LOAD_ENTRY)
        m.d.sync += [
            self.load_stb.eq(came & loads & (number != 0) & (number >= HEADER_WORDS - of_entry)),
            self.load_index.eq(body),
            self.load_data.eq(word),
        ]
        with m.If(is_last_word):
            m.d.sync += self.load_stb.eq(0)

        right = Signal()
        m.d.comb += right.eq(matches & header_good & ~flash.failed)
        scans = _among(phase, _Phase.SCAN_A, _Phase.SCAN_B, _Phase.SCAN_ENTRY)
        verifies = _among(phase, _Phase.VERIFY, _Phase.VERIFY_ENTRY)
        ended = Signal()
        m.d.sync += [
            self.done.eq(0),
            self.refused_stb.eq(ended & scans & ~right & ~is_all_ones & ~flash.failed),
            self.failed_stb.eq(ended & (flash.failed | (verifies & ~right))),
        ]
        self._identity(m, flash, phase)

        found, last_place = Signal(), Signal.like(place)
        has_entry = Signal()
        other = Signal()
        m.d.comb += other.eq(~in_use[self.pair])

        def part(which, of):
            """Goes on with another part."""
            m.d.sync += [phase.eq(which), slot.eq(of)]
            m.next = "prepare"

        def finish(good):
            m.d.sync += [self.done.eq(1), self.good.eq(good), self.busy.eq(0)]
            m.next = "idle"

        with m.FSM(name="record_store"):
            with m.State("idle"):
                m.d.sync += [generation.eq(recall.data[:_GENERATION_BITS])]
                m.d.sync += [position.eq(recall.data[_GENERATION_BITS:])]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "begin"
            with m.State("begin"):
                m.d.sync += [generation.eq(recall.data[:_GENERATION_BITS])]
                m.d.sync += [position.eq(recall.data[_GENERATION_BITS:])]
                with m.Switch(self.op):
                    with m.Case(StoreOp.FIND):
                        m.d.sync += [
                            found.eq(0),
                            has_entry.eq(0),
                            is_blank[self.pair].eq(0),
                            self.has.bit_select(self.pair, 1).eq(0),
                        ]
                        part(_Phase.SCAN_A, 0)
                    with m.Case(StoreOp.SAVE):
                        m.d.sync += generation.eq(recall.data[:_GENERATION_BITS] + 1)
                        part(_Phase.SAVE_ERASE, other)
                        with m.If(is_blank[self.pair]):
                            part(_Phase.SAVE_PAGE, other)
                    with m.Case(StoreOp.APPEND):
                        m.d.sync += place.eq(recall.data[_GENERATION_BITS:])
                        part(_Phase.APPEND, in_use[self.pair])
                        with m.If(
                            (recall.data[_GENERATION_BITS:] == LOG_ENTRIES)
                            | ~self.has.bit_select(self.pair, 1)
                        ):
                            finish(0)
                    with m.Case(StoreOp.CLEAN):
                        part(_Phase.CLEAN_A, other)
                    with m.Case(StoreOp.VOID):
                        m.d.sync += self.has.bit_select(self.pair, 1).eq(0)
                        part(_Phase.VOID_A, 0)
                    with m.Default():
                        part(_Phase.IDENTIFY, 0)
            with m.State("prepare"):
                # The second page goes on with the check of the first one, and its words.
                m.d.sync += [octet_at.eq(0), offset.eq(0)]
                with m.If(phase != _Phase.SAVE_REST):
                    m.d.sync += number.eq(0)
                m.d.sync += [matches.eq(0), is_all_ones.eq(1), header_good.eq(0)]
                m.d.sync += [flash.op.eq(FlashOp.READ), writes.eq(0)]
                m.d.sync += flash.octets.eq(Mux(of_entry, 4 * ENTRY_WORDS, 4 * RECORD_WORDS))
                with m.If(of_entry):
                    m.d.sync += offset.eq(LOG_OFFSET + place * ENTRY_OCTETS)
                with m.Switch(phase):
                    with m.Case(_Phase.SAVE_ERASE, _Phase.CLEAN_A, _Phase.CLEAN_B):
                        m.d.sync += flash.op.eq(FlashOp.ERASE)
                    with m.Case(_Phase.SAVE_PAGE):
                        m.d.sync += [flash.op.eq(FlashOp.PROGRAM), flash.octets.eq(PAGE_OCTETS)]
                        m.d.sync += [writes.eq(1), is_blank[self.pair].eq(0)]
                    with m.Case(_Phase.SAVE_REST):
                        m.d.sync += [flash.op.eq(FlashOp.PROGRAM), offset.eq(PAGE_OCTETS)]
                        m.d.sync += [writes.eq(1), flash.octets.eq(4 * _REST_WORDS)]
                    with m.Case(_Phase.APPEND):
                        m.d.sync += [flash.op.eq(FlashOp.PROGRAM), writes.eq(1)]
                    with m.Case(_Phase.VOID_A, _Phase.VOID_B):
                        m.d.sync += [flash.op.eq(FlashOp.PROGRAM), writes.eq(1)]
                        m.d.sync += flash.octets.eq(4)
                    with m.Case(_Phase.IDENTIFY):
                        m.d.sync += [flash.op.eq(FlashOp.IDENTIFY), flash.octets.eq(3)]
                m.d.sync += ready_in.eq(_WORD_CYCLES)
                m.next = "address"
            with m.State("address"):
                m.d.sync += address.eq(self._base + Cat(offset, slot, self.pair)[:ADDRESS_BITS])
                m.next = "start"
            with m.State("start"):
                m.d.comb += flash.start.eq(~flash.busy)
                with m.If(~flash.busy):
                    m.next = "run"
            with m.State("run"):
                # Chip select rises long after the last word was looked at.
                with m.If(flash.done):
                    m.next = "ended"
            with m.State("ended"):
                m.d.comb += ended.eq(1)
                with m.Switch(phase):
                    with m.Case(_Phase.SCAN_A):
                        part(_Phase.SCAN_B, 1)
                        with m.If(right):
                            m.d.sync += [found.eq(1), in_use[self.pair].eq(0), generation.eq(seen)]
                    with m.Case(_Phase.SCAN_B):
                        is_newer = right & (~found | (seen > generation))
                        m.d.sync += [place.eq(0), position.eq(0)]
                        part(_Phase.SCAN_ENTRY, in_use[self.pair])
                        with m.If(is_newer):
                            m.d.sync += [in_use[self.pair].eq(1), generation.eq(seen)]
                            part(_Phase.SCAN_ENTRY, 1)
                        with m.If(~right & ~found):
                            m.d.sync += generation.eq(0)
                            m.next = "nothing"
                    with m.Case(_Phase.SCAN_ENTRY):
                        # Entries lie one behind the other, and a blank one behind all.
                        m.d.sync += place.eq(place + 1)
                        part(_Phase.SCAN_ENTRY, slot)
                        with m.If(right):
                            m.d.sync += [has_entry.eq(1), last_place.eq(place)]
                        with m.If(is_all_ones):
                            part(_Phase.LOAD, slot)
                        with m.Else():
                            m.d.sync += position.eq(place + 1)
                            with m.If(place == LOG_ENTRIES - 1):
                                part(_Phase.LOAD, slot)
                    with m.Case(_Phase.LOAD):
                        m.d.comb += know.en.eq(1)
                        m.d.sync += [
                            place.eq(last_place),
                            self.has.bit_select(self.pair, 1).eq(right),
                        ]
                        with m.If(right & has_entry):
                            part(_Phase.LOAD_ENTRY, slot)
                        with m.Else():
                            finish(right)
                    with m.Case(_Phase.LOAD_ENTRY):
                        m.d.sync += self.has.bit_select(self.pair, 1).eq(right)
                        finish(right)
                    with m.Case(_Phase.SAVE_ERASE):
                        part(_Phase.SAVE_PAGE, slot)
                        with m.If(flash.failed):
                            finish(0)
                    with m.Case(_Phase.SAVE_PAGE):
                        part(_Phase.SAVE_REST, slot)
                        with m.If(flash.failed):
                            finish(0)
                    with m.Case(_Phase.SAVE_REST):
                        m.d.sync += position.eq(0)
                        part(_Phase.VERIFY, slot)
                        with m.If(flash.failed):
                            finish(0)
                    with m.Case(_Phase.VERIFY):
                        finish(right & (seen == generation))
                        with m.If(right & (seen == generation)):
                            m.d.comb += know.en.eq(1)
                            m.d.sync += [
                                in_use[self.pair].eq(slot),
                                self.has.bit_select(self.pair, 1).eq(1),
                            ]
                    with m.Case(_Phase.APPEND):
                        m.d.sync += position.eq(position + 1)
                        m.next = "appended"
                    with m.Case(_Phase.VERIFY_ENTRY):
                        finish(right)
                    with m.Case(_Phase.CLEAN_A):
                        with m.If(flash.failed):
                            finish(0)
                        with m.Elif(self.has.bit_select(self.pair, 1)):
                            m.d.sync += is_blank[self.pair].eq(1)
                            finish(1)
                        with m.Else():
                            part(_Phase.CLEAN_B, ~slot)
                    with m.Case(_Phase.CLEAN_B):
                        m.d.sync += is_blank[self.pair].eq(~flash.failed)
                        finish(~flash.failed)
                    with m.Case(_Phase.VOID_A):
                        part(_Phase.VOID_B, 1)
                    with m.Case(_Phase.VOID_B):
                        m.d.sync += is_blank[self.pair].eq(0)
                        finish(~flash.failed)
                    with m.Case(_Phase.IDENTIFY):
                        finish(~flash.failed)
            with m.State("appended"):
                m.d.comb += know.en.eq(1)
                part(_Phase.VERIFY_ENTRY, slot)
                with m.If(flash.failed):
                    finish(0)
            with m.State("nothing"):
                m.d.comb += know.en.eq(1)
                finish(0)
        return m

    def _check_value(self, m, flash, is_last_word, phase):
        """The CRC over the octets before the last word, a bit a cycle."""
        crc = Signal(32)
        octet = Signal(8)
        bits = Signal(range(9))
        begins = Signal()
        m.d.sync += begins.eq(flash.start & (phase != _Phase.SAVE_REST))
        with m.If(begins):
            m.d.sync += [crc.eq(_ONES), bits.eq(0)]
        with m.Elif((flash.r_stb | (flash.w_ready & flash.w_valid)) & ~is_last_word):
            m.d.sync += [octet.eq(Mux(flash.r_stb, flash.r_data, flash.w_data)), bits.eq(8)]
        with m.Elif(bits != 0):
            feeds = crc[0] ^ octet[0]
            m.d.sync += [
                octet.eq(octet >> 1),
                bits.eq(bits - 1),
                crc.eq((crc >> 1) ^ Mux(feeds, Const(_POLYNOMIAL, 32), 0)),
            ]
        return crc

    def _identity(self, m, flash, phase):
        with m.If(flash.r_stb & (phase == _Phase.IDENTIFY)):
            m.d.sync += self.identity.eq(Cat(flash.r_data, self.identity[:-8]))


def _among(phase, *phases):
    return Cat(phase == one for one in phases).any()
