"""Frames for the NIC's benches, built and opened without `spec`, the model or `sw`: an oracle.

Layouts are written out here once more, from the RFCs; AES-GCM is that of `cryptography`.
"""

import random
import struct
from dataclasses import dataclass, field, replace

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NIC_MAC = bytes.fromhex("02486f6c6401")
NIC_IP = bytes([192, 0, 2, 20])
NIC_IP6 = bytes.fromhex("20010db8000000000000000000a5c3f0")
STATION_MAC = bytes.fromhex("02486f6c6402")
STATION_IP = bytes([192, 0, 2, 10])
STATION_IP6 = bytes.fromhex("20010db8000000000000000000000010")
OTHER_IP = bytes([192, 0, 2, 77])
ROUTER_MAC = bytes.fromhex("02486f6c6404")

ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
ETHERTYPE_LOCAL = 0x88B5
"""IEEE 802 local experimental EtherType 1: marks the host's own frames in the benches."""
UDP, TCP, ESP, ICMPV6 = 17, 6, 50, 58

RESET, POWER_UP, POWER_DOWN, POWER_CYCLE = 0x10, 0x11, 0x12, 0x13
PING, CAPABILITIES, SYSTEM_STATE = 0x80, 0x81, 0x82
COMMIT, SA_STATUS = 0x80, 0x81
ASF_NUMBER, OEM_NUMBER = 4542, 32473
NO_ACK = 0xFF


def internet_checksum(octets: bytes) -> int:
    """RFC 1071."""
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ethernet(
    ethertype: int,
    payload: bytes,
    *,
    to: bytes = NIC_MAC,
    source: bytes = STATION_MAC,
    least: int = 60,
) -> bytes:
    """A frame without FCS, padded to `least` octets."""
    return (to + source + struct.pack(">H", ethertype) + payload).ljust(least, b"\0")


def ipv4(
    protocol: int,
    payload: bytes,
    *,
    source: bytes = STATION_IP,
    to: bytes = NIC_IP,
    options: bytes = b"",
    total: int | None = None,
    words: int | None = None,
    flags: int = 0x4000,
    checksum: int | None = None,
    version: int = 4,
) -> bytes:
    """A packet; what is given overrides what would be right."""
    right = 5 + len(options) // 4
    header = struct.pack(
        ">BBHHHBBH4s4s",
        version << 4 | (right if words is None else words),
        0,
        4 * right + len(payload) if total is None else total,
        0x1234,
        flags,
        63,
        protocol,
        0,
        source,
        to,
    )
    covered = header + options
    if words is not None:  # right over as many octets as the header says to have
        covered = (header + options + payload)[: 4 * words]
    value = internet_checksum(covered) if checksum is None else checksum
    return header[:10] + struct.pack(">H", value) + header[12:] + options + payload


def udp(to: int, payload: bytes, *, source: int = 50001, octets: int | None = None) -> bytes:
    """A datagram without checksum."""
    octets = 8 + len(payload) if octets is None else octets
    return struct.pack(">HHHH", source, to, octets, 0) + payload


def arp(operation: int, target: bytes, *, sender: bytes = STATION_IP, kind: int = 1) -> bytes:
    """An ARP packet."""
    return struct.pack(">HHBBH", kind, 0x0800, 6, 4, operation) + (
        STATION_MAC + sender + bytes(6) + target
    )


def arp_request(**options) -> bytes:
    """A frame that asks for the NIC's address."""
    return ethernet(ETHERTYPE_ARP, arp(1, NIC_IP), to=b"\xff" * 6, **options)


def neighbour(
    kind: int,
    flags: int,
    target: bytes,
    *,
    source: bytes,
    to: bytes,
    options: bytes = b"",
) -> bytes:
    """ICMPv6 of RFC 4861 4.3 and 4.4, in IPv6, with its checksum (RFC 4443 2.3)."""
    message = struct.pack(">BBHI", kind, 0, 0, flags << 24) + target + options
    pseudo = source + to + struct.pack(">II", len(message), ICMPV6)
    value = internet_checksum(pseudo + message)
    message = message[:2] + struct.pack(">H", value) + message[4:]
    head = struct.pack(">IHBB", 6 << 28, len(message), ICMPV6, 255)
    return head + source + to + message


