"""What a session acts through, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from spec.host import HostState
from sw.rmcp import RetryPolicy
from sw.station.records import HostRecord, SaRecord


class Wire(Protocol):
    """The data plane as a session uses it. SAs are named by their inbound SPI."""

    def add(self, sa: SaRecord, reserve: Callable[[int], int]) -> None:
        """Begin to send and receive under an SA."""

    def remove(self, spi_in: int) -> None:
        """Stop that."""

    def send(self, spi_in: int, payload: bytes) -> None:
        """Send an RMCP message under an SA."""

    def send_clear(self, address: IPv4Address, payload: bytes) -> None:
        """Send an RMCP message to the clear port of a host."""

    def right_edge(self, spi_in: int) -> int:
        """Highest number received under an SA."""


class Exchanges(Protocol):
    """IKE as a session uses it."""

    def begin(self, host: HostRecord, replaces: int | None) -> None:
        """Negotiate an SA: over the IKE SA that lives, or over a new one.

        `replaces` is the inbound SPI of the SA that it will take the place of.
        """

    def delete_child(self, host: HostRecord, spi_in: int) -> None:
        """Tell the agent that this Child SA is no longer used; unknown ones are ignored."""

    def drop(self, host: HostRecord) -> None:
        """Forget the IKE SA with the host: its OS is gone, and its end with it."""


@dataclass(frozen=True, slots=True)
class PowerOutcome:
    """What became of a power command.

    Parameters
    ----------
    state : HostState or None
        State seen last before the command was sent.
    spi : int or None
        The NIC's inbound SPI of the SA that it was sent or acknowledged under.
    acknowledged : bool
        The NIC has acknowledged it, authenticated.
    sent : int
        Packets sent.
    refused : str
        Why nothing was sent; empty if something was.
    """

    state: HostState | None
    spi: int | None
    acknowledged: bool
    sent: int
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a session takes from the configuration; times in seconds."""

    poll_s: float
    refresh_s: float
    exchange_retry_s: float
    ready_s: float
    enterprise: int
    rmcp: RetryPolicy
    exchanges: bool = True
    """False: no key exchange is ever begun."""


@dataclass(slots=True)
class Request:
    """A request under way: the machine's serial, or whom to tell of a power command."""

    serial: int | None = None
    under: int | None = None
    done: Callable[[PowerOutcome], None] | None = None
    sent: int = 0
    state: HostState | None = None
    commit: bool = False
    """It is a Commit, which the NIC confirms under the new SA, and not under `under`."""
