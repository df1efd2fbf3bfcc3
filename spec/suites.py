"""Suites: each one indivisible choice of algorithms, one number in the SAD."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Suite(IntEnum):
    """Number of a suite in the SAD. 0 means that none was chosen."""

    NONE = 0
    ESP_AES_GCM_16_128 = 1
    ESP_AES_GCM_16_256 = 2
    ESP_AES_CBC_128_HMAC_SHA_256_128 = 3
    ESP_AES_CBC_256_HMAC_SHA_256_128 = 4
    ESP_NULL_HMAC_SHA_256_128 = 5
    ESP_NULL_AES_GMAC_128 = 6
    ESP_NULL_AES_GMAC_256 = 7
    AH_HMAC_SHA_256_128 = 8
    AH_AES_GMAC_128 = 9
    AH_AES_GMAC_256 = 10
    AH_HMAC_SHA_256_128_ESP_AES_GCM_16_128 = 11
    AH_HMAC_SHA_256_128_ESP_AES_GCM_16_256 = 12
    AH_HMAC_SHA_256_128_ESP_AES_CBC_128_HMAC_SHA_256_128 = 13
    AH_HMAC_SHA_256_128_ESP_AES_CBC_256_HMAC_SHA_256_128 = 14
    AH_HMAC_SHA_256_128_ESP_NULL_HMAC_SHA_256_128 = 15
    ESP_AES_CBC_128_HMAC_SHA_1_96 = 16
    ESP_AES_CBC_256_HMAC_SHA_1_96 = 17
    ESP_NULL_HMAC_SHA_1_96 = 18
    AH_HMAC_SHA_1_96 = 19


class Cipher(IntEnum):
    """What becomes of the payload, and what else the AES core does for the suite."""

    NULL = 0
    """RFC 2410. The ICV is an HMAC."""
    GCM = 1
    """RFC 4106. The ICV is its tag."""
    CBC = 2
    """RFC 3602. The ICV is an HMAC."""
    GMAC = 3
    """RFC 4543: authenticated and in clear. The ICV is its tag."""


class Hash(IntEnum):
    """Hash function of an HMAC."""

    NONE = 0
    SHA_256 = 1
    """RFC 4868: key of 32 octets, ICV of 16."""
    SHA_1 = 2
    """RFC 2404: key of 20 octets, ICV of 12. Built in only on request."""


class Protocol(IntEnum):
    """What an SA puts around a packet. BOTH is the seed's policy: IP | AH | ESP | payload."""

    ESP = 0
    AH = 1
    BOTH = 2


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """What a suite consists of.

    Its *main* half is the ESP SA or, with Protocol.AH, the AH SA. With Protocol.BOTH there is an
    *outer* half as well, the AH SA, which is always HMAC-SHA-256-128.

    Parameters
    ----------
    suite : Suite
        Its number.
    protocol : Protocol
        ESP, AH, or AH around ESP.
    cipher : Cipher
        Of the main half. NULL with Protocol.AH means an HMAC over a packet in clear.
    hash : Hash
        Of the main half's HMAC; NONE for GCM and GMAC, which need none.
    encr_id, auth_id : int
        IANA "IKEv2 Transform Type 1" and "Type 3" numbers of the main half; 0 where it has none.
    key_octets, salt_octets : int
        Cipher key and salt of the main half; 0 where it has none.
    auth_octets : int
        HMAC key of the main half; 0 where it has none.
    iv_octets, icv_octets : int
        Of the main half, in the packet (RFC 4106 3 and 6, RFC 3602 3, RFC 4543 4, RFC 4868 2.3).
    align_octets : int
        The encrypted part ends on a multiple of this (RFC 4303 2.4, RFC 3602 2.4).
    """

    suite: Suite
    protocol: Protocol
    cipher: Cipher
    hash: Hash
    encr_id: int
    auth_id: int
    key_octets: int
    salt_octets: int
    auth_octets: int
    iv_octets: int
    icv_octets: int
    align_octets: int

    @property
    def has_outer(self) -> bool:
        """There is an AH SA around the ESP SA."""
        return self.protocol is Protocol.BOTH


ENCR_NULL = 11
"""IANA IKEv2 Transform Type 1, "ENCR_NULL" (RFC 2410)."""
ENCR_AES_CBC = 12
"""IANA IKEv2 Transform Type 1, "ENCR_AES_CBC" (RFC 3602)."""
ENCR_AES_GCM_16 = 20
"""IANA IKEv2 Transform Type 1, "ENCR_AES_GCM_16" (RFC 4106, RFC 5282)."""
ENCR_NULL_AUTH_AES_GMAC = 21
"""IANA IKEv2 Transform Type 1, "ENCR_NULL_AUTH_AES_GMAC" (RFC 4543)."""
AUTH_HMAC_SHA1_96 = 2
"""IANA IKEv2 Transform Type 3, "AUTH_HMAC_SHA1_96" (RFC 2404)."""
AUTH_AES_128_GMAC = 9
"""IANA IKEv2 Transform Type 3, "AUTH_AES_128_GMAC" (RFC 4543)."""
AUTH_AES_256_GMAC = 11
"""IANA IKEv2 Transform Type 3, "AUTH_AES_256_GMAC" (RFC 4543)."""
AUTH_HMAC_SHA2_256_128 = 12
"""IANA IKEv2 Transform Type 3, "AUTH_HMAC_SHA2_256_128" (RFC 4868)."""

OUTER_KEY_OCTETS = 32
"""HMAC key of the AH SA around an ESP SA."""
OUTER_ICV_OCTETS = 16
"""Its ICV."""

