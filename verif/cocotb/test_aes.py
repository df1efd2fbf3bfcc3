"""Runs the bench of AES and the key store."""

from hw.crypto import KeyedAes
from verif.cocotb.runner import run

SLOTS = 4


def run_aes(*testcase: str) -> None:
    run(
        KeyedAes(slots=SLOTS),
        "verif.cocotb.tb_aes",
        "aes",
        parameters={"slots": SLOTS},
        testcase=testcase,
        # The tests of zeroisation look into the store, past its ports.
        expose=[
            "words",
            "state",
            "temp",
            "aes_word",
            "side_word",
            "decrypt",
            "at_state",
            "at_latch",
            "at_output",
        ],
    )


def test_cavp_vectors() -> None:
    run_aes("cavp_vectors")


def test_order_and_pace() -> None:
    run_aes("keeps_order", "three_in_flight", "keeps_pace")


def test_expansion() -> None:
    run_aes(
        "expands_among_traffic",
        "strobe_of_expand_is_ignored_while_busy",
        "expansion_leaves_nothing_behind",
        "reset_zeroises",
    )


def test_zeroise() -> None:
    run_aes(
        "zeroise_empties_the_slot",
        "zeroise_of_all_slots_at_once",
        "writes_are_ignored_while_zeroising",
        "zeroise_aborts_expansion",
        "zeroise_aborts_expansion_behind_a_stalled_user",
    )
