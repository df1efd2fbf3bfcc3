"""The data plane and its other end: what passes every check is delivered, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.headers import PORT_RMCP_SECURED
from sw.ipsec import EspMaterial, EspOutbound, InboundTable, SequenceReservation, UdpDatagram
from sw.ipsec.esp import EspInbound
from sw.station.database import StoreError
from sw.station.plane import Plane
from sw.station.records import SaRecord
from verif.unit.sw.station.lan import HOST_IP, STATION_IP, Lan
from verif.unit.sw.station.shelf import sa_record, sa_records

CLEAR_PORT = 623


class Ends:
    """A plane, what it delivered, and the NIC's side of an SA."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.alerts: list[tuple[int, bytes]] = []
        self.clear: list[tuple[IPv4Address, bytes]] = []
        self.udp: list[tuple[bytes, tuple[str, int]]] = []
        self.plane = Plane(
            STATION_IP,
            natt_port=4500,
            rmcp_port=PORT_RMCP_SECURED,
            clear_port=CLEAR_PORT,
            reserve_block=16,
            on_message=lambda spi, message: self.messages.append((spi, message)),
            on_alert=lambda spi, message: self.alerts.append((spi, message)),
            on_clear=lambda address, message: self.clear.append((address, message)),
        )
        self.reserved = 0

    def reserve(self, count: int) -> int:
        first = self.reserved + 1
        self.reserved += count
        return first

    def play(
        self, scene: Callable[[], None], *, raw: bool = False, lan: Lan | None = None
    ) -> list[bytes]:
        """Runs with open sockets on a LAN in memory; gives the frames that were on it."""
        lan = Lan() if lan is None else lan

        async def whole() -> None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("sw.station.plane.UdpTransport.open", lan.open_udp)
                patch.setattr("sw.station.plane.RawEspTransport.open", lan.open_raw)
                await self.plane.open(raw=raw, udp=lambda *sent: self.udp.append(sent))
                scene()
                await asyncio.sleep(0)
                self.plane.close()
                self.plane.close()

        asyncio.run(whole())
        return lan.frames


def from_nic(sa: SaRecord, datagram: UdpDatagram, first: int = 1) -> bytes:
    """A packet as the NIC sends it under this SA."""
    keys = sa.keys
    material = EspMaterial(sa.spi_in, sa.suite, keys.key_in, keys.salt_in, sa.esn, keys.auth_in)
    numbers = SequenceReservation(lambda _count: first, last=material.sequence_max)
    return EspOutbound(material, numbers).seal_udp(datagram, sa.peer_ip, sa.local_ip)


def at_nic(sa: SaRecord) -> InboundTable:
    """What the NIC opens under this SA."""
    keys = sa.keys
    table = InboundTable()
    table.add(
        EspInbound(
            EspMaterial(sa.spi_out, sa.suite, keys.key_out, keys.salt_out, sa.esn, keys.auth_out)
        )
    )
    return table


ANSWER = UdpDatagram(PORT_RMCP_SECURED, PORT_RMCP_SECURED, b"answer")


@given(sa_records(), st.binary(max_size=200))
def test_both_ways_under_any_sa(sa: SaRecord, payload: bytes) -> None:
    ends = Ends()

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        ends.plane.send(sa.spi_in, payload)
        answer = UdpDatagram(PORT_RMCP_SECURED, PORT_RMCP_SECURED, payload)
        last = (1 << (64 if sa.esn else 32)) - 1
        if sa.rx_edge < last:
            ends.plane.receive(from_nic(sa, answer, sa.rx_edge + 1))
            assert ends.messages == [(sa.spi_in, payload)]
            assert ends.plane.right_edge(sa.spi_in) == sa.rx_edge + 1
            # A window that was stored takes nothing twice.
            ends.plane.receive(from_nic(sa, answer, sa.rx_edge + 1))
        ends.plane.receive(from_nic(sa, answer, max(1, sa.rx_edge)))
        assert len(ends.messages) == (sa.rx_edge < last)

    ends.play(scene)
    ((packet, to),) = ends.udp
    assert to == (str(sa.peer_ip), sa.peer_port if sa.encap_udp else 4500)
    assert at_nic(sa).open(packet).datagram.payload == payload


