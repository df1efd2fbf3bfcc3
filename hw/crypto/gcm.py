"""AES-GCM over an octet stream: counter blocks, keystream, hash and tag, one octet a cycle.

Two halves work side by side. The *request* half asks the AES core for the keystream blocks of a
job, and last for E(J0). The *text* half walks through the job: AAD, text, padding, length block,
tag. A new job is accepted when the request half is free and the text half is past its text, so that
the first keystream of the next packet is made while the tag of the last one is finished.

Source: SP 800-38D 7.1, 7.2; RFC 4106.
"""

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.aes import aes_request_layout, aes_result_layout, check_slots
from hw.crypto.ghash import Ghash
from hw.crypto.key_expansion import expand_layout
from hw.crypto.key_store import HReadSignature, key_write_layout, zeroise_layout
from hw.crypto.keyed_aes import KeyedAes
from hw.crypto.tables import BLOCK_BITS, BLOCK_OCTETS
from hw.stream import OctetSignature, SkidBuffer

__all__ = ["GcmEngine", "GcmUnit", "gcm_job_layout"]

NONCE_OCTETS = 12
AAD_OCTETS = 8
AAD_LONG_OCTETS = 12
OCTETS_BITS = 11
COUNTER_BITS = 8
# Cycles from the strobe of a read of H to its word, and from the last octet given to the hash.
H_READ_CYCLES = 2
HASH_DRAIN_CYCLES = 1


def gcm_job_layout(*, slots: int) -> data.StructLayout:
    """What `GcmEngine` shall do with the next octets.

    - `encrypt`: 1 to encrypt, 0 to decrypt.
    - `slot`, `aes256`: the key and its size; the slot must have been expanded for that size.
    - `nonce`: 12 octets (salt and IV of RFC 4106), lane 0 first.
    - `aad`: 8 octets or, if `aad_long`, 12; lane 0 first.
    - `octets`: length of the text, 0 to 2047.
    """
    return data.StructLayout(
        {
            "encrypt": 1,
            "slot": range(slots),
            "aes256": 1,
            "nonce": 8 * NONCE_OCTETS,
            "aad": 8 * AAD_LONG_OCTETS,
            "aad_long": 1,
            "octets": OCTETS_BITS,
        }
    )


