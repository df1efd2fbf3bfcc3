"""Bench of the pictures: what the NIC's signals do while one packet after another passes."""

import json
import random
from pathlib import Path
from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb import nic_frames as nf
from verif.cocotb.drivers import Bench, Driver, bench_parameters
from verif.cocotb.nic_frames import SaKeys, Station
from verif.cocotb.nic_pair import NicPair

QUIET_CYCLES = 4


class Recorder(Driver):
    """Keeps the values of signals, cycle by cycle, while it is on."""

    def __init__(self, bench: Bench, nets: dict[str, str]) -> None:
        super().__init__(bench)
        handles = {name: self._handle(net) for name, net in nets.items()}
        self._handles = handles
        self._kept: dict[str, list[int]] = {}
        self._on = False

    def _handle(self, net: str) -> Any:
        # A name with other signs is what Verilog calls an escaped one.
        return getattr(self.bench.dut, net) if net.isidentifier() else self.bench.dut[f"\\{net} "]

    async def begin(self) -> None:
        """From now on, and for some cycles before anything happens."""
        self._kept = {name: [] for name in self._handles}
        self._on = True
        await self.bench.cycles(QUIET_CYCLES)

    async def end(self) -> dict[str, list[int]]:
        """What each signal was since `begin()`, and for some cycles from here."""
        await self.bench.cycles(QUIET_CYCLES)
        self._on = False
        return self._kept

    def sample(self) -> None:
        if self._on:
            for name, handle in self._handles.items():
                self._kept[name].append(int(handle.value))


def write(recorded: dict[str, dict[str, list[int]]]) -> None:
    """Writes the file that the test named."""
    Path(bench_parameters()["out"]).write_text(json.dumps(recorded))


@cocotb.test()
async def scenes(dut: Any) -> None:
    """A frame that passes, a reset, a question and its answer, and the register bus."""
    pair = NicPair(dut)
    recorder = Recorder(pair.bench, bench_parameters()["nets"])
    await pair.start()
    # The same keys at any seed: the pictures show octets.
    station = Station(SaKeys.draw(random.Random(0)))
    await pair.stage(station.sa)
    await pair.works(station)

    recorded = {}
    segment = nf.ipv4(nf.TCP, bytes(range(26)))
    for name, frame, verdict in (
        ("passed", nf.ethernet(nf.ETHERTYPE_IPV4, segment), Counter.PASSED),
        ("ping", station.protect(nf.asf(nf.PING)), Counter.DELIVERED),
        ("reset", station.protect(nf.asf(nf.RESET)), Counter.DELIVERED),
    ):
        await recorder.begin()
        answers = await pair.wire(frame, verdict)
        recorded[name] = await recorder.end()
        for answer in answers:
            station.open(answer)
    await recorder.begin()
    await pair.write("HOST_IP", int.from_bytes(nf.NIC_IP, "big"))
    await pair.read("HOST_IP")
    recorded["bus"] = await recorder.end()
    assert await pair.pulses() == ["reset"]
    await pair.finish()
    write(recorded)
