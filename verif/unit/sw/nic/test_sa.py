"""Tests of sw.nic.sa."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.suites import Suite
from sw.nic import StagedSa


def staged(**changes: Any) -> StagedSa:
    """A good SA, with changes."""
    values: dict[str, Any] = {
        "spi_in": 0xC0DE0101,
        "spi_out": 0xC0DE0102,
        "suite": Suite.ESP_AES_GCM_16_128,
        "peer_ip": IPv4Address("192.0.2.1"),
        "key_in": bytearray(b"KEYINKEYINKEYIN1"),
        "key_out": bytearray(b"KEYOUTKEYOUTKEY2"),
        "salt_in": bytearray(b"SLTA"),
        "salt_out": bytearray(b"SLTB"),
    }
    return StagedSa(**(values | changes))


def test_secrets_show_nowhere() -> None:
    shown = repr(staged())
    for secret in ("KEY", "SLT", "bytearray"):
        assert secret not in shown
    assert "192.0.2.1" in shown


def test_wipe_overwrites_the_callers_buffers() -> None:
    keys = [bytearray(b"x" * 16), bytearray(b"x" * 16), bytearray(b"yyyy"), bytearray(b"yyyy")]
    sa = staged(key_in=keys[0], key_out=keys[1], salt_in=keys[2], salt_out=keys[3])
    sa.wipe()
    assert keys == [bytes(16), bytes(16), bytes(4), bytes(4)]


@given(st.sampled_from([Suite.ESP_AES_GCM_16_128, Suite.ESP_AES_GCM_16_256]), st.data())
def test_rfc4106_8_1_keymat_is_key_then_salt(suite: Suite, data: st.DataObject) -> None:
    octets = 20 if suite is Suite.ESP_AES_GCM_16_128 else 36
    keymat_in, keymat_out = (
        data.draw(st.binary(min_size=octets, max_size=octets)) for _ in range(2)
    )
    sa = StagedSa.from_keymat(
        spi_in=256,
        spi_out=257,
        suite=suite,
        peer_ip=IPv4Address("192.0.2.1"),
        keymat_in=keymat_in,
        keymat_out=keymat_out,
    )
    assert sa.key_in + sa.salt_in == keymat_in
    assert sa.key_out + sa.salt_out == keymat_out
    assert len(sa.salt_in) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"suite": Suite.NONE},
        {"spi_in": 255},
        {"spi_out": 0},
        {"spi_in": 1 << 32},
        {"key_in": bytearray(15)},
        {"key_out": bytearray(32)},
        {"salt_in": bytearray(5)},
        {"salt_out": bytearray()},
        {"suite": Suite.ESP_AES_GCM_16_256},
        {"rx_sequence": 1 << 64},
        {"tx_sequence": -1},
        {"esn": False, "rx_sequence": 1 << 32},
    ],
)
def test_what_cannot_be_an_sa_is_refused_without_telling_its_keys(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"suite|spi|octets|sequence") as error:
        staged(**changes)
    assert "KEY" not in str(error.value)
