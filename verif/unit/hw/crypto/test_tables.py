"""The software models of the fields, against figures of FIPS 197 and SP 800-38D."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from hw.crypto.tables import (
    BLOCK_OCTETS,
    GHASH_POLYNOMIAL,
    SBOX,
    ghash_shift,
    xtime,
)

blocks = st.integers(0, (1 << 128) - 1)


def block(text: str) -> int:
    return int.from_bytes(bytes.fromhex(text), "little")


def test_fips197_4_2_1_xtime() -> None:
    """The chain of the standard's example: {57} times x, x^2, x^3, x^4."""
    chain = [0x57]
    for _ in range(4):
        chain.append(xtime(chain[-1]))
    assert chain == [0x57, 0xAE, 0x47, 0x8E, 0x07]


@pytest.mark.parametrize(
    ("octet", "substitute"),
    [(0x00, 0x63), (0x01, 0x7C), (0x53, 0xED), (0x9A, 0xB8), (0xFF, 0x16), (0x10, 0xCA)],
)
def test_fips197_5_1_1_sbox(octet: int, substitute: int) -> None:
    """Entries of figure 7 of the standard, {53} being its worked example."""
    assert SBOX[octet] == substitute


def test_sbox_is_a_permutation_without_fixed_points() -> None:
    assert sorted(SBOX) == list(range(256))
    assert all(SBOX[octet] != octet for octet in range(256))


def test_ghash_order_of_bits() -> None:
    """SP 800-38D 6.3: the first bit is the lowest power, so x to the 0 is the octet 80h."""
    one = block("80000000000000000000000000000000")
    assert ghash_shift(one, 1) == block("40000000000000000000000000000000")
    assert ghash_shift(one, 8) == block("00800000000000000000000000000000")
    assert ghash_shift(one, 127) == block("00000000000000000000000000000001")
    assert ghash_shift(one, 128) == block("e1000000000000000000000000000000")


@given(blocks, st.integers(-140, 140), st.integers(-140, 140))
def test_ghash_powers_add(value: int, first: int, second: int) -> None:
    assert ghash_shift(ghash_shift(value, first), second) == ghash_shift(value, first + second)


@given(blocks, blocks, st.integers(-20, 20))
def test_ghash_shift_is_linear(a: int, b: int, power: int) -> None:
    assert ghash_shift(a ^ b, power) == ghash_shift(a, power) ^ ghash_shift(b, power)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=64))
def test_recurrence_of_the_core_gives_the_tag(key: bytes, cipher: bytes) -> None:
    """The way `Ghash` computes, in Python: x^120 * H and a step of x^-8, against GCM itself."""
    cipher = cipher[: len(cipher) // BLOCK_OCTETS * BLOCK_OCTETS]

    def encrypt(text: bytes) -> int:
        mode = modes.CTR(text)
        stream = Cipher(algorithms.AES(key), mode).encryptor().update(bytes(BLOCK_OCTETS))
        return int.from_bytes(stream, "little")

    factor = ghash_shift(encrypt(bytes(BLOCK_OCTETS)), 120)
    y = 0
    octets = cipher + bytes(8) + (8 * len(cipher)).to_bytes(8, "big")
    for at in range(0, len(octets), BLOCK_OCTETS):
        z = y ^ int.from_bytes(octets[at : at + BLOCK_OCTETS], "little")
        y = 0
        for index in range(BLOCK_OCTETS):
            y = ghash_shift(y, -8)
            for power in range(8):
                if z >> 8 * index + 7 - power & 1:
                    y ^= ghash_shift(factor, power)
    nonce = bytes(12)
    # Decryption of any ciphertext: `cryptography` tells the tag when it encrypts what that gives.
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    plain = bytes(a ^ b for a, b in zip(cipher, _keystream(key, nonce, len(cipher)), strict=True))
    assert encryptor.update(plain) == cipher
    encryptor.finalize()
    mask = encrypt(nonce + (1).to_bytes(4, "big"))
    assert (y ^ mask).to_bytes(BLOCK_OCTETS, "little") == encryptor.tag


def _keystream(key: bytes, nonce: bytes, octets: int) -> bytes:
    mode = modes.CTR(nonce + (2).to_bytes(4, "big"))
    return Cipher(algorithms.AES(key), mode).encryptor().update(bytes(octets))


def test_polynomials() -> None:
    """SP 800-38D 6.3: R is e1h followed by zeros, that is 1 + x + x^2 + x^7."""
    assert GHASH_POLYNOMIAL == 1 << 128 | 0b10000111
