"""One direction of an SA: what seals or opens its packets."""

from __future__ import annotations

from dataclasses import dataclass, field

from spec.headers import ESP_SPI_MIN
from spec.suites import SUITES, Suite

DATA_PLANE_SUITES = (Suite.ESP_AES_GCM_16_256, Suite.ESP_AES_GCM_16_128)
"""The suites that this data plane has; a NIC may have more."""
SEQUENCE_MAX_32 = (1 << 32) - 1
SEQUENCE_MAX_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class EspMaterial:
    """Keys and numbers of one direction of an SA. Key and salt never show in its repr.

    Parameters
    ----------
    spi : int
        256 to 2^32 - 1.
    suite : Suite
        The algorithms.
    key : bytes
        Cipher key, as long as the suite says.
    salt : bytes
        Four octets.
    esn : bool
        Extended sequence numbers.

    Source: RFC 4106 4, 8.1; RFC 4303 2.1.
    """

    spi: int
    suite: Suite
    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    esn: bool = True

    def __post_init__(self) -> None:
        if self.suite not in DATA_PLANE_SUITES:
            raise ValueError(f"suite {int(self.suite)} cannot protect a packet")
        facts = SUITES[self.suite]
        if not ESP_SPI_MIN <= self.spi < 1 << 32:
            raise ValueError(f"SPI {self.spi:#x} is reserved or out of range")
        if len(self.key) != facts.key_octets:
            raise ValueError(f"key has {len(self.key)} octets, not {facts.key_octets}")
        if len(self.salt) != facts.salt_octets:
            raise ValueError(f"salt has {len(self.salt)} octets, not {facts.salt_octets}")

    @classmethod
    def from_keymat(cls, spi: int, suite: Suite, keymat: bytes, *, esn: bool = True) -> EspMaterial:
        """From IKE's keying material of this direction: key, then salt (RFC 4106 8.1)."""
        octets = SUITES[suite].key_octets
        return cls(spi, suite, bytes(keymat[:octets]), bytes(keymat[octets:]), esn)

    @property
    def sequence_max(self) -> int:
        """The last sequence number that may be used."""
        return SEQUENCE_MAX_64 if self.esn else SEQUENCE_MAX_32
