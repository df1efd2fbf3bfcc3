"""One context of the SAD: two banks, and every step of the commit between them."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import EPOCH_BITS
from spec.sa import BANKS, BankState

__all__ = ["STATE_BITS", "SadContext"]

STATE_BITS = 3


class SadContext(wiring.Component):
    """Two banks, moved EMPTY, STAGED, READY, ACTIVE, PROVEN, RETIRING by the gateware alone.

    `SEC: SAD.INHIBIT`: no strobe ends a PROVEN bank but the proof of the other one and
    `zeroise_all`. What packets do comes first: a tick is then skipped, and the SAD gives no command
    in that cycle, which `by_packet` tells it.

    Parameters
    ----------
    ack_ms, grace_ms : int
        Acknowledge timer of a READY or ACTIVE bank, grace of a RETIRING one; milliseconds.

    Attributes
    ----------
    busy : Signal, in
        No bank can be staged now: keys are at work.
    stage_stb : Signal, in
        Where `may_stage`, the bank `free` becomes STAGED, anew if it was.
    unstage_stb, ready_stb, abort_stb : Signal, in
        The STAGED bank is emptied; is complete and expanded; every unproven bank is emptied.
    restored : Signal, in
        What is `ready` was PROVEN before a loss of power, and is so again if the other bank is not.
    station_authorised : Signal, in
        Where a bank is PROVEN, nothing but a commit makes the other one receive.
    zeroise_all : Signal, in
        Empties both banks, and keeps them empty.
    prove_stb, prove_bank : Signal, in
        A packet was authenticated under that bank; takes effect in the next cycle.
    spent : Signal, in
        For each bank: the hard limit of its lifetime is reached. It does nothing to a PROVEN bank;
        for any other it is as if the timer were over (`SEC: SAD.HARD_LIMIT`).
    same_spi, commit_under, commit_stb : Signal, in
        Banks that have the inbound SPI a Commit names, and the bank it came under; it takes effect
        in the cycle after `commit_stb`, for which the other two stay.
    commits, commit_bank : Signal, out
        Whether there is such a bank, and which.
    states : array, out
    receives, peered, epoch : Signal, out
        As in `BankView`, a cycle behind `states`.
    wipe : Signal, out
        Strobe for each bank that was emptied.
    has_staged, staged : Signal, out
        Whether, and which.
    any_proven, may_stage, free, by_packet, expires : Signal, out
        `expires`: the timer may empty a bank in this cycle.

    Source: docs/commit.md.
    """

    def __init__(self, *, ack_ms: int, grace_ms: int):
        for name, value in (("ack_ms", ack_ms), ("grace_ms", grace_ms)):
            if not 1 <= value < 1 << 24:
                raise ValueError(f"{name} must be from 1 to 16777215, not {value}")
        self._ack_ms = ack_ms
        self._grace_ms = grace_ms
        bank = range(BANKS)
        super().__init__(
            {
                "tick_ms": In(1),
                "busy": In(1),
                "stage_stb": In(1),
                "unstage_stb": In(1),
                "ready_stb": In(1),
                "abort_stb": In(1),
                "restored": In(1),
                "station_authorised": In(1),
                "zeroise_all": In(1),
                "prove_stb": In(1),
                "prove_bank": In(bank),
                "spent": In(BANKS),
                "same_spi": In(BANKS),
                "commit_under": In(bank),
                "commit_stb": In(1),
                "commits": Out(1),
                "commit_bank": Out(bank),
                "states": Out(data.ArrayLayout(STATE_BITS, BANKS)),
                "receives": Out(BANKS),
                "peered": Out(BANKS),
                "epoch": Out(data.ArrayLayout(EPOCH_BITS, BANKS)),
                "wipe": Out(BANKS),
                "has_staged": Out(1),
                "staged": Out(bank),
                "any_proven": Out(1),
                "may_stage": Out(1),
                "free": Out(bank),
                "by_packet": Out(1),
                "expires": Out(1),
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
        state = Array(Signal(STATE_BITS, name=f"state_{n}") for n in range(BANKS))

        def among(bank, *names):
            expression = 0
            for name in names:
                expression = expression | (state[bank] == BankState[name])
            return expression

        # What the rest of the NIC sees. Nothing but registers feeds it.
        for n in range(BANKS):
            stands = Signal(name=f"receives_now_{n}")
            barred = Signal(name=f"barred_{n}")  # long before this bank is READY, if at all
            m.d.comb += [
                self.states[n].eq(state[n]),
                stands.eq(among(n, "ACTIVE", "PROVEN", "RETIRING") | (among(n, "READY") & ~barred)),
            ]
            m.d.sync += [
                barred.eq(self.station_authorised & among(1 - n, "PROVEN")),
                self.receives[n].eq(stands),
                self.epoch[n].eq(self.epoch[n] + (self.receives[n] & ~stands)),
                self.peered[n].eq(~among(n, "EMPTY", "STAGED")),
            ]
        has_pending = among(0, "READY", "ACTIVE") | among(1, "READY", "ACTIVE")
        m.d.comb += [
            self.has_staged.eq(among(0, "STAGED") | among(1, "STAGED")),
            self.staged.eq(among(1, "STAGED")),
        ]
        m.d.sync += [
            self.any_proven.eq(among(0, "PROVEN") | among(1, "PROVEN")),
            self.may_stage.eq(
                ~self.busy
                & ~has_pending
                & (self.has_staged | among(0, "EMPTY") | among(1, "EMPTY"))
            ),
            self.free.eq(Mux(self.has_staged, self.staged, ~among(0, "EMPTY"))),
            self.wipe.eq(0),
        ]

        def zeroise(bank):
            """Empties a bank at once; its registers and key slots follow, for which `wipe` asks."""
            yield state[bank].eq(BankState.EMPTY)
            yield self.wipe[bank].eq(1)

        # At most one bank is READY, ACTIVE or RETIRING, so there is one timer: started in one
        # cycle, and loaded in the next.
        timer = Signal(24)
        runs, ends = Signal(), Signal()  # the timer is not 0, is 1
        times = (("ack", self._ack_ms), ("grace", self._grace_ms))
        loads = {name: Signal(name=f"load_{name}") for name, _ in times}
        for name, milliseconds in times:
            m.d.sync += loads[name].eq(0)
            with m.If(loads[name]):
                m.d.sync += [timer.eq(milliseconds), runs.eq(1), ends.eq(milliseconds == 1)]

        def start(which):
            return [runs.eq(0), *(load.eq(name == which) for name, load in loads.items())]

        with m.If(self.ready_stb):
            for n in range(BANKS):
                comes_back = self.restored & among(1 - n, "EMPTY")
                with m.If(among(n, "STAGED")):
                    m.d.sync += state[n].eq(Mux(comes_back, BankState.PROVEN, BankState.READY))
                    with m.If(~comes_back):
                        m.d.sync += start("ack")

        # What a packet does to the banks comes first; a tick is then skipped, a command waits.
        proving, committing = Signal(), Signal()
        proved = Signal(range(BANKS))
        m.d.sync += [
            proving.eq(self.prove_stb),
            proved.eq(self.prove_bank),
            committing.eq(self.commit_stb),
            self.by_packet.eq(self.prove_stb | self.commit_stb),
        ]
        expires = Signal()
        m.d.comb += self.expires.eq(expires)
        is_spent = Cat(
            self.spent[n] & among(n, "READY", "ACTIVE", "RETIRING") for n in range(BANKS)
        ).any()
        m.d.sync += expires.eq(runs & ((self.tick_ms & ends) | is_spent))
        with m.If(self.tick_ms & runs & ~ends & ~self.by_packet):
            m.d.sync += [timer.eq(timer - 1), ends.eq(timer == 2)]
        with m.If(expires & runs & ~self.by_packet):
            m.d.sync += runs.eq(0)
            for n in range(BANKS):
                with m.If(among(n, "READY", "ACTIVE", "RETIRING")):
                    m.d.sync += list(zeroise(n))

        # Commands of the agent.
        with m.If(self.unstage_stb | (self.stage_stb & self.has_staged)):
            for n in range(BANKS):
                with m.If(among(n, "STAGED")):
                    m.d.sync += list(zeroise(n))
        with m.If(self.stage_stb):
            m.d.sync += state[self.free].eq(BankState.STAGED)
        with m.If(self.abort_stb):
            for n in range(BANKS):
                with m.If(among(n, "STAGED", "READY", "ACTIVE")):
                    m.d.sync += list(zeroise(n))

        # Commit(SPI): the bank it names, if that is complete. The other bank may have the number
        # too, for the other protocol.
        names = Signal(BANKS)
        m.d.comb += [
            names.eq(
                self.same_spi & Cat(among(n, "READY", "ACTIVE", "PROVEN") for n in range(BANKS))
            ),
            self.commits.eq(names.any()),
            self.commit_bank.eq(self.commit_under ^ names.bit_select(~self.commit_under, 1)),
        ]
        with m.If(committing):
            for n in range(BANKS):
                with m.If(names[n] & (self.commit_bank == n) & among(n, "READY")):
                    m.d.sync += [state[n].eq(BankState.ACTIVE), *start("ack")]

        # Proven: the newer one has worked, only now does the older one begin to go.
        with m.If(proving):
            for n in range(BANKS):
                with m.If((proved == n) & among(n, "READY", "ACTIVE")):
                    m.d.sync += [state[n].eq(BankState.PROVEN), runs.eq(0)]
                    with m.If(among(1 - n, "PROVEN")):
                        m.d.sync += [state[1 - n].eq(BankState.RETIRING), *start("grace")]

        with m.If(self.zeroise_all):
            m.d.sync += runs.eq(0)
            for n in range(BANKS):
                m.d.sync += list(zeroise(n))
        return m
