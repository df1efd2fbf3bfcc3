"""What the benches with generated frames share: actions to both sides, and clocks that agree."""

from typing import Any

import cocotb

from spec.counters import COUNTER_COUNT, Counter
from spec.sa import ACK_MS_DEFAULT, GRACE_MS_DEFAULT, BankState, SadResult
from verif.cocotb.nic_pair import NicPair
from verif.fuzz import Advance, BusWrite, Frame, ZeroiseInput
from verif.fuzz.generator import Generator
from verif.fuzz.sealing import Sa

MARGIN_MS = 1000
"""A packet moves a bank in the model at once, in the gateware once it was verified: so much later
may a timer of the SAD end there."""
TIMERS = {
    BankState.READY: ACK_MS_DEFAULT,
    BankState.ACTIVE: ACK_MS_DEFAULT,
    BankState.RETIRING: GRACE_MS_DEFAULT,
}


async def act(pair: NicPair, action: Any) -> None:
    """Does an action to both, and compares verdict, counters, frames and messages."""
    match action:
        case BusWrite("SA_COMMAND", _, value):
            result = await pair.registers.command(value)
            pair.sync()
            pair.model.bus_write("SA_COMMAND", value)
            said = SadResult(pair.model.bus_read("SA_RESULT"))
            assert result is said, f"command {value}: {result!r}, model {said!r}"
        case BusWrite(name, index, value):
            await pair.write(name, value, index)
        case Frame(octets, err):
            await clear_of_timers(pair)
            await pair.wire(octets, err=err)
        case ZeroiseInput(True):
            await pair.zeroise()
        case Advance(ms):
            await pair.pass_ms(ms)


async def clear_of_timers(pair: NicPair, margin_ms: int = MARGIN_MS) -> None:
    """Waits until no timer of the SAD ends while the next frames are under way."""
    pair.sync()
    for bank in pair.model.sad.banks:
        limit = TIMERS.get(bank.state)
        if limit is not None and bank.timer_ms > limit - margin_ms:
            await pair.pass_ms(limit - bank.timer_ms + margin_ms)


async def load(pair: NicPair, sa: Sa, *, beside: bool = False) -> None:
    """Makes an SA READY, `beside` that which is there or alone.

    The host then has the addresses of the generator.
    """
    if not beside:
        for action in Generator.empty():
            await act(pair, action)
    for write in sa.staging():
        await act(pair, BusWrite(*write))


async def whole(pair: NicPair) -> dict[Counter, int]:
    """All counters, which agree with the model's; each frame ended under exactly one."""
    await pair.bench.cycles(
        2 * COUNTER_COUNT
    )  # an event waits for its turn in the counters' memory
    counters = await pair.registers.counters()
    difference = await pair.differences()
    assert not difference, difference
    frames = counters[Counter.FRAMES_IN]
    assert frames == sum(counters.values()) - frames, counters
    return counters


def report(what: str, counters: dict[Counter, int]) -> None:
    """Prints what frames ended under."""
    ended = ", ".join(f"{c.name} {n}" for c, n in counters.items() if n and c)
    cocotb.log.info("RESULT %s: %d frames: %s", what, counters[Counter.FRAMES_IN], ended)
