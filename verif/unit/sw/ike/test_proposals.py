"""Proposals: codec, choice, and the check of a choice."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.suites import SUITES, Suite
from spec.suites import Protocol as SaProtocol
from sw.ike import (
    Group,
    IkeError,
    IkePolicy,
    IkeSuite,
    host_child_policy,
    station_child_policy,
)
from sw.ike.config import ChildPolicy, ike_suite_of, suite_of
from sw.ike.constants import TransformType
from sw.ike.proposals import Proposal, Transform, build_proposals, parse_proposals
from verif.unit.sw.ike.strategies import proposals

SPI = b"\x01\x02\x03\x04"
GCM_256 = Transform.with_key_length(TransformType.ENCR, 20, 256)
GCM_128 = Transform.with_key_length(TransformType.ENCR, 20, 128)
CBC = [Transform.with_key_length(TransformType.ENCR, 12, bits) for bits in (128, 192, 256)]
X25519 = Transform(TransformType.DH, Group.X25519)
P256 = Transform(TransformType.DH, Group.P256)
ESN = Transform(TransformType.ESN, 1)
NO_ESN = Transform(TransformType.ESN, 0)


@given(st.lists(proposals, min_size=1, max_size=4).map(tuple))
def test_round_trip(some: tuple[Proposal, ...]) -> None:
    assert parse_proposals(build_proposals(some)) == some


@given(st.binary(max_size=200))
def test_arbitrary_octets_raise_only_the_named_error(data: bytes) -> None:
    with contextlib.suppress(IkeError):
        parse_proposals(data)


@given(st.lists(proposals, min_size=1, max_size=3).map(tuple), st.data())
def test_damaged_octets_raise_only_the_named_error(
    some: tuple[Proposal, ...], data: st.DataObject
) -> None:
    octets = bytearray(build_proposals(some))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IkeError):
        parse_proposals(bytes(octets))
    with pytest.raises(IkeError):
        parse_proposals(bytes(octets[:at]))


def test_rfc7296_3_3_octets_of_an_esp_offer() -> None:
    """Written out by hand from the figures of RFC 7296 3.3.1, 3.3.2 and 3.3.5."""
    offer = station_child_policy().proposals(in_auth=True).offer(SPI)
    assert build_proposals(offer).hex() == (
        "02000028" "01030403" "01020304"  # more, length 40, number 1, ESP, SPI of 4, 3 transforms
        "0300000c" "01000014" "800e0100"  # ENCR, AES-GCM-16, key length 256
        "03000008" "05000001"  # ESN
        "00000008" "05000000"  # no ESN
        "00000028" "02030403" "01020304"  # last, number 2
        "0300000c" "01000014" "800e0080"  # key length 128
        "03000008" "05000001"
        "00000008" "05000000"
    )  # fmt: skip


def test_rfc7296_3_3_octets_of_an_esp_offer_of_every_other_kind() -> None:
    """Written out by hand; numbers as IANA lists them."""
    suites = (
        Suite.ESP_AES_CBC_128_HMAC_SHA_256_128,
        Suite.ESP_NULL_HMAC_SHA_256_128,
        Suite.ESP_NULL_AES_GMAC_256,
    )
    policy = replace(station_child_policy(), suites=suites, groups=(Group.X25519,), esn=(False,))
    assert build_proposals(policy.proposals(in_auth=False).offer(SPI)).hex() == (
        "02000030" "01030404" "01020304"  # more, length 48, number 1, ESP, SPI of 4, 4 transforms
        "0300000c" "0100000c" "800e0080"  # ENCR, AES-CBC, key length 128
        "03000008" "0300000c"  # INTEG, HMAC-SHA-256-128
        "03000008" "0400001f"  # group 31
        "00000008" "05000000"  # no ESN
        "0200002c" "02030404" "01020304"  # more, length 44, number 2
        "03000008" "0100000b"  # ENCR, NULL, without a key length
        "03000008" "0300000c"
        "03000008" "0400001f"
        "00000008" "05000000"
        "00000028" "03030403" "01020304"  # last, length 40, number 3
        "0300000c" "01000015" "800e0100"  # ENCR, NULL with AES-GMAC (RFC 4543), key length 256
        "03000008" "0400001f"
        "00000008" "05000000"
    )  # fmt: skip


def test_rfc7296_1_2_no_group_in_ike_auth() -> None:
    for offer in station_child_policy().proposals(in_auth=True).offer(SPI):
        assert offer.get(TransformType.DH) is None


def test_rfc5282_8_no_integrity_algorithm_with_an_aead() -> None:
    for offer in IkePolicy(tuple(IkeSuite)).proposals().offer(b""):
        aead = offer.get(TransformType.ENCR) not in CBC
        assert (offer.get(TransformType.INTEG) is None) is aead


def test_rfc7296_3_3_octets_of_an_ike_offer() -> None:
    """Written out by hand; numbers as IANA lists them, for each suite a proposal of its own."""
    suites = (
        IkeSuite.CHACHA20_POLY1305_PRF_SHA_384,
        IkeSuite.AES_CBC_192_HMAC_SHA_512,
        IkeSuite.AES_GCM_16_128_PRF_SHA_256,
    )
    offer = IkePolicy(suites, (Group.MODP_2048, Group.X448)).proposals().offer(b"")
    assert build_proposals(offer).hex() == (
        "02000028" "01010004"  # more, length 40, number 1, IKE, no SPI, 4 transforms
        "03000008" "0100001c"  # ENCR, ChaCha20-Poly1305, no key length (RFC 7634 4)
        "03000008" "02000006"  # PRF, HMAC-SHA-384
        "03000008" "0400000e"  # group 14
        "00000008" "04000020"  # group 32
        "02000034" "02010005"  # more, length 52, number 2, 5 transforms
        "0300000c" "0100000c" "800e00c0"  # ENCR, AES-CBC, key length 192
        "03000008" "02000007"  # PRF, HMAC-SHA-512
        "03000008" "0300000e"  # INTEG, HMAC-SHA-512-256
        "03000008" "0400000e"
        "00000008" "04000020"
        "0000002c" "03010004"  # last, length 44, number 3
        "0300000c" "01000014" "800e0080"  # ENCR, AES-GCM-16, key length 128
        "03000008" "02000005"  # PRF, HMAC-SHA-256
        "03000008" "0400000e"
        "00000008" "04000020"
    )  # fmt: skip


def test_a_suite_is_taken_whole_out_of_a_mixed_proposal() -> None:
    """As peers offer by default: many algorithms of each type in one proposal."""
    encr = [Transform.with_key_length(TransformType.ENCR, 12, bits) for bits in (128, 192, 256)]
    mixed = Proposal(
        1,
        1,
        b"",
        (
            *encr,
            *(Transform(TransformType.INTEG, integ) for integ in (12, 13, 14)),
            *(Transform(TransformType.PRF, prf) for prf in (5, 6, 7)),
            *(Transform(TransformType.DH, group) for group in (14, 19, 31)),
        ),
    )
    for suite, parts in (
        (IkeSuite.AES_CBC_256_HMAC_SHA_384, (encr[2], 6, 13)),
        (IkeSuite.AES_CBC_128_HMAC_SHA_256, (encr[0], 5, 12)),
    ):
        policy = IkePolicy((IkeSuite.AES_GCM_16_256_PRF_SHA_256, suite)).proposals()
        chosen = policy.choose([mixed])
        assert chosen is not None
        kinds = (TransformType.ENCR, TransformType.PRF, TransformType.INTEG)
        found = [chosen.get(kind) for kind in kinds]
        prf, integ = (Transform(kind, part) for kind, part in zip((2, 3), parts[1:], strict=True))
        assert found == [parts[0], prf, integ]
        assert ike_suite_of(chosen) is suite


def test_cbc_never_goes_without_integrity() -> None:
    policy = IkePolicy((IkeSuite.AES_CBC_256_HMAC_SHA_256,)).proposals()
    prf = Transform(TransformType.PRF, 5)
    good = (CBC[2], prf, Transform(TransformType.INTEG, 12), X25519)
    assert policy.choose([Proposal(1, 1, b"", good)]) is not None
    for bad in ((CBC[2], prf, X25519), (CBC[2], prf, Transform(TransformType.INTEG, 0), X25519)):
        assert policy.choose([Proposal(1, 1, b"", bad)]) is None
        assert policy.accepts([Proposal(1, 1, b"", bad)]) is None


def test_no_suite_out_of_parts_of_two() -> None:
    """A peer that offers AES-CBC with SHA-256, and HMAC-SHA-384 for integrity: no suite of ours."""
    parts = (
        Transform.with_key_length(TransformType.ENCR, 12, 256),
        Transform(TransformType.PRF, 5),
        Transform(TransformType.INTEG, 13),
        X25519,
    )
    policy = IkePolicy(tuple(IkeSuite)).proposals()
    assert policy.choose([Proposal(1, 1, b"", parts)]) is None
    with pytest.raises(ValueError, match="suite"):
        ike_suite_of(Proposal(1, 1, b"", parts))


def test_answer_must_be_one_suite_under_its_number() -> None:
    policy = IkePolicy(
        (IkeSuite.AES_GCM_16_256_PRF_SHA_256, IkeSuite.AES_GCM_16_128_PRF_SHA_512)
    ).proposals()
    sha256, sha512 = Transform(TransformType.PRF, 5), Transform(TransformType.PRF, 7)
    assert policy.accepts([Proposal(2, 1, b"", (GCM_128, sha512, X25519))]) is not None
    for bad in (
        Proposal(1, 1, b"", (GCM_128, sha512, X25519)),
        Proposal(3, 1, b"", (GCM_128, sha512, X25519)),
        Proposal(2, 1, b"", (GCM_128, sha256, X25519)),
        Proposal(1, 1, b"", (GCM_256, sha512, X25519)),
    ):
        assert policy.accepts([bad]) is None


@pytest.mark.parametrize(
    ("suites", "groups", "told"),
    [
        ((), (Group.X25519,), "suite"),
        ((IkeSuite.AES_GCM_16_256_PRF_SHA_256,), (), "group"),
        ((IkeSuite.AES_GCM_16_256_PRF_SHA_256,), (Group.NONE,), "group"),
    ],
)
def test_a_policy_that_cannot_be(
    suites: tuple[IkeSuite, ...], groups: tuple[Group, ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        IkePolicy(suites, groups)


def test_choice_prefers_ours_and_takes_the_first_proposal() -> None:
    policy = host_child_policy().proposals(in_auth=False)
    offered = [
        Proposal(1, 2, SPI, (ESN,)),
        Proposal(2, 3, SPI, (GCM_128, GCM_256, P256, X25519, NO_ESN, ESN)),
    ]
    chosen = policy.choose(offered)
    assert chosen == Proposal(2, 3, SPI, (GCM_256, X25519, ESN))
    chosen = policy.choose(offered, favourite=P256)
    assert chosen == Proposal(2, 3, SPI, (GCM_256, P256, ESN))


@pytest.mark.parametrize(
    "transforms",
    [
        (GCM_256, X25519),  # no ESN transform
        (GCM_256, ESN),  # no group
        (X25519, ESN),  # no cipher
        (Transform(TransformType.ENCR, 20), X25519, ESN),  # no key length
        (Transform.with_key_length(1, 12, 256), X25519, ESN),  # AES-CBC
        (GCM_256, Transform(TransformType.INTEG, 12), X25519, ESN),  # integrity beside an AEAD
        (GCM_256, Transform(6, 1), X25519, ESN),  # a type nobody knows
        (GCM_256, Transform(TransformType.DH, 14), ESN),
    ],
)
def test_rfc7296_3_3_6_unacceptable(transforms: tuple[Transform, ...]) -> None:
    policy = host_child_policy().proposals(in_auth=False)
    assert policy.choose([Proposal(1, 3, SPI, transforms)]) is None


SHA_256 = Transform(TransformType.INTEG, 12)
CBC_256, NULL = CBC[2], Transform(TransformType.ENCR, 11)
GMAC_128 = Transform.with_key_length(TransformType.ENCR, 21, 128)


def child_policy(*suites: Suite) -> ChildPolicy:
    """The host's, with these suites."""
    return replace(host_child_policy(), suites=suites)


