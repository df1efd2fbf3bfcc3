"""Seeds of runs."""

import pytest

from verif import seeds


def test_one_commit_has_one_seed_for_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEED", raising=False)
    monkeypatch.setattr(seeds, "_committed", lambda: "a tree")
    assert seeds.of_run("nic", "bench") == seeds.of_run("nic", "bench")
    assert seeds.of_run("nic", "bench") != seeds.of_run("nic", "another")
    of_one = seeds.of_run("nic", "bench")
    monkeypatch.setattr(seeds, "_committed", lambda: "another tree")
    assert seeds.of_run("nic", "bench") != of_one
    assert 0 <= of_one < 1 << seeds.BITS


@pytest.mark.parametrize("asked", [None, "random"])
def test_without_a_commit_or_on_request_it_is_drawn(
    asked: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEED", raising=False)
    if asked:
        monkeypatch.setenv("SEED", asked)
    else:
        monkeypatch.setattr(seeds, "_committed", str)
    assert len({seeds.of_run("nic") for _ in range(8)}) > 1


def test_a_seed_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEED", "12")
    assert seeds.of_run("nic") == 12
    monkeypatch.setenv("SEED", "twelve")
    with pytest.raises(ValueError, match="not 'twelve'"):
        seeds.of_run("nic")
