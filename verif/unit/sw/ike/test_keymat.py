"""Key derivation against published vectors.

The inputs are those of NIST's CAVP sample for the IKEv2 KDF of SP 800-135 (set of SHA-1, whose
outputs are used too); the outputs for SHA-256 are those that OpenSSL publishes for the same
inputs (test/recipes/30-test_evp_data/evpkdf_ikev2.txt).
"""

from __future__ import annotations

import hashlib
import hmac

import pytest

from spec.suites import Suite
from sw.ike import IkeSuite, Secret
from sw.ike.constants import PrfId
from sw.ike.crypto import PRFS, Prf
from sw.ike.keymat import (
    auth_shared_key,
    derive_child_keys,
    derive_ike_keys,
    prf_plus,
    signed_octets,
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
    "afc224ea1059cb220dc0b23ac0e4ccda495a4e131b1d56e223aba5a48e8ed1f5"
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
PRF = PRFS[PrfId.HMAC_SHA2_256]

# NIST ACVP, kdf-components-ikev2-1.0, SHA-512 (tcId 241), from the same file of OpenSSL.
NI_512 = (
    "834ea4753e9a06832072fa15e89e799035a1285ce241caf3b5c724ece8ecd0d2d1ac46fab3d9d86b"
    "f2ebf4cc8f93e06c5342415e14dfcbc949574e1606f96f143e8aa8c80bccd376ff3d3bae0b134a04"
    "dd2ae557010e5d7a7552c6864fd8a82d99ffdfda97be97389a426d7259411b10dd9eefae2709141e"
    "654087a2056eb86daf95ef262328a2cdd90c61152dc2bbfcf4ccf4084557c3892603023a8b7045fc"
    "589a35143e10dcd1a73406ea923b21687a12134b6a1007e4aa2e37fffa4901dff6f3514e2b350f08"
    "175e194d3c6db75e03fd838d503cefa9e9604a4e18f330c08142574a992465fea063875abaf144f4"
    "7c50f32a0a83224e3eea739033af6b9f"
)
NR_512 = (
    "f833709de457fb58abe1d26e8decc8fe889d503954c4812ac0f41271394af7c148b15a241c2d6d65"
    "02c3c57dae854a97bfb3ccdcec650153578ccb51bdfe1c715e81f3d78488b1547a3c9e5617d9b78b"
    "46d06f56bb56423c88deaccd82e7a2a11add56651091682f0987332ea28a32045a4d39609f364eb5"
    "e70468ecb7bbdcad6b41e04add11d97f300e8d0a0c2941f1cb64885f940ee2fa273477e910983e96"
    "913f58e37bfd68e3adcd6e813176e95fee7985f5526eedc3245c4746f5864d9e90bf80f6882f6a50"
    "5adacd81d106576f7a6c705e37ce551235e012e64ec3be7b4f3f8889e664cc5ed7bcc4a88022a437"
    "439609b3019cde1948665a548e420d1e"
)
GIR_512 = (
    "9566a04bf95f433c6497b3ae8cb0f600043f8438eb2b9e97e912af1c5ace9a73a8884bf1ff80a895"
    "eb97a6f5494b6cea5b1c3123c3a9cbe057a0cba2f52fd40a8dfdf9f99b521d356347e2b70cf637b5"
    "b4a44c2ed92770a281e6431cb50bddce4fb2ec8100218fa84b0a4a344c4dc79bbc81add2fd23bc79"
    "7efa1b2afa6840ad7b2e04d391f33662774a5296a0ef9c9c113e84f5b958fd54857e75378406f29d"
    "a1eb23e9e9d9d94177672bfa7742f7f4319f31ed06e1999e17eeac6b35adc9a245cad998e3ce3c42"
    "2b8ad752f7144332e9aae44ea837677a8406b7261c04cb4eb9230fba75e09e16eeda246d5b1da5cf"
    "14c96f00fc83c555854e7982e52a1d4f"
)
SPI_I_512 = "6e5f49d279f4fbbb"
SPI_R_512 = "ff7ae472aa4dd7af"
SKEYSEED_512 = (
    "3daa296c25dd8cbde8e9f5fe85498cb06339fc7aaa93f60987831a0fa79829e244afe92bd66590d8"
    "c7f1bc281badc619ed2c9762fdb913b052842e50e3989863"
)
DKM_512 = (
    "2bd66826c397a19618e3133ace96f6168a04ef9afa53f2f07cecda9e0f6139c37cc6512551f52300"
    "6b74d501c5dd1ae502689ece8a43ce7b3d866c7372176b1d5bc4a0b863f642351fd4822c79f0a8d9"
    "7b03b09fa1393679149432798bea545f70c663675e751a68aeeb7b238ca790229c7775e6a074becd"
    "faad324ac546eeb5d0a9480b1aa06b6f225cbfac7447de3d8d292b0beb7d9a5b709c02946a10f879"
    "9dd4e4b18c6d10ceda39a82b9dae01efebe6c31735590ef7d44e1c8dbbad98dafe620843065e5141"
    "d7c57770234128599e3223139656dbb3d0c494faba482ae9740faa3d3957efd9d90fd24144bc9b31"
    "7c7955722426a6719d0095d068fd0b63469140d1ef9ddefc43b2bcfff971a08a7e67e75b8f0ded8c"
    "4737175abf04c32b906fe7d53e8c3b11b3829db0082b73f44c042c285f079a3bd6c33f91559f3104"
    "3e23bb0a79b83c93aaf1cfeaf6c5996e717869c2d7f6528c8acae6656a8430164886385441484107"
    "261de0d9a9b6b39a24812ccfa24c1f964aeac69ce6d00541"
)


def test_rfc7296_2_14_skeyseed() -> None:
    assert skeyseed_initial(PRF, NI, NR, GIR).reveal().hex() == SKEYSEED


@pytest.mark.parametrize(
    ("suite", "lengths"),
    [
        (IkeSuite.AES_GCM_16_128_PRF_SHA_256, [32, 0, 0, 20, 20, 32, 32]),
        (IkeSuite.AES_GCM_16_192_PRF_SHA_256, [32, 0, 0, 28, 28, 32, 32]),
        (IkeSuite.AES_GCM_16_256_PRF_SHA_256, [32, 0, 0, 36, 36, 32, 32]),
        (IkeSuite.CHACHA20_POLY1305_PRF_SHA_256, [32, 0, 0, 36, 36, 32, 32]),
        (IkeSuite.AES_CBC_128_HMAC_SHA_256, [32, 32, 32, 16, 16, 32, 32]),
        (IkeSuite.AES_CBC_256_HMAC_SHA_256, [32, 32, 32, 32, 32, 32, 32]),
    ],
)
def test_rfc7296_2_14_ike_keys(suite: IkeSuite, lengths: list[int]) -> None:
    """Lengths by RFC 4868 2.1.1, RFC 5282 7.1 and RFC 7634 2; octets by NIST."""
    seed = Secret(bytes.fromhex(SKEYSEED))
    keys = derive_ike_keys(suite, seed, NI, NR, SPI_I, SPI_R)
    ends = (keys.sk_d, keys.sk_ai, keys.sk_ar, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr)
    assert [len(part) for part in ends] == lengths
    octets = b"".join(part.reveal() for part in ends)
    assert octets.hex() == DKM[: 2 * len(octets)]
    assert DKM[:40] not in repr(keys)


@pytest.mark.parametrize(
    ("suite", "digest", "lengths"),
    [
        (IkeSuite.AES_GCM_16_256_PRF_SHA_384, "sha384", [48, 0, 0, 36, 36, 48, 48]),
        (IkeSuite.AES_GCM_16_128_PRF_SHA_512, "sha512", [64, 0, 0, 20, 20, 64, 64]),
        (IkeSuite.AES_CBC_192_HMAC_SHA_384, "sha384", [48, 48, 48, 24, 24, 48, 48]),
        (IkeSuite.AES_CBC_256_HMAC_SHA_512, "sha512", [64, 64, 64, 32, 32, 64, 64]),
    ],
)
def test_rfc7296_2_13_other_hashes(suite: IkeSuite, digest: str, lengths: list[int]) -> None:
    """Against the formula, written out once more."""
    seed = Secret(bytes(range(64)))
    keys = derive_ike_keys(suite, seed, NI, NR, SPI_I, SPI_R)
    ends = (keys.sk_d, keys.sk_ai, keys.sk_ar, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr)
    assert [len(part) for part in ends] == lengths
    expected = block = b""
    for n in range(1, 9):
        data = block + NI + NR + SPI_I + SPI_R + bytes([n])
        block = hmac.new(seed.reveal(), data, digest).digest()
        expected += block
    octets = b"".join(part.reveal() for part in ends)
    assert octets == expected[: len(octets)]


def test_rfc7296_2_14_sha512_by_nist() -> None:
    prf = PRFS[PrfId.HMAC_SHA2_512]
    nonces = bytes.fromhex(NI_512), bytes.fromhex(NR_512)
    spis = bytes.fromhex(SPI_I_512), bytes.fromhex(SPI_R_512)
    skeyseed = skeyseed_initial(prf, *nonces, Secret(bytes.fromhex(GIR_512)))
    assert skeyseed.reveal().hex() == SKEYSEED_512
    suite = IkeSuite.AES_CBC_256_HMAC_SHA_512
    keys = derive_ike_keys(suite, skeyseed, *nonces, *spis)
    parts = (keys.sk_d, keys.sk_ai, keys.sk_ar, keys.sk_ei, keys.sk_er, keys.sk_pi)
    assert b"".join(part.reveal() for part in parts).hex() == DKM_512[: 2 * 320]


@pytest.mark.parametrize(
    ("suite", "lengths"),
    [
        (Suite.ESP_AES_GCM_16_128, [16, 4, 0]),
        (Suite.ESP_AES_GCM_16_256, [32, 4, 0]),
        (Suite.ESP_AES_CBC_128_HMAC_SHA_256_128, [16, 0, 32]),
        (Suite.ESP_AES_CBC_256_HMAC_SHA_256_128, [32, 0, 32]),
        (Suite.ESP_NULL_HMAC_SHA_256_128, [0, 0, 32]),
        (Suite.ESP_NULL_AES_GMAC_128, [16, 4, 0]),
        (Suite.ESP_NULL_AES_GMAC_256, [32, 4, 0]),
    ],
)
@pytest.mark.parametrize(("shared", "expected"), [(None, CHILD), (GIR_NEW, CHILD_DH)])
def test_rfc7296_2_17_child_keys(
    shared: Secret | None, expected: str, suite: Suite, lengths: list[int]
) -> None:
    """Initiator to responder first, and of each the encryption key before the integrity key."""
    keys = derive_child_keys(PRF, SK_D, NI, NR, shared, suite=suite)
    parts = (keys.key_i, keys.salt_i, keys.auth_i, keys.key_r, keys.salt_r, keys.auth_r)
    assert [len(part) for part in parts] == 2 * lengths
    octets = b"".join(part.reveal() for part in parts)
    # NIST's is shorter than what the longest of them takes.
    assert octets.hex()[: len(expected)] == expected[: 2 * len(octets)]


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

    signed = b"message" + b"nonce" + prf(b"p" * 32, b"\x02\0\0\0id") + b"intermediate"
    expected = prf(prf(b"psk", b"Key Pad for IKEv2"), signed)
    octets = signed_octets(
        PRF, b"message", b"nonce", Secret(b"p" * 32), b"\x02\0\0\0id", b"intermediate"
    )
    got = auth_shared_key(PRF, Secret(b"psk"), octets)
    assert got == expected


def test_wiped_keys_are_gone() -> None:
    suite = IkeSuite.AES_CBC_256_HMAC_SHA_256
    keys = derive_ike_keys(suite, Secret(b"s"), NI, NR, SPI_I, SPI_R)
    keys.wipe()
    parts = (keys.sk_d, keys.sk_ai, keys.sk_ar, keys.sk_ei, keys.sk_er, keys.sk_pi, keys.sk_pr)
    assert all(part.wiped for part in parts)
    with pytest.raises(ValueError, match="wiped"):
        keys.sealer(initiator=True)
