"""What is tried: the register of cells, and what most of them have in common.

A cell is a coroutine that raises AssertionError where the peers disagree. `up` negotiates and looks
at both ends; `gone` looks that neither keeps anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from spec.suites import Suite
from sw.ike import (
    ChildSaEstablished,
    Connection,
    EndpointConfig,
    Group,
    Identity,
    IkePolicy,
    IkeSaEstablished,
    IkeSuite,
    Limits,
    Peer,
    Secret,
    Timing,
    host_child_policy,
    station_child_policy,
)
from sw.ike.certificates import Certificates
from verif.interop.credentials import OUR_NAME, THEIR_NAME
from verif.interop.guest import GUEST, OURS, Guest
from verif.interop.lan import Lan
from verif.interop.ours import SECURE_PORT, OurChild, Ours, until
from verif.interop.strongswan import StrongSwan, TheirSa, kernel_keys

__all__ = ["CELLS", "Cell", "Deal", "Role", "Setup", "World", "cell", "gone", "up"]

PSK = b"correct horse battery staple"
PORT = 40664
"""From where datagrams under the SAs are sent."""
FAST = Timing(retransmit_first=1.0, retransmit_factor=1.5, sends=6, half_open=5.0)


DEFAULT_SUITES = station_child_policy().suites
HMAC = "hmac(sha256) 128"
KERNEL_NAMES = {
    Suite.ESP_AES_GCM_16_128: "rfc4106(gcm(aes)) 128",
    Suite.ESP_AES_GCM_16_256: "rfc4106(gcm(aes)) 128",
    Suite.ESP_AES_CBC_128_HMAC_SHA_256_128: f"cbc(aes) {HMAC}",
    Suite.ESP_AES_CBC_256_HMAC_SHA_256_128: f"cbc(aes) {HMAC}",
    Suite.ESP_NULL_HMAC_SHA_256_128: f"ecb(cipher_null) {HMAC}",
    Suite.ESP_NULL_AES_GMAC_128: "rfc4543(gcm(aes)) 128",
    Suite.ESP_NULL_AES_GMAC_256: "rfc4543(gcm(aes)) 128",
}
"""The kernel's names, with bits of the ICV; how long a key is shows in the key."""


class Role:
    """Who begins."""

    OURS = "ours initiates"
    THEIRS = "theirs initiates"
    BOTH = (OURS, THEIRS)


@dataclass(frozen=True)
class World:
    """What a cell works with."""

    guest: Guest
    strongswan: StrongSwan
    lan: Lan


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    peer: str
    case: str
    run: Callable[[World], Awaitable[None]]
    quick: bool
    """Whether `make test` runs it, too."""
    board: bool = False
    """Whether it needs the virtual board."""


CELLS: dict[str, Cell] = {}
"""By case."""


def cell(
    case: str, *, peer: str = "strongswan", quick: bool = True, board: bool = False
) -> Callable[[Callable[[World], Awaitable[None]]], Callable[[World], Awaitable[None]]]:
    """Enter a coroutine in the table."""

    def enter(run: Callable[[World], Awaitable[None]]) -> Callable[[World], Awaitable[None]]:
        if case in CELLS:
            raise ValueError(f"there are two cells {case!r}")
        CELLS[case] = Cell(peer, case, run, quick, board)
        return run

    return enter


