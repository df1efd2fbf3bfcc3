"""Reader of recorded IPsec frames, in the form of `linux61_xfrm.json` (docs/replay.md)."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from spec.headers import ESP_SPI_MIN, ETHERNET, PORT_RMCP_SECURED
from spec.sa import SadCommand, SaFlag
from spec.suites import SUITES, Cipher, Hash, Protocol, Suite, SuiteFacts

FILE_MAX_OCTETS = 64 << 20
FRAME_MAX_OCTETS = 1996
"""The longest that any Ethernet frame may be, without its FCS (IEEE 802.3-2022 3.2.7)."""
NAME_MAX = 100
SPI_OUT = 0xC0DE0001
"""Answers go out under this SPI and a key of zeros: nobody reads them."""

AH_SPI_OUT = 0xC0DE0002
"""The same of AH around ESP."""
AH_OUTER = "sha256"
"""What AH around ESP must be."""
HASH_NAMES = {Hash.SHA_256: "sha256", Hash.SHA_1: "sha1"}


def _name(facts: SuiteFacts) -> str:
    """What these files call the algorithm of a suite's main half."""
    words = {
        Cipher.NULL: "null",
        Cipher.GCM: f"gcm{8 * facts.key_octets}",
        Cipher.CBC: f"cbc{8 * facts.key_octets}",
        Cipher.GMAC: f"gmac{8 * facts.key_octets}",
    }
    hash_ = HASH_NAMES.get(facts.hash)
    if facts.protocol is Protocol.AH and hash_ is not None:
        return hash_
    return words[facts.cipher] + (f"_{hash_}" if hash_ else "")


SUITE_NAMES = {(facts.protocol, _name(facts)): suite for suite, facts in SUITES.items()}
"""Suites by the protocols around a packet and the name of the algorithm in these files."""
PROTOCOLS = {
    ("esp",): Protocol.ESP,
    ("ah",): Protocol.AH,
    ("esp", "ah"): Protocol.BOTH,
}


class VectorError(ValueError):
    """A file is not of the form; the message names the place in it."""


@dataclass(frozen=True, slots=True)
class RecordedSa:
    """One SA of a case.

    Parameters
    ----------
    protocol, algorithm, mode : str
        As in the file: "esp" or "ah"; "gcm128" and so on (`SUITE_NAMES`); "transport" or "tunnel".
    spi : int
        Inbound SPI.
    keys : tuple of bytes
        Of the cipher, then of the HMAC, as far as there are such. AES-GCM and AES-GMAC have the
        4-octet salt behind their key (RFC 4106 8.1).
    first_seq : int
        Number of the first frame, of 64 bits with `esn`.
    esn : bool
        Extended sequence numbers.
    """

    protocol: str
    algorithm: str
    mode: str
    spi: int
    keys: tuple[bytes, ...] = field(repr=False)
    first_seq: int
    esn: bool


@dataclass(frozen=True, slots=True)
class Case:
    """Frames under one SA, or under nested ones, and what is in them.

    Parameters
    ----------
    name : str
        Unique in its file.
    source, destination : IPv4Address or IPv6Address
        Outer addresses.
    destination_port : int
        Of the UDP datagrams inside.
    sas : tuple of RecordedSa
        From the innermost out.
    frames : tuple of bytes
        Without FCS.
    payloads : tuple of bytes
        UDP payload of each frame.
    """

    name: str
    source: ipaddress.IPv4Address | ipaddress.IPv6Address
    destination: ipaddress.IPv4Address | ipaddress.IPv6Address
    destination_port: int
    sas: tuple[RecordedSa, ...]
    frames: tuple[bytes, ...] = field(repr=False)
    payloads: tuple[bytes, ...] = field(repr=False)


def suite_of(case: Case) -> Suite | None:
    """The suite that a case's SAs are together; None if there is none."""
    protocol = PROTOCOLS.get(tuple(sa.protocol for sa in case.sas))
    if protocol is None or (protocol is Protocol.BOTH and case.sas[1].algorithm != AH_OUTER):
        return None
    return SUITE_NAMES.get((protocol, case.sas[0].algorithm))


def unsupported(case: Case) -> str | None:
    """Why the NIC cannot take this case, from its description; None if it can."""
    reasons = []
    modes = [sa.mode for sa in case.sas]
    if suite_of(case) is None:
        words = " in ".join(f"{sa.protocol.upper()} with {sa.algorithm}" for sa in case.sas)
        reasons.append(f"{words} is not built in")
    if len({sa.esn for sa in case.sas}) > 1:
        reasons.append("ESN of one SA alone is not built in")
    for mode in modes:
        if mode not in ("transport", "tunnel"):
            reasons.append(f"{mode} mode is not built in")
    if "tunnel" in modes[1:]:
        reasons.append("ESP inside of AH in tunnel mode is not built in")
    if case.source.version != case.destination.version:
        reasons.append("addresses of two families")
    if case.destination_port != PORT_RMCP_SECURED:
        reasons.append(f"UDP port {case.destination_port}: the NIC takes {PORT_RMCP_SECURED} alone")
    return "; ".join(dict.fromkeys(reasons)) or None


