"""Cells: strongSwan negotiates with our agent, for the NIC.

The whole chain: the agent runs as `holdfast agent run` in a network namespace behind the virtual
board, strongSwan in the guest. What the guest's kernel encrypts then, the gateware verifies and
answers.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from boards.virtual.build import Parameters
from spec.host import HostState
from spec.sa import BankState
from spec.suites import Suite
from sw.agent.nic import state_of
from verif.interop.cells import World, cell
from verif.interop.cells_chain import ChainLine, Link, accounted, attack, dropped, ping
from verif.interop.configured import CERTIFIED, issue, their_end
from verif.interop.credentials import OUR_NAME, THEIR_NAME
from verif.interop.guest import LAN_GUEST
from verif.interop.lan import HOST, HOST_MAC, Chain
from verif.interop.ours import SECURE_PORT, until
from verif.interop.strongswan import StrongSwan

PSK = "a key that both ends were given"
ROUNDS = 4
RECEIVING = (BankState.READY, BankState.PROVEN)
CONFIG = """\
[agent]
identity = "{host}"
station_identity = "{station}"
address = "{address}"
mac = "{mac}"
nic_socket = "{registers}"
heartbeat_s = 0.3
heartbeat_window_s = 1.5
station_authorised = {station_authorised}
log_level = "debug"
"""
SHARED = 'psk_file = "{folder}/psk"\n'
ACK_SECONDS = Parameters().ack_ms / 1000


@dataclass(frozen=True)
class Ends:
    """How strongSwan and the agent are configured; `ike` and `esp` in strongSwan's words."""

    ike: str = "aes256gcm16-prfsha256-x25519"
    esp: str = "aes256gcm16-x25519-esn"
    suite: Suite = Suite.ESP_AES_GCM_16_256
    esn: bool = True
    encap: bool = False
    psk: str = PSK
    """StrongSwan's."""
    certified: bool = False
    """Certificates of `holdfast pki` in the place of the key."""
    station_authorised: bool = False

    def load(self, strongswan: StrongSwan, folder: Path) -> None:
        """Configure strongSwan."""
        auth, local = "psk", {}
        if self.certified:
            auth, local = "pubkey", their_end(folder)(strongswan)
        else:
            strongswan.share(self.psk.encode(), [OUR_NAME, THEIR_NAME])
        child = {
            "mode": "transport",
            "esp_proposals": [self.esp],
            "local_ts": ["dynamic[udp]"],
            "remote_ts": [f"dynamic[udp/{SECURE_PORT}]"],
            "rekey_time": "0",
            "start_action": "none",
        }
        strongswan.load(
            {
                "version": "2",
                "local_addrs": [LAN_GUEST],
                "remote_addrs": [HOST],
                "proposals": [self.ike],
                "encap": "yes" if self.encap else "no",
                "rekey_time": "0",
                "local": {"auth": auth, "id": THEIR_NAME} | local,
                "remote": {"auth": auth, "id": OUR_NAME},
                "children": {"interop": child},
            }
        )

    def agent(self, folder: Path, registers: Path) -> Path:
        """The agent's file of configuration."""
        if self.certified:
            issue(folder)
        else:
            psk = folder / "psk"
            psk.touch(mode=0o600)
            psk.write_text(PSK)
        path = folder / "agent.toml"
        path.write_text(
            (CONFIG + (CERTIFIED if self.certified else SHARED)).format(
                host=OUR_NAME,
                station=THEIR_NAME,
                folder=folder,
                address=HOST,
                mac=HOST_MAC,
                registers=registers,
                station_authorised=str(self.station_authorised).lower(),
            )
        )
        return path


@dataclass
class Managed(Link):
    """Guest and NIC with an SA that strongSwan and the agent have negotiated."""

    def proven(self) -> int:
        """The inbound SPI that the NIC has proven; 0: none."""
        status = self.nic.sa_status()
        banks = ((status.bank_a, status.spi_in_a), (status.bank_b, status.spi_in_b))
        return next((spi for state, spi in banks if state is BankState.PROVEN), 0)

    def ready(self) -> bool:
        """Whether an SA waits in the NIC for its proof."""
        status = self.nic.sa_status()
        return BankState.READY in (status.bank_a, status.bank_b)

    def spis(self) -> tuple[str, str]:
        """Those of strongSwan's first IKE SA."""
        sa = self.world.strongswan.sas()[0]
        return sa.spi_i, sa.spi_r

    async def agree(self) -> None:
        """The NIC takes strongSwan's Child SA up, and what comes under it."""
        (sa,) = self.world.strongswan.sas()
        (child,) = [one for one in sa.children if one.state == "INSTALLED"]
        assert (child.protocol, child.mode) == ("ESP", "TRANSPORT")
        assert (child.esn, child.encap) == (self.line.esn, self.line.encap)

        def ready() -> bool:
            return state_of(self.nic.sa_status(), child.spi_out) in RECEIVING

        await until(ready, lambda: f"the SA in the NIC: {self.nic.sa_status()}")
        await self.ping()
        await until(lambda: self.proven() == child.spi_out, "a proof of the SA")

    async def negotiate(self) -> None:
        """Have strongSwan begin."""
        failure = await self.world.strongswan.initiate()
        assert not failure, f"{failure}\n{self.world.strongswan.log()[-3000:]}"
        await self.agree()


