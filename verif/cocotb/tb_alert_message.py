"""Bench of the message of an alert, against the model's, which is written another way."""

from typing import Any

import cocotb
from scapy.layers.snmp import SNMP, SNMPtrapv1

from spec.host import HostEvent, HostState
from verif.cocotb.drivers import Bench
from verif.model.host import Event
from verif.model.pet import trap

TICKS_AT, TICKS_OCTETS, WHOLE = 42, 5, 112
SETTLE_CYCLES = 8
MESSAGES = 300


async def octets_of(bench: Bench) -> bytes:
    """The whole message, as the builder reads it: without what the time stamp leaves out."""
    dut = bench.dut
    ticks = int(dut.ticks_octets.value)
    wanted = [*range(TICKS_AT + ticks), *range(TICKS_AT + TICKS_OCTETS, WHOLE)]
    message = bytearray()
    for cycle, index in enumerate([*wanted, 0, 0]):
        dut.index.value = index
        await bench.settled()
        if cycle >= 2:
            message.append(int(dut.data.value))
        await bench.cycles()
    assert int(dut.octets.value) == len(message)
    return bytes(message)


@cocotb.test()
async def is_a_trap(dut: Any) -> None:
    """Every kind after every other, every length of the time stamp."""
    bench = Bench(dut)
    rng = bench.rng
    for name in ("begin", "index", "kind", "state", "before", "code", "sequence"):
        getattr(dut, name).value = 0
    await bench.reset()
    lengths = set()
    for _ in range(MESSAGES):
        kind = rng.choice(list(HostEvent))
        state, before = (rng.choice(list(HostState)) for _ in range(2))
        code, sequence = rng.randrange(256), rng.randrange(1 << 16)
        bits = rng.choice([0, 1, 7, 8, 15, 16, 23, 24, 31, 32])
        uptime = rng.randrange(1 << bits >> 1, 1 << bits) if bits else 0
        agent, enterprise = rng.getrandbits(32), rng.getrandbits(32)
        for name, value in (
            *(("kind", kind), ("state", state), ("before", before), ("code", code)),
            *(("sequence", sequence), ("uptime", uptime)),
            *(("agent", agent), ("enterprise", enterprise)),
        ):
            getattr(dut, name).value = int(value)
        dut.begin.value = 1
        await bench.cycles()
        dut.begin.value = 0
        await bench.cycles(SETTLE_CYCLES)
        message = await octets_of(bench)
        event = Event(0, kind, state, before, code)
        assert message == trap(event, sequence, uptime, agent, enterprise)
        told = SNMP(message)
        assert bytes(told) == message, "scapy encodes it otherwise"
        pdu = told[SNMPtrapv1]
        assert pdu.time_stamp.val == uptime
        assert pdu.agent_addr.val == ".".join(map(str, agent.to_bytes(4, "big")))
        assert (pdu.enterprise.val, pdu.generic_trap.val) == ("1.3.6.1.4.1.3183.1.1", 6)
        (variable,) = pdu.varbindlist
        assert variable.oid.val == "1.3.6.1.4.1.3183.1.1.1"
        assert len(variable.value.val) == 47
        lengths.add(len(message))
    assert lengths == {108, 109, 110, 111, 112}
    await bench.finish()
