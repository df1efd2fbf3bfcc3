"""Bench of the whole NIC: resets and zeroisation at any moment, and the states of the host."""

from typing import Any

import cocotb

from spec.counters import Counter
from spec.host import (
    EVENTS,
    HEARTBEAT_BOOT,
    HEARTBEAT_MAGIC,
    HEARTBEAT_STOP,
    TAMPER_FAILURES,
    BootKind,
    HostEvent,
    HostState,
)
from spec.sa import SadCommand
from verif.cocotb import nic_frames as nf
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

MOMENTS = range(1, 900, 5)
"""Cycles after the first octet: in the frames, in cryptography, in the answers."""
WINDOW_MS = 2000


@cocotb.test()
async def resets_at_any_moment(dut: Any) -> None:
    """A reset ends what is under way on each side; the next good packet works."""
    pair = NicPair(dut)
    for number, moment in enumerate(MOMENTS):
        encap = bool(number % 2)
        await pair.start()
        sa = SaKeys.draw(pair.rng, pair.rng.choice([16, 32]))
        station = Station(sa, encap=encap)
        await pair.stage(sa)
        # A frame on each side, and a command: in another order every time.
        passing = nf.ethernet(0x86DD, pair.rng.randbytes(100))
        frames = [passing, station.protect(nf.asf(nf.RESET, sequence=number, tag=1)), passing]
        pair.rng.shuffle(frames)
        for frame in frames:
            pair.wire_rx.send(frame)
        for _ in range(6):
            body = pair.rng.randbytes(100)
            pair.host_rx.send(nf.ethernet(nf.ETHERTYPE_LOCAL, body, source=nf.NIC_MAC))
        await pair.bench.cycles(moment + pair.rng.randrange(5))
        await pair.start()
        assert await pair.states() == (0, 0)
        await pair.wire(station.protect(nf.asf(nf.RESET, sequence=number, tag=2)), Counter.PASSED)
        pair.no_pin_moved()
        again = Station(SaKeys.draw(pair.rng, pair.rng.choice([16, 32])), encap=not encap)
        await pair.stage(again.sa)
        await pair.works(again)
        pair.host(nf.ethernet(nf.ETHERTYPE_LOCAL, bytes(60), source=nf.NIC_MAC))
        await pair.flow([(passing, False)])
        pair.no_pin_moved()
        if number % 8 == 0:
            command = nf.asf(nf.RESET, sequence=number, tag=3)
            (answer,) = await pair.wire(again.protect(command), Counter.DELIVERED)
            assert again.open(answer) == nf.ack(number)
            assert await pair.pulses() == ["reset"]
    await pair.finish()


@cocotb.test()
async def zeroised_at_any_moment(dut: Any) -> None:
    """An SA that goes while its packets and answers are under way: none is half of it."""
    pair = NicPair(dut)
    acted = answered = 0
    for number, moment in enumerate(MOMENTS):
        await pair.start()
        sa = SaKeys.draw(pair.rng, pair.rng.choice([16, 32]))
        station = Station(sa, encap=bool(number % 2))
        await pair.stage(sa)
        questions = [nf.asf(nf.RESET, sequence=number, tag=1), nf.oem(nf.SA_STATUS)]
        for question in questions:
            pair.wire_rx.send(station.protect(question))
        await pair.bench.cycles(moment + pair.rng.randrange(5))
        await pair.zeroise()
        await pair.wire_rx.drained()
        await pair.bench.cycles(2000)
        assert await pair.registers.ended() == await pair.registers.read("COUNTERS")
        frames = [frame.data for frame in pair.wire_tx.take_all()]
        due = [nf.ack(number), b""]
        for frame, message in zip(frames, due, strict=False):
            opened = station.open(frame)
            assert opened == message or opened[8] == 0x41
        acted += any(edge.level for edge in pair.pins.edges)
        answered += len(frames)
        # On the gateware alone: what it did before, the model cannot say.
        again = Station(SaKeys.draw(pair.rng))
        await pair.registers.write("SA_COMMAND", 0, SadCommand.STAGE)
        for name, index, value in again.sa.staging():
            await pair.registers.write(name, index, value)
        await pair.registers.write("SA_COMMAND", 0, SadCommand.READY)
        pair.wire_rx.send(again.protect(nf.oem(nf.SA_STATUS)))
        await pair.bench.cycles(2000)
        (answer,) = pair.wire_tx.take_all()
        assert again.open(answer.data)[8] == 0x41
    assert 0 < acted < number
    assert 0 < answered < 2 * number
    await pair.start()
    await pair.finish()


