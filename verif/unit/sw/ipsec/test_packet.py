"""Tests of sw.ipsec.packet with all beneath it: every suite, mode and IP version."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.headers import PORT_ESP_IN_UDP
from spec.suites import SUITES, Suite
from sw.ipsec import (
    AhOutbound,
    DropReason,
    EspOutbound,
    PacketInbound,
    PacketOutbound,
    SequenceExhaustedError,
    UdpDatagram,
)
from sw.ipsec.ip import build_ip
from verif.unit.sw.ipsec.suites import (
    FORMS,
    INNER_V4,
    INNER_V6,
    V4,
    V6,
    Form,
    kernel_cases,
    kernel_inbound,
    name_of,
    numbers,
    refusal,
)
from verif.vectors.xfrm import Case

DATAGRAM = UdpDatagram(40664, 664, b"a reset, please")
FORM = st.sampled_from(FORMS)


# --- what a kernel sent ---------------------------------------------------------------------------


@pytest.mark.parametrize("case", kernel_cases(), ids=lambda case: str(case.name))
def test_frames_of_a_linux_kernel(case: Case) -> None:
    inbound = kernel_inbound(case)
    assert len(case.frames) == 23
    for frame, payload in zip(case.frames, case.payloads, strict=True):
        packet = frame[14:]
        if packet[9] == 17 and packet[0] >> 4 == 4:  # in UDP: its header away, as a socket does
            assert int.from_bytes(packet[22:24], "big") == PORT_ESP_IN_UDP
            esp = packet[28:]
            packet = packet[:2] + (20 + len(esp)).to_bytes(2, "big") + packet[4:9] + b"\x32"
            packet += frame[24:34] + esp
        for end in (*range(0, min(60, len(packet)), 7), len(packet) - 1):
            refusal(inbound, packet[:end])
        assert inbound.open(packet).datagram == UdpDatagram(40664, case.destination_port, payload)
        assert refusal(inbound, packet) is DropReason.REPLAY_DUPLICATE
    assert inbound.accepted == 23


# --- our own two ends -----------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(FORM, st.binary(max_size=200), st.data(), st.sampled_from([4, 8]))
def test_round_trip(form: Form, payload: bytes, data: st.DataObject, align: int) -> None:
    last = (1 << (64 if form.esn else 32)) - 1
    number = data.draw(st.integers(1, 100) | st.integers(1, last))
    behind = data.draw(st.integers(0, min(number - 1, 1 << 20)))
    form = Form(form.suite, form.esn, form.outer, form.inner, align)
    datagram = UdpDatagram(40664, 664, payload)
    packet = form.outbound(number).seal_udp(datagram)
    inbound = form.inbound(number - 1 - behind)
    opened = inbound.open(packet)
    assert (opened.sequence, opened.datagram) == (number, datagram)
    assert refusal(inbound, packet) is DropReason.REPLAY_DUPLICATE


MUTABLE_V4 = {1, 6, 7, 8, 10, 11}
"""Octets of the IPv4 header that may change on the way."""


def flips_that_pass(form: Form, octet: int, bit: int) -> bool:
    """Whether this bit of the outer header is one that nothing protects."""
    outer_v4 = form.outer.source.version == 4
    if SUITES[form.suite].protocol.name != "ESP":
        if outer_v4:
            # The fragment offset and "more fragments" would make it a fragment.
            return octet in MUTABLE_V4 and not (octet == 7 or (octet == 6 and bit not in (6, 7)))
        return (octet == 0 and bit < 4) or octet in (1, 2, 3, 7)
    # Around ESP nothing but length, version, protocol and, in transport mode, addresses matter.
    if outer_v4:
        if octet in (1, 4, 5, 8, 10, 11) or (octet == 6 and bit in (6, 7)):
            return True
        return form.inner is not None and 12 <= octet < 20
    if (octet == 0 and bit < 4) or octet in (1, 2, 3, 7):
        return True
    return form.inner is not None and 8 <= octet < 40


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_every_single_bit_flip_is_refused(form: Form) -> None:
    packet = form.outbound(5).seal_udp(DATAGRAM)
    inbound = form.inbound()
    for octet in range(len(packet)):
        for bit in range(8):
            forged = bytearray(packet)
            forged[octet] ^= 1 << bit
            if octet < (20 if form.outer is V4 else 40) and flips_that_pass(form, octet, bit):
                assert form.inbound().open(bytes(forged)).datagram == DATAGRAM
                continue
            reason = refusal(inbound, bytes(forged))
            if reason is DropReason.SELECTOR:  # the addresses around ESP: it was authentic
                assert 8 <= octet < 40
                inbound = form.inbound()
                continue
            assert reason in {
                DropReason.IP_HEADER,
                DropReason.PROTOCOL,
                DropReason.UNKNOWN_SPI,
                DropReason.LENGTH,
                DropReason.REPLAY_OLD,
                DropReason.ICV,
                DropReason.IP_OPTION,
            }
    assert inbound.open(packet).datagram == DATAGRAM


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_truncation_at_each_octet_is_refused(form: Form) -> None:
    packet = form.outbound().seal_udp(DATAGRAM)
    inbound = form.inbound()
    header_octets = 20 if form.outer is V4 else 40
    for end in range(len(packet)):
        assert refusal(inbound, packet[:end]) is DropReason.IP_HEADER
        cut = bytearray(packet[:end])
        if end >= header_octets:  # and its length made to fit
            if form.outer is V4:
                cut[2:4] = end.to_bytes(2, "big")
            else:
                cut[4:6] = (end - 40).to_bytes(2, "big")
            assert refusal(inbound, bytes(cut)) in {
                DropReason.LENGTH,
                DropReason.ICV,
                DropReason.UNKNOWN_SPI,
            }
    assert inbound.open(packet).datagram == DATAGRAM


@settings(deadline=None, max_examples=200)
@given(FORM, st.binary(max_size=120), st.sampled_from([b"", b"\x45", b"\x60", b"\x46"]))
def test_any_octets_are_refused(form: Form, octets: bytes, first: bytes) -> None:
    refusal(form.inbound(), first + octets)


# --- windows and numbers --------------------------------------------------------------------------

BOTH = [suite for suite, facts in SUITES.items() if facts.has_outer]


@pytest.mark.parametrize("suite", BOTH)
@pytest.mark.parametrize("forged_half", ["esp", "ah"])
def test_both_windows_move_or_none(suite: Suite, forged_half: str) -> None:
    form = Form(suite)
    esp, ah = form.halves()
    assert esp is not None
    assert ah is not None
    inbound = form.around(esp, ah)
    good = form.outbound(7, 9).seal_udp(DATAGRAM)
    if forged_half == "ah":
        assert refusal(inbound, good[:-1] + bytes((good[-1] ^ 1,))) is DropReason.ICV
    else:
        # AH is right around an ESP that is not: who holds the key of AH alone.
        outer_esp, outer_ah = form.materials()
        assert outer_esp is not None
        assert outer_ah is not None
        sender = EspOutbound(outer_esp, numbers(7, esn=True))
        sealed = sender.seal_udp(DATAGRAM, V4.source, V4.destination)
        wrong = sealed[:-1] + bytes((sealed[-1] ^ 1,))
        packet = build_ip(V4.source, V4.destination, 50, wrong, number=1)
        around = AhOutbound(outer_ah, numbers(9, esn=True)).seal(packet)
        assert refusal(inbound, around.pack()) is DropReason.ICV
    assert (esp.right_edge, ah.right_edge) == (0, 0)
    assert inbound.open(good).sequence == 7
    assert (esp.right_edge, ah.right_edge) == (7, 9)


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from([form for form in FORMS if form.inner is None]),
    st.sampled_from([32, 64, 1024]),
    st.sampled_from([0, (1 << 32) - 40, (1 << 32) + 40]),
    st.lists(st.integers(1, 130) | st.integers(1, 2200), max_size=12),
)
def test_replay_against_a_set_of_all_numbers(
    form: Form, size: int, edge: int, steps: list[int]
) -> None:
    if not form.esn:
        edge = min(edge, (1 << 32) - 3000)
    inbound = form.inbound(edge, size)
    base, seen = max(0, edge - 60), {edge}
    for step in steps:
        number = base + step
        packet = form.outbound(number).seal_udp(DATAGRAM)
        if number <= edge - size:
            # With ESN a number so old is read as one of the next run, which the ICV refutes.
            assert refusal(inbound, packet) in {DropReason.REPLAY_OLD, DropReason.ICV}
        elif number in seen:
            assert refusal(inbound, packet) is DropReason.REPLAY_DUPLICATE
        else:
            assert inbound.open(packet).sequence == number
            seen.add(number)
            edge = max(edge, number)


@pytest.mark.parametrize("form", FORMS, ids=name_of)
def test_rfc4303_3_3_3_the_number_never_wraps(form: Form) -> None:
    last = (1 << (64 if form.esn else 32)) - 1
    sender = form.outbound(last)
    assert form.inbound(last - 1).open(sender.seal_udp(DATAGRAM)).sequence == last
    for _ in range(3):
        with pytest.raises(SequenceExhaustedError):
            sender.seal_udp(DATAGRAM)


# --- selectors, and halves that are no suite ------------------------------------------------------


@pytest.mark.parametrize("suite", list(SUITES))
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (Form(Suite.NONE, inner=INNER_V4), Form(Suite.NONE, inner=INNER_V6)),
        (Form(Suite.NONE, inner=INNER_V4), Form(Suite.NONE)),
        (Form(Suite.NONE), Form(Suite.NONE, inner=INNER_V4)),
        (Form(Suite.NONE, outer=V6), Form(Suite.NONE)),
        (Form(Suite.NONE, inner=V4), Form(Suite.NONE, inner=INNER_V4)),
    ],
)
def test_rfc4301_5_2_other_mode_or_addresses_are_refused(
    suite: Suite, sent: Form, expected: Form
) -> None:
    sent = Form(suite, outer=sent.outer, inner=sent.inner)
    expected = Form(suite, outer=expected.outer, inner=expected.inner)
    reason = refusal(expected.inbound(), sent.outbound().seal_udp(DATAGRAM))
    assert reason in {DropReason.NEXT_HEADER, DropReason.SELECTOR}


@pytest.mark.parametrize("suite", BOTH)
def test_neither_half_is_taken_alone(suite: Suite) -> None:
    form = Form(suite)
    esp, ah = form.materials()
    assert esp is not None
    assert ah is not None
    sealed = EspOutbound(esp, numbers(1, esn=True)).seal_udp(DATAGRAM, V4.source, V4.destination)
    bare = build_ip(V4.source, V4.destination, 50, sealed)
    assert refusal(form.inbound(), bare.pack()) is DropReason.PROTOCOL
    alone = PacketOutbound(V4, ah=AhOutbound(ah, numbers(1, esn=True))).seal_udp(DATAGRAM)
    assert refusal(form.inbound(), alone) is DropReason.PROTOCOL
    with pytest.raises(ValueError, match="needs an AH SA"):
        PacketInbound(esp=form.halves()[0])


def test_halves_that_are_no_suite_are_refused() -> None:
    gcm = Form(Suite.ESP_AES_GCM_16_128).halves()[0]
    ah = Form(Suite.AH_HMAC_SHA_256_128).halves()[1]
    gmac = Form(Suite.AH_AES_GMAC_128).halves()[1]
    inner = Form(Suite.AH_HMAC_SHA_256_128_ESP_AES_GCM_16_128).halves()[0]
    short = Form(Suite.AH_HMAC_SHA_256_128, esn=False).halves()[1]
    for halves, match in (
        ({}, "neither"),
        ({"esp": gcm, "ah": ah}, "no AH SA"),
        ({"esp": inner, "ah": gmac}, "needs an AH SA with"),
        ({"esp": inner, "ah": short}, "for both"),
        ({"esp": gcm, "inner": V4}, "selectors"),
    ):
        with pytest.raises(ValueError, match=match):
            PacketInbound(**halves)
