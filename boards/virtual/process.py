"""Starts, watches and stops the virtual board's program."""

import fcntl
import json
import os
import selectors
import signal
import struct
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from boards.virtual.build import Parameters, build
from boards.virtual.pins import PinEvent, PinLink

__all__ = ["BoardError", "VirtualBoard", "open_tap"]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
TUN = Path("/dev/net/tun")
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


class BoardError(RuntimeError):
    """The virtual board did not start, or ended by itself; the message says why."""


def open_tap(name: str) -> int:
    """Opens the TAP device `name` of this network namespace, made if missing.

    Returns its descriptor. The device may be moved to another namespace while it is open, and goes
    with its last descriptor. Raises BoardError, in plain words, where the system does not allow it.
    """
    try:
        fd = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise BoardError(f"{TUN} cannot be opened: {error.strerror}") from error
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as error:
        os.close(fd)
        raise BoardError(f"the TAP device {name} cannot be opened: {error.strerror}") from error
    return fd


class VirtualBoard:
    """One virtual board: the verilated NIC as a process, between two TAP devices.

    Parameters
    ----------
    wire, host
        The TAP device of each side: a name in this process's network namespace, or a descriptor
        from `open_tap`, which remains the caller's.
    directory
        Where the sockets `registers` and `pins` are made; a new one under the temporary directory
        by default. Paths of Unix sockets must be short.
    parameters
        Of the NIC.
    on_event
        As for `PinLink`.

    Attributes
    ----------
    flash : Path or None
        File of the flash, made if missing; None: the next start is without one.
    """

    def __init__(
        self,
        wire: str | int,
        host: str | int,
        *,
        directory: Path | None = None,
        parameters: Parameters | None = None,
        on_event: Callable[[PinEvent], None] | None = None,
    ) -> None:
        self._sides = {"wire": wire, "host": host}
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="holdfast-"))
        self.registers = self.directory / "registers"
        self.pin_socket = self.directory / "pins"
        self._parameters = parameters or Parameters()
        self._on_event = on_event
        self.flash: Path | None = None
        self._process: subprocess.Popen[str] | None = None
        self._pins: PinLink | None = None
        self.final_stats: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process number of the running board."""
        return self._running().pid

    @property
    def pins(self) -> PinLink:
        """Link to the pins of the running board."""
        if self._pins is None:
            raise BoardError("the virtual board is not running")
        return self._pins

    def stats(self) -> dict[str, Any]:
        """What the board did since it began; after `stop` what it did in all."""
        return self._pins.stats() if self._pins else self.final_stats

    def start(self) -> None:
        """Builds the program if need be and starts it. Raises BoardError or BuildError."""
        program = build(self._parameters)
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [str(program), "--die-with-parent"]
        command += ["--registers", str(self.registers), "--pins", str(self.pin_socket)]
        if self.flash is not None:
            command += ["--flash", str(self.flash)]
        for side, device in self._sides.items():
            command += [f"--{side}-{'fd' if isinstance(device, int) else 'tap'}", str(device)]
        inherited = [device for device in self._sides.values() if isinstance(device, int)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=inherited,
        )
        if not self._ready():
            words = self._end()
            raise BoardError(words or "the virtual board did not start")
        self._pins = PinLink(self.pin_socket, self._on_event)

    def stop(self) -> None:
        """Ends the program in good order; does nothing if it does not run."""
        if self._pins is not None:
            self._pins.close()
            self._pins = None
        if self._process is not None:
            words = self._end()
            if words:
                raise BoardError(words)
        if self._own_directory and self.directory.is_dir():
            self.directory.rmdir()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise BoardError("the virtual board is not running")
        return self._process

    def _ready(self) -> bool:
        output = self._running().stdout
        if output is None:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            return bool(selector.select(START_SECONDS)) and output.readline() != ""

    def _end(self) -> str:
        """Ends the process; returns its words of complaint, if any."""
        process = self._running()
        self._process = None
        process.send_signal(signal.SIGTERM)
        try:
            output, errors = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            errors += "the virtual board did not end when it was asked to"
        if output.strip().startswith("{"):
            self.final_stats = json.loads(output)
        return errors.strip()
