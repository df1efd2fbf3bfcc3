"""A Linux kernel with ESP and AH as a user program, at one end of two TAP devices.

Its root is this machine's file system, so that what is here runs there; the unpacked packages lie
over `/usr`. What it writes outside `/run` and its scratch directory would be written here: nothing
is.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = [
    "GUEST",
    "GUEST6",
    "LAN_GUEST",
    "LAN_GUEST6",
    "LAN_TAP",
    "OURS",
    "OURS6",
    "TAP",
    "Guest",
    "GuestError",
]

OURS, GUEST = "192.0.2.1", "192.0.2.7"
OURS6, GUEST6 = "2001:db8::1", "2001:db8::7"
TAP = "interop0"
LAN_GUEST, LAN_GUEST6 = "198.51.100.7", "2001:db8:1::7"
"""The guest's addresses on the other wire, where this end has none."""
LAN_TAP = "interop1"
PORT = 4503
MEMORY_OCTETS = 256 << 20
BOOT_SECONDS = 60.0
MODULES = (
    *("overlay", "ipv6", "af_key", "xfrm_user", "esp4", "ah4", "esp6", "ah6"),
    *("authenc", "authencesn", "gcm", "seqiv", "echainiv", "chacha20poly1305"),
)
# An `sh` of any kind reads it. /proc/sys/kernel/modprobe has the kernel load what a suite needs.
INIT = """#!/bin/sh
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
ln -s {root}/bin/kmod /run/modprobe
cat >/run/load <<'EOF'
#!/bin/sh
LD_LIBRARY_PATH={root}/lib/x86_64-linux-gnu:{root}/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH
exec /run/modprobe -d {root} "$@"
EOF
chmod +x /run/load
echo /run/load >/proc/sys/kernel/modprobe
for module in {modules}; do /run/load $module; done
mount -t overlay -o lowerdir={root}/usr:/usr over /usr
ip link set lo up
ip addr add {guest}/24 dev vec0
ip link set vec0 up
ip addr add {guest6}/64 dev vec0 nodad
ip addr add {lan_guest}/24 dev vec1
ip link set vec1 up
ip addr add {lan_guest6}/64 dev vec1 nodad
exec {python} {inside} {port}
"""


class GuestError(RuntimeError):
    """The guest does not start, or does not do what it is asked for; the message says what."""