@pytest.mark.parametrize(
    ("suite", "parts"),
    [
        (Suite.ESP_AES_CBC_256_HMAC_SHA_256_128, (CBC_256, SHA_256)),
        (Suite.ESP_NULL_HMAC_SHA_256_128, (NULL, SHA_256)),
        (Suite.ESP_NULL_AES_GMAC_128, (GMAC_128,)),
        (Suite.ESP_AES_GCM_16_256, (GCM_256,)),
    ],
)
def test_a_child_suite_is_taken_whole_out_of_a_mixed_proposal(
    suite: Suite, parts: tuple[Transform, ...]
) -> None:
    """One that peers ought not to make (RFC 7296 3.3), and that some do."""
    offered = (CBC_256, NULL, GMAC_128, GCM_256)
    integ = tuple(Transform(TransformType.INTEG, ident) for ident in (2, 14, 12, 0))
    mixed = Proposal(1, 3, SPI, (*offered, *integ, X25519, ESN))
    policy = child_policy(suite, Suite.ESP_AES_GCM_16_128)
    chosen = policy.proposals(in_auth=False).choose([mixed])
    assert chosen is not None
    given_integ = parts[1:] or (Transform(TransformType.INTEG, 0),)
    assert set(chosen.transforms) == {parts[0], *given_integ, X25519, ESN}
    assert suite_of(chosen, policy.suites) is suite


