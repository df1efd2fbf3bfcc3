"""A place to type commands at: configuration, key and store in a folder, and what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sw.cli import main

ROOT = Path(__file__).resolve().parents[4]
PSK = "a-very-secret-pre-shared-key"
STATION = """
[station]
identity = "station.example"
address = "{address}"
store = "{folder}/store/station.db"
key_file = "{folder}/store/station.key"
control_socket = "{folder}/control"
encapsulation = "udp"
ike_port = 15500
natt_port = 15501
poll_period_s = 0.05
rmcp_retransmit_s = 0.01
rmcp_sends = 2

[agent]
identity = "host.example"
station_identity = "station.example"
psk_file = "{folder}/psk"
address = "{address}"
mac = "02:00:00:00:00:10"
nic_socket = "{folder}/nic"
ike_port = 15500
natt_port = 15501
"""


@dataclass(frozen=True)
class Reply:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """Standard output as one JSON value."""
        return json.loads(self.out)


class Place:
    """Where commands are typed.

    Every reply is searched for secrets and tracebacks.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.config = folder / "holdfast.toml"
        # An address of this process alone: its ports are free, whoever runs beside it.
        pid = os.getpid()
        address = f"127.{1 + (pid >> 16) % 254}.{pid >> 8 & 0xFF}.{pid & 0xFF}"
        self.config.write_text(STATION.format(folder=folder, address=address), encoding="utf-8")
        self.psk = folder / "psk"
        self.psk.write_text(PSK + "\n", encoding="ascii")
        self.psk.chmod(0o600)
        self.control = folder / "control"
        self.nic = folder / "nic"

    def words(self, words: tuple[str, ...]) -> list[str]:
        """The words, with the configuration where it belongs."""
        configured = ("station", "host", "alerts", "power", "agent")
        if words and words[0] in configured and len(words) > 1:
            return [*words, "--config", str(self.config)]
        return list(words)

    def __call__(self, *words: str) -> Reply:
        """Type a command, in this process."""
        self._capsys.readouterr()
        code = main(self.words(words))
        return self.checked(Reply(int(code), *self._capsys.readouterr()))

    def add(self, name: str = "host", *more: str) -> Reply:
        """Type `host add`."""
        where = ("--address", "192.0.2.10", "--psk-file", str(self.psk))
        return self("host", "add", name, *where, *more)

    def checked(self, reply: Reply) -> Reply:
        """The reply, if nothing in it is wrong in any case."""
        text = reply.out + reply.err
        key = self.folder / "store/station.key"
        sealing = key.read_text(encoding="ascii").strip() if key.exists() else ""
        for secret in (PSK, PSK.encode().hex(), sealing):
            assert len(secret) < 16 or secret not in text, text
        assert "Traceback" not in text, text
        assert "Exception ignored" not in text, text
        return reply

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Start a command as a process of its own."""
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-X", "dev", "-m", "sw.cli", *self.words(words)],
            cwd=ROOT,
            text=True,
            **(pipes | more),
        )

    def end(self, process: subprocess.Popen[str]) -> Reply:
        """What a process still wrote, and its exit code."""
        out, err = process.communicate()
        return self.checked(Reply(process.returncode, out or "", err or ""))
