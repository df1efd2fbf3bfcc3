"""The plaintext on its way: what stands in it, a buffer for it, and the gate before the engine."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.eth.fifo import PacketFifo
from hw.headers import HeaderCapture, octets_of
from hw.ipsec.layouts import RECORD_OCTETS, TOKENS, InnerOffset, MessageMeta
from hw.ring import Ring
from hw.stream import OctetSignature, PacketBeat, PacketSignature, SkidBuffer
from spec import headers
from spec.headers import IPV4, IPV6, UDP

__all__ = ["PLAIN_OCTETS", "Begin", "Decision", "Finding", "PlainPath"]

PLAIN_OCTETS = 4096
"""Octets of plaintext that may wait for verdicts and for the command engine."""
_SLACK = 16
"""Of these the buffer needs some for itself."""
PACKETS = 15
"""Packets that may be begun and not yet gone from the gate."""

Begin = data.StructLayout(
    {
        "direct": 1,
        "octets": 11,
        "esp": 1,
        "tunnel": 1,
        "clear": 1,
        "next_header": 8,
        "token": range(TOKENS),
    }
)
"""A packet whose plaintext follows: whether it comes from `direct` or from `cipher`, its octets (at
least 4; of ESP with padding and trailer), whether there is a trailer, whether an IP packet is in
it, whether it is a message that came in clear, AH's next header, and its record."""

Finding = data.StructLayout(
    {
        "padding_ok": 1,
        "dummy": 1,
        "next_ok": 1,
        "selector_ok": 1,
        "inner_v6": 1,
        "octets": 11,
    }
)
"""What stood in the plaintext; of a clear message all is well. `octets`: of its UDP payload."""

Decision = data.StructLayout({"good": 1, "meta": MessageMeta})
"""Over a packet, in the order in which they began."""


class Walk(enum.Enum):
    """Where in the plaintext the next octet stands."""

    IP = 0
    UDP = 1
    PAYLOAD = 2


