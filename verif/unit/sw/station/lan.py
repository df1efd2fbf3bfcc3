"""A LAN in memory: station, agent and the NIC's model joined by Ethernet frames.

The sockets of `sw` are replaced by ones that build and take whole frames, so that everything from
IKE to the pins runs as it is, with the standard ports, without privileges, and with a wire that
can lose, hold back and record.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from spec.headers import ETHERNET, ETHERTYPE_IPV4, IPV4, PROTOCOL_ESP, PROTOCOL_UDP, UDP
from verif.model.events import Output, Pin, ToHost, ToWire
from verif.model.nic import NicModel

STATION_IP = IPv4Address("192.0.2.1")
HOST_IP = IPv4Address("192.0.2.10")
STATION_MAC = 0x02_00_00_00_00_01
HOST_MAC = 0x02_00_00_00_00_10
TICK_S = 0.005
OnDatagram = Callable[[bytes, tuple[str, int]], None]


def checksum(octets: bytes) -> int:
    """Internet checksum."""
    total = sum(int.from_bytes(octets[i : i + 2], "big") for i in range(0, len(octets), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def frame_of(source: IPv4Address, destination: IPv4Address, protocol: int, body: bytes) -> bytes:
    """An Ethernet frame between station and host."""
    to_host = destination == HOST_IP
    fields = {
        "version": 4,
        "header_words": 5,
        "total_octets": IPV4.octets + len(body),
        "ttl": 64,
        "protocol": protocol,
        "source": int(source),
        "destination": int(destination),
    }
    fields["checksum"] = checksum(IPV4.pack(**fields))
    ethernet = ETHERNET.pack(
        destination=HOST_MAC if to_host else STATION_MAC,
        source=STATION_MAC if to_host else HOST_MAC,
        ethertype=ETHERTYPE_IPV4,
    )
    return ethernet + IPV4.pack(**fields) + body


@dataclass
class Lan:
    """The wire, and a host behind the model of its NIC.

    Attributes
    ----------
    drop : callable
        Called with each frame on the wire, and whether it goes to the host: True loses it.
    frames : list of bytes
        All that was on the wire, lost or not.
    pins : list of Pin
        What the NIC did to its output pins.
    os_up : bool
        Whether the host's sockets take anything.
    """

    nic: NicModel = field(default_factory=lambda: NicModel(ack_ms=1500, grace_ms=200))
    drop: Callable[[bytes, bool], bool] = lambda _frame, _to_host: False
    frames: list[bytes] = field(default_factory=list)
    pins: list[Pin] = field(default_factory=list)
    os_up: bool = True
    lock: threading.RLock = field(default_factory=threading.RLock)
    _udp: dict[tuple[IPv4Address, int], OnDatagram] = field(default_factory=dict)
    _esp: dict[IPv4Address, OnDatagram] = field(default_factory=dict)
    _ports: int = 40_000
    scale: float = 1.0
    lives: dict[IPv4Address, int] = field(default_factory=dict)
    ticked: asyncio.Event = field(default_factory=asyncio.Event)

    # --- what stands for the sockets ----------------------------------------------------------

    async def open_udp(self, local: IPv4Address, on_datagram: OnDatagram, *, port: int = 0):
        """Stands for `UdpTransport.open`."""
        if not port:
            self._ports += 1
            port = self._ports
        assert (local, port) not in self._udp, f"port {port} of {local} is taken"
        self._udp[local, port] = on_datagram
        return LanUdp(self, local, port, self.life(local))

    async def open_raw(self, local: IPv4Address, on_esp: OnDatagram):
        """Stands for `RawEspTransport.open`."""
        self._esp[local] = on_esp
        return LanRaw(self, local, self.life(local))

    def close_udp(self, local: IPv4Address, port: int) -> None:
        """A socket was closed."""
        self._udp.pop((local, port), None)

    def close_raw(self, local: IPv4Address) -> None:
        """A socket was closed."""
        self._esp.pop(local, None)

    def kill(self, address: IPv4Address) -> None:
        """Whoever had sockets on this address is gone, and sends nothing more."""
        self.lives[address] = self.life(address) + 1
        self._esp.pop(address, None)
        self._udp = {key: taker for key, taker in self._udp.items() if key[0] != address}

    def life(self, address: IPv4Address) -> int:
        """How often what is on this address was killed."""
        return self.lives.get(address, 0)

    # --- frames ---------------------------------------------------------------------------------

    def send(self, source: IPv4Address, destination: IPv4Address, protocol: int, body: bytes):
        """A packet leaves one end."""
        frame = frame_of(source, destination, protocol, body)
        if source == HOST_IP:
            with self.lock:
                self._outputs(self.nic.host_receive(frame))
        else:
            self.to_nic(frame)

    def to_nic(self, frame: bytes) -> None:
        """A frame on the wire towards the host."""
        self.frames.append(frame)
        if not self.drop(frame, True):
            with self.lock:
                self._outputs(self.nic.wire_receive(frame))

    def _outputs(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            match output:
                case ToHost(frame):
                    if self.os_up:
                        self._deliver(frame)
                case ToWire(frame):
                    self.frames.append(frame)
                    if not self.drop(frame, False):
                        self._deliver(frame)
                case Pin():
                    self.pins.append(output)

    def _deliver(self, frame: bytes) -> None:
        """To a socket, in a later turn of the loop, as with real ones."""
        ip = IPV4.unpack(frame[ETHERNET.octets :])
        body = frame[ETHERNET.octets + 4 * ip["header_words"] :]
        body = body[: ip["total_octets"] - 4 * ip["header_words"]]
        source, destination = IPv4Address(ip["source"]), IPv4Address(ip["destination"])
        loop = asyncio.get_running_loop()
        if ip["protocol"] == PROTOCOL_UDP:
            udp = UDP.unpack(body)
            key = (destination, udp["destination_port"])
            loop.call_soon(
                self._take_udp, key, body[UDP.octets :], (str(source), udp["source_port"])
            )
        elif ip["protocol"] == PROTOCOL_ESP:
            loop.call_soon(self._take_esp, destination, body, (str(source), 0))

    def _take_udp(self, key: tuple[IPv4Address, int], body: bytes, peer: tuple[str, int]) -> None:
        if key in self._udp and (key[0] != HOST_IP or self.os_up):
            self._udp[key](body, peer)

    def _take_esp(self, destination: IPv4Address, body: bytes, peer: tuple[str, int]) -> None:
        if destination in self._esp:
            self._esp[destination](body, peer)

    # --- registers and time ---------------------------------------------------------------------

    def read(self, addr: int) -> int:
        """Stands for a register transport."""
        with self.lock:
            return self.nic.bus_read(addr)

    def write(self, addr: int, value: int) -> None:
        """Stands for a register transport."""
        with self.lock:
            self.nic.bus_write(addr, value)

    def close(self) -> None:
        """Stands for a register transport."""

    def advance(self, ms: int) -> None:
        """Let the NIC's time pass."""
        with self.lock:
            self._outputs(self.nic.advance(ms))

    async def run(self) -> None:
        """The NIC's time goes with the loop's, `scale` times as fast."""
        loop = asyncio.get_running_loop()
        start, done = loop.time(), 0
        while True:
            await asyncio.sleep(TICK_S)
            due = int((loop.time() - start) * 1000 * self.scale)
            self.advance(due - done)
            done = due
            # Wakes all who wait now, and nobody who waits later.
            self.ticked.set()
            self.ticked.clear()


