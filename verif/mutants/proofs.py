"""Proofs of `make formal` on mutants: mutations in the netlists of the wrappers of proofs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from verif.cocotb.runner import ROOT
from verif.formal.__main__ import proofs as every
from verif.formal.runner import Job, Method, Outcome, Proof, design_of, run_job
from verif.mutants.benches import PACKAGES
from verif.mutants.netlist import Mutation, Netlist, own_modules, processor_time
from verif.mutants.trial import Trial

__all__ = ["Mutated", "every"]

SAYS = {
    Outcome.FAIL: "refuted by a trace from power-on",
    Outcome.UNKNOWN: "no longer proved by induction",
}


class Mutated:
    """The netlist of a proof, in which mutations of the NIC are found again.

    Parameters
    ----------
    proof : Proof
        The proof.
    nic : Netlist
        The NIC.
    modules : mapping
        Of the NIC: modules of components that are mutated, and their classes.
    folder : Path
        For the netlist.
    """

    def __init__(
        self, proof: Proof, nic: Netlist, modules: Mapping[str, str], folder: Path
    ) -> None:
        self._proof = proof
        self._nic = nic
        self._netlist = Netlist(design_of(proof.wrapper).replace(f"{ROOT}/", ""), folder)
        own = own_modules(proof.wrapper(), PACKAGES)
        roots = [n for n in own if not any(n.startswith(f"{other}.") for other in own)]
        # For each copy of a component in the wrapper, where it is in the NIC.
        self._copies = [
            {name: root for name, kind in modules.items() if kind == own[root]} for root in roots
        ]
        self._holds: bool | None = None

    def counterparts(self, mutation: Mutation) -> list[Mutation]:
        """The mutation in every copy of its component; none if one copy does not have it."""
        fitting = [
            copy
            for copy in self._copies
            if any(f"{mutation.module}.".startswith(f"{name}.") for name in copy)
        ]
        found = [self._nic.counterpart(mutation, self._netlist, copy) for copy in fitting]
        return [there for there in found if there] if all(found) else []

    def _outcome(self, mutations: list[Mutation]) -> Outcome:
        text = self._netlist.mutated(mutations)
        mode = "prove" if self._proof.method is Method.INDUCTION else "bmc"
        job = Job("mutants", mode, self._proof.depth)
        return run_job(self._proof, job, text)[0]

    def refuted(self, mutations: list[Mutation]) -> Trial:
        """Whether the proof fails on them, though it holds without them."""
        begun = processor_time()
        outcome = self._outcome(mutations)
        text = SAYS.get(outcome, "")
        if text and self._holds is None:
            self._holds = self._outcome([]) is Outcome.PASS
        if not self._holds:
            text = ""
        return Trial(bool(text), round(processor_time() - begun, 2), text)
