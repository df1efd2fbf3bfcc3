"""IKE_AUTH by certificate behind ML-KEM and in fragments: what is signed, what is put together."""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding

from sw.ike import (
    Certificates,
    ChildSaEstablished,
    CloseReason,
    Datagram,
    DropReason,
    EndpointConfig,
    Group,
    IkePolicy,
    IkeSaClosed,
    IkeSaEstablished,
    IkeSaRekeyed,
    IkeSuite,
    Limits,
    NotifyType,
    Peer,
)
from sw.ike.certificates import CERTIFICATE_OCTETS_MAX, CHAIN_OCTETS_MAX
from sw.ike.config import DATAGRAM_OVERHEAD
from sw.ike.fragments import REASSEMBLED_MAX
from sw.ike.ike_sa import IkeSa
from sw.ike.message import build_clear, build_sealed, parse_body, parse_header
from sw.ike.payloads import CertPayload, KePayload, NotifyPayload
from verif.unit.sw.ike.by_hand import SIDES, KeySpy, exchanges, on_wire, signed_by
from verif.unit.sw.ike.net import FAST, HOST_ID, STATION_ID, Net, host_peer, station_peer
from verif.unit.sw.pki import ca
from verif.unit.sw.pki.ca import CA, DAY, END, WHEN, Made, key_of, make, names

GCM_256 = {
    IkeSuite.AES_GCM_16_256_PRF_SHA_256: "sha256",
    IkeSuite.AES_GCM_16_256_PRF_SHA_384: "sha384",
    IkeSuite.AES_GCM_16_256_PRF_SHA_512: "sha512",
}
NAMES = {
    "station": names("station.example.com"),
    "host": x509.SubjectAlternativeName([x509.RFC822Name("agent@host.example.com")]),
}
LONGEST = 1280 - DATAGRAM_OVERHEAD
"""Of an IKE message in one datagram."""
WHOLE = Limits(datagram_octets=60_000)
"""Nothing goes in fragments."""
ROOT = make("Root", None)


def padding_of(octets: int) -> x509.SubjectKeyIdentifier:
    """What makes a certificate longer by so many octets, and says nothing."""
    return x509.SubjectKeyIdentifier(random.Random(octets).randbytes(octets))


@cache
def long_chain(who: str, between: int, octets: int) -> tuple[Made, ...]:
    """A certificate and so many CAs between it and the root, each longer by so many octets."""
    issuer = ROOT
    path: list[Made] = []
    for number in range(between):
        issuer = make(f"Sub {number} of {who}", issuer, (*CA, padding_of(octets)))
        path.insert(0, issuer)
    return (make(who, issuer, (*END, NAMES[who], padding_of(octets))), *path)


@cache
def short_chain(who: str, kind: str = "p256", until: Any = WHEN + 30 * DAY) -> tuple[Made, ...]:
    return (make(who, ROOT, (*END, NAMES[who]), key=key_of(kind, len(who)), until=until),)


def certificates(chain: tuple[Made, ...], **more: Any) -> Certificates:
    return Certificates(
        chain[0].key,
        tuple(one.certificate for one in chain),
        (ROOT.certificate,),
        lambda: None,
        lambda: WHEN,
        **more,
    )


def net_of(
    chains: dict[str, tuple[Made, ...]] | None = None,
    *,
    additional: tuple[Group, ...] = (Group.ML_KEM_768,),
    suite: IkeSuite = IkeSuite.AES_GCM_16_256_PRF_SHA_256,
    limits: Limits | None = None,
    patient: bool = False,
    seed: int = 1,
) -> tuple[Net, Peer]:
    """A network, and the host as the station sees it. Whose chain is not given has a short one."""
    chains = {who: short_chain(who) for who in SIDES} | (chains or {})
    same = EndpointConfig(
        timing=replace(FAST, sends=15, half_open=300.0) if patient else FAST,
        ike=IkePolicy((suite,), additional=additional),
        limits=limits or Limits(),
    )
    at_host = replace(host_peer(), psk=None, certificates=certificates(chains["host"]))
    at_station = replace(station_peer(), psk=None, certificates=certificates(chains["station"]))
    return Net(station=same, host=same, peer_at_host=at_host, seed=seed), at_station


def refused(net: Net, station_says: str, host_says: str) -> None:
    """Neither side has or keeps an SA, and each says why."""
    for side, words in (("station", station_says), ("host", host_says)):
        (closed,) = net.of(side, IkeSaClosed)
        assert closed.reason is CloseReason.AUTHENTICATION, side
        assert words in closed.why, (side, closed.why)
    assert not net.of("station", ChildSaEstablished)
    assert not net.of("station", IkeSaEstablished)
    net.advance(FAST.linger + 1)
    assert not net.station.connections
    assert not net.host.connections


# --- behind ML-KEM ------------------------------------------------------------------------------


