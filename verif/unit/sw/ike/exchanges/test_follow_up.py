"""IKE_FOLLOWUP_KE: rekeys with ML-KEM, keys by hand, collisions and what is never followed up."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from spec.suites import Suite
from sw.ike import (
    ChildSaDeleted,
    ChildSaEstablished,
    CloseReason,
    Connection,
    Datagram,
    EndpointConfig,
    ExchangeFailed,
    FailureReason,
    Group,
    IkePolicy,
    IkeSaClosed,
    IkeSaRekeyed,
    Limits,
    NotifyType,
    Timing,
    host_child_policy,
    station_child_policy,
)
from sw.ike.exchanges.create_child import CreateChildTask
from sw.ike.exchanges.rekey_ike import RekeyIkeTask
from sw.ike.groups import KemExchange, X25519Exchange
from sw.ike.ike_sa import IkeSa, State
from sw.ike.message import Header, build_sealed, open_sealed, parse_header
from sw.ike.payloads import KePayload, NoncePayload, NotifyPayload, Payload, find_notify
from sw.ike.proposals import build_proposals
from sw.ike.secret import Secret
from verif.unit.sw.ike.by_hand import bodies, exchanges, message
from verif.unit.sw.ike.net import FAST, Net, host_peer, station_peer

KEM, NONE = Group.ML_KEM_768, Group.NONE
WHOLE = Limits(datagram_octets=60_000)
"""Nothing goes in fragments."""
KINDS = ["child", "ike"]


def net_of(
    station: tuple[Group, ...] = (KEM,),
    host: tuple[Group, ...] = (KEM,),
    *,
    timing: Timing = FAST,
    seed: int = 1,
) -> tuple[Net, Connection, Connection]:
    """Both sides, with a Child SA; the wire is empty again."""
    at_station, at_host = (
        EndpointConfig(timing=timing, ike=IkePolicy(additional=wanted), limits=WHOLE)
        for wanted in (station, host)
    )
    net = Net(
        station=at_station,
        host=at_host,
        peer_at_host=host_peer(child=replace(host_child_policy(), additional=host)),
        seed=seed,
    )
    connection = net.up(station_peer(child=replace(station_child_policy(), additional=station)))
    net.wire.clear()
    return net, connection, net.peer_connection()


def begin(kind: str, connection: Connection) -> None:
    """Rekey the IKE SA, or the one Child SA."""
    if kind == "ike":
        connection.rekey()
    else:
        connection.rekey_child(next(iter(connection.child_sas)))


def step(net: Net) -> list[tuple[str, Datagram]]:
    """Deliver what is on the way; what it was."""
    moving = net.gather()
    for who, datagram in moving:
        net.deliver(who, datagram)
    return moving


def same(net: Net, connection: Connection, host: Connection) -> None:
    """Both sides hold the same, nothing is left over, and all goes on."""
    net.advance(FAST.linger + FAST.replaced + FAST.follow_up + 1)
    for one in (connection, host):
        (sa,) = one.sas
        assert sa is one.current
        assert sa.state is State.ESTABLISHED
        assert sa.pending is None
        assert list(one.shared.routes) == [sa.local_spi]
        assert one.shared.child_spis == set(one.child_sas)
    assert connection.current.keys.sk_d.reveal() == host.current.keys.sk_d.reveal()
    assert {(c.spi_in, c.spi_out) for c in connection.child_sas.values()} == {
        (c.spi_out, c.spi_in) for c in host.child_sas.values()
    }
    connection.create_child()
    net.run()
    net.matching()


def results(net: Net, kind: str) -> list[int]:
    """How many new SAs each side was told of, the first Child SA left out."""
    if kind == "ike":
        return [len(net.of(side, IkeSaRekeyed)) for side in ("station", "host")]
    return [len(net.of(side, ChildSaEstablished)) - 1 for side in ("station", "host")]


# --- the exchange -------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["station", "host"])
@pytest.mark.parametrize("kem", [Group.ML_KEM_768, Group.ML_KEM_1024])
@pytest.mark.parametrize("kind", KINDS)
def test_rfc9370_2_2_4_from_either_side(kind: str, kem: Group, who: str) -> None:
    net, connection, host = net_of((kem,), (kem,))
    begin(kind, connection if who == "station" else host)
    net.run()
    assert exchanges(net)[:4] == [36, 36, 44, 44]
    assert [w for w, _ in net.wire[:4]] == [who, {"station": "host", "host": "station"}[who]] * 2
    assert results(net, kind) == [1, 1]
    if kind == "child":
        net.matching()
        assert len(net.wire) == 4
    assert not net.station.counters
    assert not net.host.counters
    same(net, connection, host)


def test_rfc9370_2_2_4_a_new_child_sa_too() -> None:
    net, connection, host = net_of()
    connection.create_child()
    net.run()
    assert exchanges(net) == [36, 36, 44, 44]
    net.matching()
    same(net, connection, host)


def spy_on_secrets(patch: pytest.MonkeyPatch) -> dict[type, bytes]:
    """What the last key exchange of each kind gave: SK(0) and SK(1)."""
    found: dict[type, bytes] = {}

    def keeping(shared: Callable[[Any, bytes], Secret]) -> Callable[[Any, bytes], Secret]:
        def kept(ke: Any, peer: bytes) -> Secret:
            secret = shared(ke, peer)
            found[type(ke)] = secret.reveal()
            return secret

        return kept

    for kind in (X25519Exchange, KemExchange):
        patch.setattr(kind, "shared", keeping(kind.shared))
    return found


def opened(net: Net, number: int, keys: dict[str, bytes]) -> dict[int, list[bytes]]:
    """Payloads of a datagram from the station's exchange, by type."""
    who, datagram = net.wire[number]
    _, first, inner = message([datagram.data], keys["sk_ei" if who == "station" else "sk_er"])
    return bodies(first, inner)


