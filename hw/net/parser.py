"""The walk down a frame: one octet per cycle, fields captured as they pass."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.headers import HeaderCapture
from hw.ipsec.layouts import RECORD_OCTETS, RecordOffset
from hw.net.options import OptionWalk
from hw.net.solicitation import SolicitationWalk
from hw.stream import PacketSignature
from spec import headers
from spec.headers import AH, ARP, ESP, ETHERNET, GCM_IV, IPV4, IPV6, NEIGHBOUR, UDP, VLAN

__all__ = ["AddressOctet", "FrameFields", "FrameParser"]

_CAPTURED = {
    ETHERNET: ("destination", "ethertype"),
    ARP: (
        "hardware_type",
        "protocol_type",
        "hardware_octets",
        "protocol_octets",
        "operation",
        "target_ip",
    ),
    IPV4: (
        "version",
        "header_words",
        "total_octets",
        "more_fragments",
        "fragment_offset",
    ),
    IPV6: ("version", "payload_octets"),
    UDP: ("destination_port", "octets"),
    AH: ("next_header", "length", "reserved"),
}
_UNIT_OCTETS = 8
"""Unit of the length of an IPv6 extension header."""
_UNITS_MAX = (IPV6.octets + headers.EXTENSION_OCTETS_MAX) // _UNIT_OCTETS
_SEGMENTS_LEFT = 3
_AH_WORDS_WITH_IV = (AH.octets + GCM_IV.octets + 16) // 4 - 2
"""AH's length field from which on an IV stands before the ICV: that of AES-GMAC alone."""

FrameFields = data.StructLayout(
    {
        **{
            header.name: data.StructLayout({name: header.width(name) for name in names})
            for header, names in _CAPTURED.items()
        },
        "have": data.StructLayout(
            {"ethernet": 1, "arp": 1, "ip": 1, "protocol": 1, "udp": 1, "spi": 1}
        ),
        "v6": 1,
        "tags": 2,
        "protocol": 8,
        "header_octets": 8,
        "fragment": 1,
        "fault": 1,
        "ones_sum": 16,
        "neighbour": data.StructLayout({"asks": 1, "whole": 1, "probe": 1}),
        "spi": 32,
        "sequence": 32,
        "iv": 64,
        "esp_spi": 32,
        "esp_sequence": 32,
        "octets": 14,
        "err": 1,
    }
)
"""What the parser knows of a frame: captured fields by header, which headers were whole (`have`;
`protocol`: what stands behind the IP headers is known), IPv6 or not, VLAN tags, the protocol behind
the IP headers and their octets, whether the packet is a fragment, whether
its options or extension headers have a `fault`, the one's complement sum over the IPv4 header or
over what `SolicitationWalk` covers, what that one says, of AH and ESP what `TakenMeta` has, the
octets of the frame (saturating) and `err`."""

AddressOctet = data.StructLayout({"stb": 1, "is_source": 1, "index": 4, "data": 8, "target": 1})
"""An octet of an IP address, as `hw.net.addresses` wants it; `target`: what comes now is not the
destination any more, but the target of a neighbour solicitation."""


_PLACES = (
    *("ETHERNET", "VLAN", "ARP", "IPV4", "OPTIONS", "IPV6", "EXTENSION"),
    *("UDP", "AH", "AH_REST", "ESP", "ICMP"),
)
_WALK = data.StructLayout(dict.fromkeys(_PLACES, 1))
"""Where in the frame the next octet stands, one bit each; behind the headers none."""
_CAPTURED_AT = {
    ETHERNET: "ETHERNET",
    ARP: "ARP",
    IPV4: "IPV4",
    IPV6: "IPV6",
    UDP: "UDP",
    AH: "AH",
}
_FIXED_OCTETS = {
    "ETHERNET": ETHERNET.octets,
    "VLAN": VLAN.octets,
    "ARP": ARP.octets,
    "IPV4": IPV4.octets,
    "IPV6": IPV6.octets,
    "UDP": UDP.octets,
    "AH": AH.octets,
    "ESP": ESP.octets + GCM_IV.octets,
}
_LEFT_AT_END = {"OPTIONS": IPV4.octets + 4, "AH_REST": 8, "EXTENSION": 0}
"""What the count of octets, begun with the header's own length, is with its last one."""


