"""Seeded bugs: faults of the real code, one at a time, that the search must find.

Each replaces one piece of `sw`, or of the NIC's model, by one that looks as plausible and is wrong.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from spec.sa import BankState
from sw.agent import service as agent_service
from sw.agent.loader import staged_from
from sw.agent.service import Agent
from sw.station import commit, session
from sw.station import commit_words as words
from sw.station.commit_words import Phase
from sw.station.session import HostSession
from verif.model import NicModel, Output
from verif.model.sad import Sad
from verif.model.window import ReplayWindow
from verif.modelcheck.world import Bounds

Patch = Callable[[Any, Any, Any], None]
"""Replaces an attribute, or an item of a dict, until the bug is taken out again."""


@dataclass(frozen=True)
class Bug:
    """A seeded bug.

    Parameters
    ----------
    name, text : str
        What it is called, and what it does.
    prop : str
        The property that it breaks.
    apply : callable
        Puts it in, by a Patch.
    bounds : Bounds
        Within which it is found.
    """

    name: str
    text: str
    prop: str
    apply: Callable[[Patch], None]
    bounds: Bounds

    @property
    def recovery(self) -> bool:
        """It shows only in what comes of a state once faults stop."""
        return self.prop in ("recovery", "refresh")


@contextlib.contextmanager
def seeded(bug: Bug | None) -> Iterator[None]:
    """The code with this bug in it."""
    undo: list[Callable[[], None]] = []

    def patch(where: Any, name: Any, value: Any) -> None:
        if isinstance(where, dict):
            before = where[name]
            where[name] = value
            undo.append(lambda: where.__setitem__(name, before))
        else:
            before = where.__dict__[name]
            setattr(where, name, value)
            undo.append(lambda: setattr(where, name, before))

    try:
        if bug is not None:
            bug.apply(patch)
        yield
    finally:
        for one in reversed(undo):
            one()


NET = Bounds(exchanges=2, os_crashes=False, ike_losses=False)
TWO = replace(NET, exchanges=3)


# --- at the NIC -----------------------------------------------------------------------------------


def _zeroise_old_on_commit(patch: Patch) -> None:
    good = NicModel.wire_receive

    def bad(self: NicModel, frame: bytes, err: bool = False) -> list[Output]:
        outputs = good(self, frame, err)
        states = [bank.state for bank in self.sad.banks]
        if BankState.ACTIVE in states and BankState.PROVEN in states:
            self.sad._zeroise(states.index(BankState.PROVEN))
        return outputs

    patch(NicModel, "wire_receive", bad)


def _confirm_under_the_old(patch: Patch) -> None:
    good = Sad.commit
    patch(Sad, "commit", lambda self, spi, under: (good(self, spi, under)[0], under))


def _timer_empties_proven(patch: Patch) -> None:
    good = Sad.tick

    def bad(self: Sad) -> None:
        over = any(b.state in (BankState.READY, BankState.ACTIVE) for b in self.banks)
        good(self)
        if over:
            self.zeroise_all()

    patch(Sad, "tick", bad)


def _window_anew_when_proven(patch: Patch) -> None:
    good = Sad.prove

    def bad(self: Sad, number: int) -> None:
        bank = self.banks[number]
        if bank.state in (BankState.READY, BankState.ACTIVE):
            bank.window = ReplayWindow(0, bank.esn, self.window)
        good(self, number)

    patch(Sad, "prove", bad)


def _numbers_anew_when_proven(patch: Patch) -> None:
    good = Sad.prove

    def bad(self: Sad, number: int) -> None:
        bank = self.banks[number]
        if bank.state in (BankState.READY, BankState.ACTIVE):
            bank.tx_sequence = 0
        good(self, number)

    patch(Sad, "prove", bad)


# --- at the station -------------------------------------------------------------------------------


def _committed_is_proof(patch: Patch) -> None:
    def bad(state: commit.State, event: words.Committed) -> commit.Result:
        candidate = state.get(state.candidate)
        if event.ok and candidate is not None and event.spi == candidate.spi:
            return commit._proven(state, candidate.generation)
        return commit._committed(state, event)

    patch(commit.TABLE, (Phase.COMMITTING, words.Committed), bad)


def _commit_without_confirm(patch: Patch) -> None:
    def bad(state: commit.State, event: words.NoAnswer) -> commit.Result:
        if event.serial != state.serial or state.candidate is None:
            return state, []
        return commit._proven(state, state.candidate)

    patch(commit.TABLE, (Phase.COMMITTING, words.NoAnswer), bad)


def _forget_to_persist(patch: Patch) -> None:
    good = HostSession._act

    def bad(self: HostSession, action: words.Action, now: float) -> None:
        if isinstance(action, words.Persist):
            generation = action.sa.generation
            self._wire.add(self.sas[generation], self._reserver(generation))
            return
        good(self, action, now)

    patch(HostSession, "_act", bad)


def _numbers_not_reserved(patch: Patch) -> None:
    def bad(self: HostSession, generation: int) -> Callable[[int], int]:
        _, records = self.sas[generation], {r.generation: r for r in self._store.sas(1)[0]}
        last = [records[generation].tx_reserved if generation in records else 0]

        def reserve(count: int) -> int:
            last[0] += count
            return last[0] - count + 1

        return reserve

    patch(HostSession, "_reserver", bad)


def _silence_means_gone(patch: Patch) -> None:
    def bad(state: commit.State, event: words.NoAnswer) -> commit.Result:
        if event.serial != state.serial or state.candidate is None:
            return state, []
        gone = (state.candidate,)
        actions: list[words.Action] = [words.Discard(gone), words.DeleteChild(gone[0])]
        return commit._settle(commit._drop(state, gone)), actions

    patch(commit.TABLE, (Phase.PROVING, words.NoAnswer), bad)


def _exchange_drops_the_doubtful(patch: Patch) -> None:
    def bad(state: commit.State, event: words.Established) -> commit.Result:
        gone = tuple(sa.generation for sa in state.held if not sa.proven)
        state, actions = commit._established(commit._drop(state, gone), event)
        return state, [words.Discard(gone), *actions]

    patch(commit.TABLE, (Phase.DOUBT, words.Established), bad)


def _gone_unless_proven(patch: Patch) -> None:
    def bad(state: commit.State, event: words.Status) -> commit.Result:
        banks = {spi: b for spi, b in event.banks.items() if b is BankState.PROVEN}
        return commit._probe_answered(state, replace(event, banks=banks))

    patch(commit.TABLE, (Phase.DOUBT, words.Status), bad)


def _drop_before_proven(patch: Patch) -> None:
    good = commit._proven

    def bad(state: commit.State, generation: int) -> commit.Result:
        older = tuple(sa.generation for sa in state.held if sa.generation < generation)
        state, actions = good(state, generation)
        return state, [words.Discard(older), *actions]

    patch(commit, "_proven", bad)


def _restart_forgets_the_unproven(patch: Patch) -> None:
    good = commit.restore
    patch(session, "restore", lambda held: good(tuple(sa for sa in held if sa.proven)))


# --- at the agent ---------------------------------------------------------------------------------


def _ready_before_loaded(patch: Patch) -> None:
    good = Agent._begin_load

    def bad(self: Agent, event: Any) -> None:
        good(self, event)
        if self._shell is not None:
            connection = self._shell.endpoint.connections.get(event.connection)
            if connection is not None:
                connection.notify_ready(event.spi_in)

    patch(Agent, "_begin_load", bad)


def _keys_swapped(patch: Patch) -> None:
    def bad(event: Any, **place: Any) -> Any:
        sa = staged_from(event, **place)
        return replace(sa, key_in=sa.key_out, key_out=sa.key_in)

    patch(agent_service, "staged_from", bad)


BUGS = {
    bug.name: bug
    for bug in (
        Bug(
            "zeroise-old-on-commit",
            "the NIC empties the old bank when it takes a Commit",
            "last-proven",
            _zeroise_old_on_commit,
            NET,
        ),
        Bug(
            "confirm-under-old",
            "the NIC confirms a Commit under the SA that asked",
            "refresh",
            _confirm_under_the_old,
            NET,
        ),
        Bug(
            "timer-empties-proven",
            "the acknowledge timer empties both banks",
            "last-proven",
            _timer_empties_proven,
            NET,
        ),
        Bug(
            "window-anew",
            "the NIC's window begins anew when a bank is proven",
            "window",
            _window_anew_when_proven,
            NET,
        ),
        Bug(
            "nic-numbers-anew",
            "the NIC's outbound numbers begin anew when a bank is proven",
            "nonce",
            _numbers_anew_when_proven,
            NET,
        ),
        Bug(
            "committed-is-proof",
            "the station drops the old SA on Committed, before a packet worked",
            "last-proven",
            _committed_is_proof,
            NET,
        ),
        Bug(
            "commit-without-confirm",
            "the station takes silence after Commit for consent",
            "last-proven",
            _commit_without_confirm,
            NET,
        ),
        Bug(
            "forget-to-persist",
            "the station sends under an SA that it did not store",
            "store",
            _forget_to_persist,
            NET,
        ),
        Bug(
            "numbers-not-reserved",
            "the station counts sequence numbers in memory alone",
            "nonce",
            _numbers_not_reserved,
            NET,
        ),
        Bug(
            "silence-means-gone",
            "the station drops a candidate that did not answer, though it was used",
            "last-proven",
            _silence_means_gone,
            NET,
        ),
        Bug(
            "exchange-drops-doubtful",
            "a new exchange drops whatever is not proven at the station",
            "last-proven",
            _exchange_drops_the_doubtful,
            TWO,
        ),
        Bug(
            "gone-unless-proven",
            "the station takes a bank that is not proven for gone",
            "last-proven",
            _gone_unless_proven,
            NET,
        ),
        Bug(
            "drop-before-proven",
            "the old SA is dropped in a transaction of its own, before the new one is proven",
            "station",
            _drop_before_proven,
            NET,
        ),
        Bug(
            "restart-forgets-unproven",
            "a station that starts takes up proven SAs alone",
            "store",
            _restart_forgets_the_unproven,
            NET,
        ),
        Bug(
            "ready-before-loaded",
            "the agent says ready before the NIC has the SA",
            "recovery",
            _ready_before_loaded,
            NET,
        ),
        Bug(
            "keys-swapped",
            "the agent swaps the keys of the two directions",
            "key",
            _keys_swapped,
            NET,
        ),
    )
}
"""By name."""
