"""ESP inbound: from a taken packet to a message that passed every check, or to one drop counter."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.crypto import gcm_job_layout
from hw.headers import HeaderCapture, octets_of
from hw.ipsec.sad import BankKeys, key_slot
from hw.net.classifier import TakenKind, TakenMeta
from hw.stream import OctetSignature, PacketSignature
from spec import headers
from spec.counters import COUNTER_COUNT, Counter
from spec.headers import ESP, GCM_IV, UDP
from spec.sa import BANKS

__all__ = ["EspInbound", "MessageMeta"]

_OVERHEAD = ESP.octets + GCM_IV.octets + headers.ESP_ICV_OCTETS
_CIPHERTEXT_MIN = 12
"""A UDP header and the ESP trailer, on a multiple of four (RFC 4303 2.4)."""

MessageMeta = data.StructLayout(
    {
        "kind": TakenKind,
        "bank": range(BANKS),
        "octets": 11,
        "mac": 48,
        "ip": 32,
        "outer_port": 16,
        "port": 16,
    }
)
"""Of a message for the command engine: how it came, the bank that authenticated it (unless CLEAR),
its octets, and its sender's MAC, IPv4 address, outer UDP port (ESP in UDP) and UDP port."""


class EspInbound(wiring.Component):
    """Verifies one packet after another and lets its plaintext out only if all checks passed.

    A packet of n octets of ciphertext takes about 85 + n cycles with AES-256 (docs/packet_walk.md
    has what is measured). The checks, each with its counter, in order: SPI, length,
    anti-replay window, ICV, padding, next header, selectors. The window moves and the bank is
    proven only after the ICV was right. `SEC: ESP.NOTHING_BEFORE_VERDICT`: plaintext goes to
    `plain`, a commit FIFO, and `plain_commit` is raised only here and only in the verdict.
    `SEC: ESP.ICV_CONSTANT_TIME`: all 128 bits are compared in one step.

    A message that came in clear (`TakenKind.CLEAR`) is copied and released without a bank.

    Attributes
    ----------
    meta, i : streams, in
        Of taken packets; `i` holds at least the octets that `meta` says.
    job, text, plaintext, tag
        To and from the GCM engine.
    plain, plain_commit, plain_discard, plain_lost
        To and from the commit FIFO.
    message, message_room : MessageMeta, out; Signal, in
        Given with `plain_commit`, where there is room: the FIFO holds `octets` octets of message
        and then padding to be thrown away.
    window_*, prove_* : Signal
        To the anti-replay window and the SAD.
    count : Signal, out
        At most one strobe for a packet: the reason it was dropped for.

    Source: RFC 4303 3.4, RFC 4106 3 to 5.
    """

    def __init__(self):
        super().__init__(
            {
                "meta": In(stream.Signature(TakenMeta)),
                "i": In(PacketSignature()),
                "keys": In(data.ArrayLayout(BankKeys, BANKS)),
                "job": Out(stream.Signature(gcm_job_layout(slots=2 * BANKS))),
                "text": Out(OctetSignature()),
                "plaintext": In(OctetSignature()),
                "tag": In(stream.Signature(128)),
                "plain": Out(PacketSignature()),
                "plain_commit": Out(1),
                "plain_discard": Out(1),
                "plain_lost": In(1),
                "message": Out(MessageMeta),
                "message_room": In(1),
                "window_bank": Out(range(BANKS)),
                "window_esn": Out(1),
                "window_sequence": Out(32),
                "window_check_stb": Out(1),
                "window_update_stb": Out(1),
                "window_busy": In(1),
                "window_high": In(32),
                "window_old": In(1),
                "window_duplicate": In(1),
                "prove_stb": Out(1),
                "prove_bank": Out(range(BANKS)),
                "count": Out(COUNTER_COUNT),
            }
        )

    def elaborate(self, platform):
        m = Module()
        esp = HeaderCapture(ESP, ("spi", "sequence"))
        iv = HeaderCapture(GCM_IV, ("iv",))
        udp = HeaderCapture(UDP, ("source_port", "destination_port", "octets"))

        meta = Signal(TakenMeta)
        at = Signal(4)
        bank = Signal(range(BANKS))
        known = Signal()
        keys = self.keys[bank]
        ciphertext = Signal(11)
        length_is_good = Signal()
        finished = Signal()  # the packet's last octet was taken from `i`

        def reading(state_stb):
            return state_stb & self.i.valid

        takes_esp, takes_iv, takes_icv = Signal(), Signal(), Signal()
        esp.capture(m, stb=reading(takes_esp), index=at, octet=self.i.payload.data)
        iv.capture(m, stb=reading(takes_iv), index=at, octet=self.i.payload.data)
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += finished.eq(1)

        m.d.sync += [
            ciphertext.eq(meta.octets - _OVERHEAD),
            length_is_good.eq(
                (meta.octets >= _OVERHEAD + _CIPHERTEXT_MIN) & (meta.octets[:2] == 0)
            ),
        ]

        # A bank that goes while its packet is under way takes the packet with it.
        stays = Signal()
        with m.If(~keys.receives):
            m.d.sync += stays.eq(0)

        m.d.comb += [
            self.window_bank.eq(bank),
            self.window_esn.eq(keys.esn),
            self.window_sequence.eq(esp.sequence),
            self.prove_bank.eq(bank),
        ]
        job = self.job.payload
        sequence_octets = octets_of(esp.sequence)
        high_octets = octets_of(self.window_high)
        m.d.comb += [
            job.encrypt.eq(0),
            job.slot.eq(key_slot(bank, 0)),
            job.aes256.eq(keys.aes256),
            job.nonce.eq(Cat(octets_of(keys.salt_in), octets_of(iv.iv))),
            job.aad_long.eq(keys.esn),
            job.octets.eq(ciphertext),
        ]
        spi_octets = octets_of(esp.spi)
        with m.If(keys.esn):
            m.d.comb += job.aad.eq(Cat(spi_octets, high_octets, sequence_octets))
        with m.Else():
            m.d.comb += job.aad.eq(Cat(spi_octets, sequence_octets))

        # The plaintext on its way: UDP header captured, the rest to the commit FIFO; behind it the
        # last two octets (trailer), and how many octets before them count 1, 2, 3 ...
        position = Signal(11)
        left, text_left = Signal(11), Signal(11)
        last_octet, pad_octets, run = Signal(8), Signal(8), Signal(8)
        in_udp = Signal()
        arrives = Signal()
        m.d.comb += [
            self.plaintext.ready.eq(1),
            arrives.eq(self.plaintext.valid),
            in_udp.eq(position < UDP.octets),
        ]
        udp.capture(m, stb=arrives & in_udp, index=position, octet=self.plaintext.payload)
        clear_copy = Signal()
        with m.If(arrives):
            m.d.sync += [
                position.eq(position + 1),
                left.eq(left - 1),
                last_octet.eq(self.plaintext.payload),
                pad_octets.eq(last_octet),
            ]
            with m.If(pad_octets == (run + 1)[:8]):
                m.d.sync += run.eq(pad_octets)
            with m.Elif(pad_octets == 1):
                m.d.sync += run.eq(1)
            with m.Else():
                m.d.sync += run.eq(0)
        m.d.sync += self.plain.valid.eq(0)
        with m.If(arrives & ~in_udp):
            m.d.sync += [
                self.plain.valid.eq(1),
                self.plain.payload.data.eq(self.plaintext.payload),
                self.plain.payload.first.eq(position == UDP.octets),
                self.plain.payload.last.eq(left == 1),
            ]
        with m.Elif(clear_copy & self.i.valid):
            m.d.sync += [
                self.plain.valid.eq(1),
                self.plain.payload.data.eq(self.i.payload.data),
                self.plain.payload.first.eq(self.i.payload.first),
                self.plain.payload.last.eq(self.i.payload.last),
            ]

        icv = Signal(128)
        icv_at = Signal(5)
        with m.If(reading(takes_icv)):
            m.d.sync += [icv.eq(Cat(icv[8:], self.i.payload.data)), icv_at.eq(icv_at + 1)]
        tag = Signal(128)
        has_tag = Signal()
        with m.If(self.tag.valid & self.tag.ready):
            m.d.sync += [tag.eq(self.tag.payload), has_tag.eq(1)]
        m.d.comb += self.tag.ready.eq(1)
        differences = Signal(128)
        icv_is_right = Signal()
        m.d.sync += [differences.eq(icv ^ tag), icv_is_right.eq(differences == 0)]

        inner, untrailed = Signal(11), Signal(11)
        padding_is_good, is_udp, selected = Signal(), Signal(), Signal()
        m.d.sync += [
            untrailed.eq(ciphertext - headers.ESP_TRAILER_OCTETS),
            inner.eq(untrailed - pad_octets),
            padding_is_good.eq(
                (pad_octets <= untrailed) & ((pad_octets == 0) | (pad_octets == run))
            ),
            is_udp.eq(last_octet == headers.PROTOCOL_UDP),
            selected.eq(
                (inner >= UDP.octets)
                & (udp.octets == inner)
                & (udp.destination_port == headers.PORT_RMCP_SECURED)
            ),
        ]

        message = self.message
        m.d.comb += [
            message.kind.eq(meta.kind),
            message.bank.eq(bank),
            message.mac.eq(meta.mac),
            message.ip.eq(meta.ip),
            message.outer_port.eq(meta.port),
        ]
        is_clear = meta.kind == TakenKind.CLEAR
        with m.If(is_clear):
            m.d.comb += [message.octets.eq(meta.octets), message.port.eq(meta.port)]
        with m.Else():
            m.d.comb += [message.octets.eq(inner - UDP.octets), message.port.eq(udp.source_port)]

        def drop(counter):
            return [self.count[counter].eq(1), self.plain_discard.eq(1)]

        wait = Signal(2)
        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.meta.ready.eq(1)
                m.d.sync += [at.eq(0), finished.eq(0), icv_at.eq(0), has_tag.eq(0), wait.eq(0)]
                m.d.sync += [position.eq(0), run.eq(0), last_octet.eq(0), pad_octets.eq(0)]
                with m.If(self.meta.valid):
                    m.d.sync += meta.eq(self.meta.payload)
                    m.next = "esp header"
                    with m.If(self.meta.payload.kind == TakenKind.CLEAR):
                        m.next = "clear"
            with m.State("clear"):
                m.d.comb += [clear_copy.eq(1), self.i.ready.eq(1)]
                with m.If(self.i.valid & self.i.payload.last):
                    m.next = "clear settle"
            with m.State("clear settle"):
                m.d.sync += wait.eq(wait + 1)
                with m.If(wait == 2):
                    m.next = "clear verdict"
            with m.State("clear verdict"):
                m.next = "idle"
                with m.If(self.plain_lost | ~self.message_room):
                    m.d.comb += drop(Counter.DROP_OVERLOAD)
                with m.Else():
                    m.d.comb += self.plain_commit.eq(1)
            with m.State("esp header"):
                m.d.comb += [takes_esp.eq(1), self.i.ready.eq(1)]
                with m.If(self.i.valid):
                    m.d.sync += at.eq(at + 1)
                    with m.If((at == ESP.octets - 1) | self.i.payload.last):
                        m.d.sync += at.eq(0)
                        m.next = "lookup"
            with m.State("lookup"):
                hits = Signal(BANKS)
                m.d.comb += hits.eq(Cat(k.receives & (k.spi_in == esp.spi) for k in self.keys))
                m.d.sync += [known.eq(hits.any()), bank.eq(hits[1])]
                m.next = "check"
            with m.State("check"):
                m.d.sync += stays.eq(known & keys.receives)
                with m.If(known & length_is_good & ~self.window_busy):
                    m.d.comb += self.window_check_stb.eq(1)
                    m.next = "iv"
                with m.Elif(~known):
                    m.d.comb += drop(Counter.DROP_UNKNOWN_SPI)
                    m.next = "drain"
                with m.Elif(~length_is_good):
                    m.d.comb += drop(Counter.DROP_ESP_LENGTH)
                    m.next = "drain"
            with m.State("iv"):
                m.d.comb += [takes_iv.eq(1), self.i.ready.eq(1)]
                with m.If(self.i.valid):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at == GCM_IV.octets - 1):
                        m.d.sync += at.eq(0)
                        m.next = "window"
            with m.State("window"):
                with m.If(self.window_old):
                    m.d.comb += drop(Counter.DROP_REPLAY_OLD)
                    m.next = "drain"
                with m.Elif(self.window_duplicate):
                    m.d.comb += drop(Counter.DROP_REPLAY_DUPLICATE)
                    m.next = "drain"
                with m.Else():
                    m.d.sync += [left.eq(ciphertext), text_left.eq(ciphertext)]
                    m.next = "job"
            with m.State("job"):
                m.d.comb += self.job.valid.eq(1)
                with m.If(self.job.ready):
                    m.next = "text"
            with m.State("text"):
                m.d.comb += [
                    self.text.payload.eq(self.i.payload.data),
                    self.text.valid.eq(self.i.valid),
                    self.i.ready.eq(self.text.ready),
                ]
                with m.If(self.i.valid & self.text.ready):
                    m.d.sync += text_left.eq(text_left - 1)
                    with m.If(text_left == 1):
                        m.next = "icv"
            with m.State("icv"):
                m.d.comb += [takes_icv.eq(1), self.i.ready.eq(1)]
                with m.If(self.i.valid & (icv_at == headers.ESP_ICV_OCTETS - 1)):
                    m.next = "tag"
            with m.State("tag"):
                # Two ranks of comparison, and two for the trailer, behind the tag.
                with m.If(has_tag):
                    m.d.sync += wait.eq(wait + 1)
                    with m.If(wait == 3):
                        m.next = "verdict"
            with m.State("verdict"):
                m.next = "drain"
                with m.If(~stays):
                    m.d.comb += drop(Counter.DROP_UNKNOWN_SPI)
                with m.Elif(~icv_is_right):
                    m.d.comb += drop(Counter.DROP_ICV)
                with m.Else():
                    m.d.comb += [self.window_update_stb.eq(1), self.prove_stb.eq(1)]
                    with m.If(~padding_is_good):
                        m.d.comb += drop(Counter.DROP_PADDING)
                    with m.Elif(~is_udp):
                        m.d.comb += drop(Counter.DROP_NEXT_HEADER)
                    with m.Elif(~selected):
                        m.d.comb += drop(Counter.DROP_SELECTOR)
                    with m.Elif(self.plain_lost | ~self.message_room):
                        m.d.comb += drop(Counter.DROP_OVERLOAD)
                    with m.Else():
                        m.d.comb += self.plain_commit.eq(1)
            with m.State("drain"):
                m.d.comb += self.i.ready.eq(~finished)
                with m.If(finished | (self.i.valid & self.i.payload.last)):
                    m.next = "idle"
        return m
