"""IKE_AUTH by certificate: every kind of key, both ends, and every way to fail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sw.ike import (
    Certificates,
    ChildSaEstablished,
    CloseReason,
    Identity,
    IkeSaClosed,
    IkeSaEstablished,
    NotifyType,
    Peer,
)
from sw.ike import signatures as signatures_module
from sw.ike.constants import AuthMethod, CertEncoding, PayloadType
from sw.ike.exchanges import proof as proof_module
from sw.ike.message import parse_body, parse_header
from sw.ike.payloads import CertPayload, CertRequestPayload, NotifyPayload, find
from sw.pki import path as path_module
from sw.pki.path import CertificateError
from verif.unit.sw.ike.net import FAST, HOST_ID, STATION_ID, Net, host_peer, station_peer
from verif.unit.sw.pki import ca
from verif.unit.sw.pki.ca import CA, DAY, END, WHEN, Made, crl, key_of, make, names

_ONE = ip_address("192.0.2.1")
ROOT = make("Root", None)
OTHER_ROOT = make("Other root", None)
STATION_NAMES = names("station.example.com")
HOST_NAMES = x509.SubjectAlternativeName([x509.RFC822Name("agent@host.example.com")])


def _none() -> None:
    return None


def certificates(
    made: Made, *between: Made, root: Made = ROOT, crls: Callable[[], Any] = _none, **more: Any
) -> Certificates:
    """What one side is configured with."""
    chain = (made.certificate, *(one.certificate for one in between))
    return Certificates(made.key, chain, (root.certificate,), crls, lambda: WHEN, **more)


STATION = make("station", ROOT, (*END, STATION_NAMES))
HOST = make("host", ROOT, (*END, HOST_NAMES))


def net_of(
    station: Certificates | None = None, host: Certificates | None = None, **more: Any
) -> tuple[Net, Peer]:
    """A network, and the host as the station sees it."""
    at_host = host_peer(psk=b"x", **more)
    at_host = replace(at_host, psk=None, certificates=host or certificates(HOST))
    at_station = station_peer(psk=b"x")
    at_station = replace(at_station, psk=None, certificates=station or certificates(STATION))
    return Net(peer_at_host=at_host), at_station


def refused(net: Net, station_says: str, host_says: str) -> None:
    """Neither side holds anything, and each says why in words."""
    for side, words in (("station", station_says), ("host", host_says)):
        (closed,) = net.of(side, IkeSaClosed)
        assert closed.reason is CloseReason.AUTHENTICATION, side
        assert words in closed.why, (side, closed.why)
    assert not net.of("station", ChildSaEstablished)
    assert not net.of("station", IkeSaEstablished)
    net.advance(FAST.linger + 1)
    for endpoint in (net.station, net.host):
        assert not endpoint.connections
        assert not endpoint._shared.child_spis


def at_host_refused(net: Net, host_says: str) -> None:
    """The host found fault: it never had an SA."""
    assert not net.of("host", IkeSaEstablished)
    assert not net.of("host", ChildSaEstablished)
    refused(net, "does not take our proof", host_says)


@pytest.mark.parametrize("kind", [*ca.KEYS])
def test_each_kind_of_key_on_both_sides(kind: str) -> None:
    root = make("Root", None, key=key_of(kind))
    station = make("station", root, (*END, STATION_NAMES), key=key_of(kind, 1))
    host = make("host", root, (*END, HOST_NAMES), key=key_of(kind, 2))
    net, peer = net_of(certificates(station, root=root), certificates(host, root=root))
    connection = net.up(peer)
    connection.rekey()
    net.run()
    assert connection.established
    (established,) = net.of("host", IkeSaEstablished)
    assert established.peer_id == STATION_ID


@pytest.mark.parametrize(("pss", "algorithm"), [(True, "pss"), (False, "rsa")])
def test_rfc7427_rsa_with_both_paddings(
    pss: bool, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    split = signatures_module._split

    def spy(data: bytes) -> Any:
        seen.append(split(data)[0].kind)
        return split(data)

    monkeypatch.setattr(signatures_module, "_split", spy)
    station = make("station", ROOT, (*END, STATION_NAMES), key=key_of("rsa", 1))
    host = make("host", ROOT, (*END, HOST_NAMES), key=key_of("rsa", 2))
    net, peer = net_of(certificates(station, pss=pss), certificates(host, pss=pss))
    net.up(peer)
    assert seen == [algorithm, algorithm]


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("rsa", AuthMethod.RSA),
        ("p256", AuthMethod.ECDSA_P256),
        ("p384", AuthMethod.ECDSA_P384),
        ("p521", AuthMethod.ECDSA_P521),
    ],
)
def test_methods_of_old_for_a_peer_without_rfc7427(
    kind: str, method: AuthMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = []
    check = signatures_module.verify

    def spy(key: Any, auth: Any, octets: bytes) -> None:
        methods.append(auth.method)
        check(key, auth, octets)

    monkeypatch.setattr(proof_module, "verify", spy)
    monkeypatch.setattr("sw.ike.exchanges.sa_init.hashes_of", lambda _: None)
    station = make("station", ROOT, (*END, STATION_NAMES), key=key_of(kind, 1))
    host = make("host", ROOT, (*END, HOST_NAMES), key=key_of(kind, 2))
    net, peer = net_of(certificates(station), certificates(host))
    net.up(peer)
    assert methods == [method, method]


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (Identity.fqdn("Station.Example.com"), x509.DNSName("station.example.com")),
        (Identity.ipv4("192.0.2.1"), x509.IPAddress(ip_address("192.0.2.1"))),
        (Identity.ipv6("2001:db8::1"), x509.IPAddress(ip_address("2001:db8::1"))),
        (Identity.rfc822("s@Example.com"), x509.RFC822Name("s@example.com")),
        (Identity.dn(ca.name("STATION")), x509.DNSName("other.example.com")),
    ],
)
def test_rfc4945_3_1_each_kind_of_identity(identity: Identity, name: x509.GeneralName) -> None:
    made = make("station", ROOT, (*END, x509.SubjectAlternativeName([name])))
    net, peer = net_of(certificates(made), identity=identity)
    net.up(replace(peer, local_identity=identity))
    (established,) = net.of("host", IkeSaEstablished)
    assert str(established.peer_id) == str(identity)


def test_a_distinguished_name_is_the_same_in_another_encoding() -> None:
    ours = Identity.dn(x509.Name.from_rfc4514_string("CN=station,O=Test"))
    printable = Identity(ours.id_type, ours.data.replace(b"\x0c\x07", b"\x13\x07"))
    assert printable.data != ours.data
    assert printable == ours
    assert hash(printable) == hash(ours)
    assert Identity.dn(ca.name("host")) != ours
    assert Identity(ours.id_type, b"\x30\x03no") == Identity(ours.id_type, b"\x30\x03no")


def test_a_chain_is_sent_and_followed() -> None:
    between = make("Sub", ROOT)
    station = make("station", between, (*END, STATION_NAMES))
    net, peer = net_of(certificates(station, between))
    net.up(peer)


def test_rfc7296_3_7_the_responder_asks_for_its_cas() -> None:
    net, peer = net_of()
    net.up(peer)
    (response,) = (d for who, d in net.wire[:2] if who == "host")
    _, first = parse_header(response.data)
    payloads = parse_body(response.data, first)
    request = find(payloads, CertRequestPayload)
    assert request is not None
    assert request.encoding == CertEncoding.X509_SIGNATURE
    spki = ROOT.certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert request.data == hashlib.sha1(spki, usedforsecurity=False).digest()
    notify = next(p for p in payloads if isinstance(p, NotifyPayload) and p.notify == 16431)
    assert notify.data == bytes.fromhex("0002000300040005")


def test_nothing_of_certificates_is_sent_among_pre_shared_keys() -> None:
    net = Net()
    net.up()
    for _, datagram in net.wire[:2]:
        _, first = parse_header(datagram.data)
        kinds = [p.type for p in parse_body(datagram.data, first)]
        assert PayloadType.CERTREQ not in kinds


BAD_STATIONS: dict[str, tuple[Callable[[], Made], str]] = {
    "another CA": (
        lambda: make("station", OTHER_ROOT, (*END, STATION_NAMES)),
        "is from no configured CA",
    ),
    "same name, another CA's key": (
        lambda: make("station", ROOT, (*END, STATION_NAMES), signer=OTHER_ROOT.key),
        "is from no configured CA",
    ),
    "expired": (
        lambda: make("station", ROOT, (*END, STATION_NAMES), until=WHEN - DAY),
        "has expired on 2026-05-31",
    ),
    "not yet valid": (
        lambda: make("station", ROOT, (*END, STATION_NAMES), since=WHEN + DAY),
        "is not valid before 2026-06-02",
    ),
    "another's": (
        lambda: make("station", ROOT, (*END, names("mallory.example.com"))),
        "is not for the identity",
    ),
    "a wildcard": (
        lambda: make("station", ROOT, (*END, names("*.example.com"))),
        "is not for the identity",
    ),
    "a name in the subject alone": (
        lambda: make("station.example.com", ROOT, END),
        "is not for the identity",
    ),
    "not for signatures": (
        lambda: make(
            "station",
            ROOT,
            (END[0], ca.usage(key_encipherment=True), STATION_NAMES),
        ),
        "may not sign (key usage)",
    ),
    "for something else": (
        lambda: make(
            "station",
            ROOT,
            (*END, STATION_NAMES, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])),
        ),
        "is not for IKE",
    ),
    "a CA": (lambda: make("station", ROOT, (*CA, STATION_NAMES)), "is that of a CA"),
}


@pytest.mark.parametrize("case", [*BAD_STATIONS])
def test_bad_certificate_of_the_station(case: str) -> None:
    made, words = BAD_STATIONS[case]
    net, peer = net_of(certificates(made()))
    net.connect(peer)
    net.run()
    at_host_refused(net, words)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (lambda: make("host", OTHER_ROOT, (*END, HOST_NAMES)), "is from no configured CA"),
        (lambda: make("host", ROOT, (*END, HOST_NAMES), until=WHEN - DAY), "has expired"),
        (lambda: make("host", ROOT, (*END, STATION_NAMES)), "is not for the identity"),
    ],
)
def test_bad_certificate_of_the_host(host: Callable[[], Made], words: str) -> None:
    """The host has an SA until it hears of it, and none afterwards (RFC 7296 2.21.2)."""
    net, peer = net_of(host=certificates(host()))
    net.connect(peer)
    net.run()
    refused(net, words, "does not take our own proof")


def test_revoked_certificate() -> None:
    lists = [crl(ROOT)]
    net, peer = net_of(host=certificates(HOST, crls=lambda: tuple(lists)))
    net.up(peer)
    lists[:] = [crl(ROOT, [STATION.certificate])]
    net.events["station"].clear()
    net.events["host"].clear()
    net.connect(peer)
    net.run()
    (closed,) = net.of("host", IkeSaClosed)
    assert "was revoked" in closed.why
    assert not net.of("station", IkeSaEstablished)


def test_expired_list_of_revoked_certificates_lets_nobody_in() -> None:
    old = crl(ROOT, since=WHEN - 3 * DAY, until=WHEN - DAY)
    net, peer = net_of(host=certificates(HOST, crls=lambda: (old,)))
    net.connect(peer)
    net.run()
    at_host_refused(net, "the list has expired")


@pytest.mark.parametrize("kind", [*ca.KEYS])
def test_signature_by_another_key(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("station", ROOT, (*END, STATION_NAMES), key=key_of(kind, 1))
    net, peer = net_of(certificates(made))
    sign = signatures_module.sign

    def forge(key: Any, octets: bytes, hashes: Any, *, pss: bool) -> Any:
        mine = key_of(kind, 3) if key is made.key else key
        return sign(mine, octets, hashes, pss=pss)

    monkeypatch.setattr(proof_module, "sign", forge)
    net.connect(peer)
    net.run()
    at_host_refused(net, "signature is wrong")


def test_signature_over_another_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    octets_of = proof_module._signed_octets
    made: list[bytes] = []

    def stale(*args: Any, **kwargs: Any) -> bytes:
        made.append(octets_of(*args, **kwargs))
        return made[-1] if len(made) > 1 else bytes(100)

    monkeypatch.setattr(proof_module, "_signed_octets", stale)
    net, peer = net_of()
    net.connect(peer)
    net.run()
    at_host_refused(net, "signature is wrong")


@pytest.mark.parametrize("kind", ["p256", "ed25519", "rsa"])
def test_no_common_hash(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The station finds out first, and says so in the place of its proof."""
    made = make("station", ROOT, (*END, STATION_NAMES), key=key_of(kind, 1))
    monkeypatch.setattr("sw.ike.exchanges.sa_init.hashes_of", lambda _: frozenset({1, 6}))
    net, peer = net_of(certificates(made))
    net.connect(peer)
    net.run()
    refused(net, "no signature hash that our key can sign with", "sends no proof")


