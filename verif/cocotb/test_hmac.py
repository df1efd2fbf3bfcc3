"""Runs the bench of the HMAC unit."""

from hw.crypto.hmac import HmacUnit
from verif.cocotb.runner import run

SLOTS = 8
LANES = 2


def run_hmac(*testcase: str, sha_1: bool = False) -> None:
    run(
        HmacUnit(lanes=LANES, slots=SLOTS, sha_1=sha_1),
        "verif.cocotb.tb_hmac",
        "hmac_sha_1" if sha_1 else "hmac",
        parameters={"slots": SLOTS, "lanes": LANES, "sha_1": sha_1},
        testcase=testcase,
        # Some tests look into store and lanes, past their ports.
        expose=[
            *("words", "upper_words", "lower_words", "made", "t1", "ahead_sum"),
            *(f"w_{word}" for word in range(16)),
            *(f"chain_{letter}" for letter in "abcdefgh"),
            *(f"{name}_{lane}" for name in ("word", "latch") for lane in range(LANES)),
        ],
    )


def test_tags() -> None:
    run_hmac("rfc4231_vectors", "every_length", "keeps_order", "field_is_ignored_without_sha_1")


def test_pace() -> None:
    run_hmac("keeps_pace")


def test_keys() -> None:
    run_hmac("expands_among_traffic", "zeroise_empties_the_slot", "zeroise_while_busy")


def test_nothing_stays() -> None:
    run_hmac("state_is_cleared")


def test_sha_1() -> None:
    run_hmac(
        *("rfc4231_vectors", "rfc2202_vectors", "every_length", "keeps_order", "keeps_pace"),
        *("expands_among_traffic", "zeroise_empties_the_slot", "zeroise_while_busy"),
        "state_is_cleared",
        sha_1=True,
    )
