"""Bench of the whole NIC: the life of its SAs, from staging to zeroisation."""

import struct
from itertools import repeat
from typing import Any

import cocotb

from spec.counters import Counter
from spec.host import EVENTS, HostEvent
from spec.layout import Access
from spec.registers import BY_NAME, REGISTERS
from spec.rmcp import ZEROISE_ANSWER_CYCLES
from spec.sa import (
    ACK_MS_DEFAULT,
    CONTEXTS,
    GRACE_MS_DEFAULT,
    BankState,
    LifetimeWord,
    SadCommand,
    SadResult,
)
from verif.cocotb import nic_frames as nf
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import ZEROISE_CYCLES, NicPair

STATION_AUTHORISED, CLEAR_OFF = 1, 2
ZEROISE, ZEROISING = 0x82, 0x42
BOOT_TAKEN = 0x424F4F54
EMPTY, STAGED, READY, ACTIVE, PROVEN, RETIRING = BankState
MARGIN_MS = 400
"""What a frame and its answer take of these fast milliseconds, and more."""


async def commits(pair: NicPair, old: Station, new: Station, result: int = 0) -> None:
    """Commit under `old`; Committed under `new`, or under `old` where it is refused."""
    spi = new.sa.spi_in
    (answer,) = await pair.wire(old.protect(nf.commit(spi, tag=3)), Counter.DELIVERED)
    assert (old if result else new).open(answer) == nf.oem_response(
        0x40, 3, struct.pack(">IB3x", spi, result)
    )


@cocotb.test()
async def first_packet_proves_the_first_sa(dut: Any) -> None:
    """Stage, ready, prove; a clear port that is open in cold boot alone."""
    pair = NicPair(dut)
    await pair.start()
    station = Station(SaKeys.draw(pair.rng))
    ping = nf.clear(nf.asf(nf.PING, tag=9))
    (answer,) = await pair.wire(ping, Counter.DELIVERED)
    pong = struct.pack(">IIBB6x", nf.ASF_NUMBER, 0, 1, 0)
    assert answer[42:70] == nf.asf(0x40, tag=9, body=pong)
    await pair.command(SadCommand.STAGE)
    assert await pair.states() == (STAGED, EMPTY)
    for name, index, value in station.sa.staging():
        await pair.write(name, value, index)
        if name != "STAGE_PEER_IP":
            await pair.command(SadCommand.READY, SadResult.INCOMPLETE) if index == 1 else None
    await pair.wire(station.protect(nf.asf(nf.PING)), Counter.PASSED)  # it verifies nothing
    await pair.command(SadCommand.READY)
    assert await pair.states() == (READY, EMPTY)
    assert await pair.read("SA_SPI_IN") == station.sa.spi_in
    await pair.wire(ping, Counter.DELIVERED)
    await pair.works(station)
    assert await pair.states() == (PROVEN, EMPTY)
    await pair.wire(ping, Counter.DROP_CLEAR_POLICY)
    await pair.pass_ms(ACK_MS_DEFAULT + MARGIN_MS)
    assert await pair.states() == (PROVEN, EMPTY)
    await pair.finish()


@cocotb.test()
async def commit_in_two_phases(dut: Any) -> None:
    """Commit under the old SA, Committed under the new one; grace; the next in the other bank."""
    pair = NicPair(dut)
    old = await pair.proven(policy=STATION_AUTHORISED)
    states = [PROVEN, EMPTY]
    for turn in range(3):
        free = 1 - turn % 2
        new = Station(SaKeys.draw(pair.rng, 32 if free else 16, esn=bool(free)), encap=turn == 1)
        await commits(pair, old, new, result=1)  # not staged
        await pair.stage(new.sa)
        states[free] = READY
        assert await pair.states() == tuple(states)
        await pair.wire(new.protect(nf.asf(nf.PING)), Counter.DROP_UNKNOWN_SPI)
        old.encap = new.encap
        await commits(pair, old, new)
        states[free] = ACTIVE
        assert await pair.states() == tuple(states)
        await commits(pair, old, new)  # once more, as a retry does
        await pair.works(old)
        await pair.works(new)
        states[free], states[1 - free] = PROVEN, RETIRING
        assert await pair.states() == tuple(states)
        await pair.command(SadCommand.STAGE, SadResult.BUSY)
        await commits(pair, new, new)
        await pair.pass_ms(GRACE_MS_DEFAULT - 2 * MARGIN_MS)
        await pair.works(old)
        await pair.pass_ms(2 * MARGIN_MS)
        states[1 - free] = EMPTY
        assert await pair.states() == tuple(states)
        assert await pair.read("SA_SPI_IN", 1 - free) == 0
        await pair.wire(old.protect(nf.asf(nf.PING)), Counter.DROP_UNKNOWN_SPI)
        await pair.works(new)
        old = new
    await pair.finish()


