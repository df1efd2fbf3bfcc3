"""Bench of the NIC's times, in cycles: docs/packet_walk.md tells them."""

import json
from pathlib import Path
from typing import Any

import cocotb

from spec.counters import Counter
from spec.suites import Suite
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import FIRST, LAST, Bench, Driver, PacketSource, bench_parameters
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

# From the last octet of a reset to the pin, by octets of the key and encapsulation.
RESET_CYCLES = {(16, "none"): 208, (16, "udp"): 216, (32, "none"): 217, (32, "udp"): 217}
# From the first octet of a frame on the wire to its first towards the host, of any length.
TO_HOST_CYCLES = {"another EtherType": 26, "TCP": 46, "UDP": 54, "UDP 4500": 58}
# The other way, where no frame of the NIC's own is being sent.
TO_WIRE_CYCLES = 1
LENGTHS = (60, 1514)
FLOOD = 12


class Beats(Driver):
    """Cycles of the first and the last beats of frames that moved on a stream."""

    def __init__(self, bench: Bench, name: str) -> None:
        super().__init__(bench)
        self.firsts: list[int] = []
        self.lasts: list[int] = []
        self._port = [
            getattr(bench.dut, f"{name}__{part}") for part in ("payload", "valid", "ready")
        ]

    @property
    def first(self) -> int:
        """Of the latest frame."""
        return self.firsts[-1]

    @property
    def last(self) -> int:
        """Of the latest frame that ended."""
        return self.lasts[-1]

    def sample(self) -> None:
        payload, valid, ready = self._port
        if valid.value == 1 and ready.value == 1:
            if int(payload.value) & FIRST:
                self.firsts.append(self.bench.cycle)
            if int(payload.value) & LAST:
                self.lasts.append(self.bench.cycle)


def passing(kind: str, octets: int) -> bytes:
    """A frame for the host of that length."""
    body = octets - 14 - 20
    frame = {
        "another EtherType": nf.ethernet(nf.ETHERTYPE_LOCAL, bytes(octets - 14)),
        "TCP": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.TCP, bytes(body))),
        "UDP": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.UDP, nf.udp(53, bytes(body - 8)))),
        "UDP 4500": nf.ethernet(nf.ETHERTYPE_IPV4, nf.ipv4(nf.UDP, nf.udp(4500, bytes(body - 8)))),
    }[kind]
    assert len(frame) == octets
    return frame


class Times:
    """The NIC and the streams whose beats are timed."""

    def __init__(self, dut: Any) -> None:
        self.pair = NicPair(dut)
        bench = self.pair.bench
        self.wire_rx, self.wire_tx = Beats(bench, "wire_rx"), Beats(bench, "wire_tx")
        self.host_rx, self.host_tx = Beats(bench, "host_rx"), Beats(bench, "host_tx")
        self.result = dut._log.info

    async def commands(self, key_octets: int, encap: str, tag: int) -> dict[str, Any]:
        """A reset to its pin; questions to their answers."""
        pair = self.pair
        suite = {16: Suite.ESP_AES_GCM_16_128, 32: Suite.ESP_AES_GCM_16_256}[key_octets]
        await pair.start()
        station = Station(SaKeys.draw(pair.rng, key_octets), encap=encap == "udp")
        await pair.stage(station.sa)
        for name, message in (
            ("presence ping", nf.asf(nf.PING)),
            ("commit", nf.commit(station.sa.spi_in)),
        ):
            await pair.wire(station.protect(message), Counter.DELIVERED)
            self.result(
                "RESULT AES-%d, encapsulation %s, %s: %d cycles from its last octet to the "
                "answer's first, %d to its last",
                *(8 * key_octets, encap, name),
                *(self.wire_tx.first - self.wire_rx.last, self.wire_tx.last - self.wire_rx.last),
            )
        frame = station.protect(nf.asf(nf.RESET, tag=tag))
        await pair.wire(frame, Counter.DELIVERED)
        (edge,) = (edge for edge in pair.pins.edges if edge.level)
        assert edge.name == "pin_reset"
        cycles = edge.cycle - self.wire_rx.last
        self.result(
            "RESULT AES-%d, encapsulation %s, reset of %d octets: %d cycles from its last octet "
            "to the pin",
            *(8 * key_octets, encap, len(frame), cycles),
        )
        return {
            "suite": suite.name,
            "encapsulation": encap,
            "frame_octets": len(frame),
            "cycles": cycles,
        }

    async def passed(self, source: PacketSource, kind: str, octets: int) -> int:
        """Delay of a frame that passes, alone and behind others."""
        if source is self.pair.host_rx:
            frame = nf.ethernet(nf.ETHERTYPE_LOCAL, bytes(octets - 14), source=nf.NIC_MAC)
            self.pair.host(frame)
            await self.pair.flow([])
            return self.wire_tx.first - self.host_rx.first
        frame = passing(kind, octets)
        await self.pair.wire(frame, Counter.PASSED)
        return self.host_tx.first - self.wire_rx.first

    async def passed_in_a_flood(self, station: Station, kind: str) -> set[int]:
        """Delays of frames that pass while the key is looked up for forged ones."""
        forged = station.sa.spi_in.to_bytes(4, "big") + bytes(3) + b"\x40" + bytes(200)
        frame = passing(kind, 60)
        came, left = len(self.wire_rx.firsts), len(self.host_tx.firsts)
        frames = [(station.carry(forged), False), (frame, False)] * FLOOD
        lost = await self.pair.flow(frames, may_lose=[Counter.DROP_ICV])
        assert lost < FLOOD // 2, "hardly any frame reached the key"
        came_in, left_out = self.wire_rx.firsts[came + 1 :: 2], self.host_tx.firsts[left:]
        return {out - into for into, out in zip(came_in, left_out, strict=True)}


