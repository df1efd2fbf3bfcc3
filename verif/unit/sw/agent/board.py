"""What the agent's tests stand on: the NIC's model behind a way that fails on demand, and SAs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from spec import registers as facts
from spec.sa import BankState, SadCommand
from spec.suites import Suite
from sw.agent.nic import AgentNic
from sw.config import AgentConfig
from sw.identity import parse_identity
from sw.ike.address import Address
from sw.ike.events import ChildSaEstablished, IkeSaEstablished
from sw.ike.secret import Secret
from sw.nic import RegisterTransport, TransportError
from verif.model.nic import NicModel

PATIENCE_S = 30.0
"""Only bounds a test that would never end; no test measures time."""
KEYS = (b"KEY-INBOUND-KEY-INBOUND-KEY-INBO", b"KEY-OUTBOUND-KEY-OUTBOUND-KEY-OU")
SALTS = (b"SLTI", b"SLTO")
AUTHS = (b"HMAC-IN-HMAC-IN-HMAC-IN-HMAC-IN-", b"HMAC-OUTHMAC-OUTHMAC-OUTHMAC-OUT")


@dataclass
class Board:
    """A way to the registers of a model.

    Attributes
    ----------
    hook : callable
        Called with address and value before each write; what it raises, the way raises.
    writes : list
        Address and value of each write that came through.
    lost : bool
        The way is cut: every access fails.
    """

    nic: NicModel = field(default_factory=NicModel)
    hook: Callable[[int, int], object] = lambda _addr, _value: None
    writes: list[tuple[int, int]] = field(default_factory=list)
    lost: bool = False
    opened: int = 0
    closed: int = 0
    lock: AbstractContextManager[object] = field(default_factory=threading.RLock)

    def connect(self) -> RegisterTransport:
        """A transport; raises TransportError while the way is cut."""
        if self.lost:
            raise TransportError("there is no NIC")
        self.opened += 1
        return self

    def read(self, addr: int) -> int:
        """A register's value."""
        if self.lost:
            raise TransportError("the NIC went away")
        with self.lock:
            return self.nic.bus_read(addr)

    def write(self, addr: int, value: int) -> None:
        """A write, if the hook lets it through."""
        if self.lost:
            raise TransportError("the NIC went away")
        self.hook(addr, value)
        self.writes.append((addr, value))
        with self.lock:
            self.nic.bus_write(addr, value)

    def close(self) -> None:
        """Counts."""
        self.closed += 1

    def states(self) -> list[BankState]:
        """Of the banks that are not empty."""
        return [
            BankState(bank.state)
            for bank in self.nic.sad.banks
            if bank.state is not BankState.EMPTY
        ]

    def occupy(self) -> None:
        """An SA of somebody else's waits for its Commit: no bank is free."""
        self.nic.bus_write("SA_COMMAND", SadCommand.STAGE)
        self.nic.sad.banks[0].state = BankState.READY

    def free(self) -> None:
        """The other SA is given up."""
        self.nic.bus_write("SA_COMMAND", SadCommand.ABORT)


def address(name: str) -> int:
    """Octet address of a register."""
    return facts.BY_NAME[name].address


def agent_config(**changes: Any) -> AgentConfig:
    """A configuration with changes."""
    values: dict[str, Any] = {
        "identity": "host.example",
        "station_identity": "station.example",
        "psk_file": "unused",
        "address": "192.0.2.10",
        "mac": "02:00:00:00:00:10",
        "nic_socket": "unused",
    }
    return AgentConfig(**(values | changes))


def agent_nic(board: Any, **changes: Any) -> AgentNic:
    """The agent's NIC on a board."""
    return AgentNic(agent_config(**changes), getattr(board, "connect", lambda: board))


def cbc_negotiated() -> ChildSaEstablished:
    """The same for AES-CBC with HMAC-SHA-256-128."""
    return negotiated(
        suite=Suite.ESP_AES_CBC_256_HMAC_SHA_256_128,
        salt_in=Secret(b""),
        auth_in=Secret(AUTHS[0]),
        salt_out=Secret(b""),
        auth_out=Secret(AUTHS[1]),
    )


def negotiated(spi_in: int = 0xC0DE0101, **changes: Any) -> ChildSaEstablished:
    """What IKE gives for a new Child SA, with known keys."""
    values: dict[str, Any] = {
        "connection": 1,
        "spi_in": spi_in,
        "spi_out": spi_in + 1,
        "suite": Suite.ESP_AES_GCM_16_256,
        "key_in": Secret(KEYS[0]),
        "salt_in": Secret(SALTS[0]),
        "auth_in": Secret(b""),
        "key_out": Secret(KEYS[1]),
        "salt_out": Secret(SALTS[1]),
        "auth_out": Secret(b""),
        "esn": True,
        "encap_udp": False,
        "transport": True,
        "ts_local": (),
        "ts_remote": (),
        "rekeyed_spi": None,
        "initiator": False,
        "address": Address(str(IPv4Address("192.0.2.1")), 500, "192.0.2.10", 500),
    }
    return ChildSaEstablished(**(values | changes))


def ike_sa(connection: int, identity: str = "station.example") -> IkeSaEstablished:
    """What IKE says once a station is authenticated."""
    return IkeSaEstablished(
        connection=connection,
        initiator=False,
        local_id=parse_identity("host.example"),
        peer_id=parse_identity(identity),
        address=Address("192.0.2.1", 500, "192.0.2.10", 500),
        encap_udp=False,
        peer_is_holdfast=True,
    )


def forgotten(event: ChildSaEstablished) -> bool:
    """Whether nothing of the event's keys is left."""
    inbound = (event.key_in, event.salt_in, event.auth_in)
    secrets = (*inbound, event.key_out, event.salt_out, event.auth_out)
    return all(secret.wiped and not any(secret._octets) for secret in secrets)


def play(scene: Callable[[], Any]) -> None:
    """Runs a scene to its end."""

    async def whole() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene()

    asyncio.run(whole())
