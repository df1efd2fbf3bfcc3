"""An SA on its way into the NIC."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from spec.headers import ESP_SPI_MIN
from spec.sa import REPLAY_WINDOW
from spec.suites import SUITES, Suite

PACKET_OCTETS = 100
"""Longest protected packet the station sends: IPv4 20, UDP 8, ESP 16, ciphertext 36, ICV 16,
with room to spare."""


@dataclass(frozen=True, slots=True)
class StagedSa:
    """One SA as the NIC takes it; "in" is from the station to the NIC.

    The keys are the caller's own buffers, never copied: `wipe` overwrites them. They never show
    in a repr.

    Parameters
    ----------
    spi_in, spi_out : int
        SPIs, 256 to 2^32 - 1.
    suite : Suite
        The algorithms.
    peer_ip : IPv4Address
        The station.
    key_in, key_out : bytearray
        Cipher keys without their salts, as long as the suite says.
    salt_in, salt_out : bytearray
        Four octets each.
    esn : bool
        Extended sequence numbers.
    rx_sequence : int
        Right edge of the inbound window; 0 for a fresh SA.
    tx_sequence : int
        Last outbound number used; 0 for a fresh SA.
    window : int
        Anti-replay window that the NIC must have at least, in packets.
    packet_octets : int
        Longest protected IP packet that the NIC must take.
    """

    spi_in: int
    spi_out: int
    suite: Suite
    peer_ip: IPv4Address
    key_in: bytearray = field(repr=False)
    key_out: bytearray = field(repr=False)
    salt_in: bytearray = field(repr=False)
    salt_out: bytearray = field(repr=False)
    esn: bool = True
    rx_sequence: int = 0
    tx_sequence: int = 0
    window: int = REPLAY_WINDOW
    packet_octets: int = PACKET_OCTETS

    def __post_init__(self) -> None:
        facts = SUITES.get(self.suite)
        if facts is None:
            raise ValueError(f"suite {int(self.suite)} is not one that can be staged")
        for name in ("spi_in", "spi_out"):
            if not ESP_SPI_MIN <= getattr(self, name) < 1 << 32:
                raise ValueError(f"{name} {getattr(self, name):#x} is reserved or out of range")
        for name in ("rx_sequence", "tx_sequence"):
            if not 0 <= getattr(self, name) < 1 << (64 if self.esn else 32):
                raise ValueError(f"{name} is out of range")
        for name, octets in (
            ("key_in", facts.key_octets),
            ("key_out", facts.key_octets),
            ("salt_in", facts.salt_octets),
            ("salt_out", facts.salt_octets),
        ):
            if len(getattr(self, name)) != octets:
                raise ValueError(f"{name} has {len(getattr(self, name))} octets, not {octets}")

    @classmethod
    def from_keymat(
        cls,
        *,
        spi_in: int,
        spi_out: int,
        suite: Suite,
        peer_ip: IPv4Address,
        keymat_in: bytes | bytearray,
        keymat_out: bytes | bytearray,
        esn: bool = True,
    ) -> StagedSa:
        """A fresh SA from IKE's keying material, key then salt in each direction.

        Source: RFC 4106 8.1.
        """
        octets = SUITES[suite].key_octets
        return cls(
            spi_in=spi_in,
            spi_out=spi_out,
            suite=suite,
            peer_ip=peer_ip,
            key_in=bytearray(keymat_in[:octets]),
            key_out=bytearray(keymat_out[:octets]),
            salt_in=bytearray(keymat_in[octets:]),
            salt_out=bytearray(keymat_out[octets:]),
            esn=esn,
        )

    def wipe(self) -> None:
        """Overwrite keys and salts with zeros. Copies that Python made elsewhere stay."""
        for buffer in (self.key_in, self.key_out, self.salt_in, self.salt_out):
            buffer[:] = bytes(len(buffer))
