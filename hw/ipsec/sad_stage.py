"""What the agent writes of an SA: to which bank it goes, and whether all of it is there."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.ipsec.layouts import (
    BANK_WORDS,
    BankWord,
    LimitWrite,
    Protocol,
    SuiteView,
    auth_slot,
    key_slot,
)
from spec.headers import ESP_SPI_MIN
from spec.registers import ADDRESS_BITS, BY_NAME
from spec.sa import ALL_BANKS, SaFlag
from spec.suites import SUITES, Hash, Suite, SuiteFacts
from spec.suites import Cipher as SuiteCipher

__all__ = [
    "BankSpis",
    "RecordWrite",
    "StageNeeds",
    "StageRegisters",
    "check_suites",
    "key_write_layout",
]

_ALWAYS = (
    "STAGE_SPI_IN",
    "STAGE_SPI_OUT",
    "STAGE_SUITE",
    "STAGE_FLAGS",
    "STAGE_PEER_IP",
    "STAGE_SALT_IN",
    "STAGE_SALT_OUT",
    "STAGE_RX_SEQ_HI",
    "STAGE_RX_SEQ_LO",
    "STAGE_TX_SEQ_HI",
    "STAGE_TX_SEQ_LO",
)
"""Written of every SA."""
_OUTER = (
    "STAGE_AH_SPI_IN",
    "STAGE_AH_SPI_OUT",
    "STAGE_AH_RX_SEQ_HI",
    "STAGE_AH_RX_SEQ_LO",
    "STAGE_AH_TX_SEQ_HI",
    "STAGE_AH_TX_SEQ_LO",
)
"""Written as well where AH is around ESP."""
_PEER_IP6 = tuple(("STAGE_PEER_IP6", n) for n in range(BY_NAME["STAGE_PEER_IP6"].count))
"""Written as well with SaFlag.IPV6."""
_SCALARS = (*((name, 0) for name in (*_ALWAYS, *_OUTER)), *_PEER_IP6)
_KEYS = ("STAGE_KEY_IN", "STAGE_KEY_OUT")
_LIFETIME = "STAGE_LIFETIME"
_AUTH = ("STAGE_AUTH_IN", "STAGE_AUTH_OUT", "STAGE_AH_AUTH_IN", "STAGE_AH_AUTH_OUT")
_KEY_WORDS = 8
_SUITE_BITS = 5

BankSpis = data.StructLayout({"protocol": Protocol, "spi_in": 32, "ah_spi_in": 32})
"""What was written of one bank and is looked at all the time."""

RecordWrite = data.StructLayout(
    {"stb": 1, "bank": range(ALL_BANKS), "word": range(BANK_WORDS), "data": 32}
)
"""A word of a bank's record."""

StageNeeds = data.StructLayout(
    {"key": 1, "aes256": 1, "auth": 1, "sha_1": 1, "outer": 1, "decrypt": 1, "built_in": 1}
)
"""What the staged suite has: a cipher key (of 256 bits), an HMAC key (of SHA-1) of its main half,
an outer half, a cipher that decrypts by the inverse, a place in this build."""


def check_suites(suites: tuple[Suite, ...]) -> tuple[Suite, ...]:
    """What was given; ValueError if there is none, or one that is none of ours."""
    if not suites or any(suite not in SUITES for suite in suites):
        raise ValueError(f"suites must be some of spec.suites.SUITES, not {suites!r}")
    return suites


def key_write_layout(slots: int) -> data.StructLayout:
    """As the stores want their words."""
    return data.StructLayout({"stb": 1, "slot": range(slots), "index": 3, "data": 32})