@asynccontextmanager
async def managed(world: World, ends: Ends) -> AsyncIterator[tuple[Managed, Any]]:
    """Both ends configured and running, without an SA; also gives the agent's process."""
    await asyncio.to_thread(world.strongswan.reset)
    with tempfile.TemporaryDirectory() as folder, world.lan.chain() as chain:
        config = ends.agent(Path(folder), chain.board.registers)
        ends.load(world.strongswan, Path(folder))
        with chain.agent(config) as process:
            await until(lambda: _up(chain), "the agent's heartbeat")
            line = ChainLine(ends.suite, esn=ends.esn, encap=ends.encap)
            yield Managed(world, line, chain), process
            await accounted(chain.nic)


def _up(chain: Chain) -> bool:
    return chain.nic.host_status().state is HostState.OS_UP


def _negotiated(case: str, ends: Ends) -> None:
    @cell(f"NIC behind our agent, {case}", quick=False, board=True)
    async def run(world: World) -> None:
        async with managed(world, ends) as (link, _):
            await link.negotiate()
            await link.ping(ROUNDS)
            await link.reset()
            await attack(link)
            await link.ping()


_plain = Ends()
_negotiated("AES-256-GCM", _plain)
_negotiated(
    "AES-128-GCM without ESN",
    replace(_plain, esp="aes128gcm16-x25519-noesn", suite=Suite.ESP_AES_GCM_16_128, esn=False),
)
_negotiated("NAT forced", replace(_plain, encap=True))
_negotiated("group 19", replace(_plain, ike="aes128gcm16-prfsha256-ecp256"))
_negotiated("certificates", replace(_plain, certified=True))
_negotiated("station-authorised commit", replace(_plain, station_authorised=True))


@cell("NIC behind our agent, the OS dies", board=True)
async def _os_dies(world: World) -> None:
    async with managed(world, _plain) as (link, agent):
        await link.negotiate()
        agent.kill()
        link.chain.network_down()
        await until(
            lambda: link.nic.host_status().state is HostState.OS_HUNG, "the end of the heartbeat"
        )
        # Now only the NIC can tell where the host is.
        world.guest.run("ip neigh flush all")
        await link.ping(ROUNDS)
        await link.reset()
        await attack(link)
        await link.ping()


@cell("NIC behind our agent, Child SA and IKE SA rekeyed by them", quick=False, board=True)
async def _rekeyed(world: World) -> None:
    async with managed(world, _plain) as (link, _):
        await link.negotiate()
        for _ in range(2):
            await _newer_child(link)
        before, spis = link.proven(), link.spis()
        await world.strongswan.rekey(ike="interop")
        await until(
            lambda: _count(world) == (1, 1) and link.spis() != spis, "one IKE SA, the newer one"
        )
        await link.ping()
        assert link.proven() == before
        await _newer_child(link)
        await link.reset()
        assert not dropped(link.nic)


async def _newer_child(link: Managed) -> None:
    """StrongSwan rekeys the Child SA, and both ends go over to the newer one."""
    before = link.proven()
    await link.world.strongswan.rekey(child="interop")
    await until(lambda: _count(link.world) == (1, 1), "one Child SA")
    await link.agree()
    assert link.proven() != before


@cell("NIC behind our agent, a rekey without the Commit demanded", quick=False, board=True)
async def _unauthorised(world: World) -> None:
    async with managed(world, replace(_plain, station_authorised=True)) as (link, _):
        await link.negotiate()
        first = link.proven()
        await world.strongswan.rekey(child="interop")
        await until(link.ready, "the newer SA in the NIC")
        # strongSwan knows of no Commit, and has given up the older SA.
        assert await link.say(ping(99), 1) == []
        await until(lambda: not link.ready(), "the end of the newer SA", wait_s=2 * ACK_SECONDS)
        assert link.proven() == first
        assert link.chain.pins.rises("reset") == 0


def _count(world: World) -> tuple[int, int]:
    """IKE SAs of strongSwan, and Child SAs of them all."""
    sas = world.strongswan.sas()
    return len(sas), sum(len(sa.children) for sa in sas)


@cell("NIC behind our agent, deleted and negotiated again", quick=False, board=True)
async def _again(world: World) -> None:
    async with managed(world, _plain) as (link, _):
        await link.negotiate()
        first = link.proven()
        await world.strongswan.terminate(ike="interop")
        await until(lambda: not world.strongswan.sas(), "strongSwan without an IKE SA")
        # What worked last stays, until something newer has worked.
        assert link.proven() == first
        await link.negotiate()
        assert link.proven() != first
        await link.reset()


@cell("NIC behind our agent, they have another key", quick=False, board=True)
async def _wrong_psk(world: World) -> None:
    async with managed(world, replace(_plain, psk="not that key, but as long")) as (link, _):
        failure = await world.strongswan.initiate()
        assert failure
        assert "AUTHENTICATION_FAILED" in world.strongswan.log()
        status = link.nic.sa_status()
        assert (status.bank_a, status.bank_b) == (BankState.EMPTY, BankState.EMPTY)
        assert not world.guest.xfrm_states().strip()
