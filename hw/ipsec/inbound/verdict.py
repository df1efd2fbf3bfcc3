"""The verdict over each inbound packet: ICVs, windows, and what stood in it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.inbound.job import Pending
from hw.ipsec.inbound.plain import Decision, Finding
from hw.ipsec.layouts import APPLIED_BITS, EPOCH_BITS
from hw.stream import OctetSignature
from spec.counters import COUNTER_COUNT, Counter
from spec.sa import ALL_BANKS

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
    prove_stb, prove_bank, prove_octets : out
        A packet was authenticated under this bank, and the octets that count for its lifetime.
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
    banks: In(data.ArrayLayout(BankLife, ALL_BANKS))
    window_recheck: Out(1)
    window_update: Out(1)
    window_outer: Out(1)
    window_bank: Out(range(ALL_BANKS))
    window_esn: Out(1)
    window_sequence: Out(32)
    window_high: Out(32)
    window_taken: In(1)
    window_done: In(1)
    window_old: In(1)
    window_duplicate: In(1)
    prove_stb: Out(1)
    prove_bank: Out(range(ALL_BANKS))
    prove_octets: Out(APPLIED_BITS)
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
        octet_at = Signal(range(_TAG_OCTETS + 1))
        tag, tag_valid, zero = Signal(8), Signal(), Signal()
        icv, icv_valid = Signal(8), Signal()
        place, takes = Signal(), Signal()
        is_whole = octet_at[-1]
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
            place.eq(~is_whole & (~tag_valid | icv_valid | zero)),
            takes.eq(place & Cat(asks & source.valid for asks, source in sources).any()),
            *(source.ready.eq(asks & place) for asks, source in sources),
            self.icv.ready.eq(~icv_valid | (tag_valid & ~zero)),
        ]
        with m.If(compares):
            m.d.sync += tag_valid.eq(0)
        with m.If(takes):
            m.d.sync += tag_valid.eq(1)
        with m.If(place):
            for asks, source in sources:
                with m.If(asks):
                    m.d.sync += tag.eq(source.payload)
            m.d.sync += zero.eq(packet.sha_1 & ~asks_outer & (octet_at >= _SHA_1_OCTETS))
        with m.If(takes):
            m.d.sync += octet_at.eq(octet_at + 1)
        with m.If(is_whole):
            m.d.sync += [
                octet_at.eq(0),
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
            self.prove_octets.eq(packet.applied_octets),
        ]

        found = self.finding.payload
        good = Signal()
        meta = self.decision.payload.meta
        m.d.comb += [
            self.decision.payload.good.eq(good),
            meta.protected.eq(~packet.clear),
            *(
                meta[name].eq(packet[name])
                for name in (
                    *("administrator", "bank", "epoch", "token", "encapsulated", "v6", "tags"),
                )
            ),
            meta.inner_v6.eq(found.inner_v6),
            meta.octets.eq(found.octets),
        ]

        # One packet after the other; one flip-flop for each state.
        given = self.pending.payload
        idle, compares_all, rechecks, waits = Signal(init=1), Signal(), Signal(), Signal()
        updates, looks, decides = Signal(), Signal(), Signal()
        begins, compared, answered, updated = Signal(), Signal(), Signal(), Signal()
        is_new = ~(self.window_old | self.window_duplicate)
        m.d.comb += [
            self.pending.ready.eq(idle),
            self.window_recheck.eq(rechecks),
            # The window of a bank is loaded anew only long after the bank stopped to receive. So
            # what is asked of it in the cycle that learns so does no harm.
            self.window_update.eq(updates),
            self.decision.valid.eq(decides),
            self.finding.ready.eq(decides & self.decision.ready),
            begins.eq(idle & self.pending.valid),
            compared.eq(
                compares_all
                & ~(asks_outer | asks_main | asks_cipher | tag_valid)
                & self.finding.valid
            ),
            answered.eq(waits & self.window_done),
            updated.eq(updates & stays & self.window_taken & ~outer),
            self.prove_stb.eq(updated),
        ]
        gone = Signal()
        m.d.comb += gone.eq((compared & ~packet.clear & ~stays) | (updates & ~stays))
        wrong = {
            Counter.DROP_UNKNOWN_SPI: gone,
            Counter.DROP_REPLAY_OLD: answered & self.window_old,
            Counter.DROP_REPLAY_DUPLICATE: answered & ~self.window_old & self.window_duplicate,
            Counter.DROP_ICV: answered & is_new & ~outer & differs,
            Counter.DROP_PADDING: looks & ~found.padding_ok,
            Counter.DROP_DUMMY: looks & found.padding_ok & found.dummy,
            Counter.DROP_NEXT_HEADER: looks & found.padding_ok & ~found.dummy & ~found.next_ok,
            Counter.DROP_SELECTOR: looks
            & found.padding_ok
            & ~found.dummy
            & found.next_ok
            & ~found.selector_ok,
        }
        m.d.sync += [
            idle.eq((idle & ~self.pending.valid) | (decides & self.decision.ready)),
            compares_all.eq(begins | (compares_all & ~compared)),
            rechecks.eq(
                (rechecks & ~self.window_taken)
                | (compared & ~packet.clear & stays)
                | (answered & is_new & outer)
            ),
            waits.eq((waits & ~self.window_done) | (rechecks & self.window_taken)),
            updates.eq((updates & stays & ~updated) | (answered & is_new & ~outer & ~differs)),
            looks.eq(updated),
            decides.eq(
                (decides & ~self.decision.ready)
                | (compared & packet.clear)
                | gone
                | (answered & ~(is_new & (outer | ~differs)))
                | looks
            ),
            *(self.count[why].eq(is_so) for why, is_so in wrong.items()),
        ]
        with m.If(idle):
            m.d.sync += [packet.eq(given), differs.eq(0), good.eq(1)]
        with m.If(begins):
            m.d.sync += [
                asks_outer.eq(given.both),
                asks_main.eq(~given.both & ~given.clear & ~given.by_cipher),
                asks_cipher.eq(~given.both & ~given.clear & given.by_cipher),
            ]
        # Rechecks and updates go to the outer window first, where there is one.
        with m.If(compares_all | (answered & ~outer)):
            m.d.sync += outer.eq(packet.both)
        with m.Elif(answered | (updates & self.window_taken)):
            m.d.sync += outer.eq(0)
        with m.If(
            gone
            | (answered & ~(is_new & (outer | ~differs)))
            | (looks & ~(found.padding_ok & ~found.dummy & found.next_ok & found.selector_ok))
        ):
            m.d.sync += good.eq(0)
        return m
