"""The AUTH payload by signature: which algorithm, how it is named, and whether it is right.

A peer that sends SIGNATURE_HASH_ALGORITHMS gets method 14, which names its algorithm in DER; one
that does not gets the method of old for RSA and ECDSA. Method 1 does not say with which hash it
signs, but the signature does: SHA-1 is neither made nor taken (RFC 8247 3).

Source: RFC 7427 3, 4, appendix A; RFC 8420; RFC 4754 7; RFC 7296 3.8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from sw.ike.constants import AuthMethod, NotifyType, SignatureHash
from sw.ike.payloads import AuthPayload, NotifyPayload, Payload, find_notify

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_HASHES: dict[SignatureHash, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    SignatureHash.SHA2_256: hashes.SHA256,
    SignatureHash.SHA2_384: hashes.SHA384,
    SignatureHash.SHA2_512: hashes.SHA512,
}
_CURVES: dict[str, tuple[AuthMethod, SignatureHash]] = {
    ec.SECP256R1.name: (AuthMethod.ECDSA_P256, SignatureHash.SHA2_256),
    ec.SECP384R1.name: (AuthMethod.ECDSA_P384, SignatureHash.SHA2_384),
    ec.SECP521R1.name: (AuthMethod.ECDSA_P521, SignatureHash.SHA2_512),
}


class SignatureError(Exception):
    """A signature that cannot be made, or is wrong; the text says why, in plain words."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """What an AlgorithmIdentifier names."""

    kind: str
    """`rsa`, `pss`, `ecdsa` or `ed25519`."""
    hash: SignatureHash


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes([tag, len(body)]) + body


_NULL = b"\x05\x00"
_PKCS1_ARC = bytes.fromhex("2a864886f70d0101")
_SHA2_ARC = bytes.fromhex("6086480165030402")
_ECDSA_SHA2_ARC = bytes.fromhex("2a8648ce3d0403")
_ED25519_OID = bytes.fromhex("2b6570")
_LAST_OF_OID = {  # of sha(2)56WithRSAEncryption, id-sha(2)56 and ecdsa-with-SHA(2)56
    SignatureHash.SHA2_256: (11, 1, 2),
    SignatureHash.SHA2_384: (12, 2, 3),
    SignatureHash.SHA2_512: (13, 3, 4),
}


def _pss(digest: SignatureHash, null: bytes) -> bytes:
    """RSASSA-PSS with MGF1 of the same hash, and a salt as long as it (RFC 4055 3.1)."""
    its_hash = _der(0x30, _der(0x06, _SHA2_ARC, bytes([_LAST_OF_OID[digest][1]])), null)
    mask = _der(0x30, _der(0x06, _PKCS1_ARC, b"\x08"), its_hash)
    salt = _der(0x02, bytes([_HASHES[digest].digest_size]))
    parameters = _der(0x30, _der(0xA0, its_hash), _der(0xA1, mask), _der(0xA2, salt))
    return _der(0x30, _der(0x06, _PKCS1_ARC, b"\x0a"), parameters)


def _identifiers() -> dict[bytes, Algorithm]:
    """Every AlgorithmIdentifier that is taken. The first of an algorithm is the one that is sent.

    Whether a hash has NULL parameters or none makes no difference (RFC 4055 2.1).
    """
    known: dict[bytes, Algorithm] = {
        _der(0x30, _der(0x06, _ED25519_OID)): Algorithm("ed25519", SignatureHash.IDENTITY)
    }
    for digest, (rsa_last, _, ecdsa_last) in _LAST_OF_OID.items():
        ecdsa_oid = _der(0x06, _ECDSA_SHA2_ARC, bytes([ecdsa_last]))
        rsa_oid = _der(0x06, _PKCS1_ARC, bytes([rsa_last]))
        for null in (_NULL, b""):
            known[_der(0x30, rsa_oid, null)] = Algorithm("rsa", digest)
            known[_pss(digest, null)] = Algorithm("pss", digest)
        known[_der(0x30, ecdsa_oid)] = Algorithm("ecdsa", digest)
    return known


ALGORITHMS = _identifiers()


def identifier_of(algorithm: Algorithm) -> bytes:
    """The AlgorithmIdentifier that we send."""
    return next(octets for octets, one in ALGORITHMS.items() if one == algorithm)


def hash_notify() -> NotifyPayload:
    """SIGNATURE_HASH_ALGORITHMS: what we can check. Source: RFC 7427 4."""
    data = b"".join(one.to_bytes(2, "big") for one in SignatureHash)
    return NotifyPayload(NotifyType.SIGNATURE_HASH_ALGORITHMS, data)


def hashes_of(payloads: Iterable[Payload]) -> frozenset[int] | None:
    """What a peer can check; None for one that knows nothing of RFC 7427."""
    notify = find_notify(payloads, NotifyType.SIGNATURE_HASH_ALGORITHMS)
    if notify is None:
        return None
    data = notify.data
    return frozenset(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _preferred(key: PrivateKey) -> list[SignatureHash]:
    """Hashes that suit a key, best first: as strong as the key, then stronger, then weaker."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return [SignatureHash.IDENTITY]
    first = SignatureHash.SHA2_256
    if isinstance(key, ec.EllipticCurvePrivateKey):
        first = _CURVES[key.curve.name][1]
    stronger = [one for one in _HASHES if one > first]
    return [first, *stronger, *(one for one in _HASHES if one < first)]


