"""PRF and ciphers, against published vectors and an encryption written out by hand."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sw.ike import DropReason, IkeError
from sw.ike.constants import Encr, Integ, PrfId
from sw.ike.crypto import PRFS, AeadOpener, AeadSealer, CbcOpener, CbcSealer

VECTORS = Path(cryptography_vectors.__file__).parent

# RFC 7634 appendix B: an INFORMATIONAL request with nothing but padding inside.
CHACHA_KEY = bytes(range(0x80, 0xA0))
CHACHA_SALT = bytes.fromhex("a0a1a2a3")
CHACHA_CLEAR = bytes.fromhex("c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029")
CHACHA_BODY = bytes.fromhex(
    "1011121314151617610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2"
)
CHACHA_PLAIN = bytes.fromhex("0000000c000040010000000a00")

INTEGS = [
    (Integ.HMAC_SHA2_256_128, "sha256", 32, 16),
    (Integ.HMAC_SHA2_384_192, "sha384", 48, 24),
    (Integ.HMAC_SHA2_512_256, "sha512", 64, 32),
]
"""Digest, octets of key and ICV (RFC 4868 2.6)."""
CLEAR = b"all that precedes the IV"


@pytest.mark.parametrize(
    ("prf", "name"),
    [
        (PrfId.HMAC_SHA2_256, "sha256"),
        (PrfId.HMAC_SHA2_384, "sha384"),
        (PrfId.HMAC_SHA2_512, "sha512"),
    ],
)
def test_rfc4231_prf(prf: PrfId, name: str) -> None:
    text = (VECTORS / "HMAC" / f"rfc-4231-{name}.txt").read_text()
    lines = [line.split(" = ") for line in text.splitlines() if " = " in line]
    cases = [dict(lines[at : at + 4]) for at in range(0, len(lines), 4)]
    assert len(cases) >= 5
    for case in cases:
        got = PRFS[prf](bytes.fromhex(case["Key"]), bytes.fromhex(case["Msg"]))
        assert got.hex() == case["MD"]
        assert len(got) == PRFS[prf].octets


def test_rfc7634_b_chacha20_poly1305() -> None:
    opener = AeadOpener(Encr.CHACHA20_POLY1305, CHACHA_KEY, CHACHA_SALT)
    assert opener.open(CHACHA_BODY, CHACHA_CLEAR) == CHACHA_PLAIN
    sealer = AeadSealer(Encr.CHACHA20_POLY1305, CHACHA_KEY, CHACHA_SALT)
    sealer._count = int.from_bytes(CHACHA_BODY[:8], "big")
    # The last octet, the pad length, is the sealer's own.
    assert sealer.seal(CHACHA_PLAIN[:-1], lambda _: CHACHA_CLEAR) == CHACHA_BODY


@pytest.mark.parametrize(("integ", "digest", "auth_octets", "icv_octets"), INTEGS)
@pytest.mark.parametrize("key_octets", [16, 24, 32])
def test_rfc7296_3_14_cbc_and_hmac(
    integ: Integ, digest: str, auth_octets: int, icv_octets: int, key_octets: int
) -> None:
    """Taken apart by hand: ICV over all before it, then AES-CBC, then padding."""
    key, auth_key = bytes(range(key_octets)), bytes(range(100, 100 + auth_octets))
    sealer = CbcSealer(key, integ, auth_key, icv_octets)
    opener = CbcOpener(key, integ, auth_key, icv_octets)
    ivs = set()
    for octets in range(50):
        plain = bytes(range(octets))
        asked: list[int] = []

        def clear(length: int, asked: list[int] = asked) -> bytes:
            asked.append(length)
            return CLEAR

        body = sealer.seal(plain, clear)
        assert set(asked) == {len(body)}
        mac = hmac.new(auth_key, CLEAR + body[:-icv_octets], getattr(hashlib, digest)).digest()
        assert body[-icv_octets:] == mac[:icv_octets]
        decryptor = Cipher(algorithms.AES(key), modes.CBC(body[:16])).decryptor()
        padded = decryptor.update(body[16:-icv_octets]) + decryptor.finalize()
        assert padded[: len(plain)] == plain
        assert padded[-1] == len(padded) - len(plain) - 1 < 16
        assert opener.open(body, CLEAR) == padded
        ivs.add(body[:16])
    assert len(ivs) == 50


def test_sp800_38a_c_iv_is_the_encrypted_number() -> None:
    """The first IV is AES of an all-zero block: FIPS 197's cipher, from NIST's vectors."""
    text = (VECTORS / "ciphers" / "AES" / "ECB" / "ECBVarKey128.rsp").read_text()
    key, plain, cipher = (
        text.split(f"{name} = ")[1].split()[0] for name in ("KEY", "PLAINTEXT", "CIPHERTEXT")
    )
    assert not any(bytes.fromhex(plain))
    sealer = CbcSealer(bytes.fromhex(key), Integ.HMAC_SHA2_256_128, bytes(32), 16)
    assert sealer.seal(b"", lambda _: b"")[:16].hex() == cipher


@pytest.mark.parametrize(("integ", "digest", "auth_octets", "icv_octets"), INTEGS)
def test_cbc_refuses_what_is_not_genuine(
    integ: Integ, digest: str, auth_octets: int, icv_octets: int
) -> None:
    sealer = CbcSealer(bytes(16), integ, bytes(auth_octets), icv_octets)
    opener = CbcOpener(bytes(16), integ, bytes(auth_octets), icv_octets)
    body = sealer.seal(b"secret", lambda _: CLEAR)
    assert opener.open(body, CLEAR)[:6] == b"secret"
    changed = [body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :] for at in range(len(body))]
    cut = [body[:at] for at in range(len(body))]
    for bad in (*changed, *cut, body + b"\0", body + bytes(16)):
        with pytest.raises(IkeError) as caught:
            opener.open(bad, CLEAR)
        assert caught.value.reason is DropReason.BAD_ICV
        assert not caught.value.authenticated
    with pytest.raises(IkeError):
        opener.open(body, CLEAR[:-1])


@pytest.mark.parametrize("octets", [*range(33), 47, 49])
def test_cbc_of_no_whole_number_of_blocks_is_refused_though_its_icv_fits(octets: int) -> None:
    """An IV, a block at least, and whole blocks: with the right key one could send anything."""
    opener = CbcOpener(bytes(16), Integ.HMAC_SHA2_256_128, b"auth", 16)
    body = bytes(octets)
    mac = hmac.new(b"auth", CLEAR + body, hashlib.sha256).digest()
    if octets == 32:
        assert len(opener.open(body + mac[:16], CLEAR)) == 16
        return
    with pytest.raises(IkeError):
        opener.open(body + mac[:16], CLEAR)