def test_no_common_hash_at_the_responder(monkeypatch: pytest.MonkeyPatch) -> None:
    host = make("host", ROOT, (*END, HOST_NAMES), key=key_of("ed25519", 2))
    net, peer = net_of(host=certificates(host))
    monkeypatch.setattr(
        "sw.ike.exchanges.sa_init.hashes_of",
        lambda payloads: frozenset({2}),
    )
    net.connect(peer)
    net.run()
    assert not net.of("host", IkeSaEstablished)
    refused(net, "does not take our proof", "no signature hash that our key can sign with")


def test_ed25519_needs_rfc7427(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("station", ROOT, (*END, STATION_NAMES), key=key_of("ed25519", 1))
    monkeypatch.setattr("sw.ike.exchanges.sa_init.hashes_of", lambda _: None)
    net, peer = net_of(certificates(made))
    net.connect(peer)
    net.run()
    refused(net, "no Ed25519", "sends no proof")


def test_an_impostor_that_goes_on_without_our_proof_gets_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We could not prove ourselves: whatever comes back, there is no SA."""
    net, peer = net_of()
    monkeypatch.setattr("sw.ike.exchanges.sa_init.hashes_of", lambda _: frozenset({1}))

    def take_anyone(connection: Any, sa: Any, payloads: Any) -> Any:
        mine = HOST_ID.payload(initiator=False)
        sa.handshake = replace(sa.handshake, peer_hashes=frozenset({2}))
        made, auth = proof_module.make_proof(host_of(net), sa, mine)
        return [mine, *made, auth], None

    monkeypatch.setattr("sw.ike.exchanges.auth.respond", take_anyone)
    net.connect(peer)
    net.run()
    assert not net.of("station", IkeSaEstablished)
    assert not net.of("station", ChildSaEstablished)


def host_of(net: Net) -> Peer:
    """What the host is configured with."""
    return net.host._shared.peers[STATION_ID]


def test_pre_shared_key_does_not_do_where_a_certificate_is_asked_for() -> None:
    net, _ = net_of()
    net.connect(station_peer())
    net.run()
    at_host_refused(net, "does not prove itself by certificate")


def test_certificate_does_not_do_where_a_pre_shared_key_is_asked_for() -> None:
    _, peer = net_of()
    net = Net()
    net.connect(peer)
    net.run()
    at_host_refused(net, "does not prove itself by pre-shared key")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ([], "sent no certificate"),
        ([CertPayload(CertEncoding.X509_SIGNATURE, b"\x30\x00")], "ill-formed"),
        ([CertPayload(CertEncoding.X509_SIGNATURE, b"")], "ill-formed"),
        ([CertPayload(12, b"hash and URL")], "sent no certificate"),
        ([CertPayload(CertEncoding.X509_SIGNATURE, bytes(16385))], "more than 16384 octets"),
        ([CertPayload(CertEncoding.X509_SIGNATURE, b"x")] * 9, "sent 9 certificates"),
    ],
)
def test_odd_cert_payloads(
    sent: list[CertPayload], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, peer = net_of()
    monkeypatch.setattr(
        Certificates, "payloads", lambda self: sent if self is peer.certificates else []
    )
    net.connect(peer)
    net.run()
    at_host_refused(net, words)


def test_identity_in_the_log_is_short_and_without_control_characters() -> None:
    net, peer = net_of()
    net.connect(replace(peer, local_identity=Identity.fqdn("a\nERROR forged" + "x" * 500)))
    net.run()
    (closed,) = net.of("host", IkeSaClosed)
    assert "\\nERROR" in closed.why
    assert "\n" not in closed.why
    assert len(closed.why) < 300
    assert closed.notify != NotifyType.SA_READY


def test_the_private_key_is_in_no_repr() -> None:
    mine = certificates(STATION)
    assert "PrivateKey" not in repr(mine)
    assert "PrivateKey" not in repr(net_of()[1])


@pytest.mark.parametrize(
    "change",
    [
        {"chain": ()},
        {"anchors": ()},
        {"chain": (STATION.certificate,) * 9},
        {"key": OTHER_ROOT.key},
    ],
)
def test_certificates_that_cannot_be_used(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"certificate|CA"):
        replace(certificates(STATION), **change)


def test_a_peer_has_one_way_to_prove_itself() -> None:
    with pytest.raises(ValueError, match="pre-shared key or by certificates"):
        replace(station_peer(), psk=None)
    with pytest.raises(ValueError, match="pre-shared key or by certificates"):
        replace(station_peer(), certificates=certificates(STATION))


def test_a_certificate_with_any_octet_changed_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also behind the signature, as if the CA itself had made it: nothing but CertificateError."""
    every = (
        x509.SubjectAlternativeName([*STATION_NAMES, *HOST_NAMES, x509.IPAddress(_ONE)]),
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.IPSEC_IKE]),
    )
    made = make("station", ROOT, (*END, *every)).certificate.public_bytes(Encoding.DER)
    mine, lists = certificates(HOST), (crl(ROOT),)
    checking = replace(mine, crls=lambda: lists)
    for signed in (path_module._signed, lambda *_: True):
        monkeypatch.setattr(path_module, "_signed", signed)
        refused = 0
        for at in range(len(made)):
            for value in (made[at] ^ 1, made[at] ^ 0x80, made[at] ^ 0x06, 0, 0xFF):
                changed = made[:at] + bytes([value]) + made[at + 1 :]
                sent = [CertPayload(CertEncoding.X509_SIGNATURE, changed)]
                try:
                    checking.peer_key(sent, STATION_ID.id_type, STATION_ID.data)
                except CertificateError:
                    refused += 1
        assert refused > len(made)


def test_a_distinguished_name_with_any_octet_changed_is_an_identity() -> None:
    good = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "host"),
            x509.NameAttribute(NameOID.X500_UNIQUE_IDENTIFIER, b"\0\1", _ASN1Type.BitString),
        ]
    ).public_bytes()
    for at in range(len(good)):
        for value in range(256):
            changed = Identity(9, good[:at] + bytes([value]) + good[at + 1 :])
            assert isinstance(str(changed), str)
            assert (changed == Identity(9, good)) in (True, False)
