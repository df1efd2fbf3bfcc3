"""Proposals: codec, choice, and the check of a choice."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ike import Group, IkeError, IkePolicy, host_child_policy, station_child_policy
from sw.ike.config import ChildPolicy
from sw.ike.constants import TransformType
from sw.ike.proposals import Proposal, Transform, build_proposals, parse_proposals
from verif.unit.sw.ike.strategies import proposals

SPI = b"\x01\x02\x03\x04"
GCM_256 = Transform.with_key_length(TransformType.ENCR, 20, 256)
GCM_128 = Transform.with_key_length(TransformType.ENCR, 20, 128)
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
    assert build_proposals([offer]).hex() == (
        "00000034" "01030404" "01020304"  # last, length 52, number 1, ESP, SPI of 4, 4 transforms
        "0300000c" "01000014" "800e0100"  # ENCR, AES-GCM-16, key length 256
        "0300000c" "01000014" "800e0080"  # key length 128
        "03000008" "05000001"  # ESN
        "00000008" "05000000"  # no ESN
    )  # fmt: skip


def test_rfc7296_1_2_no_group_in_ike_auth() -> None:
    offer = station_child_policy().proposals(in_auth=True).offer(SPI)
    assert offer.get(TransformType.DH) is None


def test_rfc5282_8_no_integrity_algorithm_with_an_aead() -> None:
    assert IkePolicy().proposals().offer(b"").get(TransformType.INTEG) is None


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
