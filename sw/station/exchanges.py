"""IKE for the sessions: one endpoint, one IKE SA per host at a time, begun anew when it died.

Source: RFC 7296; seed, figure 4, step 22.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from sw.config import GROUP_NAMES, SUITE_NAMES, StationConfig, ike_policy
from sw.credentials import load_certificates
from sw.identity import parse_identity
from sw.ike.address import Address
from sw.ike.config import ChildPolicy, EndpointConfig, Peer, Timing, station_child_policy
from sw.ike.connection import Connection
from sw.ike.endpoint import IkeEndpoint
from sw.ike.events import (
    ChildSaDeleted,
    ChildSaEstablished,
    ChildSaReady,
    Event,
    ExchangeFailed,
    ExchangeKind,
    IkeSaClosed,
    IkeSaEstablished,
)
from sw.station.records import HostRecord
from sw.station.session import HostSession

LOG = logging.getLogger("holdfast.station.ike")
MAKES_CHILD = (ExchangeKind.CONNECT, ExchangeKind.CREATE_CHILD, ExchangeKind.REKEY_CHILD)


def endpoint_config(config: StationConfig) -> EndpointConfig:
    """IKE as the configuration wants it."""
    return EndpointConfig(
        ike=ike_policy(config),
        timing=Timing(retransmit_first=config.ike_retransmit_s, sends=config.ike_sends),
        ike_port=config.ike_port,
        natt_port=config.natt_port,
        force_encap=config.encapsulation == "udp",
    )


def child_policy(config: StationConfig) -> ChildPolicy:
    """Child SAs as the configuration wants them: the seed's policy in transport mode."""
    return replace(
        station_child_policy(),
        suites=tuple(SUITE_NAMES[name] for name in config.suites),
        groups=tuple(GROUP_NAMES[name] for name in config.groups),
        additional=ike_policy(config).additional,
        esn=(True, False) if config.esn else (False,),
    )


class StationExchanges:
    """What sessions ask of IKE, and what IKE tells them.

    Parameters
    ----------
    config : StationConfig
        Table `[station]`. Raises ConfigError if its certificates cannot be used.
    endpoint : IkeEndpoint
        The protocol.
    sessions : dict
        Sessions by host id.
    pump : callable
        Has the shell send what is to be sent.
    guard : callable
        Runs a session's work, so that its failure is its own.
    time : callable
        The clock of the endpoint.
    """

    def __init__(
        self,
        config: StationConfig,
        endpoint: IkeEndpoint,
        sessions: dict[int, HostSession],
        pump: Callable[[], None],
        guard: Callable[[HostSession, Callable[[], None]], None],
        time: Callable[[], float],
    ) -> None:
        self._config = config
        self._endpoint = endpoint
        self._sessions = sessions
        self._pump = pump
        self._guard = guard
        self._time = time
        self._local = IPv4Address(config.address)
        self._child = child_policy(config)
        self._certificates = load_certificates(config)
        self._current: dict[int, int] = {}
        """Connection by host id."""
        self._owners: dict[int, int] = {}
        """Host id by connection, also of those that are on their way out."""

    # --- what sessions ask ------------------------------------------------------------------------

    def begin(self, host: HostRecord, replaces: int | None) -> None:
        """Negotiate an SA: over the IKE SA that lives, or over a new one."""
        connection = self._connection(host)
        if connection is not None and connection.established:
            if replaces is not None and replaces in connection.child_sas:
                connection.rekey_child(replaces)
            else:
                connection.create_child()
        else:
            self.drop(host)
            peer = Peer(
                identity=parse_identity(host.identity),
                local_identity=parse_identity(self._config.identity),
                psk=None if host.by_certificate else host.psk,
                child=self._child,
                certificates=self._certificates if host.by_certificate else None,
            )
            address = Address(
                str(host.address), self._config.ike_port, str(self._local), self._config.ike_port
            )
            connection = self._endpoint.connect(peer, address)
            self._current[host.id] = connection.id
            self._owners[connection.id] = host.id
        self._pump()

    def delete_child(self, host: HostRecord, spi_in: int) -> None:
        """Tell the agent that this Child SA is no longer used; unknown ones are ignored."""
        for connection_id, owner in self._owners.items():
            connection = self._endpoint.connections.get(connection_id)
            if owner == host.id and connection is not None and spi_in in connection.child_sas:
                connection.delete_child(spi_in)
        self._pump()

    def drop(self, host: HostRecord) -> None:
        """Forget the IKE SA with the host: its OS is gone, and its end with it."""
        connection = self._connection(host)
        self._current.pop(host.id, None)
        if connection is not None and not connection.closed:
            connection.abandon()
            self._pump()

    def _connection(self, host: HostRecord) -> Connection | None:
        return self._endpoint.connections.get(self._current.get(host.id, -1))

    # --- what IKE tells ---------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Hand an event to the session that it is about."""
        host_id = self._owners.get(event.connection)
        if isinstance(event, IkeSaClosed):
            self._owners.pop(event.connection, None)
        if host_id is None or self._current.get(host_id) != event.connection:
            return  # a connection that was dropped before: nothing waits for it
        if isinstance(event, IkeSaClosed):
            del self._current[host_id]
        session = self._sessions.get(host_id)
        if session is not None:
            self._guard(session, partial(self._tell, session, event))

    def _tell(self, session: HostSession, event: Event) -> None:
        now = self._time()
        match event:
            case IkeSaEstablished(address=address):
                LOG.info("host %s: IKE SA with %s", session.host.name, address.host)
            case ChildSaEstablished():
                session.established(event, self._local, now)
            case ChildSaReady(spi_in=spi_in):
                session.ready(spi_in, now)
            case ChildSaDeleted(spi_in=spi_in, by_peer=True):
                session.child_deleted(spi_in, now)
            case ExchangeFailed(exchange=exchange, reason=reason) if exchange in MAKES_CHILD:
                session.exchange_failed(f"{exchange.value}: {reason.value}", now)
            case IkeSaClosed(reason=reason, why=why):
                words = f"{reason.value}: {why}" if why else reason.value
                session.exchange_failed(f"IKE SA closed: {words}", now)
            case _:
                pass
