"""An SA on its way into the NIC."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from spec.headers import ESP_SPI_MIN
from spec.rmcp import Role
from spec.sa import REPLAY_WINDOW
from spec.suites import OUTER_KEY_OCTETS, SUITES, Suite, SuiteFacts

PACKET_OCTETS = 256
"""Longest protected packet the station sends: IPv6 40, AH 32, ESP 24, in it at most IPv6 40, UDP 8
and a message of 28, padding 18, ICV 16, with room to spare."""


@dataclass(frozen=True, slots=True)
class StagedAh:
    """The AH SA around an ESP SA: HMAC-SHA-256-128.

    Parameters
    ----------
    spi_in, spi_out : int
        SPIs, 256 to 2^32 - 1.
    key_in, key_out : bytearray
        HMAC keys, 32 octets each; the caller's own buffers, as those of StagedSa.
    rx_sequence, tx_sequence : int
        As of StagedSa.
    """

    spi_in: int
    spi_out: int
    key_in: bytearray = field(repr=False)
    key_out: bytearray = field(repr=False)
    rx_sequence: int = 0
    tx_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Limits of an SA, each for what was sent and for what was received under it; 0: none.

    Parameters
    ----------
    soft_packets, soft_octets : int
        The NIC tells that the SA is to be replaced.
    hard_packets, hard_octets : int
        The NIC tells it, and gives the SA up unless it is the one that worked last.

    Source: RFC 4301 4.4.2.1.
    """

    soft_packets: int = 0
    soft_octets: int = 0
    hard_packets: int = 0
    hard_octets: int = 0

    def __post_init__(self) -> None:
        for name in ("soft_packets", "soft_octets", "hard_packets", "hard_octets"):
            if not 0 <= getattr(self, name) < 1 << 64:
                raise ValueError(f"{name} must have 64 bits at most, not be {getattr(self, name)}")


UNLIMITED = Lifetime()


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
    peer_ip : IPv4Address or IPv6Address
        The station.
    key_in, key_out : bytearray
        Cipher keys without their salts, as long as the suite says; empty where it has none.
    salt_in, salt_out : bytearray
        Likewise.
    auth_in, auth_out : bytearray
        HMAC keys, likewise.
    ah : StagedAh or None
        Of a suite of AH around ESP, which all the rest is then the ESP half of.
    esn : bool
        Extended sequence numbers, in both halves.
    tunnel : bool
        Tunnel mode, else transport mode.
    rx_sequence : int
        Right edge of the inbound window; 0 for a fresh SA.
    tx_sequence : int
        Last outbound number used; 0 for a fresh SA.
    window : int
        Anti-replay window that the NIC must have at least, in packets.
    packet_octets : int
        Longest protected IP packet that the NIC must take.
    context : int
        Context of the SAD, one for each station.
    role : Role
        What the station may do under it.
    lifetime : Lifetime
        Its limits.
    """

    spi_in: int
    spi_out: int
    suite: Suite
    peer_ip: IPv4Address | IPv6Address
    key_in: bytearray = field(repr=False)
    key_out: bytearray = field(repr=False)
    salt_in: bytearray = field(repr=False)
    salt_out: bytearray = field(repr=False)
    auth_in: bytearray = field(default_factory=bytearray, repr=False)
    auth_out: bytearray = field(default_factory=bytearray, repr=False)
    ah: StagedAh | None = None
    esn: bool = True
    tunnel: bool = False
    rx_sequence: int = 0
    tx_sequence: int = 0
    window: int = REPLAY_WINDOW
    packet_octets: int = PACKET_OCTETS
    context: int = 0
    role: Role = Role.OPERATOR
    lifetime: Lifetime = UNLIMITED

    def __post_init__(self) -> None:
        facts = SUITES.get(self.suite)
        if facts is None:
            raise ValueError(f"suite {int(self.suite)} is not one that can be staged")
        self._check_half(self)
        if self.context < 0:
            raise ValueError(f"context must be 0 or more, not {self.context}")
        for name, octets in (
            ("key_in", facts.key_octets),
            ("key_out", facts.key_octets),
            ("salt_in", facts.salt_octets),
            ("salt_out", facts.salt_octets),
            ("auth_in", facts.auth_octets),
            ("auth_out", facts.auth_octets),
        ):
            _check_octets(name, getattr(self, name), octets)
        if facts.has_outer != (self.ah is not None):
            needs = "needs an" if facts.has_outer else "has no"
            raise ValueError(f"suite {self.suite.name} {needs} AH SA around it")
        if self.ah is not None:
            self._check_half(self.ah)
            for name in ("key_in", "key_out"):
                _check_octets(f"ah {name}", getattr(self.ah, name), OUTER_KEY_OCTETS)

    def _check_half(self, half: StagedSa | StagedAh) -> None:
        for name in ("spi_in", "spi_out"):
            if not ESP_SPI_MIN <= getattr(half, name) < 1 << 32:
                raise ValueError(f"{name} {getattr(half, name):#x} is reserved or out of range")
        for name in ("rx_sequence", "tx_sequence"):
            if not 0 <= getattr(half, name) < 1 << (64 if self.esn else 32):
                raise ValueError(f"{name} is out of range")

    @classmethod
    def from_keymat(
        cls,
        *,
        spi_in: int,
        spi_out: int,
        suite: Suite,
        peer_ip: IPv4Address | IPv6Address,
        keymat_in: bytes | bytearray,
        keymat_out: bytes | bytearray,
        ah: StagedAh | None = None,
        esn: bool = True,
        tunnel: bool = False,
        role: Role = Role.OPERATOR,
    ) -> StagedSa:
        """A fresh SA from IKE's keying material: key, salt, HMAC key in each direction.

        Source: RFC 7296 2.17, RFC 4106 8.1, RFC 4543 7.1.
        """
        facts = SUITES[suite]
        key_in, salt_in, auth_in = _parts(facts, keymat_in)
        key_out, salt_out, auth_out = _parts(facts, keymat_out)
        return cls(
            spi_in=spi_in,
            spi_out=spi_out,
            suite=suite,
            peer_ip=peer_ip,
            key_in=key_in,
            key_out=key_out,
            salt_in=salt_in,
            salt_out=salt_out,
            auth_in=auth_in,
            auth_out=auth_out,
            ah=ah,
            esn=esn,
            tunnel=tunnel,
            role=role,
        )

    def wipe(self) -> None:
        """Overwrite keys and salts with zeros. Copies that Python made elsewhere stay."""
        buffers = [self.key_in, self.key_out, self.salt_in, self.salt_out]
        buffers += [self.auth_in, self.auth_out]
        if self.ah is not None:
            buffers += [self.ah.key_in, self.ah.key_out]
        for buffer in buffers:
            buffer[:] = bytes(len(buffer))


def _parts(facts: SuiteFacts, keymat: bytes | bytearray) -> tuple[bytearray, bytearray, bytearray]:
    """Key, salt and the rest, which is the HMAC key."""
    salt_end = facts.key_octets + facts.salt_octets
    return (
        bytearray(keymat[: facts.key_octets]),
        bytearray(keymat[facts.key_octets : salt_end]),
        bytearray(keymat[salt_end:]),
    )


def _check_octets(name: str, buffer: bytearray, octets: int) -> None:
    if len(buffer) != octets:
        raise ValueError(f"{name} has {len(buffer)} octets, not {octets}")
