"""Frames that the NIC sent, with the keys to open them: a pcap, and a JSON beside it."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from verif.fuzz.sealing import SUITES, Kind

PCAP = "sent.pcap"
KEYS = "sent.json"
HEADERS, CONTENT, ESP_ICV, AH_ICV = "headers", "content", "ESP ICV", "AH ICV"
"""What may be judged of a frame: all before the payload, the RMCP message, and each ICV."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """An SA from the NIC to its station.

    Parameters
    ----------
    suite : int
        Number and name of its suite.
    name : str
        The suite's name.
    tunnel, v6, esn : bool
        Tunnel mode; IPv6 outside; extended sequence numbers.
    spi, ah_spi : int
        Of its ESP or only half, and of the AH around it.
    high : int
        Upper half of all its sequence numbers.
    key, salt, auth, ah_auth : str
        Keys of the cipher, of the HMAC and of the AH around it, in hexadecimal.
    """

    suite: int
    name: str
    tunnel: bool
    v6: bool
    esn: bool
    spi: int
    ah_spi: int
    high: int
    key: str = field(repr=False)
    salt: str = field(repr=False)
    auth: str = field(repr=False)
    ah_auth: str = field(repr=False)

    @property
    def kind(self) -> Kind:
        """What its suite means."""
        return SUITES[self.suite]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a request came, and so how its answer must look.

    Parameters
    ----------
    v6 : bool
        IPv6 outside.
    tags : int
        VLAN tags.
    inner_v6 : bool or None
        IPv6 inside a tunnel; None without one.
    encap : bool
        ESP in UDP.
    probe : bool
        A neighbour solicitation without a source address.
    """

    v6: bool = False
    tags: int = 0
    inner_v6: bool | None = None
    encap: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A frame of the NIC.

    Parameters
    ----------
    octets : bytes
        As it left, padded as the MAC does it.
    form : Form
        How it must look.
    tags : str
        The request's VLAN tags, in hexadecimal.
    message : str
        The RMCP message that it must bear; empty for ARP and neighbour advertisements.
    sa : Association or None
        Under which it is protected; None in clear.
    """

    octets: bytes
    form: Form
    tags: str
    message: str
    sa: Association | None = None

    @property
    def parts(self) -> frozenset[str]:
        """What there is to judge."""
        kind = None if self.sa is None else self.sa.kind
        return frozenset(
            name
            for name, there in (
                (HEADERS, True),
                (CONTENT, True),
                (ESP_ICV, kind is not None and kind.esp),
                (AH_ICV, kind is not None and kind.ah),
            )
            if there
        )

    @property
    def clear_kind(self) -> str:
        """What it is if it is not protected."""
        if self.message:
            return "in clear"
        return "neighbour" if self.form.v6 else "ARP"

    @property
    def label(self) -> str:
        """Suite and form, for a person."""
        form = self.form
        if self.sa is None:
            return f"{self.clear_kind} v{6 if form.v6 else 4} tags={form.tags}"
        mode = "transport" if form.inner_v6 is None else f"tunnel(v{6 if form.inner_v6 else 4})"
        how = f"{'UDP' if form.encap else 'plain'}{' ESN' if self.sa.esn else ''}"
        return f"{self.sa.name} {mode} v{6 if form.v6 else 4} {how} tags={form.tags}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge says of a frame.

    Parameters
    ----------
    judged : frozenset of str
        The parts it looked at.
    faults : tuple of str
        What is wrong with them; nothing if all is right.
    """

    judged: frozenset[str]
    faults: tuple[str, ...] = ()


def write_pcap(path: Path, frames: Sequence[bytes]) -> None:
    """Writes frames a millisecond apart (draft-ietf-opsawg-pcap)."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)]
    for number, octets in enumerate(frames):
        seconds, millis = divmod(number, 1000)
        records.append(struct.pack("<IIII", seconds, millis * 1000, len(octets), len(octets)))
        records.append(octets)
    path.write_bytes(b"".join(records))


def save(directory: Path, frames: Sequence[Sent]) -> None:
    """Writes PCAP and KEYS."""
    write_pcap(directory / PCAP, [frame.octets for frame in frames])
    associations: list[Association] = []
    rows = []
    for frame in frames:
        if frame.sa is not None and frame.sa not in associations:
            associations.append(frame.sa)
        rows.append(
            {
                "form": asdict(frame.form),
                "tags": frame.tags,
                "message": frame.message,
                "sa": None if frame.sa is None else associations.index(frame.sa),
            }
        )
    report = {"associations": [asdict(sa) for sa in associations], "frames": rows}
    (directory / KEYS).write_text(json.dumps(report, indent=1))


def load(directory: Path) -> list[Sent]:
    """Reads what `save` wrote."""
    report = json.loads((directory / KEYS).read_text())
    associations = [Association(**sa) for sa in report["associations"]]
    octets = (directory / PCAP).read_bytes()
    at, frames = 24, []
    for row in report["frames"]:
        (length,) = struct.unpack_from("<I", octets, at + 8)
        at += 16
        frames.append(
            Sent(
                octets=octets[at : at + length],
                form=Form(**row["form"]),
                tags=row["tags"],
                message=row["message"],
                sa=None if row["sa"] is None else associations[row["sa"]],
            )
        )
        at += length
    return frames