def staging(case: Case) -> list[tuple[str, int, int]]:
    """The register writes that load a supported case's SAs, as an agent does them.

    Returns
    -------
    list of tuple
        Name, index and value. After each write to SA_COMMAND, SA_RESULT is to be waited for.
    """
    suite = suite_of(case)
    if suite is None:
        raise ValueError(f"case {case.name}: {unsupported(case)}")
    facts, main = SUITES[suite], case.sas[0]
    v6 = case.source.version == 6
    flags = SaFlag.ESN * main.esn | SaFlag.TUNNEL * (main.mode == "tunnel") | SaFlag.IPV6 * v6
    material = b"".join(main.keys)
    key, rest = material[: facts.key_octets], material[facts.key_octets :]
    salt, auth = rest[: facts.salt_octets], rest[facts.salt_octets :]
    mac = case.frames[0][:6]
    host, peer = int(case.destination), int(case.source)
    words = {
        "STAGE_SPI_IN": main.spi,
        "STAGE_SPI_OUT": SPI_OUT,
        "STAGE_SUITE": int(suite),
        "STAGE_FLAGS": int(flags),
        "STAGE_PEER_IP": 0 if v6 else peer,
        "STAGE_SALT_IN": int.from_bytes(salt, "big"),
        "STAGE_SALT_OUT": 0,
        "STAGE_RX_SEQ_HI": (main.first_seq - 1) >> 32,
        "STAGE_RX_SEQ_LO": (main.first_seq - 1) & 0xFFFFFFFF,
        "STAGE_TX_SEQ_HI": 0,
        "STAGE_TX_SEQ_LO": 0,
    }
    arrays = {"KEY": key, "AUTH": auth}
    if facts.has_outer:
        outer = case.sas[1]
        arrays["AH_AUTH"] = outer.keys[0]
        words |= {
            "STAGE_AH_SPI_IN": outer.spi,
            "STAGE_AH_SPI_OUT": AH_SPI_OUT,
            "STAGE_AH_RX_SEQ_HI": (outer.first_seq - 1) >> 32,
            "STAGE_AH_RX_SEQ_LO": (outer.first_seq - 1) & 0xFFFFFFFF,
            "STAGE_AH_TX_SEQ_HI": 0,
            "STAGE_AH_TX_SEQ_LO": 0,
        }
    writes = [
        ("HOST_MAC_HI", 0, int.from_bytes(mac[:2], "big")),
        ("HOST_MAC_LO", 0, int.from_bytes(mac[2:], "big")),
        *(_words("HOST_IP6", host.to_bytes(16, "big")) if v6 else [("HOST_IP", 0, host)]),
        ("SA_COMMAND", 0, int(SadCommand.STAGE)),
        *((name, 0, value) for name, value in words.items()),
    ]
    if v6:
        writes += _words("STAGE_PEER_IP6", peer.to_bytes(16, "big"))
    for name, octets in arrays.items():
        writes += _words(f"STAGE_{name}_IN", octets)
        writes += _words(f"STAGE_{name}_OUT", bytes(len(octets)))
    return [*writes, ("SA_COMMAND", 0, int(SadCommand.READY))]


