"""Tests of sw.rmcp.messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec.host import HostState
from spec.rmcp import CommitResult
from spec.sa import BankState
from sw import rmcp
from sw.rmcp import RmcpAck, RmcpError, RmcpMessage, build, parse

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)
DATA = st.none() | st.builds(
    rmcp.PowerData,
    enterprise=U32,
    special_command=U8,
    special_parameter=U16,
    boot_options=U16,
    oem_parameters=U16,
)
BODIES = st.one_of(
    st.builds(rmcp.Reset, DATA),
    st.builds(rmcp.PowerUp, DATA),
    st.just(rmcp.PowerDown()),
    st.builds(rmcp.PowerCycle, DATA),
    st.just(rmcp.PresencePing()),
    st.builds(rmcp.PresencePong, enterprise=U32, oem=U32, entities=U8, interactions=U8),
    st.just(rmcp.CapabilitiesRequest()),
    st.builds(
        rmcp.CapabilitiesResponse,
        enterprise=U32,
        oem=U32,
        special_commands=U16,
        system=U8,
        firmware=U32,
    ),
    st.just(rmcp.SystemStateRequest()),
    st.builds(rmcp.SystemStateResponse, st.integers(0, 15), st.booleans()),
    st.builds(rmcp.Commit, U32),
    st.builds(rmcp.Committed, U32, st.sampled_from(CommitResult)),
    st.just(rmcp.SaStatusRequest()),
    st.just(rmcp.Zeroise()),
    st.just(rmcp.Zeroising()),
    st.builds(
        rmcp.SaStatusResponse,
        st.sampled_from(BankState),
        st.sampled_from(BankState),
        U8,
        st.sampled_from(HostState),
        U32,
        U32,
    ),
)
MESSAGES = st.builds(RmcpAck, U8) | st.builds(RmcpMessage, U8, U8, BODIES)

# Written down from DSP0136 and docs/rmcp.md by hand: an oracle that shares nothing with `spec`.
LITERAL = [
    ("06 00 05 86", RmcpAck(5)),
    ("06 00 ff 06 000011be 80 01 00 00", RmcpMessage(255, 1, rmcp.PresencePing())),
    (
        "06 00 ff 06 000011be 40 01 00 10 000011be 00000000 01 00 000000000000",
        RmcpMessage(255, 1, rmcp.PresencePong()),
    ),
    ("06 00 07 06 000011be 81 02 00 00", RmcpMessage(7, 2, rmcp.CapabilitiesRequest())),
    (
        "06 00 ff 06 000011be 41 02 00 10 000011be 00000000 001f 0f 67f80000 00",
        RmcpMessage(255, 2, rmcp.CapabilitiesResponse()),
    ),
    ("06 00 08 06 000011be 82 03 00 00", RmcpMessage(8, 3, rmcp.SystemStateRequest())),
    (
        "06 00 ff 06 000011be 42 03 00 04 08 01 0000",
        RmcpMessage(255, 3, rmcp.SystemStateResponse(8, True)),
    ),
    ("06 00 09 06 000011be 10 04 00 00", RmcpMessage(9, 4, rmcp.Reset())),
    (
        "06 00 09 06 000011be 10 04 00 0b 000011be 01 0203 0405 0607",
        RmcpMessage(
            9,
            4,
            rmcp.Reset(
                rmcp.PowerData(
                    special_command=1,
                    special_parameter=0x203,
                    boot_options=0x405,
                    oem_parameters=0x607,
                )
            ),
        ),
    ),
    ("06 00 0a 06 000011be 11 05 00 00", RmcpMessage(10, 5, rmcp.PowerUp())),
    ("06 00 0b 06 000011be 12 06 00 00", RmcpMessage(11, 6, rmcp.PowerDown())),
    ("06 00 0c 06 000011be 13 07 00 00", RmcpMessage(12, 7, rmcp.PowerCycle())),
    ("06 00 0d 06 00007ed9 80 08 00 04 c0de0101", RmcpMessage(13, 8, rmcp.Commit(0xC0DE0101))),
    (
        "06 00 ff 06 00007ed9 40 08 00 08 c0de0101 01 000000",
        RmcpMessage(255, 8, rmcp.Committed(0xC0DE0101, CommitResult.NO_SUCH_SPI)),
    ),
    ("06 00 0e 06 00007ed9 81 09 00 00", RmcpMessage(14, 9, rmcp.SaStatusRequest())),
    (
        "06 00 ff 06 00007ed9 41 09 00 0c 04 02 00 03 c0de0101 c0de0102",
        RmcpMessage(
            255,
            9,
            rmcp.SaStatusResponse(
                BankState.PROVEN, BankState.READY, 0, HostState.OS_HUNG, 0xC0DE0101, 0xC0DE0102
            ),
        ),
    ),
    ("06 00 0f 06 00007ed9 82 0a 00 00", RmcpMessage(15, 10, rmcp.Zeroise())),
    ("06 00 ff 06 00007ed9 42 0a 00 00", RmcpMessage(255, 10, rmcp.Zeroising())),
]


@pytest.mark.parametrize(("octets", "message"), LITERAL)
def test_literal_octets(octets: str, message: RmcpMessage | RmcpAck) -> None:
    assert build(message) == bytes.fromhex(octets)
    assert parse(bytes.fromhex(octets)) == message


@given(MESSAGES, U32.filter(lambda number: number != 4542))
def test_round_trip(message: RmcpMessage | RmcpAck, enterprise: int) -> None:
    assert parse(build(message, enterprise=enterprise), enterprise=enterprise) == message


@given(MESSAGES, st.binary(max_size=20))
def test_surplus_octets_are_ignored(message: RmcpMessage | RmcpAck, surplus: bytes) -> None:
    assert parse(build(message) + surplus) == message


@given(MESSAGES)
def test_every_truncation_is_refused(message: RmcpMessage | RmcpAck) -> None:
    octets = build(message)
    for end in range(len(octets)):
        with pytest.raises(RmcpError):
            parse(octets[:end])


@given(st.binary(max_size=60))
def test_any_octets_give_a_message_or_rmcp_error(octets: bytes) -> None:
    try:
        message = parse(octets)
    except RmcpError:
        return
    assert isinstance(message, RmcpMessage | RmcpAck)


@given(st.binary(max_size=40), U8, st.sampled_from([4542, 32473]))
def test_any_data_of_any_type_gives_a_message_or_rmcp_error(
    data: bytes, kind: int, enterprise: int
) -> None:
    octets = b"\x06\x00\x01\x06" + enterprise.to_bytes(4, "big")
    octets += bytes((kind, 2, 0, len(data))) + data
    try:
        message = parse(octets)
    except RmcpError:
        return
    # Reserved octets may be lost on the way, nothing else.
    assert parse(build(message)) == message


@pytest.mark.parametrize(
    "octets",
    [
        "05 00 01 06 000011be 80 01 00 00",  # version
        "06 00 01 07 000011be 80 01 00 00",  # class IPMI
        "06 00 01 26 000011be 80 01 00 00",  # reserved class bits
        "06 00 01 06 000011bf 80 01 00 00",  # enterprise
        "06 00 01 06 000011be 83 01 00 00",  # type
        "06 00 01 06 000011be 80 01 00 01 00",  # ping with data
        "06 00 01 06 000011be 10 01 00 0a 000011be 00 0000 0000 00",  # data too short
        "06 00 01 06 000011be 12 01 00 0b 000011be 00 0000 0000 0000",  # 12h takes none
        "06 00 01 06 000011be 80 01 00 ff",  # lying length
        "06 00 ff 06 00007ed9 40 08 00 08 c0de0101 03 000000",  # commit result
        "06 00 ff 06 00007ed9 41 09 00 0c 06 02 00 03 c0de0101 c0de0102",  # bank state
        "06 00 ff 06 00007ed9 41 09 00 0c 04 02 00 06 c0de0101 c0de0102",  # host state
    ],
)
def test_malformed(octets: str) -> None:
    with pytest.raises(RmcpError):
        parse(bytes.fromhex(octets))


def test_asf_precedes_an_oem_of_the_same_number() -> None:
    octets = build(RmcpMessage(1, 1, rmcp.PresencePing()))
    assert parse(octets, enterprise=4542) == RmcpMessage(1, 1, rmcp.PresencePing())


@pytest.mark.parametrize(
    "message",
    [
        RmcpMessage(256, 0, rmcp.PresencePing()),
        RmcpMessage(0, -1, rmcp.PresencePing()),
        RmcpMessage(0, 0, rmcp.Commit(1 << 32)),
        RmcpMessage(0, 0, rmcp.SystemStateResponse(16)),
    ],
)
def test_values_out_of_range_are_not_built(message: RmcpMessage) -> None:
    with pytest.raises(ValueError, match="exceeds"):
        build(message)