@dataclass(frozen=True)
class Setup:
    """How both ends are configured.

    `ike`, `esp` are strongSwan's words for proposals; `algorithms` is what it has to list in the
    end. `ours` and `theirs` are the credentials: a pre-shared key each, or certificates. The
    fields `connection`, `child` and `peer` override what is made of the others.
    """

    role: str
    policy: IkePolicy = field(default_factory=IkePolicy)
    ike: str = "aes256gcm16-prfsha256-x25519"
    esp: str = "aes256gcm16-x25519-esn"
    suites: tuple[Suite, ...] = DEFAULT_SUITES
    """Those of ESP that our end has."""
    algorithms: tuple[str, ...] = ("AES_GCM_16-256", "PRF_HMAC_SHA2_256", "CURVE_25519")
    our_psk: bytes = PSK
    their_psk: bytes = PSK
    ours: Certificates | None = None
    theirs: Callable[[StrongSwan], dict[str, Any]] | None = None
    """Loads their credentials, and gives more words for their `local` section."""
    encap: bool = False
    lossy: bool = False
    """Each datagram of IKE is lost once."""
    timing: Timing = FAST
    limits: Limits = field(default_factory=Limits)
    connection: dict[str, Any] = field(default_factory=dict)
    child: dict[str, Any] = field(default_factory=dict)
    our_name: str = OUR_NAME
    configured: tuple[EndpointConfig, Peer] | None = None
    """Our end as a file of configuration has it, in the place of what stands above."""

    def config(self) -> EndpointConfig:
        """Our endpoint's."""
        if self.configured is not None:
            return self.configured[0]
        return EndpointConfig(
            ike=self.policy, timing=self.timing, limits=self.limits, force_encap=self.encap
        )

    def peer(self) -> Peer:
        """The peer, as we know it: we are station where we begin, else the host's agent."""
        if self.configured is not None:
            return self.configured[1]
        child = station_child_policy() if self.role == Role.OURS else host_child_policy()
        return Peer(
            identity=Identity.fqdn(THEIR_NAME),
            local_identity=Identity.fqdn(self.our_name),
            psk=Secret(self.our_psk) if self.ours is None else None,
            child=replace(child, suites=self.suites, groups=self.policy.groups),
            certificates=self.ours,
        )

    def load(self, strongswan: StrongSwan) -> None:
        """Configure their end."""
        auth: dict[str, Any] = {"auth": "psk"}
        local: dict[str, Any] = {}
        if self.theirs is None:
            strongswan.share(self.their_psk, [OUR_NAME, THEIR_NAME])
        else:
            auth = {"auth": "pubkey"}
            local = self.theirs(strongswan)
        secure, any_port = f"dynamic[udp/{SECURE_PORT}]", "dynamic[udp]"
        theirs, ours = (secure, any_port) if self.role == Role.OURS else (any_port, secure)
        child = {
            "mode": "transport",
            "esp_proposals": [self.esp],
            "local_ts": [theirs],
            "remote_ts": [ours],
            "rekey_time": "0",
            "start_action": "none",
        }
        strongswan.load(
            {
                "version": "2",
                "local_addrs": [GUEST],
                "remote_addrs": [OURS],
                "proposals": [self.ike],
                "encap": "yes" if self.encap else "no",
                "rekey_time": "0",
                "local": auth | {"id": THEIR_NAME} | local,
                "remote": auth | {"id": OUR_NAME},
                "children": {"interop": child | self.child},
            }
            | self.connection
        )