@dataclass
class LanUdp:
    """Stands for `UdpTransport`."""

    lan: Lan
    address: IPv4Address
    port: int
    life: int

    @property
    def local(self) -> tuple[str, int]:
        """Address and port."""
        return str(self.address), self.port

    def send(self, payload: bytes, to: tuple[str, int]) -> None:
        """Send a datagram."""
        if self.life != self.lan.life(self.address):
            return
        header = UDP.pack(
            source_port=self.port, destination_port=to[1], octets=UDP.octets + len(payload)
        )
        self.lan.send(self.address, IPv4Address(to[0]), PROTOCOL_UDP, header + payload)

    def close(self) -> None:
        """Close it."""
        if self.life == self.lan.life(self.address):
            self.lan.close_udp(self.address, self.port)


@dataclass
class LanRaw:
    """Stands for `RawEspTransport`."""

    lan: Lan
    address: IPv4Address
    life: int

    def send_esp(self, packet: bytes, to: tuple[str, int]) -> None:
        """Send an ESP packet."""
        if self.life == self.lan.life(self.address):
            self.lan.send(self.address, IPv4Address(to[0]), PROTOCOL_ESP, packet)

    def close(self) -> None:
        """Close it."""
        if self.life == self.lan.life(self.address):
            self.lan.close_raw(self.address)
