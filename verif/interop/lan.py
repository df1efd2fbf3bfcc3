"""The guest's second wire, and on it the virtual board with a host behind.

```
    guest (vec1) ── LAN_TAP ── bridge ── wire ──> virtual board <── eth0, in a namespace of its own
```

The bridge has no address and learns nothing: whoever sends a frame on one of its ports is a part
of the wire, and no kernel but the guest's has a part in what goes over it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import TracebackType
from typing import Self

from boards.virtual.pins import PinLink
from boards.virtual.process import VirtualBoard, open_tap
from sw.nic import NicDriver
from verif.cosim.link import Port, open_nic
from verif.interop.guest import LAN_TAP, GuestError

__all__ = ["HOST", "HOST6", "HOST_MAC", "Chain", "Lan"]

HOST, HOST6 = "198.51.100.10", "2001:db8:1::10"
HOST_MAC = "02:00:5e:00:53:10"
BRIDGE, WIRE = "lan1", "wire1"
NAMESPACE = "managed"
STOP_SECONDS = 10.0


def _command(words: str) -> None:
    done = subprocess.run(words.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise GuestError(f"`{words}` failed: {done.stderr.strip() or done.returncode}")


class Chain:
    """A running board on the wire, whose host is down unless it is told otherwise.

    Attributes
    ----------
    board : VirtualBoard
    nic : NicDriver
        Its registers.
    at_nic, at_guest : Port
        The two ends of the wire: each sends to its neighbour alone, and receives what that sends.
    """

    def __init__(self, board: VirtualBoard, nic: NicDriver) -> None:
        self.board = board
        self.nic = nic
        self.at_nic = Port(WIRE)
        self.at_guest = Port(LAN_TAP)

    @property
    def pins(self) -> PinLink:
        """Of the board."""
        return self.board.pins

    def close(self) -> None:
        """Leave wire and registers."""
        self.at_nic.close()
        self.at_guest.close()
        self.nic.close()

    def set_host_address(self, *, ip6: bool = False) -> None:
        """Tell the NIC whose frames are the host's, in the place of an agent."""
        mac = bytes.fromhex(HOST_MAC.replace(":", ""))
        self.nic.set_host_address(mac, IPv4Address(HOST), IPv6Address(HOST6 if ip6 else 0))

    @contextlib.contextmanager
    def agent(self, config: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The host's OS with its network and our agent, as `holdfast agent run` starts it.

        What goes wrong meanwhile bears the agent's log.
        """
        _command(f"ip -n {NAMESPACE} link set eth0 up")
        log = config.with_suffix(".log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("nsenter", f"--net=/run/netns/{NAMESPACE}", "--"),
                    *(sys.executable, "-m", "sw.cli", "agent", "run", "--config", str(config)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            yield process
        except BaseException as error:
            error.add_note("The agent's log:\n" + log.read_text(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self.network_down()

    @staticmethod
    def network_down() -> None:
        """The host's OS hears and says nothing more."""
        _command(f"ip -n {NAMESPACE} link set eth0 down")


@dataclass
class _Devices:
    wire: int
    host: int


class Lan:
    """The wire, and the namespace of the host. To be used with `with`, after the guest began.

    Entering raises GuestError, or boards.virtual.process.BoardError.
    """

    def __enter__(self) -> Self:
        # Private to this mount namespace, for the names of network namespaces.
        _command("mount -t tmpfs -o mode=0755 tmpfs /run")
        _command(f"ip netns add {NAMESPACE}")
        _command(f"ip -n {NAMESPACE} link set lo up")
        _command(f"ip link add {BRIDGE} type bridge ageing_time 0 stp_state 0 mcast_snooping 0")
        self._devices = _Devices(open_tap(WIRE), open_tap("host1"))
        for device in (BRIDGE, WIRE, "host1"):
            _command(f"ip link set {device} addrgenmode none")
        for device in (WIRE, LAN_TAP):
            _command(f"ip link set {device} master {BRIDGE} up")
        _command(f"ip link set {BRIDGE} up")
        _command(f"ip link set host1 netns {NAMESPACE} name eth0 address {HOST_MAC}")
        _command(f"ip -n {NAMESPACE} address add {HOST}/24 dev eth0")
        _command(f"ip -n {NAMESPACE} address add {HOST6}/64 dev eth0 nodad")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._devices.wire)
        os.close(self._devices.host)

    @contextlib.contextmanager
    def chain(self) -> Iterator[Chain]:
        """A board that was just switched on, without a flash."""
        with VirtualBoard(self._devices.wire, self._devices.host) as board:
            chain = Chain(board, open_nic(board))
            try:
                yield chain
            finally:
                chain.close()
