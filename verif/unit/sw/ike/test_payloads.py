"""Payload chains: codec and hostile octets."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ike import DropReason, IkeError, NotifyType
from sw.ike.constants import PayloadType
from sw.ike.payloads import (
    AuthPayload,
    DeletePayload,
    NoncePayload,
    NotifyPayload,
    OpaquePayload,
    Payload,
    build_payloads,
    parse_payloads,
)
from verif.unit.sw.ike.strategies import chains


@given(chains)
def test_round_trip(chain: tuple[Payload, ...]) -> None:
    assert parse_payloads(*build_payloads(chain)) == chain


@given(st.integers(0, 255), st.binary(max_size=300))
def test_arbitrary_octets_raise_only_the_named_error(first: int, data: bytes) -> None:
    with contextlib.suppress(IkeError):
        parse_payloads(first, data)


@given(chains.filter(bool), st.data())
def test_damaged_octets_raise_only_the_named_error(
    chain: tuple[Payload, ...], data: st.DataObject
) -> None:
    first, built = build_payloads(chain)
    octets = bytearray(built)
    at = data.draw(st.integers(0, len(octets) - 1))
    with pytest.raises(IkeError):
        parse_payloads(first, bytes(octets[:at]))
    octets[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(IkeError):
        parse_payloads(first, bytes(octets))


def test_rfc7296_2_5_unknown_critical_payload_is_named() -> None:
    first, octets = build_payloads([OpaquePayload(200, b"x", critical=True)])
    with pytest.raises(IkeError) as caught:
        parse_payloads(first, octets)
    assert caught.value.reason is DropReason.CRITICAL
    assert caught.value.notify == NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD
    assert caught.value.notify_data == b"\xc8"


def test_rfc7296_2_5_critical_bit_of_a_known_payload_means_nothing() -> None:
    first, octets = build_payloads([NoncePayload(bytes(16))])
    octets = octets[:1] + b"\x80" + octets[2:]
    assert parse_payloads(first, octets) == (NoncePayload(bytes(16)),)


def test_rfc7296_3_2_reserved_bits_are_ignored() -> None:
    first, octets = build_payloads([NoncePayload(bytes(16))])
    assert parse_payloads(first, octets[:1] + b"\x7f" + octets[2:])


@pytest.mark.parametrize("octets", [0, 15, 257])
def test_rfc7296_3_9_nonce_length(octets: int) -> None:
    with pytest.raises(IkeError):
        parse_payloads(*build_payloads([NoncePayload(bytes(octets))]))


def test_delete_never_grows_by_the_attackers_count() -> None:
    with pytest.raises(IkeError):
        parse_payloads(PayloadType.DELETE, bytes.fromhex("000000080100ffff"))


def test_length_zero_does_not_hang() -> None:
    with pytest.raises(IkeError):
        parse_payloads(PayloadType.NONCE, bytes.fromhex("28000000") * 100)


def test_many_payloads_are_refused() -> None:
    with pytest.raises(IkeError):
        parse_payloads(*build_payloads([OpaquePayload(43, b"")] * 65))


def test_rfc7296_3_10_octets_of_a_rekey_notify() -> None:
    notify = NotifyPayload(NotifyType.REKEY_SA, b"", 3, b"\1\2\3\4")
    assert build_payloads([notify])[1].hex() == "0000000c0304400901020304"


def test_rfc7296_3_11_octets_of_a_delete() -> None:
    assert build_payloads([DeletePayload(1)])[1].hex() == "0000000801000000"
    esp = DeletePayload(3, (b"\1\2\3\4", b"\5\6\7\x08"))
    assert build_payloads([esp])[1].hex() == "00000010030400020102030405060708"


def test_ready_notify_is_in_the_private_range() -> None:
    assert 40960 <= NotifyType.SA_READY <= 65535


def test_auth_is_not_in_the_repr() -> None:
    assert "deadbeef" not in repr(AuthPayload(2, bytes.fromhex("deadbeef")))
    assert "xde" not in repr(AuthPayload(2, bytes.fromhex("deadbeef")))