@pytest.mark.parametrize(
    "transforms",
    [
        (CBC_256,),
        (CBC_256, Transform(TransformType.INTEG, 0)),
        (NULL,),
        (NULL, Transform(TransformType.INTEG, 0)),
        (CBC[0], SHA_256),  # of a suite that was not configured
        (GMAC_128, SHA_256),
        (GCM_256, SHA_256),
        (CBC_256, Transform(TransformType.INTEG, 2)),
        (Transform.with_key_length(TransformType.ENCR, 11, 256), SHA_256),
        (Transform(TransformType.ENCR, 21),),
    ],
)
def test_no_child_suite_out_of_parts_of_two_or_of_one(transforms: tuple[Transform, ...]) -> None:
    """Above all: no cipher without integrity, and nothing in clear that is not authenticated."""
    policy = child_policy(
        Suite.ESP_AES_CBC_256_HMAC_SHA_256_128,
        Suite.ESP_NULL_HMAC_SHA_256_128,
        Suite.ESP_NULL_AES_GMAC_128,
        Suite.ESP_AES_GCM_16_256,
    )
    proposals = policy.proposals(in_auth=False)
    bad = Proposal(1, 3, SPI, (*transforms, X25519, ESN))
    assert proposals.choose([bad]) is None
    for number in range(1, 6):
        assert proposals.accepts([replace(bad, number=number)]) is None
    with pytest.raises(ValueError, match="suite"):
        suite_of(bad, policy.suites)


