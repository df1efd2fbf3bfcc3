"""All that can happen between station, agent and NIC while SAs are exchanged, as a graph.

A `World` is one state of the store, the commit machine, the NIC's SAD and the network;
`successors` gives every state that can come next: packets arrive, late or again or never, timers
run out, the OS goes away, the station crashes between any two actions. What is not outstanding is
renumbered, so for a bounded number of exchanges the graph is finite.

The agent is honest: it says ready only after the NIC took the SA.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from spec.sa import BankState
from sw.station import commit_words as words
from sw.station.commit import State, restore, step
from sw.station.commit_words import Phase, Sa

SPI = 0x1000
PENDING = (BankState.READY, BankState.ACTIVE)


class ViolationError(AssertionError):
    """A rule was broken."""


def require(condition: bool, what: str) -> None:
    """Raise ViolationError unless it holds."""
    if not condition:
        raise ViolationError(what)


@dataclass(frozen=True, slots=True)
class Nic:
    """The SAD as spec/sa.py has it: SPI and state, in the order of staging."""

    authorised: bool
    banks: tuple[tuple[int, BankState], ...] = ()

    def state(self, spi: int) -> BankState | None:
        return dict(self.banks).get(spi)

    @property
    def proven(self) -> int | None:
        return next((s for s, b in self.banks if b is BankState.PROVEN), None)

    def set(self, spi: int, state: BankState) -> Nic:
        return replace(self, banks=tuple((s, state if s == spi else b) for s, b in self.banks))

    def drop(self, *states: BankState) -> Nic:
        return replace(self, banks=tuple((s, b) for s, b in self.banks if b not in states))

    def stage(self, spi: int) -> Nic | None:
        if len(self.banks) == 2 or any(b in PENDING for _, b in self.banks):
            return None
        return replace(self, banks=(*self.banks, (spi, BankState.READY)))

    def receive(self, spi: int) -> Nic | None:
        """A packet that was authenticated under this SPI; None if no bank takes it."""
        state = self.state(spi)
        if state is None:
            return None
        if state is BankState.READY and self.authorised and self.proven is not None:
            return None
        nic = self
        if state in PENDING:
            nic = nic.drop(BankState.RETIRING)
            if nic.proven is not None:
                nic = nic.set(nic.proven, BankState.RETIRING)
            nic = nic.set(spi, BankState.PROVEN)
        return nic

    def commit(self, spi: int) -> tuple[Nic, bool]:
        nic = self.set(spi, BankState.ACTIVE) if self.state(spi) is BankState.READY else self
        return nic, nic.state(spi) in (BankState.ACTIVE, BankState.PROVEN)


@dataclass(frozen=True, slots=True)
class Packet:
    """A request, or an answer, under the SA with this SPI. `serial` None: nobody waits for it."""

    serial: int | None
    under: int
    commit: int | None = None
    ok: bool = False
    banks: tuple[tuple[int, BankState], ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """One state of everything."""

    nic: Nic
    store: tuple[Sa, ...] = ()
    machine: State = field(default_factory=State)
    todo: tuple[words.Action, ...] = ()
    outstanding: frozenset[int] = frozenset()
    to_nic: frozenset[Packet] = frozenset()
    to_station: frozenset[Packet] = frozenset()
    staging: frozenset[int] = frozenset()
    ready: frozenset[int] = frozenset()
    generation: int = 0
    once_proven: bool = False


def settled_world(*, authorised: bool) -> World:
    """One SA, proven at both ends."""
    sa = Sa(1, SPI + 1, used=True, proven=True)
    nic = Nic(authorised, ((sa.spi, BankState.PROVEN),))
    return World(nic, (sa,), restore((sa,)), generation=1, once_proven=True)


# --- the station's shell --------------------------------------------------------------------------


def feed(world: World, event: words.Event) -> World:
    """The machine takes an event; what it wants is still to be done."""
    require(not world.todo, "an event before the last one's actions were done")
    machine, actions = step(world.machine, event)
    return replace(world, machine=machine, todo=tuple(actions))


def act(world: World) -> World:
    """The next action is carried out."""
    action, world = world.todo[0], replace(world, todo=world.todo[1:])
    store = {sa.generation: sa for sa in world.store}
    match action:
        case words.Persist(sa):
            store[sa.generation] = sa
        case words.MarkUsed(generation):
            store[generation] = replace(store[generation], used=True)
        case words.MarkProven(generation, discard):
            require(all(old < generation for old in discard), "a newer SA dropped for an older")
            store[generation] = replace(store[generation], used=True, proven=True)
            store = {g: sa for g, sa in store.items() if g not in discard}
            world = replace(world, once_proven=True)
        case words.Discard(generations):
            require(not any(store[g].proven for g in generations), "a proven SA was discarded")
            store = {g: sa for g, sa in store.items() if g not in generations}
        case words.SendCommit(serial, spi, under):
            world = _send(world, Packet(serial, store[under].spi, commit=spi), store[under])
        case words.SendStatus(serial, under):
            world = _send(world, Packet(serial, store[under].spi), store[under])
        case _:
            pass
    return replace(world, store=tuple(sorted(store.values(), key=lambda sa: sa.generation)))


def _send(world: World, packet: Packet, under: Sa) -> World:
    require(under.used or under.proven, "a packet was sent before the store knew of it")
    assert packet.serial is not None
    return replace(
        world,
        outstanding=world.outstanding | {packet.serial},
        to_nic=world.to_nic | {packet},
    )


def act_all(world: World) -> World:
    """All actions are carried out."""
    while world.todo:
        world = act(world)
    return normal(world)


def normal(world: World) -> World:
    """The same world with everything that makes no difference made alike."""
    serial = world.machine.serial
    commits = {p.serial for p in world.to_nic | world.to_station if p.commit is not None}
    # Only a Commit's answer counts when another request went out since.
    waited = {one for one in world.outstanding if one == serial or one in commits}
    names = {one: place for place, one in enumerate(sorted(waited))}
    names.setdefault(serial, len(names))
    late = frozenset(
        p if p.serial is None else replace(p, serial=names.get(p.serial)) for p in world.to_nic
    )
    # A packet under an SA that the NIC can never hold again has no effect.
    possible = {s for s, _ in world.nic.banks} | world.staging
    return replace(
        world,
        outstanding=frozenset(names[one] for one in waited),
        to_nic=frozenset(p for p in late if p.under in possible),
        to_station=frozenset(
            replace(p, serial=names[p.serial]) for p in world.to_station if p.serial in waited
        ),
        machine=replace(world.machine, serial=names[serial]),
    )


def crash(world: World) -> World:
    """The station dies now, and starts again from its store."""
    return normal(
        replace(
            world,
            machine=restore(world.store),
            todo=(),
            outstanding=frozenset(),
            ready=frozenset(),
        )
    )


def at_nic(world: World, packet: Packet) -> World:
    """A packet arrives at the NIC, and may arrive again; the last answer to it is on its way."""
    nic = world.nic.receive(packet.under)
    if nic is None:
        return world
    answer = replace(packet, banks=nic.banks)
    if packet.commit is not None:
        nic, ok = nic.commit(packet.commit)
        answer = replace(packet, ok=ok, under=packet.commit if ok else packet.under)
    others = frozenset(p for p in world.to_station if p.serial != packet.serial)
    answers = others | {answer} if packet.serial in world.outstanding else world.to_station
    return replace(world, nic=nic, to_station=answers)


def at_station(world: World, packet: Packet) -> World:
    """An answer arrives at the station, which takes only what it waits for."""
    under = next((sa.generation for sa in world.store if sa.spi == packet.under), None)
    if packet.serial not in world.outstanding or under is None:
        return world
    assert packet.serial is not None
    world = replace(world, outstanding=world.outstanding - {packet.serial})
    if packet.commit is None:
        return feed(world, words.Status(packet.serial, under, dict(packet.banks)))
    return feed(world, words.Committed(packet.commit, packet.ok, under))


def exchange(world: World, *, heard: bool) -> World:
    """IKE agrees on one more SA."""
    generation = world.generation + 1
    sa = Sa(generation, SPI + generation)
    # The agent gives up an older SA that it has not brought into the NIC yet.
    world = replace(world, generation=generation, staging=frozenset({sa.spi}))
    return feed(world, words.Established(sa, heard))


# --- what can come next ---------------------------------------------------------------------------


def successors(world: World, generations: int) -> Iterator[tuple[str, World]]:
    """Every state that can follow, with a name for the step."""
    machine, nic = world.machine, world.nic
    yield "crash", crash(world)
    if world.todo:
        after = act(world)
        yield f"do {type(world.todo[0]).__name__}", after if after.todo else normal(after)
        return  # the station's own steps wait; those of others are tried before and after
    yield "poll", feed(world, words.Poll())
    if world.generation < generations:
        for heard in (False, True):
            yield f"exchange, heard={heard}", exchange(world, heard=heard)
    if machine.phase is Phase.WAIT_READY and machine.candidate is not None:
        yield "ready too late", feed(world, words.ReadyTimeout(machine.candidate))
    for serial in world.outstanding:
        gone = replace(world, outstanding=world.outstanding - {serial})
        yield f"no answer {serial}", feed(gone, words.NoAnswer(serial))
    for generation in machine.order[:1]:
        used = act_all(feed(world, words.Sending(generation)))
        sa = next(sa for sa in used.store if sa.generation == generation)
        power = Packet(None, sa.spi)
        yield "power command", replace(used, to_nic=used.to_nic | {power})
    for spi in world.ready:
        yield f"ready {spi:x}", feed(replace(world, ready=world.ready - {spi}), words.Ready(spi))
    for spi in world.staging:
        staged = nic.stage(spi)
        if staged is not None:
            left, ready = world.staging - {spi}, world.ready | {spi}
            yield f"stage {spi:x}", replace(world, nic=staged, staging=left, ready=ready)
    if world.staging or world.ready:
        yield "OS gone", replace(world, staging=frozenset(), ready=frozenset())
    if nic.drop(*PENDING) != nic:
        yield "acknowledge timer", replace(world, nic=nic.drop(*PENDING))
    if nic.drop(BankState.RETIRING) != nic:
        yield "grace timer", replace(world, nic=nic.drop(BankState.RETIRING))
    for packet in world.to_nic:
        after = at_nic(world, packet)
        yield f"NIC gets {packet}", after
        if packet.serial is not None:
            yield f"NIC gets {packet}, answer lost", replace(after, to_station=world.to_station)
    for packet in world.to_station:
        yield f"station gets {packet}", at_station(world, packet)


# --- what holds -----------------------------------------------------------------------------------


def check(world: World) -> None:
    """The rule, in every state."""
    spis = {sa.spi for sa in world.store}
    proven = world.nic.proven
    require(proven is None or proven in spis, "the NIC's proven SA is not in the store")
    if world.once_proven:
        count = sum(sa.proven for sa in world.store)
        require(count == 1, f"{count} proven SAs in the store")
    if not world.todo:
        require(world.machine.held == world.store, "memory and store differ")


def check_recovery(world: World) -> None:
    """With the OS dead and the network well, the NIC is reached under the SA that it proved."""
    world = act_all(world)
    world = replace(
        world,
        nic=world.nic.drop(*PENDING, BankState.RETIRING),
        to_nic=frozenset(),
        to_station=frozenset(),
        staging=frozenset(),
        ready=frozenset(),
    )
    if world.machine.phase is Phase.WAIT_READY and world.machine.candidate is not None:
        world = _run(feed(world, words.ReadyTimeout(world.machine.candidate)))
    world = _run(world)
    for _ in range(3):
        world = _run(feed(world, words.Poll()))
    proven = world.nic.proven
    if proven is not None:
        require(world.machine.phase is Phase.STEADY, f"still {world.machine.phase}")
        held = world.machine.proven
        require(held is not None and held.spi == proven, "steady under another SA")


def _run(world: World) -> World:
    """All packets arrive, and what got no answer is given up."""
    world = act_all(world)
    while world.outstanding:
        for packet in sorted(world.to_nic, key=lambda p: p.serial or 0):
            world = at_nic(replace(world, to_nic=world.to_nic - {packet}), packet)
        world = normal(world)
        if world.to_station:
            world = at_station(world, min(world.to_station, key=lambda p: p.serial or 0))
        else:
            serial = min(world.outstanding)
            gone = replace(world, outstanding=world.outstanding - {serial})
            world = feed(gone, words.NoAnswer(serial))
        world = act_all(world)
    return world


def explore(start: World, *, generations: int, limit: int, recover_each: int = 1) -> int:
    """Visit every state that can be reached, breadth first; gives how many there are.

    Raises ViolationError with the steps that led to the broken rule, and ValueError if there are
    more than `limit`.
    """
    came_from: dict[World, tuple[World | None, str]] = {start: (None, "start")}
    queue = deque([start])
    while queue:
        world = queue.popleft()
        try:
            check(world)
            if len(came_from) % recover_each == 0:
                check_recovery(world)
            following = list(successors(world, generations))
        except ViolationError as error:
            raise ViolationError(f"{error}, after: {' / '.join(path(came_from, world))}") from None
        for name, step_to in following:
            after = step_to if step_to.todo else normal(step_to)
            if after not in came_from:
                came_from[after] = (world, name)
                queue.append(after)
        if len(came_from) > limit:
            raise ValueError(f"more than {limit} states")
    return len(came_from)


def path(came_from: dict[World, tuple[World | None, str]], world: World) -> list[str]:
    """The steps from the start to a state."""
    steps = []
    at: World | None = world
    while at is not None:
        at, name = came_from[at]
        steps.append(name)
    return steps[::-1]
