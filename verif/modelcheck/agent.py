"""The real agent as a function of a value: its coroutines are driven by hand, step by step.

A coroutine cannot be copied, so a state of the agent is the shortest list of things that happened
to it since its OS came up. Two lists that leave the same loads, in the same places, are one state.
Register accesses are cut where the NIC's state shows: before READY, and before ABORT; what the
driver had read by then is read to it again when the list is played.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from spec.registers import BY_NAME
from spec.sa import SadCommand
from sw.agent.service import Agent, wanted_suites
from sw.config import AgentConfig
from sw.identity import parse_identity
from sw.ike.address import Address
from sw.ike.events import ChildSaDeleted, IkeSaEstablished
from sw.nic import NicError, StagedSa
from verif.model import NicModel
from verif.modelcheck.words import TO_NIC, TO_STATION, established, sa_of, spi_of

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
BUSY_TIMEOUT_S = 15.0
PAUSE_S = 0.2
"""Longer than the agent's own pause."""
COMMAND = BY_NAME["SA_COMMAND"].address
CUT_BEFORE = (SadCommand.READY, SadCommand.ABORT)


class AgentState(NamedTuple):
    """What tells one agent from another.

    Parameters
    ----------
    loads : tuple
        (SA, connection, given up for a newer one, given up by the station, out of time), in order.
    jobs : tuple
        (what, SA, register accesses so far and values read) of the NIC's work, in order.
    """

    loads: tuple[tuple[int, int, bool, bool, bool], ...] = ()
    jobs: tuple[tuple[str, int, tuple[int, ...]], ...] = ()


class _Cut(BaseException):
    """The NIC's thread is stopped here, to go on later."""


class _Selector:
    def select(self, _timeout: float | None) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class _Job:
    """Work for the NIC's thread, and how far it has come."""

    def __init__(self, future: asyncio.Future, work: Any, call: Callable[[], Any]) -> None:
        self.future = future
        self.work = work
        self.call = call
        self.accesses = 0
        self.reads: list[int] = []


class _Loop(asyncio.BaseEventLoop):
    """An event loop whose time stands still until it is told to pass; it never waits."""

    # Of BaseEventLoop, which has no public way to run what is ready and return.
    _ready: Any
    _scheduled: Any
    _run_once: Any
    _closed: bool

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()
        self.now = 0.0
        self.jobs: list[_Job] = []

    def time(self) -> float:
        return self.now

    def _process_events(self, _events: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*_Ts], _T], *args: *_Ts
    ) -> asyncio.Future[_T]:
        """Keep the work until it is the thread's turn."""
        future = self.create_future()
        work: Any = args
        self.jobs.append(_Job(future, work[0], lambda: func(*args)))
        return future

    def settle(self) -> None:
        """Run whatever can run now."""
        while self._ready or (self._scheduled and self._scheduled[0]._when <= self.now):
            self._run_once()


class _Bus:
    """The register transport of the agent: accesses made before are skipped, then the model's."""

    def __init__(self) -> None:
        self._model: NicModel | _Echo | None = None
        self._job: _Job | None = None
        self._skip = 0
        self._played: list[int] = []
        self._first = True

    def begin(self, model: NicModel | _Echo | None, job: _Job) -> None:
        """Go on with a job where it was cut."""
        self._model, self._job = model, job
        self._skip, self._played = job.accesses, list(job.reads)
        self._first = True

    def read(self, addr: int) -> int:
        """Read a register."""
        if self._skip:
            self._skip -= 1
            return self._played.pop(0)
        assert self._model is not None
        assert self._job is not None
        value = int(self._model.bus_read(addr))
        self._first = False
        self._job.accesses += 1
        self._job.reads.append(value)
        return value

    def write(self, addr: int, value: int) -> None:
        """Write a register."""
        if self._skip:
            self._skip -= 1
            return
        if addr == COMMAND and value in CUT_BEFORE and not self._first and self.cuts:
            raise _Cut
        assert self._model is not None
        assert self._job is not None
        self._model.bus_write(addr, value)
        self._first = False
        self._job.accesses += 1

    cuts = False

    def close(self) -> None:
        """There is nothing to close."""


