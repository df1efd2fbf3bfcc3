"""Station and host at the two ends of a virtual board, frame by frame, for checks."""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from scapy.layers.inet import IP
from scapy.layers.l2 import Ether

from boards.virtual.process import VirtualBoard, open_tap
from spec.sa import BankState
from spec.suites import SUITES, Suite
from sw.ipsec import EspInbound, EspMaterial, EspOutbound, SequenceReservation, UdpDatagram
from sw.nic import NicDriver, StagedSa, UnixSocketTransport
from sw.rmcp import RmcpAck, RmcpMessage, build, parse

__all__ = ["HOST_IP", "HOST_MAC", "STATION_IP", "STATION_MAC", "Bench", "Sa", "open_bench"]

STATION_MAC, HOST_MAC = "02:00:00:00:00:01", "02:00:00:00:00:10"
STATION_IP, HOST_IP = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.10")
ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
PATIENCE_SECONDS = 20.0


def wait_until(true: Callable[[], bool]) -> bool:
    """Waits until it is true; False if it never becomes so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Port:
    """One end of the board: sends and receives whole frames on a TAP device."""

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((device, 0))

    def send(self, frame: bytes) -> None:
        """Into the board."""
        self._socket.send(frame)

    def receive(self, wanted: Callable[[bytes], bool], seconds: float = PATIENCE_SECONDS) -> bytes:
        """The next frame from the board that is wanted; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            frame, source = self._socket.recvfrom(65536)
            if source[2] != PACKET_OUTGOING and wanted(frame):
                return frame

    def close(self) -> None:
        """Gives the device back."""
        self._socket.close()


@dataclass
class Sa:
    """An SA at its station's end, with what the NIC gets of it.

    Parameters
    ----------
    suite : Suite
        Its algorithms.
    spi_in, spi_out : int
        As the NIC sees them.
    esn : bool
        Extended sequence numbers.
    """

    suite: Suite = Suite.ESP_AES_GCM_16_256
    spi_in: int = 0x0000_1001
    spi_out: int = 0x0000_2001
    esn: bool = True
    staged: StagedSa = field(init=False)
    outbound: EspOutbound = field(init=False)
    inbound: EspInbound = field(init=False)

    def __post_init__(self) -> None:
        facts = SUITES[self.suite]
        octets = facts.key_octets + facts.salt_octets + facts.auth_octets
        keymat = [os.urandom(octets) for _ in range(2)]
        self.staged = StagedSa.from_keymat(
            spi_in=self.spi_in,
            spi_out=self.spi_out,
            suite=self.suite,
            peer_ip=STATION_IP,
            keymat_in=keymat[0],
            keymat_out=keymat[1],
            esn=self.esn,
        )
        reserved = [1]

        def reserve(count: int) -> int:
            first = reserved[0]
            reserved[0] += count
            return first

        material = EspMaterial.from_keymat(self.spi_in, self.suite, keymat[0], esn=self.esn)
        self.outbound = EspOutbound(
            material, SequenceReservation(reserve, last=material.sequence_max)
        )
        self.inbound = EspInbound(
            EspMaterial.from_keymat(self.spi_out, self.suite, keymat[1], esn=self.esn)
        )


class Bench:
    """A running board with driver and both ends."""

    def __init__(self, board: VirtualBoard, nic: NicDriver, wire: Port, host: Port) -> None:
        self.board = board
        self.nic = nic
        self.wire = wire
        self.host = host

    def power_cut(self) -> None:
        """The board loses its power, and gets it back."""
        self.nic.close()
        self.board.stop()
        self.board.start()
        self.nic = open_nic(self.board)

    def close(self) -> None:
        """Gives the registers back."""
        self.nic.close()

    def load(self, sa: Sa) -> None:
        """Stages the SA through the driver, and waits until the NIC has expanded its keys."""
        self.nic.stage_sa(sa.staged)
        status = self.nic.sa_status()
        assert BankState.READY in (status.bank_a, status.bank_b)

    def protect(self, sa: Sa, message: RmcpMessage) -> bytes:
        """The frame that brings this message to the NIC under the SA."""
        datagram = UdpDatagram(664, 664, build(message))
        packet = sa.outbound.seal_udp(datagram, STATION_IP, HOST_IP)
        ip = IP(src=str(STATION_IP), dst=str(HOST_IP), proto=50, flags="DF") / packet
        return bytes(Ether(src=STATION_MAC, dst=HOST_MAC) / ip)

    def answers(self, sa: Sa, count: int) -> list[RmcpMessage | RmcpAck]:
        """The next messages from the NIC under the SA."""
        found = []
        for _ in range(count):
            frame = self.wire.receive(lambda f: f[12:14] == b"\x08\x00" and f[23] == 50)
            packet = IP(frame[14:])
            assert packet.src == str(HOST_IP)
            assert packet.dst == str(STATION_IP)
            found.append(parse(sa.inbound.open(bytes(packet.payload)).datagram.payload))
        return found


def open_nic(board: VirtualBoard) -> NicDriver:
    """The driver of a board, once the NIC has taken up what it kept."""
    nic = NicDriver(UnixSocketTransport(board.registers))
    assert wait_until(lambda: not nic.store_status().restoring)
    return nic


@contextlib.contextmanager
def open_bench(flash: Path | None = None) -> Iterator[Bench]:
    """A board between two TAP devices of this namespace, its host address set."""
    devices = {"wire0": open_tap("wire0"), "host0": open_tap("host0")}
    for device in devices:
        for words in (["addrgenmode", "none"], ["up"]):
            subprocess.run(["ip", "link", "set", device, *words], check=True)
    with contextlib.ExitStack() as stack:
        for fd in devices.values():
            stack.callback(os.close, fd)
        board = VirtualBoard(devices["wire0"], devices["host0"])
        board.flash = flash
        stack.enter_context(board)
        nic = open_nic(board)
        nic.set_host_address(bytes.fromhex(HOST_MAC.replace(":", "")), HOST_IP)
        ports = [Port(device) for device in devices]
        for port in ports:
            stack.callback(port.close)
        bench = Bench(board, nic, *ports)
        stack.callback(bench.close)
        yield bench
