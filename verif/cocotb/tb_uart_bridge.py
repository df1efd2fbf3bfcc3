"""Bench of the UART bridge, bit by bit on the line, with registers behind it."""

import cocotb

from hw.host.registers import READ_CYCLES
from verif.cocotb.drivers import Bench, Driver, bench_parameters

READ, WRITE = 0x52, 0x57
OK, BAD_REQUEST = 0, 1


class Line(Driver):
    """The other end of the serial line: sends and receives 8N1, at its own bit time."""

    def __init__(self, bench: Bench, bit_cycles: float) -> None:
        super().__init__(bench)
        self.bit_cycles = bit_cycles
        self.received = bytearray()
        self._rx, self._tx = bench.dut.rx, bench.dut.tx
        self._rx.value = 1
        self._edges: list[tuple[float, int]] = []
        self._free_at = 0.0
        self._start: int | None = None
        self._bits: list[int] = []

    def send(self, octets: bytes, *, stop: int = 1) -> None:
        """Queues octets; with `stop` = 0 each without its stop bit."""
        for octet in octets:
            self.send_bits([0, *(octet >> n & 1 for n in range(8)), stop])
            if not stop:
                self.pause(self.bit_cycles)

    def send_bits(self, bits: list[int]) -> None:
        """Queues levels of one bit time each; the line rests at 1 after them."""
        start = max(self._free_at, self.bench.cycle + 1)
        self._edges += [(start + n * self.bit_cycles, bit) for n, bit in enumerate(bits)]
        self._free_at = start + len(bits) * self.bit_cycles
        self._edges.append((self._free_at, 1))

    def pause(self, cycles: float) -> None:
        """Rests the line."""
        self._free_at = max(self._free_at, self.bench.cycle + 1) + cycles

    def drive(self) -> None:
        while self._edges and self._edges[0][0] <= self.bench.cycle:
            self._rx.value = self._edges.pop(0)[1]

    def sample(self) -> None:
        level = int(self._tx.value)
        cycle = self.bench.cycle
        if self._start is None:
            if level == 0:
                self._start, self._bits = cycle, []
            return
        if cycle >= self._start + (len(self._bits) + 0.5) * self.bit_cycles:
            self._bits.append(level)
        if len(self._bits) == 10:
            assert (self._bits[0], self._bits[9]) == (0, 1), f"bits {self._bits}"
            self.received.append(sum(bit << n for n, bit in enumerate(self._bits[1:9])))
            self._start = None

    async def drained(self) -> None:
        """Waits until all that was queued has gone."""
        while self._free_at > self.bench.cycle:
            await self.bench.cycles(4)

    async def answer(self) -> bytes:
        """Waits for 8 octets and takes them."""
        for _ in range(400):
            if len(self.received) >= 8:
                octets = bytes(self.received[:8])
                del self.received[:8]
                return octets
            await self.bench.cycles(int(self.bit_cycles))
        raise TimeoutError(f"{len(self.received)} octets of an answer")

    def leftovers(self) -> str:
        return f"{len(self.received)} octets not looked at" if self.received else ""


NO_DATA = 0xDEADBEEF


class Registers(Driver):
    """Registers on the bus: what is written is read, and every access is remembered."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench)
        self.values: dict[int, int] = {}
        self.accesses: list[tuple[str, int, int]] = []
        self._bus = {
            name: getattr(bench.dut, f"bus__{name}")
            for name in ("addr", "w_data", "w_stb", "r_stb", "r_data")
        }
        self._coming = [NO_DATA] * READ_CYCLES
        self._bus["r_data"].value = 0

    def drive(self) -> None:
        # Right READ_CYCLES after the strobe, wrong in all other cycles.
        self._bus["r_data"].value, *self._coming = self._coming
        self._coming.append(NO_DATA)

    def sample(self) -> None:
        addr = int(self._bus["addr"].value)
        if self._bus["w_stb"].value == 1:
            self.values[addr] = int(self._bus["w_data"].value)
            self.accesses.append(("write", addr, self.values[addr]))
        if self._bus["r_stb"].value == 1:
            self._coming[-1] = self.values.get(addr, 0)
            self.accesses.append(("read", addr, self._coming[-1]))


def request(op: int, addr: int, data: int = 0, second: int = 0) -> bytes:
    """One request, or one answer with `second` as its status."""
    return bytes([op, second]) + addr.to_bytes(2, "big") + data.to_bytes(4, "big")


async def start(dut, stretch: float = 1.0):
    bench = Bench(dut)
    line = Line(bench, bench_parameters()["bit_cycles"] * stretch)
    registers = Registers(bench)
    await bench.reset()
    await bench.cycles(20)
    return bench, line, registers


async def expect_works(line: Line, registers: Registers) -> None:
    """A write and a read get through, whatever came before."""
    addr = line.bench.rng.randrange(0, 4096, 4)
    value = line.bench.rng.getrandbits(32)
    line.send(request(WRITE, addr, value))
    assert await line.answer() == request(WRITE, addr)
    line.send(request(READ, addr))
    assert await line.answer() == request(READ, addr, value)
    assert registers.accesses[-2:] == [("write", addr, value), ("read", addr, value)]


@cocotb.test()
@cocotb.parametrize(stretch=[0.97, 1.0, 1.03])
async def reads_and_writes(dut, stretch):
    """Requests act and are answered, though the other end's bits are a little short or long."""
    bench, line, registers = await start(dut, stretch)
    for _ in range(6):
        await expect_works(line, registers)
    assert len(registers.accesses) == 12
    await bench.finish()


