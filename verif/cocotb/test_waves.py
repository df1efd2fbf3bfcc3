"""The pictures of docs/packet_walk.md are what the NIC does."""

from verif.cocotb.test_nic import NIC
from verif.waves.page import COMMAND, PAGE, blocks, updated
from verif.waves.simulate import simulated


def test_the_page_shows_what_the_nic_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    pictures = simulated(nic=NIC)
    others = [name for name, source in blocks(text).items() if source != pictures.get(name)]
    hint = f"of {PAGE.name}; to bring the page up to date: {COMMAND}"
    assert not others, f"the NIC does not do what these pictures show: {', '.join(others)} {hint}"
    assert updated(text, pictures) == text
