"""Runs the bench of the cipher unit."""

from hw.crypto import CipherUnit
from verif.cocotb.runner import run

SLOTS = 4
# One test looks at them, past all ports.
SECRET_REGISTERS = [
    *(
        "keystream",
        "o__payload",
        "y",
        "product",
        "factor",
        "next_factor",
        "collected",
        "chain_block",
    ),
    "made_tag",
    *("state", "aes_word", "side_word"),
]


def run_cipher(*testcase: str) -> None:
    run(
        CipherUnit(slots=SLOTS),
        "verif.cocotb.tb_cipher",
        "cipher",
        parameters={"slots": SLOTS},
        testcase=testcase,
        expose=SECRET_REGISTERS,
    )


def test_agrees_with_cryptography() -> None:
    run_cipher("agrees_with_cryptography", "long_texts")


def test_all_modes() -> None:
    run_cipher("all_modes_back_to_back")


def test_published_vectors() -> None:
    run_cipher("esp_shaped_vectors", "cavp_texts", "cbc_vectors")


def test_pace() -> None:
    run_cipher("keeps_pace", "cbc_decryption_keeps_pace", "short_packets_keep_pace")


def test_keys_among_texts() -> None:
    run_cipher("expansion_among_texts", "zeroised_key_is_gone", "zeroise_never_hangs_a_job")


def test_reset() -> None:
    run_cipher("reset_in_the_middle_of_a_job")


def test_state_is_cleared() -> None:
    run_cipher("state_is_cleared")