def write_report(report: dict[str, list[dict[str, Any]]]) -> None:
    """Writes the file that the test named."""
    Path(bench_parameters()["out"]).write_text(json.dumps(report, indent=2) + "\n")


@cocotb.test()
async def times(dut: Any) -> None:
    """A reset to its pin, a question to its answer, a passed frame to its other side."""
    bench = Times(dut)
    pair = bench.pair
    commands = [
        await bench.commands(key_octets, encap, tag)
        for tag, (key_octets, encap) in enumerate(RESET_CYCLES)
    ]
    assert {c["encapsulation"] for c in commands} == {"none", "udp"}
    assert [c["cycles"] for c in commands] == list(RESET_CYCLES.values())

    await pair.start()
    station = Station(SaKeys.draw(pair.rng, 32))
    await pair.stage(station.sa)
    await pair.works(station)
    delays = []
    for direction, source, kinds in (
        ("wire_to_host", pair.wire_rx, TO_HOST_CYCLES),
        ("host_to_wire", pair.host_rx, {"any": TO_WIRE_CYCLES}),
    ):
        for kind, due in kinds.items():
            for octets in LENGTHS:
                cycles = await bench.passed(source, kind, octets)
                bench.result(
                    "RESULT passed frame, %s, %s, %d octets: %d cycles",
                    *(direction.replace("_", " "), kind, octets, cycles),
                )
                delays.append(
                    {
                        "direction": direction,
                        "kind": kind,
                        "frame_octets": octets,
                        "cycles": cycles,
                    }
                )
                assert cycles == due, f"{kind} of {octets} octets"
    for kind, due in TO_HOST_CYCLES.items():
        (cycles,) = await bench.passed_in_a_flood(station, kind)
        bench.result("RESULT passed frame, %s, among forged ESP: %d cycles", kind, cycles)
        assert cycles == due
    await pair.finish()
    write_report({"reset_command": commands, "passed_frame": delays})


@cocotb.test()
async def icv_takes_the_same_time(dut: Any) -> None:
    """Wherever an ICV is wrong, the packet behind it waits as long, and for a right one as well."""
    bench = Times(dut)
    pair = bench.pair
    await pair.start()
    station = Station(SaKeys.draw(pair.rng))
    await pair.stage(station.sa)
    await pair.works(station)
    selector = nf.udp(665, nf.asf(nf.RESET))  # whose refusal comes in the verdict, too
    seen: dict[str, int] = {}
    for wrong in [None, *range(0, 128, 9), 127]:
        packet = bytearray(station.esp(selector))
        if wrong is not None:
            packet[-1 - wrong // 8] ^= 1 << wrong % 8
        before = len(pair.answers)
        frames = [station.carry(bytes(packet)), station.protect(nf.oem(nf.SA_STATUS))]
        await pair.flow((frame, False) for frame in frames)
        (answer,) = pair.answers[before:]
        station.open(answer)
        seen[f"bit {wrong}"] = cycles = bench.wire_tx.first - bench.wire_rx.last
        bench.result("RESULT bit %s of the ICV wrong: answered after %d cycles", wrong, cycles)
    assert len(set(seen.values())) == 1, seen
    await pair.finish()
