"""SAs, packets and other values of the explored world, and how they look on the wire.

SA number x (1, 2, ...) is the one of the x-th key exchange. Its SPIs and keys follow from x, so a
state need not hold them. Packets on the wire are values here; they are sealed with the real keys
when they reach an end, and opened again when they leave one.
"""

from __future__ import annotations

from functools import cache, lru_cache
from ipaddress import IPv4Address
from typing import NamedTuple

from spec.headers import (
    ESP,
    ETHERNET,
    ETHERTYPE_IPV4,
    GCM_IV,
    IPV4,
    PORT_RMCP_SECURED,
    PROTOCOL_ESP,
)
from spec.host import HostState
from spec.rmcp import CommitResult
from spec.sa import BankState
from spec.suites import SUITES, Suite
from sw.ike.address import Address
from sw.ike.events import ChildSaEstablished
from sw.ike.secret import Secret
from sw.ipsec import EspInbound, EspMaterial, EspOutbound, SequenceReservation, UdpDatagram
from sw.rmcp import (
    Commit,
    Committed,
    Reset,
    RmcpAck,
    RmcpMessage,
    SaStatusRequest,
    SaStatusResponse,
    build,
    parse,
)
from verif.model.reply import ethernet, ip_header

STATION_IP, HOST_IP = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.10")
STATION_MAC, HOST_MAC = 0x02_00_00_00_00_01, 0x02_00_00_00_00_10
SUITE = Suite.ESP_AES_GCM_16_256
SPI_NIC, SPI_STATION = 0x1000, 0x2000
LATE = -1
"""Name of a request that nobody waits for."""
COPY = -2
"""Name of a second copy of a packet that has arrived."""
LATE_TAG = 200
"""Its RMCP number on the wire."""
TO_NIC, TO_STATION = 1, 2


class Packet(NamedTuple):
    """A request on its way to the NIC.

    Parameters
    ----------
    sa : int
        Under which SA.
    number : int
        ESP sequence number.
    name : int
        RMCP sequence number and tag: which waiting request it is, or LATE.
    kind : str
        "status", "commit" or "reset".
    about : int
        The SA that Commit names; 0 in others.
    """

    sa: int
    number: int
    name: int
    kind: str
    about: int = 0


class Answer(NamedTuple):
    """An answer on its way to the station.

    `body` is ("status", banks, under_bank, host_state) with each bank as (SA, state),
    ("committed", SA, ok), or ("ack",).
    """

    sa: int
    number: int
    name: int
    body: tuple


def spi_of(sa: int, way: int) -> int:
    """Inbound SPI of the NIC or the station."""
    return (SPI_NIC if way == TO_NIC else SPI_STATION) + sa


def sa_of(spi: int) -> int:
    """Which SA an SPI belongs to; 0 for none."""
    return spi & 0xFFF


