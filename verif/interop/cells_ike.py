"""Cells: what is negotiated with strongSwan, and how IKE SAs and Child SAs live and end."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from spec.suites import Suite
from sw.ike import (
    ChildSaDeleted,
    ChildSaEstablished,
    CloseReason,
    DropReason,
    ExchangeFailed,
    ExchangeKind,
    FailureReason,
    Group,
    IkePolicy,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    IkeSuite,
    Limits,
    NotifyType,
    PeerAlive,
)
from verif.interop.cells import (
    DEFAULT_SUITES,
    FAST,
    Deal,
    Role,
    Setup,
    World,
    cell,
    ends,
    gone,
    suite_policy,
    up,
)
from verif.interop.configured import our_end, their_end
from verif.interop.credentials import Credentials
from verif.interop.ours import until

FRAGMENT_PAYLOAD = 53
"""Next payload of a message in fragments (RFC 7383 2.5)."""


def _roles(
    case: str, *, quick: bool = True
) -> Callable[[Callable[[World, str], Awaitable[None]]], None]:
    """One cell for each side that may begin."""

    def enter(run: Callable[[World, str], Awaitable[None]]) -> None:
        for role in Role.BOTH:

            async def one(world: World, role: str = role) -> None:
                await run(world, role)

            cell(f"{case}, {role}", quick=quick)(one)

    return enter


def _plain(case: str, *, quick: bool = True, **changes: Any) -> None:
    """Negotiate, talk, delete."""

    @_roles(case, quick=quick)
    async def run(world: World, role: str) -> None:
        async with up(world, Setup(role, **changes)) as deal:
            await deal.close()


# What is negotiated.

_plain("pre-shared key")

SUITES = {
    IkeSuite.AES_GCM_16_128_PRF_SHA_256: (
        "aes128gcm16-prfsha256",
        ("AES_GCM_16-128", "PRF_HMAC_SHA2_256"),
    ),
    IkeSuite.AES_GCM_16_192_PRF_SHA_512: (
        "aes192gcm16-prfsha512",
        ("AES_GCM_16-192", "PRF_HMAC_SHA2_512"),
    ),
    IkeSuite.AES_GCM_16_256_PRF_SHA_384: (
        "aes256gcm16-prfsha384",
        ("AES_GCM_16-256", "PRF_HMAC_SHA2_384"),
    ),
    IkeSuite.CHACHA20_POLY1305_PRF_SHA_256: (
        "chacha20poly1305-prfsha256",
        ("CHACHA20_POLY1305", "PRF_HMAC_SHA2_256"),
    ),
    IkeSuite.AES_CBC_128_HMAC_SHA_256: (
        "aes128-sha256",
        ("AES_CBC-128", "HMAC_SHA2_256_128", "PRF_HMAC_SHA2_256"),
    ),
    IkeSuite.AES_CBC_192_HMAC_SHA_384: (
        "aes192-sha384",
        ("AES_CBC-192", "HMAC_SHA2_384_192", "PRF_HMAC_SHA2_384"),
    ),
    IkeSuite.AES_CBC_256_HMAC_SHA_512: (
        "aes256-sha512",
        ("AES_CBC-256", "HMAC_SHA2_512_256", "PRF_HMAC_SHA2_512"),
    ),
}
QUICK_SUITES = (IkeSuite.AES_GCM_16_128_PRF_SHA_256, IkeSuite.AES_CBC_128_HMAC_SHA_256)
for _suite, (_words, _names) in SUITES.items():
    _plain(
        f"suite {_suite.value}",
        quick=_suite in QUICK_SUITES,
        policy=suite_policy(_suite, Group.X25519),
        ike=f"{_words}-x25519",
        algorithms=(*_names, "CURVE_25519"),
    )

GROUPS = {
    Group.MODP_2048: ("modp2048", "MODP_2048"),
    Group.MODP_3072: ("modp3072", "MODP_3072"),
    Group.MODP_4096: ("modp4096", "MODP_4096"),
    Group.P256: ("ecp256", "ECP_256"),
    Group.P384: ("ecp384", "ECP_384"),
    Group.P521: ("ecp521", "ECP_521"),
    Group.X448: ("x448", "CURVE_448"),
}
for _group, (_word, _name) in GROUPS.items():
    _plain(
        f"group {int(_group)}",
        quick=_group in (Group.MODP_2048, Group.P256),
        policy=suite_policy(IkeSuite.AES_GCM_16_256_PRF_SHA_256, _group),
        ike=f"aes256gcm16-prfsha256-{_word}",
        esp=f"aes256gcm16-{_word}-esn",
        algorithms=("AES_GCM_16-256", "PRF_HMAC_SHA2_256", _name),
    )

_plain("ESP AES-128-GCM without ESN", esp="aes128gcm16-x25519-noesn")

ESP_WORDS = {
    Suite.ESP_AES_CBC_128_HMAC_SHA_256_128: "aes128-sha256",
    Suite.ESP_AES_CBC_256_HMAC_SHA_256_128: "aes256-sha256",
    Suite.ESP_NULL_HMAC_SHA_256_128: "null-sha256",
    Suite.ESP_NULL_AES_GMAC_128: "aes128gmac",
    Suite.ESP_NULL_AES_GMAC_256: "aes256gmac",
}


def _esp_suite(suite: Suite, words: str) -> None:
    """Among all the suites of our end it is what the peer takes; a rekey takes it again."""

    @_roles(
        f"{suite.name.replace('_', ' ')}, rekeyed",
        quick=suite in (Suite.ESP_AES_CBC_256_HMAC_SHA_256_128, Suite.ESP_NULL_AES_GMAC_128),
    )
    async def run(world: World, role: str) -> None:
        # One way with ESN, the other way without.
        esp = f"{words}-x25519-{'esn' if role == Role.OURS else 'noesn'}"
        async with up(world, Setup(role, esp=esp, suites=(*DEFAULT_SUITES, *ESP_WORDS))) as deal:
            await _rekey_child(deal, role)
            for told in deal.ours.of(ChildSaEstablished):
                assert told.suite is suite
            await deal.close()


for _esp, _esp_words in ESP_WORDS.items():
    _esp_suite(_esp, _esp_words)


@_roles("ESP suites of which each end has some, in the initiator's order")
async def esp_choice(world: World, role: str) -> None:
    """RFC 7296 2.7: what both have, whole, where parts of others would make what nobody has."""
    cbc = Suite.ESP_AES_CBC_256_HMAC_SHA_256_128
    setup = Setup(
        role,
        suites=(Suite.ESP_AES_CBC_128_HMAC_SHA_256_128, Suite.ESP_AES_GCM_16_256, cbc),
        child={"esp_proposals": ["aes128-sha512-x25519", "aes256-sha512-sha256-x25519"]},
    )
    async with up(world, setup) as deal:
        assert deal.child().told.suite is cbc
        await deal.close()


_plain("without MOBIKE", quick=False, connection={"mobike": "no"})


@_roles("a group that is not the peer's first (INVALID_KE_PAYLOAD)")
async def invalid_ke(world: World, role: str) -> None:
    """RFC 7296 1.2: the initiator guesses wrong, is told, and begins again."""
    ours = role == Role.OURS
    groups = (Group.P256, Group.X25519) if ours else (Group.X25519,)
    theirs = "x25519" if ours else "ecp256-x25519"
    setup = Setup(role, policy=IkePolicy(groups=groups), ike=f"aes256gcm16-prfsha256-{theirs}")
    async with up(world, setup) as deal:
        assert "INVAL_KE" in deal.strongswan.log()
        await deal.close()


_plain(
    "ML-KEM-768 wished for, which they do not know",
    policy=IkePolicy(additional=(Group.ML_KEM_768, Group.NONE)),
)


@_roles("each datagram lost once", quick=False)
async def lossy(world: World, role: str) -> None:
    """RFC 7296 2.1: both sides send again, bit for bit, and answer again."""
    async with up(world, Setup(role, lossy=True)) as deal:
        await _rekey_ike(deal, Role.OURS)
        await _rekey_child(deal, Role.THEIRS)
        # Whoever has answered a Delete is gone, and strongSwan does not answer it again.
        deal.ours.lossy = False
        await deal.close()


# Certificates.


def _with(credentials: Credentials, role: str, **changes: Any) -> Setup:
    return Setup(role, ours=credentials.ours(), theirs=credentials.theirs(), **changes)


def _certified(case: str, credentials: Credentials, *, quick: bool = True) -> None:
    @_roles(case, quick=quick)
    async def run(world: World, role: str) -> None:
        async with up(world, _with(credentials, role)) as deal:
            await deal.close()


_certified("ECDSA P-256 certificates", Credentials("p256"))
_certified("ECDSA P-384 certificates", Credentials("p384"), quick=False)
_certified("RSA certificates, PSS", Credentials("rsa"))
_certified("RSA certificates, PKCS #1", Credentials("rsa", pss=False))
_certified("Ed25519 certificates", Credentials("ed25519"), quick=False)


@_roles("fragments, for a certificate of 6 KB")
async def fragments(world: World, role: str) -> None:
    """RFC 7383: messages in fragments both ways."""
    async with up(world, _with(Credentials(big=True), role)) as deal:
        log = deal.strongswan.log()
        assert "splitting IKE message" in log
        assert "received fragment #3 of" in log
        assert deal.ours.first_payloads.count(FRAGMENT_PAYLOAD) >= 3
        await deal.close()


@_roles("as configured: certificates of holdfast pki, their default proposals")
async def as_configured(world: World, role: str) -> None:
    """Our end by its file of configuration, theirs with nothing chosen."""
    with tempfile.TemporaryDirectory(prefix="holdfast-interop-") as name:
        folder = Path(name)
        configured = await asyncio.to_thread(our_end, folder, as_station=role == Role.OURS)
        setup = Setup(
            role,
            configured=configured,
            theirs=their_end(folder),
            ike="default",
            esp="default",
        )
        async with up(world, setup) as deal:
            await deal.close()


# NAT and cookies.

_plain("NAT forced (ESP in UDP)", encap=True)


@_roles("cookies demanded by the responder")
async def cookies(world: World, role: str) -> None:
    """RFC 7296 2.6: under load the responder wants its cookie back first."""
    setup = Setup(role, limits=Limits(cookie_threshold=0))
    if role == Role.OURS:
        async with ends(world, setup) as ours:
            # strongSwan demands cookies from its third half-open IKE SA on.
            await ours.strangers(3)
            await until(lambda: len(world.strongswan.sas()) >= 3, "three half-open IKE SAs")
            connection = ours.connect(setup.peer())
            await ours.event(ChildSaEstablished)
            assert "N(COOKIE)" in world.strongswan.log()
            await until(lambda: len(world.strongswan.sas()) == 1, "the half-open ones' end")
            deal = Deal(setup, world, ours, connection)
            await deal.agree()
            await deal.talk()
            await deal.close()
    else:
        async with up(world, setup) as deal:
            assert deal.ours.endpoint.counters[DropReason.COOKIE_DEMANDED] == 1
            assert "N(COOKIE)" in deal.strongswan.log()
            await deal.close()


# Rekeys.


async def _rekey_ike(deal: Deal, by: str) -> None:
    before = deal.their_sa().spi_i
    if by == Role.OURS:
        deal.connection.rekey()
        deal.ours.shell.pump()
    else:
        await deal.strongswan.rekey(ike="interop")
    told = await deal.ours.event(IkeSaRekeyed)
    assert told.initiator is (by == Role.OURS)
    await deal.agree()
    assert deal.their_sa().spi_i != before
    await deal.talk()


async def _rekey_child(deal: Deal, by: str) -> None:
    old = deal.child()
    if by == Role.OURS:
        deal.connection.rekey_child(old.told.spi_in)
        deal.ours.shell.pump()
        told = await deal.ours.event(ChildSaEstablished, 2)
        deal.connection.delete_child(old.told.spi_in)
        deal.ours.shell.pump()
    else:
        await deal.strongswan.rekey(child="interop")
        told = await deal.ours.event(ChildSaEstablished, 2)
    assert told.rekeyed_spi == old.told.spi_in
    gone_one = await deal.ours.event(ChildSaDeleted)
    assert (gone_one.spi_in, gone_one.by_peer) == (old.told.spi_in, by == Role.THEIRS)
    await deal.agree()
    assert deal.child().keymat_in != old.keymat_in
    await deal.talk()


REKEYS = {"IKE SA": _rekey_ike, "Child SA": _rekey_child}
for _what, _rekey in REKEYS.items():
    for _by in Role.BOTH:
        _who = "us" if _by == Role.OURS else "them"

        @_roles(f"{_what} rekeyed by {_who}", quick=_by == Role.OURS)
        async def rekey(
            world: World,
            role: str,
            work: Callable[[Deal, str], Awaitable[None]] = _rekey,
            by: str = _by,
        ) -> None:
            """RFC 7296 1.3.2, 1.3.3."""
            async with up(world, Setup(role)) as deal:
                await work(deal, by)
                await deal.close()


COLLISIONS = 16
"""Collisions after which both outcomes have come, but for once in 32,768 times."""


async def _both_ways(collide: Callable[[], Awaitable[bool]]) -> None:
    """The nonces decide whose new SA stays: once it has to be ours, and once theirs."""
    outcomes: set[bool] = set()
    for _ in range(COLLISIONS):
        outcomes.add(await collide())
        if len(outcomes) == 2:
            return
    raise AssertionError(f"in {COLLISIONS} collisions ours stayed: {outcomes}")


async def _at_once(deal: Deal, ours: Callable[[], None], **theirs: str) -> None:
    """Requests of both sides cross on the wire."""
    deal.ours.hold()
    await deal.strongswan.rekey(**theirs)
    await until(lambda: deal.ours.held, "strongSwan's request")
    ours()
    deal.ours.shell.pump()
    await until(lambda: deal.ours.held >= 2, "strongSwan's answer")
    deal.ours.release()


@_roles("Child SA rekeyed by both at once")
async def rekey_child_collision(world: World, role: str) -> None:
    """RFC 7296 2.8.1: of two new Child SAs the one with the lowest nonce goes."""
    async with up(world, Setup(role)) as deal:

        async def collide() -> bool:
            (old,) = deal.ours.children
            failures = len(deal.ours.of(ExchangeFailed))
            await _at_once(deal, lambda: deal.connection.rekey_child(old), child="interop")

            def made_by_us() -> bool:
                made = deal.ours.of(ChildSaEstablished)
                return any(one.rekeyed_spi == old and one.initiator for one in made)

            await until(
                lambda: made_by_us() or len(deal.ours.of(ExchangeFailed)) > failures,
                "an end of our rekey",
            )
            stays = made_by_us()
            if stays:
                # Whoever made the new one deletes the old one.
                deal.connection.delete_child(old)
                deal.ours.shell.pump()
            else:
                assert deal.ours.of(ExchangeFailed)[-1].reason is FailureReason.REDUNDANT
            await until(lambda: old not in deal.ours.children, "an end of the old Child SA")
            await deal.agree()
            (alive,) = deal.ours.children.values()
            assert (alive.told.rekeyed_spi, alive.told.initiator) == (old, stays)
            return stays

        await _both_ways(collide)
        await deal.close()


@_roles("IKE SA rekeyed by both at once")
async def rekey_ike_collision(world: World, role: str) -> None:
    """RFC 7296 2.8.2: of two new IKE SAs the one with the lowest nonce goes."""
    async with up(world, Setup(role)) as deal:

        async def collide() -> bool:
            before, rekeys = deal.their_sa().spi_i, len(deal.ours.of(IkeSaRekeyed))
            await _at_once(deal, deal.connection.rekey, ike="interop")
            told = await deal.ours.event(IkeSaRekeyed, rekeys + 1)
            await deal.agree()
            sa = deal.their_sa()
            assert sa.spi_i != before
            assert sa.initiator is not told.initiator
            await deal.talk()
            return told.initiator

        await _both_ways(collide)
        await deal.close()


@_roles("we rekey the Child SA while they rekey the IKE SA", quick=False)
async def rekeys_crossing(world: World, role: str) -> None:
    """RFC 7296 2.25.2: TEMPORARY_FAILURE, and in the end both ends agree."""
    async with up(world, Setup(role)) as deal:
        (old,) = deal.ours.children
        await _at_once(deal, lambda: deal.connection.rekey_child(old), ike="interop")
        told = await deal.ours.event(ChildSaEstablished, 2)
        assert told.rekeyed_spi == old
        assert "TEMP_FAIL" in deal.strongswan.log()
        deal.connection.delete_child(old)
        deal.ours.shell.pump()
        await deal.ours.event(ChildSaDeleted)
        await deal.agree()
        await deal.talk()
        await deal.close()


# Ends.


@_roles("a second Child SA, and its deletion by us")
async def second_child(world: World, role: str) -> None:
    """RFC 7296 1.3.1, 1.4.1."""
    async with up(world, Setup(role)) as deal:
        deal.connection.create_child()
        deal.ours.shell.pump()
        told = await deal.ours.event(ChildSaEstablished, 2)
        assert told.rekeyed_spi is None
        await deal.agree(children=2)
        deal.connection.delete_child(told.spi_in)
        deal.ours.shell.pump()
        await deal.ours.event(ChildSaDeleted)
        await deal.agree(children=1)
        await deal.close()


@_roles("Child SA deleted by them", quick=False)
async def delete_child(world: World, role: str) -> None:
    """RFC 7296 1.4.1."""
    async with up(world, Setup(role)) as deal:
        await deal.strongswan.terminate(child="interop")
        told = await deal.ours.event(ChildSaDeleted)
        assert told.by_peer
        await deal.agree(children=0)
        await deal.close()


@_roles("IKE SA deleted by the side that did not begin")
async def delete_ike(world: World, role: str) -> None:
    """RFC 7296 1.4.1."""
    async with up(world, Setup(role)) as deal:
        if role == Role.OURS:
            await deal.strongswan.terminate(ike="interop")
            told = await deal.ours.event(IkeSaClosed)
            assert told.reason is CloseReason.PEER
        else:
            deal.connection.close()
            deal.ours.shell.pump()
            told = await deal.ours.event(IkeSaClosed)
            assert told.reason is CloseReason.LOCAL
        await gone(world, deal.ours)


# Liveness.


@_roles("liveness asked by both")
async def liveness(world: World, role: str) -> None:
    """RFC 7296 2.4."""
    async with up(world, Setup(role, connection={"dpd_delay": "1"})) as deal:
        deal.connection.check_liveness()
        deal.ours.shell.pump()
        await deal.ours.event(PeerAlive)
        before = deal.connection.last_heard
        await until(
            lambda: deal.strongswan.counters().get("info-in-resp", 0) >= 1, "their own question"
        )
        assert deal.connection.last_heard > before
        assert deal.strongswan.counters()["info-in-req"] >= 1
        await deal.agree()
        await deal.close()


@_roles("we fall silent", quick=False)
async def we_vanish(world: World, role: str) -> None:
    """Their liveness check finds out, and they let go of everything."""
    async with up(world, Setup(role, connection={"dpd_delay": "1"})) as deal:
        deal.ours.shell.close()
        await until(lambda: not world.strongswan.sas(), "an end of their IKE SA", wait_s=40)
        states = world.guest.xfrm_states()
        assert not states.strip(), states


@_roles("they fall silent", quick=False)
async def they_vanish(world: World, role: str) -> None:
    """Our liveness check finds out, and we let go of everything."""
    timing = replace(FAST, retransmit_first=0.2, sends=4)
    async with up(world, Setup(role, timing=timing)) as deal:
        world.strongswan.freeze()
        try:
            deal.connection.check_liveness()
            deal.ours.shell.pump()
            told = await deal.ours.event(IkeSaClosed)
        finally:
            world.strongswan.thaw()
        assert told.reason is CloseReason.TIMEOUT
        await until(lambda: not deal.ours.connections, "our end without a connection")
        assert not deal.ours.children


# What has to fail.


async def _refused(
    world: World, setup: Setup, *, reason: CloseReason, words: str, by_them: bool = False
) -> None:
    """Both ends refuse in good order: our event, their log, and nothing is kept.

    With `by_them` an initiating strongSwan refuses our proof, which it sees last: then our end has
    taken strongSwan's already, and is told (RFC 7296 2.21.2).
    """
    timing = replace(setup.timing, refusal_patience=0.5)
    async with ends(world, replace(setup, timing=timing)) as ours:
        if setup.role == Role.OURS:
            ours.connect(setup.peer())
            told = await ours.event(IkeSaClosed)
            assert told.reason is reason, told
        else:
            failure = await world.strongswan.initiate()
            assert failure
            if by_them:
                closed = await ours.event(IkeSaClosed)
                assert closed.reason is reason, closed
        if setup.role == Role.OURS or not by_them:
            assert not ours.of(IkeSaEstablished)
            assert not ours.of(ChildSaEstablished)
        assert words in world.strongswan.log()
        await gone(world, ours)


@_roles("wrong pre-shared key fails")
async def wrong_psk(world: World, role: str) -> None:
    """RFC 7296 2.21.2."""
    setup = Setup(role, our_psk=b"quite another key than theirs")
    words = "tried 1 shared key for" if role == Role.OURS else "AUTHENTICATION_FAILED"
    await _refused(world, setup, reason=CloseReason.AUTHENTICATION, words=words)


@_roles("wrong identity fails")
async def wrong_identity(world: World, role: str) -> None:
    """The key is right, the name is another's."""
    setup = Setup(role, our_name="somebody.example.com")
    words = "no matching peer config found" if role == Role.OURS else "AUTHENTICATION_FAILED"
    await _refused(world, setup, reason=CloseReason.AUTHENTICATION, words=words)


