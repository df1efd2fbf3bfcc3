"""The SAD: contexts of two banks, and the rules by which they change.

The one rule of the project is kept here: a PROVEN bank changes only because the other bank was
proven, or by zeroise-all. No register write reaches it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spec.headers import ESP_SPI_MIN, PROTOCOL_AH, PROTOCOL_ESP
from spec.host import BANK_EVENTS, HostEvent
from spec.registers import BY_NAME
from spec.rmcp import CommitResult
from spec.sa import (
    BANKS,
    CONTEXTS,
    REPLAY_WINDOW,
    BankState,
    LifetimeWord,
    SadCommand,
    SadResult,
    SaFlag,
)
from spec.suites import OUTER_KEY_OCTETS, SUITES, Protocol, Suite, SuiteFacts, built_in
from verif.model.window import ReplayWindow

SINGLE_REGISTERS = tuple(
    f"STAGE_{name}"
    for name in (
        "SPI_IN",
        "SPI_OUT",
        "SUITE",
        "FLAGS",
        "PEER_IP",
        "SALT_IN",
        "SALT_OUT",
        "RX_SEQ_HI",
        "RX_SEQ_LO",
        "TX_SEQ_HI",
        "TX_SEQ_LO",
    )
)
"""What every SA needs."""
OUTER_REGISTERS = tuple(
    name for name, r in BY_NAME.items() if name.startswith("STAGE_AH_") and r.count == 1
)
"""What AH around ESP needs besides."""
KEY_WORDS_MIN = 4
"""Key words that even an unknown suite must have."""
FLAGS_KNOWN = int(SaFlag.ESN | SaFlag.TUNNEL | SaFlag.IPV6 | SaFlag.ADMINISTRATOR)
UNPROVEN = (BankState.STAGED, BankState.READY, BankState.ACTIVE)


@dataclass(slots=True)
class Direction:
    """Keys of one direction; empty where the suite has none.

    Parameters
    ----------
    key, salt : bytes
        Of the cipher.
    auth : bytes
        Of the main half's HMAC.
    outer : bytes
        Of the HMAC of AH around ESP.
    """

    key: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    auth: bytes = field(repr=False)
    outer: bytes = field(repr=False)


@dataclass(slots=True)
class Lifetime:
    """What passed in one direction (RFC 4301 4.4.2.1)."""

    packets: int = 0
    octets: int = 0


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
    outer_window: ReplayWindow | None = None
    """Of AH around ESP."""
    tx_sequence: int = 0
    """Last outbound number used, as staged 64 bits even without ESN: it is the IV, too."""
    outer_tx_sequence: int = 0
    """The same of AH around ESP."""
    received: Lifetime = field(default_factory=Lifetime)
    sent: Lifetime = field(default_factory=Lifetime)
    reached: set[HostEvent] = field(default_factory=set)
    """Limits of its lifetime that are reached: SOFT_LIMIT, HARD_LIMIT."""

    def limit(self, kind: HostEvent, measure: str) -> int:
        """A staged limit; 0 where there is none."""
        name = f"{kind.name.removesuffix('_LIMIT')}_{measure.upper()}"
        high, low = (
            self.word("STAGE_LIFETIME", LifetimeWord[f"{name}_{half}"]) for half in ("HI", "LO")
        )
        return high << 32 | low

    def word(self, name: str, index: int = 0) -> int:
        """A staged word, 0 where none was written."""
        return self.staged.get((name, index), 0)

    def octets(self, name: str, count: int) -> bytes:
        """The first `count` octets of an array of staged words."""
        return b"".join(self.word(name, i).to_bytes(4, "big") for i in range(count // 4))

    @property
    def facts(self) -> SuiteFacts | None:
        """What the suite consists of; None if there is none of this number."""
        number = self.word("STAGE_SUITE")
        return SUITES.get(Suite(number)) if number in set(Suite) else None

    @property
    def spi_in(self) -> int:
        """Inbound SPI; 0 if EMPTY or not written."""
        return self.word("STAGE_SPI_IN")

    @property
    def spi_out(self) -> int:
        """Outbound SPI."""
        return self.word("STAGE_SPI_OUT")

    def inbound_spi(self, protocol: int) -> int | None:
        """The inbound SPI of ESP or AH; None where the suite has no such SA."""
        facts = self.facts
        if facts is None:
            return None
        if protocol == PROTOCOL_ESP:
            return None if facts.protocol is Protocol.AH else self.spi_in
        if facts.protocol is Protocol.BOTH:
            return self.word("STAGE_AH_SPI_IN")
        return self.spi_in if facts.protocol is Protocol.AH else None

    @property
    def v6(self) -> bool:
        """The station has an IPv6 address."""
        return bool(self.word("STAGE_FLAGS") & SaFlag.IPV6)

    @property
    def peer_ip(self) -> int:
        """Address of the station."""
        if self.v6:
            return int.from_bytes(self.octets("STAGE_PEER_IP6", 16), "big")
        return self.word("STAGE_PEER_IP")

    @property
    def esn(self) -> bool:
        """Extended sequence numbers."""
        return bool(self.word("STAGE_FLAGS") & SaFlag.ESN)

    @property
    def administrator(self) -> bool:
        """It is an administrator's."""
        return bool(self.word("STAGE_FLAGS") & SaFlag.ADMINISTRATOR)

    @property
    def tunnel(self) -> bool:
        """Tunnel mode."""
        return bool(self.word("STAGE_FLAGS") & SaFlag.TUNNEL)

    def sequence(self, which: str) -> int:
        """A staged sequence number of 64 bits."""
        return self.word(f"STAGE_{which}_SEQ_HI") << 32 | self.word(f"STAGE_{which}_SEQ_LO")

    def expand(self, window: int) -> None:
        """Takes keys, windows and outbound numbers from the staged words."""
        facts = self.facts
        assert facts is not None
        directions = [
            Direction(
                key=self.octets(f"STAGE_KEY_{way}", facts.key_octets),
                salt=self.octets(f"STAGE_SALT_{way}", facts.salt_octets),
                auth=self.octets(f"STAGE_AUTH_{way}", facts.auth_octets),
                outer=self.octets(
                    f"STAGE_AH_AUTH_{way}", OUTER_KEY_OCTETS if facts.has_outer else 0
                ),
            )
            for way in ("IN", "OUT")
        ]
        self.inbound, self.outbound = directions
        self.window = ReplayWindow(self.sequence("RX"), self.esn, window)
        self.tx_sequence = self.sequence("TX")
        if facts.has_outer:
            self.outer_window = ReplayWindow(self.sequence("AH_RX"), self.esn, window)
            self.outer_tx_sequence = self.sequence("AH_TX")

    def next_numbers(self) -> tuple[int, int] | None:
        """Takes the next outbound numbers, of the main half and of AH around it.

        None once one of them is used up (RFC 4303 3.3.3, RFC 4302 3.3.2).
        """
        last = (1 << (64 if self.esn else 32)) - 1
        facts = self.facts
        assert facts is not None
        if self.tx_sequence & last == last:
            return None
        if facts.has_outer and self.outer_tx_sequence & last == last:
            return None
        self.tx_sequence += 1
        if facts.has_outer:
            self.outer_tx_sequence += 1
        return self.tx_sequence, self.outer_tx_sequence


