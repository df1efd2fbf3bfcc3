"""Sequence numbers are reserved in non-volatile memory before they are used."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from spec.registers import BY_NAME
from spec.sa import ALL_BANKS, SaFlag
from spec.store import BLOCK_BITS, BODY_WORDS, NUMBER_WORDS

__all__ = ["NUMBERS", "TAKERS", "SequenceReserve"]

NUMBERS = 4
"""Numbers of a bank: Cat(outbound, outer), in the order of NUMBER_WORDS."""
_BANK = range(ALL_BANKS)
_ONES = (1 << BLOCK_BITS) - 1
_FLAGS_WORD = (BY_NAME["STAGE_FLAGS"].address - BY_NAME["STAGE_SPI_IN"].address) // 4

TAKERS = {
    "ask_stb": In(1),
    "ask_bank": In(_BANK),
    "ask_outer": In(1),
    "ask_number": In(64),
    "ask_done": Out(1),
    "send_stb": In(1),
    "send_bank": In(_BANK),
    "send_go": Out(1),
    "send_refused": Out(1),
    "sent_stb": In(1),
    "sent_taken": In(1),
    "sent_both": In(1),
    "sent_number": In(64),
    "sent_outer_number": In(64),
}
"""Ports of those who use numbers: the inbound path, and the reply builder before the SAD."""


class SequenceReserve(Component):
    """Knows for each number of each bank up to where it is reserved, and has that moved in time.

    A *limit* is the last number that may be used; all limits end a block of 2 ** BLOCK_BITS. Of a
    bank that is not `kept`, no record can come back after a loss of power, and limits follow what
    is used. Of one that is, no number beyond its limit is used, inbound or outbound, and a limit
    moves only with `raised_stb`, which says that the new one is in non-volatile memory.
    `SEC: STORE.RESERVE_BEFORE_USE`.

    A raise goes: `wanted` for a bank; `begin_stb`; `ready`, from when on the new limits are given
    word by word and do not change; `raised_stb` or `dropped_stb`. It moves the limit of each number
    that has come into its last block by one block, or to the block behind that of an inbound
    number that was beyond it. The first raise of a bank moves its outbound limits in any case, and
    until then a kept bank sends nothing: so nothing is sent before its record is safe, and after
    power-on numbers begin behind all that were reserved before.

    No limit passes the last number there is, with or without ESN.

    Attributes
    ----------
    stage_stb, stage_bank, stage_index, stage_data : Signal, in
        A word of a bank's record, staged by the agent or come back from the memory. Limits begin at
        the end of the block of the staged number.
    wipe : Signal, in
        For each bank, strobe: it was emptied.
    kept : Signal, in
        For each bank, level: its limits hold. Rises at `begin_stb` of its first raise or before.
    hopeless : Signal, in
        For each bank, level: the memory has failed, so who waits is refused.
    ask_stb, ask_bank, ask_outer, ask_number : Signal, in; ask_done : Signal, out
        Level: an inbound number is about to be accepted; strobe: it is reserved.
    send_stb, send_bank : Signal, in; send_go, send_refused : Signal, out
        Level: a reply wants the next outbound numbers. It goes on to who gives them; or, as a
        strobe, it gets none.
    sent_stb : Signal, in
        Strobe, with `send_go`: these numbers were given; `sent_taken` if so, else none was left.
    sent_taken, sent_both, sent_number, sent_outer_number : Signal, in
        They stay until the next `send_go`. `sent_both`: the outer number counts.
    wanted : Signal, out
        For each bank, level: a raise is to be begun.
    begin_stb, begin_bank : Signal, in
        Begins a raise, where `busy` is 0.
    busy, ready : Signal, out; raised_stb, dropped_stb : Signal, in
        A raise goes on, until some cycles after its end; one strobe ends it, `raised_stb` only
        while `ready`. That its bank is emptied ends it as well.
    word_index : Signal, in; is_number, word : Signal, out
        Of the new limits; two cycles later.
    """

    def __init__(self):
        super().__init__(
            {
                "stage_stb": In(1),
                "stage_bank": In(_BANK),
                "stage_index": In(range(BODY_WORDS)),
                "stage_data": In(32),
                "wipe": In(ALL_BANKS),
                "kept": In(ALL_BANKS),
                "hopeless": In(ALL_BANKS),
                **TAKERS,
                "wanted": Out(ALL_BANKS),
                "begin_stb": In(1),
                "begin_bank": In(_BANK),
                "busy": Out(1),
                "ready": Out(1),
                "raised_stb": In(1),
                "dropped_stb": In(1),
                "word_index": In(range(BODY_WORDS)),
                "is_number": Out(1),
                "word": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.limits = limits = Memory(
            shape=64,
            depth=ALL_BANKS * NUMBERS,
            init=[],
            attrs={"ram_style": "distributed"},
        )
        m.submodules.new_limits = new_limits = Memory(
            shape=64, depth=NUMBERS, init=[], attrs={"ram_style": "distributed"}
        )
        write, read = limits.write_port(granularity=32), limits.read_port(domain="comb")
        put, get = new_limits.write_port(), new_limits.read_port(domain="comb")
        fresh = Signal(ALL_BANKS, init=(1 << ALL_BANKS) - 1)
        esn = Signal(ALL_BANKS)
        wants = [Signal(NUMBERS, name=f"wants_{n}") for n in _BANK]
        spent = [Signal(NUMBERS, name=f"spent_{n}") for n in _BANK]
        m.d.sync += self.wanted.eq(self.kept & Cat(fresh[n] | wants[n].any() for n in _BANK))

        # Staged words go in at once; everything else waits for them.
        half, which, is_staged = Signal(), Signal(range(NUMBERS)), Signal()
        with m.Switch(self.stage_index):
            for n, index in enumerate(NUMBER_WORDS):
                with m.Case(index):
                    m.d.comb += [half.eq(n % 2), which.eq(n // 2), is_staged.eq(self.stage_stb)]
        with m.If(self.stage_stb & (self.stage_index == _FLAGS_WORD)):
            m.d.sync += esn.bit_select(self.stage_bank, 1).eq((self.stage_data & SaFlag.ESN).any())
        moves, new_limit = Signal(), Signal(64)
        where = Signal(range(ALL_BANKS * NUMBERS))
        with m.If(is_staged):
            m.d.comb += [
                write.addr.eq(Cat(which, self.stage_bank)),
                write.data.eq(Cat(self.stage_data | _ONES, self.stage_data)),
                write.en.eq(Mux(half, 0b01, 0b10)),
            ]
        with m.Else():
            m.d.comb += [
                write.addr.eq(where),
                write.data.eq(new_limit | _ONES),
                write.en.eq(moves.replicate(2)),
            ]

        # The gate before whoever counts the outbound numbers.
        in_flight, sent, sent_outer = Signal(), Signal(), Signal()
        of_send = Signal()
        may_send = Signal(ALL_BANKS)
        sending_bank = Signal(_BANK)
        m.d.comb += [
            may_send.eq(~self.kept | ~(fresh | Cat(spent[n].any() for n in _BANK))),
            of_send.eq(may_send.bit_select(self.send_bank, 1)),
            self.send_go.eq(self.send_stb & ~sent & (in_flight | of_send)),
            self.send_refused.eq(
                self.send_stb
                & ~sent
                & ~in_flight
                & ~of_send
                & self.hopeless.bit_select(self.send_bank, 1)
            ),
        ]
        with m.If(self.send_go & ~in_flight):
            m.d.sync += [in_flight.eq(1), sending_bank.eq(self.send_bank)]
        with m.If(self.sent_stb):
            m.d.sync += [in_flight.eq(0), sent.eq(self.sent_taken), sent_outer.eq(0)]

        # One number after another beside its limit.
        number, limit = Signal(64), Signal(64)
        outbound, outer = Signal(), Signal()
        bank = Signal(_BANK)
        begins, raises, begun = Signal(), Signal(), Signal()
        raise_bank = Signal(_BANK)
        at = Signal(range(NUMBERS))
        beyond, is_last_block, is_end, is_top = (Signal() for _ in range(4))
        m.d.comb += [read.addr.eq(where), self.busy.eq(begun)]
        m.d.sync += [limit.eq(read.data), self.ask_done.eq(0)]
        with m.If(self.begin_stb):
            m.d.sync += [begins.eq(1), raise_bank.eq(self.begin_bank), begun.eq(1)]
        with m.If(self.raised_stb & self.ready):
            m.d.sync += [raises.eq(1), self.ready.eq(0)]
        with m.If(self.dropped_stb):
            m.d.sync += [begun.eq(0), begins.eq(0), self.ready.eq(0)]

        still = Signal()  # the same number is asked for since it was taken up
        with m.If(~self.ask_stb):
            m.d.sync += still.eq(0)
        jumps, jump_bank, jump_outer = Signal(), Signal(_BANK), Signal()
        jump = Signal(64)
        of_kept = Signal()
        base = Signal(64)
        moving = Signal(NUMBERS)
        wants_here = Array(wants)[raise_bank]
        here = Signal(NUMBERS)
        m.d.comb += [
            here.eq(1 << Cat(outbound, outer)),
            get.addr.eq(at),
            put.addr.eq(at),
        ]
        m.d.sync += of_kept.eq(self.kept.bit_select(bank, 1))
        with m.FSM(name="reserve"):
            with m.State("idle"):
                m.d.sync += at.eq(0)
                with m.If(raises):
                    m.d.sync += where.eq(Cat(Const(0, 2), raise_bank))
                    m.next = "move"
                with m.Elif(sent):
                    m.d.sync += [
                        outbound.eq(1),
                        outer.eq(sent_outer),
                        bank.eq(sending_bank),
                        number.eq(Mux(sent_outer, self.sent_outer_number, self.sent_number)),
                        where.eq(Cat(Const(1, 1), sent_outer, sending_bank)),
                    ]
                    m.next = "read"
                with m.Elif(begins & ~in_flight & ~self.send_go):
                    m.d.sync += where.eq(Cat(Const(0, 2), raise_bank))
                    m.next = "base"
                with m.Elif(self.ask_stb & ~self.ask_done):
                    m.d.sync += [
                        still.eq(1),
                        outbound.eq(0),
                        outer.eq(self.ask_outer),
                        bank.eq(self.ask_bank),
                        number.eq(self.ask_number),
                        where.eq(Cat(Const(0, 1), self.ask_outer, self.ask_bank)),
                    ]
                    m.next = "read"
            with m.State("read"):
                m.next = "compare"
            with m.State("compare"):
                m.d.sync += [
                    beyond.eq(number[BLOCK_BITS:] > limit[BLOCK_BITS:]),
                    is_last_block.eq(number[BLOCK_BITS:] == limit[BLOCK_BITS:]),
                    is_end.eq(number[:BLOCK_BITS].all()),
                    is_top.eq(limit[:32].all() & (limit[32:].all() | ~esn.bit_select(bank, 1))),
                ]
                m.next = "decide"
            with m.State("decide"):
                follows = beyond & (outbound | ~of_kept)
                m.d.comb += [moves.eq(follows), new_limit.eq(number)]
                with m.If(~is_staged | ~follows):
                    m.next = "idle"
                    with m.If(is_last_block & of_kept & ~is_top):
                        _set(m, wants, bank, here)
                        with m.If(outbound & is_end):
                            _set(m, spent, bank, here)
                    with m.If(outbound):
                        m.d.sync += [sent.eq(self.sent_both & ~outer), sent_outer.eq(1)]
                    with m.Else():
                        with m.If(~beyond | ~of_kept):
                            m.d.sync += self.ask_done.eq(still & self.ask_stb)
                        with m.Else():
                            _set(m, wants, bank, here)
                            m.d.sync += [
                                jumps.eq(1),
                                jump_bank.eq(bank),
                                jump_outer.eq(outer),
                                jump.eq(number),
                            ]
            # New limits, one after another.
            with m.State("base"):
                m.next = "add"
                with m.If(~begins):
                    m.next = "idle"
            with m.State("add"):
                of_jump = jumps & (jump_bank == raise_bank) & (at == Cat(Const(0, 1), jump_outer))
                m.d.sync += base.eq(Mux(of_jump & (jump > limit), jump, limit) | _ONES)
                m.next = "put"
                with m.If(~begins):
                    m.next = "idle"
            with m.State("put"):
                top = base[:32].all() & (base[32:].all() | ~esn.bit_select(raise_bank, 1))
                wished = (fresh.bit_select(raise_bank, 1) & at[0]) | wants_here.bit_select(at, 1)
                m.d.comb += [
                    put.en.eq(1),
                    put.data.eq(Cat(Const(_ONES, BLOCK_BITS), base[BLOCK_BITS:] + (wished & ~top))),
                ]
                m.d.sync += [
                    moving.bit_select(at, 1).eq(wished),
                    at.eq(at + 1),
                    where.eq(where + 1),
                ]
                m.next = "base"
                with m.If(~begins):
                    m.next = "idle"
                with m.Elif(at == NUMBERS - 1):
                    m.d.sync += [begins.eq(0), self.ready.eq(~self.dropped_stb)]
                    m.next = "idle"
            # They are in the memory: now they hold.
            with m.State("move"):
                m.d.comb += [moves.eq(raises), new_limit.eq(get.data)]
                with m.If(~raises):
                    m.next = "idle"
                with m.Elif(~is_staged):
                    m.d.sync += [at.eq(at + 1), where.eq(where + 1)]
                    with m.If(at == NUMBERS - 1):
                        m.d.sync += [raises.eq(0), begun.eq(0)]
                        m.d.sync += fresh.bit_select(raise_bank, 1).eq(0)
                        for n in _BANK:
                            with m.If(raise_bank == n):
                                m.d.sync += [
                                    wants[n].eq(wants[n] & ~moving),
                                    spent[n].eq(spent[n] & ~moving),
                                ]
                        with m.If(jump_bank == raise_bank):
                            m.d.sync += jumps.eq(0)
                        m.next = "idle"
        for n in _BANK:
            with m.If(self.wipe[n]):
                m.d.sync += [fresh[n].eq(1), wants[n].eq(0), spent[n].eq(0)]
                with m.If(jump_bank == n):
                    m.d.sync += jumps.eq(0)
                with m.If(begun & (raise_bank == n)):
                    m.d.sync += [begins.eq(0), raises.eq(0), begun.eq(0), self.ready.eq(0)]

        # Words of the new limits, while no others are made.
        w_at, w_half, w_is = Signal(range(NUMBERS)), Signal(), Signal()
        with m.Switch(self.word_index):
            for n, index in enumerate(NUMBER_WORDS):
                with m.Case(index):
                    m.d.comb += [w_at.eq(n // 2), w_half.eq(n % 2), w_is.eq(1)]
        with m.If(self.ready):
            m.d.comb += get.addr.eq(w_at)
        m.d.sync += [
            self.is_number.eq(w_is),
            self.word.eq(Mux(w_half, get.data[:32], get.data[32:])),
        ]
        return m


def _set(m, flags, bank, bits):
    for n in _BANK:
        with m.If(bank == n):
            m.d.sync += flags[n].eq(flags[n] | bits)
