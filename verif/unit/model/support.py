"""What the tests of the model share: a NIC with an SA, and packets that scapy makes and reads."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of ciphers that scapy names and nobody here uses
    from scapy.layers.inet import IP, UDP
    from scapy.layers.ipsec import ESP, SecurityAssociation
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

from spec.counters import Counter
from verif.model import NicModel, ToWire

__all__ = [
    "HOST_IP",
    "HOST_MAC",
    "IP",
    "PING",
    "PORT",
    "RESET",
    "STATION_IP",
    "STATION_MAC",
    "UDP",
    "Ether",
    "Raw",
    "Sa",
    "checksum_of",
    "clear",
    "datagram",
    "ip_number",
    "nic",
    "proven",
    "ready",
    "stage",
    "states",
    "verdict_of",
]

HOST_MAC = "02:00:00:00:00:02"
HOST_IP = "10.99.0.2"
STATION_MAC = "02:00:00:00:00:01"
STATION_IP = "10.99.0.1"
PORT = 40664

PING = bytes.fromhex("0600ff06 000011be 80010000")
RESET = bytes.fromhex("06000106 000011be 10070000")


def ip_number(address: str) -> int:
    """An IPv4 address as a number."""
    return int.from_bytes(bytes(int(part) for part in address.split(".")), "big")


@dataclass
class Sa:
    """An SA as its station knows it. `sequence` is the last number sent to the NIC."""

    spi_in: int = 0xC0DE0101
    spi_out: int = 0xC0DE0201
    key_in: bytes = bytes(range(16))
    key_out: bytes = bytes(range(16, 32))
    salt_in: bytes = b"salt"
    salt_out: bytes = b"SALT"
    esn: bool = False
    sequence: int = 0
    tx: int = 0
    peer: str = STATION_IP
    administrator: bool = False

    def _association(self, spi: int, key: bytes, port: int | None) -> SecurityAssociation:
        nat = None if port is None else UDP(sport=port, dport=4500)
        return SecurityAssociation(
            ESP, spi=spi, crypt_algo="AES-GCM", crypt_key=key, nat_t_header=nat
        )

    def sealed(
        self,
        inner: bytes,
        *,
        number: int | None = None,
        port: int | None = None,
        protocol: int = 17,
        source: str = STATION_IP,
    ) -> bytes:
        """A frame in which `inner` (IP payload) stands, sealed by scapy."""
        if number is None:
            self.sequence += 1
            number = self.sequence
        sa = self._association(self.spi_in, self.key_in + self.salt_in, port)
        packet = IP(src=source, dst=HOST_IP, proto=protocol, flags="DF") / Raw(inner)
        sealed = sa.encrypt(
            packet,
            seq_num=number & 0xFFFFFFFF,
            iv=number.to_bytes(8, "big"),
            esn_en=self.esn,
            esn=number >> 32,
        )
        return bytes(Ether(src=STATION_MAC, dst=HOST_MAC) / sealed)

    def message(self, message: bytes, **how: Any) -> bytes:
        """A frame with an RMCP message."""
        return self.sealed(datagram(message), **how)

    def opened(self, output: object, *, number: int, encapsulated: bool = False) -> bytes:
        """The RMCP message in an answer, opened by scapy, which checks the ICV."""
        assert isinstance(output, ToWire)
        packet = Ether(output.frame)
        assert (packet.src, packet.dst) == (HOST_MAC, STATION_MAC)
        outer = packet[IP]
        assert (outer.src, outer.dst, outer.ttl, int(outer.id), outer.tos) == (
            HOST_IP,
            STATION_IP,
            64,
            0,
            0,
        )
        assert outer.flags == "DF"
        assert outer.chksum == checksum_of(outer)
        if encapsulated:
            assert (outer[UDP].sport, outer[UDP].dport, outer[UDP].chksum) == (4500, PORT, 0)
            assert outer[UDP].len == outer.len - 20
        esp = outer[ESP]
        assert (esp.spi, esp.seq) == (self.spi_out, number & 0xFFFFFFFF)
        sa = self._association(
            self.spi_out, self.key_out + self.salt_out, 4500 if encapsulated else None
        )
        if encapsulated:
            outer = IP(bytes(IP(src=outer.src, dst=outer.dst, proto=50) / Raw(bytes(esp))))
            sa.nat_t_header = None
        plain = sa.decrypt(outer, esn_en=self.esn, esn=number >> 32)
        assert (plain[UDP].sport, plain[UDP].dport) == (664, PORT)
        udp = bytes(plain[UDP])
        assert plain[UDP].len == len(udp)
        assert plain[UDP].chksum == checksum_of(plain, UDP)
        return udp[8:]


def datagram(message: bytes, *, port: int = 664, octets: int | None = None) -> bytes:
    """A UDP datagram to the secured port, or not quite; its checksum is left out."""
    length = 8 + len(message) if octets is None else octets
    return b"".join(n.to_bytes(2, "big") for n in (PORT, port, length, 0)) + message


def checksum_of(packet: IP, layer: type = IP) -> int:
    """The checksum that scapy puts into a layer."""
    fresh = packet.copy()
    del fresh[layer].chksum
    return int(IP(bytes(fresh))[layer].chksum)


def clear(message: bytes, *, port: int = 623, **ip: Any) -> bytes:
    """A frame with a UDP datagram in clear."""
    packet = IP(src=STATION_IP, dst=HOST_IP, **ip) / UDP(sport=PORT, dport=port) / Raw(message)
    return bytes(Ether(src=STATION_MAC, dst=HOST_MAC) / packet)


def nic() -> NicModel:
    """A NIC that knows its host's addresses."""
    model = NicModel()
    model.bus_write("HOST_MAC_HI", 0x0200)
    model.bus_write("HOST_MAC_LO", 0x00000002)
    model.bus_write("HOST_IP", ip_number(HOST_IP))
    return model


