"""RMCP with one NIC under numbers that never come twice: those of the store."""

from __future__ import annotations

from sw.rmcp import (
    NUMBERS,
    PENDING_MAX,
    Commit,
    PowerCommand,
    RmcpBusyError,
    RmcpClient,
    RmcpNumbers,
    SaStatusRequest,
    Zeroise,
)
from sw.station.interfaces import Tuning
from sw.station.records import HostRecord
from sw.station.store import Store

RMCP_BLOCK = 512
"""RMCP numbers reserved in the store at a time."""
SKIPPED_MAX = 2 * PENDING_MAX
"""A request that waits keeps one sequence number and one tag from all others."""
POWER_MAX = PENDING_MAX // 2
"""Power commands that may wait at once: the station's own requests always find a place."""


class NumberedRequests:
    """Requests to one NIC; each has its numbers from a block that the store reserved before.

    Parameters
    ----------
    host : HostRecord
        From the store.
    store : Store
        Where numbers are reserved.
    tuning : Tuning
        Times and enterprise number.
    """

    def __init__(self, host: HostRecord, store: Store, tuning: Tuning) -> None:
        self._host_id = host.id
        self._store = store
        self._power_numbers = host.power_numbers
        self._ordinal = self._reserved = host.rmcp_reserved
        self.client = RmcpClient(
            RmcpNumbers.from_ordinal(self._ordinal),
            enterprise=tuning.enterprise,
            retry=tuning.rmcp,
        )

    def request(
        self, message: PowerCommand | Commit | SaStatusRequest | Zeroise, now: float
    ) -> int:
        """Begin a request; gives its token. Raises RmcpBusyError and StoreError."""
        if self._ordinal + SKIPPED_MAX >= self._reserved:
            below = self._ordinal + SKIPPED_MAX + RMCP_BLOCK
            self._store.reserve_rmcp(self._host_id, below)
            self._reserved = below
        before = self.client.numbers
        token = self.client.request(message, now)
        self._ordinal += (self.client.numbers.ordinal - before.ordinal) % NUMBERS
        return token

    def zeroise(self, now: float) -> int:
        """Begin a Zeroise; raises RmcpBusyError and StoreError."""
        return self.request(Zeroise(), now)

    def power(self, command: PowerCommand, now: float) -> int:
        """Begin a power command under numbers that the NIC cannot take for an earlier one's.

        It remembers the last tag of each sequence number, and acts once on a pair. Raises
        RmcpBusyError and StoreError; then the command is not sent.
        """
        if self.client.pending >= POWER_MAX:
            raise RmcpBusyError(f"{POWER_MAX} requests wait for their answers")
        while True:
            token = self.request(command, now)
            numbers = self.client.numbers.advance(-1)
            if self._power_numbers.get(numbers.sequence) != numbers.tag:
                break
            self.client.cancel(token)
        self._power_numbers = {**self._power_numbers, numbers.sequence: numbers.tag}
        self._store.set_power_numbers(self._host_id, self._power_numbers)
        return token
