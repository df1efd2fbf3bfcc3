"""What `python -m verif.bench datapath` makes of its measurements, and what it says."""

from typing import Any

import pytest

from spec.suites import SUITES, Suite
from verif.bench import __main__ as cli
from verif.bench import datapath
from verif.cocotb.runner import SimulationError


def spacing(octets: int, cycles: float | None) -> dict[str, Any]:
    return {"frame_octets": octets, "cycles": cycles}


def report() -> dict[str, Any]:
    """As the bench leaves it, of three suites in three states."""
    way = {"lost": 0, "delay_min": 43, "delay_max": 51}
    measured = {
        "latency": {"frame_octets": 90, "pin": 150, "answer_first": 370, "answer_last": 475},
        "flood": [
            {
                "frame_octets": 70,
                "frames": 256,
                "arrived_per_s": 1_300_000,
                "done_per_s": 1_200_000,
                "overload": 7,
                "other": 3,
                "commands": 32,
                "answered": 31,
            }
        ],
        "spacing": [spacing(100, 110.0), spacing(200, 210.0)],
        "cycles_per_packet": {"fixed": 10.0, "per_octet": 1.0},
    }
    suites = {
        Suite.ESP_AES_GCM_16_128.name: measured,
        Suite.AH_HMAC_SHA_1_96.name: None,
        Suite.AH_HMAC_SHA_256_128.name: {"error": "READY gave INCOMPLETE"},
    }
    host = {"lost": 2, "delay_min": None, "delay_max": None}
    passed = [{"octets": 60, "frames": 8, "wire_to_host": way, "host_to_wire": host}]
    return {"passed": passed, "suites": suites}


def test_fit_is_the_line_through_the_points() -> None:
    rows = [spacing(octets, 40 + 1.5 * octets) for octets in (100, 300, 900)]
    assert datapath.fit(rows) == {"fixed": 40.0, "per_octet": 1.5}


def test_fit_leaves_out_what_the_wire_was_slower_than() -> None:
    slow = [spacing(400, 500.0), spacing(800, 900.0)]
    assert datapath.fit([spacing(90, 90.0), spacing(70, None), *slow]) == {
        "fixed": 100.0,
        "per_octet": 1.0,
    }
    assert datapath.fit([spacing(90, 90.0), spacing(400, 500.0)]) is None


def test_tables_skip_nothing_silently() -> None:
    text = datapath.tables(report())
    lines = text.splitlines()
    rows = [line for line in lines if line.startswith("ESP_AES_GCM_16_128 ")]
    assert len(rows) == 3
    assert rows[1].split()[1:] == ["70", "256", "1300000", "1200000", "7", "3", "32", "31"]
    assert rows[2].split(maxsplit=1)[1].startswith("10 + 1 x octets")
    assert sum(line.endswith("not built in") for line in lines) == 3
    assert sum("FAILED: READY gave INCOMPLETE" in line for line in lines) == 3
    (passed,) = [line for line in lines if line.split()[:2] == ["60", "8"]]
    assert passed.split()[2:] == ["43", "to", "51", "0", "-", "2"]


def test_failed_suites_are_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(datapath, "measure", lambda **_: report())
    assert cli.main(["datapath"]) == 1
    assert "measured in vain: AH_HMAC_SHA_256_128" in capsys.readouterr().err
    good = report()
    del good["suites"]["AH_HMAC_SHA_256_128"]
    monkeypatch.setattr(datapath, "measure", lambda **_: good)
    assert cli.main(["datapath"]) == 0


def test_a_simulation_that_fails_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(**_: object) -> None:
        raise SimulationError("Verilator failed with 1")

    monkeypatch.setattr(datapath, "measure", fails)
    assert cli.main(["datapath"]) == 1
    assert capsys.readouterr().err == "bench: Verilator failed with 1\n"


@pytest.mark.parametrize(
    "arguments", [[], ["no_such_part"], ["datapath", "--suite", "ROT13"], ["datapath", "--slow"]]
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)


def test_options_reach_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def measure(**options: Any) -> dict[str, Any]:
        asked.update(options)
        return {"passed": [], "suites": dict.fromkeys((suite.name for suite in SUITES), None)}

    monkeypatch.setattr(datapath, "measure", measure)
    assert cli.main(["datapath", "--quick", "--suite", "AH_AES_GMAC_128"]) == 0
    assert asked == {"suites": ["AH_AES_GMAC_128"], **cli.QUICK}
