"""The NIC as the agent keeps it: opened, configured, and opened again when it was lost.

All register access happens in one thread of its own, in order, so that a slow line stops neither
IKE nor the heartbeat's schedule.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TypeVar

from spec.sa import BankState
from spec.suites import Suite
from sw.config import CLEAR_PORT_NAMES, AgentConfig, mac_octets
from sw.nic import (
    NO_IP6,
    Alerts,
    CapabilityError,
    ClearPortSetting,
    NicDriver,
    NicError,
    Policy,
    RegisterTransport,
    SaStatus,
    SerialTransport,
    TransportError,
    UnixSocketTransport,
)

LOG = logging.getLogger("holdfast.agent.nic")
UNPROVEN = (BankState.STAGED, BankState.READY, BankState.ACTIVE)
_T = TypeVar("_T")


def open_transport(config: AgentConfig) -> RegisterTransport:
    """The way to the registers that the configuration names; raises TransportError."""
    if config.nic_socket:
        return UnixSocketTransport(config.nic_socket)
    return SerialTransport(config.nic_serial)


class AgentNic:
    """The driver, kept usable.

    Parameters
    ----------
    config : AgentConfig
        What the NIC is told.
    connect : callable
        Gives a transport; raises TransportError.
    """

    def __init__(self, config: AgentConfig, connect: Callable[[], RegisterTransport]) -> None:
        self._config = config
        self._connect = connect
        self._driver: NicDriver | None = None
        self._saved = False
        """The NIC was told to save the configuration that it has."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nic")

    async def call(self, work: Callable[[NicDriver], _T]) -> _T:
        """Do something with the driver, in its thread; opens the NIC first where need be.

        Raises NicError. After a TransportError the next call opens the NIC anew.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._do, work)

    def _do(self, work: Callable[[NicDriver], _T]) -> _T:
        if self._driver is None:
            transport = self._connect()
            try:
                driver = NicDriver(transport)
                self._configure(driver)
            except NicError:
                transport.close()
                raise
            self._driver = driver
        try:
            return work(self._driver)
        except TransportError:
            self._driver.close()
            self._driver = None
            raise

    async def beat(self) -> None:
        """Write the heartbeat; a NIC that forgot its configuration since is told it again.

        A NIC can lose its power while the OS goes on: without the host's addresses it takes
        nothing for its own. Raises NicError.
        """

        def work(driver: NicDriver) -> None:
            if not self._configured(driver):
                LOG.warning("the NIC lost its power, or was zeroised: it is configured anew")
                self._saved = False
                self._configure(driver)
            driver.heartbeat()

        await self.call(work)

    def _configured(self, driver: NicDriver) -> bool:
        config, policy = self._config, driver.policy
        return (
            policy.station_authorised >= config.station_authorised
            and policy.clear_off >= config.clear_off
            and policy.settings_locked >= config.lock_settings
            and policy.keeps_sa >= self._keeps_sa
            and driver.heartbeat_window() == self._heartbeat_ms
            and driver.alerts().enabled >= self._alerts(driver).enabled
            and (
                policy.settings_locked  # then they are as somebody wanted them
                or (
                    driver.host_address()
                    == (mac_octets(config.mac), IPv4Address(config.address), NO_IP6)
                    and driver.clear_port == self._clear_port
                    and driver.alerts() == self._alerts(driver)
                )
            )
        )

    @property
    def _keeps_sa(self) -> bool:
        return self._config.nic_store == "sas"

    @property
    def _heartbeat_ms(self) -> int:
        return round(self._config.heartbeat_window_s * 1000)

    @property
    def _clear_port(self) -> ClearPortSetting:
        return ClearPortSetting(
            CLEAR_PORT_NAMES[self._config.clear_port], self._config.clear_after_s
        )

    def _alerts(self, driver: NicDriver) -> Alerts:
        """What the NIC shall do of alerts: as configured, as far as it can be."""
        config = self._config
        if not driver.has_alerts:
            return Alerts(enabled=False, clear=False, heartbeat_s=0)
        enabled = config.alerts or driver.alerts().enabled
        return Alerts(enabled, config.alerts_clear, config.alert_heartbeat_s)

    def _configure(self, driver: NicDriver) -> None:
        config = self._config
        # The lock comes last, once there is something to lock.
        found = driver.policy
        locked = found.settings_locked
        wanted = Policy(config.station_authorised, config.clear_off, locked, self._keeps_sa)
        try:
            driver.set_policy(wanted)
        except CapabilityError as error:
            LOG.warning("%s", error)
            now = driver.policy
            driver.set_policy(
                Policy(
                    wanted.station_authorised or now.station_authorised,
                    wanted.clear_off or now.clear_off,
                    locked,
                    wanted.keeps_sa or now.keeps_sa,
                )
            )
        if config.alerts and not driver.has_alerts:
            LOG.warning("this build of the NIC has no alerts, which `alerts` asks for")
        driver.set_heartbeat_window(self._heartbeat_ms)
        try:
            driver.set_enterprise(config.enterprise)
            driver.set_clear_port(self._clear_port)
            driver.set_host_address(mac_octets(config.mac), IPv4Address(config.address))
            driver.set_alerts(self._alerts(driver))
        except CapabilityError as error:
            LOG.warning("%s", error)
            # They are locked; alerts can be turned on all the same.
            driver.set_alerts(replace(driver.alerts(), enabled=self._alerts(driver).enabled))
        if config.lock_settings:
            driver.set_policy(replace(driver.policy, settings_locked=True))
        self._save(driver)
        LOG.info("NIC opened: %s", ", ".join(s.name for s in sorted(driver.capabilities().suites)))

    def _save(self, driver: NicDriver) -> None:
        """Have the configuration saved, once: the flash wears, and a line may come and go."""
        if self._config.nic_store == "nothing" or self._saved:
            return
        if not driver.store_status().present:
            LOG.warning(
                "the NIC has no store, or its flash does not answer: nic_store is of no effect, "
                "and what the NIC holds goes with its power"
            )
            return
        driver.save_config()
        self._saved = True

    async def suites(self, wanted: tuple[Suite, ...]) -> tuple[Suite, ...]:
        """Those of the wanted suites that the NIC has; raises CapabilityError if it has none."""
        has = (await self.call(lambda driver: driver.capabilities())).suites
        usable = tuple(suite for suite in wanted if suite in has)
        if not usable:
            raise CapabilityError(
                f"the NIC has none of the suites in the configuration; it has: "
                f"{', '.join(suite.name for suite in sorted(has)) or 'none'}"
            )
        return usable

    async def require_contexts(self, count: int) -> None:
        """Raises CapabilityError if the NIC has fewer contexts than that."""
        has = (await self.call(lambda driver: driver.capabilities())).contexts
        if has < count:
            raise CapabilityError(
                f"the configuration has a station with context {count - 1}, but the contexts of "
                f"this NIC are 0 to {has - 1}; give each station one of those"
            )

    async def abort_unproven(self, spi_in: int) -> bool:
        """Zeroise the bank with this SPI if nothing proved it; whether there was such a bank."""

        def work(driver: NicDriver) -> bool:
            for context in range(driver.capabilities().contexts):
                if state_of(driver.sa_status(context), spi_in) in UNPROVEN:
                    driver.abort(context)
                    return True
            return False

        return await self.call(work)

    async def stop(self) -> None:
        """Tell the NIC that the OS stops in good order, and close it."""
        try:
            if self._driver is not None:
                await self.call(lambda driver: driver.stop_heartbeat())
        except NicError as error:
            LOG.warning("the NIC could not be told of the stop: %s", error)
        finally:
            if self._driver is not None:
                self._driver.close()
                self._driver = None
            self._thread.shutdown(wait=False)


def state_of(status: SaStatus, spi_in: int) -> BankState:
    """State of the bank with this SPI; EMPTY if there is none."""
    if status.spi_in_a == spi_in:
        return status.bank_a
    if status.spi_in_b == spi_in:
        return status.bank_b
    return BankState.EMPTY
