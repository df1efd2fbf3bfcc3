"""Tests of sw.rmcp.client."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.rmcp import CommitResult
from sw import rmcp
from sw.rmcp import (
    PENDING_MAX,
    RequestCompleted,
    RequestTimedOut,
    RetryPolicy,
    RmcpAck,
    RmcpBusyError,
    RmcpClient,
    RmcpMessage,
    RmcpNumbers,
    build,
    parse,
)

RETRY = RetryPolicy(first_s=1.0, factor=2.0, longest_s=3.0, attempts=3)


def client() -> RmcpClient:
    return RmcpClient(RmcpNumbers(10, 20), retry=RETRY)


def answer(payload: bytes, body: rmcp.Response) -> bytes:
    message = parse(payload)
    assert isinstance(message, RmcpMessage)
    return build(RmcpMessage(0xFF, message.tag, body))


def ack(payload: bytes) -> bytes:
    return payload[:3] + b"\x86"


def test_power_command_completes_on_its_ack() -> None:
    c = client()
    token = c.request(rmcp.Reset(), 0.0)
    (datagram,) = c.datagrams_to_send(0.0)
    assert datagram.token == token
    assert datagram.payload.hex(" ", 4) == "06000a06 000011be 10140000"
    assert c.next_event() is None
    c.receive_datagram(b"\x06\x00\x0a\x86", 0.1)
    assert c.next_event() == RequestCompleted(token, rmcp.Reset(), None)
    assert c.next_event() is None
    assert c.get_timer() is None


def test_dsp0136_3_2_2_2_retry_has_the_same_octets_and_waits_longer_each_time() -> None:
    c = client()
    token = c.request(rmcp.PowerCycle(), 0.0)
    sent = []
    times = []
    while (due := c.get_timer()) is not None:
        c.handle_timer(due)
        for datagram in c.datagrams_to_send(due):
            sent.append(datagram.payload)
            times.append(due)
    assert len(set(sent)) == 1
    assert times == [0.0, 1.0, 3.0]
    assert c.next_event() == RequestTimedOut(token, rmcp.PowerCycle(), acknowledged=False)
    assert c.pending == 0


def test_nothing_is_sent_before_it_is_due() -> None:
    c = client()
    c.request(rmcp.PresencePing(), 5.0)
    assert c.datagrams_to_send(4.0) == []
    assert len(c.datagrams_to_send(5.0)) == 1
    assert c.datagrams_to_send(5.9) == []
    assert len(c.datagrams_to_send(6.0)) == 1


def test_query_completes_on_its_response_only() -> None:
    c = client()
    token = c.request(rmcp.SystemStateRequest(), 0.0)
    (datagram,) = c.datagrams_to_send(0.0)
    c.receive_datagram(ack(datagram.payload), 0.1)
    assert c.next_event() is None
    (again,) = c.datagrams_to_send(1.0)
    assert again.payload == datagram.payload
    c.receive_datagram(answer(datagram.payload, rmcp.SystemStateResponse(8)), 1.1)
    assert c.next_event() == RequestCompleted(
        token, rmcp.SystemStateRequest(), rmcp.SystemStateResponse(8)
    )


def test_time_out_of_a_query_tells_that_it_was_acknowledged() -> None:
    c = client()
    token = c.request(rmcp.PresencePing(), 0.0)
    (datagram,) = c.datagrams_to_send(0.0)
    c.receive_datagram(ack(datagram.payload), 0.1)
    for now in (1.0, 3.0, 6.0):
        c.handle_timer(now)
        c.datagrams_to_send(now)
    assert c.next_event() == RequestTimedOut(token, rmcp.PresencePing(), acknowledged=True)


def test_response_of_another_type_or_tag_is_ignored() -> None:
    c = client()
    c.request(rmcp.PresencePing(), 0.0)
    (datagram,) = c.datagrams_to_send(0.0)
    c.receive_datagram(answer(datagram.payload, rmcp.SystemStateResponse()), 0.1)
    c.receive_datagram(build(RmcpMessage(0xFF, 21, rmcp.PresencePong())), 0.1)
    c.receive_datagram(build(RmcpAck(9)), 0.1)
    c.receive_datagram(b"\x06\x00", 0.1)
    # A request that comes back is no answer.
    c.receive_datagram(datagram.payload, 0.1)
    assert c.next_event() is None
    assert c.ignored == 5


def test_nothing_can_answer_before_the_request_was_sent() -> None:
    c = client()
    c.request(rmcp.Reset(), 0.0)
    c.request(rmcp.PresencePing(), 0.0)
    c.receive_datagram(build(RmcpAck(10)), 0.0)
    c.receive_datagram(build(RmcpMessage(0xFF, 21, rmcp.PresencePong())), 0.0)
    assert c.next_event() is None
    assert c.ignored == 2


def test_second_answer_is_ignored() -> None:
    c = client()
    c.request(rmcp.Commit(0x1000), 0.0)
    (datagram,) = c.datagrams_to_send(0.0)
    response = answer(datagram.payload, rmcp.Committed(0x1000, CommitResult.OK))
    c.receive_datagram(response, 0.1)
    c.receive_datagram(response, 0.2)
    assert isinstance(c.next_event(), RequestCompleted)
    assert c.next_event() is None
    assert c.ignored == 1


def test_oem_messages_bear_the_configured_enterprise() -> None:
    c = RmcpClient(enterprise=0x01020304)
    c.request(rmcp.Commit(0xAABBCCDD), 0.0)
    (datagram,) = c.datagrams_to_send(0.0)
    assert datagram.payload.hex() == "06000006" + "01020304" + "80000004" + "aabbccdd"


def test_cancel() -> None:
    c = client()
    token = c.request(rmcp.Reset(), 0.0)
    c.cancel(token)
    c.cancel(token)
    assert c.datagrams_to_send(0.0) == []
    assert c.get_timer() is None


def test_too_many_requests_are_refused_and_take_no_number() -> None:
    c = client()
    for _ in range(PENDING_MAX):
        c.request(rmcp.PresencePing(), 0.0)
    numbers = c.numbers
    with pytest.raises(RmcpBusyError):
        c.request(rmcp.PresencePing(), 0.0)
    assert c.numbers == numbers


def test_a_slow_request_keeps_its_numbers_for_itself() -> None:
    c = RmcpClient(retry=RetryPolicy(first_s=1e6, longest_s=1e6))
    c.request(rmcp.PresencePing(), 0.0)
    c.datagrams_to_send(0.0)
    for _ in range(600):
        token = c.request(rmcp.Reset(), 0.0)
        (datagram,) = c.datagrams_to_send(0.0)
        message = parse(datagram.payload)
        assert isinstance(message, RmcpMessage)
        assert 0 not in (message.sequence, message.tag)
        c.receive_datagram(build(RmcpAck(message.sequence)), 0.0)
        assert c.next_event() == RequestCompleted(token, rmcp.Reset(), None)


@pytest.mark.parametrize(
    "values", [{"first_s": 0.0}, {"factor": 0.5}, {"longest_s": 0.0}, {"attempts": 0}]
)
def test_senseless_retry_policies_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no retry policy"):
        RetryPolicy(**values)


REQUESTS: st.SearchStrategy[rmcp.Request] = st.sampled_from(
    [rmcp.Reset(), rmcp.PowerDown(), rmcp.PresencePing(), rmcp.SystemStateRequest()]
)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_each_request_ends_in_exactly_one_event(data: st.DataObject) -> None:
    """Under loss, duplication and reordering, against a NIC that answers what reaches it."""
    c = client()
    now = 0.0
    asked = {}
    for _ in range(data.draw(st.integers(1, 6))):
        request = data.draw(REQUESTS)
        asked[c.request(request, now)] = request
    ended: dict[int, rmcp.Event] = {}
    on_the_way: list[bytes] = []
    while (due := c.get_timer()) is not None:
        now = max(now, due)
        c.handle_timer(now)
        for datagram in c.datagrams_to_send(now):
            if data.draw(st.booleans()):
                on_the_way.append(ack(datagram.payload))
                body = parse(datagram.payload)
                assert isinstance(body, RmcpMessage)
                if isinstance(body.body, rmcp.PresencePing):
                    on_the_way.append(answer(datagram.payload, rmcp.PresencePong()))
                if isinstance(body.body, rmcp.SystemStateRequest):
                    on_the_way.append(answer(datagram.payload, rmcp.SystemStateResponse()))
        on_the_way = data.draw(st.permutations(on_the_way))
        for payload in on_the_way[: data.draw(st.integers(0, len(on_the_way)))]:
            c.receive_datagram(payload, now)
        while (event := c.next_event()) is not None:
            assert event.token not in ended
            ended[event.token] = event
    assert {token: event.request for token, event in ended.items()} == asked
