"""SAs as a station knows them, and the packets it makes, from literal numbers of the RFCs.

Sources: RFC 4303 2 (ESP), RFC 4302 2, 3.3.3 (AH), RFC 4106 (GCM), RFC 4543 (GMAC), RFC 3602 (CBC),
RFC 4868 (HMAC-SHA-256-128), RFC 2404 (HMAC-SHA-1-96), RFC 3948 (ESP in UDP).
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC

HOST_MAC = bytes.fromhex("020000000002")
STATION_MAC = bytes.fromhex("020000000001")
HOST_V4 = bytes([10, 99, 0, 2])
STATION_V4 = bytes([10, 99, 0, 1])
HOST_V6 = bytes.fromhex("fd990000000000000000000000000002")
STATION_V6 = bytes.fromhex("fd990000000000000000000000000001")
GROUP_V6 = bytes.fromhex("ff0200000000000000000001ff000002")
"""The solicited-node group of HOST_V6 (RFC 4291 2.7.1)."""
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
UDP, ESP, AH, IPV4, IPV6 = 17, 50, 51, 4, 41
ICMPV6 = 58


@dataclass(frozen=True, slots=True)
class Kind:
    """What a suite number means: (RFC) cipher, its key octets, and the hash of the main half."""

    ah: bool
    esp: bool
    cipher: str
    key: int
    hash: str

    @property
    def salt(self) -> int:
        """Octets of salt."""
        return 4 if self.cipher in ("gcm", "gmac") else 0

    @property
    def auth(self) -> int:
        """Octets of the main half's HMAC key."""
        return {"": 0, "sha256": 32, "sha1": 20}[self.hash]

    @property
    def iv(self) -> int:
        """Octets of IV."""
        return {"gcm": 8, "gmac": 8, "cbc": 16, "null": 0}[self.cipher]

    @property
    def icv(self) -> int:
        """Octets of the main half's ICV."""
        return 12 if self.hash == "sha1" else 16

    @property
    def both(self) -> bool:
        """AH around ESP."""
        return self.ah and self.esp


SUITES = {
    1: Kind(False, True, "gcm", 16, ""),
    2: Kind(False, True, "gcm", 32, ""),
    3: Kind(False, True, "cbc", 16, "sha256"),
    4: Kind(False, True, "cbc", 32, "sha256"),
    5: Kind(False, True, "null", 0, "sha256"),
    6: Kind(False, True, "gmac", 16, ""),
    7: Kind(False, True, "gmac", 32, ""),
    8: Kind(True, False, "null", 0, "sha256"),
    9: Kind(True, False, "gmac", 16, ""),
    10: Kind(True, False, "gmac", 32, ""),
    11: Kind(True, True, "gcm", 16, ""),
    12: Kind(True, True, "gcm", 32, ""),
    13: Kind(True, True, "cbc", 16, "sha256"),
    14: Kind(True, True, "cbc", 32, "sha256"),
    15: Kind(True, True, "null", 0, "sha256"),
    16: Kind(False, True, "cbc", 16, "sha1"),
    17: Kind(False, True, "cbc", 32, "sha1"),
    18: Kind(False, True, "null", 0, "sha1"),
    19: Kind(True, False, "null", 0, "sha1"),
}
"""By the numbers of STAGE_SUITE."""


def keyed(name: str, key: bytes, data: bytes) -> bytes:
    """An HMAC, cut to what IPsec uses of it."""
    mac = HMAC(key, hashes.SHA1() if name == "sha1" else hashes.SHA256())
    mac.update(data)
    return mac.finalize()[: 12 if name == "sha1" else 16]


