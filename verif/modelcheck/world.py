"""Station, agent, NIC, IKE and the network as one value, and every step that can follow.

The three programs are the real ones (`station`, `agent`, `nic` beside this module). Each is a pure
function from a state and an input to a state and outputs, so its answers are remembered: a step
that any state took before costs a look-up. What this module adds is what lies between them.

IKE is modelled at its seam. An exchange is a request that arrives at the responder, once or never,
and an answer that arrives at the initiator or does not; either end gives up at any time. So each
end can hold a Child SA that the other does not know. Requests of one end go in order, one at a
time (RFC 7296 2.3). ESP packets come in any order, twice, late or never.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from spec.sa import BankState
from verif.modelcheck.agent import AgentSide, AgentState
from verif.modelcheck.nic import NO_NUMBERS, KeyMeaningError, Nic, NicState
from verif.modelcheck.numbers import Numbers, renamed
from verif.modelcheck.station import Link, Outcome, SaNumbers, Station, StationState
from verif.modelcheck.store import Row, StoreState, moved_ahead
from verif.modelcheck.words import COPY, LATE, Answer, Packet

OS_DOWN = -1
NO_COPY, PUT_BACK = -1, -2
NOT_RUN = 8
"""From here on the kinds of remembered answers are not those of a program."""


class ViolationError(Exception):
    """A property does not hold.

    Parameters
    ----------
    prop : str
        Which one.
    text : str
        What was found.
    """

    def __init__(self, prop: str, text: str) -> None:
        super().__init__(f"{prop}: {text}")
        self.prop = prop
        self.text = text


class StationIke(NamedTuple):
    """The station's end of its IKE SA; `requests` are (kind, SA, answered), the oldest first.

    An exchange beyond the bound is begun, and nothing of it is sent.
    """

    connection: int
    established: bool
    children: tuple[int, ...]
    requests: tuple[tuple[str, int, bool], ...]

    @property
    def link(self) -> Link:
        """As `Station` takes it."""
        return Link(self.connection, self.established, self.children)


class AgentIke(NamedTuple):
    """The agent's end; `requests` are (kind, SA), the oldest first."""

    connection: int
    children: tuple[int, ...]
    requests: tuple[tuple[str, int], ...]


class World(NamedTuple):
    """One state of everything. Station, disk, NIC and agent are numbers; see `Engine`.

    Parameters
    ----------
    station, disk, nic, agent : int
        Interned states; `agent` is OS_DOWN while the OS is down.
    station_ike, agent_ike
        Both ends of IKE.
    late : tuple or None
        (kind, SA, connection): a request whose sender has given up; it may still arrive.
    to_nic, to_station : tuple
        Packets on the wire.
    numbers : tuple of Numbers
        By SA.
    made : int
        Key exchanges begun.
    loaded : int
        SAs that were READY in the NIC, as bits.
    copies, resets, cuts : int
        Duplications, power commands, and losses of the NIC's power, that may still come.
    saved : int
        An old copy of the disk that may be put back; NO_COPY, or PUT_BACK once that happened.
    """

    station: int
    disk: int
    nic: int
    agent: int = OS_DOWN
    station_ike: StationIke | None = None
    agent_ike: AgentIke | None = None
    late: tuple[str, int, int] | None = None
    to_nic: tuple[Packet, ...] = ()
    to_station: tuple[Answer, ...] = ()
    numbers: tuple[Numbers, ...] = ()
    made: int = 0
    loaded: int = 0
    copies: int = 0
    resets: int = 0
    cuts: int = 0
    saved: int = NO_COPY


Label = tuple
"""Names a step: who, what, and details."""


