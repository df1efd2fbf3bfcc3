"""What is told of a host is JSON, the same with and without a station, and has no key in it."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sw.ike.secret import Secret
from sw.station.describe import describe_record, spi_text
from sw.station.records import HostRecord, SaRecord
from verif.unit.sw.station.shelf import sa_record, sa_records

HOST = HostRecord(1, "host", IPv4Address("192.0.2.10"), "host.example", Secret(b"PSKPSKPSK"))


@given(st.lists(sa_records(), max_size=4), st.none() | st.floats())
def test_anything_can_be_told(sas: list[SaRecord], last: float | None) -> None:
    told: Any = describe_record(replace(HOST, refresh_last=last), sas)
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    for sa in sas:
        keys = sa.keys
        for key in (keys.key_in, keys.key_out, keys.auth_in, keys.auth_out):
            assert not len(key) or key.reveal().hex() not in json.dumps(told)
    assert "PSK" not in json.dumps(told)


@pytest.mark.parametrize("time", [1e300, -1e300, float("nan"), float("inf"), 1e12])
def test_a_time_that_is_none_is_not_told(time: float) -> None:
    told: Any = describe_record(replace(HOST, refresh_last=time), [sa_record(created=time)])
    assert told["refresh"]["last"] is None
    assert told["held"][0]["created"] is None


def test_the_newest_proven_sa_is_the_one_in_use() -> None:
    sas = [sa_record(1, proven_at=1.0), sa_record(2, proven_at=2.0), sa_record(3)]
    told: Any = describe_record(HOST, sas)
    assert told["sa"]["generation"] == 2
    assert told["sa"]["spi_in_use"] == spi_text(sas[1].spi_out)
    told = describe_record(HOST, [sa_record(1), sa_record(2)])
    assert told["sa"]["generation"] == 2
    assert describe_record(HOST, [])["sa"] is None


def test_spi_text() -> None:
    assert spi_text(0x12AB) == "0x000012ab"
    assert spi_text(None) is None
