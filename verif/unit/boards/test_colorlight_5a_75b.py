"""The board's pins and constraints, as the tools get them.

The tables of `docs/boards.md` were typed from the published ones apart from the code, so that a
slip in either place shows, and a reader can trust them.
"""

import re
from pathlib import Path

import pytest

from boards.colorlight_5a_75b import board
from boards.ecp5 import Ecp5Build

DOCUMENT = Path(__file__).parents[3] / "docs" / "boards.md"
# Rows of the tables in the document: the ports of the design that they are about.
PHY_ROWS = {
    "GTXCLK": "tx_clk",
    "TX_EN": "tx_ctl",
    "TXD0 to TXD3": "tx_data",
    "RXC": "rx_clk",
    "RXD_DV": "rx_ctl",
    "RXD0 to RXD3": "rx_data",
}
CONNECTOR_ROWS = {
    "UART, from FPGA": "uart_0__tx",
    "UART, to FPGA": "uart_0__rx",
    "`pin_reset`": "host_control_0__reset",
    "`pin_power`": "host_control_0__power",
    "`pin_host_reset`": "host_state_0__reset",
    "`pin_host_sleep`": "host_state_0__sleep",
    "`pin_host_off`": "host_state_0__off",
    "`pin_zeroise`": "zeroise_0",
}
PULLED_UP = {"phy_management_0__mdio", "uart_0__rx", "zeroise_0"} | {
    f"host_state_0__{name}" for name in ("reset", "sleep", "off")
}


def documented() -> dict[str, list[str]]:
    """The balls of each port, as the document has them."""
    pins: dict[str, list[str]] = {}
    for line in DOCUMENT.read_text().splitlines():
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if name in PHY_ROWS:
            pins |= {f"rgmii_{n}__{PHY_ROWS[name]}": cells[n].split() for n in range(2)}
        elif name in CONNECTOR_ROWS:
            pins[CONNECTOR_ROWS[name]] = [cells[1]]
        elif name == "RESET, MDC, MDIO of both":
            assert cells[0] == cells[1]
            ports = [f"phy_management_0__{port}" for port in ("reset", "mdc", "mdio")]
            pins |= {port: [ball] for port, ball in zip(ports, cells[0].split(), strict=True)}
        elif found := re.search(r"The oscillator is at (\w+)\.", line):
            pins["clk25"] = [found[1]]
    return pins


@pytest.fixture(scope="module")
def netlist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("board") / "build"
    build = Ecp5Build(directory, board.SEED, lambda line: None)
    build.elaborate(board.platform(), board.design())
    return directory


def test_every_pin_is_where_the_board_has_it(netlist: Path) -> None:
    text = (netlist / "top.lpf").read_text()
    located: dict[str, list[str]] = {}
    for port, ball in re.findall(r'COMP "(\S+?)__io(?:\[\d\])?" SITE "(\w+)";', text):
        located.setdefault(re.sub(r"^clk25_0$", "clk25", port), []).append(ball)
    assert located == documented()
    balls = [ball for group in located.values() for ball in group]
    assert len(set(balls)) == len(balls)


def test_every_pin_is_of_3_3_volts_and_inputs_are_pulled_to_inactive(netlist: Path) -> None:
    text = (netlist / "top.lpf").read_text()
    settings = dict(re.findall(r'IOBUF PORT "(\S+?)__io(?:\[\d\])?" (.*);', text))
    assert {port.replace("clk25_0", "clk25") for port in settings} == set(documented())
    assert all("IO_TYPE=LVCMOS33" in setting for setting in settings.values())
    assert {port for port, setting in settings.items() if "PULLMODE=UP" in setting} == PULLED_UP


def test_every_clock_input_has_its_constraint(netlist: Path) -> None:
    text = (netlist / "top.lpf").read_text()
    found = {
        port: float(hertz)
        for port, hertz in re.findall(r'FREQUENCY PORT "(\S+?)" ([\d.]+) HZ;', text)
    }
    assert found == {
        "clk25_0__io": 25e6,
        "rgmii_0__rx_clk__io": 125e6,
        "rgmii_1__rx_clk__io": 125e6,
    }
    assert {clock.mhz for clock in board.CLOCKS} == {125.0}


def test_netlist_names_no_path_of_this_machine(netlist: Path) -> None:
    assert str(Path.home()) not in (netlist / "top.il").read_text()
    assert ".py" not in (netlist / "top.il").read_text()
