# amaranth: UnusedElaboratable=no
"""Runs the bench of the record store."""

import pytest

from hw.store.record_store import RecordStore
from hw.store.spi_flash import SpiFlash
from verif.cocotb.runner import run

TESTS = [
    "saves_and_finds",
    "entries_follow_their_record",
    "power_cut_leaves_the_old_or_the_new",
    "wrong_check_value_is_refused_and_counted",
    "a_failing_flash_is_told",
    "a_void_record_is_gone_at_once",
    "what_is_spoilt_counts_for_nothing",
]
BASE = 0x2000
CUTS = 40


@pytest.mark.parametrize("testcase", TESTS)
def test_record_store(testcase: str) -> None:
    run(
        RecordStore(half_cycles=2, base=BASE),
        "verif.cocotb.tb_record_store",
        "record_store",
        parameters={"base": BASE, "cuts": CUTS},
        testcase=testcase,
    )


def test_other_clocks() -> None:
    store = RecordStore(half_cycles=5)
    parameters = {"base": store.base, "cuts": CUTS}
    run(
        store,
        "verif.cocotb.tb_record_store",
        "record_store_slow",
        parameters=parameters,
        testcase="a_void_record_is_gone_at_once",
    )


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="half_cycles must be at least 2, not 1"):
        SpiFlash(half_cycles=1)
    for base in (-4096, 0x800, 1 << 24):
        with pytest.raises(ValueError, match="base must be a sector"):
            RecordStore(half_cycles=2, base=base)
