"""How much was sent and received under each bank, and the limits of that."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import APPLIED_BITS, LifetimeSelect, LimitWrite
from hw.lowest_set import lowest_set
from spec.sa import ALL_BANKS

__all__ = ["LIFETIME_WORDS", "BankLifetimes"]

LIFETIME_WORDS = 16
"""Words of a bank in the memory, of 32 bits."""
_BANK = range(ALL_BANKS)
_KINDS = ("SOFT", "HARD")

_Place = data.StructLayout({"low": 1, "octets": 1, "which": 1, "limit": 1})
"""Where in a bank's part of the memory a word lies: the lower word of a number, or the upper one;
of octets, or of packets; of what was sent, or received (of a limit: the hard one, or the soft
one)."""
_Step = data.StructLayout({"stb": 1, "low": 1, "octets": 1, "count": 1, "soft": 1, "hard": 1})
"""What the word is that is on its way; one of the last three."""


class BankLifetimes(wiring.Component):
    """Counts packets and octets of each bank and direction, 64 bits each, and compares with limits.

    All of it lies in one memory, and one machine goes through it: a packet takes 18 cycles, an
    emptied bank 18, a question of the bus 6. What comes first: packets received, packets sent,
    emptied banks, the bus. From one packet received to the next 24 cycles pass at least, and from
    one sent to the next 100, so one of each may wait, and none is lost.

    A limit is reached when either direction has as many packets or octets; 0 is none. `soft` and
    `hard` say so until the bank is emptied, and are told once.

    Attributes
    ----------
    write : LimitWrite, in
        A word of the limits of the staged bank.
    lost : Signal, out
        It met a word of the machine's own, and is not written.
    wipe, wiping : Signal, in, out
        Strobe for each bank: clear what is known of it. `wiping` until that is done, and from reset
        on until it was done with all.
    received_stb, received_bank, received_octets : Signal, in
        A packet was authenticated under that bank, and the algorithm was applied to so many octets.
    sent_stb, sent_bank, sent_octets : Signal, in
        The same of one that leaves.
    soft, hard : Signal, out
        For each bank.
    soft_stb, hard_stb, told_bank : Signal, out
        A limit of `told_bank` is reached, which stays until the next one is.
    select_stb, select : Signal, in; value, asked : Signal, out
        Which number the bus wants; it is in `value` once `asked` is 0.

    Source: RFC 4301 4.4.2.1.
    """

    received_stb: In(1)
    received_bank: In(_BANK)
    received_octets: In(APPLIED_BITS)
    sent_stb: In(1)
    sent_bank: In(_BANK)
    sent_octets: In(APPLIED_BITS)
    write: In(LimitWrite)
    lost: Out(1)
    wipe: In(ALL_BANKS)
    wiping: Out(ALL_BANKS, init=(1 << ALL_BANKS) - 1)
    soft: Out(ALL_BANKS)
    hard: Out(ALL_BANKS)
    soft_stb: Out(1)
    hard_stb: Out(1)
    told_bank: Out(_BANK)
    select_stb: In(1)
    select: In(LifetimeSelect)
    value: Out(64)
    asked: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=32,
            depth=ALL_BANKS * LIFETIME_WORDS,
            init=[],
            # A word is not read in the cycle in which it is written.
            attrs={"ram_style": "block", "no_rw_check": 1},
        )
        write, read = memory.write_port(), memory.read_port(domain="comb")
        latch = Signal(32, reset_less=True)
        word = Signal(32, reset_less=True)  # as the output register of block RAM is
        m.d.sync += [latch.eq(read.data), word.eq(latch)]

        # What waits.
        received, sent = Signal(), Signal()
        waiting = Signal(data.StructLayout({"bank": _BANK, "octets": APPLIED_BITS}))
        waiting_sent = Signal.like(waiting)
        m.d.sync += self.wiping.eq(self.wiping | self.wipe)
        wipes, wiped = lowest_set(m, self.wiping)

        # What is under way: one flip-flop for each state.
        idle, pauses, counts, clears, shows = Signal(init=1), Signal(), Signal(), Signal(), Signal()
        bank = Signal(_BANK)
        octets = Signal(APPLIED_BITS)
        outbound = Signal()
        hits = Signal(len(_KINDS))
        begins_received, begins_sent, begins_wipe, begins_show = (Signal() for _ in range(4))
        m.d.comb += [
            begins_received.eq(idle & received),
            begins_sent.eq(idle & sent & ~received),
            begins_wipe.eq(idle & wipes & ~received & ~sent),
            begins_show.eq(idle & self.asked & ~wipes & ~received & ~sent),
        ]
        with m.If(pauses):
            m.d.sync += [pauses.eq(0), idle.eq(1)]
        with m.If(begins_received):
            m.d.sync += [
                *(idle.eq(0), counts.eq(1), received.eq(0), outbound.eq(0)),
                *(bank.eq(waiting.bank), octets.eq(waiting.octets)),
            ]
        with m.If(begins_sent):
            m.d.sync += [
                *(idle.eq(0), counts.eq(1), sent.eq(0), outbound.eq(1)),
                *(bank.eq(waiting_sent.bank), octets.eq(waiting_sent.octets)),
            ]
        with m.If(begins_wipe):
            m.d.sync += [idle.eq(0), clears.eq(1), bank.eq(wiped)]
        with m.If(begins_show):
            m.d.sync += [idle.eq(0), shows.eq(1), bank.eq(self.select.bank)]
        with m.If(self.received_stb):
            m.d.sync += [
                received.eq(1),
                waiting.bank.eq(self.received_bank),
                waiting.octets.eq(self.received_octets),
            ]
        with m.If(self.sent_stb):
            m.d.sync += [
                sent.eq(1),
                waiting_sent.bank.eq(self.sent_bank),
                waiting_sent.octets.eq(self.sent_octets),
            ]

        # Words are asked for one a cycle: the number and its two limits, lower words and then upper
        # ones, of packets and then of octets.
        step = Signal(_Step)
        at_1, at_2 = Signal(_Step), Signal(_Step)  # `at_2`: the step whose word is in `word`
        place = Signal(_Place)
        m.d.sync += [at_1.eq(step), at_2.eq(at_1)]
        m.d.comb += [
            place.low.eq(step.low),
            place.octets.eq(Mux(shows, self.select.octets, step.octets)),
            place.which.eq(Mux(step.count, Mux(shows, self.select.outbound, outbound), step.hard)),
            place.limit.eq(~step.count),
            read.addr.eq(Cat(place, bank)),
        ]
        with m.If(idle):
            m.d.sync += [
                *(step.low.eq(1), step.octets.eq(0)),
                *(step.count.eq(1), step.soft.eq(0), step.hard.eq(0)),
                step.stb.eq(begins_received | begins_sent | begins_show),
                hits.eq(0),
            ]
        with m.If(counts):
            m.d.sync += [
                step.soft.eq(step.count),
                step.hard.eq(step.soft),
                step.count.eq(step.hard),
            ]
            with m.If(step.hard):
                m.d.sync += step.low.eq(~step.low)
                with m.If(~step.low):
                    m.d.sync += step.octets.eq(1)
                    with m.If(step.octets):
                        m.d.sync += step.stb.eq(0)
        with m.If(shows):
            m.d.sync += [step.low.eq(0), step.stb.eq(step.low)]

        # The number, one word of it after the other; it is written back a cycle after it came.
        total, carry = Signal(32), Signal()
        more = Signal(APPLIED_BITS)
        is_new = Signal()
        m.d.comb += [
            more.eq(Mux(at_2.low, Mux(at_2.octets, octets, 1), carry)),
            is_new.eq(counts & at_2.stb & at_2.count),
        ]
        with m.If(is_new):
            m.d.sync += Cat(total, carry).eq(word + more)

        # Its limits, which come in the two cycles behind it: whether it is below, which the upper
        # words decide with what the lower ones left; and whether there is one.
        below, any_bit = Signal(len(_KINDS)), Signal(len(_KINDS))
        is_below, is_any = Signal(), Signal()
        before, any_before = Signal(), Signal()
        m.d.comb += [
            before.eq(~at_2.low & Mux(at_2.hard, below[1], below[0])),
            any_before.eq(~at_2.low & Mux(at_2.hard, any_bit[1], any_bit[0])),
            is_below.eq((total - word - before)[32]),
            is_any.eq(word.any() | any_before),
        ]
        for n, came in enumerate((at_2.soft, at_2.hard)):
            with m.If(came):
                m.d.sync += [below[n].eq(is_below), any_bit[n].eq(is_any)]
        judges, judges_last = Signal(), Signal()
        decides = Signal()
        m.d.sync += [
            judges.eq(counts & at_2.stb & at_2.hard & ~at_2.low),
            judges_last.eq(counts & at_2.stb & at_2.hard & ~at_2.low & at_2.octets),
            decides.eq(judges_last),
        ]
        with m.If(judges):
            m.d.sync += hits.eq(hits | (any_bit & ~below))
        # A bank that was emptied meanwhile has no limits.
        stays = Signal()
        m.d.comb += stays.eq(decides & ~(self.wiping | self.wipe).bit_select(bank, 1))
        m.d.sync += [self.soft_stb.eq(0), self.hard_stb.eq(0)]
        for n, (reached, stb) in enumerate(
            ((self.soft, self.soft_stb), (self.hard, self.hard_stb))
        ):
            with m.If(stays & hits[n]):
                m.d.sync += [
                    reached.bit_select(bank, 1).eq(1),
                    stb.eq(~reached.bit_select(bank, 1)),
                    self.told_bank.eq(bank),
                ]
            for number in _BANK:
                with m.If(self.wipe[number]):
                    m.d.sync += reached[number].eq(0)
        with m.If(decides):
            m.d.sync += [counts.eq(0), pauses.eq(1)]

        # To the bus.
        with m.If(shows & at_2.stb):
            with m.If(at_2.low):
                m.d.sync += self.value[:32].eq(word)
            with m.Else():
                m.d.sync += [self.value[32:].eq(word), shows.eq(0), pauses.eq(1), self.asked.eq(0)]
        again = Signal()  # asked anew while the answer was on its way
        m.d.sync += again.eq(shows & (again | self.select_stb))
        with m.If(self.select_stb | again):
            m.d.sync += self.asked.eq(1)

        # The one port that writes: the machine comes first.
        index = Signal(range(LIFETIME_WORDS))
        puts, put_place = Signal(), Signal(_Place)
        m.d.sync += [
            puts.eq(is_new),
            put_place.low.eq(at_2.low),
            put_place.octets.eq(at_2.octets),
            put_place.which.eq(outbound),
        ]
        with m.If(clears):
            m.d.sync += index.eq(index + 1)
            with m.If(index.all()):
                m.d.sync += [
                    *(clears.eq(0), pauses.eq(1)),
                    self.wiping.eq((self.wiping & ~Cat(bank == n for n in _BANK)) | self.wipe),
                ]
        m.d.comb += self.lost.eq(self.write.stb & (puts | clears))
        with m.If(clears):
            m.d.comb += [write.en.eq(1), write.addr.eq(Cat(index, bank)), write.data.eq(0)]
        with m.Elif(puts):
            m.d.comb += [write.en.eq(1), write.addr.eq(Cat(put_place, bank)), write.data.eq(total)]
        with m.Else():
            m.d.comb += [
                write.en.eq(self.write.stb),
                write.addr.eq(Cat(self.write.index, Const(1, 1), self.write.bank)),
                write.data.eq(self.write.data),
            ]
        return m