@dataclass(frozen=True)
class Bounds:
    """What is explored.

    Parameters
    ----------
    exchanges : int
        Key exchanges that may complete, counting the one that made a first SA.
    attempts : int
        Sendings of a request.
    block : int
        Sequence numbers that the station reserves at a time.
    copies, resets, cuts : int
        Duplications by the network, power commands, losses of the NIC's power.
    old_copy : bool
        The store is copied at any time, and the copy put back at any later time, once.
    crashes : bool
        The station crashes, between any two things that it does.
    os_crashes : bool
        The OS dies at any time, and comes up again.
    hangs : bool
        While the OS is down the NIC may still take it for up, until its watchdog says otherwise.
    waiting : int
        No poll while so many requests wait. By default timing a request is given up before the
        next poll is due, so 1 loses nothing.
    ike_losses : bool
        Either end gives its IKE SA up while the other could have answered.
    authorised : bool
        POLICY.station_authorised is set by the agent.
    settled : bool
        Begin with one SA that both ends have proven, else with nothing.
    """

    exchanges: int = 2
    attempts: int = 1
    block: int = 1
    copies: int = 0
    resets: int = 0
    cuts: int = 0
    old_copy: bool = False
    crashes: bool = True
    os_crashes: bool = True
    hangs: bool = False
    ike_losses: bool = True
    waiting: int = 1
    authorised: bool = True
    settled: bool = True