@cocotb.test()
async def implicit_commit(dut: Any) -> None:
    """Without station_authorised the first packet under a READY bank commits it."""
    pair = NicPair(dut)
    old = await pair.proven()
    new = Station(SaKeys.draw(pair.rng, 32))
    await pair.stage(new.sa)
    forged = bytearray(new.protect(nf.asf(nf.PING)))
    forged[-1] ^= 1
    await pair.wire(bytes(forged), Counter.DROP_ICV)
    assert await pair.states() == (PROVEN, READY)
    # Authenticated is proven, whatever is inside.
    await pair.wire(new.carry(new.esp(nf.udp(9, b""))), Counter.DROP_SELECTOR)
    assert await pair.states() == (RETIRING, PROVEN)
    await pair.works(old)
    await pair.pass_ms(GRACE_MS_DEFAULT + MARGIN_MS)
    assert await pair.states() == (EMPTY, PROVEN)
    await pair.finish()


@cocotb.test()
async def roll_back(dut: Any) -> None:
    """The acknowledge timer and ABORT empty an unproven bank; the proven one never stops."""
    pair = NicPair(dut)
    old = await pair.proven(policy=STATION_AUTHORISED)
    new = Station(SaKeys.draw(pair.rng))
    await pair.stage(new.sa)
    await pair.pass_ms(ACK_MS_DEFAULT - MARGIN_MS)
    assert await pair.states() == (PROVEN, READY)
    await pair.pass_ms(2 * MARGIN_MS)
    assert await pair.states() == (PROVEN, EMPTY)
    await commits(pair, old, new, result=1)
    new = Station(SaKeys.draw(pair.rng))
    await pair.stage(new.sa)
    await pair.pass_ms(ACK_MS_DEFAULT - MARGIN_MS)
    await commits(pair, old, new)  # and the timer begins anew
    await pair.pass_ms(ACK_MS_DEFAULT - MARGIN_MS)
    assert await pair.states() == (PROVEN, ACTIVE)
    await pair.pass_ms(2 * MARGIN_MS)
    assert await pair.states() == (PROVEN, EMPTY)
    await pair.wire(new.protect(nf.asf(nf.PING)), Counter.DROP_UNKNOWN_SPI)
    await pair.works(old)
    for last in (STAGED, READY, ACTIVE):
        new = Station(SaKeys.draw(pair.rng))
        await pair.stage(new.sa, ready=last is not STAGED)
        if last is ACTIVE:
            await commits(pair, old, new)
        assert await pair.states() == (PROVEN, last)
        await pair.command(SadCommand.ABORT)
        assert await pair.states() == (PROVEN, EMPTY)
        assert await pair.read("SA_SPI_IN", 1) == 0
        await pair.works(old)
    await pair.command(SadCommand.ABORT)
    new = Station(SaKeys.draw(pair.rng))
    await pair.stage(new.sa)
    await commits(pair, old, new)
    await pair.works(new)
    assert await pair.states() == (RETIRING, PROVEN)
    await pair.command(SadCommand.ABORT)
    assert await pair.states() == (RETIRING, PROVEN)
    await pair.finish()