@cache
def key_of(sa: int, way: int) -> bytes:
    """Cipher key of one direction."""
    return bytes([0xA0 + way, sa]) * (SUITES[SUITE].key_octets // 2)


@cache
def salt_of(sa: int, way: int) -> bytes:
    """Salt of one direction."""
    return bytes([0x50 + way, sa]) * (SUITES[SUITE].salt_octets // 2)


def established(sa: int, connection: int, *, at_station: bool) -> ChildSaEstablished:
    """What IKE tells of a new Child SA at one end; with secrets of its own, for they are wiped."""
    inbound, outbound = (TO_STATION, TO_NIC) if at_station else (TO_NIC, TO_STATION)
    peer, local = (HOST_IP, STATION_IP) if at_station else (STATION_IP, HOST_IP)
    return ChildSaEstablished(
        connection=connection,
        spi_in=spi_of(sa, inbound),
        spi_out=spi_of(sa, outbound),
        suite=SUITE,
        key_in=Secret(key_of(sa, inbound)),
        salt_in=Secret(salt_of(sa, inbound)),
        auth_in=Secret(b""),
        key_out=Secret(key_of(sa, outbound)),
        salt_out=Secret(salt_of(sa, outbound)),
        auth_out=Secret(b""),
        esn=True,
        encap_udp=False,
        transport=True,
        ts_local=(),
        ts_remote=(),
        rekeyed_spi=None,
        initiator=at_station,
        address=Address(str(peer), 500, str(local), 500),
    )


def _material(sa: int, way: int) -> EspMaterial:
    return EspMaterial(
        spi_of(sa, way), SUITE, Secret(key_of(sa, way)), Secret(salt_of(sa, way)), True
    )


def _seal(sa: int, way: int, number: int, payload: bytes) -> bytes:
    sequences = SequenceReservation(lambda _: number, block=1)
    ends = (STATION_IP, HOST_IP) if way == TO_NIC else (HOST_IP, STATION_IP)
    datagram = UdpDatagram(PORT_RMCP_SECURED, PORT_RMCP_SECURED, payload)
    return EspOutbound(_material(sa, way), sequences).seal_udp(datagram, *ends)


def open_esp(esp: bytes, way: int) -> tuple[int, int, bytes]:
    """SA, sequence number and RMCP message of an ESP packet that one end made.

    Raises sw.ipsec.PacketDroppedError if its key is not the one that its SPI stands for.
    """
    sa = sa_of(ESP.unpack(esp)["spi"])
    number = int(GCM_IV.unpack(esp[ESP.octets :])["iv"])
    inbound = EspInbound(_material(sa, way), right_edge=number - 1)
    return sa, number, inbound.open(esp).datagram.payload


def request_of(kind: str, about: int) -> Reset | Commit | SaStatusRequest:
    """The RMCP request of a packet."""
    match kind:
        case "commit":
            return Commit(spi_of(about, TO_NIC))
        case "status":
            return SaStatusRequest()
    return Reset()


def tag_of(name: int) -> int:
    """RMCP sequence number and tag of a request's name."""
    return LATE_TAG if name < 0 else name


def read_request(payload: bytes) -> tuple[int, str, int]:
    """Name, kind and subject of a request that the station made."""
    message = parse(payload)
    assert isinstance(message, RmcpMessage)
    match message.body:
        case Commit(spi):
            return message.tag, "commit", sa_of(spi)
        case SaStatusRequest():
            return message.tag, "status", 0
    return message.tag, "reset", 0


@lru_cache(maxsize=1 << 14)
def frame_to_nic(packet: Packet) -> bytes:
    """The frame that brings a packet to the NIC."""
    tag = tag_of(packet.name)
    payload = build(RmcpMessage(tag, tag, request_of(packet.kind, packet.about)))
    esp = _seal(packet.sa, TO_NIC, packet.number, payload)
    return esp_frame(esp)


def esp_frame(esp: bytes) -> bytes:
    """An Ethernet frame from the station around an ESP packet."""
    header = ip_header(False, int(STATION_IP), int(HOST_IP), PROTOCOL_ESP, len(esp))
    return ethernet(HOST_MAC, STATION_MAC, b"", ETHERTYPE_IPV4, header + esp)


def esp_of_frame(frame: bytes) -> bytes:
    """The ESP packet in a frame of the NIC's."""
    total = IPV4.unpack(frame[ETHERNET.octets :])["total_octets"]
    return frame[ETHERNET.octets + IPV4.octets : ETHERNET.octets + total]


def read_answer(payload: bytes) -> tuple[int, tuple]:
    """Name and body of an answer that the NIC made."""
    message = parse(payload)
    if isinstance(message, RmcpAck):
        return _name(message.sequence), ("ack",)
    match message.body:
        case Committed(spi, result):
            body: tuple = ("committed", sa_of(spi), result is CommitResult.OK)
        case SaStatusResponse() as told:
            banks = (
                (sa_of(told.bank_a_spi), int(told.bank_a_state)),
                (sa_of(told.bank_b_spi), int(told.bank_b_state)),
            )
            body = ("status", banks, told.under_bank, int(told.host_state))
        case other:
            raise AssertionError(f"no answer of ours: {other!r}")
    return _name(message.tag), body


def _name(tag: int) -> int:
    return LATE if tag == LATE_TAG else tag


@lru_cache(maxsize=1 << 14)
def esp_to_station(answer: Answer) -> bytes:
    """The ESP packet that brings an answer to the station."""
    tag = tag_of(answer.name)
    body: Committed | SaStatusResponse
    match answer.body:
        case ("ack",):
            return _seal(answer.sa, TO_STATION, answer.number, build(RmcpAck(tag)))
        case ("committed", about, ok):
            result = CommitResult.OK if ok else CommitResult.NO_SUCH_SPI
            body = Committed(spi_of(about, TO_NIC), result)
        case (_, ((sa_a, a), (sa_b, b)), under, host):
            body = SaStatusResponse(
                bank_a_state=BankState(a),
                bank_b_state=BankState(b),
                under_bank=under,
                host_state=HostState(host),
                bank_a_spi=spi_of(sa_a, TO_NIC) if sa_a else 0,
                bank_b_spi=spi_of(sa_b, TO_NIC) if sa_b else 0,
            )
        case _:
            raise AssertionError(f"no such answer: {answer!r}")
    return _seal(answer.sa, TO_STATION, answer.number, build(RmcpMessage(255, tag, body)))