class StageRegisters(wiring.Component):
    """Takes the words of the staged bank, in any order, one a cycle.

    A word is in its place three cycles after `stb`, and `complete`, `supported` and `spi_is_good`
    follow at most two later. Keys are not kept here: they go on to the stores.

    Parameters
    ----------
    suites : tuple of Suite
        What is built in.

    Attributes
    ----------
    stb, address, data : Signal, in
        A write, by its octet address; of other registers too.
    open, bank : Signal, in
        A bank is staged and nothing is done with its keys now; which. Else writes are lost.
    clear : Signal, in
        Nothing is written yet: a bank begins.
    wipe : Signal, in
        For each bank, empties its registers.
    banks : array of BankSpis, out
    needs : StageNeeds, out
        Of the staged suite.
    complete, supported, spi_is_good : Signal, out
        Nothing is missing; suite and flags are ones of this build; no SPI is reserved.
    key_write, auth_write : struct, out
        To the stores.
    record_write : RecordWrite, out
        What of the layout is neither key nor address of a register here.
    limit_write : LimitWrite, out
        A word of the limits of its lifetime, which may be left out.
    peer_v6 : Signal, out
        The staged bank's station has an IPv6 address.
    administrators : Signal, out
        Of each bank, that it is staged as an administrator's.
    """

    def __init__(self, *, suites: tuple[Suite, ...]):
        self._suites = check_suites(suites)
        super().__init__(
            {
                "stb": In(1),
                "address": In(ADDRESS_BITS),
                "data": In(32),
                "open": In(1),
                "bank": In(range(ALL_BANKS)),
                "clear": In(1),
                "wipe": In(ALL_BANKS),
                "banks": Out(data.ArrayLayout(BankSpis, ALL_BANKS)),
                "needs": Out(StageNeeds),
                "complete": Out(1),
                "supported": Out(1),
                "spi_is_good": Out(1),
                "key_write": Out(key_write_layout(2 * ALL_BANKS)),
                "auth_write": Out(key_write_layout(4 * ALL_BANKS)),
                "record_write": Out(RecordWrite),
                "limit_write": Out(LimitWrite),
                "peer_v6": Out(1),
                "administrators": Out(ALL_BANKS),
            }
        )

    @property
    def suites(self) -> tuple[Suite, ...]:
        """What is built in."""
        return self._suites

    def elaborate(self, platform):
        m = Module()
        # Decoded in one cycle, done in the next.
        takes = Signal()
        bank = Signal(range(ALL_BANKS))
        address = Signal(ADDRESS_BITS)
        word = Signal(32)
        high = Signal()  # a bit of the word above the lowest octet
        m.d.sync += high.eq(self.data[8:].any())
        hits = {where: Signal(name=f"hit_{where[0].lower()}_{where[1]}") for where in _SCALARS}
        group_hits = {name: Signal(name=f"hit_{name.lower()}") for name in (*_KEYS, *_AUTH)}
        m.d.sync += [
            takes.eq(self.stb & self.open),
            bank.eq(self.bank),
            address.eq(self.address),
            word.eq(self.data),
        ]

        def decode(hit, here):
            there = Signal(name=f"there_{hit.name}")
            m.d.sync += there.eq(here)
            m.d.comb += hit.eq(takes & there)

        for (name, index), hit in hits.items():
            decode(hit, self.address == BY_NAME[name].address + 4 * index)
        limit_hit = Signal()
        for name, hit in (*group_hits.items(), (_LIFETIME, limit_hit)):
            decode(hit, self.address[5:] == BY_NAME[name].address >> 5)

        self._banks(m, bank, word, hits)
        self._stores(m, bank, address, word, limit_hit, group_hits)
        none, unknown = self._suite(m, word, high, hits)
        self._checks(m, address, word, high, hits, group_hits, none, unknown)
        return m

    def _banks(self, m, bank, word, hits):
        """The registers of all banks, and the words of their records."""
        facts = Signal(SuiteView)
        with m.Switch(word[:_SUITE_BITS]):
            for suite, of_suite in SUITES.items():
                with m.Case(suite):
                    m.d.comb += facts.eq(_view(of_suite))
        plain = {"spi_in": "STAGE_SPI_IN", "ah_spi_in": "STAGE_AH_SPI_IN"}
        for n in range(ALL_BANKS):
            held = self.banks[n]
            is_staged = Signal(name=f"is_bank_{n}")
            m.d.comb += is_staged.eq(bank == n)
            for field, name in plain.items():
                with m.If(is_staged & hits[name, 0]):
                    m.d.sync += held[field].eq(word)
            with m.If(is_staged & hits["STAGE_SUITE", 0]):
                m.d.sync += held.protocol.eq(facts.protocol)
            with m.If(is_staged & hits["STAGE_FLAGS", 0]):
                m.d.sync += self.administrators[n].eq((word & SaFlag.ADMINISTRATOR).any())
            with m.If(self.wipe[n]):
                m.d.sync += [held.eq(0), self.administrators[n].eq(0)]
        write = self.record_write
        m.d.sync += [
            write.stb.eq(Cat(hits.values()).any()),
            write.bank.eq(bank),
            write.data.eq(word),
        ]
        place = 0
        for (name, index), hit in hits.items():
            number = BankWord[name.removeprefix("STAGE_")] + index
            place = place | Mux(hit, number, 0)
        m.d.sync += write.word.eq(place)
        with m.If(hits["STAGE_SUITE", 0]):
            m.d.sync += write.data.eq(facts)
        with m.If(hits["STAGE_FLAGS", 0]):
            m.d.sync += self.peer_v6.eq((word & SaFlag.IPV6).any())

    def _stores(self, m, bank, address, word, limit_hit, group_hits):
        """Keys and limits go on a cycle later."""
        index = address[2:5]
        key_out = group_hits["STAGE_KEY_OUT"]
        auth_hits = [group_hits[name] for name in _AUTH]
        m.d.sync += [
            self.key_write.stb.eq(group_hits["STAGE_KEY_IN"] | key_out),
            self.key_write.slot.eq(key_slot(bank, key_out)),
            self.key_write.index.eq(index),
            self.auth_write.stb.eq(Cat(auth_hits).any()),
            self.auth_write.slot.eq(
                auth_slot(bank, auth_hits[1] | auth_hits[3], auth_hits[2] | auth_hits[3])
            ),
            self.auth_write.index.eq(index),
            self.limit_write.stb.eq(limit_hit),
            self.limit_write.bank.eq(bank),
            self.limit_write.index.eq(index),
        ]
        late = Signal(32)
        m.d.sync += late.eq(word)
        m.d.comb += [
            write.data.eq(late) for write in (self.key_write, self.auth_write, self.limit_write)
        ]

    def _suite(self, m, word, high, hits):
        """What the staged suite has; returns whether it is 0, and whether spec.suites lacks it."""
        unknown, none = Signal(), Signal()
        with m.If(self.clear):
            m.d.sync += [self.needs.eq(0), unknown.eq(0), none.eq(1)]
        with m.Elif(hits["STAGE_SUITE", 0]):
            m.d.sync += [self.needs.eq(0), unknown.eq(1), none.eq(~(high | word[:8].any()))]
            with m.If(~(high | word[_SUITE_BITS:8].any())), m.Switch(word[:_SUITE_BITS]):
                for suite, facts in SUITES.items():
                    with m.Case(suite):
                        m.d.sync += [unknown.eq(0), self.needs.eq(_needs(facts, self._suites))]
        return none, unknown

    def _checks(self, m, address, word, high, hits, group_hits, none, unknown):
        """What was written, and whether it is enough and right."""
        needs = self.needs
        written = {where: Signal(name=f"has_{where[0].lower()}_{where[1]}") for where in _SCALARS}
        for where, flag in written.items():
            with m.If(self.clear):
                m.d.sync += flag.eq(0)
            with m.Elif(hits[where]):
                m.d.sync += flag.eq(1)
        lines = Signal(_KEY_WORDS)
        m.d.comb += lines.eq(1 << address[2:5])
        keys = {name: Signal(_KEY_WORDS, name=f"has_{name.lower()}") for name in group_hits}
        for name, flags in keys.items():
            for n in range(_KEY_WORDS):
                with m.If(self.clear):
                    m.d.sync += flags[n].eq(0)
                with m.Elif(group_hits[name] & lines[n]):
                    m.d.sync += flags[n].eq(1)

        flags_good = Signal()
        with m.If(hits["STAGE_FLAGS", 0]):
            m.d.sync += flags_good.eq(~(high | word[len(SaFlag) : 8].any()))
        has = {
            "scalars": Cat(written[name, 0] for name in _ALWAYS).all(),
            "outer": Cat(written[name, 0] for name in _OUTER).all()
            & Cat(keys[name] for name in _AUTH[2:]).all(),
            "ip6": Cat(written[where] for where in _PEER_IP6).all(),
            "key": Cat(keys[name][:4] for name in _KEYS).all(),
            "key_rest": Cat(keys[name][4:] for name in _KEYS).all(),
            "auth": Cat(keys[name][:5] for name in _AUTH[:2]).all(),
            "auth_rest": Cat(keys[name][5:] for name in _AUTH[:2]).all(),
        }
        parts = {}
        for name, value in has.items():
            parts[name] = Signal(name=f"all_{name}")
            m.d.sync += parts[name].eq(value)
        m.d.sync += [
            self.complete.eq(
                ~none
                & parts["scalars"]
                & (parts["outer"] | ~needs.outer)
                & (parts["ip6"] | ~self.peer_v6)
                & (parts["key"] | ~(needs.key | unknown))
                & (parts["key_rest"] | ~needs.aes256)
                & (parts["auth"] | ~needs.auth)
                & (parts["auth_rest"] | ~needs.auth | needs.sha_1)
            ),
            self.supported.eq(needs.built_in & flags_good),
        ]

        # Reserved SPIs are seen as they pass.
        free = {}
        unreserved = high | word[ESP_SPI_MIN.bit_length() - 1 : 8].any()
        for name in ("STAGE_SPI_IN", "STAGE_SPI_OUT", "STAGE_AH_SPI_IN", "STAGE_AH_SPI_OUT"):
            free[name] = Signal(name=f"free_{name.lower()}")
            with m.If(hits[name, 0]):
                m.d.sync += free[name].eq(unreserved)
        m.d.sync += self.spi_is_good.eq(
            free["STAGE_SPI_IN"]
            & free["STAGE_SPI_OUT"]
            & (~needs.outer | (free["STAGE_AH_SPI_IN"] & free["STAGE_AH_SPI_OUT"]))
        )


def _view(facts: SuiteFacts):
    return SuiteView.const(
        {
            "protocol": facts.protocol,
            "cipher": facts.cipher,
            "aes256": facts.key_octets == 32,
            "sha_1": facts.hash is Hash.SHA_1,
        }
    )


def _needs(facts: SuiteFacts, suites: tuple[Suite, ...]):
    return StageNeeds.const(
        {
            "key": facts.key_octets > 0,
            "aes256": facts.key_octets == 32,
            "auth": facts.hash is not Hash.NONE,
            "sha_1": facts.hash is Hash.SHA_1,
            "outer": facts.has_outer,
            "decrypt": facts.cipher is SuiteCipher.CBC,
            "built_in": facts.suite in suites,
        }
    )
