"""Suites of an IKE SA: each one indivisible choice of cipher, integrity algorithm and PRF.

One proposal is offered for each, and one is chosen as a whole: parts that were never configured
together are never mixed. Source: RFC 7296 3.3, RFC 8247.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sw.ike.constants import INTEG_NONE, Encr, Integ, PrfId


class IkeSuite(Enum):
    """The value is the suite's name in a configuration."""

    AES_GCM_16_256_PRF_SHA_256 = "aes-gcm-256-prf-sha-256"
    AES_GCM_16_256_PRF_SHA_384 = "aes-gcm-256-prf-sha-384"
    AES_GCM_16_256_PRF_SHA_512 = "aes-gcm-256-prf-sha-512"
    AES_GCM_16_192_PRF_SHA_256 = "aes-gcm-192-prf-sha-256"
    AES_GCM_16_192_PRF_SHA_384 = "aes-gcm-192-prf-sha-384"
    AES_GCM_16_192_PRF_SHA_512 = "aes-gcm-192-prf-sha-512"
    AES_GCM_16_128_PRF_SHA_256 = "aes-gcm-128-prf-sha-256"
    AES_GCM_16_128_PRF_SHA_384 = "aes-gcm-128-prf-sha-384"
    AES_GCM_16_128_PRF_SHA_512 = "aes-gcm-128-prf-sha-512"
    CHACHA20_POLY1305_PRF_SHA_256 = "chacha20-poly1305-prf-sha-256"
    CHACHA20_POLY1305_PRF_SHA_384 = "chacha20-poly1305-prf-sha-384"
    CHACHA20_POLY1305_PRF_SHA_512 = "chacha20-poly1305-prf-sha-512"
    AES_CBC_256_HMAC_SHA_256 = "aes-cbc-256-hmac-sha-256"
    AES_CBC_256_HMAC_SHA_384 = "aes-cbc-256-hmac-sha-384"
    AES_CBC_256_HMAC_SHA_512 = "aes-cbc-256-hmac-sha-512"
    AES_CBC_192_HMAC_SHA_256 = "aes-cbc-192-hmac-sha-256"
    AES_CBC_192_HMAC_SHA_384 = "aes-cbc-192-hmac-sha-384"
    AES_CBC_192_HMAC_SHA_512 = "aes-cbc-192-hmac-sha-512"
    AES_CBC_128_HMAC_SHA_256 = "aes-cbc-128-hmac-sha-256"
    AES_CBC_128_HMAC_SHA_384 = "aes-cbc-128-hmac-sha-384"
    AES_CBC_128_HMAC_SHA_512 = "aes-cbc-128-hmac-sha-512"


@dataclass(frozen=True, slots=True)
class IkeSuiteFacts:
    """What a suite consists of.

    Parameters
    ----------
    encr, integ, prf : int
        IANA numbers of its transforms; `integ` is INTEG_NONE for an AEAD.
    key_octets, salt_octets : int
        Cipher key, and the salt behind it in SK_ei and SK_er (RFC 5282 7.1, RFC 7634 2).
    auth_octets : int
        Key of the integrity algorithm, SK_ai and SK_ar; 0 for an AEAD (RFC 4868 2.1.1).
    icv_octets : int
    fixed_key : bool
        The cipher has one key length, which its transform does not name (RFC 7634 4).
    """

    encr: Encr
    integ: int
    prf: PrfId
    key_octets: int
    salt_octets: int
    auth_octets: int
    icv_octets: int
    fixed_key: bool = False


_PRFS = {
    "256": PrfId.HMAC_SHA2_256,
    "384": PrfId.HMAC_SHA2_384,
    "512": PrfId.HMAC_SHA2_512,
}
_INTEGS = {
    "256": (Integ.HMAC_SHA2_256_128, 32, 16),
    "384": (Integ.HMAC_SHA2_384_192, 48, 24),
    "512": (Integ.HMAC_SHA2_512_256, 64, 32),
}
"""Of each hash: IANA number, octets of key and ICV (RFC 4868 2.6)."""


def _facts(suite: IkeSuite) -> IkeSuiteFacts:
    """Taken from the name, whose parts are what the suite is made of."""
    cipher, _, hash_bits = suite.value.rpartition("-sha-")
    prf = _PRFS[hash_bits]
    if cipher == "chacha20-poly1305-prf":
        return IkeSuiteFacts(Encr.CHACHA20_POLY1305, INTEG_NONE, prf, 32, 4, 0, 16, fixed_key=True)
    _, mode, key_bits, _ = cipher.split("-")
    key_octets = int(key_bits) // 8
    if mode == "gcm":
        return IkeSuiteFacts(Encr.AES_GCM_16, INTEG_NONE, prf, key_octets, 4, 0, 16)
    integ, auth_octets, icv_octets = _INTEGS[hash_bits]
    return IkeSuiteFacts(Encr.AES_CBC, integ, prf, key_octets, 0, auth_octets, icv_octets)


IKE_SUITES: dict[IkeSuite, IkeSuiteFacts] = {suite: _facts(suite) for suite in IkeSuite}
