"""The real station as a function of a value: session, exchanges and data plane, restored and run.

`Station.take` restores a `HostSession` with its `StationExchanges`, `Plane` and `RmcpClient` from a
`StationState`, lets one thing happen to it, and reads the state back. Time stands still at 0, and
every timer lies ahead: one runs out by being set to 0 (`poll`, `fire`, `ready timeout`, ...), so
that all orders of timers are among the steps. Everything the station does to the outside, to the
store, the wire and IKE, is recorded in order: a crash can fall between any two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from spec.host import HostState
from spec.rmcp import OEM_ENTERPRISE_DEFAULT
from sw.config import StationConfig
from sw.ike.events import ChildSaDeleted, ChildSaReady, CloseReason, IkeSaClosed
from sw.ipsec import IpsecError
from sw.rmcp import Reset, RetryPolicy, RmcpClient, RmcpNumbers
from sw.rmcp.client import _Pending
from sw.rmcp.messages import RmcpMessage, build
from sw.station.alerts import AlertLog
from sw.station.commit import State
from sw.station.commit_words import Phase
from sw.station.database import StoreError
from sw.station.exchanges import StationExchanges
from sw.station.interfaces import Request, Tuning
from sw.station.plane import Plane
from sw.station.refresh import Decision
from sw.station.requests import NumberedRequests
from sw.station.session import EXCHANGE_MAX_S, HostSession
from verif.modelcheck.store import MemoryStore, Row, StoreState, record_of
from verif.modelcheck.words import (
    STATION_IP,
    TO_NIC,
    TO_STATION,
    Packet,
    esp_to_station,
    established,
    open_esp,
    read_request,
    request_of,
    sa_of,
    spi_of,
)

LATER = 1.0
TIMERS = ("poll", "fire", "ready timeout", "refresh", "retry", "exchange timer")
REFRESH_S = 1000.0
RESERVED_RMCP = 60_000
HOST_ID = 1
SESSION_FIELDS = frozenset(
    (
        "host",
        "_store",
        "_wire",
        "_exchanges",
        "_tuning",
        "_wall",
        "damaged",
        "sas",
        "machine",
        "_numbered",
        "_rmcp",
        "_clear",
        "_requests",
        "_spis",
        "state",
        "answering",
        "alerts",  # decide nothing
        "discovered",
        "fault",
        "_before",
        "_came_up",
        "_refreshed_at",
        "_exchange_since",
        "_failures",
        "_retry_at",
        "_next_poll",
        "_ready_by",
        "decision",
    )
)
"""Of HostSession: one more, and the state below would miss it."""
CLIENT_FIELDS = frozenset(
    ["_numbers", "_enterprise", "_retry", "_next_token", "_pending", "_events", "_ignored"]
)


class Waiting(NamedTuple):
    """A request that waits for its answer. Its name is its place."""

    kind: str
    about: int
    attempt: int
    serial: int | None
    under: int | None
    sent: int


class StationState(NamedTuple):
    """A running station without sequence numbers.

    Parameters
    ----------
    machine : sw.station.commit.State
        Its serials are counted from 0 anew.
    rows : tuple of Row
        SAs in memory.
    children : tuple of int
        Generations whose Child SA was made by this process.
    answering, state, before, came_up
        As in HostSession.
    refresh : int
        0 never, 1 lately, 2 the refresh timer is over.
    exchanging : bool
        A key exchange is under way.
    backing_off : bool
        The last attempt failed, and its wait is not over.
    loading : bool
        The timer for *ready* runs.
    waiting : tuple of Waiting
        Requests.
    fault : bool
        The station no longer looks after the host.
    """

    machine: State = State()
    rows: tuple[Row, ...] = ()
    children: tuple[int, ...] = ()
    answering: bool | None = False
    state: int = -1
    before: int = -1
    came_up: bool = False
    refresh: int = 0
    exchanging: bool = False
    backing_off: bool = False
    loading: bool = False
    waiting: tuple[Waiting, ...] = ()
    fault: bool = False


class SaNumbers(NamedTuple):
    """Numbers of one SA at the station.

    Parameters
    ----------
    left : int
        Numbers at hand of the reserved block.
    reserved, edge : int
        As they are on disk; -1 where the SA is not in the store.
    right, bitmap : int
        Window in memory; -1 and 0 where the SA is not in memory.
    """

    left: int = 0
    reserved: int = -1
    edge: int = -1
    right: int = -1
    bitmap: int = 0


class Prefix(NamedTuple):
    """What a crash leaves: the disk, and how much of `Outcome.log` had happened.

    `effects` counts transactions and what is in the log: the crash came after so many.
    """

    store: StoreState
    numbers: tuple[tuple[int, int, int], ...]
    done: int
    effects: int


class Outcome(NamedTuple):
    """What came of a step.

    `log` has ("send", Packet), ("connect",), ("child",), ("delete", SA) and ("abandon",) in order.
    `names` gives the new name of each request that still waits, by its old one.
    `prefixes` are the different things a crash can leave, before the step's end.
    """

    state: StationState
    store: StoreState
    numbers: dict[int, SaNumbers]
    log: tuple[tuple, ...]
    names: dict[int, int]
    prefixes: tuple[Prefix, ...]
    fault: str


class Link(NamedTuple):
    """The station's end of an IKE SA: connection, whether it stands, and its Child SAs."""

    connection: int
    established: bool
    children: tuple[int, ...]


