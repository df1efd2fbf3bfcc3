"""Parameters and layouts of the cipher cores."""

import gc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import UnusedElaboratable, Value
from amaranth.lib.wiring import Out

from hw.crypto import (
    AesCore,
    CipherEngine,
    CipherUnit,
    KeyedAes,
    KeyExpansion,
    KeyStore,
    cipher_job_layout,
    expand_layout,
    key_write_layout,
    zeroise_layout,
)
from hw.stream import OctetSignature, PacketBeat, PacketSignature

WITH_SLOTS: list[Any] = [AesCore, CipherEngine, CipherUnit, KeyedAes, KeyExpansion, KeyStore]


def refuses(make: Callable[[], Any], error: type[Exception], match: str) -> None:
    """Checks that `make` raises; the component it began is then rightly never elaborated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)
        with pytest.raises(error, match=match):
            make()
        gc.collect()


@pytest.mark.parametrize("component", WITH_SLOTS)
@pytest.mark.parametrize("slots", [0, 1, 3, 17, 64, -4, "4", None])
def test_bad_number_of_slots_is_named(component: Any, slots: object) -> None:
    refuses(lambda: component(slots=slots), ValueError, f"slots must be .* not {slots!r}")


@pytest.mark.parametrize("component", WITH_SLOTS)
@pytest.mark.parametrize("slots", [2, 16])
def test_elaborates_with_each_number_of_slots(component: Any, slots: int) -> None:
    made = component(slots=slots)
    assert made.slots == slots
    with pytest.raises(AttributeError):
        made.slots = 2
    assert rtlil.convert(made)


def test_tag_bits() -> None:
    core = AesCore(tag_bits=3)
    assert core.tag_bits == 3
    assert rtlil.convert(core)
    refuses(lambda: AesCore(tag_bits=0), ValueError, "tag_bits must be at least 1, not 0")


def test_parameters_are_keyword_only() -> None:
    for component in WITH_SLOTS:
        refuses(partial(component, 4), TypeError, "positional")


def test_layouts_keep_their_order_of_bits() -> None:
    """Benches and other gateware rely on these places."""

    def places(layout: Any) -> list[tuple[str, int, int]]:
        return [(name, field.offset, field.width) for name, field in layout]

    assert places(cipher_job_layout(slots=4)) == [
        ("mode", 0, 2),
        ("encrypt", 2, 1),
        ("slot", 3, 2),
        ("aes256", 5, 1),
        ("nonce", 6, 96),
        ("aad", 102, 96),
        ("aad_octets", 198, 4),
        ("octets", 202, 11),
    ]
    assert places(key_write_layout(slots=4)) == [
        ("stb", 0, 1),
        ("slot", 1, 2),
        ("index", 3, 3),
        ("data", 6, 32),
    ]
    assert places(expand_layout(slots=4)) == [
        ("stb", 0, 1),
        ("slot", 1, 2),
        ("aes256", 3, 1),
        ("decrypt", 4, 1),
    ]
    assert places(zeroise_layout(slots=4)) == [("stb", 0, 1), ("slot", 1, 2)]
    assert places(PacketBeat) == [("data", 0, 8), ("first", 8, 1), ("last", 9, 1), ("err", 10, 1)]


def test_streams() -> None:
    assert PacketSignature().members["payload"].shape == PacketBeat
    assert OctetSignature().members["payload"].shape == 8


def test_keys_can_only_be_written() -> None:
    """SEC: SAD.KEY_WRITE_ONLY. No port of the unit but text and tag carries data outwards."""
    unit = CipherUnit()
    outputs = {
        path[0]: len(Value.cast(value))
        for path, member, value in unit.signature.flatten(unit)
        if member.flow is Out and path[-1] not in ("ready", "valid")
    }
    assert rtlil.convert(unit)
    assert outputs == {"o": 8, "tag": 8, "busy": 1, "zeroising": 1, "done": 1}
