"""Runs the bench of the GCM unit."""

from hw.crypto import GcmUnit
from verif.cocotb.runner import run

SLOTS = 4
# One test looks at them, past all ports.
SECRET_REGISTERS = [
    *("keystream", "ahead", "y", "product", "factor"),
    *("state", "aes_word", "side_word"),
]


def run_gcm(*testcase: str) -> None:
    run(
        GcmUnit(slots=SLOTS),
        "verif.cocotb.tb_gcm",
        "gcm",
        parameters={"slots": SLOTS},
        testcase=testcase,
        expose=SECRET_REGISTERS,
    )


def test_agrees_with_cryptography() -> None:
    run_gcm("agrees_with_cryptography", "long_texts")


def test_published_vectors() -> None:
    run_gcm("esp_shaped_vectors", "cavp_texts")


def test_pace() -> None:
    run_gcm("keeps_pace")


def test_keys_among_texts() -> None:
    run_gcm("expansion_among_texts", "zeroised_key_is_gone", "zeroise_never_hangs_a_job")


def test_reset() -> None:
    run_gcm("reset_in_the_middle_of_a_job")


def test_state_is_cleared() -> None:
    run_gcm("state_is_cleared")
