"""The SAD: staging and its refusals, the commit in its ways, and rules that always hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from spec.counters import Counter
from spec.host import HostEvent
from spec.registers import BY_NAME
from spec.sa import BankState, LifetimeWord, SadResult
from verif.model import NicModel
from verif.unit.model.support import (
    PING,
    STATION_IP,
    Sa,
    ip_number,
    nic,
    proven,
    ready,
    stage,
    verdict_of,
)
from verif.unit.model.support import states as words

EMPTY, STAGED, READY, ACTIVE, PROVEN, RETIRING = BankState
ACK_MS, GRACE_MS = 10_000, 2_000
A = Sa()
SPI_B = 0xC0DE0102


def states(model: NicModel) -> tuple[BankState, BankState]:
    a, b = words(model)
    return BankState(a), BankState(b)


def second() -> Sa:
    return Sa(spi_in=SPI_B, spi_out=0xC0DE0202, key_in=b"k" * 32, key_out=b"K" * 32)


def commit(spi: int) -> bytes:
    return bytes.fromhex(f"0600ff0600007ed980210004{spi:08x}")


def two(*, authorised: bool = False) -> tuple[NicModel, Sa, Sa]:
    """Bank A PROVEN, bank B READY."""
    model, old, new = nic(), Sa(), second()
    proven(model, old)
    if authorised:
        model.bus_write("POLICY", 1)
    assert ready(model, new) == SadResult.OK
    assert states(model) == (PROVEN, READY)
    return model, old, new


@pytest.mark.parametrize(
    ("authorised", "older", "context", "result"),
    [
        (True, False, 0, SadResult.FORBIDDEN),
        (True, False, 1, SadResult.FORBIDDEN),
        (True, True, 1, SadResult.FORBIDDEN),
        (True, True, 0, SadResult.OK),
        (False, False, 0, SadResult.OK),
        (False, False, 1, SadResult.OK),
    ],
)
def test_an_administrator_follows_an_administrator_alone(
    authorised: bool, older: bool, context: int, result: SadResult
) -> None:
    model = nic()
    model.bus_write("POLICY", int(authorised))
    proven(model, Sa(administrator=older))
    model.bus_write("SA_CONTEXT", context)
    assert ready(model, replace(second(), administrator=True)) == result
    if result is SadResult.FORBIDDEN:
        assert ready(model, second()) == SadResult.OK  # an operator's


def test_first_sa_is_proven_by_its_first_packet() -> None:
    model, sa = nic(), Sa()
    assert model.bus_read("SA_RESULT") == SadResult.NONE
    stage(model, sa)
    assert states(model) == (STAGED, EMPTY)
    model.wire_receive(sa.message(PING))
    assert verdict_of(model) is Counter.PASSED  # a half-written bank verifies nothing
    model.bus_write("SA_COMMAND", 2)
    assert states(model) == (READY, EMPTY)
    model.wire_receive(sa.message(PING))
    assert states(model) == (PROVEN, EMPTY)


def test_commit_in_two_phases() -> None:
    model, old, new = two(authorised=True)
    model.wire_receive(new.message(PING))
    assert verdict_of(model) is Counter.DROP_UNKNOWN_SPI
    (answer,) = model.wire_receive(old.message(commit(SPI_B)))
    assert new.opened(answer, number=1).hex() == "0600ff0600007ed940210008c0de010200000000"
    assert states(model) == (PROVEN, ACTIVE)
    (answer,) = model.wire_receive(old.message(commit(SPI_B)))  # the answer was lost: asked again
    assert new.opened(answer, number=2)[16] == 0
    model.wire_receive(old.message(PING))
    assert verdict_of(model) is Counter.DELIVERED  # the old one goes on
    model.wire_receive(new.message(PING))
    assert states(model) == (RETIRING, PROVEN)
    model.wire_receive(old.message(PING))
    assert verdict_of(model) is Counter.DELIVERED
    (answer,) = model.wire_receive(old.message(commit(SPI_B)))
    assert new.opened(answer, number=4)[16] == 0
    model.advance(GRACE_MS - 1)
    assert states(model) == (RETIRING, PROVEN)
    model.advance(1)
    assert states(model) == (EMPTY, PROVEN)
    model.wire_receive(old.message(PING))
    assert verdict_of(model) is Counter.DROP_UNKNOWN_SPI


def test_implicit_commit_where_policy_allows() -> None:
    model, _, new = two()
    model.wire_receive(new.message(PING))
    assert states(model) == (RETIRING, PROVEN)


def test_commit_of_the_bank_that_asks_and_of_an_unknown_one() -> None:
    model, old, new = two()
    (answer,) = model.wire_receive(old.message(commit(0x12345678)))
    assert old.opened(answer, number=2).hex() == "0600ff0600007ed9402100081234567801000000"
    (answer,) = model.wire_receive(new.message(commit(SPI_B)))
    assert new.opened(answer, number=1)[16] == 0
    assert states(model) == (RETIRING, PROVEN)
    (answer,) = model.wire_receive(old.message(commit(old.spi_in)))  # retiring: no longer there
    assert old.opened(answer, number=3)[16] == 1


def test_unacknowledged_bank_rolls_back() -> None:
    model, old, _ = two()
    model.advance(ACK_MS - 1)
    assert states(model) == (PROVEN, READY)
    model.advance(1)
    assert states(model) == (PROVEN, EMPTY)
    model.wire_receive(old.message(PING))
    assert verdict_of(model) is Counter.DELIVERED


def test_commit_restarts_the_acknowledge_timer_once() -> None:
    model, old, _ = two(authorised=True)
    model.advance(ACK_MS - 1)
    model.wire_receive(old.message(commit(SPI_B)))
    model.advance(ACK_MS - 1)
    assert states(model) == (PROVEN, ACTIVE)
    model.wire_receive(old.message(commit(SPI_B)))
    model.advance(1)
    assert states(model) == (PROVEN, EMPTY)


def test_stage_needs_a_free_bank() -> None:
    model, old, new = two()
    model.bus_write("SA_COMMAND", 1)
    assert model.bus_read("SA_RESULT") == SadResult.BUSY
    model.wire_receive(new.message(PING))
    model.bus_write("SA_COMMAND", 1)
    assert model.bus_read("SA_RESULT") == SadResult.BUSY
    assert states(model) == (RETIRING, PROVEN)
    model.advance(GRACE_MS)
    assert ready(model, old) == SadResult.OK
    assert states(model) == (READY, PROVEN)


def test_stage_again_begins_anew() -> None:
    model = nic()
    stage(model, Sa())
    model.bus_write("SA_COMMAND", 1)
    assert states(model) == (STAGED, EMPTY)
    assert model.bus_read("SA_SPI_IN") == 0
    model.bus_write("SA_COMMAND", 2)
    assert model.bus_read("SA_RESULT") == SadResult.INCOMPLETE


@pytest.mark.parametrize(
    "left_out",
    [
        (f"STAGE_{name}", i)
        for name, words in (
            ("SPI_IN", 1),
            ("SPI_OUT", 1),
            ("SUITE", 1),
            ("FLAGS", 1),
            ("PEER_IP", 1),
            ("SALT_IN", 1),
            ("SALT_OUT", 1),
            ("RX_SEQ_HI", 1),
            ("RX_SEQ_LO", 1),
            ("TX_SEQ_HI", 1),
            ("TX_SEQ_LO", 1),
            ("KEY_IN", 4),
            ("KEY_OUT", 4),
        )
        for i in range(words)
    ],
)
def test_ready_needs_every_register(left_out: tuple[str, int]) -> None:
    complete, model = nic(), nic()
    stage(complete, A)
    model.bus_write("SA_COMMAND", 1)
    for (name, index), value in complete.sad.banks[0].staged.items():
        if (name, index) != left_out:
            model.bus_write(name, value, index)
    model.bus_write("SA_COMMAND", 2)
    assert model.bus_read("SA_RESULT") == SadResult.INCOMPLETE
    assert states(model) == (STAGED, EMPTY)
    model.bus_write(left_out[0], complete.sad.banks[0].staged[left_out], left_out[1])
    model.bus_write("SA_COMMAND", 2)
    assert model.bus_read("SA_RESULT") == SadResult.OK


@pytest.mark.parametrize(
    ("register", "value", "result"),
    [
        ("STAGE_SUITE", 0, SadResult.INCOMPLETE),
        ("STAGE_SUITE", 2, SadResult.INCOMPLETE),
        ("STAGE_SUITE", 3, SadResult.INCOMPLETE),
        ("STAGE_SUITE", 20, SadResult.UNSUPPORTED),
        ("STAGE_SUITE", 0x101, SadResult.UNSUPPORTED),
        ("STAGE_FLAGS", 16, SadResult.UNSUPPORTED),
        ("STAGE_FLAGS", 0x80000001, SadResult.UNSUPPORTED),
        ("STAGE_SPI_IN", 255, SadResult.BAD_SPI),
        ("STAGE_SPI_OUT", 0, SadResult.BAD_SPI),
        ("STAGE_SPI_IN", 256, SadResult.OK),
    ],
)
def test_ready_refuses(register: str, value: int, result: SadResult) -> None:
    model = nic()
    stage(model, A)
    model.bus_write(register, value)
    model.bus_write("SA_COMMAND", 2)
    assert model.bus_read("SA_RESULT") == result


def test_ready_refuses_the_other_banks_spi() -> None:
    model = nic()
    proven(model, Sa())
    assert ready(model, Sa(key_in=b"x" * 16)) == SadResult.BAD_SPI
    assert states(model) == (PROVEN, STAGED)


def test_abort_and_unknown_commands() -> None:
    model, _, _ = two()
    model.bus_write("SA_COMMAND", 3)
    assert (model.bus_read("SA_RESULT"), states(model)) == (SadResult.OK, (PROVEN, EMPTY))
    model.bus_write("SA_COMMAND", 3)
    assert (model.bus_read("SA_RESULT"), states(model)) == (SadResult.OK, (PROVEN, EMPTY))
    model.bus_write("SA_COMMAND", 9)
    assert model.bus_read("SA_RESULT") == SadResult.UNKNOWN


def test_zeroise_empties_everything_and_opens_policy() -> None:
    model, old, _ = two(authorised=True)
    model.set_pins(zeroise=True)
    assert states(model) == (EMPTY, EMPTY)
    model.bus_write("POLICY", 3)
    assert model.bus_read("POLICY") == 0
    model.bus_write("SA_COMMAND", 1)
    assert model.bus_read("SA_RESULT") == SadResult.BUSY
    model.set_pins(zeroise=False)
    assert ready(model, old) == SadResult.OK


class Lives(RuleBasedStateMachine):
    """Bus writes, packets and time in any order, against the rules of the design."""

    def __init__(self) -> None:
        super().__init__()
        self.nic = nic()
        self.sas: dict[int, Sa] = {}
        self.spi = 0xC0DE0000
        self.zeroised = False
        self.replaced = False
        self.before = [(EMPTY, 0), (EMPTY, 0)]

    def banks(self) -> list[tuple[BankState, int]]:
        return [(s, self.nic.bus_read("SA_SPI_IN", i)) for i, s in enumerate(states(self.nic))]

    @rule(same=st.booleans())
    def ready_sa(self, same: bool) -> None:
        self.spi += not same
        sa = Sa(spi_in=self.spi, spi_out=self.spi | 1 << 24, key_in=self.spi.to_bytes(16, "big"))
        if ready(self.nic, sa) == SadResult.OK:
            self.sas[self.spi] = sa

    @rule(
        register=st.sampled_from([r.name for r in BY_NAME.values()]),
        value=st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)),
    )
    def any_write(self, register: str, value: int) -> None:
        if register not in ("HOST_IP", "HOST_MAC_HI", "HOST_MAC_LO", "ENTERPRISE"):
            self.nic.bus_write(register, value)

    @precondition(lambda self: self.sas)
    @rule(data=st.data())
    def packet(self, data: st.DataObject) -> None:
        sa = data.draw(st.sampled_from(list(self.sas.values())))
        target = data.draw(st.sampled_from([None, *self.sas]))
        number = self._state_of(sa.spi_in)
        self.nic.wire_receive(sa.message(PING if target is None else commit(target)))
        if number in (ACTIVE, READY) and self._state_of(sa.spi_in) is PROVEN:
            self.replaced = True

    def _state_of(self, spi: int) -> BankState | None:
        return next((state for state, own in self.banks() if own == spi), None)

    @rule(ms=st.sampled_from([1, 500, GRACE_MS, ACK_MS]))
    def time(self, ms: int) -> None:
        self.nic.advance(ms)

    @rule()
    def zeroise(self) -> None:
        self.nic.set_pins(zeroise=True)
        self.nic.set_pins(zeroise=False)
        self.zeroised = True

    @invariant()
    def a_proven_sa_goes_only_by_a_newer_one_or_zeroise(self) -> None:
        for (old, spi), (new, now) in zip(self.before, self.banks(), strict=True):
            if old is PROVEN and not self.zeroised:
                assert now == spi
                assert new is PROVEN or (new is RETIRING and self.replaced)
        self.before, self.zeroised, self.replaced = self.banks(), False, False

    @invariant()
    def states_together(self) -> None:
        held = states(self.nic)
        assert held.count(PROVEN) <= 1
        assert sum(state in (STAGED, READY, ACTIVE) for state in held) <= 1
        if RETIRING in held:
            assert PROVEN in held

    @invariant()
    def nothing_secret_is_read(self) -> None:
        for address in range(0x100, 0x180, 4):
            assert self.nic.bus_read(address) == 0

    @invariant()
    def every_frame_is_counted_once(self) -> None:
        counts = [self.nic.bus_read("COUNTERS", i) for i in range(len(Counter))]
        assert counts[0] == sum(counts[1:])


Lives.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLives = Lives.TestCase


def test_peer_counts_once_its_bank_is_complete() -> None:
    model = nic()
    stage(model, A)
    assert not model.sad.is_peer(False, ip_number(STATION_IP))
    model.bus_write("SA_COMMAND", 2)
    assert model.sad.is_peer(False, ip_number(STATION_IP))


def test_rfc4301_4_4_2_1_a_hard_limit_ends_every_bank_but_the_proven_one() -> None:
    model, old, new = nic(), Sa(), second()
    stage(model, old)
    for word, limit in ((LifetimeWord.SOFT_PACKETS_LO, 2), (LifetimeWord.HARD_OCTETS_LO, 60)):
        model.bus_write("STAGE_LIFETIME", limit, word)
    model.bus_write("SA_COMMAND", 2)
    for packets in range(1, 6):
        assert len(model.wire_receive(old.message(PING))) == 1
        counts = []
        for which in (0, 1 << 9, 1 << 8, 1 << 9 | 1 << 8):
            model.bus_write("SA_LIFETIME", which)
            counts.append(model.bus_read("SA_LIFETIME_LO"))
        # UDP with a ping of 12 octets and a pong of 28, padding and trailer.
        assert counts == [packets, 24 * packets, packets, 40 * packets]
        limits = model.bus_read("SA_STATUS") >> 9
        assert limits == (0b0101 if packets > 1 else 0)
    kinds = [event.kind for event in model.log.since(0)]
    assert kinds.count(HostEvent.SOFT_LIMIT) == kinds.count(HostEvent.HARD_LIMIT) == 1
    assert states(model) == (PROVEN, EMPTY)

    stage(model, new)
    model.bus_write("STAGE_LIFETIME", 1, LifetimeWord.HARD_PACKETS_LO)
    model.bus_write("SA_COMMAND", 2)
    (answer,) = model.wire_receive(old.message(commit(SPI_B)))
    assert new.opened(answer, number=1)[16] == 0
    assert states(model) == (PROVEN, EMPTY)
    assert ready(model, new) == SadResult.OK
    model.wire_receive(new.message(PING))
    assert states(model) == (EMPTY, PROVEN)  # no grace
