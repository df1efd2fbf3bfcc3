"""The register map as the bus sees it."""

from __future__ import annotations

import pytest

from spec.layout import Access
from spec.registers import MAP_HASH, REGISTERS
from verif.unit.model.support import PING, Sa, clear, nic, proven


def test_what_the_driver_asks_first() -> None:
    model = nic()
    assert model.bus_read(0x000) == 0x484F4C44
    assert model.bus_read(0x004) == MAP_HASH
    assert model.bus_read("SUITES") == 0xFFFE
    assert model.bus_read("LIMITS") == 0x31_040_2_04
    assert model.bus_read("PACKET_MAX") == 1500
    assert (model.bus_read("ACK_MS"), model.bus_read("GRACE_MS")) == (10_000, 2_000)


def test_unmapped_and_write_only_read_as_zero_and_read_only_stays() -> None:
    model = nic()
    mapped = {r.address + 4 * i for r in REGISTERS for i in range(r.count)}
    for address in range(0, 1 << 12, 4):
        if address not in mapped:
            model.bus_write(address, 0xFFFFFFFF)
            assert model.bus_read(address) == 0
    for register in REGISTERS:
        before = model.bus_read(register.address)
        if register.access is Access.WO:
            assert before == 0
        if register.access is Access.RO:
            model.bus_write(register.address, 0x5A5A5A5A)
            assert model.bus_read(register.address) == before


def test_policy_is_set_but_never_cleared_by_the_bus() -> None:
    model = nic()
    model.bus_write("POLICY", 0xFFFFFFF1)
    assert model.bus_read("POLICY") == 1
    model.bus_write("POLICY", 2)
    assert model.bus_read("POLICY") == 3
    model.bus_write("POLICY", 4)
    assert model.bus_read("POLICY") == 7
    model.bus_write("POLICY", 8)
    assert model.bus_read("POLICY") == 15
    model.bus_write("POLICY", 0)
    assert model.bus_read("POLICY") == 15


def test_settings_that_are_locked_take_no_write() -> None:
    model = nic()
    settings = {
        "HOST_MAC_HI": 0x0A0B,
        "HOST_MAC_LO": 0x0C0D0E0F,
        "HOST_IP": 0x0A000001,
        "HOST_IP6": 0xFD000000,
        "ENTERPRISE": 4711,
        "CLEAR_PORT": 0x003C0102,
        "ALERTS": 0x003C0003,
    }
    for name, value in settings.items():
        model.bus_write(name, value)
    model.bus_write("POLICY", 4)
    for name, value in settings.items():
        model.bus_write(name, ~value & 0xFFFFFFFF)
        assert model.bus_read(name) == value
    model.bus_write("HEARTBEAT_MS", 700)
    assert model.bus_read("HEARTBEAT_MS") == 700
    model.set_pins(zeroise=True)
    model.set_pins(zeroise=False)
    assert model.bus_read("CLEAR_PORT") == 1
    assert model.bus_read("HOST_IP") == settings["HOST_IP"]
    model.bus_write("HOST_IP", 0)
    assert model.bus_read("HOST_IP") == 0


def test_stored_registers() -> None:
    model = nic()
    model.bus_write("HOST_MAC_HI", 0xFFFF1234)
    assert model.bus_read("HOST_MAC_HI") == 0x1234
    assert model.bus_read("ENTERPRISE") == 32473
    assert model.bus_read("HEARTBEAT_MS") == 5000


def test_spis_and_counters_by_index() -> None:
    model, sa = nic(), Sa()
    proven(model, sa)
    assert [model.bus_read("SA_SPI_IN", i) for i in range(2)] == [sa.spi_in, 0]
    model.wire_receive(clear(PING, port=664))
    assert model.bus_read("COUNTERS", 0) == 2
    assert model.bus_read(0x280 + 4 * 9) == 1
    model.counters = dict.fromkeys(model.counters, 0xFFFFFFFF)
    model.wire_receive(bytes(60))
    assert (model.bus_read("COUNTERS", 0), model.bus_read("COUNTERS", 1)) == (0, 0)


def test_wrong_arguments() -> None:
    model = nic()
    with pytest.raises(KeyError):
        model.bus_write("NO_SUCH", 0)
    with pytest.raises(IndexError):
        model.bus_read("SA_SPI_IN", 8)
    with pytest.raises(ValueError, match="32-bit"):
        model.bus_write("HOST_IP", 1 << 32)
    with pytest.raises(ValueError, match="octet"):
        model.wire_receive(b"")
