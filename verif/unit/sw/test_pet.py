"""Tests of alerts taken apart: literal octets, the model's, scapy's, and whatever else comes."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.snmp import (
    SNMP,
    SNMPtrapv1,
    SNMPvarbind,
)

from spec.host import HostEvent, HostState
from sw.pet import Alert, AlertError, parse_alert
from sw.station.alerts import REMEMBERED, AlertLog
from verif.model.host import Event
from verif.model.pet import trap

OS_HUNG = bytes.fromhex(
    "306c 020100 0406 7075626c6963"
    "a45f 0609 2b06010401986f0101 4004 c000020a 020106 0203 206f01 4303 00ea60"
    "303f 303d 060a 2b06010401986f010101 042f"
    "00000000000000000000000000000000 0007 00000000 ffff 50 68 10 ff 00 23 00"
    "a0 02 02 0000000000 ff 00007ed9 0000 c1"
)
"""Written by hand from RFC 1157 and the PET specification: 600 s after power-on."""
ALERT = Alert(
    kind=HostEvent.WATCHDOG,
    sensor=0x20,
    event_type=0x6F,
    offset=1,
    sequence=7,
    severity=0x10,
    entity=35,
    state=HostState.OS_UP,
    before=HostState.OS_UP,
    code=None,
    uptime_s=600.0,
    agent=IPv4Address("192.0.2.10"),
    manufacturer=32473,
)


def test_octets_written_by_hand() -> None:
    assert parse_alert(OS_HUNG) == ALERT
    event = Event(0, HostEvent.WATCHDOG, HostState.OS_UP, HostState.OS_UP, 0)
    assert trap(event, 7, 60_000, 0xC000020A, 32473) == OS_HUNG


@given(
    st.sampled_from(list(HostEvent)),
    st.sampled_from(list(HostState)),
    st.sampled_from(list(HostState)),
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
)
def test_whatever_a_nic_tells(
    kind: HostEvent, state: HostState, before: HostState, code: int, sequence: int, ticks: int
) -> None:
    alert = parse_alert(trap(Event(0, kind, state, before, code), sequence, ticks, 1, 2))
    coded = kind.name.startswith("BOOT") or kind.name.endswith("LIMIT")
    assert alert.kind is kind
    assert (alert.state, alert.before) == ((None, None) if coded else (state, before))
    assert alert.code == (code if coded else None)
    assert (alert.sequence, alert.uptime_s) == (sequence, ticks / 100)


def test_long_lengths_and_longer_bindings_of_other_agents() -> None:
    binding = OS_HUNG[-47:-1] + b"\x01" * 200 + b"\xc1"
    message = SNMP(
        community="private",
        PDU=SNMPtrapv1(
            enterprise="1.3.6.1.4.1.3183.1.1",
            agent_addr="192.0.2.10",
            generic_trap=6,
            specific_trap=0x206F01,
            time_stamp=60_000,
            varbindlist=[SNMPvarbind(oid="1.3.6.1.4.1.3183.1.1.1", value=binding)],
        ),
        version=0,
    )
    assert parse_alert(bytes(message)) == ALERT


def test_a_trap_not_known_here_is_told_as_it_is() -> None:
    octets = OS_HUNG.replace(bytes.fromhex("0203 206f01"), bytes.fromhex("0203 046f01"))
    wanted = replace(ALERT, kind=None, sensor=4, state=None, before=None)
    assert parse_alert(octets) == wanted
    other = OS_HUNG.replace(b"\xa0\x02\x02", b"\xa0\x0e\x02")
    assert parse_alert(other) == replace(ALERT, state=None)


@pytest.mark.parametrize(
    ("found", "instead", "words"),
    [
        ("306c", "316c", "tag 0x31 where SEQUENCE belongs"),
        ("306c", "306d", "the SEQUENCE in the message is longer"),
        ("306c", "3080", "a length in the message has 0 octets"),
        ("306c", "3083", "a length in the message has 3 octets"),
        ("306c", "306b", "1 octets behind the message"),
        ("020100", "020101", "SNMP version 1, not 1"),
        ("020100", "020180", "80 in the message is no such number"),
        ("a45f", "a75f", "tag 0xa7 where TRAP_PDU belongs"),
        ("0609 2b", "0609 2c", "enterprise 1.4.6"),
        ("986f0101 4004", "986f0181 4004", "object identifier in the trap has no end"),
        ("020106", "020105", "generic trap 5"),
        ("060a 2b06010401986f010101", "060a 2b06010401986f010102", "variable 1.3.6.1.4.1.3183"),
        ("4303 00ea60", "4103 00ea60", "tag 0x41 where TIME_TICKS belongs"),
    ],
)
def test_what_is_wrong_is_said(found: str, instead: str, words: str) -> None:
    spoilt = OS_HUNG.replace(bytes.fromhex(found), bytes.fromhex(instead), 1)
    assert spoilt != OS_HUNG
    with pytest.raises(AlertError, match=words):
        parse_alert(spoilt)


def test_a_binding_that_is_too_short() -> None:
    with pytest.raises(AlertError, match="a PET of 46 octets"):
        parse_alert(
            OS_HUNG[:-1]
            .replace(b"\x30\x6c", b"\x30\x6b", 1)
            .replace(b"\xa4\x5f", b"\xa4\x5e", 1)
            .replace(b"\x30\x3f\x30\x3d", b"\x30\x3e\x30\x3c", 1)
            .replace(b"\x04\x2f", b"\x04\x2e", 1)
        )


@given(st.binary(max_size=200))
def test_any_octets_are_an_alert_or_an_alert_error(octets: bytes) -> None:
    with pytest.raises(AlertError):
        parse_alert(octets)


@given(st.data())
def test_any_change_is_an_alert_or_an_alert_error(data: st.DataObject) -> None:
    octets = bytearray(OS_HUNG)
    for _ in range(data.draw(st.integers(1, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(octets)))
    with contextlib.suppress(AlertError):
        parse_alert(bytes(octets[:cut]))


def test_sent_again_it_is_the_same_alert_for_a_minute() -> None:
    log = AlertLog()
    assert log.receive(OS_HUNG, 100.0) == ALERT
    assert log.receive(OS_HUNG, 130.0) is None
    assert log.receive(OS_HUNG, 159.9) is None
    assert log.receive(OS_HUNG, 160.0) == ALERT
    assert [(heard.at, heard.times) for heard in log.heard] == [(100.0, 3), (160.0, 1)]


def test_no_alert_is_counted_and_told() -> None:
    log = AlertLog()
    with pytest.raises(AlertError, match="ends before"):
        log.receive(b"", 1.0)
    assert (log.refused, log.heard) == (1, ())


def test_the_oldest_are_forgotten() -> None:
    log = AlertLog()
    event = Event(0, HostEvent.TAMPER, HostState.OS_UP, HostState.OS_UP, 0)
    for number in range(REMEMBERED + 5):
        log.receive(trap(event, number, 0, 0, 0), 0.0)
    assert len(log.heard) == REMEMBERED
    assert log.heard[0].alert.sequence == 5
