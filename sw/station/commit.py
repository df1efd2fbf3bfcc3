"""How a new SA takes the place of the last one that worked: a state machine without I/O.

`step(state, event)` gives the next state and what to do, in order. An action marked *durable* is
complete, on disk, before the next action begins: so whatever a packet on the wire can have caused
at the NIC, the store knows of it. A crash between any two actions loses nothing, and `restore`
goes on from what the store holds.

SEC: STATION.KEEP_LAST_PROVEN. The rule: an SA is dropped only if

- a newer one was proven: an answer to a packet sent under it was authenticated under it; or
- no packet was ever sent under it, so that the NIC cannot have proven it; or
- the NIC itself said, under another SA and after it was last in use, that it holds it no more.

`Committed` under the new SA is the NIC's consent, not yet its proof: until a packet from us arrives
under the new SA, the NIC may roll back. Both SAs are therefore kept until one more answer came.

Source: seed, figure 4, steps 23 to 30; RFC 7296 2.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from spec.sa import BankState
from sw.station.commit_words import (
    Action,
    AwaitReady,
    Committed,
    DeleteChild,
    Discard,
    Established,
    Event,
    ExchangeFailed,
    MarkProven,
    MarkUsed,
    NoAnswer,
    Outcome,
    Persist,
    Phase,
    Poll,
    Ready,
    ReadyTimeout,
    Sa,
    SendCommit,
    Sending,
    SendStatus,
    Settled,
    Status,
)

HELD_MAX = 16
"""SAs in doubt at which no further one is negotiated: something stops ESP, but not IKE."""


@dataclass(frozen=True, slots=True)
class State:
    """All that the machine remembers. Only `held` is durable.

    Parameters
    ----------
    held : tuple of Sa
        Oldest generation first.
    phase : Phase
        Which row of the table applies.
    candidate : int or None
        Generation in WAIT_READY, COMMITTING and PROVING.
    serial : int
        Serial of the last request.
    waiting : bool
        That request has neither been answered nor given up.
    heard : bool
        An older SA answered since the candidate was negotiated.
    bases : tuple of int
        Generations under which Commit has yet to be tried.
    probes : tuple of int
        In DOUBT: generations to be tried before the next Poll.
    """

    held: tuple[Sa, ...] = ()
    phase: Phase = Phase.STEADY
    candidate: int | None = None
    serial: int = 0
    waiting: bool = False
    heard: bool = False
    bases: tuple[int, ...] = ()
    probes: tuple[int, ...] = ()

    @property
    def proven(self) -> Sa | None:
        """The newest SA that worked."""
        return next((sa for sa in reversed(self.held) if sa.proven), None)

    @property
    def order(self) -> tuple[int, ...]:
        """Generations to send a command under: the first, and if it is silent the others.

        An SA under which nothing was ever sent is not among them, unless there is no other.
        """
        tried = [sa.generation for sa in reversed(self.held) if sa.used or sa.proven]
        proven = self.proven
        if proven is not None and self.phase is not Phase.STEADY:
            # Fall back to the last SA that worked, until the new one has (step 30).
            tried = [proven.generation, *(g for g in tried if g != proven.generation)]
        return tuple(tried) or tuple(sa.generation for sa in reversed(self.held))

    @property
    def may_exchange(self) -> bool:
        """Whether a new SA may be negotiated now."""
        return self.phase in (Phase.STEADY, Phase.DOUBT) and len(self.held) < HELD_MAX

    def get(self, generation: int | None) -> Sa | None:
        """The held SA of a generation."""
        return next((sa for sa in self.held if sa.generation == generation), None)


Result = tuple[State, list[Action]]


def restore(held: tuple[Sa, ...]) -> State:
    """The state after a start, from what the store holds. Polls resolve what is in doubt."""
    held = tuple(sorted(held, key=lambda sa: sa.generation))
    steady = not held or (len(held) == 1 and held[0].proven)
    return State(held=held, phase=Phase.STEADY if steady else Phase.DOUBT)


def step(state: State, event: Event) -> Result:
    """The next state, and what to do.

    An event without a row in the table changes nothing: it is late, or answers what nobody asked.
    """
    if isinstance(event, Sending):
        sa = state.get(event.generation)
        if sa is None or sa.used:
            return state, []
        return _change(state, sa.generation, used=True, proven=False), [MarkUsed(sa.generation)]
    row = TABLE.get((state.phase, type(event)))
    return (state, []) if row is None else row(state, event)


def _change(state: State, generation: int, *, used: bool, proven: bool) -> State:
    held = tuple(
        replace(sa, used=sa.used or used, proven=sa.proven or proven)
        if sa.generation == generation
        else sa
        for sa in state.held
    )
    return replace(state, held=held)


def _drop(state: State, generations: tuple[int, ...]) -> State:
    return replace(state, held=tuple(sa for sa in state.held if sa.generation not in generations))


def _settle(state: State) -> State:
    """Leave a candidate behind: steady, unless more than the one proven SA is held."""
    phase = restore(state.held).phase
    return replace(state, phase=phase, candidate=None, bases=(), probes=(), waiting=False)


def _established(state: State, event: Established) -> Result:
    # What was negotiated before and never used cannot have been proven by anyone.
    unused = tuple(sa.generation for sa in state.held if not (sa.used or sa.proven))
    actions: list[Action] = []
    if unused:
        actions.append(Discard(unused))
        for generation in unused:
            actions += [DeleteChild(generation), Settled(generation, Outcome.REPLACED)]
    state = _drop(state, unused)
    generation = event.sa.generation
    actions += [Persist(event.sa), AwaitReady(generation)]
    return (
        replace(
            state,
            held=(*state.held, event.sa),
            phase=Phase.WAIT_READY,
            candidate=generation,
            heard=event.heard,
            waiting=False,
            probes=(),
        ),
        actions,
    )


def _refuse_established(state: State, event: Established) -> Result:
    """A Child SA that comes while another is being committed is not taken."""
    generation = event.sa.generation
    return state, [DeleteChild(generation), Settled(generation, Outcome.REPLACED)]


def _ready(state: State, event: Ready) -> Result:
    candidate = state.get(state.candidate)
    if candidate is None or candidate.spi != event.spi:
        return state, []
    older = tuple(g for g in state.order if g != candidate.generation)
    tried = tuple(g for g in older if (sa := state.get(g)) and (sa.used or sa.proven))
    return _commit_under(state, candidate, tried)


def _commit_under(state: State, candidate: Sa, bases: tuple[int, ...]) -> Result:
    """Send Commit under the first of the older SAs; without any, the first packet commits."""
    if not bases:
        return _prove(state, candidate.generation)
    state, serial = _next_serial(state)
    state = replace(
        state, phase=Phase.COMMITTING, candidate=candidate.generation, bases=bases[1:], probes=()
    )
    return state, [SendCommit(serial, candidate.spi, bases[0])]


def _next_serial(state: State) -> tuple[State, int]:
    state = replace(state, serial=state.serial + 1, waiting=True)
    return state, state.serial


def _prove(state: State, generation: int) -> Result:
    """Send the packet that proves a generation."""
    state, serial = _next_serial(_change(state, generation, used=True, proven=False))
    state = replace(state, phase=Phase.PROVING, candidate=generation, bases=(), probes=())
    return state, [MarkUsed(generation), SendStatus(serial, generation)]


def _give_up(state: State, outcome: Outcome) -> Result:
    """Fall back: drop a candidate under which nothing was sent (step 30)."""
    candidate = state.get(state.candidate)
    if candidate is None or candidate.used:
        return _settle(state), []
    generation = candidate.generation
    return _settle(_drop(state, (generation,))), [
        Discard((generation,)),
        DeleteChild(generation),
        Settled(generation, outcome),
    ]


def _ready_timeout(state: State, event: ReadyTimeout) -> Result:
    if event.generation != state.candidate:
        return state, []
    return _give_up(state, Outcome.NOT_READY)


def _exchange_failed(state: State, event: ExchangeFailed) -> Result:
    if event.generation != state.candidate:
        return state, []
    return _give_up(state, Outcome.EXCHANGE_FAILED)


def _committed(state: State, event: Committed) -> Result:
    candidate = state.get(state.candidate)
    if candidate is None or candidate.spi != event.spi:
        return state, []
    if event.ok:
        # The confirmation counts only under the SA that it is about.
        if event.under != candidate.generation:
            return state, []
        return _prove(state, candidate.generation)
    if event.under == candidate.generation:
        return state, []
    # The NIC has no such SA, and can never have it again: keys are loaded once.
    generation = candidate.generation
    return _settle(_drop(state, (generation,))), [
        Discard((generation,)),
        DeleteChild(generation),
        Settled(generation, Outcome.REFUSED),
    ]


def _commit_silent(state: State, event: NoAnswer) -> Result:
    candidate = state.get(state.candidate)
    if event.serial != state.serial or candidate is None:
        return state, []
    if state.bases:
        return _commit_under(state, candidate, state.bases)
    if state.heard or candidate.used:
        return _give_up(state, Outcome.UNCONFIRMED)
    # No older SA is alive at the NIC (it lost its power, perhaps): as with the first SA ever.
    return _prove(state, candidate.generation)


def _status_while_waiting(state: State, event: Status) -> Result:
    if event.serial != state.serial or not state.waiting:
        return state, []
    return replace(state, heard=True, waiting=False), []


def _poll_older(state: State, event: Poll) -> Result:
    """STEADY and WAIT_READY: ask under the last proven SA."""
    proven = state.proven
    if state.waiting or proven is None:
        return state, []
    state, serial = _next_serial(state)
    return state, [SendStatus(serial, proven.generation)]


def _answered(state: State, event: Status | NoAnswer) -> Result:
    """STEADY: the answer is the shell's; here only the request is over."""
    return (replace(state, waiting=False), []) if event.serial == state.serial else (state, [])


