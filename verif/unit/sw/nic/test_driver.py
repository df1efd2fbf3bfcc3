"""Tests of sw.nic.driver: addresses, and the error paths that no real NIC takes on demand.

The driver on the simulated NIC itself is tested in verif/cosim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from spec import registers as facts
from spec.counters import Counter
from spec.host import (
    HEARTBEAT_MAGIC,
    HEARTBEAT_STOP,
    BootError,
    BootKind,
    BootProgress,
    ClearPort,
    HostEvent,
    HostState,
)
from spec.layout import Access
from spec.rmcp import Role
from spec.sa import BankState, SadCommand, SadResult
from spec.suites import Suite
from sw.nic import (
    Alerts,
    BootRequest,
    Capabilities,
    CapabilityError,
    ClearPortSetting,
    HostStatus,
    Lifetime,
    LoggedEvent,
    NicDriver,
    Policy,
    SadBadSpiError,
    SadBusyError,
    SadError,
    SadForbiddenError,
    SadIncompleteError,
    SadTimeoutError,
    SadUnknownCommandError,
    SadUnsupportedError,
    SaStatus,
    StoreStatus,
    TransportError,
    WrongNicError,
)
from verif.unit.sw.nic.fake_board import FakeNic, address
from verif.unit.sw.nic.test_sa import staged


def driver(nic: FakeNic) -> NicDriver:
    return NicDriver(nic, pause=lambda _seconds: None)


@pytest.mark.parametrize("name", ["ID", "MAP_HASH"])
def test_another_nic_or_map_is_refused_before_anything_is_written(name: str) -> None:
    nic = FakeNic()
    nic.values[address(name)] ^= 1
    with pytest.raises(WrongNicError, match="0x"):
        driver(nic)
    assert nic.writes == []


def test_capabilities() -> None:
    assert driver(FakeNic()).capabilities() == Capabilities(
        version=0x0003_0000,
        suites=frozenset({Suite.ESP_AES_GCM_16_128, Suite.ESP_AES_GCM_16_256}),
        contexts=1,
        banks=2,
        window=64,
        lanes=1,
        packet_max=1500,
        ack_ms=10_000,
        grace_ms=2_000,
    )


def test_suites_of_a_later_nic_are_left_alone() -> None:
    nic = FakeNic()
    nic.values[address("SUITES")] = 0xFFFF_FFFF
    assert driver(nic).capabilities().suites == set(Suite) - {Suite.NONE}


def test_host_address_is_off_while_it_changes() -> None:
    nic = FakeNic()
    d = driver(nic)
    d.set_host_address(bytes.fromhex("020000abcdef"), IPv4Address("192.0.2.10"))
    assert nic.writes == [
        (0x038, 0),
        *((address, 0) for address in (0x050, 0x054, 0x058, 0x05C)),
        (0x030, 0x0200),
        (0x034, 0x00ABCDEF),
        (0x038, 0xC000020A),
        *((address, 0) for address in (0x05C, 0x058, 0x054, 0x050)),
    ]
    nic.writes.clear()
    d.set_host_address(bytes(6), IPv4Address(0), IPv6Address("2001:db8::1:2"))
    # The first word last: until then the address is nobody's.
    assert nic.writes[-4:] == [(0x05C, 0x0001_0002), (0x058, 0), (0x054, 0), (0x050, 0x20010DB8)]
    with pytest.raises(ValueError, match="6 octets"):
        d.set_host_address(bytes(5), IPv4Address(0))


def test_stage_writes_the_whole_layout_then_wipes_the_keys() -> None:
    nic = FakeNic({SadCommand.READY: [SadResult.PENDING, SadResult.PENDING, SadResult.OK]})
    pauses: list[float] = []
    nic.values[0x010] = 0x01_040_2_04
    sa = staged(rx_sequence=0x1_0000_0002, tx_sequence=0x3_0000_0004, context=3)
    NicDriver(nic, pause=pauses.append).stage_sa(sa)
    assert nic.writes[:2] == [(0x088, 3), (0x080, 1)]
    assert nic.writes[-2:] == [(0x088, 3), (0x080, 2)]
    assert dict(nic.writes[2:-2]) == {
        0x100: 0xC0DE0101,
        0x104: 0xC0DE0102,
        0x108: 1,
        0x10C: 1,
        0x110: 0xC0000201,
        0x114: int.from_bytes(b"SLTA", "big"),
        0x118: int.from_bytes(b"SLTB", "big"),
        0x11C: 1,
        0x120: 2,
        0x124: 3,
        0x128: 4,
    } | {
        0x140 + 4 * i: int.from_bytes(b"KEYINKEYINKEYIN1"[4 * i : 4 * i + 4], "big")
        for i in range(4)
    } | {
        0x160 + 4 * i: int.from_bytes(b"KEYOUTKEYOUTKEY2"[4 * i : 4 * i + 4], "big")
        for i in range(4)
    }
    assert len(pauses) == 2
    assert sa.key_in == sa.key_out == bytes(16)
    assert sa.salt_in == sa.salt_out == bytes(4)


def test_a_256_bit_key_has_eight_words_and_flags_follow_esn() -> None:
    nic = FakeNic()
    driver(nic).stage_sa(
        staged(
            suite=Suite.ESP_AES_GCM_16_256,
            key_in=bytearray(range(32)),
            key_out=bytearray(range(32, 64)),
            esn=False,
        )
    )
    written = dict(nic.writes)
    assert written[0x108] == 2
    assert written[0x10C] == 0
    assert written[0x15C] == 0x1C1D1E1F
    assert written[0x17C] == 0x3C3D3E3F


@pytest.mark.parametrize(("role", "flags"), [(Role.OPERATOR, 1), (Role.ADMINISTRATOR, 9)])
def test_the_role_goes_in_with_the_flags(role: Role, flags: int) -> None:
    nic = FakeNic()
    driver(nic).stage_sa(staged(role=role))
    assert dict(nic.writes)[0x10C] == flags


def test_what_the_firmware_is_asked_for() -> None:
    nic = FakeNic()
    d = driver(nic)
    assert d.boot_request() is None
    # The octets 000011be 01 0203 2008 0607 of DSP0136 3.2.4.1, as docs/rmcp.md places them.
    nic.values |= {0x060: 0x80020301, 0x064: 0x06072008, 0x068: 4542}
    assert d.boot_request() == BootRequest(4542, 1, 0x0203, 0x2008, 0x0607)
    d.boot_taken()
    assert nic.writes == [(0x06C, int.from_bytes(b"BOOT", "big"))]


def limits(contexts: int, banks: int, window: int) -> int:
    return contexts | banks << 8 | window << 12 | 1 << 24


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("SUITES", 0b100, "ESP_AES_GCM_16_128.*ESP_AES_GCM_16_256"),
        ("SUITES", 0b001, "none"),
        ("LIMITS", limits(0, 2, 64), "0 contexts"),
        ("LIMITS", limits(1, 1, 64), "1 banks"),
        ("LIMITS", limits(1, 2, 32), "32 packets"),
        ("PACKET_MAX", 60, "60 octets"),
    ],
)
def test_what_the_nic_cannot_do_is_refused_before_it_is_staged(
    name: str, value: int, text: str
) -> None:
    nic = FakeNic()
    nic.values[address(name)] = value
    sa = staged()
    with pytest.raises(CapabilityError, match=text):
        driver(nic).stage_sa(sa)
    assert nic.writes == []
    assert sa.key_in == b"KEYINKEYINKEYIN1"


REFUSALS = [
    (SadResult.BUSY, SadBusyError),
    (SadResult.INCOMPLETE, SadIncompleteError),
    (SadResult.UNSUPPORTED, SadUnsupportedError),
    (SadResult.BAD_SPI, SadBadSpiError),
    (SadResult.FORBIDDEN, SadForbiddenError),
    (SadResult.UNKNOWN, SadUnknownCommandError),
    (SadResult.NONE, SadError),
    (99, SadError),
]


@pytest.mark.parametrize(("result", "kind"), REFUSALS)
def test_each_refusal_of_ready_has_its_error_and_the_bank_is_cleared(
    result: int, kind: type[SadError]
) -> None:
    nic = FakeNic({SadCommand.READY: [result]})
    sa = staged()
    with pytest.raises(kind, match="READY") as error:
        driver(nic).stage_sa(sa)
    assert type(error.value) is kind
    assert "KEY" not in str(error.value)
    assert nic.commands == [SadCommand.STAGE, SadCommand.READY, SadCommand.ABORT]
    assert sa.key_in == b"KEYINKEYINKEYIN1"


def test_a_bank_that_is_not_free_is_left_alone() -> None:
    nic = FakeNic({SadCommand.STAGE: [SadResult.BUSY]})
    with pytest.raises(SadBusyError, match="STAGE"):
        driver(nic).stage_sa(staged())
    assert nic.commands == [SadCommand.STAGE]


@pytest.mark.parametrize(
    "act", [lambda d: d.abort(), lambda d: d.stage_sa(staged())], ids=["abort", "stage_sa"]
)
def test_a_command_that_never_ends_is_given_up(act: Callable[[NicDriver], None]) -> None:
    never: dict[SadCommand, list[int]] = {
        command: [SadResult.PENDING] for command in (SadCommand.READY, SadCommand.ABORT)
    }
    with pytest.raises(SadTimeoutError, match="pending"):
        act(driver(FakeNic(never)))


def test_a_line_that_breaks_while_staging_is_told_as_such() -> None:
    class Broken(FakeNic):
        def write(self, addr: int, value: int) -> None:
            if addr == 0x140:
                raise TransportError("the cable is out")
            super().write(addr, value)

    nic = Broken()
    with pytest.raises(TransportError, match="cable"):
        driver(nic).stage_sa(staged())
    assert nic.commands == [SadCommand.STAGE, SadCommand.ABORT]


def test_heartbeat() -> None:
    nic = FakeNic()
    d = driver(nic)
    d.heartbeat()
    d.stop_heartbeat()
    d.set_heartbeat_window(700)
    assert nic.writes == [(0x024, HEARTBEAT_MAGIC), (0x024, HEARTBEAT_STOP), (0x028, 700)]
    for bad in (99, 600_001):
        with pytest.raises(ValueError, match="heartbeat window"):
            d.set_heartbeat_window(bad)


def test_boot_progress() -> None:
    nic = FakeNic()
    d = driver(nic)
    d.start_boot()
    d.tell_boot(BootKind.PROGRESS, BootProgress.PCI)
    d.tell_boot(BootKind.ERROR, BootError.NO_MEMORY)
    assert nic.writes == [(0x024, 0x48425442), (0x02C, 0x207), (0x02C, 0x001)]
    nic.values[address("BOOT_PROGRESS")] = 0x112
    assert d.boot_told() == (BootKind.HANG, BootProgress.OS_WAKE_VECTOR)
    with pytest.raises(ValueError, match="ERROR is told with a BootError"):
        d.tell_boot(BootKind.ERROR, BootProgress.PCI)
    nic.values[address("BOOT_PROGRESS")] = 0x300
    with pytest.raises(WrongNicError, match="unknown BootKind 3"):
        d.boot_told()


def test_alerts() -> None:
    nic = FakeNic()
    d = driver(nic)
    assert d.alerts() == Alerts(enabled=False, clear=False, heartbeat_s=0)
    wanted = Alerts(enabled=True, clear=True, heartbeat_s=60)
    d.set_alerts(wanted)
    assert nic.writes == [(0x304, 60 << 16 | 3)]
    assert d.alerts() == wanted
    with pytest.raises(CapabilityError, match="until its power is off"):
        d.set_alerts(Alerts())
    for period in (-1, 601):
        with pytest.raises(ValueError, match="a heartbeat of alerts every"):
            d.set_alerts(Alerts(enabled=True, heartbeat_s=period))
    assert len(nic.writes) == 1


def test_a_build_without_alerts() -> None:
    nic = FakeNic()
    nic.values[address("LIMITS")] &= ~(1 << 28)
    d = driver(nic)
    assert not d.has_alerts
    d.set_alerts(Alerts(clear=True, heartbeat_s=60))
    with pytest.raises(CapabilityError, match="has no alerts"):
        d.set_alerts(Alerts(enabled=True))
    assert nic.writes == []


def test_events_oldest_first() -> None:
    nic = FakeNic()
    assert driver(nic).events() == ()
    nic.values[address("EVENTS")] = 2
    # The last one is newer than the number that was read, so it is left out.
    for place, word in ((15, 0xFF000321), (0, 0x00130222), (1, 0x01000231), (2, 0x02000321)):
        nic.values[address("EVENT", place)] = word
    assert driver(nic).events() == (
        LoggedEvent(255, HostEvent.STATE, HostState.OS_UP, HostState.OS_HUNG, 0),
        LoggedEvent(0, HostEvent.WATCHDOG, HostState.OS_UP, HostState.OS_UP, 0x13),
        LoggedEvent(1, HostEvent.STATE, HostState.OS_HUNG, HostState.OS_UP, 0),
    )
    nic.values[address("EVENT", 1)] = 0x0100002F
    with pytest.raises(WrongNicError, match="unknown HostEvent 15"):
        driver(nic).events()


def test_host_status() -> None:
    nic = FakeNic()
    nic.values[address("HOST_STATUS")] = 3 | 1 << 4 | 1 << 9 | 1 << 12
    assert driver(nic).host_status() == HostStatus(
        state=HostState.OS_HUNG,
        watchdog_expired=True,
        reset_in=False,
        sleep_in=True,
        off_in=False,
        reset_out=True,
        power_out=False,
    )


def test_sa_status() -> None:
    nic = FakeNic()
    nic.values[address("SA_STATUS")] = 4 | 2 << 4 | 1 << 8
    nic.values[address("SA_SPI_IN", 0)] = 0xA
    nic.values[address("SA_SPI_IN", 1)] = 0xB
    assert driver(nic).sa_status() == SaStatus(BankState.PROVEN, BankState.READY, True, 0xA, 0xB)
    nic.values[address("SA_STATUS")] = 4 | 2 << 4 | 1 << 9 | 1 << 12
    assert driver(nic).sa_status() == SaStatus(
        BankState.PROVEN, BankState.READY, False, 0xA, 0xB, soft_a=True, hard_b=True
    )


def test_limits_of_a_lifetime_are_written_where_there_are_any() -> None:
    nic = FakeNic()
    limited = replace(staged(), lifetime=Lifetime(soft_octets=5 << 32 | 7, hard_packets=9))
    with pytest.raises(CapabilityError, match="lifetime"):
        driver(nic).stage_sa(limited)
    assert nic.writes == []
    nic.values[address("LIMITS")] |= 1 << 29
    driver(nic).stage_sa(limited)
    first = address("STAGE_LIFETIME")
    limits = [(at - first, value) for at, value in nic.writes if first <= at < first + 32]
    assert limits == [(8, 5), (12, 7), (16, 0), (20, 9)]


def test_limits_of_more_than_64_bits_are_refused() -> None:
    for number in (-1, 1 << 64):
        with pytest.raises(ValueError, match="hard_octets"):
            Lifetime(hard_octets=number)


def test_a_count_that_never_comes_is_an_error() -> None:
    class StoppedNic(FakeNic):
        def read(self, addr: int) -> int:
            return 1 << 31 if addr == address("SA_LIFETIME") else super().read(addr)

    nic = StoppedNic()
    assert driver(nic).bank_use(0) is None
    nic.values[address("LIMITS")] |= 1 << 29
    with pytest.raises(SadTimeoutError, match="bank 3"):
        driver(nic).bank_use(3)


def test_counters() -> None:
    nic = FakeNic()
    for counter in Counter:
        nic.values[0x280 + 4 * counter] = 100 + counter
    assert driver(nic).counters() == {counter: 100 + counter for counter in Counter}


def test_an_address_that_the_nic_has_is_not_told_again() -> None:
    """While it is told, what comes for the NIC goes to the host."""
    nic = FakeNic()
    d = driver(nic)
    mac, ip = bytes.fromhex("020000000010"), IPv4Address("192.0.2.10")
    d.set_host_address(mac, ip)
    told = len(nic.writes)
    d.set_host_address(mac, ip)
    assert len(nic.writes) == told
    d.set_host_address(mac, IPv4Address("192.0.2.11"))
    assert len(nic.writes) == 2 * told


def test_the_store() -> None:
    nic = FakeNic()
    d = driver(nic)
    assert d.store_status() == StoreStatus(False, False, False, False, False, (), 0, 0)
    nic.values[address("STORE_STATUS")] = 0x03_02_15_0B
    assert d.store_status() == StoreStatus(True, True, False, True, True, (0, 2), 2, 3)
    nic.values[address("STORE_STATUS")] = 0x00_00_02_05
    assert d.store_status() == StoreStatus(True, False, True, False, False, (1,), 0, 0)
    d.save_config()
    assert nic.writes == [(0x094, 0x53415645)]


def test_policy_can_only_be_tightened() -> None:
    nic = FakeNic()
    d = driver(nic)
    assert d.policy == Policy()
    d.set_policy(Policy(clear_off=True))
    assert nic.values[address("POLICY")] == 2
    d.set_policy(Policy(station_authorised=True, clear_off=True))
    assert nic.values[address("POLICY")] == 3
    assert d.policy == Policy(station_authorised=True, clear_off=True)
    for looser in (Policy(), Policy(station_authorised=True), Policy(clear_off=True)):
        with pytest.raises(CapabilityError, match="tightened"):
            d.set_policy(looser)
    assert nic.values[address("POLICY")] == 3


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        (ClearPortSetting(ClearPort.NOTHING), 0x00000000),
        (ClearPortSetting(), 0x00000001),
        (ClearPortSetting(ClearPort.EVERYTHING, 300), 0x012C0102),
    ],
)
def test_clear_port(setting: ClearPortSetting, word: int) -> None:
    nic = FakeNic()
    d = driver(nic)
    d.set_clear_port(setting)
    assert nic.writes == [(0x070, word)]
    assert d.clear_port == setting


def test_a_clear_port_of_another_kind_answers_nothing() -> None:
    nic = FakeNic()
    nic.values[0x070] = 0x00050003
    assert driver(nic).clear_port == ClearPortSetting(ClearPort.NOTHING)
    for seconds in (-1, 65536):
        with pytest.raises(ValueError, match="0 to 65535"):
            ClearPortSetting(after_s=seconds)


def test_locked_settings_are_left_as_they_are() -> None:
    nic = FakeNic()
    d = driver(nic)
    mac, ip = bytes.fromhex("020000000010"), IPv4Address("192.0.2.10")
    d.set_host_address(mac, ip)
    d.set_enterprise(4711)
    d.set_policy(Policy(settings_locked=True))
    nic.writes.clear()
    d.set_host_address(mac, ip)
    d.set_enterprise(4711)
    d.set_clear_port(ClearPortSetting(ClearPort.NOTHING))
    for change in (
        lambda: d.set_host_address(mac, IPv4Address("192.0.2.11")),
        lambda: d.set_enterprise(4712),
        lambda: d.set_clear_port(ClearPortSetting()),
        lambda: d.set_alerts(Alerts(clear=True)),
        lambda: d.set_alerts(Alerts(enabled=True, heartbeat_s=60)),
    ):
        with pytest.raises(CapabilityError, match="locked"):
            change()
    assert nic.writes == []
    d.set_alerts(Alerts(enabled=True))
    assert nic.writes == [(0x304, 1)]


def test_enterprise() -> None:
    nic = FakeNic()
    d = driver(nic)
    d.set_enterprise(0x01020304)
    assert d.enterprise() == 0x01020304
    assert nic.writes == [(0x040, 0x01020304)]


def test_closing_closes_the_transport() -> None:
    nic = FakeNic()
    with driver(nic):
        assert not nic.closed
    assert nic.closed


def test_every_register_the_driver_writes_may_be_written() -> None:
    nic = FakeNic()
    d = driver(nic)
    d.set_host_address(bytes(6), IPv4Address(0))
    d.stage_sa(staged())
    d.heartbeat()
    d.set_heartbeat_window(100)
    d.set_policy(Policy(True, True))
    d.set_enterprise(1)
    writable = {
        register.address + 4 * index
        for register in facts.REGISTERS
        if register.access is not Access.RO
        for index in range(register.count)
    }
    assert {addr for addr, _ in nic.writes} <= writable
