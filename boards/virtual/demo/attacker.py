"""The attacker: sees every frame of the LAN, and sends what it likes from whomever it likes.

`python -m boards.virtual.demo.attacker` runs in the attacker's network namespace and takes one JSON
object a line on standard input, each answered by one on standard output. It has no keys.

``{"do": "seen", "spi": N}``
    ``{"frames": how many ESP frames to the host it has under that SPI}``
``{"do": "replay", "spi": N, "count": N}``
    Sends the last `count` of those again, unchanged.
``{"do": "forge", "spi": N, "count": N}``
    Sends them with sequence numbers not used yet, and an octet of the ciphertext changed.
``{"do": "unknown", "count": N}``
    Sends ESP as if from the station, under SPIs that nobody negotiated.
``{"do": "clear", "port": N, "type": N, "count": N}``
    Sends an RMCP/ASF message of this type without any security, as if from the station.

All but the first are answered by ``{"sent": how many}``.
"""

import json
import os
import secrets
import socket
import sys
import threading
from collections import defaultdict
from typing import Any

from boards.virtual.demo.world import HOST, STATION, Party
from spec.headers import (
    ASF,
    ESP,
    ETHERNET,
    ETHERTYPE_IPV4,
    IPV4,
    PORT_RMCP_SECURED,
    PROTOCOL_ESP,
    PROTOCOL_UDP,
    RMCP,
    UDP,
)
from spec.rmcp import ASF_ENTERPRISE, RMCP_CLASS_ASF, RMCP_VERSION

__all__ = ["Attacker", "main"]

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
ESP_AT = ETHERNET.octets + IPV4.octets
# IV, shortest ciphertext and ICV of AES-GCM (RFC 4106).
FAKE_OCTETS = 8 + 32 + 16


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")


def _checksum(header: bytes) -> int:
    total = sum(int.from_bytes(header[n : n + 2], "big") for n in range(0, len(header), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def _frame(source: Party, target: Party, protocol: int, payload: bytes) -> bytes:
    fields = {
        "version": 4,
        "header_words": 5,
        "total_octets": IPV4.octets + len(payload),
        "dont_fragment": 1,
        "ttl": 64,
        "protocol": protocol,
        "source": _number(source.ip),
        "destination": _number(target.ip),
    }
    header = IPV4.pack(**fields, checksum=_checksum(IPV4.pack(**fields)))
    ethernet = ETHERNET.pack(
        destination=int(target.mac.replace(":", ""), 16),
        source=int(source.mac.replace(":", ""), 16),
        ethertype=ETHERTYPE_IPV4,
    )
    return ethernet + header + payload


class Attacker:
    """What the attacker knows and does on one device."""

    def __init__(self, device: str = "eth0") -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.bind((device, 0))
        # Whatever passes by, to whomever it goes.
        membership = (
            socket.if_nametoindex(device).to_bytes(4, sys.byteorder) + bytes([1, 0]) + bytes(10)
        )
        self._socket.setsockopt(263, 1, membership)
        self._seen: defaultdict[int, list[bytes]] = defaultdict(list)
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="listen", daemon=True).start()

    def _listen(self) -> None:
        host = socket.inet_aton(HOST.ip)
        while True:
            frame, source = self._socket.recvfrom(65536)
            if source[2] == PACKET_OUTGOING or len(frame) < ESP_AT + ESP.octets:
                continue
            ethernet = ETHERNET.unpack(frame)
            if ethernet["ethertype"] != ETHERTYPE_IPV4 or frame[30:34] != host:
                continue
            if IPV4.unpack(frame[ETHERNET.octets :])["protocol"] == PROTOCOL_ESP:
                with self._lock:
                    self._seen[ESP.unpack(frame[ESP_AT:])["spi"]].append(frame)

    def _last(self, order: dict[str, Any]) -> list[bytes]:
        with self._lock:
            return self._seen[order["spi"]][-order["count"] :]

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Does what the order says."""
        match order["do"]:
            case "seen":
                with self._lock:
                    return {"frames": len(self._seen[order["spi"]])}
            case "replay":
                frames = self._last(order)
            case "forge":
                frames = self._forged(order)
            case "unknown":
                frames = [self._unknown() for _ in range(order["count"])]
            case "clear":
                frames = [self._clear(order["port"], order["type"]) for _ in range(order["count"])]
            case other:
                return {"error": f"no such order: {other}"}
        for frame in frames:
            self._socket.send(frame)
        return {"sent": len(frames)}

    def _forged(self, order: dict[str, Any]) -> list[bytes]:
        frames = []
        for ahead, frame in enumerate(self._last(order), start=1):
            esp = ESP.unpack(frame[ESP_AT:])
            newest = max(ESP.unpack(f[ESP_AT:])["sequence"] for f in self._last(order))
            head = ESP.pack(spi=esp["spi"], sequence=(newest + ahead) & 0xFFFF_FFFF)
            body = bytearray(frame[ESP_AT + ESP.octets :])
            body[8] ^= 1 + secrets.randbelow(255)
            frames.append(frame[:ESP_AT] + head + bytes(body))
        return frames

    def _unknown(self) -> bytes:
        # Above all SPIs that IANA keeps, and none that was seen.
        spi = 0x100 + secrets.randbelow(0xFFFF_FE00)
        while spi in self._seen:
            spi = 0x100 + secrets.randbelow(0xFFFF_FE00)
        payload = ESP.pack(spi=spi, sequence=1) + os.urandom(FAKE_OCTETS)
        return _frame(STATION, HOST, PROTOCOL_ESP, payload)

    def _clear(self, port: int, kind: int) -> bytes:
        message = RMCP.pack(
            version=RMCP_VERSION, sequence=secrets.randbelow(255), message_class=RMCP_CLASS_ASF
        ) + ASF.pack(enterprise=ASF_ENTERPRISE, type=kind, tag=secrets.randbelow(255))
        header = UDP.pack(
            source_port=PORT_RMCP_SECURED, destination_port=port, octets=UDP.octets + len(message)
        )
        return _frame(STATION, HOST, PROTOCOL_UDP, header + message)


def main() -> None:
    """Obeys until standard input ends."""
    attacker = Attacker()
    print(json.dumps({"ready": 1}), flush=True)
    for line in sys.stdin:
        print(json.dumps(attacker.obey(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
