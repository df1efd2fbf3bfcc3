"""Wear of the flash: the figures by hand, and the page that tells them."""

from pathlib import Path

import pytest

from docs.wear import page
from spec.store import CONFIG_PAIR, PAIRS, STORE_OCTETS, slot_address, wear

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_has_what_the_command_prints() -> None:
    assert page() in (ROOT / "docs" / "store.md").read_text(encoding="utf-8")


def test_one_refresh_an_hour_and_one_command_a_second() -> None:
    # 8766 hours a year, and each of two sectors bears every other erase.
    found = wear(refresh_s=3600, commands_a_second=1, endurance=100_000)
    assert found.erases_refresh == 8766 / 2
    assert found.entries_a_refresh == 1 + 3600 / 4096 + 3600 / 4096
    assert found.erases_log == 0
    assert found.years == pytest.approx(22.8, abs=0.05)


def test_a_full_log_costs_a_record() -> None:
    # 80 commands a second: 1 + 2 * 80 * 3600 / 4096 = 141.6 entries, twice 56.
    found = wear(commands_a_second=80)
    assert found.erases_log == 2 * found.erases_refresh


@pytest.mark.parametrize(
    "figure", [{"refresh_s": 0}, {"commands_a_second": -1}, {"block_bits": 0}, {"endurance": 0}]
)
def test_wrong_figures_are_refused(figure: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        wear(**figure)


def test_slots_lie_one_behind_the_other() -> None:
    places = [slot_address(pair, slot, 0x10000) for pair in range(PAIRS) for slot in range(2)]
    assert places == list(range(0x10000, 0x10000 + STORE_OCTETS, 0x1000))
    assert slot_address(CONFIG_PAIR, 1) == 0x9000
    with pytest.raises(ValueError, match="no slot 2 of pair 0"):
        slot_address(0, 2)
    with pytest.raises(ValueError, match="no slot 0 of pair 5"):
        slot_address(5, 0)
    with pytest.raises(ValueError, match="base must be a sector"):
        slot_address(0, 0, 0x123)
