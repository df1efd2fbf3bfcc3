"""The whole model: each drop reason, the decisions at their edges, and the account of frames."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.counters import Counter
from verif.model import NicModel, ToHost, ToWire
from verif.unit.model.support import (
    HOST_MAC,
    IP,
    PING,
    PORT,
    STATION_MAC,
    UDP,
    Ether,
    Raw,
    Sa,
    clear,
    datagram,
    nic,
    proven,
    ready,
    stage,
)

PEER = "10.99.0.1"
STRANGER = "10.99.0.9"


def loaded() -> tuple[NicModel, Sa]:
    model, sa = nic(), Sa()
    proven(model, sa)
    return model, sa


def verdict(model: NicModel, frame: bytes, err: bool = False) -> Counter | None:
    outputs = model.wire_receive(frame, err)
    if model.verdict is Counter.PASSED:
        assert outputs == [ToHost(frame)]
    elif model.verdict is not Counter.DELIVERED:
        assert outputs == []
    return model.verdict


def changed(frame: bytes, offset: int, octets: bytes, *, fix: bool = True) -> bytes:
    """The frame with octets replaced, and its IPv4 checksum put right again."""
    data = bytearray(frame)
    data[offset : offset + len(octets)] = octets
    if fix:
        data[24:26] = b"\0\0"
        header = data[14 : 14 + 4 * (data[14] & 15)]
        total = sum(int.from_bytes(header[i : i + 2], "big") for i in range(0, len(header), 2))
        data[24:26] = (0xFFFF - (total % 0xFFFF or 0xFFFF)).to_bytes(2, "big")
    return bytes(data)


def esp_of(length: int, spi: int = 0xC0DE0101, source: str = PEER) -> bytes:
    """A frame with an ESP packet of `length` octets, number 50."""
    body = (spi.to_bytes(4, "big") + bytes([0, 0, 0, 50]) + bytes(length))[:length]
    packet = IP(src=source, dst="10.99.0.2", proto=50) / Raw(body)
    return bytes(Ether(src=STATION_MAC, dst=HOST_MAC) / packet)


def test_drop_frame() -> None:
    model, sa = loaded()
    assert verdict(model, bytes(13)) is Counter.DROP_FRAME
    assert verdict(model, sa.message(PING), err=True) is Counter.DROP_FRAME
    assert verdict(model, bytes.fromhex("ffffffffffff") + bytes(54), err=True) is Counter.DROP_FRAME
    assert verdict(model, bytes(14)) is Counter.PASSED


def test_drop_ip_header() -> None:
    model, sa = loaded()
    good = sa.message(PING)
    assert verdict(model, changed(good, 24, b"\0\0", fix=False)) is Counter.DROP_IP_HEADER
    assert verdict(model, changed(good, 16, b"\x05\xdd")) is Counter.DROP_IP_HEADER
    assert verdict(model, changed(good, 16, b"\0\x17")) is Counter.DROP_IP_HEADER
    assert verdict(model, changed(good, 16, b"\0\x05")) is Counter.DROP_IP_HEADER
    assert verdict(model, good[:-1]) is Counter.DROP_IP_HEADER
    assert verdict(model, changed(clear(PING, port=664), 16, b"\0\x1b")) is Counter.DROP_IP_HEADER
    assert verdict(model, good + b"surplus") is Counter.DELIVERED


def test_drop_fragment() -> None:
    model, sa = loaded()
    assert verdict(model, changed(sa.message(PING), 20, b"\x20\0")) is Counter.DROP_FRAGMENT
    assert verdict(model, changed(sa.message(PING), 20, b"\0\x01")) is Counter.DROP_FRAGMENT
    assert verdict(model, clear(PING, flags="MF")) is Counter.DROP_FRAGMENT
    assert verdict(model, clear(PING, frag=1)) is Counter.PASSED
    model, sa = nic(), Sa(peer=STRANGER)
    proven(model, sa)  # a later fragment is ours by its source alone
    assert verdict(model, changed(sa.message(PING), 20, b"\0\x01")) is Counter.PASSED


def test_drop_udp_length() -> None:
    model, sa = loaded()
    for octets, port in ((7, 664), (21, 664), (7, 623), (0xFFFF, 623)):
        frame = changed(clear(PING, port=port), 38, octets.to_bytes(2, "big"))
        assert verdict(model, frame) is Counter.DROP_UDP_LENGTH
    frame = sa.message(PING, port=PORT)
    assert verdict(model, changed(frame, 38, b"\x02\0")) is Counter.DROP_UDP_LENGTH
    assert verdict(model, changed(frame, 38, b"\0\x0b")) is Counter.PASSED


def test_drop_clear() -> None:
    model, _ = loaded()
    assert verdict(model, clear(PING, port=664)) is Counter.DROP_CLEAR_PROTECTED
    assert verdict(model, clear(PING, port=664, options=[b"\x01" * 4])) in (
        Counter.DROP_CLEAR_PROTECTED,
    )
    assert verdict(model, clear(PING)) is Counter.DROP_CLEAR_POLICY
    assert verdict(nic(), clear(PING)) is Counter.DELIVERED
    tcp = changed(clear(PING, port=664), 23, b"\x06")
    assert verdict(model, tcp) is Counter.PASSED


def test_drop_unknown_spi() -> None:
    model, sa = loaded()
    for spi in (0, 255, 0xC0DE0100):
        assert verdict(model, esp_of(60, spi)) is Counter.DROP_UNKNOWN_SPI
    assert verdict(model, esp_of(60, 0xC0DE0100, STRANGER)) is Counter.PASSED
    assert verdict(model, esp_of(60, 0xC0DE0101, STRANGER)) is Counter.DROP_ICV
    encapsulated = Sa(spi_in=0xC0DE0199).message(PING, port=PORT)
    assert verdict(model, encapsulated) is Counter.DROP_UNKNOWN_SPI
    assert verdict(model, changed(encapsulated, 26, b"\x0a\x63\0\x09")) is Counter.PASSED
    assert verdict(model, sa.message(PING, port=PORT)) is Counter.DELIVERED


@pytest.mark.parametrize("length", [*range(4, 36), 37, 38, 39, 41, 42, 43])
def test_drop_esp_length(length: int) -> None:
    model, _ = loaded()
    assert verdict(model, esp_of(length)) is Counter.DROP_ESP_LENGTH


def test_esp_of_the_shortest_length_is_looked_at() -> None:
    model, sa = loaded()
    assert verdict(model, esp_of(44)) is Counter.DROP_ICV
    assert verdict(model, sa.message(b"")) is Counter.DROP_RMCP_MALFORMED
    assert model.message == b""


def test_drop_replay() -> None:
    model, sa = loaded()
    frame = sa.message(PING, number=200)
    assert verdict(model, frame) is Counter.DELIVERED
    assert verdict(model, frame) is Counter.DROP_REPLAY_DUPLICATE
    assert verdict(model, sa.message(PING, number=136)) is Counter.DROP_REPLAY_OLD
    assert verdict(model, sa.message(PING, number=137)) is Counter.DELIVERED


def inside(plaintext: bytes) -> Counter | None:
    """What becomes of a packet whose plaintext is exactly this."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    model, sa = loaded()
    header, iv = sa.spi_in.to_bytes(4, "big") + bytes([0, 0, 0, 9]), bytes(7) + b"\x09"
    sealed = AESGCM(sa.key_in).encrypt(sa.salt_in + iv, plaintext, header)
    packet = IP(src=PEER, dst="10.99.0.2", proto=50) / Raw(header + iv + sealed)
    return verdict(model, bytes(Ether(src=STATION_MAC, dst=HOST_MAC) / packet))


