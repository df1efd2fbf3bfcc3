"""The way to the registers: a Unix socket (virtual board) or a serial line (UART bridge).

Both speak the same frames of eight octets. A request is `op 00 addr(2) data(4)`, op 52h ("R") or
57h ("W"), numbers big endian; its answer is `op status addr(2) data(4)`, status 0 if all is well.
Requests are answered in order. The bridge skips octets that are no op where a request begins.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import termios
import time
from pathlib import Path
from typing import Protocol

from spec.registers import ADDRESS_BITS
from sw.nic.errors import TransportError

FRAME = struct.Struct(">BBHI")
"""op, status (0 in a request), address, data."""
OP_READ = 0x52
OP_WRITE = 0x57
STATUS_OK = 0
STATUS_BAD_REQUEST = 1
TIMEOUT_S = 5.0


class RegisterTransport(Protocol):
    """Whatever reaches the registers."""

    def read(self, addr: int) -> int:
        """The 32 bits at octet address `addr`; raises TransportError."""

    def write(self, addr: int, value: int) -> None:
        """Write 32 bits at octet address `addr`; raises TransportError."""

    def close(self) -> None:
        """Give the way up; harmless when repeated."""


class _FramedTransport:
    """Requests and answers in frames of eight octets; the octets' way is the subclass's."""

    def read(self, addr: int) -> int:
        """The 32 bits at octet address `addr`; raises TransportError."""
        return self._transact(OP_READ, addr, 0)

    def write(self, addr: int, value: int) -> None:
        """Write 32 bits at octet address `addr`; raises TransportError."""
        if not 0 <= value < 1 << 32:
            raise ValueError(f"value of register {addr:#05x} exceeds 32 bits")
        self._transact(OP_WRITE, addr, value)

    def _transact(self, op: int, addr: int, data: int) -> int:
        if addr % 4 or not 0 <= addr < 1 << ADDRESS_BITS:
            raise ValueError(f"{addr:#x} is not the address of a register")
        answer = self._exchange(FRAME.pack(op, 0, addr, data))
        got_op, status, got_addr, value = FRAME.unpack(answer)
        if got_op != op or got_addr != addr:
            self._lost_step()
            raise TransportError(
                f"{self._name()} answered another request than the one sent; is something else "
                "using the same device? Close it, and open the NIC again"
            )
        if status != STATUS_OK:
            raise TransportError(
                f"{self._name()} refused access to register {addr:#05x} (status {status}); "
                "gateware and software may be of different versions: update both"
            )
        return int(value)

    def _exchange(self, request: bytes) -> bytes:
        raise NotImplementedError

    def _lost_step(self) -> None:
        raise NotImplementedError

    def _name(self) -> str:
        raise NotImplementedError


class UnixSocketTransport(_FramedTransport):
    """Registers of the virtual board.

    Any failure in the middle of an exchange closes the socket, for answers could no longer be
    told apart. Not to be shared between threads.

    Parameters
    ----------
    path : str or Path
        The board's register socket.
    timeout_s : float
        Longest wait for connection and for each answer.
    """

    def __init__(self, path: str | Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = str(path)
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._timeout_s = timeout_s
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(self._path)
        except OSError as error:
            self.close()
            raise TransportError(
                f"cannot open the register socket {self._path}: {error.strerror or error}; "
                "is the virtual board running, and may this user open its socket?"
            ) from error

    def close(self) -> None:
        """Close the socket; harmless when repeated."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes) -> bytes:
        if self._socket is None:
            raise TransportError(f"{self._name()} is closed; open the NIC again")
        answer = b""
        try:
            self._socket.sendall(request)
            while len(answer) < FRAME.size:
                part = self._socket.recv(FRAME.size - len(answer))
                if not part:
                    raise ConnectionResetError("the other end closed it")
                answer += part
        except TimeoutError as error:
            self.close()
            raise TransportError(
                f"{self._name()} gave no answer within {self._timeout_s:g} s; "
                "is the virtual board stopped or overloaded? Restart it"
            ) from error
        except OSError as error:
            self.close()
            raise TransportError(
                f"{self._name()} failed: {error.strerror or error}; "
                "the virtual board has ended or was restarted: open the NIC again"
            ) from error
        return answer

    def _lost_step(self) -> None:
        self.close()

    def _name(self) -> str:
        return f"register socket {self._path}"


class SerialTransport(_FramedTransport):
    """Registers behind the UART bridge of a real board: 115200 baud, 8N1.

    After opening, and after any failure, eight zero octets end whatever request the bridge was in,
    and answers still on their way are read and forgotten. Not to be shared between threads.

    Parameters
    ----------
    path : str or Path
        The serial device.
    timeout_s : float
        Longest wait for each answer.
    quiet_s : float
        A line without octets for this long is in step again.
    """

    def __init__(
        self, path: str | Path, timeout_s: float = TIMEOUT_S, *, quiet_s: float = 0.05
    ) -> None:
        self._path = str(path)
        self._timeout_s = timeout_s
        self._quiet_s = quiet_s
        self._in_step = False
        self._fd: int | None = None
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            self._configure(self._fd)
        except (OSError, termios.error) as error:
            self.close()
            raise TransportError(
                f"cannot open the serial line {self._path}: {error}; "
                "is the cable in, and may this user open the device?"
            ) from error

    @staticmethod
    def _configure(fd: int) -> None:
        iflag, oflag, cflag, lflag = 0, 0, termios.CS8 | termios.CREAD | termios.CLOCAL, 0
        control = termios.tcgetattr(fd)[6]
        control[termios.VMIN] = 0
        control[termios.VTIME] = 0
        speed = termios.B115200
        termios.tcsetattr(fd, termios.TCSANOW, [iflag, oflag, cflag, lflag, speed, speed, control])

    def close(self) -> None:
        """Close the line; harmless when repeated."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _exchange(self, request: bytes) -> bytes:
        if self._fd is None:
            raise TransportError(f"{self._name()} is closed; open the NIC again")
        try:
            if not self._in_step:
                self._resynchronise(self._fd)
            self._in_step = False
            self._send(self._fd, request)
            answer = self._receive(self._fd, FRAME.size, self._timeout_s)
        except OSError as error:
            self.close()
            raise TransportError(
                f"{self._name()} failed: {error.strerror or error}; "
                "check cable and power of the board, then open the NIC again"
            ) from error
        if len(answer) < FRAME.size:
            raise TransportError(
                f"{self._name()} gave {len(answer)} of {FRAME.size} octets within "
                f"{self._timeout_s:g} s; check that the board has power and its bitstream"
            )
        self._in_step = True
        return answer

    def _resynchronise(self, fd: int) -> None:
        self._send(fd, bytes(FRAME.size))
        while self._receive(fd, FRAME.size, self._quiet_s):
            pass

    def _send(self, fd: int, data: bytes) -> None:
        deadline = time.monotonic() + self._timeout_s
        while data:
            _, writable, _ = select.select([], [fd], [], max(0.0, deadline - time.monotonic()))
            if not writable:
                raise TimeoutError("nothing can be sent")
            data = data[os.write(fd, data) :]

    @staticmethod
    def _receive(fd: int, count: int, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        data = b""
        while len(data) < count:
            readable, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not readable:
                break
            part = os.read(fd, count - len(data))
            if not part:
                raise ConnectionResetError("the line was hung up")
            data += part
        return data

    def _lost_step(self) -> None:
        self._in_step = False

    def _name(self) -> str:
        return f"serial line {self._path}"