def test_the_answer_to_an_offer_of_child_suites_is_one_of_them_under_its_number() -> None:
    policy = child_policy(Suite.ESP_AES_GCM_16_256, Suite.ESP_AES_CBC_256_HMAC_SHA_256_128)
    proposals = policy.proposals(in_auth=False)
    cbc = (CBC_256, X25519, SHA_256, ESN)
    assert proposals.accepts([Proposal(2, 3, SPI, cbc)]) is not None
    assert proposals.accepts([Proposal(1, 3, SPI, cbc)]) is None
    assert proposals.accepts([Proposal(2, 3, SPI, (GCM_256, X25519, ESN))]) is None


def test_child_suites_come_with_a_kem_and_then_again_without() -> None:
    suites = (Suite.ESP_AES_GCM_16_256, Suite.ESP_AES_CBC_256_HMAC_SHA_256_128)
    policy = replace(child_policy(*suites), additional=(Group.ML_KEM_768, Group.NONE))
    offer = policy.proposals(in_auth=False).offer(SPI)
    assert [one.number for one in offer] == [1, 2, 3, 4]
    assert [suite_of(one, suites) for one in offer] == [*suites, *suites]
    kem = Transform(TransformType.ADDKE1, Group.ML_KEM_768)
    assert [one.get(TransformType.ADDKE1) for one in offer] == [kem, kem, None, None]
    assert len(policy.proposals(in_auth=True).offer(SPI)) == 2


