"""Cookies."""

from __future__ import annotations

from sw.ike.cookies import CookieJar
from verif.unit.sw.ike.net import rng_of

ARGS = (b"n" * 32, "192.0.2.1", b"spi_of_i")


def jar() -> CookieJar:
    return CookieJar(rng_of(5), 60)


def test_rfc7296_2_6_bound_to_nonce_address_and_spi() -> None:
    cookies = jar()
    cookie = cookies.make(*ARGS, 0.0)
    assert 1 <= len(cookie) <= 64
    assert cookies.check(cookie, *ARGS, 1.0)
    assert not cookies.check(cookie, b"m" * 32, *ARGS[1:], 1.0)
    assert not cookies.check(cookie, ARGS[0], "192.0.2.2", ARGS[2], 1.0)
    assert not cookies.check(cookie, *ARGS[:2], b"spi_of_j", 1.0)
    for bad in (b"", b"\0", cookie[:-1], cookie + b"\0", bytes([cookie[0] ^ 1]) + cookie[1:]):
        assert not cookies.check(bad, *ARGS, 1.0)


def test_rfc7296_2_6_secret_is_renewed_and_the_last_one_honoured() -> None:
    cookies = jar()
    cookie = cookies.make(*ARGS, 0.0)
    assert cookies.check(cookie, *ARGS, 61.0)
    assert cookies.make(*ARGS, 62.0) != cookie
    assert not cookies.check(cookie, *ARGS, 125.0)


def test_long_silence_voids_old_cookies() -> None:
    cookies = jar()
    cookie = cookies.make(*ARGS, 0.0)
    assert not cookies.check(cookie, *ARGS, 500.0)


def test_versions_wrap() -> None:
    cookies = jar()
    for step in range(300):
        now = step * 61.0
        assert cookies.check(cookies.make(*ARGS, now), *ARGS, now)