class Sad:
    """Contexts of two banks each; bank n is of context n // 2. One bank at most is STAGED.

    Parameters
    ----------
    ack_ms, grace_ms : int
        Acknowledge timer and grace, in milliseconds.
    window : int
        Numbers in an anti-replay window.
    suites : tuple of Suite
        What is built in.
    contexts : int
        How many.
    """

    def __init__(
        self,
        ack_ms: int,
        grace_ms: int,
        window: int = REPLAY_WINDOW,
        suites: tuple[Suite, ...] | None = None,
        contexts: int = CONTEXTS,
    ) -> None:
        self.ack_ms = ack_ms
        self.grace_ms = grace_ms
        self.window = window
        self.suites = built_in() if suites is None else suites
        self.contexts = contexts
        self.banks = [Bank() for _ in range(contexts * BANKS)]
        self.context = 0
        """SA_CONTEXT: which one the next command is for."""
        self.result = SadResult.NONE
        self.station_authorised = False
        """Mirror of POLICY.station_authorised."""
        self.silent_ms = 0
        """Milliseconds since a packet was authenticated, or since power-on."""
        self.happened: list[tuple[HostEvent, int]] = []
        """Limits that a bank reached; whoever notes them clears it."""
        self.held = False
        """pin_zeroise is asserted: nothing can be staged."""

    # --- what the host's bus does -------------------------------------------------------------

    def command(self, value: int) -> None:
        """A write to SA_COMMAND; `result` tells the outcome."""
        if self.held and value in (SadCommand.STAGE, SadCommand.READY):
            self.result = SadResult.BUSY
            return
        if self.context >= self.contexts:
            self.result = SadResult.UNKNOWN
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
        if self._of_context(BankState.READY, BankState.ACTIVE) is not None:
            return SadResult.BUSY
        number = self._of_context(BankState.STAGED)
        if number is None:
            number = self._of_context(BankState.EMPTY)
        if number is None:
            return SadResult.BUSY
        elsewhere = self._numbered(BankState.STAGED)
        if elsewhere is not None:
            self._zeroise(elsewhere)
        self.banks[number] = Bank(state=BankState.STAGED)
        return SadResult.OK

    def _ready(self) -> SadResult:
        number = self._of_context(BankState.STAGED)
        if number is None:
            return SadResult.INCOMPLETE
        bank = self.banks[number]
        refusal = self._refusal(bank, number)
        if refusal is not None:
            return refusal
        bank.expand(self.window)
        bank.received, bank.sent, bank.reached = Lifetime(), Lifetime(), set()
        self._enter(number, BankState.READY)
        return SadResult.OK

    def _refusal(self, bank: Bank, number: int) -> SadResult | None:
        if bank.word("STAGE_SUITE") == Suite.NONE or not self._needed(bank) <= bank.staged.keys():
            return SadResult.INCOMPLETE
        facts = bank.facts
        if facts is None or facts.suite not in self.suites:
            return SadResult.UNSUPPORTED
        if bank.word("STAGE_FLAGS") & ~FLAGS_KNOWN:
            return SadResult.UNSUPPORTED
        spis = [bank.spi_in, bank.spi_out]
        if facts.has_outer:
            spis += [bank.word("STAGE_AH_SPI_IN"), bank.word("STAGE_AH_SPI_OUT")]
        if min(spis) < ESP_SPI_MIN:
            return SadResult.BAD_SPI
        if not self._may_administrate(number):
            return SadResult.FORBIDDEN
        others = [other for other in self.banks if other is not bank]
        for protocol in (PROTOCOL_ESP, PROTOCOL_AH):
            spi = bank.inbound_spi(protocol)
            taken = (o.inbound_spi(protocol) for o in others if o.state is not BankState.EMPTY)
            if spi is not None and spi in taken:
                return SadResult.BAD_SPI
        return None

    def _may_administrate(self, number: int) -> bool:
        """Whether this bank is an operator's, or may be an administrator's."""
        if not (self.banks[number].administrator and self.station_authorised and self.proven):
            return True
        older = self.banks[number ^ 1]
        return older.state is BankState.PROVEN and older.administrator

    @staticmethod
    def _needed(bank: Bank) -> set[tuple[str, int]]:
        facts = bank.facts
        names = {(name, 0) for name in SINGLE_REGISTERS}
        arrays = {"STAGE_KEY": KEY_WORDS_MIN}
        if facts is not None:
            arrays = {
                "STAGE_KEY": facts.key_octets // 4,
                "STAGE_AUTH": facts.auth_octets // 4,
            }
            if facts.has_outer:
                arrays["STAGE_AH_AUTH"] = OUTER_KEY_OCTETS // 4
                names |= {(name, 0) for name in OUTER_REGISTERS}
        if bank.v6:
            names |= {("STAGE_PEER_IP6", i) for i in range(4)}
        for array, words in arrays.items():
            names |= {(f"{array}_{way}", i) for way in ("IN", "OUT") for i in range(words)}
        return names

    def _abort(self) -> SadResult:
        number = self._of_context(*UNPROVEN)
        if number is not None:
            self._zeroise(number)
        return SadResult.OK

    # --- what packets do ----------------------------------------------------------------------

    def receiving(self, number: int) -> bool:
        """Whether packets under this bank are looked at."""
        bank, other = self.banks[number], self.banks[number ^ 1]
        if bank.state is BankState.READY:
            return not (self.station_authorised and other.state is BankState.PROVEN)
        return bank.state in (BankState.ACTIVE, BankState.PROVEN, BankState.RETIRING)

    def find(self, protocol: int, spi: int) -> int | None:
        """The receiving bank with this inbound SPI of ESP or AH."""
        for number, bank in enumerate(self.banks):
            if self.receiving(number) and bank.inbound_spi(protocol) == spi:
                return number
        return None

    def is_peer(self, v6: bool, ip: int) -> bool:
        """Whether a bank that is complete belongs to a station at this address."""
        return any(
            bank.v6 == v6 and bank.peer_ip == ip
            for bank in self.banks
            if bank.state not in (BankState.EMPTY, BankState.STAGED)
        )

    def prove(self, number: int) -> None:
        """A packet was authenticated under bank `number`."""
        self.silent_ms = 0
        if self.banks[number].state in (BankState.READY, BankState.ACTIVE):
            self._enter(number, BankState.PROVEN)
            if self.banks[number ^ 1].state is BankState.PROVEN:
                self._enter(number ^ 1, BankState.RETIRING)
                if self.is_spent(number ^ 1):
                    self._zeroise(number ^ 1)

    def count(self, number: int, way: Lifetime, octets: int) -> None:
        """A packet passed under bank `number`, which the algorithm was applied to so far."""
        bank = self.banks[number]
        way.packets += 1
        way.octets += octets
        for kind in BANK_EVENTS:
            if any(
                0 < bank.limit(kind, measure) <= getattr(way, measure)
                for measure in ("packets", "octets")
            ):
                if kind not in bank.reached:
                    self.happened.append((kind, number))
                bank.reached.add(kind)

    def is_spent(self, number: int) -> bool:
        """Whether it reached its hard limit, and is none that must go on."""
        bank = self.banks[number]
        return HostEvent.HARD_LIMIT in bank.reached and bank.state is not BankState.PROVEN

    def drop_spent(self) -> None:
        """What packets of this moment may still have used goes now."""
        for number in range(len(self.banks)):
            if self.is_spent(number):
                self._zeroise(number)

    def commit(self, spi: int, under: int) -> tuple[CommitResult, int]:
        """Commit(spi), authenticated under bank `under`.

        Returns
        -------
        tuple of CommitResult and int
            The result, and the bank that the answer goes out under.
        """
        for number in (under ^ 1, under):
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
        self.silent_ms += 1
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
        for number in range(len(self.banks)):
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

    def _of_context(self, *states: BankState) -> int | None:
        first = BANKS * self.context
        for number in range(first, first + BANKS):
            if self.banks[number].state in states:
                return number
        return None

    def _enter(self, number: int, state: BankState) -> None:
        self.banks[number].state = state
        self.banks[number].timer_ms = 0

    def _zeroise(self, number: int) -> None:
        self.banks[number] = Bank()
