"""Which of several flags comes first, in a register."""

from amaranth.hdl import Module, Signal

__all__ = ["lowest_set"]


def lowest_set(m: Module, flags: Signal) -> tuple[Signal, Signal]:
    """Whether any of `flags` was set a cycle ago, and the number of the lowest that was.

    Returns
    -------
    tuple of Signal
        1 if any was set; its number, which stays where none was.
    """
    found, number = Signal(), Signal(range(len(flags)))
    m.d.sync += found.eq(flags.any())
    for n in reversed(range(len(flags))):
        with m.If(flags[n]):
            m.d.sync += number.eq(n)
    return found, number
