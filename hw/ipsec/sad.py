"""The SAD: contexts of two banks, what the agent may do to them, and their records and keys.

The rule it keeps: the last SA that worked is not given up until a newer one has worked.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.bank_records import BankRecords
from hw.ipsec.layouts import (
    APPLIED_BITS,
    BANK_WORDS,
    EPOCH_BITS,
    BankView,
    LifetimeSelect,
    OutboundSa,
)
from hw.ipsec.lifetimes import BankLifetimes
from hw.ipsec.sad_context import STATE_BITS, SadContext
from hw.ipsec.sad_keys import ORDERS, KeyWork
from hw.ipsec.sad_stage import StageRegisters, check_suites, key_write_layout
from spec.registers import ADDRESS_BITS, BY_NAME
from spec.rmcp import CommitResult
from spec.sa import ALL_BANKS, BANKS, CONTEXTS, BankState, SadCommand, SadResult
from spec.suites import Suite

__all__ = ["SecurityAssociationDatabase"]

_SETTLE_CYCLES = 6
"""From a write to when a command may rely upon it and upon the checks of it."""
_BANK = range(ALL_BANKS)
_CONTEXT = range(CONTEXTS)


class SecurityAssociationDatabase(wiring.Component):
    """Contexts of two banks each, moved by the gateware alone; bank n is of context n // 2.

    `SEC: SAD.INHIBIT`: no bus write reaches a PROVEN bank; only `prove` of the other bank or
    `zeroise_all` ends it. `SEC: SAD.KEY_WRITE_ONLY`: nothing here that the bus reads depends on a
    key or salt. `SEC: SAD.NO_HALF_WRITTEN`: a bank receives only after its whole layout was
    written and its keys were expanded.

    Of all contexts one bank at most is STAGED, so there is one set of registers to write to.

    Parameters
    ----------
    contexts : int
        Contexts built in, 1 to spec.sa.CONTEXTS; of others all is EMPTY for ever.
    suites : tuple of Suite
        What is built in; others are UNSUPPORTED.
    lifetimes : bool
        Count packets and octets of each bank, and mind their limits.
    ack_ms, grace_ms : int
        Acknowledge timer of a READY or ACTIVE bank, grace of a RETIRING one; milliseconds.

    Attributes
    ----------
    restored : Signal, in
        What is made READY was PROVEN before a loss of power.
    images_busy : Signal, in
        Whoever keeps what was staged is at work: no bank can be staged.
    held_stb, held_bank : Signal, out
        The write to a STAGE register a cycle ago was taken, for this bank.
    wipe : Signal, out
        For each bank, strobe: it was emptied.
    stage_stb, stage_address, stage_data : Signal, in
        A bus write (octet address), of which those to STAGE registers count.
    context : Signal, in
        SA_CONTEXT, as it is with `command_stb`.
    command_stb, command : Signal, in
        A bus write to SA_COMMAND; `result` is SA_RESULT.
    station_authorised : Signal, in
        Policy: where a bank is proven, nothing but Commit makes the other one receive, and none
        becomes an administrator's but where the proven one is (`SEC: SAD.ROLE_INHERITED`) or it was
        `restored`.
    zeroise_all : Signal, in
        Strobe or level: empties all banks.
    prove_stb, prove_bank : Signal, in
        A packet was authenticated under that bank; takes effect in the next cycle.
    prove_octets, sent_stb, sent_bank, sent_octets; soft, hard, soft_stb, hard_stb, told_bank;
    lifetime_stb, lifetime_select, lifetime, lifetime_asked
        Of the lifetimes, as in `BankLifetimes`; 0 without them.
    asked_bank : Signal, in; asked_states, asked_spis, asked_epochs : array, out
        State, inbound SPI and epoch of the banks of that bank's context, two cycles later.
    commit_stb, commit_spi, commit_result, commit_bank : Signal
        The bank of `asked_bank`'s context that a Commit names, and whether it can be active, three
        cycles after `asked_bank` and `commit_spi`; in the cycle after `commit_stb`, for which those
        two stay, that takes effect.
    states : array, out
        spec.sa.BankState of each bank.
    banks : array of BankView, out
        A cycle behind `states`.
    read_stb, read_address, read_data; send_*, sends; peer_*; load_*
        As in `BankRecords`.
    key_write, key_expand, key_zeroise, keys_busy : out, in
        To the AES store, slots as `key_slot` numbers them.
    auth_write, auth_expand, auth_zeroise, auth_busy : out, in
        To the HMAC store, slots as `auth_slot` numbers them.

    Source: docs/commit.md; RFC 4301 4.4.2.
    """

    def __init__(
        self,
        *,
        ack_ms: int,
        grace_ms: int,
        suites: tuple[Suite, ...],
        contexts: int = CONTEXTS,
        lifetimes: bool = True,
    ):
        if contexts not in range(1, CONTEXTS + 1):
            raise ValueError(f"contexts must be from 1 to {CONTEXTS}, not {contexts}")
        self._contexts = contexts
        self._ack_ms = ack_ms
        self._grace_ms = grace_ms
        self._suites = check_suites(suites)
        self._lifetimes = lifetimes
        super().__init__(
            {
                "tick_ms": In(1),
                "stage_stb": In(1),
                "stage_address": In(ADDRESS_BITS),
                "stage_data": In(32),
                "context": In(_CONTEXT),
                "command_stb": In(1),
                "command": In(32),
                "result": Out(4),
                "restored": In(1),
                "images_busy": In(1),
                "held_stb": Out(1),
                "held_bank": Out(_BANK),
                "wipe": Out(ALL_BANKS),
                "station_authorised": In(1),
                "zeroise_all": In(1),
                "states": Out(data.ArrayLayout(STATE_BITS, ALL_BANKS)),
                "banks": Out(data.ArrayLayout(BankView, ALL_BANKS)),
                "any_proven": Out(1),
                "busy": Out(1),
                "prove_stb": In(1),
                "prove_bank": In(_BANK),
                "prove_octets": In(APPLIED_BITS),
                "sent_stb": In(1),
                "sent_bank": In(_BANK),
                "sent_octets": In(APPLIED_BITS),
                "soft": Out(ALL_BANKS),
                "hard": Out(ALL_BANKS),
                "soft_stb": Out(1),
                "hard_stb": Out(1),
                "told_bank": Out(_BANK),
                "lifetime_stb": In(1),
                "lifetime_select": In(LifetimeSelect),
                "lifetime": Out(64),
                "lifetime_asked": Out(1),
                "asked_bank": In(_BANK),
                "asked_states": Out(data.ArrayLayout(STATE_BITS, BANKS)),
                "asked_spis": Out(data.ArrayLayout(32, BANKS)),
                "asked_epochs": Out(data.ArrayLayout(EPOCH_BITS, BANKS)),
                "commit_stb": In(1),
                "commit_spi": In(32),
                "commit_result": Out(8),
                "commit_bank": Out(_BANK),
                "read_stb": In(1),
                "read_address": In(range(ALL_BANKS * BANK_WORDS)),
                "read_data": Out(32),
                "send_stb": In(1),
                "send_bank": In(_BANK),
                "send_takes": In(1),
                "sends": Out(OutboundSa),
                "send_exhausted": Out(1),
                "send_done": Out(1),
                "peer_stb": Out(1),
                "peer_bank": Out(_BANK),
                "peer_v6": Out(1),
                "peer_index": Out(4),
                "peer_octet": Out(8),
                "load_stb": Out(1),
                "load_index": Out(range(2 * ALL_BANKS)),
                "load_edge": Out(64),
                "key_write": Out(key_write_layout(2 * ALL_BANKS)),
                "auth_write": Out(key_write_layout(4 * ALL_BANKS)),
                **{name: Out(layout) for name, layout in ORDERS.items()},
                "keys_busy": In(1),
                "auth_busy": In(1),
            }
        )

    @property
    def contexts(self) -> int:
        """Contexts built in."""
        return self._contexts

    @property
    def suites(self) -> tuple[Suite, ...]:
        """What is built in."""
        return self._suites

    @property
    def lifetimes(self) -> bool:
        """Whether packets and octets are counted."""
        return self._lifetimes

    @property
    def ack_ms(self) -> int:
        """Acknowledge timer in milliseconds."""
        return self._ack_ms

    @property
    def grace_ms(self) -> int:
        """Grace of a retiring bank in milliseconds."""
        return self._grace_ms

    def elaborate(self, platform):
        m = Module()
        m.submodules.stage = stage = StageRegisters(suites=self._suites)
        m.submodules.work = work = KeyWork()
        m.submodules.records = records = BankRecords()
        contexts = []
        for number in range(self._contexts):
            context = SadContext(ack_ms=self._ack_ms, grace_ms=self._grace_ms)
            m.submodules[f"context_{number}"] = context
            contexts.append(context)
        built = range(self._contexts * BANKS)

        for n in built:
            context, half = contexts[n // BANKS], n % BANKS
            view, held = self.banks[n], stage.banks[n]
            m.d.comb += [
                self.states[n].eq(context.states[half]),
                view.receives.eq(context.receives[half]),
                view.epoch.eq(context.epoch[half]),
                view.peered.eq(context.peered[half]),
                *(view[field].eq(held[field]) for field, _ in held.shape()),
            ]
        wipe = Cat(context.wipe for context in contexts)
        m.d.sync += self.any_proven.eq(Cat(context.any_proven for context in contexts).any())

        # A bank is dirty from the cycle after it was emptied until its record and slots are clear.
        dirty = Signal(ALL_BANKS, init=(1 << len(built)) - 1)
        expanding = Signal()
        any_dirty, wiping = Signal(init=1), Signal()
        still_dirty = (dirty & ~work.cleaned) | wipe
        m.d.comb += [
            self.busy.eq(expanding | any_dirty | wipe.any() | wiping | self.images_busy),
            self.wipe.eq(wipe),
        ]
        limits_wiping, limit_lost = Signal(), Signal()
        m.d.sync += [
            wiping.eq(records.wiping.any() | records.wipe.any() | limits_wiping),
            dirty.eq(still_dirty),
            any_dirty.eq(still_dirty.any()),
        ]

        has_staged = Cat(context.has_staged for context in contexts)
        any_staged, late_any_staged = Signal(), Signal()
        staged = Signal(_BANK)
        done = Signal()
        m.d.comb += any_staged.eq(has_staged.any())
        m.d.sync += late_any_staged.eq(any_staged & ~done)
        for number, context in enumerate(contexts):
            with m.If(context.has_staged):
                m.d.sync += staged.eq(BANKS * number + context.staged)

        # What is written goes to the staged bank alone.
        begins = Signal()
        opened, opens, waits = Signal(), Signal(), Signal()
        decides = Signal()  # a command may close it
        late_wipe = Signal(ALL_BANKS)
        m.d.sync += [
            opened.eq(late_any_staged & ~self.busy & ~decides),
            begins.eq(0),
            # The registers after a write that came with the last of it.
            late_wipe.eq(wipe),
        ]
        m.d.comb += [
            stage.stb.eq(self.stage_stb),
            stage.address.eq(self.stage_address),
            stage.data.eq(self.stage_data),
            stage.open.eq(opened),
            stage.bank.eq(staged),
            stage.clear.eq(begins),
            stage.wipe.eq(late_wipe),
            records.write.eq(stage.record_write),
            records.wipe.eq(late_wipe),
        ]

        if self._lifetimes:
            m.submodules.lifetimes = lifetimes = BankLifetimes()
            m.d.comb += [
                lifetimes.write.eq(stage.limit_write),
                lifetimes.wipe.eq(late_wipe),
                limits_wiping.eq(lifetimes.wiping.any()),
                limit_lost.eq(lifetimes.lost),
                lifetimes.received_stb.eq(self.prove_stb),
                lifetimes.received_bank.eq(self.prove_bank),
                lifetimes.received_octets.eq(self.prove_octets),
                lifetimes.select_stb.eq(self.lifetime_stb),
                lifetimes.select.eq(self.lifetime_select),
                self.lifetime.eq(lifetimes.value),
                self.lifetime_asked.eq(lifetimes.asked),
                *(
                    getattr(lifetimes, name).eq(getattr(self, name))
                    for name in ("sent_stb", "sent_bank", "sent_octets")
                ),
                *(
                    getattr(self, name).eq(getattr(lifetimes, name))
                    for name in ("soft", "hard", "soft_stb", "hard_stb", "told_bank")
                ),
            ]

        # First the record is checked, and windows and classifier are loaded; then the keys are
        # expanded. A dirty bank's slots are cleared before that.
        has_record = Signal()
        finished_stage = Signal()
        m.d.comb += [
            work.dirty.eq(dirty),
            work.expand.eq(expanding & has_record),
            work.bank.eq(staged),
            work.needs.eq(stage.needs),
            work.keys_busy.eq(self.keys_busy),
            work.auth_busy.eq(self.auth_busy),
            records.start.eq(expanding & ~has_record),
            records.bank.eq(staged),
            records.peer_v6.eq(stage.peer_v6),
            records.outer.eq(stage.needs.outer),
            *(
                getattr(self, name).eq(getattr(part, name))
                for part, names in (
                    (stage, ("key_write", "auth_write", "peer_v6")),
                    (work, ORDERS),
                    (
                        records,
                        (
                            *("peer_stb", "peer_bank", "peer_index", "peer_octet"),
                            *("load_stb", "load_index", "load_edge"),
                            *("sends", "send_exhausted", "send_done", "read_data"),
                        ),
                    ),
                )
                for name in names
            ),
            *(
                getattr(records, name).eq(getattr(self, name))
                for name in ("read_stb", "read_address", "send_stb", "send_bank", "send_takes")
            ),
        ]
        m.d.sync += [
            # A cycle late: no other bank begins while the record of one is checked.
            records.nonempty.eq(Cat(self.states[n] != 0 for n in built)),
            finished_stage.eq(work.expanded & expanding),
        ]
        with m.If(records.finished & expanding):
            m.d.sync += has_record.eq(records.is_free)
            with m.If(~records.is_free):
                m.d.sync += [self.result.eq(SadResult.BAD_SPI), expanding.eq(0)]
        with m.If(~expanding):
            m.d.sync += has_record.eq(0)
        m.d.comb += done.eq(finished_stage & expanding)
        with m.If(done):
            m.d.sync += [self.result.eq(SadResult.OK), expanding.eq(0)]
        closed = Signal()  # zeroised before it was open
        m.d.sync += closed.eq(opens & ~any_staged)
        with m.If((waits & ~self.busy) | (opens & (opened | closed))):
            m.d.sync += [waits.eq(0), opens.eq(0), self.result.eq(SadResult.OK)]

        # Commands of the agent: one waits until the last write is done, and the checks of it, and
        # until the banks are as they were two cycles ago, which is what is told of them here.
        by_packet, moved, was_moved, was_zeroised, decided = (Signal() for _ in range(5))
        chosen = Signal(_CONTEXT)
        is_chosen = Signal(CONTEXTS, init=1)  # the same, one flip-flop for each
        may_stage, is_staged_here, may_expand = (Signal() for _ in range(3))
        refusal = Signal.like(self.result)
        m.d.comb += [
            moved.eq(
                by_packet
                | Cat(context.expires for context in contexts).any()
                | (self.zeroise_all & ~was_zeroised)
            ),
        ]
        m.d.sync += [
            by_packet.eq(self.prove_stb | self.commit_stb),
            was_moved.eq(moved),
            was_zeroised.eq(self.zeroise_all),
            may_stage.eq(Array(context.may_stage for context in contexts)[chosen]),
            is_staged_here.eq(Array(has_staged)[chosen] & ~done),
            may_expand.eq(0),
            refusal.eq(SadResult.PENDING),
        ]
        spoils, spoilt = Signal(), Signal()  # a word was lost
        limits = BY_NAME["STAGE_LIFETIME"]
        is_staged_word = (self.stage_address[-4:] == BY_NAME["STAGE_SPI_IN"].address >> 8) | (
            self.stage_address[5:] == limits.address >> 5
        )
        m.d.sync += spoils.eq(
            records.lost
            | limit_lost
            | (self.stage_stb & is_staged_word & (late_any_staged | opens) & ~opened)
        )
        last = BY_NAME["STAGE_AH_AUTH_OUT"]
        is_held_word = (self.stage_address >= BY_NAME["STAGE_SPI_IN"].address) & (
            self.stage_address < last.address + 4 * last.count
        )
        m.d.sync += [
            self.held_stb.eq(self.stage_stb & stage.open & is_held_word),
            self.held_bank.eq(stage.bank),
        ]
        with m.If(begins):
            m.d.sync += spoilt.eq(0)
        with m.Elif(spoils):
            m.d.sync += spoilt.eq(1)
        # Whoever may stage could else make itself an administrator, and zeroise what is proven.
        forbidden = Signal()
        proven = Cat(self.states[n] == BankState.PROVEN for n in built)
        heirs = Cat((proven & stage.administrators)[n ^ 1] for n in built)
        is_staged_bank = Cat(self.states[n] == BankState.STAGED for n in built)
        m.d.sync += forbidden.eq(
            self.station_authorised
            & ~self.restored
            & proven.any()
            & (is_staged_bank & stage.administrators & ~heirs).any()
        )
        with m.If(self.busy | spoilt):
            m.d.sync += refusal.eq(SadResult.BUSY)
        with m.Elif(~is_staged_here | ~stage.complete):
            m.d.sync += refusal.eq(SadResult.INCOMPLETE)
        with m.Elif(~stage.supported):
            m.d.sync += refusal.eq(SadResult.UNSUPPORTED)
        with m.Elif(~stage.spi_is_good):
            m.d.sync += refusal.eq(SadResult.BAD_SPI)
        with m.Elif(forbidden):
            m.d.sync += refusal.eq(SadResult.FORBIDDEN)
        with m.Else():
            m.d.sync += may_expand.eq(1)
        command = Signal(SadCommand)
        is_known, is_new, is_large = Signal(), Signal(), Signal(4)
        above = self.command[len(command) :]
        m.d.sync += [
            is_new.eq(self.command_stb),
            is_large.eq(Cat(above[n : n + 8].any() for n in range(0, len(above), 8))),
        ]
        with m.If(is_new):
            m.d.sync += is_known.eq(~is_large.any() & (chosen < self._contexts))
        has_command = Signal(_SETTLE_CYCLES)
        orders = {which: Signal(name=f"does_{which.name.lower()}") for which in SadCommand}
        m.d.comb += decides.eq(has_command[-1])
        with m.If(~has_command[-1]):
            m.d.sync += has_command.eq(has_command << 1)
        due = has_command[-1] & ~moved & ~was_moved
        m.d.sync += [
            decided.eq(due & ~decided & ~self.command_stb),
            *(
                does.eq(due & ~decided & ~self.command_stb & is_known & (command == which))
                for which, does in orders.items()
            ),
        ]
        does_stage, does_abort = Signal(), Signal()
        m.d.comb += [
            does_stage.eq(orders[SadCommand.STAGE] & ~by_packet & may_stage),
            does_abort.eq(orders[SadCommand.ABORT] & ~by_packet),
        ]
        with m.If(decided & ~by_packet):
            m.d.sync += [has_command.eq(0), self.result.eq(SadResult.UNKNOWN)]
        with m.If(orders[SadCommand.STAGE] & ~by_packet):
            with m.If(~may_stage):
                m.d.sync += self.result.eq(SadResult.BUSY)
            with m.Else():
                m.d.sync += [begins.eq(1), self.result.eq(SadResult.PENDING), opens.eq(1)]
        with m.If(orders[SadCommand.READY] & ~by_packet):
            m.d.sync += self.result.eq(refusal)
            with m.If(may_expand):
                m.d.sync += expanding.eq(1)
        with m.If(does_abort):
            m.d.sync += [self.result.eq(SadResult.PENDING), waits.eq(1)]
            with m.If(is_staged_here):
                m.d.sync += expanding.eq(0)
        with m.If(self.command_stb):
            m.d.sync += [
                command.eq(self.command),
                chosen.eq(self.context),
                is_chosen.eq(1 << self.context),
                has_command.eq(1),
                self.result.eq(SadResult.PENDING),
                waits.eq(0),
                opens.eq(0),
            ]
        with m.If(self.zeroise_all):
            m.d.sync += expanding.eq(0)

        # The context that a message came under.
        asked = Signal(range(CONTEXTS))
        under = self.asked_bank[0]
        m.d.comb += asked.eq(self.asked_bank[1:])
        same_spi = Signal(BANKS)
        for half in range(BANKS):
            banks = [self.banks[n] for n in range(half, ALL_BANKS, BANKS)]
            m.d.sync += [
                self.asked_spis[half].eq(Array(view.spi_in for view in banks)[asked]),
                self.asked_epochs[half].eq(Array(view.epoch for view in banks)[asked]),
                self.asked_states[half].eq(
                    Array(self.states[n] for n in range(half, ALL_BANKS, BANKS))[asked]
                ),
                same_spi[half].eq(self.asked_spis[half] == self.commit_spi),
            ]
        commits = Array(context.commits for context in contexts)[asked]
        commit_bank = Array(context.commit_bank for context in contexts)[asked]
        m.d.comb += [
            self.commit_bank.eq(Cat(commit_bank, asked)),
            self.commit_result.eq(Mux(commits, CommitResult.OK, CommitResult.NO_SUCH_SPI)),
        ]
        for number, context in enumerate(contexts):
            m.d.comb += [
                context.tick_ms.eq(self.tick_ms),
                context.busy.eq(self.busy),
                context.station_authorised.eq(self.station_authorised),
                context.restored.eq(self.restored),
                context.zeroise_all.eq(self.zeroise_all),
                context.stage_stb.eq(does_stage & is_chosen[number]),
                context.unstage_stb.eq(does_stage & ~is_chosen[number]),
                context.abort_stb.eq(does_abort & is_chosen[number]),
                context.ready_stb.eq(done & context.has_staged),
                context.prove_stb.eq(self.prove_stb & (self.prove_bank[1:] == number)),
                context.prove_bank.eq(self.prove_bank[0]),
                context.spent.eq(self.hard.word_select(number, BANKS)),
                context.same_spi.eq(same_spi),
                context.commit_under.eq(under),
                context.commit_stb.eq(self.commit_stb & (asked == number)),
            ]
        return m
