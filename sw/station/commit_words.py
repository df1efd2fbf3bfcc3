"""The words of the commit machine: what it knows of an SA, its phases, events and actions.

`sw.station.commit` says what follows from what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from spec.sa import BankState


@dataclass(frozen=True, slots=True)
class Sa:
    """What this machine knows of an SA.

    Parameters
    ----------
    generation : int
        Number of the SA, counting up per host, never used twice.
    spi : int
        The NIC's inbound SPI: Commit names it, and the NIC's status shows it.
    used : bool
        A packet may have been sent under it.
    proven : bool
        An answer to a packet sent under it was authenticated under it.
    """

    generation: int
    spi: int
    used: bool = False
    proven: bool = False


class Phase(Enum):
    """Where the newest SA is on its way."""

    STEADY = "steady"
    """Nothing in doubt: at most one SA is held, and it is proven."""
    WAIT_READY = "waiting for ready"
    """A candidate was negotiated; the agent has not said that the NIC has it (step 23)."""
    COMMITTING = "committing"
    """Commit is on its way under an older SA (steps 25 and 26)."""
    PROVING = "proving"
    """A packet is on its way under the candidate."""
    DOUBT = "in doubt"
    """Nobody answered: each held SA is tried in turn until one answers."""


class Outcome(Enum):
    """What became of a candidate."""

    PROVEN = "proven"
    NOT_READY = "the agent did not report it ready"
    EXCHANGE_FAILED = "the key exchange failed"
    REFUSED = "the NIC does not hold it"
    UNCONFIRMED = "Commit was not confirmed"
    REPLACED = "a newer one was negotiated first"
    DOUBTFUL = "the NIC did not answer under it"


@dataclass(frozen=True, slots=True)
class Established:
    """The key exchange is complete on our side; `sa` is neither used nor proven.

    `heard`: an older SA answered lately, so that silence after Commit means "not confirmed".
    """

    sa: Sa
    heard: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """The agent's "SA is ready for use" for the SA with this SPI."""

    spi: int


@dataclass(frozen=True, slots=True)
class ReadyTimeout:
    """The ready notify of this generation did not come in time."""

    generation: int


@dataclass(frozen=True, slots=True)
class ExchangeFailed:
    """The agent gave this generation up, or the IKE SA died before it was ready."""

    generation: int


@dataclass(frozen=True, slots=True)
class Committed:
    """An authenticated answer to a Commit: `under` is the generation it came under."""

    spi: int
    ok: bool
    under: int


@dataclass(frozen=True, slots=True)
class Status:
    """An authenticated answer to SendStatus `serial`, under the generation that asked.

    `banks` has the state of each bank that is not EMPTY, by SPI.
    """

    serial: int
    under: int
    banks: Mapping[int, BankState]


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The request with this serial got no answer after its last attempt."""

    serial: int


@dataclass(frozen=True, slots=True)
class Sending:
    """A packet other than those below is about to be sent under this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Poll:
    """It is time to ask the NIC how things are."""


Event = (
    Established
    | Ready
    | ReadyTimeout
    | ExchangeFailed
    | Committed
    | Status
    | NoAnswer
    | Sending
    | Poll
)


@dataclass(frozen=True, slots=True)
class Persist:
    """Durable: store the SA and its keys."""

    sa: Sa


@dataclass(frozen=True, slots=True)
class MarkUsed:
    """Durable: from here on packets may have been sent under this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class MarkProven:
    """Durable, in one transaction: this generation is proven, and those are dropped."""

    generation: int
    discard: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Discard:
    """Durable: drop these generations."""

    generations: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SendCommit:
    """Send Commit for `spi` under generation `under`; its answer or silence bears `serial`."""

    serial: int
    spi: int
    under: int


@dataclass(frozen=True, slots=True)
class SendStatus:
    """Ask the NIC for its status under generation `under`."""

    serial: int
    under: int


@dataclass(frozen=True, slots=True)
class AwaitReady:
    """Start the timer that ends with ReadyTimeout for this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete the Child SA of this generation, if its IKE SA still lives."""

    generation: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Tell the user what became of a generation."""

    generation: int
    outcome: Outcome


Action = (
    Persist
    | MarkUsed
    | MarkProven
    | Discard
    | SendCommit
    | SendStatus
    | AwaitReady
    | DeleteChild
    | Settled
)
