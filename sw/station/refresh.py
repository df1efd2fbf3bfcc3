"""Whether a key exchange is to begin now: steps 20 to 22 of the seed's figure 4, as a function.

Source: seed, figures 4 and 6 (rows 2 to 6).
"""

from __future__ import annotations

from dataclasses import dataclass

from spec.host import HostState


@dataclass(frozen=True, slots=True)
class View:
    """What the decision rests on. Times are seconds of one clock that never goes back.

    Parameters
    ----------
    now : float
        The clock.
    holds_sa : bool
        At least one SA is held.
    answering : bool
        The last request under an SA was answered.
    state : HostState or None
        The host's state as the NIC told it under an SA; None before it did.
    came_up : bool
        The host went to OS_UP, and no SA was proven since.
    refreshed_at : float or None
        When an SA was last proven.
    running : bool
        An exchange is under way, or its SA is being loaded or committed.
    too_many : bool
        As many SAs are in doubt as may be.
    retry_at : float
        No attempt before this time.
    """

    now: float
    holds_sa: bool
    answering: bool
    state: HostState | None
    came_up: bool
    refreshed_at: float | None
    running: bool
    too_many: bool
    retry_at: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do.

    Parameters
    ----------
    exchange : bool
        Begin a key exchange now.
    inhibited : bool
        None will begin, however old the SA gets, until what `reason` names is over.
    reason : str
        Why, for people.
    due : float or None
        When to decide again, if nothing happens before.
    """

    exchange: bool
    inhibited: bool
    reason: str
    due: float | None = None


def decide(view: View, period_s: float) -> Decision:
    """The decision.

    - The SA answers and the host is not up: no exchange, the stored SA goes on (rows 3 to 5).
    - The SA answers and the host is up: an exchange when the host has just come up (row 2), and
      each time the timer is over (steps 21 and 22).
    - No SA, or none that answers: the state is not known, so IKE itself is tried, for it answers
      only from a host that is up. What the clear port says is not authenticated, and inhibits
      nothing.
    """
    if view.running:
        return Decision(False, False, "an exchange is under way")
    if view.too_many:
        return Decision(
            False, True, "too many SAs never answered: ESP does not pass between station and host"
        )
    wait = view.retry_at > view.now
    if view.holds_sa and view.answering and view.state is not None:
        if view.state is not HostState.OS_UP:
            return Decision(False, True, f"the host is {view.state.name}")
        if view.came_up:
            reason, due = "the host came up", view.now
        elif view.refreshed_at is None:
            reason, due = "the SA in use is not proven", view.now
        else:
            reason, due = "the refresh timer", view.refreshed_at + period_s
    elif view.holds_sa:
        reason, due = "the host does not answer under the SAs held", view.now
    else:
        reason, due = "there is no SA with this host", view.now
    if wait:
        return Decision(False, False, f"{reason}; the last attempt failed", view.retry_at)
    return Decision(due <= view.now, False, reason, due)
