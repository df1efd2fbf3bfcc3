"""What the simulator sees of the NIC: plain ports, and a register behind each input."""

from amaranth.hdl import Cat, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.nic import Nic

__all__ = ["VirtualTop"]

BEAT_BITS = 11


class VirtualTop(wiring.Component):
    """The NIC with its inputs registered.

    The program sets inputs after a rising edge; the NIC gets them at the next one. So no logic
    depends on an input at once, and the simulator evaluates the design once a cycle, not three
    times.

    Parameters
    ----------
    clock_hz, ack_ms, grace_ms : int
        As for `Nic`.

    Attributes
    ----------
    wire_rx_beat, host_rx_beat : Signal(11), in
        Payload of the stream, to be offered from the next cycle on.
    wire_rx_valid, host_rx_valid : Signal, in
        Likewise its `valid`.
    wire_rx_ready, host_rx_ready : Signal, out
        Whether the beat that is offered in this cycle moves.
    wire_tx_beat, wire_tx_valid, host_tx_beat, host_tx_valid : Signal, out
        What leaves the NIC in this cycle; it is always taken.
    bus_addr, bus_w_data, bus_w_stb, bus_r_stb : Signal, in
        The register bus, a cycle ahead.
    bus_r_data : Signal(32), out
        Data of a read, READ_CYCLES and one more after `bus_r_stb`.
    pin_* : Signal
        The pins of the NIC.
    flash_* : Signal
        Those to its flash, where the store begins at address 0.
    """

    wire_rx_beat: In(BEAT_BITS)
    wire_rx_valid: In(1)
    wire_rx_ready: Out(1)
    host_rx_beat: In(BEAT_BITS)
    host_rx_valid: In(1)
    host_rx_ready: Out(1)
    wire_tx_beat: Out(BEAT_BITS)
    wire_tx_valid: Out(1)
    host_tx_beat: Out(BEAT_BITS)
    host_tx_valid: Out(1)
    bus_addr: In(12)
    bus_w_data: In(32)
    bus_w_stb: In(1)
    bus_r_stb: In(1)
    bus_r_data: Out(32)
    pin_reset: Out(1)
    pin_power: Out(1)
    pin_host_reset: In(1)
    pin_host_sleep: In(1)
    pin_host_off: In(1)
    pin_zeroise: In(1)
    flash_sck: Out(1)
    flash_cs_n: Out(1, init=1)
    flash_mosi: Out(1)
    flash_miso: In(1)

    def __init__(self, *, clock_hz: int, ack_ms: int, grace_ms: int) -> None:
        super().__init__()
        self._nic = Nic(clock_hz=clock_hz, ack_ms=ack_ms, grace_ms=grace_ms, flash_base=0)

    def elaborate(self, platform):
        m = Module()
        m.submodules.nic = nic = self._nic
        for side in ("wire", "host"):
            rx, tx = getattr(nic, f"{side}_rx"), getattr(nic, f"{side}_tx")
            m.d.sync += [
                rx.payload.as_value().eq(getattr(self, f"{side}_rx_beat")),
                rx.valid.eq(getattr(self, f"{side}_rx_valid")),
            ]
            m.d.comb += [
                getattr(self, f"{side}_rx_ready").eq(rx.ready),
                getattr(self, f"{side}_tx_beat").eq(Cat(tx.payload)),
                getattr(self, f"{side}_tx_valid").eq(tx.valid),
                tx.ready.eq(1),
            ]
        m.d.sync += [
            nic.bus.addr.eq(self.bus_addr),
            nic.bus.w_data.eq(self.bus_w_data),
            nic.bus.w_stb.eq(self.bus_w_stb),
            nic.bus.r_stb.eq(self.bus_r_stb),
        ]
        m.d.comb += self.bus_r_data.eq(nic.bus.r_data)
        for pin in ("reset", "power"):
            m.d.comb += getattr(self, f"pin_{pin}").eq(getattr(nic, f"pin_{pin}"))
        for pin in ("host_reset", "host_sleep", "host_off", "zeroise"):
            m.d.sync += getattr(nic, f"pin_{pin}").eq(getattr(self, f"pin_{pin}"))
        for line in ("sck", "cs_n", "mosi"):
            m.d.comb += getattr(self, f"flash_{line}").eq(getattr(nic, f"flash_{line}"))
        m.d.sync += nic.flash_miso.eq(self.flash_miso)
        return m
