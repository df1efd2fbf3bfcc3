"""Key exchange methods: one private value, what goes on the wire, and the shared secret.

`cryptography` does the work for elliptic curves. It is about to drop Diffie-Hellman over finite
fields, which is no more than an exponentiation: `pow` does it. Its time depends on the exponent,
which serves one exchange and is then forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sw.ike.constants import Group
from sw.ike.crypto import Rng
from sw.ike.errors import DropReason, IkeError
from sw.ike.secret import Secret


class KeyExchange(Protocol):
    """One private value of a group."""

    @property
    def group(self) -> Group:
        """The group it belongs to."""

    @property
    def public(self) -> bytes:
        """Key exchange data for the wire."""

    def shared(self, peer: bytes) -> Secret:
        """Shared secret g^ir with the peer's data; `IkeError` if that is no valid value."""


def _bad_public(group: Group) -> IkeError:
    return IkeError(DropReason.UNACCEPTABLE, f"invalid key exchange value for {group.name}")


class X25519Exchange:
    """Group 31. Key exchange data is the 32-octet u coordinate. Source: RFC 8031 2."""

    group = Group.X25519

    def __init__(self, rng: Rng) -> None:
        self._private = x25519.X25519PrivateKey.from_private_bytes(rng(32))
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def shared(self, peer: bytes) -> Secret:
        """RFC 8031 2.2: an all-zero result is refused (the library raises)."""
        try:
            return Secret(self._private.exchange(x25519.X25519PublicKey.from_public_bytes(peer)))
        except ValueError:
            raise _bad_public(self.group) from None


class X448Exchange:
    """Group 32. Key exchange data is the 56-octet u coordinate. Source: RFC 8031 2."""

    group = Group.X448

    def __init__(self, rng: Rng) -> None:
        self._private = x448.X448PrivateKey.from_private_bytes(rng(56))
        self.public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def shared(self, peer: bytes) -> Secret:
        """RFC 8031 2.2: an all-zero result is refused (the library raises)."""
        try:
            return Secret(self._private.exchange(x448.X448PublicKey.from_public_bytes(peer)))
        except ValueError:
            raise _bad_public(self.group) from None


_CURVES: dict[Group, type[ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1]] = {
    Group.P256: ec.SECP256R1,
    Group.P384: ec.SECP384R1,
    Group.P521: ec.SECP521R1,
}


class EcpExchange:
    """Groups 19, 20, 21. Data is x | y; the secret is x alone. Source: RFC 5903 7, 8."""

    def __init__(self, group: Group, rng: Rng) -> None:
        self.group = group
        self._curve = _CURVES[group]()
        self._octets = (self._curve.key_size + 7) // 8
        # 64 bits more than the order has, so that the reduction shows no bias (FIPS 186-5 A.2.1).
        scalar = int.from_bytes(rng(self._octets + 8), "big") % (self._curve.group_order - 1) + 1
        self._private = ec.derive_private_key(scalar, self._curve)
        self.public = self._private.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )[1:]

    def shared(self, peer: bytes) -> Secret:
        """RFC 6989 2.3: the library refuses a point that is not on the curve."""
        if len(peer) != 2 * self._octets:
            raise _bad_public(self.group)
        try:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, b"\x04" + peer)
            return Secret(self._private.exchange(ec.ECDH(), point))
        except ValueError:
            raise _bad_public(self.group) from None


@dataclass(frozen=True, slots=True)
class _ModpFacts:
    """A group of RFC 3526: its prime, and how long an exponent makes up for its strength (8)."""

    prime: int
    exponent_octets: int


_MODP: dict[Group, _ModpFacts] = {
    Group.MODP_2048: _ModpFacts(
        int(
            "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22"
            "514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6"
            "F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3D"
            "C2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
            "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603"
            "9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
            "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
            16,
        ),
        40,
    ),
    Group.MODP_3072: _ModpFacts(
        int(
            "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22"
            "514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6"
            "F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3D"
            "C2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
            "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603"
            "9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
            "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7D"
            "B3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864"
            "D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E208E24FA074E5AB31"
            "43DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
            16,
        ),
        53,
    ),
    Group.MODP_4096: _ModpFacts(
        int(
            "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22"
            "514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6"
            "F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3D"
            "C2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB"
            "9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E8603"
            "9B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
            "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7D"
            "B3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864"
            "D87602733EC86A64521F2B18177B200CBBE117577A615D6C770988C0BAD946E208E24FA074E5AB31"
            "43DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D788719A10BDBA5B2699C327186AF4E23C"
            "1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6287C59474E6BC05D"
            "99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9"
            "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
            16,
        ),
        60,
    ),
}


