"""What must hold in every state, and after faults have stopped.

Some properties are about a step rather than a state, and are looked at where the step is made:
`verif.modelcheck.world` raises ViolationError for them. PROPERTIES names them all.
"""

from __future__ import annotations

from spec.sa import BankState
from sw.station.commit_words import Phase
from verif.modelcheck.world import OS_DOWN, PUT_BACK, Engine, Label, ViolationError, World

PROPERTIES = {
    "last-proven": "the NIC's proven SA is in the station's store; only a newer one replaces it",
    "key": "a key stands for one SA and one direction, and comes into the NIC once",
    "window": "no window goes back, and no end takes a packet twice",
    "nonce": "neither end puts a number of a key on the wire twice",
    "store": "what was put on the wire, and what the station has in memory, is on disk",
    "station": "the station goes on looking after the host",
    "recovery": "once faults stop, both ends settle on the newest SA that the NIC proved",
    "refresh": "once faults stop and the OS is up, one more exchange puts both on the newest SA",
}
"""By name."""

RECOVERY_STEPS = 400
"""Far more than any recovery takes."""
EXCHANGES = 100
"""While faults have stopped, as good as no bound."""


def require(holds: bool, prop: str, text: str) -> None:
    """Raise ViolationError unless it holds."""
    if not holds:
        raise ViolationError(prop, text)


def check_state(engine: Engine, world: World) -> None:
    """The properties of one state; raises ViolationError."""
    disk, nic, station = engine.disk(world), engine.nic(world), engine.station(world)
    held = {row.sa for row in disk.rows}
    proven = nic.proven
    require(
        not proven or proven in held or world.saved == PUT_BACK,
        "last-proven",
        f"the NIC has proven SA {proven}, and the station's store does not hold it",
    )
    memory = {(sa.generation, sa.used, sa.proven) for sa in station.machine.held}
    rows = {(row.generation, row.used, row.proven) for row in disk.rows}
    require(memory == rows, "store", f"memory has {sorted(memory)}, the disk {sorted(rows)}")
    known = {row.sa: row for row in disk.rows}
    require(sum(row.proven for row in disk.rows) <= 1, "store", "two SAs are proven in the store")
    for n in world.numbers:
        if n.used and n.sa in known:
            require(
                known[n.sa].used,
                "store",
                f"a packet went out under SA {n.sa}, and the disk has it as never used",
            )
        require(n.edge <= max(n.right, 0) or n.right < 0, "window", "the stored edge is ahead")


Step = tuple[Label, World]


