"""Key derivation against published vectors.

The inputs are those of NIST's CAVP sample for the IKEv2 KDF of SP 800-135 (set of SHA-1, whose
outputs are used too); the outputs for SHA-256 are those that OpenSSL publishes for the same
inputs (test/recipes/30-test_evp_data/evpkdf_ikev2.txt).
"""

from __future__ import annotations

import hashlib
import hmac

import pytest

from sw.ike import Secret
from sw.ike.crypto import Prf
from sw.ike.keymat import (
    PRF_HMAC_SHA2_256,
    auth_shared_key,
    derive_child_keys,
    derive_ike_keys,
    prf_plus,
    skeyseed_initial,
    skeyseed_rekey,
)

NI = bytes.fromhex("3651fef5c9c35e93")
NR = bytes.fromhex("c09a8b90a3f04d59")
SPI_I = bytes.fromhex("8e5c3ae507221684")
SPI_R = bytes.fromhex("b1f201bb155c3acd")
GIR = Secret(
    bytes.fromhex(
        "d084a30166a50fb7325c3960874a839449ef9741c2f4f947d0201dd8c1269273"
        "d79509f37e3ca3eb4fa2fe2a28254e289cd3f34dad4eb4df1a07685a4b8a94fa"
        "61e2491f7598b3ce65547ff133b3f63d1ac4175eaa695033f3cedb026a6873a3"
        "6455172a8540b8a5d23a0143bed0390ee49b168269d75fffee9fb62be965993c"
    )
)
GIR_NEW = Secret(
    bytes.fromhex(
        "52f00ab174c25d5b7139ae5ff4e8e9eddee5992d2e36adf8a559ffd90dab1442"
        "e4fbe429d320c0f33552a17d1557fa41ea70e8fb916c4fa27ed52b5f8ebd8461"
        "afa78f1159159a64055ac5f6319e29c28eae58cbc6847770f32c3fed1d047504"
        "84f854790f95e9ec01bc5bc461f24966462e359511329305038e94deb6dd42c2"
    )
)
SKEYSEED = "efaa7ab0eaa85a3d0be2100cd4b6fe00ff5025a9eafddb3ef518e9f0d3fe60e6"
DKM = (
    "462b9dd525d4fd71169174272779e704baf62c6231779ae9efe8c58b21916b42"
    "010164af2111ebd762f6916ca9a6f0ee05c8b320e4ee27705521de2589adea18"
    "78f1a551738af7c88dc4f0bb0c096a3f7d1f1a670fc79f49f678d60d665bb371"
    "0c8657f03ba9f62b9a818d7a228968c506e237ae9502aa6db395c61ea6a3e795"
    "04f86b7368bfb5423df79e48809bbccd49fd826d024f63d7c2a5566400a12e73"
    "6aa034510428f5ea008fe2fc16886fa388274ea6c2b4fcfc6141bf04f8207ef8"
)
CHILD = (
    "23647677e7d403fa1e3006f19840aee18ad9fecc4215814c4131bdeba98433d8"
    "b0e31bfbbddf822abcce5e06486aa388022b75e27e1e68aa5983028b65282c73"
    "0c5d49ef7606770376cfdec41f7cc435d816029989bc353d3b67b9fd1168ddcb"
)
CHILD_DH = (
    "6a919387a5fa2835fe8a8237e4a14845bd2b9930db87eff7adf268f621860049"
    "02dba9aa942d0259a0edc4120b932a503865b57ba8fb88117ef5df7b26799cd8"
    "ba37aa5438108cb1a4fe117907c9d0597b708c3f11151fefd624d2317202b7c8"
)
REKEY = "90722c42bd849e9b72d240fc254174270fa8295de6f0338dafc303a9ec104f12"
SK_D = Secret(bytes.fromhex(DKM[:64]))
PRF = PRF_HMAC_SHA2_256


def test_rfc7296_2_14_skeyseed() -> None:
    assert skeyseed_initial(PRF, NI, NR, GIR).reveal().hex() == SKEYSEED


@pytest.mark.parametrize("key_octets", [16, 32])
def test_rfc7296_2_14_ike_keys(key_octets: int) -> None:
    seed = Secret(bytes.fromhex(SKEYSEED))
    keys = derive_ike_keys(PRF, seed, NI, NR, SPI_I, SPI_R, key_octets=key_octets)
    parts = (keys.sk_d, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr)
    encr = key_octets + 4
    assert [len(part) for part in parts] == [32, encr, encr, 32, 32]
    octets = b"".join(part.reveal() for part in parts)
    assert octets.hex() == DKM[: 2 * len(octets)]
    assert DKM[:40] not in repr(keys)


@pytest.mark.parametrize("key_octets", [16, 32])
@pytest.mark.parametrize(("shared", "expected"), [(None, CHILD), (GIR_NEW, CHILD_DH)])
def test_rfc7296_2_17_child_keys(shared: Secret | None, expected: str, key_octets: int) -> None:
    keys = derive_child_keys(PRF, SK_D, NI, NR, shared, key_octets=key_octets)
    parts = (keys.key_i, keys.salt_i, keys.key_r, keys.salt_r)
    assert [len(part) for part in parts] == [key_octets, 4, key_octets, 4]
    octets = b"".join(part.reveal() for part in parts)
    assert octets.hex() == expected[: 2 * len(octets)]


def test_rfc7296_2_18_rekeyed_skeyseed() -> None:
    assert skeyseed_rekey(PRF, SK_D, GIR_NEW, NI, NR).reveal().hex() == REKEY


def test_rfc7296_2_13_prf_plus_with_another_hash() -> None:
    """NIST's own outputs, for SHA-1."""
    sha1 = Prf("sha1")
    seed = skeyseed_initial(sha1, NI, NR, GIR)
    assert seed.reveal().hex() == "cd2e8050137832245f1dbacc6e4f0a92f94d45d6"
    octets = prf_plus(sha1, seed.reveal(), NI + NR + SPI_I + SPI_R, 132)
    assert octets.hex() == (
        "6f1b12cad3cbe097b35430356d869d54cddb0198ec859174d53ceb92dddedbe2"
        "436db69f60977c58fa63bbb667f8d36920b109baae8f6c61a9ac49feda018432"
        "25d080ec5539d5881a25521ffb2a0a91874a9c0a27fcc2d717eb8963a9e3a89c"
        "7ab264757284c28cf8c3ca40576f4220b052b1fb8e9ad60ba3c80557323331a8"
        "cbb89f20"
    )


def test_rfc7296_2_13_prf_plus_ends_after_255_blocks() -> None:
    assert len(prf_plus(PRF, b"k", b"s", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="8160"):
        prf_plus(PRF, b"k", b"s", 255 * 32 + 1)


def test_rfc7296_2_15_auth() -> None:
    """Against the formula, written out once more."""

    def prf(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, hashlib.sha256).digest()

    signed = b"message" + b"nonce" + prf(b"p" * 32, b"\x02\0\0\0id")
    expected = prf(prf(b"psk", b"Key Pad for IKEv2"), signed)
    got = auth_shared_key(
        PRF, Secret(b"psk"), b"message", b"nonce", Secret(b"p" * 32), b"\x02\0\0\0id"
    )
    assert got == expected


def test_wiped_keys_are_gone() -> None:
    keys = derive_ike_keys(PRF, Secret(b"s"), NI, NR, SPI_I, SPI_R, key_octets=32)
    keys.wipe()
    with pytest.raises(ValueError, match="wiped"):
        keys.sealer(initiator=True)