class ModpExchange:
    """Groups 14, 15, 16: generator 2. Data and secret are as long as the prime.

    Source: RFC 7296 2.14, 3.4; RFC 3526 3 to 5.
    """

    def __init__(self, group: Group, rng: Rng) -> None:
        self.group = group
        facts = _MODP[group]
        self._prime = facts.prime
        self._octets = (self._prime.bit_length() + 7) // 8
        # Never 0 nor 1, and always of full length.
        self._exponent = int.from_bytes(rng(facts.exponent_octets), "big")
        self._exponent |= 1 << (8 * facts.exponent_octets - 1)
        self.public = pow(2, self._exponent, self._prime).to_bytes(self._octets, "big")

    def shared(self, peer: bytes) -> Secret:
        """RFC 6989 2.1: 1 < r < p - 1; these primes are safe ones, so nothing else is wrong."""
        value = int.from_bytes(peer, "big")
        if len(peer) != self._octets or not 1 < value < self._prime - 1:
            raise _bad_public(self.group)
        return Secret(pow(value, self._exponent, self._prime).to_bytes(self._octets, "big"))


_KEMS: dict[
    Group,
    tuple[
        type[mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey],
        type[mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey],
    ],
] = {
    Group.ML_KEM_768: (mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey),
    Group.ML_KEM_1024: (mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey),
}


class KemExchange:
    """Methods 36 and 37, from the initiator's side: data is the encapsulation key, and the peer's
    is a ciphertext. Source: FIPS 203; draft-ietf-ipsecme-ikev2-mlkem 2.
    """

    def __init__(self, group: Group, rng: Rng) -> None:
        self.group = group
        # d | z, from which the library makes the pair (FIPS 203 7.1).
        self._private = _KEMS[group][0].from_seed_bytes(rng(64))
        self.public = self._private.public_key().public_bytes_raw()

    def shared(self, peer: bytes) -> Secret:
        """A ciphertext of the right length always gives a secret, but not the peer's if it was
        tampered with (implicit rejection): the next message's ICV does not fit then.
        """
        try:
            return Secret(self._private.decapsulate(peer))
        except ValueError:
            raise _bad_public(self.group) from None


def make_key_exchange(group: Group, rng: Rng) -> KeyExchange:
    """Make a fresh private value of a method that can be negotiated."""
    if group in _KEMS:
        return KemExchange(group, rng)
    if group in _MODP:
        return ModpExchange(group, rng)
    if group in _CURVES:
        return EcpExchange(group, rng)
    return _EXCHANGES[group](rng)


def answer_key_exchange(group: Group, peer: bytes, rng: Rng) -> tuple[bytes, Secret]:
    """The responder's side of any method: the data to send, and the shared secret.

    `IkeError` if the peer's data is no valid value. Encapsulation draws its randomness in the
    library, which offers no other way. Source: FIPS 203 7.2, whose check of the key it makes.
    """
    if group not in _KEMS:
        ke = make_key_exchange(group, rng)
        return ke.public, ke.shared(peer)
    try:
        secret, ciphertext = _KEMS[group][1].from_public_bytes(peer).encapsulate()
    except ValueError:
        raise _bad_public(group) from None
    return ciphertext, Secret(secret)


_EXCHANGES: dict[Group, Callable[[Rng], KeyExchange]] = {
    Group.X25519: X25519Exchange,
    Group.X448: X448Exchange,
}
DH_GROUPS = frozenset({*_MODP, *_CURVES, *_EXCHANGES})
"""What transform type 4 may name."""
KEM_GROUPS = frozenset(_KEMS)
"""What type 6, the first additional key exchange, may name."""
