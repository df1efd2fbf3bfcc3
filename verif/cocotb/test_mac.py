"""Runs the bench of the MAC halves."""

import pytest
from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.eth.gmii import GmiiBeat
from hw.eth.mac_rx import MacRx
from hw.eth.mac_tx import MacTx
from hw.stream import PacketSignature
from verif.cocotb.runner import run

RX_TESTS = [
    "rx_passes_good_frames",
    "rx_rejects_every_wrong_octet",
    "rx_rejects_runts",
    "rx_rejects_errors_of_the_phy",
    "rx_finds_the_delimiter",
    "rx_ends_a_frame_that_stops",
    "rx_survives_a_reset",
]
TX_TESTS = [
    "tx_sends_frames_back_to_back",
    "tx_keeps_the_gap",
    "tx_bears_late_beats",
    "tx_spoils_a_frame_that_is_late",
    "tx_spoils_a_frame_with_err",
    "tx_starts_at_once",
]


class MacLoop(wiring.Component):
    """The sending half, a wire, and the receiving half."""

    i: In(PacketSignature())
    o: Out(PacketSignature())

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        m.submodules.tx = tx = MacTx()
        m.submodules.rx = rx = MacRx()
        # Deep enough for what a slow sink holds up: the wire does not wait.
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=GmiiBeat.size, depth=16384)
        wiring.connect(m, wiring.flipped(self.i), tx.i)
        wiring.connect(m, wiring.flipped(self.o), rx.o)
        was_on = Signal()
        m.d.sync += was_on.eq(tx.o.en)
        m.d.comb += [
            fifo.w_data.eq(tx.o),
            fifo.w_en.eq(tx.o.en | was_on),
            rx.i.payload.eq(fifo.r_data),
            rx.i.valid.eq(fifo.r_rdy),
            fifo.r_en.eq(rx.i.ready),
        ]
        return m


@pytest.mark.parametrize("testcase", RX_TESTS)
def test_mac_rx(testcase: str) -> None:
    run(MacRx(), "verif.cocotb.tb_mac", "mac_rx", testcase=testcase)


@pytest.mark.parametrize("testcase", TX_TESTS)
def test_mac_tx(testcase: str) -> None:
    run(MacTx(), "verif.cocotb.tb_mac", "mac_tx", testcase=testcase)


def test_mac_loop() -> None:
    run(MacLoop(), "verif.cocotb.tb_mac", "mac_loop", testcase="loop_returns_frames")