class FrameParser(wiring.Component):
    """Captures the headers of a frame and hands its octets on.

    One octet per cycle. `i` is never stalled inside a frame; after its last octet it is held until
    `release`. All octets go to `frame`; those of an IP packet go to `body` as well, with zeros for
    what AH does not cover of its headers; both without backpressure (`ready` is not looked at), a
    cycle after they came to `frame`, and two to `body`.

    Attributes
    ----------
    fields : FrameFields, out
        Valid as far as `walked` and `ended` say.
    walked : Signal, out
        All headers that classification needs have passed, or the frame has ended.
    ended : Signal, out
        The frame's last octet has passed; holds until `release`.
    release : Signal, in
        Strobe: the frame is dealt with, take the next.
    record : struct, out
        The sender's record, octet by octet (`RecordOffset`).
    address : AddressOctet, out

    Source: RFC 791 3.1, RFC 826, RFC 8200 3 and 4, RFC 4861 4.3, RFC 768, RFC 4302 2 and 3.3.3,
    RFC 4303 2, RFC 3948 2.1, IEEE 802.1Q-2022 9.6.
    """

    i: In(PacketSignature())
    frame: Out(PacketSignature())
    body: Out(PacketSignature())
    fields: Out(FrameFields)
    walked: Out(1)
    ended: Out(1)
    release: In(1)
    record: Out(data.StructLayout({"stb": 1, "offset": range(RECORD_OCTETS), "data": 8}))
    address: Out(AddressOctet)

    def elaborate(self, platform):
        m = Module()

        hold = Signal()
        valid = Signal()
        take = Signal()
        clear = self.release
        beat = Signal.like(self.i.payload)
        came, octet = self.i.payload.data, beat.data
        m.d.comb += [self.i.ready.eq(~hold), take.eq(self.i.valid & ~hold)]
        m.d.sync += valid.eq(take)
        # Of each octet and of the two up to it, what the walk asks when they are there.
        type_is_ipv4, type_is_ipv6, type_is_arp, type_is_tag = (Signal() for _ in range(4))
        ethertype = Cat(came, octet)
        is_zero, is_ones = Signal(), Signal()
        with m.If(take):
            m.d.sync += [
                beat.eq(self.i.payload),
                type_is_ipv4.eq(ethertype == headers.ETHERTYPE_IPV4),
                type_is_ipv6.eq(ethertype == headers.ETHERTYPE_IPV6),
                type_is_arp.eq(ethertype == headers.ETHERTYPE_ARP),
                type_is_tag.eq(
                    (ethertype == headers.ETHERTYPE_VLAN)
                    | (ethertype == headers.ETHERTYPE_SERVICE_VLAN)
                ),
                is_zero.eq(came == 0),
                is_ones.eq(came.all()),
            ]
            with m.If(self.i.payload.last):
                m.d.sync += hold.eq(1)

        walk = Signal(_WALK, init={"ETHERNET": 1})
        at = Signal(6)  # the last one stands for all that follow
        is_at = Signal(IPV6.octets, init=1)  # the same, one flip-flop for each
        last = Signal()  # of its header
        turn = Signal()  # an octet that is the last of its header, as it passes
        left = Signal(10)  # octets of its header behind this one, and _LEFT_AT_END more
        captures = {header: HeaderCapture(header, names) for header, names in _CAPTURED.items()}
        known = Signal(FrameFields)
        m.d.comb += self.fields.eq(known)
        for header, names in _CAPTURED.items():
            for name in names:
                m.d.comb += self.fields[header.name][name].eq(getattr(captures[header], name))
        for header, place in _CAPTURED_AT.items():
            captures[header].capture(
                m, stb=valid & walk[place], is_at=is_at.__getitem__, octet=octet
            )
        in_network = walk.ETHERNET | walk.VLAN
        in_chain = walk.EXTENSION

        # Where a header ends is known two octets earlier.
        ends, soon = Signal(), Signal()
        for place, octets in _FIXED_OCTETS.items():
            with m.If(walk[place] & is_at[octets - 3]):
                m.d.comb += ends.eq(1)
        for place, rest in _LEFT_AT_END.items():
            with m.If(walk[place] & (left == rest + 2)):
                m.d.comb += ends.eq(1)
        with m.If(valid):
            m.d.sync += [soon.eq(ends), last.eq(soon)]
        with m.If(clear):
            m.d.sync += [soon.eq(0), last.eq(0)]
        m.d.sync += turn.eq(take & Mux(valid, soon, last))

        # The protocol behind this header, as far as it is known, and where that leads.
        protocol = Signal(8)
        later = Signal()  # a fragment with an offset
        to_options, to_fragment, to_routing = Signal(), Signal(), Signal()
        in_options, in_fragment, in_routing = Signal(), Signal(), Signal()
        to_esp, to_ah, to_udp, to_icmp = Signal(), Signal(), Signal(), Signal()
        more_words, port_is_esp, ah_holds_icv, ah_holds_iv, ah_holds_esp = (
            Signal() for _ in range(5)
        )
        with m.If(
            valid
            & (
                (walk.IPV4 & is_at[IPV4.octet_offset("protocol")])
                | (walk.IPV6 & is_at[IPV6.octet_offset("next_header")])
                | (in_chain & is_at[0])
            )
        ):
            m.d.sync += protocol.eq(octet)
        m.d.sync += [
            to_options.eq(
                (protocol == headers.PROTOCOL_HOP_BY_HOP)
                | (protocol == headers.PROTOCOL_DESTINATION_OPTIONS)
            ),
            to_fragment.eq(protocol == headers.PROTOCOL_FRAGMENT),
            to_routing.eq(protocol == headers.PROTOCOL_ROUTING),
            to_esp.eq(protocol == headers.PROTOCOL_ESP),
            to_ah.eq(protocol == headers.PROTOCOL_AH),
            to_udp.eq(protocol == headers.PROTOCOL_UDP),
            to_icmp.eq(protocol == headers.PROTOCOL_ICMPV6),
            more_words.eq(captures[IPV4].header_words > 5),
            port_is_esp.eq(captures[UDP].destination_port == headers.PORT_ESP_IN_UDP),
            ah_holds_icv.eq(captures[AH].length >= 2),
            # What AH of AES-GMAC carries may call itself ESP: it has no say over the IV then.
            ah_holds_iv.eq(captures[AH].length >= _AH_WORDS_WITH_IV),
            ah_holds_esp.eq(captures[AH].next_header == headers.PROTOCOL_ESP),
        ]
        target = Signal(_WALK)
        to_chain = Signal()
        leaves_ip = (walk.IPV4 & ~more_words) | walk.OPTIONS | walk.IPV6 | in_chain
        plain = leaves_ip & ~to_chain & ~later
        m.d.sync += [
            to_chain.eq(known.v6 & ~later & (to_options | to_fragment | to_routing)),
            target.OPTIONS.eq(walk.IPV4 & more_words),
            target.EXTENSION.eq(leaves_ip & to_chain),
            target.UDP.eq(plain & to_udp),
            target.AH.eq(plain & to_ah),
            target.ICMP.eq(walk.IPV6 & to_icmp),
            target.AH_REST.eq(walk.AH & ah_holds_icv),
            target.ESP.eq(
                (plain & to_esp) | (walk.UDP & port_is_esp) | (walk.AH_REST & ah_holds_esp)
            ),
        ]

        with m.If(valid & ~at.all()):
            m.d.sync += at.eq(at + 1)
        with m.If(valid):
            m.d.sync += is_at.eq(is_at << 1)
        with m.If(turn | clear):
            m.d.sync += [at.eq(0), is_at.eq(1)]
        too_long = Signal()
        m.submodules.solicitation = solicitation = SolicitationWalk()
        more_tags = in_network & type_is_tag & (known.tags != headers.VLAN_TAGS_MAX)
        with m.If(turn):
            m.d.sync += [
                walk.eq(target),
                walk.VLAN.eq(more_tags),
                walk.ARP.eq(in_network & type_is_arp),
                walk.IPV4.eq(in_network & type_is_ipv4),
                walk.IPV6.eq(in_network & type_is_ipv6),
            ]
            with m.If(more_tags):
                m.d.sync += known.tags.eq(known.tags + 1)
        with m.If(too_long | (walk.ICMP & solicitation.bad)):
            m.d.sync += walk.eq(0)
        with m.If(clear):
            m.d.sync += [walk.eq(0), walk.ETHERNET.eq(1), known.tags.eq(0)]

        with m.If(valid):
            with m.If(walk.OPTIONS | walk.AH_REST | in_chain):
                m.d.sync += left.eq(left - 1)
            with m.If(walk.IPV4 & is_at[0]):
                m.d.sync += left.eq(Cat(Const(0b11, 2), octet[:4]))
            with m.If(walk.AH & is_at[1]):
                m.d.sync += left.eq(Cat(Const(0b11, 2), octet))
            with m.If(in_chain & is_at[1]):
                m.d.sync += left.eq(Cat(Const(0b101, 3), Mux(in_fragment, 0, octet[:4])))
        with m.If(clear):
            m.d.sync += left.eq(0)

        # Which headers are whole.
        have = known.have
        writes_body = Signal()
        inner_esp = Signal()
        done = Signal()
        spi_passed = Signal()
        m.d.comb += [
            self.walked.eq(done | self.ended),
            spi_passed.eq((walk.ESP & (at >= 4)) | (walk.AH & (at >= 8))),
            known.protocol.eq(protocol),
        ]
        with m.If(turn):
            for place, name in (("ETHERNET", "ethernet"), ("ARP", "arp"), ("UDP", "udp")):
                with m.If(walk[place]):
                    m.d.sync += have[name].eq(1)
            with m.If(walk.IPV4 | walk.IPV6):
                m.d.sync += have.ip.eq(1)
            with m.If(walk.IPV4 | ((walk.IPV6 | in_chain) & ~to_chain)):
                m.d.sync += have.protocol.eq(1)
            with m.If(in_network & type_is_ipv6):
                m.d.sync += known.v6.eq(1)
            with m.If(in_network & (type_is_ipv4 | type_is_ipv6)):
                m.d.sync += writes_body.eq(1)
            m.d.sync += [
                in_options.eq(to_options),
                in_fragment.eq(to_fragment),
                in_routing.eq(to_routing),
            ]
        with m.If(spi_passed):
            m.d.sync += have.spi.eq(1)
        with m.If(spi_passed | solicitation.asks | ~walk.as_value().any()):
            m.d.sync += done.eq(1)
        with m.If(walk.AH_REST):
            m.d.sync += inner_esp.eq(1)
        with m.If(valid & beat.last):
            m.d.sync += [self.ended.eq(1), known.err.eq(beat.err)]
        with m.If(valid & ~known.octets.all()):
            m.d.sync += known.octets.eq(known.octets + 1)

        # Extension headers and their lengths; the fixed header is counted as well.
        m.submodules.options = options = OptionWalk()
        units = Signal(6, init=IPV6.octets // _UNIT_OCTETS)
        more = Signal(5)
        is_huge = Signal()
        counts, counted = Signal(), Signal()
        chain_fault = Signal()
        routes = Signal()  # by way of another host
        # Of a header that is not whole yet nothing is said.
        m.d.comb += [
            self.fields.fault.eq(chain_fault | (options.fault & ~in_chain)),
            too_long.eq((counts & is_huge) | (counted & (units > _UNITS_MAX))),
        ]
        m.d.sync += [
            counts.eq(valid & in_chain & is_at[1]),
            counted.eq(counts),
            routes.eq(valid & in_chain & in_routing & is_at[_SEGMENTS_LEFT] & ~is_zero),
            more.eq(Mux(in_fragment, 1, octet[:4] + 1)),
            is_huge.eq(~in_fragment & (octet[4:] != 0)),
        ]
        with m.If(counts):
            m.d.sync += units.eq(units + more)
        with m.If(clear):
            m.d.sync += units.eq(units.init)
        with m.If(
            too_long
            | (in_chain & is_at[0] & options.fault)  # of the header before
            | routes
        ):
            m.d.sync += chain_fault.eq(1)
        with m.If(turn & (walk.IPV6 | in_chain)):
            m.d.sync += known.header_octets.eq(units << 3)
        with m.If(valid & walk.IPV4 & is_at[0]):
            m.d.sync += known.header_octets.eq(octet[:4] << 2)
        with m.If(turn & in_chain & in_fragment):
            m.d.sync += known.fragment.eq(1)
        has_offset = Signal()
        m.d.sync += has_offset.eq(captures[IPV4].fragment_offset != 0)
        with m.If(
            (walk.IPV4 & (at[2:4] == 3) & has_offset)
            | (
                (valid & in_chain & in_fragment & (at[1:] == 1))
                & ((octet[3:] != 0) | (~at[0] & (octet[:3] != 0)))
            )
        ):
            m.d.sync += later.eq(1)
        m.d.comb += [
            options.clear.eq(clear),
            options.take.eq(take),
            options.came.eq(came),
            options.stb.eq(valid),
            options.v6.eq(known.v6),
            options.last.eq(last),
            options.begin.eq(
                (turn & walk.IPV4 & more_words) | (valid & in_chain & in_options & is_at[1])
            ),
        ]

        # Numbers of AH and ESP.
        in_esp = walk.ESP
        with m.If(valid & (at < 8)):
            with m.If((walk.AH & at[2]) | (in_esp & ~inner_esp & ~at[2])):
                m.d.sync += known.spi.eq(Cat(octet, known.spi[:24]))
            with m.If(in_esp & inner_esp & ~at[2]):
                m.d.sync += known.esp_spi.eq(Cat(octet, known.esp_spi[:24]))
            with m.If(in_esp & inner_esp & at[2]):
                m.d.sync += known.esp_sequence.eq(Cat(octet, known.esp_sequence[:24]))
        with m.If(valid & ((walk.AH & at[3]) | (in_esp & ~inner_esp & (at[2:] == 1)))):
            m.d.sync += known.sequence.eq(Cat(octet, known.sequence[:24]))
        with m.If(
            valid
            & (
                (walk.AH_REST & (at < GCM_IV.octets))
                | (in_esp & at[3] & ~(inner_esp & ah_holds_iv))
            )
        ):
            m.d.sync += known.iv.eq(Cat(known.iv[8:], octet))

        m.d.comb += [
            solicitation.clear.eq(clear),
            solicitation.stb.eq(valid),
            solicitation.octet.eq(octet),
            solicitation.is_zero.eq(is_zero),
            solicitation.is_ones.eq(is_ones),
            solicitation.in_ip.eq(walk.IPV6),
            solicitation.in_message.eq(walk.ICMP),
            solicitation.at.eq(at),
            solicitation.is_at.eq(is_at),
            known.neighbour.asks.eq(solicitation.asks),
            known.neighbour.whole.eq(solicitation.whole),
            known.neighbour.probe.eq(solicitation.probe),
        ]

        # One's complement sum over the octets, each in its half of a word; the carry of one
        # addition goes into the next (RFC 1071 2).
        addend = Signal(16)
        carry = Signal()
        summing = valid & (walk.IPV4 | walk.OPTIONS | solicitation.covered)
        m.d.sync += [
            addend.eq(Cat(octet, octet)),
            Cat(known.ones_sum, carry).eq(known.ones_sum + addend + carry),
        ]
        with m.If(~summing | ~at[0]):
            m.d.sync += addend[:8].eq(0)
        with m.If(~summing | at[0]):
            m.d.sync += addend[8:].eq(0)

        # The body a cycle late, and zeros for what AH does not cover.
        fixed, zero = Signal(), Signal()
        with m.If(valid):
            m.d.sync += fixed.eq(0)
            for offset in (1, 6, 7, 8, 10, 11):
                with m.If(walk.IPV4 & is_at[offset - 1]):
                    m.d.sync += fixed.eq(1)
            for offset in (1, 2, 3, IPV6.octet_offset("hop_limit")):
                with m.If(walk.IPV6 & is_at[offset - 1]):
                    m.d.sync += fixed.eq(1)
        m.d.comb += zero.eq(options.zero | fixed)
        body = self.body
        m.d.sync += [
            body.valid.eq(valid & writes_body),
            body.payload.data.eq(octet),
            body.payload.last.eq(beat.last),
        ]
        with m.If(zero):
            m.d.sync += body.payload.data[4:].eq(0)
        with m.If(zero | (walk.IPV6 & is_at[0])):
            m.d.sync += body.payload.data[:4].eq(0)
        with m.If(body.valid):
            m.d.sync += body.payload.first.eq(0)
        with m.If(clear):
            m.d.sync += body.payload.first.eq(1)
        m.d.comb += [self.frame.payload.eq(beat), self.frame.valid.eq(valid)]

        self._record(m, walk, at, known, valid, octet)
        self._address(m, walk, at, is_at, valid, octet, solicitation.asks)
        with m.If(clear):
            m.d.sync += [
                hold.eq(0),
                done.eq(0),
                self.ended.eq(0),
                known.have.eq(0),
                known.v6.eq(0),
                known.fragment.eq(0),
                later.eq(0),
                known.octets.eq(0),
                known.ones_sum.eq(0),
                carry.eq(0),
                chain_fault.eq(0),
                routes.eq(0),
                inner_esp.eq(0),
                writes_body.eq(0),
            ]
        return m

    def _record(self, m, walk, at, known, valid, octet):
        """Writes what an answer needs; a cycle late."""
        record = self.record
        tagged = RecordOffset.TAGS + 2  # the control of the first
        mac, mac_arp = ETHERNET.octet_offset("source"), ARP.octet_offset("sender_mac")
        ip_arp, ip4 = ARP.octet_offset("sender_ip"), IPV4.octet_offset("source")
        ip6 = IPV6.octet_offset("source")
        is_ip = at >= ip_arp
        # Where it goes, what of it, and where it would go if it began with the header.
        parts = (
            (walk.ETHERNET, at >= mac, (RecordOffset.MAC - mac) % RECORD_OCTETS),
            # Its control behind the EtherType that announced it, and the one that it announces.
            (
                walk.VLAN,
                (at < 2) | (known.tags != headers.VLAN_TAGS_MAX),
                Mux(known.tags[0], tagged, tagged + VLAN.octets),
            ),
            (
                walk.ARP,
                (at >= mac_arp) & (at < ip_arp + 4),
                Mux(is_ip, RecordOffset.IP - ip_arp, (RecordOffset.MAC - mac_arp) % RECORD_OCTETS),
            ),
            (walk.IPV4, at[2:] == ip4 // 4, RecordOffset.IP - ip4),
            (walk.IPV6, (at >= ip6) & (at < ip6 + 16), RecordOffset.IP - ip6),
            (walk.UDP, at < 2, RecordOffset.PORT),
        )
        base, stb = Const(0, 5), Const(0, 1)
        for place, condition, start in parts:
            first = Const(start, 5) if isinstance(start, int) else start
            base = base | (place.replicate(5) & first)
            stb = stb | (place & condition)
        m.d.sync += [
            record.stb.eq(valid & stb),
            record.offset.eq(at + base),
            record.data.eq(octet),
        ]

    def _address(self, m, walk, at, is_at, valid, octet, asks):
        """The octets of the IP addresses, and of a solicitation's target."""
        address = self.address
        m.d.comb += address.data.eq(octet)
        with m.If(walk.IPV4):
            m.d.comb += [
                address.stb.eq(valid & (at >= IPV4.octet_offset("source"))),
                address.is_source.eq(at < IPV4.octet_offset("destination")),
                address.index.eq(Cat(at[:2], Const(0b11, 2))),
            ]
        with m.Elif(walk.IPV6 | walk.ICMP):
            # The target stands in its header where the source stands in its.
            m.d.comb += [
                address.stb.eq(valid & (at >= IPV6.octet_offset("source")) & ~asks),
                address.is_source.eq(walk.IPV6 & (at < IPV6.octet_offset("destination"))),
                address.index.eq(at - IPV6.octet_offset("source")),
                address.target.eq(valid & walk.ICMP & is_at[NEIGHBOUR.octet_offset("target") - 2]),
            ]
