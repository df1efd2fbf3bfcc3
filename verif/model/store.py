"""What the NIC keeps over a loss of power, as it is once all that was due has been written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spec.sa import BANKS, BankState, LifetimeWord
from spec.store import BLOCK_BITS, CONFIG_WORDS
from verif.model.sad import Bank

if TYPE_CHECKING:
    from verif.model.nic import NicModel

NUMBERS = ("RX", "TX", "AH_RX", "AH_TX")
BLOCK = 1 << BLOCK_BITS


@dataclass(slots=True)
class Kept:
    """A bank, its limits by block, and the numbers at the last look.

    `recorded`: it is what its context's record has, and its limits hold.
    """

    bank: Bank = field(repr=False)
    blocks: dict[str, int]
    seen: dict[str, int]
    recorded: bool = False


def numbers_of(bank: Bank) -> dict[str, int]:
    """The last number of each kind: right edges of windows, and outbound numbers used."""
    assert bank.window is not None
    outer = bank.outer_window
    return {
        "RX": bank.window.right,
        "TX": bank.tx_sequence,
        "AH_RX": outer.right if outer else bank.sequence("AH_RX"),
        "AH_TX": bank.outer_tx_sequence if outer else bank.sequence("AH_TX"),
    }


def next_block(block: int, esn: bool) -> int:
    """The block behind this one; itself if there is none."""
    bits = (64 if esn else 32) - BLOCK_BITS
    last = (1 << bits) - 1
    return block if block & last == last else block + 1


class Store:
    """The records of a `NicModel`.

    `settle` is to be called after whatever may have changed a bank.
    """

    def __init__(self, nic: NicModel) -> None:
        self.nic = nic
        self.records: dict[int, Kept] = {}
        self.config: dict[tuple[str, int], int] | None = None
        self._banks: dict[int, Kept] = {}

    def settle(self) -> None:
        """Moves limits, and records what has been proven."""
        banks = self.nic.sad.banks
        for number, bank in enumerate(banks):
            if bank.window is None:
                self._banks.pop(number, None)
            else:
                self._look(number, bank)
        if self.nic.bus.policy("keeps_sa"):
            for number, bank in enumerate(banks):
                if bank.state is BankState.PROVEN and not self._banks[number].recorded:
                    self._record(number)

    def _look(self, number: int, bank: Bank) -> None:
        kept = self._banks.get(number)
        if kept is None or kept.bank is not bank:
            staged = {name: bank.sequence(name) for name in NUMBERS}
            blocks = {name: value >> BLOCK_BITS for name, value in staged.items()}
            kept = self._banks[number] = Kept(bank, blocks, staged)
        for name, value in numbers_of(bank).items():
            block, limit = value >> BLOCK_BITS, kept.blocks[name]
            if value == kept.seen[name] or block < limit:
                continue
            kept.blocks[name] = next_block(block, bank.esn) if kept.recorded else block
        kept.seen = numbers_of(bank)

    def _record(self, number: int) -> None:
        kept = self._banks[number]
        kept.recorded = True
        for name in ("TX", "AH_TX"):
            kept.blocks[name] = next_block(kept.blocks[name], kept.bank.esn)
        self.records[number // BANKS] = kept
        if number ^ 1 in self._banks:
            self._banks[number ^ 1].recorded = False

    def save_config(self) -> None:
        """A write of STORE_SAVE_CONFIG."""
        self.config = {where: self.nic.bus.stored[where] for where in CONFIG_WORDS}

    def void(self) -> None:
        """What zeroise-all does here."""
        self.records.clear()
        self._banks.clear()
        self.config = None

    def restore(self) -> None:
        """What comes back in a NIC that just got power."""
        nic, records = self.nic, self.records
        self.records, self._banks = {}, {}
        if self.config is not None:
            nic.bus.stored.update(self.config)
            nic.bus.mirror()
        if not nic.bus.policy("keeps_sa"):
            return
        for context, record in records.items():
            number = BANKS * context
            bank = Bank(state=BankState.PROVEN, staged=dict(record.bank.staged))
            for word in LifetimeWord:  # limits are not kept
                bank.staged.pop(("STAGE_LIFETIME", word), None)
            for name in NUMBERS:
                edge = (record.blocks[name] << BLOCK_BITS) + BLOCK - 1
                bank.staged[f"STAGE_{name}_SEQ_HI", 0] = edge >> 32
                bank.staged[f"STAGE_{name}_SEQ_LO", 0] = edge & 0xFFFFFFFF
            bank.expand(nic.sad.window)
            for window in (bank.window, bank.outer_window):
                if window is not None:
                    window.bitmap = (1 << window.size) - 1
            nic.sad.banks[number] = bank
            self._look(number, bank)
            self._record(number)
