"""The managed machine around its NIC: reset and power wiring, firmware, an OS of real processes.

It does to the OS's processes what a machine's hardware would: a reset kills them all at once, a
hang or suspend stops them, the power button wakes, starts or, when held, switches off.
"""

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from boards.virtual.pins import PinEvent

__all__ = ["Machine", "Power"]

LOG = logging.getLogger("holdfast.demo.machine")

FIRMWARE_SECONDS = 1.5
"""From the end of reset to the start of the OS."""
HOLD_SECONDS = 4.0
"""The power button, held this long, switches off whatever runs (ACPI 4.8.2.2.1)."""
STEP_SECONDS = 0.05


class Power(Enum):
    """What the machine is doing."""

    UNPLUGGED = "unplugged"
    OFF = "off"
    RESET = "held in reset"
    FIRMWARE = "in its firmware"
    RUNNING = "running its OS"
    HUNG = "hung"
    SUSPENDED = "suspended"


class Machine:
    """A machine whose wires are the virtual board's pins.

    A thread of its own does all the work; the methods below only ask for it.

    Parameters
    ----------
    set_pin
        Drives an input pin of the NIC.
    network
        Switches the network of the OS on or off.
    firmware
        What the firmware does at each start, before any OS.
    os_command
        Gives the command of the OS's first process, from the number of the boot. It is run as
        PID 1 of a PID namespace of its own.
    log
        File that gets all output of the OS.
    """

    def __init__(
        self,
        *,
        set_pin: Callable[[str, bool], None],
        network: Callable[[bool], None],
        firmware: Callable[[], None],
        os_command: Callable[[int], Sequence[str]],
        log: Path,
    ) -> None:
        self._set_pin = set_pin
        self._network = network
        self._firmware = firmware
        self._os_command = os_command
        self._log = log.open("ab")
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._os: subprocess.Popen[bytes] | None = None
        self._boot_at: float | None = None
        self._off_at: float | None = None
        self._stay_in_firmware = False
        self.power = Power.UNPLUGGED
        self.boots = 0
        """How often an OS was started."""
        self.kills = 0
        """How often a running OS was killed by reset or by the held power button."""
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="machine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Kills the OS and ends the machine."""
        self._tasks.put(self._pull_plug)
        self._tasks.put(None)
        self._thread.join()
        self._log.close()

    def on_pin(self, event: PinEvent) -> None:
        """An output pin of the NIC changed; for `PinLink`."""
        pin, level, _ = event
        handler = {"reset": self._reset_wire, "power": self._power_button}[pin]
        self._tasks.put(lambda: handler(bool(level)))

    def plug_in(self) -> None:
        """Gives mains power to an unplugged machine, which then starts by itself."""
        self._tasks.put(self._start)

    def unplug(self) -> None:
        """Takes mains power away; returns when all is dark."""
        self._tasks.put(self._pull_plug)
        self._settle()

    def press_reset(self) -> None:
        """Somebody presses the machine's own reset button."""
        self._tasks.put(lambda: self._reset_wire(True))
        self._tasks.put(lambda: self._reset_wire(False))
        self._settle()

    def hang(self) -> None:
        """The OS stops dead: none of its processes runs, its network is silent."""
        self._tasks.put(lambda: self._stop_os(Power.HUNG))
        self._settle()

    def suspend(self) -> None:
        """The OS goes to sleep, and the machine tells so by its sleep wire."""
        self._tasks.put(lambda: self._stop_os(Power.SUSPENDED))
        self._settle()

    def stay_in_firmware(self, stay: bool) -> None:
        """While set, the firmware finds nothing to boot."""
        self._stay_in_firmware = stay

    def os_processes(self) -> list[int]:
        """Process numbers of the OS: all that live in its PID namespace."""
        init = self._init()
        if init is None:
            return []
        home = Path(f"/proc/{init}/ns/pid").stat().st_ino
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if (entry / "ns/pid").stat().st_ino == home:
                        found.append(int(entry.name))
        return sorted(found)

    # All below runs in the machine's thread.

    def _work(self) -> None:
        while True:
            try:
                task = self._tasks.get(timeout=STEP_SECONDS)
            except queue.Empty:
                task = self._timers
            if task is None:
                return
            try:
                task()
            except Exception as error:
                LOG.exception("the machine had trouble")
                self.trouble = f"{type(error).__name__}: {error}"

    def _settle(self) -> None:
        done = threading.Event()
        self._tasks.put(done.set)
        done.wait()

    def _timers(self) -> None:
        now = time.monotonic()
        if self._off_at is not None and now >= self._off_at:
            self._off_at = None
            self._kill_os()
            self._switch_off()
        elif self._boot_at is not None and now >= self._boot_at and not self._stay_in_firmware:
            self._boot_at = None
            self._boot()
        elif self.power is Power.RUNNING and self._os is not None and self._os.poll() is not None:
            self._os = None
            self._network(False)
            self._switch_off()

    def _reset_wire(self, asserted: bool) -> None:
        if self.power in (Power.UNPLUGGED, Power.OFF):
            return
        if asserted:
            self._kill_os()
            self._boot_at = None
            self._set_pin("host_sleep", False)
            self._set_pin("host_reset", True)
            self.power = Power.RESET
        elif self.power is Power.RESET:
            self._enter_firmware()

    def _power_button(self, pressed: bool) -> None:
        if not pressed:
            if self._off_at is not None:
                self._off_at = None
                self._shut_down()
        elif self.power is Power.OFF:
            self._start()
        elif self.power is Power.SUSPENDED:
            self._wake_up()
        elif self.power is not Power.UNPLUGGED:
            self._off_at = time.monotonic() + HOLD_SECONDS

    def _start(self) -> None:
        self._set_pin("host_off", False)
        self._enter_firmware()

    def _enter_firmware(self) -> None:
        self._set_pin("host_reset", False)
        self.power = Power.FIRMWARE
        self._firmware()
        self._boot_at = time.monotonic() + FIRMWARE_SECONDS

    def _boot(self) -> None:
        self.boots += 1
        self._network(True)
        self._os = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", *self._os_command(self.boots)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self.power = Power.RUNNING

    def _init(self) -> int | None:
        """Number of the OS's first process, as the child of `unshare`."""
        if self._os is None:
            return None
        pid = self._os.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        numbers = children.read_text().split() if children.exists() else []
        return int(numbers[0]) if numbers else None

    def _kill_os(self) -> None:
        if self._os is None:
            return
        self.kills += 1
        self._network(False)
        init = self._init()
        if init is not None:
            # With its first process the kernel kills all of a PID namespace.
            os.kill(init, signal.SIGKILL)
        else:
            self._os.kill()
        self._os.wait()
        self._os = None

    def _stop_os(self, state: Power) -> None:
        if self.power is not Power.RUNNING:
            raise RuntimeError(f"a machine {self.power.value} cannot become {state.value}")
        self._network(False)
        for pid in self.os_processes():
            os.kill(pid, signal.SIGSTOP)
        self.power = state
        if state is Power.SUSPENDED:
            self._set_pin("host_sleep", True)

    def _wake_up(self) -> None:
        self._set_pin("host_sleep", False)
        self._network(True)
        for pid in self.os_processes():
            os.kill(pid, signal.SIGCONT)
        self.power = Power.RUNNING

    def _shut_down(self) -> None:
        init = self._init()
        if self.power is Power.RUNNING and init is not None:
            os.kill(init, signal.SIGTERM)
        elif self.power is Power.FIRMWARE:
            self._boot_at = None
            self._switch_off()

    def _switch_off(self) -> None:
        self.power = Power.OFF
        self._boot_at = None
        self._set_pin("host_sleep", False)
        self._set_pin("host_off", True)

    def _pull_plug(self) -> None:
        self._kill_os()
        self._boot_at = self._off_at = None
        self.power = Power.UNPLUGGED
