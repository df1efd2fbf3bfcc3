# amaranth: UnusedElaboratable=no
"""Runs the bench of the SAD."""

from typing import Any

import pytest

from hw.ipsec.sad import SecurityAssociationDatabase
from spec.suites import Suite, built_in
from verif.cocotb.runner import run

ACK_MS = 7
GRACE_MS = 4


@pytest.mark.parametrize("hmac_sha_1", [False, True], ids=["sha2", "sha1"])
def test_sad(hmac_sha_1: bool) -> None:
    suites = built_in(hmac_sha_1=hmac_sha_1)
    run(
        SecurityAssociationDatabase(ack_ms=ACK_MS, grace_ms=GRACE_MS, suites=suites),
        "verif.cocotb.tb_sad",
        f"sad_{'sha1' if hmac_sha_1 else 'sha2'}",
        parameters={
            "ack_ms": ACK_MS,
            "grace_ms": GRACE_MS,
            "suites": [int(suite) for suite in suites],
        },
    )


@pytest.mark.parametrize("suites", [(), (Suite.NONE,), (1, 99)])
def test_refuses_suites_that_there_are_not(suites: Any) -> None:
    with pytest.raises(ValueError, match="suites"):
        SecurityAssociationDatabase(ack_ms=ACK_MS, grace_ms=GRACE_MS, suites=suites)
