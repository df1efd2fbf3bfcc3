"""The headers of a reply and its message, octet by octet into the frame's memory."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.headers import octets_of
from hw.ipsec.layouts import (
    PAYLOAD_OCTETS,
    RECORD_OCTETS,
    Cipher,
    OutboundSa,
    Protocol,
    Reply,
    ReplyKind,
)
from hw.net.reply.program import FIELDS, PROGRAM, Amount, Place, Source, Sum, When
from spec import headers
from spec.headers import (
    AH,
    ARP,
    ESP,
    GCM_IV,
    IPV4,
    IPV6,
    LINK_LAYER_OPTION,
    NEIGHBOUR,
    UDP,
)
from spec.pet import PORT_SNMP_TRAP

__all__ = ["FrameLayout", "Sizes"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_CBC_IV_OCTETS = 16
_PROGRAM_DEPTH = 128
_GROUP_BITS = 3
_GROUP = 1 << _GROUP_BITS  # fields that are chosen from in one step

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
        "encapsulated": 16,
        "l4": 10,
        "total": 16,
        "tunnel_v4": 1,
    }
)
"""Octets: of the UDP datagram, of it with the IP header of a tunnel, of padding, of what ESP
encrypts, of IV and ICV, of AH's tag and AH, of ESP, of the UDP datagram around it, of all behind
the outer IP header, and as that header tells them. `tunnel_v4`: there is an IPv4 header inside."""

_Instruction = data.StructLayout(
    {
        "when": When,
        "source": Source,
        "start": 7,
        "octets": 5,
        "amount": Amount,
        "place": Place,
        "sums": Sum,
        "end": 1,
    }
)


class FrameLayout(wiring.Component):
    """Writes a frame but for what needs the whole of it: checksums, ciphertext, ICVs, and the
    parts of the outer IP header that change on the way, which stay zero.

    It runs the program of `hw.net.reply.program`: a cycle for each octet, and one for each part
    that is not there; about 60 more from `begin` to `done` than the frame has octets. `sizes` is
    right eight cycles after `reply` and `view`; these stay until the frame is sent.

    Attributes
    ----------
    record_inner, record_offset : Signal, out; record_data : Signal, in
        Of the sender's record; the octet is there two cycles later.
    alert_index : Signal, out; alert_data, alert_ticks : Signal, in
        Of an alert's message, likewise; octets of its time stamp.
    w_stb, w_at, w_data : Signal, out
        To the memory.
    end, at_ip, at_ah_icv, at_encapsulated, at_esp, at_iv, at_text, at_udp : Signal, out
        Where the frame ends, and where its parts begin.
    inner_sum, udp_sum, outer_sum : Signal, out
        Checksums, complete when `done`, that of UDP a cycle later: of the IPv4 header inside, of
        the UDP datagram or the neighbour advertisement, and of the outer IPv4 header as it leaves.
    sum_begin, sum_stb, sum_data : Signal, in
        Sums up octets for `udp_sum` anew: addresses and the datagram of ESP in UDP. `sum_begin` is
        held for two cycles at least.
    """

    def __init__(self, *, dont_fragment: bool, ttl: int):
        self._dont_fragment = dont_fragment
        self._ttl = ttl
        super().__init__(
            {
                "reply": In(Reply),
                "view": In(OutboundSa),
                "host_mac": In(48),
                "host_ip": In(32),
                "host_ip6": In(128),
                "record_inner": Out(1),
                "record_offset": Out(range(RECORD_OCTETS)),
                "record_data": In(8),
                "alert_index": Out(7),
                "alert_data": In(8),
                "alert_ticks": In(3),
                "begin": In(1),
                "done": Out(1),
                "sizes": Out(Sizes),
                "w_stb": Out(1),
                "w_at": Out(9),
                "w_data": Out(8),
                "end": Out(9),
                **{f"at_{place.name.lower()}": Out(9) for place in Place if place},
                "inner_sum": Out(16),
                "udp_sum": Out(16),
                "outer_sum": Out(16),
                "sum_begin": In(1),
                "sum_stb": In(1),
                "sum_data": In(8),
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
        reply, view = self.reply, self.view
        protected, is_arp, alone, both = (Signal() for _ in range(4))
        is_neighbour, is_message = Signal(), Signal()
        is_gmac, is_cbc, is_null = (Signal() for _ in range(3))
        m.d.sync += [
            protected.eq(reply.kind == ReplyKind.PROTECTED),
            is_arp.eq(reply.kind == ReplyKind.ARP),
            is_neighbour.eq(reply.kind == ReplyKind.NEIGHBOUR),
            is_message.eq((reply.kind == ReplyKind.PROTECTED) | (reply.kind == ReplyKind.CLEAR)),
            alone.eq(view.suite.protocol == Protocol.AH),
            both.eq(view.suite.protocol == Protocol.BOTH),
            is_gmac.eq(view.suite.cipher == Cipher.GMAC),
            is_cbc.eq(view.suite.cipher == Cipher.CBC),
            is_null.eq(view.suite.cipher == Cipher.NULL),
        ]
        has_esp, has_ah, tunnel, encapsulated = (Signal() for _ in range(4))
        m.d.sync += [
            has_esp.eq(protected & ~alone),
            has_ah.eq(protected & (alone | both)),
            tunnel.eq(protected & view.tunnel),
            encapsulated.eq(protected & reply.encapsulated),
        ]
        self._sizes(m, has_esp, has_ah, tunnel, encapsulated, is_gmac, is_cbc, is_null, both)
        conditions = {
            When.ALWAYS: 1,
            When.ARP: is_arp,
            When.MESSAGE: is_message,
            When.V4: ~is_arp & ~reply.v6,
            When.V6: ~is_arp & reply.v6,
            When.ANSWER: is_message & ~reply.alert,
            When.CLEAR_ANSWER: is_message & ~protected & ~reply.alert,
            When.PROTECTED_ANSWER: protected & ~reply.alert,
            When.ALERT: reply.alert,
            When.CLEAR: is_message & ~protected,
            When.PROTECTED: protected,
            When.AH: has_ah,
            When.AH_ALONE: has_ah & alone,
            When.AH_BOTH: has_ah & both,
            When.AH_IV: has_ah & alone & is_gmac,
            When.ESP: has_esp,
            When.ESP_IV: has_esp & ~is_cbc & ~is_null,
            When.CBC: has_esp & is_cbc,
            When.ENCAPSULATED: encapsulated,
            When.TUNNEL_V4: tunnel & ~reply.inner_v6,
            When.TUNNEL_V6: tunnel & reply.inner_v6,
            When.NEIGHBOUR: is_neighbour,
            When.TO_ONE: ~reply.to_all,
            When.V6_TO_ONE: ~is_arp & reply.v6 & ~reply.to_all,
            When.TO_ALL: reply.to_all,
        }
        holds = Signal(len(When))
        m.d.sync += holds.eq(Cat(conditions[when] for when in When))
        amounts = {amount: Signal(5, name=f"amount_{amount.name}") for amount in Amount if amount}
        m.d.sync += [
            amounts[Amount.TAGS].eq(reply.tags << 2),
            amounts[Amount.PAYLOAD].eq(reply.octets),
            amounts[Amount.PADDING].eq(self.sizes.pad),
            amounts[Amount.TICKS].eq(self.alert_ticks),
            amounts[Amount.AH_ICV].eq(
                self.sizes.ah - AH.octets - Mux(is_gmac & alone, GCM_IV.octets, 0)
            ),
        ]
        fields = self._fields(m, is_arp, is_neighbour, has_esp, has_ah, tunnel, encapsulated, both)
        self._run(m, holds, amounts, fields, tunnel, is_neighbour)
        return m

    def _fields(self, m, is_arp, is_neighbour, has_esp, has_ah, tunnel, encapsulated, both):
        """The octets of each field, all in a row."""
        reply, view, sizes = self.reply, self.view, self.sizes
        inner_protocol = Mux(
            tunnel,
            Mux(reply.inner_v6, headers.PROTOCOL_IPV6, headers.PROTOCOL_IPV4),
            headers.PROTOCOL_UDP,
        )
        carried, protocol, ah_next, ah_words = (Signal(8) for _ in range(4))
        ethertype, inner_total = Signal(16), Signal(16)
        m.d.sync += [
            carried.eq(inner_protocol),
            protocol.eq(
                Mux(
                    has_ah,
                    headers.PROTOCOL_AH,
                    Mux(
                        has_esp & ~encapsulated,
                        headers.PROTOCOL_ESP,
                        Mux(is_neighbour, headers.PROTOCOL_ICMPV6, headers.PROTOCOL_UDP),
                    ),
                )
            ),
            ah_next.eq(Mux(both, headers.PROTOCOL_ESP, inner_protocol)),
            ah_words.eq((sizes.ah >> 2) - 2),
            inner_total.eq(Mux(reply.inner_v6, sizes.udp, sizes.carried)),
            ethertype.eq(
                Mux(
                    is_arp,
                    headers.ETHERTYPE_ARP,
                    Mux(reply.v6, headers.ETHERTYPE_IPV6, headers.ETHERTYPE_IPV4),
                )
            ),
        ]
        arp = ARP.pack(
            hardware_type=headers.ARP_HARDWARE_ETHERNET,
            protocol_type=headers.ETHERTYPE_IPV4,
            hardware_octets=6,
            protocol_octets=4,
            operation=headers.ARP_REPLY,
        )
        neighbour = list(
            NEIGHBOUR.pack(type=headers.NEIGHBOUR_ADVERTISEMENT, solicited=1, override=1)
        )
        to_all = list(NEIGHBOUR.pack(type=headers.NEIGHBOUR_ADVERTISEMENT, override=1))
        option = LINK_LAYER_OPTION.pack(type=headers.OPTION_TARGET_LINK_LAYER, length=1)
        inner4 = IPV4.pack(version=4, header_words=5, dont_fragment=1, ttl=self._ttl)
        sequence = octets_of(view.tx_sequence)
        values = {
            "link_layer": list(option[:2]),
            "host_mac": octets_of(self.host_mac),
            "host_ip": octets_of(self.host_ip),
            "neighbour": [
                one if one == other else Mux(reply.to_all, Const(other, 8), Const(one, 8))
                for one, other in zip(neighbour, to_all, strict=True)
            ][: NEIGHBOUR.octet_offset("target")],
            "host_ip6": octets_of(self.host_ip6),
            "all_mac": list(headers.ALL_NODES_MAC.to_bytes(6, "big")[:2]),
            "all_ip6": list(headers.ALL_NODES.to_bytes(16, "big")[:2]),
            "ethertype": octets_of(ethertype),
            "arp": list(arp[: ARP.octet_offset("sender_mac")]),
            "ip4": list(inner4[:2]),
            "total": octets_of(sizes.total),
            "protocol": [protocol],
            "ip6": list(IPV6.pack(version=6)[:1]),
            "inner_total": octets_of(inner_total),
            "inner4": list(inner4[6:9]),
            "inner6": [headers.PROTOCOL_UDP, self._ttl],
            "ah": [ah_next, ah_words],
            "spi": octets_of(view.spi_out),
            "ah_spi": octets_of(view.ah_spi_out),
            "sequence_high": sequence[:4],
            "sequence": sequence[4:],
            "ah_sequence": octets_of(view.ah_tx_sequence)[4:],
            "port_encapsulated": octets_of(Const(headers.PORT_ESP_IN_UDP, 16)),
            "encapsulated_octets": octets_of(sizes.encapsulated),
            "port_secured": octets_of(Const(headers.PORT_RMCP_SECURED, 16)),
            "port_clear": octets_of(Const(headers.PORT_RMCP_CLEAR, 16)),
            "port_alert": octets_of(Const(PORT_SNMP_TRAP, 16)),
            "udp_octets": [0, Cat(sizes.udp, Const(0, 1))],
            "payload": [reply.payload.word_select(n, 8) for n in range(PAYLOAD_OCTETS)],
            "trailer": [Cat(sizes.pad, Const(0, 4)), carried],
        }
        octets = []
        for name, count in FIELDS:
            if len(values[name]) != count:
                raise ValueError(f"field {name} has {len(values[name])} octets, not {count}")
            octets += [Const(one, 8) if isinstance(one, int) else one for one in values[name]]
        return octets

    def _sizes(self, m, has_esp, has_ah, tunnel, encapsulated, is_gmac, is_cbc, is_null, both):
        reply, view, sizes = self.reply, self.view, self.sizes
        icv = Signal(5)
        m.d.comb += icv.eq(Mux(view.suite.sha_1, _SHA_1_OCTETS, _TAG_OCTETS))
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
            sizes.iv.eq(Mux(is_cbc, _CBC_IV_OCTETS, Mux(is_null, 0, GCM_IV.octets))),
            sizes.icv.eq(icv),
            sizes.ah_icv.eq(Mux(both, _TAG_OCTETS, icv)),
            ah_tight.eq(AH.octets + Mux(is_gmac & ~both, GCM_IV.octets, 0) + sizes.ah_icv),
            # A multiple of eight on IPv6 (RFC 4302 2.2).
            sizes.ah.eq(Mux(reply.v6, Cat(Const(0, 3), (ah_tight + 7)[3:6]), ah_tight)),
            sizes.esp.eq(sizes.text + sizes.iv + sizes.icv + ESP.octets),
            sizes.encapsulated.eq(sizes.esp + UDP.octets),
            sizes.l4.eq(
                Mux(has_esp, sizes.esp, sizes.carried)
                + Mux(has_ah, sizes.ah, 0)
                + Mux(encapsulated, UDP.octets, 0)
            ),
            sizes.total.eq(sizes.l4 + Mux(reply.v6, 0, IPV4.octets)),
            sizes.tunnel_v4.eq(tunnel & ~reply.inner_v6),
        ]

    def _run(self, m, holds, amounts, fields, tunnel, is_neighbour):
        """Part after part, an octet each cycle; two cycles later it is there."""
        words = [
            _Instruction.const(
                {
                    "when": part.when,
                    "source": part.source,
                    "start": part.start,
                    "octets": part.octets,
                    "amount": part.amount,
                    "place": part.place,
                    "sums": part.sums,
                    "end": part.end,
                }
            ).as_bits()
            for part in PROGRAM
        ]
        m.submodules.program = program = Memory(
            shape=_Instruction.size, depth=_PROGRAM_DEPTH, init=words, attrs={"rom_style": "block"}
        )
        port = program.read_port()
        counter = Signal(range(_PROGRAM_DEPTH))
        following = Signal(_Instruction.size, reset_less=True)  # the output register of block RAM
        part = data.View(_Instruction, following)

        # Whether and how long the following part is there, a step before it is under way.
        comes = Signal(_Instruction)
        holding, is_some, is_one = Signal(), Signal(), Signal()
        coming_octets = Signal(5)
        # The condition of a part is chosen in two steps.
        held = Signal(-(-len(When) // 4))

        # The part under way.
        runs, fresh, goes, is_last = (Signal() for _ in range(4))
        source = Signal(Source)
        at_field, next_field = Signal(7), Signal(7)  # the latter has less to drive
        left = Signal(5)
        place = Signal(Place)
        sums = Signal(Sum)
        is_end = Signal()
        at = Signal(9)
        fill = Signal(range(4))
        advance = Signal()
        stb = Signal()
        amount = Signal(5)
        some, one = Signal(len(amounts)), Signal(len(amounts))
        m.d.sync += [
            some.eq(Cat(octets != 0 for octets in amounts.values())),
            one.eq(Cat(octets == 1 for octets in amounts.values())),
        ]
        m.d.comb += [
            holding.eq(held.bit_select(comes.when[2:], 1)),
            port.addr.eq(counter),
            port.en.eq(advance),
            advance.eq((fill != 0) | (runs & (~goes | is_last))),
            amount.eq(
                Array([part.octets, *(amounts[name] for name in Amount if name)])[part.amount]
            ),
            stb.eq(goes & (source != Source.NOTHING)),
            self.end.eq(at),
            self.done.eq(goes & is_end & is_last),
        ]
        m.d.sync += fresh.eq(0)
        with m.If(goes):
            m.d.sync += [left.eq(left - 1), is_last.eq(left == 2)]
            m.d.sync += [at_field.eq(next_field), next_field.eq(next_field + 1)]
            with m.If(stb):
                m.d.sync += at.eq(at + 1)
        with m.If(advance):
            m.d.sync += [
                counter.eq(counter + 1),
                following.eq(port.data),
                comes.eq(part),
                held.eq(
                    Cat(
                        holds[n : n + 4].bit_select(part.when[:2], 1)
                        for n in range(0, len(When), 4)
                    )
                ),
                is_some.eq(Array([part.octets != 0, *some])[part.amount]),
                is_one.eq(Array([part.octets == 1, *one])[part.amount]),
                coming_octets.eq(amount),
                fresh.eq(fill == 0),
                goes.eq((fill == 0) & holding & is_some),
                is_last.eq(is_one),
                left.eq(coming_octets),
                source.eq(comes.source),
                at_field.eq(comes.start),
                next_field.eq(comes.start + 1),
                place.eq(comes.place),
                sums.eq(comes.sums),
                is_end.eq(comes.end),
            ]
        with m.If(fill != 0):
            m.d.sync += fill.eq(fill - 1)
            with m.If(fill == 1):
                m.d.sync += runs.eq(1)
        with m.If(self.begin):
            m.d.sync += [fill.eq(3), at.eq(0)]
        with m.If(self.done):
            m.d.sync += [runs.eq(0), goes.eq(0), counter.eq(0)]
        for here in Place:
            if here:
                with m.If(fresh & (place == here)):
                    m.d.sync += getattr(self, f"at_{here.name.lower()}").eq(at)

        # The octet: of the fields in two steps; a record takes as long.
        group_count = -(-len(fields) // _GROUP)
        groups = [Signal(8, name=f"group_{n}", reset_less=True) for n in range(group_count)]
        for n, group in enumerate(groups):
            row = Cat(fields[n * _GROUP : (n + 1) * _GROUP])
            m.d.sync += group.eq(row.word_select(at_field[:_GROUP_BITS], 8))
        stage = data.StructLayout({"stb": 1, "source": Source, "index": 7, "at": 9, "sums": Sum})
        second, third = Signal(stage), Signal(stage)
        octet = Signal(8)
        from_field = Signal(8)
        m.d.comb += [
            self.record_offset.eq(at_field),
            self.record_inner.eq(source == Source.INNER),
            self.alert_index.eq(at_field),
        ]
        m.d.sync += [
            second.stb.eq(stb),
            second.source.eq(source),
            second.index.eq(at_field),
            second.at.eq(at),
            second.sums.eq(sums),
            third.eq(second),
            from_field.eq(Cat(groups).word_select(second.index[_GROUP_BITS:], 8)),
        ]
        with m.Switch(third.source):
            with m.Case(Source.FIELD):
                m.d.comb += octet.eq(from_field)
            with m.Case(Source.COUNT):
                m.d.comb += octet.eq(third.index)
            with m.Case(Source.RECORD, Source.INNER):
                m.d.comb += octet.eq(self.record_data)
            with m.Case(Source.ALERT):
                m.d.comb += octet.eq(self.alert_data)
        m.d.comb += [self.w_stb.eq(third.stb), self.w_at.eq(third.at), self.w_data.eq(octet)]
        self._sums(m, octet, third.stb, third.sums, tunnel, is_neighbour)

    def _sums(self, m, octet, stb, to, tunnel, is_neighbour):
        """One's complement sums, an octet a cycle (RFC 1071)."""
        outer, inner = (to & Sum.OUTER).any(), (to & Sum.INNER).any()
        in_udp = (to & Sum.UDP).any() | ((to & Sum.ADDRESS).any() & Mux(tunnel, inner, outer))
        changes = (0x4000 if self._dont_fragment else 0) + (self._ttl << 8)
        again = Signal()
        # Length and protocol of the pseudo header; `sum_begin` is held for some cycles.
        pseudo = Signal(16)
        m.d.sync += [
            pseudo.eq(
                Mux(self.sum_begin, self.sizes.encapsulated, self.sizes.udp)
                + Mux(is_neighbour, headers.PROTOCOL_ICMPV6, headers.PROTOCOL_UDP),
            ),
        ]
        with m.If(self.begin):
            m.d.sync += again.eq(0)
        with m.If(self.sum_begin):
            m.d.sync += again.eq(1)
        sums = (
            ("inner", self.inner_sum, stb & inner, 0, self.begin, False),
            (
                "outer",
                self.outer_sum,
                stb & outer,
                changes,
                self.begin,
                False,
            ),
            (
                "udp",
                self.udp_sum,
                (stb & ~again & in_udp) | self.sum_stb,
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
                    m.d.sync += total.eq(pseudo)
                else:
                    m.d.sync += total.eq(start)
                m.d.sync += [carry.eq(0), odd.eq(0), adds.eq(0)]
            # A computed checksum of zero is sent as all ones (RFC 768), but that of ICMPv6.
            if never_zero:
                m.d.sync += out.eq(Mux(total.all() & ~is_neighbour, 0xFFFF, ~total))
            else:
                m.d.comb += out.eq(~total)
