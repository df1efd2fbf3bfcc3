"""All key derivation of IKEv2, in one place.

Every result is a `Secret` or a holder of secrets. The PRF is a parameter so that published
vectors, which use other hashes, can be run through the same code.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from spec.suites import SUITES, Suite
from sw.ike.constants import Integ
from sw.ike.crypto import (
    PRFS,
    AeadOpener,
    AeadSealer,
    CbcOpener,
    CbcSealer,
    Opener,
    Prf,
    Sealer,
)
from sw.ike.secret import Secret
from sw.ike.suites import IKE_SUITES, IkeSuite

KEY_PAD = b"Key Pad for IKEv2"


def prf_plus(prf: Prf, key: bytes, seed: bytes, octets: int) -> bytes:
    """Stretch a key: T1 | T2 | ..., T(n) = prf(K, T(n-1) | S | n). Source: RFC 7296 2.13.

    Raises `ValueError` above 255 blocks, where the construction ends.
    """
    if octets > 255 * prf.octets:
        raise ValueError(f"prf+ gives at most {255 * prf.octets} octets, not {octets}")
    out = block = b""
    counter = 1
    while len(out) < octets:
        block = prf(key, block + seed + bytes([counter]))
        out += block
        counter += 1
    return out[:octets]


def skeyseed_initial(prf: Prf, nonce_i: bytes, nonce_r: bytes, shared: Secret) -> Secret:
    """SKEYSEED = prf(Ni | Nr, g^ir). Source: RFC 7296 2.14."""
    return Secret(prf(nonce_i + nonce_r, shared.reveal()))


def skeyseed_rekey(
    prf: Prf,
    sk_d_old: Secret,
    shared: Secret,
    nonce_i: bytes,
    nonce_r: bytes,
    additional: Secret | None = None,
) -> Secret:
    """SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr [| SK(1)]). Source: RFC 7296 2.18, RFC 9370
    2.2.4.
    """
    more = additional.reveal() if additional is not None else b""
    return Secret(prf(sk_d_old.reveal(), shared.reveal() + nonce_i + nonce_r + more))


@dataclass(frozen=True, slots=True, eq=False)
class IkeKeys:
    """Keys of one IKE SA, and what they are for.

    With an AEAD there are no SK_ai and SK_ar (they are empty), and SK_e* end with the salt.
    """

    suite: IkeSuite
    sk_d: Secret
    sk_ai: Secret
    sk_ar: Secret
    sk_ei: Secret
    sk_er: Secret
    sk_pi: Secret
    sk_pr: Secret

    @property
    def prf(self) -> Prf:
        """The PRF of the suite."""
        return PRFS[IKE_SUITES[self.suite].prf]

    def sealer(self, *, initiator: bool) -> Sealer:
        """Cipher for what this side sends."""
        facts = IKE_SUITES[self.suite]
        encr, auth = (self.sk_ei, self.sk_ai) if initiator else (self.sk_er, self.sk_ar)
        if facts.auth_octets:
            return CbcSealer(encr.reveal(), Integ(facts.integ), auth.reveal(), facts.icv_octets)
        return AeadSealer(facts.encr, *self._split(encr))

    def opener(self, *, initiator: bool) -> Opener:
        """Cipher for what this side receives."""
        facts = IKE_SUITES[self.suite]
        encr, auth = (self.sk_er, self.sk_ar) if initiator else (self.sk_ei, self.sk_ai)
        if facts.auth_octets:
            return CbcOpener(encr.reveal(), Integ(facts.integ), auth.reveal(), facts.icv_octets)
        return AeadOpener(facts.encr, *self._split(encr))

    def _split(self, secret: Secret) -> tuple[bytes, bytes]:
        key_octets = IKE_SUITES[self.suite].key_octets
        octets = secret.reveal()
        return octets[:key_octets], octets[key_octets:]

    def wipe(self) -> None:
        """Forget all of them."""
        encryption = (self.sk_ai, self.sk_ar, self.sk_ei, self.sk_er)
        for secret in (self.sk_d, *encryption, self.sk_pi, self.sk_pr):
            secret.wipe()


def derive_ike_keys(
    suite: IkeSuite,
    skeyseed: Secret,
    nonce_i: bytes,
    nonce_r: bytes,
    spi_i: bytes,
    spi_r: bytes,
) -> IkeKeys:
    """{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIs).

    Source: RFC 7296 2.14; RFC 5282 7.1 and RFC 7634 2 (no SK_a, the salt behind each SK_e).
    """
    facts = IKE_SUITES[suite]
    prf = PRFS[facts.prf]
    auth, encr = facts.auth_octets, facts.key_octets + facts.salt_octets
    lengths = (prf.octets, auth, auth, encr, encr, prf.octets, prf.octets)
    octets = prf_plus(prf, skeyseed.reveal(), nonce_i + nonce_r + spi_i + spi_r, sum(lengths))
    return IkeKeys(suite, *_cut(octets, lengths))


def _cut(octets: bytes, lengths: tuple[int, ...]) -> Iterator[Secret]:
    """Take keys of these lengths off the front, one after the other."""
    for length in lengths:
        yield Secret(octets[:length])
        octets = octets[length:]


@dataclass(frozen=True, slots=True, eq=False)
class ChildKeys:
    """Keys of a Child SA as the exchange's initiator and responder send with them.

    Cipher key, its salt, and HMAC key; each is empty where the suite has none.
    """

    key_i: Secret
    salt_i: Secret
    auth_i: Secret
    key_r: Secret
    salt_r: Secret
    auth_r: Secret


def derive_child_keys(
    prf: Prf,
    sk_d: Secret,
    nonce_i: bytes,
    nonce_r: bytes,
    shared: Secret | None,
    additional: Secret | None = None,
    *,
    suite: Suite,
) -> ChildKeys:
    """KEYMAT = prf+(SK_d, [g^ir (new)] | Ni | Nr [| SK(1)]), initiator to responder first.

    Of each direction the encryption key comes before the integrity key.
    Source: RFC 7296 2.17, RFC 9370 2.2.4; RFC 4106 8.1, RFC 4543 7.1 (each key is followed by its
    salt).
    """
    seed = (shared.reveal() if shared is not None else b"") + nonce_i + nonce_r
    seed += additional.reveal() if additional is not None else b""
    facts = SUITES[suite]
    lengths = 2 * (facts.key_octets, facts.salt_octets, facts.auth_octets)
    return ChildKeys(*_cut(prf_plus(prf, sk_d.reveal(), seed, sum(lengths)), lengths))


def int_auth(prf: Prf, sk_p: Secret, before: bytes, clear: bytes, inner: bytes) -> bytes:
    """IntAuth(n) = prf(SK_p, IntAuth(n-1) | A | P) of one side's IKE_INTERMEDIATE message.

    Parameters
    ----------
    before : bytes
        That of the side's message before; empty for the first.
    clear, inner : bytes
        A: header and generic header of the encrypted payload, as if nothing were added by
        encryption; P: the payloads inside.

    Source: RFC 9242 3.3.2.
    """
    return prf(sk_p.reveal(), before + clear + inner)


def signed_octets(
    prf: Prf, message: bytes, peer_nonce: bytes, sk_p: Secret, id_body: bytes, int_auth: bytes
) -> bytes:
    """What a side proves: message | nonce | prf(SK_p, ID body) | IntAuth.

    Parameters
    ----------
    message : bytes
        The signer's own first message, from its IKE header on, non-ESP marker left out.
    peer_nonce : bytes
        Nonce of the other side, without its payload header.
    sk_p : Secret
        SK_pi for the initiator's AUTH, SK_pr for the responder's.
    id_body : bytes
        The signer's identification payload without its generic header.
    int_auth : bytes
        `IkeSa.int_auth`; empty where there was no IKE_INTERMEDIATE.

    Source: RFC 7296 2.15, RFC 9242 3.3.2.
    """
    return message + peer_nonce + prf(sk_p.reveal(), id_body) + int_auth


def auth_shared_key(prf: Prf, psk: Secret, signed: bytes) -> bytes:
    """AUTH = prf(prf(PSK, "Key Pad for IKEv2"), signed octets). Source: RFC 7296 2.15."""
    return prf(prf(psk.reveal(), KEY_PAD), signed)


def auth_matches(expected: bytes, received: bytes) -> bool:
    """Compare AUTH data in constant time."""
    return hmac.compare_digest(expected, received)