class _Interned:
    """Values by small numbers."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._ids: dict[Hashable, int] = {}

    def id(self, value: Hashable) -> int:
        found = self._ids.get(value)
        if found is None:
            found = self._ids[value] = len(self.values)
            self.values.append(value)
        return found


def _mask(sas: Any) -> int:
    bits = 0
    for sa in sas:
        bits |= 1 << sa
    return bits & ~1


class Engine:
    """Steps of worlds.

    Parameters
    ----------
    bounds : Bounds
        What can happen.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.exchanges = bounds.exchanges
        self._station_side = Station(attempts=bounds.attempts, block=bounds.block)
        self._agent_side = AgentSide(authorised=bounds.authorised)
        self._nic_side = Nic()
        self._stations = _Interned()
        self._disks = _Interned()
        self._nics = _Interned()
        self._agents = _Interned()
        self._memo: dict[tuple, Any] = {}
        self._agent0 = self._agents.id(AgentState())

    @property
    def runs(self) -> int:
        """How often one of the real programs ran."""
        return sum(key[0] < NOT_RUN for key in self._memo)

    # --- looking at a world -----------------------------------------------------------------------

    def station(self, world: World) -> StationState:
        """The station's memory."""
        return self._stations.values[world.station]

    def disk(self, world: World) -> StoreState:
        """The station's store."""
        return self._disks.values[world.disk]

    def nic(self, world: World) -> NicState:
        """The NIC."""
        return self._nics.values[world.nic]

    def agent(self, world: World) -> AgentState | None:
        """The agent; None while the OS is down."""
        return None if world.agent == OS_DOWN else self._agents.values[world.agent]

    # --- beginning --------------------------------------------------------------------------------

    def first(self) -> World:
        """Where exploration begins."""
        bounds = self.bounds
        rows: tuple[Row, ...] = ()
        banks = NicState().banks
        numbers: tuple[Numbers, ...] = ()
        if bounds.settled:
            rows = (Row(1, 1, True, True),)
            banks = ((1, int(BankState.PROVEN)), banks[1])
            numbers = (Numbers(1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 1),)
        disk = StoreState(len(rows), rows, bool(rows), 2 if rows else -1)
        made = len(rows)
        world = World(
            station=0,
            disk=self._disks.id(disk),
            nic=self._nics.id(NicState(banks)),
            numbers=numbers,
            made=made,
            loaded=(1 << made + 1) - 2,
            copies=bounds.copies,
            resets=bounds.resets,
            cuts=bounds.cuts,
        )
        world = self.boot(self._restarted(world))
        return self._normal(world)

    # --- running the programs ---------------------------------------------------------------------

    def _numbers(self, world: World) -> dict[int, Numbers]:
        return {n.sa: n for n in world.numbers}

    def _run_station(self, world: World, link: Link | None, what: tuple) -> Outcome:
        mine = tuple(n[:6] for n in world.numbers)
        key = (1, world.station, world.disk, mine, link, what)
        found = self._memo.get(key)
        if found is None:
            numbers = {n.sa: SaNumbers(*n[1:6]) for n in world.numbers}
            found = self._memo[key] = self._station_side.take(
                self.station(world), self.disk(world), numbers, link, what
            )
        return found

    def _restarted(self, world: World) -> World:
        """The station starts on what the disk holds; nobody else notices."""
        mine = tuple((n.sa, n.reserved, n.edge) for n in world.numbers if n.reserved >= 0)
        key = (2, world.disk, mine)
        found = self._memo.get(key)
        if found is None:
            numbers = {sa: (reserved, edge) for sa, reserved, edge in mine}
            found = self._memo[key] = self._station_side.start(self.disk(world), numbers)
        outcome: Outcome = found
        late = world.late
        if world.station_ike is not None:
            late = _orphan(world.station_ike, late)
        world = world._replace(
            station_ike=None,
            late=late,
            to_nic=tuple(p if p.name == COPY else p._replace(name=LATE) for p in world.to_nic),
            to_station=(),
        )
        return self._after(world, outcome._replace(names={}))

    def _with_numbers(self, world: World, told: dict[int, SaNumbers]) -> tuple[Numbers, ...]:
        out = []
        known = set()
        for n in world.numbers:
            known.add(n.sa)
            out.append(Numbers(n.sa, *told.get(n.sa, SaNumbers()), *n[6:]))
        out += [Numbers(sa, *mine) for sa, mine in told.items() if sa not in known]
        return tuple(sorted(out))

    def _after(self, world: World, outcome: Outcome) -> World:
        """The station has done all that came of a step."""
        if outcome.fault:
            raise ViolationError("station", f"it no longer looks after the host: {outcome.fault}")
        names = outcome.names
        world = world._replace(
            station=self._stations.id(outcome.state),
            disk=self._disks.id(outcome.store),
            numbers=self._with_numbers(world, outcome.numbers),
            to_nic=tuple(
                p if p.name == COPY else p._replace(name=names.get(p.name, LATE))
                for p in world.to_nic
            ),
            to_station=tuple(
                a._replace(name=names[a.name]) for a in world.to_station if a.name in names
            ),
        )
        return self._did(world, outcome.log)

    def _crashed(self, world: World, outcome: Outcome, prefix: Any) -> World:
        """The station dies in the middle of a step, and starts again."""
        told = {sa: SaNumbers(0, reserved, edge) for sa, reserved, edge in prefix.numbers}
        # What it sent before counts as sent.
        world = world._replace(
            disk=self._disks.id(prefix.store), numbers=self._with_numbers(world, told)
        )
        return self._restarted(self._did(world, outcome.log[: prefix.done]))

    def _did(self, world: World, log: tuple[tuple, ...]) -> World:
        """What the station did reaches the network and IKE."""
        for what in log:
            match what:
                case ("send", packet):
                    world = self._sent(world, packet)
                case ("connect",):
                    made, sa = self._next_sa(world)
                    if not sa:
                        continue
                    requests: tuple[tuple[str, int, bool], ...] = (("connect", sa, False),)
                    world = world._replace(
                        made=made, station_ike=StationIke(sa, False, (), requests)
                    )
                case ("abandon",):
                    assert world.station_ike is not None
                    late = _orphan(world.station_ike, world.late)
                    world = world._replace(station_ike=None, late=late)
                case (kind, *about):
                    ike = world.station_ike
                    assert ike is not None
                    if kind == "child":
                        made, sa = self._next_sa(world)
                        if not sa:
                            continue
                        world = world._replace(made=made)
                    else:
                        sa = about[0]
                    requests = (*ike.requests, (kind, sa, False))
                    world = world._replace(station_ike=ike._replace(requests=requests))
        return world

    def _next_sa(self, world: World) -> tuple[int, int]:
        if world.made >= self.exchanges:
            return world.made, 0
        return world.made + 1, world.made + 1

    def _sent(self, world: World, packet: Packet) -> World:
        numbers = self._numbers(world)
        mine = numbers.get(packet.sa)
        if mine is not None:
            if packet.number <= mine.used:
                raise ViolationError(
                    "nonce", f"the station used number {packet.number} of SA {mine.sa} twice"
                )
            numbers[mine.sa] = mine._replace(used=packet.number)
        return world._replace(numbers=tuple(numbers.values()), to_nic=(*world.to_nic, packet))

    def _run_agent(self, world: World, what: tuple) -> World:
        """Something happens to the agent, other than its work at the NIC."""
        connection = world.agent_ike.connection if world.agent_ike is not None else 0
        key = (3, world.agent, what, connection)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._agent_side.take(
                self._agents.values[world.agent], what, connection
            )
        after, log = found
        return self._agent_did(world._replace(agent=self._agents.id(after)), log)

    @staticmethod
    def _agent_did(world: World, log: list[tuple]) -> World:
        ike = world.agent_ike
        if ike is None or not log:
            return world
        gone = {sa for kind, sa in log if kind == "delete"}
        return world._replace(
            agent_ike=ike._replace(
                requests=(*ike.requests, *log),
                children=tuple(sa for sa in ike.children if sa not in gone),
            )
        )

    # --- the NIC ----------------------------------------------------------------------------------

    def _nic_numbers(self, world: World) -> dict[int, tuple[int, int, int]]:
        return {n.sa: (n.nic_right, n.nic_bitmap, n.nic_sent) for n in world.numbers}

    def _with_nic(
        self, world: World, state: NicState, told: dict[int, tuple[int, int, int]]
    ) -> World:
        before = self.nic(world)
        if before.proven and not state.proven:
            raise ViolationError(
                "last-proven", f"the NIC's proven bank of SA {before.proven} went away"
            )
        numbers = []
        known = set()
        for n in world.numbers:
            known.add(n.sa)
            right, bitmap, sent = told.get(n.sa, NO_NUMBERS)
            if 0 <= right < n.nic_right:
                raise ViolationError("window", f"the NIC's window of SA {n.sa} went back")
            numbers.append(n._replace(nic_right=right, nic_bitmap=bitmap, nic_sent=sent))
        numbers += [
            Numbers(sa, nic_right=r, nic_bitmap=b, nic_sent=s)
            for sa, (r, b, s) in told.items()
            if sa not in known
        ]
        loaded = world.loaded
        fresh = set(state.keyed) - set(before.keyed)
        for sa in fresh:
            if loaded >> sa & 1:
                raise ViolationError("key", f"SA {sa} came into the NIC a second time")
            loaded |= 1 << sa
        return world._replace(
            nic=self._nics.id(state), numbers=tuple(sorted(numbers)), loaded=loaded
        )

    def _nic_key(self, world: World) -> tuple:
        return tuple((n.sa, *n[7:10]) for n in world.numbers if n.nic_right >= 0)

    def nic_receives(self, world: World, place: int) -> World | None:
        """A packet arrives at the NIC; None if that changes nothing."""
        packet = world.to_nic[place]
        key = (4, world.nic, self._nic_key(world), packet)
        found = self._memo.get(key)
        if found is None:
            try:
                found = self._nic_side.receive(self.nic(world), self._nic_numbers(world), packet)
            except KeyMeaningError as error:
                raise ViolationError("key", str(error)) from None
            self._memo[key] = found
        state, told, answers, refused = found
        if not refused:
            raise ViolationError("window", f"the NIC took {packet} twice")
        if not answers and state == self.nic(world):
            return None
        rest = world.to_nic[:place] + world.to_nic[place + 1 :]
        world = self._with_nic(world._replace(to_nic=rest), state, told)
        return self._answered(world, answers)

    def _answered(self, world: World, answers: list[Answer]) -> World:
        numbers = self._numbers(world)
        on_wire = []
        for answer in answers:
            n = numbers[answer.sa]
            if answer.number <= n.nic_used:
                raise ViolationError(
                    "nonce", f"the NIC used number {answer.number} of SA {answer.sa} twice"
                )
            numbers[answer.sa] = n._replace(nic_used=answer.number)
            waiting = self.station(world).waiting
            if answer.name != LATE and (
                answer.body[0] != "ack" or waiting[answer.name].kind == "reset"
            ):
                on_wire.append(answer)
        return world._replace(
            numbers=tuple(sorted(numbers.values())),
            to_station=(*world.to_station, *on_wire),
        )

    def expire(self, world: World) -> World:
        """The NIC's timer is over."""
        key = (5, world.nic, self._nic_key(world))
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = self._nic_side.expire(
                self.nic(world), self._nic_numbers(world)
            )
        return self._with_nic(world, *found)

    def _on_nic(self, world: World, what: str) -> World:
        """The OS comes up, or beats."""
        key = (6, world.nic, self._nic_key(world), what)
        found = self._memo.get(key)
        if found is None:
            model = self._nic_side.load(self.nic(world), self._nic_numbers(world))
            (self._agent_side.boot if what == "boot" else self._agent_side.beat)(model)
            found = self._memo[key] = self._nic_side.read()
        return self._with_nic(world, *found)

    def boot(self, world: World) -> World:
        """The OS comes up."""
        return self._on_nic(world, "boot")._replace(agent=self._agent0)

    def beat(self, world: World) -> World:
        """The agent's heartbeat."""
        return self._on_nic(world, "beat")

    def job(self, world: World) -> World:
        """The agent's thread goes on with its work at the NIC, up to the next cut."""
        connection = world.agent_ike.connection if world.agent_ike is not None else 0
        key = (7, world.agent, world.nic, self._nic_key(world), connection)
        found = self._memo.get(key)
        if found is None:
            model = self._nic_side.load(self.nic(world), self._nic_numbers(world))
            agent, log = self._agent_side.take(
                self._agents.values[world.agent], ("job",), connection, model
            )
            try:
                found = self._memo[key] = agent, log, *self._nic_side.read()
            except KeyMeaningError as error:
                raise ViolationError("key", str(error)) from None
        agent, log, state, told = found
        world = self._with_nic(world, state, told)
        return self._agent_did(world._replace(agent=self._agents.id(agent)), log)

    # --- IKE --------------------------------------------------------------------------------------

    def request_arrives(self, world: World) -> World | None:
        """The station's oldest request arrives at the agent; None if it cannot."""
        ike = world.station_ike
        if ike is None or not ike.requests or world.agent == OS_DOWN:
            return None
        kind, sa, answered = ike.requests[0]
        if answered:
            return None
        taken = self._agent_takes(world, kind, sa, ike.connection)
        if taken is None:
            return None
        if kind == "delete":
            children = tuple(one for one in ike.children if one != sa)
            ike = ike._replace(requests=ike.requests[1:], children=children)
        else:
            ike = ike._replace(requests=((kind, sa, True), *ike.requests[1:]))
        return taken._replace(station_ike=ike)

    def late_arrives(self, world: World) -> World | None:
        """A request whose sender has given up arrives at the agent."""
        if world.late is None or world.agent == OS_DOWN:
            return None
        taken = self._agent_takes(world, *world.late)
        return None if taken is None else taken._replace(late=None)

    def _agent_takes(self, world: World, kind: str, sa: int, connection: int) -> World | None:
        mine = world.agent_ike
        if kind == "connect":
            world = world._replace(agent_ike=AgentIke(connection, (sa,), ()))
            return self._run_agent(world, ("established", sa, connection))
        if mine is None or mine.connection != connection:
            return None
        if kind == "child":
            world = world._replace(agent_ike=mine._replace(children=(*mine.children, sa)))
            return self._run_agent(world, ("established", sa, connection))
        if sa not in mine.children:
            return world
        children = tuple(one for one in mine.children if one != sa)
        world = world._replace(agent_ike=mine._replace(children=children))
        return self._run_agent(world, ("deleted", sa, connection))

    def ike_event(self, world: World) -> tuple[World, Link, tuple] | None:
        """What IKE tells the station next, if it has something to tell, and the world then."""
        ike = world.station_ike
        if ike is None or not ike.requests or not ike.requests[0][2]:
            return None
        kind, sa, _ = ike.requests[0]
        children = (sa,) if kind == "connect" else (*ike.children, sa)
        ike = StationIke(ike.connection, True, children, ike.requests[1:])
        return world._replace(station_ike=ike), ike.link, ("established", sa)

    def agent_event(self, world: World) -> tuple[World, Link, tuple | None] | None:
        """The agent's oldest request arrives at the station."""
        ike, mine = world.station_ike, world.agent_ike
        if ike is None or mine is None or not mine.requests:
            return None
        if ike.connection != mine.connection or not ike.established:
            return None
        kind, sa = mine.requests[0]
        if any(one == sa and what != "delete" for what, one, _ in ike.requests):
            return None  # early: the station does not know this Child SA yet
        world = world._replace(agent_ike=mine._replace(requests=mine.requests[1:]))
        if sa not in ike.children:
            return world, ike.link, None
        if kind == "ready":
            return world, ike.link, ("ready", sa)
        ike = ike._replace(children=tuple(one for one in ike.children if one != sa))
        return world._replace(station_ike=ike), ike.link, ("deleted", sa)

    def station_waits_in_vain(self, world: World) -> bool:
        """Nobody will answer the station's oldest request."""
        ike = world.station_ike
        if ike is None or not ike.requests or ike.requests[0][2]:
            return False
        kind = ike.requests[0][0]
        mine = world.agent_ike
        reaches = mine is not None and mine.connection == ike.connection
        return world.agent == OS_DOWN or (kind != "connect" and not reaches)

    @staticmethod
    def agent_waits_in_vain(world: World) -> bool:
        """Nobody will answer the agent's oldest request."""
        ike, mine = world.station_ike, world.agent_ike
        if mine is None or not mine.requests:
            return False
        return ike is None or ike.connection != mine.connection

    def closing(self, world: World) -> tuple[World, Link, tuple] | None:
        """The station gives its IKE SA up."""
        ike = world.station_ike
        if ike is None or not ike.requests:
            return None
        world = world._replace(station_ike=None, late=_orphan(ike, world.late))
        return world, ike.link, ("closed",)

    # --- every step that can follow ---------------------------------------------------------------

    def station_inputs(self, world: World) -> Iterator[tuple[Label, World, Link | None, tuple]]:
        """Everything that can happen to the station."""
        state = self.station(world)
        link = world.station_ike.link if world.station_ike is not None else None
        if len(state.waiting) < self.bounds.waiting:
            yield ("station", "poll"), world, link, ("poll",)
        for name, waiting in enumerate(state.waiting):
            yield ("station", "timer", waiting), world, link, ("fire", name)
        if state.loading:
            yield ("station", "ready timer"), world, link, ("ready timeout",)
        if state.backing_off:
            yield ("station", "retry timer"), world, link, ("retry",)
        if state.refresh == 1 and not state.exchanging and not state.backing_off:
            yield ("station", "refresh timer"), world, link, ("refresh",)
        if world.resets and state.machine.held:
            yield (
                ("station", "power command"),
                world._replace(resets=world.resets - 1),
                link,
                ("reset",),
            )
        for place, answer in enumerate(world.to_station):
            rest = world.to_station[:place] + world.to_station[place + 1 :]
            yield (
                ("station", "receives", answer),
                world._replace(to_station=rest),
                link,
                ("packet", answer),
            )
        told = self.ike_event(world)
        if told is not None:
            yield ("station", "IKE answer", told[2][1]), *told
        heard = self.agent_event(world)
        if heard is not None and heard[2] is not None:
            after, link, event = heard
            assert event is not None
            yield ("station", f"IKE {event[0]}", event[1]), after, link, event
        given_up = self.closing(world)
        if given_up is not None and (self.bounds.ike_losses or self.station_waits_in_vain(world)):
            yield ("station", "IKE gives up"), *given_up

    def station_steps(self, world: World) -> Iterator[tuple[Label, World]]:
        """What the station does, and how it can die while it does so."""
        for label, before, link, what in self.station_inputs(world):
            outcome = self._run_station(before, link, what)
            yield label, self._after(before, outcome)
            if self.bounds.crashes:
                for number, prefix in enumerate(outcome.prefixes):
                    yield (
                        ("station", "crashes in", label, number),
                        self._crashed(before, outcome, prefix),
                    )
        if self.bounds.crashes:
            yield ("station", "crashes"), self._restarted(world)

    def steps(self, world: World) -> Iterator[tuple[Label, World]]:
        """Every step that can follow, with the world after it, normalised.

        Raises ViolationError.
        """
        for label, after in self._steps(world):
            yield label, self._normal(after)

    def _steps(self, world: World) -> Iterator[tuple[Label, World]]:
        nic, bounds = self.nic(world), self.bounds
        yield from self.station_steps(world)
        heard = self.agent_event(world)
        if heard is not None and heard[2] is None:
            yield ("station", "IKE names no Child SA of its"), heard[0]
        for place, packet in enumerate(world.to_nic):
            if place and packet == world.to_nic[place - 1]:
                continue
            received = self.nic_receives(world, place)
            if received is not None:
                yield ("nic", "receives", packet), received
                if world.copies and packet.name != COPY:
                    # The copy comes second: which of two that are alike is the copy?
                    copied = received._replace(
                        to_nic=(*received.to_nic, packet._replace(name=COPY)),
                        copies=world.copies - 1,
                    )
                    yield ("nic", "receives, and a copy is left,", packet), copied
        if bounds.old_copy and world.saved == NO_COPY:
            yield ("station", "store is copied"), world._replace(saved=world.disk)
        if world.saved >= 0:
            yield ("station", "old copy is put back"), self._put_back(world)
        if nic.timed:
            yield ("nic", "timer"), self.expire(world)
        if world.cuts:
            dark = self._dark(world)
            yield ("nic", "loses power"), dark
            yield ("nic", "and host lose power"), self._os_down(dark)
        yield from self._host_steps(world, nic)
        if bounds.os_crashes and world.agent != OS_DOWN:
            yield ("agent", "OS dies"), self._os_down(world)

    def _host_steps(self, world: World, nic: NicState) -> Iterator[tuple[Label, World]]:
        if world.agent == OS_DOWN:
            if nic.alive:
                yield ("nic", "watchdog"), self._quiet(world)
            yield ("agent", "OS comes up"), self.boot(world)
            return
        agent: AgentState = self._agents.values[world.agent]
        if not nic.alive or not nic.configured:
            yield ("agent", "heartbeat"), self.beat(world)
        arrived = self.request_arrives(world)
        if arrived is not None and world.station_ike is not None:
            yield ("agent", "IKE request", *world.station_ike.requests[0][:2]), arrived
        arrived = self.late_arrives(world)
        if arrived is not None and world.late is not None:
            yield ("agent", "late IKE request", *world.late[:2]), arrived
        if agent.jobs:
            yield ("agent", "at the NIC", *agent.jobs[0][:2]), self.job(world)
        asleep = len(agent.loads) > sum(job[0] == "load" for job in agent.jobs)
        if asleep:
            yield ("agent", "tries again"), self._run_agent(world, ("pause",))
            if not all(load[4] for load in agent.loads):
                yield ("agent", "busy timer"), self._run_agent(world, ("timeout",))
        if (
            world.agent_ike is not None
            and world.agent_ike.requests
            and (self.bounds.ike_losses or self.agent_waits_in_vain(world))
        ):
            yield ("agent", "IKE gives up"), world._replace(agent_ike=None)

    def _put_back(self, world: World) -> World:
        """The station starts on an old copy, which is moved ahead of all that was sent since."""
        numbers = {n.sa: (max(n.reserved, n.used, 0), 0) for n in world.numbers}
        old = self._disks.values[world.saved]
        state, moved = moved_ahead(old, {row.sa: numbers[row.sa] for row in old.rows})
        told = {sa: SaNumbers(0, *pair) for sa, pair in moved.items()}
        world = world._replace(
            disk=self._disks.id(state), numbers=self._with_numbers(world, told), saved=PUT_BACK
        )
        return self._restarted(world)

    def _dark(self, world: World) -> World:
        numbers = tuple(n._replace(nic_right=-1, nic_bitmap=0, nic_sent=-1) for n in world.numbers)
        return world._replace(nic=self._nics.id(NicState()), numbers=numbers, cuts=world.cuts - 1)

    def _os_down(self, world: World) -> World:
        world = world._replace(agent=OS_DOWN, agent_ike=None)
        return world if self.bounds.hangs else self._quiet(world)

    def _quiet(self, world: World) -> World:
        nic = self.nic(world)
        return world._replace(nic=self._nics.id(nic._replace(alive=False))) if nic.alive else world

    # --- normal form ------------------------------------------------------------------------------

    def _mask(self, kind: int, number: int) -> int:
        """SAs of an interned state, as bits."""
        key = (8, kind, number)
        found = self._memo.get(key)
        if found is None:
            match kind:
                case 0:
                    sas = [row.sa for row in self._stations.values[number].rows]
                case 1:
                    sas = [row.sa for row in self._disks.values[number].rows]
                case 2:
                    sas = [sa for sa, _ in self._nics.values[number].banks]
                case _:
                    sas = [load[0] for load in self._agents.values[number].loads]
            found = self._memo[key] = _mask(sas)
        return found

    def _normal(self, world: World) -> World:
        """The same world, with everything that makes no difference made alike."""
        rows = self._mask(0, world.station)
        can_be_in_nic = self._mask(2, world.nic)
        if world.agent != OS_DOWN:
            can_be_in_nic |= self._mask(3, world.agent)
        ike, mine, late = world.station_ike, world.agent_ike, world.late
        if ike is not None:
            for kind, sa, _ in ike.requests:
                if kind != "delete":
                    can_be_in_nic |= 1 << sa
        if late is not None:
            can_be_in_nic |= 1 << late[1]
        alive = can_be_in_nic | rows | self._mask(1, world.disk)
        if world.saved >= 0:
            alive |= self._mask(1, world.saved)
        key = (
            9,
            rows,
            can_be_in_nic,
            alive,
            world.numbers,
            world.to_nic,
            world.to_station,
        )
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = _on_wire(*key[1:])
        numbers, to_nic, to_station = found
        if (
            mine is not None
            and (ike is None or ike.connection != mine.connection)
            and (late is None or late[2] != mine.connection)
        ):
            mine = None  # nobody is at its other end
        return World(
            world.station,
            world.disk,
            world.nic,
            world.agent,
            ike,
            mine,
            late,
            to_nic,
            to_station,
            numbers,
            *world[10:],
        )


