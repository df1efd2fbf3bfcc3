"""The other end of an SA of any suite, in a few lines of `cryptography`: packets for the benches.

Nothing here is taken from the model or the station's own data plane.
"""

import hashlib
import hmac
import random
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from spec.suites import SUITES, Cipher, Hash, Protocol, Suite, SuiteFacts
from verif.cocotb.nic_frames import (
    ESP,
    ETHERTYPE_IPV4,
    NIC_IP,
    NIC_MAC,
    STATION_IP,
    STATION_MAC,
    UDP,
    ethernet,
    internet_checksum,
    udp,
)

__all__ = ["FRAME_MAX", "Half", "NotOursError", "Peer"]

AH = 51
FRAME_MAX = 1514
"""Longest frame without FCS."""
AH_FIXED_OCTETS = 12
OUTER_ICV_OCTETS = 16


class NotOursError(Exception):
    """A frame is no answer under this SA, or not a right one."""


@dataclass(frozen=True, slots=True)
class Half:
    """One direction of one SA: its SPI and keys."""

    spi: int
    key: bytes
    salt: bytes
    auth: bytes
    cipher: Cipher
    hash: Hash
    icv_octets: int

    def icv(self, covered: bytes, iv: bytes) -> bytes:
        """ICV of an HMAC, or of GMAC."""
        if self.cipher is Cipher.GMAC:
            return AESGCM(self.key).encrypt(self.salt + iv, b"", covered)
        digest = hashlib.sha1 if self.hash is Hash.SHA_1 else hashlib.sha256
        return hmac.new(self.auth, covered, digest).digest()[: self.icv_octets]


def _words(octets: bytes) -> list[int]:
    return list(struct.unpack(f">{len(octets) // 4}I", octets))


