"""Paths of the model check on the virtual board; test_model_check_traces.py runs this."""

from pathlib import Path

from verif.cosim.link import open_bench
from verif.cosim.trace_player import Live, play, proven_sa
from verif.cosim.traces import TRACES
from verif.modelcheck.bugs import BUGS, seeded
from verif.modelcheck.words import TO_STATION, spi_of
from verif.modelcheck.world import Engine


def test_every_path_goes_on_the_rtl_as_in_the_model(tmp_path: Path) -> None:
    with open_bench() as bench:
        for trace in TRACES:
            folder = tmp_path / trace.name
            folder.mkdir()
            with seeded(BUGS.get(trace.bug or "")):
                live = Live(bench, folder)
                print(trace.name)
                play(live, Engine(trace.bounds), trace.steps, print)
                proven = proven_sa(live)
                held = {sa.spi_in for sa in live.store.sas(live.session.host.id)[0]}
                # The seeded bugs here lose the SA that the NIC relies upon, on the RTL as well.
                assert proven
                assert (spi_of(proven, TO_STATION) in held) is (trace.bug is None)
                live.close()
