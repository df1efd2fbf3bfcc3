"""The Colorlight boards' pins and constraints, as the tools get them.

The tables of `docs/boards.md` were typed from the published ones apart from the code, so that a
slip in either place shows, and a reader can trust them.
"""

import importlib
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from boards.build import BOARDS
from boards.colorlight_i9.platform import FLASH_BASE, FLASH_OCTETS
from boards.ecp5 import Ecp5Build
from spec.store import CONFIG_PAIR, SECTOR_OCTETS, SLOTS, slot_address

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
FLASH = [f"flash_0__{name}" for name in ("cs_n", "mosi", "miso")]
PULLED_UP = {"phy_management_0__mdio", "uart_0__rx", "zeroise_0"} | {
    f"host_state_0__{name}" for name in ("reset", "sleep", "off")
}
WITH_STORE = ("colorlight_i9",)
BITSTREAM_MAX = 2 << 20
"""More than the bitstream of any board takes, uncompressed and with all block RAM."""


@dataclass(frozen=True)
class Elaborated:
    """A board, and where its netlist and constraints lie."""

    name: str
    module: ModuleType
    directory: Path

    @property
    def constraints(self) -> str:
        """For nextpnr."""
        return (self.directory / "top.lpf").read_text()

    @property
    def netlist(self) -> str:
        """For Yosys."""
        return (self.directory / "top.il").read_text()


def documented(board: str) -> dict[str, list[str]]:
    """The balls of each port, as the board's part of the document has them."""
    _, _, rest = DOCUMENT.read_text().partition(f"\n## `{board}`\n")
    pins: dict[str, list[str]] = {}
    for line in rest.partition("\n## ")[0].splitlines():
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
        elif found := re.search(r"CS, MOSI and MISO at (\w+), (\w+) and (\w+)", line):
            pins |= {port: [ball] for port, ball in zip(FLASH, found.groups(), strict=True)}
    return pins


@pytest.fixture(scope="module", params=BOARDS)
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Elaborated:
    module = importlib.import_module(f"boards.{request.param}.board")
    directory = tmp_path_factory.mktemp("board") / "build"
    build = Ecp5Build(directory, module.SEED, lambda line: None)
    build.elaborate(module.platform(), module.design())
    return Elaborated(request.param, module, directory)


def test_every_pin_is_where_the_board_has_it(board: Elaborated) -> None:
    located: dict[str, list[str]] = {}
    places = re.findall(r'COMP "(\S+?)__io(?:\[\d\])?" SITE "(\w+)";', board.constraints)
    for port, ball in places:
        located.setdefault(re.sub(r"^clk25_0$", "clk25", port), []).append(ball)
    assert located == documented(board.name)
    balls = [ball for group in located.values() for ball in group]
    assert len(set(balls)) == len(balls)


def test_every_pin_is_of_3_3_volts_and_inputs_are_pulled_to_inactive(board: Elaborated) -> None:
    settings = dict(re.findall(r'IOBUF PORT "(\S+?)__io(?:\[\d\])?" (.*);', board.constraints))
    assert {port.replace("clk25_0", "clk25") for port in settings} == set(documented(board.name))
    assert all("IO_TYPE=LVCMOS33" in setting for setting in settings.values())
    pulled_up = {port for port, setting in settings.items() if "PULLMODE=UP" in setting}
    assert pulled_up == PULLED_UP | {port for port in settings if port == "flash_0__miso"}


def test_every_clock_input_has_its_constraint(board: Elaborated) -> None:
    found = {
        port: float(hertz)
        for port, hertz in re.findall(r'FREQUENCY PORT "(\S+?)" ([\d.]+) HZ;', board.constraints)
    }
    assert found == {
        "clk25_0__io": 25e6,
        "rgmii_0__rx_clk__io": 125e6,
        "rgmii_1__rx_clk__io": 125e6,
    }
    assert {clock.mhz for clock in board.module.CLOCKS} == {125.0}


def test_part_is_the_one_that_is_routed(board: Elaborated) -> None:
    """Name of the device, platform and options of nextpnr agree."""
    platform, options = board.module.platform(), board.module.NEXTPNR_OPTIONS
    assert f"{platform.device}-{platform.speed}{platform.package}C" == board.module.DEVICE
    assert f"--{platform.device.removeprefix('LFE5U-').lower().replace('f', 'k')}" in options
    assert options[options.index("--package") + 1] == f"CA{platform.package.replace('BG', 'BGA')}"
    assert options[options.index("--speed") + 1] == platform.speed


def test_store_is_driven_where_the_board_has_one(board: Elaborated) -> None:
    """The flash's clock goes to the one cell that drives it, by a wire of its own."""
    ports = {port for port in documented(board.name) if port.startswith("flash_0")}
    cells = re.findall(r"cell \\USRMCLK \S+\n((?: +connect .*\n)+)", board.netlist)
    if board.name not in WITH_STORE:
        assert (ports, cells) == (set(), [])
        return
    assert ports == set(FLASH)
    (connections,) = cells
    wires = dict(re.findall(r"connect \\(\w+) (.*)", connections))
    assert wires == {"USRMCLKI": r"\flash_sck [0]", "USRMCLKTS": "1'0"}
    assert re.search(
        r"cell \\top\.nic \S+\n(?: +connect .*\n)*? +connect \\flash_sck \\flash_sck", board.netlist
    )


def test_store_lies_behind_the_bitstream_and_within_the_flash() -> None:
    first, last = slot_address(0, 0, FLASH_BASE), slot_address(CONFIG_PAIR, SLOTS - 1, FLASH_BASE)
    assert BITSTREAM_MAX <= first < last <= FLASH_OCTETS - SECTOR_OCTETS
    assert f"`{FLASH_BASE:06X}`" in DOCUMENT.read_text()


def test_netlist_names_no_path_of_this_machine(board: Elaborated) -> None:
    assert str(Path.home()) not in board.netlist
    assert ".py" not in board.netlist
