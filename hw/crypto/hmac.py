"""HMAC-SHA-256-128: a key store for midstates, and lanes that each hash one message at a time.

A slot keeps what the compression function makes of K^ipad and K^opad, so a message costs no block
for its key. The first lane computes these midstates when a key is expanded, between two messages.

Source: RFC 2104, RFC 4868 2.1, RFC 2404, FIPS 180-4 5.1.1 (padding).
"""

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, enum, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.aes import check_slots
from hw.crypto.key_store import key_write_layout, zeroise_layout
from hw.crypto.sha1 import SHA1_DIGEST_WORDS, SHA1_INITIAL, BothCores
from hw.crypto.sha256 import (
    BLOCK_WORDS,
    DIGEST_WORDS,
    SHA256_INITIAL,
    WORD_BITS,
    Region,
    Sha256Core,
)
from hw.crypto.zeroise_queue import ZeroiseQueue
from hw.stream import OctetSignature, SkidBuffer

__all__ = [
    "HmacLane",
    "HmacUnit",
    "auth_expand_layout",
    "auth_job_layout",
    "auth_octet_layout",
]

BLOCK_OCTETS = 64
TAG_OCTETS = 16
COUNT_BITS = 16
SLOT_WORDS = 32
KEPT_WORDS = 24
FIXED_AT = 24  # of slot 0: the initial hash value
SHA1_FIXED_SLOT = 2
SHA1_SLOTS_MIN = 4
IPAD, OPAD = 0x36363636, 0x5C5C5C5C


class _Part(enum.Enum, shape=2):
    """Eight words each of a slot of the store."""

    KEY = 0
    INNER = 1
    OUTER = 2
    FIXED = 3  # slots 0 and (SHA-1) 2: the initial hash value; else zero, and idle ports look at 1


class _Source(enum.Enum, shape=2):
    """Where the words of a block come from."""

    MESSAGE = 0
    DIGEST = 1
    KEY = 2


def auth_job_layout(*, slots: int) -> data.StructLayout:
    """A message: key `slot`, and the hash (`sha_1`)."""
    return data.StructLayout({"slot": range(slots), "sha_1": 1})


def auth_expand_layout(*, slots: int) -> data.StructLayout:
    """With `stb`, make the midstates of `slot` from its key, for SHA-256 or (`sha_1`) SHA-1."""
    return data.StructLayout({"stb": 1, "slot": range(slots), "sha_1": 1})


def auth_octet_layout() -> data.StructLayout:
    """An octet of a message, `last` with its last one."""
    return data.StructLayout({"data": 8, "last": 1})