def ones(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def udp(payload: bytes, source: int = 40664, port: int = 664, octets: int | None = None) -> bytes:
    """A UDP datagram without checksum."""
    return struct.pack(">HHHH", source, port, octets or 8 + len(payload), 0) + payload


def ipv4(
    protocol: int,
    payload: bytes,
    source: bytes = STATION_V4,
    destination: bytes = HOST_V4,
    *,
    options: bytes = b"",
    tos: int = 0,
    flags: int = 0x4000,
    ttl: int = 64,
    total: int | None = None,
) -> bytes:
    """An IPv4 packet (RFC 791)."""
    words = 5 + len(options) // 4
    octets = 4 * words + len(payload) if total is None else total
    head = struct.pack(
        ">BBHHHBBH4s4s",
        *(0x40 | words, tos, octets & 0xFFFF, 7, flags, ttl, protocol, 0),
        *(source, destination),
    )
    head += options
    return head[:10] + struct.pack(">H", ones(head)) + head[12:] + payload


def ipv6(
    next_header: int,
    payload: bytes,
    source: bytes = STATION_V6,
    destination: bytes = HOST_V6,
    *,
    extensions: tuple[tuple[int, bytes], ...] = (),
    flow: int = 0,
    hops: int = 64,
    total: int | None = None,
) -> bytes:
    """An IPv6 packet (RFC 8200); an extension is its number and what follows its next header."""
    chain = b""
    kinds = [kind for kind, _ in extensions] + [next_header]
    for (_, body), following in zip(extensions, kinds[1:], strict=True):
        chain += bytes([following]) + body
    octets = len(chain) + len(payload) if total is None else total
    head = struct.pack(">IHBB", 0x6 << 28 | flow, octets & 0xFFFF, kinds[0], hops)
    return head + source + destination + chain + payload


def neighbour(
    *,
    source: bytes = STATION_V6,
    destination: bytes = GROUP_V6,
    target: bytes = HOST_V6,
    kind: int = 135,
    code: int = 0,
    reserved: bytes = bytes(4),
    options: bytes = b"",
    hops: int = 255,
    octets: int | None = None,
    check: int | None = None,
) -> bytes:
    """A neighbour solicitation (RFC 4861 4.3) in IPv6; its checksum is right unless given."""
    message = struct.pack(">BBH", kind, code, 0) + reserved + target + options
    if check is None:
        count = len(message) if octets is None else octets
        pseudo = source + destination + struct.pack(">II", count, ICMPV6)
        check = ones(pseudo + message[:count])
    message = message[:2] + struct.pack(">H", check) + message[4:]
    return ipv6(ICMPV6, message, source, destination, hops=hops, total=octets)


def ethernet(
    packet: bytes,
    ethertype: int,
    *,
    tags: bytes = b"",
    destination: bytes = HOST_MAC,
    source: bytes = STATION_MAC,
) -> bytes:
    """A frame, padded to the shortest."""
    return (destination + source + tags + struct.pack(">H", ethertype) + packet).ljust(60, b"\0")


@dataclass
class Sa:
    """One bank's SAs. `sequence` and `outer` are the last numbers sent to the NIC."""

    suite: int
    esn: bool = False
    tunnel: bool = False
    v6: bool = False
    spi: int = 0xC0DE0101
    spi_out: int = 0xC0DE0201
    ah_spi: int = 0xC0DE0102
    ah_spi_out: int = 0xC0DE0202
    sequence: int = 0
    outer: int = 0
    seed: int = 0
    administrator: bool = False
    key: bytes = field(init=False)
    salt: bytes = field(init=False)
    auth: bytes = field(init=False)
    ah_auth: bytes = field(init=False)

    def __post_init__(self) -> None:
        rng, kind = random.Random(self.seed), self.kind
        self.key = rng.randbytes(kind.key)
        self.salt = rng.randbytes(kind.salt)
        self.auth = rng.randbytes(kind.auth)
        self.ah_auth = rng.randbytes(32 if kind.both else 0)

    @property
    def kind(self) -> Kind:
        """What its suite means."""
        return SUITES[self.suite]

    def staging(self) -> list[tuple[str, int, int]]:
        """Register writes, from STAGE to READY, with the same keys in both directions."""
        kind = self.kind
        words = {
            "SPI_IN": self.spi,
            "SPI_OUT": self.spi_out,
            "SUITE": self.suite,
            "FLAGS": self.esn | self.tunnel << 1 | self.v6 << 2 | self.administrator << 3,
            "PEER_IP": 0 if self.v6 else int.from_bytes(STATION_V4, "big"),
            "SALT_IN": int.from_bytes(self.salt, "big"),
            "SALT_OUT": int.from_bytes(self.salt, "big"),
            "RX_SEQ_HI": self.sequence >> 32,
            "RX_SEQ_LO": self.sequence & 0xFFFFFFFF,
            "TX_SEQ_HI": self.sequence >> 32,
            "TX_SEQ_LO": self.sequence & 0xFFFFFFFF,
        }
        arrays = {"KEY_IN": self.key, "KEY_OUT": self.key}
        arrays |= {"AUTH_IN": self.auth, "AUTH_OUT": self.auth}
        if kind.both:
            words |= {
                "AH_SPI_IN": self.ah_spi,
                "AH_SPI_OUT": self.ah_spi_out,
                "AH_RX_SEQ_HI": self.outer >> 32,
                "AH_RX_SEQ_LO": self.outer & 0xFFFFFFFF,
                "AH_TX_SEQ_HI": self.outer >> 32,
                "AH_TX_SEQ_LO": self.outer & 0xFFFFFFFF,
            }
            arrays |= {"AH_AUTH_IN": self.ah_auth, "AH_AUTH_OUT": self.ah_auth}
        if self.v6:
            arrays["PEER_IP6"] = STATION_V6
        writes = [("SA_COMMAND", 0, 1)]
        writes += [(f"STAGE_{name}", 0, value) for name, value in words.items()]
        for name, octets in arrays.items():
            for i in range(0, len(octets), 4):
                writes.append((f"STAGE_{name}", i // 4, int.from_bytes(octets[i : i + 4], "big")))
        return [*writes, ("SA_COMMAND", 0, 2)]

    # --- packets ------------------------------------------------------------------------------

    def esp(
        self,
        carried: bytes,
        next_header: int,
        number: int,
        *,
        iv: bytes | None = None,
        pad: bytes | None = None,
        spi: int | None = None,
        pad_octets: int | None = None,
    ) -> bytes:
        """An ESP packet around `carried`."""
        kind = self.kind
        if pad is None:
            align = 16 if kind.cipher == "cbc" else 4
            pad = bytes(range(1, 1 + -(len(carried) + 2) % align))
        text = carried + pad
        text += bytes([len(pad) if pad_octets is None else pad_octets, next_header])
        iv = bytes(kind.iv) if iv is None else iv[: kind.iv]
        sent_spi = struct.pack(">I", self.spi if spi is None else spi)
        high = struct.pack(">I", number >> 32) if self.esn else b""
        low = struct.pack(">I", number & 0xFFFFFFFF)
        if kind.cipher == "gcm":
            body = AESGCM(self.key).encrypt(self.salt + iv, text, sent_spi + high + low)
            return sent_spi + low + iv + body
        if kind.cipher == "gmac":
            data = sent_spi + high + low + iv + text
            tag = AESGCM(self.key).encrypt(self.salt + iv, b"", data)
            return sent_spi + low + iv + text + tag
        if kind.cipher == "cbc" and len(text) % 16 == 0:
            cipher = Cipher(algorithms.AES(self.key), modes.CBC(iv)).encryptor()
            text = cipher.update(text) + cipher.finalize()
        body = sent_spi + low + iv + text
        return body + keyed(kind.hash, self.auth, body + high)

    def ah(
        self,
        covered: bytes,
        next_header: int,
        behind: bytes,
        number: int,
        *,
        v6: bool,
        padded: bool = False,
        reserved: int = 0,
        length: int | None = None,
        iv: bytes = bytes(8),
        filler: bytes = b"",
    ) -> bytes:
        """AH with what is behind it; `covered` is what stands before it, as AH covers it."""
        kind = self.kind
        spi = self.ah_spi if kind.both else self.spi
        field_octets = 16 if kind.both else (kind.iv + kind.icv)
        octets = 12 + field_octets
        octets += -octets % (8 if v6 or padded else 4)
        head = struct.pack(
            ">BBHII",
            *(next_header, octets // 4 - 2 if length is None else length, reserved),
            *(spi, number & 0xFFFFFFFF),
        )
        ends = filler.ljust(octets - 12 - field_octets, b"\0")[: octets - 12 - field_octets]
        high = struct.pack(">I", number >> 32) if self.esn else b""
        if kind.both:
            data = covered + head + bytes(16) + ends + behind + high
            return head + keyed("sha256", self.ah_auth, data) + ends + behind
        if kind.cipher == "gmac":
            data = covered + head + iv + bytes(16) + ends + behind + high
            tag = AESGCM(self.key).encrypt(self.salt + iv, b"", data)
            return head + iv + tag + ends + behind
        data = covered + head + bytes(kind.icv) + ends + behind + high
        return head + keyed(kind.hash, self.auth, data) + ends + behind
