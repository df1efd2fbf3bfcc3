"""AES-GCM, AES-GMAC and AES-CBC over an octet stream, an octet a cycle, on one AES core.

Two halves work side by side. The *request* half asks the AES core for the blocks of a job; the
*text* half walks through the job: of GCM and GMAC it hashes AAD, text, padding and length block,
and gives the tag. A job is accepted while the one before is still in the text half, so that its
first keystream and its hash subkey are there when its turn comes. Jobs of CBC have the engine to
themselves.

Source: SP 800-38D 7.1, 7.2; SP 800-38A 6.2; RFC 4106; RFC 4543; RFC 3602.
"""

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.crypto.aes import aes_request_layout, aes_result_layout, check_slots
from hw.crypto.ghash import Ghash
from hw.crypto.key_expansion import expand_layout
from hw.crypto.key_store import HReadSignature, key_write_layout, zeroise_layout
from hw.crypto.keyed_aes import KeyedAes
from hw.crypto.tables import BLOCK_BITS, BLOCK_OCTETS
from hw.stream import OctetSignature, SkidBuffer
from spec import suites

__all__ = ["CipherEngine", "CipherMode", "CipherUnit", "cipher_job_layout"]

NONCE_OCTETS = 12
AAD_OCTETS_MAX = 12
OCTETS_BITS = 11
COUNTER_BITS = 8
# Cycles from the strobe of a read of H to its word, and from the last octet given to the hash.
H_READ_CYCLES = 2
HASH_DRAIN_CYCLES = 2
DELAY_OCTETS = 128
"""Ciphertext of CBC that waits for its plaintext: what is collected, three blocks in the core, and
those before and behind it."""


class CipherMode(enum.Enum, shape=2):
    """What a job is; the numbers of `spec.suites.Cipher`."""

    GCM = suites.Cipher.GCM
    CBC = suites.Cipher.CBC
    GMAC = suites.Cipher.GMAC


def cipher_job_layout(*, slots: int) -> data.StructLayout:
    """What `CipherEngine` shall do with the next octets.

    - `mode`, `encrypt`.
    - `slot`, `aes256`: the key and its size; the slot must have been expanded for that size, and
      for decryption where CBC decrypts.
    - `nonce`: 12 octets (salt and IV of RFC 4106), lane 0 first. GCM and GMAC.
    - `aad`: its first `aad_octets` octets (0, 8 or 12), lane 0 first. GCM and GMAC.
    - `octets`: how many come at `i`, 0 to 2047; of CBC whole blocks, two at least for decryption.
    """
    return data.StructLayout(
        {
            "mode": CipherMode,
            "encrypt": 1,
            "slot": range(slots),
            "aes256": 1,
            "nonce": 8 * NONCE_OCTETS,
            "aad": 8 * AAD_OCTETS_MAX,
            "aad_octets": 4,
            "octets": OCTETS_BITS,
        }
    )