@pytest.mark.parametrize("kind", KINDS)
def test_rfc9370_2_2_4_on_paper(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the wire, and the keys that come of it, by hand."""
    found = spy_on_secrets(monkeypatch)
    net, connection, host = net_of()
    old = connection.current.keys
    keys = {"sk_ei": old.sk_ei.reveal(), "sk_er": old.sk_er.reveal()}
    sk_d = old.sk_d.reveal()
    begin(kind, connection)
    net.run()
    request, response, follow_up, answer = (opened(net, number, keys) for number in range(4))
    # ADDKE1 is chosen; the notification: no protocol, no SPI, type 16441, the link.
    assert bytes.fromhex("0600" "0024") in response[33][0]  # fmt: skip
    (notify,) = [n for n in response[41] if n[2:4] == (16441).to_bytes(2, "big")]
    assert notify[:2] == b"\0\0"
    assert follow_up[41] == [notify]
    assert follow_up[34][0][:4] == bytes([0, 36, 0, 0])
    assert len(follow_up[34][0]) == 4 + 1184
    assert answer == {34: [bytes([0, 36, 0, 0]) + answer[34][0][4:]]}
    assert len(answer[34][0]) == 4 + 1088
    nonces = request[40][0] + response[40][0]
    seed = found[X25519Exchange] + nonces + found[KemExchange]
    if kind == "child":
        block = hmac.digest(sk_d, seed + b"\x01", "sha256")
        mine, _ = net.matching()
        assert mine.key_out.reveal() == block
        return
    skeyseed = hmac.digest(sk_d, seed, "sha256")
    spis = connection.current.spi_i + connection.current.spi_r
    new_sk_d = hmac.digest(skeyseed, nonces + spis + b"\x01", "sha256")
    assert connection.current.keys.sk_d.reveal() == new_sk_d
    assert host.current.keys.sk_d.reveal() == new_sk_d


def test_rfc9370_2_2_1_octets_of_an_esp_offer() -> None:
    """Written out by hand: with a KEM first, and once more without."""
    base = station_child_policy()
    policy = replace(
        base, suites=base.suites[:1], groups=(Group.X25519,), esn=(True,), additional=(KEM, NONE)
    )
    assert build_proposals(policy.proposals(in_auth=False).offer(b"SPI!")).hex() == (
        "02000030" "01030404" "53504921"  # more, length 48, number 1, ESP, an SPI, 4 transforms
        "0300000c" "01000014" "800e0100"  # ENCR, AES-GCM-16, key length 256
        "03000008" "0400001f"  # group 31
        "03000008" "05000001"  # ESN
        "00000008" "06000024"  # ADDKE1, ML-KEM-768
        "00000028" "02030403" "53504921"  # last, length 40, number 2
        "0300000c" "01000014" "800e0100"
        "03000008" "0400001f"
        "00000008" "05000001"
    )  # fmt: skip
    assert len(policy.proposals(in_auth=True).offer(b"SPI!")) == 1


# --- choice -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("station", "host", "chosen"),
    [
        ((KEM, NONE), (KEM, NONE), True),
        ((KEM, NONE), (NONE,), False),
        ((NONE,), (KEM, NONE), False),
        ((NONE, KEM), (KEM, NONE), False),
        ((KEM,), (NONE, KEM), True),
    ],
)
def test_which_is_chosen(
    station: tuple[Group, ...], host: tuple[Group, ...], chosen: bool, kind: str
) -> None:
    net, connection, host_connection = net_of(station, host)
    begin(kind, connection)
    net.run()
    assert results(net, kind) == [1, 1]
    assert (44 in exchanges(net)) is chosen
    same(net, connection, host_connection)


def test_without_a_common_one_the_old_child_sa_stays() -> None:
    net, connection, host = net_of((KEM,), (KEM,))
    policy = replace(station_child_policy(), additional=(Group.ML_KEM_1024,))
    connection.rekey_child(next(iter(connection.child_sas)), policy)
    net.run()
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.NO_PROPOSAL_CHOSEN
    assert len(connection.child_sas) == len(host.child_sas) == 1
    same(net, connection, host)


@pytest.mark.parametrize("additional", [(), (Group.X25519,)])
def test_only_kems_are_additional(additional: tuple[Group, ...]) -> None:
    with pytest.raises(ValueError, match="KEM"):
        replace(station_child_policy(), additional=additional)


def test_a_kem_comes_beside_a_group() -> None:
    with pytest.raises(ValueError, match="group"):
        replace(station_child_policy(), groups=(), require_pfs=False, additional=(KEM,))
    policy = replace(
        station_child_policy(),
        suites=(Suite.ESP_AES_GCM_16_256,),
        require_pfs=False,
        additional=(KEM, NONE),
    )
    proposals = policy.proposals(in_auth=False)
    with_kem, without = proposals.offer(b"SPI!")
    for offer, taken in ((with_kem, False), (without, True)):
        bare = replace(offer, transforms=tuple(t for t in offer.transforms if t.kind != 4))
        assert (proposals.choose([bare]) is not None) is taken


# --- both at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_rfc9370_2_2_4_simultaneous_rekey(seed: int, kind: str) -> None:
    """The side with the smallest nonce stops; there is one exchange to follow up."""
    net, connection, host = net_of(seed=seed)
    begin(kind, connection)
    begin(kind, host)
    net.run()
    assert results(net, kind) == [1, 1]
    assert [d.data[18] for _, d in net.wire].count(44) == 2
    failed = net.of("station", ExchangeFailed) + net.of("host", ExchangeFailed)
    assert [one.reason for one in failed] == [FailureReason.REDUNDANT] * (kind == "child")
    same(net, connection, host)


@pytest.mark.parametrize("kind", KINDS)
def test_rfc9370_2_2_4_a_rekey_meets_one_that_is_being_followed_up(kind: str) -> None:
    """TEMPORARY_FAILURE; who began second gives way, without a word to its user."""
    net, connection, host = net_of()
    begin(kind, connection)
    ((_, request),) = net.gather()
    begin(kind, host)
    ((_, late),) = net.gather()
    net.deliver("station", request)
    (answer,) = [datagram for who, datagram in net.gather() if who == "host"]
    net.deliver("host", answer)
    task = connection.current.under_way
    assert isinstance(task, CreateChildTask | RekeyIkeTask)
    assert task.is_following_up
    held = net.gather()
    net.deliver("host", late)
    ((_, refusal),) = net.gather()
    sa = host.current
    payloads = open_sealed(
        refusal.data, parse_header(refusal.data)[1], sa.keys.opener(initiator=False)
    )
    assert payloads == (NotifyPayload(NotifyType.TEMPORARY_FAILURE),)
    net.deliver("station", refusal)
    for who, datagram in held:
        net.deliver(who, datagram)
    net.run()
    assert results(net, kind) == [1, 1]
    same(net, connection, host)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_who_gave_way_tries_again_if_nothing_comes_of_it(seed: int, kind: str) -> None:
    """The winner's follow-up comes too late: there is nothing left that it could follow up."""
    net, connection, host = net_of(seed=seed, timing=replace(FAST, sends=15, follow_up=10.0))
    begin(kind, connection)
    begin(kind, host)
    step(net)
    step(net)
    (gave_way,) = [one.current.pending for one in (connection, host) if one.current.pending]
    assert gave_way.instead_of is not None
    net.filter = lambda _who, datagram: [] if datagram.data[18] == 44 else [datagram]
    net.advance(12)
    net.filter = lambda _who, datagram: [datagram]
    net.advance(60)
    assert not net.of("station", IkeSaClosed)
    assert min(results(net, kind)) >= 1
    same(net, connection, host)


# --- never followed up --------------------------------------------------------------------------


def unanswered(kind: str) -> tuple[Net, Connection, Connection, IkeSa]:
    """The host has agreed to a rekey; its answer is lost."""
    net, connection, host = net_of()
    begin(kind, connection)
    step(net)
    net.gather()
    assert host.current.pending is not None
    return net, connection, host, host.current


@pytest.mark.parametrize("kind", KINDS)
def test_rfc9370_2_2_4_state_is_deleted_after_a_time(kind: str) -> None:
    net, connection, host, sa = unanswered(kind)
    reserved = len(host.shared.child_spis), len(host.shared.routes)
    assert reserved == ((2, 1) if kind == "child" else (1, 2))
    timer = net.host.get_timer()
    assert timer is not None
    assert timer == net.now + FAST.follow_up
    net.host.handle_timer(timer)
    assert sa.pending is None
    assert (len(host.shared.child_spis), len(host.shared.routes)) == (1, 1)
    # The answer comes late, and there is nothing to follow up any more: all begins anew.
    net.now = timer
    net.station.handle_timer(net.now)
    net.advance(60)
    kinds = exchanges(net)
    assert kinds.count(44) >= 4
    assert results(net, kind) == [1, 1]
    same(net, connection, host)


@pytest.mark.parametrize("kind", KINDS)
def test_state_goes_with_the_ike_sa(kind: str) -> None:
    _, _, host, sa = unanswered(kind)
    host.close()
    assert sa.pending is None
    net, _, host, sa = unanswered(kind)
    host.abandon()
    assert sa.pending is None
    assert not net.host._shared.child_spis


@pytest.mark.parametrize("kind", KINDS)
def test_another_request_takes_its_place(kind: str) -> None:
    """The peer has one exchange under way at a time: it gave the first one up."""
    net, connection, host, sa = unanswered(kind)
    first = sa.pending
    connection.current.outstanding = None
    connection.current.request_id += 1
    begin("ike" if kind == "child" else "child", connection)
    step(net)
    assert sa.pending is not first
    assert sa.pending is not None
    net.run()
    assert host.current.pending is None


def follow_up(net: Net, sa: IkeSa, payloads: Sequence[Payload]) -> list[Payload]:
    """Have the host answer an IKE_FOLLOWUP_KE that the station did not think of."""
    header = Header(sa.spi_i, sa.spi_r, 44, sa.expected_id, is_initiator=True, is_response=False)
    data = build_sealed(header, payloads, sa.keys.sealer(initiator=True))
    opener = sa.keys.opener(initiator=True)
    net.deliver("station", Datagram(data, sa.address))
    ((_, response),) = net.gather()
    header, first = parse_header(response.data)
    return list(open_sealed(response.data, first, opener))


def _link(sa: IkeSa) -> NotifyPayload:
    assert sa.pending is not None
    return NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, sa.pending.link)


