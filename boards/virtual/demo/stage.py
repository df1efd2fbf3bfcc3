"""Sets the demo's stage, and clears it: world, board, machine, station, attacker, capture."""

import contextlib
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from boards.virtual.demo import attacker, os_app, os_init
from boards.virtual.demo.capture import Capture
from boards.virtual.demo.commands import Cli, LineServer, holdfast, wait_until
from boards.virtual.demo.machine import Machine
from boards.virtual.demo.world import ATTACKER, HOST, STATION, World, within
from boards.virtual.pins import PinEvent
from boards.virtual.process import VirtualBoard
from sw.nic import NicDriver, UnixSocketTransport

__all__ = ["REFRESH_SECONDS", "Stage"]

REFRESH_SECONDS = 5.0
"""The station's refresh timer here; an hour by default."""
START_SECONDS = 30.0
STOP_SECONDS = 10.0

STATION_CONFIG = """\
[station]
identity = "{identity}"
address = "{address}"
store = "{directory}/station.db"
key_file = "{directory}/station.key"
control_socket = "{directory}/station.sock"
refresh_period_s = {refresh}
poll_period_s = 0.5
exchange_retry_s = 0.5
ready_timeout_s = 10.0
ike_retransmit_s = 0.3
rmcp_retransmit_s = 0.2
rmcp_sends = 4
log_level = "debug"
"""
AGENT_CONFIG = """\
[agent]
identity = "{identity}"
station_identity = "{station_identity}"
psk_file = "{directory}/psk"
address = "{address}"
mac = "{mac}"
nic_socket = "{nic_socket}"
heartbeat_s = 0.3
heartbeat_window_s = 1.5
log_level = "debug"
"""
STATION_IDENTITY = "station.example"
HOST_IDENTITY = "host.example"


class Stage(contextlib.ExitStack):
    """Everything that plays, from the start of the station on; the machine is still unplugged.

    Parameters
    ----------
    logs : Path
        Directory for the output of station and OS.
    pcap : Path or None
        Where the LAN's traffic is kept.
    """

    def __init__(self, logs: Path, pcap: Path | None) -> None:
        super().__init__()
        self._logs = logs
        logs.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as guard:
            guard.callback(self.close)
            self._set(pcap)
            guard.pop_all()

    def _set(self, pcap: Path | None) -> None:
        self.world = World()
        self.directory = self.world.directory
        self.capture: Capture | None = None
        if pcap is not None:
            self.capture = Capture(pcap, self.world.ports)
            self.callback(self.capture.close)
        self._write_configs()
        self.board = VirtualBoard(
            self.world.wire,
            self.world.host,
            directory=self.directory,
            on_event=self._on_pin,
        )
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
        self.cli = Cli(self.directory / "station.toml", self.board.registers)
        self._start_station()
        self.attacker = LineServer(ATTACKER, attacker.__name__)
        self.callback(self.attacker.close)

    # Board and machine are wired to each other, and made one after the other.

    def _on_pin(self, event: PinEvent) -> None:
        self.machine.on_pin(event)

    def _set_pin(self, pin: str, level: bool) -> None:
        self.board.pins.set(pin, level)

    def power_cycle_board(self) -> None:
        """Takes the board's power away for a moment: its registers and SAs are lost."""
        self._stop_board()
        self.board.start()

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

    def _write_configs(self) -> None:
        psk = self.directory / "psk"
        psk.touch(mode=0o600)
        psk.write_text(secrets.token_hex(32) + "\n")
        facts = {"directory": self.directory, "station_identity": STATION_IDENTITY}
        station = STATION_CONFIG.format(
            identity=STATION_IDENTITY, address=STATION.ip, refresh=REFRESH_SECONDS, **facts
        )
        (self.directory / "station.toml").write_text(station)
        agent = AGENT_CONFIG.format(
            identity=HOST_IDENTITY,
            address=HOST.ip,
            mac=HOST.mac,
            nic_socket=self.directory / "registers",
            **facts,
        )
        (self.directory / "agent.toml").write_text(agent)

    def _start_station(self) -> None:
        log = self.enter_context((self._logs / "station.log").open("wb"))
        config = str(self.directory / "station.toml")
        process = subprocess.Popen(
            within(STATION, *holdfast("station", "run", "--config", config)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self.callback(_end, process)
        socket = self.directory / "station.sock"
        wait_until(lambda: socket.exists() or process.poll() is not None or None, START_SECONDS)
        if not socket.exists():
            raise RuntimeError(f"the station did not start; its words are in {log.name}")
        added = self.cli.station(
            *("host", "add", HOST.name, "--address", HOST.ip, "--identity", HOST_IDENTITY),
            *("--psk-file", str(self.directory / "psk")),
        )
        if added.code:
            raise RuntimeError(f"the station did not take the host: {added.error}")

    def _firmware(self) -> None:
        # What a machine's firmware keeps in its setup, and gives to the NIC at each start.
        with NicDriver(UnixSocketTransport(self.board.registers)) as nic:
            nic.set_host_address(bytes.fromhex(HOST.mac.replace(":", "")), IPv4Address(HOST.ip))

    def _os_command(self, boot: int) -> Sequence[str]:
        agent = holdfast("agent", "run", "--config", str(self.directory / "agent.toml"))
        service = [sys.executable, "-m", os_app.__name__, "--serve", str(boot)]
        init = [sys.executable, "-m", os_init.__name__]
        return within(HOST, *init, *service, "--", *agent)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
