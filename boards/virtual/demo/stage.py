"""Sets the demo's stage, and clears it: world, board, machine, station, attacker, capture."""

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from boards.virtual.demo import attacker, os_app, os_init
from boards.virtual.demo.capture import Capture
from boards.virtual.demo.commands import LineServer, holdfast, wait_until
from boards.virtual.demo.machine import Machine
from boards.virtual.demo.station import HOST_IDENTITY, DemoStation, suites_line
from boards.virtual.demo.world import ATTACKER, HOST, STANDBY, STATION, Party, World, within
from boards.virtual.pins import PinEvent
from boards.virtual.process import VirtualBoard
from sw.nic import ClearPortSetting, NicDriver, UnixSocketTransport

__all__ = ["REFRESH_SECONDS", "HostSettings", "Stage"]

REFRESH_SECONDS = 5.0
"""The station's refresh timer here; an hour by default."""
PRESS_SECONDS = 0.2
AGENT_CONFIG = """\
[agent]
identity = "{identity}"
station_identity = "{station_identity}"
psk_file = "{psk}"
address = "{address}"
mac = "{mac}"
nic_socket = "{directory}/registers"
heartbeat_s = 0.3
heartbeat_window_s = 1.5
log_level = "debug"
nic_store = "{nic_store}"
{suites}clear_port = "{clear_port}"
clear_after_s = {clear_after_s}
station_authorised = {station_authorised}

[[agent.other_stations]]
identity = "{standby_identity}"
psk_file = "{standby_psk}"
context = 1
"""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What the host's owner wants of it: keys of the agent's configuration of these names."""

    nic_store: str = "nothing"
    clear_port: str = "discovery"
    clear_after_s: int = 0
    station_authorised: bool = True


class Stage(contextlib.ExitStack):
    """Everything that plays, from the start of the station on; the machine is still unplugged.

    Parameters
    ----------
    logs : Path
        Directory for the output of station and OS.
    pcap : Path or None
        Where the LAN's traffic is kept.
    suites : tuple of str
        Suites of ESP at both ends, in the words of the configuration; none: those by default.
    """

    def __init__(self, logs: Path, pcap: Path | None, *, suites: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._logs = logs
        self._suites = suites
        logs.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as guard:
            guard.callback(self.close)
            self._set(pcap)
            guard.pop_all()

    def _set(self, pcap: Path | None) -> None:
        self.world = World()
        self.directory = self.world.directory
        self.firmware_clear_port: ClearPortSetting | None = None
        """What the firmware's setup says of the clear port; None: the NIC's own setting stays."""
        self.capture: Capture | None = None
        if pcap is not None:
            self.capture = Capture(pcap, self.world.ports)
            self.callback(self.capture.close)
        self.board = VirtualBoard(
            self.world.wire,
            self.world.host,
            directory=self.directory,
            on_event=self._on_pin,
        )
        self.board.flash = self.directory / "flash"
        self.board_stats: list[dict[str, Any]] = []
        self.machine = Machine(
            set_pin=self._set_pin,
            network=self.world.host_network,
            firmware=self._firmware,
            os_command=self._os_command,
            log=self._logs / "os.log",
        )
        self.board.start()
        self.callback(self._stop_board)
        self.callback(self.machine.close)
        self.station, self.standby = (self._make_station(party) for party in (STATION, STANDBY))
        self.configure_host(HostSettings())
        self.station.start()
        self.attacker = LineServer(ATTACKER, attacker.__name__)
        self.callback(self.attacker.close)

    # Board and machine are wired to each other, and made one after the other.

    def _on_pin(self, event: PinEvent) -> None:
        self.machine.on_pin(event)

    def _set_pin(self, pin: str, level: bool) -> None:
        self.board.pins.set(pin, level)

    def power_cycle_board(self, *, blank: bool = False) -> None:
        """Takes the board's power away for a moment: what is not in its flash is lost.

        `blank` puts a new flash in its place.
        """
        self._stop_board()
        if blank and self.board.flash is not None:
            self.board.flash.unlink()
        self.board.start()

    def press_zeroise(self) -> None:
        """Somebody presses the board's zeroise button."""
        self.board.pins.set("zeroise", True)
        wait_until(lambda: None, PRESS_SECONDS)
        self.board.pins.set("zeroise", False)

    def _stop_board(self) -> None:
        self.board.stop()
        if self.board.final_stats:
            self.board_stats.append(self.board.final_stats)
            self.board.final_stats = {}

    def cycles_per_second(self) -> float:
        """What the board reached while it was busy, over all its runs so far."""
        runs = [*self.board_stats, self.board.stats()]
        runs = [run for run in runs if run]
        seconds = sum(run["busy_seconds"] for run in runs)
        return sum(run["busy_cycles"] for run in runs) / seconds if seconds else 0.0

    def _make_station(self, party: Party) -> DemoStation:
        station = DemoStation(
            party,
            self.directory,
            self._logs / f"{party.name}.log",
            refresh_s=REFRESH_SECONDS,
            suites=self._suites,
            nic_socket=self.board.registers,
        )
        self.callback(station.stop)
        return station

    def configure_host(self, settings: HostSettings) -> None:
        """What the OS tells its NIC from its next start on."""
        (self.directory / "agent.toml").write_text(
            AGENT_CONFIG.format(
                identity=HOST_IDENTITY,
                station_identity=self.station.identity,
                psk=self.station.psk,
                standby_identity=self.standby.identity,
                standby_psk=self.standby.psk,
                address=HOST.ip,
                mac=HOST.mac,
                directory=self.directory,
                nic_store=settings.nic_store,
                suites=suites_line(self._suites),
                clear_port=settings.clear_port,
                clear_after_s=settings.clear_after_s,
                station_authorised=str(settings.station_authorised).lower(),
            )
        )

    def _firmware(self) -> None:
        # What a machine's firmware keeps in its setup, and gives to the NIC at each start.
        with NicDriver(UnixSocketTransport(self.board.registers)) as nic:
            nic.set_host_address(bytes.fromhex(HOST.mac.replace(":", "")), IPv4Address(HOST.ip))
            if self.firmware_clear_port is not None:
                nic.set_clear_port(self.firmware_clear_port)

    def _os_command(self, boot: int) -> Sequence[str]:
        agent = holdfast("agent", "run", "--config", str(self.directory / "agent.toml"))
        service = [sys.executable, "-m", os_app.__name__, "--serve", str(boot)]
        init = [sys.executable, "-m", os_init.__name__]
        return within(HOST, *init, *service, "--", *agent)
