"""Primitives: RFC vectors, bad values, and the RNG that is passed in."""

from __future__ import annotations

from pathlib import Path

import cryptography_vectors
import pytest

from sw.ike import Group, IkeError
from sw.ike.crypto import P256_ORDER, make_key_exchange
from verif.unit.sw.ike.net import rng_of

# RFC 5903 8.1.
I_PRIVATE = "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433"
GI = (
    "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180"
    "5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
)
R_PRIVATE = "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53"
GR = (
    "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63"
    "56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab"
)
GIR = "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"


def _p256_rng(private: str) -> bytes:
    """What makes our derivation (FIPS 186-5 A.2.1) give this private key."""
    return (int(private, 16) - 1).to_bytes(40, "big")


@pytest.mark.parametrize(("private", "public", "peer"), [(I_PRIVATE, GI, GR), (R_PRIVATE, GR, GI)])
def test_rfc5903_8_1_p256(private: str, public: str, peer: str) -> None:
    ke = make_key_exchange(Group.P256, lambda _: _p256_rng(private))
    assert ke.public.hex() == public
    assert ke.shared(bytes.fromhex(peer)).reveal().hex() == GIR


def test_rfc7748_5_2_x25519() -> None:
    path = Path(cryptography_vectors.__file__).parent / "asymmetric/X25519/rfc7748.txt"
    lines = [line.split(" = ") for line in path.read_text().splitlines() if " = " in line]
    values = [(key, bytes.fromhex(value)) for key, value in lines if key != "COUNT"]
    assert len(values) >= 6
    for at in range(0, 6, 3):
        (_, scalar), (_, u), (_, expected) = values[at : at + 3]
        ke = make_key_exchange(Group.X25519, {32: scalar}.__getitem__)
        assert ke.shared(u).reveal() == expected


@pytest.mark.parametrize("group", [Group.X25519, Group.P256])
def test_two_sides_agree(group: Group) -> None:
    one, two = make_key_exchange(group, rng_of(1)), make_key_exchange(group, rng_of(2))
    assert one.public != two.public
    assert one.shared(two.public) == two.shared(one.public)
    assert len(one.public) == {Group.X25519: 32, Group.P256: 64}[group]


@pytest.mark.parametrize(
    ("group", "peer"),
    [
        (Group.X25519, bytes(32)),  # RFC 8031 2.2: the all-zero result
        (Group.X25519, bytes(31)),
        (Group.X25519, bytes(33)),
        (Group.X25519, b""),
        (Group.P256, bytes(64)),
        (Group.P256, bytes(63)),
        (Group.P256, b"\x01" * 64),  # not on the curve
        (Group.P256, bytes.fromhex(GI) + b"\0"),
        (Group.P256, b""),
    ],
)
def test_invalid_values_are_refused(group: Group, peer: bytes) -> None:
    with pytest.raises(IkeError):
        make_key_exchange(group, rng_of(3)).shared(peer)


@pytest.mark.parametrize("octets", [bytes(40), b"\xff" * 40, (P256_ORDER - 1).to_bytes(40, "big")])
def test_any_randomness_gives_a_private_key(octets: bytes) -> None:
    assert len(make_key_exchange(Group.P256, lambda _: octets).public) == 64
