"""The station's store in memory: what is durable, transaction by transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sw.ike.secret import Secret
from sw.station.database import RESTORE_JUMP_ESN, StoreError
from sw.station.records import HostRecord, SaKeys, SaRecord
from verif.modelcheck.words import (
    HOST_IP,
    STATION_IP,
    SUITE,
    TO_NIC,
    TO_STATION,
    key_of,
    sa_of,
    salt_of,
    spi_of,
)


class Row(NamedTuple):
    """An SA in the store, without its numbers."""

    generation: int
    sa: int
    used: bool
    proven: bool


class StoreState(NamedTuple):
    """What is on disk, without the numbers of SAs.

    Parameters
    ----------
    last_generation : int
        Of the host.
    rows : tuple of Row
        By generation.
    refreshed : bool
        An SA was proven once.
    last_state : int
        Host state last seen; -1 for none.
    """

    last_generation: int = 0
    rows: tuple[Row, ...] = ()
    refreshed: bool = False
    last_state: int = -1


def record_of(row: Row, reserved: int, edge: int) -> SaRecord:
    """The record of an SA, with its keys."""
    sa = row.sa
    return SaRecord(
        generation=row.generation,
        spi_in=spi_of(sa, TO_STATION),
        spi_out=spi_of(sa, TO_NIC),
        suite=SUITE,
        esn=True,
        encap_udp=False,
        local_ip=STATION_IP,
        peer_ip=HOST_IP,
        local_port=500,
        peer_port=500,
        keys=SaKeys(
            Secret(key_of(sa, TO_STATION)),
            Secret(salt_of(sa, TO_STATION)),
            Secret(key_of(sa, TO_NIC)),
            Secret(salt_of(sa, TO_NIC)),
        ),
        proven_at=0.0 if row.proven else None,
        used=row.used,
        tx_reserved=reserved,
        rx_edge=edge,
    )


class MemoryStore:
    """Does what `sw.station.store.Store` does, as far as a session asks it to.

    Parameters
    ----------
    state : StoreState
        What is on disk.
    numbers : dict
        (reserved, edge) by SA.
    wrote : callable
        Called after each transaction.
    """

    def __init__(
        self,
        state: StoreState,
        numbers: dict[int, tuple[int, int]],
        wrote: Callable[[], None],
    ) -> None:
        self.last_generation = state.last_generation
        self.rows = {row.generation: row for row in state.rows}
        self.refreshed = state.refreshed
        self.last_state = state.last_state
        self.numbers = dict(numbers)
        self._wrote = wrote

    @property
    def state(self) -> StoreState:
        """What is on disk now."""
        rows = tuple(self.rows[g] for g in sorted(self.rows))
        return StoreState(self.last_generation, rows, self.refreshed, self.last_state)

    def host(self, name: str) -> HostRecord:
        """The only host."""
        return HostRecord(
            id=1,
            name=name,
            address=HOST_IP,
            identity="host.example",
            psk=Secret(b"a pre-shared key of the model"),
            refresh_last=0.0 if self.refreshed else None,
            last_state=None if self.last_state < 0 else self.last_state,
        )

    def sas(self, _host_id: int) -> tuple[list[SaRecord], list[int]]:
        """All records, by generation."""
        rows = [self.rows[generation] for generation in sorted(self.rows)]
        return [record_of(row, *self.numbers[row.sa]) for row in rows], []

    def next_generation(self, _host_id: int) -> int:
        """The number of the next SA."""
        return self.last_generation + 1

    def add_sa(self, _host_id: int, sa: SaRecord) -> None:
        """One transaction."""
        number = sa_of(sa.spi_in)
        self.rows[sa.generation] = Row(sa.generation, number, sa.used, sa.proven_at is not None)
        self.numbers[number] = sa.tx_reserved, sa.rx_edge
        self.last_generation = max(self.last_generation, sa.generation)
        self._wrote()

    def mark_used(self, _host_id: int, generation: int) -> None:
        """One transaction."""
        if generation in self.rows:
            self.rows[generation] = self.rows[generation]._replace(used=True)
        self._wrote()

    def mark_proven(
        self, _host_id: int, generation: int, discard: tuple[int, ...], _now: float
    ) -> None:
        """One transaction."""
        if generation not in self.rows:
            raise StoreError(f"SA {generation} is not in the store: none is dropped for it")
        self.rows[generation] = self.rows[generation]._replace(used=True, proven=True)
        gone = {g for g in self.rows if g < generation} | set(discard)
        self._drop(gone - {generation})
        self.refreshed = True
        self._wrote()

    def discard(self, _host_id: int, generations: tuple[int, ...]) -> None:
        """One transaction."""
        if any(g in self.rows and self.rows[g].proven for g in generations):
            raise StoreError("a proven SA goes only when a newer one is proven")
        self._drop(set(generations))
        self._wrote()

    def _drop(self, generations: set[int]) -> None:
        for generation in generations & self.rows.keys():
            del self.numbers[self.rows.pop(generation).sa]

    def reserve(self, _host_id: int, generation: int, count: int) -> int:
        """One transaction."""
        row = self.rows.get(generation)
        if row is None:
            raise StoreError(f"SA {generation} is no longer in the store: nothing is sent")
        reserved, edge = self.numbers[row.sa]
        self.numbers[row.sa] = reserved + count, edge
        self.rows[generation] = row._replace(used=True)
        self._wrote()
        return reserved + 1

    def set_edge(self, _host_id: int, generation: int, edge: int) -> None:
        """One transaction, that makes no difference to a crash: see docs/model_check.md."""
        if generation in self.rows:
            sa = self.rows[generation].sa
            self.numbers[sa] = self.numbers[sa][0], edge

    def set_state(self, _host_id: int, state: int) -> None:
        """One transaction."""
        self.last_state = int(state)
        self._wrote()

    def reserve_rmcp(self, _host_id: int, _below: int) -> None:
        """RMCP numbers are named anew in each state, so nothing is kept."""

    def set_power_numbers(self, _host_id: int, _numbers: dict[int, int]) -> None:
        """The same."""


def moved_ahead(
    state: StoreState, numbers: dict[int, tuple[int, int]]
) -> tuple[StoreState, dict[int, tuple[int, int]]]:
    """What `sw.station.database` makes of an old copy when it opens it."""
    rows = tuple(row._replace(used=True) for row in state.rows)
    moved = {sa: (reserved + RESTORE_JUMP_ESN, edge) for sa, (reserved, edge) in numbers.items()}
    return state._replace(rows=rows), moved
