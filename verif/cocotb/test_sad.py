"""Runs the bench of the SAD."""

from hw.ipsec.sad import SecurityAssociationDatabase
from verif.cocotb.runner import run

ACK_MS = 7
GRACE_MS = 4


def test_sad() -> None:
    run(
        SecurityAssociationDatabase(ack_ms=ACK_MS, grace_ms=GRACE_MS),
        "verif.cocotb.tb_sad",
        "sad",
        parameters={"ack_ms": ACK_MS, "grace_ms": GRACE_MS},
    )
