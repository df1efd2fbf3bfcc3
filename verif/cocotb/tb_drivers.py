"""Bench of the drivers themselves, on a packet register, a scratch register bus and broken
devices."""

import time

import cocotb
from cocotb.triggers import with_timeout

from verif.cocotb.drivers import (
    PATTERNS,
    Bench,
    ContractError,
    PacketSink,
    PacketSource,
    RegisterBus,
    StreamSink,
    bench_parameters,
    pattern,
)


@cocotb.test()
@cocotb.parametrize(idle=list(PATTERNS), backpressure=list(PATTERNS))
async def frames_arrive_as_sent(dut, idle, backpressure):
    """Each frame of each length comes out whole, with `err` where it was put."""
    bench = Bench(dut)
    source = PacketSource(bench, "i", idle=pattern(idle, bench.rng))
    sink = PacketSink(bench, "o", backpressure=pattern(backpressure, bench.rng))
    await bench.reset()
    sent = [(bench.rng.randbytes(n), n % 3 == 0) for n in (1, 2, 3, 1, 1, 64, 200)]
    for octets, err in sent:
        source.send(octets, err=err)
    frames = [await with_timeout(sink.receive(), 100, "us") for _ in sent]
    assert [(frame.data, frame.err) for frame in frames] == sent
    if idle == backpressure == "none":
        assert frames[-1].last_cycle - frames[0].first_cycle == sum(len(o) for o, _ in sent) - 1
    await bench.finish()


@cocotb.test()
async def registers_keep_what_was_written(dut):
    """Reads return, in the cycle after the strobe, what was last written at that address."""
    bench = Bench(dut)
    bus = RegisterBus(bench)
    await bench.reset()
    values = {addr: bench.rng.getrandbits(32) for addr in range(0, 64, 4)}
    for addr, value in values.items():
        await bus.write(addr, value)
    for addr, value in values.items():
        assert await bus.read(addr) == value
    await bench.finish()


@cocotb.test()
async def broken_device_is_caught(dut):
    """The sink raises on the fault that the device was built with."""
    fault = bench_parameters()["fault"]
    bench = Bench(dut)
    source = PacketSource(bench, "i")
    sink = PacketSink(bench, "o", backpressure=pattern("random", bench.rng))
    await bench.reset()
    source.send(bytes(range(32)))
    source.send(bytes(range(32)))
    caught = None
    sample = sink.sample

    def guarded() -> None:
        nonlocal caught
        try:
            sample()
        except ContractError as error:
            caught = caught or error

    sink.sample = guarded
    await bench.cycles(300)
    assert fault in str(caught), caught


@cocotb.test()
async def rate(dut):
    """Prints what the drivers reach, for the record."""
    bench = Bench(dut)
    source, sink = PacketSource(bench, "i"), StreamSink(bench, "o")
    await bench.reset()
    source.send(bytes(20_000))
    start = time.perf_counter()
    await source.drained()
    elapsed = time.perf_counter() - start
    cocotb.log.info("RESULT drivers: %d cycles a second", 20_000 / elapsed)
    sink.take_all()
