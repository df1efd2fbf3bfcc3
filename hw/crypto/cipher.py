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
# Cycles from the strobe of a read of H to its word.
H_READ_CYCLES = 2
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
        is_cbc = Signal()  # the job that is accepted
        new = self.job.payload
        keystream_empty = Signal()
        # Registered, for the job's mode hangs on its giver; a valid job stays until it is accepted.
        free = Signal()
        m.d.comb += [
            free.eq(~waiting & ~requesting & ~chaining),
            self.job.ready.eq(accept),
        ]
        m.d.sync += [
            is_cbc.eq(new.mode == CipherMode.CBC),
            accept.eq(
                self.job.valid
                & ~accept
                & free
                & ((new.mode != CipherMode.CBC) | (idle & keystream_empty))
            ),
        ]
        with m.If(accept):
            m.d.sync += [job.eq(new), waiting.eq(~is_cbc), chaining.eq(is_cbc)]

        step, is_last, drops = Signal(), Signal(), Signal()
        keystream, keystream_valid = self._keystream(m, step, is_last, drops, keystream_empty)
        self._prepare(m, job, accept & ~is_cbc, prepared, ghash)
        chain = self._chain(m, job, accept & is_cbc, chaining, keystream, keystream_valid, out)
        text = self._text(m, job, waiting, prepared, idle, keystream, keystream_valid, ghash, out)
        self._request(m, job, accept, is_cbc, requesting, chain)
        m.d.comb += [
            step.eq(text["step"] | chain["step"]),
            is_last.eq(Mux(chaining, chain["is_last"], text["is_last"])),
            drops.eq(text["drops"]),
            self.i.ready.eq(text["ready"] | chain["ready"]),
            out.i.valid.eq(step),
            out.i.payload.eq(keystream[:8] ^ Mux(text["ciphers"], self.i.payload, chain["before"])),
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
        keys_only, new_blocks = Signal(), Signal(COUNTER_BITS)  # of the job that is accepted
        m.d.sync += [
            keys_only.eq((new.mode == CipherMode.GMAC) | (new.octets == 0)),
            new_blocks.eq((new.octets + BLOCK_OCTETS - 1)[4:]),
        ]
        m.d.comb += [
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
                blocks_left.eq(Mux(keys_only, 0, new_blocks)),
                counter.eq(Mux(keys_only, 1, 2)),
            ]

    def _keystream(
        self, m: Module, step: Signal, is_last: Signal, drops: Signal, empty: Signal
    ) -> tuple[Signal, Signal]:
        """The block in use; the one after it waits at the core.

        `step` uses the first octet of the block, and with `is_last` ends its use whatever is left
        of it; `drops` ends it without.
        """
        keystream = Signal(BLOCK_BITS)
        keystream_valid = Signal()
        ended, loads, loaded = Signal(), Signal(), Signal()
        offered, was_offered, taken = Signal(), Signal(), Signal()
        m.d.comb += [
            empty.eq(~keystream_valid & ~self.result.valid),
            ended.eq(~keystream_valid | drops),
            loads.eq(ended | (step & is_last)),
            # The core learns a cycle late that its block was taken.
            taken.eq(loaded & was_offered),
            offered.eq(self.result.valid & ~taken),
            self.result.ready.eq(taken),
        ]
        m.d.sync += [loaded.eq(loads), was_offered.eq(offered)]
        with m.If(ended | step):
            # What the core shows while it has no result is zero, from two cycles later on.
            m.d.sync += keystream.eq(
                Mux(ended | is_last, self.result.payload.block, keystream >> 8)
            )
        with m.If(loads):
            m.d.sync += keystream_valid.eq(offered)
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
        ports = {
            name: Signal(name=f"text_{name}")
            for name in ("step", "ciphers", "is_last", "drops", "ready")
        }
        step = ports["step"]
        position = Signal(range(BLOCK_OCTETS))
        at_start, at_end = Signal(init=1), Signal()  # of a block, as `position` says
        octets_left = Signal(OCTETS_BITS)
        none, single = Signal(), Signal()  # `octets_left`, a cycle ago
        last = Signal()  # the octet of the text that comes next
        # Of the job under way: the next one may be in `job` already.
        encrypt, gmac = Signal(), Signal()
        aad = Signal(8 * AAD_OCTETS_MAX)
        aad_left, aad_more = Signal(4), Signal()
        aad_bits, text_bits = Signal(OCTETS_BITS + 4), Signal(OCTETS_BITS + 3)

        # One flip-flop for each state; `ciphers`: text is encrypted or decrypted.
        starts, in_aad, sizes = Signal(init=1), Signal(), Signal()
        ciphers = ports["ciphers"]
        gmac_text, aligns, in_lengths = Signal(), Signal(), Signal()
        encrypts = Signal()  # as `ciphers`, where it is encryption
        in_tag, waited, drained = Signal(), Signal(), Signal()  # the hash is whole
        begins, tag_made = Signal(), Signal()
        text_taken, aad_given = Signal(), Signal()
        hashed_stb, hashed, length_octet = Signal(), Signal(8), Signal(8)
        m.d.comb += [
            idle.eq(starts),
            begins.eq(starts & waiting & prepared),
            step.eq(ciphers & self.i.valid & keystream_valid & out.i.ready),
            text_taken.eq(step | (gmac_text & self.i.valid)),
            tag_made.eq(drained & keystream_valid & ~self.tag.valid),
            ports["ready"].eq(gmac_text | (ciphers & keystream_valid & out.i.ready)),
            ports["is_last"].eq(at_end | last),
            ports["drops"].eq(tag_made),
            aad_given.eq(in_aad & (aad_more | ~gmac)),
            hashed_stb.eq(text_taken | aad_given | (aligns & ~at_start) | in_lengths),
            hashed.eq(
                (
                    (self.i.payload ^ (keystream[:8] & encrypts.replicate(8)))
                    & (ciphers | gmac_text).replicate(8)
                )
                | (aad[:8] & (in_aad & aad_more).replicate(8))
                | length_octet
            ),
        ]
        # All that goes to the hash goes a cycle later.
        m.d.sync += [
            ghash.begin.eq(begins),
            ghash.clear.eq(tag_made),
            ghash.stb.eq(hashed_stb),
            ghash.octet.eq(hashed),
            none.eq(octets_left == 0),
            single.eq(octets_left == 1),
        ]
        with m.If(hashed_stb):
            m.d.sync += [
                position.eq(position + 1),
                at_end.eq(position == BLOCK_OCTETS - 2),
                at_start.eq(at_end),
            ]
        with m.If(text_taken):
            m.d.sync += [octets_left.eq(octets_left - 1), last.eq(octets_left == 2)]

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

        with m.If(starts):
            m.d.sync += [
                encrypt.eq(job.encrypt),
                gmac.eq(job.mode == CipherMode.GMAC),
                aad.eq(job.aad),
                aad_left.eq(job.aad_octets),
                aad_more.eq(job.aad_octets != 0),
                octets_left.eq(job.octets),
            ]
        with m.If(begins):
            m.d.sync += [waiting.eq(0), starts.eq(0), in_aad.eq(1)]
        with m.If(in_aad):
            m.d.sync += [aad.eq(aad >> 8), aad_left.eq(aad_left - 1)]
            with m.If(aad_left == 1):
                m.d.sync += aad_more.eq(0)
            with m.If(Mux(gmac, ~aad_more, at_end)):
                m.d.sync += [in_aad.eq(0), sizes.eq(1)]
        with m.If(sizes):
            m.d.sync += [
                sizes.eq(0),
                last.eq(single),
                ciphers.eq(~gmac & ~none),
                encrypts.eq(~gmac & ~none & encrypt),
                gmac_text.eq(gmac & ~none),
                aligns.eq(none),
            ]
        with m.If(text_taken & last):
            m.d.sync += [ciphers.eq(0), encrypts.eq(0), gmac_text.eq(0), aligns.eq(1)]
        with m.If(aligns & at_start):
            m.d.sync += [aligns.eq(0), in_lengths.eq(1)]
        # In bits, as two big-endian numbers of 8 octets.
        with m.If(in_lengths):
            with m.Switch(position):  # that of the octet before
                with m.Case(5):
                    m.d.sync += length_octet.eq(aad_bits[8:])
                with m.Case(6):
                    m.d.sync += length_octet.eq(aad_bits)
                with m.Case(13):
                    m.d.sync += length_octet.eq(text_bits[8:])
                with m.Case(14):
                    m.d.sync += length_octet.eq(text_bits)
                with m.Default():
                    m.d.sync += length_octet.eq(0)
            with m.If(at_end):
                m.d.sync += [in_lengths.eq(0), in_tag.eq(1)]
        # The hash has its last octet a cycle after this, and is whole two cycles later.
        with m.If(in_tag):
            m.d.sync += [waited.eq(1), drained.eq(waited)]
        with m.If(tag_made):
            m.d.sync += [in_tag.eq(0), waited.eq(0), drained.eq(0), starts.eq(1)]
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
            for name in ("step", "is_last", "ready", "request", "taken")
        }
        ports["before"] = Signal(8, name="chain_before", reset_less=True)
        ports["block"] = Signal(BLOCK_BITS, name="chain_block")
        block, request = ports["block"], ports["request"]
        m.submodules.delayed = delayed = Memory(shape=8, depth=DELAY_OCTETS, init=[])
        write, read = delayed.write_port(), delayed.read_port(domain="comb")

        collected = Signal(BLOCK_BITS)
        full, blocked = Signal(), Signal()  # a block is collected; it waits for its place
        is_iv = Signal()
        position, out_position = Signal(range(BLOCK_OCTETS)), Signal(range(BLOCK_OCTETS))
        at_end, out_at_end = Signal(), Signal()
        in_left, out_left = Signal(OCTETS_BITS), Signal(OCTETS_BITS)
        write_at, read_at = Signal(range(DELAY_OCTETS)), Signal(range(DELAY_OCTETS))
        level = Signal(range(DELAY_OCTETS + 1))
        takes, gives = Signal(), Signal()
        took, gave = Signal(), Signal()
        over = Signal()
        first = Signal()  # the first block of an encryption, before which there is no ciphertext

        # Encryption gives an octet of ciphertext in one cycle, and takes that of the text which
        # meets it in the next; only at the beginning there is none, and at the end no text.
        mask = Signal(8)
        has_mask = Signal()
        has_more, in_last = Signal(), Signal()  # octets to take; the next is the last
        room = Signal()  # of decryption
        m.d.comb += [
            ports["ready"].eq(has_more & (first | has_mask | room) & ~blocked),
            takes.eq(self.i.valid & ports["ready"]),
            gives.eq(chaining & keystream_valid & out.i.ready & ~has_mask),
        ]
        with m.If(gives & job.encrypt):
            m.d.sync += [mask.eq(keystream[:8]), has_mask.eq(has_more)]
        with m.If(takes & ~first):
            m.d.sync += has_mask.eq(0)
        with m.If(takes & in_last):
            m.d.sync += has_more.eq(0)

        # An octet is read one ahead of its use. The first two are read once the whole IV is there,
        # which is long before.
        ahead = Signal(8, reset_less=True)
        primes = Signal(2)
        advance = Signal()
        m.d.comb += [
            ports["step"].eq(gives),
            ports["is_last"].eq(out_at_end),
            write.en.eq(took),
            read.addr.eq(read_at),
            advance.eq(gives | primes.any()),
        ]
        m.d.sync += [
            # Three octets may come before it is known.
            room.eq((level < DELAY_OCTETS - 3) & ~job.encrypt),
            took.eq(takes),
            # Written a cycle late, long before it is read.
            write.addr.eq(write_at),
            write.data.eq(self.i.payload),
            gave.eq(gives),
            level.eq(level + took - gave),
            primes.eq(Cat(takes & at_end & is_iv, primes)),
            over.eq(chaining & (out_left == 0)),
        ]
        with m.If(advance):
            m.d.sync += [
                ahead.eq(read.data),
                ports["before"].eq(ahead),
                read_at.eq(read_at + 1),
            ]
        with m.If(job.encrypt):  # it meets the one behind it, as `mask`
            m.d.sync += ports["before"].eq(0)
        with m.If(takes):
            m.d.sync += [
                collected.eq(Cat(collected[8:], self.i.payload ^ mask)),
                position.eq(position + 1),
                at_end.eq(position == BLOCK_OCTETS - 2),
                in_left.eq(in_left - 1),
                in_last.eq(in_left == 2),
                write_at.eq(write_at + 1),
            ]
        with m.If(gives):
            m.d.sync += [
                out_position.eq(out_position + 1),
                out_at_end.eq(out_position == BLOCK_OCTETS - 2),
                out_left.eq(out_left - 1),
            ]
        fills = takes & at_end & ~is_iv
        m.d.sync += blocked.eq(
            (fills | (full & request)) & ((full & ~request) | (request & ~ports["taken"]))
        )
        with m.If(full & ~request):
            m.d.sync += [block.eq(collected), request.eq(1), full.eq(0)]
        with m.If(request & ports["taken"]):
            m.d.sync += [request.eq(0), block.eq(0)]
        with m.If(takes & at_end):
            m.d.sync += [full.eq(~is_iv), first.eq(0), is_iv.eq(0)]
        with m.If(over):
            m.d.sync += [chaining.eq(0), collected.eq(0), level.eq(0), mask.eq(0), has_more.eq(0)]
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
                room.eq(~encrypt),
                read_at.eq(write_at),
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
        Keys held; a power of two from 2 to 32.

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