class PlainPath(wiring.Component):
    """Looks at each plaintext as it passes, keeps it until its decision, and lets out good ones.

    One octet per cycle. `SEC: ESP.NOTHING_BEFORE_VERDICT`: what is in the buffer reaches `o` only
    behind a decision that says `good`; other packets are drained, an octet a cycle.

    A packet is taken at `begin` only when the buffer has room for all of it, so its plaintext is
    never held back; it must be begun before the engines are given work for it. The finding comes
    four cycles after the last octet. In `o` a packet is the octets behind its UDP header, padding
    and trailer of ESP included, and at least one octet.

    Attributes
    ----------
    begin : stream of Begin, in
    direct, cipher : OctetSignature, in
        Exactly `octets` octets of each packet come from one of them.
    host_ip, host_ip6 : Signal, in
        Where the packet in a tunnel must go to.
    inner_stb, inner_token, inner_offset, inner_data : Signal, out
        The record of what was inside (`InnerOffset`).
    finding : stream of Finding, out
    decision : stream of Decision, in
    message, o : streams, out
        To the command engine.

    Source: RFC 4303 2.4, 2.6, 3.4.4; RFC 4301 5.2; docs/packet_walk.md.
    """

    begin: In(stream.Signature(Begin))
    direct: In(OctetSignature())
    cipher: In(OctetSignature())
    host_ip: In(32)
    host_ip6: In(128)
    inner_stb: Out(1)
    inner_token: Out(range(TOKENS))
    inner_offset: Out(range(RECORD_OCTETS))
    inner_data: Out(8)
    finding: Out(stream.Signature(Finding))
    decision: In(stream.Signature(Decision))
    message: Out(stream.Signature(MessageMeta))
    o: Out(PacketSignature())

    def elaborate(self, platform):
        m = Module()
        self._found = Signal(Finding, name="found")
        m.submodules.buffer = buffer = PacketFifo(depth=PLAIN_OCTETS, carries_err=False)
        # Each with a place for all packets there may be.
        m.submodules.begun = begun = Ring(Begin, depth=PACKETS + 1)
        m.submodules.findings = findings = Ring(Finding, depth=PACKETS + 1)
        m.submodules.decisions = decisions = Ring(Decision, depth=PACKETS + 1)

        # Room: taken for all octets at the beginning, given back as octets leave, and for those
        # that were never written when the packet has passed.
        free = Signal(range(PLAIN_OCTETS + 1), init=PLAIN_OCTETS - _SLACK)
        packets = Signal(range(PACKETS + 1))
        fits, asks = Signal(), Signal()
        takes = Signal()
        leaves, left_it, ended, gone = Signal(), Signal(), Signal(), Signal()
        unused = Signal(11)
        change = Signal.like(unused)
        taken_octets = Signal(11)
        m.d.sync += [
            asks.eq(self.begin.valid & ~takes & ~fits),
            fits.eq(asks & ~takes & (packets != PACKETS) & (free >= self.begin.payload.octets)),
            taken_octets.eq(Mux(takes, self.begin.payload.octets, 0)),
            change.eq(unused),
            left_it.eq(leaves),
            free.eq(free - taken_octets + change + left_it),
            gone.eq(ended),
            packets.eq(packets + takes - gone),
        ]
        m.d.comb += [
            takes.eq(fits & self.begin.valid),
            self.begin.ready.eq(fits),
            begun.stb.eq(takes),
            begun.entry.eq(self.begin.payload),
        ]

        # The octets of one packet after another.
        packet = Signal(Begin)
        left = Signal(11)
        active = Signal()
        first = Signal()
        octet = Signal(8)
        arrives, is_first, is_last = Signal(), Signal(), Signal()
        source_valid = Signal()
        moves = Signal()
        ends = Signal()
        m.d.comb += [
            source_valid.eq(Mux(packet.direct, self.direct.valid, self.cipher.valid)),
            self.direct.ready.eq(active & packet.direct),
            self.cipher.ready.eq(active & ~packet.direct),
            moves.eq(active & source_valid),
            ends.eq(moves & (left == 1)),
        ]
        m.d.sync += [
            arrives.eq(moves),
            octet.eq(Mux(packet.direct, self.direct.payload, self.cipher.payload)),
            is_first.eq(first),
            is_last.eq(left == 1),
        ]
        with m.If(moves):
            m.d.sync += [left.eq(left - 1), first.eq(0)]
        settled = Signal(4)
        m.d.sync += settled.eq(Cat(arrives & is_last, settled))
        # One packet's finding is on its way when the next begins: a pause of five cycles.
        rests, begins = Signal(init=1), Signal()
        m.d.comb += begun.o.ready.eq(begins)
        m.d.sync += begins.eq(rests & begun.o.valid)
        with m.If(rests & begun.o.valid):
            m.d.sync += rests.eq(0)
        with m.If(settled[2]):
            m.d.sync += rests.eq(1)
        with m.If(ends):
            m.d.sync += active.eq(0)
        with m.If(begins):
            m.d.sync += [
                packet.eq(begun.o.payload),
                left.eq(begun.o.payload.octets),
                active.eq(1),
                first.eq(1),
            ]

        walk = self._walk(m, packet, begun.o.payload, begins, octet, arrives)
        written = Signal()
        first_written = Signal()
        m.d.comb += written.eq(arrives & ((walk == Walk.PAYLOAD) | is_last))
        unwritten = Signal(11)
        with m.If(begins):
            m.d.sync += [unwritten.eq(0), first_written.eq(1)]
        with m.Elif(written):
            m.d.sync += first_written.eq(0)
        with m.Elif(arrives):
            m.d.sync += unwritten.eq(unwritten + 1)
        m.d.comb += [
            buffer.i.valid.eq(written),
            buffer.i.payload.data.eq(octet),
            buffer.i.payload.first.eq(first_written),
            buffer.i.payload.last.eq(is_last),
        ]
        # The gate keeps a packet back, the buffer need not.
        m.d.sync += buffer.commit.eq(written)

        m.d.comb += [
            findings.stb.eq(settled[3]),
            findings.entry.eq(self._found),
            unused.eq(Mux(settled[3], unwritten, 0)),
        ]
        m.d.comb += [
            decisions.entry.eq(self.decision.payload),
            decisions.stb.eq(self.decision.valid),
            self.decision.ready.eq(1),
        ]
        wiring.connect(m, findings.o, wiring.flipped(self.finding))

        # The gate.
        decision = decisions.o.payload
        m.submodules.first_out = first_out = SkidBuffer(PacketBeat)
        wiring.connect(m, buffer.o, first_out.i)
        m.d.comb += [
            self.message.payload.eq(decision.meta),
            self.o.payload.eq(first_out.o.payload),
            leaves.eq(first_out.o.valid & first_out.o.ready),
        ]
        with m.FSM(name="gate"):
            with m.State("closed"):
                with m.If(decisions.o.valid):
                    m.d.comb += self.message.valid.eq(decision.good)
                    m.d.comb += decisions.o.ready.eq(~decision.good | self.message.ready)
                    with m.If(~decision.good):
                        m.next = "drain"
                    with m.Elif(self.message.ready):
                        m.next = "open"
            with m.State("open"):
                m.d.comb += [self.o.valid.eq(first_out.o.valid), first_out.o.ready.eq(self.o.ready)]
                with m.If(leaves & first_out.o.payload.last):
                    m.d.comb += ended.eq(1)
                    m.next = "closed"
            with m.State("drain"):
                m.d.comb += first_out.o.ready.eq(1)
                with m.If(leaves & first_out.o.payload.last):
                    m.d.comb += ended.eq(1)
                    m.next = "closed"
        return m

    def _walk(self, m, packet, beginning, begins, octet, arrives):
        """Where the octet stands; the finding is right four cycles after the last one."""
        walk = Signal(Walk)
        at = Signal(6)
        ipv4 = HeaderCapture(
            IPV4,
            (
                "version",
                "header_words",
                "total_octets",
                "more_fragments",
                "fragment_offset",
                "protocol",
            ),
        )
        ipv6 = HeaderCapture(IPV6, ("payload_octets", "next_header"))
        udp = HeaderCapture(UDP, ("destination_port", "octets"))
        in_ip = arrives & (walk == Walk.IP)
        in_udp = arrives & (walk == Walk.UDP)
        ipv4.capture(m, stb=in_ip, is_at=at.__eq__, octet=octet)
        ipv6.capture(m, stb=in_ip, is_at=at.__eq__, octet=octet)
        udp.capture(m, stb=in_udp, is_at=at.__eq__, octet=octet)
        # Right from the third octet on, the first that may be the last but one of a header.
        is_v6 = Signal()
        header_octets = Signal(6)
        last_but_one = Signal(6, init=IPV6.octets - 2)
        ends_ip = Signal()
        m.d.sync += is_v6.eq(ipv4.version == headers.VERSION_IPV6)
        with m.If(ipv4.version == headers.VERSION_IPV6):
            m.d.sync += [header_octets.eq(IPV6.octets), last_but_one.eq(IPV6.octets - 2)]
        with m.Else():
            m.d.sync += [
                header_octets.eq(ipv4.header_words << 2),
                last_but_one.eq(Cat(Const(2, 2), ipv4.header_words - 1)),
            ]
        with m.If(arrives):
            m.d.sync += ends_ip.eq(at == last_but_one)
        with m.If(begins):
            m.d.sync += ends_ip.eq(0)
        with m.If(begins):
            m.d.sync += walk.eq(Walk.UDP)
            with m.If(beginning.clear):
                m.d.sync += walk.eq(Walk.PAYLOAD)
            with m.Elif(beginning.tunnel):
                m.d.sync += walk.eq(Walk.IP)
        with m.Else():
            with m.If(in_ip & ends_ip):
                m.d.sync += walk.eq(Walk.UDP)
            with m.If(in_udp & (at == UDP.octets - 1)):
                m.d.sync += walk.eq(Walk.PAYLOAD)

        with m.If(arrives):
            m.d.sync += at.eq(at + 1)
        with m.If(begins | (in_ip & ends_ip)):
            m.d.sync += at.eq(0)

        # The destination, two octets behind its time; the source and its port go to the record.
        wanted_v4, wanted_v6, in_second, had = Signal(8), Signal(16), Signal(), Signal(8)
        compares = Signal()
        right = Signal()
        place_v4, place_v6 = Signal(2), Signal(4)
        had_before, compares_then = Signal(8), Signal()
        octets_v6 = octets_of(self.host_ip6)
        wanted = Mux(is_v6, wanted_v6.word_select(in_second, 8), wanted_v4)

        def within(header, name):
            start = header.octet_offset(name)
            return (at >= start) & (at < start + header.width(name) // 8)

        m.d.sync += [
            place_v4.eq(at - IPV4.octet_offset("destination")),
            place_v6.eq(at - IPV6.octet_offset("destination")),
            had_before.eq(octet),
            had.eq(had_before),
            wanted_v4.eq(Array(octets_of(self.host_ip))[place_v4]),
            wanted_v6.eq(Cat(Array(part)[place_v6[:3]] for part in (octets_v6[:8], octets_v6[8:]))),
            in_second.eq(place_v6[3]),
            compares.eq(compares_then),
            compares_then.eq(
                in_ip & Mux(is_v6, within(IPV6, "destination"), within(IPV4, "destination"))
            ),
        ]
        with m.If(begins):
            m.d.sync += right.eq(1)
        with m.Elif(compares & (had != wanted)):
            m.d.sync += right.eq(0)
        m.d.sync += [
            self.inner_stb.eq(0),
            self.inner_token.eq(packet.token),
            self.inner_data.eq(octet),
        ]
        with m.If(walk == Walk.UDP):
            m.d.sync += [
                self.inner_stb.eq(in_udp & within(UDP, "source_port")),
                self.inner_offset.eq(InnerOffset.PORT + at),
            ]
        with m.Elif(is_v6):
            m.d.sync += [
                self.inner_stb.eq(in_ip & within(IPV6, "source")),
                self.inner_offset.eq(InnerOffset.IP + at - IPV6.octet_offset("source")),
            ]
        with m.Else():
            m.d.sync += [
                self.inner_stb.eq(in_ip & within(IPV4, "source")),
                self.inner_offset.eq(InnerOffset.IP + at - IPV4.octet_offset("source")),
            ]

        # The trailer: the last two octets, and how many octets before them count 1, 2, 3 ...
        last_octet, pad_octets, run = Signal(8), Signal(8), Signal(8)
        with m.If(begins):
            m.d.sync += [last_octet.eq(0), pad_octets.eq(0), run.eq(0)]
        with m.Elif(arrives):
            m.d.sync += [last_octet.eq(octet), pad_octets.eq(last_octet)]
            with m.If(pad_octets == (run + 1)[:8]):
                m.d.sync += run.eq(pad_octets)
            with m.Elif(pad_octets == 1):
                m.d.sync += run.eq(1)
            with m.Else():
                m.d.sync += run.eq(0)

        # Rank 1
        untrailed, inner = Signal(12), Signal(12)
        next_header = Signal(8)
        pad_is_zero, pad_is_run = Signal(), Signal()
        whole = Signal()
        m.d.comb += untrailed.eq(packet.octets - headers.ESP_TRAILER_OCTETS)
        m.d.sync += [
            inner.eq(Mux(packet.esp, untrailed - pad_octets, packet.octets)),
            next_header.eq(Mux(packet.esp, last_octet, packet.next_header)),
            pad_is_zero.eq(pad_octets == 0),
            pad_is_run.eq(pad_octets == run),
            whole.eq((ipv4.more_fragments == 0) & (ipv4.fragment_offset == 0)),
        ]
        # Rank 2
        carried = Signal(12)
        total = Signal(16)
        version_is_right, protocol_is_right, words_are_right = Signal(), Signal(), Signal()
        m.d.sync += [
            carried.eq(Mux(packet.tunnel, inner - header_octets, inner)),
            self._found.padding_ok.eq(
                ~packet.esp | (~inner[-1] & (pad_is_zero | pad_is_run)),
            ),
            self._found.dummy.eq(packet.esp & (next_header == headers.PROTOCOL_NO_NEXT)),
            total.eq(Mux(is_v6, ipv6.payload_octets + IPV6.octets, ipv4.total_octets)),
            version_is_right.eq(
                Mux(
                    next_header == headers.PROTOCOL_IPV6,
                    is_v6,
                    ipv4.version == headers.VERSION_IPV4,
                )
            ),
            protocol_is_right.eq(
                Mux(is_v6, ipv6.next_header, ipv4.protocol) == headers.PROTOCOL_UDP
            ),
            words_are_right.eq(is_v6 | ((ipv4.header_words >= 5) & whole)),
        ]
        with m.If(packet.tunnel):
            m.d.sync += self._found.next_ok.eq(
                (next_header == headers.PROTOCOL_IPV4) | (next_header == headers.PROTOCOL_IPV6)
            )
        with m.Else():
            m.d.sync += self._found.next_ok.eq(next_header == headers.PROTOCOL_UDP)
        # Rank 3
        packet_is_right = Signal()
        m.d.comb += packet_is_right.eq(
            ~packet.tunnel
            | ((total == inner) & right & version_is_right & protocol_is_right & words_are_right)
        )
        m.d.sync += [
            self._found.selector_ok.eq(
                packet_is_right
                & ~carried[-1]
                & (carried >= UDP.octets)
                & (udp.octets == carried)
                & (udp.destination_port == headers.PORT_RMCP_SECURED)
            ),
            self._found.inner_v6.eq(is_v6 & packet.tunnel),
            self._found.octets.eq(udp.octets - UDP.octets),
        ]
        with m.If(packet.clear):
            m.d.sync += [
                self._found.padding_ok.eq(1),
                self._found.dummy.eq(0),
                self._found.next_ok.eq(1),
                self._found.selector_ok.eq(1),
                self._found.octets.eq(packet.octets),
            ]
        return walk
