"""The walk down a frame: one octet per cycle, fields captured as they pass."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from hw.headers import HeaderCapture
from hw.stream import PacketSignature
from spec import headers
from spec.headers import ARP, ESP, ETHERNET, IPV4, UDP

__all__ = ["FrameFields", "FrameParser"]

_CAPTURED = {
    ETHERNET: ("destination", "source", "ethertype"),
    ARP: (
        "hardware_type",
        "protocol_type",
        "hardware_octets",
        "protocol_octets",
        "operation",
        "sender_mac",
        "sender_ip",
        "target_ip",
    ),
    IPV4: (
        "version",
        "header_words",
        "total_octets",
        "more_fragments",
        "fragment_offset",
        "protocol",
        "source",
        "destination",
    ),
    UDP: ("source_port", "destination_port", "octets"),
    ESP: ("spi",),
}

FrameFields = data.StructLayout(
    {
        **{
            header.name: data.StructLayout({name: header.width(name) for name in names})
            for header, names in _CAPTURED.items()
        },
        "have": data.StructLayout({"ethernet": 1, "arp": 1, "ipv4": 1, "udp": 1, "spi": 1}),
        "ipv4_sum": 16,
        "octets": 14,
        "err": 1,
    }
)
"""What the parser knows of a frame: captured fields by header, which headers were whole (`have`),
the one's complement sum over the IPv4 header, the octets of the frame (saturating) and `err`."""


class Walk(enum.Enum):
    """Where in the frame the next octet stands."""

    ETHERNET = 0
    ARP = 1
    IPV4 = 2
    OPTIONS = 3
    UDP = 4
    ESP = 5
    BODY = 6


class FrameParser(wiring.Component):
    """Captures the headers of a frame and hands its octets on.

    One octet per cycle. `i` is never stalled inside a frame; after its last octet it is held until
    `release`. All octets go to `frame`, those behind the IPv4 header of an ESP packet, or behind
    the UDP header, to `body` as well, both without backpressure (`ready` is not looked at) and
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

    Source: RFC 791 3.1, RFC 826, RFC 768, RFC 4303 2, RFC 3948 2.1.
    """

    i: In(PacketSignature())
    frame: Out(PacketSignature())
    body: Out(PacketSignature())
    fields: Out(FrameFields)
    walked: Out(1)
    ended: Out(1)
    release: In(1)

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
            UDP: walk == Walk.UDP,
            ESP: walk == Walk.ESP,
        }
        for header, capture in captures.items():
            capture.capture(m, stb=valid & here[header], index=at, octet=beat.data)

        done = Signal()
        m.d.comb += self.walked.eq(done | self.ended)
        option_words = Signal(4)
        writes_body = Signal()
        body_first = Signal(init=1)
        ethertype_high = captures[ETHERNET].ethertype[8:16]
        ipv4 = captures[IPV4]
        to_l4 = Signal()

        with m.If(valid):
            m.d.sync += at.eq(at + 1)
            with m.Switch(walk):
                with m.Case(Walk.ETHERNET):
                    with m.If(at == ETHERNET.octets - 1):
                        m.d.sync += [at.eq(0), known.have.ethernet.eq(1)]
                        # The low octet of the type is only now on its way into its register.
                        ethertype = Signal(16)
                        m.d.comb += ethertype.eq(Cat(beat.data, ethertype_high))
                        with m.If(ethertype == headers.ETHERTYPE_IPV4):
                            m.d.sync += walk.eq(Walk.IPV4)
                        with m.Elif(ethertype == headers.ETHERTYPE_ARP):
                            m.d.sync += walk.eq(Walk.ARP)
                        with m.Else():
                            m.d.sync += [walk.eq(Walk.BODY), done.eq(1)]
                with m.Case(Walk.ARP):
                    with m.If(at == ARP.octets - 1):
                        m.d.sync += [walk.eq(Walk.BODY), done.eq(1), known.have.arp.eq(1)]
                with m.Case(Walk.IPV4):
                    m.d.sync += option_words.eq(ipv4.header_words - 5)
                    with m.If(at == IPV4.octets - 1):
                        m.d.sync += [at.eq(0), known.have.ipv4.eq(1)]
                        with m.If(ipv4.header_words < 5):
                            m.d.sync += [walk.eq(Walk.BODY), done.eq(1)]
                        with m.Elif(option_words == 0):
                            m.d.comb += to_l4.eq(1)
                        with m.Else():
                            m.d.sync += walk.eq(Walk.OPTIONS)
                with m.Case(Walk.OPTIONS):
                    with m.If(at == Cat(Const(3, 2), option_words - 1)[:6]):
                        m.d.sync += at.eq(0)
                        m.d.comb += to_l4.eq(1)
                with m.Case(Walk.UDP):
                    with m.If(at == UDP.octets - 1):
                        m.d.sync += [at.eq(0), known.have.udp.eq(1), writes_body.eq(1)]
                        with m.If(captures[UDP].destination_port == headers.PORT_ESP_IN_UDP):
                            m.d.sync += walk.eq(Walk.ESP)
                        with m.Else():
                            m.d.sync += [walk.eq(Walk.BODY), done.eq(1)]
                with m.Case(Walk.ESP):
                    with m.If(at == 3):
                        m.d.sync += [walk.eq(Walk.BODY), done.eq(1), known.have.spi.eq(1)]
            with m.If(to_l4):
                whole = ipv4.fragment_offset == 0
                with m.If((ipv4.protocol == headers.PROTOCOL_ESP) & whole):
                    m.d.sync += [walk.eq(Walk.ESP), writes_body.eq(1)]
                with m.Elif((ipv4.protocol == headers.PROTOCOL_UDP) & whole):
                    m.d.sync += walk.eq(Walk.UDP)
                with m.Else():
                    m.d.sync += [walk.eq(Walk.BODY), done.eq(1)]
            with m.If(~known.octets.all()):
                m.d.sync += known.octets.eq(known.octets + 1)
            with m.If(beat.last):
                m.d.sync += [self.ended.eq(1), known.err.eq(beat.err)]

        # One's complement sum; the carry of one addition goes into the next (RFC 1071 2).
        total = Signal(17)
        high = Signal(8)
        carry = Signal()
        odd = Signal()
        summing = Signal()
        m.d.comb += [
            summing.eq(valid & ((walk == Walk.IPV4) | (walk == Walk.OPTIONS))),
            total.eq(known.ipv4_sum + Mux(summing, Cat(beat.data, high), 0) + carry),
        ]
        with m.If(summing):
            m.d.sync += odd.eq(~odd)
            with m.If(~odd):
                m.d.sync += high.eq(beat.data)
        with m.If((summing & odd) | (~summing & carry)):
            m.d.sync += Cat(known.ipv4_sum, carry).eq(total)

        m.d.comb += [
            self.frame.payload.eq(beat),
            self.frame.valid.eq(valid),
            self.body.payload.data.eq(beat.data),
            self.body.payload.first.eq(body_first),
            self.body.payload.last.eq(beat.last),
            self.body.valid.eq(valid & writes_body),
        ]
        with m.If(self.body.valid):
            m.d.sync += body_first.eq(0)

        with m.If(self.release):
            m.d.sync += [
                hold.eq(0),
                walk.eq(Walk.ETHERNET),
                at.eq(0),
                done.eq(0),
                self.ended.eq(0),
                known.have.eq(0),
                known.octets.eq(0),
                known.ipv4_sum.eq(0),
                carry.eq(0),
                odd.eq(0),
                writes_body.eq(0),
                body_first.eq(1),
            ]
        return m
