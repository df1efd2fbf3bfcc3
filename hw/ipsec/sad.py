"""The SAD: one context of two banks, and every step of the commit.

The rule it keeps: the last SA that worked is not given up until a newer one has worked.
"""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.net.classifier import BankView
from spec.registers import BY_NAME
from spec.rmcp import CommitResult
from spec.sa import BANKS, BankState, SadCommand, SadResult, SaFlag
from spec.suites import Suite

__all__ = ["BankKeys", "SecurityAssociationDatabase", "key_slot"]

BankKeys = data.StructLayout(
    {
        "receives": 1,
        "spi_in": 32,
        "spi_out": 32,
        "aes256": 1,
        "esn": 1,
        "salt_in": 32,
        "salt_out": 32,
        "tx_sequence": 64,
        "tx_exhausted": 1,
    }
)
"""What ESP needs of one bank. `tx_sequence` is the next outbound number."""

_SCALARS = (
    "STAGE_SPI_IN",
    "STAGE_SPI_OUT",
    "STAGE_SUITE",
    "STAGE_FLAGS",
    "STAGE_PEER_IP",
    "STAGE_SALT_IN",
    "STAGE_SALT_OUT",
    "STAGE_RX_SEQ_HI",
    "STAGE_RX_SEQ_LO",
    "STAGE_TX_SEQ_HI",
    "STAGE_TX_SEQ_LO",
)
_STATE_BITS = 3


def key_slot(bank, outbound):
    """Number of the key slot of a bank and direction."""
    return Cat(outbound, bank)