def test_rfc9370_2_2_4_nothing_to_follow_up() -> None:
    net, _, host = net_of()
    ke = KePayload(KEM, bytes(1184))
    link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, b"link")
    requests: list[list[Payload]] = [[ke, link], [ke], []]
    for payloads in requests:
        (refusal,) = follow_up(net, host.current, payloads)
        assert refusal == NotifyPayload(NotifyType.STATE_NOT_FOUND)
    assert host.established


@pytest.mark.parametrize("kind", KINDS)
def test_another_link_is_not_followed(kind: str) -> None:
    net, _, host, sa = unanswered(kind)
    link = NotifyPayload(NotifyType.ADDITIONAL_KEY_EXCHANGE, b"another")
    (refusal,) = follow_up(net, sa, [KePayload(KEM, bytes(1184)), link])
    assert refusal == NotifyPayload(NotifyType.STATE_NOT_FOUND)
    assert sa.pending is not None
    assert host.established


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_none_makes_no_sa(kind: str) -> None:
    """FIPS 203 7.2: coefficients that are not below the modulus."""
    net, _, host, sa = unanswered(kind)
    (refusal,) = follow_up(net, sa, [KePayload(KEM, b"\xff" * 1184), _link(sa)])
    assert refusal == NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)
    assert sa.pending is None
    assert host.current is sa
    assert len(host.shared.child_spis) == len(host.shared.routes) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ke", [[], [KePayload(Group.ML_KEM_1024, bytes(1568))]])