def test_raw_and_encapsulated() -> None:
    plain, nat = sa_record(1), sa_record(2, encap_udp=True, peer_port=4501)
    ends = Ends()

    def scene() -> None:
        for sa in (plain, nat):
            ends.plane.add(sa, ends.reserve)
            ends.plane.send(sa.spi_in, b"x")

    assert len(ends.play(scene, raw=True)) == 1
    assert [to for _, to in ends.udp] == [(str(nat.peer_ip), 4501)]


def sequences(ends: Ends) -> list[int]:
    """Low halves of the numbers that went out."""
    return [int.from_bytes(packet[4:8], "big") for packet, _ in ends.udp]


def test_after_silence_numbers_are_skipped_less_and_less_often() -> None:
    """As docs/store.md tells of a NIC that lost its power."""
    sa, ends, reserved = sa_record(1), Ends(), []

    def reserve(count: int) -> int:
        reserved.append(count)
        return ends.reserve(count)

    def scene() -> None:
        ends.plane.add(sa, reserve)
        for _ in range(600):
            ends.plane.send(sa.spi_in, b"x")
            # SEC: STATION.RESERVE_BEFORE_USE, of those behind the leap too.
            assert ends.reserved >= sequences(ends)[-1]

    ends.play(scene)
    numbers = sequences(ends)
    steps = [b - a for a, b in pairwise(numbers)]
    assert {n + 1: step for n, step in enumerate(steps) if step != 1} == {
        2: 8193,
        8: 8193,
        32: 8193,
        128: 8193,
        512: 8193,
    }


def test_an_answer_ends_the_silence_and_an_alert_does_not() -> None:
    sa, ends = sa_record(1), Ends()
    alert = UdpDatagram(PORT_RMCP_SECURED, 162, b"alert")

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        for n in range(4):
            ends.plane.send(sa.spi_in, b"x")
            ends.plane.receive(from_nic(sa, ANSWER, 2 * n + 1))
        assert sequences(ends) == [1, 2, 3, 4]
        for n in range(4):
            ends.plane.send(sa.spi_in, b"x")
            ends.plane.receive(from_nic(sa, alert, 2 * n + 10))
        assert sequences(ends)[4:] == [5, 6, 8199, 8200]
        ends.plane.receive(from_nic(sa, ANSWER, 100))
        for _ in range(3):
            ends.plane.send(sa.spi_in, b"x")
        assert sequences(ends)[8:] == [8201, 8202, 16395]

    ends.play(scene)


def test_an_sa_without_so_many_numbers_goes_on_with_the_next() -> None:
    sa, ends = sa_record(1, esn=False), Ends()
    ends.reserved = (1 << 32) - 100

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        for _ in range(4):
            ends.plane.send(sa.spi_in, b"x")

    ends.play(scene)
    assert sequences(ends) == [(1 << 32) - 99 + n for n in range(4)]


def test_what_the_nic_sends_after_its_leap_is_taken() -> None:
    sa, ends = sa_record(1), Ends()

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        for number in (1, 2, 8193, 8194, 0x1_0000_0000 - 1, 0x1_0000_0001):
            ends.plane.receive(from_nic(sa, ANSWER, number))
        assert len(ends.messages) == 6

    ends.play(scene)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda packet: packet[:-1] + bytes([packet[-1] ^ 1]), "ICV"),
        (lambda packet: b"\0\0\1\0" + packet[4:], "UNKNOWN_SPI"),
        (lambda packet: packet[:7], "LENGTH"),
        (lambda packet: b"", "LENGTH"),
    ],
)
def test_what_fails_a_check_is_dropped_and_counted(
    spoil: Callable[[bytes], bytes], reason: str
) -> None:
    ends, sa = Ends(), sa_record(1)

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        packet = from_nic(sa, ANSWER)
        ends.plane.receive(spoil(packet))
        assert ends.messages == []
        assert ends.plane.drops == {reason: 1}
        ends.plane.receive(packet)
        assert ends.messages == [(sa.spi_in, b"answer")]

    ends.play(scene)