@cocotb.test()
async def refused_staging(dut: Any) -> None:
    """READY without all of a layout, with what the NIC has not, with a bad SPI."""
    pair = NicPair(dut)
    old = await pair.proven()
    sa = SaKeys.draw(pair.rng)
    await pair.command(SadCommand.READY, SadResult.INCOMPLETE)
    for number in (0, 4, 0xFFFFFFFF):
        await pair.command(number, SadResult.UNKNOWN)
    for octets in (16, 32):
        keys = SaKeys.draw(pair.rng, octets)
        writes = keys.staging()
        for missing in range(len(writes)):
            await pair.command(SadCommand.STAGE)
            for name, index, value in writes[:missing] + writes[missing + 1 :]:
                await pair.write(name, value, index)
            await pair.command(SadCommand.READY, SadResult.INCOMPLETE)
            assert await pair.states() == (PROVEN, STAGED)
    lies = [
        ("STAGE_SUITE", 0, SadResult.INCOMPLETE),
        ("STAGE_SUITE", 3, SadResult.INCOMPLETE),  # wants keys of HMAC
        ("STAGE_SUITE", 20, SadResult.UNSUPPORTED),
        ("STAGE_SUITE", 0x80000001, SadResult.UNSUPPORTED),
        ("STAGE_FLAGS", 4, SadResult.INCOMPLETE),  # wants an address of IPv6
        ("STAGE_FLAGS", 16, SadResult.UNSUPPORTED),
        ("STAGE_FLAGS", 0x80000001, SadResult.UNSUPPORTED),
        ("STAGE_SPI_IN", 0, SadResult.BAD_SPI),
        ("STAGE_SPI_IN", 255, SadResult.BAD_SPI),
        ("STAGE_SPI_IN", old.sa.spi_in, SadResult.BAD_SPI),
        ("STAGE_SPI_OUT", 255, SadResult.BAD_SPI),
    ]
    await pair.stage(sa, ready=False)
    right = {name: value for name, _, value in sa.staging()}
    for name, value, result in lies:
        await pair.write(name, value)
        await pair.command(SadCommand.READY, result)
        assert await pair.states() == (PROVEN, STAGED)
        await pair.write(name, right[name])
    await pair.works(old)
    await pair.command(SadCommand.READY)
    for name, index, value in SaKeys.draw(pair.rng).staging():  # nobody's now
        await pair.write(name, value, index)
    await pair.command(SadCommand.STAGE, SadResult.BUSY)
    await pair.command(SadCommand.READY, SadResult.INCOMPLETE)
    await pair.works(Station(sa))
    await pair.finish()


@cocotb.test()
async def inhibit(dut: Any) -> None:
    """Writes to every register in any order do not reach the PROVEN bank."""
    pair = NicPair(dut)
    station = await pair.proven(key_octets=32, esn=True, policy=STATION_AUTHORISED | CLEAR_OFF)
    rng = pair.rng
    addresses = [r.address + 4 * n for r in REGISTERS for n in range(r.count)]
    command, policy = BY_NAME["SA_COMMAND"].address, BY_NAME["POLICY"].address
    # Of what these say, something would come at a time of its own.
    kept = [pair.address(name) for name in ("HEARTBEAT", "HEARTBEAT_MS", "ALERTS")]
    for _ in range(12):
        layout = SaKeys.draw(rng, rng.choice([16, 32]), esn=rng.random() < 0.5).staging()
        likely = [(pair.address(name, index), value) for name, index, value in layout]
        for _ in range(40):
            match rng.randrange(5):
                case 0:
                    writes = [(rng.choice(addresses), rng.getrandbits(32))]
                case 1:
                    writes = [(rng.randrange(1024) * 4, rng.choice([0, 1, 0xFFFFFFFF]))]
                case 2:
                    writes = [(command, rng.randrange(5))]
                case 3:
                    writes = rng.sample(likely, rng.randrange(len(likely)))
                case _:
                    writes = [(command, 1), *likely, (command, 2)]
            for address, value in writes:
                # What else POLICY says would stay.
                may_say = STATION_AUTHORISED | CLEAR_OFF if address == policy else 0xFFFFFFFF
                if address not in kept:
                    await pair.registers.bus.write(address, value & may_say)
                if address == command and rng.random() < 0.7:
                    await pair.bench.cycles(rng.randrange(900))
        # The addresses are the host's to change, and changed: set them right on both.
        await pair.bench.cycles(900)
        await pair.write("HOST_MAC_HI", int.from_bytes(nf.NIC_MAC[:2], "big"))
        await pair.write("HOST_MAC_LO", int.from_bytes(nf.NIC_MAC[2:], "big"))
        await pair.write("HOST_IP", int.from_bytes(nf.NIC_IP, "big"))
        await pair.write("ENTERPRISE", nf.OEM_NUMBER)
        await pair.write("SA_CONTEXT", 0)
        await pair.command(SadCommand.ABORT)
        assert await pair.states() == (PROVEN, EMPTY)
        assert await pair.read("POLICY") == STATION_AUTHORISED | CLEAR_OFF
        assert await pair.read("SA_SPI_IN") == station.sa.spi_in
        await pair.works(station)
    await pair.write("POLICY", 0)
    assert await pair.read("POLICY") == STATION_AUTHORISED | CLEAR_OFF
    await pair.finish()


