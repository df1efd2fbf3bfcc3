"""Runs the benches of alerts, and lets judges look at what the NIC sent."""

from dataclasses import replace

import pytest

from hw.mgmt.alert_message import AlertMessage
from spec.suites import Suite
from verif.cocotb.runner import run
from verif.cocotb.test_nic import NIC, names_of, run_nic
from verif.judges.alerts import judge
from verif.judges.sent import load

SUITES = (
    Suite.ESP_AES_GCM_16_128,
    Suite.ESP_AES_CBC_256_HMAC_SHA_256_128,
    Suite.ESP_NULL_HMAC_SHA_256_128,
    Suite.ESP_NULL_AES_GMAC_256,
    Suite.AH_HMAC_SHA_256_128,
    Suite.AH_AES_GMAC_128,
    Suite.AH_HMAC_SHA_256_128_ESP_AES_GCM_16_256,
)
EVERY_FORM = "every_form"
SENT = 132
"""Forms of all these suites: transport and tunnels, IPv4 and IPv6, in UDP, none and two tags."""
OPAQUE = 24
"""Of those, under a suite that tshark does not know."""


def test_alert_message() -> None:
    run(AlertMessage(), "verif.cocotb.tb_alert_message", "alert_message")


@pytest.mark.parametrize("testcase", [n for n in names_of("tb_nic_alerts") if n != EVERY_FORM])
def test_alerts(testcase: str) -> None:
    run_nic("tb_nic_alerts", testcase)


def test_every_form() -> None:
    parameters = {"suites": [int(suite) for suite in SUITES]}
    where = run(
        NIC, "verif.cocotb.tb_nic_alerts", "nic", parameters=parameters, testcase=EVERY_FORM
    )
    sent = load(where)
    faults, read = judge(sent, where)
    assert not faults, "\n".join(faults)
    assert (len(sent), read) == (SENT, SENT - OPAQUE)
    # The judges do look: with another code they find a fault in each that they can read.
    others = [replace(frame, message="ff") for frame in sent]
    assert len(judge(others, where)[0]) == SENT + SENT - OPAQUE
