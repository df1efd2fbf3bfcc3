"""Bench of the NIC's alerts, beside the model; those in every form go to a pcap for judges."""

from itertools import product
from pathlib import Path
from typing import Any

import cocotb

from spec.counters import Counter
from spec.host import (
    EVENTS,
    HEARTBEAT_MAGIC,
    HEARTBEAT_STOP,
    TAMPER_FAILURES,
    BootKind,
)
from spec.pet import ALERT_SENDS, ALERT_SPACING_MS, PORT_SNMP_TRAP
from verif.cocotb import nic_frames as nf
from verif.cocotb import tb_sent
from verif.cocotb.drivers import bench_parameters
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import CYCLES_PER_MS, NicPair
from verif.judges.sent import Sent, save

ENABLED, CLEAR = 1, 2
SECOND_MS = 1000
ALERT_CYCLES = 4000
"""Within so many an alert is on the wire, whatever its form."""
PROGRESS = BootKind.PROGRESS << 8
SENSOR_AT, KIND_AT = 37, 39
"""Of sensor type and offset in the message."""


class Alerts:
    """What the NIC sent to port 162, under an SA or in clear."""

    def __init__(self, pair: NicPair) -> None:
        self.pair = pair

    async def away_from_seconds(self) -> None:
        """Both clocks count whole seconds; they differ by some milliseconds."""
        self.pair.sync()
        part = self.pair.model.now_ms % SECOND_MS
        if not 100 <= part <= 300:
            await self.pair.pass_ms((SECOND_MS + 200 - part) % SECOND_MS)

    async def frames(self) -> list[bytes]:
        """All since the last look, which are those of the model."""
        self.pair.sync()
        await self.pair.outputs()
        frames = list(self.pair.answers)
        self.pair.answers.clear()
        return frames

    async def messages(self, station: Station | None) -> list[bytes]:
        """What is in them."""
        frames = await self.frames()
        if station is None:
            return [in_clear(frame) for frame in frames]
        inner, station.inner = station.inner, PORT_SNMP_TRAP
        try:
            return [station.open(frame) for frame in frames]
        finally:
            station.inner = inner


def in_clear(frame: bytes) -> bytes:
    """The message of a frame from port 623 to port 162."""
    assert frame[:14] == nf.STATION_MAC + nf.NIC_MAC + b"\x08\x00"
    assert frame[23] == nf.UDP
    assert frame[26:34] == nf.NIC_IP + nf.STATION_IP
    assert frame[34:38] == (623).to_bytes(2, "big") + PORT_SNMP_TRAP.to_bytes(2, "big")
    return frame[42:]


def kinds(messages: list[bytes]) -> list[tuple[int, int]]:
    """Sensor type and offset of each."""
    return [(message[SENSOR_AT], message[KIND_AT]) for message in messages]


@cocotb.test()
async def under_the_sa(dut: Any) -> None:
    """Each event three times, one after the other, to whom and as the newest message came."""
    pair = NicPair(dut)
    alerts = Alerts(pair)
    for encap in (False, True):
        station = await pair.proven()
        station.encap = encap
        await pair.works(station)
        pair.answers.clear()
        await pair.write("HEARTBEAT", HEARTBEAT_MAGIC)
        await pair.pass_ms(ALERT_SPACING_MS)
        assert await alerts.frames() == []  # not asked for
        await alerts.away_from_seconds()
        await pair.write("ALERTS", ENABLED)
        assert await pair.read("ALERTS") == ENABLED
        await pair.write("ALERTS", 0)
        assert await pair.read("ALERTS") == ENABLED
        await alerts.away_from_seconds()
        await pair.write("HEARTBEAT", HEARTBEAT_STOP)
        await pair.pass_ms(2)
        await pair.write("BOOT_PROGRESS", PROGRESS | 7)
        await pair.pass_ms(2 * ALERT_SENDS * ALERT_SPACING_MS)
        messages = await alerts.messages(station)
        assert kinds(messages) == [(0x22, 0)] * ALERT_SENDS + [(0x0F, 2)] * ALERT_SENDS
        assert len(set(messages)) == 2
        await alerts.away_from_seconds()
        forged = bytearray(station.protect(nf.asf(nf.PING)))
        forged[-1] ^= 1
        for _ in range(2 * TAMPER_FAILURES):
            await pair.wire(bytes(forged), Counter.DROP_ICV)
        await pair.pass_ms(ALERT_SENDS * ALERT_SPACING_MS)
        assert kinds(await alerts.messages(station)) == [(0x06, 5)] * ALERT_SENDS
        await pair.works(station)
    await pair.finish()


@cocotb.test()
async def under_the_newest_proven_sa(dut: Any) -> None:
    """An alert goes out under the bank that is PROVEN now, each time that it is sent."""
    pair = NicPair(dut)
    alerts = Alerts(pair)
    old = await pair.proven()
    await pair.write("ALERTS", ENABLED)
    pair.answers.clear()
    new = Station(SaKeys.draw(pair.rng))
    await pair.stage(new.sa)
    await alerts.away_from_seconds()
    await pair.write("BOOT_PROGRESS", PROGRESS | 1)
    await pair.pass_ms(ALERT_SPACING_MS + 50)
    assert kinds(await alerts.messages(old)) == [(0x0F, 2)] * 2
    await pair.works(new)
    pair.answers.clear()
    await pair.pass_ms(ALERT_SPACING_MS)
    assert kinds(await alerts.messages(new)) == [(0x0F, 2)]
    await pair.finish()


