"""Suites: each one indivisible choice of algorithms, one number in the SAD."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Suite(IntEnum):
    """Number of a suite in the SAD. 0 means that none was chosen."""

    NONE = 0
    ESP_AES_GCM_16_128 = 1
    ESP_AES_GCM_16_256 = 2


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """What a suite consists of.

    Parameters
    ----------
    suite : Suite
        Its number.
    encr_id : int
        IANA "IKEv2 Transform Type 1" number.
    key_octets : int
        Length of the cipher key, salt not counted.
    salt_octets, iv_octets, icv_octets : int
        Lengths (RFC 4106 3, 4, 6).
    """

    suite: Suite
    encr_id: int
    key_octets: int
    salt_octets: int
    iv_octets: int
    icv_octets: int


ENCR_AES_GCM_16 = 20
"""IANA IKEv2 Transform Type 1, "ENCR_AES_GCM_16" (RFC 4106, RFC 5282)."""

SUITES = {
    Suite.ESP_AES_GCM_16_128: SuiteFacts(Suite.ESP_AES_GCM_16_128, ENCR_AES_GCM_16, 16, 4, 8, 16),
    Suite.ESP_AES_GCM_16_256: SuiteFacts(Suite.ESP_AES_GCM_16_256, ENCR_AES_GCM_16, 32, 4, 8, 16),
}