class _Connection:
    """Stands for sw.ike's Connection: what StationExchanges asks of it is recorded."""

    def __init__(self, link: Link, run: Run) -> None:
        self.id = link.connection
        self.established = link.established
        self.child_sas = {spi_of(sa, TO_STATION): sa for sa in link.children}
        self.closed = False
        self._run = run

    def rekey_child(self, _spi: int) -> None:
        self._run.did("child")

    def create_child(self) -> None:
        self._run.did("child")

    def delete_child(self, spi: int) -> None:
        self._run.did("delete", self.child_sas[spi])

    def abandon(self) -> None:
        self.closed = True
        self._run.connections.pop(self.id, None)
        self._run.did("abandon")


class Run:
    """The outside of a station: what it does there is recorded."""

    def __init__(self, link: Link | None) -> None:
        self.log: list[tuple] = []
        self.snapshots: list[tuple[StoreState, tuple, int]] = []
        self.store: MemoryStore
        self.fault = ""
        self.connections: dict[int, _Connection] = {}
        if link is not None:
            self.connections[link.connection] = _Connection(link, self)

    # What StationExchanges takes for an IkeEndpoint.
    def connect(self, _peer: object, _address: object) -> _Connection:
        connection = _Connection(Link(-1, False, ()), self)
        self.connections[-1] = connection
        self.did("connect")
        return connection

    # What Plane takes for a RawEspTransport.
    def send_esp(self, packet: bytes, _to: object) -> None:
        sa, number, payload = open_esp(packet, TO_NIC)
        self.did("send", Packet(sa, number, *read_request(payload)))

    def did(self, *what: Any) -> None:
        self.log.append(what)
        self.note()

    def note(self) -> None:
        """Remember what a crash at this moment would leave."""
        numbers = tuple((sa, *pair) for sa, pair in sorted(self.store.numbers.items()))
        self.snapshots.append((self.store.state, numbers, len(self.log)))

    def guard(self, session: HostSession, work: Callable[[], None]) -> None:
        """As `sw.station.service.Station` does."""
        try:
            if session.fault is None:
                work()
        except (StoreError, IpsecError, ValueError) as error:
            session.fail(str(error))
            self.fault = str(error)


CONFIG = StationConfig(identity="station.example", address=str(STATION_IP))


