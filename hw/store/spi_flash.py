"""Master of a serial NOR flash: whole operations, each waited for until its end."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from spec.store import (
    ERASE_TIMEOUT_MS,
    PAGE_OCTETS,
    POWER_UP_MS,
    PROGRAM_TIMEOUT_MS,
    FlashCommand,
)

__all__ = ["ADDRESS_BITS", "OCTETS_MAX", "FlashOp", "SpiFlash"]

ADDRESS_BITS = 24
OCTETS_MAX = 2 * PAGE_OCTETS - 1
"""Octets of one READ."""
_DESELECT_CYCLES = 16
"""Chip select stays up for so long between commands: 128 ns at 125 MHz."""


class FlashOp(enum.Enum, shape=2):
    """What one operation does."""

    READ = 0
    PROGRAM = 1
    ERASE = 2
    IDENTIFY = 3
    """Reads the JEDEC ID; `octets` of 3 gives all of it."""


class _Step(enum.Enum, shape=2):
    """The commands of an operation. READ and IDENTIFY have the first and the third."""

    WAIT_BEFORE = 0
    ENABLE = 1
    ACT = 2
    WAIT_AFTER = 3


class SpiFlash(wiring.Component):
    """Carries out one operation at a time, in SPI mode 0.

    Each one first waits until the flash is not busy, for it may still be at what went on before a
    reset of this side; PROGRAM and ERASE set the write enable latch, and wait again. A flash that
    stays busy beyond ERASE_TIMEOUT_MS or PROGRAM_TIMEOUT_MS ends the operation with `failed`. So
    does one that is not there, if its line reads as ones. Whether a program or erase took is not
    asked of the flash: whoever writes reads back.

    Timing: an octet takes 16 * half_cycles cycles. Nothing begins in the first POWER_UP_MS.

    Parameters
    ----------
    half_cycles : int
        Cycles of half a clock of the flash, at least 2. READ is good for 33 MHz on every flash.

    Attributes
    ----------
    tick_ms : Signal, in
        Strobe each millisecond.
    sck, cs_n, mosi : Signal, out; miso : Signal, in
        To the flash; `miso` is taken at the end of the clock's high half, one register late.
    start, op, address, octets : Signal, in
        Begins an operation, where `busy` is 0; the others stay until `done`. PROGRAM stays within
        a page. READ and PROGRAM have at least one octet.
    busy : Signal, out
    done, failed : Signal, out
        Strobe at the end of an operation; whether it was given up.
    w_data, w_valid : Signal, in; w_ready : Signal, out
        Octets to program; the clock rests where there is none.
    r_data, r_stb : Signal, out
        Octets read, at least 16 * half_cycles cycles apart.

    Source: JESD216; data sheets of W25Q and compatible parts.
    """

    def __init__(self, *, half_cycles: int):
        if half_cycles < 2:
            raise ValueError(f"half_cycles must be at least 2, not {half_cycles}")
        self._half_cycles = half_cycles
        super().__init__(
            {
                "tick_ms": In(1),
                "sck": Out(1),
                "cs_n": Out(1, init=1),
                "mosi": Out(1),
                "miso": In(1),
                "start": In(1),
                "op": In(FlashOp),
                "address": In(ADDRESS_BITS),
                "octets": In(range(OCTETS_MAX + 1)),
                "busy": Out(1, init=1),
                "done": Out(1),
                "failed": Out(1),
                "w_data": In(8),
                "w_valid": In(1),
                "w_ready": Out(1),
                "r_data": Out(8),
                "r_stb": Out(1),
            }
        )

    @property
    def half_cycles(self) -> int:
        """Cycles of half a clock of the flash."""
        return self._half_cycles

    def elaborate(self, platform):
        m = Module()
        # One octet in and one out: begun by `exchange`, ended with `exchanged`.
        exchange, exchanged = Signal(), Signal()
        octet_out = Signal(8)
        shift = Signal(8)
        bits = Signal(4)
        half = Signal(range(self._half_cycles))
        miso = Signal()
        turns = Signal()
        m.d.sync += [miso.eq(self.miso), exchanged.eq(0), turns.eq(half == 1)]
        m.d.comb += [self.mosi.eq(shift[-1]), self.r_data.eq(shift)]
        with m.If(exchange):
            m.d.sync += [shift.eq(octet_out), bits.eq(8), half.eq(self._half_cycles - 1)]
            m.d.sync += turns.eq(0)
        with m.Elif(bits != 0):
            m.d.sync += half.eq(half - 1)
            with m.If(turns):
                m.d.sync += [half.eq(self._half_cycles - 1), self.sck.eq(~self.sck), turns.eq(0)]
                with m.If(self.sck):
                    m.d.sync += [
                        shift.eq(Cat(miso, shift[:-1])),
                        bits.eq(bits - 1),
                        exchanged.eq(bits == 1),
                    ]

        left_ms = Signal(range(ERASE_TIMEOUT_MS + 1), init=POWER_UP_MS)
        expired = Signal()
        m.d.sync += expired.eq(left_ms == 0)
        with m.If(self.tick_ms & ~expired):
            m.d.sync += left_ms.eq(left_ms - 1)

        step = Signal(_Step)
        writes = Signal()
        header = Signal(32)
        header_left = Signal(range(5))
        left = Signal.like(self.octets)
        pause = Signal(range(_DESELECT_CYCLES))
        waits = (step == _Step.WAIT_BEFORE) | (step == _Step.WAIT_AFTER)
        m.d.comb += writes.eq((self.op == FlashOp.PROGRAM) | (self.op == FlashOp.ERASE))
        m.d.sync += self.done.eq(0)

        def command(code, octets):
            return [header.eq(Cat(Const(0, 24), Const(code, 8))), header_left.eq(octets)]

        with m.FSM(name="spi_flash"):
            with m.State("power up"):
                with m.If(expired):
                    m.d.sync += self.busy.eq(0)
                    m.next = "idle"
            with m.State("idle"):
                m.d.sync += [step.eq(_Step.WAIT_BEFORE), left_ms.eq(ERASE_TIMEOUT_MS)]
                m.d.sync += expired.eq(0)
                with m.If(self.start):
                    m.d.sync += [self.busy.eq(1), self.failed.eq(0)]
                    m.next = "select"
            with m.State("select"):
                m.d.sync += [self.cs_n.eq(0), left.eq(self.octets)]
                with m.Switch(step):
                    with m.Case(_Step.ENABLE):
                        m.d.sync += command(FlashCommand.WRITE_ENABLE, 1)
                    with m.Case(_Step.ACT):
                        m.d.sync += [header[:24].eq(self.address), header_left.eq(4)]
                        with m.Switch(self.op):
                            with m.Case(FlashOp.READ):
                                m.d.sync += header[24:].eq(FlashCommand.READ)
                            with m.Case(FlashOp.PROGRAM):
                                m.d.sync += header[24:].eq(FlashCommand.PAGE_PROGRAM)
                            with m.Case(FlashOp.ERASE):
                                m.d.sync += header[24:].eq(FlashCommand.SECTOR_ERASE)
                            with m.Case(FlashOp.IDENTIFY):
                                m.d.sync += command(FlashCommand.READ_ID, 1)
                    with m.Default():
                        m.d.sync += command(FlashCommand.READ_STATUS, 1)
                m.next = "header"
            with m.State("header"):
                m.d.comb += [exchange.eq(1), octet_out.eq(header[24:])]
                m.d.sync += [header.eq(header << 8), header_left.eq(header_left - 1)]
                m.next = "header goes"
            with m.State("header goes"):
                with m.If(exchanged):
                    m.next = "header"
                    with m.If(header_left == 0):
                        m.next = "deselect"
                        with m.If(waits):
                            m.next = "octet"
                        with m.Elif((step == _Step.ACT) & (self.op != FlashOp.ERASE)):
                            m.next = "octet"
            with m.State("octet"):
                programs = (step == _Step.ACT) & (self.op == FlashOp.PROGRAM)
                m.d.comb += [
                    octet_out.eq(Mux(programs, self.w_data, 0)),
                    exchange.eq(~programs | self.w_valid),
                    self.w_ready.eq(programs),
                ]
                with m.If(exchange):
                    m.d.sync += left.eq(left - 1)
                    m.next = "octet goes"
            with m.State("octet goes"):
                with m.If(exchanged):
                    with m.If(waits):
                        # Bit 0 of the status is in the lowest place of the shift register.
                        m.next = "octet"
                        with m.If(~shift[0]):
                            m.next = "deselect"
                        with m.Elif(expired):
                            m.d.sync += self.failed.eq(1)
                            m.next = "deselect"
                    with m.Else():
                        m.d.comb += self.r_stb.eq(~writes)
                        m.next = "octet"
                        with m.If(left == 0):
                            m.next = "deselect"
            with m.State("deselect"):
                m.d.sync += [self.cs_n.eq(1), pause.eq(_DESELECT_CYCLES - 1)]
                m.next = "pause"
            with m.State("pause"):
                m.d.sync += pause.eq(pause - 1)
                with m.If(pause == 0):
                    m.next = "select"
                    with m.Switch(step):
                        with m.Case(_Step.WAIT_BEFORE):
                            m.d.sync += step.eq(Mux(writes, _Step.ENABLE, _Step.ACT))
                        with m.Case(_Step.ENABLE):
                            m.d.sync += step.eq(_Step.ACT)
                        with m.Default():
                            m.d.sync += [step.eq(_Step.WAIT_AFTER), expired.eq(0)]
                            m.d.sync += left_ms.eq(
                                Mux(self.op == FlashOp.ERASE, ERASE_TIMEOUT_MS, PROGRAM_TIMEOUT_MS)
                            )
                    with m.If(
                        self.failed | (step == _Step.WAIT_AFTER) | ((step == _Step.ACT) & ~writes)
                    ):
                        m.d.sync += [self.done.eq(1), self.busy.eq(0)]
                        m.next = "idle"
        return m
