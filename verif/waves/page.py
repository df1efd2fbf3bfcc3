"""The page that carries the pictures, each in a block of its own: ```` ```wavedrom NAME ````."""

import re
from collections.abc import Mapping
from pathlib import Path

import wavedrom

from verif.cocotb.runner import ROOT

__all__ = ["COMMAND", "PAGE", "blocks", "render", "updated"]

PAGE = ROOT / "docs" / "packet_walk.md"
COMMAND = "python -m verif.waves --update"
"""Brings the page up to date."""

_BLOCK = re.compile(r"^```wavedrom (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> dict[str, str]:
    """The pictures of a page by name."""
    return dict(_BLOCK.findall(text))


def updated(text: str, pictures: Mapping[str, str]) -> str:
    """The page with these pictures.

    Raises
    ------
    LookupError
        If the page has not a block for each, or one for another.
    """
    names = [name for name, _ in _BLOCK.findall(text)]
    if sorted(names) != sorted(pictures):
        raise LookupError(f"the page has blocks for {names}, the pictures are {list(pictures)}")
    return _BLOCK.sub(lambda block: f"```wavedrom {block[1]}\n{pictures[block[1]]}```", text)


def render(text: str, directory: Path) -> list[Path]:
    """Draws the pictures of a page into `directory`, made if missing; returns the paths."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, source in blocks(text).items():
        path = directory / f"{PAGE.stem}_{name}.svg"
        wavedrom.render(source).saveas(str(path))
        written.append(path)
    return written