@dataclass
class Deal:
    """What both ends have agreed on."""

    setup: Setup
    world: World
    ours: Ours
    connection: Connection

    @property
    def strongswan(self) -> StrongSwan:
        """Theirs."""
        return self.world.strongswan

    def their_sa(self) -> TheirSa:
        """The one IKE SA that strongSwan has."""
        sas = self.strongswan.sas()
        assert len(sas) == 1, f"strongSwan has not one IKE SA: {sas}"
        return sas[0]

    async def agree(self, children: int = 1) -> None:
        """Both ends have the same IKE SA and so many Child SAs, with the same keys in use."""
        await until(self._settled(children), f"{children} Child SA(s) on both sides")
        sa = self.their_sa()
        current = self.connection.current
        assert self.connection.established
        assert (sa.spi_i, sa.spi_r) == (current.spi_i.hex(), current.spi_r.hex())
        assert sa.initiator is not current.initiator
        states = self.world.guest.xfrm_states()
        keys = kernel_keys(states)
        assert len(keys) == 2 * children, f"the kernel has {len(keys)} SAs:\n{states}"
        by_spi = {child.spi_out: child for child in sa.children}
        assert set(by_spi) == set(self.ours.children)
        for spi, child in self.ours.children.items():
            theirs = by_spi[spi]
            assert theirs.spi_in == child.told.spi_out
            assert theirs.esn is child.told.esn
            assert theirs.encap is child.told.encap_udp is self.setup.encap
            assert (theirs.mode, theirs.protocol) == ("TRANSPORT", "ESP")
            assert child.told.transport
            into, out = keys[spi], keys[child.told.spi_out]
            assert into.algorithms == out.algorithms == KERNEL_NAMES[child.told.suite]
            assert into.keymat == child.keymat_in, "the kernel sends with another key"
            assert out.keymat == child.keymat_out, "the kernel expects another key"

    def _settled(self, children: int) -> Callable[[], bool]:
        def holds() -> bool:
            sas = self.strongswan.sas()
            return (
                len(sas) == 1
                and sas[0].established
                and [one.state for one in sas[0].children] == ["INSTALLED"] * children
                and len(self.ours.children) == len(self.connection.child_sas) == children
            )

        return holds

    def child(self) -> OurChild:
        """The newest Child SA."""
        return self.ours.children[self.ours.of(ChildSaEstablished)[-1].spi_in]

    async def talk(self) -> None:
        """A datagram and its answer, under ESP both ways: the kernel there, `sw.ipsec` here."""
        payload = b"presence ping, more or less"
        if self.setup.role == Role.OURS:
            answer = await self.ours.ask(self.child(), payload, PORT)
            assert answer.payload == payload[::-1]
            assert (answer.source_port, answer.destination_port) == (SECURE_PORT, PORT)
        else:
            got = await asyncio.to_thread(
                self.world.guest.ask, (OURS, SECURE_PORT), payload, port=PORT, timeout=5.0
            )
            assert got == payload[::-1], f"the guest got {got!r}"

    async def close(self) -> None:
        """Delete the IKE SA from the side that began, and see that nothing is left."""
        if self.setup.role == Role.OURS:
            self.connection.close()
            self.ours.shell.pump()
        else:
            await self.strongswan.terminate(ike="interop")
        await gone(self.world, self.ours)


@asynccontextmanager
async def ends(world: World, setup: Setup) -> AsyncIterator[Ours]:
    """Both ends configured as the setup wants, and no SA anywhere."""
    await asyncio.to_thread(world.strongswan.reset)
    await asyncio.to_thread(setup.load, world.strongswan)
    async with Ours(setup.config(), [setup.peer()]) as ours:
        ours.lossy = setup.lossy
        yield ours


async def begin(world: World, setup: Setup, ours: Ours) -> Connection:
    """Negotiate, from the side of the role."""
    if setup.role == Role.OURS:
        connection = ours.connect(setup.peer())
        await ours.event(ChildSaEstablished)
        return connection
    failure = await world.strongswan.initiate()
    assert not failure, f"{failure}\n{world.strongswan.log()[-3000:]}"
    told = await ours.event(IkeSaEstablished)
    return ours.endpoint.connections[told.connection]


@asynccontextmanager
async def up(world: World, setup: Setup) -> AsyncIterator[Deal]:
    """Negotiate; both ends agree, and talk."""
    async with ends(world, setup) as ours:
        deal = Deal(setup, world, ours, await begin(world, setup, ours))
        await deal.agree()
        assert deal.their_sa().algorithms == setup.algorithms
        await deal.talk()
        yield deal


async def gone(world: World, ours: Ours) -> None:
    """Neither end keeps an SA, nor does the kernel."""
    await until(lambda: not world.strongswan.sas(), "strongSwan without an IKE SA")
    await until(lambda: not ours.connections, "our end without a connection")
    assert not ours.children
    states = world.guest.xfrm_states()
    assert not states.strip(), f"the kernel keeps SAs:\n{states}"


def suite_policy(suite: IkeSuite, group: Group) -> IkePolicy:
    """One suite and one group alone."""
    return IkePolicy(suites=(suite,), groups=(group,))