def _proof(state: State, event: Status) -> Result:
    if event.serial != state.serial or event.under != state.candidate:
        return state, []
    return _proven(state, event.under)


def _proven(state: State, generation: int) -> Result:
    """A generation worked: whatever is older goes, and whatever is newer stays in doubt."""
    older = tuple(sa.generation for sa in state.held if sa.generation < generation)
    state = _settle(_drop(_change(state, generation, used=True, proven=True), older))
    return state, [
        MarkProven(generation, older),
        Settled(generation, Outcome.PROVEN),
        *(DeleteChild(old) for old in older),
    ]


def _proof_silent(state: State, event: NoAnswer) -> Result:
    if event.serial != state.serial or state.candidate is None:
        return state, []
    return _settle(state), [Settled(state.candidate, Outcome.DOUBTFUL)]


def _poll_doubt(state: State, event: Poll) -> Result:
    if state.waiting:
        return state, []
    return _probe(replace(state, probes=state.order))


def _probe(state: State) -> Result:
    """DOUBT: try the next held SA; after the last one wait for the next Poll."""
    if not state.probes:
        return state, []
    generation, rest = state.probes[0], state.probes[1:]
    sa = state.get(generation)
    if sa is None:
        return _probe(replace(state, probes=rest))
    state, serial = _next_serial(_change(state, generation, used=True, proven=False))
    actions: list[Action] = [] if sa.used else [MarkUsed(generation)]
    return replace(state, probes=rest), [*actions, SendStatus(serial, generation)]


