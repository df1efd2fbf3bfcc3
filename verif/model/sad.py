"""The SAD: one context of two banks, and the rules by which they change.

The one rule of the project is kept here: a PROVEN bank changes only because the other bank was
proven, or by zeroise-all. No register write reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spec.headers import ESP_SPI_MIN
from spec.registers import BY_NAME
from spec.rmcp import CommitResult
from spec.sa import BANKS, BankState, SadCommand, SadResult, SaFlag
from spec.suites import SUITES, Suite
from verif.model.window import ReplayWindow

SINGLE_REGISTERS = tuple(
    name for name, r in BY_NAME.items() if name.startswith("STAGE_") and r.count == 1
)
KEY_REGISTERS = ("STAGE_KEY_IN", "STAGE_KEY_OUT")
KEY_WORDS_MIN = 4
"""Key words that even an unknown suite must have."""
UNPROVEN = (BankState.STAGED, BankState.READY, BankState.ACTIVE)


@dataclass(slots=True)
class Direction:
    """Keys of one direction."""

    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)


@dataclass(slots=True)
class Bank:
    """One bank. Nothing but its state and inbound SPI is ever shown outside.

    `staged` holds the words written so far, by register name and index.
    """

    state: BankState = BankState.EMPTY
    staged: dict[tuple[str, int], int] = field(default_factory=dict, repr=False)
    timer_ms: int = 0
    inbound: Direction | None = field(default=None, repr=False)
    outbound: Direction | None = field(default=None, repr=False)
    window: ReplayWindow | None = None
    tx_sequence: int = 0
    """Last outbound number used, as staged 64 bits even without ESN: it is the IV, too."""

    def word(self, name: str, index: int = 0) -> int:
        """A staged word, 0 where none was written."""
        return self.staged.get((name, index), 0)

    @property
    def spi_in(self) -> int:
        """Inbound SPI; 0 if EMPTY or not written."""
        return self.word("STAGE_SPI_IN")

    @property
    def spi_out(self) -> int:
        """Outbound SPI."""
        return self.word("STAGE_SPI_OUT")

    @property
    def peer_ip(self) -> int:
        """IPv4 address of the station."""
        return self.word("STAGE_PEER_IP")

    @property
    def esn(self) -> bool:
        """Extended sequence numbers."""
        return bool(self.word("STAGE_FLAGS") & SaFlag.ESN)

    def sequence(self, which: str) -> int:
        """A staged sequence number of 64 bits."""
        return self.word(f"STAGE_{which}_SEQ_HI") << 32 | self.word(f"STAGE_{which}_SEQ_LO")

    def expand(self) -> None:
        """Takes keys, window and outbound number from the staged words."""
        words = SUITES[Suite(self.word("STAGE_SUITE"))].key_octets // 4
        directions = [
            Direction(
                b"".join(self.word(f"STAGE_KEY_{way}", i).to_bytes(4, "big") for i in range(words)),
                self.word(f"STAGE_SALT_{way}").to_bytes(4, "big"),
            )
            for way in ("IN", "OUT")
        ]
        self.inbound, self.outbound = directions
        self.window = ReplayWindow(self.sequence("RX"), self.esn)
        self.tx_sequence = self.sequence("TX")


class Sad:
    """Two banks.

    Parameters
    ----------
    ack_ms, grace_ms : int
        Acknowledge timer and grace, in milliseconds.
    """

    def __init__(self, ack_ms: int, grace_ms: int) -> None:
        self.ack_ms = ack_ms
        self.grace_ms = grace_ms
        self.banks = [Bank() for _ in range(BANKS)]
        self.result = SadResult.NONE
        self.station_authorised = False
        """Mirror of POLICY.station_authorised."""
        self.held = False
        """pin_zeroise is asserted: nothing can be staged."""

    # --- what the host's bus does -------------------------------------------------------------

    def command(self, value: int) -> None:
        """A write to SA_COMMAND; `result` tells the outcome."""
        if self.held and value in (SadCommand.STAGE, SadCommand.READY):
            self.result = SadResult.BUSY
            return
        match value:
            case SadCommand.STAGE:
                self.result = self._stage()
            case SadCommand.READY:
                self.result = self._ready()
            case SadCommand.ABORT:
                self.result = self._abort()
            case _:
                self.result = SadResult.UNKNOWN

    def write(self, name: str, index: int, value: int) -> None:
        """A write to a STAGE register: goes to the STAGED bank, is lost if there is none."""
        number = self._numbered(BankState.STAGED)
        if number is not None:
            self.banks[number].staged[name, index] = value

    def _stage(self) -> SadResult:
        if self._numbered(BankState.READY, BankState.ACTIVE) is not None:
            return SadResult.BUSY
        number = self._numbered(BankState.STAGED)
        if number is None:
            number = self._numbered(BankState.EMPTY)
        if number is None:
            return SadResult.BUSY
        self.banks[number] = Bank(state=BankState.STAGED)
        return SadResult.OK

    def _ready(self) -> SadResult:
        number = self._numbered(BankState.STAGED)
        if number is None:
            return SadResult.INCOMPLETE
        bank, other = self.banks[number], self.banks[1 - number]
        refusal = self._refusal(bank, other)
        if refusal is not None:
            return refusal
        bank.expand()
        self._enter(number, BankState.READY)
        return SadResult.OK

    @staticmethod
    def _refusal(bank: Bank, other: Bank) -> SadResult | None:
        suite = bank.word("STAGE_SUITE")
        if suite == Suite.NONE or any((name, 0) not in bank.staged for name in SINGLE_REGISTERS):
            return SadResult.INCOMPLETE
        facts = SUITES.get(Suite(suite)) if suite in set(Suite) else None
        words = range(KEY_WORDS_MIN if facts is None else facts.key_octets // 4)
        if any((name, i) not in bank.staged for name in KEY_REGISTERS for i in words):
            return SadResult.INCOMPLETE
        if facts is None or bank.word("STAGE_FLAGS") & ~int(SaFlag.ESN):
            return SadResult.UNSUPPORTED
        if bank.spi_in < ESP_SPI_MIN or bank.spi_out < ESP_SPI_MIN:
            return SadResult.BAD_SPI
        if other.state is not BankState.EMPTY and other.spi_in == bank.spi_in:
            return SadResult.BAD_SPI
        return None

    def _abort(self) -> SadResult:
        number = self._numbered(*UNPROVEN)
        if number is not None:
            self._zeroise(number)
        return SadResult.OK

    # --- what packets do ----------------------------------------------------------------------

    def receiving(self, number: int) -> bool:
        """Whether packets under this bank are looked at."""
        bank, other = self.banks[number], self.banks[1 - number]
        if bank.state is BankState.READY:
            return not (self.station_authorised and other.state is BankState.PROVEN)
        return bank.state in (BankState.ACTIVE, BankState.PROVEN, BankState.RETIRING)

    def find(self, spi: int) -> int | None:
        """The receiving bank with this inbound SPI."""
        for number, bank in enumerate(self.banks):
            if self.receiving(number) and bank.spi_in == spi:
                return number
        return None

    def is_peer(self, ip: int) -> bool:
        """Whether a bank that is complete belongs to a station at this address."""
        return any(
            bank.peer_ip == ip
            for bank in self.banks
            if bank.state not in (BankState.EMPTY, BankState.STAGED)
        )

    def prove(self, number: int) -> None:
        """A packet was authenticated under bank `number`."""
        if self.banks[number].state in (BankState.READY, BankState.ACTIVE):
            self._enter(number, BankState.PROVEN)
            if self.banks[1 - number].state is BankState.PROVEN:
                self._enter(1 - number, BankState.RETIRING)

    def commit(self, spi: int, under: int) -> tuple[CommitResult, int]:
        """Commit(spi), authenticated under bank `under`.

        Returns
        -------
        tuple of CommitResult and int
            The result, and the bank that the answer goes out under.
        """
        for number in (1 - under, under):
            bank = self.banks[number]
            if bank.spi_in == spi and bank.state in (
                BankState.READY,
                BankState.ACTIVE,
                BankState.PROVEN,
            ):
                if bank.state is BankState.READY:
                    self._enter(number, BankState.ACTIVE)
                return CommitResult.OK, number
        return CommitResult.NO_SUCH_SPI, under

    # --- time and zeroise ---------------------------------------------------------------------

    def tick(self) -> None:
        """A millisecond passes."""
        for number, bank in enumerate(self.banks):
            limit = {
                BankState.READY: self.ack_ms,
                BankState.ACTIVE: self.ack_ms,
                BankState.RETIRING: self.grace_ms,
            }.get(bank.state)
            if limit is not None:
                bank.timer_ms += 1
                if bank.timer_ms >= limit:
                    self._zeroise(number)

    def zeroise_all(self) -> None:
        """Empties every bank, proven or not."""
        for number in range(BANKS):
            self._zeroise(number)

    @property
    def proven(self) -> bool:
        """Whether there is an SA to rely upon."""
        return self._numbered(BankState.PROVEN) is not None

    def _numbered(self, *states: BankState) -> int | None:
        for number, bank in enumerate(self.banks):
            if bank.state in states:
                return number
        return None

    def _enter(self, number: int, state: BankState) -> None:
        self.banks[number].state = state
        self.banks[number].timer_ms = 0

    def _zeroise(self, number: int) -> None:
        self.banks[number] = Bank()
