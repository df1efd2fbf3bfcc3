"""Bench of the frame store: whole frames pass, in order; what is dropped is dropped whole."""

import cocotb
from cocotb.triggers import with_timeout

from verif.cocotb.drivers import Bench, PacketSink, PacketSource, bench_parameters, none, pattern


def start(dut, idle="none", backpressure="none"):
    bench = Bench(dut)
    source = PacketSource(bench, "i", idle=pattern(idle, bench.rng))
    sink = PacketSink(bench, "o", backpressure=pattern(backpressure, bench.rng))
    return bench, source, sink


@cocotb.test()
@cocotb.parametrize(idle=["none", "random"], backpressure=["none", "random"])
async def whole_frames_pass(dut, idle, backpressure):
    """Good frames come out as sent and without a pause of the store's own; bad ones do not."""
    bench, source, sink = start(dut, idle, backpressure)
    await bench.reset()
    frames = [(bench.rng.randbytes(n), n % 3 == 0) for n in (1, 2, 3, 60, 61, 62, 63, 64, 1, 1)]
    for octets, err in frames:
        source.send(octets, err=err)
        if idle == "random":
            await source.drained()
            await bench.cycles(80)
    for octets, err in frames:
        if not err:
            frame = await with_timeout(sink.receive(), 50, "us")
            assert (frame.data, frame.err) == (octets, False)
            if backpressure == "none":
                assert frame.last_cycle - frame.first_cycle == len(octets) - 1
    assert int(dut.dropped_count.value) == 0
    await bench.finish(50)


@cocotb.test()
async def a_full_store_drops_whole_frames_or_holds(dut):
    """With nobody taking them: frames are held up, or dropped and counted; the rest come whole."""
    holds = bench_parameters()["holds"]
    bench, source, sink = start(dut)
    sink.backpressure = iter(lambda: True, None)
    await bench.reset()
    frames = [bench.rng.randbytes(60 + n) for n in range(8)]
    for octets in frames:
        source.send(octets)
    await bench.cycles(800)
    dropped = int(dut.dropped_count.value)
    if holds:
        assert dropped == 0
        assert source.pending > 0
    else:
        assert dropped == len(frames) - 4  # 256 octets have room for four of them
        assert source.pending == 0
    sink.backpressure = none()
    for octets in frames if holds else frames[:4]:
        assert (await with_timeout(sink.receive(), 50, "us")).data == octets
    source.send(frames[0])
    assert (await with_timeout(sink.receive(), 50, "us")).data == frames[0]
    await bench.finish(50)


@cocotb.test()
async def a_frame_longer_than_the_store_is_dropped(dut):
    """It goes no further, and the next frame does."""
    bench, source, sink = start(dut)
    await bench.reset()
    for length in (256, 257, 300, 1000):
        source.send(bench.rng.randbytes(length))
        source.send(b"next")
        assert (await with_timeout(sink.receive(), 50, "us")).data == b"next", length
    assert int(dut.dropped_count.value) == 4
    await bench.finish(50)