@cocotb.test()
async def states_of_the_host(dut: Any) -> None:
    """Heartbeat, pins and SA give the state; ARP and neighbour solicitations are answered in every
    one but OS up."""
    pair = NicPair(dut)
    await pair.start()
    await pair.write("HEARTBEAT_MS", WINDOW_MS)
    station: Station | None = None
    sequence = 0

    async def shows(state: HostState) -> None:
        nonlocal sequence
        await pair.bench.cycles(8)
        assert await pair.read("HOST_STATUS") & 15 == state
        up = state is HostState.OS_UP
        answers = await pair.wire(nf.arp_request(), Counter.PASSED if up else Counter.DELIVERED)
        assert len(answers) == (not up)
        for answer in answers:
            assert answer[:42] == (
                nf.STATION_MAC
                + nf.NIC_MAC
                + b"\x08\x06\0\1\x08\0\6\4\0\2"
                + (nf.NIC_MAC + nf.NIC_IP + nf.STATION_MAC + nf.STATION_IP)
            )
        for probe in (False, True):
            verdict = Counter.PASSED if up else Counter.DELIVERED
            answers = await pair.wire(nf.solicitation(probe=probe), verdict)
            assert answers == [nf.advertisement(probe=probe)] * (not up)
        ping = nf.clear(nf.asf(nf.PING, tag=1))
        cold = state is HostState.COLD_BOOT
        await pair.wire(ping, Counter.DELIVERED if cold else Counter.DROP_CLEAR_POLICY)
        if station is None:
            return
        sequence += 1
        status = nf.oem(nf.SA_STATUS, sequence=sequence)
        first, second = await pair.wire(station.protect(status), Counter.DELIVERED)
        assert station.open(first) == nf.ack(sequence)
        assert station.open(second)[15] == state
        asks = station.protect(nf.asf(nf.SYSTEM_STATE))
        (answer,) = await pair.wire(asks, Counter.DELIVERED)
        low = {HostState.SUSPEND: 8, HostState.SOFT_OFF: 6}.get(state, 0)
        assert station.open(answer)[12:14] == bytes([low, state is HostState.OS_HUNG])

    await shows(HostState.COLD_BOOT)
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC ^ 1)
    await shows(HostState.COLD_BOOT)
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
    await shows(HostState.OS_UP)
    await pair.pass_ms(WINDOW_MS)
    await shows(HostState.COLD_BOOT)  # there is no SA to be hung under
    await pair.write("HEARTBEAT", HEARTBEAT_STOP)
    station = Station(SaKeys.draw(pair.rng))
    await pair.stage(station.sa)
    await pair.works(station)
    await shows(HostState.PRE_BOOT)
    for _ in range(4):
        await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
        await shows(HostState.OS_UP)
        await pair.pass_ms(WINDOW_MS // 4)
    await shows(HostState.OS_UP)
    await pair.pass_ms(WINDOW_MS)
    await shows(HostState.OS_HUNG)
    await pair.wire(station.protect(nf.asf(nf.RESET)), Counter.DELIVERED)
    await pair.inputs(reset=True)  # as the host's reset line follows
    await shows(HostState.PRE_BOOT)
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
    await shows(HostState.PRE_BOOT)
    await pair.inputs(reset=False)
    await shows(HostState.PRE_BOOT)
    assert await pair.pulses() == ["reset"]
    for pin, state in (("sleep", HostState.SUSPEND), ("off", HostState.SOFT_OFF)):
        await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
        await shows(HostState.OS_UP)
        await pair.inputs(**{pin: True})
        await shows(state)
        await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
        await shows(state)
        await pair.inputs(**{pin: False})
        await shows(HostState.PRE_BOOT)
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
    await shows(HostState.OS_UP)
    await pair.write("HEARTBEAT", HEARTBEAT_STOP)
    await shows(HostState.PRE_BOOT)
    await pair.zeroise()
    station = None
    await shows(HostState.COLD_BOOT)
    pair.no_pin_moved()
    await pair.finish()


@cocotb.test()
async def events_of_the_host_and_of_attacks(dut: Any) -> None:
    """Firmware's progress and hang, wrong ICVs and zeroisation are in the log, as in the model."""
    pair = NicPair(dut)
    await pair.start()

    async def noted(*kinds: HostEvent) -> None:
        await pair.bench.cycles(8)
        following = await pair.read("EVENTS")
        for place in range(EVENTS):
            await pair.read("EVENT", place)
        newest = [pair.model.log.at(n % EVENTS) for n in range(following)][-len(kinds) :]
        assert [event.kind for event in newest if event is not None] == list(kinds)

    assert await pair.read("EVENTS") == 0
    await pair.write("HEARTBEAT_MS", WINDOW_MS)
    station = Station(SaKeys.draw(pair.rng))
    await pair.stage(station.sa)
    await pair.works(station)
    await noted(HostEvent.STATE)
    await pair.write("HEARTBEAT", HEARTBEAT_BOOT)
    await pair.write("BOOT_PROGRESS", BootKind.PROGRESS << 8 | 0x13)
    assert await pair.read("BOOT_PROGRESS") == 0x213
    await pair.write("BOOT_PROGRESS", 3 << 8)
    assert await pair.read("BOOT_PROGRESS") == 0x213
    await pair.pass_ms(WINDOW_MS)
    await noted(HostEvent.BOOT_PROGRESS, HostEvent.BOOT_HANG)
    assert await pair.read("HOST_STATUS") == HostState.PRE_BOOT | 1 << 4
    await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
    await pair.pass_ms(WINDOW_MS)
    await noted(HostEvent.STATE, HostEvent.WATCHDOG, HostEvent.STATE)
    await pair.write("BOOT_PROGRESS", BootKind.ERROR << 8 | 1)
    forged = bytearray(station.protect(nf.asf(nf.PING)))
    forged[-1] ^= 1
    for _ in range(TAMPER_FAILURES + 2):
        await pair.wire(bytes(forged), Counter.DROP_ICV)
    await noted(HostEvent.BOOT_ERROR, HostEvent.TAMPER)
    await pair.zeroise()
    await noted(HostEvent.TAMPER, HostEvent.ZEROISED, HostEvent.STATE)
    await pair.finish()
