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
    "SBOX",
    "ghash_shift",
    "linear",
    "mix_columns",
    "shift_rows",
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


def shift_rows(state: ValueLike) -> Value:
    """ShiftRows of a state of 16 octets, octet `4 * column + row`. Wires only."""
    octets = Value.cast(state)
    places = [(4 * ((column + row) % 4) + row) for column in range(4) for row in range(4)]
    return Cat(octets.word_select(place, 8) for place in places)


def mix_columns(state: ValueLike, doubled: ValueLike) -> Value:
    """MixColumns of a state of 16 octets, given also with each octet times x."""
    single, double = Value.cast(state), Value.cast(doubled)
    mixed = []
    for column in range(4):
        for row in range(4):
            own, below, opposite, above = (4 * column + (row + turn) % 4 for turn in range(4))
            mixed.append(
                double.word_select(own, 8)
                ^ double.word_select(below, 8)
                ^ single.word_select(below, 8)
                ^ single.word_select(opposite, 8)
                ^ single.word_select(above, 8)
            )
    return Cat(mixed)


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