@cocotb.test()
async def refuses_bad_addresses(dut):
    """An address that is no register's, or a wrong second octet: answered, and nothing done."""
    bench, line, registers = await start(dut)
    for op in (READ, WRITE):
        for addr, second in ((1, 0), (2, 0), (0x1000, 0), (0xFFFC, 0), (0x10, 1), (0x10, 0x80)):
            line.send(request(op, addr, 0x12345678, second))
            assert await line.answer() == request(op, addr, 0, BAD_REQUEST)
    assert registers.accesses == []
    await expect_works(line, registers)
    await bench.finish()


@cocotb.test()
async def ignores_what_begins_no_request(dut):
    """Any other octet before a request does nothing."""
    bench, line, registers = await start(dut)
    line.send(bytes(octet for octet in range(256) if octet not in (READ, WRITE)))
    await line.drained()
    await expect_works(line, registers)
    assert len(registers.accesses) == 2
    await bench.finish()


@cocotb.test()
async def forgets_a_request_that_stops(dut):
    """After the idle time within a request, at each octet of it, the next one is taken whole."""
    bench, line, registers = await start(dut)
    idle_cycles = bench_parameters()["idle_cycles"]
    for length in range(1, 8):
        line.send(request(WRITE, 0x40, 0xFFFFFFFF)[:length])
        line.pause(idle_cycles + 30)
        await line.drained()
        await expect_works(line, registers)
    # A shorter pause is borne.
    line.send(request(WRITE, 0x40, 0x01020304)[:5])
    line.pause(idle_cycles * 0.8)
    line.send(request(WRITE, 0x40, 0x01020304)[5:])
    assert await line.answer() == request(WRITE, 0x40)
    assert registers.values[0x40] == 0x01020304
    await bench.finish()


@cocotb.test()
async def forgets_a_request_with_a_bad_octet(dut):
    """An octet without its stop bit, anywhere in a request."""
    bench, line, registers = await start(dut)
    for at in range(8):
        octets = request(WRITE, 0x44, 0x7F7F7F7F)
        line.send(octets[:at])
        line.send(octets[at : at + 1], stop=0)
        line.pause(2 * line.bit_cycles)
        await line.drained()
        await expect_works(line, registers)
    assert 0x44 not in registers.values
    await bench.finish()


@cocotb.test()
async def bears_spikes_and_breaks(dut):
    """Neither a spike shorter than half a bit nor a line held at 0 is an octet."""
    bench, line, registers = await start(dut)
    for width in range(1, int(line.bit_cycles) // 2 - 1):
        line.bit_cycles, usual = float(width), line.bit_cycles
        line.send_bits([0])
        line.bit_cycles = usual
        line.pause(2 * usual)
    # Within a request too.
    octets = request(WRITE, 0x4C, 0x89ABCDEF)
    for octet in octets:
        line.pause(2 * line.bit_cycles)
        line.bit_cycles, usual = 3.0, line.bit_cycles
        line.send_bits([0])
        line.bit_cycles = usual
        line.pause(2 * line.bit_cycles)
        line.send(bytes([octet]))
    assert await line.answer() == request(WRITE, 0x4C)
    assert registers.accesses.pop() == ("write", 0x4C, 0x89ABCDEF)
    line.send_bits([0] * 35)
    line.pause(2 * line.bit_cycles)
    await line.drained()
    await expect_works(line, registers)
    assert len(registers.accesses) == 2
    await bench.finish()


@cocotb.test()
async def survives_a_reset(dut):
    """A reset within a request or an answer: the line rests, the next request is taken."""
    bench, line, registers = await start(dut)
    for cycles in (45, 300, 1000):
        line.send(request(WRITE, 0x48, 0))
        await bench.cycles(cycles)
        await bench.reset()
        await line.drained()
        await bench.cycles(bench_parameters()["idle_cycles"] + 30)
        line.received.clear()
        await expect_works(line, registers)
    await bench.finish()
