"""RMCP and ASF against octets written down from DSP0136."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec.counters import Counter
from spec.sa import SadResult
from verif.model import NicModel, Pin, ToWire
from verif.model.rmcp import Request, parse
from verif.unit.model.support import PING, Sa, clear, nic, proven, ready, verdict_of

OEM = 32473
REQUEST_TYPES = {0x10, 0x11, 0x12, 0x13, 0x80, 0x81, 0x82}


def exchange(
    message: str, model: NicModel | None = None, *, administrator: bool = False
) -> list[str]:
    """The answers to a message under a proven SA, in hexadecimal."""
    sa = Sa(administrator=administrator)
    if model is None:
        model = nic()
    assert ready(model, sa) == 1
    outputs = [o for o in model.wire_receive(sa.message(bytes.fromhex(message))) if not _is_pin(o)]
    assert verdict_of(model) is Counter.DELIVERED
    return [sa.opened(answer, number=n).hex() for n, answer in enumerate(outputs, 1)]


def _is_pin(output: object) -> bool:
    return isinstance(output, Pin)


def test_dsp0136_3_2_4_3_presence() -> None:
    assert exchange("0600ff06 000011be 80 2a 00 00") == [
        "0600ff06000011be402a0010" + "000011be" + "00000000" + "01" + "00" + "000000000000"
    ]


def test_dsp0136_3_2_2_2_ack_comes_before_the_answer() -> None:
    assert exchange("06003306 000011be 80 2a 00 00") == [
        "06003386",
        "0600ff06000011be402a0010000011be000000000100000000000000",
    ]


def test_dsp0136_3_2_4_4_capabilities() -> None:
    assert exchange("0600ff06 000011be 81 01 00 00") == [
        "0600ff06000011be41010010" + "000011be" + "00000000" + "001f" + "0f" + "67f80000" + "00"
    ]


@pytest.mark.parametrize(("pins", "state"), [({}, "00"), ({"sleep": True}, "08")])
def test_dsp0136_3_2_4_6_system_state(pins: dict[str, bool], state: str) -> None:
    model = nic()
    model.set_pins(**pins)
    assert exchange("0600ff06 000011be 82 05 00 00", model) == [
        "0600ff06000011be42050004" + state + "00" + "0000"
    ]


def test_dsp0136_3_2_4_6_soft_off_and_watchdog() -> None:
    model = nic()
    model.set_pins(off=True, sleep=True)
    assert exchange("0600ff06 000011be 82 05 00 00", model)[0][-8:] == "06000000"
    model = nic()
    model.bus_write("HEARTBEAT", 0x48425421)
    model.advance(5000)
    assert exchange("0600ff06 000011be 82 05 00 00", model)[0][-8:] == "00010000"


def test_dsp0136_3_2_4_1_power_command_is_only_acknowledged() -> None:
    assert exchange("06000106 000011be 10 07 00 00") == ["06000186"]
    data = "000011be" + "01" + "0203" + "0405" + "0607"
    message = "06000206 000011be 13 07 00 0b" + data
    assert exchange(message, administrator=True) == ["06000286"]


@pytest.mark.parametrize("kind", ["10", "11", "13"])
def test_boot_options_are_an_administrators(kind: str) -> None:
    model, sa = nic(), Sa()
    assert ready(model, sa) == 1
    message = f"06000206 000011be {kind} 07 00 0b 000011be 01 0203 0405 0607"
    assert model.wire_receive(sa.message(bytes.fromhex(message))) == []
    assert verdict_of(model) is Counter.DROP_RMCP_ROLE
    assert model.advance(10) == []
    sent = sa.message(bytes.fromhex(f"06000206 000011be {kind} 07 00 00"))
    assert len(model.wire_receive(sent)) >= 1
    assert verdict_of(model) is Counter.DELIVERED


def test_sa_status() -> None:
    assert exchange("0600ff06 00007ed9 81 09 00 00") == [
        "0600ff0600007ed94109000c" + "04000001" + "c0de0101" + "00000000"
    ]


def test_enterprise_is_configurable() -> None:
    model = nic()
    model.bus_write("ENTERPRISE", 0x00ABCDEF)
    assert exchange("0600ff06 00abcdef 81 09 00 00", model)[0].startswith("0600ff0600abcdef41")


@pytest.mark.parametrize(
    ("message", "counter"),
    [
        ("", Counter.DROP_RMCP_MALFORMED),
        ("0600ff", Counter.DROP_RMCP_MALFORMED),
        ("0500ff06000011be80010000", Counter.DROP_RMCP_MALFORMED),
        ("0600ff86", Counter.DROP_RMCP_MALFORMED),
        ("0500ff07", Counter.DROP_RMCP_MALFORMED),
        ("0600ff07", Counter.DROP_RMCP_UNKNOWN),
        ("0600ff26000011be80010000", Counter.DROP_RMCP_UNKNOWN),
        ("0600ff06000011be800100", Counter.DROP_RMCP_MALFORMED),
        ("0600ff06000011bf80010000", Counter.DROP_RMCP_UNKNOWN),
        ("0600ff06000011be40010001", Counter.DROP_RMCP_UNKNOWN),
        ("0600ff06000011be80010001", Counter.DROP_RMCP_MALFORMED),
        ("0600ff06000011be8001000100", Counter.DROP_RMCP_MALFORMED),
        ("0600ff06000011be1001000a" + "00" * 10, Counter.DROP_RMCP_MALFORMED),
        ("0600ff06000011be1201000b" + "00" * 11, Counter.DROP_RMCP_MALFORMED),
        ("0600ff0600007ed980010003000000", Counter.DROP_RMCP_MALFORMED),
        ("0600ff0600007ed981010004" + "00" * 4, Counter.DROP_RMCP_MALFORMED),
        ("0600ff0600007ed910010000", Counter.DROP_RMCP_UNKNOWN),
    ],
)
def test_refused_messages(message: str, counter: Counter) -> None:
    assert parse(bytes.fromhex(message), OEM) is counter


def test_octets_behind_the_data_and_reserved_octets_are_ignored() -> None:
    request = parse(bytes.fromhex("06aaff06000011be8001bb00ffff"), OEM)
    assert isinstance(request, Request)
    assert request.data == b""


def test_every_type_from_00_to_ff_is_known_or_moves_nothing() -> None:
    model, sa = nic(), Sa()
    proven(model, sa)
    for number in range(256):
        if number in REQUEST_TYPES:
            continue
        outputs = model.wire_receive(
            sa.message(bytes.fromhex(f"0600ff06000011be{number:02x}010000"))
        )
        assert outputs == []
        assert verdict_of(model) is Counter.DROP_RMCP_UNKNOWN
    assert model.advance(10) == []


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_octets_give_a_request_or_a_counter(message: bytes) -> None:
    result = parse(message, OEM)
    assert isinstance(result, Request | Counter)


def in_clear(kind: int, *, data: str = "", enterprise: int = 4542, sequence: int = 1) -> bytes:
    """A frame with a message to the clear port."""
    octets = bytes.fromhex(data)
    head = f"0600{sequence:02x}06{enterprise:08x}{kind:02x}0100{len(octets):02x}"
    return clear(bytes.fromhex(head) + octets)


def test_clear_port_answers_presence_to_the_octet() -> None:
    model = nic()
    (answer,) = model.wire_receive(clear(PING))
    assert isinstance(answer, ToWire)
    # 10.99.0.2:623 to 10.99.0.1:40664, checksums (RFC 791, RFC 768) added up by hand.
    assert answer.frame.hex() == (
        "020000000001" + "020000000002" + "0800"
        "45000038" + "00004000" + "401125ed" + "0a630002" + "0a630001"
        "026f9ed8" + "0024" + "e001"
        "0600ff06000011be40010010000011be000000000100000000000000"
    )
    model.wire_receive(in_clear(0x01))
    assert verdict_of(model) is Counter.DROP_RMCP_UNKNOWN
    assert len(model.wire_receive(in_clear(0x80, sequence=0x33))) == 2


ANSWERED: dict[str, tuple[int, ...]] = {
    "nothing": (),
    "discovery": (0x80, 0x81),
    "everything": (0x10, 0x11, 0x12, 0x13, 0x80, 0x81, 0x82),
    "reserved": (),
    "off by policy": (),
}
"""Types of ASF that the clear port takes where it is open."""


@pytest.mark.parametrize("setting", ANSWERED)
@pytest.mark.parametrize("when", ["cold boot", "proven", "unheard", "heard", "unheard, OS up"])
def test_clear_port_over_setting_state_and_message(setting: str, when: str) -> None:
    model, sa = nic(), Sa()
    words = {"nothing": 0, "discovery": 1, "everything": 2, "reserved": 3, "off by policy": 2}
    unheard = 0x00020100 if "heard" in when else 0
    model.bus_write("CLEAR_PORT", words[setting] | unheard)
    model.bus_write("POLICY", 2 * (setting == "off by policy"))
    if when != "cold boot":
        proven(model, sa)
    model.advance(1999)
    if when == "heard":
        model.wire_receive(sa.message(PING))
    model.advance(1)
    if when == "unheard, OS up":
        model.bus_write("HEARTBEAT", 0x48425421)
    is_open = when in ("cold boot", "unheard")
    for kind in range(256):
        for enterprise in (4542, OEM):
            outputs = model.wire_receive(in_clear(kind, enterprise=enterprise))
            takes = is_open and enterprise == 4542 and kind in ANSWERED[setting]
            assert (verdict_of(model) is Counter.DELIVERED) == takes, f"{kind:#x}"
            assert bool(outputs) == takes
    for kind in (0x10, 0x11, 0x13):  # boot options are an administrator's
        model.wire_receive(in_clear(kind, data="000011be0100000000" + "0000"))
        assert verdict_of(model) in (Counter.DROP_RMCP_ROLE, Counter.DROP_CLEAR_POLICY)
    assert model.bus_read("BOOT_COMMAND") == 0
    model.wire_receive(in_clear(0x80, data="00"))
    assert verdict_of(model) is not Counter.DELIVERED


def test_a_power_command_in_clear_uses_up_no_numbers_of_a_station() -> None:
    model, sa = nic(), Sa()
    model.bus_write("CLEAR_PORT", 2)
    outputs = model.wire_receive(in_clear(0x10, sequence=9))
    assert [pin.name for pin in outputs if isinstance(pin, Pin)] == ["reset"]
    model.advance(1000)
    outputs = model.wire_receive(in_clear(0x10, sequence=9))
    assert not any(isinstance(pin, Pin) for pin in outputs)
    proven(model, sa)
    outputs = model.wire_receive(sa.message(bytes.fromhex("06000906000011be10010000")))
    assert [pin.name for pin in outputs if isinstance(pin, Pin)] == ["reset"]


def test_dsp0136_3_2_4_4_capabilities_of_either_port() -> None:
    model = nic()
    for word, system in ((1, "0f"), (2, "f0"), (1, "0f")):
        model.bus_write("CLEAR_PORT", word)
        (answer,) = model.wire_receive(in_clear(0x81, sequence=0xFF))
        assert isinstance(answer, ToWire)
        assert answer.frame.hex().endswith("001f" + system + "67f80000" + "00")


def test_clear_port_is_closed_by_policy_and_out_of_cold_boot() -> None:
    model = nic()
    model.bus_write("POLICY", 2)
    model.wire_receive(clear(PING))
    assert verdict_of(model) is Counter.DROP_CLEAR_POLICY
    model = nic()
    proven(model, Sa())
    model.wire_receive(clear(PING))
    assert verdict_of(model) is Counter.DROP_CLEAR_POLICY
    model = nic()
    model.bus_write("HEARTBEAT", 0x48425421)
    model.wire_receive(clear(PING))
    assert verdict_of(model) is Counter.DROP_CLEAR_POLICY


def test_zeroise_is_answered_under_the_sa_that_goes() -> None:
    """Octets as docs/rmcp.md has them; then nothing of any context works, and no policy is left."""
    model, other = nic(), Sa(spi_in=0xC0DE0901, spi_out=0xC0DE0902)
    model.bus_write("SA_CONTEXT", 1)
    assert ready(model, other) == SadResult.OK
    model.wire_receive(other.message(PING))
    model.bus_write("SA_CONTEXT", 0)
    model.bus_write("POLICY", 3)
    sa = Sa(administrator=True)
    assert ready(model, sa) == SadResult.FORBIDDEN
    model.bus_write("SA_COMMAND", 3)
    sa = Sa()
    assert ready(model, sa) == SadResult.OK
    frame = sa.message(bytes.fromhex("06000506 00007ed9 82 07 00 00"))
    assert model.wire_receive(frame) == []
    assert verdict_of(model) is Counter.DROP_RMCP_ROLE
    assert model.bus_read("SA_STATUS", 1) == 4
    model = nic()
    assert exchange("06000506 00007ed9 82 07 00 00", model, administrator=True) == [
        "06000586",
        "0600ff0600007ed942070000",
    ]
    assert [model.bus_read("SA_STATUS", n) for n in range(4)] == [0, 0, 0, 0]
    assert model.bus_read("POLICY") == 0
