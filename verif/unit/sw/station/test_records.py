"""The records: what the commit machine sees of them, and what nobody does."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given

from sw.ike.secret import Secret
from sw.station.commit_words import Sa
from sw.station.records import HostRecord, SaRecord
from verif.unit.sw.station.shelf import sa_record, sa_records


@given(sa_records())
def test_what_the_commit_machine_sees(sa: SaRecord) -> None:
    used = sa.used or sa.tx_reserved > 0
    assert sa.view == Sa(sa.generation, sa.spi_out, used, sa.proven_at is not None)


def test_numbers_that_were_reserved_count_as_used() -> None:
    fresh = sa_record()
    assert not fresh.view.used
    assert replace(fresh, tx_reserved=1).view.used
    assert replace(fresh, used=True).view.used
    assert replace(fresh, proven_at=0.0).view.proven


def test_keys_show_nowhere() -> None:
    sa = sa_record()
    host = HostRecord(1, "host", IPv4Address("192.0.2.10"), "host.example", Secret(b"PSKPSK"))
    for shown in (repr(sa), repr(sa.keys), repr(host), str(sa), f"{host}"):
        assert "KKKK" not in shown
        assert b"K".hex() * 4 not in shown
        assert "PSK" not in shown
