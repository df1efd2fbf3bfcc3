"""The headers of a reply and its message, octet by octet into the frame's memory."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.headers import octets_of
from hw.ipsec.layouts import (
    RECORD_OCTETS,
    Cipher,
    InnerOffset,
    Protocol,
    RecordOffset,
    Reply,
    ReplyKind,
    SaView,
)
from spec import headers
from spec.headers import AH, ARP, ESP, GCM_IV, IPV4, IPV6, UDP

__all__ = ["FrameLayout", "Sizes", "Step"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_CBC_IV_OCTETS = 16
_SHIFT_OCTETS = 16

Sizes = data.StructLayout(
    {
        "udp": 7,
        "carried": 8,
        "pad": 4,
        "text": 8,
        "iv": 5,
        "icv": 5,
        "ah_icv": 5,
        "ah": 6,
        "esp": 9,
        "l4": 10,
        "total": 16,
        "tunnel_v4": 1,
    }
)
"""Octets: of the UDP datagram, of it with the IP header of a tunnel, of padding, of what ESP
encrypts, of IV and ICV, of AH's tag and AH, of ESP, of all behind the outer IP header, and as that
header tells them. `tunnel_v4`: there is an IPv4 header inside."""


class Step(enum.Enum):
    """Parts of a frame, in their order."""

    TO = 0
    FROM = 1
    TAGS = 2
    ETHERTYPE = 3
    ARP_FIXED = 4
    ARP_MAC = 5
    ARP_IP = 6
    ARP_TO_MAC = 7
    ARP_TO_IP = 8
    IP = 9
    IP_FROM = 10
    IP_TO = 11
    AH_HEADER = 12
    AH_IV = 13
    AH_ICV = 14
    ENCAP = 15
    ENCAP_PORT = 16
    ENCAP_REST = 17
    ESP_HEADER = 18
    ESP_IV = 19
    INNER = 20
    INNER_FROM = 21
    INNER_TO = 22
    UDP_FROM = 23
    UDP_TO = 24
    UDP_REST = 25
    PAYLOAD = 26
    PADDING = 27
    TRAILER = 28
    END = 29


class _Source(enum.Enum):
    SHIFT = 0
    RECORD = 1
    INNER = 2
    PAYLOAD = 3
    PADDING = 4


class FrameLayout(wiring.Component):
    """Writes a frame but for what needs the whole of it: checksums, ciphertext, ICVs, and the
    parts of the outer IP header that change on the way, which stay zero.

    From `begin` to `done` about 40 cycles and one for each octet, three for those from a record.
    `sizes` is right seven cycles after `reply` and `view`; these stay until the frame is sent.

    Attributes
    ----------
    w_stb, w_at, w_data : Signal, out
        To the memory.
    end, at_ip, at_ah_icv, at_encapsulated, at_esp, at_iv, at_text, at_inner, at_udp : Signal, out
        Where the frame ends, and where its parts begin.
    inner_sum, udp_sum, outer_sum : Signal, out
        Checksums, complete when `done`: of the IPv4 header inside, of the UDP datagram and of the
        outer IPv4 header as it leaves.
    sum_begin, sum_stb, sum_data : Signal, in
        Sums up octets for `udp_sum` anew: addresses and the datagram of ESP in UDP.
    """

    def __init__(self, *, dont_fragment: bool, ttl: int):
        self._dont_fragment = dont_fragment
        self._ttl = ttl
        places = ("ip", "ah_icv", "encapsulated", "esp", "iv", "text", "inner", "udp")
        super().__init__(
            {
                "reply": In(Reply),
                "view": In(SaView),
                "host_mac": In(48),
                "host_ip": In(32),
                "host_ip6": In(128),
                "record_inner": Out(1),
                "record_offset": Out(range(RECORD_OCTETS)),
                "record_data": In(8),
                "begin": In(1),
                "done": Out(1),
                "sizes": Out(Sizes),
                "w_stb": Out(1),
                "w_at": Out(9),
                "w_data": Out(8),
                "end": Out(9),
                **{f"at_{place}": Out(9) for place in places},
                "inner_sum": Out(16),
                "udp_sum": Out(16),
                "outer_sum": Out(16),
                "sum_begin": In(1),
                "sum_stb": In(1),
                "sum_data": In(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        reply, view = self.reply, self.view
        protected = reply.kind == ReplyKind.PROTECTED
        is_arp = reply.kind == ReplyKind.ARP
        alone = view.protocol == Protocol.AH
        both = view.protocol == Protocol.BOTH
        is_gmac, is_cbc = view.cipher == Cipher.GMAC, view.cipher == Cipher.CBC
        has_esp, has_ah, tunnel = Signal(), Signal(), Signal()
        m.d.sync += [
            has_esp.eq(protected & ~alone),
            has_ah.eq(protected & (alone | both)),
            tunnel.eq(protected & view.tunnel),
        ]
        encapsulated = Signal()
        m.d.sync += encapsulated.eq(protected & reply.encapsulated)
        self._sizes(m, has_esp, has_ah, tunnel, encapsulated, is_gmac, is_cbc, both)
        sizes = self.sizes

        # What a part is made of.
        inner_protocol = Mux(
            tunnel,
            Mux(reply.inner_v6, headers.PROTOCOL_IPV6, headers.PROTOCOL_IPV4),
            headers.PROTOCOL_UDP,
        )
        outer_protocol = Mux(
            has_ah,
            headers.PROTOCOL_AH,
            Mux(has_esp & ~encapsulated, headers.PROTOCOL_ESP, headers.PROTOCOL_UDP),
        )
        carried, protocol, ah_next = Signal(8), Signal(8), Signal(8)
        m.d.sync += [
            carried.eq(inner_protocol),
            protocol.eq(outer_protocol),
            ah_next.eq(Mux(both, headers.PROTOCOL_ESP, inner_protocol)),
        ]
        ah_words, ah_spi, ah_sequence = Signal(8), Signal(32), Signal(64)
        inner_total, encap_octets = Signal(16), Signal(16)
        m.d.sync += [
            ah_words.eq((sizes.ah >> 2) - 2),
            ah_spi.eq(Mux(both, view.ah_spi_out, view.spi_out)),
            ah_sequence.eq(Mux(both, view.ah_tx_sequence, view.tx_sequence)),
            inner_total.eq(Mux(reply.inner_v6, sizes.udp, sizes.carried)),
            encap_octets.eq(sizes.esp + UDP.octets),
        ]
        sequence = view.tx_sequence

        def fixed(header, **fields):
            return [Const(octet, 8) for octet in header.pack(**fields)]

        def ip4(total, what, *, final):
            octets = fixed(IPV4, version=4, header_words=5)[:12]
            octets[2:4] = octets_of(total)
            octets[9] = what
            if final:
                octets[6], octets[8] = Const(0x40, 8), Const(self._ttl, 8)
            return octets

        def ip6(payload, what, *, final):
            octets = fixed(IPV6, version=6)[:8]
            octets[4:6] = octets_of(payload)
            octets[6] = what
            if final:
                octets[7] = Const(self._ttl, 8)
            return octets

        v6, in_v6 = reply.v6, reply.inner_v6
        ethertype = Signal(16)
        m.d.sync += ethertype.eq(
            Mux(
                is_arp,
                headers.ETHERTYPE_ARP,
                Mux(v6, headers.ETHERTYPE_IPV6, headers.ETHERTYPE_IPV4),
            )
        )
        port = Mux(protected, headers.PORT_RMCP_SECURED, headers.PORT_RMCP_CLEAR)
        arp_fixed = fixed(
            ARP,
            hardware_type=headers.ARP_HARDWARE_ETHERNET,
            protocol_type=headers.ETHERTYPE_IPV4,
            hardware_octets=6,
            protocol_octets=4,
            operation=headers.ARP_REPLY,
        )[:8]
        zeros = [Const(0, 8)] * _SHIFT_OCTETS
        udp_wide = Signal(16)
        port_wide = Signal(16)
        m.d.sync += [udp_wide.eq(sizes.udp), port_wide.eq(port)]

        def shift(octets, count=None, source=_Source.SHIFT):
            return source, octets, len(octets) if count is None else count, 0

        def record(offset, count, source=_Source.RECORD):
            return source, None, count, offset

        is_v4 = ~is_arp & ~v6
        # Of each step the ways it may go: (when, (source, octets, count, offset)); none: skipped.
        ways = {
            Step.TO: [(1, record(RecordOffset.MAC, 6))],
            Step.FROM: [(1, shift(octets_of(self.host_mac)))],
            Step.TAGS: [(reply.tags != 0, record(RecordOffset.TAGS, reply.tags << 2))],
            Step.ETHERTYPE: [(1, shift(octets_of(ethertype)))],
            Step.ARP_FIXED: [(is_arp, shift(arp_fixed))],
            Step.ARP_MAC: [(is_arp, shift(octets_of(self.host_mac)))],
            Step.ARP_IP: [(is_arp, shift(octets_of(self.host_ip)))],
            Step.ARP_TO_MAC: [(is_arp, record(RecordOffset.MAC, 6))],
            Step.ARP_TO_IP: [(is_arp, record(RecordOffset.IP, 4))],
            Step.IP: [
                (is_v4, shift(ip4(sizes.total, protocol, final=False))),
                (v6 & ~is_arp, shift(ip6(sizes.total, protocol, final=False))),
            ],
            Step.IP_FROM: [
                (is_v4, shift(octets_of(self.host_ip))),
                (v6 & ~is_arp, shift(octets_of(self.host_ip6))),
            ],
            Step.IP_TO: [
                (is_v4, record(RecordOffset.IP, 4)),
                (v6 & ~is_arp, record(RecordOffset.IP, 16)),
            ],
            Step.AH_HEADER: [
                (
                    has_ah,
                    shift(
                        [
                            ah_next,
                            ah_words,
                            *zeros[:2],
                            *octets_of(ah_spi),
                            *octets_of(ah_sequence[:32]),
                        ]
                    ),
                )
            ],
            Step.AH_IV: [(has_ah & is_gmac & alone, shift(octets_of(sequence)))],
            Step.AH_ICV: [
                (
                    has_ah,
                    shift(
                        zeros,
                        sizes.ah - AH.octets - Mux(is_gmac & alone, GCM_IV.octets, 0),
                    ),
                )
            ],
            Step.ENCAP: [(encapsulated, shift(octets_of(Const(headers.PORT_ESP_IN_UDP, 16))))],
            Step.ENCAP_PORT: [(encapsulated, record(RecordOffset.PORT, 2))],
            Step.ENCAP_REST: [(encapsulated, shift([*octets_of(encap_octets), *zeros[:2]]))],
            Step.ESP_HEADER: [
                (has_esp, shift([*octets_of(view.spi_out), *octets_of(sequence[:32])]))
            ],
            Step.ESP_IV: [
                (has_esp & is_cbc, shift([*zeros[:8], *octets_of(sequence)])),
                (
                    has_esp & ~is_cbc & (view.cipher != Cipher.NULL),
                    shift(octets_of(sequence)),
                ),
            ],
            Step.INNER: [
                (tunnel & ~in_v6, shift(ip4(inner_total, Const(17, 8), final=True))),
                (tunnel & in_v6, shift(ip6(inner_total, Const(17, 8), final=True))),
            ],
            Step.INNER_FROM: [
                (tunnel & ~in_v6, shift(octets_of(self.host_ip))),
                (tunnel & in_v6, shift(octets_of(self.host_ip6))),
            ],
            Step.INNER_TO: [
                (tunnel & ~in_v6, record(InnerOffset.IP, 4, _Source.INNER)),
                (tunnel & in_v6, record(InnerOffset.IP, 16, _Source.INNER)),
            ],
            Step.UDP_FROM: [(~is_arp, shift(octets_of(port_wide)))],
            Step.UDP_TO: [
                (protected, record(InnerOffset.PORT, 2, _Source.INNER)),
                (~is_arp & ~protected, record(RecordOffset.PORT, 2)),
            ],
            Step.UDP_REST: [(~is_arp, shift([*octets_of(udp_wide), *zeros[:2]]))],
            Step.PAYLOAD: [(~is_arp, (_Source.PAYLOAD, None, reply.octets, 0))],
            Step.PADDING: [(has_esp & (sizes.pad != 0), (_Source.PADDING, None, sizes.pad, 0))],
            Step.TRAILER: [(has_esp, shift([Cat(sizes.pad, Const(0, 4)), carried]))],
        }
        self._walk(m, ways, is_arp, tunnel, protected)
        return m

    def _sizes(self, m, has_esp, has_ah, tunnel, encapsulated, is_gmac, is_cbc, both):
        reply, view, sizes = self.reply, self.view, self.sizes
        icv = Signal(5)
        m.d.comb += icv.eq(Mux(view.sha_1, _SHA_1_OCTETS, _TAG_OCTETS))
        beyond = Signal(4)
        ah_tight = Signal(6)
        m.d.sync += [
            sizes.udp.eq(reply.octets + UDP.octets),
            sizes.carried.eq(
                sizes.udp + Mux(tunnel, Mux(reply.inner_v6, IPV6.octets, IPV4.octets), 0)
            ),
            beyond.eq(sizes.carried + headers.ESP_TRAILER_OCTETS),
            sizes.pad.eq(Mux(is_cbc, -beyond, Cat((-beyond)[:2]))),
            sizes.text.eq(sizes.carried + headers.ESP_TRAILER_OCTETS + sizes.pad),
            sizes.iv.eq(
                Mux(is_cbc, _CBC_IV_OCTETS, Mux(view.cipher == Cipher.NULL, 0, GCM_IV.octets))
            ),
            sizes.icv.eq(icv),
            sizes.ah_icv.eq(Mux(both, _TAG_OCTETS, icv)),
            ah_tight.eq(AH.octets + Mux(is_gmac & ~both, GCM_IV.octets, 0) + sizes.ah_icv),
            # A multiple of eight on IPv6 (RFC 4302 2.2).
            sizes.ah.eq(Mux(reply.v6, Cat(Const(0, 3), (ah_tight + 7)[3:6]), ah_tight)),
            sizes.esp.eq(sizes.text + sizes.iv + sizes.icv + ESP.octets),
            sizes.l4.eq(
                Mux(has_esp, sizes.esp, sizes.carried)
                + Mux(has_ah, sizes.ah, 0)
                + Mux(encapsulated, UDP.octets, 0)
            ),
            sizes.total.eq(sizes.l4 + Mux(reply.v6, 0, IPV4.octets)),
            sizes.tunnel_v4.eq(tunnel & ~reply.inner_v6),
        ]

    def _walk(self, m, ways, is_arp, tunnel, protected):
        """Step after step: what it is made of into registers, then its octets."""
        reply = self.reply
        step = Signal(Step)
        source = Signal(_Source)
        shifted = Signal(8 * _SHIFT_OCTETS)
        count = Signal(6)
        offset = Signal(range(RECORD_OCTETS))
        payload = Signal.like(reply.payload)
        number = Signal(8)
        wait = Signal(2)
        at = Signal(9)
        octet, stb = Signal(8), Signal()

        chosen = Signal()
        next_shift = Signal(8 * _SHIFT_OCTETS)
        next_count, next_offset = Signal(6), Signal(range(RECORD_OCTETS))
        next_source = Signal(_Source)
        with m.Switch(step):
            for name, options in ways.items():
                with m.Case(name):
                    for when, (kind, octets, octet_count, start) in options:
                        with m.If(when):
                            m.d.comb += [
                                chosen.eq(1),
                                next_source.eq(kind),
                                next_count.eq(octet_count),
                                next_offset.eq(start),
                            ]
                            if octets is not None:
                                m.d.comb += next_shift.eq(Cat(octets))

        places = {
            Step.IP: self.at_ip,
            Step.AH_ICV: self.at_ah_icv,
            Step.ENCAP: self.at_encapsulated,
            Step.ESP_HEADER: self.at_esp,
            Step.ESP_IV: self.at_iv,
            Step.INNER: self.at_inner,
            Step.UDP_FROM: self.at_udp,
        }
        m.d.comb += [
            self.record_offset.eq(offset),
            self.record_inner.eq(source == _Source.INNER),
            self.end.eq(at),
            self.w_stb.eq(stb),
            self.w_at.eq(at),
            self.w_data.eq(octet),
        ]
        with m.If(stb):
            m.d.sync += [at.eq(at + 1), count.eq(count - 1)]
        with m.FSM(name="lay"):
            with m.State("IDLE"):
                m.d.sync += [step.eq(Step.TO), at.eq(0), payload.eq(reply.payload), number.eq(1)]
                with m.If(self.begin):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += [
                    source.eq(next_source),
                    shifted.eq(next_shift),
                    count.eq(next_count),
                    offset.eq(next_offset),
                    wait.eq(0),
                ]
                for name, place in places.items():
                    with m.If(step == name):
                        m.d.sync += place.eq(at)
                # Behind the IV, with or without one.
                with m.If(step == Step.INNER):
                    m.d.sync += self.at_text.eq(at)
                m.next = "EMIT"
                with m.If(step == Step.END):
                    m.d.comb += self.done.eq(1)
                    m.next = "IDLE"
                with m.Elif(~chosen):
                    m.d.sync += step.eq((step + 1)[:5])
                    m.next = "LOAD"
            with m.State("EMIT"):
                with m.Switch(source):
                    with m.Case(_Source.SHIFT):
                        m.d.comb += [stb.eq(count != 0), octet.eq(shifted[:8])]
                        m.d.sync += shifted.eq(shifted >> 8)
                    with m.Case(_Source.PAYLOAD):
                        m.d.comb += [stb.eq(count != 0), octet.eq(payload[:8])]
                        m.d.sync += payload.eq(payload >> 8)
                    with m.Case(_Source.PADDING):
                        m.d.comb += [stb.eq(count != 0), octet.eq(number)]
                        m.d.sync += number.eq(number + 1)
                    with m.Default():
                        m.d.sync += wait.eq(wait + 1)
                        m.d.comb += [stb.eq(wait == 2), octet.eq(self.record_data)]
                        with m.If(wait == 2):
                            m.d.sync += [wait.eq(0), offset.eq(offset + 1)]
                with m.If((count == 0) | (stb & (count == 1))):
                    m.d.sync += step.eq((step + 1)[:5])
                    m.next = "LOAD"
        self._sums(m, step, octet, stb, is_arp, tunnel)

    def _sums(self, m, step, octet, stb, is_arp, tunnel):
        """One's complement sums, an octet a cycle (RFC 1071)."""

        def among(*steps):
            found = step == steps[0]
            for other in steps[1:]:
                found = found | (step == other)
            return found

        inner_ip = among(Step.INNER, Step.INNER_FROM, Step.INNER_TO)
        addresses = Mux(
            tunnel,
            among(Step.INNER_FROM, Step.INNER_TO),
            among(Step.IP_FROM, Step.IP_TO),
        )
        udp = among(Step.UDP_FROM, Step.UDP_TO, Step.UDP_REST, Step.PAYLOAD)
        changes = (0x4000 if self._dont_fragment else 0) + (self._ttl << 8)
        again = Signal()
        encap_octets = Signal(16)
        m.d.sync += encap_octets.eq(self.sizes.esp + UDP.octets)
        with m.If(self.begin):
            m.d.sync += again.eq(0)
        with m.If(self.sum_begin):
            m.d.sync += again.eq(1)
        sums = (
            ("inner", self.inner_sum, stb & inner_ip, 0, self.begin, False),
            (
                "outer",
                self.outer_sum,
                stb & among(Step.IP, Step.IP_FROM, Step.IP_TO),
                changes,
                self.begin,
                False,
            ),
            (
                "udp",
                self.udp_sum,
                (stb & ~again & (addresses | udp)) | self.sum_stb,
                None,
                self.begin | self.sum_begin,
                True,
            ),
        )
        for name, out, takes, start, begin, never_zero in sums:
            total = Signal(16, name=f"{name}_total")
            carry = Signal(name=f"{name}_carry")
            odd = Signal(name=f"{name}_odd")
            adds = Signal(name=f"{name}_adds")
            word = Signal(16, name=f"{name}_word")
            value = Mux(self.sum_stb, self.sum_data, octet) if never_zero else octet
            m.d.sync += [adds.eq(takes), word.eq(Mux(odd, value, Cat(Const(0, 8), value)))]
            with m.If(takes):
                m.d.sync += odd.eq(~odd)
            m.d.sync += Cat(total, carry).eq(total + Mux(adds, word, 0) + carry)
            with m.If(begin):
                if never_zero:
                    length = Mux(self.sum_begin, encap_octets, self.sizes.udp)
                    m.d.sync += total.eq(length + headers.PROTOCOL_UDP)
                else:
                    m.d.sync += total.eq(start)
                m.d.sync += [carry.eq(0), odd.eq(0), adds.eq(0)]
            # A computed checksum of zero is sent as all ones (RFC 768).
            m.d.comb += out.eq(Mux(total.all(), 0xFFFF, ~total) if never_zero else ~total)
