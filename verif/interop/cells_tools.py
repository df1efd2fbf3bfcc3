"""Cells: Debian's ipmitool and rmcpping, as they are, in the guest and against the NIC."""

from __future__ import annotations

import asyncio
import re

from spec.suites import Suite
from verif.interop.cells import World, cell
from verif.interop.cells_chain import PORT, ChainLine, accounted, dropped, linked, ping, reset
from verif.interop.guest import Guest
from verif.interop.lan import HOST
from verif.interop.ours import SECURE_PORT

PINGS = 3
TOOL_SECONDS = 60.0


async def _run(guest: Guest, *words: str) -> str:
    """A command's output of both kinds; its exit code does not count."""
    done = await asyncio.to_thread(guest.request, "run", argv=list(words), timeout=TOOL_SECONDS)
    return str(done["out"] + done["err"])


async def _pongs(guest: Guest) -> int:
    """How many pongs rmcpping gets on its port, 623."""
    told = await _run(guest, "rmcpping", "-c", str(PINGS), "-t", "1", HOST)
    found = re.search(rf"{PINGS} pings transmitted, (\d+) pongs received", told)
    assert found, told
    return int(found.group(1))


async def _ipmitool(guest: Guest, port: int) -> str:
    """What ipmitool says while it looks for IPMI: first of all it sends a Presence Ping."""
    words = f"ipmitool -I lan -H {HOST} -p {port} -U nobody -P none -vvvv -R 1 -N 1 mc info"
    return await _run(guest, *words.split())


def _saw_pong(told: str) -> None:
    for line in (
        "Received IPMI/RMCP response packet",
        "IPMI NOT Supported",
        "ASF Version 1.0",
        "RMCP Version 1.0",
        "IANA Enterprise 4542",
    ):
        assert line in told, told


@cell("NIC, presence in clear until an SA is proven", peer="freeipmi", board=True)
async def _clear_presence(world: World) -> None:
    with world.lan.chain() as chain:
        chain.set_host_address()
        assert await _pongs(world.guest) == PINGS
        assert not dropped(chain.nic)
    async with linked(world, ChainLine(Suite.ESP_AES_GCM_16_256)) as link:
        await link.ping()
        # All of the guest's UDP to the host would go under the SA.
        world.guest.run("ip xfrm policy flush")
        assert await _pongs(world.guest) == 0
        assert dropped(link.nic) == {"DROP_CLEAR_POLICY": PINGS}
        for data in (ping(1), reset(2)):
            answers = await asyncio.to_thread(
                world.guest.converse, (HOST, SECURE_PORT), data, port=PORT, count=1, timeout=0.5
            )
            assert not answers
        assert dropped(link.nic) == {"DROP_CLEAR_POLICY": PINGS, "DROP_CLEAR_PROTECTED": 2}
        assert link.chain.pins.rises("reset") == 0
        await accounted(link.nic)


@cell("NIC, presence in clear", peer="ipmitool", quick=False, board=True)
async def _clear_ipmitool(world: World) -> None:
    with world.lan.chain() as chain:
        chain.set_host_address()
        _saw_pong(await _ipmitool(world.guest, 623))
        # Its next message is IPMI's.
        assert dropped(chain.nic) == {"DROP_RMCP_UNKNOWN": 1}


@cell("NIC, presence under ESP", peer="ipmitool", board=True)
async def _secured_ipmitool(world: World) -> None:
    async with linked(world, ChainLine(Suite.ESP_AES_GCM_16_128)) as link:
        _saw_pong(await _ipmitool(world.guest, SECURE_PORT))
        assert dropped(link.nic) == {"DROP_RMCP_UNKNOWN": 1}
        use = link.use()
        assert (use.received_packets, use.sent_packets) == (2, 1)