def solicitation(*, probe: bool = False) -> bytes:
    """A frame that asks for the NIC's IPv6 address; `probe`: somebody would like to have it."""
    group = bytes.fromhex("ff0200000000000000000001ff") + NIC_IP6[13:]
    packet = neighbour(
        135,
        0,
        NIC_IP6,
        source=bytes(16) if probe else STATION_IP6,
        to=group,
        options=b"" if probe else b"\1\1" + STATION_MAC,
    )
    return ethernet(ETHERTYPE_IPV6, packet, to=b"\x33\x33" + group[12:])


def advertisement(*, probe: bool = False) -> bytes:
    """The frame that must come of it (RFC 4861 7.2.4, RFC 2464 7)."""
    everybody = bytes.fromhex("ff020000000000000000000000000001")
    packet = neighbour(
        136,
        0x20 if probe else 0x60,
        NIC_IP6,
        source=NIC_IP6,
        to=everybody if probe else STATION_IP6,
        options=b"\2\1" + NIC_MAC,
    )
    mac = bytes.fromhex("333300000001") if probe else STATION_MAC
    return ethernet(ETHERTYPE_IPV6, packet, to=mac, source=NIC_MAC)


def asf(
    kind: int,
    *,
    sequence: int = NO_ACK,
    tag: int = 1,
    body: bytes = b"",
    enterprise: int = ASF_NUMBER,
    octets: int | None = None,
    head: bytes | None = None,
) -> bytes:
    """An RMCP message of class ASF (DSP0136 3.2.2)."""
    head = bytes([6, 0, sequence, 6]) if head is None else head
    octets = len(body) if octets is None else octets
    return head + struct.pack(">IBBBB", enterprise, kind, tag, 0, octets) + body


def oem(kind: int, **options) -> bytes:
    """One of the OEM messages."""
    return asf(kind, enterprise=OEM_NUMBER, **options)


def ack(sequence: int) -> bytes:
    """The RMCP ACK of `sequence`."""
    return bytes([6, 0, sequence, 0x86])


def commit(spi: int, **options) -> bytes:
    """Commit(spi)."""
    return oem(COMMIT, body=struct.pack(">I", spi), **options)


def oem_response(kind: int, tag: int, body: bytes) -> bytes:
    """One of the answers to them."""
    return oem(kind, tag=tag, body=body)


def clear(message: bytes, *, to: int = 623, octets: int | None = None, **options) -> bytes:
    """A frame with an unprotected UDP payload."""
    return ethernet(ETHERTYPE_IPV4, ipv4(UDP, udp(to, message, octets=octets), **options))


@dataclass(frozen=True, slots=True)
class SaKeys:
    """One SA as both ends know it; `in` and `out` as the NIC sees them."""

    spi_in: int
    spi_out: int
    key_in: bytes = field(repr=False)
    key_out: bytes = field(repr=False)
    salt_in: bytes = field(repr=False)
    salt_out: bytes = field(repr=False)
    esn: bool = False
    rx_edge: int = 0
    tx_used: int = 0
    peer_ip: bytes = STATION_IP
    administrator: bool = False

    @staticmethod
    def draw(rng: random.Random, key_octets: int = 16, **options) -> "SaKeys":
        """Random keys and SPIs."""
        return SaKeys(
            spi_in=rng.randrange(256, 1 << 32),
            spi_out=rng.randrange(256, 1 << 32),
            key_in=rng.randbytes(key_octets),
            key_out=rng.randbytes(key_octets),
            salt_in=rng.randbytes(4),
            salt_out=rng.randbytes(4),
            **options,
        )

    def staging(self) -> list[tuple[str, int, int]]:
        """Register writes of a whole layout: name, index, value."""
        words = {
            "STAGE_SPI_IN": self.spi_in,
            "STAGE_SPI_OUT": self.spi_out,
            "STAGE_SUITE": {16: 1, 32: 2}[len(self.key_in)],
            "STAGE_FLAGS": self.esn | self.administrator << 3,
            "STAGE_PEER_IP": int.from_bytes(self.peer_ip, "big"),
            "STAGE_SALT_IN": int.from_bytes(self.salt_in, "big"),
            "STAGE_SALT_OUT": int.from_bytes(self.salt_out, "big"),
            "STAGE_RX_SEQ_HI": self.rx_edge >> 32,
            "STAGE_RX_SEQ_LO": self.rx_edge & 0xFFFFFFFF,
            "STAGE_TX_SEQ_HI": self.tx_used >> 32,
            "STAGE_TX_SEQ_LO": self.tx_used & 0xFFFFFFFF,
        }
        writes = [(name, 0, value) for name, value in words.items()]
        for name, key in (("STAGE_KEY_IN", self.key_in), ("STAGE_KEY_OUT", self.key_out)):
            values = struct.unpack(f">{len(key) // 4}I", key)
            writes += [(name, index, value) for index, value in enumerate(values)]
        return writes


