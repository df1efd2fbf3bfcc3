"""The holder of secrets."""

from __future__ import annotations

import pickle

import pytest

from sw.ike import Secret


def test_shows_nothing() -> None:
    secret = Secret(b"hunter2!")
    assert "hunter" not in repr(secret) + str(secret) + f"{secret}"
    assert len(secret) == 8
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_wipe() -> None:
    octets = Secret(b"hunter2!")
    octets.wipe()
    assert octets.wiped
    with pytest.raises(ValueError, match="wiped") as caught:
        octets.reveal()
    assert "hunter" not in str(caught.value)
    assert octets != Secret(bytes(8))


def test_compares_by_octets() -> None:
    assert Secret(b"a") == Secret(b"a")
    assert Secret(b"a") != Secret(b"b")
    assert Secret(b"a") != b"a"
    with pytest.raises(TypeError):
        hash(Secret(b"a"))
