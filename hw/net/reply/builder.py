"""One reply after another: laid out in a small memory, protected there, and sent."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import cipher_job_layout
from hw.crypto.hmac import auth_job_layout, auth_octet_layout
from hw.headers import octets_of
from hw.ipsec.layouts import (
    RECORD_OCTETS,
    TOKENS,
    Cipher,
    Protocol,
    Reply,
    ReplyKind,
    SaView,
    auth_slot,
    key_slot,
)
from hw.net.reply.layout import FrameLayout
from hw.stream import OctetSignature, PacketSignature, SkidBuffer
from spec.headers import GCM_IV, IPV4, IPV6, UDP
from spec.sa import BANKS

__all__ = ["FRAME_OCTETS_MAX", "ReplyBuilder"]

FRAME_OCTETS_MAX = 320
"""Longest frame: 22 of Ethernet with two tags, twice IPv6, AH, ESP with CBC and a full message."""
_MEMORY_OCTETS = 512
_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_HIGH_OCTETS = 4
_QUEUE = 8
_TTL = 64


class _Sink(enum.Enum):
    """Where the octets of a region go."""

    CIPHER = 0
    LANE = 1
    SUM = 2
    OUT = 3


class ReplyBuilder(wiring.Component):
    """Turns one reply after another into a frame, whole before its first octet leaves.

    The headers and the message are laid out in a memory, checksums are summed up meanwhile; the
    memory is then read through the engines, which put ciphertext and ICVs in their places; at last
    it is read out.

    A reply under a bank that no longer receives, or is of another epoch, or whose numbers are used
    up, is not sent; nor is one whose bank goes while it is protected, for parts of it may be under
    a zeroised key (`SEC: ESP.ANSWER_UNDER_WHOLE_KEY`). Every number is used once: `tx_stb` takes it
    before the first octet is encrypted (`SEC: ESP.NONCE_ONCE`).

    Parameters
    ----------
    dont_fragment : bool
        Outer IPv4 headers say so.
    ttl : int
        Outer time to live, and hop limit.

    Attributes
    ----------
    reply : stream of Reply, in
        Taken when its frame is whole, or given up.
    host_mac, host_ip, host_ip6 : Signal, in
    banks, tx_stb, tx_bank
        From and to the SAD.
    record_token, record_inner, record_offset, record_data
        To the senders' records; `record_data` is there two cycles later.
    cipher_*, auth_*
        To the engines, through their share.
    o : stream, out
        The frame, to a commit FIFO (`ready` is not looked at); `commit` releases it, `discard`
        takes it back.
    room : Signal, in
        That FIFO has room for a whole frame.

    Source: RFC 826, RFC 791, RFC 8200, RFC 768, RFC 1071, RFC 4303 3.3, RFC 4302 3.3, RFC 4106 3,
    RFC 4543 3 and 4, RFC 3602 3, RFC 3948 2.1.
    """

    def __init__(self, *, dont_fragment: bool = True, ttl: int = _TTL):
        if not 1 <= ttl <= 255:
            raise ValueError(f"ttl must be from 1 to 255, not {ttl}")
        self._dont_fragment = dont_fragment
        self._ttl = ttl
        super().__init__(
            {
                "reply": In(stream.Signature(Reply)),
                "host_mac": In(48),
                "host_ip": In(32),
                "host_ip6": In(128),
                "banks": In(data.ArrayLayout(SaView, BANKS)),
                "tx_stb": Out(1),
                "tx_bank": Out(range(BANKS)),
                "record_token": Out(range(TOKENS)),
                "record_inner": Out(1),
                "record_offset": Out(range(RECORD_OCTETS)),
                "record_data": In(8),
                "cipher_job": Out(stream.Signature(cipher_job_layout(slots=2 * BANKS))),
                "cipher_i": Out(OctetSignature()),
                "cipher_o": In(OctetSignature()),
                "cipher_tag": In(OctetSignature()),
                "auth_job": Out(stream.Signature(auth_job_layout(slots=4 * BANKS))),
                "auth_i": Out(stream.Signature(auth_octet_layout())),
                "auth_tag": In(OctetSignature()),
                "o": Out(PacketSignature()),
                "commit": Out(1),
                "discard": Out(1),
                "room": In(1),
            }
        )

    @property
    def dont_fragment(self) -> bool:
        """Outer IPv4 headers say so."""
        return self._dont_fragment

    @property
    def ttl(self) -> int:
        """Outer time to live, and hop limit."""
        return self._ttl

    def elaborate(self, platform):
        m = Module()
        reply = self.reply.payload
        view = Signal(SaView)
        m.submodules.memory = memory = Memory(
            shape=8, depth=_MEMORY_OCTETS, init=[], attrs={"ram_style": "block"}
        )
        write, read = memory.write_port(), memory.read_port(transparent_for=())
        m.submodules.layout = layout = FrameLayout(dont_fragment=self._dont_fragment, ttl=self._ttl)
        sizes = layout.sizes

        # A bank that goes, or becomes another SA, takes its reply with it.
        stays = Signal()
        now = self.banks[reply.bank]
        receives, epoch = Signal(), Signal.like(reply.epoch)
        m.d.sync += [receives.eq(now.receives), epoch.eq(now.epoch)]
        with m.If(~receives | (epoch != reply.epoch)):
            m.d.sync += stays.eq(0)
        protected = reply.kind == ReplyKind.PROTECTED

        m.d.comb += [
            layout.reply.eq(reply),
            layout.view.eq(view),
            layout.host_mac.eq(self.host_mac),
            layout.host_ip.eq(self.host_ip),
            layout.host_ip6.eq(self.host_ip6),
            layout.record_data.eq(self.record_data),
            self.record_token.eq(reply.token),
            self.record_inner.eq(layout.record_inner),
            self.record_offset.eq(layout.record_offset),
            self.tx_bank.eq(reply.bank),
        ]

        # The memory's writer: the layout, or a patch, or what comes from the engines.
        patch_stb, patch_data = Signal(), Signal(8)
        patch_part, patch_offset = Signal(9), Signal(4)
        patches, patch_octet = Signal(), Signal(8)
        patched_part, patched_offset = Signal(9), Signal(4)
        m.d.sync += [
            patches.eq(patch_stb),
            patched_part.eq(patch_part),
            patched_offset.eq(patch_offset),
            patch_octet.eq(patch_data),
        ]
        stored_at = Signal(9)
        stores = Signal()
        w_en, w_at, w_data = Signal(), Signal(9), Signal(8)
        m.d.comb += [write.en.eq(w_en), write.addr.eq(w_at), write.data.eq(w_data)]
        m.d.sync += w_en.eq(layout.w_stb | patches | stores)
        with m.If(layout.w_stb):
            m.d.sync += [w_at.eq(layout.w_at), w_data.eq(layout.w_data)]
        with m.Elif(patches):
            m.d.sync += [w_at.eq(patched_part + patched_offset), w_data.eq(patch_octet)]
        with m.Else():
            m.d.sync += [w_at.eq(stored_at), w_data.eq(self.cipher_o.payload)]
        m.d.comb += [self.cipher_o.ready.eq(1), stores.eq(self.cipher_o.valid)]
        with m.If(stores):
            m.d.sync += stored_at.eq(stored_at + 1)

        # The memory's reader: from a place to the end, and behind that the high half of a number
        # where asked for.
        octet_layout = data.StructLayout({"data": 8, "last": 1})
        m.submodules.queue = queue = SyncFIFO(width=octet_layout.size, depth=_QUEUE)
        read_at, end = Signal(9), Signal(9)
        reading = Signal()
        under_way, lasts = Signal(2), Signal(2)
        fetched = Signal(8, reset_less=True)  # as the output register of block RAM is
        has_tail, in_tail = Signal(), Signal()
        tail_left = Signal(range(_HIGH_OCTETS))
        # Whoever takes the octets is far away.
        m.submodules.out = out = SkidBuffer(octet_layout)
        leaves = Signal()
        fetch, takes, there = Signal(), Signal(), Signal()
        high = Signal(8 * _HIGH_OCTETS)
        octet = Signal(8)
        is_last = Signal()
        gives = Signal()  # from a region's begin to its last octet
        first_in = data.View(octet_layout, queue.r_data)
        at_end = read_at + 1 == end
        m.d.comb += [
            fetch.eq(reading & (queue.w_level <= _QUEUE - 4)),
            read.addr.eq(read_at),
            read.en.eq(1),
            queue.w_en.eq(under_way[1]),
            queue.w_data.eq(Cat(fetched, lasts[1])),
            out.i.payload.data.eq(Mux(in_tail, high.word_select(tail_left, 8), first_in.data)),
            out.i.payload.last.eq(Mux(in_tail, tail_left == 0, first_in.last & ~has_tail)),
            out.i.valid.eq(queue.r_rdy | in_tail),
            leaves.eq(out.i.valid & out.i.ready),
            queue.r_en.eq(leaves & ~in_tail),
            octet.eq(out.o.payload.data),
            is_last.eq(out.o.payload.last),
            there.eq(out.o.valid),
            out.o.ready.eq(takes),
        ]
        m.d.sync += [
            under_way.eq(Cat(fetch, under_way)),
            lasts.eq(Cat(at_end, lasts)),
            fetched.eq(read.data),
        ]
        with m.If(fetch):
            m.d.sync += [read_at.eq(read_at + 1), reading.eq(~at_end)]
        with m.If(leaves):
            with m.If(in_tail):
                m.d.sync += tail_left.eq(tail_left - 1)
            with m.Elif(first_in.last):
                m.d.sync += in_tail.eq(has_tail)
            with m.If(out.i.payload.last):
                m.d.sync += in_tail.eq(0)
        with m.If(takes & is_last):
            m.d.sync += gives.eq(0)

        start = Signal(9)  # is known before the region begins

        goes_to = Signal(_Sink)

        def region(sink, *, with_tail=0):
            """Begins to read from `start` to `end`, and the tail if there is one."""
            m.d.sync += [
                goes_to.eq(sink),
                read_at.eq(start),
                reading.eq(1),
                gives.eq(1),
                has_tail.eq(with_tail),
                tail_left.eq(_HIGH_OCTETS - 1),
            ]

        # Whose octets these are stands in a register, for the takers are far away.
        first = Signal()
        m.d.comb += [
            self.cipher_i.valid.eq(there & (goes_to == _Sink.CIPHER)),
            self.auth_i.valid.eq(there & (goes_to == _Sink.LANE)),
            # The sums of the outer UDP datagram of IPv6.
            layout.sum_stb.eq(there & (goes_to == _Sink.SUM)),
            layout.sum_data.eq(octet),
        ]
        with m.Switch(goes_to):
            with m.Case(_Sink.CIPHER):
                m.d.comb += takes.eq(there & self.cipher_i.ready)
            with m.Case(_Sink.LANE):
                m.d.comb += takes.eq(there & self.auth_i.ready)
            with m.Default():
                m.d.comb += takes.eq(there)
        m.d.sync += [
            self.o.valid.eq(there & (goes_to == _Sink.OUT)),
            self.o.payload.data.eq(octet),
            self.o.payload.first.eq(first),
            self.o.payload.last.eq(is_last),
        ]
        with m.If(there & (goes_to == _Sink.OUT)):
            m.d.sync += first.eq(0)

        # Jobs.
        is_gcm, is_gmac = view.cipher == Cipher.GCM, view.cipher == Cipher.GMAC
        is_cbc = view.cipher == Cipher.CBC
        by_cipher = is_gcm | is_gmac
        alone = view.protocol == Protocol.AH
        both = view.protocol == Protocol.BOTH
        sequence = view.tx_sequence
        outer_pass = Signal()  # AH around ESP, or AH alone
        job = self.cipher_job.payload
        m.d.comb += high.eq(Mux(outer_pass & both, view.ah_tx_sequence, sequence)[32:])
        cipher_octets = Signal(11)
        spi, wide = octets_of(view.spi_out), octets_of(sequence)
        m.d.comb += [
            # No m.Switch on a part of the payload: its constant bits would be lost in simulation,
            # as Verilog never runs an `always @*` that reads nothing.
            job.mode.as_value().eq(view.cipher.as_value()),
            job.encrypt.eq(1),
            job.slot.eq(key_slot(reply.bank, 1)),
            job.aes256.eq(view.aes256),
            job.nonce.eq(Cat(octets_of(view.salt_out), wide)),
            job.aad.eq(Cat(spi, Mux(view.esn, Cat(wide), Cat(wide[4:], Const(0, 32))))),
            job.aad_octets.eq(Mux(alone, 0, Mux(view.esn, 12, 8))),
            job.octets.eq(cipher_octets),
            self.auth_job.payload.slot.eq(auth_slot(reply.bank, 1, outer_pass & both)),
            self.auth_job.payload.sha_1.eq(view.sha_1 & ~(outer_pass & both)),
            self.auth_i.payload.data.eq(octet),
            self.auth_i.payload.last.eq(is_last),
            self.cipher_i.payload.eq(octet),
        ]
        # A tag goes to its place octet by octet.
        tag_octet = Signal(range(_TAG_OCTETS))
        tag_at = Signal(9)
        tag_end = Signal(range(_TAG_OCTETS + 1))
        by_lane = Signal()
        m.d.sync += [
            self.commit.eq(0),
            self.discard.eq(0),
        ]
        wait = Signal(4)
        waited = Signal()  # `wait` is 3
        m.d.sync += waited.eq(wait == 2)

        with m.FSM():
            with m.State("idle"):
                m.d.sync += [wait.eq(0), outer_pass.eq(0), first.eq(1)]
                with m.If(self.reply.valid & self.room):
                    m.next = "bank"
            with m.State("bank"):
                m.d.sync += [view.eq(now), wait.eq(wait + 1)]
                m.d.sync += stays.eq(1)
                with m.If(wait == 2):
                    m.d.sync += wait.eq(0)
                    m.next = "sizes"
            with m.State("sizes"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == 7):
                    m.d.sync += wait.eq(0)
                    m.next = "lay out"
                    with m.If(protected):
                        m.next = "number"
            with m.State("number"):
                m.next = "lay out"
                with m.If(~stays | view.tx_exhausted):
                    m.next = "end"
                with m.Else():
                    m.d.comb += self.tx_stb.eq(1)
            with m.State("lay out"):
                m.d.comb += layout.begin.eq(1)
                m.next = "laying out"
            with m.State("laying out"):
                with m.If(layout.done):
                    m.d.sync += end.eq(layout.end)
                    m.next = "inner sum high"
            # Checksums, whole now.
            with m.State("inner sum high"):
                m.d.comb += [
                    patch_stb.eq(sizes.tunnel_v4),
                    patch_part.eq(layout.at_text),
                    patch_offset.eq(IPV4.octet_offset("checksum")),
                    patch_data.eq(layout.inner_sum[8:]),
                ]
                m.next = "inner sum low"
            with m.State("inner sum low"):
                m.d.comb += [
                    patch_stb.eq(sizes.tunnel_v4),
                    patch_part.eq(layout.at_text),
                    patch_offset.eq(IPV4.octet_offset("checksum") + 1),
                    patch_data.eq(layout.inner_sum[:8]),
                ]
                m.next = "udp sum high"
            with m.State("udp sum high"):
                m.d.comb += [
                    patch_stb.eq(reply.kind != ReplyKind.ARP),
                    patch_part.eq(layout.at_udp),
                    patch_offset.eq(UDP.octet_offset("checksum")),
                    patch_data.eq(layout.udp_sum[8:]),
                ]
                m.next = "udp sum low"
            with m.State("udp sum low"):
                m.d.comb += [
                    patch_stb.eq(reply.kind != ReplyKind.ARP),
                    patch_part.eq(layout.at_udp),
                    patch_offset.eq(UDP.octet_offset("checksum") + 1),
                    patch_data.eq(layout.udp_sum[:8]),
                ]
                m.next = "finish headers"
                with m.If(protected):
                    m.next = "esp"
                    with m.If(alone):
                        m.next = "ah"
            # ESP: encrypted in place, then its ICV.
            with m.State("esp"):
                m.d.sync += [
                    stored_at.eq(Mux(is_cbc, layout.at_iv, layout.at_text)),
                    cipher_octets.eq(
                        sizes.text + Mux(is_cbc, _TAG_OCTETS, Mux(is_gmac, GCM_IV.octets, 0))
                    ),
                ]
                m.d.sync += start.eq(Mux(is_gcm, layout.at_text, layout.at_iv))
                m.next = "esp job"
                with m.If(view.cipher == Cipher.NULL):
                    m.d.sync += start.eq(layout.at_esp)
                    m.next = "esp auth"
            with m.State("esp job"):
                m.d.comb += self.cipher_job.valid.eq(1)
                with m.If(self.cipher_job.ready):
                    region(_Sink.CIPHER)
                    m.next = "esp octets"
            with m.State("esp octets"):
                with m.If(~gives):
                    m.next = "esp end"
            with m.State("esp end"):
                # All of the ciphertext is in its place, the last octet in two cycles.
                m.d.sync += [by_lane.eq(0), start.eq(layout.at_esp)]
                with m.If(by_cipher):
                    m.next = "tag"
                with m.Elif(stored_at == end):
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(waited):
                        m.d.sync += wait.eq(0)
                        m.next = "esp auth"
            with m.State("esp auth"):
                m.d.comb += self.auth_job.valid.eq(1)
                with m.If(self.auth_job.ready):
                    region(_Sink.LANE, with_tail=view.esn)
                    m.next = "auth octets"
            with m.State("auth octets"):
                with m.If(~gives):
                    m.next = "auth tag"
            with m.State("auth tag"):
                m.d.sync += by_lane.eq(1)
                m.next = "tag"
            with m.State("tag"):
                m.d.sync += [
                    tag_octet.eq(0),
                    tag_at.eq(Mux(outer_pass, layout.at_ah_icv, end)),
                    tag_end.eq(Mux(outer_pass, sizes.ah_icv, sizes.icv)),
                ]
                m.next = "tag octets"
            with m.State("tag octets"):
                m.d.comb += [
                    self.auth_tag.ready.eq(by_lane),
                    self.cipher_tag.ready.eq(~by_lane),
                    patch_part.eq(tag_at),
                    patch_data.eq(Mux(by_lane, self.auth_tag.payload, self.cipher_tag.payload)),
                ]
                with m.If(Mux(by_lane, self.auth_tag.valid, self.cipher_tag.valid)):
                    m.d.sync += tag_octet.eq(tag_octet + 1)
                    with m.If(tag_octet < tag_end):
                        m.d.comb += patch_stb.eq(1)
                        m.d.sync += tag_at.eq(tag_at + 1)
                    with m.If(tag_octet == _TAG_OCTETS - 1):
                        m.next = "tag end"
            with m.State("tag end"):
                m.next = "finish headers"
                with m.If(~outer_pass):
                    m.d.sync += end.eq(tag_at)
                    with m.If(both):
                        m.next = "ah"
            # AH: over the whole packet, whose changing parts are zero until then.
            with m.State("ah"):
                m.d.sync += [
                    outer_pass.eq(1),
                    wait.eq(wait + 1),
                    start.eq(layout.at_ip),
                    cipher_octets.eq(end - layout.at_ip + Mux(view.esn, _HIGH_OCTETS, 0)),
                ]
                with m.If(waited):
                    m.d.sync += wait.eq(0)
                    m.next = "ah auth"
                    with m.If(is_gmac):
                        m.next = "ah job"
            with m.State("ah auth"):
                m.d.comb += self.auth_job.valid.eq(1)
                with m.If(self.auth_job.ready):
                    region(_Sink.LANE, with_tail=view.esn)
                    m.next = "auth octets"
            with m.State("ah job"):
                m.d.comb += self.cipher_job.valid.eq(1)
                with m.If(self.cipher_job.ready):
                    region(_Sink.CIPHER, with_tail=view.esn)
                    m.next = "esp octets"
            # What may change on the way.
            with m.State("finish headers"):
                m.d.sync += wait.eq(wait + 1)
                ip4 = ~reply.v6
                with m.Switch(wait):
                    with m.Case(0):
                        m.d.comb += [
                            patch_part.eq(layout.at_ip),
                            patch_offset.eq(Mux(ip4, 6, IPV6.octet_offset("hop_limit"))),
                            patch_data.eq(Mux(ip4, 0x40 if self._dont_fragment else 0, self._ttl)),
                        ]
                    with m.Case(1):
                        m.d.comb += [
                            patch_part.eq(layout.at_ip),
                            patch_offset.eq(Mux(ip4, 8, IPV6.octet_offset("hop_limit"))),
                            patch_data.eq(self._ttl),
                        ]
                    with m.Case(2):
                        m.d.comb += [
                            patch_part.eq(layout.at_ip),
                            patch_offset.eq(Mux(ip4, 10, 7)),
                            patch_data.eq(Mux(ip4, layout.outer_sum[8:], self._ttl)),
                        ]
                    with m.Default():
                        m.d.comb += [
                            patch_part.eq(layout.at_ip),
                            patch_offset.eq(Mux(ip4, 11, 7)),
                            patch_data.eq(Mux(ip4, layout.outer_sum[:8], self._ttl)),
                        ]
                m.d.comb += patch_stb.eq(reply.kind != ReplyKind.ARP)
                with m.If(waited):
                    m.d.sync += wait.eq(0)
                    m.next = "settle"
                    with m.If(protected & reply.encapsulated & reply.v6):
                        m.next = "encapsulated"
            # The checksum of ESP in UDP, which IPv6 wants (RFC 8200 8.1).
            with m.State("encapsulated"):
                m.d.comb += layout.sum_begin.eq(1)
                m.d.sync += wait.eq(wait + 1)
                m.d.sync += start.eq(layout.at_ip + IPV6.octet_offset("source"))
                with m.If(waited):
                    m.d.sync += wait.eq(0)
                    region(_Sink.SUM)
                    m.next = "encapsulated octets"
            with m.State("encapsulated octets"):
                with m.If(~gives):
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(wait == 5):
                        m.d.sync += wait.eq(0)
                        m.next = "encapsulated sum"
            with m.State("encapsulated sum"):
                m.d.sync += wait.eq(wait + 1)
                m.d.comb += [
                    patch_stb.eq(1),
                    patch_part.eq(layout.at_encapsulated),
                    patch_offset.eq(UDP.octet_offset("checksum") + wait),
                    patch_data.eq(Mux(wait == 0, layout.udp_sum[8:], layout.udp_sum[:8])),
                ]
                with m.If(wait == 1):
                    m.d.sync += wait.eq(0)
                    m.next = "settle"
            with m.State("settle"):
                m.d.sync += [wait.eq(wait + 1), start.eq(0)]
                with m.If(waited):
                    m.d.sync += wait.eq(0)
                    region(_Sink.OUT)
                    m.next = "send"
            with m.State("send"):
                with m.If(~gives):
                    m.next = "sent"
            with m.State("sent"):
                m.d.sync += [
                    self.commit.eq(stays | ~protected),
                    self.discard.eq(~stays & protected),
                ]
                m.next = "end"
            with m.State("end"):
                m.d.comb += self.reply.ready.eq(1)
                m.next = "idle"
        return m