class CipherEngine(wiring.Component):
    """One job after another, with what is needed of AES from outside.

    *GCM*: `octets` octets in at `i`, as many out at `o`, and a tag. *GMAC*: the octets at `i`
    follow `aad` without padding between (RFC 4543 3); nothing comes out but the tag. *CBC
    decryption*: the first block at `i` is the IV, what comes out is the plaintext of the others.
    *CBC encryption*: begins with a chaining value of zero, and all blocks come out; the first one
    given is a nonce, and its ciphertext the IV (SP 800-38A appendix C).

    None of the octets is dropped or made up, whatever the pace of the other ports; `o` may stall,
    and then `i` stalls. An octet a cycle, but for CBC encryption, about 84 cycles a block. A short
    packet of GCM, up to 16 octets of text, takes 55 cycles where the next job is there in time.

    The hash is always over the ciphertext: on decryption the user compares `tag` with the one
    received, and must not believe a decrypted octet before. SEC: ESP.NOTHING_BEFORE_ICV.

    With the tag made, keystream, hash state and subkey are gone, and the nonce is gone once the
    last block was requested; the tag itself goes as it is taken. SEC: GCM.STATE_CLEARED.

    Parameters
    ----------
    slots : int
        Key slots of the key store.

    Attributes
    ----------
    job : In(stream.Signature(cipher_job_layout(...)))
    i, o : In(OctetSignature()), Out(OctetSignature())
        Octets in and out.
    tag : Out(OctetSignature())
        The 16 octets of the computed tag; of GCM and GMAC.
    request, result
        Streams to and from `AesCore`.
    h : Out(HReadSignature(...))
        To `KeyStore`.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        super().__init__(
            {
                "job": In(stream.Signature(cipher_job_layout(slots=slots))),
                "i": In(OctetSignature()),
                "o": Out(OctetSignature()),
                "tag": Out(OctetSignature()),
                "request": Out(stream.Signature(aes_request_layout(slots=slots, tag_bits=1))),
                "result": In(stream.Signature(aes_result_layout(tag_bits=1))),
                "h": Out(HReadSignature(slots=slots)),
            }
        )

    @property
    def slots(self) -> int:
        """Key slots of the key store."""
        return self._slots

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.ghash = ghash = Ghash()
        # Registers only say whether the next octet goes: the whole keystream hangs on that.
        m.submodules.out = out = SkidBuffer(8)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        job = Signal(cipher_job_layout(slots=self._slots))
        waiting = Signal()  # a job of GCM or GMAC that the text half has not begun
        prepared = Signal()  # its hash subkey is in the hash
        requesting = Signal()
        chaining = Signal()  # a job of CBC is under way
        idle = Signal()  # the text half
        accept = Signal()
        is_cbc = Signal()
        new = self.job.payload
        keystream_empty = Signal()
        m.d.comb += is_cbc.eq(new.mode == CipherMode.CBC)
        # Registered, for the job's mode hangs on its giver.
        asked = Signal()
        free = Signal()
        m.d.comb += free.eq(~waiting & ~requesting & ~chaining)
        m.d.sync += asked.eq(
            self.job.valid & ~accept & free & (~is_cbc | (idle & keystream_empty)),
        )
        m.d.comb += [self.job.ready.eq(asked), accept.eq(self.job.valid & asked)]
        with m.If(accept):
            m.d.sync += [job.eq(new), waiting.eq(~is_cbc), chaining.eq(is_cbc)]

        step, use_up = Signal(), Signal()
        keystream, keystream_valid = self._keystream(m, step, use_up, keystream_empty)
        self._prepare(m, job, accept & ~is_cbc, prepared, ghash)
        chain = self._chain(m, job, accept & is_cbc, chaining, keystream, keystream_valid, out)
        text = self._text(m, job, waiting, prepared, idle, keystream, keystream_valid, ghash, out)
        self._request(m, job, accept, is_cbc, requesting, chain)
        m.d.comb += [
            step.eq(text["step"] | chain["step"]),
            use_up.eq(text["use_up"] | chain["use_up"]),
            self.i.ready.eq(text["ready"] | chain["ready"]),
            out.i.valid.eq(text["put"] | chain["put"]),
            out.i.payload.eq(Mux(chaining, chain["octet"], text["octet"])),
        ]
        return m

    def _request(
        self,
        m: Module,
        job: data.View,
        accept: Signal,
        is_cbc: Signal,
        requesting: Signal,
        chain: dict[str, Signal],
    ) -> None:
        """Requests counter blocks 2, 3, ... and, last, block 1, which masks the tag; or CBC's."""
        counter = Signal(COUNTER_BITS)
        blocks_left = Signal(COUNTER_BITS)
        new = self.job.payload
        keys_only = Signal()
        m.d.comb += [
            keys_only.eq((new.mode == CipherMode.GMAC) | (new.octets == 0)),
            self.request.valid.eq(requesting | chain["request"]),
            self.request.payload.block.eq(
                Mux(
                    requesting,
                    Cat(job.nonce, Const(0, 32 - COUNTER_BITS), counter),
                    chain["block"],
                )
            ),
            self.request.payload.slot.eq(job.slot),
            self.request.payload.aes256.eq(job.aes256),
            self.request.payload.decrypt.eq(chain["request"] & ~job.encrypt),
            chain["taken"].eq(self.request.ready & ~requesting),
        ]
        with m.If(requesting & self.request.ready):
            m.d.sync += [counter.eq(counter + 1), blocks_left.eq(blocks_left - 1)]
            with m.If(blocks_left == 1):
                m.d.sync += counter.eq(1)
            with m.If(blocks_left == 0):
                m.d.sync += [requesting.eq(0), counter.eq(0), blocks_left.eq(0)]
        # No job is accepted so soon.
        was_requesting = Signal()
        m.d.sync += was_requesting.eq(requesting)
        with m.If(was_requesting & ~requesting):
            m.d.sync += job.nonce.eq(0)
        with m.If(accept & ~is_cbc):
            m.d.sync += [
                requesting.eq(1),
                blocks_left.eq(Mux(keys_only, 0, (new.octets + BLOCK_OCTETS - 1)[4:])),
                counter.eq(Mux(keys_only, 1, 2)),
            ]

    def _keystream(
        self, m: Module, step: Signal, use_up: Signal, empty: Signal
    ) -> tuple[Signal, Signal]:
        """The block in use; the one after it waits at the core.

        `step` uses the first octet of the block, `use_up` ends its use whatever is left of it.
        """
        keystream = Signal(BLOCK_BITS)
        keystream_valid = Signal()
        m.d.comb += [
            self.result.ready.eq(~keystream_valid | use_up),
            empty.eq(~keystream_valid & ~self.result.valid),
        ]
        # What the core shows while it has no result is zero.
        with m.If(self.result.ready):
            m.d.sync += [
                keystream.eq(self.result.payload.block),
                keystream_valid.eq(self.result.valid),
            ]
        with m.Elif(step):
            m.d.sync += keystream.eq(keystream >> 8)
        return keystream, keystream_valid

    def _prepare(
        self, m: Module, job: data.View, begin: Signal, prepared: Signal, ghash: Ghash
    ) -> None:
        """Brings the hash subkey of the job that waits to the hash."""
        wait = Signal(range(H_READ_CYCLES + 1))
        reading = Signal()
        begun = Signal()
        m.d.sync += begun.eq(begin)
        m.d.comb += [
            self.h.slot.eq(job.slot),
            self.h.stb.eq(begun),
            ghash.h.eq(self.h.word),
        ]
        m.d.sync += prepared.eq(ghash.ready & ~reading & ~begun)
        with m.If(begun):
            m.d.sync += [reading.eq(1), wait.eq(H_READ_CYCLES - 1)]
        with m.Elif(reading):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.comb += ghash.load.eq(1)
                m.d.sync += reading.eq(0)

    def _text(
        self,
        m: Module,
        job: data.View,
        waiting: Signal,
        prepared: Signal,
        idle: Signal,
        keystream: Signal,
        keystream_valid: Signal,
        ghash: Ghash,
        out: SkidBuffer,
    ) -> dict[str, Signal]:
        ports = {name: Signal(name=f"text_{name}") for name in ("step", "use_up", "ready", "put")}
        ports["octet"] = Signal(8, name="text_octet")
        step, use_up = ports["step"], ports["use_up"]
        position = Signal(range(BLOCK_OCTETS))
        at_end = Signal()  # of a block, as `position` says
        octets_left = Signal(OCTETS_BITS)
        last = Signal()  # the octet of the text that comes next
        ciphers = Signal()  # text is encrypted or decrypted now
        wait = Signal(range(HASH_DRAIN_CYCLES))
        # Of the job under way: the next one may be in `job` already.
        encrypt, gmac = Signal(), Signal()
        aad = Signal(8 * AAD_OCTETS_MAX)
        aad_left = Signal(4)
        aad_bits, text_bits = Signal(OCTETS_BITS + 4), Signal(OCTETS_BITS + 3)

        hashed = Signal(8)
        hashed_stb = Signal()
        begins, tag_made = Signal(), Signal()
        # All that goes to the hash goes a cycle later.
        m.d.sync += [
            ghash.begin.eq(begins),
            ghash.clear.eq(tag_made),
            ghash.stb.eq(hashed_stb),
            ghash.octet.eq(hashed),
        ]
        with m.If(hashed_stb):
            m.d.sync += [position.eq(position + 1), at_end.eq(position == BLOCK_OCTETS - 2)]
        with m.If(step | (self.i.valid & ports["ready"] & gmac)):
            m.d.sync += [octets_left.eq(octets_left - 1), last.eq(octets_left == 2)]
        m.d.comb += [
            ports["octet"].eq(self.i.payload ^ keystream[:8]),
            step.eq(ciphers & self.i.valid & keystream_valid & out.i.ready),
            ports["put"].eq(step),
        ]
        drained = Signal()  # the hash is whole
        m.d.comb += [
            tag_made.eq(drained & keystream_valid & ~self.tag.valid),
            use_up.eq((step & (at_end | last)) | tag_made),
        ]
        # A finished tag leaves octet by octet, while the next job goes on.
        tag = Signal(BLOCK_BITS, name="made_tag")
        tag_octet = Signal(range(BLOCK_OCTETS))
        m.d.comb += self.tag.payload.eq(tag)
        with m.If(self.tag.valid & self.tag.ready):
            m.d.sync += [tag.eq(tag >> 8), tag_octet.eq(tag_octet + 1)]
            with m.If(tag_octet == BLOCK_OCTETS - 1):
                m.d.sync += self.tag.valid.eq(0)
        with m.If(tag_made):
            m.d.sync += [tag.eq(ghash.y ^ keystream), self.tag.valid.eq(1)]

        with m.FSM(name="text"):
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                m.d.sync += [
                    encrypt.eq(job.encrypt),
                    gmac.eq(job.mode == CipherMode.GMAC),
                    aad.eq(job.aad),
                    aad_left.eq(job.aad_octets),
                    octets_left.eq(job.octets),
                ]
                with m.If(waiting & prepared):
                    m.d.comb += begins.eq(1)
                    m.d.sync += waiting.eq(0)
                    m.next = "AAD"
            with m.State("AAD"):
                m.d.sync += aad.eq(aad >> 8)
                with m.If(gmac & (aad_left == 0)):
                    m.next = "SIZES"
                with m.Else():
                    m.d.comb += hashed_stb.eq(1)
                    with m.If(aad_left != 0):
                        m.d.comb += hashed.eq(aad[:8])
                        m.d.sync += aad_left.eq(aad_left - 1)
                    with m.If(~gmac & at_end):
                        m.next = "SIZES"
            with m.State("SIZES"):
                m.d.sync += [last.eq(octets_left == 1), ciphers.eq(~gmac & (octets_left != 0))]
                m.next = "TEXT"
                with m.If(octets_left == 0):
                    m.next = "ALIGN"
            with m.State("TEXT"):
                with m.If(gmac):
                    m.d.comb += [
                        ports["ready"].eq(1),
                        hashed_stb.eq(self.i.valid),
                        hashed.eq(self.i.payload),
                    ]
                    with m.If(self.i.valid & last):
                        m.next = "ALIGN"
                with m.Else():
                    m.d.comb += [
                        ports["ready"].eq(keystream_valid & out.i.ready),
                        hashed_stb.eq(step),
                        hashed.eq(Mux(encrypt, ports["octet"], self.i.payload)),
                    ]
                    with m.If(step & last):
                        m.d.sync += ciphers.eq(0)
                        m.next = "ALIGN"
            with m.State("ALIGN"):
                with m.If(position == 0):
                    m.next = "LENGTHS"
                with m.Else():
                    m.d.comb += hashed_stb.eq(1)
            with m.State("LENGTHS"):  # in bits, as two big-endian numbers of 8 octets
                m.d.comb += hashed_stb.eq(1)
                m.d.sync += wait.eq(HASH_DRAIN_CYCLES - 1)
                with m.Switch(position):
                    with m.Case(6):
                        m.d.comb += hashed.eq(aad_bits[8:])
                    with m.Case(7):
                        m.d.comb += hashed.eq(aad_bits)
                    with m.Case(14):
                        m.d.comb += hashed.eq(text_bits[8:])
                    with m.Case(15):
                        m.d.comb += hashed.eq(text_bits)
                        m.next = "TAG"
            with m.State("TAG"):
                m.d.sync += [wait.eq(wait - 1), drained.eq(drained | (wait == 0))]
                with m.If(tag_made):
                    m.d.sync += drained.eq(0)
                    m.next = "IDLE"
        # Lengths, while the AAD is hashed.
        with m.If(begins):
            octets = Signal(OCTETS_BITS + 1)
            m.d.comb += octets.eq(job.octets + job.aad_octets)
            m.d.sync += [
                aad_bits.eq(Mux(job.mode == CipherMode.GMAC, octets << 3, job.aad_octets << 3)),
                text_bits.eq(Mux(job.mode == CipherMode.GMAC, 0, job.octets << 3)),
            ]
        return ports

    def _chain(
        self,
        m: Module,
        job: data.View,
        begin: Signal,
        chaining: Signal,
        keystream: Signal,
        keystream_valid: Signal,
        out: SkidBuffer,
    ) -> dict[str, Signal]:
        """CBC: collects blocks for the core, and puts its results together with what came before.

        Decryption: octets lie in a small memory until the block behind them has been decrypted.
        Encryption: each octet meets that of the ciphertext before it, which leaves as it is used.
        """
        ports = {
            name: Signal(name=f"chain_{name}")
            for name in ("step", "use_up", "ready", "put", "request", "taken")
        }
        ports["octet"] = Signal(8, name="chain_octet")
        ports["block"] = Signal(BLOCK_BITS, name="chain_block")
        block, request = ports["block"], ports["request"]
        m.submodules.delayed = delayed = Memory(shape=8, depth=DELAY_OCTETS, init=[])
        write, read = delayed.write_port(), delayed.read_port(domain="comb")

        collected = Signal(BLOCK_BITS)
        full = Signal()  # a block is collected, and waits for its place
        is_iv = Signal()
        position, out_position = Signal(range(BLOCK_OCTETS)), Signal(range(BLOCK_OCTETS))
        in_left, out_left = Signal(OCTETS_BITS), Signal(OCTETS_BITS)
        write_at, read_at, read_next = (Signal(range(DELAY_OCTETS)) for _ in range(3))
        level = Signal(range(DELAY_OCTETS + 1))
        room = Signal()
        takes, gives = Signal(), Signal()
        at_end = position == BLOCK_OCTETS - 1
        out_at_end = Signal()
        first = Signal()  # the first block of an encryption, before which there is no ciphertext

        # Encryption gives an octet of ciphertext in one cycle, and takes that of the text which
        # meets it in the next; only at the beginning there is none, and at the end no text.
        mask = Signal(8)
        has_mask = Signal()
        has_more = Signal()  # octets to take
        delayed_octet = Signal(8, reset_less=True)
        m.d.comb += [
            ports["ready"].eq(
                chaining & ~(full & request) & has_more & Mux(job.encrypt, first | has_mask, room)
            ),
            takes.eq(self.i.valid & ports["ready"]),
            gives.eq(chaining & keystream_valid & out.i.ready & (~job.encrypt | ~has_mask)),
            ports["octet"].eq(keystream[:8] ^ Mux(job.encrypt, 0, delayed_octet)),
        ]
        with m.If(gives):
            m.d.sync += [mask.eq(keystream[:8]), has_mask.eq(has_more)]
        with m.If(takes & ~first):
            m.d.sync += has_mask.eq(0)
        with m.If(takes & (in_left == 1)):
            m.d.sync += has_more.eq(0)
        entering = Signal(8)
        m.d.comb += [
            entering.eq(self.i.payload ^ Mux(job.encrypt & ~first, mask, 0)),
            ports["put"].eq(gives),
            ports["step"].eq(gives),
            ports["use_up"].eq(gives & out_at_end),
            write.en.eq(takes),
            write.addr.eq(write_at),
            write.data.eq(self.i.payload),
            # That of the next octet: it lies there for long.
            read.addr.eq(Mux(gives, read_next, read_at)),
        ]
        m.d.sync += [
            room.eq(level < DELAY_OCTETS - 3),
            level.eq(level + takes - gives),
            delayed_octet.eq(read.data),
        ]
        with m.If(takes):
            m.d.sync += [
                collected.eq(Cat(collected[8:], entering)),
                position.eq(position + 1),
                in_left.eq(in_left - 1),
                write_at.eq(write_at + 1),
            ]
            with m.If(at_end):
                m.d.sync += [first.eq(0), is_iv.eq(0)]
        with m.If(gives):
            m.d.sync += [
                out_position.eq(out_position + 1),
                out_at_end.eq(out_position == BLOCK_OCTETS - 2),
                out_left.eq(out_left - 1),
                read_at.eq(read_next),
                read_next.eq(read_next + 1),
            ]
        with m.If(full & ~request):
            m.d.sync += [block.eq(collected), request.eq(1), full.eq(0)]
        with m.If(request & ports["taken"]):
            m.d.sync += [request.eq(0), block.eq(0)]
        with m.If(takes & at_end & (job.encrypt | ~is_iv)):
            m.d.sync += full.eq(1)
        with m.If(chaining & (out_left == 0)):
            m.d.sync += [chaining.eq(0), collected.eq(0), level.eq(0)]
        with m.If(begin):
            octets = self.job.payload.octets
            encrypt = self.job.payload.encrypt
            m.d.sync += [
                in_left.eq(octets),
                out_left.eq(Mux(encrypt, octets, octets - BLOCK_OCTETS)),
                is_iv.eq(~encrypt),
                first.eq(encrypt),
                has_more.eq(octets.any()),
                has_mask.eq(0),
                read_at.eq(write_at),
                read_next.eq(write_at + 1),
                level.eq(0),
            ]
        return ports


