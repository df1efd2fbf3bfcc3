"""IKE_INTERMEDIATE with ML-KEM: the exchange on paper, its proof in IKE_AUTH, refusals."""

from __future__ import annotations

import hmac
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from sw.ike import (
    ChildSaEstablished,
    CloseReason,
    Connection,
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
    Secret,
)
from sw.ike.exchanges.intermediate import IntermediateTask
from sw.ike.groups import KEM_GROUPS, make_key_exchange
from sw.ike.ike_sa import IkeSa, State
from sw.ike.keymat import derive_ike_keys
from sw.ike.message import Header, build_clear, build_sealed, parse_body, parse_header
from sw.ike.payloads import (
    KePayload,
    NoncePayload,
    NotifyPayload,
    Payload,
    SaPayload,
    build_payloads,
    find,
    require,
)
from sw.ike.proposals import build_proposals
from verif.unit.sw.ike.by_hand import SIDES, KeySpy, exchanges, signed_by
from verif.unit.sw.ike.net import FAST, PSK, Net, rng_of

ML_KEM_768 = (Group.ML_KEM_768,)
WHOLE = Limits(datagram_octets=60_000)
"""Nothing goes in fragments."""


def config(
    *additional: Group,
    suites: Sequence[IkeSuite] = (IkeSuite.AES_GCM_16_256_PRF_SHA_256,),
    limits: Limits | None = None,
) -> EndpointConfig:
    ike = IkePolicy(tuple(suites), additional=additional)
    return EndpointConfig(timing=FAST, ike=ike, limits=limits or Limits())


def pair(
    *additional: Group,
    suites: Sequence[IkeSuite] = (IkeSuite.AES_GCM_16_256_PRF_SHA_256,),
    limits: Limits | None = None,
    seed: int = 1,
) -> Net:
    """Two sides that want the same."""
    same = config(*additional, suites=suites, limits=limits)
    return Net(station=same, host=same, seed=seed)


# --- the exchange -------------------------------------------------------------------------------


@pytest.mark.parametrize("kem", sorted(KEM_GROUPS))
@pytest.mark.parametrize("suite", IkeSuite)
def test_each_kem_with_each_suite(kem: Group, suite: IkeSuite) -> None:
    net = pair(kem, suites=(suite,))
    connection = net.up()
    assert exchanges(net) == [34, 34, 43, 43, 35, 35]
    # What does not fit a datagram goes in fragments.
    assert max(len(d.data) for _, d in net.wire) <= 1280 - 52
    pieces = {Group.ML_KEM_768: 3, Group.ML_KEM_1024: 4}[kem]
    assert [d.data[18] for _, d in net.wire].count(43) == pieces
    assert not net.station.counters
    assert not net.host.counters
    # Rekeys of both kinds go on from keys that the KEM went into.
    connection.rekey_child(next(iter(connection.child_sas)))
    net.run()
    net.matching()
    net.peer_connection().rekey()
    net.run()
    assert len(net.of("station", IkeSaRekeyed)) == 1
    connection.close()
    net.run()
    assert net.of("host", IkeSaClosed)


def test_rfc9370_2_2_1_octets_of_an_offer() -> None:
    """Written out by hand: with a KEM first, and once more without."""
    policy = IkePolicy(
        (IkeSuite.AES_GCM_16_256_PRF_SHA_256,),
        (Group.X25519,),
        (Group.ML_KEM_1024, Group.ML_KEM_768, Group.NONE),
    )
    assert build_proposals(policy.proposals().offer(b"")).hex() == (
        "02000034" "01010005"  # more, length 52, number 1, IKE, no SPI, 5 transforms
        "0300000c" "01000014" "800e0100"  # ENCR, AES-GCM-16, key length 256
        "03000008" "02000005"  # PRF, HMAC-SHA-256
        "03000008" "0400001f"  # group 31
        "03000008" "06000025"  # ADDKE1, ML-KEM-1024
        "00000008" "06000024"  # ML-KEM-768
        "00000024" "02010003"  # last, length 36, number 2
        "0300000c" "01000014" "800e0100"
        "03000008" "02000005"
        "00000008" "0400001f"
    )  # fmt: skip