def test_drop_padding() -> None:
    ping = datagram(PING)
    assert inside(ping + b"\x01\x02\x02\x11") is Counter.DELIVERED
    assert inside(ping + b"\x01\x02\x03\x04\x05\x06\x06\x11") is Counter.DELIVERED
    assert inside(ping + b"\x01\x03\x02\x11") is Counter.DROP_PADDING
    assert inside(ping + b"\x00\x01\x02\x11") is Counter.DROP_PADDING
    assert inside(bytes(10) + b"\x0b\x11") is Counter.DROP_PADDING
    assert inside(bytes(10) + b"\xff\x11") is Counter.DROP_PADDING
    assert inside(bytes(range(1, 11)) + b"\x0a\x11") is Counter.DROP_SELECTOR
    longest = ping + bytes(range(1, 255)) + b"\xfe\x11"
    assert inside(longest) is Counter.DELIVERED


def test_drop_next_header() -> None:
    assert inside(datagram(PING, port=1) + b"\x01\x02\x02\x06") is Counter.DROP_NEXT_HEADER
    assert inside(datagram(PING) + b"\x01\x01\x02\x06") is Counter.DROP_PADDING


def test_rfc4303_2_6_dummy_packets_are_dropped_behind_their_icv() -> None:
    assert inside(datagram(PING) + b"\x01\x02\x02\x3b") is Counter.DROP_DUMMY
    assert inside(b"\x01\x02\x02\x3b") is Counter.DROP_DUMMY
    assert inside(b"\x01\x01\x02\x3b") is Counter.DROP_PADDING


