"""Checks of the virtual board; test_virtual_board.py runs them in namespaces."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boards.virtual.process import BoardError
from spec.counters import Counter
from spec.host import RESET_PULSE_MS, HostState
from spec.registers import ID_MAGIC
from spec.sa import BankState
from spec.store import LEAP
from spec.suites import Suite
from sw.nic import Policy, UnixSocketTransport
from sw.rmcp import PowerCycle, PresencePing, PresencePong, Reset, RmcpAck, RmcpMessage
from verif.cosim.link import HOST_IP, Bench, Sa, open_bench, wait_until


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A running board without a flash."""
    with open_bench() as found:
        yield found


def host_state_becomes(bench: Bench, state: HostState) -> bool:
    """Waits until the driver reads this state."""
    return wait_until(lambda: bench.nic.host_status().state is state)


def test_frames_pass_bit_for_bit_in_both_directions(bench: Bench) -> None:
    sizes = (60, 61, 64, 100, 577, 1513, 1514)
    for start, end in ((bench.wire, bench.host), (bench.host, bench.wire)):
        # 88B5h: for local experiments (IEEE 802), so that nothing else here sends or answers it.
        frames = [
            bytes.fromhex("020000000099 020000000098 88b5") + os.urandom(size - 14)
            for size in sizes
        ]
        for frame in frames:
            start.send(frame)
        for frame in frames:
            assert end.receive(lambda f: f[12:14] == b"\x88\xb5") == frame
    counters = bench.nic.counters()
    assert counters[Counter.PASSED] == counters[Counter.FRAMES_IN] >= len(sizes)


def test_short_frames_are_padded_as_a_mac_does(bench: Bench) -> None:
    frame = bytes.fromhex("020000000099 020000000098 88b5") + b"short"
    bench.wire.send(frame)
    assert bench.host.receive(lambda f: f[12:14] == b"\x88\xb5") == frame.ljust(60, b"\0")


@pytest.mark.parametrize("suite", [Suite.ESP_AES_GCM_16_128, Suite.ESP_AES_GCM_16_256])
@pytest.mark.parametrize("esn", [True, False])
def test_reset_under_a_staged_sa_moves_the_pin_once(bench: Bench, suite: Suite, esn: bool) -> None:
    sa = Sa(suite=suite, esn=esn)
    bench.load(sa)
    bench.wire.send(bench.protect(sa, RmcpMessage(1, 7, PresencePing())))
    assert bench.answers(sa, 1) == [RmcpAck(1)]
    (pong,) = bench.answers(sa, 1)
    assert isinstance(pong, RmcpMessage)
    assert isinstance(pong.body, PresencePong)
    assert bench.nic.sa_status().bank_a is BankState.PROVEN

    command = RmcpMessage(2, 8, Reset())
    bench.wire.send(bench.protect(sa, command))
    assert bench.answers(sa, 1) == [RmcpAck(2)]
    # The same command again, in a new packet: acknowledged, and not carried out again.
    bench.wire.send(bench.protect(sa, command))
    assert bench.answers(sa, 1) == [RmcpAck(2)]
    pins = bench.board.pins
    assert wait_until(lambda: ("reset", 0) in [event[:2] for event in pins.events[2:]])
    assert wait_until(lambda: not bench.nic.host_status().reset_out)
    rise, fall = [event for event in pins.events[2:] if event[0] == "reset"]
    assert (rise[1], fall[1]) == (1, 0)
    assert abs(fall[2] - rise[2] - RESET_PULSE_MS) <= 1
    assert pins.rises("power") == 0


def test_nothing_that_is_not_authenticated_moves_a_pin(bench: Bench) -> None:
    sa = Sa()
    bench.load(sa)
    good = bench.protect(sa, RmcpMessage(1, 1, Reset()))
    for at in range(14 + 20 + 4, len(good)):
        bad = bytearray(good)
        bad[at] ^= 0x01
        bench.wire.send(bytes(bad))
    wanted = len(good) - 38
    dropped = (Counter.DROP_ICV, Counter.DROP_REPLAY_OLD, Counter.DROP_REPLAY_DUPLICATE)
    assert wait_until(lambda: sum(bench.nic.counters()[c] for c in dropped) == wanted)
    assert bench.board.pins.rises("reset") == 0
    bench.wire.send(good)
    assert bench.answers(sa, 1) == [RmcpAck(1)]
    assert wait_until(lambda: bench.board.pins.rises("reset") == 1)


def test_pins_in_are_what_the_driver_reads(bench: Bench) -> None:
    sa = Sa()
    bench.load(sa)
    bench.wire.send(bench.protect(sa, RmcpMessage(1, 1, PresencePing())))
    bench.answers(sa, 2)
    assert bench.nic.host_status().state is HostState.PRE_BOOT
    for pin, state in (
        ("host_sleep", HostState.SUSPEND),
        ("host_off", HostState.SOFT_OFF),
        ("host_reset", HostState.PRE_BOOT),
    ):
        bench.board.pins.set(pin, True)
        assert host_state_becomes(bench, state), pin
        bench.board.pins.set(pin, False)
    bench.board.pins.set("zeroise", True)
    assert wait_until(lambda: bench.nic.sa_status().bank_a is BankState.EMPTY)
    with pytest.raises(ValueError, match="no such input pin"):
        bench.board.pins.set("reset", True)