def test_draft_mlkem_lengths_on_the_wire() -> None:
    """Encapsulation key one way, ciphertext the other way (FIPS 203 8, table 3)."""
    for kem, key, ciphertext in ((Group.ML_KEM_768, 1184, 1088), (Group.ML_KEM_1024, 1568, 1568)):
        net = pair(kem, limits=WHOLE)
        net.up()
        request, response = (d.data for _, d in net.wire if d.data[18] == 43)
        # Header, SK header, IV, KE header with its type, pad length, ICV.
        around = 28 + 4 + 8 + 8 + 1 + 16
        assert (len(request), len(response)) == (around + key, around + ciphertext)


@pytest.mark.parametrize("limits", [Limits(), WHOLE])
def test_rfc9242_3_3_2_and_rfc9370_2_2_2_on_paper(
    limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUTH, computed by hand from what was on the wire, for both sides."""
    spy = KeySpy(monkeypatch)
    net = pair(Group.ML_KEM_768, limits=limits)
    net.up()

    def prf(key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, "sha256")

    for who in SIDES:
        signed, inside = signed_by(who, net, spy, prf)
        assert inside[39][0] == bytes([2, 0, 0, 0]) + prf(prf(PSK, b"Key Pad for IKEv2"), signed)


def test_rfc9370_2_2_2_keys_come_of_both_exchanges(monkeypatch: pytest.MonkeyPatch) -> None:
    """SKEYSEED(1) = prf(SK_d(0), SK(1) | Ni | Nr), with the secret that the KEM gave."""
    spy = KeySpy(monkeypatch)
    secrets: list[bytes] = []
    task = IntermediateTask.process

    def process(
        self: IntermediateTask,
        connection: Connection,
        sa: IkeSa,
        payloads: Sequence[Payload],
        now: float,
    ) -> None:
        ke = find(payloads, KePayload)
        assert ke is not None
        assert self._ke is not None
        secrets.append(self._ke.shared(ke.data).reveal())
        task(self, connection, sa, payloads, now)

    monkeypatch.setattr(IntermediateTask, "process", process)
    net = pair(Group.ML_KEM_768)
    connection = net.up()
    before, after = spy.keys
    sa = connection.current
    init_i, init_r = (d.data for _, d in net.wire[:2])
    seed = b"".join(
        require(parse_body(data, parse_header(data)[1]), NoncePayload).data
        for data in (init_i, init_r)
    )
    skeyseed = hmac.digest(before["sk_d"], secrets[0] + seed, "sha256")
    first = hmac.digest(skeyseed, seed + sa.spi_i + sa.spi_r + b"\x01", "sha256")
    assert after["sk_d"] == first == sa.keys.sk_d.reveal()
    assert len(secrets[0]) == 32


# --- choice -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("station", "host", "chosen"),
    [
        ((Group.ML_KEM_768, Group.NONE), (Group.ML_KEM_768, Group.NONE), Group.ML_KEM_768),
        ((Group.ML_KEM_768, Group.NONE), (Group.NONE,), Group.NONE),
        ((Group.NONE,), (Group.ML_KEM_768, Group.NONE), Group.NONE),
        ((Group.ML_KEM_1024, Group.ML_KEM_768), ML_KEM_768, Group.ML_KEM_768),
        (ML_KEM_768, (Group.NONE, Group.ML_KEM_768), Group.ML_KEM_768),
        ((Group.NONE, Group.ML_KEM_1024), (Group.ML_KEM_1024, Group.NONE), Group.NONE),
        (ML_KEM_768, (Group.NONE,), None),
        ((Group.NONE,), ML_KEM_768, None),
        (ML_KEM_768, (Group.ML_KEM_1024,), None),
    ],
)
def test_which_is_chosen(
    station: tuple[Group, ...], host: tuple[Group, ...], chosen: Group | None
) -> None:
    net = Net(station=config(*station), host=config(*host))
    net.connect()
    net.advance(60)
    if chosen is None:
        (closed,) = net.of("station", IkeSaClosed)
        assert closed.notify == NotifyType.NO_PROPOSAL_CHOSEN
        assert not net.host.connections
        return
    net.matching()
    assert (43 in exchanges(net)) is (chosen is not Group.NONE)
    response = net.wire[1][1].data
    (proposal,) = require(parse_body(response, parse_header(response)[1]), SaPayload).proposals
    assert [t.ident for t in proposal.transforms if t.kind == 6] == (
        [chosen] if chosen is not Group.NONE else []
    )


INTERMEDIATE = NotifyPayload(NotifyType.INTERMEDIATE_EXCHANGE_SUPPORTED)


def _without_notify(datagram: Datagram) -> Datagram:
    header, first = parse_header(datagram.data)
    kept = [p for p in parse_body(datagram.data, first) if p != INTERMEDIATE]
    assert build_clear(header, kept) != datagram.data
    return datagram._replace(data=build_clear(header, kept))


def test_rfc9370_2_2_1_who_does_not_know_the_exchange_gets_none() -> None:
    net = pair(Group.ML_KEM_768, Group.NONE)
    net.connect()
    ((who, request),) = net.gather()
    net.deliver(who, _without_notify(request))
    ((_, response),) = net.gather()
    payloads = parse_body(response.data, parse_header(response.data)[1])
    assert INTERMEDIATE not in payloads
    assert not [t for t in require(payloads, SaPayload).proposals[0].transforms if t.kind == 6]


def test_an_answer_with_a_kem_and_no_exchange_is_not_followed() -> None:
    net = pair(Group.ML_KEM_768)
    net.connect()
    ((who, request),) = net.gather()
    net.deliver(who, request)
    ((who, response),) = net.gather()
    net.deliver(who, _without_notify(response))
    assert not net.gather()
    assert net.station.counters == {DropReason.UNACCEPTABLE: 1}
    net.deliver(who, response)
    net.run()
    net.matching()


def test_silence_about_the_exchange_where_no_kem_is_wanted() -> None:
    net = pair(Group.NONE)
    net.up()
    for _, datagram in net.wire[:2]:
        assert INTERMEDIATE not in parse_body(datagram.data, parse_header(datagram.data)[1])


@pytest.mark.parametrize("additional", [(), (Group.X25519,), (Group.ML_KEM_768, Group.P256)])
def test_only_kems_are_additional(additional: tuple[Group, ...]) -> None:
    with pytest.raises(ValueError, match="KEM"):
        IkePolicy(additional=additional)
    with pytest.raises(ValueError, match="Diffie-Hellman"):
        IkePolicy(groups=ML_KEM_768)


# --- hostile ------------------------------------------------------------------------------------


def to_intermediate(net: Net) -> tuple[IkeSa, IkeSa]:
    """Both sides, behind IKE_SA_INIT."""
    connection = net.connect()
    for _ in range(2):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
    return connection.sas[-1], net.peer_connection().current


def sealed(sa: IkeSa, exchange: int, message_id: int, payloads: Sequence[Payload]) -> Datagram:
    """A request that the station did not think of, under its keys."""
    header = Header(sa.spi_i, sa.spi_r, exchange, message_id, is_initiator=True, is_response=False)
    data = build_sealed(header, payloads, sa.keys.sealer(initiator=True))
    return Datagram(data, sa.address)


ENCAPSULATION_KEY = make_key_exchange(Group.ML_KEM_768, rng_of(9)).public


def refused(net: Net, notify: NotifyType = NotifyType.INVALID_SYNTAX) -> None:
    """The host says no, and holds nothing that could become an SA."""
    assert len(net.gather()) == 1
    assert not net.of("host", IkeSaEstablished)
    assert not net.of("host", ChildSaEstablished)
    assert [sa.state for c in net.host.connections.values() for sa in c.sas] == [State.LINGERING]


def test_ike_auth_cannot_overtake_the_kem() -> None:
    """An initiator that goes straight to a right IKE_AUTH."""
    net = pair(Group.ML_KEM_768, limits=WHOLE)
    connection = net.connect()
    ((who, request),) = net.gather()
    net.deliver(who, request)
    ((who, response),) = net.gather()
    net.deliver(who, response)
    sa = connection.sas[-1]
    assert isinstance(sa.tasks.popleft(), IntermediateTask)
    ((who, overtaking),) = net.gather()
    assert overtaking.data[18] == 35
    net.deliver(who, overtaking)
    refused(net)


@pytest.mark.parametrize("group", [Group.NONE, Group.X25519, Group.ML_KEM_768])
def test_no_kem_where_none_was_agreed_on(group: Group) -> None:
    net = pair(Group.NONE, limits=WHOLE)
    sa, _ = to_intermediate(net)
    net.gather()
    net.deliver("station", sealed(sa, 43, 1, [KePayload(group, bytes(1184))]))
    refused(net)


def test_no_second_kem() -> None:
    net = pair(Group.ML_KEM_768, limits=WHOLE)
    sa, _ = to_intermediate(net)
    for _ in range(2):
        ((who, datagram),) = net.gather()
        net.deliver(who, datagram)
    net.gather()
    net.deliver("station", sealed(sa, 43, 2, [KePayload(Group.ML_KEM_768, bytes(1184))]))
    refused(net)


@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [KePayload(Group.ML_KEM_1024, bytes(1568))],
        [KePayload(Group.ML_KEM_1024, ENCAPSULATION_KEY)],
        [KePayload(Group.ML_KEM_768, b"")],
        [KePayload(Group.ML_KEM_768, bytes(1183))],
        # FIPS 203 7.2: coefficients that are not below the modulus.
        [KePayload(Group.ML_KEM_768, b"\xff" * 1184)],
    ],
)
def test_ill_formed_requests_end_the_half_open_sa(payloads: list[Payload]) -> None:
    net = pair(Group.ML_KEM_768, limits=WHOLE)
    sa, _ = to_intermediate(net)
    net.gather()
    net.deliver("station", sealed(sa, 43, 1, payloads))
    refused(net)


@pytest.mark.parametrize(
    ("payloads", "reason"),
    [
        ([], CloseReason.PROTOCOL),
        ([KePayload(Group.ML_KEM_1024, bytes(1568))], CloseReason.PROTOCOL),
        ([KePayload(Group.ML_KEM_1024, bytes(1088))], CloseReason.PROTOCOL),
        ([KePayload(Group.ML_KEM_768, bytes(1087))], CloseReason.PROTOCOL),
        ([NotifyPayload(NotifyType.INVALID_SYNTAX)], CloseReason.REFUSED),
    ],
)
def test_ill_formed_answers_end_the_candidate(payloads: list[Payload], reason: CloseReason) -> None:
    net = pair(Group.ML_KEM_768, limits=WHOLE)
    _, host = to_intermediate(net)
    ((_, request),) = net.gather()
    header = replace(parse_header(request.data)[0], is_initiator=False, is_response=True)
    data = build_sealed(header, payloads, host.keys.sealer(initiator=False))
    net.deliver("host", Datagram(data, host.address))
    net.advance(300)
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is reason
    assert not net.of("station", IkeSaEstablished)


@pytest.mark.parametrize("whose", ["station", "host"])
def test_rfc9242_3_3_2_who_broke_the_first_exchange_cannot_touch_the_second(whose: str) -> None:
    """Somebody who has the keys of IKE_SA_INIT adds to a message; IKE_AUTH tells."""
    net = pair(Group.ML_KEM_768, limits=WHOLE)
    station, _ = to_intermediate(net)
    broken = station.keys
    initiator = whose == "station"
    sealer, opener = broken.sealer(initiator=initiator), broken.opener(initiator=not initiator)
    touched = []

    def meddle(who: str, datagram: Datagram) -> list[Datagram]:
        if who != whose or datagram.data[18] != 43:
            return [datagram]
        header, _ = parse_header(datagram.data)
        plain = opener.open(datagram.data[32:], datagram.data[:32])
        ke = KePayload(Group.ML_KEM_768, plain[8:-1])
        assert build_payloads([ke])[1] == plain[:-1]
        touched.append(ke)
        data = build_sealed(header, [ke, NotifyPayload(40000)], sealer)
        return [datagram._replace(data=data)]

    net.filter = meddle
    net.run()
    assert len(touched) == 1
    assert exchanges(net)[:6] == [34, 34, 43, 43, 35, 35]
    net.advance(300)
    assert not net.of("station", IkeSaEstablished)
    assert not net.of("host", IkeSaEstablished)
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is CloseReason.AUTHENTICATION


def test_tampered_and_cut_short_at_every_third_octet() -> None:
    net = pair(Group.ML_KEM_768, limits=Limits(datagram_octets=700))
    to_intermediate(net)

    def attack(who: str, good: Datagram) -> list[Datagram]:
        data = good.data
        for at in range(0, len(data), 3):
            changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
            for bad in (changed, data[:at]):
                net.deliver(who, good._replace(data=bad))
        return [good]

    net.filter = attack
    net.run()
    net.matching()


@pytest.mark.parametrize("seed", range(10))
def test_lost_doubled_and_late(seed: int) -> None:
    """Whatever is lost, also of the answer after which the responder has other keys."""
    rng = random.Random(seed)
    same = config(Group.ML_KEM_1024)
    same = replace(same, timing=replace(FAST, sends=15, half_open=300.0))
    net = Net(station=same, host=same, seed=seed)
    net.filter = lambda _who, datagram: [datagram] * rng.choice((0, 1, 1, 1, 2))
    net.connect()
    net.advance(100)
    net.matching()


@pytest.mark.parametrize("limits", [Limits(), WHOLE])
def test_rfc7296_2_1_the_request_again_after_the_keys_have_changed(limits: Limits) -> None:
    net = pair(Group.ML_KEM_768, limits=limits)
    _, host = to_intermediate(net)
    requests = [datagram for _, datagram in net.gather()]
    for request in requests:
        net.deliver("station", request)
    first = [datagram for _, datagram in net.gather()]
    assert first
    assert host.additional is Group.NONE
    net.deliver("station", requests[0])
    assert [datagram for _, datagram in net.gather()] == first
    for answer in first:
        net.deliver("host", answer)
    net.run()
    net.matching()


def test_keys_of_the_first_exchange_are_wiped() -> None:
    net = pair(Group.ML_KEM_768)
    station, host = to_intermediate(net)
    old = (station.keys, host.keys)
    net.run()
    net.matching()
    for keys in old:
        assert keys.sk_d.wiped
        assert keys.sk_pr.wiped
    connection = net.peer_connection()
    connection.close()
    net.run()
    assert host.answered is None or host.answered.opener is None


def test_keys_not_yet_in_force_are_wiped_with_the_rest() -> None:
    net = pair(Group.ML_KEM_768)
    _, host = to_intermediate(net)
    spare = derive_ike_keys(host.keys.suite, Secret(b"seed"), bytes(32), bytes(32), b"", b"")
    host.install_keys_after_answer(spare)
    host.wipe()
    assert spare.sk_d.wiped
    assert host._keys_after_answer is None
