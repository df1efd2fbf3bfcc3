# amaranth: UnusedElaboratable=no
"""The way of received octets between two clocks that are not quite the same."""

import random
import zlib

import pytest
from amaranth.hdl import ClockDomain, Elaboratable, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

from hw.eth.gmii import GmiiBeat, RxCrossing
from hw.eth.mac_rx import MacRx
from hw.stream import PacketSignature

PERIOD = 8e-9
PREAMBLE = b"\x55" * 7 + b"\xd5"


class Receiver(wiring.Component):
    """Crossing and MAC, as on a board."""

    gmii: wiring.In(GmiiBeat)
    o: Out(PacketSignature())

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.domains.phy = ClockDomain("phy", reset_less=True)
        m.submodules.crossing = crossing = RxCrossing(domain="phy")
        m.submodules.mac = mac = MacRx()
        m.d.comb += crossing.i.eq(self.gmii)
        wiring.connect(m, crossing.o, mac.i)
        wiring.connect(m, wiring.flipped(self.o), mac.o)
        return m


def octet_times(frames: list[bytes], gap: int) -> list[tuple[int, int]]:
    """Octets with RX_DV, and `gap` idle ones after each frame; the PHY leaves its status there."""
    times = [(0x0D, 0)] * 20
    for frame in frames:
        fcs = zlib.crc32(frame).to_bytes(4, "little")
        times += [(octet, 1) for octet in PREAMBLE + frame + fcs] + [(0xDD, 0)] * gap
    return times


def received(
    times: list[tuple[int, int]], *, ppm: float = 0.0, ready: list[int] | None = None
) -> list[tuple[bytes, bool]]:
    """The frames that come out: data and `err`. `ready` per cycle of `sync`, 1 after its end."""
    design = Receiver()
    simulator = Simulator(design)
    simulator.add_clock(PERIOD)
    simulator.add_clock(PERIOD * (1 + ppm / 1e6), phase=PERIOD * 0.3, domain="phy")
    frames: list[tuple[bytes, bool]] = []

    async def phy(context):
        for octet, en in times:
            context.set(design.gmii, {"data": octet, "en": en, "er": 0})
            await context.tick("phy")
        context.set(design.gmii, {"data": 0, "en": 0, "er": 0})

    async def sink(context):
        frame = bytearray()
        for cycle in range(len(times) + 400):
            context.set(design.o.ready, ready[cycle] if ready and cycle < len(ready) else 1)
            _, _, valid, is_ready, beat = await context.tick().sample(
                design.o.valid, design.o.ready, design.o.payload
            )
            if valid and is_ready:
                frame.append(beat.data)
                if beat.last:
                    frames.append((bytes(frame), bool(beat.err)))
                    frame.clear()

    simulator.add_testbench(phy)
    simulator.add_testbench(sink)
    simulator.run_until(PERIOD * (len(times) + 500))
    return frames


@pytest.mark.parametrize("ppm", [-200, 0, 200])
def test_frames_cross_at_line_rate(ppm: float) -> None:
    rng = random.Random(ppm)
    frames = [rng.randbytes(n) for n in (60, 1514, 61)]
    assert received(octet_times(frames, 12), ppm=ppm) == [(frame, False) for frame in frames]


def test_eight_cycles_of_backpressure_after_a_frame_lose_nothing() -> None:
    frames = [bytes([n]) * 60 for n in range(3)]
    # Whenever the eight cycles begin: most of these are within frames, which is worse.
    for start in range(0, 96, 16):
        ready = [1] * (60 + start) + [0] * 8
        out = received(octet_times(frames, 12), ready=ready)
        assert out == [(frame, False) for frame in frames], start


def test_octets_lost_spoil_the_frame_that_misses_them() -> None:
    frames = [bytes([n]) * 100 for n in range(6)]
    ready = [1] * 70 + [0] * 150
    out = received(octet_times(frames, 12), ready=ready)
    good = [data for data, err in out if not err]
    assert all(data in frames for data in good)
    assert frames[-3:] == good[-3:]
    assert len(good) < len(frames)


def crossed(times: list[tuple[int, int]], ready: list[int]) -> list[tuple[int, int, int]]:
    """The beats that come out of the crossing alone: data, `en`, `er`."""
    m = Module()
    m.domains.phy = ClockDomain("phy", reset_less=True)
    m.submodules.crossing = crossing = RxCrossing(domain="phy")
    simulator = Simulator(m)
    simulator.add_clock(PERIOD)
    simulator.add_clock(PERIOD, phase=PERIOD * 0.3, domain="phy")
    beats: list[tuple[int, int, int]] = []

    async def phy(context):
        for octet, en in times:
            context.set(crossing.i, {"data": octet, "en": en, "er": 0})
            await context.tick("phy")

    async def sink(context):
        for go in [*ready, *[1] * len(times)]:
            context.set(crossing.o.ready, go)
            _, _, valid, beat = await context.tick().sample(crossing.o.valid, crossing.o.payload)
            if valid and go:
                beats.append((beat.data, beat.en, beat.er))

    simulator.add_testbench(phy)
    simulator.add_testbench(sink)
    simulator.run_until(PERIOD * (len(ready) + len(times)))
    return beats


def test_idle_octet_times_are_left_out() -> None:
    bursts = [[(n, 1) for n in range(5)], [(0xDD, 0)] * 40] * 3
    beats = crossed([item for burst in bursts for item in burst], [])
    assert [(data, en) for data, en, _ in beats if en] == [(n, 1) for n in range(5)] * 3
    assert [en for _, en, _ in beats] == [1, 1, 1, 1, 1, 0] * 3
    assert not any(er for _, _, er in beats)


@pytest.mark.parametrize("held", [40, 55, 80])
def test_the_beat_after_lost_octets_tells_of_them(held: int) -> None:
    # Two bursts; held up so long that the end of the first, or more, finds no room.
    times = [*[(n, 1) for n in range(30)], *[(0, 0)] * 12, *[(100 + n, 1) for n in range(60)]]
    beats = crossed([*times, *[(0, 0)] * 20], [0] * held)
    data = [octet for octet, en, _ in beats if en]
    gaps = [n for n in range(1, len(data)) if data[n] != data[n - 1] + 1]
    ends = [n for n, (_, en, _) in enumerate(beats) if not en]
    assert gaps
    assert len(ends) in (1, 2)
    # Between what came before the loss and what came after it lies one beat with `er`.
    spoilt = [n for n, (_, _, er) in enumerate(beats) if er]
    assert len(spoilt) == 1
    before = [octet for octet, en, _ in beats[: spoilt[0]] if en]
    assert before == list(range(len(before)))


@pytest.mark.parametrize("depth", [0, 4, 24])
def test_bad_depth_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=str(depth)):
        RxCrossing(domain="phy", depth=depth)
