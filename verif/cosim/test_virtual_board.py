"""The virtual board, as its users meet it: TAP devices, register socket, pin socket."""

import subprocess

import pytest

from boards.virtual.build import Parameters, build
from verif.cosim import check_virtual_board, isolated


@pytest.mark.parametrize("name", isolated.names(check_virtual_board))
def test_in_namespaces(name: str) -> None:
    build()
    isolated.run(check_virtual_board, name)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--wire-tap", "a", "--host-tap", "b", "--pins", "x"], "--registers is missing"),
        (["--registers", "x", "--pins", "y"], "say one of --wire-tap NAME and --wire-fd N"),
        (["--frobnicate"], "'--frobnicate' is no option of this program"),
        (["--wire-fd"], "--wire-fd lacks its value"),
        (
            ["--registers", "x", "--pins", "y", "--wire-fd", "0", "--host-fd", "0"],
            "file descriptor 0 is no TAP device",
        ),
        (
            ["--registers", "x", "--pins", "y", "--wire-fd", "zero", "--host-fd", "0"],
            "'zero' is no file descriptor",
        ),
        (
            ["--registers", "x", "--pins", "y", "--wire-tap", "a" * 16, "--host-fd", "0"],
            "is no name for a network device",
        ),
    ],
)
def test_complains_in_plain_words(words: list[str], complaint: str) -> None:
    done = subprocess.run(
        [build(), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("virtual board: ")
    assert complaint in done.stderr


def test_refuses_a_clock_that_is_no_whole_kilohertz() -> None:
    with pytest.raises(ValueError, match="whole kilohertz"):
        Parameters(clock_hz=1500)
