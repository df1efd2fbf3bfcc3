"""The station as a process: sockets, one session per host, one timer, the control socket.

It holds the store's lock for as long as it runs: only one process sends under an SA.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from spec.headers import ESP_SPI_MIN
from sw.config import ConfigError, StationConfig
from sw.identity import parse_identity
from sw.ike.endpoint import IkeEndpoint
from sw.ike.events import Event
from sw.ike.secret import Secret
from sw.ike_shell import IkeShell
from sw.ipsec import Endpoint, IpsecError, UdpTransport
from sw.rmcp import PowerCommand, RetryPolicy
from sw.station.database import NoSuchHostError, StoreError, StoreLock
from sw.station.describe import Json, describe, describe_alerts
from sw.station.exchanges import StationExchanges, endpoint_config
from sw.station.interfaces import PowerOutcome, Tuning
from sw.station.plane import Plane
from sw.station.records import HostRecord
from sw.station.session import HostSession
from sw.station.store import Store, open_store

LOG = logging.getLogger("holdfast.station")
CLOSE_WAIT_S = 0.5


def tuning(config: StationConfig, *, exchanges: bool) -> Tuning:
    """What sessions take from the configuration."""
    return Tuning(
        poll_s=config.poll_period_s,
        refresh_s=config.refresh_period_s,
        exchange_retry_s=config.exchange_retry_s,
        ready_s=config.ready_timeout_s,
        enterprise=config.enterprise,
        rmcp=RetryPolicy(first_s=config.rmcp_retransmit_s, attempts=config.rmcp_sends),
        exchanges=exchanges,
    )


def require_certificates(config: StationConfig, host: str) -> None:
    """Raises ConfigError if a host is to prove itself by certificate, and none is configured."""
    if not config.certificate_file:
        raise ConfigError(
            f"host {host} proves itself by certificate, but the configuration names none; give "
            "station.certificate_file, station.private_key_file and station.ca_file"
        )


class _NoExchanges:
    """IKE of a process that begins no exchange."""

    def begin(self, host: HostRecord, replaces: int | None) -> None:
        """Never called: the decision is made in `Tuning.exchanges`."""

    def delete_child(self, host: HostRecord, spi_in: int) -> None:
        """There is no IKE SA to say it over."""

    def drop(self, host: HostRecord) -> None:
        """There is none."""


class Station:
    """The station.

    Parameters
    ----------
    config : StationConfig
        Table `[station]`.
    exchanges : bool
        False: only poll and command, under the SAs in the store; IKE's ports stay closed.
    only : str or None
        Look after this host alone.
    """

    def __init__(
        self, config: StationConfig, *, exchanges: bool = True, only: str | None = None
    ) -> None:
        self.config = config
        self._with_ike = exchanges
        self._only = only
        self._tuning = tuning(config, exchanges=exchanges)
        self.sessions: dict[int, HostSession] = {}
        self._lock: StoreLock | None = None
        self.store: Store
        self._shell: IkeShell | None = None
        self._udp: UdpTransport | None = None
        self._exchanges: StationExchanges | _NoExchanges = _NoExchanges()
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._plane: Plane

    async def start(self) -> None:
        """Open store and sockets, and begin.

        Raises StoreError, sw.ipsec.DataPlaneError, and ConfigError for certificates that are not
        there or cannot be used.
        """
        config = self.config
        self._loop = asyncio.get_running_loop()
        path = Path(config.store)
        self._lock = StoreLock(path)
        self.store = open_store(path, Path(config.key_file))
        if self.store.restored_copy:
            LOG.warning(
                "the store is an old copy: all its numbers were moved ahead, so that none is used "
                "twice. A host that got a newer SA since answers after a key exchange; where its "
                "NIC takes an SA from the station alone (station_authorised), only once that NIC "
                "was zeroised or lost its power"
            )
        self._plane = Plane(
            IPv4Address(config.address),
            natt_port=config.natt_port,
            rmcp_port=config.rmcp_port,
            clear_port=config.clear_port,
            reserve_block=config.reserve_block,
            on_message=self._on_message,
            on_alert=self._on_alert,
            on_clear=self._on_clear,
        )
        await self._plane.open(raw=config.encapsulation == "raw", udp=self._send_udp)
        if self._with_ike:
            endpoint = IkeEndpoint(
                rng=secrets.token_bytes,
                config=endpoint_config(config),
                child_spi=self._new_spi,
            )
            self._shell = IkeShell(endpoint, self._on_ike, self._plane.receive)
            self._exchanges = StationExchanges(
                config,
                endpoint,
                self.sessions,
                self._shell.pump,
                self._guard,
                self._loop.time,
            )
            await self._shell.open(IPv4Address(config.address), config.ike_port, config.natt_port)
        else:
            self._udp = await UdpTransport.open(
                IPv4Address(config.address), lambda data, _: self._plane.receive(data)
            )
        for name in [self._only] if self._only is not None else self.store.host_names():
            self._begin(name)
        for session in self.sessions.values():
            if self._with_ike and session.host.by_certificate:
                require_certificates(config, session.host.name)
        self._wake()

    def _begin(self, name: str) -> None:
        """Look after a host; a damaged record stops only that host."""
        try:
            host = self.store.host(name)
            session = HostSession(
                host,
                store=self.store,
                wire=self._plane,
                exchanges=self._exchanges,
                tuning=self._tuning,
                wall=time.time,
                now=self._loop.time(),
            )
        except StoreError as error:
            if self._only is not None:
                raise
            LOG.error("%s", error)
            return
        self.sessions[host.id] = session

    async def stop(self) -> None:
        """End in good order: all that is only in memory goes to the store."""
        if self._timer is not None:
            self._timer.cancel()
        for session in list(self.sessions.values()):
            if session.fault is None:
                self._guard(session, session.close)
        self.sessions.clear()
        if self._shell is not None:
            await self._shell.leave(CLOSE_WAIT_S)
            self._shell.close()
        if self._udp is not None:
            self._udp.close()
        if hasattr(self, "_plane"):
            self._plane.close()
        if hasattr(self, "store"):
            self.store.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # --- what arrives -----------------------------------------------------------------------------

    def _send_udp(self, packet: bytes, to: Endpoint) -> None:
        if self._shell is not None:
            self._shell.send_esp(packet, to)
        elif self._udp is not None:
            self._udp.send(packet, to)

    def _new_spi(self) -> int:
        """An inbound SPI that no SA held has."""
        while True:
            spi = secrets.randbits(32)
            if spi >= ESP_SPI_MIN and spi not in self._plane:
                return spi

    def _on_message(self, spi_in: int, payload: bytes) -> None:
        for session in list(self.sessions.values()):
            if any(sa.spi_in == spi_in for sa in session.sas.values()):
                self._guard(session, partial(session.receive, spi_in, payload, self._loop.time()))
        self._wake()

    def _on_alert(self, spi_in: int, payload: bytes) -> None:
        for session in list(self.sessions.values()):
            if any(sa.spi_in == spi_in for sa in session.sas.values()):
                now = self._loop.time()
                self._guard(session, partial(session.receive_alert, spi_in, payload, now))
        self._wake()

    def _on_clear(self, address: IPv4Address, payload: bytes) -> None:
        for session in list(self.sessions.values()):
            if session.host.address == address:
                self._guard(session, partial(session.receive_clear, payload, self._loop.time()))
        self._wake()

    def _on_ike(self, event: Event) -> None:
        if isinstance(self._exchanges, StationExchanges):
            self._exchanges.on_event(event)
        self._wake()

    def _guard(self, session: HostSession, work: Callable[[], None]) -> None:
        """Run a session's work; a store that fails stops that host before anything more is sent."""
        try:
            if session.fault is None:
                work()
        except (StoreError, IpsecError, ValueError) as error:
            session.fail(str(error))
            LOG.error("host %s is no longer looked after: %s", session.host.name, error)

    # --- time -------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Re-arm the one timer."""
        self._changed.set()
        if self._timer is not None:
            self._timer.cancel()
        times = [
            due
            for session in self.sessions.values()
            if session.fault is None and (due := session.get_timer()) is not None
        ]
        self._timer = self._loop.call_at(min(times), self._tick) if times else None

    def _tick(self) -> None:
        now = self._loop.time()
        for session in list(self.sessions.values()):
            due = session.get_timer()
            if due is not None and due <= now:
                self._guard(session, partial(session.tick, now))
        self._wake()

    # --- commands ---------------------------------------------------------------------------------

    def session(self, name: str) -> HostSession:
        """The session of a host; raises NoSuchHostError."""
        for session in self.sessions.values():
            if session.host.name == name:
                return session
        raise NoSuchHostError(f"there is no host {name}; type: holdfast host list")

    def names(self) -> list[str]:
        """The hosts looked after, in alphabetical order."""
        return sorted(session.host.name for session in self.sessions.values())

    def describe(self, name: str) -> Json:
        """A host, for people and programs."""
        return describe(self.session(name), self._loop.time)

    def alerts(self, name: str) -> Json:
        """The alerts of a host, for people and programs."""
        return describe_alerts(self.session(name))

    def add_host(self, name: str, address: IPv4Address, identity: str, psk: Secret) -> Json:
        """Take a host in, and begin to look after it; an empty key: it has a certificate."""
        parse_identity(identity)
        if not len(psk):
            require_certificates(self.config, name)
        self.store.add_host(name, address, identity, psk)
        self._begin(name)
        self._wake()
        return self.describe(name)

    def remove_host(self, name: str) -> None:
        """Forget a host and its SAs, also one whose record is damaged."""
        self.store.remove_host(name)
        for session in list(self.sessions.values()):
            if session.host.name == name:
                # Its records are gone: only what is in memory is left to end.
                session.fail("the host was removed")
                session.close()
                self._exchanges.drop(session.host)
                del self.sessions[session.host.id]
        self._wake()

    async def power(self, name: str, command: PowerCommand) -> PowerOutcome:
        """Send a power command, and wait for what becomes of it."""
        session = self.session(name)
        return await self._command(
            session, lambda done: session.power(command, done, self._loop.time())
        )

    async def zeroise(self, name: str) -> PowerOutcome:
        """Ask a host's NIC to empty every bank, and wait for what becomes of it."""
        session = self.session(name)
        return await self._command(session, lambda done: session.zeroise(done, self._loop.time()))

    async def _command(
        self,
        session: HostSession,
        begin: Callable[[Callable[[PowerOutcome], None]], None],
    ) -> PowerOutcome:
        _refuse_fault(session)
        outcome: asyncio.Future[PowerOutcome] = self._loop.create_future()

        def done(result: PowerOutcome) -> None:
            if not outcome.done():
                outcome.set_result(result)

        self._guard(session, partial(begin, done))
        _refuse_fault(session)
        self._wake()
        result = await outcome
        if not result.sent:
            _refuse_fault(session)
        return result

    async def first_answer(self, name: str, wait_s: float) -> None:
        """Wait until the host's state is known, or until it is silent; at most `wait_s`."""
        session = self.session(name)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while session.answering is None and session.fault is None:
                    self._changed.clear()
                    await self._changed.wait()


def _refuse_fault(session: HostSession) -> None:
    if session.fault is not None:
        raise StoreError(session.fault)