class _Connection:
    def __init__(self, log: list[tuple]) -> None:
        self._log = log

    def notify_ready(self, spi: int) -> None:
        self._log.append(("ready", sa_of(spi)))

    def delete_child(self, spi: int) -> None:
        self._log.append(("delete", sa_of(spi)))


class Shell:
    """Stands for IkeShell: which connection lives, and what is asked of it."""

    def __init__(self, connection: int, log: list[tuple]) -> None:
        self.endpoint = self
        self.connections = {connection: _Connection(log)} if connection else {}

    def pump(self) -> None:
        pass


def _subject(work: Callable[..., Any]) -> tuple[str, int]:
    """What the NIC's work is about: found in what its closure holds."""
    for cell in work.__closure__ or ():
        value = cell.cell_contents
        if isinstance(value, StagedSa):
            return "load", sa_of(value.spi_in)
        if isinstance(value, int):
            return "abort", sa_of(value)
    return "other", 0


CONFIG = AgentConfig(
    alerts=False,  # they decide nothing
    identity="host.example",
    station_identity="station.example",
    psk_file="psk",
    address="192.0.2.10",
    mac="02:00:00:00:00:10",
    nic_socket="none",
    busy_timeout_s=BUSY_TIMEOUT_S,
    heartbeat_window_s=60.0,
)


def _ike_sa(connection: int, address: Address) -> IkeSaEstablished:
    return IkeSaEstablished(
        connection=connection,
        initiator=False,
        local_id=parse_identity(CONFIG.identity),
        peer_id=parse_identity(CONFIG.station_identity),
        address=address,
        encap_udp=False,
        peer_is_holdfast=True,
    )


class Life:
    """An agent from the start of its OS on."""

    def __init__(self, config: AgentConfig, model: NicModel) -> None:
        self.loop = _Loop()
        self.bus = _Bus()
        self.log: list[tuple] = []
        self.born: dict[int, tuple[int, float]] = {}
        self.agent = Agent(config, lambda: self.bus)
        self._in_loop(lambda: self._boot(config, model))

    def connect(self, connection: int) -> None:
        """Which IKE SA lives from now on; 0 for none. What was asked of the last is forgotten."""
        self.log.clear()
        shell: Any = Shell(connection, self.log)
        self.agent._shell = shell

    def _boot(self, config: AgentConfig, model: NicModel) -> None:
        task = self.loop.create_task(self.agent._nic.suites(wanted_suites(config)))
        self.loop.settle()
        self._work_all(model)
        task.result()
        self.beat(model)

    def beat(self, model: NicModel) -> None:
        """One turn of the heartbeat."""
        task = self.loop.create_task(self.agent._beat())
        self.loop.settle()
        self._work_all(model)
        task.cancel()
        self.loop.settle()

    def _work_all(self, model: NicModel) -> None:
        while self.loop.jobs:
            job = self.loop.jobs.pop(0)
            self.bus.begin(model, job)
            job.future.set_result(job.call())
            self.loop.settle()

    def _in_loop(self, work: Callable[[], None]) -> None:
        events._set_running_loop(self.loop)
        try:
            work()
            self.loop.settle()
        finally:
            events._set_running_loop(None)

    def take(self, what: tuple, model: NicModel | None, reads: tuple[int, ...] | None) -> None:
        """Something happens to it; `reads` is what the NIC answered if it happened before."""
        self._in_loop(lambda: self._take(what, model, reads))

    def _take(self, what: tuple, model: NicModel | None, reads: tuple[int, ...] | None) -> None:
        agent = self.agent
        match what:
            case ("established", sa, connection):
                self.born[sa] = (connection, self.loop.now)
                child = established(sa, connection, at_station=False)
                agent._on_event(_ike_sa(connection, child.address))
                agent._on_event(child)
            case ("deleted", sa, connection):
                spis = spi_of(sa, TO_NIC), spi_of(sa, TO_STATION)
                agent._on_event(ChildSaDeleted(connection, *spis, by_peer=True))
            case ("pause",):
                self.loop.now += PAUSE_S
            case ("timeout",):
                self.loop.now += BUSY_TIMEOUT_S
            case ("job",):
                self._work(model, reads)

    def _work(self, model: NicModel | None, reads: tuple[int, ...] | None) -> None:
        job = self.loop.jobs[0]
        # Played again, the NIC is not touched.
        echo = None if reads is None else _Echo(reads[len(job.reads) :])
        self.bus.begin(model if echo is None else echo, job)
        self.bus.cuts = True
        try:
            result = job.call()
        except _Cut:
            return
        except (NicError, ValueError) as error:
            del self.loop.jobs[0]
            job.future.set_exception(error)
            return
        del self.loop.jobs[0]
        job.future.set_result(result)

    @property
    def state(self) -> AgentState:
        agent = self.agent
        return AgentState(
            tuple(
                (
                    sa_of(spi),
                    self.born[sa_of(spi)][0],
                    spi in agent._superseded,
                    spi in agent._unwanted,
                    self.loop.now >= self.born[sa_of(spi)][1] + BUSY_TIMEOUT_S,
                )
                for spi in agent._loads
            ),
            tuple((*_subject(job.work), (job.accesses, *job.reads)) for job in self.loop.jobs),
        )

    def close(self) -> None:
        """Let everything go without a word of unfinished tasks."""

        def end() -> None:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            for job in self.loop.jobs:
                job.future.cancel()

        self._in_loop(end)
        self.agent._nic._thread.shutdown(wait=False)
        self.loop._closed = True
        self.loop._ready.clear()
        self.loop._scheduled.clear()