def test_the_initiators_order_of_child_suites_comes_first() -> None:
    """RFC 7296 2.7: its proposals stand in the order of its preference."""
    station = child_policy(Suite.ESP_AES_CBC_128_HMAC_SHA_256_128, Suite.ESP_AES_GCM_16_256)
    host = child_policy(Suite.ESP_AES_GCM_16_256, Suite.ESP_AES_CBC_128_HMAC_SHA_256_128)
    offer = station.proposals(in_auth=True).offer(SPI)
    chosen = host.proposals(in_auth=True).choose(offer)
    assert chosen is not None
    assert suite_of(chosen, host.suites) is Suite.ESP_AES_CBC_128_HMAC_SHA_256_128


@pytest.mark.parametrize("suite", Suite)
def test_child_policies_take_esp_alone(suite: Suite) -> None:
    facts = SUITES.get(suite)
    if facts is not None and facts.protocol is SaProtocol.ESP:
        assert child_policy(suite).suites == (suite,)
    else:
        with pytest.raises(ValueError, match=suite.name):
            child_policy(suite)


def test_integrity_none_is_as_good_as_none_at_all() -> None:
    none = Transform(TransformType.INTEG, 0)
    policy = host_child_policy().proposals(in_auth=False)
    offered = Proposal(1, 3, SPI, (GCM_256, none, X25519, ESN))
    assert policy.choose([offered]) == offered


def test_spi_of_another_length_is_not_chosen() -> None:
    policy = host_child_policy().proposals(in_auth=False)
    assert policy.choose([Proposal(1, 3, SPI * 2, (GCM_256, X25519, ESN))]) is None


def test_pfs_may_be_left_to_the_peer() -> None:
    base = host_child_policy()
    policy = ChildPolicy(base.local_ts, base.remote_ts, require_pfs=False).proposals(in_auth=False)
    assert policy.choose([Proposal(1, 3, SPI, (GCM_256, ESN))]) is not None


GOOD = (GCM_256, X25519, ESN)


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [Proposal(1, 3, SPI, GOOD)] * 2,
        [Proposal(2, 3, SPI, GOOD)],
        [Proposal(1, 2, SPI, GOOD)],
        [Proposal(1, 3, b"", GOOD)],
        [Proposal(1, 3, SPI, (GCM_256, ESN))],
        [Proposal(1, 3, SPI, (GCM_256, GCM_128, X25519, ESN))],
        [Proposal(1, 3, SPI, (Transform.with_key_length(1, 20, 192), X25519, ESN))],
        [Proposal(1, 3, SPI, (*GOOD, Transform(6, 1)))],
    ],
)
def test_rfc7296_2_7_answer_must_be_within_the_offer(answer: list[Proposal]) -> None:
    policy = station_child_policy().proposals(in_auth=False)
    assert policy.accepts([Proposal(1, 3, SPI, GOOD)]) is not None
    assert policy.accepts(answer) is None