@cocotb.test()
async def zeroise_pin(dut: Any) -> None:
    """The board's button empties every bank and the policy, at any time."""
    pair = NicPair(dut)
    for moment in range(0, 900, 45):
        old = await pair.proven(policy=STATION_AUTHORISED)
        new = Station(SaKeys.draw(pair.rng, 32))
        await pair.stage(new.sa, ready=False)
        # Now and then while keys are being expanded.
        await pair.registers.bus.write(pair.address("SA_COMMAND"), SadCommand.READY)
        await pair.bench.cycles(1 + moment)
        await pair.zeroise()
        assert await pair.states() == (EMPTY, EMPTY)
        assert await pair.read("POLICY") == 0
        for station in (old, new):
            await pair.wire(station.protect(nf.asf(nf.PING)), Counter.PASSED)
        again = Station(SaKeys.draw(pair.rng))
        await pair.stage(again.sa)
        await pair.works(again)
    pair.pins.drive_pin("pin_zeroise", True)
    pair.model.set_pins(zeroise=True)
    await pair.bench.cycles(16)
    await pair.command(SadCommand.STAGE, SadResult.BUSY)
    pair.pins.drive_pin("pin_zeroise", False)
    pair.model.set_pins(zeroise=False)
    await pair.finish()


@cocotb.test()
async def secrets_cannot_be_read(dut: Any) -> None:
    """In no state does any address give a key or a salt; write-only registers give zero."""
    pair = NicPair(dut)
    old = await pair.proven(key_octets=32, policy=STATION_AUTHORISED)
    new = Station(SaKeys.draw(pair.rng, 32))
    readable = {
        r.address + 4 * n for r in REGISTERS if r.access is not Access.WO for n in range(r.count)
    }

    async def look() -> None:
        public = {old.sa.spi_in, new.sa.spi_in}
        secret = {
            value
            for sa in (old.sa, new.sa)
            for name, _, value in sa.staging()
            if ("KEY" in name or "SALT" in name) and value not in public
        }
        for address in range(0, 1 << 12, 4):
            value = await pair.registers.bus.read(address)
            assert value == 0 or address in readable, f"{address:#x} reads {value:#x}"
            assert value not in secret, f"{address:#x} reads a secret"

    await pair.stage(new.sa, ready=False)
    await look()
    await pair.command(SadCommand.READY)
    await look()
    await commits(pair, old, new)
    await look()
    await pair.works(new)
    assert await pair.states() == (RETIRING, PROVEN)
    await look()
    await pair.pass_ms(GRACE_MS_DEFAULT)
    await look()
    await pair.zeroise()
    await look()
    await pair.finish()


