"""Bench of the whole NIC: recorded frames from the wire, payloads at the command engine's input."""

import json
from pathlib import Path
from typing import Any

import cocotb

from verif.cocotb.drivers import Bench, PacketSink, PacketSource, bench_parameters
from verif.cocotb.nic_port import INPUT_PINS, POLL_CYCLES, POLLS, Registers, Tap
from verif.vectors.xfrm import Case, load, staging

Messages = list[str | None]
"""What each frame gave, in hexadecimal; None for nothing."""


async def _replay(
    bench: Bench, registers: Registers, wire: PacketSource, tap: Tap, case: Case
) -> Messages:
    await bench.reset()
    await registers.ready()
    for name, index, value in staging(case):
        await registers.write(name, index, value)
    messages: Messages = []
    for number, frame in enumerate(case.frames, 1):
        wire.send(frame)
        await wire.drained()
        for _ in range(POLLS):
            await bench.cycles(POLL_CYCLES)
            if await registers.ended() >= number:
                break
        # More than one message of one frame would be as wrong as none.
        messages.append(tap.messages[0].hex() if len(tap.messages) == 1 else None)
        tap.messages.clear()
    return messages


@cocotb.test()
async def replays(dut: Any) -> None:
    """Feeds each case to a NIC fresh from reset, and writes what reached the command engine."""
    parameters = bench_parameters()
    bench = Bench(dut)
    wire = PacketSource(bench, "wire_rx")
    PacketSource(bench, "host_rx")  # holds its port quiet
    outputs = PacketSink(bench, "wire_tx"), PacketSink(bench, "host_tx")
    tap, registers = Tap(bench), Registers(bench)
    for pin in INPUT_PINS:
        getattr(dut, pin).value = 0
    result: dict[str, Messages] = {}
    for case in load(Path(parameters["vectors"])):
        if case.name in parameters["cases"]:
            result[case.name] = await _replay(bench, registers, wire, tap, case)
    await bench.cycles(2000)
    for sink in outputs:  # answers: other benches read them
        sink.take_all()
    await bench.finish()
    _write(result)


def _write(result: dict[str, Messages]) -> None:
    # The simulator runs in the directory of this run, where its starter looks for the file.
    Path("replay.json").write_text(json.dumps(result))
