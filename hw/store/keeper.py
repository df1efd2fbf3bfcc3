"""The non-volatile store: what is written when, and what comes back after a loss of power."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, enum
from amaranth.lib.wiring import Component, In, Out

from hw.ipsec.sad_context import STATE_BITS
from hw.store.images import SaImages
from hw.store.record_store import RecordStore, StoreOp
from hw.store.sequence_reserve import TAKERS, SequenceReserve
from spec.registers import ADDRESS_BITS, BY_NAME
from spec.sa import ALL_BANKS, BANKS, CONTEXTS, BankState, SadCommand, SadResult
from spec.store import (
    BODY_WORDS,
    CONFIG_INTERVAL_MS,
    CONFIG_PAIR,
    CONFIG_WORDS,
    PAIRS,
    RETRY_MS,
)

__all__ = ["STATUS", "StoreKeeper"]

_BANK = range(ALL_BANKS)
_CONTEXT = range(CONTEXTS)
_CONFIG = range(len(CONFIG_WORDS))
_STAGE_FIRST = BY_NAME["STAGE_SPI_IN"].address >> 2
_CONFIG_PLACE = 96
"""Where the configuration lies in the images until it is applied: behind the words of bank 0."""
_COUNT_BITS = 8

STATUS = data.StructLayout({field.name: field.width for field in BY_NAME["STORE_STATUS"].fields})
"""Fields of STORE_STATUS, without the gaps between them."""


class _Why(enum.Enum, shape=4):
    """What an operation of the record store is for."""

    IDENTIFY = 0
    FIND_CONFIG = 1
    FIND = 2
    SAVE = 3
    APPEND = 4
    CLEAN = 5
    SAVE_CONFIG = 6
    VOID = 7
    VOID_CLEAN = 8


_OPS = {
    _Why.IDENTIFY: StoreOp.IDENTIFY,
    _Why.FIND_CONFIG: StoreOp.FIND,
    _Why.FIND: StoreOp.FIND,
    _Why.SAVE: StoreOp.SAVE,
    _Why.APPEND: StoreOp.APPEND,
    _Why.CLEAN: StoreOp.CLEAN,
    _Why.SAVE_CONFIG: StoreOp.SAVE,
    _Why.VOID: StoreOp.VOID,
    _Why.VOID_CLEAN: StoreOp.CLEAN,
}


class StoreKeeper(Component):
    """Keeps the proven SA of each context, its sequence numbers, and the configuration in a flash.

    At power-on, before the host's bus reaches the SAD (`restoring`): the configuration is found and
    applied; then, if it says so, the SA of each context is staged by the same port that the agent
    writes to, and its bank is PROVEN at once. After that, whatever is due goes one after another:

    1. after zeroise, all records are voided, and then all slots emptied;
    2. a bank that is PROVEN and not recorded is saved, and until its record is safe no reply
       leaves under it: so nobody learns of an SA that a loss of power would take back
       (`SEC: STORE.SAFE_BEFORE_ANSWER`);
    3. limits of sequence numbers move (`SequenceReserve`);
    4. slots that are no longer in use are emptied;
    5. the configuration is saved, on request, and once in CONFIG_INTERVAL_MS at most.

    Nothing here leads from the flash to a register of the host's bus (`SEC: STORE.NO_READ_BACK`),
    but whether there is a record, and counts.

    A flash that is not there (its JEDEC ID is all ones or zeros) leaves the NIC as one without a
    store. One that fails later: what was due is tried again every RETRY_MS. A bank whose first save
    fails may use one more block of numbers, for no record of it is found that has fewer. A bank
    whose limits cannot move is `hopeless` until they can: nothing is accepted or sent under it.

    Parameters
    ----------
    half_cycles, base : int
        As of `RecordStore`.

    Attributes
    ----------
    sck, cs_n, mosi : Signal, out; miso, tick_ms : Signal, in
        As of `SpiFlash`.
    zeroise : Signal, in
        Level: all banks are emptied, and all that is kept.
    keeps : Signal, in
        Policy: SAs are kept.
    states, wipe, sad_busy : Signal, in
        Of the SAD: state of each bank; strobe for each bank that is emptied; it is at work.
    held_stb, held_bank, held_address, held_data : Signal, in
        A word that the SAD took for its staged bank, by the octet address of its register.
    images_busy : Signal, out
        No bank may be staged now.
    restoring : Signal, out
        Level from power-on: the ports below go to the SAD, and not the host's.
    stage_stb, stage_address, stage_data, command_stb, command, context : Signal, out
    result : Signal, in
        To the SAD, and its answer.
    config_save_stb : Signal, in
        The host asks for the configuration to be saved.
    config_index : Signal, out; config_word : Signal, in
        A word of CONFIG_WORDS, in the same cycle.
    config_stb, config_data : Signal, out
        Word `config_index` came back.
    hopeless, ask_*, send_*, sent_*
        As of `SequenceReserve`.
    status : STATUS, out

    Source: docs/store.md.
    """

    def __init__(self, *, half_cycles: int, base: int = 0):
        self._half_cycles = half_cycles
        self._base = base
        super().__init__(
            {
                "sck": Out(1),
                "cs_n": Out(1, init=1),
                "mosi": Out(1),
                "miso": In(1),
                "tick_ms": In(1),
                "zeroise": In(1),
                "keeps": In(1),
                "states": In(data.ArrayLayout(STATE_BITS, ALL_BANKS)),
                "wipe": In(ALL_BANKS),
                "sad_busy": In(1),
                "held_stb": In(1),
                "held_bank": In(_BANK),
                "held_address": In(ADDRESS_BITS),
                "held_data": In(32),
                "images_busy": Out(1, init=1),
                "restoring": Out(1, init=1),
                "stage_stb": Out(1),
                "stage_address": Out(ADDRESS_BITS),
                "stage_data": Out(32),
                "command_stb": Out(1),
                "command": Out(32),
                "context": Out(_CONTEXT),
                "result": In(4),
                "config_save_stb": In(1),
                "config_index": Out(_CONFIG),
                "config_word": In(32),
                "config_stb": Out(1),
                "config_data": Out(32),
                "hopeless": Out(ALL_BANKS),
                "status": Out(STATUS),
                **TAKERS,
            }
        )

    @property
    def half_cycles(self) -> int:
        """Cycles of half a clock of the flash."""
        return self._half_cycles

    @property
    def base(self) -> int:
        """Octet address of the store in the flash."""
        return self._base

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = store = RecordStore(half_cycles=self._half_cycles, base=self._base)
        m.submodules.reserve = reserve = SequenceReserve()
        m.submodules.images = images = SaImages()
        m.d.comb += [
            store.tick_ms.eq(self.tick_ms),
            self.sck.eq(store.sck),
            self.cs_n.eq(store.cs_n),
            self.mosi.eq(store.mosi),
            store.miso.eq(self.miso),
            self.images_busy.eq(images.busy),
            images.wipe.eq(self.wipe),
            reserve.wipe.eq(self.wipe),
            reserve.hopeless.eq(self.hopeless),
        ]
        for name, member in TAKERS.items():
            outer, inner = getattr(self, name), getattr(reserve, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        held_index = Signal(range(BODY_WORDS))
        held_stb = Signal()
        held_place = self.held_address[2:] - _STAGE_FIRST
        m.d.comb += [
            held_index.eq(held_place[: len(held_index)]),
            held_stb.eq(self.held_stb),
            *(
                getattr(images, name).eq(value)
                for name, value in (
                    ("stb", held_stb),
                    ("bank", self.held_bank),
                    ("index", held_index),
                    ("data", self.held_data),
                )
            ),
            reserve.stage_stb.eq(held_stb),
            reserve.stage_bank.eq(self.held_bank),
            reserve.stage_index.eq(held_index),
            reserve.stage_data.eq(self.held_data),
        ]

        # What is known of each bank.
        recorded, kept, tried = (Signal(ALL_BANKS, name=n) for n in ("recorded", "kept", "tried"))
        proven, unsaved, moves = Signal(ALL_BANKS), Signal(ALL_BANKS), Signal(ALL_BANKS)
        present, rests = Signal(), Signal()
        # From the moment when it is due: whatever else is being written, no reply is let out.
        m.d.comb += reserve.kept.eq(kept | unsaved)
        m.d.sync += [
            proven.eq(Cat(self.states[n] == BankState.PROVEN for n in _BANK)),
            unsaved.eq(Mux(self.keeps & present, proven & ~recorded, 0)),
            moves.eq(reserve.wanted & recorded),
        ]

        # One thing after another.
        why = Signal(_Why)
        bank = Signal(_BANK)
        pair = Signal(range(PAIRS))
        gone = Signal()  # the bank was emptied since this was begun
        stages = Signal()
        clean_due = Signal(PAIRS)
        config_due, zeroise_due, void_failed = Signal(), Signal(), Signal()
        is_config = Signal()
        m.d.sync += is_config.eq(pair == CONFIG_PAIR)
        with m.If(self.wipe.bit_select(bank, 1)):
            m.d.sync += gone.eq(1)
        m.d.comb += [
            store.pair.eq(pair),
            store.spoil.eq(gone & ~is_config),
            reserve.begin_bank.eq(bank),
            images.read_bank.eq(bank),
        ]

        with m.Switch(why):
            for purpose, op in _OPS.items():
                with m.Case(purpose):
                    m.d.comb += store.op.eq(op)

        # Words to the flash, and from it.
        apply = Signal(range(4 * len(_CONFIG)))
        applies = Signal()
        word = Signal(32)
        has_config_word = Signal()
        m.d.comb += [
            images.read_index.eq(Mux(applies, _CONFIG_PLACE + apply[2:], store.word_index)),
            self.config_index.eq(Mux(applies, apply[2:], store.word_index)),
            has_config_word.eq(store.word_index < len(_CONFIG)),
            self.config_data.eq(images.read_data),
            store.word.eq(word),
            reserve.word_index.eq(store.word_index),
        ]
        with m.If(is_config):
            m.d.sync += word.eq(Mux(has_config_word, self.config_word, 0))
        with m.Else():
            m.d.sync += word.eq(Mux(reserve.is_number, reserve.word, images.read_data))
        m.d.comb += [
            self.stage_stb.eq(store.load_stb & stages),
            self.stage_address.eq(Cat(Const(0, 2), store.load_index + _STAGE_FIRST)),
            self.stage_data.eq(store.load_data),
        ]
        loads_config = store.load_stb & is_config & (store.load_index < len(_CONFIG))
        with m.If(loads_config):
            m.d.comb += [
                images.stb.eq(1),
                images.bank.eq(0),
                images.index.eq(_CONFIG_PLACE + store.load_index),
                images.data.eq(store.load_data),
            ]

        retry_ms, interval_ms = Signal(range(RETRY_MS + 1)), Signal(range(CONFIG_INTERVAL_MS + 1))
        with m.If(self.tick_ms):
            with m.If(retry_ms != 0):
                m.d.sync += retry_ms.eq(retry_ms - 1)
            with m.Else():
                m.d.sync += rests.eq(0)
            with m.If(interval_ms != 0):
                m.d.sync += interval_ms.eq(interval_ms - 1)

        def fail():
            """What is due is tried again later."""
            return [rests.eq(1), retry_ms.eq(RETRY_MS)]

        def of_bank(flags, number):
            return flags.bit_select(number, 1)

        pause = Signal(2)
        is_known = (store.identity != 0) & ~store.identity.all()
        with m.FSM(name="keeper"):
            with m.State("begin"):
                m.d.sync += [why.eq(_Why.IDENTIFY), pair.eq(CONFIG_PAIR)]
                m.next = "go"
            with m.State("go"):
                m.d.comb += store.start.eq(1)
                m.next = "wait"
            with m.State("wait"):
                with m.If(store.done):
                    m.next = "done"
            with m.State("done"):
                m.next = "main"
                with m.Switch(why):
                    with m.Case(_Why.IDENTIFY):
                        m.d.sync += [present.eq(store.good & is_known), why.eq(_Why.FIND_CONFIG)]
                        m.next = "go"
                        with m.If(~(store.good & is_known)):
                            m.d.sync += self.restoring.eq(0)
                            m.next = "main"
                    with m.Case(_Why.FIND_CONFIG):
                        m.d.sync += [why.eq(_Why.FIND), pair.eq(0), bank.eq(0), apply.eq(0)]
                        m.next = "context"
                        with m.If(store.good):
                            m.next = "apply"
                    with m.Case(_Why.FIND):
                        m.next = "next context"
                        with m.If(stages):
                            m.next = "found"
                    with m.Case(_Why.VOID):
                        m.d.sync += [void_failed.eq(void_failed | ~store.good), pair.eq(pair + 1)]
                        m.next = "go"
                        with m.If(is_config):
                            m.d.sync += [pair.eq(0), why.eq(_Why.VOID_CLEAN)]
                    with m.Case(_Why.VOID_CLEAN):
                        m.d.sync += [void_failed.eq(void_failed | ~store.good), pair.eq(pair + 1)]
                        m.next = "go"
                        with m.If(is_config):
                            m.next = "voided"
                    with m.Case(_Why.SAVE):
                        m.next = "saved"
                    with m.Case(_Why.APPEND):
                        m.next = "appended"
                    with m.Case(_Why.CLEAN):
                        m.d.sync += clean_due.bit_select(pair, 1).eq(~store.good)
                        with m.If(~store.good):
                            m.d.sync += fail()
                    with m.Case(_Why.SAVE_CONFIG):
                        with m.If(store.good):
                            m.d.sync += clean_due[CONFIG_PAIR].eq(1)
                        with m.Else():
                            m.d.sync += [config_due.eq(1), *fail()]
            # After power-on: the configuration.
            with m.State("apply"):
                m.d.comb += applies.eq(1)
                m.d.sync += apply.eq(apply + 1)
                m.d.comb += self.config_stb.eq(apply[:2].all() & ~zeroise_due)
                with m.If(apply == 4 * len(_CONFIG) - 1):
                    m.next = "context"
            # One context after another: a bank is staged, its words come, and it is complete.
            with m.State("context"):
                m.d.sync += [stages.eq(0), gone.eq(0), pause.eq(3)]
                with m.If(~self.keeps | zeroise_due):
                    m.next = "go"
                with m.Elif(~self.sad_busy):
                    m.d.comb += [self.command_stb.eq(1), self.command.eq(SadCommand.STAGE)]
                    m.next = "staging"
            with m.State("staging"):
                m.d.sync += pause.eq(Mux(pause == 0, 0, pause - 1))
                with m.If((pause == 0) & (self.result != SadResult.PENDING)):
                    m.d.sync += stages.eq(self.result == SadResult.OK)
                    m.next = "go"
            with m.State("found"):
                m.d.sync += [pause.eq(3), stages.eq(0)]
                m.d.comb += [self.command_stb.eq(1), self.command.eq(SadCommand.ABORT)]
                m.next = "giving up"
                with m.If(store.good & ~zeroise_due):
                    m.d.comb += self.command.eq(SadCommand.READY)
                    m.d.sync += [
                        of_bank(recorded, bank).eq(1),
                        of_bank(kept, bank).eq(1),
                        clean_due.bit_select(pair, 1).eq(1),
                    ]
                    m.next = "completing"
            with m.State("completing"):
                m.d.sync += pause.eq(Mux(pause == 0, 0, pause - 1))
                with m.If((pause == 0) & (self.result != SadResult.PENDING)):
                    m.next = "refused"
                    with m.If((self.result == SadResult.OK) | gone):
                        m.next = "next context"
            with m.State("refused"):
                m.d.comb += [self.command_stb.eq(1), self.command.eq(SadCommand.ABORT)]
                m.d.sync += pause.eq(3)
                m.next = "giving up"
            with m.State("giving up"):
                m.d.sync += pause.eq(Mux(pause == 0, 0, pause - 1))
                with m.If((pause == 0) & (self.result != SadResult.PENDING)):
                    m.next = "next context"
            with m.State("next context"):
                m.d.sync += [pair.eq(pair + 1), bank.eq(bank + BANKS), stages.eq(0)]
                m.next = "context"
                with m.If(pair == CONTEXTS - 1):
                    m.d.sync += self.restoring.eq(0)
                    m.next = "main"
            # From now on: what is due.
            with m.State("main"):
                m.d.sync += [gone.eq(0), void_failed.eq(0), pause.eq(3)]
                with m.If(~present):
                    m.next = "main"
                with m.Elif(zeroise_due):
                    m.d.sync += [why.eq(_Why.VOID), pair.eq(0), zeroise_due.eq(self.zeroise)]
                    m.next = "go"
                with m.Elif(rests):
                    m.next = "main"
                with m.Elif(unsaved.any()):
                    m.d.sync += why.eq(_Why.SAVE)
                    _lowest(m, unsaved, bank)
                    m.next = "raise"
                with m.Elif(moves.any()):
                    m.d.sync += why.eq(_Why.APPEND)
                    _lowest(m, moves, bank)
                    m.next = "raise"
                with m.Elif(clean_due.any()):
                    m.d.sync += why.eq(_Why.CLEAN)
                    _lowest(m, clean_due, pair)
                    m.next = "go"
                with m.Elif(config_due & (interval_ms == 0)):
                    m.d.sync += [why.eq(_Why.SAVE_CONFIG), pair.eq(CONFIG_PAIR)]
                    m.d.sync += [config_due.eq(0), interval_ms.eq(CONFIG_INTERVAL_MS)]
                    m.next = "go"
            with m.State("raise"):
                # What is due is told some cycles late: the bank may have been emptied meanwhile.
                m.d.sync += [pair.eq(bank[1:]), pause.eq(Mux(pause == 0, 0, pause - 1))]
                with m.If(pause == 0):
                    with m.If(gone | ~of_bank(unsaved | moves, bank)):
                        m.next = "main"
                with m.If((pause == 0) & ~gone & of_bank(unsaved | moves, bank) & ~reserve.busy):
                    m.d.comb += reserve.begin_stb.eq(1)
                    m.d.sync += of_bank(kept, bank).eq(1)
                    m.next = "raise begun"
            with m.State("raise begun"):
                m.next = "raising"
            with m.State("raising"):
                with m.If(reserve.ready):
                    m.next = "go"
                with m.If(~reserve.busy | gone):
                    m.next = "main"
            with m.State("appended"):
                # A full log, or a place that did not take: a record in the other slot instead.
                m.d.sync += why.eq(_Why.SAVE)
                m.next = "go"
                with m.If(store.good & ~gone):
                    m.d.comb += reserve.raised_stb.eq(1)
                    m.d.sync += of_bank(self.hopeless, bank).eq(0)
                with m.If(store.good | gone):
                    m.next = "main"
            with m.State("saved"):
                m.next = "main"
                with m.If(gone):
                    m.d.sync += clean_due.bit_select(pair, 1).eq(1)
                with m.Elif(store.good):
                    # What is found from now on is this one, so its neighbour comes back no more.
                    m.d.comb += reserve.raised_stb.eq(1)
                    m.d.sync += [
                        of_bank(recorded, bank).eq(1),
                        of_bank(recorded, bank ^ 1).eq(0),
                        of_bank(kept, bank ^ 1).eq(0),
                        of_bank(self.hopeless, bank).eq(0),
                        of_bank(self.hopeless, bank ^ 1).eq(0),
                        clean_due.bit_select(pair, 1).eq(1),
                    ]
                with m.Else():
                    m.d.sync += [of_bank(tried, bank).eq(1), *fail()]
                    with m.If(of_bank(tried | recorded, bank)):
                        m.d.comb += reserve.dropped_stb.eq(1)
                        m.d.sync += of_bank(self.hopeless, bank).eq(1)
                    with m.Else():
                        m.d.comb += reserve.raised_stb.eq(1)
            with m.State("voided"):
                m.next = "main"
                with m.If(void_failed):
                    m.d.sync += [zeroise_due.eq(1), *fail()]
                with m.Else():
                    m.d.sync += clean_due.eq(0)
        m.d.comb += self.context.eq(pair)
        with m.If(self.zeroise):
            m.d.sync += zeroise_due.eq(1)
        with m.If(self.config_save_stb):
            m.d.sync += config_due.eq(1)
        for n in _BANK:
            with m.If(self.wipe[n]):
                m.d.sync += [
                    recorded[n].eq(0),
                    kept[n].eq(0),
                    tried[n].eq(0),
                    self.hopeless[n].eq(0),
                ]
        self._status(m, store, present, config_due, rests)
        return m

    def _status(self, m, store, present, config_due, rests):
        status = self.status
        counts = {"refused": store.refused_stb, "failed": store.failed_stb}
        m.d.comb += [
            status.present.eq(present),
            status.restoring.eq(self.restoring),
            status.failing.eq(rests),
            status.config_due.eq(config_due),
            status.records.eq(store.has),
        ]
        for name, stb in counts.items():
            count = Signal(_COUNT_BITS, name=f"{name}_count")
            m.d.comb += getattr(status, name).eq(count)
            with m.If(stb & ~count.all()):
                m.d.sync += count.eq(count + 1)


def _lowest(m, flags, number):
    """The number of the lowest flag that is set."""
    for n in reversed(range(len(flags))):
        with m.If(flags[n]):
            m.d.sync += number.eq(n)
