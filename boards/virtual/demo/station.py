"""A management station of the demo: its configuration, its store, and its process."""

import json
import os
import secrets
import signal
import subprocess
from pathlib import Path

from boards.virtual.demo.commands import Cli, holdfast, wait_until
from boards.virtual.demo.world import HOST, Party, within

__all__ = ["HOST_IDENTITY", "DemoStation", "suites_line"]

HOST_IDENTITY = "host.example"
START_SECONDS = 30.0
STOP_SECONDS = 10.0

CONFIG = """\
[station]
identity = "{identity}"
address = "{address}"
store = "{store}"
key_file = "{key_file}"
control_socket = "{socket}"
refresh_period_s = {refresh}
poll_period_s = 0.5
exchange_retry_s = 0.5
ready_timeout_s = 10.0
ike_retransmit_s = 0.3
rmcp_retransmit_s = 0.2
rmcp_sends = 4
log_level = "debug"
{suites}"""


def suites_line(suites: tuple[str, ...]) -> str:
    """The key `suites` of a configuration; nothing, if it is to be left out."""
    return f"suites = {json.dumps(suites)}\n" if suites else ""


class DemoStation:
    """One station, which looks after the one host of the demo.

    Parameters
    ----------
    party : Party
        In whose network namespace it runs.
    directory : Path
        Where its files lie.
    log : Path
        Gets its output.
    refresh_s : float
        Its refresh timer.
    nic_socket : Path
        Register socket of the board, for `cli`.
    suites : tuple of str
        Suites of ESP that it offers; none: those by default.

    Attributes
    ----------
    psk : Path
        Pre-shared key of station and host.
    cli : Cli
        The commands of its administrator.
    """

    def __init__(
        self,
        party: Party,
        directory: Path,
        log: Path,
        *,
        refresh_s: float,
        nic_socket: Path,
        suites: tuple[str, ...] = (),
    ) -> None:
        self.identity = f"{party.name}.example"
        self.psk = directory / f"{party.name}.psk"
        self._party = party
        self._log = log
        self._config = directory / f"{party.name}.toml"
        self._store = directory / f"{party.name}.db"
        self._key = directory / f"{party.name}.key"
        self._socket = directory / f"{party.name}.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.cli = Cli(self._config, nic_socket, party)
        log.write_bytes(b"")
        self.psk.touch(mode=0o600)
        self.psk.write_text(secrets.token_hex(32) + "\n")
        self._config.write_text(
            CONFIG.format(
                identity=self.identity,
                address=party.ip,
                store=self._store,
                key_file=self._key,
                socket=self._socket,
                refresh=refresh_s,
                suites=suites_line(suites),
            )
        )

    def start(self) -> None:
        """Starts it; one that has no store gets the host from its administrator."""
        knows = self._store.exists()
        with self._log.open("ab") as log:
            self._process = process = subprocess.Popen(
                within(self._party, *holdfast("station", "run", "--config", str(self._config))),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(
            lambda: self._socket.exists() or process.poll() is not None or None, START_SECONDS
        )
        if not self._socket.exists():
            raise RuntimeError(f"the station did not start; its words are in {self._log}")
        if knows:
            return
        added = self.cli.station(
            *("host", "add", HOST.name, "--address", HOST.ip, "--identity", HOST_IDENTITY),
            *("--psk-file", str(self.psk)),
        )
        if added.code:
            raise RuntimeError(f"the station did not take the host: {added.error}")

    def stop(self) -> None:
        """Ends it; does nothing if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def hang(self) -> None:
        """It stops dead, and keeps what it has."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """It goes on where it stood."""
        self._signal(signal.SIGCONT)

    def lose_everything(self) -> None:
        """A cold boot: store, sealing key and all SAs are gone; the configuration is left."""
        self.stop()
        for file in self._store.parent.glob(f"{self._party.name}.*"):
            if file not in (self._config, self.psk):
                file.unlink()
        self.start()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the station does not run")
        os.kill(self._process.pid, number)
