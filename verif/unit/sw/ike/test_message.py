"""Header, and messages in the clear and encrypted."""

from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sw.ike import DropReason, IkeError, NotifyType
from sw.ike.constants import Encr
from sw.ike.crypto import AeadOpener, AeadSealer
from sw.ike.message import (
    Header,
    build_clear,
    build_sealed,
    open_sealed,
    parse_body,
    parse_header,
    strip_marker,
)
from sw.ike.payloads import NoncePayload, NotifyPayload, OpaquePayload, Payload
from verif.unit.sw.ike.strategies import chains

KEY, SALT = bytes(range(32)), b"salt"
HEADER = Header(b"initiatr", b"respondr", 37, 7, is_initiator=True, is_response=False)

headers = st.builds(
    Header,
    st.binary(min_size=8, max_size=8).filter(any),
    st.binary(min_size=8, max_size=8),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.booleans(),
)


@given(headers, chains)
def test_clear_round_trip(header: Header, chain: tuple[Payload, ...]) -> None:
    data = build_clear(header, chain)
    parsed, first = parse_header(data)
    assert (parsed, parse_body(data, first)) == (header, chain)


@given(headers, chains)
def test_sealed_round_trip(header: Header, chain: tuple[Payload, ...]) -> None:
    data = build_sealed(header, chain, AeadSealer(Encr.AES_GCM_16, KEY, SALT))
    parsed, first = parse_header(data)
    assert (parsed, open_sealed(data, first, AeadOpener(Encr.AES_GCM_16, KEY, SALT))) == (
        header,
        chain,
    )


@given(st.binary(max_size=200))
def test_arbitrary_octets_raise_only_the_named_error(data: bytes) -> None:
    with contextlib.suppress(IkeError):
        _, first = parse_header(data)
        parse_body(data, first)
        open_sealed(data, first, AeadOpener(Encr.AES_GCM_16, KEY, SALT))


def test_rfc7296_3_1_octets_of_the_header() -> None:
    data = build_clear(HEADER, [])
    assert data.hex() == b"initiatr".hex() + b"respondr".hex() + "00202508000000070000001c"


def test_rfc5282_5_1_nonce_aad_and_padding() -> None:
    """Opened by hand: nonce is salt | IV, AAD all octets before the IV, one octet of padding."""
    data = build_sealed(HEADER, [NoncePayload(b"n" * 16)], AeadSealer(Encr.AES_GCM_16, KEY, SALT))
    assert data[16] == 46
    assert data[28:32] == bytes([40, 0, 0, len(data) - 28])
    plain = AESGCM(KEY).decrypt(SALT + data[32:40], data[40:], data[:32])
    assert plain == bytes.fromhex("00000014") + b"n" * 16 + b"\0"


def test_rfc5282_3_2_any_padding_is_accepted() -> None:
    inner = bytes.fromhex("00000014") + b"n" * 16
    for pad in (0, 1, 7, 255):
        plain = inner + b"p" * pad + bytes([pad])
        octets = 4 + 8 + len(plain) + 16
        head = HEADER.pack(46, octets) + bytes([40, 0]) + octets.to_bytes(2, "big")
        data = head + bytes(8) + AESGCM(KEY).encrypt(SALT + bytes(8), plain, head)
        assert open_sealed(data, 46, AeadOpener(Encr.AES_GCM_16, KEY, SALT)) == (
            NoncePayload(b"n" * 16),
        )


def test_iv_never_comes_twice() -> None:
    sealer = AeadSealer(Encr.AES_GCM_16, KEY, SALT)
    ivs = {build_sealed(HEADER, [], sealer)[32:40] for _ in range(100)}
    assert len(ivs) == 100


def test_each_octet_is_protected() -> None:
    data = build_sealed(HEADER, [NotifyPayload(16384)], AeadSealer(Encr.AES_GCM_16, KEY, SALT))
    for at in range(len(data)):
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(IkeError) as caught:
            open_sealed(bad, parse_header(bad)[1], AeadOpener(Encr.AES_GCM_16, KEY, SALT))
        assert not caught.value.authenticated
        with pytest.raises(IkeError):
            open_sealed(
                data[:at], parse_header(data[:at])[1], AeadOpener(Encr.AES_GCM_16, KEY, SALT)
            )


def test_faults_inside_are_marked_authenticated() -> None:
    data = build_sealed(
        HEADER, [OpaquePayload(200, b"", critical=True)], AeadSealer(Encr.AES_GCM_16, KEY, SALT)
    )
    with pytest.raises(IkeError) as caught:
        open_sealed(data, 46, AeadOpener(Encr.AES_GCM_16, KEY, SALT))
    assert caught.value.authenticated


def test_clear_message_is_not_taken_for_a_protected_one() -> None:
    data = build_clear(HEADER, [NotifyPayload(16384)])
    with pytest.raises(IkeError) as caught:
        open_sealed(data, 41, AeadOpener(Encr.AES_GCM_16, KEY, SALT))
    assert caught.value.reason is DropReason.UNPROTECTED


def test_rfc7296_2_5_higher_major_version() -> None:
    data = bytearray(build_clear(HEADER, []))
    data[17] = 0x30
    with pytest.raises(IkeError) as caught:
        parse_header(bytes(data))
    assert caught.value.notify == NotifyType.INVALID_MAJOR_VERSION
    data[17] = 0x10
    with pytest.raises(IkeError) as caught:
        parse_header(bytes(data))
    assert caught.value.notify is None


def test_rfc7296_2_5_minor_version_is_ignored() -> None:
    data = bytearray(build_clear(HEADER, []))
    data[17] = 0x2F
    assert parse_header(bytes(data))[0] == HEADER


def test_rfc3948_2_2_marker() -> None:
    assert strip_marker(bytes(4) + b"x") == b"x"
    for data in (b"", b"\xff", b"\0\0\0", b"\0\0\0\1x"):
        with pytest.raises(IkeError):
            strip_marker(data)