_CIPHERS = {
    Cipher.GCM: (ENCR_AES_GCM_16, 4, 8, 4),
    Cipher.CBC: (ENCR_AES_CBC, 0, 16, 16),
    Cipher.GMAC: (ENCR_NULL_AUTH_AES_GMAC, 4, 8, 4),
    Cipher.NULL: (ENCR_NULL, 0, 0, 4),
}
"""Of each cipher in ESP: IANA number, octets of salt and IV, alignment."""
_HASHES = {
    Hash.NONE: (0, 0, 16),
    Hash.SHA_256: (AUTH_HMAC_SHA2_256_128, 32, 16),
    Hash.SHA_1: (AUTH_HMAC_SHA1_96, 20, 12),
}
"""Of each hash: IANA number, octets of key and ICV. Without one the ICV is a tag of 16."""


def _esp(suite: Suite, cipher: Cipher, key_octets: int, hash_: Hash) -> SuiteFacts:
    outer = suite.name.startswith("AH_")
    encr_id, salt_octets, iv_octets, align_octets = _CIPHERS[cipher]
    auth_id, auth_octets, icv_octets = _HASHES[hash_]
    return SuiteFacts(
        suite=suite,
        protocol=Protocol.BOTH if outer else Protocol.ESP,
        cipher=cipher,
        hash=hash_,
        encr_id=encr_id,
        auth_id=auth_id,
        key_octets=key_octets,
        salt_octets=salt_octets,
        auth_octets=auth_octets,
        iv_octets=iv_octets,
        icv_octets=icv_octets,
        align_octets=align_octets,
    )


def _ah(suite: Suite, cipher: Cipher, key_octets: int, hash_: Hash, auth_id: int) -> SuiteFacts:
    gmac = cipher is Cipher.GMAC
    _, auth_octets, icv_octets = _HASHES[hash_]
    return SuiteFacts(
        suite=suite,
        protocol=Protocol.AH,
        cipher=cipher,
        hash=hash_,
        encr_id=0,
        auth_id=auth_id,
        key_octets=key_octets,
        salt_octets=4 if gmac else 0,
        auth_octets=auth_octets,
        iv_octets=8 if gmac else 0,
        icv_octets=icv_octets,
        align_octets=1,
    )


SUITES: dict[Suite, SuiteFacts] = {
    facts.suite: facts
    for facts in (
        _esp(Suite.ESP_AES_GCM_16_128, Cipher.GCM, 16, Hash.NONE),
        _esp(Suite.ESP_AES_GCM_16_256, Cipher.GCM, 32, Hash.NONE),
        _esp(Suite.ESP_AES_CBC_128_HMAC_SHA_256_128, Cipher.CBC, 16, Hash.SHA_256),
        _esp(Suite.ESP_AES_CBC_256_HMAC_SHA_256_128, Cipher.CBC, 32, Hash.SHA_256),
        _esp(Suite.ESP_NULL_HMAC_SHA_256_128, Cipher.NULL, 0, Hash.SHA_256),
        _esp(Suite.ESP_NULL_AES_GMAC_128, Cipher.GMAC, 16, Hash.NONE),
        _esp(Suite.ESP_NULL_AES_GMAC_256, Cipher.GMAC, 32, Hash.NONE),
        _ah(Suite.AH_HMAC_SHA_256_128, Cipher.NULL, 0, Hash.SHA_256, AUTH_HMAC_SHA2_256_128),
        _ah(Suite.AH_AES_GMAC_128, Cipher.GMAC, 16, Hash.NONE, AUTH_AES_128_GMAC),
        _ah(Suite.AH_AES_GMAC_256, Cipher.GMAC, 32, Hash.NONE, AUTH_AES_256_GMAC),
        _esp(Suite.AH_HMAC_SHA_256_128_ESP_AES_GCM_16_128, Cipher.GCM, 16, Hash.NONE),
        _esp(Suite.AH_HMAC_SHA_256_128_ESP_AES_GCM_16_256, Cipher.GCM, 32, Hash.NONE),
        _esp(
            Suite.AH_HMAC_SHA_256_128_ESP_AES_CBC_128_HMAC_SHA_256_128,
            Cipher.CBC,
            16,
            Hash.SHA_256,
        ),
        _esp(
            Suite.AH_HMAC_SHA_256_128_ESP_AES_CBC_256_HMAC_SHA_256_128,
            Cipher.CBC,
            32,
            Hash.SHA_256,
        ),
        _esp(Suite.AH_HMAC_SHA_256_128_ESP_NULL_HMAC_SHA_256_128, Cipher.NULL, 0, Hash.SHA_256),
        _esp(Suite.ESP_AES_CBC_128_HMAC_SHA_1_96, Cipher.CBC, 16, Hash.SHA_1),
        _esp(Suite.ESP_AES_CBC_256_HMAC_SHA_1_96, Cipher.CBC, 32, Hash.SHA_1),
        _esp(Suite.ESP_NULL_HMAC_SHA_1_96, Cipher.NULL, 0, Hash.SHA_1),
        _ah(Suite.AH_HMAC_SHA_1_96, Cipher.NULL, 0, Hash.SHA_1, AUTH_HMAC_SHA1_96),
    )
}


def built_in(*, hmac_sha_1: bool = False) -> tuple[Suite, ...]:
    """The suites of a build, with or without those for old peers (RFC 8221 6)."""
    return tuple(s for s, facts in SUITES.items() if hmac_sha_1 or facts.hash is not Hash.SHA_1)
