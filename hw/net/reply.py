"""Builds the frames that the NIC sends itself: ARP answers, clear and protected RMCP messages."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto import gcm_job_layout
from hw.headers import header_octets, octets_of
from hw.ipsec.sad import BankKeys, key_slot
from hw.stream import OctetSignature, PacketSignature, SkidBuffer
from spec import headers
from spec.headers import ARP, ESP, ETHERNET, GCM_IV, IPV4, UDP
from spec.sa import BANKS

__all__ = ["PAYLOAD_OCTETS", "Reply", "ReplyBuilder", "ReplyKind"]

PAYLOAD_OCTETS = 28
"""Longest UDP payload of a reply: RMCP and ASF headers and 16 octets of data."""


class ReplyKind(enum.Enum, shape=2):
    """How a reply leaves; the first three as `hw.net.classifier.TakenKind`."""

    ESP = 0
    ESP_IN_UDP = 1
    CLEAR = 2
    ARP = 3


Reply = data.StructLayout(
    {
        "kind": ReplyKind,
        "bank": range(BANKS),
        "mac": 48,
        "ip": 32,
        "outer_port": 16,
        "port": 16,
        "octets": 5,
        "payload": 8 * PAYLOAD_OCTETS,
    }
)
"""A reply: to whom (`outer_port` with ESP in UDP), under which bank, and its UDP payload of
`octets` octets, an even number; lane 0 is the first octet, lanes beyond it are 0."""

_TTL = 64


class ReplyBuilder(wiring.Component):
    """Turns one reply after another into a frame, whole before its first octet leaves.

    About 130 cycles for an ARP answer or a clear message, 250 for a protected one. A reply under a
    bank that no longer receives, or whose numbers are used up, is not sent; nor is one whose bank
    goes while it is encrypted, for parts of it may be under a zeroised key
    (`SEC: ESP.ANSWER_UNDER_WHOLE_KEY`). Every number is used once: `tx_stb` takes it before the
    first octet is encrypted (`SEC: ESP.NONCE_ONCE`).

    Attributes
    ----------
    reply : stream of Reply, in
    job, text, ciphertext, tag
        To and from the GCM engine.
    o : stream, out
        The frame, to a commit FIFO (`ready` is not looked at); `commit` releases it, `discard`
        takes it back.
    room : Signal, in
        That FIFO has room for a whole frame.
    keys, tx_stb, tx_bank
        From and to the SAD.

    Source: RFC 826, RFC 791, RFC 768, RFC 1071, RFC 4303 3.3, RFC 4106 3, RFC 3948 2.1.
    """

    def __init__(self):
        super().__init__(
            {
                "reply": In(stream.Signature(Reply)),
                "host_mac": In(48),
                "host_ip": In(32),
                "keys": In(data.ArrayLayout(BankKeys, BANKS)),
                "tx_stb": Out(1),
                "tx_bank": Out(range(BANKS)),
                "job": Out(stream.Signature(gcm_job_layout(slots=2 * BANKS))),
                "text": Out(OctetSignature()),
                "ciphertext": In(OctetSignature()),
                "tag": In(stream.Signature(128)),
                "o": Out(PacketSignature()),
                "commit": Out(1),
                "discard": Out(1),
                "room": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        reply = Signal(Reply)
        keys = self.keys[reply.bank]
        kind = reply.kind
        is_protected = (kind == ReplyKind.ESP) | (kind == ReplyKind.ESP_IN_UDP)
        sequence = Signal(64)
        spi = Signal(32)

        # Lengths. The ciphertext ends on a multiple of four (RFC 4303 2.4).
        udp_octets = Signal(6)
        pad_octets = Signal(2)
        cipher_octets = Signal(6)
        esp_octets = Signal(7)
        ip_octets = Signal(7)
        m.d.sync += [
            udp_octets.eq(reply.octets + UDP.octets),
            pad_octets.eq(-(udp_octets + headers.ESP_TRAILER_OCTETS)),
            cipher_octets.eq(udp_octets + headers.ESP_TRAILER_OCTETS + pad_octets),
            esp_octets.eq(cipher_octets + ESP.octets + GCM_IV.octets + headers.ESP_ICV_OCTETS),
        ]
        with m.Switch(kind):
            with m.Case(ReplyKind.ESP):
                m.d.sync += ip_octets.eq(esp_octets + IPV4.octets)
            with m.Case(ReplyKind.ESP_IN_UDP):
                m.d.sync += ip_octets.eq(esp_octets + IPV4.octets + UDP.octets)
            with m.Default():
                m.d.sync += ip_octets.eq(udp_octets + IPV4.octets)

        at = Signal(6)

        # Checksums: one addition a cycle over the words, the carry into the next (RFC 1071).
        sums = {"ip": Signal(16), "udp": Signal(16)}
        total = Signal(16)
        carry = Signal()
        # Chosen in one cycle, added in the next.
        word, next_word = Signal(16), Signal(16)
        adds, next_adds = Signal(), Signal()
        added = Signal(17)
        m.d.comb += added.eq(total + word + carry)
        m.d.sync += [word.eq(next_word), adds.eq(next_adds)]
        with m.If(adds):
            m.d.sync += Cat(total, carry).eq(added)
        protocol = Mux(kind == ReplyKind.ESP, headers.PROTOCOL_ESP, headers.PROTOCOL_UDP)
        source_port = Mux(
            kind == ReplyKind.CLEAR, headers.PORT_RMCP_CLEAR, headers.PORT_RMCP_SECURED
        )
        addresses = [self.host_ip[16:], self.host_ip[:16], reply.ip[16:], reply.ip[:16]]
        ip_fixed = IPV4.pack(version=4, header_words=5, dont_fragment=1, ttl=_TTL)
        ip_words = [Const(int.from_bytes(ip_fixed[n : n + 2], "big"), 16) for n in (0, 6, 8)] + [
            ip_octets,
            protocol,
            *addresses,
        ]
        udp_words = [
            *addresses,
            Const(headers.PROTOCOL_UDP, 16),
            udp_octets,
            udp_octets,
            source_port,
            reply.port,
        ]

        def table(values, bits, index):
            """The value that `index` chooses."""
            items = Array(Signal(bits, name=f"item_{n}") for n in range(len(values)))
            m.d.comb += [item.eq(value) for item, value in zip(items, values, strict=True)]
            return items[index]

        # Headers, octet by octet.
        eth_type = Mux(
            kind == ReplyKind.ARP, Const(headers.ETHERTYPE_ARP, 16), headers.ETHERTYPE_IPV4
        )
        ethernet = header_octets(
            ETHERNET, destination=reply.mac, source=self.host_mac, ethertype=eth_type[:16]
        )
        arp = header_octets(
            ARP,
            hardware_type=headers.ARP_HARDWARE_ETHERNET,
            protocol_type=headers.ETHERTYPE_IPV4,
            hardware_octets=6,
            protocol_octets=4,
            operation=headers.ARP_REPLY,
            sender_mac=self.host_mac,
            sender_ip=self.host_ip,
            target_mac=reply.mac,
            target_ip=reply.ip,
        )
        ip_wide, protocol_octet, inverted_ip, inverted_udp = (
            Signal(16, name="ip_total"),
            Signal(8, name="ip_protocol"),
            Signal(16, name="ip_checksum"),
            Signal(16, name="udp_checksum"),
        )
        udp_wide, outer_wide, from_port = (
            Signal(16, name="udp_wide"),
            Signal(16, name="outer_wide"),
            Signal(16, name="from_port"),
        )
        m.d.comb += [
            ip_wide.eq(ip_octets),
            protocol_octet.eq(protocol),
            inverted_ip.eq(~sums["ip"]),
            # A computed checksum of zero is sent as all ones (RFC 768).
            inverted_udp.eq(Mux(sums["udp"].all(), 0xFFFF, ~sums["udp"])),
            udp_wide.eq(udp_octets),
            outer_wide.eq(esp_octets + UDP.octets),
            from_port.eq(source_port),
        ]
        ipv4 = header_octets(
            IPV4,
            version=4,
            header_words=5,
            total_octets=ip_wide,
            dont_fragment=1,
            ttl=_TTL,
            protocol=protocol_octet,
            checksum=inverted_ip,
            source=self.host_ip,
            destination=reply.ip,
        )
        outer_udp = header_octets(
            UDP,
            source_port=headers.PORT_ESP_IN_UDP,
            destination_port=reply.outer_port,
            octets=outer_wide,
        )
        udp = header_octets(
            UDP,
            source_port=from_port,
            destination_port=reply.port,
            octets=udp_wide,
            checksum=inverted_udp,
        )
        esp = [*octets_of(spi), *octets_of(sequence[:32]), *octets_of(sequence)]

        # Two ranks: the octet of each header, and of what stands behind them; then which of these.
        out = Signal(8)
        out_header = Signal(range(6))
        out_valid = Signal()
        out_first = Signal()
        out_last = Signal()
        chosen = Signal.like(self.o.payload)
        chosen_header = Signal.like(out_header)
        chosen_valid = Signal()
        header_octet = Signal(8)
        m.d.sync += [
            chosen.data.eq(out),
            chosen.first.eq(out_first),
            chosen.last.eq(out_last),
            chosen_header.eq(out_header),
            chosen_valid.eq(out_valid),
            self.o.valid.eq(chosen_valid),
            self.o.payload.eq(chosen),
        ]
        with m.If(chosen_header != 0):
            m.d.sync += self.o.payload.data.eq(header_octet)

        job = self.job.payload
        m.d.comb += [
            self.tx_bank.eq(reply.bank),
            job.encrypt.eq(1),
            job.slot.eq(key_slot(reply.bank, 1)),
            job.aes256.eq(keys.aes256),
            job.nonce.eq(Cat(octets_of(keys.salt_out), octets_of(sequence))),
            job.aad_long.eq(keys.esn),
            job.octets.eq(cipher_octets),
            # No m.If on a part of the payload: its constant bits would be lost in simulation, as
            # Verilog never runs an `always @*` that reads nothing.
            job.aad.eq(
                Cat(
                    octets_of(spi),
                    Mux(
                        keys.esn,
                        Cat(octets_of(sequence)),
                        Cat(octets_of(sequence[:32]), Const(0, 32)),
                    ),
                )
            ),
        ]

        m.d.sync += [self.commit.eq(0), self.discard.eq(0)]
        plain_last = Signal(6)
        udp_last = Signal(6)
        m.d.sync += [plain_last.eq(cipher_octets - 1), udp_last.eq(udp_octets - 1)]

        # The plaintext: UDP header, payload, padding 1, 2, ..., pad length, next header.
        plain_at = Signal(6)
        plain_octet = Signal(8)
        udp_octet = table(udp, 8, plain_at[:3])
        in_udp = plain_at < UDP.octets
        with m.If(in_udp):
            m.d.comb += plain_octet.eq(udp_octet)
        with m.Elif(plain_at < udp_octets):
            m.d.comb += plain_octet.eq(reply.payload[:8])
        with m.Elif(plain_at == plain_last):
            m.d.comb += plain_octet.eq(headers.PROTOCOL_UDP)
        with m.Elif(plain_at == plain_last - 1):
            m.d.comb += plain_octet.eq(pad_octets)
        with m.Else():
            m.d.comb += plain_octet.eq(plain_at - udp_octets + 1)
        # Behind a register: from here it goes to the engine, or into a frame in clear.
        m.submodules.plain = plain = SkidBuffer(8)
        plain_takes = Signal()
        m.d.comb += [plain.i.payload.eq(plain_octet), plain_takes.eq(plain.i.valid & plain.i.ready)]
        with m.If(plain_takes):
            m.d.sync += plain_at.eq(plain_at + 1)
            with m.If(~in_udp):
                m.d.sync += reply.payload.eq(reply.payload >> 8)

        tag = Signal(128)
        has_tag = Signal()
        m.d.comb += self.tag.ready.eq(1)
        with m.If(self.tag.valid):
            m.d.sync += [tag.eq(self.tag.payload), has_tag.eq(1)]
        sent = Signal(6)

        def emit(octet, last=0):
            return [out_valid.eq(1), out.eq(octet), out_last.eq(last)]

        headers_out = {
            "ethernet": ethernet,
            "arp": arp,
            "ipv4": ipv4,
            "outer udp": outer_udp,
            "esp": esp,
        }
        header_octets_now = Array(Signal(8, name=f"octet_{n}") for n in range(1 + len(headers_out)))
        for now, octets in zip(header_octets_now[1:], headers_out.values(), strict=True):
            m.d.sync += now.eq(table(octets, 8, at))
        m.d.comb += header_octet.eq(header_octets_now[chosen_header])
        ip_word = table(ip_words, 16, at[:4])
        udp_word = table(udp_words, 16, at[:4])

        def emit_header(name, following, last=0):
            """Sends a header, then goes on with state `following`."""
            is_end = at == len(headers_out[name]) - 1
            number = [*headers_out].index(name) + 1
            m.d.comb += [*emit(0, last=is_end & last), out_header.eq(number)]
            m.d.sync += at.eq(at + 1)
            with m.If(is_end):
                m.d.sync += at.eq(0)
                m.next = following

        stays = Signal()  # the bank, since the reply has its number
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.reply.ready.eq(self.room)
                m.d.sync += [at.eq(0), total.eq(0), carry.eq(0), plain_at.eq(0)]
                m.d.sync += [has_tag.eq(0), sent.eq(0)]
                with m.If(self.reply.valid & self.room):
                    m.d.sync += reply.eq(self.reply.payload)
                    m.next = "lengths"
            with m.State("lengths"):
                m.d.sync += at.eq(at + 1)
                with m.If(at == 4):
                    m.d.sync += at.eq(0)
                    m.next = "ip sum"
                    with m.If(kind == ReplyKind.ARP):
                        m.next = "ethernet"
                    with m.Elif(is_protected & (~keys.receives | keys.tx_exhausted)):
                        m.next = "idle"
            with m.State("ip sum"):
                m.d.comb += [next_adds.eq(1), next_word.eq(ip_word)]
                m.d.sync += at.eq(at + 1)
                with m.If(at == len(ip_words) - 1):
                    m.next = "ip carry"
            with m.State("ip carry"):
                m.d.comb += next_adds.eq(1)
                m.next = "ip summed"
            with m.State("ip summed"):
                m.d.sync += [sums["ip"].eq(added), total.eq(0), carry.eq(0), at.eq(0)]
                m.next = "udp sum"
            with m.State("udp sum"):
                m.d.comb += [next_adds.eq(1), next_word.eq(udp_word)]
                m.d.sync += at.eq(at + 1)
                with m.If(at == len(udp_words) - 1):
                    m.d.sync += at.eq(0)
                    m.next = "payload sum"
            with m.State("payload sum"):
                m.d.comb += [
                    next_adds.eq(1),
                    next_word.eq(Cat(reply.payload[8:16], reply.payload[:8])),
                ]
                m.d.sync += [
                    at.eq(at + 1),
                    reply.payload.eq(reply.payload.rotate_right(16)),
                ]
                with m.If(at == PAYLOAD_OCTETS // 2 - 1):
                    m.d.sync += at.eq(0)
                    m.next = "udp carry"
            with m.State("udp carry"):
                m.d.comb += next_adds.eq(1)
                m.next = "udp summed"
            with m.State("udp summed"):
                m.d.sync += [sums["udp"].eq(added)]
                m.next = "number"
                with m.If(kind == ReplyKind.CLEAR):
                    m.next = "ethernet"
            with m.State("number"):
                m.d.sync += [sequence.eq(keys.tx_sequence), spi.eq(keys.spi_out), stays.eq(1)]
                m.next = "idle"
                with m.If(keys.receives & ~keys.tx_exhausted):
                    m.d.comb += self.tx_stb.eq(1)
                    m.next = "ethernet"
            with m.State("ethernet"):
                m.d.comb += out_first.eq(at == 0)
                with m.If(kind == ReplyKind.ARP):
                    emit_header("ethernet", "arp")
                with m.Else():
                    emit_header("ethernet", "ipv4")
            with m.State("arp"):
                emit_header("arp", "done", last=1)
            with m.State("ipv4"):
                with m.Switch(kind):
                    with m.Case(ReplyKind.ESP):
                        emit_header("ipv4", "esp")
                    with m.Case(ReplyKind.ESP_IN_UDP):
                        emit_header("ipv4", "outer udp")
                    with m.Default():
                        emit_header("ipv4", "clear")
            with m.State("outer udp"):
                emit_header("outer udp", "esp")
            with m.State("clear"):
                is_end = sent == udp_last
                m.d.comb += [plain.i.valid.eq(plain_at != udp_octets), plain.o.ready.eq(1)]
                with m.If(plain.o.valid):
                    m.d.comb += emit(plain.o.payload, last=is_end)
                    m.d.sync += sent.eq(sent + 1)
                    with m.If(is_end):
                        m.next = "done"
            with m.State("esp"):
                emit_header("esp", "job")
            with m.State("job"):
                m.d.comb += self.job.valid.eq(1)
                with m.If(self.job.ready):
                    m.next = "text"
            with m.State("text"):
                m.d.comb += [
                    plain.i.valid.eq(plain_at != cipher_octets),
                    self.text.valid.eq(plain.o.valid),
                    self.text.payload.eq(plain.o.payload),
                    plain.o.ready.eq(self.text.ready),
                    self.ciphertext.ready.eq(1),
                ]
                with m.If(self.ciphertext.valid):
                    m.d.comb += emit(self.ciphertext.payload)
                    m.d.sync += sent.eq(sent + 1)
                    with m.If(sent == plain_last):
                        m.next = "icv"
            with m.State("icv"):
                with m.If(has_tag):
                    is_end = at == headers.ESP_ICV_OCTETS - 1
                    m.d.comb += emit(tag[:8], last=is_end)
                    m.d.sync += [tag.eq(tag >> 8), at.eq(at + 1)]
                    with m.If(is_end):
                        m.next = "done"
            with m.State("done"):
                # With the frame's last octet, which is in the second rank now.
                m.d.sync += [
                    self.commit.eq(stays | ~is_protected),
                    self.discard.eq(~(stays | ~is_protected)),
                ]
                m.next = "idle"
        with m.If(~keys.receives):
            m.d.sync += stays.eq(0)
        return m