def _words(name: str, octets: bytes) -> list[tuple[str, int, int]]:
    """Writes to an array of registers."""
    return [
        (name, i // 4, int.from_bytes(octets[i : i + 4], "big")) for i in range(0, len(octets), 4)
    ]


def load(path: Path) -> list[Case]:
    """Reads a file; raises VectorError, with file and place, for whatever is wrong in it."""
    try:
        if not path.exists():
            raise VectorError("there is no such file")
        if not path.is_file():
            raise VectorError("this is no regular file")
        with path.open("rb") as file:
            text = file.read(FILE_MAX_OCTETS + 1)
        if len(text) > FILE_MAX_OCTETS:
            raise VectorError(f"longer than {FILE_MAX_OCTETS >> 20} MiB")
        try:
            document = json.loads(text)
        except RecursionError:
            raise VectorError("not JSON of this form: nested too deeply") from None
        except ValueError as error:
            raise VectorError(f"not JSON: {error}") from None
        return _Reader(document).cases()
    except OSError as error:
        raise VectorError(f"{path}: {error.strerror}") from None
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from None


class _Place:
    """A value of the document with the way to it, for messages."""

    def __init__(self, value: Any, where: str) -> None:
        self.value = value
        self.where = where

    def fail(self, problem: str) -> NoReturn:
        raise VectorError(f"{self.where}: {problem}")

    def _of(self, kind: type, what: str) -> Any:
        if type(self.value) is not kind:
            self.fail(f"must be {what}, not {_kind(self.value)}")
        return self.value

    def get(self, key: str) -> _Place:
        """Member `key` of an object."""
        members = self._of(dict, "an object")
        if key not in members:
            self.fail(f"lacks {key!r}")
        return _Place(members[key], f"{self.where}.{key}" if self.where != "file" else key)

    def items(self, least: int = 1) -> list[_Place]:
        """Elements of an array of at least `least`."""
        values = self._of(list, "an array")
        if len(values) < least:
            self.fail(f"must have at least {least} elements, not {len(values)}")
        return [_Place(value, f"{self.where}[{i}]") for i, value in enumerate(values)]

    def text(self, most: int = NAME_MAX) -> str:
        """Printable text."""
        value = self._of(str, "a string")
        if not value or len(value) > most or not value.isprintable():
            self.fail(f"must be 1 to {most} printable characters")
        return str(value)

    def number(self, least: int, most: int) -> int:
        """A whole number in a range."""
        value = self._of(int, "a whole number")
        if not least <= value <= most:
            self.fail(f"must be from {least} to {most}")
        return int(value)

    def flag(self) -> bool:
        """True or false."""
        return bool(self._of(bool, "true or false"))

    def octets(self, least: int, most: int) -> bytes:
        """Octets in hexadecimal."""
        value = self._of(str, "a string of hexadecimal digits")
        if len(value) > 2 * most:
            self.fail(f"{len(value)} digits are longer than {most} octets")
        if not re.fullmatch("[0-9a-fA-F]*", value):
            wrong = re.search("[^0-9a-fA-F]", value)
            assert wrong is not None
            self.fail(f"character {wrong.start()} is no hexadecimal digit")
        if len(value) % 2:
            self.fail(f"an odd number of hexadecimal digits ({len(value)})")
        if len(value) < 2 * least:
            self.fail(f"must have at least {least} octets, not {len(value) // 2}")
        return bytes.fromhex(value)

    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """An IPv4 or IPv6 address."""
        try:
            return ipaddress.ip_address(self.text())
        except ValueError:
            self.fail("is no IP address")

    def spi(self) -> int:
        """An SPI that an SA can have, in hexadecimal with 0x."""
        value = self.text()
        if not re.fullmatch("0x[0-9a-fA-F]{1,8}", value):
            self.fail("must be an SPI like 0xc0de0101")
        if int(value, 16) < ESP_SPI_MIN:
            self.fail(f"an SPI below {ESP_SPI_MIN} is reserved (RFC 4303 2.1)")
        return int(value, 16)


def _key_octets(facts: SuiteFacts) -> list[int]:
    """Lengths of the keys of an SA of one protocol."""
    octets = (facts.key_octets + facts.salt_octets, facts.auth_octets)
    return [count for count in octets if count]


def _wanted(octets: list[int], facts: SuiteFacts) -> str:
    if len(octets) > 1:
        return f"two keys, of {octets[0]} and {octets[1]} octets"
    salt = " with its salt" if facts.salt_octets else ""
    return f"one key of {octets[0]} octets{salt}"


class _Reader:
    def __init__(self, document: Any) -> None:
        self.top = _Place(document, "file")

    def cases(self) -> list[Case]:
        cases = []
        names: set[str] = set()
        for place in self.top.get("cases").items():
            case = self._case(place)
            if case.name in names:
                place.get("name").fail("another case has the same name")
            names.add(case.name)
            cases.append(case)
        return cases

    def _case(self, place: _Place) -> Case:
        frames = place.get("frames").items()
        payloads = place.get("udp_payloads").items()
        if len(frames) != len(payloads):
            place.fail(f"{len(frames)} frames, but {len(payloads)} udp_payloads")
        return Case(
            name=place.get("name").text(),
            source=place.get("src").address(),
            destination=place.get("dst").address(),
            destination_port=place.get("dport").number(0, 0xFFFF),
            sas=tuple(self._sa(sa) for sa in place.get("sa").items()),
            frames=tuple(frame.octets(ETHERNET.octets, FRAME_MAX_OCTETS) for frame in frames),
            payloads=tuple(payload.octets(0, FRAME_MAX_OCTETS) for payload in payloads),
        )

    def _sa(self, place: _Place) -> RecordedSa:
        esn = place.get("esn").flag()
        sa = RecordedSa(
            protocol=place.get("proto").text(),
            algorithm=place.get("algorithm").text(),
            mode=place.get("mode").text(),
            spi=place.get("spi").spi(),
            keys=tuple(key.octets(1, 256) for key in place.get("keys").items()),
            first_seq=place.get("first_seq").number(1, (1 << (64 if esn else 32)) - 1),
            esn=esn,
        )
        protocol = PROTOCOLS.get((sa.protocol,))
        suite = None if protocol is None else SUITE_NAMES.get((protocol, sa.algorithm))
        if suite is not None:
            want = _key_octets(SUITES[suite])
            if [len(key) for key in sa.keys] != want:
                place.get("keys").fail(f"{sa.algorithm} needs {_wanted(want, SUITES[suite])}")
        return sa


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "true or false"}
    return names.get(type(value), "null" if value is None else "a number")
