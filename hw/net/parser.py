"""The walk down a frame: one octet per cycle, fields captured as they pass."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.headers import HeaderCapture
from hw.ipsec.layouts import RECORD_OCTETS, RecordOffset
from hw.net.options import OptionWalk
from hw.stream import PacketSignature
from spec import headers
from spec.headers import AH, ARP, ESP, ETHERNET, GCM_IV, IPV4, IPV6, UDP, VLAN

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
        "ipv4_sum": 16,
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
its options or extension headers have a `fault`, the one's complement sum over the IPv4 header, of
AH and ESP what `TakenMeta` has, the octets of the frame (saturating) and `err`."""

AddressOctet = data.StructLayout({"stb": 1, "is_source": 1, "index": 4, "data": 8})
"""An octet of an IP address, as `hw.net.addresses` wants it."""


class Walk(enum.Enum):
    """Where in the frame the next octet stands."""

    ETHERNET = 0
    VLAN = 1
    ARP = 2
    IPV4 = 3
    OPTIONS = 4
    IPV6 = 5
    EXTENSION = 6
    UDP = 7
    AH = 8
    AH_REST = 9
    ESP = 10
    BODY = 11


_FIXED_OCTETS = {
    Walk.ETHERNET: ETHERNET.octets,
    Walk.VLAN: VLAN.octets,
    Walk.ARP: ARP.octets,
    Walk.IPV4: IPV4.octets,
    Walk.IPV6: IPV6.octets,
    Walk.UDP: UDP.octets,
    Walk.AH: AH.octets,
    Walk.ESP: ESP.octets + GCM_IV.octets,
}
_LEFT_AT_END = {Walk.OPTIONS: IPV4.octets + 4, Walk.AH_REST: 8, Walk.EXTENSION: 0}
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

    Source: RFC 791 3.1, RFC 826, RFC 8200 3 and 4, RFC 768, RFC 4302 2 and 3.3.3, RFC 4303 2,
    RFC 3948 2.1, IEEE 802.1Q-2022 9.6.
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
        is_zero = Signal()
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
            ]
            with m.If(self.i.payload.last):
                m.d.sync += hold.eq(1)

        walk = Signal(Walk)
        at = Signal(6)  # the last one stands for all that follow
        last = Signal()  # of its header
        turn = Signal()  # an octet that is the last of its header, as it passes
        left = Signal(10)  # octets of its header behind this one, and _LEFT_AT_END more
        captures = {header: HeaderCapture(header, names) for header, names in _CAPTURED.items()}
        known = Signal(FrameFields)
        m.d.comb += self.fields.eq(known)
        for header, names in _CAPTURED.items():
            for name in names:
                m.d.comb += self.fields[header.name][name].eq(getattr(captures[header], name))
        here = {
            ETHERNET: walk == Walk.ETHERNET,
            ARP: walk == Walk.ARP,
            IPV4: walk == Walk.IPV4,
            IPV6: walk == Walk.IPV6,
            UDP: walk == Walk.UDP,
            AH: walk == Walk.AH,
        }
        for header, capture in captures.items():
            capture.capture(m, stb=valid & here[header], index=at, octet=octet)
        in_network = (walk == Walk.ETHERNET) | (walk == Walk.VLAN)
        in_chain = walk == Walk.EXTENSION

        # Where a header ends is known an octet earlier.
        ends = Signal()
        for place, octets in _FIXED_OCTETS.items():
            with m.If((walk == place) & (at == octets - 2)):
                m.d.comb += ends.eq(1)
        for place, rest in _LEFT_AT_END.items():
            with m.If((walk == place) & (left == rest + 1)):
                m.d.comb += ends.eq(1)
        with m.If(valid):
            m.d.sync += last.eq(ends)
        with m.If(clear):
            m.d.sync += last.eq(0)
        m.d.sync += turn.eq(take & Mux(valid, ends, last))

        # The protocol behind this header, as far as it is known, and where that leads.
        protocol = Signal(8)
        later = Signal()  # a fragment with an offset
        to_options, to_fragment, to_routing = Signal(), Signal(), Signal()
        in_options, in_fragment, in_routing = Signal(), Signal(), Signal()
        to_esp, to_ah, to_udp = Signal(), Signal(), Signal()
        more_words, port_is_esp, ah_holds_icv, ah_holds_iv, ah_holds_esp = (
            Signal() for _ in range(5)
        )
        with m.If(
            valid
            & (
                ((walk == Walk.IPV4) & (at == IPV4.octet_offset("protocol")))
                | ((walk == Walk.IPV6) & (at == IPV6.octet_offset("next_header")))
                | (in_chain & (at == 0))
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
            more_words.eq(captures[IPV4].header_words > 5),
            port_is_esp.eq(captures[UDP].destination_port == headers.PORT_ESP_IN_UDP),
            ah_holds_icv.eq(captures[AH].length >= 2),
            # What AH of AES-GMAC carries may call itself ESP: it has no say over the IV then.
            ah_holds_iv.eq(captures[AH].length >= _AH_WORDS_WITH_IV),
            ah_holds_esp.eq(captures[AH].next_header == headers.PROTOCOL_ESP),
        ]
        target = Signal(Walk)
        to_chain = Signal()
        m.d.sync += [
            target.eq(Walk.BODY),
            to_chain.eq(known.v6 & ~later & (to_options | to_fragment | to_routing)),
        ]
        with m.Switch(walk):
            with m.Case(Walk.UDP):
                with m.If(port_is_esp):
                    m.d.sync += target.eq(Walk.ESP)
            with m.Case(Walk.AH):
                with m.If(ah_holds_icv):
                    m.d.sync += target.eq(Walk.AH_REST)
            with m.Case(Walk.AH_REST):
                with m.If(ah_holds_esp):
                    m.d.sync += target.eq(Walk.ESP)
            with m.Case(Walk.ESP, Walk.ARP):
                pass
            with m.Default():
                with m.If((walk == Walk.IPV4) & more_words):
                    m.d.sync += target.eq(Walk.OPTIONS)
                with m.Elif(to_chain):
                    m.d.sync += target.eq(Walk.EXTENSION)
                with m.Elif(later):
                    pass
                with m.Elif(to_esp):
                    m.d.sync += target.eq(Walk.ESP)
                with m.Elif(to_ah):
                    m.d.sync += target.eq(Walk.AH)
                with m.Elif(to_udp):
                    m.d.sync += target.eq(Walk.UDP)

        with m.If(valid & ~at.all()):
            m.d.sync += at.eq(at + 1)
        with m.If(turn | clear):
            m.d.sync += at.eq(0)
        too_long = Signal()
        with m.If(turn):
            m.d.sync += walk.eq(target)
            with m.If(in_network):
                m.d.sync += walk.eq(Walk.BODY)
                with m.If(type_is_ipv4):
                    m.d.sync += walk.eq(Walk.IPV4)
                with m.If(type_is_ipv6):
                    m.d.sync += walk.eq(Walk.IPV6)
                with m.If(type_is_arp):
                    m.d.sync += walk.eq(Walk.ARP)
                with m.If(type_is_tag & (known.tags != headers.VLAN_TAGS_MAX)):
                    m.d.sync += [walk.eq(Walk.VLAN), known.tags.eq(known.tags + 1)]
        with m.If(too_long):
            m.d.sync += walk.eq(Walk.BODY)
        with m.If(clear):
            m.d.sync += [walk.eq(Walk.ETHERNET), known.tags.eq(0)]

        with m.If(valid):
            with m.If((walk == Walk.IPV4) & (at == 0)):
                m.d.sync += left.eq(Cat(Const(0b11, 2), octet[:4]))
            with m.Elif((walk == Walk.AH) & (at == 1)):
                m.d.sync += left.eq(Cat(Const(0b11, 2), octet))
            with m.Elif(in_chain & (at == 1)):
                m.d.sync += left.eq(Cat(Const(0b101, 3), Mux(in_fragment, 0, octet[:4])))
            with m.Elif((walk == Walk.OPTIONS) | (walk == Walk.AH_REST) | in_chain):
                m.d.sync += left.eq(left - 1)
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
            spi_passed.eq(((walk == Walk.ESP) & (at >= 4)) | ((walk == Walk.AH) & (at >= 8))),
            known.protocol.eq(protocol),
        ]
        with m.If(turn):
            with m.Switch(walk):
                with m.Case(Walk.ETHERNET):
                    m.d.sync += have.ethernet.eq(1)
                with m.Case(Walk.ARP):
                    m.d.sync += have.arp.eq(1)
                with m.Case(Walk.IPV4):
                    m.d.sync += [have.ip.eq(1), have.protocol.eq(1)]
                with m.Case(Walk.IPV6):
                    m.d.sync += have.ip.eq(1)
                with m.Case(Walk.UDP):
                    m.d.sync += have.udp.eq(1)
            with m.If(((walk == Walk.IPV6) | in_chain) & ~to_chain):
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
        with m.If(spi_passed | (walk == Walk.BODY)):
            m.d.sync += done.eq(1)
        with m.If(walk == Walk.AH_REST):
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
        # Of a header that is not whole yet nothing is said.
        m.d.comb += [
            self.fields.fault.eq(chain_fault | (options.fault & ~in_chain)),
            too_long.eq((counts & is_huge) | (counted & (units > _UNITS_MAX))),
        ]
        m.d.sync += [
            counts.eq(valid & in_chain & (at == 1)),
            counted.eq(counts),
            more.eq(Mux(in_fragment, 1, octet[:4] + 1)),
            is_huge.eq(~in_fragment & (octet[4:] != 0)),
        ]
        with m.If(counts):
            m.d.sync += units.eq(units + more)
        with m.If(clear):
            m.d.sync += units.eq(units.init)
        with m.If(
            too_long
            | (in_chain & (at == 0) & options.fault)  # of the header before
            | (valid & in_chain & in_routing & (at == _SEGMENTS_LEFT) & ~is_zero)
        ):
            m.d.sync += chain_fault.eq(1)
        with m.If(turn & ((walk == Walk.IPV6) | in_chain)):
            m.d.sync += known.header_octets.eq(units << 3)
        with m.If(valid & (walk == Walk.IPV4) & (at == 0)):
            m.d.sync += known.header_octets.eq(octet[:4] << 2)
        with m.If(turn & in_chain & in_fragment):
            m.d.sync += known.fragment.eq(1)
        in_offset = (walk == Walk.IPV4) & (at[1:] == 3)
        in_later = in_chain & in_fragment & (at[1:] == 1)
        with m.If(
            valid
            & (
                (in_offset & ((octet[:5] != 0) | (at[0] & (octet[5:] != 0))))
                | (in_later & ((octet[3:] != 0) | (~at[0] & (octet[:3] != 0))))
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
                (turn & (walk == Walk.IPV4) & more_words)
                | (valid & in_chain & in_options & (at == 1))
            ),
        ]

        # Numbers of AH and ESP.
        in_esp = walk == Walk.ESP
        with m.If(valid & (at < 8)):
            with m.If(((walk == Walk.AH) & at[2]) | (in_esp & ~inner_esp & ~at[2])):
                m.d.sync += known.spi.eq(Cat(octet, known.spi[:24]))
            with m.If(in_esp & inner_esp & ~at[2]):
                m.d.sync += known.esp_spi.eq(Cat(octet, known.esp_spi[:24]))
            with m.If(in_esp & inner_esp & at[2]):
                m.d.sync += known.esp_sequence.eq(Cat(octet, known.esp_sequence[:24]))
        with m.If(valid & (((walk == Walk.AH) & at[3]) | (in_esp & ~inner_esp & (at[2:] == 1)))):
            m.d.sync += known.sequence.eq(Cat(octet, known.sequence[:24]))
        with m.If(
            valid
            & (
                ((walk == Walk.AH_REST) & (at < GCM_IV.octets))
                | (in_esp & at[3] & ~(inner_esp & ah_holds_iv))
            )
        ):
            m.d.sync += known.iv.eq(Cat(known.iv[8:], octet))

        # One's complement sum over the octets, each in its half of a word; the carry of one
        # addition goes into the next (RFC 1071 2).
        addend = Signal(16)
        carry = Signal()
        summing = valid & ((walk == Walk.IPV4) | (walk == Walk.OPTIONS))
        m.d.sync += [
            addend.eq(Cat(octet, octet)),
            Cat(known.ipv4_sum, carry).eq(known.ipv4_sum + addend + carry),
        ]
        with m.If(~summing | ~at[0]):
            m.d.sync += addend[:8].eq(0)
        with m.If(~summing | at[0]):
            m.d.sync += addend[8:].eq(0)

        # What AH covers, a cycle late.
        zero, zero_low = Signal(), Signal()
        m.d.comb += zero.eq(options.zero)
        with m.Switch(walk):
            with m.Case(Walk.IPV4):
                for offset in (1, 6, 7, 8, 10, 11):
                    with m.If(at == offset):
                        m.d.comb += zero.eq(1)
            with m.Case(Walk.IPV6):
                for offset in (1, 2, 3, IPV6.octet_offset("hop_limit")):
                    with m.If(at == offset):
                        m.d.comb += zero.eq(1)
                with m.If(at == 0):
                    m.d.comb += zero_low.eq(1)
        body = self.body
        m.d.sync += [
            body.valid.eq(valid & writes_body),
            body.payload.data.eq(octet),
            body.payload.last.eq(beat.last),
        ]
        with m.If(zero):
            m.d.sync += body.payload.data[4:].eq(0)
        with m.If(zero | zero_low):
            m.d.sync += body.payload.data[:4].eq(0)
        with m.If(body.valid):
            m.d.sync += body.payload.first.eq(0)
        with m.If(clear):
            m.d.sync += body.payload.first.eq(1)
        m.d.comb += [self.frame.payload.eq(beat), self.frame.valid.eq(valid)]

        self._record(m, walk, at, known, valid, octet)
        self._address(m, walk, at, valid, octet)
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
                known.ipv4_sum.eq(0),
                carry.eq(0),
                chain_fault.eq(0),
                inner_esp.eq(0),
                writes_body.eq(0),
            ]
        return m

    def _record(self, m, walk, at, known, valid, octet):
        """Writes what an answer needs; a cycle late."""
        record = self.record
        base = Signal(5)  # of this header in the record
        tagged = RecordOffset.TAGS + 2
        stb = Signal()
        with m.Switch(walk):
            with m.Case(Walk.ETHERNET):
                start = ETHERNET.octet_offset("source")
                m.d.comb += [base.eq(RecordOffset.MAC - start), stb.eq(at >= start)]
            with m.Case(Walk.VLAN):
                # Its control behind the EtherType that announced it, and the one that it announces.
                m.d.comb += [
                    base.eq(Mux(known.tags[0], tagged, tagged + VLAN.octets)),
                    stb.eq((at < 2) | (known.tags != headers.VLAN_TAGS_MAX)),
                ]
            with m.Case(Walk.ARP):
                start = ARP.octet_offset("sender_mac")
                start_ip = ARP.octet_offset("sender_ip")
                m.d.comb += [
                    base.eq(RecordOffset.IP - start_ip),
                    stb.eq((at >= start) & (at < start_ip + 4)),
                ]
                with m.If(at < start_ip):
                    m.d.comb += base.eq(RecordOffset.MAC - start)
            with m.Case(Walk.IPV4):
                start = IPV4.octet_offset("source")
                m.d.comb += [base.eq(RecordOffset.IP - start), stb.eq(at[2:] == start // 4)]
            with m.Case(Walk.IPV6):
                start = IPV6.octet_offset("source")
                m.d.comb += [
                    base.eq(RecordOffset.IP - start),
                    stb.eq((at >= start) & (at < start + 16)),
                ]
            with m.Case(Walk.UDP):
                m.d.comb += [base.eq(RecordOffset.PORT), stb.eq(at < 2)]
        m.d.sync += [
            record.stb.eq(valid & stb),
            record.offset.eq(at + base),
            record.data.eq(octet),
        ]

    def _address(self, m, walk, at, valid, octet):
        """The octets of the IP addresses."""
        address = self.address
        m.d.comb += address.data.eq(octet)
        with m.If(walk == Walk.IPV4):
            m.d.comb += [
                address.stb.eq(valid & (at >= IPV4.octet_offset("source"))),
                address.is_source.eq(at < IPV4.octet_offset("destination")),
                address.index.eq(Cat(at[:2], Const(0b11, 2))),
            ]
        with m.Elif(walk == Walk.IPV6):
            m.d.comb += [
                address.stb.eq(valid & (at >= IPV6.octet_offset("source"))),
                address.is_source.eq(at < IPV6.octet_offset("destination")),
                address.index.eq(at - IPV6.octet_offset("source")),
            ]