def test_drop_selector() -> None:
    assert inside(datagram(PING, port=623) + b"\x01\x02\x02\x11") is Counter.DROP_SELECTOR
    assert inside(datagram(PING, octets=19) + b"\x01\x02\x02\x11") is Counter.DROP_SELECTOR
    assert inside(datagram(PING, octets=21) + b"\x01\x02\x02\x11") is Counter.DROP_SELECTOR
    assert inside(bytes(7) + b"\1\2\3\x03\x11"[-5:]) is Counter.DROP_SELECTOR


def test_drop_rmcp() -> None:
    model, sa = loaded()
    assert verdict(model, sa.message(b"\x06\x00\xff")) is Counter.DROP_RMCP_MALFORMED
    assert verdict(model, sa.message(b"\x06\x00\xff\x07")) is Counter.DROP_RMCP_UNKNOWN


@pytest.mark.parametrize("protected", [False, True])
def test_not_ours_passes(protected: bool) -> None:
    model, sa = loaded()
    good = sa.message(PING) if protected else clear(PING, port=664)
    other_mac = b"\x02\0\0\0\0\x03"
    assert verdict(model, changed(good, 0, other_mac)) is Counter.PASSED
    assert verdict(model, changed(good, 12, b"\x86\xdd")) is Counter.PASSED
    assert verdict(model, changed(good, 14, b"\x65", fix=False)) is Counter.PASSED
    assert verdict(model, changed(good, 14, b"\x44", fix=False)) is Counter.PASSED
    assert verdict(model, changed(good, 30, b"\x0a\x63\0\x03")) is Counter.PASSED
    assert verdict(model, changed(good, 0, b"\xff" * 6)) is not Counter.PASSED
    model.bus_write("HOST_IP", 0)
    assert verdict(model, sa.message(PING)) is Counter.PASSED


def test_rfc3948_2_ike_and_keepalive_on_4500_pass() -> None:
    model, _ = loaded()
    for payload in (b"\xff", bytes(4) + bytes(28), b"\xde\xad\xbe"):
        assert verdict(model, clear(payload, port=4500)) is Counter.PASSED
    assert verdict(model, clear(PING, port=500)) is Counter.PASSED


def test_every_truncation_of_a_header_is_harmless() -> None:
    model, sa = loaded()
    for good in (sa.message(PING), sa.message(PING, port=PORT), clear(PING, port=664)):
        for octets in range(1, len(good)):
            result = verdict(model, good[:octets])
            if octets < 14:
                assert result is Counter.DROP_FRAME
            elif octets < 34:
                assert result is Counter.PASSED
            elif good[23] == 50:
                assert result is Counter.DROP_IP_HEADER  # ours by its source
            elif octets < 42 or (octets < 46 and good[36:38] == b"\x11\x94"):
                assert result is Counter.PASSED
            else:
                assert result is Counter.DROP_IP_HEADER
    assert verdict(model, sa.message(PING)) is Counter.DELIVERED


def test_answers_keep_to_the_encapsulation_and_port_of_the_request() -> None:
    model, sa = nic(), Sa()
    assert ready(model, sa) == 1
    (answer,) = model.wire_receive(changed(sa.message(PING, port=PORT), 0, b"\xff" * 6))
    assert isinstance(answer, ToWire)
    assert Ether(answer.frame).src == HOST_MAC  # never a group address
    assert Ether(answer.frame)[UDP].dport == PORT


def test_hosts_frames_leave_as_they_are() -> None:
    assert nic().host_receive(b"anything") == [ToWire(b"anything")]


frames = st.builds(
    lambda base, edits, cut: _edited(base, edits)[: cut or None],
    st.integers(0, 5),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=3),
    st.integers(0, 80),
)


def _edited(base: int, edits: list[tuple[int, int]]) -> bytes:
    sa = Sa(sequence=base)
    choices = [
        sa.message(PING),
        sa.message(PING, port=PORT),
        clear(PING),
        clear(PING, port=664),
        bytes.fromhex("ffffffffffff0200000000010806000108000604000102000000000a0a630009")
        + bytes(6)
        + bytes([10, 99, 0, 2]),
        sa.sealed(b"\x01" * 20, protocol=6),
    ]
    data = bytearray(choices[base])
    for place, value in edits:
        if place < len(data):
            data[place] = value
    return bytes(data)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(frames, st.booleans()), max_size=12), st.booleans())
def test_frames_in_is_the_sum_of_all_others(script: list[tuple[bytes, bool]], load: bool) -> None:
    model = nic()
    if load:
        stage(model, Sa())
        model.bus_write("SA_COMMAND", 2)
    for frame, err in script:
        model.wire_receive(frame, err)
    counters = dict(model.counters)
    assert counters.pop(Counter.FRAMES_IN) == len(script) == sum(counters.values())