def _on_wire(
    rows: int,
    can_be_in_nic: int,
    alive: int,
    numbers: tuple[Numbers, ...],
    to_nic: tuple[Packet, ...],
    to_station: tuple[Answer, ...],
) -> tuple[tuple[Numbers, ...], tuple[Packet, ...], tuple[Answer, ...]]:
    """What is on the wire and can still have an effect, its numbers counted anew.

    Parameters
    ----------
    rows, can_be_in_nic, alive : int
        SAs, as bits: in the station's memory; in the NIC, now or later; anywhere.
    """
    kept: list[Packet] = []
    late: dict[tuple, Packet] = {}
    for packet in to_nic:
        if not can_be_in_nic >> packet.sa & 1:
            continue  # no bank can ever take it
        if packet.name == LATE:
            late[packet.sa, packet.kind, packet.about] = packet
        else:
            kept.append(packet)
    kept += late.values()
    out: list[Packet] = []
    back: list[Answer] = []
    counted = []
    for n in numbers:
        if not alive >> n.sa & 1:
            continue
        mine = [p for p in kept if p.sa == n.sa]
        theirs = [a for a in to_station if a.sa == n.sa] if rows >> n.sa & 1 else []
        after, names, back_names = renamed(
            n, tuple(p.number for p in mine), tuple(a.number for a in theirs)
        )
        counted.append(after)
        out += [p._replace(number=name) for p, name in zip(mine, names, strict=True)]
        back += [a._replace(number=name) for a, name in zip(theirs, back_names, strict=True)]
    return tuple(counted), tuple(sorted(out)), tuple(sorted(back))


def _orphan(ike: StationIke, late: tuple[str, int, int] | None) -> tuple[str, int, int] | None:
    """The request that may still arrive when the station forgets its IKE SA."""
    if ike.requests:
        kind, sa, answered = ike.requests[0]
        if not answered and kind != "delete":
            return kind, sa, ike.connection
    return late