@cocotb.test()
async def numbers_roll_over_and_run_out(dut: Any) -> None:
    """ESN goes on beyond 32 bits both ways; the last number there is, is the last one used."""
    pair = NicPair(dut)
    high = 5 << 32
    station = await pair.proven(esn=True, rx_edge=high | 0xFFFFFFF0, tx_used=high | 0xFFFFFFF6)
    for _ in range(24):
        await pair.works(station)
    assert station.number >> 32 == station.heard >> 32 == 6
    late = station.carry(
        station.esp(
            nf.udp(664, nf.oem(nf.SA_STATUS), source=station.inner), number=high | 0xFFFFFFE8
        )
    )
    (answer,) = await pair.wire(late, Counter.DELIVERED)
    station.open(answer)
    assert await pair.wire(late, Counter.DROP_REPLAY_DUPLICATE) == []
    for esn, last in ((False, (1 << 32) - 1), (True, (1 << 64) - 1)):
        await pair.start()
        station = Station(SaKeys.draw(pair.rng, esn=esn, rx_edge=last - 4, tx_used=last - 2))
        await pair.stage(station.sa)
        await pair.works(station)
        await pair.works(station)
        assert station.heard == last
        question = station.protect(nf.oem(nf.SA_STATUS, sequence=1))
        assert await pair.wire(question, Counter.DELIVERED) == []
        await pair.wire(station.protect(nf.oem(nf.SA_STATUS)), Counter.DELIVERED)
        assert station.number == last
        await pair.wire(question, Counter.DROP_REPLAY_DUPLICATE)
        low = station.carry(station.esp(nf.udp(664, b""), number=1))
        await pair.wire(low, Counter.DROP_REPLAY_OLD)
    await pair.finish()


@cocotb.test()
async def commands_act_once(dut: Any) -> None:
    """A retransmitted command is acknowledged and done once, under the next SA too."""
    pair = NicPair(dut)
    old = await pair.proven()
    command = nf.asf(nf.RESET, sequence=9, tag=4)

    async def sends(station: Station, message: bytes, acts: bool) -> None:
        (answer,) = await pair.wire(station.protect(message), Counter.DELIVERED)
        assert station.open(answer) == nf.ack(message[2])
        assert await pair.pulses() == (["reset"] if acts else [])

    await sends(old, command, True)
    await sends(old, command, False)
    await sends(old, nf.asf(nf.RESET, sequence=10, tag=4), True)
    await sends(old, command, False)
    new = Station(SaKeys.draw(pair.rng, 32), encap=True)
    await pair.stage(new.sa)
    await sends(new, command, False)
    assert await pair.states() == (RETIRING, PROVEN)
    await pair.pass_ms(GRACE_MS_DEFAULT + MARGIN_MS)
    await sends(new, command, False)
    await sends(new, nf.asf(nf.RESET, sequence=9, tag=5), True)
    await sends(new, command, True)  # no longer the last one with this sequence number
    unacknowledged = nf.asf(nf.RESET, tag=6)
    for acts in (True, False):
        assert await pair.wire(new.protect(unacknowledged), Counter.DELIVERED) == []
        assert await pair.pulses() == (["reset"] if acts else [])
    await pair.finish()


@cocotb.test()
async def commands_wait_for_the_pins(dut: Any) -> None:
    """While a pulse runs the newest command waits; what the host's power makes of each."""
    pair = NicPair(dut)
    station = await pair.proven()
    sequence = 0

    async def sends(*kinds: int) -> None:
        nonlocal sequence
        frames = []
        for kind in kinds:
            sequence += 1
            frames.append((station.protect(nf.asf(kind, sequence=sequence)), False))
        await pair.flow(frames)
        for answer, number in zip(
            pair.answers, range(sequence - len(kinds), sequence), strict=True
        ):
            assert station.open(answer) == nf.ack(number + 1)
        pair.answers.clear()

    pair.answers.clear()
    await sends(nf.RESET, nf.POWER_DOWN, nf.RESET)  # the last in the place of power-down
    assert await pair.pulses() == ["reset", "reset"]
    await sends(nf.POWER_UP)
    assert await pair.pulses() == []  # a press would switch it off
    for level in ({"sleep": True}, {"sleep": False, "off": True}):
        await pair.inputs(**level)
        await sends(nf.POWER_UP)
        assert await pair.pulses() == ["power"]
    await sends(nf.POWER_DOWN)
    assert await pair.pulses() == []
    await sends(nf.POWER_CYCLE)
    assert await pair.pulses() == ["power"]
    await pair.inputs(off=False)
    await sends(nf.POWER_DOWN)
    assert await pair.pulses() == ["power"]  # as long as it may be held
    await sends(nf.POWER_CYCLE)
    await pair.pass_ms(300)
    await pair.inputs(off=True)
    assert await pair.pulses(still_ms=1100) == ["power", "power"]
    await pair.finish()


