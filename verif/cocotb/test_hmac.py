"""Runs the bench of the HMAC unit."""

from hw.crypto.hmac import HmacUnit
from verif.cocotb.runner import run

SLOTS = 8
LANES = 2


def run_hmac(*testcase: str) -> None:
    run(
        HmacUnit(lanes=LANES, slots=SLOTS),
        "verif.cocotb.tb_hmac",
        "hmac",
        parameters={"slots": SLOTS, "lanes": LANES},
        testcase=testcase,
        # Some tests look into store and lanes, past their ports.
        expose=[
            *("words", "upper_words", "lower_words", "made", "t1"),
            *(f"chain_{letter}" for letter in "abcdefgh"),
            *(f"{name}_{lane}" for name in ("word", "latch") for lane in range(LANES)),
        ],
    )


def test_tags() -> None:
    run_hmac("rfc4231_vectors", "every_length", "keeps_order")


def test_pace() -> None:
    run_hmac("keeps_pace")


def test_keys() -> None:
    run_hmac("expands_among_traffic", "zeroise_empties_the_slot", "zeroise_while_busy")


def test_nothing_stays() -> None:
    run_hmac("state_is_cleared")