def sign(key: PrivateKey, octets: bytes, peer: frozenset[int] | None, *, pss: bool) -> AuthPayload:
    """Make the AUTH payload; raises SignatureError if the peer could not check it.

    Parameters
    ----------
    octets : bytes
        What is signed (RFC 7296 2.15).
    peer : frozenset of int, or None
        What the peer can check, as `hashes_of` gives it.
    pss : bool
        Whether an RSA key signs with PSS under method 14, else with PKCS #1 v1.5.
    """
    if peer is None:
        return _sign_as_of_old(key, octets)
    common = next((one for one in _preferred(key) if one in peer), None)
    if common is None:
        raise SignatureError("the peer checks no signature hash that our key can sign with")
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = Algorithm("ed25519", common)
        signature = key.sign(octets)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = Algorithm("ecdsa", common)
        signature = key.sign(octets, ec.ECDSA(_HASHES[common]()))
    else:
        algorithm = Algorithm("pss" if pss else "rsa", common)
        digest = _HASHES[common]()
        signature = key.sign(octets, _rsa_padding(algorithm), digest)
    identifier = identifier_of(algorithm)
    data = bytes([len(identifier)]) + identifier + signature
    return AuthPayload(AuthMethod.DIGITAL_SIGNATURE, data)


def _rsa_padding(algorithm: Algorithm) -> padding.PSS | padding.PKCS1v15:
    if algorithm.kind == "rsa":
        return padding.PKCS1v15()
    digest = _HASHES[algorithm.hash]()
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


def _sign_as_of_old(key: PrivateKey, octets: bytes) -> AuthPayload:
    """Methods 1 and 9 to 11. Source: RFC 7296 3.8, RFC 4754 3, 7."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raise SignatureError("the peer knows no digital signatures (RFC 7427), and so no Ed25519")
    if isinstance(key, rsa.RSAPrivateKey):
        return AuthPayload(AuthMethod.RSA, key.sign(octets, padding.PKCS1v15(), hashes.SHA256()))
    method, digest = _CURVES[key.curve.name]
    r, s = utils.decode_dss_signature(key.sign(octets, ec.ECDSA(_HASHES[digest]())))
    half = (key.curve.key_size + 7) // 8
    return AuthPayload(method, r.to_bytes(half, "big") + s.to_bytes(half, "big"))


def verify(key: PublicKey, auth: AuthPayload, octets: bytes) -> None:
    """Check an AUTH payload; raises SignatureError.

    SEC: IKE.SIGNATURE. The algorithm is one of a short list, fits the key, and the signature is
    right.
    """
    try:
        _verify(key, auth, octets)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise SignatureError("the peer's signature is wrong") from error


def _verify(key: PublicKey, auth: AuthPayload, octets: bytes) -> None:
    if auth.method == AuthMethod.DIGITAL_SIGNATURE:
        algorithm, signature = _split(auth.data)
        if algorithm.kind == "ed25519" and isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, octets)
        elif algorithm.kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, octets, ec.ECDSA(_HASHES[algorithm.hash]()))
        elif algorithm.kind in ("rsa", "pss") and isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, octets, _rsa_padding(algorithm), _HASHES[algorithm.hash]())
        else:
            raise SignatureError("the peer's signature is of another kind than its key")
    elif auth.method == AuthMethod.RSA and isinstance(key, rsa.RSAPublicKey):
        _verify_rsa_of_old(key, auth.data, octets)
    elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        method, digest = _CURVES[key.curve.name]
        half = (key.curve.key_size + 7) // 8
        if auth.method != method or len(auth.data) != 2 * half:
            raise SignatureError("the peer's signature is of another kind than its key")
        r = int.from_bytes(auth.data[:half], "big")
        s = int.from_bytes(auth.data[half:], "big")
        key.verify(utils.encode_dss_signature(r, s), octets, ec.ECDSA(_HASHES[digest]()))
    else:
        raise SignatureError(f"the peer proves itself by method {auth.method}, not by its key")


def _verify_rsa_of_old(key: rsa.RSAPublicKey, signature: bytes, octets: bytes) -> None:
    """Method 1: any of the hashes that are still good."""
    for digest in _HASHES.values():
        try:
            key.verify(signature, octets, padding.PKCS1v15(), digest())
        except InvalidSignature:
            continue
        return
    raise SignatureError("the peer's signature is wrong, or made with SHA-1, which is not taken")


def _split(data: bytes) -> tuple[Algorithm, bytes]:
    """Algorithm and signature of method 14. Source: RFC 7427 3."""
    octets = data[0] if data else 0
    identifier, signature = data[1 : 1 + octets], data[1 + octets :]
    algorithm = ALGORITHMS.get(identifier)
    if algorithm is None:
        raise SignatureError("the peer signs with an algorithm that is not taken")
    return algorithm, signature