@_roles("no common suite fails")
async def no_suite(world: World, role: str) -> None:
    """RFC 7296 2.7."""
    setup = Setup(role, ike="aes128-sha256-x25519")
    await _refused(world, setup, reason=CloseReason.REFUSED, words="NO_PROP")


@_roles("no common ESP suite fails")
async def no_esp_suite(world: World, role: str) -> None:
    """RFC 7296 1.3.1: the IKE SA may stand, but no Child SA does."""
    setup = Setup(role, esp="aes128-sha256")
    async with ends(world, setup) as ours:
        if role == Role.OURS:
            connection = ours.connect(setup.peer())
            failed = await ours.event(ExchangeFailed)
            assert (failed.exchange, failed.notify) == (
                ExchangeKind.CREATE_CHILD,
                NotifyType.NO_PROPOSAL_CHOSEN,
            )
            connection.close()
            ours.shell.pump()
        else:
            assert await world.strongswan.initiate()
            await world.strongswan.terminate(ike="interop")
        assert not ours.of(ChildSaEstablished)
        assert "NO_PROP" in world.strongswan.log()
        await gone(world, ours)


def _uncertified(case: str, credentials: Credentials, words: str, *, by_them: bool) -> None:
    """`words` is what strongSwan says of our certificate; of its own it learns nothing."""

    @_roles(case)
    async def run(world: World, role: str) -> None:
        setup = _with(credentials, role)
        reason = CloseReason.AUTHENTICATION
        await _refused(world, setup, reason=reason, words=words, by_them=by_them)


_uncertified(
    "our certificate of another CA fails",
    Credentials(our_ca="Another CA"),
    "no issuer certificate found",
    by_them=True,
)
_uncertified(
    "our expired certificate fails",
    Credentials(our_expired=True),
    "subject certificate invalid",
    by_them=True,
)
for _what, _credentials in (
    ("certificate of another CA", Credentials(their_ca="Another CA")),
    ("expired certificate", Credentials(their_expired=True)),
    ("revoked certificate", Credentials(their_revoked=True)),
):
    _uncertified(f"their {_what} fails", _credentials, "AUTH_FAILED", by_them=False)
