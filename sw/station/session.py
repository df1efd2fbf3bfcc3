"""One host, as the station drives it: polls, exchanges, commits, commands. No I/O of its own.

The shell (`sw.station.service`) calls in with what arrived and with the time; what is to be sent
goes out through `Wire` and `Exchanges`, and what must be durable into the store, in the order that
`sw.station.commit` gives.

SEC: STATION.NO_CLEAR_POWER. The one message ever sent in clear asks for presence, and its answer
changes nothing but what people are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

from spec.host import HostState
from spec.rmcp import CommitResult
from spec.sa import BankState
from sw.ike.events import ChildSaEstablished
from sw.pet import AlertError
from sw.rmcp import (
    Commit,
    Committed,
    PowerCommand,
    PresencePing,
    RequestCompleted,
    RequestTimedOut,
    RmcpBusyError,
    RmcpClient,
    SaStatusRequest,
    SaStatusResponse,
)
from sw.rmcp.client import Event as RmcpEvent
from sw.station import commit_words as words
from sw.station.alerts import AlertLog, alert_name
from sw.station.commit import HELD_MAX, State, restore, step
from sw.station.interfaces import Exchanges, PowerOutcome, Request, Tuning, Wire
from sw.station.records import HostRecord, SaKeys, SaRecord
from sw.station.refresh import Decision, View, decide
from sw.station.requests import NumberedRequests
from sw.station.store import Store

LOG = logging.getLogger("holdfast.station")
EXCHANGE_MAX_S = 300.0
"""IKE ends an exchange by itself, long before this."""


class HostSession:
    """One host.

    Every method that takes `now` (seconds, never going back) may send; `get_timer` says when
    `tick` wants to be called next.

    Parameters
    ----------
    host : HostRecord
        From the store.
    store, wire, exchanges
        What it acts through.
    tuning : Tuning
        Times and numbers.
    wall : callable
        Seconds of Unix time, for what people read.
    """

    def __init__(
        self,
        host: HostRecord,
        *,
        store: Store,
        wire: Wire,
        exchanges: Exchanges,
        tuning: Tuning,
        wall: Callable[[], float],
        now: float,
    ) -> None:
        self.host = host
        self._store = store
        self._wire = wire
        self._exchanges = exchanges
        self._tuning = tuning
        self._wall = wall
        records, self.damaged = store.sas(host.id)
        self.sas = {sa.generation: sa for sa in records}
        for sa in records:
            wire.add(sa, self._reserver(sa.generation))
        self.machine: State = restore(tuple(sa.view for sa in records))
        self._numbered = NumberedRequests(host, store, tuning)
        self._rmcp = self._numbered.client
        # Answers in clear are nobody's word: they never meet the requests of the other client.
        self._clear = RmcpClient(
            enterprise=tuning.enterprise, retry=replace(tuning.rmcp, attempts=2)
        )
        self._requests: dict[int, Request] = {}
        self._spis: dict[int, int] = {}
        """Inbound SPIs of the Child SAs that IKE made in this process, by generation."""
        self.state: HostState | None = None
        self.answering: bool | None = None if records else False
        self.alerts = AlertLog()
        self.discovered = False
        self.fault: str | None = None
        """Why the station no longer looks after the host, if it does not."""
        self._before = None if host.last_state is None else HostState(host.last_state)
        self._came_up = False
        self._refreshed_at = self._refresh_age(now)
        self._exchange_since: float | None = None
        self._failures = 0
        self._retry_at = now
        self._next_poll = now
        self._ready_by: float | None = None
        self.decision = Decision(False, False, "starting", now)
        if self.damaged:
            LOG.error(
                "host %s: the records of SAs %s in the store are damaged and cannot be used; they "
                "are left as they are",
                host.name,
                self.damaged,
            )

    def _refresh_age(self, now: float) -> float | None:
        if self.host.refresh_last is None:
            return None
        return now - max(0.0, self._wall() - self.host.refresh_last)

    # --- what arrives -----------------------------------------------------------------------------

    def receive(self, spi_in: int, payload: bytes, now: float) -> None:
        """An RMCP message that was authenticated under the SA with this inbound SPI."""
        under = next((g for g, sa in self.sas.items() if sa.spi_in == spi_in), None)
        if under is None:
            return
        self._rmcp.receive_datagram(payload, now)
        while (event := self._rmcp.next_event()) is not None:
            self._rmcp_event(event, under, now)
        self.tick(now)

    def receive_alert(self, spi_in: int, payload: bytes, now: float) -> None:
        """What came to the port of alerts, authenticated under the SA with this inbound SPI."""
        try:
            alert = self.alerts.receive(payload, self._wall())
        except AlertError as error:
            LOG.warning("host %s: no alert, under SPI %#010x: %s", self.host.name, spi_in, error)
            return
        if alert is not None:
            LOG.info("host %s: alert %s", self.host.name, alert_name(alert))
        self.tick(now)

    def receive_clear(self, payload: bytes, now: float) -> None:
        """A message from the host's clear port. It tells of presence, and changes nothing else."""
        self._clear.receive_datagram(payload, now)
        self._drain_clear()
        self.tick(now)

    def established(self, event: ChildSaEstablished, local_ip: IPv4Address, now: float) -> None:
        """IKE has agreed on a Child SA."""
        self._exchange_since = None
        if not self._tuning.exchanges:
            return
        generation = self._store.next_generation(self.host.id)
        record = SaRecord(
            generation=generation,
            spi_in=event.spi_in,
            spi_out=event.spi_out,
            suite=event.suite,
            esn=event.esn,
            encap_udp=event.encap_udp,
            local_ip=local_ip,
            peer_ip=self.host.address,
            local_port=event.address.local_port,
            peer_port=event.address.port,
            keys=SaKeys(
                key_in=event.key_in,
                salt_in=event.salt_in,
                auth_in=event.auth_in,
                key_out=event.key_out,
                salt_out=event.salt_out,
                auth_out=event.auth_out,
            ),
            created=self._wall(),
        )
        self.sas[generation] = record
        self._spis[generation] = event.spi_in
        self._feed(words.Established(record.view, bool(self.answering)), now)
        if self.machine.get(generation) is None:  # not taken
            del self.sas[generation]
        self.tick(now)

    def ready(self, spi_in: int, now: float) -> None:
        """The agent's "SA is ready for use"."""
        sa = self._by_spi(spi_in)
        if sa is not None:
            LOG.info("host %s: SA %d is ready for use", self.host.name, sa.generation)
            self._feed(words.Ready(sa.spi_out), now)
        self.tick(now)

    def child_deleted(self, spi_in: int, now: float) -> None:
        """The agent has let go of a Child SA. What the NIC holds is not touched by that."""
        sa = self._by_spi(spi_in)
        if sa is not None:
            self._exchange_lost(sa.generation, now)
        self.tick(now)

    def exchange_failed(self, why: str, now: float) -> None:
        """The exchange, or the IKE SA that it went over, came to nothing."""
        if self._exchange_since is not None:
            LOG.info("host %s: key exchange failed: %s", self.host.name, why)
            self._exchange_since = None
            self._back_off(now)
        elif self.machine.phase is words.Phase.WAIT_READY and self.machine.candidate is not None:
            LOG.info("host %s: key exchange failed: %s", self.host.name, why)
            self._exchange_lost(self.machine.candidate, now)
        self.tick(now)

    def _exchange_lost(self, generation: int, now: float) -> None:
        self._feed(words.ExchangeFailed(generation), now)

    def _by_spi(self, spi_in: int) -> SaRecord | None:
        return next((sa for sa in self.sas.values() if sa.spi_in == spi_in), None)

    # --- power ------------------------------------------------------------------------------------

    def power(
        self, command: PowerCommand, done: Callable[[PowerOutcome], None], now: float
    ) -> None:
        """Send a power command; `done` is told what became of it.

        Nothing is sent in clear: without an SA the command is refused (seed, row 6).
        """
        self._command(lambda: self._numbered.power(command, now), done, now)

    def zeroise(self, done: Callable[[PowerOutcome], None], now: float) -> None:
        """Ask the NIC to empty every bank it has; `done` is told what became of it.

        Once it has answered, no SA with it works, of whatever station. Those held here are left
        as they are: a host that is to be forgotten is removed from the store.
        """
        self._command(lambda: self._numbered.zeroise(now), done, now)

    def _command(
        self, begin: Callable[[], int], done: Callable[[PowerOutcome], None], now: float
    ) -> None:
        if not self.machine.held:
            reason = f"there is no SA with host {self.host.name}, and nothing is sent in clear"
            done(PowerOutcome(self.shown_state, None, False, 0, reason))
            return
        try:
            token = begin()
        except RmcpBusyError:
            reason = f"too many commands for host {self.host.name} wait for their answers"
            done(PowerOutcome(self.shown_state, None, False, 0, reason))
            return
        self._requests[token] = Request(done=done, state=self.shown_state)
        self.tick(now)

    # --- time -------------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When `tick` wants to be called, if nothing happens before."""
        times = [
            self._next_poll,
            self._ready_by,
            self._rmcp.get_timer(),
            self._clear.get_timer(),
            self.decision.due if self._tuning.exchanges and not self.running else None,
        ]
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._rmcp.handle_timer(now)
        while (event := self._rmcp.next_event()) is not None:
            self._rmcp_event(event, None, now)
        self._clear.handle_timer(now)
        self._drain_clear()
        if self._ready_by is not None and now >= self._ready_by:
            self._ready_by = None
            if self.machine.candidate is not None:
                self._feed(words.ReadyTimeout(self.machine.candidate), now)
        if self._exchange_since is not None and now >= self._exchange_since + EXCHANGE_MAX_S:
            self._exchanges.drop(self.host)
            self.exchange_failed("it did not end", now)
        if now >= self._next_poll:
            self._next_poll = now + self._tuning.poll_s
            self._poll(now)
        self._decide(now)
        self._transmit(now)

    def _poll(self, now: float) -> None:
        self._store_edges()
        self._feed(words.Poll(), now)
        if not self.answering and not self._clear.pending:
            self._clear.request(PresencePing(), now)

    def _decide(self, now: float) -> None:
        if not self._tuning.exchanges:
            self.decision = Decision(False, True, "this command begins no exchange")
            return
        if self.machine.held and self.answering is None:
            self.decision = Decision(False, False, "waiting for the first answer")
            return
        self.decision = decide(
            View(
                now=now,
                holds_sa=bool(self.machine.held),
                answering=bool(self.answering),
                state=self.state,
                came_up=self._came_up,
                refreshed_at=self._refreshed_at,
                running=self.running,
                too_many=len(self.machine.held) >= HELD_MAX,
                retry_at=self._retry_at,
            ),
            self._tuning.refresh_s,
        )
        if self.decision.exchange and self.machine.may_exchange:
            LOG.info("host %s: key exchange begins: %s", self.host.name, self.decision.reason)
            if self._came_up or not self.answering:
                self._exchanges.drop(self.host)
            proven = self.machine.proven
            self._exchange_since = now
            self._exchanges.begin(
                self.host, None if proven is None else self.sas[proven.generation].spi_in
            )

    @property
    def running(self) -> bool:
        """An exchange is under way, or its SA is being loaded, committed or proven."""
        return self._exchange_since is not None or self.machine.phase in (
            words.Phase.WAIT_READY,
            words.Phase.COMMITTING,
            words.Phase.PROVING,
        )

    def _back_off(self, now: float) -> None:
        self._failures += 1
        wait = self._tuning.exchange_retry_s * 2 ** min(self._failures - 1, 20)
        self._retry_at = now + min(wait, max(self._tuning.refresh_s, self._tuning.exchange_retry_s))

    # --- RMCP -------------------------------------------------------------------------------------

    def _transmit(self, now: float) -> None:
        for datagram in self._rmcp.datagrams_to_send(now):
            request = self._requests.get(datagram.token)
            if request is None:
                continue
            under = request.under
            if request.serial is None:
                order = self.machine.order
                if not order:
                    continue
                under = order[request.sent % len(order)]
                self._feed(words.Sending(under), now)
                request.under = under
            request.sent += 1
            sa = self.sas.get(under) if under is not None else None
            if sa is not None:
                self._wire.send(sa.spi_in, datagram.payload)
        for datagram in self._clear.datagrams_to_send(now):
            self._wire.send_clear(self.host.address, datagram.payload)

    def _rmcp_event(self, event: RmcpEvent, under: int | None, now: float) -> None:
        request = self._requests.pop(event.token, None)
        if request is None:
            return
        match event:
            case RequestCompleted() if under is not None:
                self._heard(now)
                self._completed(event, request, under, now)
            case RequestTimedOut() | RequestCompleted():
                self._timed_out(request, now)

    def _completed(self, event: RequestCompleted, request: Request, under: int, now: float) -> None:
        if request.done is not None:
            spi = self.sas[under].spi_out
            request.done(PowerOutcome(request.state, spi, True, request.sent))
            return
        match event.response:
            case SaStatusResponse() as status if request.serial is not None:
                self._saw(status.host_state)
                banks = {
                    spi: state
                    for spi, state in (
                        (status.bank_a_spi, status.bank_a_state),
                        (status.bank_b_spi, status.bank_b_state),
                    )
                    if state is not BankState.EMPTY
                }
                if under == request.under:
                    self._feed(words.Status(request.serial, under, banks), now)
            case Committed(spi, result):
                ok = result is CommitResult.OK
                LOG.info(
                    "host %s: Commit(%#010x) answered under SA %d: %s",
                    self.host.name,
                    spi,
                    under,
                    result.name,
                )
                self._feed(words.Committed(spi, ok, under), now)

    def _timed_out(self, request: Request, now: float) -> None:
        if request.done is not None:
            sa = self.sas.get(request.under) if request.under is not None else None
            spi = None if sa is None else sa.spi_out
            request.done(PowerOutcome(request.state, spi, False, request.sent))
        elif request.serial is not None:
            proven = self.machine.proven
            # Silence under a candidate, as after a Commit, says nothing of the SA that worked.
            asked_proven = proven is None or request.under == proven.generation
            if asked_proven and not request.commit:
                if self.answering:
                    LOG.warning("host %s: no answer under its SA", self.host.name)
                self.answering = False
                self.state = None
            self._feed(words.NoAnswer(request.serial), now)

    def _heard(self, now: float) -> None:
        if not self.answering:
            LOG.info("host %s: answers under its SA", self.host.name)
            self._retry_at, self._failures = now, 0
        self.answering = True
        self.discovered = False

    def _saw(self, state: HostState) -> None:
        self.state = state
        if state is self._before:
            return
        LOG.info(
            "host %s: %s -> %s",
            self.host.name,
            "unknown" if self._before is None else self._before.name,
            state.name,
        )
        if state is HostState.OS_UP:
            self._came_up = self._before is not None
            self._failures, self._retry_at = 0, float("-inf")
        self._before = state
        self._store.set_state(self.host.id, state)

    def _drain_clear(self) -> None:
        while (event := self._clear.next_event()) is not None:
            found = isinstance(event, RequestCompleted)
            if found and not self.discovered and not self.answering:
                LOG.info("host %s: found in clear (not authenticated)", self.host.name)
            self.discovered = found and not self.answering

    @property
    def shown_state(self) -> HostState | None:
        """The state for people: what the NIC said under an SA, else cold boot if it was found."""
        if self.answering and self.state is not None:
            return self.state
        return HostState.COLD_BOOT if self.discovered else None

    # --- the commit machine -----------------------------------------------------------------------

    def _feed(self, event: words.Event, now: float) -> None:
        before = self.machine
        self.machine, actions = step(before, event)
        if before.phase is not self.machine.phase:
            LOG.debug(
                "host %s: %s -> %s (%s)",
                self.host.name,
                before.phase.value,
                self.machine.phase.value,
                type(event).__name__,
            )
        for action in actions:
            self._act(action, now)

    def _act(self, action: words.Action, now: float) -> None:
        host = self.host
        match action:
            case words.Persist(sa):
                record = self.sas[sa.generation]
                self._store.add_sa(host.id, record)
                self._wire.add(record, self._reserver(sa.generation))
            case words.MarkUsed(generation):
                self._store.mark_used(host.id, generation)
                self.sas[generation] = replace(self.sas[generation], used=True)
            case words.MarkProven(generation, discard):
                self._store.mark_proven(host.id, generation, discard, self._wall())
                self.host = self._store.host(host.name)
                self.sas[generation] = replace(self.sas[generation], proven_at=self._wall())
                self._forget(discard)
                self._refreshed_at = now
                self._came_up = False
                self._failures, self._retry_at = 0, now
            case words.Discard(generations):
                self._store.discard(host.id, generations)
                self._forget(generations)
            case words.SendCommit(serial, spi, under):
                token = self._numbered.request(Commit(spi), now)
                self._requests[token] = Request(serial, under, commit=True)
            case words.SendStatus(serial, under):
                token = self._numbered.request(SaStatusRequest(), now)
                self._requests[token] = Request(serial, under)
            case words.AwaitReady():
                self._ready_by = now + self._tuning.ready_s
            case words.DeleteChild(generation):
                spi_in = self._spis.pop(generation, None)
                if spi_in is not None:
                    self._exchanges.delete_child(host, spi_in)
            case words.Settled(generation, outcome):
                LOG.info("host %s: SA %d: %s", host.name, generation, outcome.value)
                if outcome is not words.Outcome.PROVEN:
                    self._back_off(now)

    def _forget(self, generations: tuple[int, ...]) -> None:
        for generation in generations:
            sa = self.sas.pop(generation, None)
            if sa is not None:
                self._wire.remove(sa.spi_in)

    def _reserver(self, generation: int) -> Callable[[int], int]:
        return lambda count: self._store.reserve(self.host.id, generation, count)

    def _store_edges(self) -> None:
        """Store how far each window has come, so that a restart takes nothing twice."""
        for generation, sa in self.sas.items():
            edge = self._wire.right_edge(sa.spi_in)
            if edge > sa.rx_edge:
                self._store.set_edge(self.host.id, generation, edge)
                self.sas[generation] = replace(sa, rx_edge=edge)

    def fail(self, why: str) -> None:
        """Do nothing more for this host; whoever waits for a command is told."""
        self.fault = why
        self._end_requests()

    def close(self) -> None:
        """Store what is only in memory, and give the SAs back."""
        if self.fault is None:
            self._store_edges()
        self._forget(tuple(self.sas))
        self._end_requests()

    def _end_requests(self) -> None:
        for request in self._requests.values():
            if request.done is not None:
                request.done(PowerOutcome(request.state, None, False, request.sent))
        self._requests.clear()
