"""Keeps the LAN's traffic in a pcap file, each frame once, as it enters the bridge."""

import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Capture"]

# pcap with nanoseconds, Ethernet (draft-ietf-opsawg-pcap, section 4).
MAGIC, VERSION, SNAP, LINK_ETHERNET = 0xA1B23C4D, (2, 4), 262144, 1
ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
# The socket's own name for the time of a frame, as seconds and nanoseconds; asm-generic/socket.h.
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("@qq")
POLL_SECONDS = 0.2


class Capture:
    """Captures on some devices of this network namespace until it is closed.

    Parameters
    ----------
    path
        The file, replaced if it exists.
    devices
        Frames that these receive are kept.
    """

    def __init__(self, path: Path, devices: Sequence[str]) -> None:
        self._devices = set(devices)
        self._file = path.open("wb")
        self._file.write(struct.pack("<IHHiIII", MAGIC, *VERSION, 0, 0, SNAP, LINK_ETHERNET))
        self.frames = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.settimeout(POLL_SECONDS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the capture; the file is whole afterwards."""
        self._stop.set()
        self._thread.join()
        self._socket.close()
        self._file.close()

    def _read(self) -> None:
        # After the last request to stop, what already waits is still taken.
        while True:
            try:
                frame, notes, _, source = self._socket.recvmsg(65536, 128)
            except TimeoutError:
                if self._stop.is_set():
                    return
                continue
            device, _, kind = source[:3]
            if kind == PACKET_OUTGOING or device not in self._devices:
                continue
            seconds, nanoseconds = next(
                TIMESPEC.unpack(data) for _, name, data in notes if name == SO_TIMESTAMPNS
            )
            size = len(frame)
            self._file.write(struct.pack("<IIII", seconds, nanoseconds, size, size) + frame)
            self.frames += 1
