"""Constants of SHA-256, parameters and layouts of the HMAC unit."""

from functools import partial
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Value
from amaranth.lib.wiring import Out

from hw.crypto.hmac import (
    HmacLane,
    HmacUnit,
    auth_expand_layout,
    auth_job_layout,
    auth_octet_layout,
)
from hw.crypto.sha256 import BLOCK_CYCLES, SHA256_INITIAL, SHA256_K
from verif.unit.hw.crypto.test_components import refuses


def test_fips180_4_4_2_2_round_constants() -> None:
    """Literal words of the standard: the first and the last four."""
    assert len(SHA256_K) == 64
    assert SHA256_K[:4] == (0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5)
    assert SHA256_K[-4:] == (0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2)


def test_fips180_4_5_3_3_initial_value() -> None:
    literal = (
        *(0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A),
        *(0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19),
    )
    assert literal == SHA256_INITIAL


def test_block_cycles() -> None:
    assert BLOCK_CYCLES == 68


@pytest.mark.parametrize("component", [HmacLane, HmacUnit])
@pytest.mark.parametrize("slots", [0, 1, 3, 64, "4", None])
def test_bad_number_of_slots_is_named(component: Any, slots: object) -> None:
    refuses(lambda: component(slots=slots), ValueError, f"slots must be .* not {slots!r}")


@pytest.mark.parametrize("octets", [0, 128, 300, -256])
def test_bad_fifo_is_named(octets: int) -> None:
    refuses(partial(HmacLane, fifo_octets=octets), ValueError, f"fifo_octets .* not {octets}")


@pytest.mark.parametrize("lanes", [0, -1, "2", None])
def test_bad_number_of_lanes_is_named(lanes: Any) -> None:
    refuses(partial(HmacUnit, lanes=lanes), ValueError, f"lanes must be .* not {lanes!r}")


@pytest.mark.parametrize(("lanes", "slots"), [(1, 2), (3, 16)])
def test_elaborates(lanes: int, slots: int) -> None:
    unit = HmacUnit(lanes=lanes, slots=slots, fifo_octets=512)
    assert (unit.lanes, unit.slots, unit.fifo_octets) == (lanes, slots, 512)
    assert rtlil.convert(unit)


def test_layouts_keep_their_order_of_bits() -> None:
    def places(layout: Any) -> list[tuple[str, int, int]]:
        return [(name, field.offset, field.width) for name, field in layout]

    assert places(auth_job_layout(slots=8)) == [("slot", 0, 3), ("sha_1", 3, 1)]
    assert places(auth_octet_layout()) == [("data", 0, 8), ("last", 8, 1)]
    assert places(auth_expand_layout(slots=8)) == [("stb", 0, 1), ("slot", 1, 3), ("sha_1", 4, 1)]


def test_keys_can_only_be_written() -> None:
    """SEC: SAD.KEY_WRITE_ONLY. No port of the unit but the tags carries data outwards."""
    unit = HmacUnit(lanes=1)
    outputs = {
        path[0]: len(Value.cast(value))
        for path, member, value in unit.signature.flatten(unit)
        if member.flow is Out and path[-1] not in ("ready", "valid")
    }
    assert rtlil.convert(unit)
    assert outputs == {"tag_0": 8, "busy": 1, "zeroising": 1, "done": 1}


def test_sha_1_needs_four_slots() -> None:
    refuses(lambda: HmacUnit(slots=2, sha_1=True), ValueError, "slots must be at least 4, not 2")
    refuses(lambda: HmacLane(slots=2, sha_1=True), ValueError, "slots must be at least 4, not 2")
    for slots in (4, 16):
        unit = HmacUnit(slots=slots, sha_1=True)
        assert unit.sha_1
        assert rtlil.convert(unit)


def test_without_sha_1_nothing_of_it_is_built() -> None:
    """Neither its core nor a register that would tell the hashes apart."""
    without, both = (rtlil.convert(HmacUnit(sha_1=sha_1)) for sha_1 in (False, True))
    assert "core_1" in both
    assert "core_1" not in without
    plain_flip_flops = 210
    registers = [text.count("cell $dff") + text.count("cell $sdff") for text in (without, both)]
    assert registers[0] == plain_flip_flops
    assert registers[1] > plain_flip_flops
