"""One direction of an SA: what seals or opens its packets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from spec.headers import ESP_SPI_MIN
from spec.suites import SUITES, Protocol, Suite, SuiteFacts
from sw.ike.secret import Secret

DATA_PLANE_SUITES = tuple(SUITES)
"""The suites that this data plane has: all of them."""
ESP_SUITES = tuple(suite for suite, facts in SUITES.items() if facts.protocol is Protocol.ESP)
"""Those that are ESP alone."""
OUTER_SUITE = Suite.AH_HMAC_SHA_256_128
"""The AH SA around an ESP SA."""
SEQUENCE_MAX_32 = (1 << 32) - 1
SEQUENCE_MAX_64 = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Material:
    """What `EspMaterial` and `AhMaterial` share."""

    spi: int
    suite: Suite
    key: Secret = field(repr=False)
    salt: Secret = field(repr=False)
    esn: bool = True
    auth: Secret = field(default_factory=lambda: Secret(b""), repr=False)

    PROTOCOLS: ClassVar[tuple[Protocol, ...]] = ()

    def __post_init__(self) -> None:
        facts = SUITES.get(self.suite)
        if facts is None or facts.protocol not in self.PROTOCOLS:
            words = " or ".join(protocol.name for protocol in self.PROTOCOLS)
            raise ValueError(f"suite {int(self.suite)} is not one of protocol {words}")
        if not ESP_SPI_MIN <= self.spi < 1 << 32:
            raise ValueError(f"SPI {self.spi:#x} is reserved or out of range")
        for name, octets in (
            ("key", facts.key_octets),
            ("salt", facts.salt_octets),
            ("auth", facts.auth_octets),
        ):
            if len(getattr(self, name)) != octets:
                raise ValueError(f"{name} has {len(getattr(self, name))} octets, not {octets}")

    @classmethod
    def from_keymat(cls, spi: int, suite: Suite, keymat: bytes, *, esn: bool = True) -> Self:
        """From IKE's keying material of this direction: key, salt, then HMAC key.

        Source: RFC 7296 2.17, RFC 4106 8.1, RFC 4543 7.1.
        """
        facts = SUITES[suite]
        salt_at, auth_at = facts.key_octets, facts.key_octets + facts.salt_octets
        return cls(
            spi,
            suite,
            Secret(keymat[:salt_at]),
            Secret(keymat[salt_at:auth_at]),
            esn,
            Secret(keymat[auth_at:]),
        )

    @property
    def facts(self) -> SuiteFacts:
        """What the suite consists of."""
        return SUITES[self.suite]

    @property
    def sequence_max(self) -> int:
        """The last sequence number that may be used."""
        return SEQUENCE_MAX_64 if self.esn else SEQUENCE_MAX_32


@dataclass(frozen=True, slots=True)
class EspMaterial(Material):
    """Keys and numbers of one direction of an ESP SA. No key shows in its repr.

    Parameters
    ----------
    spi : int
        256 to 2^32 - 1.
    suite : Suite
        One of ESP, or of AH around ESP, of which this is the ESP half.
    key, salt, auth : Secret
        Of the cipher, and of the HMAC; as long as the suite says, empty where it has none.
    esn : bool
        Extended sequence numbers.

    Source: RFC 4106 4, 8.1; RFC 4303 2.1.
    """

    PROTOCOLS: ClassVar[tuple[Protocol, ...]] = (Protocol.ESP, Protocol.BOTH)


@dataclass(frozen=True, slots=True)
class AhMaterial(Material):
    """The same of an AH SA. The one around an ESP SA has the suite OUTER_SUITE.

    Source: RFC 4302 2.4, RFC 4543 4.
    """

    PROTOCOLS: ClassVar[tuple[Protocol, ...]] = (Protocol.AH,)