class _BlockFifo(wiring.Component):
    """Takes a message as octets, pads it, and keeps it as blocks of words in block RAM.

    An octet a cycle; after the last one of a message `i` is closed for 6 to 25 cycles. `any` says
    that there is a whole block, and tells of a `take` three cycles later. `fetch` reads a word,
    which is at `word` two cycles later, with `last` if it is the last of its message; `take` with
    the first fetch of a block.

    Source: FIPS 180-4 5.1.1, 5.2.1.
    """

    def __init__(self, *, octets: int) -> None:
        self._depth = octets // 4
        super().__init__(
            {
                "i": In(stream.Signature(auth_octet_layout())),
                "any": Out(1),
                "take": In(1),
                "fetch": In(1),
                "word": Out(WORD_BITS),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        bits = (self._depth - 1).bit_length()
        m.submodules.words = words = memory.Memory(
            shape=WORD_BITS + 1,
            depth=self._depth,
            init=[],
            attrs={"ram_style": "block", "no_rw_check": 1},
        )
        write = words.write_port()
        read = words.read_port(domain="comb")
        latch = Signal(WORD_BITS + 1, reset_less=True)
        out = Signal(WORD_BITS + 1, reset_less=True)
        write_at, read_at = Signal(bits), Signal(bits)
        room = Signal()
        blocks = Signal(range(self._depth // BLOCK_WORDS + 1))
        taken = Signal()
        m.d.sync += [latch.eq(read.data), out.eq(latch)]
        m.d.comb += [
            read.addr.eq(read_at),
            self.word.eq(out),
            self.last.eq(out[-1]),
        ]
        with m.If(self.fetch):
            m.d.sync += read_at.eq(read_at + 1)

        # What is written to the memory, a cycle before.
        stb, word, last, ends = Signal(), Signal(WORD_BITS), Signal(), Signal()
        m.d.sync += [stb.eq(0), last.eq(0)]
        m.d.comb += [
            write.en.eq(stb),
            write.addr.eq(write_at),
            write.data.eq(Cat(word, last)),
            ends.eq(stb & (write_at[:4] == BLOCK_WORDS - 1)),
        ]
        with m.If(stb):
            m.d.sync += write_at.eq(write_at + 1)
        m.d.sync += [
            # Beside the whole blocks there is one that is being written, and one being read.
            room.eq(blocks < self._depth // BLOCK_WORDS - 2),
            taken.eq(self.take),
            blocks.eq(blocks + ends - taken),
            self.any.eq(blocks != 0),
        ]

        # Of the message, and of the block of the key before it.
        octets = Signal(COUNT_BITS, init=BLOCK_OCTETS)
        lane = Signal(2)
        mark = Signal()  # the octet 80h is still to come
        step, zero, octet = Signal(), Signal(), Signal(8)
        m.d.comb += octet.eq(self.i.payload.data)
        with m.If(step):
            m.d.sync += [word.eq(Cat(octet, word[:24])), lane.eq(lane + 1)]
            with m.If(lane == 3):
                m.d.sync += stb.eq(1)
        with m.FSM(name="padding"):
            with m.State("DATA"):
                m.d.comb += [self.i.ready.eq(room), step.eq(room & self.i.valid)]
                m.d.sync += mark.eq(1)
                with m.If(room & self.i.valid):
                    m.d.sync += octets.eq(octets + 1)
                    with m.If(self.i.payload.last):
                        m.next = "PAD"
            with m.State("PAD"):
                m.d.comb += octet.eq(Cat(Const(0, 7), mark))
                with m.If(mark | (lane != 0)):
                    m.d.comb += step.eq(room)
                    with m.If(room):
                        m.d.sync += mark.eq(0)
                with m.Else():
                    m.d.comb += zero.eq(1)
                    with m.If(room):
                        m.d.sync += stb.eq(1)
                        with m.If((write_at + stb)[:4] == BLOCK_WORDS - 2):
                            m.next = "LENGTH"
            with m.State("LENGTH"):
                m.d.sync += [
                    stb.eq(1),
                    last.eq(1),
                    word.eq(octets << 3),
                    octets.eq(BLOCK_OCTETS),
                ]
                m.next = "DATA"
        with m.If(zero):
            m.d.sync += word.eq(0)
        return m


class HmacLane(wiring.Component):
    """HMAC of one message after another; see `HmacUnit`.

    Parameters
    ----------
    slots : int
        Keys of the store.
    fifo_octets : int
        What the lane holds of messages, padding included.
    expands : bool
        Whether it also makes midstates.
    sha_1 : bool
        Whether it has SHA-1 too.

    Attributes
    ----------
    job, i, tag
        As `job_n`, `i_n`, `tag_n` of the unit.
    address, data : Out, In
        Read port of the store; `data` is there two cycles later.
    expand, expand_slot, expand_sha_1, aborted : In
        Held at 1 asks for midstates of the slot, until `expand_end`; `aborted`: of no use any more.
    expand_end : Out(1)
    store : Out(Signature)
        With `stb` and `taken`, word `index` of `part` of the slot becomes `data`.
    """

    def __init__(
        self,
        *,
        slots: int = 8,
        fifo_octets: int = 2048,
        expands: bool = True,
        sha_1: bool = False,
    ) -> None:
        self._slots = check_slots(slots)
        if sha_1 and slots < SHA1_SLOTS_MIN:
            raise ValueError(f"with sha_1 slots must be at least {SHA1_SLOTS_MIN}, not {slots!r}")
        self._sha_1 = sha_1
        if fifo_octets < 256 or fifo_octets & (fifo_octets - 1):
            raise ValueError(
                f"fifo_octets must be a power of two of at least 256, not {fifo_octets!r}"
            )
        self._fifo_octets = fifo_octets
        self._expands = expands
        store = {
            "stb": Out(1),
            "part": Out(_Part),
            "index": Out(3),
            "data": Out(WORD_BITS),
            "taken": In(1),
        }
        super().__init__(
            {
                "job": In(stream.Signature(auth_job_layout(slots=slots))),
                "i": In(stream.Signature(auth_octet_layout())),
                "tag": Out(OctetSignature()),
                "address": Out(range(slots * SLOT_WORDS)),
                "data": In(WORD_BITS),
                "expand": In(1),
                "expand_slot": In(range(slots)),
                "expand_sha_1": In(1),
                "aborted": In(1),
                "expand_end": Out(1),
                "store": Out(wiring.Signature(store)),
            }
        )

    @property
    def slots(self) -> int:
        """Keys of the store."""
        return self._slots

    @property
    def fifo_octets(self) -> int:
        """What the lane holds of messages."""
        return self._fifo_octets

    @property
    def expands(self) -> bool:
        """Whether it also makes midstates."""
        return self._expands

    @property
    def sha_1(self) -> bool:
        """Whether it has SHA-1 too."""
        return self._sha_1

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.fifo = fifo = _BlockFifo(octets=self._fifo_octets)
        m.submodules.jobs = jobs = SkidBuffer(auth_job_layout(slots=self._slots))
        core = BothCores() if self._sha_1 else Sha256Core()
        clear = Signal()
        m.d.sync += clear.eq(0)
        m.submodules.core = ResetInserter(clear)(core)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        wiring.connect(m, wiring.flipped(self.job), jobs.i)

        slot = Signal(range(self._slots))
        sha_1 = Signal()  # stays 0 without SHA-1
        source = Signal(_Source)
        outer_half = Signal()  # of an expansion
        last = Signal()
        reading = Signal()  # what the core does, if anything, is a block of the message
        takes = Signal()
        m.d.comb += fifo.take.eq(takes & fifo.any & core.ready)
        with m.If(core.ready):
            m.d.sync += reading.eq(takes)

        # The words of a block: `core.word` three cycles after `core.index`.
        index_1, index_2 = Signal(4), Signal(4)
        early = Signal(3)
        made = Signal(WORD_BITS)
        pad = Signal(WORD_BITS)
        of_digest, behind = ~index_2[3], DIGEST_WORDS
        length = (BLOCK_OCTETS + 4 * DIGEST_WORDS) * 8
        if self._sha_1:
            m.d.comb += core.sha_1.eq(sha_1)
            of_digest = Mux(sha_1, index_2 < SHA1_DIGEST_WORDS, of_digest)
            behind = Mux(sha_1, SHA1_DIGEST_WORDS, behind)
            length = Mux(sha_1, (BLOCK_OCTETS + 4 * SHA1_DIGEST_WORDS) * 8, length)
        m.d.comb += [
            pad.eq(Mux(outer_half, OPAD, IPAD)),
            fifo.fetch.eq(early[0]),
            core.word.eq(Mux(source == _Source.MESSAGE, fifo.word, made)),
            core.digest_index.eq(index_2[:3]),
        ]
        m.d.sync += [
            index_1.eq(core.index),
            index_2.eq(index_1),
            early.eq(
                Cat(
                    core.running & (core.index < BLOCK_WORDS) & reading,
                    early,
                )
            ),
        ]
        with m.If(early[2]):
            m.d.sync += last.eq(fifo.last)
        with m.If(of_digest):
            m.d.sync += made.eq(core.digest)
        with m.Elif(source == _Source.KEY):
            m.d.sync += made.eq(pad)
        with m.Elif(index_2 == behind):
            m.d.sync += made.eq(1 << 31)
        with m.Elif(index_2 == BLOCK_WORDS - 1):
            m.d.sync += made.eq(length)
        with m.Else():
            m.d.sync += made.eq(0)
        # One flip-flop for each state.
        idle, loading, starts, start_waits = Signal(init=1), Signal(), Signal(), Signal()
        in_blocks, finishes_inner, in_outer, finishes_outer = (Signal() for _ in range(4))
        clears, key_waits, stores = Signal(), Signal(), Signal()
        wipes, blank = Signal(), Signal()
        m.d.sync += blank.eq(clears | wipes)
        with m.If(blank):
            m.d.sync += made.eq(0)

        # Eight words from the store into the core; they arrive two cycles behind their address.
        part, fixed = Signal(_Part, init=_Part.FIXED), Signal(range(self._slots), init=1)
        of_key = (source == _Source.KEY) if self._expands else Const(0)
        # With an idle address they are zeros, which wipe the core's LUT RAM.
        count = Signal(4)
        eighth = Signal()  # of what is counted cycle by cycle
        m.d.sync += eighth.eq(count[:3] == DIGEST_WORDS - 2)
        load_layout = data.StructLayout(
            {"stb": 1, "both": 1, "index": 3, "region": 2, "inner": 1, "outer": 1, "key": 1}
        )
        loads = [Signal(load_layout, name=f"load_{number}") for number in range(3)]
        m.d.comb += [
            self.address.eq(Cat(count[:3], part, Mux(part == _Part.FIXED, fixed, slot))),
            loads[0].index.eq(count[:3]),
            loads[0].inner.eq(self._expands & (part == _Part.KEY) & ~outer_half),
            loads[0].outer.eq(self._expands & (part == _Part.KEY) & outer_half),
            loads[0].key.eq(self._expands & (part == _Part.KEY)),
            core.load.stb.eq(loads[2].stb),
            core.load.both.eq(loads[2].both),
            core.load.upper.eq(loads[2].index[2]),
            core.load.index.eq(~loads[2].index[:2]),
            core.load.region.eq(loads[2].region),
            core.load.data.eq(
                self.data
                ^ (loads[2].inner.replicate(WORD_BITS) & (IPAD & ~OPAD))
                ^ (loads[2].outer.replicate(WORD_BITS) & (OPAD & ~IPAD))
                ^ (loads[2].key.replicate(WORD_BITS) & (IPAD & OPAD))
            ),
        ]
        m.d.sync += [loads[1].eq(loads[0]), loads[2].eq(loads[1])]

        # The last four words stand first in the end; a tag leaves octet by octet.
        tag = Signal(8 * TAG_OCTETS)
        tag_octet = Signal(range(TAG_OCTETS))
        m.d.comb += self.tag.payload.eq(tag)
        with m.If(core.sum_stb & (source == _Source.DIGEST)):
            octets = Cat(core.sum.word_select(octet, 8) for octet in reversed(range(4)))
            m.d.sync += tag.eq(Cat(octets, tag))
        with m.If(self.tag.valid & self.tag.ready):
            m.d.sync += [tag.eq(tag >> 8), tag_octet.eq(tag_octet + 1)]
            with m.If(tag_octet == TAG_OCTETS - 1):
                m.d.sync += self.tag.valid.eq(0)

        may_end = Signal()
        key_ready = Signal()
        steps, full = Signal(), Signal()  # `count` goes on, or begins anew
        expands = self.expand if self._expands else Const(0)
        at_last = Signal()  # of what is stored
        stored = self._store(m, stores, count, at_last, outer_half, index_2, made, wipes)
        m.d.sync += [
            may_end.eq(of_key | ~self.tag.valid),
            key_ready.eq(key_waits & (count == 2)),
            clear.eq(clears & (count == 0)),
        ]
        m.d.comb += [
            jobs.o.ready.eq(idle & ~expands),
            fixed.eq(
                Mux(loading, Mux(sha_1, SHA1_FIXED_SLOT, 0) if self._sha_1 else 0, 1),
            ),
            loads[0].stb.eq(loading | clears),
            loads[0].both.eq(clears),
            loads[0].region.eq(
                Mux(clears, count[2:], Mux(part == _Part.KEY, Region.DIGEST, Region.START))
            ),
            core.go.eq(
                (starts & fifo.any)
                | (in_blocks & (last | fifo.any))
                | finishes_inner
                | (in_outer & may_end)
                | key_ready
            ),
            core.fresh.eq(starts | finishes_inner | key_waits),
            core.finish.eq((in_blocks & last) | in_outer),
            takes.eq(starts | (in_blocks & ~last)),
            steps.eq(loading | start_waits | clears | key_waits | stored),
            full.eq(
                idle
                | (eighth & (loading | (count[3] & (start_waits | clears))))
                | key_ready
                | (stored & at_last)
            ),
        ]
        with m.If(steps):
            m.d.sync += count.eq(count + 1)
        with m.If(full):
            m.d.sync += count.eq(0)
        with m.If(idle):
            m.d.sync += last.eq(0)
            with m.If(expands | jobs.o.valid):
                m.d.sync += [idle.eq(0), loading.eq(1)]
            if self._expands:
                m.d.sync += outer_half.eq(0)
            with m.If(expands):
                m.d.sync += [slot.eq(self.expand_slot), source.eq(_Source.KEY)]
                if self._sha_1:
                    m.d.sync += sha_1.eq(self.expand_sha_1)
            with m.Elif(jobs.o.valid):
                m.d.sync += [
                    slot.eq(jobs.o.payload.slot),
                    source.eq(_Source.MESSAGE),
                    part.eq(_Part.INNER),
                ]
                if self._sha_1:
                    m.d.sync += sha_1.eq(jobs.o.payload.sha_1)
        with m.If(loading & eighth):
            m.d.sync += [loading.eq(0), part.eq(_Part.FIXED)]
            with m.Switch(part):
                with m.Case(_Part.INNER):
                    m.d.sync += starts.eq(1)
                with m.Case(_Part.OUTER):
                    m.d.sync += in_blocks.eq(1)
                if self._expands:
                    with m.Case(_Part.FIXED):
                        m.d.sync += [loading.eq(1), part.eq(_Part.KEY)]
                    with m.Case(_Part.KEY):
                        m.d.sync += key_waits.eq(1)
        with m.If(starts & fifo.any):
            m.d.sync += [starts.eq(0), start_waits.eq(1)]
        with m.If(start_waits & eighth & count[3]):  # the core has read its start
            m.d.sync += [start_waits.eq(0), part.eq(_Part.OUTER), loading.eq(1)]
        with m.If(in_blocks & core.ready & last):
            m.d.sync += [in_blocks.eq(0), finishes_inner.eq(1)]
        with m.If(finishes_inner & core.ready):
            m.d.sync += [finishes_inner.eq(0), source.eq(_Source.DIGEST), in_outer.eq(1)]
        with m.If(key_ready):
            m.d.sync += [key_waits.eq(0), in_outer.eq(1)]
        with m.If(in_outer & core.ready & may_end):
            m.d.sync += [in_outer.eq(0), finishes_outer.eq(1)]
        with m.If(finishes_outer & core.ready):
            m.d.sync += [finishes_outer.eq(0), clears.eq(~of_key), stores.eq(of_key)]
            with m.If(~of_key):
                m.d.sync += self.tag.valid.eq(1)
        if self._expands:
            with m.If(stored & at_last):
                m.d.sync += outer_half.eq(1)
                with m.If(~outer_half | wipes):
                    m.d.sync += [stores.eq(0), loading.eq(~wipes), clears.eq(wipes)]
        with m.If(clears & eighth & count[3]):
            m.d.sync += [clears.eq(0), source.eq(_Source.MESSAGE), idle.eq(1)]
        return m

    def _store(self, m, stores, count, at_last, outer_half, index_2, made, wipes) -> Signal:
        """Midstates to the store; says when the next word has its turn."""
        stored = Signal()
        if not self._expands:
            return stored
        # A word waits in `made`, for the way to the block RAM is long. After both midstates zeros
        # follow, over the key.
        settle = Signal(2)
        offered = Signal()
        m.d.comb += [
            stored.eq(stores & settle.all() & ~offered),
            self.store.stb.eq(offered & ~self.aborted),
            self.store.part.eq(Mux(wipes, _Part.KEY, Mux(outer_half, _Part.OUTER, _Part.INNER))),
            self.store.index.eq(count[:3]),
            self.store.data.eq(made),
            self.expand_end.eq(stored & at_last & wipes),
        ]
        m.d.sync += [
            offered.eq(offered & ~self.store.taken & ~self.aborted),
            at_last.eq(count[:3] == DIGEST_WORDS - 1),
        ]
        with m.If(stores):
            m.d.sync += index_2.eq(count[:3])
            with m.If(~settle.all()):
                m.d.sync += settle.eq(settle + 1)
            with m.If(settle == 1):
                m.d.sync += offered.eq(1)
        with m.If(stored):
            m.d.sync += settle.eq(0)
            with m.If(at_last):
                m.d.sync += wipes.eq(outer_half & ~wipes)
        return stored


class HmacUnit(wiring.Component):
    """HMAC-SHA-256-128 under stored keys, on one or more lanes that work at once.

    *Lanes*: `i_n` takes an octet a cycle while the lane's memory has room, closed for some cycles
    behind each message for its padding. A lane does its jobs in order; two may wait beside the one
    under way, and their octets too. A message of m octets, at most 65,471, takes
    68 * (ceil((m + 9) / 64) + 1) + 46 cycles from tag to tag if its octets are there. A tag is
    16 octets at `tag_n`; one not taken stops its lane before the next tag, no sooner. After each
    tag nothing of the message or the key stays in the lane's registers; octets stay in its FIFO.
    SEC: HMAC.STATE_CLEARED.

    *Write*: one 32-bit word a cycle, at any time but while `zeroising`, when a write is ignored.
    A slot's key has 8 words; all must be written before each expansion.

    *Expand*: turns the key of a slot into midstates and overwrites it with zeros, in 293 cycles;
    `done` pulses at the end. It waits for the message that lane 0 has under way. A strobe while
    `busy` is ignored.

    *Zeroise*: the 24 words of the slot are overwritten in the 24 cycles that begin with the second
    after `stb`; of several slots by `ZeroiseQueue`. Never lost, and an expansion of that slot
    writes nothing more and ends without `done`. After reset all slots are zeroised.
    SEC: CRYPTO.ZEROISE.

    There is no way out for a key or midstate. SEC: SAD.KEY_WRITE_ONLY.

    *SHA-1*: with `sha_1` built in, a job or expansion whose field `sha_1` is set is of
    HMAC-SHA-1-96. Its key has words 0 to 4, its tag 12 octets, and zeros behind them. A message
    takes 85 * (ceil((m + 9) / 64) + 1) + 46 cycles, an expansion 327. A slot serves the hash it
    was expanded for. Without it the field is ignored, and is of SHA-256.

    Parameters
    ----------
    lanes : int
        At least 1.
    slots : int
        Keys held; a power of two from 2 to 32.
    fifo_octets : int
        Message octets, padding included, that a lane can hold; a power of two of at least 256.
    sha_1 : bool
        Builds HMAC-SHA-1-96 as well; at least 4 slots then.
    """

    def __init__(
        self,
        *,
        lanes: int = 2,
        slots: int = 8,
        fifo_octets: int = 2048,
        sha_1: bool = False,
    ) -> None:
        self._slots = check_slots(slots)
        if sha_1 and slots < SHA1_SLOTS_MIN:
            raise ValueError(f"with sha_1 slots must be at least {SHA1_SLOTS_MIN}, not {slots!r}")
        if fifo_octets < 256 or fifo_octets & (fifo_octets - 1):
            raise ValueError(
                f"fifo_octets must be a power of two of at least 256, not {fifo_octets!r}"
            )
        self._sha_1 = sha_1
        if not isinstance(lanes, int) or lanes < 1:
            raise ValueError(f"lanes must be at least 1, not {lanes!r}")
        self._lanes = lanes
        self._fifo_octets = fifo_octets
        ports = {
            "write": In(key_write_layout(slots=slots)),
            "expand": In(auth_expand_layout(slots=slots)),
            "zeroise": In(zeroise_layout(slots=slots)),
            "busy": Out(1),
            "zeroising": Out(1),
            "done": Out(1),
        }
        for n in range(lanes):
            ports |= {
                f"job_{n}": In(stream.Signature(auth_job_layout(slots=slots))),
                f"i_{n}": In(stream.Signature(auth_octet_layout())),
                f"tag_{n}": Out(OctetSignature()),
            }
        super().__init__(ports)

    @property
    def lanes(self) -> int:
        """Messages hashed at once."""
        return self._lanes

    @property
    def slots(self) -> int:
        """Keys held."""
        return self._slots

    @property
    def fifo_octets(self) -> int:
        """Message octets that a lane can hold."""
        return self._fifo_octets

    @property
    def sha_1(self) -> bool:
        """Whether HMAC-SHA-1-96 is there too."""
        return self._sha_1

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        fixed = [0] * FIXED_AT + list(SHA256_INITIAL)
        if self._sha_1:
            fixed += [0] * (SHA1_FIXED_SLOT * SLOT_WORDS + FIXED_AT - len(fixed))
            fixed += SHA1_INITIAL
        m.submodules.words = words = memory.Memory(
            shape=WORD_BITS,
            depth=self._slots * SLOT_WORDS,
            init=fixed,
            # What a read in the cycle of a write to the same word returns is never used.
            attrs={"ram_style": "block", "no_rw_check": 1},
        )
        writer = words.write_port()
        lanes = [
            HmacLane(
                slots=self._slots,
                fifo_octets=self._fifo_octets,
                expands=n == 0,
                sha_1=self._sha_1,
            )
            for n in range(self._lanes)
        ]
        for n, lane in enumerate(lanes):
            m.submodules[f"lane_{n}"] = lane
            wiring.connect(m, wiring.flipped(getattr(self, f"job_{n}")), lane.job)
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{n}")), lane.i)
            wiring.connect(m, lane.tag, wiring.flipped(getattr(self, f"tag_{n}")))
            port = words.read_port(domain="comb")
            latch = Signal(WORD_BITS, name=f"latch_{n}", reset_less=True)
            word = Signal(WORD_BITS, name=f"word_{n}", reset_less=True)
            m.d.sync += [latch.eq(port.data), word.eq(latch)]
            m.d.comb += [port.addr.eq(lane.address), lane.data.eq(word)]

        m.submodules.zeroises = zeroises = ZeroiseQueue(slots=self._slots, words=KEPT_WORDS)
        m.d.comb += [
            zeroises.stb.eq(self.zeroise.stb),
            zeroises.asked.eq(self.zeroise.slot),
            self.zeroising.eq(zeroises.zeroising),
        ]

        maker = lanes[0]
        expanding, expand_slot, aborted = Signal(), Signal(range(self._slots)), Signal()
        expand_sha_1 = Signal()
        m.d.comb += [
            self.busy.eq(self.zeroising | expanding),
            self.done.eq(maker.expand_end & ~aborted),
            maker.expand.eq(expanding),
            maker.expand_slot.eq(expand_slot),
            maker.expand_sha_1.eq(expand_sha_1),
            maker.aborted.eq(aborted),
        ]
        with m.If(maker.expand_end):
            m.d.sync += expanding.eq(0)
        with m.If(self.zeroise.stb & (self.zeroise.slot == expand_slot)):
            m.d.sync += aborted.eq(1)
        doomed = self.zeroise.stb & (self.zeroise.slot == self.expand.slot)
        with m.If(self.expand.stb & ~self.busy & ~doomed):
            m.d.sync += [expanding.eq(1), expand_slot.eq(self.expand.slot), aborted.eq(0)]
            if self._sha_1:
                m.d.sync += expand_sha_1.eq(self.expand.sha_1)

        # The write port: zeroise before the host before the expansion.
        with m.If(zeroises.runs):
            m.d.comb += [
                writer.addr.eq(Cat(zeroises.index, zeroises.slot)),
                writer.data.eq(0),
                writer.en.eq(1),
            ]
        with m.Elif(self.write.stb):
            m.d.comb += [
                writer.addr.eq(Cat(self.write.index, _Part.KEY, self.write.slot)),
                writer.data.eq(self.write.data),
                writer.en.eq(~self.zeroising),
            ]
        with m.Else():
            m.d.comb += [
                writer.addr.eq(Cat(maker.store.index, maker.store.part, expand_slot)),
                writer.data.eq(maker.store.data),
                writer.en.eq(maker.store.stb),
                maker.store.taken.eq(1),
            ]
        return m
