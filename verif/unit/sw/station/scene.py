"""Station, agent and NIC model together, for tests that play whole scenes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spec.headers import ESP, ETHERNET, IPV4, PROTOCOL_ESP
from spec.host import HostState
from spec.sa import BankState
from sw.agent.service import Agent
from sw.config import AgentConfig, StationConfig
from sw.ike.secret import Secret
from sw.station.commit_words import Phase, Sa
from sw.station.service import Station
from sw.station.session import HostSession
from verif.unit.sw.station.lan import HOST_IP, STATION_IP, STATION_MAC, Lan

PSK = b"a pre-shared key for tests"
PATIENCE_S = 30.0
"""Only bounds a test that would never end; no test measures time."""


class World:
    """A LAN, and how to start and kill what is on it."""

    def __init__(self, folder: Path, encapsulation: str) -> None:
        self.lan = Lan()
        psk = folder / "psk"
        psk.write_bytes(PSK)
        psk.chmod(0o600)
        self.station_config = StationConfig(
            identity="station.example",
            address=str(STATION_IP),
            store=str(folder / "station.db"),
            key_file=str(folder / "station.key"),
            encapsulation=encapsulation,
            refresh_period_s=3600.0,
            poll_period_s=0.05,
            exchange_retry_s=0.1,
            ready_timeout_s=5.0,
            ike_retransmit_s=0.05,
            ike_sends=4,
            rmcp_retransmit_s=0.05,
            rmcp_sends=3,
        )
        self.agent_config = AgentConfig(
            identity="host.example",
            station_identity="station.example",
            psk_file=str(psk),
            address=str(HOST_IP),
            mac="02:00:00:00:00:10",
            nic_socket="unused",
            heartbeat_s=0.02,
            heartbeat_window_s=0.3,
            ike_retransmit_s=0.05,
            ike_sends=4,
        )
        self.station: Station
        self.agent: Agent | None = None

    async def start_station(self, **changes: Any) -> Station:
        config = replace(self.station_config, **changes)
        self.station = Station(config)
        await self.station.start()
        if not self.station.sessions:
            self.station.add_host("host", HOST_IP, "host.example", Secret(PSK))
        return self.station

    async def boot(self, **changes: Any) -> None:
        """The OS comes up."""
        self.lan.os_up = True
        self.agent = Agent(replace(self.agent_config, **changes), lambda: self.lan)
        await self.agent.start()

    async def hang(self) -> None:
        """The OS's processes stop, without a word."""
        agent = self.agent
        assert agent is not None
        self.lan.os_up = False
        assert agent._heart is not None
        agent._heart.cancel()
        assert agent._shell is not None
        agent._shell.close()
        self.agent = None

    @property
    def session(self) -> HostSession:
        return next(iter(self.station.sessions.values()))

    @property
    def proven_sa(self) -> Sa:
        """The SA that worked last, in the station; there must be one."""
        sa = self.session.machine.proven
        assert sa is not None
        return sa

    def banks(self) -> dict[int, BankState]:
        return {
            bank.spi_in: BankState(bank.state)
            for bank in self.lan.nic.sad.banks
            if bank.state is not BankState.EMPTY
        }

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self.lan.ticked.wait()

    async def proven(self, count: int) -> None:
        await self.until(
            lambda: (
                self.session.host.refresh_count >= count
                and self.session.machine.phase is Phase.STEADY
            )
        )

    def shows(self, state: HostState) -> bool:
        return self.session.shown_state is state

    def kill(self) -> None:
        """The station dies as by SIGKILL: nothing is stored, closed or sent any more."""
        station = self.station
        self.lan.kill(STATION_IP)
        for timer in (station._timer, station._shell._timer if station._shell else None):
            if timer is not None:
                timer.cancel()
        for session in station.sessions.values():
            session.fault = "killed"
        station.sessions.clear()
        station.store.close()
        if station._lock is not None:
            station._lock.close()
            station._lock = None

    def esp_numbers(self) -> list[tuple[int, int]]:
        """SPI and sequence number of each raw ESP packet that the station sent."""
        numbers = []
        for frame in self.lan.frames:
            if ETHERNET.unpack(frame)["source"] != STATION_MAC:
                continue
            if IPV4.unpack(frame[ETHERNET.octets :])["protocol"] == PROTOCOL_ESP:
                esp = ESP.unpack(frame[ETHERNET.octets + IPV4.octets :])
                numbers.append((esp["spi"], esp["sequence"]))
        return numbers


async def play_scene(
    world: World, patch: Callable[[str, object], None], scene: Callable[[World], Awaitable[None]]
) -> None:
    """Join all to the LAN, play, and end whatever still runs."""
    lan = world.lan
    patch("sw.ike_shell.UdpTransport.open", lan.open_udp)
    patch("sw.station.plane.UdpTransport.open", lan.open_udp)
    patch("sw.station.service.UdpTransport.open", lan.open_udp)
    patch("sw.station.plane.RawEspTransport.open", lan.open_raw)
    ticker = asyncio.create_task(lan.run())
    try:
        await scene(world)
    finally:
        if hasattr(world, "station"):
            await world.station.stop()
        if world.agent is not None:
            await world.agent.stop()
        ticker.cancel()