@cocotb.test()
async def roles(dut: Any) -> None:
    """Boot options are an administrator's: its SA decides, and none comes in beside another's."""
    pair = NicPair(dut)
    data = bytes.fromhex("000011be 01 0000 2004 0000")
    for administrator in (False, True):
        station = await pair.proven(policy=STATION_AUTHORISED, administrator=administrator)
        for kind in (nf.RESET, nf.POWER_UP):
            command = nf.asf(kind, sequence=kind, tag=administrator, body=data)
            wanted = Counter.DELIVERED if administrator else Counter.DROP_RMCP_ROLE
            answers = await pair.wire(station.protect(command), wanted)
            assert len(answers) == administrator
            for answer in answers:
                assert station.open(answer) == nf.ack(kind)
            moves = administrator and kind == nf.RESET  # a press would switch it off
            assert await pair.pulses() == (["reset"] if moves else [])
        other = SaKeys.draw(pair.rng, administrator=True)
        await pair.stage(other, ready=False)
        await pair.command(SadCommand.READY, SadResult.OK if administrator else SadResult.FORBIDDEN)
        await pair.works(station)
    await pair.finish()


async def emptied(pair: NicPair, began: int) -> int:
    """Cycles from `began` until all banks are EMPTY and nothing is being zeroised."""
    while any([await pair.registers.read("SA_STATUS", n) for n in range(CONTEXTS)]):
        assert pair.bench.cycle - began < 2 * ZEROISE_ANSWER_CYCLES
    return pair.bench.cycle - began


@cocotb.test()
async def zeroise_by_message(dut: Any) -> None:
    """An administrator's message empties all contexts, once it is answered, whatever it may wait
    for; an operator's does nothing."""
    pair = NicPair(dut)
    zeroise = nf.oem(ZEROISE, sequence=5, tag=7)
    station = await pair.proven()
    await pair.wire(station.protect(zeroise), Counter.DROP_RMCP_ROLE)
    await pair.works(station)
    worst = 0
    for context in range(CONTEXTS):
        await pair.start(policy=STATION_AUTHORISED | CLEAR_OFF)
        others = []
        for place in (context, *(n for n in range(CONTEXTS) if n != context)):
            await pair.write("SA_CONTEXT", place)
            mine = place == context
            other = Station(SaKeys.draw(pair.rng, 32 if mine else 16, administrator=mine))
            await pair.stage(other.sa)
            await pair.works(other)
            others.append(other)
        station = others[0]
        pair.begin(station.protect(zeroise))
        await pair.wire_rx.drained()
        took = await emptied(pair, pair.bench.cycle)
        worst = max(worst, took)
        pair.answers.clear()
        await pair.outputs()
        assert [station.open(answer) for answer in pair.answers] == [
            nf.ack(5),
            nf.oem_response(ZEROISING, 7, b""),
        ]
        for n in range(CONTEXTS):
            assert await pair.read("SA_STATUS", n) == 0
        assert await pair.read("POLICY") == 0
        following = await pair.read("EVENTS")
        newest = [await pair.read("EVENT", n % EVENTS) for n in (following - 2, following - 1)]
        assert [event & 0xF for event in newest] == [HostEvent.ZEROISED, HostEvent.STATE]
        for other in others:
            await pair.wire(other.protect(nf.asf(nf.PING)), Counter.PASSED)
        again = Station(SaKeys.draw(pair.rng))
        await pair.write("SA_CONTEXT", context)
        await pair.stage(again.sa)
        await pair.works(again)
    cocotb.log.info("RESULT zeroise by message: %d cycles from the frame's end, answered", worst)
    # The wire takes no answer: it is done all the same, in time, and nothing of it leaves.
    station = await pair.proven(administrator=True)
    pair.wire_tx.backpressure = repeat(True)
    pair.wire_rx.send(station.protect(nf.oem(nf.SA_STATUS, sequence=1)))  # its answers fill it
    await pair.wire_rx.drained()
    await pair.bench.cycles(4000)
    pair.wire_rx.send(station.protect(zeroise))
    await pair.wire_rx.drained()
    took = await emptied(pair, pair.bench.cycle)
    assert took > ZEROISE_ANSWER_CYCLES
    cocotb.log.info("RESULT zeroise by message: %d cycles while the wire takes nothing", took)
    assert await pair.registers.read("SA_STATUS") == 0
    pair.wire_tx.backpressure = repeat(False)
    await pair.bench.cycles(4000)
    pair.wire_tx.take_all()
    await pair.start()
    await pair.finish()


