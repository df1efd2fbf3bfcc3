"""Tests of sw.ipsec.inside: what ESP may hold beside a datagram, and AH may not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.suites import Suite
from sw.ipsec import (
    DropReason,
    EspInbound,
    EspMaterial,
    EspOutbound,
    PacketDroppedError,
    UdpDatagram,
)
from sw.ipsec.inside import AddressPair, build_inside, parse_inside
from sw.ipsec.udp import ANY_PORT
from verif.unit.sw.ipsec.suites import INNER_V4, INNER_V6, V4, V6, keymat, numbers

DATAGRAM = UdpDatagram(40664, 664, b"hold")
ENDS = st.sampled_from([V4, V6, INNER_V4, INNER_V6])


def inside(ends: AddressPair, tunnel: bool) -> tuple[int, bytes]:
    return build_inside(DATAGRAM, ends.source, ends.destination, tunnel=tunnel, number=1)


@given(ENDS, st.booleans(), st.binary(max_size=40))
def test_rfc4303_2_7_padding_that_hides_a_length_is_left_out(
    ends: AddressPair, tunnel: bool, padding: bytes
) -> None:
    next_header, octets = inside(ends, tunnel)
    inner = ends if tunnel else None
    assert (
        parse_inside(next_header, octets + padding, inner=inner, selector=ANY_PORT, padded=True)
        == DATAGRAM
    )


@given(ENDS, st.booleans(), st.binary(min_size=1, max_size=40))
def test_ah_has_no_such_padding(ends: AddressPair, tunnel: bool, padding: bytes) -> None:
    next_header, octets = inside(ends, tunnel)
    inner = ends if tunnel else None
    with pytest.raises(PacketDroppedError) as error:
        parse_inside(next_header, octets + padding, inner=inner, selector=ANY_PORT, padded=False)
    assert error.value.reason is DropReason.SELECTOR


@given(ENDS, st.booleans(), st.booleans())
def test_what_is_cut_is_refused(ends: AddressPair, tunnel: bool, padded: bool) -> None:
    next_header, octets = inside(ends, tunnel)
    for end in range(len(octets)):
        with pytest.raises(PacketDroppedError) as error:
            parse_inside(
                next_header,
                octets[:end],
                inner=ends if tunnel else None,
                selector=ANY_PORT,
                padded=padded,
            )
        assert error.value.reason is DropReason.SELECTOR


@given(ENDS)
def test_a_datagram_shorter_than_the_packet_around_it_is_refused(ends: AddressPair) -> None:
    next_header, octets = inside(ends, True)
    at = len(octets) - 12 + 4
    short = octets[:at] + (11).to_bytes(2, "big") + octets[at + 2 :]
    with pytest.raises(PacketDroppedError) as error:
        parse_inside(next_header, short, inner=ends, selector=ANY_PORT, padded=True)
    assert error.value.reason is DropReason.SELECTOR


@settings(deadline=None)
@given(
    st.integers(0, 255),
    st.binary(max_size=90),
    st.none() | ENDS,
    st.booleans(),
    st.sampled_from([b"", b"\x45", b"\x60"]),
)
def test_any_octets_are_refused_or_a_datagram(
    next_header: int, octets: bytes, inner: AddressPair | None, padded: bool, first: bytes
) -> None:
    try:
        parse_inside(next_header, first + octets, inner=inner, selector=ANY_PORT, padded=padded)
    except PacketDroppedError as error:
        reason = error.reason
    else:
        reason = DropReason.SELECTOR
    assert reason in {DropReason.NEXT_HEADER, DropReason.SELECTOR}


@pytest.mark.parametrize("suite", [s for s in Suite if s.name.startswith("ESP_")])
def test_rfc4303_2_6_a_dummy_packet_holds_nothing_and_uses_its_number(suite: Suite) -> None:
    material = EspMaterial.from_keymat(0x1000, suite, keymat(suite))
    sender = EspOutbound(material, numbers(1, esn=True))
    receiver = EspInbound(material)
    for octets in (b"", b"\0" * 13, b"anything at all"):
        with pytest.raises(PacketDroppedError) as error:
            receiver.open(sender.seal(octets, 59))
        assert error.value.reason is DropReason.DUMMY
    assert receiver.right_edge == 3
    assert receiver.drops == {DropReason.DUMMY: 3}
    datagram = sender.seal_udp(DATAGRAM, V4.source, V4.destination)
    assert receiver.open(datagram).datagram == DATAGRAM


def test_addresses_of_two_families_are_refused() -> None:
    with pytest.raises(ValueError, match="two families"):
        AddressPair(V4.source, V6.source)
    with pytest.raises(ValueError, match="two families"):
        build_inside(DATAGRAM, V4.source, V6.source, tunnel=True, number=1)