def stage(model: NicModel, sa: Sa) -> None:
    """Everything but READY."""
    model.bus_write("SA_COMMAND", 1)
    words = {
        "SPI_IN": sa.spi_in,
        "SPI_OUT": sa.spi_out,
        "SUITE": {16: 1, 32: 2}[len(sa.key_in)],
        "FLAGS": sa.esn | sa.administrator << 3,
        "PEER_IP": ip_number(sa.peer),
        "SALT_IN": int.from_bytes(sa.salt_in, "big"),
        "SALT_OUT": int.from_bytes(sa.salt_out, "big"),
        "RX_SEQ_HI": sa.sequence >> 32,
        "RX_SEQ_LO": sa.sequence & 0xFFFFFFFF,
        "TX_SEQ_HI": sa.tx >> 32,
        "TX_SEQ_LO": sa.tx & 0xFFFFFFFF,
    }
    for name, value in words.items():
        model.bus_write(f"STAGE_{name}", value)
    for name, key in (("STAGE_KEY_IN", sa.key_in), ("STAGE_KEY_OUT", sa.key_out)):
        for i in range(0, len(key), 4):
            model.bus_write(name, int.from_bytes(key[i : i + 4], "big"), i // 4)


def ready(model: NicModel, sa: Sa) -> int:
    """Stages an SA and makes it READY; gives SA_RESULT."""
    stage(model, sa)
    model.bus_write("SA_COMMAND", 2)
    return model.bus_read("SA_RESULT")


def proven(model: NicModel, sa: Sa) -> None:
    """Loads an SA and proves it."""
    assert ready(model, sa) == 1
    model.wire_receive(sa.message(PING))
    assert 4 in states(model)


def verdict_of(model: NicModel) -> Counter | None:
    """What the last frame ended under; a call, so that no checker narrows it."""
    return model.verdict


def states(model: NicModel) -> tuple[int, int]:
    """BankState of both banks."""
    word = model.bus_read("SA_STATUS")
    return word & 15, word >> 4 & 15
