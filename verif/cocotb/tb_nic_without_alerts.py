"""Bench of a NIC that is built without alerts."""

from typing import Any

import cocotb

from spec.host import HEARTBEAT_MAGIC, HEARTBEAT_STOP
from spec.pet import ALERT_SENDS, ALERT_SPACING_MS
from verif.cocotb.nic_pair import NicPair


@cocotb.test()
async def events_and_no_alert(dut: Any) -> None:
    """ALERTS cannot be enabled, LIMITS says so, events are noted, and nothing is sent."""
    pair = NicPair(dut, has_alerts=False)
    await pair.start()
    assert not await pair.read("LIMITS") >> 28 & 1
    await pair.write("ALERTS", 0x003C0003)
    assert await pair.read("ALERTS") == 0
    station = await pair.proven()
    pair.answers.clear()
    for word in (HEARTBEAT_MAGIC, HEARTBEAT_STOP):
        await pair.write("HEARTBEAT", word)
        await pair.pass_ms(ALERT_SENDS * ALERT_SPACING_MS)
    assert await pair.read("EVENTS") & 0xFF > 2
    assert pair.answers == []
    await pair.works(station)
    await pair.finish()