class Guest:
    """The kernel, started. To be used with `with`, in a network namespace of one's own.

    Parameters
    ----------
    root : Path
        The unpacked packages.
    scratch : Path
        A directory for this guest alone.
    """

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Any = None
        self._lines: Any = None

    def __enter__(self) -> Self:
        self._make_wire()
        try:
            self._boot()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @staticmethod
    def _make_wire() -> None:
        for words in (
            "ip link set lo up",
            f"ip tuntap add dev {TAP} mode tap",
            f"ip addr add {OURS}/24 dev {TAP}",
            f"ip link set {TAP} up",
            f"ip addr add {OURS6}/64 dev {TAP} nodad",
            f"ip tuntap add dev {LAN_TAP} mode tap",
            f"ip link set {LAN_TAP} addrgenmode none",
            f"ip link set {LAN_TAP} up",
        ):
            done = subprocess.run(words.split(), capture_output=True, text=True, check=False)
            if done.returncode:
                raise GuestError(
                    f"`{words}` failed: {done.stderr.strip()}. The tests need /dev/net/tun, and "
                    "namespaces of their own: run them as root, or where users may have both."
                )

    def _boot(self) -> None:
        modules = self._root / "lib" / "modules"
        modules.parent.mkdir(exist_ok=True)
        if not modules.exists():
            modules.symlink_to("../usr/lib/uml/modules")
        init = self._scratch / "init.sh"
        init.write_text(
            INIT.format(
                root=shlex.quote(str(self._root)),
                modules=" ".join(MODULES),
                guest=GUEST,
                guest6=GUEST6,
                lan_guest=LAN_GUEST,
                lan_guest6=LAN_GUEST6,
                python=shlex.quote(sys.executable),
                inside=shlex.quote(str(Path(__file__).with_name("inside_guest.py"))),
                port=PORT,
            )
        )
        init.chmod(0o755)
        console = self._scratch / "console"
        with console.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    str(self._root / "usr" / "bin" / "linux.uml"),
                    *(
                        f"mem={MEMORY_OCTETS >> 20}M",
                        "rootfstype=hostfs",
                        "rootflags=/",
                        "rw",
                        f"init={init}",
                    ),
                    *("con=null", "con0=null,fd:1", "quiet", f"uml_dir={self._scratch}"),
                    f"vec0:transport=tap,ifname={TAP},depth=128",
                    f"vec1:transport=tap,ifname={LAN_TAP},depth=128",
                ],
                env={**os.environ, "TMPDIR": str(self._memory_folder())},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        end = time.monotonic() + BOOT_SECONDS
        while self._wire is None:
            if self._process.poll() is not None or time.monotonic() > end:
                raise GuestError(f"the guest did not start; its last words:\n{self.last_words()}")
            try:
                self._wire = socket.create_connection((GUEST, PORT), timeout=1)
            except OSError:
                time.sleep(0.05)
        self._wire.settimeout(120)
        self._lines = self._wire.makefile("rwb")

    def _memory_folder(self) -> Path:
        """Where the guest's memory lies: in memory, where a container has enough of it."""
        shared = Path("/dev/shm")
        if shared.is_dir() and shutil.disk_usage(shared).free > 2 * MEMORY_OCTETS:
            return shared
        return self._scratch

    def last_words(self) -> str:
        """What the console showed last."""
        return "\n".join((self._scratch / "console").read_text(errors="replace").splitlines()[-15:])

    def stop(self) -> None:
        """End it."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def request(self, do: str, **words: Any) -> dict[str, Any]:
        """Have `inside_guest` do something; raises GuestError."""
        if self._lines is None:
            raise GuestError("the guest is not running")
        try:
            self._lines.write(json.dumps({"do": do, **words}).encode() + b"\n")
            self._lines.flush()
            line = self._lines.readline()
        except OSError as error:
            raise GuestError(f"the guest does not answer: {error}") from error
        if not line:
            raise GuestError(f"the guest is gone; its last words:\n{self.last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GuestError(f"{do} {words}: {answer['error']}")
        return answer

    def run(self, words: str, *, timeout: float = 30.0) -> str:
        """Run a command in the guest, and return what it printed; raises GuestError."""
        answer = self.request("run", argv=shlex.split(words), timeout=timeout)
        if answer["code"]:
            raise GuestError(f"`{words}` failed in the guest: {answer['err'].strip()}")
        return str(answer["out"])

    def start(self, words: str, env: dict[str, str], log: str) -> int:
        """Start a daemon in the guest; returns its process id."""
        return int(self.request("start", argv=shlex.split(words), env=env, log=log)["pid"])

    def ask(self, to: tuple[str, int], data: bytes, *, port: int, timeout: float) -> bytes | None:
        """Send a datagram from the guest's `port`; returns the answer, or None."""
        answer = self.request("ask", to=to, port=port, data=data.hex(), timeout=timeout)
        return None if answer["data"] is None else bytes.fromhex(answer["data"])

    def converse(
        self, to: tuple[str, int], data: bytes, *, port: int, count: int, timeout: float
    ) -> list[bytes]:
        """Send a datagram from the guest's `port`; returns the next `count` that come, or fewer."""
        words = {"to": to, "port": port, "data": data.hex(), "count": count, "timeout": timeout}
        return [bytes.fromhex(one) for one in self.request("converse", **words)["data"]]

    def version(self) -> str:
        """The kernel's own."""
        return self.run("uname -r").strip()

    def xfrm_states(self) -> str:
        """Every SA that the kernel holds, with keys."""
        return self.run("ip xfrm state")
