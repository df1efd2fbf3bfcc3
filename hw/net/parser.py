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
        "protocol",
    ),
    IPV6: ("version", "payload_octets", "next_header"),
    UDP: ("destination_port", "octets"),
    AH: ("next_header", "length", "reserved"),
}
_UNIT_OCTETS = 8
"""Unit of the length of an IPv6 extension header."""
_UNITS_MAX = headers.EXTENSION_OCTETS_MAX // _UNIT_OCTETS
_SEGMENTS_LEFT = 3
_VLAN_OCTETS = VLAN.octets
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
        "later": 1,
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
the IP headers and their octets, whether the packet is a fragment, with an offset (`later`), whether
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


class FrameParser(wiring.Component):
    """Captures the headers of a frame and hands its octets on.

    One octet per cycle. `i` is never stalled inside a frame; after its last octet it is held until
    `release`. All octets go to `frame`; those of an IP packet go to `body` as well, with zeros for
    what AH does not cover of its headers; both without backpressure (`ready` is not looked at) and
    two cycles after they came.

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
        beat = Signal.like(self.i.payload)
        m.d.comb += self.i.ready.eq(~hold)
        m.d.sync += valid.eq(self.i.valid & self.i.ready)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += beat.eq(self.i.payload)
            with m.If(self.i.payload.last):
                m.d.sync += hold.eq(1)
        octet = beat.data

        walk = Signal(Walk)
        at = Signal(6)
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
        ipv4 = captures[IPV4]

        done = Signal()
        m.d.comb += self.walked.eq(done | self.ended)
        writes_body = Signal()
        body_first = Signal(init=1)
        ethertype_high = Signal(8)  # of the last two octets
        m.d.comb += ethertype_high.eq(captures[ETHERNET].ethertype[8:16])
        tag_high = Signal(8)

        m.submodules.options = options = OptionWalk()
        left = Signal(8)  # octets of this header behind this one
        m.d.comb += [
            options.octet.eq(octet),
            options.left.eq(left),
            options.v6.eq(known.v6),
            options.clear.eq(self.release),
        ]
        units = Signal(5)
        extension = Signal(8)
        following = Signal(8)
        ah_left = Signal(10)
        inner_esp = Signal()
        # What AH of AES-GMAC carries may call itself ESP: it has no say over the IV then.
        iv_in_ah = captures[AH].length >= _AH_WORDS_WITH_IV
        chain_fault = Signal()
        # Of a header that is not whole yet nothing is said.
        in_chain = walk == Walk.EXTENSION
        m.d.comb += self.fields.fault.eq(chain_fault | (options.fault & ~in_chain))

        def finish():
            return [walk.eq(Walk.BODY), done.eq(1)]

        def network(ethertype):
            """Goes on with what the EtherType says."""
            m.d.sync += at.eq(0)
            with m.If(ethertype == headers.ETHERTYPE_IPV4):
                m.d.sync += [walk.eq(Walk.IPV4), writes_body.eq(1)]
            with m.Elif(ethertype == headers.ETHERTYPE_IPV6):
                m.d.sync += [walk.eq(Walk.IPV6), writes_body.eq(1), known.v6.eq(1)]
            with m.Elif(ethertype == headers.ETHERTYPE_ARP):
                m.d.sync += walk.eq(Walk.ARP)
            with m.Elif(
                (
                    (ethertype == headers.ETHERTYPE_VLAN)
                    | (ethertype == headers.ETHERTYPE_SERVICE_VLAN)
                )
                & (known.tags != headers.VLAN_TAGS_MAX)
            ):
                m.d.sync += [walk.eq(Walk.VLAN), known.tags.eq(known.tags + 1)]
            with m.Else():
                m.d.sync += finish()

        def transport(protocol, later):
            """Goes on behind the IP headers."""
            m.d.sync += [at.eq(0), known.protocol.eq(protocol), known.have.protocol.eq(1)]
            with m.If(later):
                m.d.sync += finish()
            with m.Elif(protocol == headers.PROTOCOL_ESP):
                m.d.sync += walk.eq(Walk.ESP)
            with m.Elif(protocol == headers.PROTOCOL_AH):
                m.d.sync += walk.eq(Walk.AH)
            with m.Elif(protocol == headers.PROTOCOL_UDP):
                m.d.sync += walk.eq(Walk.UDP)
            with m.Else():
                m.d.sync += finish()

        def is_extension(protocol):
            return (
                (protocol == headers.PROTOCOL_HOP_BY_HOP)
                | (protocol == headers.PROTOCOL_ROUTING)
                | (protocol == headers.PROTOCOL_DESTINATION_OPTIONS)
                | (protocol == headers.PROTOCOL_FRAGMENT)
            )

        def chain(protocol, later):
            """Goes on with another extension header, or behind the last one."""
            with m.If(is_extension(protocol) & ~later):
                m.d.sync += [at.eq(0), walk.eq(Walk.EXTENSION), extension.eq(protocol)]
            with m.Else():
                transport(protocol, later)

        zero = Signal()
        keeps = Signal(8, init=0xFF)
        m.d.comb += keeps.eq(0xFF)
        in_options = (extension == headers.PROTOCOL_HOP_BY_HOP) | (
            extension == headers.PROTOCOL_DESTINATION_OPTIONS
        )
        with m.If(valid):
            m.d.sync += at.eq(at + 1)
            with m.Switch(walk):
                with m.Case(Walk.ETHERNET):
                    with m.If(at == ETHERNET.octets - 1):
                        m.d.sync += known.have.ethernet.eq(1)
                        # The low octet of the type is only now on its way into its register.
                        network(Cat(octet, ethertype_high))
                with m.Case(Walk.VLAN):
                    with m.If(at == _VLAN_OCTETS - 2):
                        m.d.sync += tag_high.eq(octet)
                    with m.If(at == _VLAN_OCTETS - 1):
                        network(Cat(octet, tag_high))
                with m.Case(Walk.ARP):
                    with m.If(at == ARP.octets - 1):
                        m.d.sync += [*finish(), known.have.arp.eq(1)]
                with m.Case(Walk.IPV4):
                    with m.If(at == 0):
                        m.d.sync += [
                            known.header_octets.eq(octet[:4] << 2),
                            left.eq(((octet[:4] - 5)[:4] << 2) - 1),
                        ]
                    with m.If(at == IPV4.octets - 1):
                        m.d.sync += known.have.ip.eq(1)
                        m.d.comb += options.begin.eq(1)
                        with m.If(ipv4.header_words > 5):
                            m.d.sync += [walk.eq(Walk.OPTIONS), known.have.protocol.eq(1)]
                            m.d.sync += known.protocol.eq(ipv4.protocol)
                        with m.Else():
                            transport(ipv4.protocol, ipv4.fragment_offset != 0)
                with m.Case(Walk.OPTIONS):
                    m.d.comb += options.stb.eq(1)
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 0):
                        transport(ipv4.protocol, ipv4.fragment_offset != 0)
                with m.Case(Walk.IPV6):
                    with m.If(at == IPV6.octets - 1):
                        m.d.sync += [known.have.ip.eq(1), known.header_octets.eq(IPV6.octets)]
                        chain(captures[IPV6].next_header, Const(0, 1))
                with m.Case(Walk.EXTENSION):
                    is_fragment = extension == headers.PROTOCOL_FRAGMENT
                    m.d.sync += left.eq(left - 1)
                    with m.If(at == 0):
                        m.d.sync += following.eq(octet)
                    with m.Elif(at == 1):
                        with m.If(options.fault):
                            m.d.sync += chain_fault.eq(1)
                        more = Signal(5)
                        m.d.comb += [more.eq(Mux(is_fragment, 1, octet[:4] + 1))]
                        m.d.comb += options.begin.eq(1)
                        m.d.sync += left.eq(Mux(is_fragment, 5, Cat(Const(0b101, 3), octet[:4])))
                        with m.If((~is_fragment & (octet[4:] != 0)) | (units + more > _UNITS_MAX)):
                            m.d.sync += [*finish(), chain_fault.eq(1)]
                        with m.Else():
                            m.d.sync += units.eq(units + more)
                    with m.Else():
                        m.d.comb += options.stb.eq(in_options)
                        with m.If((extension == headers.PROTOCOL_ROUTING) & (at == _SEGMENTS_LEFT)):
                            with m.If(octet != 0):
                                m.d.sync += chain_fault.eq(1)
                        with m.If(is_fragment & (at == 2)):
                            m.d.sync += known.later.eq(octet != 0)
                        with m.If(is_fragment & (at == 3)):
                            m.d.sync += known.later.eq(known.later | (octet[3:] != 0))
                        with m.If(left == 0):
                            # At 63 it stays: no offset beyond 3 matters.
                            m.d.sync += [
                                known.header_octets.eq(IPV6.octets + (units << 3)),
                                known.fragment.eq(known.fragment | is_fragment),
                            ]
                            chain(following, known.later & is_fragment)
                        with m.Elif(at.all()):
                            m.d.sync += at.eq(at)
                with m.Case(Walk.UDP):
                    with m.If(at == UDP.octets - 1):
                        m.d.sync += [at.eq(0), known.have.udp.eq(1)]
                        with m.If(captures[UDP].destination_port == headers.PORT_ESP_IN_UDP):
                            m.d.sync += walk.eq(Walk.ESP)
                        with m.Else():
                            m.d.sync += finish()
                with m.Case(Walk.AH):
                    with m.If((at >= 4) & (at < 8)):
                        m.d.sync += known.spi.eq(Cat(octet, known.spi[:24]))
                    with m.If(at == 7):
                        m.d.sync += [done.eq(1), known.have.spi.eq(1)]
                    with m.If(at >= 8):
                        m.d.sync += known.sequence.eq(Cat(octet, known.sequence[:24]))
                    with m.If(at == AH.octets - 1):
                        length = captures[AH].length
                        m.d.sync += [at.eq(0), ah_left.eq((length << 2) - 5)]
                        m.d.sync += walk.eq(Mux(length >= 2, Walk.AH_REST, Walk.BODY))
                with m.Case(Walk.AH_REST):
                    m.d.sync += ah_left.eq(ah_left - 1)
                    with m.If(at < GCM_IV.octets):
                        m.d.sync += known.iv.eq(Cat(known.iv[8:], octet))
                    with m.If(at.all()):
                        m.d.sync += at.eq(at)
                    with m.If(ah_left == 0):
                        m.d.sync += [at.eq(0), inner_esp.eq(1), walk.eq(Walk.BODY)]
                        with m.If(captures[AH].next_header == headers.PROTOCOL_ESP):
                            m.d.sync += walk.eq(Walk.ESP)
                with m.Case(Walk.ESP):
                    with m.If(~inner_esp):
                        with m.If(at < 4):
                            m.d.sync += known.spi.eq(Cat(octet, known.spi[:24]))
                        with m.Elif(at < ESP.octets):
                            m.d.sync += known.sequence.eq(Cat(octet, known.sequence[:24]))
                        with m.If(at == 3):
                            m.d.sync += [done.eq(1), known.have.spi.eq(1)]
                    with m.Else():
                        with m.If(at < 4):
                            m.d.sync += known.esp_spi.eq(Cat(octet, known.esp_spi[:24]))
                        with m.Elif(at < ESP.octets):
                            m.d.sync += known.esp_sequence.eq(Cat(octet, known.esp_sequence[:24]))
                    with m.If((at >= ESP.octets) & ~(inner_esp & iv_in_ah)):
                        m.d.sync += known.iv.eq(Cat(known.iv[8:], octet))
                    with m.If(at == ESP.octets + GCM_IV.octets - 1):
                        m.d.sync += walk.eq(Walk.BODY)
            with m.If(~known.octets.all()):
                m.d.sync += known.octets.eq(known.octets + 1)
            with m.If(beat.last):
                m.d.sync += [self.ended.eq(1), known.err.eq(beat.err)]

        # What AH covers as zeros.
        with m.Switch(walk):
            with m.Case(Walk.IPV4):
                for offset in (1, 6, 7, 8, 10, 11):
                    with m.If(at == offset):
                        m.d.comb += zero.eq(1)
            with m.Case(Walk.IPV6):
                with m.If((at >= 1) & (at <= 3)):
                    m.d.comb += zero.eq(1)
                with m.If(at == IPV6.octet_offset("hop_limit")):
                    m.d.comb += zero.eq(1)
                with m.If(at == 0):
                    m.d.comb += keeps.eq(0xF0)
            with m.Case(Walk.OPTIONS):
                m.d.comb += zero.eq(options.zero)
            with m.Case(Walk.EXTENSION):
                m.d.comb += zero.eq(options.zero & in_options & (at > 1))

        # One's complement sum; the carry of one addition goes into the next (RFC 1071 2).
        total = Signal(17)
        high = Signal(8)
        carry = Signal()
        odd = Signal()
        summing = Signal()
        m.d.comb += [
            summing.eq(valid & ((walk == Walk.IPV4) | (walk == Walk.OPTIONS))),
            total.eq(known.ipv4_sum + Mux(summing, Cat(octet, high), 0) + carry),
        ]
        with m.If(summing):
            m.d.sync += odd.eq(~odd)
            with m.If(~odd):
                m.d.sync += high.eq(octet)
        with m.If((summing & odd) | (~summing & carry)):
            m.d.sync += Cat(known.ipv4_sum, carry).eq(total)

        m.d.comb += [
            self.frame.payload.eq(beat),
            self.frame.valid.eq(valid),
            self.body.payload.data.eq(Mux(zero, 0, octet & keeps)),
            self.body.payload.first.eq(body_first),
            self.body.payload.last.eq(beat.last),
            self.body.valid.eq(valid & writes_body),
        ]
        with m.If(self.body.valid):
            m.d.sync += body_first.eq(0)

        self._record(m, walk, at, known, valid, octet)
        self._address(m, walk, at, valid, octet)
        with m.If(self.release):
            m.d.sync += [
                hold.eq(0),
                walk.eq(Walk.ETHERNET),
                at.eq(0),
                done.eq(0),
                self.ended.eq(0),
                known.have.eq(0),
                known.v6.eq(0),
                known.tags.eq(0),
                known.fragment.eq(0),
                known.later.eq(0),
                known.octets.eq(0),
                known.ipv4_sum.eq(0),
                chain_fault.eq(0),
                units.eq(0),
                inner_esp.eq(0),
                carry.eq(0),
                odd.eq(0),
                writes_body.eq(0),
                body_first.eq(1),
            ]
        return m

    def _record(self, m, walk, at, known, valid, octet):
        """Writes what an answer needs; a cycle late."""
        record = self.record
        m.d.sync += [record.stb.eq(0), record.data.eq(octet)]

        def part(header, name, offset):
            start = header.octet_offset(name)
            with m.If((at >= start) & (at < start + header.width(name) // 8)):
                m.d.sync += [record.stb.eq(valid), record.offset.eq(at - start + offset)]

        tag = RecordOffset.TAGS + (known.tags << 2)
        with m.Switch(walk):
            with m.Case(Walk.ETHERNET):
                part(ETHERNET, "source", RecordOffset.MAC)
                part(ETHERNET, "ethertype", RecordOffset.TAGS)
            with m.Case(Walk.VLAN):
                # Its control behind the EtherType that announced it, and the one that it announces.
                with m.If(at < 2):
                    m.d.sync += [record.stb.eq(valid), record.offset.eq(tag + at - 2)]
                with m.Elif(known.tags != headers.VLAN_TAGS_MAX):
                    m.d.sync += [record.stb.eq(valid), record.offset.eq(tag + at - 2)]
            with m.Case(Walk.ARP):
                part(ARP, "sender_mac", RecordOffset.MAC)
                part(ARP, "sender_ip", RecordOffset.IP)
            with m.Case(Walk.IPV4):
                part(IPV4, "source", RecordOffset.IP)
            with m.Case(Walk.IPV6):
                part(IPV6, "source", RecordOffset.IP)
            with m.Case(Walk.UDP):
                part(UDP, "source_port", RecordOffset.PORT)

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
