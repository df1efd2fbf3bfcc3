"""The register bus over a serial line, for boards where the host has no faster way in.

The line is 8N1. A request is 8 octets, answered by 8 octets:

======  =========================================  ==============================================
octets  request                                    answer
======  =========================================  ==============================================
0       `UartOp`: READ or WRITE                    the same
1       0                                          `UartStatus`
2, 3    octet address of the register, high first  the same
4 to 7  value to write, high octet first; 0 if     value read, high octet first; 0 after a write
        READ
======  =========================================  ==============================================

The next request is sent after the answer. An octet that is no `UartOp` is ignored where a request
would begin. A request that pauses for longer than the idle time, or an octet without its stop bit,
sets the parser back to the beginning: so after a pause both ends agree where a request begins.
"""

import enum as python_enum

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from hw.host.registers import READ_CYCLES, BusSignature

__all__ = ["REQUEST_OCTETS", "UartBridge", "UartOp", "UartStatus"]

REQUEST_OCTETS = 8
"""Octets of a request, and of its answer."""


class UartOp(python_enum.IntEnum):
    """First octet of a request."""

    READ = 0x52
    WRITE = 0x57


class UartStatus(python_enum.IntEnum):
    """Second octet of an answer."""

    OK = 0
    BAD_REQUEST = 1
    """Address no multiple of 4 or beyond the bus, or second octet not 0: nothing was done."""


class UartReceiver(wiring.Component):
    """Octets of an 8N1 line: `valid` for one cycle with `data`, or `error` if the stop bit is 0.

    Parameters
    ----------
    bit_cycles : int
        Cycles a bit; at least 8.
    """

    def __init__(self, *, bit_cycles: int):
        if bit_cycles < 8:
            raise ValueError(f"bit_cycles must be at least 8, not {bit_cycles}")
        self._bit_cycles = bit_cycles
        super().__init__({"rx": In(1), "data": Out(8), "valid": Out(1), "error": Out(1)})

    @property
    def bit_cycles(self) -> int:
        """Cycles a bit."""
        return self._bit_cycles

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.line = cdc.FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self._bit_cycles))
        is_due = Signal()  # the timer is 0
        count = Signal(range(10))
        m.d.sync += [self.valid.eq(0), self.error.eq(0), is_due.eq(timer == 1)]
        with m.FSM(name="uart_receiver"):
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self._bit_cycles // 2 - 1), count.eq(0)]
                with m.If(~line):
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(is_due):
                    m.d.sync += [timer.eq(self._bit_cycles - 1), count.eq(count + 1)]
                    with m.If(count == 0):
                        with m.If(line):
                            m.next = "IDLE"  # a spike, no start bit
                    with m.Elif(count == 9):
                        m.d.sync += [self.valid.eq(line), self.error.eq(~line)]
                        m.next = "STOP"
                    with m.Else():
                        m.d.sync += self.data.eq(Cat(self.data[1:], line))
            with m.State("STOP"):
                # After a break: the line rises before the next start bit can fall.
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartSender(wiring.Component):
    """Sends octets on an 8N1 line; `data` is taken in a cycle with `valid` and `ready`.

    Parameters
    ----------
    bit_cycles : int
        Cycles a bit.
    """

    def __init__(self, *, bit_cycles: int):
        self._bit_cycles = bit_cycles
        super().__init__({"tx": Out(1, init=1), "data": In(8), "valid": In(1), "ready": Out(1)})

    @property
    def bit_cycles(self) -> int:
        """Cycles a bit."""
        return self._bit_cycles

    def elaborate(self, platform):
        m = Module()
        bits = Signal(10, init=1)
        left = Signal(range(11))
        timer = Signal(range(self._bit_cycles))
        is_due = Signal()  # the timer is 0
        m.d.comb += self.ready.eq(left == 0)
        m.d.sync += [self.tx.eq(bits[0]), is_due.eq(timer == 1)]
        with m.If(self.ready):
            with m.If(self.valid):
                m.d.sync += [bits.eq(Cat(0, self.data, 1)), left.eq(10)]
                m.d.sync += timer.eq(self._bit_cycles - 1)
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
            with m.If(is_due):
                m.d.sync += [
                    timer.eq(self._bit_cycles - 1),
                    bits.eq(Cat(bits[1:], 1)),
                    left.eq(left - 1),
                ]
        return m