class CipherUnit(wiring.Component):
    """Key store, AES core and engine: what a data path instantiates.

    Contract: as `CipherEngine` for `job`, `i`, `o` and `tag`, and as `KeyStore` for the rest.
    Expansion of a slot shares the AES core with the text, block by block, and waits while a text
    stalls.

    Parameters
    ----------
    slots : int
        Keys held; 2, 4, 8 or 16.

    Attributes
    ----------
    job, i, o, tag
        As in `CipherEngine`.
    write, expand, zeroise, busy, zeroising, done
        As in `KeyStore`.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        super().__init__(
            {
                "job": In(stream.Signature(cipher_job_layout(slots=slots))),
                "i": In(OctetSignature()),
                "o": Out(OctetSignature()),
                "tag": Out(OctetSignature()),
                "write": In(key_write_layout(slots=slots)),
                "expand": In(expand_layout(slots=slots)),
                "zeroise": In(zeroise_layout(slots=slots)),
                "busy": Out(1),
                "zeroising": Out(1),
                "done": Out(1),
            }
        )

    @property
    def slots(self) -> int:
        """Keys held."""
        return self._slots

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.aes = aes = KeyedAes(slots=self._slots)
        m.submodules.engine = engine = CipherEngine(slots=self._slots)
        wiring.connect(m, wiring.flipped(self.job), engine.job)
        wiring.connect(m, wiring.flipped(self.i), engine.i)
        wiring.connect(m, engine.o, wiring.flipped(self.o))
        wiring.connect(m, engine.tag, wiring.flipped(self.tag))
        wiring.connect(m, engine.request, aes.request)
        wiring.connect(m, aes.result, engine.result)
        wiring.connect(m, engine.h, aes.h)
        m.d.comb += [
            aes.write.eq(self.write),
            aes.expand.eq(self.expand),
            aes.zeroise.eq(self.zeroise),
            self.busy.eq(aes.busy),
            self.zeroising.eq(aes.zeroising),
            self.done.eq(aes.done),
        ]
        return m
