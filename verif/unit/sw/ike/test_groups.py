"""Key exchange methods: published vectors, OpenSSL's answers, bad values, the RNG passed in."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import cryptography_vectors
import pytest
from cryptography.hazmat.primitives.asymmetric import dh, ec
from cryptography.utils import CryptographyDeprecationWarning

from sw.ike import Group, IkeError
from sw.ike.crypto import Rng
from sw.ike.groups import DH_GROUPS, KEM_GROUPS, KeyExchange, answer_key_exchange, make_key_exchange
from verif.unit.sw.ike.net import rng_of

VECTORS = Path(cryptography_vectors.__file__).parent / "asymmetric"
MODP = {Group.MODP_2048: 2048, Group.MODP_3072: 3072, Group.MODP_4096: 4096}
CURVES: dict[Group, ec.EllipticCurve] = {
    Group.P256: ec.SECP256R1(),
    Group.P384: ec.SECP384R1(),
    Group.P521: ec.SECP521R1(),
}
DATA_OCTETS = {
    Group.MODP_2048: 256,
    Group.MODP_3072: 384,
    Group.MODP_4096: 512,
    Group.P256: 64,
    Group.P384: 96,
    Group.P521: 132,
    Group.X25519: 32,
    Group.X448: 56,
}
"""Of key exchange data: RFC 7296 3.4, RFC 5903 7, RFC 8031 2."""
SECRET_OCTETS = DATA_OCTETS | {Group.P256: 32, Group.P384: 48, Group.P521: 66}
"""Of the shared secret (RFC 7296 2.14, RFC 5903 7)."""
RFC5903 = {
    Group.P256: (
        "c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433",
        (
            "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252"
            "d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3"
        ),
        "c6ef9c5d78ae012a011164acb397ce2088685d8f06bf9be0b283ab46476bee53",
        (
            "d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e"
            "8157854c13c58d6aac23f046ada30f8353e74f33039872ab"
        ),
        "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de",
    ),
    Group.P384: (
        (
            "099f3c7034d4a2c699884d73a375a67f7624ef7c6b3c0f160647b67414dce655e35b538041e649ee"
            "3faef896783ab194"
        ),
        (
            "667842d7d180ac2cde6f74f37551f55755c7645c20ef73e31634fe72b4c55ee6de3ac808acb4bdb4"
            "c88732aee95f41aa9482ed1fc0eeb9cafc4984625ccfc23f65032149e0e144ada024181535a0f38e"
            "eb9fcff3c2c947dae69b4c634573a81c"
        ),
        (
            "41cb0779b4bdb85d47846725fbec3c9430fab46cc8dc5060855cc9bda0aa2942e0308312916b8ed2"
            "960e4bd55a7448fc"
        ),
        (
            "e558dbef53eecde3d3fccfc1aea08a89a987475d12fd950d83cfa41732bc509d0d1ac43a0336def9"
            "6fda41d0774a3571dcfbec7aacf3196472169e838430367f66eebe3c6e70c416dd5f0c68759dd1ff"
            "f83fa40142209dff5eaad96db9e6386c"
        ),
        (
            "11187331c279962d93d604243fd592cb9d0a926f422e47187521287e7156c5c4d603135569b9e9d0"
            "9cf5d4a270f59746"
        ),
    ),
    Group.P521: (
        (
            "0037ade9319a89f4dabdb3ef411aaccca5123c61acab57b5393dce47608172a095aa85a30fe1c295"
            "2c6771d937ba9777f5957b2639bab072462f68c27a57382d4a52"
        ),
        (
            "0015417e84dbf28c0ad3c278713349dc7df153c897a1891bd98bab4357c9ecbee1e3bf42e00b8e38"
            "0aeae57c2d107564941885942af5a7f4601723c4195d176ced3e017cae20b6641d2eeb695786d8c9"
            "46146239d099e18e1d5a514c739d7cb4a10ad8a788015ac405d7799dc75e7b7d5b6cf2261a6a7f15"
            "07438bf01beb6ca3926f9582"
        ),
        (
            "0145ba99a847af43793fdd0e872e7cdfa16be30fdc780f97bccc3f078380201e9c677d600b343757"
            "a3bdbf2a3163e4c2f869cca7458aa4a4effc311f5cb151685eb9"
        ),
        (
            "00d0b3975ac4b799f5bea16d5e13e9af971d5e9b984c9f39728b5e5739735a219b97c356436adc6e"
            "95bb0352f6be64a6c2912d4ef2d0433ced2b6171640012d9460f015c68226383956e3bd066e797b6"
            "23c27ce0eac2f551a10c2c724d9852077b87220b6536c5c408a1d2aebb8e86d678ae49cb57091f47"
            "32296579ab44fcd17f0fc56a"
        ),
        (
            "01144c7d79ae6956bc8edb8e7c787c4521cb086fa64407f97894e5e6b2d79b04d1427e73ca4baa24"
            "0a34786859810c06b3c715a3a8cc3151f2bee417996d19f3ddea"
        ),
    ),
}
"""RFC 5903 8.1, 8.2, 8.3: i, gi, r, gr, girx."""


def _prime(bits: int) -> int:
    """As `cryptography_vectors` gives it, from RFC 3526."""
    text = (VECTORS / "DH" / "rfc3526.txt").read_text()
    primes = [int(value, 16) for value in re.findall(r"^P = ([0-9A-F]+)$", text, re.MULTILINE)]
    (prime,) = (prime for prime in primes if prime.bit_length() == bits)
    return prime


def _gives(number: int) -> Rng:
    """A source of randomness that gives one number."""
    return lambda octets: number.to_bytes(octets, "big")


def test_every_group_of_rfc8247_and_more() -> None:
    assert {int(group) for group in DH_GROUPS} == {14, 15, 16, 19, 20, 21, 31, 32}
    assert set(DATA_OCTETS) == DH_GROUPS


@pytest.mark.parametrize("group", CURVES)
def test_rfc5903_8(group: Group) -> None:
    i, gi, r, gr, secret = RFC5903[group]
    for private, public, peer in ((i, gi, gr), (r, gr, gi)):
        # What makes our derivation (FIPS 186-5 A.2.1) give this private key.
        ke = make_key_exchange(group, _gives(int(private, 16) - 1))
        assert ke.public.hex() == public
        assert ke.shared(bytes.fromhex(peer)).reveal().hex() == secret


@pytest.mark.parametrize("group", [Group.X25519, Group.X448])
def test_rfc7748_5_2(group: Group) -> None:
    path = VECTORS / group.name / "rfc7748.txt"
    lines = [line.split(" = ") for line in path.read_text().splitlines() if " = " in line]
    values = [(key, bytes.fromhex(value)) for key, value in lines if key != "COUNT"]
    assert len(values) >= 6
    for at in range(0, 6, 3):
        (_, scalar), (_, u), (_, expected) = values[at : at + 3]
        ke = make_key_exchange(group, {DATA_OCTETS[group]: scalar}.__getitem__)
        assert ke.shared(u).reveal() == expected


@pytest.mark.parametrize("group", MODP)
def test_rfc3526_modp_agrees_with_openssl(group: Group) -> None:
    """OpenSSL, with the prime of RFC 3526, is the other side."""
    prime, ke = _prime(MODP[group]), make_key_exchange(group, rng_of(1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        numbers = dh.DHParameterNumbers(prime, 2)
        other = numbers.parameters().generate_private_key()
        value = int.from_bytes(ke.public, "big")
        theirs = other.exchange(dh.DHPublicNumbers(value, numbers).public_key())
        public = other.public_key().public_numbers().y
    mine = ke.shared(public.to_bytes(MODP[group] // 8, "big"))
    assert mine.reveal() == theirs


def _leading_zero(group: Group) -> tuple[KeyExchange, KeyExchange]:
    """Two sides whose secret begins with a zero octet."""
    one = make_key_exchange(group, rng_of(1))
    for seed in range(2, 3000):
        other = make_key_exchange(group, rng_of(seed))
        if one.shared(other.public).reveal()[0] == 0:
            return one, other
    raise AssertionError("no seed of 3000 does it")


def test_rfc7296_2_14_secret_is_padded_to_the_length_of_the_prime() -> None:
    one, other = _leading_zero(Group.MODP_2048)
    secret = one.shared(other.public).reveal()
    assert len(secret) == 256
    assert secret == other.shared(one.public).reveal()


@pytest.mark.parametrize("group", sorted(DH_GROUPS))
def test_two_sides_agree(group: Group) -> None:
    one, two = make_key_exchange(group, rng_of(1)), make_key_exchange(group, rng_of(2))
    assert one.public != two.public
    assert one.shared(two.public) == two.shared(one.public)
    assert len(one.public) == DATA_OCTETS[group]
    assert len(one.shared(two.public)) == SECRET_OCTETS[group]
    assert one.shared(two.public).reveal().hex() not in repr(vars(one))


def _modp(group: Group, value: int) -> bytes:
    return value.to_bytes(MODP[group] // 8, "big")


BAD = [
    # RFC 8031 2.2: the all-zero result.
    (Group.X25519, bytes(32)),
    (Group.X25519, (1).to_bytes(32, "little")),
    (Group.X448, bytes(56)),
    (Group.X448, (1).to_bytes(56, "little")),
    # RFC 6989 2.3: not on the curve, and the point at infinity in another encoding's clothes.
    *((group, bytes(DATA_OCTETS[group])) for group in CURVES),
    *((group, b"\x01" * DATA_OCTETS[group]) for group in CURVES),
    *((group, b"\x04" + bytes.fromhex(RFC5903[group][1])) for group in CURVES),
    # RFC 6989 2.1: 0, 1, p - 1, p, and beyond.
    *((group, _modp(group, value)) for group in MODP for value in (0, 1)),
    *((group, _modp(group, _prime(MODP[group]) + more)) for group in MODP for more in (-1, 0, 1)),
    *((group, b"\xff" * DATA_OCTETS[group]) for group in MODP),
]


@pytest.mark.parametrize(("group", "peer"), BAD)
def test_rfc6989_2_invalid_values_are_refused(group: Group, peer: bytes) -> None:
    with pytest.raises(IkeError, match=group.name):
        make_key_exchange(group, rng_of(3)).shared(peer)


@pytest.mark.parametrize("group", sorted(DH_GROUPS))
def test_rfc7296_3_4_length_is_that_of_the_group(group: Group) -> None:
    good = make_key_exchange(group, rng_of(4)).public
    for bad in (b"", good[:-1], good[1:], good + b"\0", b"\0" + good):
        with pytest.raises(IkeError):
            make_key_exchange(group, rng_of(3)).shared(bad)


@pytest.mark.parametrize("group", sorted(DH_GROUPS))
@pytest.mark.parametrize("octet", [0, 0xFF])
def test_any_randomness_gives_a_private_value(group: Group, octet: int) -> None:
    ke = make_key_exchange(group, lambda octets: bytes([octet]) * octets)
    assert len(ke.public) == DATA_OCTETS[group]
    other = make_key_exchange(group, rng_of(5))
    assert ke.shared(other.public) == other.shared(ke.public)


@pytest.mark.parametrize("group", CURVES)
def test_scalars_at_the_end_of_the_range(group: Group) -> None:
    order = CURVES[group].group_order
    for scalar in (order - 1, order - 2, order):
        ke = make_key_exchange(group, _gives(scalar))
        assert len(ke.public) == DATA_OCTETS[group]


# --- KEMs ---------------------------------------------------------------------------------------

KEMS = {Group.ML_KEM_768: (1184, 1088), Group.ML_KEM_1024: (1568, 1568)}
"""Octets of encapsulation key and ciphertext (FIPS 203 8, table 3)."""


def _known_answers(group: Group) -> list[dict[str, bytes]]:
    """The first of the known answers for FIPS 203 that `cryptography_vectors` brings."""
    bits = group.name.rpartition("_")[2]
    text = (VECTORS / "MLKEM" / f"kat_MLKEM_{bits}.rsp").read_text()
    cases = []
    for block in text.split("count = ")[1:26]:
        fields = [line.split(" = ") for line in block.splitlines() if " = " in line]
        cases.append({name: bytes.fromhex(value) for name, value in fields})
    return cases


@pytest.mark.parametrize("group", KEMS)
def test_fips203_known_answers(group: Group) -> None:
    cases = _known_answers(group)
    assert len(cases) == 25
    for case in cases:
        ke = make_key_exchange(group, {64: case["d"] + case["z"]}.__getitem__)
        assert ke.public == case["pk"]
        assert (len(case["pk"]), len(case["ct"])) == KEMS[group]
        assert ke.shared(case["ct"]).reveal() == case["ss"]
        # Implicit rejection: no error, but another secret.
        assert ke.shared(case["ct_n"]).reveal() == case["ss_n"] != case["ss"]


@pytest.mark.parametrize("group", sorted(DH_GROUPS | KEM_GROUPS))
def test_answer_and_question_agree(group: Group) -> None:
    ke = make_key_exchange(group, rng_of(1))
    public, secret = answer_key_exchange(group, ke.public, rng_of(2))
    assert ke.shared(public) == secret
    assert len(secret) == SECRET_OCTETS.get(group, 32)
    assert (len(ke.public), len(public)) == KEMS.get(group, (DATA_OCTETS.get(group),) * 2)
    with pytest.raises(IkeError):
        answer_key_exchange(group, ke.public[:-1], rng_of(2))


@pytest.mark.parametrize("group", KEMS)
def test_fips203_7_2_keys_and_ciphertexts_that_are_none(group: Group) -> None:
    key, ciphertext = KEMS[group]
    for bad in (b"", bytes(key - 1), bytes(key + 1), b"\xff" * key):
        with pytest.raises(IkeError, match=group.name):
            answer_key_exchange(group, bad, rng_of(1))
    ke = make_key_exchange(group, rng_of(1))
    for bad in (b"", bytes(ciphertext - 1), bytes(ciphertext + 1)):
        with pytest.raises(IkeError, match=group.name):
            ke.shared(bad)


def test_kems_are_those_of_iana() -> None:
    assert {int(group) for group in KEM_GROUPS} == {36, 37}
