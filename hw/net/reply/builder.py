"""One reply after another: laid out in a small memory, protected there, and sent."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.crypto.cipher import cipher_job_layout
from hw.crypto.hmac import auth_job_layout, auth_octet_layout
from hw.eth.fifo import COLLISION_FREE_MEMORY
from hw.headers import octets_of
from hw.ipsec.layouts import (
    APPLIED_BITS,
    EPOCH_BITS,
    RECORD_OCTETS,
    TOKENS,
    Cipher,
    OutboundSa,
    Protocol,
    Reply,
    ReplyKind,
    auth_slot,
    key_slot,
)
from hw.net.reply.layout import FrameLayout
from hw.short_queue import ShortQueue
from hw.stream import OctetSignature, PacketSignature, SkidBuffer
from spec.headers import GCM_IV, IPV4, IPV6, NEIGHBOUR, NEIGHBOUR_HOP_LIMIT, UDP
from spec.sa import ALL_BANKS

__all__ = ["FRAME_OCTETS_MAX", "ReplyBuilder"]

FRAME_OCTETS_MAX = 320
"""Longest frame: 22 of Ethernet with two tags, twice IPv6, AH, ESP with CBC and a full message."""
_MEMORY_OCTETS = 512
_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_HIGH_OCTETS = 4
_QUEUE = 8
_TTL = 64
_FLAGS_OFFSET = 6
_SIZES_CYCLES = 10


def _later(m, name: str, stb, cycles: int) -> list[Signal]:
    """The strobe one cycle later, two cycles later, and so on."""
    late = Signal(cycles, name=f"{name}_late")
    m.d.sync += late.eq(Cat(stb, late))
    return list(late)


def _state(m, name: str, *, begins, ends) -> Signal:
    """A state: a flip-flop that is 1 from the cycle after `begins` to that of `ends`."""
    state = Signal(name=name)
    m.d.sync += state.eq(begins | (state & ~ends))
    return state


def _chosen(*choices):
    """The value whose condition holds, of which no more than one does; 0 if none does."""
    return reduce(or_, (Mux(condition, value, 0) for condition, value in choices))


class ReplyBuilder(wiring.Component):
    """Turns one reply after another into a frame, whole before its first octet leaves.

    The headers and the message are laid out in a memory, checksums are summed up meanwhile; the
    memory is then read through the engines, which put ciphertext and ICVs in their places; at last
    it is read out.

    A reply under a bank that no longer receives, or is of another epoch, or whose numbers are used
    up, is not sent; nor is one whose bank goes while it is protected, for parts of it may be under
    a zeroised key (`SEC: ESP.ANSWER_UNDER_WHOLE_KEY`). Every number is used once: the records count
    it before the first octet is encrypted (`SEC: ESP.NONCE_ONCE`).

    Parameters
    ----------
    dont_fragment : bool
        Outer IPv4 headers say so.
    ttl : int
        Outer time to live, and hop limit but that of neighbour advertisements.

    Attributes
    ----------
    reply : stream of Reply, in
        Taken when its frame is whole, or given up.
    host_mac, host_ip, host_ip6 : Signal, in
    receives, epoch : array of Signal, in
        Of each bank.
    send_stb, send_bank, send_takes, sends, send_exhausted, send_done
        To the banks' records and back, as in `BankRecords`.
    record_token, record_inner, record_offset, record_data
        To the senders' records; `record_data` is there two cycles later.
    alert_index, alert_data, alert_ticks
        To the message of an alert, likewise.
    cipher_*, auth_*
        To the engines, through their share.
    o : stream, out
        The frame, to a commit FIFO (`ready` is not looked at); `commit` releases it, `discard`
        takes it back.
    sent_stb, sent_bank, sent_octets : Signal, out
        With `commit` of a protected frame: under which bank it is, and the octets that count for
        its lifetime.
    room : Signal, in
        That FIFO has room for a whole frame.

    Source: RFC 826, RFC 4861 7.2.4, RFC 791, RFC 8200, RFC 768, RFC 1071, RFC 4303 3.3,
    RFC 4302 3.3, RFC 4106 3, RFC 4543 3 and 4, RFC 3602 3, RFC 3948 2.1.
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
                "receives": In(ALL_BANKS),
                "epoch": In(data.ArrayLayout(EPOCH_BITS, ALL_BANKS)),
                "send_stb": Out(1),
                "send_bank": Out(range(ALL_BANKS)),
                "send_takes": Out(1),
                "sends": In(OutboundSa),
                "send_exhausted": In(1),
                "send_done": In(1),
                "record_token": Out(range(TOKENS)),
                "record_inner": Out(1),
                "record_offset": Out(range(RECORD_OCTETS)),
                "record_data": In(8),
                "alert_index": Out(7),
                "alert_data": In(8),
                "alert_ticks": In(3),
                "cipher_job": Out(stream.Signature(cipher_job_layout(slots=2 * ALL_BANKS))),
                "cipher_i": Out(OctetSignature()),
                "cipher_o": In(OctetSignature()),
                "cipher_tag": In(OctetSignature()),
                "auth_job": Out(stream.Signature(auth_job_layout(slots=4 * ALL_BANKS))),
                "auth_i": Out(stream.Signature(auth_octet_layout())),
                "auth_tag": In(OctetSignature()),
                "o": Out(PacketSignature()),
                "commit": Out(1),
                "discard": Out(1),
                "sent_stb": Out(1),
                "sent_bank": Out(range(ALL_BANKS)),
                "sent_octets": Out(APPLIED_BITS),
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
        view, suite = self.sends, self.sends.suite
        # What is read is written long before.
        m.submodules[COLLISION_FREE_MEMORY] = memory = Memory(
            shape=8, depth=_MEMORY_OCTETS, init=[], attrs={"ram_style": "block"}
        )
        write, read = memory.write_port(), memory.read_port(transparent_for=())
        m.submodules.layout = layout = FrameLayout(dont_fragment=self._dont_fragment, ttl=self._ttl)
        sizes = layout.sizes

        # A bank that goes, or becomes another SA, takes its reply with it.
        stays = Signal()
        receives, epoch = Signal(), Signal.like(reply.epoch)
        m.d.sync += [
            receives.eq(self.receives.bit_select(reply.bank, 1)),
            epoch.eq(self.epoch[reply.bank]),
        ]
        with m.If(~receives | (epoch != reply.epoch)):
            m.d.sync += stays.eq(0)

        # What hangs on reply and SA stands in registers, for these stay long before it is needed.
        protected, is_arp, is_neighbour, ip4 = Signal(), Signal(), Signal(), Signal()
        is_gcm, is_gmac, is_cbc, is_null = Signal(), Signal(), Signal(), Signal()
        alone, both, is_short = Signal(), Signal(), Signal()
        outer_pass = Signal()  # AH around ESP, or AH alone
        m.d.sync += [
            protected.eq(reply.kind == ReplyKind.PROTECTED),
            is_arp.eq(reply.kind == ReplyKind.ARP),
            is_neighbour.eq(reply.kind == ReplyKind.NEIGHBOUR),
            ip4.eq(~reply.v6),
            is_gcm.eq(suite.cipher == Cipher.GCM),
            is_gmac.eq(suite.cipher == Cipher.GMAC),
            is_cbc.eq(suite.cipher == Cipher.CBC),
            is_null.eq(suite.cipher == Cipher.NULL),
            alone.eq(suite.protocol == Protocol.AH),
            both.eq(suite.protocol == Protocol.BOTH),
            is_short.eq(Mux(outer_pass, sizes.ah_icv, sizes.icv) == _SHA_1_OCTETS),
        ]

        m.d.comb += [
            layout.reply.eq(reply),
            layout.view.eq(view),
            layout.host_mac.eq(self.host_mac),
            layout.host_ip.eq(self.host_ip),
            layout.host_ip6.eq(self.host_ip6),
            layout.record_data.eq(self.record_data),
            self.alert_index.eq(layout.alert_index),
            layout.alert_data.eq(self.alert_data),
            layout.alert_ticks.eq(self.alert_ticks),
            self.record_token.eq(reply.token),
            self.record_inner.eq(layout.record_inner),
            self.record_offset.eq(layout.record_offset),
            self.send_bank.eq(reply.bank),
        ]

        # The memory's writer: the layout, or a patch, or what comes from the engines.
        patches, patch_octet = Signal(), Signal(8)
        patched_part, patched_offset = Signal(9), Signal(4)
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
        m.submodules.queue = queue = ShortQueue(width=octet_layout.size, depth=_QUEUE)
        read_at, end = Signal(9), Signal(9)
        reading = Signal()
        under_way, lasts = Signal(2), Signal(2)
        fetched = Signal(8, reset_less=True)  # as the output register of block RAM is
        has_tail, in_tail = Signal(), Signal()
        tail_left = Signal(range(_HIGH_OCTETS))
        has_room = Signal()
        # Whoever takes the octets is far away.
        m.submodules.out = out = SkidBuffer(octet_layout)
        leaves = Signal()
        fetch, takes, there = Signal(), Signal(), Signal()
        high = Signal(8 * _HIGH_OCTETS)
        octet = Signal(8)
        is_last = Signal()
        first_in = data.View(octet_layout, queue.r_data)
        last_at, at_end = Signal(9), Signal()
        m.d.sync += last_at.eq(end - 1)
        m.d.comb += [
            at_end.eq(read_at == last_at),
            fetch.eq(reading & has_room),
            read.addr.eq(read_at),
            read.en.eq(1),
            queue.w_en.eq(under_way[1]),
            queue.w_data.eq(Cat(fetched, lasts[1])),
            out.i.payload.data.eq(Mux(in_tail, high.word_select(tail_left, 8), first_in.data)),
            out.i.payload.last.eq(Mux(in_tail, tail_left == 0, first_in.last & ~has_tail)),
            out.i.valid.eq(queue.r_rdy | in_tail),
            leaves.eq(out.i.valid & out.i.ready),
            queue.r_en.eq(queue.r_rdy & ~in_tail & out.i.ready),
            octet.eq(out.o.payload.data),
            is_last.eq(out.o.payload.last),
            there.eq(out.o.valid),
            out.o.ready.eq(takes),
        ]
        m.d.sync += [
            under_way.eq(Cat(fetch, under_way)),
            lasts.eq(Cat(at_end, lasts)),
            fetched.eq(read.data),
            # A cycle late, in which one octet more is fetched; up to three are under way.
            has_room.eq(queue.level <= _QUEUE - 4),
        ]
        with m.If(fetch):
            m.d.sync += [read_at.eq(read_at + 1), reading.eq(~at_end)]
        with m.If(leaves):
            with m.If(in_tail):
                m.d.sync += tail_left.eq(tail_left - 1)
                with m.If(tail_left == 0):
                    m.d.sync += in_tail.eq(0)
            with m.Elif(first_in.last):
                m.d.sync += in_tail.eq(has_tail)

        # Where the octets of a region go: one flip-flop for each place.
        begins = Signal()
        start = Signal(9)
        finished = Signal()  # the last octet was taken
        to_cipher, to_lane, to_sum, to_out = Signal(), Signal(), Signal(), Signal()
        with m.If(begins):
            m.d.sync += [
                read_at.eq(start),
                reading.eq(1),
                has_tail.eq(view.esn & (to_lane | (to_cipher & outer_pass))),
                tail_left.eq(_HIGH_OCTETS - 1),
            ]
        first = Signal()
        m.d.comb += [
            takes.eq(
                (to_cipher & self.cipher_i.ready) | (to_lane & self.auth_i.ready) | to_sum | to_out
            ),
            self.cipher_i.valid.eq(there & to_cipher),
            self.auth_i.valid.eq(there & to_lane),
            # The sums of the outer UDP datagram of IPv6.
            layout.sum_stb.eq(there & to_sum),
            layout.sum_data.eq(octet),
        ]
        m.d.sync += [
            finished.eq(there & takes & is_last),
            self.o.valid.eq(there & to_out),
            self.o.payload.data.eq(octet),
            self.o.payload.first.eq(first),
            self.o.payload.last.eq(is_last),
        ]
        with m.If(there & to_out):
            m.d.sync += first.eq(0)

        # Jobs.
        sequence = view.tx_sequence
        is_outer = Signal()  # of AH around ESP
        job = self.cipher_job.payload
        m.d.sync += [
            is_outer.eq(outer_pass & both),
            high.eq(Mux(is_outer, view.ah_tx_sequence, sequence)[32:]),
        ]
        esp_octets, ip_octets, ah_octets = Signal(9), Signal(9), Signal(9)
        m.d.sync += [
            esp_octets.eq(sizes.text + Mux(is_cbc, _TAG_OCTETS, Mux(is_gmac, GCM_IV.octets, 0))),
            ip_octets.eq(end - layout.at_ip),
            ah_octets.eq(ip_octets + Mux(view.esn, _HIGH_OCTETS, 0)),
        ]
        spi, wide = octets_of(view.spi_out), octets_of(sequence)
        m.d.comb += [
            # No m.Switch on a part of the payload: its constant bits would be lost in simulation,
            # as Verilog never runs an `always @*` that reads nothing.
            job.mode.as_value().eq(suite.cipher.as_value()),
            job.encrypt.eq(1),
            job.slot.eq(key_slot(reply.bank, 1)),
            job.aes256.eq(suite.aes256),
            job.nonce.eq(Cat(octets_of(view.salt_out), wide)),
            job.aad.eq(Cat(spi, Mux(view.esn, Cat(wide), Cat(wide[4:], Const(0, 32))))),
            job.aad_octets.eq(Mux(alone, 0, Mux(view.esn, 12, 8))),
            job.octets.eq(Mux(outer_pass, ah_octets, esp_octets)),
            self.auth_job.payload.slot.eq(auth_slot(reply.bank, 1, is_outer)),
            self.auth_job.payload.sha_1.eq(suite.sha_1 & ~is_outer),
            self.auth_i.payload.data.eq(octet),
            self.auth_i.payload.last.eq(is_last),
            self.cipher_i.payload.eq(octet),
        ]

        # The way of a reply: one flip-flop for each state, and a row of them for each wait.
        idle = Signal(init=1)
        ended = Signal()
        with m.If(idle):
            m.d.sync += [outer_pass.eq(0), first.eq(1)]
        begun = Signal()
        m.d.sync += [
            begun.eq(idle & ~begun & self.reply.valid & self.room),
            idle.eq(ended | (idle & ~begun)),
        ]
        *_, looked = _later(m, "begun", begun, 3)
        looks = _state(m, "looks", begins=begun, ends=looked)
        with m.If(looks):
            m.d.sync += stays.eq(1)
        asks = _state(m, "asks", begins=looked & protected, ends=self.send_done)
        m.d.comb += [self.send_stb.eq(asks), self.send_takes.eq(1)]
        has_view = Signal()
        m.d.sync += has_view.eq((looked & ~protected) | (asks & self.send_done))
        *_, has_sizes = _later(m, "has_view", has_view, _SIZES_CYCLES)
        number, lays_out = Signal(), Signal()
        refused = Signal()
        m.d.comb += [
            refused.eq(number & (~stays | self.send_exhausted)),
            layout.begin.eq(lays_out),
        ]
        m.d.sync += [
            number.eq(has_sizes & protected),
            lays_out.eq((has_sizes & ~protected) | (number & ~refused)),
        ]

        # Checksums, whole now.
        laid_out = Signal()
        m.d.sync += laid_out.eq(layout.done)
        inner_high, inner_low, udp_high, udp_low = _later(m, "laid_out", laid_out, 4)

        # ESP: encrypted in place, then its ICV.
        esp, ah, finishes = Signal(), Signal(), Signal()
        tag_end = Signal()
        m.d.sync += [
            esp.eq(udp_low & protected & ~alone),
            ah.eq((udp_low & protected & alone) | (tag_end & both & ~outer_pass)),
            finishes.eq((udp_low & ~protected) | (tag_end & (outer_pass | ~both))),
        ]
        with m.If(esp):
            m.d.sync += stored_at.eq(Mux(is_cbc, layout.at_iv, layout.at_text))
        # AH: over the whole packet, whose changing parts are zero until then.
        with m.If(ah):
            m.d.sync += outer_pass.eq(1)
        *_, ah_ready = _later(m, "ah", ah, 3)
        all_stored = Signal()
        m.d.sync += all_stored.eq(stored_at == end)
        encrypted = _state(m, "encrypted", begins=to_cipher & finished & is_cbc, ends=all_stored)
        all_there = Signal()
        m.d.comb += all_there.eq(encrypted & all_stored)
        # All of the ciphertext is in its place, the last octet in two cycles.
        *_, esp_ready = _later(m, "all_there", all_there, 3)
        asks_cipher = _state(
            m,
            "asks_cipher",
            begins=(esp & ~is_null) | (ah_ready & is_gmac),
            ends=self.cipher_job.ready,
        )
        asks_lane = _state(
            m,
            "asks_lane",
            begins=(esp & is_null) | esp_ready | (ah_ready & ~is_gmac),
            ends=self.auth_job.ready,
        )
        m.d.comb += [self.cipher_job.valid.eq(asks_cipher), self.auth_job.valid.eq(asks_lane)]

        # A tag goes to its place octet by octet.
        from_lane, from_cipher = Signal(), Signal()
        tag_octet = Signal(range(_TAG_OCTETS))
        tag_at = Signal(9)
        tag_begins, tag_moves, tag_stb = Signal(), Signal(), Signal()
        by_cipher = Signal()
        m.d.sync += [
            tag_begins.eq((to_lane & finished) | (to_cipher & finished & ~is_cbc)),
            by_cipher.eq(to_cipher),
        ]
        m.d.comb += [
            self.auth_tag.ready.eq(from_lane),
            self.cipher_tag.ready.eq(from_cipher),
            tag_moves.eq((from_lane & self.auth_tag.valid) | (from_cipher & self.cipher_tag.valid)),
            # Of a shorter tag the rest is left out.
            tag_stb.eq(tag_moves & ~(is_short & (tag_octet >= _SHA_1_OCTETS))),
        ]
        tag_last = Signal()
        m.d.comb += tag_last.eq(tag_moves & (tag_octet == _TAG_OCTETS - 1))
        m.d.sync += tag_end.eq(tag_last)
        with m.If(tag_begins):
            m.d.sync += [
                from_lane.eq(~by_cipher),
                from_cipher.eq(by_cipher),
                tag_at.eq(Mux(outer_pass, layout.at_ah_icv, end)),
            ]
        with m.Elif(tag_last):
            m.d.sync += [from_lane.eq(0), from_cipher.eq(0)]
        with m.If(tag_moves):
            m.d.sync += tag_octet.eq(tag_octet + 1)
        with m.If(tag_stb):
            m.d.sync += tag_at.eq(tag_at + 1)
        with m.If(layout.done):
            m.d.sync += end.eq(layout.end)
        with m.Elif(tag_end & ~outer_pass):
            m.d.sync += end.eq(tag_at)

        # What may change on the way, and the checksum of ESP in UDP, which IPv6 wants
        # (RFC 8200 8.1).
        finish_0, finish_1, finish_2, finish_3 = _later(m, "finishes", finishes, 4)
        sums_up, settles = Signal(), Signal()
        sum_low = Signal()
        wants_sum = Signal()
        m.d.sync += [
            wants_sum.eq(protected & reply.encapsulated & reply.v6),
            sums_up.eq(finish_3 & wants_sum),
            settles.eq((finish_3 & ~wants_sum) | sum_low),
        ]
        *_, sum_begins = _later(m, "sums_up", sums_up, 3)
        sum_begin = _state(m, "sum_begin", begins=finish_3 & wants_sum, ends=sum_begins)
        m.d.comb += layout.sum_begin.eq(sum_begin)
        summed = Signal()
        m.d.sync += summed.eq(to_sum & finished)
        *_, sum_whole, sum_high = _later(m, "summed", summed, 7)
        m.d.sync += sum_low.eq(sum_high)
        *_, sends = _later(m, "settles", settles, 3)

        # The regions of the memory, each from its start on.
        takes_cipher, takes_lane = Signal(), Signal()
        m.d.comb += [
            takes_cipher.eq(asks_cipher & self.cipher_job.ready),
            takes_lane.eq(asks_lane & self.auth_job.ready),
        ]
        at_source = Signal(9)
        m.d.sync += [
            begins.eq(takes_cipher | takes_lane | sum_begins | sends),
            to_cipher.eq(takes_cipher | (to_cipher & ~finished)),
            to_lane.eq(takes_lane | (to_lane & ~finished)),
            to_sum.eq(sum_begins | (to_sum & ~finished)),
            to_out.eq(sends | (to_out & ~finished)),
            at_source.eq(layout.at_ip + IPV6.octet_offset("source")),
            start.eq(
                _chosen(
                    (asks_cipher & is_gcm, layout.at_text),
                    (asks_cipher & ~is_gcm & ~outer_pass, layout.at_iv),
                    (asks_lane & ~outer_pass, layout.at_esp),
                    ((asks_lane | asks_cipher) & outer_pass, layout.at_ip),
                    (sum_begin, at_source),
                )
            ),
        ]

        # Patches: where, and which octet.
        in_text, in_udp, in_ip, in_encapsulated = Signal(), Signal(), Signal(), Signal()
        high_udp, low_udp = Signal(), Signal()
        is_ttl = Signal()
        patch_stb = Signal()
        m.d.comb += [
            in_text.eq(inner_high | inner_low),
            in_udp.eq(udp_high | udp_low),
            in_ip.eq(finish_0 | finish_1 | finish_2 | finish_3),
            in_encapsulated.eq(sum_high | sum_low),
            high_udp.eq(udp_high | sum_high),
            low_udp.eq(udp_low | sum_low),
            is_ttl.eq(finish_1 | (finish_0 & ~ip4)),
        ]
        m.d.sync += [
            # A cycle ahead of the states below.
            patch_stb.eq(
                ((laid_out | inner_high) & sizes.tunnel_v4)
                | ((inner_low | udp_high | finishes | finish_0) & ~is_arp)
                # IPv6 has no checksum.
                | ((finish_1 | finish_2) & ~is_arp & ip4)
                | sum_whole
                | sum_high
            ),
            patches.eq(patch_stb | tag_stb),
            patched_part.eq(
                _chosen(
                    (in_text, layout.at_text),
                    (in_udp, layout.at_udp),
                    (in_ip, layout.at_ip),
                    (in_encapsulated, layout.at_encapsulated),
                    (from_lane | from_cipher, tag_at),
                )
            ),
            patched_offset.eq(
                _chosen(
                    (inner_high | finish_2, IPV4.octet_offset("checksum")),
                    (inner_low | finish_3, IPV4.octet_offset("checksum") + 1),
                    (high_udp & ~is_neighbour, UDP.octet_offset("checksum")),
                    (low_udp & ~is_neighbour, UDP.octet_offset("checksum") + 1),
                    (high_udp & is_neighbour, NEIGHBOUR.octet_offset("checksum")),
                    (low_udp & is_neighbour, NEIGHBOUR.octet_offset("checksum") + 1),
                    (finish_0 & ip4, _FLAGS_OFFSET),
                    (finish_1 & ip4, IPV4.octet_offset("ttl")),
                    ((finish_0 | finish_1) & ~ip4, IPV6.octet_offset("hop_limit")),
                )
            ),
            patch_octet.eq(
                _chosen(
                    (inner_high, layout.inner_sum[8:]),
                    (inner_low, layout.inner_sum[:8]),
                    (high_udp, layout.udp_sum[8:]),
                    (low_udp, layout.udp_sum[:8]),
                    (finish_2, layout.outer_sum[8:]),
                    (finish_3, layout.outer_sum[:8]),
                    (finish_0 & ip4, 0x40 if self._dont_fragment else 0),
                    (is_ttl, Mux(is_neighbour, NEIGHBOUR_HOP_LIMIT, self._ttl)),
                    (from_lane, self.auth_tag.payload),
                    (from_cipher, self.cipher_tag.payload),
                )
            ),
        ]

        sent = Signal()
        m.d.sync += [
            sent.eq(to_out & finished),
            self.commit.eq(sent & (stays | ~protected)),
            self.discard.eq(sent & ~stays & protected),
            self.sent_stb.eq(sent & stays & protected),
            self.sent_bank.eq(reply.bank),
            self.sent_octets.eq(Mux(alone, ah_octets, sizes.text)),
            ended.eq(sent | refused),
        ]
        m.d.comb += self.reply.ready.eq(ended)
        return m