@cocotb.test()
async def boot_options_are_read_once(dut: Any) -> None:
    """They come with the command that boots, outlive the reset, and go when they were taken."""
    pair = NicPair(dut)
    station = await pair.proven(administrator=True)
    names = ("BOOT_COMMAND", "BOOT_OPTIONS", "BOOT_ENTERPRISE")
    sequence = 0

    async def sends(kind: int, body: bytes = b"", again: bool = False) -> None:
        nonlocal sequence
        sequence += not again
        message = nf.asf(kind, sequence=sequence, body=body)
        (answer,) = await pair.wire(station.protect(message), Counter.DELIVERED)
        assert station.open(answer) == nf.ack(sequence)

    async def holds(command: int, options: int, enterprise: int) -> None:
        await pair.bench.cycles(4)  # as a write takes
        words = [await pair.read(name) for name in names]
        assert words == [command, options, enterprise]

    # Force PXE, parameter 0203h, lock the keyboard and bypass the password, OEM 0607h.
    body = bytes.fromhex("000011be 01 0203 2008 0607")
    await holds(0, 0, 0)
    await sends(nf.RESET, body)
    for _ in range(2):
        await holds(0x80020301, 0x06072008, 4542)
    await pair.inputs(reset=True)
    await pair.inputs(reset=False)
    await holds(0x80020301, 0x06072008, 4542)
    for value in (0, 1, BOOT_TAKEN ^ 1, BOOT_TAKEN ^ 1 << 31):
        await pair.write("BOOT_TAKEN", value)
        await holds(0x80020301, 0x06072008, 4542)
    await pair.write("BOOT_TAKEN", BOOT_TAKEN)
    await holds(0, 0, 0)
    await sends(nf.RESET, body, again=True)  # acts once
    await holds(0, 0, 0)
    for kind in (nf.POWER_UP, nf.POWER_CYCLE, nf.RESET):
        own = pair.rng.randbytes(11)
        await sends(kind, own)
        enterprise, command, parameter, options, oem = struct.unpack(">IBHHH", own)
        word = 1 << 31 | parameter << 8 | command
        await holds(word, oem << 16 | options, enterprise)
        await sends(nf.POWER_DOWN)
        await holds(word, oem << 16 | options, enterprise)
    await sends(nf.RESET)  # an ordinary one: what was asked before is void
    await holds(0, 0, 0)
    for octets in (1, 10, 12, 255):
        wrong = nf.asf(nf.RESET, sequence=200, body=bytes(octets))
        await pair.wire(station.protect(wrong), Counter.DROP_RMCP_MALFORMED)
    await holds(0, 0, 0)
    await sends(nf.RESET, body)
    await pair.zeroise()
    await holds(0, 0, 0)
    pair.pins.edges.clear()
    pair.model_pins.clear()
    await pair.finish()


COUNT_CYCLES = 60
"""From a frame's end until its packet is counted."""


async def stage_limited(pair: NicPair, station: Station, **limits: int) -> None:
    """Stages an SA with limits, by name of `LifetimeWord`, and makes it READY."""
    await pair.stage(station.sa, ready=False)
    for name, value in limits.items():
        await pair.write("STAGE_LIFETIME", value, LifetimeWord[name])
    await pair.command(SadCommand.READY)


async def counted(pair: NicPair, bank: int) -> list[int]:
    """What was counted under a bank: packets and octets received, then sent."""
    found = []
    for number in range(4):
        await pair.write("SA_LIFETIME", bank | (number >> 1) << 8 | (number & 1) << 9)
        await pair.bench.cycles(COUNT_CYCLES)
        await pair.read("SA_LIFETIME")
        high, low = [await pair.read(f"SA_LIFETIME_{half}") for half in ("HI", "LO")]
        found.append(high << 32 | low)
    return found