class Station:
    """Stations by their states.

    Parameters
    ----------
    attempts : int
        Sendings of a request.
    block : int
        Sequence numbers reserved at a time.
    """

    def __init__(self, *, attempts: int = 1, block: int = 1) -> None:
        self.block = block
        self.attempts = attempts
        self.tuning = Tuning(
            poll_s=LATER,
            refresh_s=REFRESH_S,
            exchange_retry_s=LATER,
            ready_s=LATER,
            enterprise=OEM_ENTERPRISE_DEFAULT,
            rmcp=RetryPolicy(first_s=LATER, attempts=attempts),
        )

    # --- restoring --------------------------------------------------------------------------------

    def plane(self, run: Run, sessions: dict[int, HostSession]) -> Plane:
        def on_message(spi_in: int, payload: bytes) -> None:
            for session in sessions.values():
                run.guard(session, partial(session.receive, spi_in, payload, 0.0))

        plane = Plane(
            STATION_IP,
            natt_port=4500,
            rmcp_port=664,
            clear_port=623,
            reserve_block=self.block,
            on_message=on_message,
            on_alert=lambda _spi, _payload: None,
            on_clear=lambda _address, _payload: None,
        )
        raw: Any = run
        plane._raw = raw
        return plane

    def exchanges(self, run: Run, sessions: dict[int, HostSession]) -> StationExchanges:
        endpoint: Any = run
        exchanges = StationExchanges(
            CONFIG,
            endpoint,
            sessions,
            lambda: None,
            run.guard,
            lambda: 0.0,
        )
        for connection in run.connections:
            exchanges._current[HOST_ID] = connection
            exchanges._owners[connection] = HOST_ID
        return exchanges

    def start(self, store: StoreState, numbers: dict[int, tuple[int, int]]) -> Outcome:
        """A station that starts on this store."""
        run = Run(None)
        sessions: dict[int, HostSession] = {}
        run.store = MemoryStore(store, numbers, run.note)
        plane = self.plane(run, sessions)
        store_like: Any = run.store
        session = HostSession(
            run.store.host("host"),
            store=store_like,
            wire=plane,
            exchanges=self.exchanges(run, sessions),
            tuning=self.tuning,
            wall=lambda: 0.0,
            now=0.0,
        )
        if set(vars(session)) != SESSION_FIELDS or set(vars(session._rmcp)) != CLIENT_FIELDS:
            raise AssertionError("a session has a field that no state of this model holds")
        session._next_poll = LATER
        return self._outcome(run, session, plane)

    def _restore(
        self,
        run: Run,
        state: StationState,
        numbers: dict[int, SaNumbers],
    ) -> tuple[HostSession, Plane, StationExchanges]:
        sessions: dict[int, HostSession] = {}
        plane = self.plane(run, sessions)
        exchanges = self.exchanges(run, sessions)
        session = HostSession.__new__(HostSession)
        sessions[HOST_ID] = session
        session.host = run.store.host("host")
        store: Any = run.store
        session._store = store
        session._wire = plane
        session._exchanges = exchanges
        session._tuning = self.tuning
        session._wall = lambda: 0.0
        session.alerts = AlertLog()
        session.damaged = []
        session.sas = {}
        for row in state.rows:
            mine = numbers[row.sa]
            record = record_of(row, max(mine.reserved, 0), max(mine.edge, 0))
            session.sas[row.generation] = record
            plane.add(replace(record, rx_edge=mine.right), session._reserver(row.generation))
            entry = plane._sas[record.spi_in]
            entry.inbound._window._seen = mine.bitmap
            sequences = entry.outbound.sequences
            sequences._end = max(mine.reserved, 0) + 1
            sequences._next = sequences._end - mine.left
        session.machine = state.machine
        count = len(state.waiting)
        session._numbered = self._numbered(session, count)
        session._rmcp = session._numbered.client
        session._clear = RmcpClient(retry=replace(self.tuning.rmcp, attempts=2))
        session._requests = {}
        for name, waiting in enumerate(state.waiting):
            self._wait(session, name, waiting)
        session._spis = {
            row.generation: spi_of(row.sa, TO_STATION)
            for row in state.rows
            if row.generation in state.children
        }
        session.state = None if state.state < 0 else HostState(state.state)
        session.answering = state.answering
        session.discovered = False
        session.fault = "an earlier fault" if state.fault else None
        session._before = None if state.before < 0 else HostState(state.before)
        session._came_up = state.came_up
        session._refreshed_at = (None, 0.0, -REFRESH_S)[state.refresh]
        session._exchange_since = 0.0 if state.exchanging else None
        session._failures = 0
        session._retry_at = LATER if state.backing_off else 0.0
        session._next_poll = LATER
        session._ready_by = LATER if state.loading else None
        session.decision = Decision(False, False, "")
        return session, plane, exchanges

    def _numbered(self, session: HostSession, count: int) -> NumberedRequests:
        numbered = NumberedRequests(session.host, session._store, self.tuning)
        numbered._ordinal, numbered._reserved = count, RESERVED_RMCP
        numbered.client._numbers = RmcpNumbers.from_ordinal(count)
        numbered.client._next_token = count + 1
        return numbered

    @staticmethod
    def _wait(session: HostSession, name: int, waiting: Waiting) -> None:
        request = request_of(waiting.kind, waiting.about)
        numbers = RmcpNumbers.from_ordinal(name)
        payload = build(RmcpMessage(numbers.sequence, numbers.tag, request))
        token = name + 1
        session._rmcp._pending[token] = _Pending(
            token, numbers, request, payload, LATER, waiting.attempt
        )
        session._requests[token] = Request(
            waiting.serial,
            waiting.under,
            _nobody if waiting.kind == "reset" else None,
            waiting.sent,
            None,
            waiting.kind == "commit",
        )

    # --- running ----------------------------------------------------------------------------------

    def take(
        self,
        state: StationState,
        store: StoreState,
        numbers: dict[int, SaNumbers],
        link: Link | None,
        what: tuple,
    ) -> Outcome:
        """One thing happens to a station.

        `what` is ("poll",), ("fire", name), ("ready timeout",), ("refresh",), ("retry",),
        ("exchange timer",), ("reset",), ("packet", Answer), ("established", SA), ("ready", SA),
        ("deleted", SA) or ("closed",).
        """
        run = Run(link)
        disk = {sa: (n.reserved, n.edge) for sa, n in numbers.items() if n.reserved >= 0}
        run.store = MemoryStore(store, disk, run.note)
        session, plane, exchanges = self._restore(run, state, numbers)
        self.happen(run, session, plane, exchanges, link, what)
        return self._outcome(run, session, plane)

    @staticmethod
    def connection(link: Link, run: Run) -> _Connection:
        """What stands for the station's end of an IKE SA."""
        return _Connection(link, run)

    @staticmethod
    def happen(
        run: Run,
        session: HostSession,
        plane: Plane,
        exchanges: StationExchanges,
        link: Link | None,
        what: tuple,
    ) -> None:
        """Let one thing, as `take` has it, happen to a session."""
        match what:
            case ("poll",):
                session._next_poll = 0.0
            case ("fire", name):
                list(session._rmcp._pending.values())[name].due = 0.0
            case ("ready timeout",):
                session._ready_by = 0.0
            case ("refresh",):
                session._refreshed_at = -REFRESH_S
            case ("retry",):
                session._retry_at = 0.0
            case ("exchange timer",):
                session._exchange_since = -EXCHANGE_MAX_S
            case ("reset",):
                run.guard(session, lambda: session.power(Reset(), _nobody, 0.0))
            case ("packet", answer):
                esp = answer if isinstance(answer, bytes) else esp_to_station(answer)
                plane.receive(esp)
                taken = _accepted(plane)
                plane.receive(esp)
                if _accepted(plane) > taken:
                    run.fault = "the station took a packet twice"
            case ("established", sa):
                exchanges.on_event(established(sa, _id(link), at_station=True))
            case ("ready", sa):
                spis = spi_of(sa, TO_STATION), spi_of(sa, TO_NIC)
                exchanges.on_event(ChildSaReady(_id(link), *spis))
            case ("deleted", sa):
                spis = spi_of(sa, TO_STATION), spi_of(sa, TO_NIC)
                exchanges.on_event(ChildSaDeleted(_id(link), *spis, by_peer=True))
            case ("closed",):
                run.connections.clear()
                exchanges.on_event(IkeSaClosed(_id(link), CloseReason.TIMEOUT, ()))
            case _:
                raise ValueError(f"no such step: {what!r}")
        if what[0] in TIMERS:
            run.guard(session, lambda: session.tick(0.0))

    def _outcome(self, run: Run, session: HostSession, plane: Plane) -> Outcome:
        store = run.store
        pending = [] if run.fault else list(session._rmcp._pending.values())
        names = {one.numbers.tag: name for name, one in enumerate(pending)}
        serials = sorted(
            {
                request.serial
                for one in pending
                if (request := session._requests[one.token]).serial is not None
            }
            | {session.machine.serial}
        )
        ranks = {serial: rank for rank, serial in enumerate(serials)}
        waiting = []
        for one in pending:
            request = session._requests[one.token]
            _, kind, about = read_request(one.payload)
            serial = None if request.serial is None else ranks[request.serial]
            waiting.append(Waiting(kind, about, one.attempt, serial, request.under, request.sent))
        rows = tuple(
            Row(g, sa_of(sa.spi_in), sa.used, sa.proven_at is not None)
            for g, sa in sorted(session.sas.items())
        )
        state = StationState(
            machine=replace(session.machine, serial=ranks[session.machine.serial]),
            rows=rows,
            children=tuple(sorted(session._spis.keys() & session.sas.keys())),
            answering=session.answering,
            state=-1 if session.state is None else int(session.state),
            before=-1 if session._before is None else int(session._before),
            came_up=session._came_up,
            refresh=(
                0 if session._refreshed_at is None else 1 if session._refreshed_at > -LATER else 2
            ),
            exchanging=session._exchange_since is not None,
            backing_off=session._retry_at > 0.0,
            # Elsewhere this timer has no row.
            loading=session._ready_by is not None and session.machine.phase is Phase.WAIT_READY,
            waiting=tuple(waiting),
            fault=session.fault is not None,
        )
        numbers: dict[int, SaNumbers] = {}
        for sa, (reserved, edge) in store.numbers.items():
            numbers[sa] = SaNumbers(0, reserved, edge)
        for spi_in, entry in plane._sas.items():
            mine = numbers.get(sa_of(spi_in), SaNumbers())
            window = entry.inbound._window
            numbers[sa_of(spi_in)] = mine._replace(
                left=entry.outbound.sequences.remaining,
                right=window.right_edge,
                bitmap=window._seen,
            )
        log = tuple(
            (what[0], what[1]._replace(name=names.get(what[1].name, -1)))
            if what[0] == "send"
            else what
            for what in run.log
        )
        end = (store.state, tuple((sa, *pair) for sa, pair in sorted(store.numbers.items())))
        first: dict[tuple[StoreState, tuple, int], int] = {}
        for effects, snapshot in enumerate(run.snapshots, start=1):
            if snapshot != (*end, len(run.log)):
                first.setdefault(snapshot, effects)
        prefixes = tuple(Prefix(*snapshot, effects) for snapshot, effects in first.items())
        return Outcome(state, store.state, numbers, log, names, prefixes, run.fault)


def _id(link: Link | None) -> int:
    assert link is not None
    return link.connection


def _accepted(plane: Plane) -> int:
    return sum(entry.inbound.accepted for entry in plane._sas.values())


def _nobody(_outcome: object) -> None:
    """Whoever asked for a power command does not listen."""