def test_power_cycle_holds_waits_and_presses(bench: Bench) -> None:
    sa = Sa()
    bench.load(sa)
    pins = bench.board.pins
    bench.wire.send(bench.protect(sa, RmcpMessage(1, 1, PowerCycle())))
    assert wait_until(lambda: pins.rises("power") == 1)
    pins.set("host_off", True)
    assert wait_until(lambda: pins.rises("power") == 2)
    pins.set("host_off", False)
    assert wait_until(lambda: pins.levels["power"] == 0)
    assert pins.rises("reset") == 0


def test_heartbeat_window_is_in_wall_time(bench: Bench) -> None:
    bench.nic.set_heartbeat_window(1500)
    bench.nic.heartbeat()
    start = time.monotonic()
    assert bench.nic.host_status().state is HostState.OS_UP
    assert wait_until(lambda: bench.nic.host_status().watchdog_expired)
    # Never early by more than the board may run ahead; how late, the machine's load decides.
    assert time.monotonic() - start > 1.4
    stats = bench.board.stats()
    passed = stats["cycles"] / stats["clock_hz"] + stats["lost_seconds"]
    assert passed == pytest.approx(stats["seconds"], abs=0.3)


def keeps_an_sa(bench: Bench) -> Sa:
    """The NIC is told to keep SAs, and one is proven."""
    bench.nic.set_policy(Policy(keeps_sa=True))
    bench.nic.save_config()
    assert wait_until(lambda: bench.nic.store_status().has_config)
    sa = Sa()
    bench.load(sa)
    pings(bench, sa, tag=1)
    assert bench.nic.store_status().contexts == (0,)
    return sa


def pings(bench: Bench, sa: Sa, *, tag: int) -> None:
    """A ping is answered under the SA."""
    bench.wire.send(bench.protect(sa, RmcpMessage(tag, tag, PresencePing())))
    assert bench.answers(sa, 2)[0] == RmcpAck(tag)


def test_with_a_flash_an_sa_outlives_the_power(tmp_path: Path) -> None:
    with open_bench(tmp_path / "flash") as bench:
        sa = keeps_an_sa(bench)
        for tag in (2, 3):
            bench.power_cut()
            assert bench.nic.host_address()[1] == HOST_IP
            assert bench.nic.sa_status().bank_a is BankState.PROVEN
            # Left of the window it is taken for a number of the next 2^32 (RFC 4303 A2.2).
            bench.wire.send(bench.protect(sa, RmcpMessage(9, 9, PresencePing())))
            assert wait_until(lambda: bench.nic.counters()[Counter.DROP_ICV] == 1)
            assert sa.outbound.sequences.leap(LEAP)
            pings(bench, sa, tag=tag)
    assert (tmp_path / "flash").stat().st_size == 1 << 16


def test_without_a_flash_or_with_another_one_nothing_does(tmp_path: Path) -> None:
    with open_bench(tmp_path / "flash") as bench:
        keeps_an_sa(bench)
        for flash in (None, tmp_path / "another"):
            bench.board.flash = flash
            bench.power_cut()
            assert bench.nic.store_status().present is (flash is not None)
            assert bench.nic.sa_status().bank_a is BankState.EMPTY
            assert bench.nic.host_address()[1] != HOST_IP


def test_what_is_no_flash_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "flash").write_bytes(b"x" * 100)
    with pytest.raises(BoardError, match="flash' is no flash: it has not 65536 octets"):
        with open_bench(tmp_path / "flash"):
            pass
    assert (tmp_path / "flash").read_bytes() == b"x" * 100


def test_idle_board_leaves_the_core_alone(bench: Bench) -> None:
    def used() -> float:
        fields = Path(f"/proc/{bench.board.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    time.sleep(0.2)
    cpu, wall = used(), time.monotonic()
    time.sleep(2.0)
    assert (used() - cpu) / (time.monotonic() - wall) < 0.25


def test_several_clients_share_the_registers(bench: Bench) -> None:
    others = [UnixSocketTransport(bench.board.registers) for _ in range(3)]
    for _ in range(50):
        assert [other.read(0) for other in others] == [ID_MAGIC] * 3
    others[0].close()
    assert others[1].read(0) == ID_MAGIC
    for other in others[1:]:
        other.close()


def test_busy_board_reaches_its_speed(bench: Bench) -> None:
    frame = bytes.fromhex("020000000099 020000000098 88b5") + os.urandom(1500)
    for _ in range(30):
        bench.wire.send(frame)
    for _ in range(30):
        bench.host.receive(lambda f: f == frame)
    stats = bench.board.stats()
    print(f"RESULT virtual board: {stats['busy_cycles_per_second']:,} cycles a second")
    assert stats["busy_cycles"] > 30 * 1514
    assert stats["wire"]["in"] >= 30
    assert stats["host"]["out"] >= 30