async def newest_events(pair: NicPair, count: int) -> list[tuple[HostEvent, int]]:
    """Kind and code of the newest events, of both sides."""
    await pair.bench.cycles(COUNT_CYCLES)
    following = await pair.read("EVENTS")
    words = [await pair.read("EVENT", n % EVENTS) for n in range(following - count, following)]
    return [(HostEvent(word & 0xF), word >> 16 & 0xFF) for word in words]


@cocotb.test()
async def limits_of_a_lifetime(dut: Any) -> None:
    """Soft and hard limits are told; the hard one ends no PROVEN bank, and each other one."""
    pair = NicPair(dut)
    await pair.start(policy=STATION_AUTHORISED)
    old = Station(SaKeys.draw(pair.rng))
    await stage_limited(pair, old, SOFT_PACKETS_LO=2, HARD_OCTETS_LO=60)
    ping = nf.asf(nf.PING, tag=1)
    # UDP header, message of 12 octets and of 24, padding and trailer (RFC 4303 2).
    octets, answer_octets = 8 + 12 + 2 + 2, 8 + 24 + 2 + 2
    await pair.works(old)
    assert await counted(pair, 0) == [1, octets, 1, answer_octets]
    assert (await pair.read("SA_STATUS")) >> 9 == 0
    # What is not authentic does not count.
    forged = bytearray(old.protect(ping))
    forged[-1] ^= 1
    await pair.wire(bytes(forged), Counter.DROP_ICV)
    assert (await counted(pair, 0))[:2] == [1, octets]
    await pair.works(old)
    soft, hard = HostEvent.SOFT_LIMIT, HostEvent.HARD_LIMIT
    assert await newest_events(pair, 2) == [(soft, 0), (hard, 0)]
    assert (await pair.read("SA_STATUS")) >> 9 == 0b0101
    # Nobody has replaced it: it goes on.
    for _ in range(3):
        await pair.works(old)
    await pair.pass_ms(GRACE_MS_DEFAULT + MARGIN_MS)
    assert await pair.states() == (PROVEN, EMPTY)
    assert await counted(pair, 0) == [5, 5 * octets, 5, 5 * answer_octets]

    # One that is not proven is given up with its last packet, Committed.
    new = Station(SaKeys.draw(pair.rng))
    await stage_limited(pair, new, HARD_PACKETS_LO=1)
    await commits(pair, old, new)
    assert await newest_events(pair, 1) == [(hard, 1)]
    await pair.bench.cycles(ZEROISE_CYCLES)
    assert await pair.states() == (PROVEN, EMPTY)
    assert (await pair.read("SA_STATUS")) >> 9 == 0b0101
    await pair.works(old)
    # The newer one has worked: the old one has no grace any more.
    new = Station(SaKeys.draw(pair.rng))
    await stage_limited(pair, new, HARD_PACKETS_HI=1, SOFT_OCTETS_HI=1)
    assert await counted(pair, 1) == [0, 0, 0, 0]
    await commits(pair, old, new)
    await pair.works(new)
    await pair.bench.cycles(ZEROISE_CYCLES)
    assert await pair.states() == (EMPTY, PROVEN)
    await pair.wire(old.protect(ping), Counter.DROP_UNKNOWN_SPI)
    await pair.works(new)
    assert await counted(pair, 0) == [0, 0, 0, 0]
    assert (await pair.read("SA_STATUS")) >> 9 == 0
    # In its grace an old one is given up with its hard limit.
    newest = Station(SaKeys.draw(pair.rng))
    await stage_limited(pair, newest, HARD_PACKETS_LO=4)
    await commits(pair, new, newest)
    for _ in range(2):
        await pair.works(newest)
    third = Station(SaKeys.draw(pair.rng))
    await pair.pass_ms(GRACE_MS_DEFAULT + MARGIN_MS)
    await pair.stage(third.sa)
    await commits(pair, newest, third)  # its third packet received
    await pair.works(third)
    assert await pair.states() == (RETIRING, PROVEN)
    # Its last packet still acts, but the answer does not leave.
    assert await pair.wire(newest.protect(ping), Counter.DELIVERED) == []
    assert await newest_events(pair, 1) == [(hard, 0)]
    await pair.bench.cycles(ZEROISE_CYCLES)
    assert await pair.states() == (EMPTY, PROVEN)
    await pair.finish()
