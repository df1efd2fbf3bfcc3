"""The world of the demo: a LAN with station, attacker and host, each in a network namespace.

The LAN is the network namespace of the calling process: a bridge that floods, so that an attacker
sees all, with the virtual NIC's wire side on it. Must run inside `isolation.run_inside`.
"""

import ctypes
import fcntl
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boards.virtual.process import open_tap

__all__ = ["ATTACKER", "HOST", "STANDBY", "STATION", "Party", "World", "WorldError"]

BRIDGE = "lan0"
WIRE = "wire0"
NETNS = Path("/run/netns")

# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


class WorldError(RuntimeError):
    """A part of the world could not be made; the message bears the command and its own words."""


@dataclass(frozen=True, slots=True)
class Party:
    """Somebody on the LAN: a network namespace with one Ethernet device `eth0`.

    Parameters
    ----------
    name : str
        Of the namespace.
    ip, mac : str
        Addresses of `eth0`; 192.0.2.0/24 is kept for examples (RFC 5737).
    """

    name: str
    ip: str
    mac: str

    @property
    def port(self) -> str:
        """The device that is this party's port on the bridge."""
        return f"p-{self.name}"


STATION = Party("station", "192.0.2.1", "02:00:00:00:00:01")
STANDBY = Party("standby", "192.0.2.2", "02:00:00:00:00:02")
ATTACKER = Party("attacker", "192.0.2.66", "02:00:00:00:00:66")
HOST = Party("host", "192.0.2.10", "02:00:00:00:00:10")
PREFIX = 24


def command(*words: str) -> None:
    """Runs a command to its end; raises WorldError unless it succeeds."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorldError(f"`{' '.join(words)}` failed: {done.stderr.strip() or done.returncode}")


class World:
    """Makes namespaces, bridge and devices; `wire` and `host` are the NIC's TAP descriptors."""

    def __init__(self) -> None:
        # Private to this mount namespace; it hides the machine's own names.
        command("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/run")
        self.directory = Path("/run/holdfast")
        self.directory.mkdir()
        command("ip", "link", "set", "lo", "up")
        # ageing_time 0: nothing is learnt, all is flooded, as on a hub.
        command(
            *("ip", "link", "add", BRIDGE, "type", "bridge"),
            *("ageing_time", "0", "stp_state", "0", "mcast_snooping", "0"),
        )
        _quiet(BRIDGE)
        for party in (STATION, STANDBY, ATTACKER, HOST):
            command("ip", "netns", "add", party.name)
            command("ip", "-n", party.name, "link", "set", "lo", "up")
        for party in (STATION, STANDBY, ATTACKER):
            self._plug_in(party)
        self.wire = open_tap(WIRE)
        _quiet(WIRE)
        command("ip", "link", "set", WIRE, "master", BRIDGE, "up")
        command("ip", "link", "set", BRIDGE, "up")
        self.host = open_tap("host0")
        _quiet("host0")
        command(
            *("ip", "link", "set", "host0", "netns", HOST.name, "name", "eth0"),
            *("address", HOST.mac),
        )
        command("ip", "-n", HOST.name, "address", "add", f"{HOST.ip}/{PREFIX}", "dev", "eth0")
        # The host's network is up only while its OS is: `host_network`.

    @property
    def ports(self) -> list[str]:
        """The devices on the bridge."""
        return [STATION.port, STANDBY.port, ATTACKER.port, WIRE]

    def host_network(self, up: bool) -> None:
        """Starts or stops the network of the host's OS.

        Here it is a part of the machine's own kernel, which neither hangs nor resets with that OS.
        """
        command("ip", "-n", HOST.name, "link", "set", "eth0", "up" if up else "down")

    def _plug_in(self, party: Party) -> None:
        command(
            *("ip", "link", "add", party.port, "type", "veth"),
            *("peer", "name", "eth0", "address", party.mac, "netns", party.name),
        )
        _quiet(party.port)
        command("ip", "-n", party.name, "link", "set", "eth0", "addrgenmode", "none")
        subprocess.run(
            within(party, sys.executable, "-m", "boards.virtual.demo.world", "eth0"), check=True
        )
        command("ip", "-n", party.name, "address", "add", f"{party.ip}/{PREFIX}", "dev", "eth0")
        command("ip", "-n", party.name, "link", "set", "eth0", "up")
        command("ip", "link", "set", party.port, "master", BRIDGE, "up")


def within(party: Party, *words: str) -> list[str]:
    """The command that runs `words` in the party's network namespace."""
    return ["nsenter", f"--net={NETNS / party.name}", "--", *words]


def _quiet(device: str) -> None:
    # No IPv6 address: nothing is sent that nobody asked for.
    command("ip", "link", "set", device, "addrgenmode", "none")


def _write_checksums(device: str) -> None:
    """Makes the device compute checksums before a frame leaves: whoever captures sees them."""
    request = ctypes.create_string_buffer(struct.pack("=II", ETHTOOL_STXCSUM, 0))
    ifreq = struct.pack("16sP16x", device.encode(), ctypes.addressof(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, SIOCETHTOOL, ifreq)


def main(arguments: Sequence[str]) -> None:
    """Prepares one device inside a namespace; `World` runs it there."""
    for device in arguments:
        _write_checksums(device)


if __name__ == "__main__":
    main(sys.argv[1:])
