"""Bench of a NIC without what a small board leaves out."""

from functools import partial
from typing import Any

import cocotb

from spec.host import HEARTBEAT_MAGIC, HEARTBEAT_STOP
from spec.pet import ALERT_SENDS, ALERT_SPACING_MS
from verif.cocotb.nic_pair import NicPair
from verif.model.nic import NicModel


@cocotb.test()
async def leaves_out(dut: Any) -> None:
    """ALERTS cannot be enabled, LIMITS says so, events are noted, and nothing is sent."""
    model = partial(NicModel, has_alerts=False, has_lifetimes=False, learns=False)
    pair = NicPair(dut, model=model)
    await pair.start()
    assert not await pair.read("LIMITS") >> 28 & 1
    for name, value in (("ALERTS", 0x003C0003), ("HOST_LEARN", 3), ("SA_LIFETIME", 0x301)):
        await pair.write(name, value)
        assert await pair.read(name) == 0
    station = await pair.proven()
    pair.answers.clear()
    for word in (HEARTBEAT_MAGIC, HEARTBEAT_STOP):
        await pair.write("HEARTBEAT", word)
        await pair.pass_ms(ALERT_SENDS * ALERT_SPACING_MS)
    assert await pair.read("EVENTS") & 0xFF > 2
    assert pair.answers == []
    await pair.works(station)
    await pair.finish()
