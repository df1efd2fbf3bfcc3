"""The SAD: one context of two banks, and every step of the commit.

The rule it keeps: the last SA that worked is not given up until a newer one has worked.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import EPOCH_BITS, Protocol, SaView
from hw.ipsec.sad_keys import ORDERS, KeyWork
from hw.ipsec.sad_numbers import SequenceNumbers
from hw.ipsec.sad_stage import StageRegisters, check_suites, key_write_layout
from spec.registers import ADDRESS_BITS
from spec.rmcp import CommitResult
from spec.sa import BANKS, BankState, SadCommand, SadResult
from spec.suites import Suite

__all__ = ["SecurityAssociationDatabase"]

_STATE_BITS = 3
_SETTLE_CYCLES = 6
"""From a write to when a command may rely upon it and upon the checks of it."""


class SecurityAssociationDatabase(wiring.Component):
    """Two banks, moved EMPTY, STAGED, READY, ACTIVE, PROVEN, RETIRING by the gateware alone.

    `SEC: SAD.INHIBIT`: no bus write reaches a PROVEN bank; only `prove` of the other bank or
    `zeroise_all` ends it. `SEC: SAD.KEY_WRITE_ONLY`: nothing here that the bus reads depends on a
    key or salt. `SEC: SAD.NO_HALF_WRITTEN`: a bank receives only after its whole layout was
    written and its keys were expanded.

    Parameters
    ----------
    suites : tuple of Suite
        What is built in; others are UNSUPPORTED.
    ack_ms, grace_ms : int
        Acknowledge timer of a READY or ACTIVE bank, grace of a RETIRING one; milliseconds.

    Attributes
    ----------
    stage_stb, stage_address, stage_data : Signal, in
        A bus write (octet address), of which those to STAGE registers count.
    command_stb, command : Signal, in
        A bus write to SA_COMMAND; `result` is SA_RESULT.
    station_authorised : Signal, in
        Policy: where a bank is proven, nothing but Commit makes another one receive.
    zeroise_all : Signal, in
        Strobe or level: empties both banks.
    prove_stb, prove_bank : Signal, in
        A packet was authenticated under that bank; takes effect in the next cycle.
    commit_spi, commit_under, commit_result, commit_bank : Signal
        The bank that a Commit names, and whether it can be active, a cycle after `commit_spi`; in
        the cycle after `commit_stb`, for which `commit_spi` is kept, that takes effect.
    states : array, out
        spec.sa.BankState of each bank.
    banks : array of SaView, out
        A cycle behind `states`.
    tx_stb, tx_bank : Signal, in
        An outbound number of that bank was used, of both halves where it has an outer one; the next
        are right SequenceNumbers.TX_CYCLES later.
    key_write, key_expand, key_zeroise, keys_busy : out, in
        To the AES store, slots as `key_slot` numbers them.
    auth_write, auth_expand, auth_zeroise, auth_busy : out, in
        To the HMAC store, slots as `auth_slot` numbers them.
    load_stb, load_index, load_edge : Signal, out
        To the anti-replay windows: window Cat(outer, bank) begins anew.

    Source: docs/commit.md; RFC 4301 4.4.2.
    """

    def __init__(self, *, ack_ms: int, grace_ms: int, suites: tuple[Suite, ...]):
        for name, value in (("ack_ms", ack_ms), ("grace_ms", grace_ms)):
            if not 1 <= value < 1 << 24:
                raise ValueError(f"{name} must be from 1 to 16777215, not {value}")
        self._ack_ms = ack_ms
        self._grace_ms = grace_ms
        self._suites = check_suites(suites)
        bank = range(BANKS)
        super().__init__(
            {
                "tick_ms": In(1),
                "stage_stb": In(1),
                "stage_address": In(ADDRESS_BITS),
                "stage_data": In(32),
                "command_stb": In(1),
                "command": In(32),
                "result": Out(4),
                "station_authorised": In(1),
                "zeroise_all": In(1),
                "states": Out(data.ArrayLayout(_STATE_BITS, BANKS)),
                "banks": Out(data.ArrayLayout(SaView, BANKS)),
                "any_proven": Out(1),
                "busy": Out(1),
                "prove_stb": In(1),
                "prove_bank": In(bank),
                "commit_stb": In(1),
                "commit_spi": In(32),
                "commit_under": In(bank),
                "commit_result": Out(8),
                "commit_bank": Out(bank),
                "tx_stb": In(1),
                "tx_bank": In(bank),
                "key_write": Out(key_write_layout(2 * BANKS)),
                "auth_write": Out(key_write_layout(4 * BANKS)),
                **{name: Out(layout) for name, layout in ORDERS.items()},
                "keys_busy": In(1),
                "auth_busy": In(1),
                "load_stb": Out(1),
                "load_index": Out(range(2 * BANKS)),
                "load_edge": Out(64),
            }
        )

    @property
    def suites(self) -> tuple[Suite, ...]:
        """What is built in."""
        return self._suites

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
        m.submodules.numbers = numbers = SequenceNumbers()
        state = Array(Signal(_STATE_BITS, name=f"state_{n}") for n in range(BANKS))
        dirty = Array(Signal(name=f"dirty_{n}", init=1) for n in range(BANKS))

        def among(bank, *names):
            expression = 0
            for name in names:
                expression = expression | (state[bank] == BankState[name])
            return expression

        # What the rest of the NIC sees. Nothing but registers feeds it.
        for n in range(BANKS):
            view, held = self.banks[n], stage.banks[n]
            other_proven = state[1 - n] == BankState.PROVEN
            receives = Signal(name=f"receives_{n}")
            stands = Signal(name=f"receives_now_{n}")
            barred = Signal(name=f"barred_{n}")  # long before this bank is READY, if at all
            epoch = Signal(EPOCH_BITS, name=f"epoch_{n}")
            peered = Signal(name=f"peered_{n}")
            m.d.comb += stands.eq(
                among(n, "ACTIVE", "PROVEN", "RETIRING") | (among(n, "READY") & ~barred)
            )
            m.d.sync += [
                barred.eq(self.station_authorised & other_proven),
                receives.eq(stands),
                epoch.eq(epoch + (receives & ~stands)),
                peered.eq(~among(n, "EMPTY", "STAGED")),
            ]
            m.d.comb += [
                self.states[n].eq(state[n]),
                view.receives.eq(receives),
                view.epoch.eq(epoch),
                view.peered.eq(peered),
                view.tx_sequence.eq(numbers.tx_sequence[n]),
                view.ah_tx_sequence.eq(numbers.ah_tx_sequence[n]),
                view.tx_exhausted.eq(numbers.tx_exhausted[n]),
                *(view[field].eq(held[field]) for field, _ in held.shape()),
                numbers.esn[n].eq(held.esn),
                numbers.outers[n].eq(held.protocol == Protocol.BOTH),
            ]
        m.d.sync += self.any_proven.eq(among(0, "PROVEN") | among(1, "PROVEN"))
        m.d.comb += [numbers.tx_stb.eq(self.tx_stb), numbers.tx_bank.eq(self.tx_bank)]

        # Which bank is which now. At most one is STAGED, and at most one READY or ACTIVE.
        staged = Signal(range(BANKS))
        has_staged = Signal()
        pending = Signal(range(BANKS))
        has_pending = Signal()
        m.d.comb += [
            has_staged.eq(among(0, "STAGED") | among(1, "STAGED")),
            staged.eq(among(1, "STAGED")),
            has_pending.eq(among(0, "READY", "ACTIVE") | among(1, "READY", "ACTIVE")),
            pending.eq(among(1, "READY", "ACTIVE")),
        ]
        expanding = Signal()
        m.d.comb += self.busy.eq(expanding | dirty[0] | dirty[1])

        # What is written goes to the staged bank alone.
        begins = Signal()
        opened, waits = Signal(), Signal()
        decides = Signal()  # a command may close it
        m.d.sync += opened.eq(has_staged & ~self.busy & ~decides)
        m.d.comb += [
            stage.stb.eq(self.stage_stb),
            stage.address.eq(self.stage_address),
            stage.data.eq(self.stage_data),
            stage.open.eq(opened | (begins & ~waits)),
            stage.bank.eq(staged),
            stage.clear.eq(begins),
            numbers.write.eq(stage.sequence_write),
        ]
        m.d.sync += begins.eq(0)

        wipe = Array(Signal(name=f"wipe_{n}") for n in range(BANKS))

        def zeroise(bank):
            """Empties a bank at once; its registers follow in the next cycles, then its key slots.

            It is dirty until those are done.
            """
            yield state[bank].eq(BankState.EMPTY)
            yield dirty[bank].eq(1)
            yield wipe[bank].eq(1)

        timer = Signal(24)
        runs, ends = Signal(), Signal()  # the timer is not 0, is 1
        m.d.sync += [wipe[n].eq(0) for n in range(BANKS)]

        # Started in one cycle, and loaded in the next.
        times = (("ack", self._ack_ms), ("grace", self._grace_ms))
        loads = {ms: Signal(name=f"load_{name}") for name, ms in times}
        for milliseconds, load in loads.items():
            m.d.sync += load.eq(0)
            with m.If(load):
                m.d.sync += [timer.eq(milliseconds), runs.eq(1), ends.eq(milliseconds == 1)]

        def start(milliseconds):
            return [runs.eq(0), *(load.eq(ms == milliseconds) for ms, load in loads.items())]

        # Keys are expanded, then the numbers loaded; a dirty bank's slots are cleared before that.
        loading = Signal()
        finished_stage, loaded = Signal(), Signal()
        m.d.comb += [
            work.dirty.eq(Cat(dirty)),
            work.expand.eq(expanding & ~loading),
            work.bank.eq(staged),
            work.needs.eq(stage.needs),
            work.keys_busy.eq(self.keys_busy),
            work.auth_busy.eq(self.auth_busy),
            *(
                getattr(self, name).eq(getattr(part, name))
                for part, names in (
                    (stage, ("key_write", "auth_write")),
                    (work, ORDERS),
                    (numbers, ("load_stb", "load_index", "load_edge")),
                )
                for name in names
            ),
            numbers.start.eq(loading & expanding),
            numbers.bank.eq(staged),
            numbers.outer.eq(stage.needs.outer),
            finished_stage.eq(loaded & expanding),
        ]
        m.d.sync += loaded.eq(numbers.loaded)
        with m.If(work.expanded):
            m.d.sync += loading.eq(1)
        with m.If(finished_stage | ~expanding):
            m.d.sync += loading.eq(0)
        for n in range(BANKS):
            with m.If(work.cleaned[n]):
                m.d.sync += dirty[n].eq(0)
        with m.If(finished_stage):
            for n in range(BANKS):
                with m.If(among(n, "STAGED")):
                    m.d.sync += state[n].eq(BankState.READY)
            m.d.sync += [
                self.result.eq(SadResult.OK),
                expanding.eq(0),
                *start(self._ack_ms),
            ]
        with m.If(waits & ~self.busy):
            m.d.sync += [waits.eq(0), self.result.eq(SadResult.OK)]

        # What a packet does to the banks comes first; a tick is then skipped, a command waits.
        by_packet = Signal()
        proving, committing = Signal(), Signal()
        proved = Signal(range(BANKS))
        m.d.sync += [
            proving.eq(self.prove_stb),
            proved.eq(self.prove_bank),
            committing.eq(self.commit_stb),
            by_packet.eq(self.prove_stb | self.commit_stb),
        ]

        # Timers: at most one bank is READY, ACTIVE or RETIRING.
        expires = Signal()
        m.d.sync += expires.eq(self.tick_ms & runs & ends)
        with m.If(self.tick_ms & runs & ~ends & ~by_packet):
            m.d.sync += [timer.eq(timer - 1), ends.eq(timer == 2)]
        with m.If(expires & runs & ~by_packet):
            m.d.sync += runs.eq(0)
            for n in range(BANKS):
                with m.If(among(n, "READY", "ACTIVE", "RETIRING")):
                    m.d.sync += list(zeroise(n))

        # Commands of the agent: one waits until the last write is done, and the checks of it, and
        # until the banks are as they were a cycle ago, which is what is told of them here.
        moved, was_zeroised, decided = Signal(), Signal(), Signal()
        may_stage, was_staged, may_expand = Signal(), Signal(), Signal()
        refusal = Signal.like(self.result)
        free = Signal(range(BANKS))
        m.d.comb += moved.eq(by_packet | (expires & runs) | (self.zeroise_all & ~was_zeroised))
        m.d.sync += [
            was_zeroised.eq(self.zeroise_all),
            was_staged.eq(has_staged & ~finished_stage),
            may_stage.eq(
                ~self.busy & ~has_pending & (has_staged | among(0, "EMPTY") | among(1, "EMPTY"))
            ),
            free.eq(Mux(has_staged, staged, ~among(0, "EMPTY"))),
            may_expand.eq(0),
            refusal.eq(SadResult.PENDING),
        ]
        with m.If(self.busy):
            m.d.sync += refusal.eq(SadResult.BUSY)
        with m.Elif(~was_staged | ~stage.complete):
            m.d.sync += refusal.eq(SadResult.INCOMPLETE)
        with m.Elif(~stage.supported):
            m.d.sync += refusal.eq(SadResult.UNSUPPORTED)
        with m.Elif(~stage.spi_is_good):
            m.d.sync += refusal.eq(SadResult.BAD_SPI)
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
            m.d.sync += is_known.eq(~is_large.any())
        has_command = Signal(_SETTLE_CYCLES)
        orders = {which: Signal(name=f"does_{which.name.lower()}") for which in SadCommand}
        m.d.comb += decides.eq(has_command[-1])
        with m.If(~has_command[-1]):
            m.d.sync += has_command.eq(has_command << 1)
        due = has_command[-1] & ~moved
        m.d.sync += [
            decided.eq(due & ~decided & ~self.command_stb),
            *(
                does.eq(due & ~decided & ~self.command_stb & is_known & (command == which))
                for which, does in orders.items()
            ),
        ]
        with m.If(decided & ~by_packet):
            m.d.sync += [has_command.eq(0), self.result.eq(SadResult.UNKNOWN)]
        with m.If(orders[SadCommand.STAGE] & ~by_packet):
            with m.If(~may_stage):
                m.d.sync += self.result.eq(SadResult.BUSY)
            with m.Else():
                m.d.sync += [begins.eq(1), self.result.eq(SadResult.OK)]
                with m.If(was_staged):
                    m.d.sync += list(zeroise(free))
                    m.d.sync += [self.result.eq(SadResult.PENDING), waits.eq(1)]
                m.d.sync += state[free].eq(BankState.STAGED)
        with m.If(orders[SadCommand.READY] & ~by_packet):
            m.d.sync += self.result.eq(refusal)
            with m.If(may_expand):
                m.d.sync += expanding.eq(1)
        with m.If(orders[SadCommand.ABORT] & ~by_packet):
            m.d.sync += [self.result.eq(SadResult.PENDING), waits.eq(1), expanding.eq(0)]
            for n in range(BANKS):
                with m.If(among(n, "STAGED", "READY", "ACTIVE")):
                    m.d.sync += list(zeroise(n))
        with m.If(self.command_stb):
            m.d.sync += [
                command.eq(self.command),
                has_command.eq(1),
                self.result.eq(SadResult.PENDING),
                waits.eq(0),
            ]

        # Commit(SPI): the bank it names, if that is complete.
        names = Signal(BANKS)
        same_spi = Signal(BANKS)
        for n in range(BANKS):
            m.d.sync += same_spi[n].eq(stage.banks[n].spi_in == self.commit_spi)
            m.d.comb += names[n].eq(among(n, "READY", "ACTIVE", "PROVEN") & same_spi[n])
        m.d.comb += [
            self.commit_bank.eq(self.commit_under ^ names.bit_select(~self.commit_under, 1)),
            self.commit_result.eq(Mux(names.any(), CommitResult.OK, CommitResult.NO_SUCH_SPI)),
        ]
        with m.If(committing):
            for n in range(BANKS):
                # The other bank may have the number too, for the other protocol.
                with m.If(names[n] & (self.commit_bank == n) & among(n, "READY")):
                    m.d.sync += [state[n].eq(BankState.ACTIVE), *start(self._ack_ms)]

        # Proven: the newer one has worked, only now does the older one begin to go.
        with m.If(proving):
            for n in range(BANKS):
                proves = (proved == n) & among(n, "READY", "ACTIVE")
                with m.If(proves):
                    m.d.sync += [state[n].eq(BankState.PROVEN), runs.eq(0)]
                    with m.If(state[1 - n] == BankState.PROVEN):
                        m.d.sync += [
                            state[1 - n].eq(BankState.RETIRING),
                            *start(self._grace_ms),
                        ]

        with m.If(self.zeroise_all):
            m.d.sync += [expanding.eq(0), runs.eq(0)]
            for n in range(BANKS):
                m.d.sync += list(zeroise(n))

        # The registers after a write that came with the last of it.
        m.d.sync += stage.wipe.eq(Cat(wipe))
        m.d.comb += numbers.wipe.eq(Cat(wipe))
        return m
