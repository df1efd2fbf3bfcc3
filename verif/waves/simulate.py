"""Runs the bench of the pictures, and draws what it recorded."""

import json

from amaranth.lib import wiring

from verif.cocotb.runner import ROOT, build, run
from verif.waves.interfaces import PICTURES
from verif.waves.picture import Recording, draw
from verif.waves.signals import find_nets

__all__ = ["simulated"]

OUT = ROOT / "build" / "waves.json"


def simulated(*, nic: wiring.Component) -> dict[str, str]:
    """Each picture by name, from a simulation of `nic`."""
    nets = find_nets((build(nic, "nic") / "top.v").read_text())
    OUT.unlink(missing_ok=True)
    run(nic, "verif.cocotb.tb_waves", "nic", parameters={"nets": nets, "out": str(OUT)})
    recorded = json.loads(OUT.read_text())
    return {
        name: draw(picture, recorded[picture.scene], zero=_zero(recorded[picture.scene]))
        for name, picture in PICTURES.items()
    }


def _zero(recording: Recording) -> int:
    """The cycle in which the packet's first octet moves, or the bus is written."""
    octets = zip(recording["wire_rx.valid"], recording["wire_rx.ready"], strict=True)
    moves = [valid & ready for valid, ready in octets]
    begins = zip(moves, recording["bus.w_stb"], strict=True)
    return next(cycle for cycle, strobes in enumerate(begins) if any(strobes))
