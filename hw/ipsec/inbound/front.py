"""The front of the inbound path: which SA, and the cheap checks, before any engine has work."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.inbound.job import InboundJob
from hw.ipsec.layouts import (
    APPLIED_BITS,
    BANK_WORDS,
    EPOCH_BITS,
    BankWord,
    Cipher,
    InboundSa,
    Protocol,
    SuiteView,
    TakenKind,
    TakenMeta,
)
from spec import headers
from spec.counters import COUNTER_COUNT, Counter
from spec.headers import AH, ESP, GCM_IV, UDP
from spec.sa import ALL_BANKS, SaFlag

__all__ = ["InboundFront"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12
_CBC_OCTETS = 16
_PADDING_OCTETS = 4
_HIGH_OCTETS = 4
_TEXT_MIN_OCTETS = 4
_SETTLE_CYCLES = 3
_WORDS = (
    BankWord.SPI_IN,
    BankWord.AH_SPI_IN,
    BankWord.SUITE,
    BankWord.FLAGS,
    BankWord.SALT_IN,
)
"""Read of the bank, one a cycle."""
_READ_CYCLES = 2


def _ah_words(icv_octets: int) -> int:
    """AH's length field (RFC 4302 2.2)."""
    return (AH.octets + icv_octets) // 4 - 2


