"""What `make model-check` explores, one set of bounds after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from verif.modelcheck.world import Bounds


@dataclass(frozen=True)
class Configuration:
    """One exploration.

    Parameters
    ----------
    name, text : str
        What it is called, and what can happen in it.
    bounds : Bounds
        The same, exactly.
    depth : int
        Paths are followed so far and no further; by default to their ends.
    """

    name: str
    text: str
    bounds: Bounds
    depth: int = 1 << 30


CALM = Bounds(exchanges=2, crashes=False, os_crashes=False, ike_losses=False)
"""Only the network's doing: packets come late, in any order, or never."""

CONFIGURATIONS = {
    one.name: one
    for one in (
        Configuration(
            "first",
            "no SA yet; every fault but loss of the NIC's power",
            Bounds(exchanges=1, settled=False, hangs=True),
        ),
        Configuration(
            "station",
            "a refresh; the station crashes between any two things it does",
            replace(CALM, crashes=True),
        ),
        Configuration(
            "plain",
            "the same without POLICY.station_authorised",
            replace(CALM, crashes=True, authorised=False),
        ),
        Configuration(
            "os",
            "a refresh; station and OS die at any time and come up again",
            replace(CALM, crashes=True, os_crashes=True),
            depth=20,
        ),
        Configuration(
            "ike",
            "a refresh; exchanges complete on one side only, and the station crashes",
            replace(CALM, crashes=True, ike_losses=True),
        ),
        Configuration(
            "power",
            "a refresh; the NIC loses its power once, with the host or alone",
            replace(CALM, cuts=1),
        ),
        Configuration(
            "copies",
            "a refresh; the network duplicates any one packet",
            replace(CALM, copies=1),
        ),
        Configuration(
            "command",
            "a refresh; a power command at any time",
            replace(CALM, resets=1),
            depth=18,
        ),
        Configuration(
            "retransmit",
            "a refresh; requests are sent twice, numbers reserved in blocks of two",
            replace(CALM, attempts=2, block=2),
            depth=16,
        ),
        Configuration(
            "crossing",
            "two refreshes, the second while the first is under way",
            replace(CALM, exchanges=3),
            depth=19,
        ),
        Configuration(
            "old-copy",
            "without station_authorised: an old copy of the store is put back at any time",
            replace(CALM, crashes=True, old_copy=True, authorised=False),
            depth=18,
        ),
    )
}
"""By name."""

EVERYTHING = Configuration(
    "everything",
    "a refresh; every fault but loss of power (long)",
    Bounds(exchanges=2, hangs=True),
)