@cocotb.test()
async def in_clear_where_allowed(dut: Any) -> None:
    """Without a proven SA nothing leaves, but where it is asked for and not forbidden."""
    pair = NicPair(dut)
    alerts = Alerts(pair)
    for setting, policy, leaves in ((ENABLED, 0, False), (ENABLED | CLEAR, 0, True)):
        station = await pair.proven(policy=policy)
        await pair.write("ALERTS", setting)
        pair.answers.clear()
        await alerts.away_from_seconds()
        await pair.zeroise()
        await pair.pass_ms(2 * ALERT_SENDS * ALERT_SPACING_MS)
        due = [(0x28, 3)] * ALERT_SENDS + [(0x22, 0)] * ALERT_SENDS
        assert kinds(await alerts.messages(None)) == due * leaves
        for secret in (station.sa.key_in, station.sa.key_out, station.sa.salt_in):
            assert not any(secret in message for message in await alerts.frames())
    await alerts.away_from_seconds()
    await pair.write("POLICY", 2)  # clear_off
    await pair.write("BOOT_PROGRESS", PROGRESS | 1)
    await pair.pass_ms(ALERT_SENDS * ALERT_SPACING_MS)
    assert await alerts.frames() == []
    await pair.finish()


@cocotb.test()
async def a_flood_of_events_is_slow_on_the_wire(dut: Any) -> None:
    """What is overwritten is counted; a command is answered meanwhile; numbers are not used up."""
    pair = NicPair(dut)
    alerts = Alerts(pair)
    station = await pair.proven()
    await pair.write("ALERTS", ENABLED)
    await alerts.away_from_seconds()
    pair.answers.clear()
    for code in range(EVENTS + 4):
        await pair.write("BOOT_PROGRESS", PROGRESS | code)
    await pair.pass_ms(2)
    events = await pair.read("EVENTS")
    assert events >> 8 == 3  # one is under way, EVENTS wait
    began = pair.bench.cycle
    frames = await alerts.frames()
    for _ in range(3):
        await pair.pass_ms(ALERT_SPACING_MS)
        frames += await alerts.frames()
    passed_ms = (pair.bench.cycle - began) // CYCLES_PER_MS
    assert 0 < len(frames) <= passed_ms // ALERT_SPACING_MS + 1
    station.heard += len(frames)
    began = pair.bench.cycle
    await pair.works(station)
    assert pair.bench.cycle - began < 2 * ALERT_CYCLES
    await pair.bench.reset()
    pair._forget()
    pair.wire_tx.take_all()
    pair.tap.messages.clear()
    await pair.start()
    await pair.finish()


@cocotb.test()
async def heartbeat(dut: Any) -> None:
    """One frame each period, with the host's state."""
    pair = NicPair(dut)
    alerts = Alerts(pair)
    station = await pair.proven()
    pair.answers.clear()
    await alerts.away_from_seconds()
    await pair.write("ALERTS", ENABLED | 1000 << 16)
    assert await pair.read("ALERTS") == ENABLED | 600 << 16
    await pair.write("ALERTS", ENABLED | 2 << 16)
    await pair.pass_ms(5000)
    assert kinds(await alerts.messages(station)) == [(0x25, 0)] * 3
    await pair.write("ALERTS", 0)
    await pair.pass_ms(3000)
    assert await alerts.frames() == []
    await pair.finish()


@cocotb.test()
async def every_form(dut: Any) -> None:
    """Under every kind of suite, in tunnels, over IPv6, in UDP, with VLAN tags."""
    nic = tb_sent.Nic(dut)
    spi = 0xA1E20000
    code = 0
    sent: list[Sent] = []
    for suite, tunnel, v6 in product(bench_parameters()["suites"], (False, True), (False, True)):
        forms = tb_sent.Pair.draw(nic.bench.rng, suite, spi, tunnel=tunnel, v6=v6, esn=False)
        for form in (form for form in forms.forms() if form.tags != 1):
            # Each has the NIC for itself, and keys of its own.
            spi, code = spi + 16, code + 1
            pair = tb_sent.Pair.draw(nic.bench.rng, suite, spi, tunnel=tunnel, v6=v6, esn=False)
            await nic.start()
            for name, index, value in pair.staging():
                await nic.registers.write(name, index, value)
            question, due = nic.ping()
            request = pair.request(nic.bench.rng, form, question)
            await nic.answer(request, form, due, pair.association())
            await nic.registers.write("ALERTS", 0, ENABLED)
            await nic.registers.write("BOOT_PROGRESS", 0, PROGRESS | code % 256)
            await nic.bench.cycles(ALERT_CYCLES)
            frames = nic.wire_tx.take_all()
            assert frames, f"no alert under suite {suite} in {form}"
            sent.append(
                Sent(
                    octets=frames[0].data,
                    form=form,
                    tags=tb_sent.TAGS[form.tags].hex(),
                    message=f"{code % 256:02x}",
                    sa=pair.association(),
                )
            )
    nic.tap.messages.clear()
    await nic.bench.cycles(2000)
    nic.host_tx.take_all()
    nic.wire_tx.take_all()
    await nic.bench.finish()
    save(Path(), sent)
    cocotb.log.info("RESULT alerts: %d frames", len(sent))