def test_what_comes_to_the_port_of_alerts_is_one() -> None:
    ends, sa = Ends(), sa_record(1)

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        packet = from_nic(sa, UdpDatagram(PORT_RMCP_SECURED, 162, b"alert"))
        ends.plane.receive(packet[:-1] + bytes([packet[-1] ^ 1]))
        assert ends.alerts == []
        ends.plane.receive(packet)
        ends.plane.receive(packet)
        ends.plane.receive(from_nic(sa, UdpDatagram(162, 162, b"alert"), 2))

    ends.play(scene)
    assert (ends.alerts, ends.messages) == ([(sa.spi_in, b"alert")], [])
    assert ends.plane.drops == {"ICV": 1, "REPLAY_DUPLICATE": 1, "SELECTOR": 1}


def test_commands_do_not_use_the_port_of_alerts() -> None:
    with pytest.raises(ValueError, match="rmcp_port must not be 162"):
        Plane(
            STATION_IP,
            natt_port=4500,
            rmcp_port=162,
            clear_port=CLEAR_PORT,
            reserve_block=16,
            on_message=lambda _spi, _message: None,
            on_alert=lambda _spi, _message: None,
            on_clear=lambda _address, _message: None,
        )


@pytest.mark.parametrize("port", [1, 623, 665])
def test_the_seeds_policy_no_other_port_passes(port: int) -> None:
    ends, sa = Ends(), sa_record(1)

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        ends.plane.receive(from_nic(sa, UdpDatagram(port, PORT_RMCP_SECURED, b"x")))
        ends.plane.receive(from_nic(sa, UdpDatagram(PORT_RMCP_SECURED, port, b"x"), 2))

    ends.play(scene)
    assert ends.messages == []
    assert ends.plane.drops == {"SELECTOR": 2}


def test_after_remove_nothing_is_received() -> None:
    ends, sa = Ends(), sa_record(1)

    def scene() -> None:
        ends.plane.add(sa, ends.reserve)
        assert sa.spi_in in ends.plane
        ends.plane.remove(sa.spi_in)
        ends.plane.remove(sa.spi_in)
        assert sa.spi_in not in ends.plane
        ends.plane.receive(from_nic(sa, ANSWER))

    ends.play(scene)
    assert ends.messages == []


def test_nothing_is_sent_without_a_reserved_number(caplog: pytest.LogCaptureFixture) -> None:
    """SEC: STATION.RESERVE_BEFORE_USE. The store fails, or all numbers are used."""
    ends = Ends()

    def full(_count: int) -> int:
        raise StoreError("disk full")

    def scene() -> None:
        ends.plane.add(sa_record(1), full)
        with pytest.raises(StoreError, match="disk full"):
            ends.plane.send(sa_record(1).spi_in, b"x")
        ends.plane.add(sa_record(2, esn=False), lambda _count: 1 << 32)
        ends.plane.send(sa_record(2).spi_in, b"x")
        ends.plane.add(sa_record(3), lambda _count: 1)
        for number in range(1, 17):
            ends.plane.send(sa_record(3).spi_in, b"x")
            ends.plane.receive(from_nic(sa_record(3), ANSWER, number))
        # A store that gives the same block once more is not believed.
        ends.plane.send(sa_record(3).spi_in, b"x")

    ends.play(scene)
    assert len(ends.udp) == 16
    assert caplog.text.count("nothing sent") == 2
    assert "KKKK" not in caplog.text


def test_only_the_clear_port_is_heard_in_clear() -> None:
    ends = Ends()

    def scene() -> None:
        ends.plane._receive_clear(b"pong", (str(HOST_IP), CLEAR_PORT))
        ends.plane._receive_clear(b"pong", (str(HOST_IP), CLEAR_PORT + 1))
        ends.plane.send_clear(HOST_IP, b"ping")

    assert len(ends.play(scene)) == 1
    assert ends.clear == [(HOST_IP, b"pong")]
