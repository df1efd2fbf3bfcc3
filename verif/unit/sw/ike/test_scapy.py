"""scapy reads what we send: an independent dissector of all that is in the clear."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.contrib import ikev2 as dissector

from sw.ike import EndpointConfig, Group, IkePolicy, Limits
from sw.ike.groups import DH_GROUPS
from verif.unit.sw.ike.net import FAST, Net
from verif.unit.sw.ike.test_groups import DATA_OCTETS


def messages(net: Net) -> list[dissector.IKEv2]:
    return [dissector.IKEv2(datagram.data) for _, datagram in net.wire]


def payloads(message: dissector.IKEv2) -> list:
    found, layer = [], message.payload
    while layer and layer.name not in ("NoPayload", "Raw"):
        found.append(layer)
        layer = layer.payload
    return found


def proposals(sa: dissector.IKEv2_SA) -> Iterator[dissector.IKEv2_Proposal]:
    """Each proposal of an SA payload."""
    layer = sa.prop
    while layer is not None and layer.name != "NoPayload":
        yield layer
        layer = layer.payload


@pytest.mark.parametrize("group", sorted(DH_GROUPS))
def test_init_as_scapy_reads_it(group: Group) -> None:
    config = EndpointConfig(timing=FAST, ike=IkePolicy(groups=(group,)))
    net = Net(station=config, host=config)
    net.up()
    request, response = messages(net)[:2]
    assert request.init_SPI == response.init_SPI != bytes(8)
    assert request.resp_SPI == bytes(8) != response.resp_SPI
    assert (request.version, request.exch_type, request.id) == (0x20, 34, 0)
    assert str(request.flags) == "Initiator"
    assert str(response.flags) == "Response"
    for message, count in ((request, 2), (response, 1)):
        assert message.length == len(bytes(message))
        sa, ke, nonce, source, destination, fragments, vendor = payloads(message)
        found = list(proposals(sa))
        assert len(found) == count
        for number, proposal in enumerate(found, 1):
            assert (proposal.proposal, proposal.proto, proposal.SPIsize) == (number, 1, 0)
            transforms, layer = [], proposal.trans
            while layer is not None and layer.name != "NoPayload":
                transforms.append((layer.transform_type, layer.transform_id))
                layer = layer.payload
            assert transforms == [(1, 20), (2, 5), (4, int(group))]
            assert proposal.trans_nb == len(transforms)
        assert ke.group == group
        assert len(ke.ke) == DATA_OCTETS[group]
        assert len(nonce.nonce) == 32
        assert (source.type, destination.type) == (16388, 16389)
        assert (fragments.type, fragments.notify) == (16430, b"")
        assert len(source.notify) == len(destination.notify) == 20
        assert len(vendor.vendorID) == 16


def test_protected_messages_show_one_encrypted_payload() -> None:
    net = Net()
    connection = net.up()
    connection.rekey_child(next(iter(connection.child_sas)))
    net.run()
    for message in messages(net)[2:]:
        (encrypted,) = payloads(message)
        assert message.next_payload == 46
        assert encrypted.length == message.length - 28
    ids = [(m.exch_type, m.id, str(m.flags)) for m in messages(net)[2:]]
    assert ids == [
        (35, 1, "Initiator"),
        (35, 1, "Response"),
        (36, 2, "Initiator"),
        (36, 2, "Response"),
    ]


def test_cookie_and_invalid_ke_as_scapy_reads_them() -> None:
    net = Net(
        host=EndpointConfig(
            timing=FAST,
            limits=Limits(cookie_threshold=0),
            ike=IkePolicy(groups=(Group.P256,)),
        )
    )
    net.up()
    _, cookie, again, invalid, _, _ = messages(net)[:6]
    (notify,) = payloads(cookie)
    assert notify.type == 16390
    first = payloads(again)[0]
    assert (first.type, first.notify) == (16390, notify.notify)
    (notify,) = payloads(invalid)
    assert (notify.type, notify.notify) == (17, b"\x00\x13")