class Station:
    """The other end of an SA.

    Parameters
    ----------
    sa
        The SA.
    encap
        ESP in UDP.
    """

    def __init__(self, sa: SaKeys, *, encap: bool = False, port: int = 40001, inner: int = 50664):
        self.sa = sa
        self.encap = encap
        self.port = port
        self.inner = inner
        self.number = sa.rx_edge
        self.heard = sa.tx_used

    def esp(
        self,
        inner: bytes,
        *,
        number: int | None = None,
        next_header: int = UDP,
        pad: int | None = None,
        padding: bytes | None = None,
        pad_octet: int | None = None,
        iv: bytes | None = None,
        spi: int | None = None,
    ) -> bytes:
        """An ESP packet around `inner`, with the next number unless `number` says which."""
        if number is None:
            self.number += 1
            number = self.number
        sa = self.sa
        spi_octets = struct.pack(">I", sa.spi_in if spi is None else spi)
        pad = -(len(inner) + 2) % 4 if pad is None else pad
        padding = bytes(range(1, pad + 1)) if padding is None else padding
        tail = bytes([len(padding) if pad_octet is None else pad_octet, next_header])
        iv = struct.pack(">Q", number ^ 0xA5A5 << 48) if iv is None else iv
        aad = spi_octets + struct.pack(">Q", number)[0 if sa.esn else 4 :]
        sealed = AESGCM(sa.key_in).encrypt(sa.salt_in + iv, inner + padding + tail, aad)
        return spi_octets + struct.pack(">I", number & 0xFFFFFFFF) + iv + sealed

    def carry(self, packet: bytes, *, least: int = 60, octets: int | None = None, **options):
        """The frame that brings an ESP packet."""
        if self.encap:
            datagram = udp(4500, packet, source=self.port, octets=octets)
            return ethernet(ETHERTYPE_IPV4, ipv4(UDP, datagram, **options), least=least)
        return ethernet(ETHERTYPE_IPV4, ipv4(ESP, packet, **options), least=least)

    def protect(self, message: bytes, *, to: int = 664, octets: int | None = None, **options):
        """The frame that brings an RMCP message."""
        inner = udp(to, message, source=self.inner, octets=octets)
        return self.carry(self.esp(inner, **options))

    def open(self, frame: bytes) -> bytes:
        """The message in a frame of the NIC; every field of it is checked.

        Raises
        ------
        AssertionError
            If a field is not as it must be.
        """
        sa = self.sa
        assert frame[:14] == STATION_MAC + NIC_MAC + b"\x08\x00"
        header, rest = frame[14:34], frame[34:]
        assert header[:2] + header[4:9] == b"\x45\x00\x00\x00\x40\x00\x40"
        assert internet_checksum(header) == 0
        assert header[12:] == NIC_IP + STATION_IP
        total = int.from_bytes(header[2:4], "big")
        assert rest[total - 20 :].strip(b"\0") == b""
        packet = rest[: total - 20]
        if self.encap:
            assert header[9] == UDP
            assert struct.unpack(">HHHH", packet[:8]) == (4500, self.port, len(packet), 0)
            packet = packet[8:]
        else:
            assert header[9] == ESP
        self.heard += 1
        numbers = struct.pack(">Q", self.heard)
        assert packet[:16] == struct.pack(">I", sa.spi_out) + numbers[4:] + numbers
        aad = packet[:4] + (numbers if sa.esn else numbers[4:])
        plain = AESGCM(sa.key_out).decrypt(sa.salt_out + numbers, packet[16:], aad)
        pad, next_header = plain[-2:]
        assert next_header == UDP
        assert pad < 4
        assert plain[-2 - pad : -2] == bytes(range(1, pad + 1))
        datagram = plain[: -2 - pad]
        assert struct.unpack(">HHH", datagram[:6]) == (664, self.inner, len(datagram))
        pseudo = NIC_IP + STATION_IP + struct.pack(">HH", UDP, len(datagram))
        assert internet_checksum(pseudo + datagram) == 0
        return datagram[8:]

    def at(self, number: int) -> "Station":
        """The same station, whose last number was `number`."""
        other = Station(
            replace(self.sa, rx_edge=number), encap=self.encap, port=self.port, inner=self.inner
        )
        other.heard = self.heard
        return other
