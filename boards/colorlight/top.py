"""The NIC with all that it needs on a board."""

from amaranth.hdl import ClockDomain, Const, Elaboratable, Instance, Module
from amaranth.lib import io, wiring

from boards.colorlight.clocks import PacketClock, PhyReset
from boards.colorlight.resources import PACKET_HZ
from boards.colorlight.rgmii import Rgmii
from hw.eth.frame_store import FrameStore
from hw.eth.mac_rx import MacRx
from hw.eth.mac_tx import MacTx
from hw.host.debounce import Debouncer
from hw.host.uart_bridge import UartBridge
from hw.nic import Nic

__all__ = ["Top"]


class Top(Elaboratable):
    """Puts `nic` between the two PHYs, its register bus on the serial line, its pins on connectors.

    The NIC takes the wire's frames as they come: after PHY 0 there is no buffer but that of the
    clock crossing. The host's frames may have to wait for one of the NIC's own, so they pass a
    store that drops whole frames when it is full. Towards the wire frames are stored too: the NIC
    may pause within a frame of its own. A NIC with a store has it in the board's flash.

    Parameters
    ----------
    nic : Nic
        For a clock of `PACKET_HZ`.

    Source: FPGA-TN-02039, 6.1.2 (USRMCLK, which drives the flash's clock after configuration).
    """

    HOST_STORE_OCTETS = 2048
    WIRE_STORE_OCTETS = 2048
    BUTTON_MS = 20
    """How long the zeroise button must be pressed; what is shorter is a disturbance."""

    def __init__(self, nic: Nic):
        self._nic = nic

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain("sync", reset_less=True)
        m.submodules.packet_clock = PacketClock()
        m.submodules.phy_reset = PhyReset()
        m.submodules.nic = nic = self._nic

        m.submodules.wire_phy = wire_phy = Rgmii(number=0, name="wire")
        m.submodules.wire_mac_rx = wire_mac_rx = MacRx()
        m.submodules.wire_store = wire_store = FrameStore(depth=self.WIRE_STORE_OCTETS, holds=True)
        m.submodules.wire_mac_tx = wire_mac_tx = MacTx()
        wiring.connect(m, wire_phy.rx, wire_mac_rx.i)
        wiring.connect(m, wire_mac_rx.o, nic.wire_rx)
        wiring.connect(m, nic.wire_tx, wire_store.i)
        wiring.connect(m, wire_store.o, wire_mac_tx.i)
        m.d.comb += wire_phy.tx.eq(wire_mac_tx.o)

        m.submodules.host_phy = host_phy = Rgmii(number=1, name="host")
        m.submodules.host_mac_rx = host_mac_rx = MacRx()
        m.submodules.host_store = host_store = FrameStore(depth=self.HOST_STORE_OCTETS, holds=False)
        m.submodules.host_mac_tx = host_mac_tx = MacTx()
        wiring.connect(m, host_phy.rx, host_mac_rx.i)
        wiring.connect(m, host_mac_rx.o, host_store.i)
        wiring.connect(m, host_store.o, nic.host_rx)
        wiring.connect(m, nic.host_tx, host_mac_tx.i)
        m.d.comb += host_phy.tx.eq(host_mac_tx.o)

        m.submodules.uart = uart = UartBridge(clock_hz=PACKET_HZ)
        wiring.connect(m, uart.bus, nic.bus)
        self._pins(m, platform, uart)
        return m

    def _pins(self, m, platform, uart):
        nic = self._nic

        def buffer(direction, name, port):
            m.submodules[name] = made = io.Buffer(direction, port)
            return made

        serial = platform.request("uart", 0, dir={"tx": "-", "rx": "-"})
        control = platform.request("host_control", 0, dir={"reset": "-", "power": "-"})
        m.submodules.button = button = Debouncer(cycles=PACKET_HZ // 1000 * self.BUTTON_MS)
        state = platform.request("host_state", 0, dir={"reset": "-", "sleep": "-", "off": "-"})
        m.d.comb += [
            buffer("o", "uart_tx", serial.tx).o.eq(uart.tx),
            uart.rx.eq(buffer("i", "uart_rx", serial.rx).i),
            buffer("o", "control_reset", control.reset).o.eq(nic.pin_reset),
            buffer("o", "control_power", control.power).o.eq(nic.pin_power),
            # The NIC synchronises what it is told.
            nic.pin_host_reset.eq(buffer("i", "state_reset", state.reset).i),
            nic.pin_host_sleep.eq(buffer("i", "state_sleep", state.sleep).i),
            nic.pin_host_off.eq(buffer("i", "state_off", state.off).i),
            button.i.eq(buffer("i", "zeroise", platform.request("zeroise", dir="-")).i),
            nic.pin_zeroise.eq(button.o),
        ]
        if nic.flash_base is not None:
            flash = platform.request("flash", 0, dir={"cs_n": "-", "mosi": "-", "miso": "-"})
            m.submodules.flash_clock = Instance(
                "USRMCLK", i_USRMCLKI=nic.flash_sck, i_USRMCLKTS=Const(0)
            )
            m.d.comb += [
                buffer("o", "flash_cs_n", flash.cs_n).o.eq(nic.flash_cs_n),
                buffer("o", "flash_mosi", flash.mosi).o.eq(nic.flash_mosi),
                nic.flash_miso.eq(buffer("i", "flash_miso", flash.miso).i),
            ]
