"""The slots of a key store that are to be overwritten, one after the other."""

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ZeroiseQueue"]


class ZeroiseQueue(wiring.Component):
    """Says which word of which slot to overwrite with zeros, a word each cycle while `runs`.

    Contract: a slot that is asked for while none is pending has its words in the cycles that begin
    with the second after `stb`. Where several are, each takes `words` cycles, one more, and one for
    each slot on the way to it, and none is lost. After reset all slots are pending.

    `runs`, `slot` and `index` are registers, for all of a write port hangs on them.

    Parameters
    ----------
    slots : int
        A power of two.
    words : int
        Of each slot.

    Attributes
    ----------
    stb, asked : Signal, in
        Overwrite that slot.
    zeroising : Signal, out
        From the cycle after `stb` until the cycle after the last word.
    runs, slot, index : Signal, out
        Overwrite this word in this cycle.
    """

    def __init__(self, *, slots: int, words: int) -> None:
        if slots & (slots - 1):
            raise ValueError(f"slots must be a power of two, not {slots!r}")
        self._slots = slots
        self._words = words
        super().__init__(
            {
                "stb": In(1),
                "asked": In(range(slots)),
                "zeroising": Out(1, init=1),
                "runs": Out(1),
                "slot": Out(range(slots)),
                "index": Out(range(words)),
            }
        )

    @property
    def slots(self) -> int:
        """Slots of the key store."""
        return self._slots

    @property
    def words(self) -> int:
        """Words of each slot."""
        return self._words

    def elaborate(self, platform: object) -> Elaboratable:
        m = Module()
        # `slot` goes round until it stands at one that is pending: no choice among all of them.
        pending = Signal(self._slots, init=(1 << self._slots) - 1)
        is_pending, ends = Signal(), Signal()
        m.d.comb += is_pending.eq(pending.bit_select(self.slot, 1))
        m.d.sync += self.zeroising.eq(pending.any() | self.stb)
        with m.If(self.runs):
            m.d.sync += [self.index.eq(self.index + 1), ends.eq(self.index == self._words - 2)]
            with m.If(ends):
                m.d.sync += [
                    self.index.eq(0),
                    self.runs.eq(0),
                    pending.bit_select(self.slot, 1).eq(0),
                ]
        with m.Elif(is_pending):
            m.d.sync += self.runs.eq(1)
        with m.Else():
            m.d.sync += self.slot.eq(self.slot + 1)
            with m.If(self.stb):
                m.d.sync += self.slot.eq(self.asked)
        with m.If(self.stb):
            m.d.sync += pending.bit_select(self.asked, 1).eq(1)
        return m
