"""Whether a mutation changes nothing: the mutated module and the real one, register by register.

Shown is more than needed, so it may fail where nothing changes: from any state that is equal in
both, and whatever comes in, all registers, outputs, and what goes to submodules and memories stay
equal. Both begin in the same state.
"""

from __future__ import annotations

import subprocess

from verif.mutants.netlist import Mutation, Netlist, NetlistError, processor_time, yosys
from verif.mutants.trial import Trial

__all__ = ["NAME", "proved"]

NAME = "equivalence"
TIMEOUT_S = 120
_HALF = """read_rtlil prepared.il
{change}
hierarchy -top {module}
memory_collect
select -module {module}
select -set registers t:$dff %co1:+[Q]
rename -hide w:* @registers %d
select -clear
rename {module} {name}
design -stash {name}
"""
_WHOLE = """design -copy-from gold gold
design -copy-from gold =*
design -copy-from gate gate
equiv_make gold gate equiv
hierarchy -top equiv
opt_clean
equiv_simple -short
equiv_struct
equiv_induct -seq 2
equiv_status -assert
"""


def proved(netlist: Netlist, mutation: Mutation) -> Trial:
    """`caught` if it is proved that the mutation changes nothing."""
    gold = _HALF.format(change="", module=mutation.module, name="gold")
    gate = _HALF.format(change=f"mutate {mutation.options()}", module=mutation.module, name="gate")
    begun = processor_time()
    text = "it changes no register and no output of its module, whatever comes in"
    try:
        yosys(gold + gate + _WHOLE, netlist.folder, timeout_s=TIMEOUT_S)
    except (NetlistError, subprocess.TimeoutExpired):
        text = ""
    seconds = processor_time() - begun
    return Trial(bool(text), round(seconds, 2), text)
