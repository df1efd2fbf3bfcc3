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

    It waits for the packet's ICVs, for all its tags and for what the plaintext path found. A wrong
    ICV is decided on five cycles after the last of these; a right one takes about 12 cycles more,
    24 with AH around ESP, for the windows are looked at again: another copy of the packet may have
    passed meanwhile. Windows move, and the bank is proven, only when all ICVs were right and all
    windows say yes. Then come padding, dummy, next header and selectors.

    `SEC: ESP.ICV_CONSTANT_TIME`: all bits of all ICVs of a packet are compared in one step,
    whichever differ.

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
    cipher_tag: In(stream.Signature(128))
    main_tag: In(stream.Signature(128))
    outer_tag: In(stream.Signature(128))
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

        # The ICVs come as octets: that of AH around ESP first. One of 12 octets is followed by
        # zeros, as its tag is.
        main_icv, outer_icv = Signal(128), Signal(128)
        icv_at = Signal(range(_TAG_OCTETS + 1))
        in_outer = Signal()
        shifts, zero = Signal(), Signal()
        icv_octet = Signal(8)
        m.d.comb += [
            zero.eq(packet.sha_1 & ~in_outer & (icv_at >= _SHA_1_OCTETS)),
            icv_octet.eq(Mux(zero, 0, self.icv.payload)),
        ]
        with m.If(shifts & in_outer):
            m.d.sync += outer_icv.eq(Cat(outer_icv[8:], icv_octet))
        with m.If(shifts & ~in_outer):
            m.d.sync += main_icv.eq(Cat(main_icv[8:], icv_octet))

        # Two bits of each difference a register, then all of them.
        main_tag = Mux(packet.by_cipher, self.cipher_tag.payload, self.main_tag.payload)
        main_differs, outer_differs = Signal(64), Signal(64)
        main_is_right, outer_is_right = Signal(), Signal()
        main_xor, outer_xor = Signal(128), Signal(128)
        m.d.comb += [
            main_xor.eq(main_icv ^ main_tag),
            outer_xor.eq(outer_icv ^ self.outer_tag.payload),
        ]
        m.d.sync += [
            main_differs.eq(Cat(main_xor[2 * n : 2 * n + 2].any() for n in range(64))),
            outer_differs.eq(Cat(outer_xor[2 * n : 2 * n + 2].any() for n in range(64))),
            main_is_right.eq(~main_differs.any()),
            outer_is_right.eq(~packet.both | ~outer_differs.any()),
        ]
        has_all = Signal()
        m.d.comb += has_all.eq(
            Mux(packet.by_cipher, self.cipher_tag.valid, self.main_tag.valid)
            & (~packet.both | self.outer_tag.valid)
            & self.finding.valid
        )

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
        icv_is_right = Signal()
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
                    icv_at.eq(0),
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
                    self.icv.ready.eq(~zero),
                    shifts.eq(self.icv.valid | zero),
                ]
                with m.If(shifts):
                    m.d.sync += icv_at.eq(icv_at + 1)
                    with m.If(icv_at == _TAG_OCTETS - 1):
                        m.d.sync += [icv_at.eq(0), in_outer.eq(0)]
                        with m.If(~in_outer):
                            m.next = "TAG"
            with m.State("TAG"):
                with m.If(has_all):
                    m.d.comb += [
                        self.cipher_tag.ready.eq(packet.by_cipher),
                        self.main_tag.ready.eq(~packet.by_cipher),
                        self.outer_tag.ready.eq(packet.both),
                    ]
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += outer.eq(packet.both)
                m.next = "COMPARED"
            with m.State("COMPARED"):
                with m.If(~stays):
                    drop(Counter.DROP_UNKNOWN_SPI)
                with m.Else():
                    m.next = "RECHECK"
                m.d.sync += icv_is_right.eq(main_is_right & outer_is_right)
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
                    with m.Elif(~icv_is_right):
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