class GcmEngine(wiring.Component):
    """Encrypts or decrypts one text after another, and computes the tag of each.

    Contract: for each job exactly `octets` octets in at `i`, as many out at `o`, and one `tag`;
    none of them is dropped or made up, whatever the pace of the other ports. An octet each cycle;
    the first can be taken 48 cycles after the job was accepted with AES-256, 36 with AES-128, and
    in any case not before the tag of the job before was taken and 36 more cycles went by. `tag` is
    valid at most 33 cycles after the last octet of the text was taken at `i`. `o` may stall, and
    then `i` stalls; a `tag` that waits holds back the text of the next job, but nothing else.

    The hash is always over the ciphertext: on decryption the user compares `tag` with the one
    received, and must not believe a decrypted octet before. SEC: ESP.NOTHING_BEFORE_ICV.

    With the tag taken, keystream, hash state and subkey are gone, and the nonce is gone once the
    last block was requested. SEC: GCM.STATE_CLEARED.

    Parameters
    ----------
    slots : int
        Key slots of the key store.

    Attributes
    ----------
    job : In(stream.Signature(gcm_job_layout(...)))
    i, o : In(OctetSignature()), Out(OctetSignature())
        Text in and text out.
    tag : Out(stream.Signature(128))
        The computed tag, lane 0 first.
    request, result
        Streams to and from `AesCore`.
    h : Out(HReadSignature(...))
        To `KeyStore`.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        super().__init__(
            {
                "job": In(stream.Signature(gcm_job_layout(slots=slots))),
                "i": In(OctetSignature()),
                "o": Out(OctetSignature()),
                "tag": Out(stream.Signature(BLOCK_BITS)),
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
        job = Signal(gcm_job_layout(slots=self._slots))
        waiting = Signal()  # a job that the text half has not begun
        requesting = Signal()
        past_text = Signal()
        accept = Signal()

        m.d.comb += [
            self.job.ready.eq(~waiting & ~requesting & past_text),
            accept.eq(self.job.valid & self.job.ready),
        ]
        with m.If(accept):
            m.d.sync += [job.eq(self.job.payload), waiting.eq(1)]

        self._request(m, job, accept, requesting)
        step = Signal()
        use_up = Signal()
        keystream, keystream_valid = self._keystream(m, step, use_up)
        self._text(m, job, waiting, past_text, keystream, keystream_valid, step, use_up)
        return m

    def _request(self, m: Module, job: data.View, accept: Signal, requesting: Signal) -> None:
        """Requests counter blocks 2, 3, ... and, last, block 1, which masks the tag."""
        counter = Signal(COUNTER_BITS)
        blocks_left = Signal(COUNTER_BITS)
        octets = self.job.payload.octets
        m.d.comb += [
            self.request.valid.eq(requesting),
            self.request.payload.block.eq(Cat(job.nonce, Const(0, 32 - COUNTER_BITS), counter)),
            self.request.payload.slot.eq(job.slot),
            self.request.payload.aes256.eq(job.aes256),
        ]
        with m.If(requesting & self.request.ready):
            m.d.sync += [counter.eq(counter + 1), blocks_left.eq(blocks_left - 1)]
            with m.If(blocks_left == 1):
                m.d.sync += counter.eq(1)
            with m.If(blocks_left == 0):
                m.d.sync += [requesting.eq(0), counter.eq(0), job.nonce.eq(0), blocks_left.eq(0)]
        with m.If(accept):
            m.d.sync += [
                requesting.eq(1),
                blocks_left.eq((octets + BLOCK_OCTETS - 1)[4:]),
                counter.eq(Mux(octets == 0, 1, 2)),
            ]

    def _keystream(self, m: Module, step: Signal, use_up: Signal) -> tuple[Signal, Signal]:
        """The block in use and the one after it.

        `step` uses the first octet of the block, `use_up` ends its use whatever is left of it.
        """
        keystream = Signal(BLOCK_BITS)
        keystream_valid = Signal()
        ahead = Signal(BLOCK_BITS)
        ahead_valid = Signal()
        m.d.comb += self.result.ready.eq(~ahead_valid)
        with m.If(~keystream_valid | use_up):
            m.d.sync += [
                keystream.eq(ahead),
                keystream_valid.eq(ahead_valid),
                ahead.eq(0),
                ahead_valid.eq(0),
            ]
        with m.Elif(step):
            m.d.sync += keystream.eq(keystream >> 8)
        with m.If(self.result.valid & self.result.ready):
            m.d.sync += [ahead.eq(self.result.payload.block), ahead_valid.eq(1)]
        return keystream, keystream_valid

    def _text(
        self,
        m: Module,
        job: data.View,
        waiting: Signal,
        past_text: Signal,
        keystream: Signal,
        keystream_valid: Signal,
        step: Signal,
        use_up: Signal,
    ) -> None:
        m.submodules.ghash = ghash = Ghash()
        position = Signal(range(BLOCK_OCTETS))
        octets_left = Signal(OCTETS_BITS)
        wait = Signal(range(max(H_READ_CYCLES, HASH_DRAIN_CYCLES) + 1))
        # The next job may be in `job` when the length block of this one is hashed.
        octets = Signal(OCTETS_BITS)
        aad_long = Signal()

        hashed = Signal(8)
        hashed_stb = Signal()
        m.d.comb += [ghash.stb.eq(hashed_stb), ghash.octet.eq(hashed)]
        with m.If(hashed_stb):
            m.d.sync += position.eq(position + 1)

        # Registers only say whether the next octet goes: the whole keystream hangs on that.
        m.submodules.out = out = SkidBuffer(8)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        text_out = Signal(8)
        m.d.comb += [out.i.valid.eq(step), out.i.payload.eq(text_out)]
        with m.If(step):
            m.d.sync += octets_left.eq(octets_left - 1)
        m.d.comb += [
            text_out.eq(self.i.payload ^ keystream[:8]),
            self.h.slot.eq(job.slot),
            ghash.h.eq(self.h.word),
            self.tag.payload.eq(ghash.y ^ keystream),
        ]

        with m.FSM(name="text"):
            with m.State("IDLE"):
                m.d.comb += past_text.eq(1)
                m.d.sync += [wait.eq(H_READ_CYCLES - 1), octets_left.eq(job.octets)]
                with m.If(waiting):
                    m.d.comb += self.h.stb.eq(1)
                    m.d.sync += waiting.eq(0)
                    m.next = "SUBKEY"
            with m.State("SUBKEY"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.comb += ghash.load.eq(1)
                    m.next = "SUBKEY READY"
            with m.State("SUBKEY READY"):
                with m.If(ghash.ready):
                    m.next = "AAD"
            with m.State("AAD"):
                m.d.comb += [hashed_stb.eq(1), hashed.eq(job.aad[:8])]
                m.d.sync += job.aad.eq(job.aad >> 8)
                with m.If((position >= AAD_OCTETS) & ~job.aad_long):
                    m.d.comb += hashed.eq(0)
                with m.If(position == BLOCK_OCTETS - 1):
                    m.d.sync += [octets.eq(job.octets), aad_long.eq(job.aad_long)]
                    m.next = "TEXT"
                    with m.If(octets_left == 0):
                        m.next = "LENGTHS"
            with m.State("TEXT"):
                last = octets_left == 1
                m.d.comb += [
                    self.i.ready.eq(keystream_valid & out.i.ready),
                    step.eq(self.i.valid & self.i.ready),
                    hashed_stb.eq(step),
                    hashed.eq(Mux(job.encrypt, text_out, self.i.payload)),
                    use_up.eq(step & ((position == BLOCK_OCTETS - 1) | last)),
                ]
                with m.If(step & last):
                    m.next = "PADDING"
                    with m.If(position == BLOCK_OCTETS - 1):
                        m.next = "LENGTHS"
            with m.State("PADDING"):
                m.d.comb += [past_text.eq(1), hashed_stb.eq(1)]
                with m.If(position == BLOCK_OCTETS - 1):
                    m.next = "LENGTHS"
            with m.State("LENGTHS"):  # in bits, as two big-endian numbers of 8 octets
                m.d.comb += [past_text.eq(1), hashed_stb.eq(1)]
                m.d.sync += wait.eq(HASH_DRAIN_CYCLES)
                with m.Switch(position):
                    with m.Case(7):
                        m.d.comb += hashed.eq(Mux(aad_long, 8 * AAD_LONG_OCTETS, 8 * AAD_OCTETS))
                    with m.Case(14):
                        m.d.comb += hashed.eq(octets[5:])
                    with m.Case(15):
                        m.d.comb += hashed.eq(octets << 3)
                        m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += past_text.eq(1)
                with m.If(wait != 0):
                    m.d.sync += wait.eq(wait - 1)
                with m.Else():
                    m.d.comb += self.tag.valid.eq(keystream_valid)
                    with m.If(self.tag.valid & self.tag.ready):
                        m.d.comb += [use_up.eq(1), ghash.clear.eq(1)]
                        m.next = "IDLE"


class GcmUnit(wiring.Component):
    """Key store, AES core and GCM engine: what a data path instantiates.

    Contract: as `GcmEngine` for `job`, `i`, `o` and `tag`, and as `KeyStore` for the rest.
    Expansion of a slot shares the AES core with the text, block by block, and waits while a text
    stalls.

    Parameters
    ----------
    slots : int
        Keys held; 2, 4, 8 or 16.

    Attributes
    ----------
    job, i, o, tag
        As in `GcmEngine`.
    write, expand, zeroise, busy, zeroising, done
        As in `KeyStore`.
    """

    def __init__(self, *, slots: int = 4) -> None:
        self._slots = check_slots(slots)
        super().__init__(
            {
                "job": In(stream.Signature(gcm_job_layout(slots=slots))),
                "i": In(OctetSignature()),
                "o": Out(OctetSignature()),
                "tag": Out(stream.Signature(BLOCK_BITS)),
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
        m.submodules.engine = engine = GcmEngine(slots=self._slots)
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