class _Echo:
    """Stands for the model while a list is played: gives what was read then."""

    def __init__(self, reads: tuple[int, ...]) -> None:
        self._reads = list(reads)

    def bus_read(self, _addr: int) -> int:
        return self._reads.pop(0)

    def bus_write(self, _addr: int, _value: int) -> None:
        pass


class AgentSide:
    """Agents by their states."""

    def __init__(self, *, authorised: bool) -> None:
        self._config = replace(CONFIG, station_authorised=authorised)
        self._lists: dict[AgentState, tuple] = {AgentState(): ()}
        self.runs = 0

    def boot(self, model: NicModel) -> None:
        """The OS comes up: the agent configures the NIC, and beats once."""
        Life(self._config, model).close()

    def beat(self, model: NicModel) -> None:
        """One more heartbeat."""
        life = Life(self._config, NicModel(contexts=1))
        life._in_loop(lambda: life.beat(model))
        life.close()

    def take(
        self, state: AgentState, what: tuple, connection: int, model: NicModel | None = None
    ) -> tuple[AgentState, list[tuple]]:
        """Something happens to an agent.

        Parameters
        ----------
        state : AgentState
            The agent.
        what : tuple
            ("established", SA, connection), ("deleted", SA, connection), ("job",), ("pause",) or
            ("timeout",).
        connection : int
            The IKE SA that lives; 0 for none.
        model : NicModel or None
            The NIC, for ("job",).

        Returns
        -------
        tuple
            The agent after it, and what it asked of IKE.
        """
        self.runs += 1
        past = self._lists[state]
        life = Life(self._config, NicModel(contexts=1))
        for before, reads in past:
            life.take(before, None, reads)
        assert life.state == state, (life.state, state)
        life.connect(connection)
        job = life.loop.jobs[0] if life.loop.jobs else None
        life.take(what, model, None)
        reads = tuple(job.reads) if job is not None and what == ("job",) else None
        after = life.state
        self._lists.setdefault(after, (*past, (what, reads)))
        life.close()
        return after, life.log