class Peer:
    """A station with an SA of one suite: IPv4, transport mode, without ESN.

    Parameters
    ----------
    suite : Suite
        The suite.
    rng : random.Random
        Gives keys and IVs.
    """

    def __init__(self, suite: Suite, rng: random.Random) -> None:
        self.facts: SuiteFacts = SUITES[suite]
        self._rng = rng
        self.number = 0
        self.main_in, self.main_out = self._half(), self._half()
        self.outer_in, self.outer_out = self._outer(), self._outer()

    def _half(self) -> Half:
        facts, draw = self.facts, self._rng.randbytes
        return Half(
            self._rng.randrange(256, 1 << 32),
            draw(facts.key_octets),
            draw(facts.salt_octets),
            draw(facts.auth_octets),
            facts.cipher,
            facts.hash,
            facts.icv_octets,
        )

    def _outer(self) -> Half:
        spi = self._rng.randrange(256, 1 << 32)
        auth = self._rng.randbytes(32)
        return Half(spi, b"", b"", auth, Cipher.NULL, Hash.SHA_256, OUTER_ICV_OCTETS)

    def staging(self) -> list[tuple[str, int, int]]:
        """Register writes of the SA's layout: name, index, value."""
        facts = self.facts
        writes = [
            ("STAGE_SPI_IN", 0, self.main_in.spi),
            ("STAGE_SPI_OUT", 0, self.main_out.spi),
            ("STAGE_SUITE", 0, int(facts.suite)),
            ("STAGE_FLAGS", 0, 0),
            ("STAGE_PEER_IP", 0, int.from_bytes(STATION_IP, "big")),
            ("STAGE_SALT_IN", 0, int.from_bytes(self.main_in.salt, "big")),
            ("STAGE_SALT_OUT", 0, int.from_bytes(self.main_out.salt, "big")),
        ]
        numbers = ["STAGE_RX_SEQ", "STAGE_TX_SEQ"]
        keys = {
            "STAGE_KEY_IN": self.main_in.key,
            "STAGE_KEY_OUT": self.main_out.key,
            "STAGE_AUTH_IN": self.main_in.auth,
            "STAGE_AUTH_OUT": self.main_out.auth,
        }
        if facts.has_outer:
            writes += [
                ("STAGE_AH_SPI_IN", 0, self.outer_in.spi),
                ("STAGE_AH_SPI_OUT", 0, self.outer_out.spi),
            ]
            numbers += ["STAGE_AH_RX_SEQ", "STAGE_AH_TX_SEQ"]
            keys |= {
                "STAGE_AH_AUTH_IN": self.outer_in.auth,
                "STAGE_AH_AUTH_OUT": self.outer_out.auth,
            }
        writes += [(f"{name}_{half}", 0, 0) for name in numbers for half in ("HI", "LO")]
        for name, key in keys.items():
            writes += [(name, index, word) for index, word in enumerate(_words(key))]
        return writes

    # --- inbound --------------------------------------------------------------------------------

    def protect(self, message: bytes) -> bytes:
        """The frame that brings an RMCP message, under the next number."""
        self.number += 1
        return self._frame(udp(664, message, source=50664), self.number)

    def forged(self, inner_octets: int, ahead: int) -> bytes:
        """A frame whose ICV, the inner one if there are two, is wrong in its last bit.

        Parameters
        ----------
        inner_octets
            Octets that ESP or AH protects, before padding.
        ahead
            The number is so far beyond the last one that was used.
        """
        inner = self._rng.randbytes(inner_octets)
        return self._frame(inner, self.number + ahead, spoil=True)

    def longest(self) -> int:
        """Most `inner_octets` that fit a frame of FRAME_MAX."""
        inner = FRAME_MAX
        while len(self.forged(inner, 1)) > FRAME_MAX:
            inner -= 1
        return inner

    def shortest(self) -> int:
        """Fewest `inner_octets`: nothing but padding in ESP, a UDP header in AH."""
        return 8 if self.facts.protocol is Protocol.AH else 0

    def _frame(self, inner: bytes, number: int, *, spoil: bool = False) -> bytes:
        facts = self.facts
        if facts.protocol is Protocol.AH:
            packet = self._ah(self.main_in, inner, UDP, number, spoil=spoil)
        else:
            esp = self._esp(inner, number)
            if spoil:
                esp = esp[:-1] + bytes([esp[-1] ^ 1])
            if facts.protocol is Protocol.BOTH:
                packet = self._ah(self.outer_in, esp, ESP, number)
            else:
                packet = _ipv4(ESP, esp)
        return ethernet(ETHERTYPE_IPV4, packet)

    def _esp(self, inner: bytes, number: int) -> bytes:
        half, align = self.main_in, self.facts.align_octets
        pad = -(len(inner) + 2) % align
        plain = inner + bytes(range(1, pad + 1)) + bytes([pad, UDP])
        head = struct.pack(">II", half.spi, number)
        iv = self._rng.randbytes(self.facts.iv_octets)
        match half.cipher:
            case Cipher.GCM:
                return head + iv + AESGCM(half.key).encrypt(half.salt + iv, plain, head)
            case Cipher.CBC:
                worker = BlockCipher(algorithms.AES(half.key), modes.CBC(iv)).encryptor()
                plain = worker.update(plain) + worker.finalize()
        covered = head + iv + plain
        return covered + half.icv(covered, iv)

    def _ah(
        self, half: Half, rest: bytes, next_header: int, number: int, *, spoil: bool = False
    ) -> bytes:
        iv = self._rng.randbytes(8 if half.cipher is Cipher.GMAC else 0)
        octets = AH_FIXED_OCTETS + len(iv) + half.icv_octets
        head = struct.pack(">BBHII", next_header, octets // 4 - 2, 0, half.spi, number) + iv
        zeros = bytes(half.icv_octets)
        icv = half.icv(_as_ah_sees(_ipv4(AH, head + zeros + rest)), iv)
        if spoil:
            icv = icv[:-1] + bytes([icv[-1] ^ 1])
        return _ipv4(AH, head + icv + rest)

    # --- outbound -------------------------------------------------------------------------------

    def open(self, frame: bytes) -> bytes:
        """The message in a frame of the NIC.

        Raises
        ------
        NotOursError
            If it is none under this SA, or its ICV is wrong.
        """
        if frame[:14] != STATION_MAC + NIC_MAC + b"\x08\x00" or frame[26:34] != NIC_IP + STATION_IP:
            raise NotOursError("not from the NIC to the station")
        packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
        protocol, rest = packet[9], packet[20:]
        if self.facts.protocol is not Protocol.ESP:
            if protocol != AH:
                raise NotOursError(f"protocol {protocol}, not AH")
            alone = self.facts.protocol is Protocol.AH
            protocol, rest = self._open_ah(self.main_out if alone else self.outer_out, packet)
        if self.facts.protocol is not Protocol.AH:
            if protocol != ESP:
                raise NotOursError(f"protocol {protocol}, not ESP")
            protocol, rest = self._open_esp(rest)
        if protocol != UDP or rest[4:6] != struct.pack(">H", len(rest)):
            raise NotOursError("no UDP inside")
        return rest[8:]

    def _open_ah(self, half: Half, packet: bytes) -> tuple[int, bytes]:
        octets = (packet[21] + 2) * 4
        iv_octets = 8 if half.cipher is Cipher.GMAC else 0
        at = 20 + AH_FIXED_OCTETS + iv_octets
        icv = packet[at : at + half.icv_octets]
        if packet[24:28] != struct.pack(">I", half.spi):
            raise NotOursError("another SPI in AH")
        covered = packet[:at] + bytes(half.icv_octets) + packet[at + half.icv_octets :]
        if icv != half.icv(_as_ah_sees(covered), packet[32 : 32 + iv_octets]):
            raise NotOursError("wrong ICV in AH")
        return packet[20], packet[20 + octets :]

    def _open_esp(self, esp: bytes) -> tuple[int, bytes]:
        half = self.main_out
        head, rest = esp[:8], esp[8:]
        if head[:4] != struct.pack(">I", half.spi):
            raise NotOursError("another SPI in ESP")
        iv, rest = rest[: self.facts.iv_octets], rest[self.facts.iv_octets :]
        if half.cipher is Cipher.GCM:
            try:
                plain = AESGCM(half.key).decrypt(half.salt + iv, rest, head)
            except InvalidTag as error:
                raise NotOursError("wrong ICV in ESP") from error
        else:
            plain, icv = rest[: -half.icv_octets], rest[-half.icv_octets :]
            if icv != half.icv(head + iv + plain, iv):
                raise NotOursError("wrong ICV in ESP")
            if half.cipher is Cipher.CBC:
                worker = BlockCipher(algorithms.AES(half.key), modes.CBC(iv)).decryptor()
                plain = worker.update(plain) + worker.finalize()
        return plain[-1], plain[: -2 - plain[-2]]


def _ipv4(protocol: int, payload: bytes) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 0x1234, 0x4000, 63, protocol, 0)
    head += STATION_IP + NIC_IP
    return head[:10] + struct.pack(">H", internet_checksum(head)) + head[12:] + payload


def _as_ah_sees(packet: bytes) -> bytes:
    """TOS, flags and offset, TTL and checksum are zeros (RFC 4302 3.3.3.1.1.1)."""
    header = bytearray(packet[:20])
    header[1] = header[6] = header[7] = header[8] = header[10] = header[11] = 0
    return bytes(header) + packet[20:]
