"""Tests of sw.nic.transport on real sockets and pseudo terminals."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec import registers as facts
from sw.nic import NicDriver, SerialTransport, TransportError, UnixSocketTransport
from verif.unit.sw.nic.fake_board import FakeNic, address, serial_board, socket_board
from verif.unit.sw.nic.test_sa import staged


def test_unix_socket_reads_and_writes(tmp_path: Path) -> None:
    nic = FakeNic()
    path = tmp_path / "regs"
    with socket_board(path, nic, chunk=3):
        transport = UnixSocketTransport(path)
        assert transport.read(0) == facts.ID_MAGIC
        transport.write(0x038, 0xC0000201)
        assert transport.read(0x038) == 0xC0000201
        transport.close()
        transport.close()
        with pytest.raises(TransportError, match="closed; open the NIC again"):
            transport.read(0)
    assert nic.writes == [(0x038, 0xC0000201)]


def test_requests_on_the_wire_are_as_documented() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport = UnixSocketTransport.__new__(UnixSocketTransport)
        transport._path, transport._socket, transport._timeout_s = "pair", ours, 5.0
        theirs.sendall(bytes.fromhex("5200020400000007 5700003801020304"))
        assert transport.read(0x204) == 7
        transport.write(0x038, 0x01020304)
        assert theirs.recv(64).hex() == "5200020400000000" + "5700003801020304"


def test_no_board(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="is the virtual board running"):
        UnixSocketTransport(tmp_path / "nothing")


def test_a_board_that_hangs_up(tmp_path: Path) -> None:
    with socket_board(tmp_path / "regs", FakeNic(), answers=1):
        transport = UnixSocketTransport(tmp_path / "regs")
        transport.read(0)
        with pytest.raises(TransportError, match="has ended or was restarted"):
            transport.read(0)
        with pytest.raises(TransportError, match="open the NIC again"):
            transport.read(0)


@pytest.mark.parametrize("octets", [b"", b"\x52\x00\x00"])
def test_a_board_that_does_not_answer_whole(tmp_path: Path, octets: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "regs"))
        server.listen(1)
        transport = UnixSocketTransport(tmp_path / "regs", timeout_s=0.05)
        connection, _ = server.accept()
        with connection:
            connection.sendall(octets)
            with pytest.raises(TransportError, match=r"no answer within 0\.05 s"):
                transport.read(0)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("5201000000000000", "refused access to register 0x000"),
        ("5700000000000000", "another request"),
        ("5200000400000000", "another request"),
    ],
)
def test_answers_that_are_wrong(tmp_path: Path, answer: str, text: str) -> None:
    class Wrong(FakeNic):
        def answer(self, request: bytes) -> bytes:
            return bytes.fromhex(answer)

    with socket_board(tmp_path / "regs", Wrong()):
        transport = UnixSocketTransport(tmp_path / "regs")
        with pytest.raises(TransportError, match=text):
            transport.read(0)
        transport.close()


@pytest.mark.parametrize("addr", [1, 2, 0x1000, -4])
def test_addresses_that_are_no_registers(tmp_path: Path, addr: int) -> None:
    with socket_board(tmp_path / "regs", FakeNic()):
        transport = UnixSocketTransport(tmp_path / "regs")
        with pytest.raises(ValueError, match="not the address"):
            transport.read(addr)
        with pytest.raises(ValueError, match="exceeds 32 bits"):
            transport.write(0, 1 << 32)
        transport.close()


@settings(deadline=None, max_examples=10)
@given(st.lists(st.tuples(st.integers(0, 0x3FF), st.integers(0, 0xFFFF_FFFF)), max_size=10))
def test_any_values_travel_through_a_serial_line(writes: list[tuple[int, int]]) -> None:
    nic = FakeNic()
    with serial_board(nic) as path:
        transport = SerialTransport(path, quiet_s=0.001)
        for word, value in writes:
            if 4 * word != address("SA_COMMAND"):
                transport.write(4 * word, value)
                if 4 * word != address("SA_RESULT"):
                    assert transport.read(4 * word) == value
        transport.close()


def test_the_driver_on_a_serial_line() -> None:
    nic = FakeNic()
    with serial_board(nic) as path, NicDriver(SerialTransport(path)) as driver:
        driver.stage_sa(staged())
    assert len(nic.writes) == 23


@pytest.mark.parametrize("octets", range(1, 8))
def test_a_request_that_somebody_left_unfinished_does_no_harm(octets: int) -> None:
    unfinished = bytes.fromhex("5200000400000000")[:octets]
    with serial_board(FakeNic(), before=unfinished) as path:
        transport = SerialTransport(path)
        assert transport.read(0) == facts.ID_MAGIC
        transport.close()


def test_a_lost_octet_is_told_and_the_line_found_in_step_again() -> None:
    with serial_board(FakeNic(), lose=1) as path:
        transport = SerialTransport(path, timeout_s=0.2)
        with pytest.raises(TransportError, match="7 of 8 octets"):
            transport.read(0)
        assert transport.read(0) == facts.ID_MAGIC
        transport.close()
        transport.close()
        with pytest.raises(TransportError, match="closed"):
            transport.read(0)


def test_no_serial_line(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="is the cable in"):
        SerialTransport(tmp_path / "ttyNone")
    (tmp_path / "file").touch()
    with pytest.raises(TransportError, match="cannot open the serial line"):
        SerialTransport(tmp_path / "file")
