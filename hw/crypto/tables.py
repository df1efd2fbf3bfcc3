"""Software models of the fields behind AES and GHASH, and gateware made from them.

The S-box, the round constants and every XOR network of this package are computed here, so that no
table is typed in by hand. The models are plain Python on integers; `linear()` turns any model that
is linear over GF(2) into an XOR network.

Octet order: in every integer and `Value` here lane 0 (bits 7:0) is the first octet.

Source: FIPS 197 4.2, 5.1; SP 800-38D 6.3.
"""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Value, ValueLike

__all__ = [
    "BLOCK_BITS",
    "BLOCK_OCTETS",
    "DECRYPT_COLUMNS",
    "ENCRYPT_COLUMNS",
    "SBOX",
    "ghash_shift",
    "linear",
    "mix_column",
    "xtime",
]

BLOCK_OCTETS = 16
BLOCK_BITS = 8 * BLOCK_OCTETS

AES_POLYNOMIAL = 0x11B
GHASH_POLYNOMIAL = 1 | 1 << 1 | 1 << 2 | 1 << 7 | 1 << 128


def xtime(octet: int) -> int:
    """`octet` times x in the field of AES."""
    return octet << 1 ^ (AES_POLYNOMIAL if octet & 0x80 else 0)


def _aes_multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a, b = xtime(a), b >> 1
    return product


def _substitute(octet: int) -> int:
    inverse = 1
    for _ in range(254):  # octet ** 254 is its inverse, and 0 for 0
        inverse = _aes_multiply(inverse, octet)
    doubled = inverse * 0x101  # rotations become shifts
    return (inverse ^ doubled >> 4 ^ doubled >> 5 ^ doubled >> 6 ^ doubled >> 7 ^ 0x63) & 0xFF


SBOX = tuple(_substitute(octet) for octet in range(256))
"""The S-box of FIPS 197 5.1.1."""


def _column(factors: tuple[int, ...], octet: int) -> int:
    return sum(_aes_multiply(octet, factor) << 8 * row for row, factor in enumerate(factors))


def _inverse_box() -> list[int]:
    inverse = [0] * 256
    for octet, substitute in enumerate(SBOX):
        inverse[substitute] = octet
    return inverse


ENCRYPT_COLUMNS = tuple(_column((2, 1, 1, 3), octet) for octet in SBOX)
"""What an octet of row 0 adds to its column in SubBytes and MixColumns, lane 0 being row 0. That of
another row adds the same, turned by as many lanes. The sum of all four lanes is the substitute."""

DECRYPT_COLUMNS = tuple(_column((14, 9, 13, 11), octet) for octet in _inverse_box())
"""The same of InvSubBytes and InvMixColumns; the sum of all lanes is the inverse substitute."""


def mix_column(column: int) -> int:
    """MixColumns of one column of 4 octets. Three times it is InvMixColumns."""
    mixed = 0
    for row in range(4):
        added = _column((2, 1, 1, 3), column >> 8 * row & 0xFF)
        mixed ^= (added << 8 * row | added >> 32 - 8 * row) & 0xFFFFFFFF
    return mixed


def _reverse_octets(value: int) -> int:
    # Within an octet SP 800-38D puts the lowest power of x into the highest bit.
    octets = value.to_bytes(BLOCK_OCTETS, "little")
    return int.from_bytes(bytes(int(f"{octet:08b}"[::-1], 2) for octet in octets), "little")


def ghash_shift(block: int, power: int) -> int:
    """`block` times x to the `power` in the field of GHASH; `power` may be negative."""
    element = _reverse_octets(block)
    for _ in range(power):
        element <<= 1
        if element >> BLOCK_BITS:
            element ^= GHASH_POLYNOMIAL
    for _ in range(-power):
        if element & 1:
            element ^= GHASH_POLYNOMIAL
        element >>= 1
    return _reverse_octets(element)


def linear(model: Callable[[int], int], value: ValueLike) -> Value:
    """XOR network that computes `model`, which must be linear over GF(2) and keep the width.

    Parameters
    ----------
    model
        Function from an integer to one of the same width.
    value
        Its argument.

    Returns
    -------
    Value
        As wide as `value`.
    """
    source = Value.cast(value)
    columns = [model(1 << place) for place in range(len(source))]
    bits = []
    for place in range(len(source)):
        terms = [source[index] for index, column in enumerate(columns) if column >> place & 1]
        bits.append(Cat(terms).xor() if terms else Const(0, 1))
    return Cat(bits)