class SecurityAssociationDatabase(wiring.Component):
    """Two banks, moved EMPTY, STAGED, READY, ACTIVE, PROVEN, RETIRING by the gateware alone.

    `SEC: SAD.INHIBIT`: no bus write reaches a PROVEN bank; only `prove` of the other bank or
    `zeroise_all` ends it. `SEC: SAD.KEY_WRITE_ONLY`: nothing here that the bus reads depends on a
    key or salt. `SEC: SAD.NO_HALF_WRITTEN`: a bank receives only after its whole layout was
    written and its keys were expanded.

    Parameters
    ----------
    ack_ms, grace_ms : int
        Acknowledge timer of a READY or ACTIVE bank, grace of a RETIRING one; milliseconds.

    Attributes
    ----------
    stage_stb, stage_address, stage_data : Signal, in
        A bus write to a STAGE register (octet address).
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
    tx_stb, tx_bank : Signal, in
        An outbound number of that bank was used; the next is right two cycles later.
    key_write_*, expand_*, zeroise_*, keys_busy : Signal
        To the key store.
    load_* : Signal, out
        To the anti-replay window: a bank begins anew.

    Source: docs/commit.md; RFC 4301 4.4.2.
    """

    def __init__(self, *, ack_ms: int, grace_ms: int):
        for name, value in (("ack_ms", ack_ms), ("grace_ms", grace_ms)):
            if not 1 <= value < 1 << 24:
                raise ValueError(f"{name} must be from 1 to 16777215, not {value}")
        self._ack_ms = ack_ms
        self._grace_ms = grace_ms
        bank = range(BANKS)
        slot = range(2 * BANKS)
        super().__init__(
            {
                "tick_ms": In(1),
                "stage_stb": In(1),
                "stage_address": In(12),
                "stage_data": In(32),
                "command_stb": In(1),
                "command": In(32),
                "result": Out(4),
                "station_authorised": In(1),
                "zeroise_all": In(1),
                "states": Out(data.ArrayLayout(_STATE_BITS, BANKS)),
                "views": Out(data.ArrayLayout(BankView, BANKS)),
                "keys": Out(data.ArrayLayout(BankKeys, BANKS)),
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
                "key_write_stb": Out(1),
                "key_write_slot": Out(slot),
                "key_write_index": Out(3),
                "key_write_data": Out(32),
                "expand_stb": Out(1),
                "expand_slot": Out(slot),
                "expand_aes256": Out(1),
                "zeroise_stb": Out(1),
                "zeroise_slot": Out(slot),
                "keys_busy": In(1),
                "load_stb": Out(1),
                "load_bank": Out(bank),
                "load_edge": Out(64),
            }
        )

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
        state = Array(Signal(_STATE_BITS, name=f"state_{n}") for n in range(BANKS))
        regs = {
            name: Array(Signal(32, name=f"{name.lower()}_{n}") for n in range(BANKS))
            for name in _SCALARS
            if name not in ("STAGE_TX_SEQ_HI", "STAGE_TX_SEQ_LO")
        }
        used = Array(Signal(64, name=f"tx_used_{n}") for n in range(BANKS))
        dirty = Array(Signal(name=f"dirty_{n}") for n in range(BANKS))
        scalars_written = Signal(len(_SCALARS))
        keys_written = Signal(16)

        def among(bank, *names):
            expression = 0
            for name in names:
                expression = expression | (state[bank] == BankState[name])
            return expression

        # What the rest of the NIC sees.
        exhausted = []
        following = Array(Signal(64, name=f"tx_next_{n}") for n in range(BANKS))
        for n in range(BANKS):
            other_proven = state[1 - n] == BankState.PROVEN
            receives = Signal(name=f"receives_{n}")
            m.d.comb += receives.eq(
                among(n, "ACTIVE", "PROVEN", "RETIRING")
                | (among(n, "READY") & ~(self.station_authorised & other_proven))
            )
            esn = regs["STAGE_FLAGS"][n][0]
            low_last = used[n][:32].all()
            exhausted.append(Signal(name=f"exhausted_{n}"))
            m.d.sync += [
                exhausted[n].eq(low_last & (~esn | used[n][32:].all())),
                following[n].eq(used[n] + 1),
            ]
            m.d.comb += [
                self.states[n].eq(state[n]),
                self.views[n].receives.eq(receives),
                self.views[n].spi.eq(regs["STAGE_SPI_IN"][n]),
                self.views[n].peered.eq(~among(n, "EMPTY", "STAGED")),
                self.views[n].peer_ip.eq(regs["STAGE_PEER_IP"][n]),
                self.keys[n].receives.eq(receives),
                self.keys[n].spi_in.eq(regs["STAGE_SPI_IN"][n]),
                self.keys[n].spi_out.eq(regs["STAGE_SPI_OUT"][n]),
                self.keys[n].aes256.eq(regs["STAGE_SUITE"][n] == Suite.ESP_AES_GCM_16_256),
                self.keys[n].esn.eq(esn),
                self.keys[n].salt_in.eq(regs["STAGE_SALT_IN"][n]),
                self.keys[n].salt_out.eq(regs["STAGE_SALT_OUT"][n]),
                self.keys[n].tx_sequence.eq(following[n]),
                self.keys[n].tx_exhausted.eq(exhausted[n]),
            ]
        m.d.comb += self.any_proven.eq(among(0, "PROVEN") | among(1, "PROVEN"))
        with m.If(self.tx_stb):
            m.d.sync += used[self.tx_bank].eq(following[self.tx_bank])

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

        # Writes to the staged bank: decoded in one cycle, done in the next.
        takes = Signal()
        stage_hits = Signal(len(_SCALARS))
        stage_bank = Signal(range(BANKS))
        stage_word = Signal(32)
        m.d.comb += takes.eq(self.stage_stb & has_staged & ~self.busy)
        m.d.sync += [stage_bank.eq(staged), stage_word.eq(self.stage_data)]
        m.d.sync += stage_hits.eq(
            Cat(takes & (self.stage_address == BY_NAME[name].address) for name in _SCALARS)
        )
        for position, name in enumerate(_SCALARS):
            with m.If(stage_hits[position]):
                m.d.sync += scalars_written[position].eq(1)
                if name == "STAGE_TX_SEQ_HI":
                    m.d.sync += used[stage_bank][32:].eq(stage_word)
                elif name == "STAGE_TX_SEQ_LO":
                    m.d.sync += used[stage_bank][:32].eq(stage_word)
                else:
                    m.d.sync += regs[name][stage_bank].eq(stage_word)
        key_hits = [
            self.stage_address[5:] == BY_NAME[name].address >> 5
            for name in ("STAGE_KEY_IN", "STAGE_KEY_OUT")
        ]
        m.d.sync += [
            self.key_write_stb.eq(takes & (key_hits[0] | key_hits[1])),
            self.key_write_slot.eq(key_slot(staged, key_hits[1])),
            self.key_write_index.eq(self.stage_address[2:5]),
        ]
        m.d.comb += self.key_write_data.eq(stage_word)
        with m.If(self.key_write_stb):
            index = Cat(self.key_write_index, self.key_write_slot[0])
            m.d.sync += keys_written.bit_select(index, 1).eq(1)

        wipe = Array(Signal(name=f"wipe_{n}") for n in range(BANKS))

        def zeroise(bank):
            """Empties a bank at once; its registers follow in the next cycle, then its key slots.

            It is dirty until those are done.
            """
            yield state[bank].eq(BankState.EMPTY)
            yield dirty[bank].eq(1)
            yield wipe[bank].eq(1)

        keys_busy = Signal()
        m.d.sync += keys_busy.eq(self.keys_busy)

        # The key store's work: expand both slots of a READY bank, or clear those of a dirty one.
        aes256 = regs["STAGE_SUITE"][staged] == Suite.ESP_AES_GCM_16_256
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

        outbound = Signal()
        cleaned = Signal(range(BANKS))
        finished_stage = Signal()
        with m.FSM(name="work"):
            with m.State("idle"):
                m.d.sync += outbound.eq(0)
                with m.If(dirty[0] | dirty[1]):
                    m.d.sync += cleaned.eq(~dirty[0])
                    m.next = "zeroise"
                with m.Elif(expanding):
                    m.next = "expand"
            with m.State("zeroise"):
                m.d.comb += [
                    self.zeroise_stb.eq(1),
                    self.zeroise_slot.eq(key_slot(cleaned, outbound)),
                ]
                m.next = "zeroise started"
            with m.State("zeroise started"):
                m.next = "zeroising"
            with m.State("zeroising"):
                with m.If(~keys_busy):
                    m.d.sync += outbound.eq(1)
                    m.next = "zeroise"
                    with m.If(outbound):
                        m.d.sync += dirty[cleaned].eq(0)
                        m.next = "idle"
            with m.State("expand"):
                m.d.comb += [
                    self.expand_stb.eq(has_staged),
                    self.expand_slot.eq(key_slot(staged, outbound)),
                    self.expand_aes256.eq(aes256),
                ]
                m.next = "expand started"
            with m.State("expand started"):
                m.next = "expanding"
            with m.State("expanding"):
                with m.If(dirty[0] | dirty[1]):
                    m.next = "idle"
                with m.Elif(~keys_busy):
                    m.d.sync += outbound.eq(1)
                    m.next = "expand"
                    with m.If(outbound):
                        m.d.comb += finished_stage.eq(expanding & has_staged)
                        m.d.sync += expanding.eq(0)
                        m.next = "idle"
        m.d.comb += [
            self.load_stb.eq(finished_stage),
            self.load_bank.eq(staged),
            self.load_edge.eq(
                Cat(regs["STAGE_RX_SEQ_LO"][staged], regs["STAGE_RX_SEQ_HI"][staged])
            ),
        ]
        with m.If(finished_stage):
            m.d.sync += [
                state[staged].eq(BankState.READY),
                self.result.eq(SadResult.OK),
                *start(self._ack_ms),
            ]
        waits = Signal()
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
        ]
        m.d.comb += by_packet.eq(proving | committing)

        # Timers: at most one bank is READY, ACTIVE or RETIRING.
        with m.If(self.tick_ms & runs & ~by_packet):
            m.d.sync += [timer.eq(timer - 1), ends.eq(timer == 2)]
            with m.If(ends):
                m.d.sync += runs.eq(0)
                for n in range(BANKS):
                    with m.If(among(n, "READY", "ACTIVE", "RETIRING")):
                        m.d.sync += list(zeroise(n))

        # Commands of the agent.
        chosen_suite = regs["STAGE_SUITE"][staged]
        key_words = Mux(aes256, 0xFFFF, 0x0F0F)
        complete, supported, spi_is_good = Signal(), Signal(), Signal()
        m.d.sync += complete.eq(
            scalars_written.all()
            & (chosen_suite != Suite.NONE)
            & ((keys_written & key_words) == key_words)
        )
        m.d.sync += supported.eq(
            (
                (chosen_suite == Suite.ESP_AES_GCM_16_128)
                | (chosen_suite == Suite.ESP_AES_GCM_16_256)
            )
            & (regs["STAGE_FLAGS"][staged] <= SaFlag.ESN)
        )
        spi_in = regs["STAGE_SPI_IN"][staged]
        other = ~staged
        m.d.sync += spi_is_good.eq(
            (spi_in[8:] != 0)
            & (regs["STAGE_SPI_OUT"][staged][8:] != 0)
            & ~((state[other] != BankState.EMPTY) & (regs["STAGE_SPI_IN"][other] == spi_in))
        )
        # A command waits until the last write has been done, and the checks of it are made.
        command = Signal(SadCommand)
        is_known = Signal()
        has_command = Signal(3)
        with m.If(self.command_stb):
            m.d.sync += [
                command.eq(self.command),
                is_known.eq(self.command <= max(SadCommand)),
                has_command.eq(1),
                self.result.eq(SadResult.PENDING),
                waits.eq(0),
            ]
        with m.Elif(~has_command[2]):
            m.d.sync += has_command.eq(has_command << 1)
        with m.Elif(~by_packet):
            m.d.sync += has_command.eq(0)
            with m.Switch(Mux(is_known, command, 0)):
                with m.Case(SadCommand.STAGE):
                    free = Mux(has_staged, staged, ~among(0, "EMPTY"))
                    with m.If(
                        self.busy
                        | has_pending
                        | ~(has_staged | among(0, "EMPTY") | among(1, "EMPTY"))
                    ):
                        m.d.sync += self.result.eq(SadResult.BUSY)
                    with m.Else():
                        m.d.sync += [
                            scalars_written.eq(0),
                            keys_written.eq(0),
                            self.result.eq(SadResult.OK),
                        ]
                        with m.If(has_staged):
                            m.d.sync += list(zeroise(staged))
                            m.d.sync += [self.result.eq(SadResult.PENDING), waits.eq(1)]
                        m.d.sync += state[free].eq(BankState.STAGED)
                with m.Case(SadCommand.READY):
                    with m.If(self.busy):
                        m.d.sync += self.result.eq(SadResult.BUSY)
                    with m.Elif(~has_staged | ~complete):
                        m.d.sync += self.result.eq(SadResult.INCOMPLETE)
                    with m.Elif(~supported):
                        m.d.sync += self.result.eq(SadResult.UNSUPPORTED)
                    with m.Elif(~spi_is_good):
                        m.d.sync += self.result.eq(SadResult.BAD_SPI)
                    with m.Else():
                        m.d.sync += [self.result.eq(SadResult.PENDING), expanding.eq(1)]
                with m.Case(SadCommand.ABORT):
                    m.d.sync += [self.result.eq(SadResult.PENDING), waits.eq(1), expanding.eq(0)]
                    for n in range(BANKS):
                        with m.If(among(n, "STAGED", "READY", "ACTIVE")):
                            m.d.sync += list(zeroise(n))
                with m.Default():
                    m.d.sync += self.result.eq(SadResult.UNKNOWN)

        # Commit(SPI): the bank it names, if that is complete.
        names = Signal(BANKS)
        same_spi = Signal(BANKS)
        for n in range(BANKS):
            m.d.sync += same_spi[n].eq(regs["STAGE_SPI_IN"][n] == self.commit_spi)
            m.d.comb += names[n].eq(among(n, "READY", "ACTIVE", "PROVEN") & same_spi[n])
        m.d.comb += [
            self.commit_bank.eq(Mux(names.any(), names[1], self.commit_under)),
            self.commit_result.eq(Mux(names.any(), CommitResult.OK, CommitResult.NO_SUCH_SPI)),
        ]
        with m.If(committing):
            for n in range(BANKS):
                with m.If(names[n] & among(n, "READY")):
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

        for n in range(BANKS):
            with m.If(wipe[n]):
                m.d.sync += [used[n].eq(0), *(regs[name][n].eq(0) for name in regs)]
        return m
