"""Clocks of the boards, and the reset of their PHYs."""

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from boards.colorlight.resources import OSCILLATOR_HZ, PACKET_HZ
from boards.ecp5 import Clock

__all__ = ["CLOCKS", "PacketClock", "PhyReset"]

CLOCKS = (
    Clock("packet", r"[.$]clk$", PACKET_HZ / 1e6),
    Clock("pll", r"pll_clk$", PACKET_HZ / 1e6),
    Clock("wire_rx", r"wire_phy\.(.*rx_clk|i)$", PACKET_HZ / 1e6),
    Clock("host_rx", r"host_phy\.(.*rx_clk|i)$", PACKET_HZ / 1e6),
)
"""The clocks of `Top`, for its timing report."""


class PacketClock(Elaboratable):
    """Drives `sync` with 125 MHz from the oscillator; it is at rest until the PLL has locked.

    The oscillator of 25 MHz times 5; the VCO runs at 625 MHz, within its 400 to 800 MHz.

    `sync` needs no reset. When the FPGA starts, its power-up reset (PUR) sets each flip-flop to its
    initial value, and no edge comes before that is long over; so the wires to over nine thousand
    reset inputs are free for other uses.

    Source: FPGA-TN-02200, ECP5 sysCLOCK PLL (and DCCA, a clock switch that does not cut a pulse
    short); divider and phase as `ecppll -i 25 -o 125` gives them.
    """

    DIVIDER = 5

    def elaborate(self, platform):
        if PACKET_HZ != OSCILLATOR_HZ * self.DIVIDER:
            raise ValueError(f"no PLL setting for {OSCILLATOR_HZ} to {PACKET_HZ} Hz")
        m = Module()
        m.submodules.oscillator = oscillator = io.Buffer("i", platform.request("clk25", dir="-"))
        m.domains.pll = ClockDomain("pll", local=True, reset_less=True)
        clock = ClockSignal("pll")
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            ("a", "FREQUENCY_PIN_CLKI", f"{OSCILLATOR_HZ / 1e6:g}"),
            ("a", "FREQUENCY_PIN_CLKOP", f"{PACKET_HZ / 1e6:g}"),
            ("a", "ICP_CURRENT", "12"),
            ("a", "LPF_RESISTOR", "8"),
            ("a", "MFG_ENABLE_FILTEROPAMP", "1"),
            ("a", "MFG_GMCREF_SEL", "2"),
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_OUTDIVIDER_MUXB="DIVB",
            p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            p_CLKI_DIV=1,
            p_CLKFB_DIV=self.DIVIDER,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=5,
            p_CLKOP_CPHASE=2,
            p_CLKOP_FPHASE=0,
            i_CLKI=oscillator.i,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_LOCK=locked,
        )
        runs = Signal()
        m.submodules.lock = FFSynchronizer(locked, runs, o_domain="pll", stages=3)
        m.submodules.gate = Instance("DCCA", i_CLKI=clock, i_CE=runs, o_CLKO=ClockSignal("sync"))
        return m


class PhyReset(Elaboratable):
    """Holds the PHYs in reset for 20 ms after power-on; their registers stay as strapped.

    MDC rests and MDIO is not driven.
    """

    RESET_MS = 20

    def elaborate(self, platform):
        m = Module()
        pins = platform.request("phy_management", 0, dir={"reset": "-", "mdc": "-", "mdio": "-"})
        m.submodules.reset = reset = io.Buffer("o", pins.reset)
        m.submodules.mdc = mdc = io.Buffer("o", pins.mdc)
        m.submodules.mdio = mdio = io.Buffer("io", pins.mdio)
        cycles = PACKET_HZ // 1000 * self.RESET_MS
        left = Signal(range(cycles), init=cycles - 1)
        in_reset = Signal(init=1)
        m.d.comb += [reset.o.eq(in_reset), mdc.o.eq(0), mdio.o.eq(0), mdio.oe.eq(0)]
        with m.If(in_reset):
            m.d.sync += [left.eq(left - 1), in_reset.eq(left != 0)]
        return m
