"""Bench of the whole NIC beside the model: hostile frames of every form, group by group.

After each frame its verdict, frames to the host and to the wire, and messages are those of the
model; after each form a command is still carried out and acknowledged.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import cocotb

from spec.counters import Counter
from verif.cocotb.drivers import bench_parameters
from verif.cocotb.nic_fuzz import clear_of_timers, load, report, whole
from verif.cocotb.nic_pair import NicPair
from verif.fuzz import hostile
from verif.fuzz.forms import FORMS, PAIRS, Form, all_forms, build, reset
from verif.fuzz.hostile import Hostile
from verif.fuzz.sealing import SUITES, Sa

BATCH = 16
"""Frames between two looks at all counters."""
PARAMETERS = bench_parameters()
SUITE = PARAMETERS.get("suite")
"""All of the table, for this suite; None: as much as there is time for in a run of all tests."""


class Attack:
    """A NIC, and hostile frames that were sent to it."""

    def __init__(self, dut: Any) -> None:
        self.pair = NicPair(dut)
        self.forms = 0
        self.rng = self.pair.rng

    async def send(self, what: object, frames: Iterator[Hostile]) -> None:
        """Sends frames one by one; all that each causes is what the model says."""
        for number, frame in enumerate(frames):
            await clear_of_timers(self.pair)
            try:
                await self.pair.wire(frame.octets)
                if number % BATCH == 0:
                    await whole(self.pair)
            except AssertionError as error:
                raise AssertionError(f"{what}, {frame.name}: {error}") from error

    async def works(self, form: Form, sa: Sa) -> None:
        """A right command is carried out and acknowledged; nothing before it moved a pin."""
        self.pair.no_pin_moved()
        answers = await self.pair.wire(build(form, sa, reset(self.forms)), Counter.DELIVERED)
        assert len(answers) == 1, f"{form}: {len(answers)} answers"
        assert await self.pair.pulses() == ["reset"]
        await whole(self.pair)
        self.forms += 1

    async def by_form(self, make: Callable[[Form, Sa], Iterator[Hostile]]) -> None:
        """Sends what `make` makes of each form, under an SA of its own."""
        await self.pair.start()
        for form in FORMS if SUITE is None else all_forms(SUITE):
            sa = form.sa(self.rng.getrandbits(32))
            await load(self.pair, sa)
            await self.pair.wire(build(form, sa), Counter.DELIVERED)
            await self.send(form, make(form, sa))
            await self.works(form, sa)

    async def finish(self, name: str) -> None:
        """The end of a group."""
        await self.pair.finish()
        report(f"hostile {name}, {self.forms} forms", await whole(self.pair))


@cocotb.test()
async def truncated(dut: Any) -> None:
    """Cut at each octet."""
    attack = Attack(dut)
    await attack.by_form(hostile.truncated)
    await attack.finish("truncated")


@cocotb.test()
async def changed(dut: Any) -> None:
    """Each octet changed."""
    attack = Attack(dut)
    count = 1 if SUITE is None else None
    rng = random.Random(attack.rng.random())
    await attack.by_form(lambda form, sa: hostile.changed(form, sa, rng, count))
    await attack.finish("changed")


@cocotb.test()
async def lengths(dut: Any) -> None:
    """Lengths and next headers that lie."""
    attack = Attack(dut)
    await attack.by_form(hostile.lengths)
    await attack.finish("lengths")


@cocotb.test()
async def icvs(dut: Any) -> None:
    """ICVs too short and too long."""
    attack = Attack(dut)
    await attack.by_form(hostile.icvs)
    await attack.finish("ICVs")


@cocotb.test()
async def endless(dut: Any) -> None:
    """Chains of extension headers, and VLAN tags, without end."""
    attack = Attack(dut)
    await attack.pair.start()
    forms = [Form(2, v6=True), Form(15, v6=True, inside=4)]
    if SUITE is not None:
        forms = [Form(SUITE, v6=True), Form(SUITE, v6=True, inside=6, between="all")]
    for number, form in enumerate(forms):
        sa = form.sa(attack.rng.getrandbits(32))
        await load(attack.pair, sa)
        await attack.pair.wire(build(form, sa), Counter.DELIVERED)
        await attack.send(form, hostile.chains(form, sa))
        await attack.works(form, sa)
        if not number or SUITE is not None:
            await attack.send(form, hostile.tagged(form, sa, 4 if SUITE is None else 1))
            await attack.works(form, sa)
    await attack.finish("endless")


@cocotb.test()
async def solicitations(dut: Any) -> None:
    """Neighbour solicitations while the host is down, spoiled in every place; some are answered."""
    attack = Attack(dut)
    form = Form(1 if SUITE is None else SUITE, v6=True)
    await attack.pair.start()
    sa = form.sa(attack.rng.getrandbits(32))
    await load(attack.pair, sa)
    await attack.pair.wire(build(form, sa), Counter.DELIVERED)
    rng = random.Random(attack.rng.random())
    await attack.send("solicitation", hostile.solicitations(1 if SUITE is None else None, rng))
    answers = len(attack.pair.answers) - 1
    assert answers > len(hostile.OPTIONS_OF_NEIGHBOURS), answers
    await attack.works(form, sa)
    await attack.finish(f"solicitations, {answers} answered")


@cocotb.test()
async def crossed(dut: Any) -> None:
    """SPIs, keys and numbers of two SAs mixed."""
    attack = Attack(dut)
    await attack.pair.start()
    pairs = PAIRS if SUITE is None else [(SUITE, other) for other in SUITES if other < 16]
    for number, suites in enumerate(pairs):
        v6 = number % 2 == 1
        forms = Form(suites[0], v6=v6), Form(suites[1], v6=v6, inside=4 if number % 3 else 0)
        sas = forms[0].sa(attack.rng.getrandbits(32)), forms[1].sa(number, 0xC0DE0300)
        await load(attack.pair, sas[0])
        await attack.pair.wire(build(forms[0], sas[0]), Counter.DELIVERED)
        await load(attack.pair, sas[1], beside=True)
        await attack.send(suites, hostile.crossed(forms, sas))
        await attack.works(forms[0], sas[0])
        await attack.works(forms[1], sas[1])
    await attack.finish("crossed")
