"""The feeder: a packet as a row of segments, each to those that need it, an octet a cycle."""

from enum import IntEnum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import cipher_job_layout
from hw.crypto.hmac import auth_job_layout, auth_octet_layout
from hw.headers import octets_of
from hw.ipsec.inbound.job import InboundJob, Pending
from hw.ipsec.inbound.plain import Begin
from hw.ipsec.layouts import TOKENS, Cipher, auth_slot, key_slot
from hw.ring import Ring
from hw.stream import OctetSignature, PacketBeat, PacketSignature, SkidBuffer
from spec.headers import AH, ESP, GCM_IV
from spec.sa import ALL_BANKS

__all__ = ["InboundFeeder"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_CBC_IV_OCTETS = 16
_PADDING_OCTETS = 4
_HIGH_OCTETS = 4
_SEGMENTS = 16
_ICV_OCTETS = 64

_Segment = data.StructLayout(
    {
        "octets": 11,
        "cipher": 1,
        "main": 1,
        "outer": 1,
        "direct": 1,
        "icv": 1,
        "main_last": 1,
        "outer_last": 1,
        "zero": 1,
        "is_word": 1,
    }
)
"""Octets of a packet, at least two, and where they go: to the cipher unit, the two messages to be
hashed (`*_last`: the last octet of this segment is the message's), the plaintext as it is, the
queue of ICVs. `zero`: zeros go there instead, but for ICVs. `is_word`: not of the packet, but the
one octet that stands in `octets`; with `zero`, what is left of the packet goes nowhere."""


class _Step(IntEnum):
    """The segments of a packet, in their order."""

    HEADER = 0
    AH_ICV = 1
    AH_PADDING = 2
    ESP_HEADER = 3
    ESP_IV = 4
    TEXT = 5
    HIGH = 6  # and three more
    ESP_ICV = HIGH + _HIGH_OCTETS
    OUTER_HIGH = ESP_ICV + 1  # and three more
    REST = OUTER_HIGH + _HIGH_OCTETS


class InboundFeeder(wiring.Component):
    """Gives each packet's octets to the engines.

    A job is handed on at once - to the plaintext path, the verdict and the engines, in this order
    and HMAC messages first - while the packet before it is still fed; `job` is held for about
    30 cycles. The octets pass one a cycle, two cycles more from one packet to the next; those that
    nobody needs and those of refused packets as fast. All takers of a segment go at the pace of the
    slowest.

    What is covered by what:

    - HMAC of ESP: from its header to the end of the ciphertext, then, with ESN, the high half of
      the number (RFC 4303 2.2.1). HMAC of AH: the whole packet with the ICV as zeros, padding
      behind the ICV as it is, then with ESN the high half (RFC 4302 3.3.3, 2.5.1).
    - GCM: SPI and number as AAD (RFC 4106 5). GMAC of ESP: besides those the IV and the plaintext
      (RFC 4543 3). GMAC of AH: as HMAC of AH; the IV in the ICV field is covered as it is, only the
      tag behind it is zeros (RFC 4543 4).

    Attributes
    ----------
    job : stream of InboundJob, in
    i : PacketSignature, in
        From the taken buffer.
    begin, direct
        To the plaintext path.
    cipher_job, cipher, main_job, main, outer_job, outer
        To the engines: job and octets of each.
    pending : stream of Pending, out
    icv : OctetSignature, out
        To the verdict: of each packet not in clear, the ICVs in their order in the packet.
    keep, keep_token : Signal, out; keep_ready, kept : Signal, in
        The sender's record is kept, under the number `kept`, from here to the answer.
    """

    job: In(stream.Signature(InboundJob))
    i: In(PacketSignature())
    begin: Out(stream.Signature(Begin))
    direct: Out(OctetSignature())
    cipher_job: Out(stream.Signature(cipher_job_layout(slots=2 * ALL_BANKS)))
    cipher: Out(OctetSignature())
    main_job: Out(stream.Signature(auth_job_layout(slots=4 * ALL_BANKS)))
    main: Out(stream.Signature(auth_octet_layout()))
    outer_job: Out(stream.Signature(auth_job_layout(slots=4 * ALL_BANKS)))
    outer: Out(stream.Signature(auth_octet_layout()))
    pending: Out(stream.Signature(Pending))
    icv: Out(OctetSignature())
    keep: Out(1)
    keep_token: Out(range(TOKENS))
    keep_ready: In(1)
    kept: In(range(TOKENS))

    def elaborate(self, platform):
        m = Module()
        m.submodules.segments = segments = Ring(_Segment, depth=_SEGMENTS)
        self._plan(m, segments)
        self._move(m, segments)
        return m

    def _plan(self, m, segments):
        """Hands a job on, and writes its segments."""
        job = self.job.payload
        is_gmac = job.cipher == Cipher.GMAC
        is_gcm = job.cipher == Cipher.GCM
        is_cbc = job.cipher == Cipher.CBC
        # What follows from the job, a cycle behind it: it is not used before the second.
        clear, both, esn = Signal(), Signal(), Signal()
        esp, ah, by_cipher, by_main = (Signal() for _ in range(4))
        gcm, gmac = Signal(), Signal()
        direct, deciphered, to_cipher = Signal(), Signal(), Signal()
        first_octets, text_octets, all_text_octets = Signal(8), Signal(11), Signal(11)
        m.d.sync += [
            clear.eq(job.clear),
            both.eq(job.both),
            esn.eq(job.esn),
            esp.eq(~job.clear & (~job.ah | job.both)),
            ah.eq(~job.clear & job.ah),
            by_cipher.eq(~job.clear & (is_gcm | is_gmac)),
            by_main.eq(~job.clear & ~(is_gcm | is_gmac)),
            gcm.eq(is_gcm),
            gmac.eq(is_gmac),
            direct.eq(job.clear | ~(is_gcm | is_cbc)),
            deciphered.eq(~job.clear & is_cbc),
            to_cipher.eq(~job.clear & (is_gcm | is_gmac | is_cbc)),
            text_octets.eq(job.text_octets),
            all_text_octets.eq(text_octets + Mux(deciphered, _CBC_IV_OCTETS, 0)),
        ]
        # A message in clear, or ESP, without a header before it does not exist.
        with m.If(~ah):
            m.d.sync += first_octets.eq(job.header_octets)
        with m.Elif(gmac & ~both):
            m.d.sync += first_octets.eq(job.header_octets + AH.octets + GCM_IV.octets)
        with m.Else():
            m.d.sync += first_octets.eq(job.header_octets + AH.octets)

        token = Signal(range(TOKENS))
        begin, pending = self.begin.payload, self.pending.payload
        m.d.comb += [
            begin.direct.eq(direct),
            begin.octets.eq(text_octets),
            begin.esp.eq(esp),
            begin.tunnel.eq(job.tunnel),
            begin.clear.eq(clear),
            begin.next_header.eq(job.next_header),
            begin.token.eq(token),
            *(
                pending[name].eq(job[name])
                for name, _ in Pending
                if name not in ("by_cipher", "both", "clear", "token")
            ),
            pending.by_cipher.eq(by_cipher),
            pending.both.eq(both),
            pending.clear.eq(clear),
            pending.token.eq(token),
            self.keep_token.eq(job.token),
        ]
        work = self.cipher_job.payload
        spi, high, low = octets_of(job.spi), octets_of(job.high), octets_of(job.sequence)
        m.d.comb += [
            work.mode.as_value().eq(job.cipher.as_value()),
            work.encrypt.eq(0),
            work.slot.eq(key_slot(job.bank, 0)),
            work.aes256.eq(job.aes256),
            work.nonce.eq(Cat(octets_of(job.salt), job.iv)),
            work.aad.eq(Cat(spi, Mux(esn, Cat(high), Cat(low)), low)),
            work.aad_octets.eq(Mux(esp, Mux(esn, 12, 8), 0)),
            work.octets.eq(job.cipher_octets),
            self.main_job.payload.slot.eq(auth_slot(job.bank, 0, 0)),
            self.main_job.payload.sha_1.eq(job.sha_1),
            self.outer_job.payload.slot.eq(auth_slot(job.bank, 0, 1)),
        ]

        # One hand-over after the other. Lanes first: who holds a lane waits for the cipher unit,
        # but never the other way. The tags are taken in the order of the ICVs in the packet.
        busy = Signal()
        keeps, begins, pends = Signal(), Signal(), Signal()
        to_outer, to_main, to_last = Signal(), Signal(), Signal()
        come = Signal()
        step = Signal(_Step.REST + 1)
        starts = ~busy & self.job.valid
        pended = pends & self.pending.ready
        outer_done = to_outer & self.outer_job.ready
        m.d.comb += [
            self.keep.eq(keeps & self.keep_ready),
            self.begin.valid.eq(begins),
            self.pending.valid.eq(pends),
            self.outer_job.valid.eq(to_outer),
            self.main_job.valid.eq(to_main),
            self.cipher_job.valid.eq(to_last & to_cipher),
            come.eq((pended & ~both) | outer_done),
        ]
        m.d.sync += [
            keeps.eq((keeps & ~self.keep_ready) | (starts & ~job.refused)),
            begins.eq((begins & ~self.begin.ready) | (keeps & self.keep_ready)),
            pends.eq((pends & ~self.pending.ready) | (begins & self.begin.ready)),
            to_outer.eq((to_outer & ~self.outer_job.ready) | (pended & both)),
            to_main.eq((to_main & ~self.main_job.ready) | (come & by_main)),
            to_last.eq(
                (to_last & to_cipher & ~self.cipher_job.ready)
                | (to_main & self.main_job.ready)
                | (come & ~by_main)
            ),
        ]
        with m.If(keeps):
            m.d.sync += token.eq(self.kept)
        with m.If(starts):
            m.d.sync += busy.eq(1)
        with m.If(self.job.ready):
            m.d.sync += busy.eq(0)

        # One step a cycle, whether it has a segment or not. The segment is made in this cycle and
        # written in the next.
        with m.If(segments.room):
            m.d.sync += step.eq(step << 1)
        with m.If(to_last & (self.cipher_job.ready | ~to_cipher)):
            m.d.sync += step[_Step.HEADER].eq(1)
        with m.If(starts & job.refused):
            m.d.sync += step[_Step.REST].eq(1)
        m.d.comb += self.job.ready.eq(segments.room & step[_Step.REST])

        def at(*steps):
            return Cat(step[number] for number in steps).any()

        covers_ah = at(_Step.HEADER, _Step.AH_ICV, _Step.AH_PADDING)
        high_steps = step[_Step.HIGH :][:_HIGH_OCTETS]
        outer_high_steps = step[_Step.OUTER_HIGH :][:_HIGH_OCTETS]
        highs, outer_highs = high_steps.any(), outer_high_steps.any()
        high_to_cipher = by_cipher & ~esp
        rest = at(_Step.REST)
        segment = Signal(_Segment)
        stb = Signal()
        m.d.comb += [segments.entry.eq(segment), segments.stb.eq(stb)]
        m.d.sync += [
            stb.eq(
                segments.room
                & (
                    at(_Step.HEADER, _Step.TEXT, _Step.REST)
                    | (at(_Step.AH_ICV) & ah)
                    | (at(_Step.AH_PADDING) & ah & job.padded)
                    | (at(_Step.ESP_HEADER, _Step.ESP_ICV) & esp)
                    | (at(_Step.ESP_IV) & esp & gmac)
                    | (highs & esn & (by_main | high_to_cipher))
                    | (outer_highs & esn & both)
                )
            ),
            segment.cipher.eq(
                (covers_ah & high_to_cipher)
                | at(_Step.ESP_IV)
                | (at(_Step.TEXT) & to_cipher)
                | (highs & by_cipher)
            ),
            segment.main.eq(
                by_main & ((covers_ah & ~esp) | at(_Step.ESP_HEADER, _Step.TEXT) | highs)
            ),
            segment.main_last.eq((at(_Step.TEXT) & ~esn) | high_steps[-1]),
            segment.outer_last.eq((at(_Step.ESP_ICV) & ~esn) | outer_high_steps[-1]),
            segment.outer.eq(both & ~(highs | rest)),
            segment.direct.eq(at(_Step.TEXT) & direct),
            segment.icv.eq(at(_Step.AH_ICV, _Step.ESP_ICV)),
            segment.zero.eq(at(_Step.AH_ICV, _Step.REST)),
            segment.is_word.eq(highs | outer_highs | rest),
        ]
        icv_octets = Mux(job.sha_1, _SHA_1_OCTETS, _TAG_OCTETS)
        choices = [
            (at(_Step.HEADER), first_octets),
            (at(_Step.AH_ICV), Mux(both, _TAG_OCTETS, icv_octets)),
            (at(_Step.AH_PADDING), Const(_PADDING_OCTETS)),
            (at(_Step.ESP_HEADER), Mux(gcm, ESP.octets + GCM_IV.octets, ESP.octets)),
            (at(_Step.ESP_IV), Const(GCM_IV.octets)),
            (at(_Step.TEXT), all_text_octets),
            (at(_Step.ESP_ICV), icv_octets),
            *zip(high_steps, high, strict=True),
            *zip(outer_high_steps, octets_of(job.outer_high), strict=True),
        ]
        octets = Const(0, 11)
        for chosen, value in choices:
            octets = octets | Mux(chosen, value, 0)
        m.d.sync += segment.octets.eq(octets)

    def _move(self, m, segments):
        """One octet a cycle from the packet to all who need it."""
        m.submodules.source = source = SkidBuffer(PacketBeat)
        m.submodules.icvs = icvs = Ring(8, depth=_ICV_OCTETS, slack=_TAG_OCTETS)
        wiring.connect(m, wiring.flipped(self.i), source.i)
        wiring.connect(m, icvs.o, wiring.flipped(self.icv))
        beat = source.o.payload
        following = segments.o.payload

        # What the segment is, and what of it is left.
        now = Signal(_Segment)
        idle, takes, gives, drains = Signal(init=1), Signal(), Signal(), Signal()
        is_last = Signal()
        ended = Signal()  # the packet's last octet has gone by
        has_spare = Signal()
        goes, free, load, comes = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            # An ICV is begun only when all of it has room.
            comes.eq(segments.o.valid & (icvs.room | ~following.icv)),
            goes.eq(~has_spare & ((takes & source.o.valid) | gives)),
            free.eq(idle | (drains & ended)),
            load.eq(free | (goes & is_last)),
            source.o.ready.eq((takes & ~has_spare) | (drains & ~ended)),
            segments.o.ready.eq(load & (icvs.room | ~following.icv)),
        ]
        with m.If(source.o.valid & source.o.ready & beat.last):
            m.d.sync += ended.eq(1)
        with m.If(drains & ended):
            m.d.sync += ended.eq(0)
        with m.If(goes | free):
            m.d.sync += [now.octets.eq(now.octets - 1), is_last.eq(now.octets == 2)]
            with m.If(is_last | idle | drains):
                m.d.sync += [now.octets.eq(following.octets), is_last.eq(following.is_word)]
        with m.If(load):
            m.d.sync += [
                *(now[name].eq(following[name]) for name, _ in _Segment if name != "octets"),
                idle.eq(~comes),
                takes.eq(comes & ~following.is_word),
                gives.eq(comes & following.is_word & ~following.zero),
                drains.eq(comes & following.is_word & following.zero),
            ]
        octet, covered = Signal(8), Signal(8)
        icv, icv_stb = Signal(8), Signal()
        m.d.comb += [
            octet.eq(Mux(gives, now.octets[:8], beat.data)),
            covered.eq(Mux(now.zero, 0, octet)),
            icvs.entry.eq(icv),
            icvs.stb.eq(icv_stb),
        ]
        m.d.sync += [icv.eq(beat.data), icv_stb.eq(goes & now.icv)]

        # The octet stands before all its takers until each has it; one more waits behind it.
        takers = (self.cipher, self.main, self.outer, self.direct)
        to = [Signal(name=f"to_{name}") for name in ("cipher", "main", "outer", "direct")]
        spare_to, new_to, next_to = (Signal(len(takers)) for _ in range(3))
        shown, main_last, outer_last = Signal(8), Signal(), Signal()
        new, spare = Signal(10), Signal(10)
        moves = Signal()
        m.d.comb += [
            new.eq(Cat(covered, is_last & now.main_last, is_last & now.outer_last)),
            new_to.eq(Mux(goes, Cat(now.cipher, now.main, now.outer, now.direct), 0)),
            next_to.eq(Mux(has_spare, spare_to, new_to)),
            moves.eq(
                ~Cat(mine & ~taker.ready for mine, taker in zip(to, takers, strict=True)).any()
            ),
        ]
        with m.If(moves):
            m.d.sync += Cat(shown, main_last, outer_last).eq(Mux(has_spare, spare, new))
            m.d.sync += has_spare.eq(0)
        with m.Elif(goes):
            m.d.sync += has_spare.eq(1)
        with m.If(~has_spare):
            m.d.sync += [spare.eq(new), spare_to.eq(new_to)]
        for mine, taker, follows in zip(to, takers, next_to, strict=True):
            m.d.sync += mine.eq((mine & ~taker.ready) | (moves & follows))
            m.d.comb += taker.valid.eq(mine)
        m.d.comb += [
            self.cipher.payload.eq(shown),
            self.direct.payload.eq(shown),
            self.main.payload.data.eq(shown),
            self.main.payload.last.eq(main_last),
            self.outer.payload.data.eq(shown),
            self.outer.payload.last.eq(outer_last),
        ]