class UartBridge(wiring.Component):
    """Master of the register bus, ruled by requests on a serial line (see this module).

    One access a request, made when all 8 octets have come. What was written is kept no longer than
    that, and never sent back.

    Parameters
    ----------
    clock_hz : int
        Frequency of the clock.
    baud : int
        Bits a second on the line.
    idle_ms : int
        Milliseconds within a request after which it is given up.

    Attributes
    ----------
    rx, tx : Signal
        The line; 1 when idle. `rx` need not be synchronous.
    bus : register bus, out
        One cycle of `w_stb` or `r_stb`; `r_data` counts READ_CYCLES after `r_stb`.
    """

    def __init__(self, *, clock_hz: int, baud: int = 115_200, idle_ms: int = 100):
        if baud < 1 or clock_hz < 8 * baud:
            raise ValueError(f"baud must be 1 to clock_hz / 8 = {clock_hz // 8}, not {baud}")
        if idle_ms < 1:
            raise ValueError(f"idle_ms must be at least 1, not {idle_ms}")
        self._bit_cycles = round(clock_hz / baud)
        self._idle_cycles = clock_hz // 1000 * idle_ms
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "bus": Out(BusSignature()),
            }
        )

    @property
    def bit_cycles(self) -> int:
        """Cycles a bit."""
        return self._bit_cycles

    @property
    def idle_cycles(self) -> int:
        """Cycles within a request after which it is given up."""
        return self._idle_cycles

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(bit_cycles=self._bit_cycles)
        m.submodules.sender = sender = UartSender(bit_cycles=self._bit_cycles)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(sender.tx)]

        # First octet on the line in the high end, as the numbers on it are.
        octets = Signal(8 * REQUEST_OCTETS)
        value, addr, second, op = octets[:32], octets[32:48], octets[48:56], octets[56:]
        count = Signal(range(REQUEST_OCTETS))
        wait = Signal(range(READ_CYCLES + 1))
        m.d.sync += [self.bus.w_stb.eq(0), self.bus.r_stb.eq(0)]
        idle = Signal(range(self._idle_cycles))
        # Known before they are asked for, the last two until the end of the access; `begins`: an
        # octet would begin a request, or go on with it.
        begins, writes, valid = Signal(), Signal(), Signal()
        expired = Signal()
        m.d.sync += [
            begins.eq(
                (receiver.data == UartOp.READ) | (receiver.data == UartOp.WRITE) | (count != 0)
            ),
            writes.eq(op == UartOp.WRITE),
            valid.eq((second == 0) & (addr[:2] == 0) & (addr[12:] == 0)),
            expired.eq(idle == self._idle_cycles - 2),
        ]
        m.d.comb += [
            self.bus.addr.eq(addr[:12]),
            self.bus.w_data.eq(value),
            sender.data.eq(op),
        ]

        with m.FSM(name="uart_bridge"):
            with m.State("REQUEST"):
                m.d.sync += idle.eq(idle + 1)
                with m.If(receiver.valid & begins):
                    m.d.sync += [
                        octets.eq(Cat(receiver.data, octets[:-8])),
                        count.eq(count + 1),
                        idle.eq(0),
                        expired.eq(0),
                    ]
                    with m.If(count == REQUEST_OCTETS - 1):
                        m.next = "CHECK"
                with m.Elif(receiver.error | expired):
                    m.d.sync += [octets.eq(0), count.eq(0), idle.eq(0), expired.eq(0)]
            with m.State("CHECK"):
                m.next = "ACCESS"
            with m.State("ACCESS"):
                m.d.sync += [
                    self.bus.w_stb.eq(valid & writes),
                    self.bus.r_stb.eq(valid & ~writes),
                ]
                status = Mux(valid, Const(UartStatus.OK, 8), Const(UartStatus.BAD_REQUEST, 8))
                m.d.sync += [second.eq(status), count.eq(0)]
                m.d.sync += wait.eq(READ_CYCLES)
                m.next = "WAIT"
            with m.State("WAIT"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 1):
                    m.next = "RESULT"
            with m.State("RESULT"):
                m.d.sync += value.eq(Mux(valid & ~writes, self.bus.r_data, 0))
                m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += sender.valid.eq(1)
                with m.If(sender.ready):
                    m.d.sync += [octets.eq(Cat(Const(0, 8), octets[:-8])), count.eq(count + 1)]
                    with m.If(count == REQUEST_OCTETS - 1):
                        m.d.sync += [count.eq(0), idle.eq(0)]
                        m.next = "REQUEST"
        return m
