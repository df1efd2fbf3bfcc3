"""The log of what happened to the host and to the NIC's secrets."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.host.monitor import HOST_STATE_BITS
from spec.host import BANK_EVENTS, EVENTS, TAMPER_FAILURES, TAMPER_MS, BootKind, HostEvent
from spec.registers import BY_NAME
from spec.sa import ALL_BANKS

__all__ = ["EventLog", "EventWord"]


def _word() -> data.FlexibleLayout:
    fields = {f.name: data.Field(f.width, f.lsb) for f in BY_NAME["EVENT"].fields}
    return data.FlexibleLayout(32, fields)


EventWord = _word()
"""An event, as EVENT shows it."""


class EventLog(wiring.Component):
    """Notes each event in a ring of EVENTS words; a newer one takes the place of the oldest.

    A change of the host's state is noted as it shows, so none is missed. What
    else happens waits for that, and is noted before the change that it causes. An event that comes
    again while it waits, for some cycles at most, is noted once.

    Wrong ICVs are counted from the first one on for TAMPER_MS; the TAMPER_FAILURES-th of them is an
    event, and no further one until that time is over.

    Attributes
    ----------
    state : Signal, in
    hung_stb, hang_stb, boot_stbs : Signal, in
        As of the monitor.
    code : Signal, in
        What firmware told last.
    icv_stb : Signal, in
        A packet had a wrong ICV.
    zeroise : Signal, in
        All banks are emptied, as long as the board's button is pressed or for a cycle by a message;
        the beginning is an event.
    bank_stbs, bank : Signal, in
        An event of BANK_EVENTS, and of which bank, which stays for some cycles.
    number : Signal, out
        That the next event gets.
    select : Signal, in; selected : EventWord, out
        A place of the ring and its event, in the same cycle; 0 where there was none yet.
    take : Signal, in; taken : EventWord, out
        The same for alerts, of events that there are.
    """

    tick_ms: In(1)
    state: In(HOST_STATE_BITS)
    hung_stb: In(1)
    hang_stb: In(1)
    boot_stbs: In(len(BootKind))
    code: In(8)
    icv_stb: In(1)
    zeroise: In(1)
    bank_stbs: In(len(BANK_EVENTS))
    bank: In(range(ALL_BANKS))
    number: Out(8)
    select: In(range(EVENTS))
    selected: Out(EventWord)
    take: In(range(EVENTS))
    taken: Out(EventWord)

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = Memory(shape=32, depth=EVENTS, init=[])
        write = ring.write_port()
        look, taker = ring.read_port(domain="comb"), ring.read_port(domain="comb")

        failures = Signal(range(TAMPER_FAILURES + 1))
        left = Signal(range(TAMPER_MS + 1))
        counts, tampered = Signal(), Signal()
        m.d.comb += counts.eq(self.icv_stb & (failures != TAMPER_FAILURES))
        m.d.sync += tampered.eq(counts & (failures == TAMPER_FAILURES - 1))
        with m.If(self.tick_ms & (failures != 0)):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += failures.eq(0)
        with m.If(counts & ~(self.tick_ms & (left == 1))):
            m.d.sync += failures.eq(failures + 1)
            with m.If(failures == 0):
                m.d.sync += left.eq(TAMPER_MS)

        was_zeroised = Signal()
        m.d.sync += was_zeroised.eq(self.zeroise)
        strobes = {
            HostEvent.WATCHDOG: self.hung_stb,
            HostEvent.BOOT_PROGRESS: self.boot_stbs[BootKind.PROGRESS],
            HostEvent.BOOT_ERROR: self.boot_stbs[BootKind.ERROR],
            HostEvent.BOOT_HANG: self.boot_stbs[BootKind.HANG] | self.hang_stb,
            HostEvent.TAMPER: tampered,
            HostEvent.ZEROISED: self.zeroise & ~was_zeroised,
            **dict(zip(BANK_EVENTS, self.bank_stbs, strict=True)),
        }
        waiting = Signal(len(strobes))
        noted = Signal(len(strobes))
        m.d.sync += waiting.eq((waiting & ~noted) | Cat(strobes.values()))

        # Noted in one cycle, written in the next.
        before = Signal(HOST_STATE_BITS)
        late = Signal(EventWord)
        kind = Signal.like(late.kind)
        notes = Signal()
        m.d.sync += [
            before.eq(self.state),
            late.state.eq(self.state),
            late.before.eq(before),
            late.code.eq(self.code),
            late.kind.eq(kind),
        ]
        with m.If(self.state != before):
            m.d.comb += [kind.eq(HostEvent.STATE), notes.eq(1)]
        for n, which in enumerate(strobes):
            with m.Elif(waiting[n]):
                m.d.comb += [kind.eq(which), notes.eq(1), noted[n].eq(1)]
                if which in BANK_EVENTS:
                    m.d.sync += late.code.eq(self.bank)
        writes = Signal()
        event = Signal(EventWord)
        m.d.sync += writes.eq(notes)
        m.d.comb += [
            event.eq(late),
            event.number.eq(self.number),
            write.en.eq(writes),
            write.addr.eq(self.number),
            write.data.eq(event.as_value()),
            look.addr.eq(self.select),
            taker.addr.eq(self.take),
            self.taken.eq(taker.data),
        ]
        with m.If(writes):
            m.d.sync += self.number.eq(self.number + 1)
        # The ring is not cleared by a reset of the clock domain.
        filled = Signal()
        with m.If(self.number[: (EVENTS - 1).bit_length()].all() & writes):
            m.d.sync += filled.eq(1)
        with m.If(filled | (self.select < self.number)):
            m.d.comb += self.selected.eq(look.data)
        return m
