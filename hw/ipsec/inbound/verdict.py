"""The verdict over each inbound packet: ICVs, windows, and what stood in it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.inbound.job import Pending
from hw.ipsec.inbound.plain import Decision, Finding
from hw.ipsec.layouts import EPOCH_BITS
from hw.stream import OctetSignature
from spec.counters import COUNTER_COUNT, Counter
from spec.sa import BANKS

__all__ = ["BankLife", "InboundVerdict"]

_TAG_OCTETS = 16
_SHA_1_OCTETS = 12

BankLife = data.StructLayout({"receives": 1, "epoch": EPOCH_BITS})
"""Whether packets are verified under a bank, and which of its lives this is."""


class InboundVerdict(wiring.Component):
    """Decides over one packet after another, in their order.

    ICV meets tag octet by octet, in 16 cycles each; then it waits for what the plaintext path
    found. About 14 cycles more, 26 with AH around ESP, and it has decided: the windows are looked
    at again, for another copy of the packet may have passed meanwhile. Windows move, and the bank
    is proven, only when all ICVs were right and all windows say yes. Then come padding, dummy, next
    header and selectors.

    `SEC: ESP.ICV_CONSTANT_TIME`: all octets of all ICVs of a packet are compared, whichever
    differ, and nothing hangs on the outcome before.

    A bank that has stopped to receive since its packet came, whether or not it receives again under
    another SA, takes the packet with it.

    Attributes
    ----------
    pending, icv : streams, in
        From the feeder.
    cipher_tag, main_tag, outer_tag : streams, in
    finding : stream of Finding, in
    decision : stream of Decision, out
    banks : array of BankLife, in
    window_recheck, window_update, window_outer, window_bank, window_esn, window_sequence,
    window_high : out
        An operation that is wanted of the window; stable until `window_taken`.
    window_done, window_old, window_duplicate : in
    prove_stb, prove_bank : out
        A packet was authenticated under this bank.
    count : Signal, out
        One strobe for each packet that is dropped.

    Source: RFC 4303 3.4.3, 3.4.4, RFC 4302 3.4.3, 3.4.4.
    """

    pending: In(stream.Signature(Pending))
    icv: In(OctetSignature())
    cipher_tag: In(OctetSignature())
    main_tag: In(OctetSignature())
    outer_tag: In(OctetSignature())
    finding: In(stream.Signature(Finding))
    decision: Out(stream.Signature(Decision))
    banks: In(data.ArrayLayout(BankLife, BANKS))
    window_recheck: Out(1)
    window_update: Out(1)
    window_outer: Out(1)
    window_bank: Out(range(BANKS))
    window_esn: Out(1)
    window_sequence: Out(32)
    window_high: Out(32)
    window_taken: In(1)
    window_done: In(1)
    window_old: In(1)
    window_duplicate: In(1)
    prove_stb: Out(1)
    prove_bank: Out(range(BANKS))
    count: Out(COUNTER_COUNT)

    def elaborate(self, platform):
        m = Module()
        packet = Signal(Pending)
        stays = Signal()
        life = self.banks[packet.bank]
        m.d.sync += stays.eq(life.receives & (life.epoch == packet.epoch))

        # ICV against tag, octet by octet, that of AH around ESP first; all octets of both whatever
        # they are. An ICV of 12 octets is followed by zeros, as its tag is. An octet of either
        # waits in a register for that of the other.
        asks_outer, asks_main, asks_cipher = Signal(), Signal(), Signal()
        octet_at = Signal(range(_TAG_OCTETS))
        tag, tag_valid, zero = Signal(8), Signal(), Signal()
        icv, icv_valid = Signal(8), Signal()
        place, takes, takes_last = Signal(), Signal(), Signal()
        compares = Signal()
        difference, difference_stb = Signal(8), Signal()
        differs = Signal()
        sources = (
            (asks_outer, self.outer_tag),
            (asks_main, self.main_tag),
            (asks_cipher, self.cipher_tag),
        )
        m.d.comb += [
            compares.eq(tag_valid & (icv_valid | zero)),
            place.eq(~tag_valid | icv_valid | zero),
            takes.eq(place & Cat(asks & source.valid for asks, source in sources).any()),
            takes_last.eq(takes & (octet_at == _TAG_OCTETS - 1)),
            *(source.ready.eq(asks & place) for asks, source in sources),
            self.icv.ready.eq(~icv_valid | (tag_valid & ~zero)),
        ]
        with m.If(place):
            for asks, source in sources:
                with m.If(asks):
                    m.d.sync += tag.eq(source.payload)
            m.d.sync += [
                tag_valid.eq(takes),
                zero.eq(packet.sha_1 & ~asks_outer & (octet_at >= _SHA_1_OCTETS)),
            ]
        with m.If(takes):
            m.d.sync += octet_at.eq(octet_at + 1)
        with m.If(takes_last):
            m.d.sync += [
                asks_outer.eq(0),
                asks_main.eq(asks_outer & ~packet.by_cipher),
                asks_cipher.eq(asks_outer & packet.by_cipher),
            ]
        with m.If(self.icv.ready):
            m.d.sync += [icv.eq(self.icv.payload), icv_valid.eq(self.icv.valid)]
        m.d.sync += [
            difference.eq(Mux(zero, 0, icv) ^ tag),
            difference_stb.eq(compares),
            differs.eq(differs | (difference_stb & difference.any())),
        ]

        outer = Signal()  # the window that is asked
        m.d.comb += [
            self.window_outer.eq(outer),
            self.window_bank.eq(packet.bank),
            self.window_esn.eq(packet.esn),
            self.window_sequence.eq(Mux(outer, packet.outer_sequence, packet.sequence)),
            self.window_high.eq(Mux(outer, packet.outer_high, packet.high)),
            self.prove_bank.eq(packet.bank),
        ]

        found = self.finding.payload
        good = Signal()
        meta = self.decision.payload.meta
        m.d.comb += [
            self.decision.payload.good.eq(good),
            meta.protected.eq(~packet.clear),
            *(
                meta[name].eq(packet[name])
                for name in ("bank", "epoch", "token", "encapsulated", "v6", "tags")
            ),
            meta.inner_v6.eq(found.inner_v6),
            meta.octets.eq(found.octets),
        ]

        m.d.sync += self.count.eq(0)

        def drop(why):
            m.d.sync += [good.eq(0), self.count[why].eq(1)]
            m.next = "DECIDE"

        given = self.pending.payload
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.pending.ready.eq(1)
                m.d.sync += [
                    packet.eq(given),
                    differs.eq(0),
                    good.eq(1),
                ]
                with m.If(self.pending.valid):
                    m.d.sync += [
                        asks_outer.eq(given.both),
                        asks_main.eq(~given.both & ~given.clear & ~given.by_cipher),
                        asks_cipher.eq(~given.both & ~given.clear & given.by_cipher),
                    ]
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += outer.eq(packet.both)
                with m.If(~(asks_outer | asks_main | asks_cipher | tag_valid) & self.finding.valid):
                    with m.If(packet.clear):
                        m.next = "DECIDE"
                    with m.Elif(~stays):
                        drop(Counter.DROP_UNKNOWN_SPI)
                    with m.Else():
                        m.next = "RECHECK"
            with m.State("RECHECK"):
                m.d.comb += self.window_recheck.eq(1)
                with m.If(self.window_taken):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                with m.If(self.window_done):
                    with m.If(self.window_old):
                        drop(Counter.DROP_REPLAY_OLD)
                    with m.Elif(self.window_duplicate):
                        drop(Counter.DROP_REPLAY_DUPLICATE)
                    with m.Elif(outer):
                        m.d.sync += outer.eq(0)
                        m.next = "RECHECK"
                    with m.Elif(differs):
                        drop(Counter.DROP_ICV)
                    with m.Else():
                        m.d.sync += outer.eq(packet.both)
                        m.next = "UPDATE"
            with m.State("UPDATE"):
                # The window of a bank is loaded anew only long after the bank stopped to receive.
                # So what is asked of it in the cycle that learns so does no harm.
                m.d.comb += self.window_update.eq(1)
                with m.If(~stays):
                    drop(Counter.DROP_UNKNOWN_SPI)
                with m.Elif(self.window_taken):
                    m.d.sync += outer.eq(0)
                    with m.If(~outer):
                        m.d.comb += self.prove_stb.eq(1)
                        m.next = "INSIDE"
            with m.State("INSIDE"):
                m.next = "DECIDE"
                with m.If(~found.padding_ok):
                    drop(Counter.DROP_PADDING)
                with m.Elif(found.dummy):
                    drop(Counter.DROP_DUMMY)
                with m.Elif(~found.next_ok):
                    drop(Counter.DROP_NEXT_HEADER)
                with m.Elif(~found.selector_ok):
                    drop(Counter.DROP_SELECTOR)
            with m.State("DECIDE"):
                m.d.comb += self.decision.valid.eq(1)
                with m.If(self.decision.ready):
                    m.d.comb += self.finding.ready.eq(1)
                    m.next = "IDLE"
        return m
