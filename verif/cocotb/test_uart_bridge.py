# amaranth: UnusedElaboratable=no
"""Runs the bench of the UART bridge."""

import pytest

from hw.host.uart_bridge import UartBridge
from verif.cocotb.runner import run

TESTS = [
    "reads_and_writes",
    "refuses_bad_addresses",
    "ignores_what_begins_no_request",
    "forgets_a_request_that_stops",
    "forgets_a_request_with_a_bad_octet",
    "bears_spikes_and_breaks",
    "survives_a_reset",
]


def small() -> UartBridge:
    """Ten cycles a bit, and an idle time of ten octets."""
    return UartBridge(clock_hz=1_000_000, baud=100_000, idle_ms=1)


@pytest.mark.parametrize("testcase", TESTS)
def test_uart_bridge(testcase: str) -> None:
    bridge = small()
    parameters = {"bit_cycles": bridge.bit_cycles, "idle_cycles": bridge.idle_cycles}
    run(
        bridge,
        "verif.cocotb.tb_uart_bridge",
        "uart_bridge",
        parameters=parameters,
        testcase=testcase,
    )


def test_timing_at_the_board_clock() -> None:
    bridge = UartBridge(clock_hz=125_000_000)
    assert abs(125e6 / bridge.bit_cycles / 115_200 - 1) < 0.001
    assert bridge.idle_cycles == 12_500_000


@pytest.mark.parametrize("parameters", [{"baud": 0}, {"baud": 200_000}, {"idle_ms": 0}])
def test_bad_parameters_are_refused(parameters: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(parameters.values())))):
        UartBridge(clock_hz=1_000_000, **parameters)
