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
        # they are. An ICV of 12 octets is followed by zeros, as its tag is.
        octet_at = Signal(range(_TAG_OCTETS))
        in_outer = Signal()
        zero = Signal()
        tag, icv_octet = Signal(8), Signal(8)
        tag_valid, compares = Signal(), Signal()
        difference, difference_stb = Signal(8), Signal()
        differs = Signal()
        m.d.comb += [
            zero.eq(packet.sha_1 & ~in_outer & (octet_at >= _SHA_1_OCTETS)),
            icv_octet.eq(Mux(zero, 0, self.icv.payload)),
        ]
        for chosen, source in (
            (in_outer, self.outer_tag),
            (~in_outer & packet.by_cipher, self.cipher_tag),
            (~in_outer & ~packet.by_cipher, self.main_tag),
        ):
            with m.If(chosen):
                m.d.comb += [
                    tag.eq(source.payload),
                    tag_valid.eq(source.valid),
                    source.ready.eq(compares),
                ]
        m.d.sync += [
            difference.eq(icv_octet ^ tag),
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
        reason = Signal(range(COUNTER_COUNT))
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

        def drop(why):
            m.d.sync += [good.eq(0), reason.eq(why)]
            m.next = "DECIDE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.pending.ready.eq(1)
                m.d.sync += [
                    packet.eq(self.pending.payload),
                    in_outer.eq(self.pending.payload.both),
                    differs.eq(0),
                    good.eq(1),
                ]
                with m.If(self.pending.valid):
                    m.next = "ICV"
                    with m.If(self.pending.payload.clear):
                        m.next = "CLEAR"
            with m.State("CLEAR"):
                with m.If(self.finding.valid):
                    m.next = "DECIDE"
            with m.State("ICV"):
                m.d.comb += [
                    compares.eq(tag_valid & (self.icv.valid | zero)),
                    self.icv.ready.eq(tag_valid & ~zero),
                ]
                m.d.sync += outer.eq(packet.both)
                with m.If(compares):
                    m.d.sync += octet_at.eq(octet_at + 1)
                    with m.If(octet_at == _TAG_OCTETS - 1):
                        m.d.sync += in_outer.eq(0)
                        with m.If(~in_outer):
                            m.next = "COMPARE"
            with m.State("COMPARE"):
                with m.If(self.finding.valid):
                    m.next = "COMPARED"
            with m.State("COMPARED"):
                with m.If(~stays):
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
                with m.If(~stays):
                    drop(Counter.DROP_UNKNOWN_SPI)
                with m.Else():
                    m.d.comb += self.window_update.eq(1)
                    with m.If(self.window_taken):
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
                    m.d.comb += [
                        self.finding.ready.eq(1),
                        self.count.eq(
                            Cat(~good & (reason == number) for number in range(COUNTER_COUNT))
                        ),
                    ]
                    m.next = "IDLE"
        return m