class Recovery:
    """What comes of a state once faults have stopped: one fair order of all that is left to do.

    States on a way that was followed before need not be followed again.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._rests: dict[tuple[bool, World], World] = {}
        self._refreshed: set[World] = set()
        self._checked: set[World] = set()
        self.longest = 0
        self.trail: list[tuple[Label, World]] = []
        """The steps of the way that is being followed."""

    def check(self, world: World) -> None:
        """With the OS dead and alive, with what is on the wire lost and delivered.

        Raises ViolationError.
        """
        for lost in (False, True):
            left = world._replace(to_nic=(), to_station=()) if lost else world
            left = self.engine._normal(left)
            if lost and left == world:
                continue
            what = ("faults stop; what is on the wire is lost",) if lost else ("faults stop",)
            self.trail = [(("station", *what), left)]
            self.check_os_dead(left)
            self.trail = [(("station", *what), left)]
            self.check_os_up(left)

    def check_os_dead(self, world: World) -> None:
        """The NIC is reached under the SA that it proved, without the OS."""
        engine = self.engine
        if world.agent != OS_DOWN:
            world = self._step(("agent", "OS dies"), engine._os_down(world))
        world = self._settle(world, up=False)
        proven = engine.nic(world).proven
        if world.saved == PUT_BACK and proven not in {r.sa for r in engine.disk(world).rows}:
            return  # only a key exchange helps now
        self._check_settled(world, "recovery")

    def check_os_up(self, world: World) -> None:
        """The OS is up: whatever was under way ends, and then a refresh works."""
        engine = self.engine
        if world.agent == OS_DOWN:
            world = self._step(("agent", "OS comes up"), engine.boot(world))
        bound, engine.exchanges = engine.exchanges, EXCHANGES
        try:
            world = self._settle(world, up=True)
            if not engine.nic(world).proven:
                raise ViolationError("recovery", "the OS is up, and the NIC has no proven SA")
            self._check_settled(world, "recovery")
            if world in self._refreshed:
                return
            before = world.made
            first = world
            world = self._refresh(world)
            self._check_settled(world, "refresh")
            newest = world.made
            require(
                engine.nic(world).proven == newest > before,
                "refresh",
                f"after one more exchange, of SA {newest}, the NIC has proven SA "
                f"{engine.nic(world).proven}",
            )
            self._refreshed.add(first)
        finally:
            engine.exchanges = bound

    def _check_settled(self, world: World, prop: str) -> None:
        if world in self._checked:
            return
        engine = self.engine
        machine, proven = engine.station(world).machine, engine.nic(world).proven
        if not proven:
            return
        held = {row.generation: row.sa for row in engine.disk(world).rows}
        staged = {sa for sa, state in engine.nic(world).banks if state == BankState.STAGED}
        # A bank that the OS left half-written may still be finished: it stays in doubt, and the
        # last SA that worked comes first.
        in_doubt = machine.phase is Phase.DOUBT and staged & set(held.values())
        require(
            machine.phase is Phase.STEADY or bool(in_doubt),
            prop,
            f"the station stays {machine.phase.value}",
        )
        first = held[machine.order[0]] if machine.order else None
        require(first == proven, prop, f"the NIC is on SA {proven}, the station on {first}")
        banks = dict(engine.nic(world).banks)
        require(banks[proven] == BankState.PROVEN, prop, "the NIC's bank is not proven")
        self._checked.add(world)

    def _refresh(self, world: World) -> World:
        after = self._raw(world, ("refresh",))
        world = self._step(("station", "refresh timer"), after)
        return self._settle(world, up=True)

    def _settle(self, world: World, *, up: bool) -> World:
        """Do all that is left, the quickest first, until polls change nothing any more."""
        way: list[World] = []
        polled: set[World] = set()
        while (rest := self._rests.get((up, world))) is None:
            require(len(way) < RECOVERY_STEPS, "recovery", "nothing comes to rest")
            way.append(world)
            following = self._quickest(world)
            if following is None and world in polled:
                following = self._slowest(world) if up else None
                if following is None:
                    rest = world
                    break
            if following is None:
                polled.add(world)
                following = ("station", "poll"), self._raw(world, ("poll",))
            world = self._step(*following)
        world = rest
        for passed in way:
            self._rests[up, passed] = world
        self.longest = max(self.longest, len(way))
        return world

    def _step(self, label: Label, after: World) -> World:
        world = self.engine._normal(after)
        self.trail.append((label, world))
        return world

    def _quickest(self, world: World) -> Step | None:
        """The next thing that happens without a fault, other than a poll; None for nothing."""
        return self._on_wire(world) or self._ike(world) or self._agent(world) or self._timers(world)

    def _on_wire(self, world: World) -> Step | None:
        engine = self.engine
        while world.to_nic:
            received = engine.nic_receives(world, 0)
            if received is not None:
                return ("nic", "receives", world.to_nic[0]), received
            world = world._replace(to_nic=world.to_nic[1:])
        if world.to_station:
            answer = world.to_station[0]
            world = world._replace(to_station=world.to_station[1:])
            return ("station", "receives", answer), self._raw(world, ("packet", answer))
        return None

    def _ike(self, world: World) -> Step | None:
        engine = self.engine
        told = engine.ike_event(world)
        if told is not None:
            before, link, what = told
            after = engine._after(before, engine._run_station(before, link, what))
            return ("station", "IKE answer", what[1]), after
        heard = engine.agent_event(world)
        if heard is not None:
            before, link, event = heard
            if event is None:
                return ("station", "IKE names no Child SA of its"), before
            after = engine._after(before, engine._run_station(before, link, event))
            return ("station", f"IKE {event[0]}", event[1]), after
        arrived = engine.late_arrives(world)
        if arrived is not None:
            return ("agent", "late IKE request", *(world.late or ())[:2]), arrived
        arrived = engine.request_arrives(world)
        if arrived is not None and world.station_ike is not None:
            return ("agent", "IKE request", *world.station_ike.requests[0][:2]), arrived
        if world.late is not None:
            return ("network", "loses a late IKE request"), world._replace(late=None)
        return None

    def _agent(self, world: World) -> Step | None:
        engine, agent = self.engine, self.engine.agent(world)
        if agent is None:
            return None
        if agent.jobs:
            return ("agent", "at the NIC", *agent.jobs[0][:2]), engine.job(world)
        nic = engine.nic(world)
        if not (nic.alive and nic.configured):
            beaten = engine.beat(world)
            if beaten != world:
                return ("agent", "heartbeat"), beaten
        return None

    def _timers(self, world: World) -> Step | None:
        """By their lengths: a request, the agent's pause, the NIC, *ready*, IKE, the retry."""
        engine = self.engine
        state, agent = engine.station(world), engine.agent(world)
        if state.waiting:
            return ("station", "timer", state.waiting[0]), self._raw(world, ("fire", 0))
        if engine.nic(world).timed:
            return ("nic", "timer"), engine.expire(world)
        if agent is not None and agent.loads:
            return ("agent", "tries again"), engine._run_agent(world, ("pause",))
        if engine.agent_waits_in_vain(world):
            return ("agent", "IKE gives up"), world._replace(agent_ike=None)
        closing = engine.closing(world) if engine.station_waits_in_vain(world) else None
        if closing is not None:
            before, link, what = closing
            after = engine._after(before, engine._run_station(before, link, what))
            return ("station", "IKE gives up"), after
        if state.loading:
            return ("station", "ready timer"), self._raw(world, ("ready timeout",))
        if world.agent == OS_DOWN:
            if engine.nic(world).alive:
                return ("nic", "watchdog"), engine._quiet(world)
            return None
        return None

    def _slowest(self, world: World) -> Step | None:
        """What is longer than the time between two polls."""
        state, ike = self.engine.station(world), world.station_ike
        if state.backing_off:
            return ("station", "retry timer"), self._raw(world, ("retry",))
        if state.exchanging and (ike is None or not ike.requests):
            return ("station", "exchange timer"), self._raw(world, ("exchange timer",))
        return None

    def _raw(self, world: World, what: tuple) -> World:
        engine = self.engine
        link = world.station_ike.link if world.station_ike is not None else None
        return engine._after(world, engine._run_station(world, link, what))
