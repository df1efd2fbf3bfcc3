"""The feeder: a packet as a row of segments, each to those that need it, an octet a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import cipher_job_layout
from hw.crypto.hmac import auth_job_layout, auth_octet_layout
from hw.headers import octets_of
from hw.ipsec.inbound.job import InboundJob, Pending
from hw.ipsec.inbound.plain import Begin
from hw.ipsec.layouts import TOKENS, Cipher, auth_slot, key_slot
from hw.stream import OctetSignature, PacketBeat, PacketSignature, SkidBuffer
from spec.headers import AH, ESP, GCM_IV
from spec.sa import BANKS

__all__ = ["InboundFeeder"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_CBC_IV_OCTETS = 16
_PADDING_OCTETS = 4
_HIGH_OCTETS = 4
_SEGMENTS = 16

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
        "drain": 1,
        "word": 32,
    }
)
"""Octets of a packet, or of `word`, and where they go: to the cipher unit, the two messages to be
hashed (`*_last`: the last octet of this segment is the message's), the plaintext as it is, the
queue of ICVs. `zero`: zeros go there instead, but for ICVs. `drain`: what is left of the packet."""


class InboundFeeder(wiring.Component):
    """Gives each packet's octets to the engines.

    A job is handed on at once - to the plaintext path, the verdict and the engines, in this order
    and HMAC messages first - while the packet before it is still fed; `job` is held for about
    15 cycles. The octets pass one a cycle, two cycles more from one packet to the next; those that
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
    cipher_job: Out(stream.Signature(cipher_job_layout(slots=2 * BANKS)))
    cipher: Out(OctetSignature())
    main_job: Out(stream.Signature(auth_job_layout(slots=4 * BANKS)))
    main: Out(stream.Signature(auth_octet_layout()))
    outer_job: Out(stream.Signature(auth_job_layout(slots=4 * BANKS)))
    outer: Out(stream.Signature(auth_octet_layout()))
    pending: Out(stream.Signature(Pending))
    icv: Out(OctetSignature())
    keep: Out(1)
    keep_token: Out(range(TOKENS))
    keep_ready: In(1)
    kept: In(range(TOKENS))

    def elaborate(self, platform):
        m = Module()
        m.submodules.segments = segments = SyncFIFO(width=_Segment.size, depth=_SEGMENTS)
        self._plan(m, segments)
        self._move(m, segments)
        return m

    def _plan(self, m, segments):
        """Hands a job on, and writes its segments."""
        job = self.job.payload
        esp = ~job.clear & (~job.ah | job.both)
        by_cipher, by_main = Signal(), Signal()
        is_gmac = job.cipher == Cipher.GMAC
        is_gcm = job.cipher == Cipher.GCM
        is_cbc = job.cipher == Cipher.CBC
        direct = job.clear | ~(is_gcm | is_cbc)
        m.d.comb += [
            by_cipher.eq(~job.clear & (is_gcm | is_gmac)),
            by_main.eq(~job.clear & ~(is_gcm | is_gmac)),
        ]

        token = Signal(range(TOKENS))
        begin, pending = self.begin.payload, self.pending.payload
        m.d.comb += [
            begin.direct.eq(direct),
            begin.octets.eq(job.text_octets),
            begin.esp.eq(esp),
            begin.tunnel.eq(job.tunnel),
            begin.clear.eq(job.clear),
            begin.next_header.eq(job.next_header),
            begin.token.eq(token),
            *(
                pending[name].eq(job[name])
                for name, _ in Pending
                if name not in ("by_cipher", "token")
            ),
            pending.by_cipher.eq(by_cipher),
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
            work.aad.eq(Cat(spi, Mux(job.esn, Cat(high), Cat(low)), low)),
            work.aad_octets.eq(Mux(esp, Mux(job.esn, 12, 8), 0)),
            work.octets.eq(job.cipher_octets),
            self.main_job.payload.slot.eq(auth_slot(job.bank, 0, 0)),
            self.main_job.payload.sha_1.eq(job.sha_1),
            self.outer_job.payload.slot.eq(auth_slot(job.bank, 0, 1)),
        ]

        # A segment is made in one cycle and written in the next.
        segment = Signal(_Segment)
        stb = Signal()
        may = Signal()
        m.d.comb += [
            segments.w_data.eq(segment),
            segments.w_en.eq(stb),
            may.eq(~stb | segments.w_rdy),
        ]
        with m.If(segments.w_rdy):
            m.d.sync += stb.eq(0)
        icv_octets = Mux(job.sha_1 & ~(job.both & job.ah), _SHA_1_OCTETS, _TAG_OCTETS)

        def put(octets, following, *, when=1, **fields):
            """One state: the segment, where there is one, and the state after it."""
            with m.If(may):
                m.next = following
                with m.If(when):
                    m.d.sync += [
                        stb.eq(1),
                        segment.eq(0),
                        segment.octets.eq(octets),
                        *(segment[name].eq(value) for name, value in fields.items()),
                    ]

        ah = job.ah & ~job.clear
        # Whoever covers AH.
        covers = {
            "main": ah & ~job.both & by_main,
            "cipher": ah & ~job.both & by_cipher,
            "outer": job.both,
        }
        high_to_main = job.esn & by_main
        high_to_cipher = job.esn & by_cipher & ah & ~job.both
        with m.FSM(name="plan"):
            with m.State("IDLE"):
                with m.If(self.job.valid):
                    m.next = "KEEP"
                    with m.If(job.refused):
                        m.next = "DRAIN"
            with m.State("KEEP"):
                m.d.comb += self.keep.eq(self.keep_ready)
                m.d.sync += token.eq(self.kept)
                with m.If(self.keep_ready):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += self.begin.valid.eq(1)
                with m.If(self.begin.ready):
                    m.next = "PENDING"
            with m.State("PENDING"):
                m.d.comb += self.pending.valid.eq(1)
                with m.If(self.pending.ready):
                    m.next = "HEADER"
                    with m.If(job.both):
                        m.next = "OUTER JOB"
                    with m.Elif(by_main):
                        m.next = "MAIN JOB"
                    with m.Elif(by_cipher):
                        m.next = "CIPHER JOB"
            # Lanes first: who holds a lane waits for the cipher unit, but never the other way. The
            # tags are taken in the order of the ICVs in the packet.
            with m.State("OUTER JOB"):
                m.d.comb += self.outer_job.valid.eq(1)
                with m.If(self.outer_job.ready):
                    m.next = "HEADER"
                    with m.If(by_main):
                        m.next = "MAIN JOB"
                    with m.Elif(by_cipher):
                        m.next = "CIPHER JOB"
            with m.State("MAIN JOB"):
                m.d.comb += self.main_job.valid.eq(1)
                with m.If(self.main_job.ready):
                    m.next = "HEADER"
                    with m.If(is_cbc):
                        m.next = "CIPHER JOB"
            with m.State("CIPHER JOB"):
                m.d.comb += self.cipher_job.valid.eq(1)
                with m.If(self.cipher_job.ready):
                    m.next = "HEADER"
            with m.State("HEADER"):
                more = Mux(ah, Mux(is_gmac & ~job.both, AH.octets + GCM_IV.octets, AH.octets), 0)
                put(job.header_octets + more, "AH ICV", **covers)
                # A message in clear, or ESP, without a header before it does not exist.
                with m.If(may & ~ah):
                    m.next = "ESP HEADER"
            with m.State("AH ICV"):
                put(icv_octets, "AH PADDING", zero=1, icv=1, **covers)
            with m.State("AH PADDING"):
                put(_PADDING_OCTETS, "ESP HEADER", when=job.padded, **covers)
            with m.State("ESP HEADER"):
                octets = Mux(is_gcm, ESP.octets + GCM_IV.octets, ESP.octets)
                put(octets, "ESP IV", when=esp, main=by_main, outer=job.both)
            with m.State("ESP IV"):
                put(GCM_IV.octets, "TEXT", when=esp & is_gmac, cipher=1, outer=job.both)
            with m.State("TEXT"):
                put(
                    job.text_octets + Mux(is_cbc & ~job.clear, _CBC_IV_OCTETS, 0),
                    "HIGH",
                    cipher=~job.clear & (by_cipher | is_cbc),
                    main=by_main,
                    main_last=~high_to_main,
                    outer=job.both,
                    direct=direct,
                )
            with m.State("HIGH"):
                put(
                    _HIGH_OCTETS,
                    "ESP ICV",
                    when=high_to_main | high_to_cipher,
                    main=by_main,
                    main_last=1,
                    cipher=by_cipher,
                    is_word=1,
                    word=Cat(high),
                )
            with m.State("ESP ICV"):
                put(
                    Mux(job.sha_1, _SHA_1_OCTETS, _TAG_OCTETS),
                    "OUTER HIGH",
                    when=esp,
                    outer=job.both,
                    outer_last=~job.esn,
                    icv=1,
                )
            with m.State("OUTER HIGH"):
                put(
                    _HIGH_OCTETS,
                    "DRAIN",
                    when=job.both & job.esn,
                    outer=1,
                    outer_last=1,
                    is_word=1,
                    word=Cat(octets_of(job.outer_high)),
                )
            with m.State("DRAIN"):
                put(0, "IDLE", drain=1)
                with m.If(may):
                    m.d.comb += self.job.ready.eq(1)

    def _move(self, m, segments):
        """One octet a cycle from the packet to all who need it."""
        m.submodules.source = source = SkidBuffer(PacketBeat)
        wiring.connect(m, wiring.flipped(self.i), source.i)
        sinks = {}
        for name in ("cipher", "main", "outer", "direct", "icv"):
            shape = auth_octet_layout() if name in ("main", "outer") else 8
            m.submodules[f"{name}_buffer"] = sinks[name] = SkidBuffer(shape)
            wiring.connect(m, sinks[name].o, wiring.flipped(getattr(self, name)))

        now = Signal(_Segment)
        active, is_last = Signal(), Signal()
        ended = Signal()  # the packet's last octet has gone by
        goes, done = Signal(), Signal()
        beat = source.o.payload
        takers_are_ready = Signal()
        m.d.comb += [
            takers_are_ready.eq(
                Cat(~now[name] | sink.i.ready for name, sink in sinks.items()).all()
            ),
            goes.eq(active & ~now.drain & takers_are_ready & (now.is_word | source.o.valid)),
        ]
        with m.If(now.drain):
            m.d.comb += [
                source.o.ready.eq(active & ~ended),
                done.eq(active & (ended | (source.o.valid & beat.last))),
            ]
        with m.Else():
            m.d.comb += [source.o.ready.eq(goes & ~now.is_word), done.eq(goes & is_last)]
        with m.If(source.o.valid & source.o.ready & beat.last):
            m.d.sync += ended.eq(1)
        with m.If(now.drain & done):
            m.d.sync += ended.eq(0)

        with m.If(goes):
            m.d.sync += [
                now.octets.eq(now.octets - 1),
                is_last.eq(now.octets == 2),
                now.word.eq(now.word >> 8),
            ]
        following = data.View(_Segment, segments.r_data)
        with m.If(~active | done):
            m.d.comb += segments.r_en.eq(1)
            m.d.sync += [
                active.eq(segments.r_rdy),
                now.eq(following),
                is_last.eq(following.octets == 1),
            ]
        octet, covered = Signal(8), Signal(8)
        m.d.comb += [
            octet.eq(Mux(now.is_word, now.word[:8], beat.data)),
            covered.eq(Mux(now.zero, 0, octet)),
        ]
        for name, sink in sinks.items():
            m.d.comb += sink.i.valid.eq(goes & now[name])
            if name in ("main", "outer"):
                m.d.comb += [
                    sink.i.payload.data.eq(covered),
                    sink.i.payload.last.eq(is_last & now[f"{name}_last"]),
                ]
            else:
                m.d.comb += sink.i.payload.eq(octet if name == "icv" else covered)
