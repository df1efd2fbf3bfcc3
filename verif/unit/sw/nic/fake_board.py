"""A register file behind the wire protocol, for errors that no real NIC makes on demand."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

from spec import registers as facts
from spec.sa import SadCommand, SadResult

FRAME = struct.Struct(">BBHI")


def address(name: str, index: int = 0) -> int:
    """Octet address of a register."""
    return facts.BY_NAME[name].address + 4 * index


class FakeNic:
    """Registers that remember, and an SA_RESULT that says what the test wants.

    Parameters
    ----------
    results : dict
        For each command the values that SA_RESULT reads as, the last one for ever.
    """

    def __init__(self, results: dict[SadCommand, list[int]] | None = None) -> None:
        self.values = {
            address("ID"): facts.ID_MAGIC,
            address("MAP_HASH"): facts.MAP_HASH,
            address("VERSION"): facts.VERSION,
            address("SUITES"): 0b110,
            address("LIMITS"): 1 | 2 << 8 | 64 << 12 | 1 << 24 | 1 << 28,
            address("PACKET_MAX"): 1500,
            address("ACK_MS"): 10_000,
            address("GRACE_MS"): 2_000,
        }
        self.writes: list[tuple[int, int]] = []
        self.closed = False
        self._results = {command: [int(SadResult.OK)] for command in SadCommand}
        self._results.update(results or {})
        self._queue: list[int] = [int(SadResult.NONE)]

    @property
    def commands(self) -> list[SadCommand]:
        """Commands written so far."""
        place = address("SA_COMMAND")
        return [SadCommand(value) for addr, value in self.writes if addr == place]

    def read(self, addr: int) -> int:
        """A register's value."""
        if addr == address("SA_RESULT"):
            return self._queue.pop(0) if len(self._queue) > 1 else self._queue[0]
        return self.values.get(addr, 0)

    def write(self, addr: int, value: int) -> None:
        """Remember a write."""
        self.writes.append((addr, value))
        self.values[addr] = value
        if addr == address("SA_COMMAND"):
            self._queue = list(self._results[SadCommand(value)])

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def answer(self, request: bytes) -> bytes:
        """The frame that answers a frame."""
        op, zero, addr, data = FRAME.unpack(request)
        if op not in (0x52, 0x57) or zero:
            return FRAME.pack(op, 1, addr, data)
        if op == 0x57:
            self.write(addr, data)
            return FRAME.pack(op, 0, addr, data)
        return FRAME.pack(op, 0, addr, self.read(addr))


@contextlib.contextmanager
def socket_board(
    path: Path, nic: FakeNic, *, chunk: int = 8, answers: int = 1 << 30
) -> Iterator[None]:
    """The fake NIC on a Unix socket: answers in pieces of `chunk`, hangs up after `answers`."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            for _ in range(answers):
                request = b""
                while len(request) < FRAME.size:
                    part = connection.recv(FRAME.size - len(request))
                    if not part:
                        return
                    request += part
                answer = nic.answer(request)
                for start in range(0, len(answer), chunk):
                    connection.sendall(answer[start : start + chunk])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        # Whoever did not connect in the test does so now, that `accept` ends.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
        thread.join()
        server.close()


@contextlib.contextmanager
def serial_board(nic: FakeNic, *, before: bytes = b"", lose: int = 0) -> Iterator[str]:
    """The fake NIC behind a UART bridge on a pseudo terminal.

    Parameters
    ----------
    nic : FakeNic
        The registers.
    before : bytes
        Octets of a request that somebody else left unfinished.
    lose : int
        How many answers the line loses an octet of.
    """
    bridge, device = os.openpty()
    tty.setraw(device)
    path = os.ttyname(device)

    def serve() -> None:
        request = before
        left = lose
        while True:
            try:
                octet = os.read(bridge, 1)
            except OSError:
                return
            if octet == b"\xff" and not request:
                return
            if not request and octet not in (b"R", b"W"):
                continue
            request += octet
            if len(request) == FRAME.size:
                answer = nic.answer(request)
                request = b""
                if left:
                    left -= 1
                    answer = answer[:-1]
                os.write(bridge, answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield path
    finally:
        # An octet that no request begins with tells the bridge's thread to end.
        os.write(device, b"\xff")
        thread.join()
        os.close(device)
        os.close(bridge)