def test_ill_formed_requests_are_fatal(ke: list[Payload], kind: str) -> None:
    net, _, host, sa = unanswered(kind)
    (refusal,) = follow_up(net, sa, [*ke, _link(sa)])
    assert refusal == NotifyPayload(NotifyType.INVALID_SYNTAX)
    assert not host.established
    assert not net.host._shared.child_spis


def _answered(
    kind: str, exchange: int, change: Sequence[Payload] | None
) -> tuple[Net, Connection, Connection]:
    """The host's answer is `change`, or loses its link."""
    net, connection, host = net_of()
    sealer_keys = host.current.keys

    def changed(who: str, datagram: Datagram) -> list[Datagram]:
        header, first = parse_header(datagram.data)
        if who != "host" or header.exchange != exchange:
            return [datagram]
        payloads = change
        if payloads is None:
            old = open_sealed(datagram.data, first, sealer_keys.opener(initiator=True))
            payloads = [p for p in old if find_notify([p], ADDITIONAL) is None]
            assert len(payloads) == len(old) - 1
        data = build_sealed(header, payloads, sealer_keys.sealer(initiator=False))
        return [datagram._replace(data=data)]

    net.filter = changed
    begin(kind, connection)
    net.run()
    return net, connection, host


ADDITIONAL = NotifyType.ADDITIONAL_KEY_EXCHANGE


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_a_link_is_none(kind: str) -> None:
    net, connection, host = _answered(kind, 36, None)
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.reason is FailureReason.UNACCEPTABLE
    net.filter = lambda _who, datagram: [datagram]
    same(net, connection, host)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_to_follow_up_is_told(kind: str) -> None:
    net, connection, _ = _answered(kind, 44, [NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN)])
    (failed,) = net.of("station", ExchangeFailed)
    assert failed.notify == NotifyType.NO_PROPOSAL_CHOSEN
    assert connection.established
    assert connection.current.under_way is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "payloads",
    [
        [],
        [NoncePayload(bytes(32))],
        [KePayload(Group.ML_KEM_1024, bytes(1568))],
        [KePayload(KEM, bytes(1087))],
    ],
)
def test_ill_formed_answers_end_the_connection(payloads: list[Payload], kind: str) -> None:
    net, _, _ = _answered(kind, 44, payloads)
    net.advance(60)
    (closed,) = net.of("station", IkeSaClosed)
    assert closed.reason is CloseReason.PROTOCOL
    assert not net.station._shared.child_spis
    assert not net.station._shared.routes


def test_a_child_sa_is_deleted_before_its_initiator_knows_it() -> None:
    """The host has it from IKE_FOLLOWUP_KE on; the Delete waits for the answer to that."""
    net, connection, host = net_of()
    connection.create_child()
    step(net)
    step(net)
    ((who, request),) = net.gather()
    net.deliver(who, request)
    ((_, lost),) = net.gather()
    assert lost.data[18] == 44
    host.delete_child(max(host.child_sas, key=list(host.child_sas).index))
    net.advance(30)
    assert len(connection.child_sas) == len(host.child_sas) == 1
    assert len(net.of("station", ChildSaDeleted)) == 1
    same(net, connection, host)
