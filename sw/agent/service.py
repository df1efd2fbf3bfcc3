"""The agent: answers IKE, loads each SA into the NIC, says so, and keeps the heartbeat.

Each station has a context of the NIC to itself: what becomes of one's SAs touches no other's.

It holds no key once an SA is loaded, and needs none when the OS starts again: the NIC goes on with
the SA that worked.

Source: seed, figure 5, steps 40 to 42; the rest of that figure is the NIC's.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from spec.suites import Suite
from sw.agent.loader import load, staged_from
from sw.agent.nic import AgentNic
from sw.config import (
    GROUP_NAMES,
    ROLE_NAMES,
    SUITE_NAMES,
    AgentConfig,
    ServedStation,
    ike_policy,
    read_psk,
)
from sw.credentials import load_certificates
from sw.identity import parse_identity
from sw.ike.config import EndpointConfig, Peer, Timing, host_child_policy
from sw.ike.endpoint import IkeEndpoint
from sw.ike.events import (
    ChildSaDeleted,
    ChildSaEstablished,
    ChildSaReadyDelivered,
    Event,
    ExchangeFailed,
    IkeSaClosed,
    IkeSaEstablished,
)
from sw.ike_shell import IkeShell
from sw.nic import Lifetime, NicError, RegisterTransport

LOG = logging.getLogger("holdfast.agent")
CLOSE_WAIT_S = 1.0
"""How long an orderly stop waits for the station to take leave."""


def endpoint_config(config: AgentConfig) -> EndpointConfig:
    """IKE as the configuration wants it."""
    return EndpointConfig(
        ike=ike_policy(config),
        timing=Timing(retransmit_first=config.ike_retransmit_s, sends=config.ike_sends),
        ike_port=config.ike_port,
        natt_port=config.natt_port,
    )


def station_peers(config: AgentConfig) -> list[Peer]:
    """The stations, and the Child SAs that they may have; raises ConfigError."""
    child = replace(
        host_child_policy(),
        suites=wanted_suites(config),
        groups=tuple(GROUP_NAMES[name] for name in config.groups),
        additional=ike_policy(config).additional,
    )
    certificates = load_certificates(config)
    return [
        Peer(
            identity=parse_identity(station.identity),
            local_identity=parse_identity(config.identity),
            psk=read_psk(station.psk_file) if station.psk_file else None,
            child=child,
            certificates=None if station.psk_file else certificates,
        )
        for station in config.stations
    ]


def wanted_suites(config: AgentConfig) -> tuple[Suite, ...]:
    """The suites that the configuration allows, preferred first."""
    return tuple(SUITE_NAMES[name] for name in config.suites)


@dataclass(slots=True)
class _Load:
    """An SA on its way into the NIC, and whose it is."""

    station: ServedStation
    task: asyncio.Task[None]


class Agent:
    """The agent of one host.

    Parameters
    ----------
    config : AgentConfig
        Table `[agent]`.
    connect : callable
        Gives the way to the NIC's registers.
    """

    def __init__(self, config: AgentConfig, connect: Callable[[], RegisterTransport]) -> None:
        self._config = config
        self._nic = AgentNic(config, connect)
        self._shell: IkeShell | None = None
        self._stations = {parse_identity(one.identity): one for one in config.stations}
        self._of_connection: dict[int, ServedStation] = {}
        self._loads: dict[int, _Load] = {}
        self._unwanted: set[int] = set()
        self._superseded: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heart: asyncio.Task[None] | None = None
        self.loaded = 0
        """SAs brought into the NIC since the start."""

    async def start(self) -> None:
        """Open NIC and sockets, and begin the heartbeat.

        Raises NicError, sw.ipsec.DataPlaneError, sw.config.ConfigError.
        """
        config = self._config
        # The NIC is left as it is when the configuration is of no use.
        peers = station_peers(config)
        suites = await self._nic.suites(wanted_suites(config))
        await self._nic.require_contexts(1 + max(one.context for one in config.stations))
        endpoint = IkeEndpoint(rng=secrets.token_bytes, config=endpoint_config(config))
        for peer in peers:
            endpoint.add_peer(replace(peer, child=replace(peer.child, suites=suites)))
        self._shell = IkeShell(endpoint, self._on_event)
        await self._shell.open(IPv4Address(config.address), config.ike_port, config.natt_port)
        self._heart = asyncio.create_task(self._beat())
        LOG.info("agent %s answers IKE on %s", config.identity, config.address)

    async def stop(self) -> None:
        """Take leave of the station, tell the NIC, and close everything."""
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.gather(self._heart, return_exceptions=True)
        # One that is being written is finished, one that waits for a bank is given up.
        loads = [load.task for load in self._loads.values()]
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, *self._tasks, return_exceptions=True)
        if self._shell is not None:
            await self._shell.leave(CLOSE_WAIT_S)
            self._shell.close()
        await self._nic.stop()
        LOG.info("agent stopped")

    async def _beat(self) -> None:
        """The heartbeat, for as long as the agent lives; goes on when the NIC was away."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        failing = False
        while True:
            try:
                await self._nic.beat()
                if failing:
                    LOG.info("the NIC is back")
                failing = False
            except NicError as error:
                if not failing:
                    LOG.error("no heartbeat: %s", error)
                failing = True
            due = max(due + self._config.heartbeat_s, loop.time())
            await asyncio.sleep(due - loop.time())

    # --- IKE --------------------------------------------------------------------------------------

    def _on_event(self, event: Event) -> None:
        match event:
            case ChildSaEstablished():
                self._begin_load(event)
            case ChildSaDeleted(spi_in=spi_in, by_peer=True):
                self._let_go(spi_in)
            case ChildSaReadyDelivered(spi_in=spi_in):
                LOG.info("SA %#010x: the station knows that it is ready", spi_in)
            case IkeSaEstablished(connection=connection, peer_id=peer_id, address=address):
                self._of_connection[connection] = self._stations[peer_id]
                LOG.info("IKE SA with %s at %s", peer_id, address.host)
            case IkeSaClosed(connection=connection, reason=reason, why=why):
                self._of_connection.pop(connection, None)
                if why:
                    LOG.warning("IKE SA closed: %s: %s", reason.value, why)
                else:
                    LOG.info("IKE SA closed: %s", reason.value)
            case ExchangeFailed(exchange=exchange, reason=failure):
                LOG.info("exchange %s failed: %s", exchange.value, failure.value)
            case _:
                pass

    def _begin_load(self, event: ChildSaEstablished) -> None:
        spi_in, connection_id = event.spi_in, event.connection
        if not event.transport:
            event.wipe()
            self._delete(connection_id, spi_in)
            return
        station = self._of_connection[connection_id]
        # SAs of a station go into the NIC in the order of their exchanges, or one that holds the
        # newer one proven could see it replaced by the older: one that still waits is given up.
        self._superseded.update(spi for spi, load in self._loads.items() if load.station is station)
        task = asyncio.create_task(self._load(event, station))
        # Also of one that is cancelled before it begins.
        task.add_done_callback(lambda _: event.wipe())
        self._loads[spi_in] = _Load(station, task)

    async def _load(self, event: ChildSaEstablished, station: ServedStation) -> None:
        spi_in, connection_id = event.spi_in, event.connection
        loop = asyncio.get_running_loop()
        try:
            config = self._config
            lifetime = Lifetime(
                config.soft_packets, config.soft_octets, config.hard_packets, config.hard_octets
            )
            sa = staged_from(
                event, role=ROLE_NAMES[station.role], context=station.context, lifetime=lifetime
            )
            await load(
                self._nic,
                sa,
                busy_timeout_s=self._config.busy_timeout_s,
                time=loop.time,
                wanted=lambda: spi_in not in self._superseded | self._unwanted,
            )
        except (NicError, ValueError) as error:
            LOG.warning("SA %#010x is given up: %s", spi_in, error)
            self._unwanted.discard(spi_in)
            self._delete(connection_id, spi_in)
            return
        finally:
            self._loads.pop(spi_in, None)
            self._superseded.discard(spi_in)
        if spi_in in self._unwanted:
            self._unwanted.discard(spi_in)
            await self._abort(spi_in)
            return
        self.loaded += 1
        LOG.info(
            "SA %#010x is in context %d of the NIC, and ready for use", spi_in, station.context
        )
        if self._shell is not None:
            connection = self._shell.endpoint.connections.get(connection_id)
            if connection is not None:
                connection.notify_ready(spi_in)
                self._shell.pump()

    def _delete(self, connection_id: int, spi_in: int) -> None:
        """Tell the station that nothing comes of an SA."""
        if self._shell is not None:
            connection = self._shell.endpoint.connections.get(connection_id)
            if connection is not None:
                connection.delete_child(spi_in)
                self._shell.pump()

    def _let_go(self, spi_in: int) -> None:
        """The station deletes a Child SA: an unproven bank is emptied, a proven one stays."""
        if spi_in in self._loads:
            self._unwanted.add(spi_in)
            return
        task = asyncio.create_task(self._abort(spi_in))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _abort(self, spi_in: int) -> None:
        try:
            if await self._nic.abort_unproven(spi_in):
                LOG.info("SA %#010x: given up by the station, and zeroised", spi_in)
        except NicError as error:
            LOG.warning("SA %#010x could not be zeroised: %s", spi_in, error)
