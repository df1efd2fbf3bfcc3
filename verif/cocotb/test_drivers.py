"""Runs the bench of the drivers."""

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hw.stream import PacketBeat, PacketSignature
from verif.cocotb.runner import SimulationError, run

FAULTS = {
    "valid": "valid fell",
    "payload": "payload changed",
    "first": "first is 0",
}


class PacketRegister(wiring.Component):
    """One register in a packet stream, and sixteen words on a register bus; can be built broken."""

    def __init__(self, *, fault: str | None = None) -> None:
        self._fault = fault
        super().__init__(
            {
                "i": In(PacketSignature()),
                "o": Out(PacketSignature()),
                "bus": In(
                    wiring.Signature(
                        {
                            "addr": Out(12),
                            "w_data": Out(32),
                            "w_stb": Out(1),
                            "r_stb": Out(1),
                            "r_data": In(32),
                        }
                    )
                ),
            }
        )

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        full, beat, odd = Signal(), Signal(PacketBeat), Signal()
        m.d.sync += odd.eq(~odd)
        m.d.comb += [
            self.i.ready.eq(~full | self.o.ready),
            self.o.valid.eq(full),
            self.o.payload.eq(beat),
        ]
        with m.If(self.i.ready):
            m.d.sync += [full.eq(self.i.valid), beat.eq(self.i.payload)]
        if self._fault == "valid":
            m.d.comb += self.o.valid.eq(full & self.o.ready | (full & odd))
        if self._fault == "payload":
            m.d.comb += self.o.payload.data.eq(beat.data ^ odd)
        if self._fault == "first":
            m.d.comb += self.o.payload.first.eq(0)
        m.submodules.words = words = memory.Memory(shape=32, depth=16, init=[])
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            write.addr.eq(self.bus.addr[2:]),
            write.data.eq(self.bus.w_data),
            write.en.eq(self.bus.w_stb),
            read.addr.eq(self.bus.addr[2:]),
            read.en.eq(self.bus.r_stb),
        ]
        late = Signal(32)
        m.d.sync += [late.eq(read.data), self.bus.r_data.eq(late)]
        return m


TESTS = ["frames_arrive_as_sent", "registers_keep_what_was_written", "rate"]


def test_frames() -> None:
    run(PacketRegister(), "verif.cocotb.tb_drivers", "drivers", testcase=TESTS[0])


def test_register_bus() -> None:
    run(PacketRegister(), "verif.cocotb.tb_drivers", "drivers", testcase=TESTS[1])


def test_rate() -> None:
    run(PacketRegister(), "verif.cocotb.tb_drivers", "drivers", testcase=TESTS[2])


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_device_is_caught(fault: str) -> None:
    run(
        PacketRegister(fault=fault),
        "verif.cocotb.tb_drivers",
        "drivers",
        parameters={"fault": FAULTS[fault]},
        testcase="broken_device_is_caught",
    )


def test_failed_bench_fails_the_run() -> None:
    with pytest.raises(SimulationError, match="SEED="):
        run(
            PacketRegister(),
            "verif.cocotb.tb_drivers",
            "drivers",
            parameters={"fault": "a fault that this device does not have"},
            testcase="broken_device_is_caught",
        )
