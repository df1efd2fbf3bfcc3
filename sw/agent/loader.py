"""Brings one negotiated SA into the NIC: step 41 of the seed's figure 5.

SEC: AGENT.KEYS_FORGOTTEN. Whatever comes of it, the event's secrets and the buffers that the driver
wrote from hold zeros afterwards. (What Python copied on the way, to hand octets over, is freed.)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from ipaddress import IPv4Address

from spec.rmcp import Role
from sw.agent.nic import AgentNic
from sw.ike.events import ChildSaEstablished
from sw.nic import UNLIMITED, Lifetime, NicError, SadBusyError, StagedSa

LOG = logging.getLogger("holdfast.agent")
BUSY_PAUSE_S = 0.1


def staged_from(
    event: ChildSaEstablished,
    *,
    role: Role = Role.OPERATOR,
    context: int = 0,
    lifetime: Lifetime = UNLIMITED,
) -> StagedSa:
    """The SA of a station of this role and context, with these limits, as the NIC takes it.

    The secrets of the event are wiped, whatever comes of it.
    Raises ValueError for what no NIC takes.
    """
    buffers: list[bytearray] = []
    try:
        buffers += [bytearray(secret.reveal()) for secret in event.secrets]
        key_in, salt_in, auth_in, key_out, salt_out, auth_out = buffers
        return StagedSa(
            spi_in=event.spi_in,
            spi_out=event.spi_out,
            suite=event.suite,
            peer_ip=IPv4Address(event.address.host),
            key_in=key_in,
            key_out=key_out,
            salt_in=salt_in,
            salt_out=salt_out,
            auth_in=auth_in,
            auth_out=auth_out,
            esn=event.esn,
            context=context,
            role=role,
            lifetime=lifetime,
        )
    except ValueError:
        for buffer in buffers:
            buffer[:] = bytes(len(buffer))
        raise
    finally:
        event.wipe()


async def load(
    nic: AgentNic,
    sa: StagedSa,
    *,
    busy_timeout_s: float,
    time: Callable[[], float],
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Load an SA and make it READY; tries again while no bank is free. Wipes its keys.

    Raises NicError, also once the SA is no longer `wanted`: then the NIC holds nothing of it, and
    the SA that worked goes on.
    """
    until = time() + busy_timeout_s
    try:
        while True:
            try:
                await _to_the_end(nic.call(lambda driver: driver.stage_sa(sa)))
                return
            except SadBusyError as error:
                if time() >= until or not wanted():
                    raise
                LOG.debug("SA %#010x waits: %s", sa.spi_in, error)
            await asyncio.sleep(BUSY_PAUSE_S)
            if not wanted():
                raise SadBusyError("a newer SA was negotiated, or the station gave it up")
    except NicError as error:
        LOG.warning("SA %#010x was not loaded: %s", sa.spi_in, error)
        raise
    finally:
        sa.wipe()


async def _to_the_end(work: Coroutine[object, object, None]) -> None:
    """Wait for the driver even when cancelled: keys must not be wiped while it writes them."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    error = task.exception()
    if cancelled:
        raise asyncio.CancelledError
    if error is not None:
        raise error
