"""Every suite in every form, against packets made from the numbers of the RFCs alone."""

from __future__ import annotations

import dataclasses
import random
from itertools import product

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from spec.counters import Counter
from spec.suites import built_in
from verif.fuzz import BusWrite, Frame, frames
from verif.fuzz.generator import Generator, covered_v4
from verif.fuzz.run import UNREACHABLE, apply, run_model
from verif.fuzz.sealing import HOST_V4, HOST_V6, SUITES, Sa, ethernet, ipv4, ipv6, udp
from verif.model import NicModel, ToWire
from verif.unit.model.support import PING, verdict_of

ALL = tuple(SUITES)
PONG = bytes.fromhex("0600ff06000011be40010010000011be000000000100000000000000")
TAGS = bytes.fromhex("88a80005 8100a007")


def loaded(sa: Sa) -> NicModel:
    model = NicModel(suites=built_in(hmac_sha_1=True))
    for action in Generator(1, (1,)).begin():
        if isinstance(action, BusWrite) and action.name.startswith("HOST"):
            apply(model, action)
    for name, index, value in sa.staging():
        model.bus_write(name, value, index)
    assert model.bus_read("SA_RESULT") == 1
    return model


def request(sa: Sa, port: int | None) -> bytes:
    inner, next_header = udp(PING), 17
    if sa.tunnel:
        v6 = not sa.v6
        inner = ipv6(17, inner) if v6 else ipv4(17, inner)
        next_header = 41 if v6 else 4
    number, kind = sa.sequence + 1, sa.kind
    protocol, packet = next_header, inner
    if kind.esp:
        protocol, packet = 50, sa.esp(inner, next_header, number, iv=bytes(range(16)))
    if kind.ah:
        if kind.both:
            number = sa.outer + 1
        octets = len(sa.ah(b"", protocol, packet, number, v6=sa.v6))
        before = (
            ipv6(51, bytes(octets), hops=0)[:40] if sa.v6 else covered_v4(ipv4(51, bytes(octets)))
        )
        packet = sa.ah(before, protocol, packet, number, v6=sa.v6)
        protocol = 51
    if port is not None:
        protocol, packet = 17, udp(packet, port, 4500)
    whole = ipv6(protocol, packet) if sa.v6 else ipv4(protocol, packet)
    return ethernet(whole, 0x86DD if sa.v6 else 0x0800, tags=TAGS)


def opened(frame: bytes, sa: Sa, number: int, outer: int, port: int | None) -> bytes:
    """The UDP payload of an answer, whose protection is made once more and compared."""
    out = dataclasses.replace(sa, spi=sa.spi_out, ah_spi=sa.ah_spi_out)
    assert frame[12:20] == TAGS
    packet = frame[22:]
    whole = IPv6(packet) if sa.v6 else IP(packet)
    octets = 40 + whole.plen if sa.v6 else whole.len
    packet = packet[:octets]
    head = 40 if sa.v6 else 20
    if not sa.v6:
        fresh = whole.copy()
        del fresh.chksum
        assert IP(bytes(fresh)).chksum == whole.chksum
        assert (whole.flags, whole.ttl) == ("DF", 64)
    body = packet[head:]
    protocol = whole.nh if sa.v6 else whole.proto
    if port is not None:
        assert protocol == 17
        assert (whole[UDP].sport, whole[UDP].dport, whole[UDP].len) == (4500, port, len(body))
        protocol, body = 50, body[8:]
    kind = sa.kind
    if kind.ah:
        assert protocol == 51
        end = 4 * (body[1] + 2)
        before = packet[:7] + b"\0" + packet[8:40] if sa.v6 else covered_v4(packet)
        n = outer if kind.both else number
        want = out.ah(before, body[0], body[end:], n, v6=sa.v6, iv=n.to_bytes(8, "big"))
        assert body == want
        protocol, body = body[0], body[end:]
    if kind.esp:
        assert protocol == 50
        iv = body[8 : 8 + kind.iv]
        text = body[8 + kind.iv : -kind.icv]
        if kind.cipher == "gcm":
            high = (number >> 32).to_bytes(4, "big") if sa.esn else b""
            aad = body[:4] + high + body[4:8]
            text = AESGCM(sa.key).decrypt(sa.salt + iv, body[16:], aad)
        if kind.cipher == "cbc":
            decryptor = Cipher(algorithms.AES(sa.key), modes.CBC(iv)).decryptor()
            text = decryptor.update(text)
        inner = text[: len(text) - 2 - text[-2]]
        assert body == out.esp(inner, text[-1], number, iv=iv)
        protocol, body = text[-1], inner
    if sa.tunnel:
        assert protocol == (4 if sa.v6 else 41)
        datagram = IP(body) if sa.v6 else IPv6(body)
        assert bytes(datagram)[-len(body) :] == body
    else:
        assert protocol == 17
        datagram = (
            IPv6(nh=17, src=whole.src, dst=whole.dst)
            if sa.v6
            else IP(proto=17, src=whole.src, dst=whole.dst)
        ) / UDP(body)
    assert (datagram[UDP].sport, datagram[UDP].dport) == (664, 40664)
    given_sum = datagram[UDP].chksum
    del datagram[UDP].chksum
    again = type(datagram)(bytes(datagram))
    assert again[UDP].chksum == given_sum
    return bytes(again[UDP].payload)


