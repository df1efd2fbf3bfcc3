"""What shall catch a mutant: the benches of `make test`, the quick ones of single blocks first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from verif.cocotb import (
    test_alerts,
    test_command_engine,
    test_engine_share,
    test_fuzz,
    test_hostile,
    test_inbound,
    test_latency,
    test_nic,
    test_nic_store,
    test_parser,
    test_plain,
    test_records,
    test_sad,
    test_sent,
    test_window,
)
from verif.cocotb.drivers import PATTERNS
from verif.cocotb.runner import run

__all__ = ["BENCHES", "COMPONENTS", "PACKAGES", "Bench", "component_of"]

PACKAGES = ("hw.ipsec", "hw.mgmt", "hw.net")
"""Where mutations are made."""

COMPONENTS = {
    "sad": "top.sad",
    "share": "top.share",
    "inbound": "top.inbound",
    "parser": "top.parser",
    "classifier": "top.classifier",
    "records": "top.records",
    "builder": "top.builder",
    "engine": "top.engine",
    "alerts": "top.alerts",
}
"""Components of `hw.nic` that hold them, and their modules in its RTLIL."""


def component_of(module: str) -> str:
    """Name of the component that a module of the NIC is in."""
    return next(name for name, top in COMPONENTS.items() if f"{module}.".startswith(f"{top}."))


@dataclass(frozen=True, slots=True)
class Bench:
    """Something of `make test` that passes on the unmutated design.

    `build` names the simulator it runs on: benches of one name have one design. `paths` gives, by
    module of the NIC, the module of that design which is the same component. The quick ones come
    before all else.
    """

    name: str
    build: str
    paths: Mapping[str, str]
    test: Callable[[], object]
    quick: bool = True


_NIC = {"top": "top"}
_QUICK = ("nic_clear", "nic_sad", "nic_fuzz", "nic_mixtures_none")
"""Of the whole NIC, those that catch most for their time."""


def _every_test_of(bench: str) -> None:
    """All tests of a bench of the NIC that needs no parameters, in one run."""
    run(test_nic.NIC, f"verif.cocotb.{bench}", "nic")


def _store(case: str) -> None:
    """A test of the NIC with a flash."""
    test_nic_store.test_nic_store(case)


def _alone() -> Sequence[Bench]:
    """Benches of one component each."""
    sad = partial(test_sad.test_sad, False)
    share = partial(test_engine_share.test_engine_share, 2)
    window = partial(test_window.test_window, 1024, 32)
    both = {"top.parser": "top.parser", "top.classifier": "top.classifier"}
    message = {"top.alerts.message": "top"}
    return (
        Bench("alert_message", "alert_message", message, test_alerts.test_alert_message),
        Bench("records", "records", {"top.records": "top"}, test_records.test_records),
        Bench("plain", "plain", {"top.inbound.plain": "top"}, test_plain.test_plain),
        Bench("window", "window", {"top.inbound.window": "top"}, window),
        Bench("engine_share", "engine_share", {"top.share": "top"}, share),
        Bench(
            "command_engine",
            "command_engine",
            {"top.engine": "top"},
            test_command_engine.test_command_engine,
        ),
        Bench("sad", "sad", {"top.sad": "top"}, sad),
        Bench("inbound", "inbound", {"top.inbound": "top"}, test_inbound.test_inbound),
        Bench("parser", "parser", both, test_parser.test_parser),
    )


def _nic() -> Sequence[Bench]:
    """Benches of the whole NIC."""
    tests: list[tuple[str, Callable[[], object]]] = [
        ("nic_clear", partial(_every_test_of, "tb_nic_clear")),
        ("nic_sad", partial(_every_test_of, "tb_nic_sad")),
        ("nic_fuzz", test_fuzz.test_gateware_and_model_agree),
        ("nic_every_length", test_nic.test_every_length_passes),
        ("nic_learn", test_nic.test_learnt_addresses),
        *((f"nic_mixtures_{p}", partial(test_nic.test_mixtures, p)) for p in PATTERNS),
        ("nic_alerts_every_form", test_alerts.test_every_form),
        *(
            (f"nic_alerts_{case}", partial(test_alerts.test_alerts, case))
            for case in test_nic.names_of("tb_nic_alerts")
            if case != test_alerts.EVERY_FORM
        ),
        ("nic_icv_time", test_latency.test_icv_takes_the_same_time),
        ("nic_load", partial(_every_test_of, "tb_nic_load")),
        ("nic_bad", partial(_every_test_of, "tb_nic_bad")),
        ("nic_moments", partial(_every_test_of, "tb_nic_moments")),
        *(
            (f"nic_hostile_{group}", partial(test_hostile.test_hostile, group, None))
            for group in test_nic.names_of("tb_hostile")
        ),
    ]
    return (
        *(Bench(name, "nic", _NIC, test, quick=name in _QUICK) for name, test in tests),
        Bench("nic_sent", "nic_sha_1", _NIC, test_sent.test_every_answer_is_right, quick=False),
        *(
            Bench(f"nic_store_{case}", "nic_store", _NIC, partial(_store, case), quick=False)
            for case in test_nic.names_of("tb_nic_store")
        ),
    )


BENCHES = (*_alone(), *_nic())
