"""RGMII through the I/O cells of the ECP5."""

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from hw.eth.gmii import GmiiBeat, GmiiSignature, RxCrossing

__all__ = ["Rgmii"]


class Rgmii(wiring.Component):
    """One PHY at 1000 Mbit/s: octets to and from `sync`.

    The clocks leave and come with the edges of the data; who delays them:

    transmit
        The PHY delays GTX_CLK, as it is strapped on the boards, so clock and data leave together.
    receive
        The PHY delays RXC, so it comes in the middle of the data. Here the clock reaches the I/O
        cells about 2 ns late, by the clock tree; `RX_DELAY_TAPS` delays the data likewise.

    Source: RGMII 2.0, 3.0 (signals), 3.4 (coding of TX_ER, RX_ER); FPGA-TN-02035 (GDDRX1, DELAYG).
    The delays are those with which litex-boards runs these boards.

    Parameters
    ----------
    number : int
        Of the PHY on the board.
    name : str
        Its role; the domain of its receive clock is `name` followed by `_rx`.
    """

    RX_DELAY_TAPS = 80
    """Of 25 ps each: 2 ns."""

    def __init__(self, *, number: int, name: str):
        self._number = number
        self._name = name
        super().__init__({"rx": Out(GmiiSignature()), "tx": In(GmiiBeat)})

    @property
    def number(self) -> int:
        """Of the PHY on the board."""
        return self._number

    @property
    def rx_domain(self) -> str:
        """Clock domain of the receive clock."""
        return f"{self._name}_rx"

    def elaborate(self, platform):
        m = Module()
        names = ("tx_clk", "tx_ctl", "tx_data", "rx_clk", "rx_ctl", "rx_data")
        pins = platform.request("rgmii", self._number, dir=dict.fromkeys(names, "-"))
        self._receive(m, pins)
        self._transmit(m, pins)
        return m

    def _receive(self, m, pins):
        domain = self.rx_domain
        # Without a reset: the clock comes and goes with the link, the state is that of power-on.
        m.domains += ClockDomain(domain, reset_less=True)
        m.submodules.rx_clk = clk = io.Buffer("i", pins.rx_clk)
        m.d.comb += ClockSignal(domain).eq(clk.i)
        m.submodules.crossing = crossing = RxCrossing(domain=domain)
        wiring.connect(m, wiring.flipped(self.rx), crossing.o)

        m.submodules.rx_ctl = ctl = io.Buffer("i", pins.rx_ctl)
        m.submodules.rx_data = data = io.Buffer("i", pins.rx_data)
        rising, falling = Signal(5), Signal(5)
        for bit, pin in enumerate([*data.i, ctl.i]):
            delayed = Signal(name=f"rx_delayed{bit}")
            m.submodules[f"rx_delay{bit}"] = Instance(
                "DELAYG",
                p_DEL_MODE="SCLK_ALIGNED",
                p_DEL_VALUE=self.RX_DELAY_TAPS,
                i_A=pin,
                o_Z=delayed,
            )
            m.submodules[f"rx_ddr{bit}"] = Instance(
                "IDDRX1F",
                i_SCLK=ClockSignal(domain),
                i_RST=Const(0),
                i_D=delayed,
                o_Q0=rising[bit],
                o_Q1=falling[bit],
            )
        m.d[domain] += [
            crossing.i.data[:4].eq(rising[:4]),
            crossing.i.data[4:].eq(falling[:4]),
            crossing.i.en.eq(rising[4]),
            crossing.i.er.eq(rising[4] ^ falling[4]),
        ]

    def _transmit(self, m, pins):
        tx = Signal(GmiiBeat)
        m.d.sync += tx.eq(self.tx)
        m.submodules.tx_clk = clk = io.Buffer("o", pins.tx_clk)
        m.submodules.tx_ctl = ctl = io.Buffer("o", pins.tx_ctl)
        m.submodules.tx_data = data = io.Buffer("o", pins.tx_data)
        lines = [
            *((data.o[bit], tx.data[bit], tx.data[4 + bit]) for bit in range(4)),
            (ctl.o, tx.en, tx.en ^ tx.er),
            (clk.o, Const(1), Const(0)),
        ]
        for number, (pin, rising, falling) in enumerate(lines):
            m.submodules[f"tx_ddr{number}"] = Instance(
                "ODDRX1F",
                i_SCLK=ClockSignal("sync"),
                i_RST=Const(0),
                i_D0=rising,
                i_D1=falling,
                o_Q=pin,
            )
