"""One host's session, with a true store; wire and IKE write down what they were asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spec.host import HostState
from spec.sa import BankState
from sw.rmcp import (
    PowerCycle,
    PowerDown,
    PowerUp,
    PresencePing,
    PresencePong,
    Reset,
    RetryPolicy,
    RmcpAck,
    RmcpMessage,
    SaStatusRequest,
    SaStatusResponse,
    build,
    parse,
)
from sw.rmcp.messages import Body
from sw.station.interfaces import PowerOutcome, Tuning
from sw.station.records import HostRecord, SaRecord
from sw.station.requests import POWER_MAX
from sw.station.session import HostSession
from sw.station.store import Store
from verif.unit.sw.station.shelf import Shelf, add_host, sa_record

TUNING = Tuning(
    poll_s=5.0,
    refresh_s=3600.0,
    exchange_retry_s=10.0,
    ready_s=30.0,
    enterprise=0x9999,
    rmcp=RetryPolicy(first_s=0.5, attempts=3),
)
POWER = (Reset, PowerUp, PowerDown, PowerCycle)


@dataclass
class Recorder:
    """Stands for `Wire` and `Exchanges`."""

    sent: list[tuple[int, bytes]] = field(default_factory=list)
    clear: list[bytes] = field(default_factory=list)
    begun: list[int | None] = field(default_factory=list)
    edges: dict[int, int] = field(default_factory=dict)

    def add(self, sa: SaRecord, reserve: Callable[[int], int]) -> None:
        self.edges[sa.spi_in] = sa.rx_edge

    def remove(self, spi_in: int) -> None:
        del self.edges[spi_in]

    def send(self, spi_in: int, payload: bytes) -> None:
        assert spi_in in self.edges
        self.sent.append((spi_in, payload))

    def send_clear(self, address: IPv4Address, payload: bytes) -> None:
        self.clear.append(payload)

    def right_edge(self, spi_in: int) -> int:
        return self.edges[spi_in]

    def begin(self, host: HostRecord, replaces: int | None) -> None:
        self.begun.append(replaces)

    def delete_child(self, host: HostRecord, spi_in: int) -> None:
        pass

    def drop(self, host: HostRecord) -> None:
        pass

    def messages(self) -> list[RmcpMessage]:
        found = [parse(payload, enterprise=0x9999) for _, payload in self.sent]
        return [message for message in found if isinstance(message, RmcpMessage)]

    def power(self) -> list[RmcpMessage]:
        return [message for message in self.messages() if isinstance(message.body, POWER)]


@dataclass
class Stage:
    """A store with one host, and sessions on it."""

    store: Store
    host: HostRecord
    recorder: Recorder

    def session(self, now: float = 0.0, **tuning: Any) -> HostSession:
        self.recorder.edges.clear()
        return HostSession(
            self.store.host("host"),
            store=self.store,
            wire=self.recorder,
            exchanges=self.recorder,
            tuning=replace(TUNING, **tuning),
            wall=lambda: 1e9 + now,
            now=now,
        )

    def answer(self, session: HostSession, body: Body | None, now: float) -> None:
        """The NIC answers the last message, with an ACK if `body` is None."""
        spi_in, payload = self.recorder.sent[-1]
        asked = parse(payload, enterprise=0x9999)
        assert isinstance(asked, RmcpMessage)
        answer = RmcpAck(asked.sequence) if body is None else replace(asked, body=body)
        session.receive(spi_in, build(answer, enterprise=0x9999), now)


STATUS = SaStatusResponse(
    BankState.PROVEN, BankState.EMPTY, 0, HostState.OS_UP, sa_record(1).spi_out, 0
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    store = Shelf(tmp_path).open()
    yield Stage(store, add_host(store), Recorder())
    store.close()


@pytest.fixture
def proven(stage: Stage) -> Stage:
    """With an SA that worked."""
    stage.store.add_sa(stage.host.id, sa_record(1))
    stage.store.mark_proven(stage.host.id, 1, (), 1e9)
    return stage


# --- nothing in clear ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", POWER)
def test_figure_6_row_6_without_an_sa_power_is_refused(
    stage: Stage, kind: type[Reset | PowerUp | PowerDown | PowerCycle]
) -> None:
    """SEC: STATION.NO_CLEAR_POWER. Also to a host that says in clear that it is there."""
    outcomes: list[PowerOutcome] = []
    session = stage.session()
    session.tick(0.0)
    ping = parse(stage.recorder.clear[-1], enterprise=0x9999)
    assert isinstance(ping, RmcpMessage)
    session.receive_clear(build(replace(ping, body=PresencePong())), 0.1)
    assert session.shown_state is HostState.COLD_BOOT
    session.power(kind(), outcomes.append, 0.2)
    session.tick(60.0)
    assert [bool(outcome.refused) for outcome in outcomes] == [True]
    assert "nothing is sent in clear" in outcomes[0].refused
    assert stage.recorder.sent == []
    assert_only_pings(stage.recorder)


def assert_only_pings(recorder: Recorder) -> None:
    for payload in recorder.clear:
        message = parse(payload)
        assert isinstance(message, RmcpMessage)
        assert message.body == PresencePing()


CALLS = st.sampled_from(["tick", "power", "answer", "clear", "rubbish", "failed"])


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(st.tuples(CALLS, st.floats(0, 4.0)), max_size=25), held=st.booleans())
def test_whatever_happens_only_pings_go_in_clear(
    tmp_path: Path, steps: list[tuple[str, float]], held: bool
) -> None:
    """SEC: STATION.NO_CLEAR_POWER."""
    store = Shelf(tmp_path).open()
    stage = Stage(store, add_host(store), Recorder())
    if held:
        store.add_sa(stage.host.id, sa_record(1))
    session, now = stage.session(), 0.0
    for step, wait in steps:
        now += wait
        match step:
            case "tick":
                session.tick(now)
            case "power":
                session.power(Reset(), lambda _: None, now)
            case "answer" if stage.recorder.sent:
                stage.answer(session, STATUS, now)
            case "clear" if stage.recorder.clear:
                session.receive_clear(stage.recorder.clear[-1], now)
            case "rubbish":
                session.receive(sa_record(1).spi_in, b"rubbish", now)
                session.receive_clear(b"rubbish", now)
            case "failed":
                session.exchange_failed("no answer", now)
    assert_only_pings(stage.recorder)
    assert held or not stage.recorder.sent
    store.remove_host("host")
    store.close()


def test_what_is_said_in_clear_is_believed_by_nobody(proven: Stage) -> None:
    """Not even an answer to what was asked under the SA."""
    session = proven.session()
    session.tick(0.0)
    spi_in, payload = proven.recorder.sent[-1]
    asked = parse(payload, enterprise=0x9999)
    assert isinstance(asked, RmcpMessage)
    session.receive_clear(build(replace(asked, body=STATUS), enterprise=0x9999), 0.1)
    assert session.state is None
    assert session.answering is None
    session.receive(spi_in + 1, build(replace(asked, body=STATUS), enterprise=0x9999), 0.1)
    assert session.answering is None
    session.receive(spi_in, build(replace(asked, body=STATUS), enterprise=0x9999), 0.1)
    assert session.shown_state is HostState.OS_UP


# --- numbers ------------------------------------------------------------------------------------


def test_dsp0136_3_2_2_no_power_command_has_the_numbers_of_another(proven: Stage) -> None:
    """SEC: STATION.RESERVE_BEFORE_USE. Over stations that were killed one after another."""
    for _ in range(4):
        session = proven.session()
        for command in range(6):
            session.power(Reset(), lambda _: None, command * 1e-3)
            session.tick(command * 1e-3)
    pairs = [(message.sequence, message.tag) for message in proven.recorder.power()]
    assert len(pairs) == 24
    assert len(set(pairs)) == len(pairs)
    kept = proven.store.host("host").power_numbers
    assert all(kept[sequence] == tag for sequence, tag in pairs)


def test_a_number_that_the_nic_remembers_is_passed_over(proven: Stage) -> None:
    session = proven.session()
    session.power(Reset(), lambda _: None, 0.0)
    (first,) = proven.recorder.power()
    # As if all 65,025 pairs had gone round since.
    ahead = {(first.sequence + place) % 255: (first.tag + place) % 255 for place in range(200)}
    proven.store.set_power_numbers(proven.host.id, ahead)
    proven.store.reserve_rmcp(proven.host.id, proven.host.rmcp_reserved)
    again = proven.session()
    again.power(Reset(), lambda _: None, 0.0)
    last = proven.recorder.power()[-1]
    assert ahead.get(last.sequence) != last.tag


def test_numbers_are_in_the_store_before_they_are_on_the_wire(proven: Stage) -> None:
    """SEC: STATION.RESERVE_BEFORE_USE."""
    session = proven.session()
    for place in range(530):
        now = place * 1e-6
        session.power(Reset(), lambda _: None, now)
        proven.answer(session, None, now)
        below = proven.store.host("host").rmcp_reserved
        assert below - proven.host.rmcp_reserved > place


def test_more_commands_than_can_wait_are_refused_and_the_polls_go_on(proven: Stage) -> None:
    outcomes: list[PowerOutcome] = []
    session = proven.session(rmcp=RetryPolicy(first_s=100.0, longest_s=100.0))
    for place in range(3 * POWER_MAX):
        session.power(Reset(), outcomes.append, place * 1e-3)
    assert len(proven.recorder.power()) <= POWER_MAX
    assert all("too many commands" in outcome.refused for outcome in outcomes)
    assert len(outcomes) + len(proven.recorder.power()) == 3 * POWER_MAX
    session.tick(TUNING.poll_s)
    assert any(isinstance(m.body, SaStatusRequest) for m in proven.recorder.messages())


# --- commands -----------------------------------------------------------------------------------


def test_a_command_goes_under_each_sa_held_until_one_answers(proven: Stage) -> None:
    proven.store.add_sa(proven.host.id, sa_record(2, used=True))
    outcomes: list[PowerOutcome] = []
    session = proven.session()
    session.power(Reset(), outcomes.append, 0.0)
    session.tick(0.5)
    under = [spi for spi, payload in proven.recorder.sent if payload == proven.recorder.sent[0][1]]
    assert under == [sa_record(1).spi_in, sa_record(2).spi_in]
    assert len({payload for _, payload in proven.recorder.sent if payload[-2:] == b"\x10"}) <= 1
    proven.recorder.sent.append(
        next(
            sent for sent in reversed(proven.recorder.sent) if sent[1] == proven.recorder.sent[0][1]
        )
    )
    proven.answer(session, None, 0.6)
    assert [(o.acknowledged, o.spi) for o in outcomes] == [(True, sa_record(2).spi_out)]


def test_whoever_waits_is_told_when_the_session_ends_or_fails(proven: Stage) -> None:
    for end in (lambda s: s.fail("disk full"), lambda s: s.close()):
        outcomes: list[PowerOutcome] = []
        session = proven.session()
        session.power(Reset(), outcomes.append, 0.0)
        assert outcomes == []
        end(session)
        assert [(o.acknowledged, o.sent) for o in outcomes] == [(False, 1)]
        session.close()
        assert len(outcomes) == 1


# --- restart ------------------------------------------------------------------------------------


def test_edges_are_stored_with_each_poll_and_at_the_end(proven: Stage) -> None:
    session = proven.session()
    spi_in = sa_record(1).spi_in
    for edge, work in ((7, lambda: session.tick(5.0)), (9, session.close)):
        proven.recorder.edges[spi_in] = edge
        work()
        assert proven.store.sas(proven.host.id)[0][0].rx_edge == edge
    assert proven.recorder.edges == {}


def test_a_damaged_sa_is_named_and_the_others_work(
    proven: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    proven.store.add_sa(proven.host.id, sa_record(2, used=True))
    Shelf(tmp_path).sql("UPDATE sas SET keys = x'00' WHERE generation = 2")
    session = proven.session()
    assert session.damaged == [2]
    assert "the records of SAs [2] in the store are damaged" in caplog.text
    session.tick(0.0)
    proven.answer(session, STATUS, 0.1)
    assert session.answering
    assert session.machine.proven is not None
    session.close()
    assert proven.store.sas(proven.host.id)[1] == [2]


def test_silence_begins_an_exchange_and_backs_off(proven: Stage) -> None:
    session = proven.session()
    times, now = [], 0.0
    for _ in range(4000):
        now = max(now + 1e-3, session.get_timer() or 0.0)
        before = len(proven.recorder.begun)
        session.tick(now)
        if len(proven.recorder.begun) > before:
            times.append(now)
            session.exchange_failed("no answer", now)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) >= 3
    assert waits == sorted(waits)
    assert waits[0] >= TUNING.exchange_retry_s