class InboundFront(wiring.Component):
    """Finds the SA of one taken packet after another, and refuses what can be refused at once.

    A job about 24 cycles after `meta` was taken (9 more where there is AH around ESP), later while
    the verdict uses the window. The bank that the classifier found is read from the records; if it
    is another SA by now, the SPI is unknown. The checks, each with its counter, in this
    order: SPI, the SPI of ESP in AH, protocol, AH's length and reserved field, ESP's length, the
    window of AH around ESP, the main window. Lengths of AH: ICV and no padding (IPv4 only), or
    padded to a multiple of eight (Linux pads so on IPv4 as well); the padding is covered by the
    ICV as it is. A message in clear is not checked.

    Attributes
    ----------
    meta : stream of TakenMeta, in
    receives, epoch : array of Signal, in
        Of each bank.
    read_stb, read_address, read_data : Signal
        To the banks' records, as in `BankRecords`.
    job : stream of InboundJob, out
        One for each packet, refused ones included, in order.
    window_stb, window_outer, window_bank, window_esn, window_sequence : out
        A check that is wanted of the window; stable until `window_taken`.
    window_done, window_high, window_old, window_duplicate : in
        Its answer, with `window_done`.
    count : Signal, out
        One strobe for each packet that is refused.

    Source: RFC 4303 3.4, RFC 4302 2.2, 2.3, 3.4, RFC 4543 4 with erratum 3643.
    """

    meta: In(stream.Signature(TakenMeta))
    receives: In(ALL_BANKS)
    epoch: In(data.ArrayLayout(EPOCH_BITS, ALL_BANKS))
    read_stb: Out(1)
    read_address: Out(range(ALL_BANKS * BANK_WORDS))
    read_data: In(32)
    job: Out(stream.Signature(InboundJob))
    window_stb: Out(1)
    window_outer: Out(1)
    window_bank: Out(range(ALL_BANKS))
    window_esn: Out(1)
    window_sequence: Out(32)
    window_taken: In(1)
    window_done: In(1)
    window_high: In(32)
    window_old: In(1)
    window_duplicate: In(1)
    count: Out(COUNTER_COUNT)

    def elaborate(self, platform):
        m = Module()
        meta = Signal(TakenMeta)
        bank = Signal(range(ALL_BANKS))
        # Held from the lookup on: the SAD may change meanwhile, but not the shape of a packet.
        view = Signal(InboundSa)
        suite = view.suite
        receives, epoch = Signal(), Signal(EPOCH_BITS)

        # Kinds, a cycle behind `meta` and `view`; of a message in clear there is no SA.
        clear = Signal()
        is_ah, both, ah_alone, gmac = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            is_ah.eq(meta.kind == TakenKind.AH),
            both.eq(~clear & (suite.protocol == Protocol.BOTH)),
            ah_alone.eq(~clear & (suite.protocol == Protocol.AH)),
            gmac.eq(suite.cipher == Cipher.GMAC),
        ]

        # Lengths, rank by rank; `meta` and `view` do not change meanwhile.
        ah_octets, overhead = Signal(6), Signal(6)
        words_are_right = Signal()
        least = Signal(4)
        tight, padded = Signal(8), Signal(8)
        with m.If(both):
            m.d.comb += [tight.eq(_ah_words(16)), padded.eq(_ah_words(20))]
        with m.Elif(gmac):
            m.d.comb += [tight.eq(_ah_words(24)), padded.eq(_ah_words(28))]
        with m.Elif(suite.sha_1):
            m.d.comb += [tight.eq(_ah_words(12)), padded.eq(_ah_words(12))]
        with m.Else():
            m.d.comb += [tight.eq(_ah_words(16)), padded.eq(_ah_words(20))]
        with m.Switch(suite.cipher):
            with m.Case(Cipher.GCM, Cipher.GMAC):
                m.d.sync += overhead.eq(ESP.octets + GCM_IV.octets + _TAG_OCTETS)
            with m.Case(Cipher.CBC):
                base = ESP.octets + _CBC_OCTETS
                m.d.sync += overhead.eq(Mux(suite.sha_1, base + _SHA_1_OCTETS, base + _TAG_OCTETS))
            with m.Default():
                m.d.sync += overhead.eq(
                    Mux(suite.sha_1, ESP.octets + _SHA_1_OCTETS, ESP.octets + _TAG_OCTETS)
                )
        is_padded = Signal()
        m.d.sync += [
            is_padded.eq((meta.ah_words == padded) & (padded != tight)),
            words_are_right.eq((meta.ah_words == padded) | (~meta.v6 & (meta.ah_words == tight))),
            ah_octets.eq(Mux(is_ah, (meta.ah_words[:4] + 2) << 2, 0)),
            least.eq(Mux(both, _TEXT_MIN_OCTETS, UDP.octets)),
        ]
        rest, text, all_octets = Signal(12), Signal(12), Signal(11)
        m.d.sync += [
            rest.eq(meta.octets - ah_octets),
            text.eq(rest - overhead),
            all_octets.eq(meta.octets + meta.header_octets),
        ]
        fits, text_is_right, esp_inside = Signal(), Signal(), Signal()
        cipher_octets = Signal(11)
        is_aligned, is_enough = Signal(), Signal()
        with m.If(suite.cipher == Cipher.CBC):
            m.d.comb += [is_aligned.eq(text[:4] == 0), is_enough.eq(text[4:11].any())]
        with m.Else():
            m.d.comb += [is_aligned.eq(text[:2] == 0), is_enough.eq(text[2:11].any())]
        m.d.sync += [
            esp_inside.eq(meta.ah_next == headers.PROTOCOL_ESP),
            fits.eq(words_are_right & ~rest[11] & (rest[:11] >= least)),
            # What remains of a packet that is too short is below zero.
            text_is_right.eq(~rest[11] & ~text[11] & is_aligned & is_enough),
        ]
        with m.Switch(suite.cipher):
            with m.Case(Cipher.CBC):
                m.d.sync += cipher_octets.eq(text + _CBC_OCTETS)
            with m.Case(Cipher.GMAC):
                with m.If(ah_alone):
                    m.d.sync += cipher_octets.eq(all_octets + Mux(view.esn, _HIGH_OCTETS, 0))
                with m.Else():
                    m.d.sync += cipher_octets.eq(text + GCM_IV.octets)
            with m.Default():
                m.d.sync += cipher_octets.eq(text)

        # AH covers the whole packet, and the half of the number that is not in it.
        applied_octets = Signal(APPLIED_BITS)
        m.d.sync += applied_octets.eq(
            Mux(ah_alone, all_octets + Mux(view.esn, _HIGH_OCTETS, 0), text)
        )

        main_hit, ah_hit, inner_hit = Signal(), Signal(), Signal()
        m.d.sync += [
            main_hit.eq(view.spi_in == meta.spi),
            ah_hit.eq(view.ah_spi_in == meta.spi),
            inner_hit.eq(view.spi_in == meta.esp_spi),
        ]
        main_counts, ah_counts = Signal(), Signal()
        known = Signal()
        m.d.sync += [
            main_counts.eq(receives & (is_ah == (suite.protocol == Protocol.AH))),
            ah_counts.eq(receives & is_ah & (suite.protocol == Protocol.BOTH)),
        ]
        m.d.comb += known.eq((main_counts & main_hit) | (ah_counts & ah_hit))

        # What is wrong with the shape, the last rank.
        wrong_inside, wrong_protocol, wrong_ah, wrong_text = (Signal() for _ in range(4))
        m.d.sync += [
            wrong_inside.eq(both & is_ah & fits & esp_inside & ~inner_hit),
            wrong_protocol.eq(both & ~(is_ah & esp_inside)),
            wrong_ah.eq(is_ah & (~fits | meta.ah_reserved)),
            wrong_text.eq(~ah_alone & ~text_is_right),
        ]

        refused = Signal()
        outer = Signal()  # the window that is asked
        high, outer_high = Signal(32), Signal(32)
        sequence = Mux(both, meta.esp_sequence, meta.sequence)
        m.d.comb += [
            self.window_outer.eq(outer),
            self.window_bank.eq(bank),
            self.window_esn.eq(view.esn),
            self.window_sequence.eq(Mux(outer, meta.sequence, sequence)),
        ]
        job = self.job.payload
        m.d.comb += [
            job.refused.eq(refused),
            job.clear.eq(clear),
            job.bank.eq(bank),
            job.epoch.eq(epoch),
            job.token.eq(meta.token),
            job.encapsulated.eq(meta.encapsulated),
            job.v6.eq(meta.v6),
            job.tags.eq(meta.tags),
            job.ah.eq(is_ah),
            job.both.eq(both),
            job.cipher.eq(suite.cipher),
            job.aes256.eq(suite.aes256),
            job.sha_1.eq(suite.sha_1),
            job.esn.eq(view.esn),
            job.tunnel.eq(view.tunnel & ~clear),
            job.administrator.eq(view.administrator & ~clear),
            job.next_header.eq(meta.ah_next),
            job.header_octets.eq(meta.header_octets),
            job.padded.eq(is_padded),
            job.cipher_octets.eq(cipher_octets),
            job.applied_octets.eq(applied_octets),
            job.spi.eq(view.spi_in),
            job.salt.eq(view.salt_in),
            job.iv.eq(meta.iv),
            job.sequence.eq(sequence),
            job.high.eq(high),
            job.outer_sequence.eq(meta.sequence),
            job.outer_high.eq(outer_high),
        ]
        with m.If(clear):
            m.d.comb += job.text_octets.eq(meta.octets)
        with m.Elif(ah_alone):
            m.d.comb += job.text_octets.eq(rest)
        with m.Else():
            m.d.comb += job.text_octets.eq(text)

        # One flip-flop for each state.
        idle, clears, matches, knows = Signal(init=1), Signal(), Signal(), Signal()
        reads = Signal(len(_WORDS) + _READ_CYCLES)
        settles = Signal(_SETTLE_CYCLES)
        shapes, asks, waits, gives = Signal(), Signal(), Signal(), Signal()
        taken, unknown, answered = Signal(), Signal(), Signal()
        is_clear = self.meta.payload.kind == TakenKind.CLEAR
        is_wrong = wrong_inside | wrong_protocol | wrong_ah | wrong_text
        is_new = ~(self.window_old | self.window_duplicate)
        m.d.comb += [
            self.meta.ready.eq(idle),
            self.window_stb.eq(asks),
            self.job.valid.eq(gives),
            taken.eq(idle & self.meta.valid),
            unknown.eq(knows & ~known),
            answered.eq(waits & self.window_done),
        ]
        wrong = {
            Counter.DROP_UNKNOWN_SPI: unknown | (shapes & wrong_inside),
            Counter.DROP_PROTOCOL: shapes & ~wrong_inside & wrong_protocol,
            Counter.DROP_AH_LENGTH: shapes & ~wrong_inside & ~wrong_protocol & wrong_ah,
            Counter.DROP_ESP_LENGTH: shapes
            & ~(wrong_inside | wrong_protocol | wrong_ah)
            & wrong_text,
            Counter.DROP_REPLAY_OLD: answered & self.window_old,
            Counter.DROP_REPLAY_DUPLICATE: answered & ~self.window_old & self.window_duplicate,
        }
        m.d.sync += [
            idle.eq((idle & ~self.meta.valid) | (gives & self.job.ready)),
            clears.eq(taken & is_clear),
            reads.eq(Cat(taken & ~is_clear, reads)),
            matches.eq(reads[-1]),
            knows.eq(matches),
            settles.eq(Cat(knows & known, settles)),
            shapes.eq(settles[-1]),
            asks.eq(
                (asks & ~self.window_taken) | (shapes & ~is_wrong) | (answered & is_new & outer)
            ),
            waits.eq((waits & ~self.window_done) | (asks & self.window_taken)),
            gives.eq(
                (gives & ~self.job.ready)
                | clears
                | unknown
                | (shapes & is_wrong)
                | (answered & ~(is_new & outer))
            ),
            *(self.count[why].eq(is_so) for why, is_so in wrong.items()),
        ]
        with m.If(idle):
            m.d.sync += [meta.eq(self.meta.payload), clear.eq(is_clear), refused.eq(0)]
            m.d.sync += bank.eq(self.meta.payload.bank)
        # Whether the bank receives is looked at when all of it was read: what is read of one that
        # receives does not change. That it received then stays: the bank may be another SA's later.
        with m.If(reads[-1]):
            m.d.sync += [receives.eq(self.receives.bit_select(bank, 1)), epoch.eq(self.epoch[bank])]
        for n, which in enumerate(_WORDS):
            with m.If(reads[n]):
                m.d.comb += [self.read_stb.eq(1), self.read_address.eq(Cat(Const(which, 5), bank))]
            with m.If(reads[n + _READ_CYCLES]):
                match which:
                    case BankWord.SUITE:
                        m.d.sync += view.suite.eq(self.read_data[: SuiteView.size])
                    case BankWord.FLAGS:
                        m.d.sync += [
                            view.esn.eq((self.read_data & SaFlag.ESN).any()),
                            view.tunnel.eq((self.read_data & SaFlag.TUNNEL).any()),
                            view.administrator.eq((self.read_data & SaFlag.ADMINISTRATOR).any()),
                        ]
                    case BankWord.SPI_IN:
                        m.d.sync += view.spi_in.eq(self.read_data)
                    case BankWord.AH_SPI_IN:
                        m.d.sync += view.ah_spi_in.eq(self.read_data)
                    case BankWord.SALT_IN:
                        m.d.sync += view.salt_in.eq(self.read_data)
        with m.If(unknown | (shapes & is_wrong) | (answered & ~is_new)):
            m.d.sync += refused.eq(1)
        # The window of AH around ESP first.
        with m.If(shapes):
            m.d.sync += outer.eq(both)
        with m.If(answered):
            m.d.sync += outer.eq(0)
            with m.If(outer):
                m.d.sync += outer_high.eq(self.window_high)
            with m.Else():
                m.d.sync += high.eq(self.window_high)
        return m