@pytest.mark.parametrize("kem", [Group.ML_KEM_768, Group.ML_KEM_1024])
@pytest.mark.parametrize("kind", [*ca.KEYS])
def test_each_kind_of_key_behind_each_kem(kind: str, kem: Group) -> None:
    net, peer = net_of({who: short_chain(who, kind) for who in SIDES}, additional=(kem,))
    connection = net.up(peer)
    assert exchanges(net) == [34, 34, 43, 43, 35, 35]
    assert max(len(datagram.data) for _, datagram in net.wire) <= LONGEST
    connection.rekey()
    net.run()
    assert len(net.of("host", IkeSaRekeyed)) == 1
    connection.create_child()
    net.run()
    net.matching()
    (established,) = net.of("host", IkeSaEstablished)
    assert established.peer_id == STATION_ID
    (established,) = net.of("station", IkeSaEstablished)
    assert established.peer_id == HOST_ID
    assert not net.station.counters
    assert not net.host.counters


@pytest.mark.parametrize("suite", [s for s in IkeSuite if s not in GCM_256])
def test_each_other_suite(suite: IkeSuite) -> None:
    net, peer = net_of(suite=suite)
    net.up(peer)
    assert exchanges(net) == [34, 34, 43, 43, 35, 35]


@pytest.mark.parametrize("kind", [*ca.KEYS])
@pytest.mark.parametrize("limits", [Limits(), WHOLE], ids=["fragments", "whole"])
@pytest.mark.parametrize("suite", [*GCM_256])
def test_rfc9242_3_3_2_what_is_signed(
    suite: IkeSuite, limits: Limits, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand from the wire, for both sides; the signature is checked by `cryptography` alone."""
    spy = KeySpy(monkeypatch)
    chains = {who: short_chain(who, kind) for who in SIDES}
    net, peer = net_of(chains, suite=suite, limits=limits)
    net.up(peer)
    for who in SIDES:
        digest = GCM_256[suite]
        signed, inside = signed_by(who, net, spy, partial(_hmac, digest))
        assert inside[37] == [b"\x04" + chains[who][0].certificate.public_bytes(Encoding.DER)]
        (auth,) = inside[39]
        assert auth[:4] == bytes([14, 0, 0, 0])
        _check(kind, chains[who][0].certificate.public_key(), auth[5 + auth[4] :], signed)


def _hmac(digest: str, key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, digest)


DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "rsa": hashes.SHA256(),
    "p256": hashes.SHA256(),
    "p384": hashes.SHA384(),
    "p521": hashes.SHA512(),
}


def _check(kind: str, key: Any, signature: bytes, octets: bytes) -> None:
    if kind == "ed25519":
        key.verify(signature, octets)
    elif kind == "rsa":
        how = padding.PSS(padding.MGF1(DIGESTS[kind]), 32)
        key.verify(signature, octets, how, DIGESTS[kind])
    else:
        key.verify(signature, octets, ec.ECDSA(DIGESTS[kind]))


@pytest.mark.parametrize("whose", ["station", "host"])
def test_rfc9242_3_3_2_who_broke_the_first_exchange_cannot_touch_the_second(whose: str) -> None:
    """Somebody who has the keys of IKE_SA_INIT adds to a message; the signature tells."""
    net, peer = net_of(limits=WHOLE)
    connection = net.connect(peer)
    for _ in range(2):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
    broken = connection.sas[-1].keys
    initiator = whose == "station"
    sealer, opener = broken.sealer(initiator=initiator), broken.opener(initiator=not initiator)
    touched = []

    def meddle(who: str, datagram: Datagram) -> list[Datagram]:
        if who != whose or datagram.data[18] != 43:
            return [datagram]
        plain = opener.open(datagram.data[32:], datagram.data[:32])
        touched.append(KePayload(Group.ML_KEM_768, plain[8:-1]))
        header, _ = parse_header(datagram.data)
        data = build_sealed(header, [touched[-1], NotifyPayload(40000)], sealer)
        return [datagram._replace(data=data)]

    net.filter = meddle
    net.run()
    assert len(touched) == 1
    assert not net.of("host", IkeSaEstablished)
    refused(net, "does not take our proof", "signature is wrong")


def test_bad_certificates_behind_a_kem() -> None:
    net, peer = net_of({"station": short_chain("station", until=WHEN - DAY)})
    net.connect(peer)
    net.run()
    refused(net, "does not take our proof", "has expired")
    net, peer = net_of({"host": short_chain("host", until=WHEN - DAY)})
    net.connect(peer)
    net.run()
    refused(net, "has expired", "does not take our own proof")


# --- in fragments -------------------------------------------------------------------------------

LONG: dict[str, Callable[[], dict[str, tuple[Made, ...]]]] = {
    "station": lambda: {"station": long_chain("station", 3, 2000)},
    "host": lambda: {"host": long_chain("host", 3, 2000)},
    "both": lambda: {who: long_chain(who, 3, 2000) for who in SIDES},
    "the longest": lambda: {who: long_chain(who, 6, 3060) for who in SIDES},
}


def octets_of(chain: tuple[Made, ...]) -> int:
    return sum(len(one.certificate.public_bytes(Encoding.DER)) for one in chain)


@pytest.mark.parametrize("additional", [Group.NONE, Group.ML_KEM_768, Group.ML_KEM_1024])
@pytest.mark.parametrize("whose", [*LONG])
def test_rfc7383_big_chains_go_in_fragments(whose: str, additional: Group) -> None:
    chains = LONG[whose]()
    net, peer = net_of(chains, additional=(additional,))
    net.up(peer)
    for who in SIDES:
        sent = on_wire(net, who, 35)
        assert max(map(len, sent)) <= LONGEST
        if who in chains:
            # No more of them than it takes.
            assert len(sent) >= octets_of(chains[who]) // LONGEST
            assert len(sent) <= octets_of(chains[who]) // (LONGEST - 100) + 2
            assert {data[16] for data in sent} == {53}
        else:
            assert len(sent) <= 2
    assert not net.station.counters
    assert not net.host.counters


def test_the_longest_chain_is_as_long_as_one_may_be() -> None:
    chain = LONG["the longest"]()["station"]
    assert CHAIN_OCTETS_MAX - 500 < octets_of(chain) <= CHAIN_OCTETS_MAX


@pytest.mark.parametrize("seed", range(6))
def test_lost_doubled_and_out_of_order(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    chains = LONG["both"]()
    net, peer = net_of(chains, patient=True, seed=seed)
    net.filter = lambda _who, datagram: [datagram] * rng.choices((0, 1, 2), (1, 20, 4))[0]
    gather = net.gather

    def shuffled() -> list[tuple[str, Datagram]]:
        moving = gather()
        rng.shuffle(moving)
        return moving

    monkeypatch.setattr(net, "gather", shuffled)
    net.connect(peer)
    net.advance(200)
    net.filter = lambda _who, datagram: [datagram]
    net.advance(100)
    net.matching()


def test_forged_fragments_among_those_of_a_chain() -> None:
    net, peer = net_of(LONG["both"]())

    def attack(who: str, good: Datagram) -> list[Datagram]:
        data = good.data
        for at in range(0, len(data), 11):
            changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            for bad in (changed, data[:at]):
                net.deliver(who, good._replace(data=bad))
        return [good] if data[18] != 34 else []

    net.connect(peer)
    for _ in range(2):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
    net.filter = attack
    net.run()
    net.matching()
    assert not net.of("host", IkeSaClosed)


def test_in_one_piece_to_a_peer_without_fragments() -> None:
    chains = LONG["both"]()
    net, peer = net_of(chains, additional=(Group.NONE,))
    notify = NotifyPayload(NotifyType.IKEV2_FRAGMENTATION_SUPPORTED)
    net.connect(peer)
    for _ in range(2):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
        header, first = parse_header(datagram.data)
        assert notify in parse_body(datagram.data, first)
        kept = [p for p in parse_body(datagram.data, first) if p != notify]
        assert build_clear(header, kept) != datagram.data
    # Both learn of it before IKE_AUTH; what was proven is what was really on the wire.
    for sa in (*net.peer_connection().sas, *next(iter(net.station.connections.values())).sas):
        sa.message_octets = 0
    net.run()
    net.matching()
    for who in SIDES:
        (data,) = on_wire(net, who, 35)
        assert len(data) > octets_of(chains[who])


def _parts(sa: IkeSa) -> list[int]:
    return [len(p.octets) for held in sa._partial.values() for p in held._parts.values()]


def test_a_message_without_end_is_given_up_and_a_good_peer_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stranger sends certificates for ever: the half-open SA holds so much and no more."""
    net, peer = net_of()
    endless = [CertPayload(4, bytes(CERTIFICATE_OCTETS_MAX))] * 3
    with monkeypatch.context() as patch:
        patch.setattr(Certificates, "payloads", lambda _: endless)
        net.connect(peer)
        held = []

        def watched(_who: str, datagram: Datagram) -> list[Datagram]:
            parts = [p for c in net.host.connections.values() for sa in c.sas for p in _parts(sa)]
            held.append(sum(parts))
            return [datagram]

        net.filter = watched
        net.advance(200)
    assert REASSEMBLED_MAX - LONGEST < max(held) <= REASSEMBLED_MAX
    # Retransmissions find some of the fragments there.
    assert set(net.host.counters) == {DropReason.FRAGMENT, DropReason.DUPLICATE}
    assert not net.of("host", IkeSaEstablished)
    assert not net.host.connections
    assert 3 * CERTIFICATE_OCTETS_MAX > REASSEMBLED_MAX
    net.events["station"].clear()
    net.up(peer)


def test_a_chain_of_ours_that_no_peer_would_take_is_no_configuration() -> None:
    for chain in (long_chain("station", 6, 3300), long_chain("station", 0, 16384)):
        with pytest.raises(ValueError, match=f"{octets_of(chain)} octets.*{CHAIN_OCTETS_MAX}"):
            certificates(chain)