FORMS = [
    (suite, v6, tunnel, esn, port)
    for suite, v6, tunnel, esn, port in product(
        ALL, (False, True), (False, True), (False, True), (None, 40500)
    )
    if port is None or not SUITES[suite].ah
]


@pytest.mark.parametrize(("suite", "v6", "tunnel", "esn", "port"), FORMS)
def test_rfc4303_rfc4302_every_suite_both_ways(
    suite: int, v6: bool, tunnel: bool, esn: bool, port: int | None
) -> None:
    last = (7 << 32 | 0xFFFFFFFF) if esn else 8
    sa = Sa(suite, esn=esn, tunnel=tunnel, v6=v6, sequence=last, outer=last + 5, seed=suite)
    model = loaded(sa)
    (answer,) = model.wire_receive(request(sa, port))
    assert verdict_of(model) is Counter.DELIVERED
    assert model.message == PING
    assert isinstance(answer, ToWire)
    assert opened(answer.frame, sa, last + 1, last + 6, port) == PONG
    model.wire_receive(request(sa, port))
    assert verdict_of(model) is Counter.DROP_REPLAY_DUPLICATE


@pytest.mark.parametrize("suite", ALL)
@pytest.mark.parametrize("v6", [False, True])
def test_rfc4302_3_4_4_every_bit_behind_the_headers_counts(suite: int, v6: bool) -> None:
    sa = Sa(suite, v6=v6, seed=suite)
    model = loaded(sa)
    frame = request(sa, None)
    kind, ip = SUITES[suite], 22 + (40 if v6 else 20)
    rng = random.Random(suite)
    for at in rng.sample(range(ip + (12 if kind.ah else 8), len(frame)), 20):
        bad = bytearray(frame)
        bad[at] ^= 1 << rng.randrange(8)
        model.wire_receive(bytes(bad))
        refusals = {Counter.DROP_ICV}
        if kind.both:  # SPI and number of the ESP inside are looked at before the ICVs
            refusals |= {Counter.DROP_UNKNOWN_SPI, Counter.DROP_REPLAY_DUPLICATE}
        assert verdict_of(model) in refusals
    model.wire_receive(frame)
    assert verdict_of(model) is Counter.DELIVERED


def test_a_suite_that_is_not_built_in() -> None:
    model = NicModel()
    for name, index, value in Sa(16).staging():
        model.bus_write(name, value, index)
    assert model.bus_read("SA_RESULT") == 4


def test_every_counter_is_reached() -> None:
    counters = run_model(1, 3000, ALL)
    reached = {counter for counter, value in counters.items() if value}
    assert set(Counter) - reached == set(UNREACHABLE)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_one_counter_a_frame_whatever_comes(seed: int, data: st.DataObject) -> None:
    model = NicModel(suites=built_in(hmac_sha_1=True))
    for action in frames(seed, 40, ALL):
        if isinstance(action, Frame):
            octets = bytearray(action.octets)
            at = data.draw(st.integers(0, len(octets) - 1))
            octets[at] = data.draw(st.integers(0, 255))
            apply(model, dataclasses.replace(action, octets=bytes(octets)))
        apply(model, action)
        counters = dict(model.counters)
        assert counters.pop(Counter.FRAMES_IN) == sum(counters.values())


def test_host_addresses_are_those_of_the_generator() -> None:
    model = loaded(Sa(1))
    assert model.host_ip.to_bytes(4, "big") == HOST_V4
    assert model.host_ip6.to_bytes(16, "big") == HOST_V6