def _probe_silent(state: State, event: NoAnswer) -> Result:
    if event.serial != state.serial:
        return state, []
    return _probe(replace(state, waiting=False))


def _probe_answered(state: State, event: Status) -> Result:
    """DOUBT: one held SA worked, and the NIC says what became of the newer ones."""
    answered = state.get(event.under)
    if event.serial != state.serial or not state.waiting or answered is None:
        return state, []
    actions: list[Action] = []
    state = replace(state, waiting=False)
    if not answered.proven:
        state, actions = _proven(state, event.under)
    newer = [sa for sa in state.held if sa.generation > event.under]
    gone = tuple(sa.generation for sa in newer if event.banks.get(sa.spi) is None)
    if gone:
        state = _drop(state, gone)
        actions.append(Discard(gone))
        for generation in gone:
            actions += [DeleteChild(generation), Settled(generation, Outcome.REFUSED)]
    left = [sa for sa in newer if sa.generation not in gone]
    if not left:
        return _settle(state), actions
    # The NIC has one other bank, so at most one is left.
    newest = left[-1]
    match event.banks[newest.spi]:
        case BankState.READY:
            state = replace(state, heard=True)
            state, more = _commit_under(state, newest, (event.under,))
        case BankState.ACTIVE | BankState.PROVEN:
            state, more = _prove(state, newest.generation)
        case _:  # being written, or leaving: the next poll will tell
            state, more = replace(state, probes=()), []
    return state, actions + more


TABLE: dict[tuple[Phase, type[Event]], Callable[[State, Any], Result]] = {
    (Phase.STEADY, Established): _established,
    (Phase.STEADY, Poll): _poll_older,
    (Phase.STEADY, Status): _answered,
    (Phase.STEADY, NoAnswer): _answered,
    (Phase.WAIT_READY, Established): _established,
    (Phase.WAIT_READY, Ready): _ready,
    (Phase.WAIT_READY, ReadyTimeout): _ready_timeout,
    (Phase.WAIT_READY, ExchangeFailed): _exchange_failed,
    (Phase.WAIT_READY, Poll): _poll_older,
    (Phase.WAIT_READY, Status): _status_while_waiting,
    (Phase.WAIT_READY, NoAnswer): _answered,
    (Phase.COMMITTING, Established): _refuse_established,
    (Phase.COMMITTING, Committed): _committed,
    (Phase.COMMITTING, NoAnswer): _commit_silent,
    (Phase.PROVING, Established): _refuse_established,
    (Phase.PROVING, Status): _proof,
    (Phase.PROVING, NoAnswer): _proof_silent,
    (Phase.DOUBT, Established): _established,
    (Phase.DOUBT, Poll): _poll_doubt,
    (Phase.DOUBT, Status): _probe_answered,
    (Phase.DOUBT, NoAnswer): _probe_silent,
}
